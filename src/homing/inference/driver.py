r"""The loop itself: from an observation and a budget to a posterior, with nothing else to decide.

    for r = 1, 2, ...:
        theta ~ the proposal              the prior, in round 1
        x ~ simulator(theta)
        learn q_r(theta | x) and L_r(x | theta) from all rounds' rows, as the method weighs them
        the proposal = what the method makes of q_r(theta | x_o)
    return half q_r(theta | x_o), half L_r(x_o | theta) p(theta) / Z; or the second alone, if held-out data say so

What is proposed, and how that is made good, is the method's (`homing.inference.methods`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.errors import ArgumentError, ObservationError, SimulationError, warn
from homing.estimators.validity import Validity
from homing.inference.campaign import Campaign
from homing.inference.failing import LEAST_ROWS, valid_where
from homing.inference.learner import Learned, Learner, Material, enough, order_of
from homing.inference.methods import Method
from homing.inference.options import as_settings
from homing.posteriors import HybridPosterior, Posterior, SampledPosterior, check_observation
from homing.priors import Prior
from homing.proposals import FromPrior, Proposal, TruncatedPrior
from homing.runs import RoundRecord
from homing.training import MaximumLikelihood

_WORSE = 0.1  # nats by which a round must fall behind its predecessor, beyond two standard errors, to be rolled back
_FEW, _FEW_SHARE = 300, 0.5  # simulations that are too few to spare by another round, and as a share of the rest
_LIKE_X_O = 0.05  # share of the region's rows whose data count as like x_o


@dataclass(frozen=True)
class Stop:
    """When to stop before the budget is spent: as soon as one of these says so.

    Attributes:
        gain: A round's gain, nats of held-out log density, falls below this.
        disagreement: The ensemble's members differ by less than this, nats (`RoundRecord.disagreement`).
        volume: The region that a truncated round would simulate from is more than this share of the last one's.
        seconds: So many seconds went into simulating and learning, by the records: rounds that an earlier process
            finished count too.
    """

    gain: float | None = None
    disagreement: float | None = None
    volume: float | None = None
    seconds: float | None = None

    def after(self, gain: float | None, disagreement: float | None, seconds: float) -> bool:
        """Whether to stop after a round with such a record."""
        return (
            (self.gain is not None and gain is not None and gain < self.gain)
            or (self.disagreement is not None and disagreement is not None and disagreement < self.disagreement)
            or (self.seconds is not None and seconds > self.seconds)
        )

    def before(self, proposal: Proposal, last: Proposal) -> bool:
        """Whether to stop rather than to simulate from a proposal that follows on another."""
        if self.volume is None or not isinstance(proposal, TruncatedPrior):
            return False
        volume = last.region.volume if isinstance(last, TruncatedPrior) else 1.0
        return proposal.region.volume > self.volume * volume


def plan_rounds(num_simulations: int, dim: int, num_rounds: int | None = None) -> list[int]:
    """How many simulations each round gets: up to five equal ones.

    Too small a round can neither find the posterior's place nor sharpen it: none is smaller than 25 a parameter, or
    150, where the budget allows more than one. Once the region has settled, the rest may become one round.

    Example:
        >>> plan_rounds(1000, 3), plan_rounds(1000, 10), plan_rounds(50, 3), plan_rounds(500, 3, num_rounds=4)
        ([200, 200, 200, 200, 200], [250, 250, 250, 250], [50], [125, 125, 125, 125])
    """
    if num_rounds is None:
        num_rounds = int(np.clip(num_simulations // max(150, 25 * dim), 1, 5))
    ends = np.round(np.linspace(0, num_simulations, num_rounds + 1)).astype(int)
    return np.diff(ends).tolist()


class Drive:
    """One run of the loop; `for record in drive` runs it, `drive.posterior` is what it has by then.

    Args:
        campaign: The simulations.
        prior: The prior.
        x_o: The observation.
        sizes: Simulations in each round.
        num_rounds: As given to `run`; if it was not, and nothing stops the run early, the plan may change on the way.
        stop: When to stop early.
        method: How to propose and correct.
        learner: What to learn.
        show_progress_bars: Whether to say what is learned from, and for the posterior.

    Attributes:
        method: As given.
        name: What it is called in the run file.
    """

    def __init__(
        self,
        campaign: Campaign,
        prior: Prior,
        x_o: Any,
        sizes: list[int],
        num_rounds: int | None,
        stop: Stop,
        method: Method,
        learner: Learner,
        show_progress_bars: bool,
    ):
        self._campaign, self._prior, self._x_o = campaign, prior, check_observation(x_o, None)
        self._may_change = num_rounds is None and stop == Stop()
        self._stop, self.method, self._learner = stop, method, learner
        self._bars = show_progress_bars
        self._posterior: Posterior | None = None
        self.name = f"run from round {campaign.newest + 1}"
        self._key = {"learned by": self.name}
        budget = {"num_simulations": sum(sizes), "num_rounds": num_rounds}
        how = {"proposal": method.name, "method": as_settings(method), "options": as_settings(learner)}
        self._plan = f"plan of {self.name}"
        if campaign.store.recall(self.name) is None:
            campaign.store.remember(self._plan, sizes)  # first, so that no run is without one
        campaign.store.require(**{self.name: {"x_o": self._x_o.ravel(), **budget, **how}})
        self._sizes: list[int] = campaign.store.recall(self._plan)

    @property
    def posterior(self) -> Posterior:
        """The posterior after the rounds so far."""
        if self._posterior is None:
            raise SimulationError("No round is finished yet: the posterior is there after the first.")
        return self._posterior

    def __iter__(self) -> Iterator[RoundRecord]:
        proposal: Proposal = FromPrior(self._prior)
        kept: Learned | None = None
        spent = 0.0
        for place, size in enumerate(self._sizes):  # what is left of them may change on the way
            record = self._campaign.simulate(size, proposal, self._check_shape)
            stored = self._stored(record)
            learned, notes = stored or self._learn(record.round, kept)
            tick = time.perf_counter()
            rolled_back = (
                stored is None
                and kept is not None
                and notes["gain"] is not None
                and notes["gain"] < -_WORSE - 2 * notes["gain_error"]
            )
            if not rolled_back:
                kept = learned
            assert kept is not None
            self._posterior = self._make_posterior(kept, record.round)
            if place == 0:
                self._posterior.warn_if_unlike(self._x_o)
            parts = record.seconds if stored else {**record.seconds, "train": notes["train"]}
            spent += sum(parts.get(part, 0.0) for part in ("sample", "simulate", "train"))
            differ = None if rolled_back else self._disagreement(notes, record.round)
            done = place == len(self._sizes) - 1 or self._stop.after(notes["gain"], differ, spent)
            if not done:
                validity, last = self._validity(record.round), proposal
                proposal = self.method.propose(self._posterior, validity, self._seed("propose", record.round))
                done = self._stop.before(proposal, last)
                if not done and not rolled_back:
                    self._plan_again(place + 1, proposal, last)
            if stored is None:
                self._note(record.round, kept, notes, rolled_back, time.perf_counter() - tick, done)
            yield self._campaign.records[record.round]
            if done:
                return

    def _plan_again(self, place: int, proposal: Proposal, last: Proposal) -> None:
        """Once the region has settled, to cut it again would spare few simulations: the rest is one round.

        After the first round nothing is known of that: the region may be as large as the prior for want of data.
        """
        if not (self._may_change and isinstance(proposal, TruncatedPrior) and isinstance(last, TruncatedPrior)):
            return
        is_planned = self._campaign.newest + 1 in self._campaign.store.rounds
        rest = sum(self._sizes[place:])
        spared = rest * (1 - proposal.region.volume / max(last.region.volume, 1e-300))
        if not is_planned and spared < min(_FEW, _FEW_SHARE * rest):
            self._sizes[place:] = [rest]
            self._campaign.store.remember(self._plan, self._sizes)

    def _check_shape(self, x_shape: tuple[int, ...]) -> None:
        """Refuse an observation that is unlike a simulation, with the first one: many may cost much."""
        try:
            self._x_o = check_observation(self._x_o, x_shape, self._learner.takes_trials)
        except ObservationError:
            for name in (self.name, self._plan):
                self._campaign.store.remember(name, None)  # what was simulated is there for another x_o
            raise

    def _seed(self, purpose: str, number: int) -> int:
        return random.word(self._campaign.seed, purpose, number)

    def _stored(self, record: RoundRecord) -> tuple[Learned, dict[str, Any]] | None:
        """What a round is known to have learned, where a run goes on from its file."""
        posterior = self._campaign.learned(record.round, self._key, self._learner.embedding_net)
        if posterior is None:
            return None
        self._check_shape(posterior.x_shape)
        notes = {"gain": record.gain, "disagreement": record.disagreement}
        return self._learner.recall(posterior, record), notes

    def _learn(self, number: int, before: Learned | None) -> tuple[Learned, dict[str, Any]]:
        """Learn from all rows that the method uses, and score the predecessor on the rows it has not seen."""
        began = time.perf_counter()
        data = self._campaign.dataset(0.1)
        self._check_shape(data.x.shape[1:])
        weights = enough(self.method.weigh(data))
        used = weights > 0
        loss = self.method.loss if len(data.proposals) > 1 else MaximumLikelihood()
        z, x = self._prior.to_normal(data.theta[used]), data.x[used]
        material = Material(
            prior=self._prior,
            z=z,
            x=x,
            weight=weights[used],
            order=order_of(self._campaign.seed, len(used))[used],
            loss=loss,
            proposal=data.newest,
            as_if_from_prior=isinstance(loss, MaximumLikelihood),
            x_o=self._x_o,
            validity=self._validity(number),
            seed=self._seed("learn", number),
        )
        text = f"Learning from {used.sum():,} simulations"
        with tqdm(total=1, desc=text, bar_format="{desc}: {elapsed}", disable=not self._bars) as bar:
            learned = self._learner.learn(material)
            bar.update()
        self._check_tripwire(learned, number, used, data.x)
        notes = {"used": int(used.sum()), "gain": None, "gain_error": 0.0, "loss": learned.loss}
        new = np.flatnonzero(used) >= len(used) - self._campaign.records[number].valid
        held = learned.held_out[0] & new
        if before is not None and held.any():
            gains = learned.score(0, z[held], x[held])
            members = range(before.num_members)  # a mixture of them would be ahead of any one
            gains = gains - np.mean([before.score(m, z[held], x[held]) for m in members], axis=0)
            if np.isfinite(gains).all():
                notes["gain"], notes["gain_error"] = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
        return learned, {**notes, "train": time.perf_counter() - began}

    def _disagreement(self, notes: dict[str, Any], number: int) -> float | None:
        """The members', by the record if there is one."""
        if "disagreement" not in notes:
            notes["disagreement"] = self.posterior.disagreement(self._x_o, self._seed("differ", number))
        return notes["disagreement"]

    def _validity(self, number: int) -> Validity | None:
        return valid_where(self._prior, *self._campaign.tried(), self._campaign.seed, number)

    def _check_tripwire(self, learned: Learned, number: int, inside: np.ndarray, x: np.ndarray) -> None:
        """Warn if a draw from the whole prior landed outside the region, and its data are like x_o.

        Like x_o is what is nearer to it than all but a few of the region's rows, in every way that data can be alike.
        """
        free = np.flatnonzero(~inside)
        free = free[free >= len(inside) - self._campaign.records[number].valid]
        if not len(free) or self._x_o.shape != x.shape[1:]:
            return
        rows = np.concatenate([self._x_o[None], x])
        near = np.ones(len(free), bool)
        for seen in learned.tells(rows):
            distance = np.sqrt(((seen[1:] - seen[0]) ** 2).mean(1))
            near &= distance[free] < np.quantile(distance[inside], _LIKE_X_O)
        if near.any():
            warn(
                f"{int(near.sum())} of the {len(free)} simulations that round {number} drew from the whole prior lie "
                "outside the region it was cut to, with data that tell the same as x_o does: the region may be too "
                "small. A smaller epsilon widens it."
            )

    def _make_posterior(self, learned: Learned, number: int) -> Posterior:
        return learned.posterior(
            self._prior,
            multi_round=number > 1,
            seed=self._seed("posterior", number),
            x_o=self._x_o,
            predicted=self._campaign.predicted(),
            show_progress_bars=self._bars,
        )

    def _note(
        self, number: int, learned: Learned, notes: dict[str, Any], rolled_back: bool, seconds: float, done: bool
    ) -> None:
        posterior = self.posterior
        hybrid = posterior if isinstance(posterior, HybridPosterior) else None
        sampled = posterior if isinstance(posterior, SampledPosterior) else None
        other = hybrid.side(self._x_o) if hybrid and done else None
        self._campaign.complete(
            number,
            {"train": notes["train"], "audit": seconds},
            posterior,
            self._key,
            loss=notes["loss"],
            epochs=int(learned.info.epochs.max()),
            converged=bool(learned.info.converged.all()),
            validation_loss=float(learned.info.validation_loss.mean()),
            losses=learned.info.losses,
            boundary_mass=posterior.boundary().mass if done else None,
            gain=notes["gain"],
            used=notes["used"],
            agreement=other and other.effective,
            khat=other and other.khat,
            disagreement=notes.get("disagreement"),
            share=hybrid and hybrid.share,
            sampling=sampled.sampling_info() if sampled else {},
            rolled_back=rolled_back,
        )


def check_driver(num_simulations: Any, num_rounds: Any, dim: int) -> list[int]:
    """The rounds' sizes.

    Raises:
        ArgumentError: If the numbers cannot work.
    """
    is_number = isinstance(num_rounds, (int, np.integer)) and not isinstance(num_rounds, bool)
    if num_rounds is not None and not (is_number and 1 <= num_rounds <= num_simulations):
        raise ArgumentError(f"num_rounds must be a whole number between 1 and num_simulations, found {num_rounds!r}.")
    return plan_rounds(num_simulations, dim, None if num_rounds is None else int(num_rounds))


def check_first_round(sizes: list[int], known: int) -> None:
    """Refuse a run whose first round cannot be learned from, before it costs anything.

    Args:
        sizes: Simulations in each round.
        known: Valid simulations that there are already.

    Raises:
        ArgumentError: If there would be too few.
    """
    if known + sizes[0] < LEAST_ROWS:
        raise ArgumentError(
            f"Nothing can be learned from fewer than {LEAST_ROWS} valid simulations: num_simulations={sum(sizes)} "
            f"give the first of {len(sizes)} rounds {sizes[0]}. Spend more, or take fewer rounds."
        )

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
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing import random
from homing.errors import ArgumentError, SimulationError
from homing.estimators.validity import Validity, fit_validity
from homing.inference.campaign import LEAST_ROWS, Campaign
from homing.inference.choice import likelihood_lead
from homing.inference.methods import Method
from homing.inference.options import as_settings
from homing.inference.sides import SideOptions, Sides, learn_sides, sides_of
from homing.posteriors import DirectPosterior, HybridPosterior, Posterior, check_observation
from homing.priors import Prior
from homing.proposals import FromPrior, Proposal, TruncatedPrior
from homing.runs import RoundRecord
from homing.training import MaximumLikelihood

_WORSE = 0.1  # nats by which a round must fall behind its predecessor, beyond two standard errors, to be rolled back
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
    """How many simulations each round gets.

    A first round too small to find the posterior's place is wasted, and so are later ones that cannot sharpen it: no
    round is smaller than 30 a parameter, or 150, where the budget allows more than one.

    Example:
        >>> plan_rounds(1000, 3), plan_rounds(50, 3), plan_rounds(10_000, 3)
        ([400, 300, 300], [50], [2000, 2000, 2000, 2000, 2000])
    """
    if num_rounds is None:
        least = max(150, 30 * dim)
        num_rounds = int(
            np.clip(num_simulations // least, 1, 2 if num_simulations < 800 else 3 if num_simulations < 1800 else 4)
        )
        num_rounds = 5 if num_simulations >= 5000 else num_rounds
    shares = {1: [1.0], 2: [0.6, 0.4], 3: [0.4, 0.3, 0.3], 4: [0.35, 0.25, 0.2, 0.2]}.get(
        num_rounds, [1 / num_rounds] * num_rounds
    )
    ends = np.round(np.cumsum(shares) * num_simulations).astype(int)
    return np.diff(ends, prepend=0).tolist()


class Drive:
    """One run of the loop; `for record in drive` runs it, `drive.posterior` is what it has by then.

    Args:
        campaign: The simulations.
        prior: The prior.
        x_o: The observation.
        sizes: Simulations in each round.
        stop: When to stop early.
        method: How to propose and correct.
        options: What to learn.
        show_progress_bars: For the posterior.
    """

    def __init__(
        self,
        campaign: Campaign,
        prior: Prior,
        x_o: Any,
        sizes: list[int],
        stop: Stop,
        method: Method,
        options: SideOptions,
        show_progress_bars: bool,
    ):
        self._campaign, self._prior, self._x_o = campaign, prior, check_observation(x_o, None)
        self._sizes, self._stop, self._method, self._options = sizes, stop, method, options
        self._bars = show_progress_bars
        self._posterior: Posterior | None = None
        self._name = f"run from round {campaign.newest + 1}"
        self._key = {"learned by": self._name}
        settings = {"proposal": method.name, "method": as_settings(method), "options": as_settings(options)}
        campaign.require(**{self._name: {"x_o": self._x_o.ravel(), "sizes": sizes, **settings}})

    @property
    def posterior(self) -> Posterior:
        """The posterior after the rounds so far."""
        if self._posterior is None:
            raise SimulationError("No round is finished yet: the posterior is there after the first.")
        return self._posterior

    def __iter__(self) -> Iterator[RoundRecord]:
        proposal: Proposal = FromPrior(self._prior)
        kept: Sides | None = None
        spent = 0.0
        for place, size in enumerate(self._sizes):
            record = self._campaign.simulate(size, proposal)
            stored = self._stored(record)
            sides, notes = stored or self._learn(record.round, kept)
            tick = time.perf_counter()
            rolled_back = (
                stored is None
                and kept is not None
                and notes["gain"] is not None
                and notes["gain"] < -_WORSE - 2 * notes["gain_error"]
            )
            if not rolled_back:
                kept = sides
            assert kept is not None
            self._posterior = self._make_posterior(kept, record.round)
            parts = record.seconds if stored else {**record.seconds, "train": notes["train"]}
            spent += sum(parts.get(part, 0.0) for part in ("sample", "simulate", "train"))
            differ = None if rolled_back else notes["disagreement"]
            done = place == len(self._sizes) - 1 or self._stop.after(notes["gain"], differ, spent)
            if not done:
                validity, last = self._validity(record.round), proposal
                proposal = self._method.propose(self._posterior, validity, self._seed("propose", record.round))
                done = self._stop.before(proposal, last)
            if stored is None:
                self._note(record.round, kept, notes, rolled_back, time.perf_counter() - tick, done)
            yield self._campaign.records[record.round]
            if done:
                return

    def _seed(self, purpose: str, number: int) -> int:
        return random.word(self._campaign.seed, purpose, number)

    def _stored(self, record: RoundRecord) -> tuple[Sides, dict[str, Any]] | None:
        """What a round is known to have learned, where a run goes on from its file."""
        embedding_net = self._options.builder.embedding_net
        posterior = self._campaign.learned(record.round, self._key, embedding_net)
        if posterior is None:
            return None
        self._x_o = check_observation(self._x_o, posterior.x_shape)
        return sides_of(posterior, record.epochs, record.converged, record.validation_loss), {
            "gain": record.gain,
            "disagreement": record.disagreement,
        }

    def _learn(self, number: int, before: Sides | None) -> tuple[Sides, dict[str, Any]]:
        """Learn from all rows that the method uses, and score the predecessor on the rows it has not seen."""
        began = time.perf_counter()
        data = self._campaign.dataset(0.1)
        self._x_o = check_observation(self._x_o, data.x.shape[1:])
        weights = self._method.weigh(data)
        if (weights > 0).sum() < LEAST_ROWS:
            weights = np.ones(len(weights))
        used = weights > 0
        order = random.generator(self._campaign.seed, "order").random(len(used))
        prior = self._prior
        z, x = prior.to_normal(data.theta[used]), data.x[used]
        loss = self._method.loss if len(data.proposals) > 1 else MaximumLikelihood()
        seed = self._seed("learn", number)
        validity = self._validity(number)
        sides = learn_sides(prior, z, x, weights[used], order[used], loss, seed, self._options, validity)
        as_if_from_prior = isinstance(loss, MaximumLikelihood)  # by their weights
        if sides.likelihood is not None and as_if_from_prior:
            shown = (prior, z, x, weights[used], sides.held_out, self._x_o, self._seed("choose", number))
            lead = likelihood_lead(sides.direct, sides.likelihood, *shown)
            sides = replace(sides, share=0.0 if lead.is_clear else 0.5)
        self._check_tripwire(sides, number, used, data.x)
        differ = sides.direct.disagreement(self._x_o, self._seed("differ", number))
        notes = {"used": int(used.sum()), "gain": None, "gain_error": 0.0, "disagreement": differ, "loss": loss.name}
        new = np.flatnonzero(used) >= len(used) - self._campaign.records[number].valid
        held = sides.held_out[0] & new
        if before is not None and held.any():
            gains = sides.direct.member(0).log_prob_pairs(z[held], x[held])
            members = range(len(before.direct.members))  # a mixture of them would be ahead of any one
            gains -= np.mean([before.direct.member(m).log_prob_pairs(z[held], x[held]) for m in members], axis=0)
            notes["gain"], notes["gain_error"] = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
        return sides, {**notes, "train": time.perf_counter() - began}

    def _validity(self, number: int) -> Validity | None:
        """p(valid | z) by all simulations so far."""
        theta, valid = self._campaign.tried()
        rng = random.generator(self._campaign.seed, "validity", number)
        return None if valid.all() else fit_validity(self._prior.to_normal(theta), valid, rng)

    def _check_tripwire(self, sides: Sides, number: int, inside: np.ndarray, x: np.ndarray) -> None:
        """Warn if a draw from the whole prior landed outside the region, and its data are like x_o.

        Like x_o is what is nearer to it than all but a few of the region's rows, as numbers and in what they predict.
        """
        free = np.flatnonzero(~inside)
        free = free[free >= len(inside) - self._campaign.records[number].valid]
        if not len(free):
            return
        rows = np.concatenate([self._x_o[None], x])
        near = np.ones(len(free), bool)
        for seen in (sides.direct.predict(rows), sides.direct.standardize(rows).reshape(len(rows), -1)):
            distance = np.sqrt(((seen[1:] - seen[0]) ** 2).mean(1))
            near &= distance[free] < np.quantile(distance[inside], _LIKE_X_O)
        if near.any():
            warnings.warn(
                f"{int(near.sum())} of the {len(free)} simulations that round {number} drew from the whole prior lie "
                "outside the region it was cut to, with data that tell the same as x_o does: the region may be too "
                "small. A smaller epsilon widens it.",
                stacklevel=5,
            )

    def _make_posterior(self, sides: Sides, number: int) -> Posterior:
        options = {
            "multi_round": number > 1,
            "seed": self._seed("posterior", number),
            "x_o": self._x_o,
            "show_progress_bars": self._bars,
        }
        direct = DirectPosterior(sides.direct, self._prior, **options)
        if sides.likelihood is None:
            return direct
        return HybridPosterior(direct, sides.likelihood, sides.share, **options)

    def _note(
        self,
        number: int,
        sides: Sides,
        notes: dict[str, Any],
        rolled_back: bool,
        seconds: float,
        done: bool,
    ) -> None:
        posterior = self.posterior
        hybrid = posterior if isinstance(posterior, HybridPosterior) else None
        other = hybrid.side(self._x_o) if hybrid and done else None
        boundary = posterior.boundary() if done else None
        self._campaign.complete(
            number,
            {"train": notes["train"], "audit": seconds},
            posterior,
            self._key,
            loss=notes["loss"],
            epochs=int(sides.info.epochs.max()),
            converged=bool(sides.info.converged.all()),
            validation_loss=float(sides.info.validation_loss.mean()),
            losses=sides.info.losses,
            boundary_mass=None if boundary is None else boundary.mass,
            gain=notes["gain"],
            used=notes["used"],
            agreement=other and other.effective,
            khat=other and other.khat,
            disagreement=notes["disagreement"],
            share=hybrid and hybrid.share,
            rolled_back=rolled_back,
        )


def check_driver(num_simulations: Any, num_rounds: Any, dim: int) -> list[int]:
    """The rounds' sizes.

    Raises:
        ArgumentError: If the numbers cannot work.
    """
    if num_rounds is not None and (
        not isinstance(num_rounds, (int, np.integer)) or not 1 <= num_rounds <= num_simulations
    ):
        raise ArgumentError(f"num_rounds must be a whole number between 1 and num_simulations, found {num_rounds!r}.")
    return plan_rounds(num_simulations, dim, None if num_rounds is None else int(num_rounds))

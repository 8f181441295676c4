r"""The loop itself: from an observation and a budget to a posterior, with nothing else to decide.

    for r = 1, 2, ...:
        theta ~ the proposal              the prior, in round 1
        x ~ simulator(theta)
        learn q_r(theta | x) and L_r(x | theta) from all rounds' rows, as the method weighs them
        the proposal = what the method makes of q_r(theta | x_o); but while there are too few valid rows to learn from,
            or q_r says no more of held-out rows than the prior, the prior times p(valid | theta), or the last region
    return half q_r(theta | x_o), half L_r(x_o | theta) p(theta) / Z; or the second alone, if held-out data say so

What is proposed, and how that is made good, is the method's (`homing.inference.methods`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.errors import ObservationError, SimulationError, warn
from homing.estimators.validity import EVIDENCE, Validity
from homing.inference.campaign import Campaign
from homing.inference.failing import least_rows, valid_where
from homing.inference.learner import Learned, Learner, Material, order_of
from homing.inference.methods import Method
from homing.inference.options import as_settings
from homing.inference.plan import Stop, plan_rounds, why_uncut
from homing.posteriors import HybridPosterior, Posterior, SampledPosterior, check_observation
from homing.priors import Prior
from homing.proposals import FromPrior, Proposal, TruncatedPrior, ValidPrior
from homing.runs import RoundRecord
from homing.training import MaximumLikelihood

_WORSE = 0.1  # nats by which a round must fall behind its predecessor, beyond two standard errors, to be rolled back
_FEW, _FEW_SHARE = 300, 0.5  # simulations that are too few to spare by another round, and as a share of the rest
_STEP, _FEWEST_STEP = 1 / 12, 100  # of the budget, and simulations, of a step that looks for valid ones
_LOWEST = -1e6  # nats at which a held-out row's score is taken for all that it can tell
_DEFENSIVE = 0.03  # share of a round from the whole prior, where the others are from where simulations are valid
_NAMED = {"prior": "prior", "valid": "prior times p(valid | theta)"}
_LIKE_X_O = 0.05  # share of the region's rows whose data count as like x_o


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
        self._has_warned = False
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
    def has_learned(self) -> bool:
        """Whether a round so far had enough valid simulations to learn anything from."""
        return self._posterior is not None

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
            is_last = place == len(self._sizes) - 1
            if (kept is not None and not record.valid) or (not is_last and self._lacks_valid(record)):
                proposal = self._uncut(proposal, record, f"{self._counts()[0]} simulations were valid so far")
                self._search(place + 1)
                yield record
                continue
            stored = self._stored(record)
            learned, notes = stored or self._learn(record.round, kept)
            tick = time.perf_counter()
            rolled_back = (
                stored is None
                and kept is not None
                and notes["gain"] is not None
                and notes["gain"] < -_WORSE - 2 * notes["gain_error"]
            )
            is_first = kept is None
            if kept is None or not rolled_back:
                kept = learned
            self._posterior = self._make_posterior(kept, record.round)
            if is_first:
                self._posterior.warn_if_unlike(self._x_o)
            parts = record.seconds if stored else {**record.seconds, "train": notes["train"]}
            spent += sum(parts.get(part, 0.0) for part in ("sample", "simulate", "train"))
            differ = None if rolled_back else self._disagreement(notes, record.round)
            done, last = is_last or self._stop.after(notes["gain"], differ, spent), proposal
            uncut = "" if rolled_back else notes.get("uncut")
            if uncut is None:
                uncut = why_uncut(notes["used"], self._prior.dim, notes["information"], differ, learned.num_members)
            if not done:
                proposal = self._uncut(last, record, uncut) if uncut else self._cut(record.round)
                done = self._stop.before(proposal, last)
                if not done and not rolled_back and not uncut:
                    self._plan_again(place + 1, proposal, last)
            elif uncut:
                warn(f"The posterior says little of x_o, and is not to be trusted: {uncut}.")
            if stored is None:
                self._note(record.round, kept, {**notes, "uncut": uncut}, rolled_back, time.perf_counter() - tick, done)
            yield self._campaign.records[record.round]
            if done:
                return

    def _lacks_valid(self, record: RoundRecord) -> bool:
        """Whether too few simulations were valid to learn from: better to look for where they are."""
        valid, asked = self._counts()
        return not record.valid or (valid < least_rows(self._prior.dim) and valid < _FEW_SHARE * asked)

    def _counts(self) -> tuple[int, int]:
        """Valid simulations of all rounds, and all of them."""
        records = self._campaign.records.values()
        return sum(record.valid for record in records), sum(record.asked for record in records)

    def _search(self, place: int) -> None:
        """Take a small step next: each tells better than the last where simulations are valid."""
        rest, step = sum(self._sizes[place:]), max(_FEWEST_STEP, round(_STEP * sum(self._sizes)))
        if rest > 2 * step:
            self._replan(place, [step, rest - step])

    def _replan(self, place: int, sizes: list[int]) -> None:
        """Change the sizes of the rounds to come, unless the user chose them or the run file has the next one."""
        if self._may_change and self._campaign.newest + 1 not in self._campaign.store.rounds:
            self._sizes[place:] = sizes
            self._campaign.store.remember(self._plan, self._sizes)

    def _cut(self, number: int) -> Proposal:
        """What the method makes of the posterior after a round."""
        return self.method.propose(self.posterior, self._validity(number), self._seed("propose", number))

    def _uncut(self, last: Proposal, record: RoundRecord, why: str) -> Proposal:
        """Where to go on while what was learned is no guide: where simulations are valid, or within the last region."""
        validity, proposal = self._validity(record.round, evidence=0.0), last  # a wrong guess costs little here
        if validity is not None and isinstance(last, (FromPrior, ValidPrior)):
            proposal = ValidPrior(self._prior, validity, _DEFENSIVE)
            proposal = proposal if proposal.is_reachable else FromPrior(self._prior)
        if not self._has_warned:
            self._has_warned = True
            warn(
                f"After round {record.round}, {why}. The next round is drawn from the "
                f"{_NAMED.get(proposal.name, 'same')}, until there is enough to learn from. This is said once; "
                "inference.rounds shows the proposals."
            )
        return proposal

    def _plan_again(self, place: int, proposal: Proposal, last: Proposal) -> None:
        """Once the region has settled, to cut it again would spare few simulations: the rest is one round.

        After the first round nothing is known of that: the region may be as large as the prior for want of data.
        """
        rest = sum(self._sizes[place:])
        if isinstance(last, ValidPrior):  # the search for valid simulations has ended, and left one round
            self._replan(place, plan_rounds(rest, self._prior.dim))
        if not (isinstance(proposal, TruncatedPrior) and isinstance(last, TruncatedPrior)):
            return
        spared = rest * (1 - proposal.volume / max(last.volume, 1e-300))
        if spared < min(_FEW, _FEW_SHARE * rest):
            self._replan(place, [rest])

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
        notes = {"gain": record.gain, "disagreement": record.disagreement, "uncut": record.uncut}
        return self._learner.recall(posterior, record), notes

    def _learn(self, number: int, before: Learned | None) -> tuple[Learned, dict[str, Any]]:
        """Learn from all rows that the method uses, and score the predecessor on the rows it has not seen."""
        began = time.perf_counter()
        data = self._campaign.dataset(0.1)
        self._check_shape(data.x.shape[1:])
        weights = self.method.weigh(data)
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
        notes["information"] = self._information(learned, material)
        new = np.flatnonzero(used) >= len(used) - self._campaign.records[number].valid
        held = learned.held_out[0] & new
        if before is not None and held.any():
            gains = learned.score(0, z[held], x[held])
            members = range(before.num_members)  # a mixture of them would be ahead of any one
            gains = gains - np.mean([before.score(m, z[held], x[held]) for m in members], axis=0)
            if np.isfinite(gains).all():
                notes["gain"], notes["gain_error"] = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
        return learned, {**notes, "train": time.perf_counter() - began}

    def _information(self, learned: Learned, material: Material) -> float | None:
        """Nats by which held-out parameters are likelier by a member than by what rows are as if drawn from."""
        held = [np.flatnonzero(rows) for rows in learned.held_out]
        scores = np.concatenate([learned.score(m, material.z[i], material.x[i]) for m, i in enumerate(held)])
        weight = np.concatenate([material.weight[i] for i in held])
        if not len(scores) or np.isnan(scores).any():
            return None
        newest = material.proposal
        volume = newest.volume if isinstance(newest, TruncatedPrior) else 1.0
        return float(np.average(np.maximum(scores, _LOWEST), weights=weight) + np.log(max(volume, 1e-300)))

    def _disagreement(self, notes: dict[str, Any], number: int) -> float | None:
        """The members', by the record if there is one."""
        if "disagreement" not in notes:
            notes["disagreement"] = self.posterior.disagreement(self._x_o, self._seed("differ", number))
        return notes["disagreement"]

    def _validity(self, number: int, evidence: float = EVIDENCE) -> Validity | None:
        return valid_where(self._prior, *self._campaign.tried(), self._campaign.seed, number, evidence)

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
            uncut=notes["uncut"],
        )

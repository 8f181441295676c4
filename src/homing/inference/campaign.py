"""The simulations of a run: planned, simulated, kept, and counted, round by round.

All methods share this: what a round simulates and what is kept of it do not depend on how it is learned.

With a run file, the same calls again go on where a run ended: a round that the file has planned is not drawn again, a
simulation that it has is not run again, and what was learned from the same rows in the same way is read instead of
learned. So a campaign counts the rounds it has been through, which may be fewer than the file has.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from homing import random
from homing.arrays import to_numpy
from homing.diagnostics import Predictive, fit_predictive
from homing.errors import ArgumentError, NotTrainedError, WaitingError, warn
from homing.inference.failing import check_enough, where_failing, without_data
from homing.inference.learn import Dataset
from homing.inference.roles import Roles
from homing.inference.simulating import finished
from homing.posteriors import Posterior, restore
from homing.posteriors.serialize import NotStorable, Packed, pack, unpack
from homing.priors import Prior
from homing.priors.fingerprint import prior_fact
from homing.proposals import FromPrior, Proposal, TruncatedPrior, ValidPrior
from homing.proposals.stored import pack_proposal, proposal_differences, unpack_proposal
from homing.runs import OpenedRun, Part, Progress, RoundRecord
from homing.simulation import Outcomes, Round, Simulator, Status, StoreError, open_store, simulate
from homing.simulation.facts import differences, to_json, versions
from homing.simulation.repeats import check_same_simulator, say_if_noiseless
from homing.simulation.told import tell

ShapeCheck = Callable[[tuple[int, ...]], Any]  # raises if the data should have another
_SAME_LINES = (
    "To go on with this run, run the same lines as before; for another run, choose a new file, or make another object."
)


class Campaign:
    """A run's simulations.

    Args:
        prior: The prior.
        simulator: The simulator, or None if all simulations are appended or told.
        seed: The run's seed; None takes the run file's, or a new one from the global generator of the prior's library.
        show_progress_bars: Whether to show bars.
        store: A run file, or None for memory.
        simulating: Options of `homing.simulation.simulate`.
        settings: What else makes the run this run, as JSON.
        embedding_net: The user's own embedding, whose code no file holds.

    Attributes:
        seed: The run's seed.
        proposals: Each round's proposal, by number.
        records: Each round's record, by number.
        adopted: The newest round that was taken over from the run file; 0 if none was.
        store: Where all is kept.
        on_progress: Told where the run is, or None.

    Raises:
        StoreError: If the file cannot be used, or holds a run with another seed, prior or settings.
    """

    def __init__(
        self,
        prior: Prior,
        simulator: Simulator | None,
        seed: int | None,
        show_progress_bars: bool,
        store: str | Path | None,
        simulating: Mapping[str, Any],
        settings: Mapping[str, Any],
        embedding_net: Any = None,
    ):
        self.prior = prior
        self.proposals: dict[int, Proposal] = {}
        self.records: dict[int, RoundRecord] = {}
        self.simulator = simulator
        self._bars = show_progress_bars
        self._simulating = simulating
        self._embedding_net = embedding_net
        self._predicted: tuple[list[int], Predictive | None] = [], None
        self.adopted = 0
        self._told = 0  # the newest round that is taken over because its simulations were told of
        self._warned = False
        self._is_same = False  # whether the simulator was compared with what the store holds
        self.on_progress: Callable[[Progress], None] | None = None
        self.store, self._in_file = open_store(store), store is not None
        try:
            if seed is None:
                seed = self.store.recall("seed")
            self.seed: int = random.global_seed(prior.kind) if seed is None else seed
            self.store.require(seed=self.seed, prior=prior_fact(prior), settings=dict(settings))
            if simulator is not None:
                self.store.require(simulation_batch_size=simulating["batch_size"])
                self.store.remember("simulator", simulator.name)
            self.store.collect("versions", versions())
            self._roles = Roles(self.store, self.seed)
        except BaseException:
            self.store.close()
            raise

    def remember(self, **facts: Any) -> None:
        """Write down facts; see `homing.simulation.Store.remember`."""
        for name, value in facts.items():
            self.store.remember(name, value)

    def view(self) -> OpenedRun:
        """The run as `homing.open` shows it."""
        return OpenedRun(self.store.source, self.prior, self._embedding_net)

    @property
    def newest(self) -> int:
        """The newest round's number; 0 before the first."""
        return max(self.proposals, default=0)

    @property
    def is_multi_round(self) -> bool:
        """Whether some simulations did not come from the prior."""
        return not all(isinstance(proposal, FromPrior) for proposal in self.proposals.values())

    def simulate(self, num_simulations: int, proposal: Proposal, check_shape: ShapeCheck | None = None) -> RoundRecord:
        """Plan a round, simulate it, and keep what comes as it comes; the first data's shape may be refused."""
        if self.simulator is None and not self._in_file:
            raise ArgumentError(
                "There is no simulator to call: give one, SNPE(simulator, prior), or append simulations and train."
            )
        self.compare_simulator()
        began = time.perf_counter()
        known = self._propose(num_simulations, proposal)
        sampled = time.perf_counter()
        if self.simulator is None and len(known.pending):
            raise WaitingError(
                f"Round {known.number} lacks {len(known.pending)} simulations, and there is no simulator to call. The "
                "run file has their ids and theta; tell(ids, x) what became of them, and run the same lines again."
            )
        self.run_pending(known, check_shape)
        seconds = {"sample": sampled - began, "simulate": time.perf_counter() - sampled}
        say_if_noiseless(self.store, self.simulator, self._simulating)
        self._report("learn", known.number, len(known.ids), len(known.ids))
        return self._enter(known.number, proposal, seconds)

    def ask(self, num_simulations: int, proposal: Proposal) -> tuple[np.ndarray, np.ndarray]:
        """Plan a round that is simulated elsewhere: ids (n,) and theta (n, d)."""
        known = self._propose(num_simulations, proposal)
        self._enter(known.number, proposal, {})
        return known.ids, known.theta

    def tell(self, ids: Any, x: Any, errors: Mapping[int, str] | None) -> int:
        """Keep what became of planned simulations; see `homing.simulation.told.tell`."""
        ids = np.atleast_1d(to_numpy(ids, "ids"))
        count, rounds = tell(self.store, ids, x, errors), self.store.rounds
        told = [number for number, known in rounds.items() if np.isin(known.ids, ids).any()]
        self._told = max([self._told, *told]) if self.newest else max(rounds, default=0)
        for number in self.records:
            self._note(number, {})
        return count

    def append(self, theta: np.ndarray, x: np.ndarray, proposal: Proposal) -> RoundRecord:
        """Keep simulations that were run elsewhere as a round; theta (n, d) and x (n, *x_shape), float64."""
        self._adopt(self._told)
        number = self.newest + 1
        known = self.store.rounds.get(number)
        if known is None:
            known = self._plan(number, theta, proposal, {})
        else:
            self._check_planned(known, len(theta), proposal)
            if not np.array_equal(known.theta, theta):
                raise StoreError(f"Round {number} of this run has other theta than those appended now. {_SAME_LINES}")
        self.store.record(known.ids, Outcomes.given(theta, x))
        return self._enter(number, proposal, {})

    def adopt(self) -> None:
        """Take over rounds without their lines being run again: those told of, or all where no line was run."""
        self._adopt(self._told if self.newest else max(self.store.rounds, default=0))

    def compare_simulator(self) -> None:
        """Refuse a simulator that is not the one whose simulations the store holds; asked once."""
        if self.simulator is not None and not self._is_same:
            check_same_simulator(self.store, self.simulator, self._simulating)
            self._is_same = True

    def _adopt(self, through: int) -> None:
        """Take over rounds as far as one of them."""
        if through > self.newest:
            self.compare_simulator()
        for number in range(self.newest + 1, through + 1):
            known = self.store.rounds[number]
            packed = Packed(known.proposal, known.arrays)
            self._enter(number, unpack_proposal(packed, self.prior, self._embedding_net), {})
            self.adopted = number

    def _propose(self, num_simulations: int, proposal: Proposal) -> Round:
        """The next round: as the store has planned it, or else drawn and planned."""
        self._adopt(self._told)
        number = self.newest + 1
        known = self.store.rounds.get(number)
        if known is not None:
            self._check_planned(known, num_simulations, proposal)
            return known
        self._report("propose", number, 0, num_simulations)
        theta, how = self.drawn(num_simulations, proposal, random.word(self.seed, "propose", number))
        return self._plan(number, theta, proposal, how)

    def drawn(self, num: int, proposal: Proposal, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Theta of a proposal, as the simulator gets them, to the last digit; and how they were drawn."""
        how: dict[str, Any] = {}
        if isinstance(proposal, (TruncatedPrior, ValidPrior)):
            drawn, info = proposal.draw_with_info(num, seed)
            how = info.as_dict()
        else:
            drawn = proposal.draw(num, seed, self._bars)
        return to_numpy(self.prior.give(drawn)).astype(np.float64), how

    def _plan(self, number: int, theta: np.ndarray, proposal: Proposal, how: Mapping[str, Any]) -> Round:
        seeds = random.row_seeds(self.seed, "simulate", number, len(theta))
        packed = pack_proposal(proposal)
        self.store.plan(number, theta, seeds, {**packed.tree, "how": how}, packed.arrays)
        return self.store.rounds[number]

    def _check_planned(self, known: Round, num_simulations: int, proposal: Proposal) -> None:
        found = ""
        if len(known.ids) != num_simulations:
            found = f"it has {len(known.ids)} simulations, now there are {num_simulations}"
        found = found or proposal_differences(Packed(known.proposal, known.arrays), pack_proposal(proposal))
        if found:
            raise StoreError(f"Round {known.number} of this run was planned otherwise: {found}. {_SAME_LINES}")

    def run_pending(self, known: Round, check_shape: ShapeCheck | None = None) -> None:
        """Simulate what a plan still lacks. Whether the simulator takes batches is found out once in a run's life."""
        simulator = self.simulator
        if simulator is None or not len(known.pending):
            return
        if simulator.batched is None and self.store.recall("batched") is not None:
            simulator = simulator.decided(self.store.recall("batched"))
        keep = (lambda rows, outcomes: self.store.record(known.ids[rows], outcomes)) if self._in_file else None
        options = {"rows": known.pending, "x_shape": self.store.x_shape, "keep": keep, **self._simulating}
        run = simulate(simulator, known.theta, known.seeds, **options)
        planned = len(known.ids)
        done = planned - len(known.pending)
        self._report("simulate", known.number, done, planned)
        with closing(finished(run, len(known.pending), self._bars)) as pairs:
            for rows, outcomes in pairs:
                self.simulator = run.simulator
                if self.store.recall("batched") != self.simulator.batched:
                    self.store.remember("batched", self.simulator.batched)
                self.store.record(known.ids[rows], outcomes)
                if check_shape is not None and self.store.x_shape is not None:
                    check_shape(self.store.x_shape)
                    check_shape = None
                done += len(rows)
                self._report("simulate", known.number, done, planned)

    def _report(self, part: Part, number: int, done: int, planned: int) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(number, part, done, planned))

    def _enter(self, number: int, proposal: Proposal, seconds: dict[str, float]) -> RoundRecord:
        self.proposals[number] = proposal
        return self._note(number, seconds)

    def _note(self, number: int, seconds: dict[str, float]) -> RoundRecord:
        known = self.store.rounds[number]
        counts = known.outcomes.counts()
        asked = len(known.ids) - counts["planned"]
        valid, failed, timed_out = (counts[name] for name in ("ok", "failed", "timed_out"))
        if known.result is not None:
            record = RoundRecord.from_json(known.result.record)
        else:
            name, how = self.proposals[number].name, known.proposal["how"]
            done = known.outcomes.status != Status.PLANNED
            failing = where_failing(known.theta[done], ~known.outcomes.ok[done])
            record = RoundRecord(number, name, asked, valid, seconds=seconds, failing=failing, **how)
        record = replace(record, asked=asked, valid=valid, failed=failed, timed_out=timed_out)
        self.records[number] = record
        if valid < asked and known.result is None and not self._warned:
            self._warned = True
            warn(
                f"{without_data(known.outcomes, f' of round {number}')}. They are left out: the posterior is that "
                "given that a simulation is valid. inference.rounds counts them. This is said once."
            )
        return record

    def learned(self, number: int, key: Mapping[str, Any], embedding_net: Any = None) -> Posterior | None:
        """What the store has of a round that was learned in just this way; None if it has to be learned.

        Args:
            number: The round.
            key: All that decided what was learned, as JSON.
            embedding_net: The user's own embedding, if it is not the campaign's.
        """
        result = self.store.rounds[number].result
        if result is None or result.estimator["posterior"] is None:
            return None
        if to_json(result.estimator["key"], "key") != to_json(key, "key"):
            return None
        packed = Packed(result.estimator["posterior"], result.arrays)
        return restore(unpack(packed, self.prior, embedding_net or self._embedding_net), self._bars)

    def last_learned(self) -> tuple[Posterior | None, dict[str, Any] | None]:
        """What was learned last in the rounds that were taken over, and how."""
        for number in range(self.adopted, 0, -1):
            key = self.key_of(number)
            if key is not None:
                return self.learned(number, key), key
        return None, None

    def key_of(self, number: int) -> dict[str, Any] | None:
        """How a round was learned, if it was."""
        known = self.store.rounds.get(number)
        return None if known is None or known.result is None else known.result.estimator["key"]

    def check_options(self, number: int, options: Mapping[str, Any]) -> None:
        """Refuse to learn a round in another way than the run file did.

        Raises:
            StoreError: If that round was learned with other options.
        """
        key = self.key_of(number)
        if key is not None:
            kept, found = to_json(key.get("options"), "options"), to_json(options, "options")
            lines = list(differences(f"round {number}", kept, found))
            if lines:
                raise StoreError("This run was learned otherwise:\n  " + "\n  ".join(lines) + f"\n{_SAME_LINES}")

    def rows_key(self) -> list[list[int]]:
        """Which rows there are to learn from, as JSON: each round's number, how many, and a checksum of which."""
        masks = [(number, self.store.rounds[number].outcomes.ok) for number in sorted(self.proposals)]
        return [[number, int(ok.sum()), zlib.crc32(ok.tobytes())] for number, ok in masks]

    def complete(
        self, number: int, seconds: Mapping[str, float], posterior: Posterior, key: Mapping[str, Any], **learned: Any
    ) -> None:
        """Write down what was learned after a round, and how."""
        record = self.records[number]
        self.records[number] = replace(record, seconds={**record.seconds, **seconds}, **learned)
        try:
            packed = pack(posterior.parts)
        except NotStorable:  # from a builder of the user's own: it is learned again when the run goes on
            packed = Packed(None, {})
        estimator = {"key": key, "posterior": packed.tree}
        self.store.finish(number, self.records[number].as_dict(), estimator, packed.arrays)

    def tried(self) -> tuple[np.ndarray, np.ndarray]:
        """Theta of all rounds' simulations, shape (n, d), and whether each was valid, shape (n,)."""
        rounds = [self.store.rounds[number] for number in sorted(self.proposals)]
        done = [known.outcomes.status != Status.PLANNED for known in rounds]
        theta = np.concatenate([known.theta[mask] for known, mask in zip(rounds, done)])
        return theta, np.concatenate([known.outcomes.ok[mask] for known, mask in zip(rounds, done)])

    def predicted(self) -> Predictive | None:
        """What data the prior predicts, by the simulations from it; None of too few."""
        numbers = [number for number, proposal in sorted(self.proposals.items()) if isinstance(proposal, FromPrior)]
        counts = [self.records[number].valid for number in numbers]
        if counts != self._predicted[0]:
            parts = [self.store.outcomes(number) for number in numbers if self.records[number].valid]
            theta = np.concatenate([np.zeros((0, self.prior.dim)), *(part.theta[part.ok] for part in parts)])
            x = np.concatenate([part.x[part.ok] for part in parts]) if parts else theta
            self._predicted = counts, fit_predictive(x, self.prior.to_normal(theta))
        return self._predicted[1]

    def dataset(self, validation_fraction: float) -> Dataset:
        """All rounds' valid rows, with their roles.

        Raises:
            NotTrainedError: If there are no simulations.
            SimulationError: If too few are valid.
        """
        if not self.records:
            raise NotTrainedError(
                "There are no simulations to learn from: append_simulations(theta, x) first, or call the inference "
                "object."
            )
        valid, newest = sum(record.valid for record in self.records.values()), self.records[self.newest]
        check_enough(valid, newest, self.store.rounds[newest.round].outcomes)
        proposals: list[Proposal] = [FromPrior(self.prior)]
        parts = []
        for number, proposal in sorted(self.proposals.items()):
            outcomes = self.store.outcomes(number)
            ok = outcomes.ok
            if not ok.any():
                continue
            if not isinstance(proposal, FromPrior):
                proposals.append(proposal)
            source = np.full(len(ok), 0 if isinstance(proposal, FromPrior) else len(proposals) - 1)
            roles = self._roles.of(number, ok, validation_fraction)
            rows = slice(None) if ok.all() else ok  # a slice copies nothing
            parts.append([column[rows] for column in (outcomes.theta, outcomes.x, source, roles)])
        theta, x, source, is_validation = (np.concatenate(column) for column in zip(*parts))
        x = x.reshape(len(x), *(x.shape[1:] or (1,))).astype(np.float64, copy=False)
        return Dataset(theta, x, source, is_validation, proposals)

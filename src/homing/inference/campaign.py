"""The simulations of a run: planned, simulated, kept, and counted, round by round.

All methods share this: what a round simulates and what is kept of it do not depend on how it is learned.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from homing import random
from homing.arrays import to_numpy
from homing.errors import ArgumentError, NotTrainedError, SimulationError
from homing.inference.learn import Dataset
from homing.inference.rounds import RoundRecord
from homing.inference.simulating import run_simulations
from homing.priors import Prior
from homing.proposals import FromPrior, Proposal, TruncatedPrior
from homing.simulation import Outcomes, Simulator, open_store

LEAST_ROWS = 10  # valid simulations without which nothing is learned


class Campaign:
    """A run's simulations.

    Args:
        prior: The prior.
        simulator: The simulator, or None if all simulations are appended.
        seed: The run's seed.
        show_progress_bars: Whether to show bars.
        store: A run file, or None for memory.
        simulating: Options of `homing.simulation.simulate`.

    Attributes:
        proposals: Each round's proposal, by number.
        records: Each round's record, by number.
    """

    def __init__(
        self,
        prior: Prior,
        simulator: Simulator | None,
        seed: int,
        show_progress_bars: bool,
        store: str | Path | None,
        simulating: Mapping[str, Any],
    ):
        self.prior = prior
        self.seed = seed
        self.proposals: dict[int, Proposal] = {}
        self.records: dict[int, RoundRecord] = {}
        self._simulator = simulator
        self._bars = show_progress_bars
        self._store = open_store(store)
        self._simulating = simulating
        self._roles: dict[int, np.ndarray] = {}
        self._warned = False

    @property
    def newest(self) -> int:
        """The newest round's number; 0 before the first."""
        return max(self.proposals, default=0)

    @property
    def is_multi_round(self) -> bool:
        """Whether some simulations did not come from the prior."""
        return not all(isinstance(proposal, FromPrior) for proposal in self.proposals.values())

    def simulate(self, num_simulations: int, proposal: Proposal) -> RoundRecord:
        """Plan a round, simulate it, and keep what comes as it comes."""
        if self._simulator is None:
            raise ArgumentError(
                "There is no simulator to call: give one, SNPE(simulator, prior), or append simulations and train."
            )
        number = self.newest + 1
        began = time.perf_counter()
        seed = random.word(self.seed, "propose", number)
        how: dict[str, float] = {}
        if isinstance(proposal, TruncatedPrior):
            drawn, info = proposal.draw_with_info(num_simulations, seed)
            how = info.as_dict()
        else:
            drawn = proposal.draw(num_simulations, seed, self._bars)
        theta = to_numpy(self.prior.give(drawn)).astype(np.float64)  # as the simulator gets it, to the last digit
        sampled = time.perf_counter()
        self._plan(theta, proposal)
        known = self._store.rounds[number]
        _, self._simulator = run_simulations(
            self._simulator,
            theta,
            known.seeds,
            show_progress_bar=self._bars,
            on_outcomes=lambda rows, outcomes: self._store.record(known.ids[rows], outcomes),
            x_shape=self._store.x_shape,
            **self._simulating,
        )
        record = self._note(number, {"sample": sampled - began, "simulate": time.perf_counter() - sampled})
        self.records[number] = replace(record, **how)
        return self.records[number]

    def append(self, theta: np.ndarray, x: np.ndarray, proposal: Proposal) -> RoundRecord:
        """Keep simulations that were run elsewhere as a round; theta (n, d) and x (n, *x_shape), float64."""
        number = self._plan(theta, proposal)
        self._store.record(self._store.rounds[number].ids, Outcomes.given(theta, x))
        return self._note(number, {})

    def complete(self, number: int, seconds: Mapping[str, float], **learned: Any) -> None:
        """Add what was learned after a round to its record."""
        record = self.records[number]
        self.records[number] = replace(record, seconds={**record.seconds, **seconds}, **learned)
        self._store.finish(number, self.records[number].as_dict())

    def dataset(self, validation_fraction: float) -> Dataset:
        """All rounds' valid rows, with their roles.

        Raises:
            NotTrainedError: If there are no simulations.
            SimulationError: If too few are valid.
        """
        if not self.records:
            raise NotTrainedError(
                "There are no simulations to learn from: append_simulations(theta, x) first, or call the inference object."
            )
        self._check_enough()
        proposals: list[Proposal] = [FromPrior(self.prior)]
        parts = []
        for number, proposal in sorted(self.proposals.items()):
            outcomes = self._store.outcomes(number)
            ok = outcomes.ok
            if not ok.any():
                continue
            if not isinstance(proposal, FromPrior):
                proposals.append(proposal)
            source = np.full(len(ok), 0 if isinstance(proposal, FromPrior) else len(proposals) - 1)
            roles = self._roles_of(number, ok, validation_fraction)
            parts.append([column[ok] for column in (outcomes.theta, outcomes.x, source, roles)])
        theta, x, source, is_validation = (np.concatenate(column) for column in zip(*parts))
        return Dataset(
            theta, x.reshape(len(x), *(x.shape[1:] or (1,))).astype(np.float64), source, is_validation, proposals
        )

    def _plan(self, theta: np.ndarray, proposal: Proposal) -> int:
        number = self.newest + 1
        seeds = random.row_seeds(self.seed, "simulate", number, len(theta))
        self._store.plan(number, theta, seeds, {"name": proposal.name})
        self.proposals[number] = proposal
        return number

    def _note(self, number: int, seconds: dict[str, float]) -> RoundRecord:
        counts = self._store.rounds[number].outcomes.counts()
        asked = len(self._store.rounds[number].ids)
        valid, failed, timed_out = (counts[name] for name in ("ok", "failed", "timed_out"))
        record = RoundRecord(number, self.proposals[number].name, asked, valid, failed, timed_out, seconds=seconds)
        self.records[number] = record
        if valid < asked and not self._warned:
            self._warned = True
            warnings.warn(
                f"{asked - valid} of {asked} simulations of round {number} gave no finite data ({record.invalid} NaN or infinite, "
                f"{failed} failed, {timed_out} timed out). They are left out: the posterior is that given that a simulation is valid. "
                "inference.rounds counts them; this is said once.",
                stacklevel=4,
            )
        return record

    def _check_enough(self) -> None:
        valid, newest = sum(record.valid for record in self.records.values()), self.records[self.newest]
        if valid < LEAST_ROWS or newest.valid == 0:
            raise SimulationError(
                f"Too few valid simulations to learn from: {newest.valid} of the {newest.asked} of round {newest.round}, {valid} in all; "
                f"at least {LEAST_ROWS} in all are needed, and one in the newest round. They are kept: run more, or see why they fail."
            )

    def _roles_of(self, number: int, ok: np.ndarray, fraction: float) -> np.ndarray:
        """Which rows of a round are for validation: drawn when it is first learned from, and kept."""
        if number not in self._roles:
            draws = np.where(ok, random.generator(self.seed, "validation", number).random(len(ok)), np.inf)
            count = int(np.clip(round(fraction * ok.sum()), 1, max(ok.sum() - 1, 0)))
            roles = np.zeros(len(ok), bool)
            roles[np.argsort(draws)[:count]] = True
            self._roles[number] = roles
        return self._roles[number]

"""Simulations that a run is checked with: in its store like all others, and apart from its rounds.

They have negative numbers there, so that nothing is ever learned from them, rounds count as if they were not, and the
seeds of later rounds do not depend on them. The same lines run again find them: what was simulated before a crash is
not simulated again, if it is for the same posterior at the same x_o.
"""

from __future__ import annotations

import numpy as np

from homing import random
from homing.diagnostics import Check
from homing.diagnostics.verdict import check_as_json
from homing.errors import ArgumentError, warn
from homing.inference.campaign import Campaign
from homing.inference.failing import without_data
from homing.proposals import Proposal


class Apart:
    """A run's simulations for checks.

    Args:
        campaign: The run's simulations.
    """

    def __init__(self, campaign: Campaign):
        self._campaign = campaign
        self._done: list[int] = []
        self._warned = False

    @property
    def count(self) -> int:
        """How many plans were simulated, or found to be."""
        return len(self._done)

    def check_simulator(self) -> None:
        """Raise ArgumentError if there is no simulator, and StoreError if it is not the one of the store."""
        if self._campaign.simulator is None:
            raise ArgumentError(
                "There is no simulator to check with: give one, SNPE(simulator, prior), or check with "
                "num_simulations=0, by what is known without."
            )
        self._campaign.compare_simulator()

    def simulate(self, num: int, proposal: Proposal, of: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Simulate, unless the store has it: theta (n, d) and x (n, *x_shape) of what was valid, n <= num.

        Args:
            num: How many.
            proposal: What they are drawn from.
            of: Which posterior is checked, and where; see `homing.posteriors.identity`.

        Raises:
            ArgumentError: If there is no simulator.
        """
        theta, x = self.simulate_sets(num, 1, proposal, of)
        return theta, x[:, 0]

    def simulate_sets(
        self, num: int, num_trials: int, proposal: Proposal, of: str | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same with several trials for each theta: x (n, num_trials, *x_shape) where all of a set are valid."""
        self.check_simulator()
        campaign, store = self._campaign, self._campaign.store
        what = {"name": proposal.name, "parts": None, "asked": num, "trials": num_trials}
        what |= {"of": of, "after": campaign.newest}
        number = next((number for number in store.rounds if self._is_open(number, what)), None)
        if number is None:
            number = min([0, *store.rounds]) - 1
            theta, how = campaign.drawn(num, proposal, random.word(campaign.seed, "propose check", -number))
            seeds = random.row_seeds(campaign.seed, "simulate check", -number, num * num_trials)
            store.plan(number, np.repeat(theta, num_trials, axis=0), seeds, {**what, "how": how})
        campaign.run_pending(store.rounds[number])
        self._done.append(number)
        outcomes = store.outcomes(number)
        lost = without_data(outcomes, " of this check")
        if lost and not self._warned:
            self._warned = True
            warn(f"{lost}. They are left out: the check is of simulations that are valid. This is said once.")
        x = outcomes.x.reshape(num, num_trials, *(outcomes.x.shape[1:] or (1,))).astype(np.float64)
        ok = outcomes.ok.reshape(num, num_trials).all(1)
        return outcomes.theta[::num_trials][ok], x[ok]

    def keep(self, check: Check) -> None:
        """Write down what a check said, with the last of its simulations."""
        if self._done:
            self._campaign.store.finish(self._done[-1], *_as_result(check))

    def _is_open(self, number: int, what: dict[str, object]) -> bool:
        """Whether the store has planned just this, in a process before."""
        kept = self._campaign.store.rounds[number].proposal
        return number < 0 and number not in self._done and all(kept.get(name) == what[name] for name in what)


def _as_result(check: Check) -> tuple[object, None, dict[str, np.ndarray]]:
    content, curves = check_as_json(check)
    return content, None, curves

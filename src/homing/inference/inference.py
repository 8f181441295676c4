"""What every method offers for simulations that are run elsewhere: append them, or ask and tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError
from homing.inference.campaign import Campaign
from homing.inference.simulating import check_count, check_rows
from homing.priors import Prior
from homing.proposals import Proposal, as_proposal
from homing.runs import OpenedRun, Rounds


class Inference:
    """A method's simulations; how it learns from them is the method's own.

    Args:
        prior: The prior.
        campaign: The simulations.
    """

    def __init__(self, prior: Prior, campaign: Campaign):
        self.prior = prior
        self.seed = campaign.seed
        self._campaign = campaign

    @property
    def rounds(self) -> Rounds:
        """One record a round; prints as a table."""
        return Rounds([record for _, record in sorted(self._campaign.records.items())])

    def append_simulations(self, theta: Any, x: Any, proposal: Any = None) -> Self:
        """Add simulations that were run elsewhere, as a round of their own.

        Args:
            theta: Shape (n, d).
            x: Shape (n, *x_shape); a row with NaN or infinity counts as invalid.
            proposal: What theta were drawn from: None for the prior, the posterior, or a distribution.

        Returns:
            This object, so that `.train()` can follow.

        Raises:
            ShapeError: If the shapes do not fit.
            ArgumentError: If some theta lies outside the prior's support, or the proposal is none.
        """
        self._campaign.append(*check_rows(theta, x, self.prior), self._as_proposal(proposal, simulated=True))
        return self

    def ask(self, num_simulations: int, proposal: Any = None) -> tuple[np.ndarray, Any]:
        """Plan a round that is simulated elsewhere, for example by a cluster's batch jobs: what to simulate.

        With a run file the plan is durable, and the results may be told tomorrow by another process.

        Args:
            num_simulations: How many.
            proposal: As for a call of this object.

        Returns:
            The simulations' ids, shape (n,), and theta, shape (n, d), of the prior's kind.

        Raises:
            ArgumentError: If an argument cannot work.
            StoreError: If the run file has planned this round otherwise.

        Example:
            >>> from homing.inference import SNPE
            >>> from homing.utils import BoxUniform
            >>> inference = SNPE(prior=BoxUniform([0.0], [1.0]), seed=0, show_progress_bars=False)
            >>> ids, theta = inference.ask(40)
            >>> inference.tell(ids[20:], theta[20:] ** 2), inference.tell(ids, theta**2)
            (20, 20)
            >>> _ = inference.train(max_num_epochs=1)
            >>> inference.build_posterior().sample((5,), x=[0.5]).shape
            (5, 1)
        """
        check_count(num_simulations)
        ids, theta = self._campaign.ask(num_simulations, self._as_proposal(proposal))
        return ids, self.prior.give(theta)

    def tell(self, ids: Any, x: Any = None, errors: Mapping[int, str] | None = None) -> int:
        """Keep results of simulations that were asked for: in any order, in parts, from any process.

        The first result of a simulation stands; telling it again does nothing.

        Args:
            ids: Shape (n,), some that `ask` gave.
            x: Shape (n, *x_shape); a row with NaN or infinity counts as invalid. None if all of them failed.
            errors: Why simulations failed, text by id; their rows of x are ignored.

        Returns:
            How many of the results were new.

        Raises:
            ShapeError: If ids and x do not fit each other or earlier data.
            ArgumentError: If an id was never given.
            StoreError: If the results cannot be written; none of them are then.
        """
        numbers = np.atleast_1d(to_numpy(ids, "ids"))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ArgumentError(
                f"ids must be whole numbers, shape (n,), found {numbers.dtype} of shape {numbers.shape}."
            )
        data = None if x is None else to_numpy(x, "x")
        if data is not None and (data.ndim == 0 or len(data) != len(numbers)):
            raise ShapeError(f"x must have one entry for each of the {len(numbers)} ids, found shape {data.shape}.")
        return self._campaign.tell(numbers.astype(np.int64), data, errors or {})

    def _as_proposal(self, proposal: Any, simulated: bool = False) -> Proposal:
        """What a user's object stands for; `simulated` if theta have been drawn from it already."""
        return as_proposal(proposal, self.prior)

    @property
    def view(self) -> OpenedRun:
        """The run as `homing.open` shows it, also if it has no file: simulations, records, posteriors, facts."""
        return self._campaign.view()

    def report(self, path: str | Path, **options: Any) -> Path:
        """Write one page on this run: what was simulated and learned, the posterior, and whether to believe it.

        Args:
            path: The file, best with the suffix .html; one of that name is replaced.
            **options: As for `homing.report`: `check`, `labels`, `points` and so on.

        Returns:
            The file.
        """
        from homing.report import report

        with self.view as view:
            return report(view, path, **options)

    def close(self) -> None:
        """Let go of the run file, so that another process may write to it."""
        self._campaign.close()

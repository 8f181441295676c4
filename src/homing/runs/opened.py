"""Looking into a run file, with the posteriors that its rounds learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from homing.diagnostics import Check
from homing.diagnostics.verdict import check_from_json
from homing.errors import NotTrainedError
from homing.estimators import Builder
from homing.posteriors import Posterior, identity, restored
from homing.posteriors.serialize import Packed, unpack
from homing.priors import Prior, as_prior
from homing.runs.rounds import RoundRecord, Rounds
from homing.simulation import Result, RunView
from homing.simulation.keeper import Memory
from homing.simulation.typed import understood


class OpenedRun(RunView):
    """A run, read-only: its simulations, its rounds' records, and the posterior of any round. See `open`."""

    def __init__(self, source: str | Path | Memory, prior: Prior | None, embedding_net: Any):
        super().__init__(source)
        self._prior, self._embedding_net = prior, embedding_net

    @property
    def records(self) -> Rounds:
        """The finished rounds' records; prints as a table."""
        return Rounds([RoundRecord.from_json(result.record) for number, result in self._results() if number > 0])

    @property
    def checks(self) -> tuple[Check, ...]:
        """What checks that spent simulations said, in their order."""
        return tuple(check_from_json(result.record, result.arrays) for number, result in self._results() if number < 0)

    def check_of(self, posterior: Posterior | None, x_o: np.ndarray | None) -> int | None:
        """The place among `checks` of the newest that is of a posterior at x_o; None if there is none.

        A posterior that no file holds, None, is taken for the one that was checked after the newest round.
        """
        with understood(self.name):
            return self._check_of(posterior, x_o)

    def _check_of(self, posterior: Posterior | None, x_o: np.ndarray | None) -> int | None:
        of = None if posterior is None else identity(posterior, x_o)
        checked = [self.rounds[number].proposal for number, _ in self._results() if number < 0]
        newest = max((record.round for record in self.records), default=0)
        places = [k for k, each in enumerate(checked) if each["of"] == of and (of or each["after"] == newest)]
        return places[-1] if places else None

    def _results(self) -> list[tuple[int, Result]]:
        return [(number, known.result) for number, known in self.rounds.items() if known.result is not None]

    def posterior(self, round: int | None = None) -> Posterior:
        """The posterior learned after a round.

        Args:
            round: Its number, from 1; None for the newest round that was learned from.

        Raises:
            NotTrainedError: If nothing was learned after this round, or its estimator is of a kind that no file holds.
            PriorError, ArgumentError: If the prior or the builder is needed: pass them to `homing.open`.
        """
        results = {number: result for number, result in self._results() if number > 0}
        if round is None and results:
            round = max(results)
        if round not in results:
            which = "" if round is None else f" of round {round}"
            learned = (
                f"learned were rounds {sorted(results)}."
                if results
                else "no round was learned from yet. Go on with it."
            )
            raise NotTrainedError(f"{self.name} has no posterior{which}: {learned}")
        with understood(self.name):
            return self._restored(results[round], round)

    def _restored(self, result: Result, round: int) -> Posterior:
        if result.estimator["posterior"] is None:
            raise NotTrainedError(
                f"The estimator of round {round} comes from a builder of the user's own, which a run file cannot hold. "
                "Run the lines again that made the run: it is trained again from the simulations there."
            )
        return restored(unpack(Packed(result.estimator["posterior"], result.arrays), self._prior, self._embedding_net))


def open(path: str | Path, *, prior: Any = None, density_estimator: Builder | None = None) -> OpenedRun:
    """Look into a run file, also while the run goes on. Nothing is written, and no code of the file is run.

    Args:
        path: The file that was given as `store`.
        prior: The run's prior: needed for posteriors only, and only if it is an object with `sample` and `log_prob`.
        density_estimator: The run's builder: needed for posteriors only, and only if it has an `embedding_net`
            of your own.

    Returns:
        Its `rounds`, `records`, `checks`, `facts`, `simulations()`, `to_pandas()`, `to_xarray()` and `posterior()`.

    Raises:
        StoreError: If the file is not there, is no run file, is damaged or has a newer format.

    Example:
        >>> import tempfile
        >>> from homing.inference import SNPE
        >>> from homing.utils import BoxUniform
        >>> path = Path(tempfile.mkdtemp(), "run.homing")
        >>> prior = BoxUniform([0.0, 0.0], [1.0, 1.0])
        >>> inference = SNPE(lambda theta: theta, prior, store=path, show_progress_bars=False)
        >>> _ = inference(num_simulations=50, max_num_epochs=1)
        >>> run = open(path)
        >>> print(run)
        round 1: 50 simulations planned, 50 ok
        >>> run.posterior().sample((5,), x=[0.5, 0.5]).shape
        (5, 2)
    """
    known = None if prior is None else as_prior(prior)
    return OpenedRun(path, known, getattr(density_estimator, "embedding_net", None))

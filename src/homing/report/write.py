"""Writing the page of a run into a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from homing.diagnostics import Check
from homing.errors import ArgumentError
from homing.posteriors import Posterior
from homing.report.page import page
from homing.report.story import tell
from homing.runs import OpenedRun
from homing.runs import open as open_run
from homing.simulation.typed import understood
from homing.simulation.writing import replacing


class HasView(Protocol):
    """An inference object."""

    @property
    def view(self) -> OpenedRun: ...


def report(
    run: str | Path | OpenedRun | HasView,
    path: str | Path,
    *,
    check: Check | None = None,
    labels: Sequence[str] | None = None,
    points: Any = None,
    x: Any = None,
    posterior: Posterior | None = None,
    prior: Any = None,
    density_estimator: Any = None,
) -> Path:
    """Write one page on a run: the posterior, the rounds, the verdict, what failed and where, how to make it again.

    The page needs no network and no other file; it is readable on a phone, in light and dark. Under each figure is the
    code that makes it.

    Args:
        run: A run file, what `homing.open` returned, or an inference object.
        path: The page, best with the suffix .html; a file of that name is replaced.
        check: What diagnostics said of the posterior; by default what the run keeps of its newest posterior.
        labels: The parameters' names, with units; by default those in the run file, if there are.
        points: True parameters to mark, shape (d,).
        x: The observation, where the run does not know it.
        posterior: A posterior to show instead of the newest that the run has.
        prior: As for `homing.open`, of a run file.
        density_estimator: Likewise.

    Returns:
        The page's path.

    Raises:
        StoreError: If the run file cannot be read.
        ArgumentError, ObservationError: If labels, points or x do not fit the run.
        OutputError: If the page cannot be written; this is an OSError too.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from homing.simulation import Outcomes, open_store
        >>> folder = Path(tempfile.mkdtemp())
        >>> with open_store(folder / "run.homing") as store:  # a run that goes on: simulated, not learned from yet
        ...     ids = store.plan(1, theta=np.zeros((2, 3)), seeds=np.arange(2), proposal={"name": "prior"})
        ...     done = store.record(ids, Outcomes.given(np.zeros((2, 3)), [[5.0], [6.0]]))
        >>> page = report(folder / "run.homing", folder / "report.html")
        >>> "2 simulations" in page.read_text()
        True
    """
    options = {"check": check, "labels": labels, "points": points, "x": x, "posterior": posterior}
    if isinstance(run, (str, Path)):
        opened = open_run(run, prior=prior, density_estimator=density_estimator)
    elif isinstance(run, OpenedRun):
        opened = nullcontext(run)  # which stays open
    elif isinstance(getattr(run, "view", None), OpenedRun):
        opened = run.view
    else:
        raise ArgumentError(
            f"run must be a run file, what homing.open returned, or an inference object, found {type(run).__name__}."
        )
    with opened as view, understood(view.name):
        text = page(tell(view, **options), time.strftime("%Y-%m-%d %H:%M"))
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
    return Path(path)

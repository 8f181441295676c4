"""What is finished while a long simulation runs is handed over before its task comes back.

A task comes back after a quarter of a second, unless a simulation that takes longer has begun by then. What the task
had finished before would wait for it, and be lost with it. So a second thread looks four times a second what there is,
and hands it over; when the task comes back, it comes once more with all the others. A worker process hands it over as a
file in a folder of the run's: unlike a pipe, it is never found half written where the worker is killed.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from homing.simulation.outcomes import Outcomes

Keep = Callable[[np.ndarray, Outcomes], Any]  # of row numbers and their outcomes
PATIENCE = 0.25  # seconds


class Early:
    """Within the block, `finished()` is looked at four times a second, and what is new is handed to `keep`.

    Args:
        keep: Gets row numbers and their outcomes, in another thread; what it raises is passed over, as the same rows
            come again. None does nothing.
        finished: What there is.
    """

    def __init__(self, keep: Keep | None, finished: Callable[[], tuple[np.ndarray, Outcomes]]):
        self._keep, self._finished = keep, finished
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Early:
        if self._keep is not None:
            self._thread = threading.Thread(target=self._look, args=(self._keep,), daemon=True, name="homing-early")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, keep: Keep) -> None:
        told = 0
        while not self._over.wait(PATIENCE):
            rows, outcomes = self._finished()
            if len(rows) > told:
                with suppress(Exception):
                    keep(rows[told:], outcomes[told:])
                told = len(rows)


def send(folder: str, rows: np.ndarray, outcomes: Outcomes) -> None:
    """In a worker: leave rows in a folder for the process that runs the run."""
    path = Path(folder, os.urandom(8).hex())
    path.write_bytes(pickle.dumps((rows, outcomes)))
    path.rename(path.with_suffix(".rows"))


def receive(folder: str, keep: Keep) -> None:
    """Keep what workers have left in a folder of this user's alone."""
    for path in Path(folder).glob("*.rows"):
        rows, outcomes = pickle.loads(path.read_bytes())
        path.unlink()
        keep(rows, outcomes)

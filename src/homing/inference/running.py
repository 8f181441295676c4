"""How simulations are run and kept: what every method is given, and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict


class Running(TypedDict, total=False):
    """How simulations are run and kept, for every method.

    Attributes:
        num_workers: Processes that simulate; the numbers do not depend on it.
        seed: Makes the run repeatable. None takes one from the global generator of the prior's library.
        show_progress_bars: Whether to show bars and say what is going on.
        executor: Any `concurrent.futures.Executor` to simulate with, instead of processes of our own.
        batched: Whether the simulator takes a batch (b, d).
        simulation_batch_size: Rows in a call of a batched simulator.
        timeout: Seconds a simulation may take.
        max_failures: Stop after so many failed simulations in a row.
        store: A run file in which every simulation is durable once it is done, and each round's estimator once it is
            trained; None keeps them in memory. After a crash, run the same lines again: what is in the file is not
            simulated, drawn or trained again, and the numbers are those of a run without the crash. `close()` lets go
            of the file.
    """

    num_workers: int
    seed: int | None
    show_progress_bars: bool
    executor: Any
    batched: bool | None
    simulation_batch_size: int
    timeout: float | None
    max_failures: int
    store: str | Path | None


DEFAULTS: Running = {
    "num_workers": 1,
    "seed": None,
    "show_progress_bars": True,
    "executor": None,
    "batched": None,
    "simulation_batch_size": 1000,
    "timeout": None,
    "max_failures": 100,
    "store": None,
}

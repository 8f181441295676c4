"""One theta or a batch: finding out how a simulator wants to be called, by what it returns.

The first planned thetas, shape (d,), are simulated one at a time. As soon as one of them does not fail, the simulator
takes one theta at a time: that is right for every simulator that accepts it, whether or not it takes batches too. It is
asked for batches only where all of these fail, or where one theta gives d rows, as if each parameter were a theta
(`theta + randn(len(theta), k)`). That takes three calls that are thrown away: of two sizes, which must give one row for
each theta, and under another seed. Rows that are alike for one repeated theta, and differ between seeds, share their
noise, as in `theta + randn(3)`: that is no simulator for batches.

No clock is looked at, so the same seed gives the same numbers on any day and with any number of workers.
"""

from __future__ import annotations

import numpy as np

from homing.simulation.deadline import call_within
from homing.simulation.generators import Generators
from homing.simulation.interrupts import by_keyboard
from homing.simulation.simulator import Simulator
from homing.simulation.task import Task

PROBED_ROWS = 8  # planned rows that must fail one at a time before a simulator is asked for batches


def gives_batches(simulator: Simulator, task: Task, row_shape: tuple[int, ...] | None = None) -> bool:
    """Whether batches of the task's thetas come back with one row for each theta, and with noise of its own.

    Args:
        simulator: What is asked.
        task: Rows to take theta and a seed from.
        row_shape: The shape that a row must have; None for any.
    """
    theta, seed = task.theta, int(task.seeds[0])
    first, second = [size for size in (3, 4, 5) if size != theta.shape[1]][:2]
    repeated = np.resize(theta[0], (second, theta.shape[1]))
    try:
        some = _call(simulator, task, np.resize(theta, (first, theta.shape[1])), seed)
        alike, other = (_call(simulator, task, repeated, seed + i) for i in range(2))
        if row_shape not in (None, some.shape[1:]):
            return False
        if some.shape[:1] != (first,) or alike.shape != (second, *some.shape[1:]) or alike.shape != other.shape:
            return False
        is_shared = np.array_equal(alike, np.broadcast_to(alike[:1], alike.shape), equal_nan=True)
        return not is_shared or np.array_equal(alike, other, equal_nan=True)
    except BaseException as error:
        if by_keyboard(error):
            raise
        return False


def _call(simulator: Simulator, task: Task, theta: np.ndarray, seed: int) -> np.ndarray:
    with Generators(simulator.function, simulator.randomness is None) as generators:
        generators.seed(seed)
        return call_within(task.timeout, lambda: simulator(theta, seed))

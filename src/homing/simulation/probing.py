"""One theta or a batch: finding out how a simulator wants to be called.

The first planned theta, shape (d,), is tried alone.

1. *It raises.* If batches of two sizes come back with one row for each theta, the simulator is batched. Otherwise the
   error was the first row's, and rows are simulated one by one.
2. *It takes more than 10 ms.* Not batched; what was simulated is kept. (Where the first call took under a second the
   next row is tried before that is believed: first calls compile and import.)
3. *It is fast.* Batched only if throw-away calls, nineteen at the most, show that it is right and pays:

   - *Shape*: a batch of b thetas gives b rows of what one theta gives.
   - *No influence*: under one seed, changing one theta of a batch changes no other row. (A mean over the batch, or an
     index along the wrong axis, shows here.)
   - *Same numbers*: a batch of one theta gives what that theta gives alone under the same seed. (`[gauss(t) for t in
     theta]` over rows of a batch gives all columns of a row the same noise.)
   - *Gain*: a batch of 16 takes less than half the time of 16 thetas one by one, the best of three.
   - *No shared noise*: in batches of one repeated theta, batch means scatter no more than independent rows would let
     them, by an analysis of variance. (`theta + randn(3)` broadcasts over a batch and gives every row the same noise.)
   - *Same data*: a simulator that draws nothing gives in a batch what it gives alone.

   A simulator for batches that happens to swallow one theta, as a batch of 1 or of d rows, passes with the shape of its
   batch's rows.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from homing.simulation.deadline import TimedOut, call_within
from homing.simulation.generators import GlobalGenerators
from homing.simulation.outcomes import Outcomes, Status, joined
from homing.simulation.simulator import Simulator
from homing.simulation.task import Task, run_task

PROBED_ROWS = 32  # planned rows that probing may use
_FAST = 0.010  # seconds for one theta above which a simulator is not batched
_FIRST_CALL = 1.0  # seconds within which a slow first call may have been compilation
_GROUPS, _GROUP_SIZE = 8, 128  # batches of one repeated theta
_LARGEST_F = 7.0  # 1e-8 by chance; noise shared by a batch of half the size of its rows' own exceeds it 98 times in 100


@dataclass(frozen=True)
class Probed:
    """What was found: whether the simulator is batched, and, if it is not, the outcomes of the first rows."""

    batched: bool
    outcomes: Outcomes | None


def probe(simulator: Simulator, task: Task) -> Probed:
    """Find out whether a simulator is batched, on the first rows of a run."""
    alone = simulator.decided(False)
    outcomes = run_task(alone, task.part(0, 1))
    if outcomes.status[0] == Status.FAILED:
        batched = _gives_batches(simulator, task)
        return Probed(batched, None if batched else outcomes)
    if outcomes.status[0] == Status.TIMED_OUT:
        return Probed(False, outcomes)
    if _FAST < outcomes.seconds[0] < _FIRST_CALL and len(task.theta) > 1:
        x_shape = outcomes.x_shape
        outcomes = joined(outcomes, run_task(alone, replace(task.part(1, 2), x_shape=x_shape)))
    batched = bool(outcomes.seconds[-1] <= _FAST) and _proven(simulator, task, outcomes.x[0])
    return Probed(batched, None if batched else outcomes)


def _timed(simulator: Simulator, task: Task, theta: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    with GlobalGenerators() if simulator.randomness is None else nullcontext() as generators:
        if generators is not None:
            generators.seed(seed)
        begin = time.perf_counter()
        x = call_within(task.timeout, lambda: simulator(theta, seed))
        return x, time.perf_counter() - begin


def _call(simulator: Simulator, task: Task, theta: np.ndarray, seed: int) -> np.ndarray:
    return _timed(simulator, task, theta, seed)[0]


def _sizes(d: int, *avoid: int) -> list[int]:
    """Two batch sizes that no other length could be mistaken for."""
    return [size for size in range(3, 20) if size != d and size not in avoid][:2]


def _gives_batches(simulator: Simulator, task: Task) -> bool:
    try:
        shapes = []
        for size in _sizes(task.theta.shape[1]):
            x = _call(simulator, task, np.resize(task.theta, (size, task.theta.shape[1])), int(task.seeds[0]))
            if x.shape[:1] != (size,):
                return False
            shapes.append(x.shape[1:])
        return shapes[0] == shapes[1]
    except (Exception, SystemExit, TimedOut):
        return False


def _proven(simulator: Simulator, task: Task, single: np.ndarray) -> bool:
    if len(np.unique(task.theta, axis=0)) < 2:
        return False
    try:
        with np.errstate(all="ignore"):
            right = _rows_do_not_mix(simulator, task, single) and _one_is_as_alone(simulator, task, single)
            if not (right and _pays(simulator, task)):
                return False
            return _noise_is_not_shared(simulator, task, single)
    except (Exception, SystemExit, TimedOut):
        return False


def _row_shapes(single: tuple[int, ...], d: int) -> list[tuple[int, ...]]:
    """The shapes a batch's rows may have if one theta gave `single`: that, or its rows if it took theta for a batch."""
    return [single, single[1:]] if single[:1] in [(1,), (d,)] else [single]


def _rows_do_not_mix(simulator: Simulator, task: Task, single: np.ndarray) -> bool:
    d, seed = task.theta.shape[1], int(task.seeds[0])
    for size, row in zip(_sizes(d, *single.shape), (0, -1)):
        theta = np.resize(task.theta, (size, d))
        changed = theta.copy()
        changed[row] = next(other for other in task.theta if (other != theta[row]).any())
        x, y = _call(simulator, task, theta, seed), _call(simulator, task, changed, seed)
        if x.shape[:1] != (size,) or x.shape[1:] not in _row_shapes(single.shape, d):
            return False
        if not np.array_equal(np.delete(x, row, axis=0), np.delete(y, row, axis=0), equal_nan=True):
            return False
    return True


def _one_is_as_alone(simulator: Simulator, task: Task, single: np.ndarray) -> bool:
    x = _call(simulator, task, task.theta[:1], int(task.seeds[0]))
    if x.shape[1:] != single.shape:  # alone it took theta for a batch, so there is nothing to compare
        return True
    return np.allclose(x[0], single, rtol=1e-4, atol=0, equal_nan=True)


def _pays(simulator: Simulator, task: Task) -> bool:
    batch, seed = np.resize(task.theta, (16, task.theta.shape[1])), int(task.seeds[0])
    one, many = (min(_timed(simulator, task, theta, seed)[1] for _ in range(3)) for theta in (task.theta[0], batch))
    return many < 16 / 2 * one


def _noise_is_not_shared(simulator: Simulator, task: Task, single: np.ndarray) -> bool:
    repeated = np.resize(task.theta[0], (_GROUP_SIZE, task.theta.shape[1]))
    calls = [_call(simulator, task, repeated, int(task.seeds[0]) + 1 + g) for g in range(_GROUPS)]
    x = np.stack(calls).astype(float).reshape(_GROUPS, _GROUP_SIZE, -1)
    first, x = x[0, 0], x - x[0, 0]  # what is constant has no variance at all
    if not x.any():  # it draws nothing
        return np.allclose(first, single.ravel()[-len(first) :])
    within, between = x.var(axis=1, ddof=1).mean(axis=0), x.mean(axis=1).var(axis=0, ddof=1) * _GROUP_SIZE
    return bool(np.all(between <= _LARGEST_F * within))

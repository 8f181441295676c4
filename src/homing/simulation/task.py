"""What a worker does: some rows of a run, one call a row or one call a batch.

This module and what it imports are all of the package that a worker process loads.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import time
import traceback
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from homing.simulation.deadline import TimedOut, call_within
from homing.simulation.early import Early, Keep
from homing.simulation.generators import Generators
from homing.simulation.interrupts import by_keyboard, forget, is_main_thread, was_pressed
from homing.simulation.outcomes import Outcomes, Status, as_text, statuses, wrong_shape
from homing.simulation.simulator import Simulator
from homing.simulation.surroundings import Surroundings

_HERE = str(Path(__file__).parent.parent) + os.sep
_LONGEST_ERROR = 4000  # characters of an error's text that are kept


@dataclass(frozen=True)
class Task:
    """Rows to simulate in one go.

    Attributes:
        rows: Shape (n,): their numbers in the plan.
        theta: Shape (n, d).
        seeds: Shape (n,).
        batch_size: Rows a call of a batched simulator; a batch begins at each row number that is a multiple of it.
        x_shape: The data's shape, if known.
        timeout: Seconds a call may take, or None.
        deaths: Workers that died over exactly these rows.
        planned: Rows in the whole plan, which says how long its last batch is.
        seconds: After how long the task comes back with what it has, so that it can be kept.
    """

    rows: np.ndarray
    theta: np.ndarray
    seeds: np.ndarray
    batch_size: int = 1
    x_shape: tuple[int, ...] | None = None
    timeout: float | None = None
    deaths: int = 0
    planned: int = 0
    seconds: float = math.inf

    def part(self, start: int, stop: int) -> Task:
        """The task's rows from `start` to before `stop`."""
        rows = slice(start, stop)
        return replace(self, rows=self.rows[rows], theta=self.theta[rows], seeds=self.seeds[rows])

    def batches(self) -> list[tuple[int, int]]:
        """Where each batch begins and ends within the task."""
        cuts = np.flatnonzero(np.diff(self.rows // self.batch_size)) + 1
        edges = [0, *cuts.tolist(), len(self.rows)]
        return list(pairwise(edges))

    def is_whole(self, start: int, stop: int) -> bool:
        """Whether these rows are all that are planned of their batch. Of one that was begun row by row some are not."""
        first = self.rows[start] // self.batch_size * self.batch_size
        return stop - start == min(self.batch_size, self.planned - first)


def worker_name() -> str:
    """Host and process, for the record."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_task(simulator: Simulator, task: Task, keep: Keep | None = None) -> Outcomes:
    """The outcomes of the task's rows, or of the first of them where its time is up or Ctrl-C was pressed.

    Whatever a simulation does short of killing the process is in them. `keep` gets what is finished while a long
    simulation runs, from another thread; see `Early`.
    """
    simulator.kind.give(task.theta[:0])  # imports the kind's library before anything is seeded
    forget()
    draws_globally = simulator.randomness is None
    # Where the simulator gets its randomness, the caller's generators are put back too; but threads do not wait for it.
    with Generators(simulator.function, draws_globally, draws_globally or is_main_thread()) as generators:
        rows = _Rows(simulator, task, generators)
        with Early(keep if len(task.rows) > 1 else None, rows.finished):  # of one row nothing waits for another
            rows.run()
        return rows.finished()[1]


class _Rows:
    """The task's outcomes while they come in."""

    def __init__(self, simulator: Simulator, task: Task, generators: Generators):
        self.simulator, self.task, self.generators = simulator, task, generators
        self.x_shape, self.outcomes = task.x_shape, Outcomes.planned(task.theta)
        self.outcomes.worker[:] = worker_name()
        self.done = 0
        self.surroundings = Surroundings()

    def finished(self) -> tuple[np.ndarray, Outcomes]:
        """The rows that are done, and their outcomes."""
        done = self.done
        return self.task.rows[:done], self.outcomes[:done]

    def run(self) -> None:
        """Simulate rows until all are done or it is time to come back."""
        end = time.perf_counter() + self.task.seconds
        for start, stop in self.task.batches():
            as_batch = self.simulator.batched and stop - start > 1 and self.task.is_whole(start, stop)
            if as_batch and self.ran_batch(start, stop):
                self.done = stop
                if time.perf_counter() > end:
                    return
                continue
            for row in range(start, stop):  # a batch that failed is taken apart to find the row that spoils it
                if was_pressed():
                    return
                self.run_row(row)
                if was_pressed():  # what it was pressed in, it may have spoiled
                    return
                self.done = row + 1
                if time.perf_counter() > end:
                    return

    def call(self, theta: np.ndarray, first: int) -> np.ndarray:
        seed = int(self.task.seeds[first])
        self.generators.seed(seed)
        try:
            x = call_within(self.task.timeout, lambda: self.simulator(theta, seed))
        finally:
            self.surroundings.put_back()
        if self.generators.gained_torch():  # the call imported it, and drew unseeded
            return self.call(theta, first)
        return x

    def ran_batch(self, start: int, stop: int) -> bool:
        """Simulate a batch in one call; False if that did not give one row for each."""
        begin = time.perf_counter()
        try:
            x = self.call(self.task.theta[start:stop], start)
        except BaseException as error:
            by_keyboard(error)  # which is noted, and ends the task
            return False
        if was_pressed() or x.shape[:1] != (stop - start,) or x.size == 0:
            return False
        if not self.has_room(x.shape[1:], x.dtype):
            return False
        self.outcomes.x[start:stop] = x
        self.outcomes.status[start:stop] = statuses(x)
        self.outcomes.seconds[start:stop] = (time.perf_counter() - begin) / (stop - start)
        return True

    def run_row(self, row: int) -> None:
        """Simulate one row in a call of its own; a batched simulator gets a batch of one."""
        begin = time.perf_counter()
        try:
            batched = self.simulator.batched
            x = self.call(self.task.theta[row : row + 1] if batched else self.task.theta[row], row)
            self.keep(row, self.of_one(x))
        except TimedOut:
            self.outcomes.status[row] = Status.TIMED_OUT
            self.outcomes.error[row] = timed_out(self.task.timeout)
        except subprocess.TimeoutExpired as error:  # a program that the simulator runs under a limit of its own
            self.outcomes.status[row] = Status.TIMED_OUT
            self.outcomes.error[row] = str(error)
        except BaseException as error:  # panics of extensions and cancelled tasks are no Exception
            if not by_keyboard(error):
                self.outcomes.status[row] = Status.FAILED
                self.outcomes.error[row] = error_text(error)
        self.outcomes.seconds[row] = time.perf_counter() - begin

    def of_one(self, x: np.ndarray) -> np.ndarray:
        """The data of one theta, from what a call of one gave: of a batch of one the only row."""
        if self.simulator.batched:
            if x.shape[:1] != (1,):
                raise _Rejected(f"the simulator returned shape {x.shape} for a batch of 1 theta; expected (1, ...)")
            return x[0]
        if x.ndim == 2 and len(x) == 1 and self.x_shape != x.shape:  # written for batches: (1, k) are k numbers
            return x[0]
        return x

    def keep(self, row: int, x: np.ndarray) -> None:
        if x.size == 0:
            raise _Rejected(f"the simulator returned no data: an array of shape {x.shape}")
        if not self.has_room(x.shape, x.dtype):
            raise _Rejected(wrong_shape(self.x_shape or (), x.shape))
        self.outcomes.x[row] = x
        self.outcomes.status[row] = Status.OK if np.isfinite(x).all() else Status.INVALID

    def has_room(self, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        """Whether data of this shape can be kept; the first data make the room, a higher precision widens it."""
        old = self.outcomes
        if self.x_shape not in (None, shape):
            return False
        if old.x_shape is None:
            x = np.full((len(old), *shape), np.nan, dtype)
        elif old.x.dtype != dtype and np.result_type(old.x, dtype) != old.x.dtype:
            x = old.x.astype(np.result_type(old.x, dtype))
        else:
            return True
        self.x_shape = shape
        self.outcomes = Outcomes(old.theta, x, old.status, old.error, old.seconds, old.worker)
        return True


class _Rejected(Exception):
    """An output that cannot be kept; its message is the row's error."""


def timed_out(timeout: float | None) -> str:
    """The error text of a row whose time was up."""
    return f"the simulation had not returned after timeout={timeout} seconds"


def error_text(error: BaseException) -> str:
    """The last lines of the simulator's own traceback, without the frames of this package."""
    if isinstance(error, _Rejected):
        return as_text(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace) if trace else traceback.format_exception_only(error)
    return as_text("".join(lines).strip()[-_LONGEST_ERROR:]) or type(error).__name__

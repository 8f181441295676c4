"""Running the simulations of a round.

`simulate` yields finished rows as they come, so that a caller can make them durable at once; a round is complete when
all planned rows are done, never when "the first n" are, which would prefer the thetas whose simulations are quick. What
a row gives depends on its theta, its seed and, for a batched simulator, on the rows of its batch; batches begin at
fixed rows. So results depend neither on the executor, nor on the number of workers, nor on how long anything took.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from homing.errors import ArgumentError, ShapeError, SimulationError, warn
from homing.simulation.deadline import GRACE
from homing.simulation.engines import Engine, engine_for
from homing.simulation.interrupts import Interrupt
from homing.simulation.outcomes import Outcomes, Status, assembled
from homing.simulation.probing import PROBED_ROWS, Probed, probe
from homing.simulation.simulator import Simulator
from homing.simulation.task import Task, run_task, timed_out

_TASK_SECONDS = 0.25  # work handed out at a time; a task's overhead is about a millisecond
_TASK_BYTES = 2**26
_TASK_ROWS = 2**16
_PARTS = 16  # into which the rows of a dead worker are divided to find the one it died over
_COSTLY = 10.0  # seconds after which a simulator that is still being probed is taken not to be batched


def simulate(
    simulator: Simulator,
    theta: np.ndarray,
    seeds: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    executor: Any = None,
    num_workers: int = 1,
    batch_size: int = 1000,
    timeout: float | None = None,
    max_failures: int = 100,
    x_shape: tuple[int, ...] | None = None,
) -> Run:
    """Simulate planned rows and yield them as they are finished.

    Args:
        simulator: What to run.
        theta: Shape (n, d): the planned parameters.
        seeds: Shape (n,): one seed a row, as from `homing.random.row_seeds`.
        rows: Which of the planned rows to simulate, ascending; None for all. (What a resumed round still lacks.)
        executor: Any `concurrent.futures.Executor` (processes, threads, `mpi4py.futures.MPIPoolExecutor`) or a client
            of Dask. None: this process, or `num_workers` processes of our own.
        num_workers: Processes on this machine; with an executor, how many workers it has, if more than 256.
        batch_size: Rows a call of a batched simulator; batches begin at the planned rows 0, batch_size, and so on.
        timeout: Seconds that one call may take; a batch that takes longer is taken apart and its rows tried alone. With
            a timeout the rows run in a worker process even if `num_workers` is 1.
        max_failures: After so many failed or timed out rows in a row, stop.
        x_shape: The data's shape, if earlier simulations decided it; else the first finished row with data decides.

    Returns:
        An iterator over (rows, outcomes), rows being their numbers in the plan. `.simulator` tells, from the first pair
        on, whether the simulator is batched; `.collect()` runs everything and returns the outcomes of all planned rows.

    Raises:
        ArgumentError: If an argument cannot work, or the simulator cannot be sent to other processes.
        ShapeError: If theta is not a matrix or seeds do not fit it.
        SimulationError: While iterating, when `max_failures` is reached or the executor broke.
        KeyboardInterrupt: While iterating: after the first Ctrl-C what runs is finished and yielded before it is
            raised; a second one raises at once.

    Example:
        >>> seeds = np.arange(4)
        >>> outcomes = simulate(Simulator(lambda theta: theta.sum()), np.ones((4, 2)), seeds).collect()
        >>> outcomes.x, outcomes.counts()["ok"]
        (array([2., 2., 2., 2.]), 4)
    """
    theta, seeds = np.asarray(theta, float), np.asarray(seeds, np.uint64)
    if theta.ndim != 2 or seeds.shape != theta.shape[:1]:
        raise ShapeError(f"theta must have shape (n, d) and seeds (n,), found {theta.shape} and {seeds.shape}.")
    counts_fit = all(isinstance(n, (int, np.integer)) and n > 0 for n in (batch_size, max_failures))
    if not counts_fit or not (timeout is None or (isinstance(timeout, Real) and timeout > 0)):
        raise ArgumentError(
            "batch_size and max_failures must be positive whole numbers, and timeout positive or None, "
            f"found batch_size={batch_size!r}, max_failures={max_failures!r}, timeout={timeout!r}."
        )
    if isinstance(executor, ThreadPoolExecutor) and simulator.randomness is None:
        warn(
            f"The simulator {simulator.name} takes neither seed, rng nor key, so it may draw from global generators, "
            "which threads share: it runs in one thread at a time. With one of these parameters it runs in all."
        )
    plan = Task(np.arange(len(theta)), theta, seeds, batch_size, x_shape, timeout)
    if rows is not None:
        plan = replace(plan, rows=rows, theta=theta[rows], seeds=seeds[rows])
    return Run(simulator, plan, theta, engine_for(executor, num_workers, timeout), max_failures)


class Run(Iterator[tuple[np.ndarray, Outcomes]]):
    """Simulations under way, as `simulate` returns them.

    Attributes:
        simulator: The simulator; from the first yielded pair on, its `batched` is decided.
    """

    def __init__(self, simulator: Simulator, plan: Task, theta: np.ndarray, engine: Engine, max_failures: int):
        self.simulator = simulator
        self._plan, self._theta, self._engine, self._max_failures = plan, theta, engine, max_failures
        self._x_shape = plan.x_shape
        self._next = 0  # the first row that was never handed out
        self._again: deque[Task] = deque()  # rows to hand out again
        self._running: dict[Future[Any], tuple[Task, float]] = {}
        self._rows_per_task = 1
        self._done = 0
        self._failures, self._first_failure = 0, ""  # in a row, up to now
        self._pairs = self._run()

    def __next__(self) -> tuple[np.ndarray, Outcomes]:
        return next(self._pairs)

    def collect(self) -> Outcomes:
        """Run everything; the outcomes of all planned rows, in planned order."""
        return assembled(self._theta, self)

    def close(self) -> None:
        """Stop at once; worker processes in the middle of a row are ended."""
        self._pairs.close()

    def _run(self) -> Generator[tuple[np.ndarray, Outcomes], None, None]:
        with closing(self._engine), Interrupt() as interrupt:
            if self.simulator.batched is not None:
                self._decide(self.simulator.batched)
            elif len(self._plan.rows):
                self._find_out_if_batched()
            while self._running or (self._has_more() and not interrupt.asked):
                self._hand_out(interrupt)
                if interrupt.asked:
                    self._cancel_waiting()
                broken: SimulationError | None = None
                for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                    outcome = self._finished(*self._take(future))
                    if self._running and broken is None:  # they go on while the caller keeps what this one gave
                        try:
                            self._hand_out(interrupt)
                        except SimulationError as error:  # after what is done has been kept
                            broken = error
                    if outcome is not None:
                        self._done += len(outcome[0])
                        yield outcome
                        self._count_failures(*outcome)
                if broken is not None:
                    raise broken
            if interrupt.asked:
                raise KeyboardInterrupt

    def _hand_out(self, interrupt: Interrupt) -> None:
        while self._has_more() and not interrupt.asked and len(self._running) < self._engine.in_flight:
            self._submit(run_task, self._next_task())

    def _has_more(self) -> bool:
        return bool(self._again) or self._next < len(self._plan.rows)

    def _submit(self, function: Any, task: Task) -> Future[Any]:
        try:
            future = self._engine.submit(function, self.simulator, replace(task, x_shape=self._x_shape))
        except (RuntimeError, OSError) as error:
            raise SimulationError(self._broken(error)) from error
        self._running[future] = task, time.perf_counter()
        return future

    def _next_task(self) -> Task:
        if self._again:
            return self._again.popleft()
        start, all_rows = self._next, self._plan.rows
        share = -(-(len(all_rows) - start) // self._engine.workers)
        end = start + min(self._rows_per_task, share)
        if end < len(all_rows):  # back to where a batch begins, or on to the end of the first one
            size = self._plan.batch_size
            end = int(np.searchsorted(all_rows, all_rows[end] // size * size))
            end = end if end > start else int(np.searchsorted(all_rows, (all_rows[start] // size + 1) * size))
        self._next = end
        return self._plan.part(start, end)

    def _find_out_if_batched(self) -> None:
        """Probe the first rows; if that takes long, the other workers need not wait for the answer, which is no."""
        future = self._submit(probe, self._plan.part(0, PROBED_ROWS))
        answered = bool(wait([future], timeout=_COSTLY).done) and not future.cancelled() and future.exception() is None
        self._decide(answered and future.result().batched)
        task, begin = self._running[future]
        if self.simulator.batched:
            self._take(future)
        else:  # the first two rows are the probe's, or come back from it
            self._running[future] = replace(task.part(0, 2), batch_size=1), begin
            self._next = min(2, len(task.rows))

    def _decide(self, batched: bool) -> None:
        self.simulator = self.simulator.decided(batched)
        if not batched:  # each row is a batch of its own
            self._plan = replace(self._plan, batch_size=1)

    def _take(self, future: Future[Any]) -> tuple[Task, Any, BaseException | None, float]:
        """What a finished future was about, what it gave or how it was lost, and the seconds it took."""
        task, begin = self._running.pop(future)
        error = CancelledError("the executor cancelled it") if future.cancelled() else future.exception()
        self._engine.release(future)
        return task, None if error else future.result(), error, time.perf_counter() - begin

    def _cancel_waiting(self) -> None:
        self._engine.cancel_waiting()
        for future in [future for future in self._running if future.cancelled()]:
            self._take(future)

    def _finished(
        self, task: Task, result: Any, error: BaseException | None, seconds: float
    ) -> tuple[np.ndarray, Outcomes] | None:
        """The rows that a task settled; what it did not settle is handed out again."""
        if isinstance(error, BrokenExecutor) and not self._engine.restarts_workers:
            raise SimulationError(self._broken(error)) from error
        outcomes = self._after_loss(task, error, seconds) if error else result
        if isinstance(outcomes, Probed):
            outcomes = outcomes.outcomes
        settled = 0 if outcomes is None else len(outcomes)
        if settled < len(task.rows) and not error:
            self._again.append(task.part(settled, len(task.rows)))
        return None if outcomes is None else (task.rows[:settled], self._checked(outcomes))

    def _after_loss(self, task: Task, error: BaseException, seconds: float) -> Outcomes | None:
        """A worker died over a task: give the rows another chance in smaller parts, or record the one that did it.

        One death may have come from outside, so rows must end a second worker, alone, before they are blamed.
        """
        n = len(task.rows)
        if n == 1 and task.timeout is not None and self._engine.restarts_workers and seconds >= task.timeout + GRACE:
            return _recorded(task, Status.TIMED_OUT, timed_out(task.timeout), seconds)
        if n == 1 and task.deaths:
            text = f"the simulation ended its worker, or could not reach one, twice: {type(error).__name__}: {error}"
            return _recorded(task, Status.FAILED, text, seconds)
        batches = task.batches()
        if len(batches) > 1:
            step = -(-len(batches) // _PARTS)
            starts = [start for start, _ in batches[::step]]
            self._again.extend(task.part(start, stop) for start, stop in zip(starts, [*starts[1:], n]))
        elif task.deaths == 0:
            self._again.append(replace(task, deaths=1))
        else:
            self._again.extend(task.part(row, row + 1) for row in range(n))
        return None

    def _checked(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes in the run's data shape; what they took decides how many rows the next task gets."""
        if self._x_shape is None:
            self._x_shape = outcomes.x_shape
        n, per_row = len(outcomes), float(outcomes.seconds.mean())
        most = min(_TASK_ROWS, max(_TASK_BYTES * n // max(outcomes.x.nbytes, 1), 1))
        self._rows_per_task = int(min(most, 4 * n, max(_TASK_SECONDS / max(per_row, 1e-9), 1)))
        return outcomes if self._x_shape is None else outcomes.conformed(self._x_shape)

    def _count_failures(self, rows: np.ndarray, outcomes: Outcomes) -> None:
        failed = (outcomes.status == Status.FAILED) | (outcomes.status == Status.TIMED_OUT)
        if not failed.any():
            self._failures = 0
            return
        for i in range(len(rows)):
            if not failed[i]:
                self._failures = 0
                continue
            if self._failures == 0:
                self._first_failure = f"row {rows[i]}, theta = {outcomes.theta[i].tolist()}:\n{outcomes.error[i]}"
            self._failures += 1
            if self._failures == self._max_failures:
                raise SimulationError(
                    f"{self._failures} simulations in a row failed. The first of them was {self._first_failure}\n"
                    f"{self._progress()} If many may fail, raise max_failures and run again. If the simulator is "
                    "wrong, correct it and begin a new run, in another file: what failed is not simulated again."
                )

    def _broken(self, error: BaseException) -> str:
        return f"The executor broke: {error}\n{self._progress()} Start a new executor and run again to go on."

    def _progress(self) -> str:
        return f"{self._done} of {len(self._plan.rows)} planned rows are done and kept."


def _recorded(task: Task, status: Status, text: str, seconds: float) -> Outcomes:
    outcomes = Outcomes.planned(task.theta, task.x_shape)
    outcomes.status[:], outcomes.error[:], outcomes.seconds[:] = status, text, seconds
    return outcomes

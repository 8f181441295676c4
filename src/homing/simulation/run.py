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
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from homing.errors import ArgumentError, ShapeError, SimulationError, warn
from homing.simulation.deadline import GRACE
from homing.simulation.early import PATIENCE, Keep
from homing.simulation.engines import Engine, engine_for
from homing.simulation.interrupts import Interrupt, was_pressed
from homing.simulation.outcomes import Outcomes, Status, assembled, joined
from homing.simulation.pace import Pace
from homing.simulation.probing import PROBED_ROWS, gives_batches
from homing.simulation.simulator import Simulator
from homing.simulation.surroundings import Surroundings
from homing.simulation.task import Task, timed_out

_PARTS = 16  # into which the rows of a dead worker are divided to find the one it died over


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
    keep: Keep | None = None,
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
        keep: Called with rows and outcomes that are finished while a longer simulation runs in the same task, perhaps
            from another thread, so that they are durable before it ends. They are yielded later all the same.

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
    plan = Task(np.arange(len(theta)), theta, seeds, batch_size, x_shape, timeout, planned=len(theta))
    if rows is not None:
        plan = replace(plan, rows=rows, theta=theta[rows], seeds=seeds[rows])
    return Run(simulator, plan, theta, engine_for(executor, num_workers, timeout), max_failures, keep)


class Run(Iterator[tuple[np.ndarray, Outcomes]]):
    """Simulations under way, as `simulate` returns them.

    Attributes:
        simulator: The simulator; from the first yielded pair on, its `batched` is decided.
    """

    def __init__(
        self,
        simulator: Simulator,
        plan: Task,
        theta: np.ndarray,
        engine: Engine,
        max_failures: int,
        keep: Keep | None = None,
    ):
        self._keep, self._run_task = keep, engine.running(keep)
        self.simulator = simulator
        self._plan, self._theta, self._engine, self._max_failures = plan, theta, engine, max_failures
        self._x_shape = plan.x_shape
        self._todo: deque[Task] = deque([plan] if len(plan.rows) else [])  # rows to hand out
        self._running: dict[Future[Any], tuple[Task, float]] = {}
        self._pace = Pace(engine.least_seconds)
        self._undecided, self._begin = simulator.batched is None, time.perf_counter()
        self._done, self._looked = 0, 0.0
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
            self._surroundings = Surroundings()
            if self.simulator.batched is None and self._todo:
                pairs = self._find_out_if_batched(interrupt)
            else:
                self._decide(bool(self.simulator.batched))
                pairs = self._work(interrupt)
            for rows, outcomes in pairs:
                self._done += len(rows)
                begin = time.perf_counter()
                yield rows, outcomes
                self._pace.kept(time.perf_counter() - begin)
                self._count_failures(rows, outcomes)
            if interrupt.stops:
                raise KeyboardInterrupt
        self._suggest_batches()

    def _suggest_batches(self) -> None:
        seconds = time.perf_counter() - self._begin
        if self._undecided and not self.simulator.batched and self._done >= 1000 and 10 < seconds < 0.01 * self._done:
            warn(
                f"{self._done} simulations took {seconds:.0f} s, as the simulator got one theta at a time. If it takes "
                "a batch, shape (b, d), and gives b rows, each with noise of its own, batched=True is quicker."
            )

    def _decide(self, batched: bool) -> None:
        self.simulator = self.simulator.decided(batched)
        if not batched:  # each row is a batch of its own
            self._todo = deque(replace(task, batch_size=1) for task in self._todo)

    def _find_out_if_batched(self, interrupt: Interrupt) -> Iterator[tuple[np.ndarray, Outcomes]]:
        """Simulate the first rows one by one, and ask for batches if these fail or look like many; see `probing`."""
        plan, undecided = self._plan, self.simulator
        first = min(PROBED_ROWS, len(plan.rows))
        self._todo = deque(plan.part(row, row + 1) for row in range(first))
        self._decide(False)
        work, pairs = self._work(interrupt), []
        for pair in work:
            pairs.append(pair)
            if (pair[1].status != Status.FAILED).any():
                break
        shape = self._x_shape if any(outcomes.has_data.any() for _, outcomes in pairs) else None
        failed = all((outcomes.status == Status.FAILED).all() for _, outcomes in pairs)
        takes_parameters_for_rows = shape is not None and len(shape) > 1 and shape[0] == plan.theta.shape[1]
        if not interrupt.stops and (failed or takes_parameters_for_rows):
            waiting, self._todo = self._todo, deque()
            pairs.extend(work)
            self._todo = waiting
            if not interrupt.stops and self._gives_batches(undecided, plan.part(0, first), shape and shape[1:]):
                self.simulator, self._todo, self._x_shape = undecided.decided(True), deque([plan]), plan.x_shape
                yield from self._work(interrupt)
                return
        if first < len(plan.rows):
            self._todo.append(replace(plan.part(first, len(plan.rows)), batch_size=1))
        yield from pairs
        yield from work
        yield from self._work(interrupt)

    def _gives_batches(self, simulator: Simulator, task: Task, row_shape: tuple[int, ...] | None) -> bool:
        future = self._submit(partial(gives_batches, row_shape=row_shape), task, simulator)
        wait([future])
        _, answer, _, _ = self._take(future)
        return bool(answer)

    def _work(self, interrupt: Interrupt) -> Iterator[tuple[np.ndarray, Outcomes]]:
        """Hand out what is to be done, and yield what is finished."""
        while self._running or (self._todo and not interrupt.stops):
            self._hand_out(interrupt)
            if interrupt.asked:
                self._cancel_waiting()
            pairs, broken = [], None
            for future in self._wait():
                try:
                    pairs.append(self._finished(*self._take(future)))
                except SimulationError as error:  # after what is done has been kept
                    broken = error
            self._surroundings.put_back()
            if self._running and broken is None:  # they go on while the caller keeps what these gave
                try:
                    self._hand_out(interrupt)
                except SimulationError as error:
                    broken = error
            yield from self._together(pairs)
            if broken is not None:
                raise broken
            if was_pressed():
                return

    def _wait(self) -> set[Future[Any]]:
        """The futures that are done, one at least; meanwhile what workers send early is kept."""
        while True:
            if self._keep is not None and time.perf_counter() - self._looked > PATIENCE:
                self._engine.keep_early(self._keep)
                self._looked = time.perf_counter()
            done = wait(self._running, None if self._keep is None else PATIENCE, FIRST_COMPLETED).done
            if done or not self._running:
                return done

    def _together(self, pairs: list[tuple[np.ndarray, Outcomes] | None]) -> Iterator[tuple[np.ndarray, Outcomes]]:
        """What several tasks gave as one, if they gave anything: to keep it once is quicker."""
        some = [pair for pair in pairs if pair is not None]
        if some:
            shape = self._x_shape
            parts = [outcomes if shape is None else outcomes.conformed(shape) for _, outcomes in some]
            yield np.concatenate([rows for rows, _ in some]), joined(*parts)

    def _hand_out(self, interrupt: Interrupt) -> None:
        while self._todo and not interrupt.stops and len(self._running) < self._engine.in_flight:
            self._submit(self._run_task, self._next_task(), self.simulator)

    def _submit(self, function: Any, task: Task, simulator: Simulator) -> Future[Any]:
        task = replace(task, x_shape=self._x_shape, seconds=2 * self._pace.seconds)
        try:
            future = self._engine.submit(function, simulator, task)
        except (RuntimeError, OSError) as error:
            raise SimulationError(self._broken(error)) from error
        self._running[future] = task, time.perf_counter()
        return future

    def _next_task(self) -> Task:
        """The first rows to do, cut where a batch begins; rows that a worker died over stay together."""
        task = self._todo.popleft()
        left, size = len(task.rows), task.batch_size
        share = -(-(left + sum(len(other.rows) for other in self._todo)) // self._engine.workers)
        end = min(self._pace.rows, share)
        if task.deaths or end >= left:
            return task
        end, least = np.searchsorted(task.rows, [task.rows[end] // size * size, (task.rows[0] // size + 1) * size])
        end = int(max(end, least))
        if end < left:
            self._todo.appendleft(task.part(end, left))
        return task.part(0, end)

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
        self, task: Task, outcomes: Outcomes | None, error: BaseException | None, seconds: float
    ) -> tuple[np.ndarray, Outcomes] | None:
        """The rows that a task settled; what it did not settle is handed out again."""
        if isinstance(error, BrokenExecutor) and not self._engine.restarts_workers:
            raise SimulationError(self._broken(error)) from error
        if error is None and not outcomes and not was_pressed():
            error = KeyboardInterrupt("in a worker alone")
        if error is not None:
            outcomes = self._after_loss(task, error, seconds)
        settled = 0 if outcomes is None else len(outcomes)
        if error is None and settled < len(task.rows):
            self._todo.appendleft(task.part(settled, len(task.rows)))
        if outcomes is None or not settled:
            return None
        self._pace.simulated(outcomes)
        if self._x_shape is None:
            self._x_shape = outcomes.x_shape
        return task.rows[:settled], outcomes

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
            parts = [task.part(start, stop) for start, stop in zip(starts, [*starts[1:], n])]
        elif task.deaths == 0:
            parts = [replace(task, deaths=1)]
        else:
            parts = [task.part(row, row + 1) for row in range(n)]
        self._todo.extendleft(reversed(parts))
        return None

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

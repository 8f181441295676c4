"""Where tasks run: in this process, in worker processes of ours, or in an executor the user brings.

An engine hands out `concurrent.futures.Future`s. Worker processes of ours are single-worker loky executors, one for
each of `num_workers` lanes: when a worker dies, the task it died over is known, and no other task is lost with it. Idle
lanes are kept for the next round, since starting a worker imports what the simulator needs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from homing.errors import ArgumentError
from homing.simulation.deadline import make_expendable
from homing.simulation.early import Keep, receive, send
from homing.simulation.packing import Main, Pack, be_main, own_main, run_packed
from homing.simulation.task import run_task

_KEPT = 60.0  # seconds that an idle worker waits for another round
_FOREIGN_IN_FLIGHT = 256  # tasks submitted at a time to an executor whose size is not known


class Engine(Protocol):
    """Runs functions of (simulator, task)."""

    in_flight: int  # tasks to have submitted at a time
    workers: int  # how many of them run at a time, as far as known
    restarts_workers: bool  # whether a task whose worker died can be submitted again
    least_seconds: float  # that a task is to take, since to hand it out takes time too

    def submit(self, function: Any, simulator: Any, task: Any) -> Future[Any]:
        """Run `function(simulator, task)`."""
        ...

    def running(self, keep: Keep | None) -> Any:
        """The function that runs a task, and lets `keep` have early what it can."""
        ...

    def keep_early(self, keep: Keep) -> None:
        """Hand over what workers have sent before their tasks came back."""
        ...

    def cancel_waiting(self) -> None:
        """Cancel the tasks that do not run yet."""
        ...

    def release(self, future: Future[Any]) -> None:
        """Take back the place of a finished task."""
        ...

    def close(self) -> None:
        """Give up what still runs, and let go of the workers."""
        ...


def engine_for(executor: Any, num_workers: int, timeout: float | None) -> Engine:
    """The engine for `simulate`'s arguments.

    Raises:
        ArgumentError: If `num_workers` is no positive integer or `executor` is no executor.
    """
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        raise ArgumentError(f"num_workers must be a positive integer, found {num_workers!r}.")
    if executor is None:
        return Here() if num_workers == 1 and timeout is None else Lanes(num_workers)
    if type(executor).__module__ == "distributed.cfexecutor":
        executor = executor._client  # see Dask
    if hasattr(executor, "get_executor"):
        return Dask(executor, num_workers)
    if not hasattr(executor, "submit"):
        raise ArgumentError(
            "executor must be a concurrent.futures.Executor or a Dask Client, "
            f"found {type(executor).__name__}. Leave it out to use num_workers={num_workers} processes on this machine."
        )
    return Foreign(executor, num_workers)


class Elsewhere:
    """Tasks come back as a whole."""

    def running(self, keep: Keep | None) -> Any:
        return run_task

    def keep_early(self, keep: Keep) -> None:
        pass


class Here(Elsewhere):
    """This process, one task after the other."""

    in_flight = workers = 1
    restarts_workers = False
    least_seconds = 0.02

    def submit(self, function: Any, simulator: Any, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(simulator, task))
        return future

    def running(self, keep: Keep | None) -> Any:
        return partial(run_task, keep=keep)

    def cancel_waiting(self) -> None:
        pass

    def release(self, future: Future[Any]) -> None:
        pass

    def close(self) -> None:
        pass


_idle: list[Executor] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a forked child must not talk to its parent's workers


class Lanes:
    """Worker processes of ours, one task at a time on each."""

    restarts_workers = True
    least_seconds = 0.02

    def __init__(self, num_workers: int):
        self.in_flight = self.workers = num_workers
        self._free: list[Executor] = []
        self._busy: dict[Future[Any], Executor] = {}
        self._folder: TemporaryDirectory[str] | None = None
        self._pack = Pack()

    def submit(self, function: Any, simulator: Any, task: Any) -> Future[Any]:
        packed = self._pack(simulator)
        lane = self._free.pop() if self._free else _idle.pop() if _idle else None
        if lane is not None and task.deaths:  # what may have ended a worker is tried in a new one, whose end is its own
            lane.shutdown(wait=False)
            lane = None
        lane = lane or _new_lane()
        try:
            future = lane.submit(run_packed, function, packed, task)
        except RuntimeError:  # the worker died while it was idle
            lane = _new_lane()
            future = lane.submit(run_packed, function, packed, task)
        self._busy[future] = lane
        return future

    def running(self, keep: Keep | None) -> Any:
        if keep is None:
            return run_task
        self._folder = TemporaryDirectory(prefix="homing-", ignore_cleanup_errors=True)
        return partial(run_task, keep=partial(send, self._folder.name))

    def keep_early(self, keep: Keep) -> None:
        if self._folder is not None:
            receive(self._folder.name, keep)

    def cancel_waiting(self) -> None:
        pass  # each lane has one task, which runs

    def release(self, future: Future[Any]) -> None:
        lane = self._busy.pop(future)
        if not isinstance(future.exception(), BrokenExecutor):
            self._free.append(lane)

    def close(self) -> None:
        for lane in self._busy.values():
            lane.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]
        if self._folder is not None:
            self._folder.cleanup()
        _idle.extend(self._free)
        self._free, self._busy = [], {}


def _new_lane() -> Executor:
    import loky

    given = os.getpid(), own_main()
    return loky.ProcessPoolExecutor(max_workers=1, timeout=_KEPT, initializer=_begin_worker, initargs=given)


def _begin_worker(parent: int, main: Main) -> None:
    be_main(main)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the main process, which lets running rows finish
    make_expendable()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


class Foreign(Elsewhere):
    """An executor of the user's: a pool, threads, MPI, a cluster."""

    restarts_workers = False
    least_seconds = 0.1

    def __init__(self, executor: Executor, num_workers: int):
        self._executor = executor
        self._futures: set[Future[Any]] = set()
        self._threads, self._pack = isinstance(executor, ThreadPoolExecutor), Pack()
        self.in_flight = max(num_workers, _FOREIGN_IN_FLIGHT)
        self.workers = max(num_workers, os.cpu_count() or 1)

    def submit(self, function: Any, simulator: Any, task: Any) -> Future[Any]:
        if self._threads:
            future = self._executor.submit(function, simulator, task)
        else:
            future = self._executor.submit(run_packed, function, self._pack(simulator), task)
        self._futures.add(future)
        return future

    def cancel_waiting(self) -> None:
        for future in list(self._futures):
            future.cancel()

    def release(self, future: Future[Any]) -> None:
        self._futures.discard(future)

    def close(self) -> None:
        for future in self._futures:
            future.cancel()


class Dask(Elsewhere):
    """The workers of a Dask client.

    The futures of Dask's own executor never end if a result is lost with its worker and the task then fails. Those here
    end as the task does, whatever becomes of it.
    """

    restarts_workers = False
    least_seconds = 0.25

    def __init__(self, client: Any, num_workers: int):
        self._client, self._pack = client, Pack()
        self._remote: dict[Future[Any], Any] = {}
        self.in_flight = max(num_workers, _FOREIGN_IN_FLIGHT)
        self.workers = max(num_workers, sum(client.nthreads().values()))

    def submit(self, function: Any, simulator: Any, task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        remote = self._client.submit(run_packed, function, self._pack(simulator), task, pure=False)
        self._remote[future] = remote

        def settle(remote: Any) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(remote.result())
            except BaseException as error:
                future.set_exception(error)

        remote.add_done_callback(settle)
        return future

    def cancel_waiting(self) -> None:
        running = {key for keys in self._client.processing().values() for key in keys}
        for future, remote in self._remote.items():
            if remote.key not in running and future.cancel():
                remote.cancel()

    def release(self, future: Future[Any]) -> None:
        del self._remote[future]

    def close(self) -> None:
        for future, remote in self._remote.items():
            if future.cancel():
                remote.cancel()

"""What simulators raise and what they do to their process: a row of data, and nothing that reaches others."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from homing.errors import HomingError
from homing.random import row_seeds
from homing.simulation import Simulator, Status, simulate
from homing.simulation.surroundings import Surroundings

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
THETA = np.arange(24.0).reshape(12, 2)
SEEDS = row_seeds(1, "simulate", 1, len(THETA))


# What it raises ------------------------------------------------------------------------------------------------------


class PanicException(BaseException):
    """As extensions written in Rust raise it."""


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


RAISED = [PanicException("index out of bounds"), asyncio.CancelledError(), concurrent.futures.CancelledError()]
RAISED += [
    GeneratorExit(),
    SystemExit(0),
    SystemExit(),
    StopIteration(3),
    Unspeakable(),
    MemoryError(),
]
RAISED += [
    RecursionError(),
    MemoryError(),
    BaseExceptionGroup("several", [PanicException()]),
    ValueError("\0 \udcff"),
    Warning("odd"),
]
RAISED += [
    concurrent.futures.BrokenExecutor("its own pool"),
    HomingError("of a homing within"),
    EOFError(),
    Exception(),
]


def raises(error, theta, seed):
    if theta[0] in (4, 10):
        raise error
    return theta + 1.0


def raises_in_batch(error, theta, seed):
    if (theta[:, 0] == 4).any() or (theta[:, 0] == 10).any():
        raise error
    return theta + 1.0


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", ["one", "batch", "threads", "timeout in a thread"])
def test_whatever_it_raises_is_data(error, how):
    batched = how == "batch"
    simulator = Simulator(partial(raises_in_batch if batched else raises, error), batched=batched)
    options = {"batch_size": 4, "timeout": 20.0 if how == "timeout in a thread" else None}
    if how in ("threads", "timeout in a thread"):
        with ThreadPoolExecutor(2) as executor:
            outcomes = simulate(simulator, THETA, SEEDS, executor=executor, **options).collect()
    else:
        outcomes = simulate(simulator, THETA, SEEDS, **options).collect()
    assert np.flatnonzero(outcomes.status == Status.FAILED).tolist() == [2, 5]
    assert outcomes.ok.sum() == 10
    assert type(error).__name__ in outcomes.error[2]


def raises_one_of_many(theta, seed):
    kinds = [PanicException("index"), asyncio.CancelledError(), GeneratorExit(), SystemExit(3), KeyboardInterrupt()]
    if theta[0] < 2 * len(kinds):
        raise kinds[int(theta[0]) // 2]
    return theta


def test_an_interrupt_that_was_raised_in_another_thread_is_data():
    simulator = Simulator(partial(raises, KeyboardInterrupt()), batched=False)
    with ThreadPoolExecutor(2) as executor:
        outcomes = simulate(simulator, THETA, SEEDS, executor=executor).collect()
    assert np.flatnonzero(outcomes.status == Status.FAILED).tolist() == [2, 5]


@pytest.mark.parametrize("brought", [False, True])
def test_whatever_it_raises_in_a_worker_is_data(brought):
    simulator = Simulator(raises_one_of_many, batched=False)
    if brought:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
            outcomes = simulate(simulator, THETA, SEEDS, executor=executor).collect()
    else:
        outcomes = simulate(simulator, THETA, SEEDS, num_workers=2).collect()
    assert np.flatnonzero(outcomes.status == Status.FAILED).tolist() == list(range(5))
    assert outcomes.ok.sum() == 7


def test_whatever_it_raises_while_it_is_asked_for_batches_is_an_answer():
    def simulator(theta):
        raise asyncio.CancelledError if theta.ndim == 1 else PanicException

    outcomes = simulate(Simulator(simulator), THETA, SEEDS).collect()
    assert (outcomes.status == Status.FAILED).all()


@posix
@pytest.mark.parametrize("batched", [None, False])
@pytest.mark.parametrize("row", [0, 1, 3, 11])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_second_interrupt_ends_a_run_and_keeps_what_is_finished(swallowed, row, batched):
    """Also where the simulator catches everything; only the row it came in is not kept."""

    def simulator(theta, seed):
        if theta[0] == 2 * row:
            try:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.05)
            except BaseException:
                if not swallowed:
                    raise
        return theta

    kept, going = [], simulate(Simulator(simulator, batched=batched), THETA, SEEDS)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for rows, outcomes in going:
            assert outcomes.ok.all()
            kept.extend(rows.tolist())
    assert kept == list(range(row))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


INTERRUPTED_WORKER = """
import multiprocessing, os, signal, sys, time
import numpy as np
from concurrent.futures import ProcessPoolExecutor
from homing.simulation import Simulator, simulate

def simulator(theta, seed):
    mark = f"{sys.argv[1]}/{theta[0]:.0f}"
    if theta[0] == 6 and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGINT)  # as a terminal sends it to all of its processes
        time.sleep(5)
    return theta

if __name__ == "__main__":
    theta = np.arange(24.0).reshape(12, 2)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        outcomes = simulate(Simulator(simulator, batched=False), theta, np.arange(12), executor=executor).collect()
    print(outcomes.counts())
"""


@posix
def test_an_interrupt_in_a_worker_is_no_failure_of_the_simulation(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED_WORKER)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=60)
    assert "'ok': 12" in done.stdout, done.stderr


# What it does to its process -----------------------------------------------------------------------------------------


def changes_directory(path):
    os.chdir(path)


def removes_its_directory(path):
    os.mkdir(path / "gone")
    os.chdir(path / "gone")
    os.rmdir(path / "gone")


def raises_on_overflow(path):
    np.seterr(all="raise")


def replaces_streams(path):
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def closes_streams(path):
    sys.stdout.close()
    sys.stderr.close()


def takes_the_keyboard(path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def takes_other_signals(path):
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)


def leaves_an_alarm(path):
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def turns_warnings_into_errors(path):
    warnings.simplefilter("error")


def lowers_the_recursion_limit(path):
    sys.setrecursionlimit(200)


def seeds_global_generators(path):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


DONE_TO_IT = [changes_directory, removes_its_directory, raises_on_overflow, replaces_streams, closes_streams]
DONE_TO_IT += [takes_the_keyboard, takes_other_signals, leaves_an_alarm, turns_warnings_into_errors]
DONE_TO_IT += [lowers_the_recursion_limit, seeds_global_generators]

CHANGED = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
import test_simulation_surroundings as table
from homing.simulation import Simulator, simulate
from homing.errors import warn

change, how, folder = getattr(table, sys.argv[2]), sys.argv[3], Path(sys.argv[4])

def state():
    generators = random.getstate(), np.random.get_state()[1].tolist()
    handlers = [signal.getsignal(number) for number in table.SIGNALS]
    return os.getcwd(), np.geterr(), handlers, sys.getrecursionlimit(), warnings.filters[:], generators

def simulator(theta, rng):
    inside = os.getcwd(), np.geterr()
    change(folder)
    if how == "raises":
        raise ValueError
    return np.array([theta[0], inside == outside])

outside = os.getcwd(), np.geterr()
before = state()
outcomes = simulate(Simulator(simulator, batched=False), table.THETA, table.SEEDS).collect()
assert state() == before, (state(), before)
assert how == "raises" or outcomes.x[:, 1].all(), "a call saw what an earlier one did"
warn("still a warning")
time.sleep(0.3 if change is table.leaves_an_alarm else 0)
print("to stdout", flush=True)
print("to stderr", file=sys.stderr, flush=True)
"""
NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGHUP", "SIGUSR1")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@posix
@pytest.mark.parametrize("change", DONE_TO_IT, ids=lambda change: change.__name__)
def test_what_it_does_to_its_process_stays_there(change, tmp_path):
    for how in ("returns", "raises"):
        arguments = [sys.executable, "-c", CHANGED, os.path.dirname(__file__), change.__name__, how, tmp_path]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "to stdout\n"), done.stderr
        assert "still a warning" in done.stderr
        assert done.stderr.endswith("to stderr\n")


def test_looking_after_the_process_takes_microseconds():
    surroundings, times = Surroundings(), []
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(100):
            surroundings.put_back()
        times.append((time.perf_counter() - begin) / 100)
    assert min(times) < 50e-6  # 5 were measured


# Its own processes ---------------------------------------------------------------------------------------------------

OWN_POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from homing.simulation import Simulator, simulate

START = None

def half(value):
    return value / 2

def by_pool(theta, seed):
    with multiprocessing.get_context(START).Pool(2) as pool:
        return np.array(pool.map(half, theta))

def by_executor(theta, seed):
    with ProcessPoolExecutor(2) as pool:
        return np.array(list(pool.map(half, theta)))

class Model:
    def __call__(self, theta, seed):
        return by_executor(theta, seed)

if __name__ == "__main__":
    theta = np.arange(8.0).reshape(4, 2)
    for function in (by_pool, by_executor, Model()):
        outcomes = simulate(Simulator(function, batched=False), theta, np.arange(4), num_workers=2).collect()
        assert np.array_equal(outcomes.x, theta / 2), outcomes.error[0]
"""


@posix
def test_a_simulator_may_use_a_pool_of_its_own_in_a_worker(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OWN_POOL)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@posix
@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_simulator_may_start_its_processes_anyhow(tmp_path, start_method):
    script = tmp_path / "script.py"
    script.write_text(OWN_POOL.replace("START = None", f"START = {start_method!r}"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

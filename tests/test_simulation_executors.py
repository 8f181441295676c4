"""One protocol over every engine: equal numbers, bad rows recorded, the executor left usable."""

import multiprocessing
import os
import random
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from homing.errors import SimulationError
from homing.random import row_seeds
from homing.simulation import Simulator, Status, simulate

THETA = np.arange(120.0).reshape(60, 2)
SEEDS = row_seeds(1, "simulate", 1, 60)


def takes_seed(theta, seed):
    if theta[0] == 30:
        raise ValueError("thirty")
    return theta + np.random.default_rng(seed).normal(size=2)


def needs_batches(theta, rng):
    return theta[:, :1] + rng.normal(size=theta.shape)


def takes_nothing(theta):
    time.sleep(0.0003)
    return theta + np.random.randn(2)  # noqa: NPY002


def for_batches(theta, rng):
    return theta + rng.normal(size=theta.shape)


@contextmanager
def threads():
    with ThreadPoolExecutor(4) as executor:
        yield executor


@contextmanager
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextmanager
def loky_pool():
    import loky

    with loky.ProcessPoolExecutor(2) as executor:
        yield executor


@contextmanager
def dask_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


ENGINES = {"threads": threads, "processes": processes, "loky": loky_pool, "dask": dask_client}


@pytest.fixture(scope="module", params=list(ENGINES))
def executor(request):
    with ENGINES[request.param]() as executor:
        yield executor


@pytest.mark.filterwarnings("ignore:The simulator .* takes neither")
@pytest.mark.parametrize("function", [takes_seed, takes_nothing, for_batches], ids=lambda function: function.__name__)
def test_every_executor_gives_the_numbers_of_this_process(executor, function):
    simulator = Simulator(function, batched=function is for_batches)
    here = simulate(simulator, THETA, SEEDS, batch_size=16).collect()
    there = simulate(simulator, THETA, SEEDS, batch_size=16, executor=executor).collect()
    np.testing.assert_array_equal(here.x, there.x)
    np.testing.assert_array_equal(here.status, there.status)
    assert here.counts()["failed"] == (function is takes_seed)
    assert all(":" in worker for worker in there.worker)


def test_lambdas_and_closures_travel(executor):
    offset = 3.0
    outcomes = simulate(Simulator(lambda theta, seed: theta + offset), THETA, SEEDS, executor=executor).collect()
    np.testing.assert_array_equal(outcomes.x, THETA + 3)


def test_whether_it_is_batched_is_found_out_in_the_executor(executor):
    for function, batched in ((needs_batches, True), (for_batches, False), (takes_seed, False)):
        going = simulate(Simulator(function), THETA, SEEDS, executor=executor)
        x = going.collect().x
        assert going.simulator.batched is batched
        np.testing.assert_array_equal(x, simulate(Simulator(function), THETA, SEEDS).collect().x)


def test_a_failing_run_leaves_the_executor_usable(executor):
    with pytest.raises(SimulationError, match="3 simulations in a row failed"):
        simulate(Simulator(lambda theta, seed: 1 / 0), THETA, SEEDS, executor=executor, max_failures=3).collect()
    assert executor.submit(sum, [1, 2]).result() == 3


def test_an_interrupt_lets_running_tasks_finish_and_drops_the_waiting(executor):
    def slow(theta, seed):
        time.sleep(0.2)
        return theta

    going, rows = simulate(Simulator(slow, batched=False), THETA, SEEDS, executor=executor), []
    threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        gather(going, rows)
    assert 2 <= len(rows) < 50


def kill_workers(client, kills):
    while kills:
        time.sleep(0.7)
        client.cluster.scale(2)  # Dask gives a worker up that dies while it starts: let another one join
        pids = list(client.run(os.getpid, on_error="ignore").values())
        if len(pids) == 2:
            os.kill(random.choice(pids), signal.SIGKILL)
            kills -= 1


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 25])
def test_dask_workers_killed_in_the_middle_cost_no_row(kills):
    def slow(theta, seed):
        time.sleep(0.05)
        return theta + np.random.default_rng(seed).normal(size=2)

    here = simulate(Simulator(slow, batched=False), THETA, SEEDS).collect()
    with dask_client() as client:
        killer = threading.Thread(target=kill_workers, args=(client, kills))
        killer.start()
        executor: Any = client
        while killer.is_alive():
            outcomes = simulate(Simulator(slow, batched=False), THETA, SEEDS, executor=executor).collect()
            assert outcomes.ok.all() or kills > 1, set(outcomes.error)
            np.testing.assert_array_equal(outcomes.x[outcomes.ok], here.x[outcomes.ok])
            assert (outcomes.ok | (outcomes.status == Status.FAILED)).all()
            executor = client.get_executor()
        killer.join()
        outcomes = simulate(
            Simulator(slow, batched=False), THETA[:4], SEEDS[:4], executor=client.get_executor()
        ).collect()
        np.testing.assert_array_equal(outcomes.x, here.x[:4])


def gather(going, done):
    for rows, _outcomes in going:
        done.extend(rows)


def test_a_users_broken_pool_is_reported_with_what_is_done():
    def fatal(theta, seed):
        if theta[0] == 40:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return theta

    done = []
    with loky_pool() as executor:
        going = simulate(Simulator(fatal, batched=False), THETA, SEEDS, executor=executor)
        with pytest.raises(SimulationError, match=r"The executor broke: ") as caught:
            gather(going, done)
        assert f"{len(done)} of 60 planned rows are done and kept. Start a new executor" in str(caught.value)
        again = simulate(Simulator(takes_seed, batched=False), THETA, SEEDS, executor=executor)
        with pytest.raises(SimulationError, match=r"The executor broke: "):
            again.collect()


def test_a_pool_that_was_shut_down_is_reported():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(SimulationError, match="cannot schedule new futures after shutdown"):
        simulate(Simulator(takes_seed), THETA, SEEDS, executor=executor).collect()


def test_threads_warn_of_global_generators():
    with (
        threads() as executor,
        pytest.warns(UserWarning, match="takes neither seed, rng nor key.*one thread at a time"),
    ):
        simulate(Simulator(takes_nothing), THETA, SEEDS, executor=executor)

"""Simulations that raise, return nonsense, hang, kill their worker or are interrupted: recorded; the rest goes on."""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from homing.errors import ArgumentError, SimulationError
from homing.random import row_seeds
from homing.simulation import Simulator, Status, simulate
from homing.simulation.deadline import TimedOut, call_within

THETA = np.arange(40.0).reshape(40, 1)
SEEDS = row_seeds(1, "simulate", 1, 40)


def misbehaves(theta, seed):
    """Row 3 raises, 5 gives NaN, 7 another shape, 9 exits, 11 gives text, 13 gives nothing."""
    row = int(theta[0])
    if row == 3:
        raise ValueError("the sun went out")
    if row == 9:
        sys.exit("no licence")
    return {5: [row, np.nan], 7: [1.0] * 5, 11: ["a", "b"], 13: []}.get(row, [row, 1.0])


EXPECTED = {3: "the sun went out", 7: "data of shape (5,), but this run's data have shape (2,)"}
EXPECTED |= {9: "no licence", 11: "array of real numbers", 13: "no data"}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_bad_rows_are_recorded_and_the_others_go_on(num_workers):
    outcomes = simulate(Simulator(misbehaves, batched=False), THETA, SEEDS, num_workers=num_workers).collect()
    assert {row: outcomes.status[row] for row in EXPECTED} == dict.fromkeys(EXPECTED, Status.FAILED)
    for row, text in EXPECTED.items():
        assert text in outcomes.error[row]
        assert np.isnan(outcomes.x[row]).all()
    assert outcomes.status[5] == Status.INVALID
    assert outcomes.x[5, 0] == 5
    assert outcomes.counts() == {"planned": 0, "ok": 34, "invalid": 1, "failed": 5, "timed_out": 0}
    np.testing.assert_array_equal(outcomes.x[outcomes.ok, 0], THETA[outcomes.ok, 0])


def test_an_error_shows_the_simulators_own_lines():
    error = simulate(Simulator(misbehaves, batched=False), THETA, SEEDS).collect().error[3]
    assert error.startswith("Traceback")
    assert 'raise ValueError("the sun went out")' in error
    assert "src/homing" not in error


def test_a_bad_row_does_not_spoil_its_batch():
    def batch(theta, rng):
        if (theta == 17).any():
            raise FloatingPointError("17")
        x = np.repeat(theta, 2, axis=1)
        x[theta[:, 0] == 19] = np.inf
        return x

    outcomes = simulate(Simulator(batch, batched=True), THETA, SEEDS, batch_size=10).collect()
    assert np.flatnonzero(~outcomes.ok).tolist() == [17, 19]
    assert outcomes.status[[17, 19]].tolist() == [Status.FAILED, Status.INVALID]


def test_a_batched_simulator_must_return_a_row_for_each_theta():
    outcomes = simulate(Simulator(lambda theta: theta.sum(), batched=True), THETA[:3], SEEDS[:3]).collect()
    assert "returned shape () for a batch of 1 theta; expected (1, ...)" in outcomes.error[0]


def test_the_runs_shape_may_be_settled_before():
    outcomes = simulate(Simulator(lambda theta: theta), THETA, SEEDS, x_shape=(2,), max_failures=1000).collect()
    assert (outcomes.status == Status.FAILED).all()
    assert "data of shape (1,), but this run's data have shape (2,)" in outcomes.error[0]


def gather(going, done):
    """Note rows as they are finished, for runs that do not come to their end."""
    for rows, _outcomes in going:
        done.extend(rows.tolist())


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_run_of_failures_stops_with_the_first_error(num_workers):
    def breaks(theta, seed):
        if theta[0] >= 10:
            raise RuntimeError(f"broken at {theta[0]:.0f}")
        return theta

    going = simulate(Simulator(breaks, batched=False), THETA, SEEDS, num_workers=num_workers, max_failures=5)
    done: list[int] = []
    with pytest.raises(SimulationError, match=r"5 simulations in a row failed") as caught:
        gather(going, done)
    message = str(caught.value)
    assert re.search(
        r"The first of them was row (\d\d), theta = \[\1.0\]:\nTraceback[\s\S]*RuntimeError: broken at \1", message
    )
    assert f"{len(done)} of 40 planned rows are done" in message
    if num_workers == 1:
        assert "first of them was row 10" in message
        assert done[:15] == list(range(15))


def test_a_round_is_all_of_its_rows_whichever_finish_first():
    """The first rows take longest, and are no fewer for it."""

    def slow_at_first(theta, seed):
        time.sleep(0.3 * (theta[0] < 3))
        return theta

    with ThreadPoolExecutor(4) as threads:
        going = simulate(Simulator(slow_at_first, batched=False), THETA, SEEDS, executor=threads)
        pairs = list(going)
    order = np.concatenate([rows for rows, _ in pairs])
    assert set(order[-3:]) == {0, 1, 2}
    assert sorted(order) == list(range(40))
    assert all(outcomes.ok.all() for _, outcomes in pairs)


def test_scattered_failures_do_not_stop_a_run():
    def fails_often(theta, seed):
        if theta[0] % 5:
            raise ValueError
        return theta

    outcomes = simulate(Simulator(fails_often, batched=False), THETA, SEEDS, max_failures=5).collect()
    assert outcomes.counts()["failed"] == 32


# Time limits ---------------------------------------------------------------------------------------------------------


def hangs(theta, seed):
    if theta[0] == 2:
        time.sleep(100)
    if theta[0] == 4:
        while True:
            with suppress(BaseException):
                time.sleep(100)
    if theta[0] == 6:
        ctypes.PyDLL(None).sleep(100)  # native code that keeps the interpreter to itself
    return theta


@pytest.mark.skipif(os.name != "posix", reason="sleep of the C library")
@pytest.mark.parametrize("num_workers", [2])
def test_hanging_simulations_time_out(num_workers):
    going = simulate(Simulator(hangs, batched=False), THETA[:9], SEEDS[:9], num_workers=num_workers, timeout=0.3)
    outcomes = going.collect()
    assert np.flatnonzero(outcomes.status == Status.TIMED_OUT).tolist() == [2, 4, 6]
    assert outcomes.ok.sum() == 6
    assert outcomes.error[2] == "the simulation had not returned after timeout=0.3 seconds"
    assert outcomes.seconds[2] == pytest.approx(0.3, abs=0.3)


def test_a_batch_that_hangs_is_taken_apart():
    def batch(theta):
        time.sleep(100 if (theta == 2).any() else 0)
        return theta

    outcomes = simulate(Simulator(batch, batched=True), THETA[:6], SEEDS[:6], batch_size=3, timeout=0.3).collect()
    assert outcomes.status.tolist() == [1, 1, 4, 1, 1, 1]


def test_time_limits_hold_in_threads():
    with ThreadPoolExecutor(2) as threads:
        going = simulate(
            Simulator(lambda theta, seed: time.sleep(0.9 * (theta[0] == 2)) or theta, batched=False),
            THETA[:6],
            SEEDS[:6],
            executor=threads,
            timeout=0.3,
        )
        assert going.collect().status.tolist() == [1, 1, 4, 1, 1, 1]


def test_a_limit_passes_values_and_errors_on():
    def in_thread(seconds, function):
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(call_within, seconds, function).result()

    for call in (call_within, in_thread):
        assert call(5.0, lambda: "value") == "value"
        with pytest.raises(ZeroDivisionError):
            call(5.0, lambda: 1 / 0)
        with pytest.raises(TimedOut):
            call(0.05, lambda: time.sleep(0.3))
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


# Dead workers --------------------------------------------------------------------------------------------------------


def kills_its_worker(theta, seed):
    if theta[0] in (5, 20):
        os.kill(os.getpid(), signal.SIGKILL)
    return theta


@pytest.mark.parametrize("num_workers", [2])
def test_a_simulation_that_kills_its_worker_is_found(num_workers):
    outcomes = simulate(Simulator(kills_its_worker, batched=False), THETA, SEEDS, num_workers=num_workers).collect()
    assert np.flatnonzero(outcomes.status == Status.FAILED).tolist() == [5, 20]
    assert "ended its worker, or could not reach one, twice: TerminatedWorkerError" in outcomes.error[5]
    assert outcomes.ok.sum() == 38


def test_a_batch_that_kills_its_worker_is_taken_apart():
    def batch(theta):
        if (theta == 7).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return theta

    outcomes = simulate(Simulator(batch, batched=True), THETA, SEEDS, num_workers=2, batch_size=20).collect()
    assert np.flatnonzero(~outcomes.ok).tolist() == [7]


def test_a_worker_killed_from_outside_costs_no_row(tmp_path):
    def once(theta, seed):
        mark = tmp_path / f"{theta[0]:.0f}"
        if theta[0] % 10 == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return theta

    outcomes = simulate(Simulator(once, batched=False), THETA, SEEDS, num_workers=2).collect()
    assert outcomes.ok.all()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_leak_that_ends_workers_costs_no_row():
    """As if there were memory for one simulation in a process's life: nobody is blamed for what others left behind."""
    leaked = []

    def leaks(theta, seed):
        leaked.append(theta)
        if len(leaked) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return theta

    outcomes = simulate(Simulator(leaks, batched=False), THETA[:6], SEEDS[:6], timeout=100.0).collect()
    assert outcomes.ok.all(), set(outcomes.error)
    assert len(set(outcomes.worker)) == 6


def test_what_cannot_be_sent_to_a_worker_says_so():
    lock = threading.Lock()
    with pytest.raises(ArgumentError, match=r"cannot be sent to other processes.*lock.*inside the function"):
        simulate(Simulator(lambda theta: (lock, theta)[1]), THETA, SEEDS, num_workers=2).collect()


# What is finished while a long one runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_finished_does_not_wait_for_a_long_simulation(num_workers):
    """In a worker as here: rows of the task that a long simulation holds up are handed over while it runs."""

    long = [17, 19, 21, 23][: 3 * num_workers - 2]  # one of which at least is not the first of its task

    def once_long(theta, seed):
        time.sleep(4.0 if theta[0] in long else 0)
        return theta

    when: dict[int, float] = {}

    def note(rows, outcomes):
        assert outcomes.ok.all()
        for row in rows.tolist():
            when.setdefault(row, time.perf_counter())

    simulator = Simulator(once_long, batched=False)
    simulate(simulator, THETA[:4], SEEDS[:4], num_workers=num_workers).collect()  # workers are up
    for rows, outcomes in simulate(simulator, THETA, SEEDS, num_workers=num_workers, keep=note):
        note(rows, outcomes)
    assert sorted(when) == list(range(40))
    assert any(when[row - 1] < when[row] - 1 for row in long)


# Ctrl-C --------------------------------------------------------------------------------------------------------------


def interrupt_after(*seconds):
    for delay in seconds:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_one_interrupt_lets_running_rows_finish(num_workers, capfd):
    def slow(theta, seed):
        time.sleep(0.15)
        return theta

    simulate(Simulator(slow, batched=False), THETA[:2], SEEDS[:2], num_workers=num_workers).collect()  # workers are up
    going = simulate(Simulator(slow, batched=False), THETA, SEEDS, num_workers=num_workers)
    rows, began = [], time.perf_counter()
    interrupt_after(0.4)
    with pytest.raises(KeyboardInterrupt):
        gather(going, rows)
    assert sorted(rows) == list(range(len(rows)))
    assert num_workers <= len(rows) <= 5 * num_workers
    assert time.perf_counter() - began < 2
    assert "Finishing what runs" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("num_workers", [1, 2])
def test_two_interrupts_stop_at_once(num_workers):
    stuck = Simulator(lambda theta, seed: time.sleep(60), batched=False)
    going, began = simulate(stuck, THETA, SEEDS, num_workers=num_workers), time.perf_counter()
    interrupt_after(0.4, 0.6)
    with pytest.raises(KeyboardInterrupt):
        going.collect()
    assert time.perf_counter() - began < 5


def test_leaving_the_loop_early_ends_the_run():
    going = simulate(Simulator(lambda theta: theta, batched=False), THETA, SEEDS, num_workers=2)
    next(going)
    going.close()
    assert list(going) == []

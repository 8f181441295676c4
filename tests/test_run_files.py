"""What a run file is told and when, who may interrupt a run, and that going on asks nothing twice."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import homing
from homing.estimators import posterior_nn
from homing.inference import Stop
from homing.inference import snpe as by_hand
from homing.inference.sides import SideOptions
from homing.proposals import FromPosterior, FromPrior, TruncatedPrior
from homing.random import row_seeds
from homing.simulation import StoreError
from homing.simulation.npz import from_npz
from homing.simulation.sqlite import checksum
from homing.simulation.task import worker_name
from homing.training import FitOptions

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

PRIOR = homing.BoxUniform([-2.0, -2.0], [2.0, 2.0])
TINY = posterior_nn("mdn", hidden_features=8, num_components=2)
QUICK = SideOptions(builders=(TINY,), members=2, fit=FitOptions(stop_after_steps=10, max_num_epochs=2))
X_O = [0.5, -0.5]


def simulator(theta, rng):
    return theta + 0.3 * rng.normal(size=2)


def snpe(store, function=simulator, **options):
    options = {"seed": 3, "density_estimator": TINY, "batched": False} | options
    return homing.SNPE(function, PRIOR, store=store, show_progress_bars=False, **options)


def lines(inference, how):
    """Two rounds, by hand or by `run`."""
    try:
        if how == "run":
            return inference.run(X_O, 120, 2, options=QUICK)
        first = inference(60, max_num_epochs=2)
        return inference(60, first.set_default_x(X_O), max_num_epochs=2)
    finally:
        inference.close()


def draws(posterior):
    return posterior.sample((50,), show_progress_bars=False)


@pytest.fixture(scope="module")
def expected():
    return {how: draws(lines(snpe(None), how)) for how in ("by hand", "run")}


class Dies:
    """Ends its process, as far as a test can, at its so-manieth call; by itself it notes where it was called."""

    def __init__(self, at=None, look=None):
        self.at, self.look, self.theta = at, look, []

    def __call__(self, theta, rng):
        self.theta.append(theta.tolist())
        if len(self.theta) == self.at:
            if self.look is not None:
                self.look()
            raise KeyboardInterrupt
        return simulator(theta, rng)


# What is written -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("round", "how"), [(1, "by hand"), (2, "by hand"), (1, "run"), (2, "run")])
def test_a_round_is_in_the_file_before_its_first_simulation(tmp_path, round, how):
    seen = {}

    def look():
        with homing.open(tmp_path / "run") as run:
            seen.update(facts=run.facts, planned=run.rounds[round], **run.simulations(round))

    first = 1 if round == 1 else 61
    dies = Dies(first, look)
    with pytest.raises(KeyboardInterrupt):
        lines(snpe(tmp_path / "run", dies), how)
    assert seen["theta"][0].tolist() == dies.theta[-1]
    np.testing.assert_array_equal(seen["seed"], row_seeds(3, "simulate", round, len(seen["seed"])))
    assert set(seen["status"]) == {"planned"}
    assert seen["planned"].proposal["name"] == ("prior" if round == 1 else "truncated" if how == "run" else "posterior")
    facts = seen["facts"]
    assert facts["seed"] == 3
    assert "uniform" in facts["prior"]["description"]
    assert facts["simulator"].endswith("Dies")
    assert facts["settings"]["density_estimator"]["model"] == "mdn"
    if how == "run":
        assert facts["run from round 1"]["x_o"] == X_O
    elif round == 2:
        assert seen["planned"].arrays["x"].ravel().tolist() == X_O


@pytest.mark.parametrize("num_workers", [1, 2])
def test_who_ran_each_simulation_and_how_long(tmp_path, num_workers):
    def sleeps(theta, rng):
        time.sleep(0.003)
        return theta

    inference = snpe(tmp_path / "run", sleeps, num_workers=num_workers)
    inference(60, max_num_epochs=1)
    inference.close()
    with homing.open(tmp_path / "run") as run:
        found = run.simulations()
    assert ((found["seconds"] >= 0.003) & (found["seconds"] < 1)).all()
    if num_workers == 1:
        assert set(found["worker"]) == {worker_name()}
    else:
        assert 1 <= len(set(found["worker"]) - {worker_name()}) == len(set(found["worker"])) <= 2


def test_a_strangers_file_runs_no_code(tmp_path):
    """Arrays that would have to be unpickled are refused, also where all checksums are right."""
    path, mark = tmp_path / "run", tmp_path / "mark"
    inference = snpe(path)
    inference(60, max_num_epochs=1)
    inference.close()

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    np.savez(tmp_path / "harm.npz", a=np.array([Harm()], dtype=object))
    harm = (tmp_path / "harm.npz").read_bytes()
    for table, columns in (("round", "number, proposal"), ("result", "round, record, estimator")):
        with sqlite3.connect(path) as connection:
            (before,) = connection.execute(f"SELECT {columns}, arrays, crc FROM {table}")
            values = (*before[:-2], harm)
            connection.execute(f"UPDATE {table} SET arrays = ?, crc = ?", (harm, checksum(*values)))
        for open_it in (snpe, lambda path: homing.open(path).rounds):
            with pytest.raises(StoreError, match="Object arrays cannot be loaded when allow_pickle=False"):
                open_it(path)
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE {table} SET arrays = ?, crc = ?", before[-2:])
        connection.close()
    assert not mark.exists()
    assert from_npz(before[-2])  # and as it was it is opened
    snpe(path).close()


# Going on ------------------------------------------------------------------------------------------------------------


def never(*_, **__):
    raise AssertionError("this was done before")


@pytest.mark.parametrize("how", ["by hand", "run"])
def test_planned_theta_are_read_and_not_drawn_again(tmp_path, how, expected, monkeypatch):
    dies = Dies(100)
    with pytest.raises(KeyboardInterrupt):
        lines(snpe(tmp_path / "run", dies), how)
    with homing.open(tmp_path / "run") as run:
        rows = run.simulations()
        planned = rows["theta"][rows["status"] == "planned"]
    for proposal, draw in ((FromPrior, "draw"), (FromPosterior, "draw"), (TruncatedPrior, "draw_with_info")):
        monkeypatch.setattr(proposal, draw, never)
    going_on = Dies()
    np.testing.assert_array_equal(draws(lines(snpe(tmp_path / "run", going_on), how)), expected[how])
    assert 20 <= len(planned) <= 48
    new = [theta for theta in going_on.theta if (theta == planned).all(1).any()]  # a few others are repeated
    np.testing.assert_array_equal(new, planned)
    assert len(going_on.theta) - len(new) <= 8


def test_a_finished_round_is_not_learned_again(tmp_path, expected, monkeypatch):
    lines(snpe(tmp_path / "run"), "by hand")
    monkeypatch.setattr(by_hand, "learn", never)
    np.testing.assert_array_equal(draws(lines(snpe(tmp_path / "run"), "by hand")), expected["by hand"])


def test_a_finished_round_of_a_run_is_not_learned_again(tmp_path, expected, monkeypatch):
    lines(snpe(tmp_path / "run"), "run")
    monkeypatch.setattr("homing.inference.sides.learn_sides", never)
    np.testing.assert_array_equal(draws(lines(snpe(tmp_path / "run"), "run")), expected["run"])


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, expected, monkeypatch):
    now = iter(range(2_000_000_000, 0, -3600))  # each look at the clock is an hour before the last
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    monkeypatch.setattr(time, "time_ns", lambda: next(now) * 10**9)
    with pytest.raises(KeyboardInterrupt):
        lines(snpe(tmp_path / "run", Dies(90)), "by hand")
    os.utime(tmp_path / "run", (0, 0))
    np.testing.assert_array_equal(draws(lines(snpe(tmp_path / "run"), "by hand")), expected["by hand"])
    with homing.open(tmp_path / "run") as run:
        assert all(seconds >= 0 for record in run.records for seconds in record.seconds.values())


# Interrupted, and out of room ----------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_run_keeps_all_and_goes_on(tmp_path, times, num_workers, expected):
    def slow(theta, rng):
        time.sleep(0.02)
        return simulator(theta, rng)

    inference = snpe(tmp_path / "run", slow, num_workers=num_workers)
    done, record = [], inference._campaign.store.record
    timers = [threading.Timer(0.2 + 0.004 * k, os.kill, (os.getpid(), signal.SIGINT)) for k in range(times)]
    interrupt = list(timers)

    def acknowledged(ids, outcomes):
        record(ids, outcomes)
        done.extend(ids.tolist())
        while interrupt:
            interrupt.pop().start()

    inference._campaign.store.record = acknowledged

    def until_all_came():
        try:
            lines(inference, "by hand")
        finally:
            for timer in timers:
                timer.join()

    with pytest.raises(KeyboardInterrupt):
        until_all_came()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with homing.open(tmp_path / "run") as run:
        kept = np.flatnonzero(run.simulations()["status"] == "ok")
    assert set(done) <= set(kept.tolist())
    assert 1 <= len(done) < 60
    np.testing.assert_array_equal(draws(lines(snpe(tmp_path / "run"), "by hand")), expected["by hand"])


@posix
def test_a_run_whose_disk_is_full_goes_on_when_there_is_room(tmp_path, expected):
    path, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    failures = 0
    for room in (*range(10_000, 60_000, 6_000), before[0]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            posterior = lines(snpe(path), "by hand")
        except StoreError as error:
            assert "could not be" in str(error)  # noqa: PT017
            assert "Is there room on the disk?" in str(error)  # noqa: PT017
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            failures += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failures >= 3
    np.testing.assert_array_equal(draws(posterior), expected["by hand"])


# Another process -----------------------------------------------------------------------------------------------------

TELLER = """
import json, sys
import homing
from homing.estimators import posterior_nn

inference = homing.SNPE(prior=homing.BoxUniform([-2.0, -2.0], [2.0, 2.0]), store=sys.argv[1], show_progress_bars=False,
                        density_estimator=posterior_nn("mdn", hidden_features=8, num_components=2))
told = json.load(sys.stdin)
errors = {int(number): text for number, text in told["errors"].items()}
print(inference.tell(told["ids"], told["x"], errors), inference.tell(told["ids"], told["x"], errors))
inference.close()
"""


@pytest.mark.filterwarnings("ignore:1 of 40 simulations")
def test_another_process_tells(tmp_path):
    def learned(inference):
        inference.train(max_num_epochs=2)
        inference.close()
        return draws(inference.build_posterior().set_default_x(X_O))

    whole, inference = snpe(None), snpe(tmp_path / "run")
    ids, theta = whole.ask(40)
    whole.tell(ids, theta**2, {7: "no node"})
    inference.ask(40)
    inference.close()
    order = np.random.default_rng(0).permutation(40)
    for part in (order[:25], order[25:]):
        errors = {7: "no node"} if 7 in part else {}
        told = {"ids": ids[part].tolist(), "x": (theta[part] ** 2).tolist(), "errors": errors}
        command = [sys.executable, "-c", TELLER, str(tmp_path / "run")]
        done = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True)
        assert done.stdout.split() == [str(len(part)), "0"], done.stderr
    with homing.open(tmp_path / "run") as run:
        assert run.simulations()["error"][7] == "no node"
    np.testing.assert_array_equal(learned(snpe(tmp_path / "run", seed=None)), learned(whole))


def test_a_run_that_spent_its_time_stays_stopped(tmp_path):
    count = []

    def sleeps(theta, rng):
        count.append(1)
        time.sleep(0.01)
        return simulator(theta, rng)

    runs = []
    for _ in range(2):
        inference = snpe(tmp_path / "run", sleeps)
        runs.append(draws(inference.run(X_O, 180, 3, stop=Stop(seconds=0.5), options=QUICK)))
        assert len(inference.rounds) == 1
        inference.close()
    assert len(count) <= 60 + 8  # a few are repeated, to see that the simulator is the same
    np.testing.assert_array_equal(*runs)

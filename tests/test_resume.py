"""Runs that go on after a crash: the same lines again give the same posterior, and nothing acknowledged is lost."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats

import homing
from homing.errors import ArgumentError, NotTrainedError, ShapeError, SimulationError
from homing.estimators import posterior_nn
from homing.inference import Truncated
from homing.inference.sides import SideOptions
from homing.simulation import StoreError
from homing.training import FitOptions

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Three rounds, by hand or by `run`, whose sides are both or one. What is acknowledged goes to a log, draws to a file.
CHILD = """
import dataclasses, json, sys, time
import numpy as np
from homing.estimators import PosteriorBuilder, posterior_nn
from homing.inference import SNPE
from homing.inference.sides import SideOptions
from homing.priors import BoxUniform
from homing.simulation.store import Store
from homing.training import FitOptions

how, path, log, draws = sys.argv[1], sys.argv[2], open(sys.argv[3], "a"), sys.argv[4]
record = Store.record

def logged(store, ids, outcomes):
    for part in np.array_split(np.arange(len(ids)), max(len(ids) // 7, 1)):
        record(store, ids[part], outcomes[part])
        print(json.dumps(ids[part].tolist()), file=log, flush=True)

Store.record = logged

def simulator(theta, rng):
    time.sleep(5e-4)
    if theta[0] > 1.8:
        raise ValueError("too large")
    return theta + 0.3 * rng.normal(size=2)

tiny = PosteriorBuilder("mdn", hidden_features=8, num_components=2)
print("ready", flush=True)
inference = SNPE(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=5, store=path, show_progress_bars=False,
                 density_estimator=posterior_nn("mdn", hidden_features=8, num_components=2))
if how == "by hand":
    proposal = None
    for _ in range(3):
        posterior = inference(num_simulations=120, proposal=proposal, max_num_epochs=4)
        proposal = posterior.set_default_x([0.5, -0.5])
else:
    sides = SideOptions(builders=(tiny,), members=2, fit=FitOptions(stop_after_steps=20, max_num_epochs=3))
    if how == "run, one side":  # with a third to compile
        sides = dataclasses.replace(sides, likelihood=None)
    posterior = inference.run([0.5, -0.5], 360, 3, options=sides)
inference.close()
theta = posterior.sample((200,))
np.savez(draws, theta=theta, log_prob=posterior.log_prob(theta))
print("done", flush=True)
"""


def start(how, path, log, draws):
    arguments = [sys.executable, "-W", "ignore", "-c", CHILD, how, str(path), str(log), str(draws)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def check_acknowledged(path, log):
    with homing.open(path) as run:
        found = run.simulations() if run.rounds else {"status": np.empty(0)}
    for line in log.read_text().splitlines():
        assert (found["status"][json.loads(line)] != "planned").all()
    connection = sqlite3.connect(path)
    blobs = [blob for (blob,) in connection.execute("SELECT ids FROM batch")]
    connection.close()
    ids = np.concatenate([np.empty(0, int), *(np.frombuffer(blob, "<i8") for blob in blobs)])
    assert len(np.unique(ids)) == len(ids) == (found["status"] != "planned").sum()  # none is there twice


def campaign(directory, how, kills):
    rng, killed, files = random.Random(how), 0, 0
    whole = directory / "whole", directory / "whole.log", directory / "whole.npz"
    began = time.perf_counter()
    child = start(how, *whole)
    child.stdout.readline()
    began = time.perf_counter()
    assert child.wait() == 0
    longest = time.perf_counter() - began
    expected = dict(np.load(whole[2]))
    while killed < kills:
        files += 1
        path, log, draws = (directory / f"{files}{suffix}" for suffix in ("", ".log", ".npz"))
        log.touch()
        finished = False
        while not finished:
            child = start(how, path, log, draws)
            child.stdout.readline()
            if killed < kills:
                time.sleep(rng.uniform(0, longest))
                child.send_signal(signal.SIGKILL)
                assert child.wait() in (0, -signal.SIGKILL)
                killed += child.returncode != 0
            else:
                assert child.wait() == 0
            finished = child.stdout.read() == "done\n" and child.returncode == 0
            if path.exists():
                check_acknowledged(path, log)
        for name, array in np.load(draws).items():
            np.testing.assert_array_equal(array, expected[name])
        with homing.open(path) as run, homing.open(whole[0]) as other:
            for name in ("theta", "x", "status", "seed"):
                np.testing.assert_array_equal(run.simulations()[name], other.simulations()[name])


@posix
@pytest.mark.slow
@pytest.mark.parametrize("how", ["by hand", "run, one side"])
def test_a_run_killed_at_random_moments_gives_the_same_posterior(tmp_path, how):
    campaign(tmp_path, how, kills=1)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("how", ["by hand", "run, both sides"])
def test_a_run_killed_100_times_each_way(tmp_path, how):
    campaign(tmp_path, how, kills=105)


# In one process ------------------------------------------------------------------------------------------------------

PRIOR = homing.BoxUniform([-2.0, -2.0], [2.0, 2.0])
TINY = posterior_nn("mdn", hidden_features=8, num_components=2)
X_O = [0.5, -0.5]


class Simulator:
    """Counts its calls; fails where told to."""

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = 0, dies_at

    def __call__(self, theta, rng):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return theta + 0.3 * rng.normal(size=2)


def snpe(store=None, simulator=None, prior=PRIOR, **options):
    options = {"seed": 3, "density_estimator": TINY, "batched": False} | options
    return homing.SNPE(simulator or Simulator(), prior, store=store, show_progress_bars=False, **options)


def by_hand(inference, rounds=2, x_o=X_O, num_simulations=60, **training):
    proposal = None
    for _ in range(rounds):
        posterior = inference(num_simulations, proposal, **({"max_num_epochs": 2} | training))
        proposal = posterior.set_default_x(x_o)
    inference.close()
    return posterior


def driven(builder=TINY):
    fit = FitOptions(stop_after_steps=10, max_num_epochs=2)
    return SideOptions(builders=(builder,), members=2, likelihood=None, fit=fit)


def draws(posterior):
    return posterior.sample((50,), show_progress_bars=False)


def test_an_interrupted_round_goes_on(tmp_path):
    expected = draws(by_hand(snpe()))
    first, second = Simulator(dies_at=90), Simulator()
    with pytest.raises(KeyboardInterrupt):
        by_hand(inference := snpe(tmp_path / "run", first))
    inference.close()
    posterior = by_hand(snpe(tmp_path / "run", second))
    np.testing.assert_array_equal(draws(posterior), expected)
    assert 30 <= second.calls <= 60  # of 120; what ran unacknowledged when it was interrupted runs again


def test_a_finished_run_is_read(tmp_path):
    first = by_hand(inference := snpe(tmp_path / "run"))
    simulator = Simulator()
    second = by_hand(again := snpe(tmp_path / "run", simulator, seed=None))
    assert simulator.calls <= 8  # repeated, to see that they give the same
    assert again.seed == 3
    assert again.rounds[1].as_dict() == inference.rounds[1].as_dict()
    np.testing.assert_array_equal(draws(second), draws(first))
    with homing.open(tmp_path / "run") as run:
        assert str(run.records) == str(inference.rounds)
        np.testing.assert_array_equal(draws(run.posterior().set_default_x(X_O)), draws(by_hand(snpe())))
        assert run.posterior(1).default_x is None
        with pytest.raises(NotTrainedError, match=r"has no posterior of round 3: learned were rounds \[1, 2\]"):
            run.posterior(3)


def test_append_and_train_go_on(tmp_path):
    theta = np.random.default_rng(0).uniform(-2, 2, (80, 2))

    def lines(store, seed=3):
        inference = snpe(store, seed=seed)
        inference.append_simulations(theta[:50], theta[:50])
        inference.train(max_num_epochs=2)
        inference.append_simulations(theta[50:], theta[50:])
        inference.train(max_num_epochs=2)  # from the first one's weights
        inference.train(max_num_epochs=1)  # and from the second one's
        inference.close()
        return draws(inference.build_posterior().set_default_x(X_O))

    expected = lines(None)
    np.testing.assert_array_equal(lines(tmp_path / "run"), expected)
    np.testing.assert_array_equal(lines(tmp_path / "run", seed=None), expected)
    inference = snpe(tmp_path / "run")
    with pytest.raises(StoreError, match="Round 1 of this run has other theta than those appended now"):
        inference.append_simulations(theta[1:51], theta[:50])
    inference.close()
    adopted = snpe(tmp_path / "run")  # nothing but a look at the end
    np.testing.assert_array_equal(draws(adopted.build_posterior().set_default_x(X_O)), expected)
    adopted.close()


def test_iterate_goes_on(tmp_path):
    expected = draws(snpe().run(X_O, 120, 2, options=driven()))
    steps = (inference := snpe(tmp_path / "run")).iterate(X_O, 120, 2, options=driven())
    next(steps)
    inference.close()
    simulator = Simulator()
    *_, (_, posterior) = (inference := snpe(tmp_path / "run", simulator)).iterate(X_O, 120, 2, options=driven())
    inference.close()
    assert 60 < simulator.calls <= 68  # some are repeated, to see that they give the same
    np.testing.assert_array_equal(draws(posterior), expected)
    np.testing.assert_array_equal(draws(homing.open(tmp_path / "run").posterior()), expected)


def test_a_builder_of_ones_own_is_trained_again(tmp_path):
    def builder(z, x, rng, min_precision):
        estimator = TINY(z, x, rng, min_precision)
        own = type("Own", (type(estimator.density.core),), {})
        core = object.__new__(own)
        for name, value in vars(estimator.density.core).items():
            object.__setattr__(core, name, value)
        object.__setattr__(estimator.density, "core", core)
        return estimator

    expected = draws(by_hand(snpe(tmp_path / "run", density_estimator=builder), rounds=1))
    with pytest.raises(NotTrainedError, match=r"builder of the user's own, which .* cannot hold\. Run the lines"):
        homing.open(tmp_path / "run").posterior()
    simulator = Simulator()
    posterior = by_hand(snpe(tmp_path / "run", simulator, density_estimator=builder), rounds=1)
    assert simulator.calls <= 8  # repeated, to see that they give the same
    np.testing.assert_array_equal(draws(posterior), expected)
    with pytest.raises(ArgumentError, match="Own, which cannot be stored"):
        posterior.save(tmp_path / "posterior.npz")


# Other runs are refused ----------------------------------------------------------------------------------------------


def test_another_run_is_refused(tmp_path):
    by_hand(snpe(tmp_path / "run"))
    wider, normal = homing.BoxUniform([-2.0, -2.0], [2.0, 3.0]), scipy.stats.norm([0.0, 0.0], [1.0, 1.0])
    cases = [
        ({"seed": 4}, "seed: it has 3, this run 4"),
        (
            {"prior": wider},
            r'prior.description: it has "uniform on .*high=\[2, 2\]", this run "uniform.*high=\[2, 3\]"',
        ),
        ({"prior": normal}, "prior.log_prob"),
        ({"density_estimator": "maf"}, 'settings.density_estimator.model: it has "mdn", this run "maf"'),
        ({"simulation_batch_size": 7}, "simulation_batch_size: it has 1000, this run 7"),
    ]
    for options, message in cases:
        with pytest.raises(StoreError, match=message):
            snpe(tmp_path / "run", **options)
    cases = [
        ({"num_simulations": 61}, "Round 1 of this run was planned otherwise: it has 60 simulations, now there are 61"),
        ({"max_num_epochs": 3}, "learned otherwise:\n  round 1.max_num_epochs: it has 2, this run 3\nTo go on with"),
        ({"x_o": [0.0, 0.0]}, r"posterior at x=\[ 0.5, -0.5\], now it is the one at x=\[0., 0.\]"),
    ]
    for options, message in cases:
        inference = snpe(tmp_path / "run")
        with pytest.raises(StoreError, match=message):
            by_hand(inference, **options)
        inference.close()
    inference = snpe(tmp_path / "run")
    inference(60, max_num_epochs=2)
    with pytest.raises(StoreError, match="it was drawn from the posterior, now the proposal is the prior"):
        inference(60, max_num_epochs=2)
    other = by_hand(snpe(), rounds=1, max_num_epochs=1)
    with pytest.raises(StoreError, match="it was drawn from another posterior than the one given now"):
        inference(60, other, max_num_epochs=2)
    inference.close()


def test_another_x_o_is_refused(tmp_path):
    (inference := snpe(tmp_path / "run")).run(X_O, 60, 1, options=driven())
    inference.close()
    cases = [
        (([0.0, 0.0], 60, 1), {}, r"run from round 1.x_o: it has \[0.5, -0.5\], this run \[0.0, 0.0\]"),
        ((X_O, 80, 1), {}, "run from round 1.num_simulations: it has 60, this run 80"),
        (
            (X_O, 60, 1),
            {"proposal": Truncated(epsilon=0.01)},
            "run from round 1.method.epsilon: it has 0.001, this run 0.01",
        ),
        ((X_O, 60, 1), {"proposal": "mixture"}, 'run from round 1.proposal: it has "truncated", this run "mixture"'),
    ]
    for arguments, options, message in cases:
        inference = snpe(tmp_path / "run")
        with pytest.raises(StoreError, match=message):
            inference.run(*arguments, options=driven(), **options)
        inference.close()


# Ask and tell --------------------------------------------------------------------------------------------------------


def simulate(theta):
    return theta + 0.3 * np.sin(20 * theta)


def test_ask_and_tell_across_processes(tmp_path):
    whole = snpe()
    ids, theta = whole.ask(80)
    assert whole.tell(ids, simulate(theta), {7: "out of memory"}) == 80
    whole.train(max_num_epochs=2)
    expected = draws(whole.build_posterior().set_default_x(X_O))

    inference = snpe(tmp_path / "run")
    ids, theta = inference.ask(80)
    inference.close()
    inference = snpe(tmp_path / "run", seed=None)
    order = np.random.default_rng(0).permutation(80)
    assert (
        inference.tell(ids[order[:50]], simulate(theta)[order[:50]], {7: "out of memory"} if 7 in order[:50] else None)
        == 50
    )
    inference.close()
    inference = snpe(tmp_path / "run", seed=None)
    rest = [i for i in range(80) if i != 7]
    assert inference.tell(ids[rest], simulate(theta)[rest]) + inference.tell([7], errors={7: "out of memory"}) == 30
    assert inference.tell(ids, np.zeros((80, 2))) == 0  # the first result stands
    with pytest.warns(UserWarning, match="1 of 80 simulations of round 1 gave no finite data"):
        inference.train(max_num_epochs=2)
    assert (inference.rounds[0].valid, inference.rounds[0].failed) == (79, 1)
    posterior = inference.build_posterior().set_default_x(X_O)
    np.testing.assert_array_equal(draws(posterior), expected)

    more, _ = inference.ask(20, posterior)
    assert more.tolist() == list(range(80, 100))
    inference.close()
    with homing.open(tmp_path / "run") as run:
        assert str(run) == "round 1: 80 simulations planned, 79 ok, 1 failed\nround 2: 20 simulations planned"


def test_the_lines_of_ask_and_tell_go_on(tmp_path):
    def lines(store):
        inference = snpe(store)
        ids, theta = inference.ask(50)
        inference.tell(ids, simulate(theta))
        inference.train(max_num_epochs=2)
        posterior = inference.build_posterior().set_default_x(X_O)
        ids, theta = inference.ask(30, posterior)
        inference.tell(ids, simulate(theta))
        inference.train(max_num_epochs=2)
        inference.close()
        return draws(inference.build_posterior())

    expected = lines(None)
    np.testing.assert_array_equal(lines(tmp_path / "run"), expected)
    np.testing.assert_array_equal(lines(tmp_path / "run"), expected)
    later = snpe(tmp_path / "run")  # goes on without these lines
    later.tell([0], [[0.0, 0.0]])
    ids, theta = later.ask(30)
    assert ids[0] == 80
    later.tell(ids, simulate(theta))
    later.train(max_num_epochs=2)
    assert [record.asked for record in later.rounds] == [50, 30, 30]
    later.close()


def test_a_part_is_learned_from_and_then_the_rest(tmp_path):
    inference = snpe(tmp_path / "run")
    ids, theta = inference.ask(60)
    inference.tell(ids[:40], simulate(theta[:40]))
    first = inference.train(max_num_epochs=2)
    inference.tell(ids[40:], simulate(theta[40:]))
    second = inference.train(max_num_epochs=2)
    assert second is not first
    assert inference.rounds[0].asked == 60
    inference.close()
    again = snpe(tmp_path / "run")
    again.train(max_num_epochs=2)
    np.testing.assert_array_equal(
        draws(again.build_posterior().set_default_x(X_O)), draws(inference.build_posterior(second).set_default_x(X_O))
    )
    again.close()


def test_what_cannot_be_told():
    inference = snpe()
    ids, theta = inference.ask(20)
    with pytest.raises(ArgumentError, match="ids must be some that ask gave; 20 was never given, the run has 20"):
        inference.tell([3, 20], theta[:2])
    with pytest.raises(ArgumentError, match="ids must be whole numbers"):
        inference.tell([0.5], theta[:1])
    with pytest.raises(ShapeError, match=r"x must have one entry for each of the 20 ids, found shape \(3, 2\)"):
        inference.tell(ids, theta[:3])
    with pytest.raises(ArgumentError, match="errors must be by ids that are told, found 5"):
        inference.tell([3], theta[:1], {5: "lost"})
    with pytest.raises(ArgumentError, match="x is needed: only 1 of the 2 simulations have an error"):
        inference.tell([3, 4], errors={3: "lost"})
    inference.tell(ids, theta)
    inference.ask(20)
    with pytest.raises(ShapeError, match="this run's data have shape"):
        inference.tell([20], [[1.0, 2.0, 3.0]])
    with pytest.raises(SimulationError, match="Too few valid"):
        inference.train()

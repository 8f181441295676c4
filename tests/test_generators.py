"""A simulator's noise: decided by the row's seed, wherever the generator is held that it comes from."""

import random
import subprocess
import sys

import numpy as np
import pytest

from homing import SNPE, BoxUniform, simulate_for_sbi
from homing.simulation import Simulator
from homing.simulation.reach import reach
from homing.simulation.task import Task, run_task
from own_generators import HOLDERS, RNG, InAnObject

THETA, SEEDS = np.ones((12, 2)), np.arange(12, dtype=np.uint64)


def noise_of(simulator, *parts):
    """The rows' noise where these parts of them are run one after the other by one worker."""
    noise = np.zeros((12, 2))
    for start, stop in parts:
        outcomes = run_task(simulator, Task(np.arange(12), THETA, SEEDS).part(start, stop))
        assert outcomes.ok.all(), outcomes.error
        noise[start:stop] = outcomes.x - 1
    return noise


@pytest.mark.parametrize("name", HOLDERS)
def test_each_row_has_its_own_noise_whoever_runs_it_and_when(name):
    make = HOLDERS[name]
    noise = noise_of(Simulator(make(), batched=False), (0, 12))
    assert len(np.unique(noise)) == noise.size
    another_worker = Simulator(make(), batched=False)
    assert np.array_equal(noise_of(another_worker, (6, 12), (0, 6)), noise)


def test_workers_and_this_process_give_the_same():
    prior = BoxUniform([-2.0, -2.0], [2.0, 2.0])
    options = {"seed": 1, "show_progress_bar": False}
    theta, x = simulate_for_sbi(InAnObject(), prior, 60, num_workers=3, **options)
    assert len(np.unique(x - theta)) == 120
    assert np.array_equal(x, simulate_for_sbi(InAnObject(), prior, 60, **options)[1])


_CRASHES = """
import os, sys
import numpy as np
from homing import SNPE, BoxUniform

rng, calls = np.random.default_rng(), 0

def simulator(theta):
    global calls
    calls += 1
    if sys.argv[2] == "crash" and calls > 20:
        os._exit(9)
    return theta + rng.normal(size=2)

inference = SNPE(
    simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=1, store=sys.argv[1], batched=False, show_progress_bars=False
)
inference(num_simulations=50, max_num_epochs=1)
rows = inference.view.simulations()
noise = rows["x"] - rows["theta"]
assert len(np.unique(noise.round(9))) == 100, len(np.unique(noise.round(9)))
np.save(sys.argv[3], noise)
"""


@pytest.mark.slow
def test_a_resumed_run_has_the_noise_of_one_that_never_stopped(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_CRASHES)
    ends = [("a", "crash"), ("a", "go on"), ("b", "go on")]
    codes = [
        subprocess.run([sys.executable, script, tmp_path / f"{name}.homing", how, tmp_path / f"{name}.npy"]).returncode
        for name, how in ends
    ]
    assert codes == [9, 0, 0]
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_the_users_generators_are_put_back():
    before = RNG.bit_generator.state
    noise_of(Simulator(HOLDERS["this module"](), batched=False), (0, 12))
    assert RNG.bit_generator.state == before
    own = InAnObject(random.Random(3))
    own.noise = lambda num: [own.rng.gauss(0, 1) for _ in range(num)]
    state = own.rng.getstate()
    noise_of(Simulator(own, batched=False), (0, 12))
    assert own.rng.getstate() == state


def test_own_generators_beside_the_rows():
    own = np.random.default_rng(0)

    def simulator(theta, rng):
        return theta + rng.normal(size=2) + own.normal(size=2)

    noise = noise_of(Simulator(simulator, batched=False), (0, 12))
    assert np.array_equal(noise_of(Simulator(simulator, batched=False), (6, 12), (0, 6)), noise)
    assert len(np.unique(noise)) == 24


def test_what_is_reached_is_bounded_and_leaves_packages_alone():
    loop = {}
    loop["itself"] = loop
    found = reach(lambda theta: (loop, np.linalg.norm(theta)))
    assert len(found.codes) == 1
    assert not found.generators
    many = [[object() for _ in range(100)] for _ in range(100)]
    whole = reach(lambda: many).whole
    assert not whole


def test_snpe_with_an_own_generator_is_repeatable():
    x = []
    for _ in range(2):
        inference = SNPE(
            HOLDERS["closure"](), BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=1, show_progress_bars=False, batched=False
        )
        inference._campaign.simulate(20, inference._as_proposal(None))
        x.append(inference.view.simulations()["x"])
    assert np.array_equal(*x)

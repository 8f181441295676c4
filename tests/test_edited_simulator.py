"""A run file gone on with by another simulator than it was made with is refused; the same one in other words is not."""

import subprocess
import sys
import time

import numpy as np
import pytest

import homing
from homing import SNPE, BoxUniform, command
from homing.errors import HomingError
from homing.inference.sides import SideOptions
from homing.simulation import StoreError
from homing.simulation.source import digest
from homing.training import FitOptions
from learning import AFFINE

PRIOR = BoxUniform([-2.0, -2.0], [2.0, 2.0])
QUICK = SideOptions(builders=AFFINE, likelihood=None, members=1, fit=FitOptions(max_num_epochs=1))


def opened(store, simulator, **options):
    return SNPE(simulator, PRIOR, seed=1, store=store, show_progress_bars=False, **options)


def planned(inference, num=30):
    """The first round, simulated and not learned from."""
    try:
        inference._campaign.simulate(num, inference._as_proposal(None))
        return inference.view.simulations()["x"]
    finally:
        inference.close()


def noisy(scale, offset=0.0):
    def simulator(theta, rng):
        return theta + offset + scale * rng.normal(size=2)

    return simulator


def by_table(table):
    return lambda theta, rng: theta * table + rng.normal(size=2)


class Model:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, theta, rng):
        return self.more(theta) + rng.normal(size=2)

    def more(self, theta):
        return theta * self.scale


def batch(scale):
    return lambda theta, rng: theta + scale * rng.normal(size=theta.shape)


PAIRS = {
    "a number in a closure": (noisy(0.2), noisy(1.0)),
    "an array": (by_table(np.ones(2)), by_table(np.array([1.0, 2.0]))),
    "an attribute": (Model(1.0), Model(2.0)),
    "another shape": (noisy(0.2), lambda theta, rng: rng.normal(size=3)),
    "batches": (batch(1.0), batch(2.0)),
    "a program": tuple(
        command(f'{sys.executable} -c "import random; random.seed({{seed}}); print({{theta[0]}}, {k}+random.random())"')
        for k in "12"
    ),
    "one that fails": (noisy(0.2), lambda theta, rng: 1 / 0),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_simulator_is_refused(name, tmp_path):
    old, new = PAIRS[name]
    num = 3 if name == "a program" else 30
    x = planned(opened(tmp_path / "run", old), num)
    with pytest.raises(StoreError, match="is not the one that this run file was made with: simulation"):
        planned(opened(tmp_path / "run", new), num)
    assert np.array_equal(planned(opened(tmp_path / "run", old), num), x)


def test_neither_a_run_nor_a_check_nor_a_look_answers_with_the_old_model(tmp_path):
    inference = opened(tmp_path / "run", noisy(0.2))
    inference.run([0.5, 0.5], 60, 1, options=QUICK)
    inference.check(20)
    inference.close()
    for ask in (
        lambda new: new.run([0.5, 0.5], 60, 1, options=QUICK),
        lambda new: new.build_posterior(),
        lambda new: new.check(20, posterior=inference._latest),
    ):
        new = opened(tmp_path / "run", noisy(1.0))
        with pytest.raises(HomingError, match="is not the one that this run file was made with"):
            ask(new)
        new.close()
    new = opened(tmp_path / "run", noisy(1.0))
    new.remember(**{"simulator digest": None})  # for who knows better
    new.run([0.5, 0.5], 60, 1, options=QUICK)
    new.close()


def test_the_same_model_in_other_words_goes_on(tmp_path):
    def other_words(values, rng):
        """Says the same."""
        # and more
        noise = rng.normal(size=2)
        return np.array([a + 0.2 * b for a, b in zip(values, noise)])

    x = planned(opened(tmp_path / "run", noisy(0.2)))
    assert np.array_equal(planned(opened(tmp_path / "run", other_words)), x)


def test_comments_and_names_are_not_in_the_digest():
    def made(lines):
        names = {"np": np}
        exec("\n".join(lines), names)
        return digest(names["simulator"])

    old = made(["def simulator(theta, rng):", "    x = theta + 1", "    return x"])
    same = made(["def simulator(theta, rng):  # why", '    "a docstring"', "", "    y = theta + 1", "    return y"])
    assert old == same
    assert old != made(["def simulator(theta, rng):", "    x = theta + 2", "    return x"])
    body = ["def simulator(theta):", "    return k"]
    assert made(["k = 1", *body]) != made(["k = 2", *body])


def test_costly_simulations_are_repeated_only_if_the_code_changed_and_that_is_said(tmp_path):
    log = tmp_path / "log"

    def costly(offset):
        def simulator(theta, rng):
            with log.open("a") as file:
                file.write("x")
            time.sleep(1.01)
            return theta + offset + rng.normal(size=2)

        return simulator

    planned(opened(tmp_path / "run", costly(0)), 2)
    assert log.stat().st_size == 2
    planned(opened(tmp_path / "run", costly(0)), 2)
    assert log.stat().st_size == 2
    with pytest.warns(UserWarning, match=r"which took 1\.\d+ seconds, is repeated"):
        planned(opened(tmp_path / "run", costly(0.0)), 2)
    assert log.stat().st_size == 3
    with pytest.warns(UserWarning, match="is repeated"), pytest.raises(StoreError, match="was made with: simulation"):
        planned(opened(tmp_path / "run", costly(3.0)), 2)


def test_where_no_seed_decides_the_code_speaks(tmp_path):
    def unseeded(scale):
        return lambda theta: theta + scale * np.random.default_rng().normal(size=2)

    with pytest.warns(UserWarning, match="no seed decides"):
        x = planned(opened(tmp_path / "run", unseeded(1.0)))
    with pytest.warns(UserWarning, match="no seed decides"):
        assert np.array_equal(planned(opened(tmp_path / "run", unseeded(1.0))), x)
    with pytest.warns(UserWarning, match="no seed decides"), pytest.raises(StoreError, match="does not decide them"):
        planned(opened(tmp_path / "run", unseeded(2.0)))


def test_a_file_that_says_nothing_of_the_code_goes_on(tmp_path):
    first = opened(tmp_path / "run", noisy(0.2))
    x = planned(first)
    again = opened(tmp_path / "run", noisy(0.2))
    again.remember(**{"simulator digest": None})
    again.close()
    assert np.array_equal(planned(opened(tmp_path / "run", noisy(0.2))), x)


@pytest.mark.slow
def test_by_the_command_line(tmp_path):
    problem = tmp_path / "problem.py"
    text = (
        "from homing import BoxUniform\nprior = BoxUniform([-2.0, -2.0], [2.0, 2.0])\nx_o = [0.5, 0.5]\n"
        "def simulator(theta, rng):\n    return theta + 0.2 * rng.normal(size=2)\n"
    )
    problem.write_text(text)

    def line(verb, *more):
        words = [sys.executable, "-m", "homing.cli", verb, problem, "--store", tmp_path / "run", *more]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)

    assert line("run", "--simulations", "60", "--rounds", "1").returncode == 0
    problem.write_text(text.replace("0.2", "1.0"))
    for verb in ("run", "check"):
        done = line(verb)
        assert done.returncode == 4
        assert "is not the one that this run file was made with" in done.stderr
    assert homing.open(tmp_path / "run").records

"""What is said of simulators that have one noise for all simulations, or noise that no seed decides."""

import random
import time
import warnings

import jax
import numpy as np
import pytest
import torch

from homing import SNPE, BoxUniform, simulate_for_sbi
from homing.proposals import FromPrior
from own_generators import HOLDERS

PRIOR = BoxUniform([-2.0, -2.0], [2.0, 2.0])
SEED = 7


def _numpy(theta):
    np.random.seed(0)  # noqa: NPY002
    return theta + np.random.normal(size=2)  # noqa: NPY002


def _python(theta):
    random.seed(1)
    return theta + random.gauss(0, 1)


def _torch(theta):
    torch.manual_seed(2)
    return theta + torch.randn(2).numpy()


def _made_anew(theta):
    return theta + np.random.default_rng(3).normal(size=2)


def _by_a_global(theta):
    return theta + np.random.default_rng(SEED).normal(size=2)


def _by_keyword(theta):
    return theta + np.random.RandomState(seed=4).normal(size=2)


def _in_a_helper(theta):
    return _made_anew(theta)


def _jax(theta):
    return theta + np.asarray(jax.random.normal(jax.random.key(5), (2,)))


def _fresh(theta):
    return theta + np.random.default_rng().normal(size=2)


SAID = {
    _numpy: r"seed\(0\) in _numpy",
    _python: r"seed\(1\) in _python",
    _torch: r"manual_seed\(2\)",
    _made_anew: r"default_rng\(3\)",
    _by_a_global: r"default_rng\(7\)",
    _by_keyword: r"RandomState\(4\)",
    _in_a_helper: r"default_rng\(3\) in _made_anew",
    _jax: r"key\(5\)",
    _fresh: r"no seed decides, by default_rng\(\) in _fresh",
}


@pytest.mark.parametrize("simulator", SAID, ids=lambda function: function.__name__)
def test_noise_that_is_not_each_simulations_own_is_told_once(simulator):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        simulate_for_sbi(simulator, PRIOR, 40, seed=1, show_progress_bar=False)
    assert len(said) == 1
    with pytest.warns(UserWarning, match=SAID[simulator]):
        simulate_for_sbi(simulator, PRIOR, 40, seed=1, show_progress_bar=False)


def test_code_is_looked_at_where_calls_are_costly():
    def simulator(theta):
        time.sleep(0.02)
        calls.append(theta)
        return theta + np.random.default_rng(0).normal(size=2)

    calls = []
    with pytest.warns(UserWarning, match=r"default_rng\(0\)"):
        simulate_for_sbi(simulator, PRIOR, 5, seed=1, show_progress_bar=False)
    assert len(calls) == 5


def _rare_counts(theta, rng):
    return rng.poisson(1e-9, size=3)


def _fixed_design(theta, rng):
    return theta + np.random.default_rng(0).normal(size=2) + rng.normal(size=2)


def _fine(theta, rng):
    return theta + rng.normal(size=2)


@pytest.mark.parametrize("make", [*HOLDERS.values(), *(lambda f=f: f for f in (_rare_counts, _fixed_design, _fine))])
def test_right_noise_is_not_warned_of(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate_for_sbi(make(), PRIOR, 30, seed=1, show_progress_bar=False)


CALLS = []


def _ode(theta, rng):
    CALLS.append(1)
    return np.array([theta[0] * np.exp(-theta[1]), theta[0] + theta[1]])


def _whole_numbers(theta):
    return np.floor(10 * theta)


def _noisy(theta, rng):
    return theta + rng.normal(size=2)


def _many(theta, rng):
    CALLS.append(1)
    return np.stack([theta[:, 0] * np.exp(-theta[:, 1]), theta[:, 0]], axis=1)


@pytest.mark.parametrize(
    ("simulator", "batched", "is_noiseless"),
    [(_ode, False, True), (_whole_numbers, False, True), (_many, True, True), (_noisy, False, False)],
)
def test_a_deterministic_simulator_is_noticed(simulator, batched, is_noiseless, tmp_path):
    CALLS.clear()
    inference = SNPE(simulator, PRIOR, seed=1, batched=batched, store=tmp_path / "run", show_progress_bars=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):  # said once
            inference._campaign.simulate(30, FromPrior(inference.prior))
    assert len([w for w in said if "is deterministic" in str(w.message)]) == is_noiseless
    assert len(CALLS) <= 60 + 1
    inference.close()

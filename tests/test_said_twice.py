"""Data that are said twice tell no more than data said once: copies, combinations and functions of columns."""

import numpy as np
import pytest

from homing.diagnostics import fit_predictive
from homing.estimators import fit_standardize, own_columns
from homing.estimators.likelihood import LikelihoodBuilder
from homing.inference import SNPE
from homing.inference.likelihoods import learn_likelihood
from homing.priors import BoxUniform, as_prior
from homing.training import FitOptions

NOISE = 0.2
Y_O = np.array([0.5, -0.3])
PRIOR = as_prior(BoxUniform([-2.0, -2.0], [2.0, 2.0]))
MIXED = np.random.default_rng(9).normal(size=(2, 20))

SAID = {
    "tiled": lambda y: np.tile(y, 10),
    "repeated": lambda y: np.repeat(y, 10, axis=-1),
    "in single precision": lambda y: np.tile(y, 10).astype(np.float32).astype(np.float64),
    "once in single precision": lambda y: np.concatenate([y, y.astype(np.float32)], -1),
    "far from zero": lambda y: np.tile(y + 1e5, 3).astype(np.float32).astype(np.float64),
    "in other units": lambda y: np.concatenate([y, 1e3 * y + 5, -1e-25 * y, 7 * y + 100, 3e8 * y], -1),
    "mixed": lambda y: y @ MIXED,
    "mixed in single precision": lambda y: (y @ MIXED).astype(np.float32).astype(np.float64),
    "as logarithms": lambda y: np.concatenate([np.exp(y), y, y**3], -1),
    "rounded": lambda y: np.concatenate([y, np.round(y, 1)], -1),
    "with squares and products": lambda y: np.concatenate([y, y**2, y[..., :1] * y[..., 1:]], -1),
}


def drawn(num, rng):
    theta = rng.uniform(-2, 2, (num, 2))
    return theta, theta + NOISE * rng.normal(size=(num, 2))


@pytest.mark.parametrize("num", [200, 1000])
@pytest.mark.parametrize("said", SAID)
def test_what_others_determine_is_left_out(said, num):
    rng = np.random.default_rng(num)
    assert own_columns(SAID[said](drawn(num, rng)[1])).sum() == 2


@pytest.mark.parametrize("num", [40, 200, 1000])
def test_what_says_something_stays(num):
    rng = np.random.default_rng(num)
    y = drawn(num, rng)[1]
    common = 1e4 * rng.standard_cauchy((num, 1))
    told = {
        "noise": rng.normal(size=(num, 64)),
        "nearly the same": np.concatenate([y, y + 1e-3 * rng.normal(size=y.shape)], 1),
        "beside shared outliers": np.concatenate([common, common + 1e3 * rng.normal(size=(num, 1))], 1),
        "counts": rng.poisson(3.0, (num, 20)),
        "coins": rng.random((num, 30)) < 0.5,
        "a walk": np.cumsum(rng.normal(size=(num, 50)), 1),
        "in order": np.sort(rng.normal(size=(num, 20)), 1),
        "more than rows": rng.normal(size=(num, num + 10)) if num < 100 else y,
    }
    assert {name: own_columns(x).mean() for name, x in told.items()} == dict.fromkeys(told, 1.0)
    assert own_columns(rng.dirichlet(np.ones(8), num)).sum() == 7  # they sum to one


@pytest.mark.parametrize("num", [200, 1000])
def test_rare_events_are_not_in_order_by_chance(num):
    rare = (np.random.default_rng(num).random((num, 40)) < 3 / num).astype(float)
    assert own_columns(rare).sum() == len({column.tobytes() for column in rare.T if column.any()})


def width(said, seed):
    """The posterior's, over the exact one, by the likelihood of few members, at an observation of that seed."""
    rng = np.random.default_rng(seed)
    theta, y = drawn(400, rng)
    z, x = PRIOR.to_normal(theta), said(y)
    held_out = np.zeros((2, 400), bool)
    held_out[0, :40] = held_out[1, 40:80] = True
    found = learn_likelihood(
        PRIOR,
        z,
        x,
        fit_standardize(x, "independent", z),
        np.ones(400),
        held_out,
        seed,
        LikelihoodBuilder(hidden_features=20, num_transforms=2),
        FitOptions(max_num_epochs=60, stop_after_steps=200),
        None,
    )
    assert found is not None
    grid = np.linspace(-1.9, 1.9, 77)
    at = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    y_o = np.round(rng.uniform(-0.8, 0.8, 2), 2)
    logs = [found[0].log_likelihood(m, PRIOR.to_normal(at), said(y_o)) for m in range(2)]
    weights = np.mean([np.exp(one - one.max()) / np.exp(one - one.max()).sum() for one in logs], axis=0)
    mean = weights @ at
    return np.sqrt(weights @ (at - mean) ** 2) / NOISE


@pytest.mark.parametrize("seed", [1, 2])
def test_a_likelihood_is_as_wide_as_of_data_said_once(seed):
    once = width(lambda y: y, seed)
    np.testing.assert_allclose(once, 1.0, atol=0.2)
    for said in ("tiled", "in other units", "as logarithms"):
        np.testing.assert_allclose(width(SAID[said], seed), once, rtol=0.02)
    np.testing.assert_allclose(width(SAID["mixed"], seed), once, rtol=0.15)  # another basis is learned anew


@pytest.mark.parametrize("said", ["tiled", "in single precision", "in other units", "mixed"])
def test_an_observation_that_contradicts_itself_is_unlike_the_data(said):
    predictive = fit_predictive(SAID[said](drawn(500, np.random.default_rng(1))[1]))
    x_o = SAID[said](Y_O)
    assert predictive is not None
    assert not predictive.is_unlike(x_o)
    x_o[-1] *= 1.5
    assert predictive.is_unlike(x_o)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("said", ["tiled", "in single precision", "mixed"])
def test_a_run_is_as_wide_as_of_data_said_once(said, seed):
    def simulator(theta, rng):
        return SAID[said](theta + NOISE * rng.normal(size=2))

    prior = BoxUniform([-2.0, -2.0], [2.0, 2.0])
    posterior = SNPE(simulator, prior, seed=seed, show_progress_bars=False).run(SAID[said](Y_O), 2000)
    draws = np.asarray(posterior.sample((4000,)))
    np.testing.assert_allclose(draws.std(0), NOISE, rtol=0.12)
    np.testing.assert_allclose(draws.mean(0), Y_O, atol=0.3 * NOISE)

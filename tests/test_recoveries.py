"""Several rounds against exact posteriors: the mean of log p - log q over exact draws is what is lost, in nats."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.stats as st

from homing.inference import SNPE
from homing.inference.infer import METHODS
from homing.training import FitOptions
from homing.utils import BoxUniform

S = 0.3
NUM_EXACT = 3000


@dataclass(frozen=True)
class Problem:
    """A model whose posterior at x_o can be drawn from and evaluated."""

    prior: Any
    simulate: Callable[..., np.ndarray]
    x_o: list[float]
    draw: Callable[[np.random.Generator], np.ndarray]
    log_prob: Callable[[np.ndarray], np.ndarray]


def linear(theta, rng):
    return theta + S * rng.standard_normal(theta.shape)


def linear_gaussian(prior, x_o, mean, covariance):
    """A normal likelihood of standard deviation S under a normal prior; without one, under a box far away."""
    if mean is None:
        exact = st.multivariate_normal(x_o, S**2 * np.eye(2))
    else:
        precision = np.linalg.inv(covariance)
        posterior = np.linalg.inv(precision + np.eye(2) / S**2)
        exact = st.multivariate_normal(posterior @ (precision @ mean + np.array(x_o) / S**2), posterior)
    return Problem(prior, linear, x_o, lambda rng: exact.rvs(NUM_EXACT, random_state=rng), exact.logpdf)


def at_the_edge(x_o):
    """The same with the box cutting the posterior."""
    marginals = [st.truncnorm((-2 - c) / S, (2 - c) / S, c, S) for c in x_o]
    return Problem(
        BoxUniform([-2.0, -2.0], [2.0, 2.0]),
        linear,
        x_o,
        lambda rng: np.column_stack([marginal.rvs(NUM_EXACT, random_state=rng) for marginal in marginals]),
        lambda theta: sum(marginal.logpdf(column) for marginal, column in zip(marginals, theta.T)),
    )


def mixed(theta, rng):
    return rng.normal(theta, np.where(rng.random((len(theta), 1)) < 0.5, 1.0, 0.1))


def gaussian_mixture():
    """The common mean of a wide and a narrow Gaussian. Source: sbibm, https://arxiv.org/abs/2101.04653, T.7."""
    parts = [st.multivariate_normal(np.zeros(2), scale**2 * np.eye(2)) for scale in (1.0, 0.1)]
    return Problem(
        BoxUniform([-10.0, -10.0], [10.0, 10.0]),
        mixed,
        [0.0, 0.0],
        lambda rng: mixed(np.zeros((NUM_EXACT, 2)), rng),
        lambda theta: np.logaddexp(*(part.logpdf(theta) for part in parts)) - np.log(2),
    )


def crescent(n, rng):
    a, r = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.column_stack([r * np.cos(a) + 0.25, r * np.sin(a)])


def moons(theta, rng):
    return crescent(len(theta), rng) + np.column_stack([-np.abs(theta.sum(1)), theta[:, 1] - theta[:, 0]]) / np.sqrt(2)


def moons_draws(rng):
    c, d = (crescent(NUM_EXACT, rng) * [1, -1]).T
    c = c * rng.choice([-1, 1], NUM_EXACT)
    return np.column_stack([c - d, c + d]) / np.sqrt(2)


def moons_log_prob(theta):
    u, v = -np.column_stack([-np.abs(theta.sum(1)), theta[:, 1] - theta[:, 0]]).T / np.sqrt(2)
    radius = np.hypot(u - 0.25, v)
    inside = np.where(u > 0.25, st.norm.logpdf(radius, 0.1, 0.01) - np.log(np.pi * radius), -np.inf)
    return inside - np.log(2)


def two_moons():
    """Two crescents. Source: sbibm, https://arxiv.org/abs/2101.04653, T.8."""
    return Problem(BoxUniform([-1.0, -1.0], [1.0, 1.0]), moons, [0.0, 0.0], moons_draws, moons_log_prob)


MEAN, COVARIANCE = np.array([1.0, -1.0]), np.array([[2.0, 1.2], [1.2, 1.0]])
PROBLEMS = {
    "uniform": linear_gaussian(BoxUniform([-2.0, -2.0], [2.0, 2.0]), [0.5, -0.5], None, None),
    "normal": linear_gaussian([st.norm(1.0, 1.0), st.norm(-1.0, 0.4)], [0.5, -0.5], MEAN, np.diag([1.0, 0.16])),
    "correlated": linear_gaussian(st.multivariate_normal(MEAN, COVARIANCE), [0.5, -0.5], MEAN, COVARIANCE),
    "edge": at_the_edge([1.9, 0.0]),
    "mixture": gaussian_mixture(),
    "moons": two_moons(),
}


def infer(problem, sizes, estimator, seed=0, **training):
    inference = SNPE(
        problem.simulate, problem.prior, density_estimator=estimator, seed=seed, batched=True, show_progress_bars=False
    )
    proposal = None
    for size in sizes:
        posterior = inference(size, proposal, **training)
        proposal = posterior.set_default_x(problem.x_o)
    return posterior


def lost(problem, posterior):
    """Nats, with its standard error."""
    theta = problem.draw(np.random.default_rng(0))
    gap = problem.log_prob(theta) - posterior.log_prob(theta)
    return gap.mean(), gap.std() / np.sqrt(len(gap))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_exact_posteriors_are_densities_of_their_draws(name):
    problem = PROBLEMS[name]
    theta = problem.draw(np.random.default_rng(1))
    low, high = theta.min(0) - 0.1, theta.max(0) + 0.1
    if isinstance(problem.prior, BoxUniform):
        low, high = np.maximum(low, problem.prior.low), np.minimum(high, problem.prior.high)
    axes = [a + (b - a) * (np.arange(900) + 0.5) / 900 for a, b in zip(low, high)]
    values = problem.log_prob(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    mass = np.exp(values) * np.prod((high - low) / 900)
    assert mass.sum() == pytest.approx(1.0, abs=0.01)
    found = problem.log_prob(theta)
    entropy = -(mass[mass > 0] * values[mass > 0]).sum()
    assert abs(found.mean() + entropy) < 4.5 * found.std() / np.sqrt(len(found)) + 0.03


@pytest.mark.parametrize(
    ("name", "estimator", "sizes", "most"),
    [
        ("uniform", "maf", (500, 500), 0.08),
        pytest.param("normal", "maf", (500, 500), 0.08, marks=pytest.mark.slow),
        ("correlated", "maf", (500, 500), 0.08),
        ("edge", "maf", (500, 500), 0.12),
        pytest.param("normal", "mdn", (500, 500), 0.08, marks=pytest.mark.slow),
        pytest.param("correlated", "mdn", (300, 300, 300), 0.08, marks=pytest.mark.slow),
        pytest.param("uniform", "mdn", (500, 500), 0.2, marks=pytest.mark.slow),
        pytest.param("mixture", "nsf", (700, 700), 0.4, marks=pytest.mark.slow),
        pytest.param("moons", "nsf", (700, 700), 0.7, marks=pytest.mark.slow),
    ],
)
def test_few_rounds_recover_the_posterior(name, estimator, sizes, most):
    problem = PROBLEMS[name]
    posterior = infer(problem, sizes, estimator)
    nats, error = lost(problem, posterior)
    assert -4.5 * error < nats < most
    draws, exact = posterior.sample((NUM_EXACT,)), problem.draw(np.random.default_rng(2))
    for axis in range(2):
        assert st.ks_2samp(draws[:, axis], exact[:, axis]).statistic < 0.15
    if name == "moons":
        assert 0.3 < (draws.sum(1) > 0).mean() < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize(
    ("name", "estimator", "sizes", "most"),
    [
        *[
            (name, estimator, (700, 700, 700), 0.08)
            for name in ("uniform", "normal", "correlated")
            for estimator in ("maf", "nsf")
        ],
        *[(name, "mdn", (700, 700, 700), 0.08) for name in ("normal", "correlated")],
        ("uniform", "mdn", (700, 700, 700), 0.15),
        ("edge", "maf", (1000, 1000, 1000), 0.08),
        ("edge", "nsf", (1000, 1000, 1000), 0.3),
        ("mixture", "nsf", (1000, 1000, 1000), 0.2),
        ("moons", "nsf", (1000, 1000, 1000), 0.35),
        ("moons", "nsf", (600,) * 5, 0.35),
    ],
)
def test_more_rounds_recover_it_better(name, estimator, sizes, most, seed):
    problem = PROBLEMS[name]
    posterior = infer(problem, sizes, estimator, seed)
    nats, error = lost(problem, posterior)
    assert -4.5 * error < nats < most
    draws = posterior.sample((10_000,))
    exact = np.concatenate([problem.draw(np.random.default_rng(s)) for s in range(3)])
    furthest = 0.15 if estimator == "nsf" else 0.1  # a spline flow learned with atoms varies more from seed to seed
    for direction in np.array([[1, 0], [0, 1], [1, 1], [1, -1]]):
        assert st.ks_2samp(draws @ direction, exact @ direction).statistic < furthest


def run_to_moons(method, **learning):
    problem = PROBLEMS["moons"]
    inference = method(problem.simulate, problem.prior, seed=0, batched=True, show_progress_bars=False)
    learner = replace(inference.learner, members=2, **learning)
    return problem, inference.run(problem.x_o, 2000, num_rounds=2, options=learner)


MOST_LOST = 0.7  # nats; they lose .1 to .4


@pytest.mark.slow
@pytest.mark.parametrize("method", dict.fromkeys(METHODS.values()), ids=lambda method: method.name)
def test_every_method_recovers_two_moons(method):
    problem, posterior = run_to_moons(method)
    nats, error = lost(problem, posterior)
    assert -4.5 * error < nats < MOST_LOST
    draws, exact = posterior.sample((NUM_EXACT,)), problem.draw(np.random.default_rng(2))
    for direction in np.array([[1, 0], [0, 1], [1, 1], [1, -1]]):
        assert st.ks_2samp(draws @ direction, exact @ direction).statistic < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SNPE", "SNPE_A", "TSNPE", "SNLE", "SNRE_B"])
def test_two_moons_are_not_recovered_untrained(name):
    problem, posterior = run_to_moons(METHODS[name], fit=FitOptions(max_num_epochs=1))
    assert lost(problem, posterior)[0] > 2 * MOST_LOST

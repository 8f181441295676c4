"""The benchmark's tasks, as far as they can be checked without sbibm's files."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

_spec = importlib.util.spec_from_file_location("benchmark_tasks", Path(__file__).parents[1] / "benchmarks" / "tasks.py")
tasks = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tasks)


@pytest.fixture
def folder(tmp_path):
    """A folder laid out as sbibm's, with a design matrix and one observation of Bernoulli GLM."""
    files = tmp_path / "bernoulli_glm" / "files"
    observation = files / "num_observation_1"
    observation.mkdir(parents=True)
    stimulus = np.random.default_rng(0).normal(size=100)
    lags = [np.concatenate([np.zeros(lag), stimulus[: 100 - lag]]) for lag in range(9)]
    np.savetxt(files / "design_matrix.csv", np.column_stack([np.ones(100), *lags]), delimiter=",")
    for name, rows in (("observation.csv", 1), ("true_parameters.csv", 1), ("reference_posterior_samples.csv.bz2", 7)):
        np.savetxt(observation / name, np.arange(rows * 10.0).reshape(rows, 10), delimiter=",", header="columns")
    return tmp_path


@pytest.mark.parametrize("name", tasks.NAMES)
def test_shapes_and_randomness(name, folder):
    task = tasks.make(name, folder)
    theta = task.prior_sample(np.random.default_rng(1), 50)
    x = task.simulator(theta, np.random.default_rng(2))
    assert task.name == name
    assert theta.shape == (50, task.dim_theta)
    assert x.shape == (50, task.dim_x)
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x, task.simulator(theta, np.random.default_rng(2)))
    assert (x != task.simulator(theta, np.random.default_rng(3))).any()
    assert task.prior_sample(np.random.default_rng(1), 1).shape == (1, task.dim_theta)
    assert task.simulator(theta[:1], np.random.default_rng(2)).shape == (1, task.dim_x)


def test_unknown_task_is_named(folder):
    with pytest.raises(ValueError, match="no task 'three_moons'; choose one of bernoulli_glm, gaussian_linear"):
        tasks.make("three_moons", folder)


def test_load_reads_the_benchmarks_layout(folder):
    x_o, theta_true, reference = tasks.load(folder, "bernoulli_glm", 1)
    assert x_o.shape == theta_true.shape == (10,)
    np.testing.assert_array_equal(reference, np.arange(70.0).reshape(7, 10))


def moments_agree(x, mean, cov):
    """Within five standard errors of their Gaussian values."""
    n = len(x)
    error = np.sqrt(np.diag(cov) / n)
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), 5 * error)
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    np.testing.assert_array_less(np.abs(np.cov(x.T) - cov), 5 * spread)


@pytest.mark.parametrize("name", ["gaussian_linear", "gaussian_linear_uniform"])
def test_gaussian_linear_moments(name):
    theta = np.linspace(-0.9, 0.9, 10)
    x = tasks.make(name, "").simulator(np.tile(theta, (20_000, 1)), np.random.default_rng(0))
    moments_agree(x, theta, 0.1 * np.eye(10))


def test_gaussian_mixture_is_half_narrow():
    x = tasks.gaussian_mixture().simulator(np.tile([3.0, -2.0], (20_000, 1)), np.random.default_rng(0))
    radius = np.sort(np.sum((x - [3.0, -2.0]) ** 2, axis=1))
    both = 0.5 * (stats.chi2(2).cdf(radius) + stats.chi2(2, scale=0.01).cdf(radius))
    assert stats.kstest(both, "uniform").pvalue > 1e-4


def test_two_moons_is_a_half_circle():
    theta = np.tile([0.3, -0.7], (20_000, 1))
    x = tasks.two_moons().simulator(theta, np.random.default_rng(0))
    dx, dy = (x - [0.25 - 0.4 / np.sqrt(2), -1.0 / np.sqrt(2)]).T
    assert stats.kstest(np.hypot(dx, dy), stats.norm(0.1, 0.01).cdf).pvalue > 1e-4
    assert stats.kstest(np.arctan2(dy, dx), stats.uniform(-np.pi / 2, np.pi).cdf).pvalue > 1e-4


def test_slcp_moments():
    theta = np.array([0.5, -1.0, -1.2, 0.8, 0.7])
    x = tasks.slcp().simulator(np.tile(theta, (20_000, 1)), np.random.default_rng(0))
    s1, s2, r = 1.2**2, 0.8**2, np.tanh(0.7)
    one = np.array([[s1**2, r * s1 * s2], [r * s1 * s2, s2**2]])
    moments_agree(x, np.tile(theta[:2], 4), np.kron(np.eye(4), one))


def test_bernoulli_glm_moments(folder):
    task = tasks.make("bernoulli_glm", folder)
    design = np.loadtxt(folder / "bernoulli_glm" / "files" / "design_matrix.csv", delimiter=",")
    theta = task.prior_sample(np.random.default_rng(0), 1)
    x = task.simulator(np.repeat(theta, 20_000, axis=0), np.random.default_rng(1))
    p = 1 / (1 + np.exp(-design @ theta[0]))
    moments_agree(x, p @ design, design.T @ np.diag(p * (1 - p)) @ design)


@pytest.mark.parametrize(
    ("name", "medians", "scales"),
    [
        ("sir", [0.4, 0.125], [0.5, 0.2]),
        ("lotka_volterra", np.exp([-0.125, -3.0, -0.125, -3.0]), [0.5] * 4),
    ],
)
def test_log_normal_priors(name, medians, scales):
    theta = tasks.make(name, "").prior_sample(np.random.default_rng(0), 20_000)
    moments_agree(np.log(theta), np.log(medians), np.diag(np.square(scales)))


def test_lotka_volterra_noise_is_log_normal():
    theta = np.tile([0.7, 0.1, 0.9, 0.12], (20_000, 1))
    x = tasks.lotka_volterra().simulator(theta, np.random.default_rng(0))
    exact = tasks.predator_prey(theta[:1], (30.0, 1.0), np.arange(10) * 2.1).ravel()
    moments_agree(np.log(x), exact, 0.01 * np.eye(20))
    np.testing.assert_allclose(exact[[0, 10]], np.log([30.0, 1.0]))  # prey first, then predators


def test_sir_counts_are_binomial():
    theta = np.tile([0.6, 0.2], (20_000, 1))
    x = tasks.sir().simulator(theta, np.random.default_rng(0))

    def slope(_, y):
        return [-0.6 * y[0] * y[1] / 1e6, 0.6 * y[0] * y[1] / 1e6 - 0.2 * y[1]]

    days = np.arange(10) * 17.0
    ill = solve_ivp(slope, (0, 153), [999_999.0, 1.0], t_eval=days, rtol=1e-8, atol=1e-6, method="LSODA").y[1] / 1e6
    assert np.all(np.abs(x.mean(0) - 1000 * ill) < 5 * np.sqrt(1000 * ill * (1 - ill) / 20_000) + 1e-3)
    assert np.array_equal(x, np.round(x))


@pytest.mark.parametrize(("name", "step"), [("sir", 17.0), ("lotka_volterra", 2.1)])
def test_predator_prey_solves_the_equation(name, step):
    theta = tasks.make(name, "").prior_sample(np.random.default_rng(4), 20)
    times = np.arange(10) * step
    start, rates = (30.0, 1.0), theta
    if name == "sir":
        start, rates = (1 - 1e-6, 1e-6), theta[:, [0, 0, 1, 0]] * [0, 1, 1, 1]
    solved = tasks.predator_prey(rates, start, times)

    def slope(_, y, a, b, c, d):
        return [a * y[0] - b * y[0] * y[1], d * y[0] * y[1] - c * y[1]]

    for row, found in zip(rates, solved):
        exact = solve_ivp(slope, (0, times[-1]), start, "LSODA", times, rtol=1e-8, atol=1e-16, args=tuple(row)).y
        np.testing.assert_allclose(np.exp(found), exact, rtol=1e-4)
    np.testing.assert_allclose(tasks.predator_prey(rates[3:4], start, times), solved[3:4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sir", "lotka_volterra"])
def test_rates_that_cannot_be_solved_give_nan_in_their_row_only(name):
    task = tasks.make(name, "")
    theta = task.prior_sample(np.random.default_rng(0), 3)
    theta[1, 0], theta[2, 0] = np.nan, 1e12
    x = task.simulator(theta, np.random.default_rng(1))
    assert np.isfinite(x[0]).all()
    assert np.isnan(x[1:, -1]).all()

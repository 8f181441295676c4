"""Tasks whose posterior is known exactly, each hard in one way that people's own simulators are hard.

Every task can draw its posterior at any x, not only at its x_o: so that the posteriors themselves can be checked
against the simulators, which is what `test_hard_posteriors` does before it judges anybody by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from homing.priors import BoxUniform

_GRID = 4001


@dataclass(frozen=True, eq=False)
class Task:
    """A simulator, a prior and an observation.

    Attributes:
        prior: The prior, as a user gives it.
        simulator: (theta, rng) to x, for a batch.
        x_o: The observation.
        exact: (x, rng, n) to n draws of the posterior given x, and given that x is valid.
        low, high: The prior's support, shape (d,).
        budget: Simulations that a user might have for it.
    """

    prior: Any
    simulator: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    x_o: np.ndarray
    exact: Callable[[np.ndarray, np.random.Generator, int], np.ndarray]
    low: np.ndarray
    high: np.ndarray
    budget: int

    def contains(self, theta):
        """Whether each row lies in the prior's support."""
        return np.isfinite(theta).all(1) & (theta >= self.low).all(1) & (theta <= self.high).all(1)


def on_a_line(log_density, low, high, rng, n):
    """Draws of a density on an interval, from its cumulative sum on a fine grid."""
    grid = np.linspace(low, high, _GRID)
    logs = log_density(grid)
    density = np.exp(logs - logs.max())
    steps = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(rng.random(n), steps / steps[-1], grid)


def truncated_normal(mean, s, low, high, rng, n):
    """Independent normals, each cut to its interval; works far out in a tail."""
    a, b = (low - mean) / s, (high - mean) / s
    return stats.truncnorm.rvs(a, b, loc=mean, scale=s, size=(n, len(mean)), random_state=rng)


def conjugate(matrix, noise, mean, covariance):
    """The posterior of theta ~ N(mean, covariance) given x = matrix @ theta + N(0, noise): draws by (x, rng, n)."""
    weights = np.linalg.solve(noise, matrix).T
    precision = np.linalg.inv(covariance)
    total = np.linalg.inv(precision + weights @ matrix)
    root = np.linalg.cholesky(total)

    def exact(x, rng, n):
        return total @ (precision @ mean + weights @ x) + rng.normal(size=(n, len(mean))) @ root.T

    return exact


def box(low, high, dim):
    """A uniform prior on a cube, and its bounds."""
    low, high = np.full(dim, float(low)), np.full(dim, float(high))
    return BoxUniform(low, high), low, high


def squares(budget=800):
    """One parameter of which the data tell the size but not the sign: two modes far apart."""
    s, (prior, low, high) = 0.2, box(-2, 2, 1)

    def simulator(theta, rng):
        return theta**2 + s * rng.normal(size=theta.shape)

    def exact(x, rng, n):
        return on_a_line(lambda t: stats.norm.logpdf(x[0], t**2, s), -2, 2, rng, n)[:, None]

    return Task(prior, simulator, np.array([1.0]), exact, low, high, budget)


def four_modes(budget=1500):
    """Two parameters of which the data tell the sizes: four modes."""
    s, (prior, low, high) = 0.15, box(-2, 2, 2)

    def simulator(theta, rng):
        return np.abs(theta) + s * rng.normal(size=theta.shape)

    def exact(x, rng, n):
        lines = [on_a_line(lambda t, at=at: stats.norm.logpdf(at, np.abs(t), s), -2, 2, rng, n) for at in x]
        return np.stack(lines, axis=1)

    return Task(prior, simulator, np.array([1.2, 0.7]), exact, low, high, budget)


def edge(dim, budget):
    """Data that point beyond the prior's bounds: the modes lie on them."""
    s, (prior, low, high) = 0.3, box(-1, 1, dim)

    def simulator(theta, rng):
        return theta + s * rng.normal(size=theta.shape)

    def exact(x, rng, n):
        return truncated_normal(x, s, low, high, rng, n)

    return Task(prior, simulator, np.array([-1.15, 1.3, 0.95])[:dim], exact, low, high, budget)


def heavy_tails(df, dim, trials, budget):
    """Locations measured several times with t noise: x_o has outliers, and some simulations have monstrous ones."""
    s, bound = 0.5, 5.0
    prior, low, high = box(-bound, bound, dim)

    def simulator(theta, rng):
        return np.repeat(theta, trials, axis=1) + s * rng.standard_t(df, size=(len(theta), dim * trials))

    def exact(x, rng, n):
        def line(at):
            return on_a_line(lambda t: stats.t.logpdf(at[:, None], df, t, s).sum(0), -bound, bound, rng, n)

        return np.stack([line(at) for at in x.reshape(dim, trials)], axis=1)

    x_o = simulator(np.linspace(-1, 2, dim)[None], np.random.default_rng(7))[0]
    return Task(prior, simulator, x_o, exact, low, high, budget)


def conflict(budget=1000):
    """Two Cauchy measurements that contradict each other: two modes, from nothing but tails."""
    s, (prior, low, high) = 0.3, box(-5, 5, 1)

    def simulator(theta, rng):
        return theta + s * rng.standard_cauchy(size=(len(theta), 2))

    def exact(x, rng, n):
        return on_a_line(lambda t: stats.cauchy.logpdf(x[:, None], t, s).sum(0), -5, 5, rng, n)[:, None]

    return Task(prior, simulator, np.array([-1.5, 2.0]), exact, low, high, budget)


def linear_gaussian(matrix, noise, mean, covariance, theta_o, budget):
    """x = matrix @ theta + correlated noise, under a correlated normal prior."""
    root = np.linalg.cholesky(noise)

    def simulator(theta, rng):
        return theta @ matrix.T + rng.normal(size=(len(theta), len(root))) @ root.T

    x_o = simulator(theta_o[None], np.random.default_rng(11))[0]
    exact, bound = conjugate(matrix, noise, mean, covariance), np.full(len(mean), np.inf)
    return Task(stats.multivariate_normal(mean, covariance), simulator, x_o, exact, -bound, bound, budget)


def decaying(dim, correlation, s):
    """A covariance of correlations that fall off with the distance of two entries."""
    apart = np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    return s**2 * correlation**apart


def twenty(budget=4000):
    """Twenty parameters, normal prior, noise correlated throughout."""
    theta_o = np.random.default_rng(3).normal(size=20)
    return linear_gaussian(np.eye(20), decaying(20, 0.8, 0.5), np.zeros(20), np.eye(20), theta_o, budget)


def twenty_in_a_box(budget=4000):
    """Twenty parameters, uniform prior, noise correlated in pairs: many of the posterior's bounds are the prior's."""
    r, s, (prior, low, high) = 0.7, 0.4, box(-1, 1, 20)
    root, rest = s * np.linalg.cholesky(np.array([[1, r], [r, 1]])), s * np.sqrt(1 - r**2)

    def simulator(theta, rng):
        return theta + (rng.normal(size=(len(theta), 10, 2)) @ root.T).reshape(-1, 20)

    def exact(x, rng, n):
        """Each pair's first by its marginal on a grid, the second given the first."""
        thetas = []
        for a, b in x.reshape(10, 2):

            def marginal(t, a=a, b=b):
                lower, upper = (stats.norm.logcdf((bound - b - r * (t - a)) / rest) for bound in (-1, 1))
                return stats.norm.logpdf(a, t, s) + upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-12)))

            first = on_a_line(marginal, -1, 1, rng, n)
            mean = b + r * (first - a)
            second = stats.truncnorm.rvs((-1 - mean) / rest, (1 - mean) / rest, loc=mean, scale=rest, random_state=rng)
            thetas += [first, second]
        return np.stack(thetas, axis=1)

    x_o = simulator(np.linspace(-0.9, 0.9, 20)[None], np.random.default_rng(5))[0]
    return Task(prior, simulator, x_o, exact, low, high, budget)


def many_kinds(budget=1500):
    """Two correlated parameters, and three that are positive: a rate of counts, one of waiting times, a factor."""
    mean, covariance = np.array([0.0, 1.0]), np.array([[1.0, 0.8], [0.8, 1.0]])
    place = conjugate(np.eye(2), 0.3**2 * np.eye(2), mean, covariance)
    log_factor = conjugate(np.eye(1), 0.3**2 * np.eye(1), np.zeros(1), np.eye(1))
    prior = [stats.multivariate_normal(mean, covariance), stats.gamma(2.0), stats.expon(), stats.lognorm(1.0)]

    def simulator(theta, rng):
        n = len(theta)
        waits = rng.exponential(1 / np.maximum(theta[:, 3:4], 1e-300), size=(n, 4))
        factor = theta[:, 4:] * np.exp(0.3 * rng.normal(size=(n, 1)))
        counts = rng.poisson(theta[:, 2:3], size=(n, 3))
        return np.concatenate([theta[:, :2] + 0.3 * rng.normal(size=(n, 2)), counts, waits, factor], axis=1)

    def exact(x, rng, n):
        rate = rng.gamma(2 + x[2:5].sum(), 1 / (1 + 3), size=n)
        pace = rng.gamma(1 + 4, 1 / (1 + x[5:9].sum()), size=n)
        return np.column_stack([place(x[:2], rng, n), rate, pace, np.exp(log_factor(np.log(x[9:]), rng, n))])

    x_o = simulator(np.array([[0.8, 0.9, 3.0, 0.5, 2.0]]), np.random.default_rng(2))[0]
    low, high = np.array([-np.inf, -np.inf, 0, 0, 0]), np.full(5, np.inf)
    return Task(prior, simulator, x_o, exact, low, high, budget)


def mostly_noise(budget=1000):
    """A hundred columns, of which eight depend on the three parameters."""
    rng = np.random.default_rng(9)
    matrix = np.zeros((100, 3))
    matrix[rng.permutation(100)[:8]] = rng.normal(size=(8, 3))
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    theta_o = np.array([0.5, -0.5, 1.0])
    return linear_gaussian(matrix, np.eye(100) * 0.5**2, np.zeros(3), covariance, theta_o, budget)


def counts(budget=1000):
    """Rates of small counts, which are whole numbers and often zero."""
    shape, trials = np.array([1.0, 2.0, 5.0]), 3

    def simulator(theta, rng):
        return rng.poisson(np.repeat(theta, trials, axis=1)).astype(float)

    def exact(x, rng, n):
        return rng.gamma(shape + x.reshape(3, trials).sum(1), 1 / (1 + trials), size=(n, 3))

    x_o = np.array([0.0, 0.0, 1.0, 2.0, 4.0, 1.0, 7.0, 3.0, 6.0])
    return Task([stats.gamma(a) for a in shape], simulator, x_o, exact, np.zeros(3), np.full(3, np.inf), budget)


def coin_flips(budget=800):
    """Chances of two coins, from ten flips of each, given one by one: every column is zero or one."""
    trials, (prior, low, high) = 10, box(0, 1, 2)

    def simulator(theta, rng):
        chance = np.repeat(theta, trials, axis=1)
        return (rng.random(chance.shape) < chance).astype(float)

    def exact(x, rng, n):
        heads = x.reshape(2, trials).sum(1)
        return rng.beta(1 + heads, 1 + trials - heads, size=(n, 2))

    x_o = np.array([1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], float)
    return Task(prior, simulator, x_o, exact, low, high, budget)


def constant_columns(budget=600):
    """Columns that never change, among two that do: one of them zero, one huge."""
    s, (prior, low, high) = 0.2, box(-2, 2, 2)

    def simulator(theta, rng):
        x = np.tile([0.0, 0.0, 1e9, 0.0, 0.1], (len(theta), 1))
        x[:, [1, 3]] = theta + s * rng.normal(size=theta.shape)
        return x

    def exact(x, rng, n):
        return truncated_normal(x[[1, 3]], s, low, high, rng, n)

    return Task(prior, simulator, np.array([0.0, 0.3, 1e9, -0.7, 0.1]), exact, low, high, budget)


def fifty(budget=50):
    """Fifty simulations are all there are."""
    covariance, noise = np.eye(2), np.array([[0.3, 0.1], [0.1, 0.2]])
    matrix = np.array([[1.0, 0.5], [-0.3, 1.0]])
    return linear_gaussian(matrix, noise, np.zeros(2), covariance, np.array([0.4, -0.3]), budget)


def half_fails(budget=1000):
    """A simulator that gives NaN beyond a line through the posterior's middle, and another at its edge."""
    s, (prior, low, high) = 0.4, box(-2, 2, 2)
    first, second = 0.5, -1.2

    def simulator(theta, rng):
        x = theta + s * rng.normal(size=theta.shape)
        x[(theta[:, 0] > first) | (theta[:, 1] < second)] = np.nan
        return x

    def exact(x, rng, n):
        return truncated_normal(x, s, np.array([-2, second]), np.array([first, 2]), rng, n)

    return Task(prior, simulator, np.array([0.6, -0.8]), exact, low, high, budget)


TASKS = {
    "two modes": squares(),
    "four modes": four_modes(),
    "an edge": edge(1, 400),
    "three edges": edge(3, 800),
    "t noise": heavy_tails(2, 2, 5, 1000),
    "Cauchy noise": heavy_tails(1, 1, 6, 1000),
    "a conflict": conflict(),
    "twenty": twenty(),
    "twenty in a box": twenty_in_a_box(),
    "many kinds": many_kinds(),
    "mostly noise": mostly_noise(),
    "counts": counts(),
    "coin flips": coin_flips(),
    "constant columns": constant_columns(),
    "fifty": fifty(),
    "half fails": half_fails(),
}

"""Eight tasks of the sbibm benchmark, written for NumPy.

A task is a prior and a simulator whose posterior is known well: for each of its observations the benchmark ships
10,000 draws of the reference posterior. Those files are not part of this repository; the functions that read them take
the folder they lie in as an argument.

Source: Lueckmann, Boelts, Greenberg, Gonçalves and Macke (2021), Benchmarking simulation-based inference,
https://arxiv.org/abs/2101.04653, appendix T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import RK45

Simulator = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Task:
    """A prior and a simulator.

    Attributes:
        name: As sbibm names it.
        dim_theta: Number of parameters.
        dim_x: Number of data columns.
        prior: A pair of arrays (low, high) for a box, a list of frozen one-dimensional scipy.stats distributions, or a
            frozen multivariate one.
        simulator: Takes theta (n, dim_theta) and a generator, returns x (n, dim_x).
    """

    name: str
    dim_theta: int
    dim_x: int
    prior: Any
    simulator: Simulator

    def prior_sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws from the prior, shape (n, dim_theta)."""
        if isinstance(self.prior, tuple):
            return rng.uniform(*self.prior, size=(n, self.dim_theta))
        if isinstance(self.prior, list):
            return np.column_stack([marginal.rvs(n, random_state=rng) for marginal in self.prior])
        return self.prior.rvs(n, random_state=rng).reshape(n, self.dim_theta)


def _box(dim: int, bound: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full(dim, -bound), np.full(dim, bound)


def gaussian_linear() -> Task:
    """A Gaussian mean with a Gaussian prior, both of variance 0.1, in ten dimensions."""
    scale = np.sqrt(0.1)
    return Task("gaussian_linear", 10, 10, [stats.norm(0, scale)] * 10, lambda theta, rng: rng.normal(theta, scale))


def gaussian_linear_uniform() -> Task:
    """The same with a uniform prior, which cuts the posterior at the bounds."""
    return Task("gaussian_linear_uniform", 10, 10, _box(10, 1.0), lambda theta, rng: rng.normal(theta, np.sqrt(0.1)))


def gaussian_mixture() -> Task:
    """The common mean of a wide and a narrow Gaussian."""

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        scale = np.where(rng.random((len(theta), 1)) < 0.5, 1.0, 0.1)
        return rng.normal(theta, scale)

    return Task("gaussian_mixture", 2, 2, _box(2, 10.0), simulate)


def two_moons() -> Task:
    """Two crescents: |θ1 + θ2| hides the sign, and the noise is itself a half circle."""

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        a = rng.uniform(-np.pi / 2, np.pi / 2, len(theta))
        r = rng.normal(0.1, 0.01, len(theta))
        x1 = r * np.cos(a) + 0.25 - np.abs(theta[:, 0] + theta[:, 1]) / np.sqrt(2)
        x2 = r * np.sin(a) + (theta[:, 1] - theta[:, 0]) / np.sqrt(2)
        return np.column_stack([x1, x2])

    return Task("two_moons", 2, 2, _box(2, 1.0), simulate)


def slcp() -> Task:
    """Simple likelihood, complex posterior: four draws of a Gaussian whose deviations are squares of parameters."""

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        m1, m2, s1, s2, r = theta.T[:, :, None]
        z1, z2 = rng.normal(size=(2, len(theta), 4))
        first = m1 + s1**2 * z1
        second = m2 + s2**2 * (np.tanh(r) * z1 + z2 / np.cosh(r))  # 1/cosh = sqrt(1 - tanh²)
        return np.stack([first, second], axis=-1).reshape(len(theta), 8)

    return Task("slcp", 5, 8, _box(5, 3.0), simulate)


def bernoulli_glm(design_matrix: np.ndarray) -> Task:
    """A neuron's spikes under white noise, seen through their count and the spike-triggered stimulus.

    Args:
        design_matrix: Shape (100, 10), a column of ones and nine lags of the stimulus. Summing its rows where the
            neuron spikes gives the count and the correlation at those nine lags, which are the data.
    """
    difference = np.eye(9) - np.eye(9, k=-1)
    smooth = difference @ difference + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0] = 0.5
    precision[1:, 1:] = smooth.T @ smooth

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        probability = 1 / (1 + np.exp(-theta @ design_matrix.T))
        return (rng.random(probability.shape) < probability) @ design_matrix

    prior = stats.multivariate_normal(np.zeros(10), np.linalg.inv(precision))
    return Task("bernoulli_glm", 10, 10, prior, simulate)


def sir() -> Task:
    """An epidemic among a million people, one of them ill on day 0: the ill among 1,000 tested every 17 days."""
    prior = [stats.lognorm(0.5, scale=0.4), stats.lognorm(0.2, scale=0.125)]

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        beta, gamma = theta.T
        # With S and I as fractions of all people, S is a prey that does not breed.
        rates = np.column_stack([np.zeros_like(beta), beta, gamma, beta])
        ill = np.exp(predator_prey(rates, (1 - 1e-6, 1e-6), np.arange(10) * 17.0)[:, 1])
        counts = rng.binomial(1000, np.clip(np.nan_to_num(ill), 0, 1))
        return np.where(np.isnan(ill), np.nan, counts)

    return Task("sir", 2, 10, prior, simulate)


def lotka_volterra() -> Task:
    """Prey and predators from (30, 1), ten counts of each over 18.9 units of time, with noise of 10 percent."""
    prior = [stats.lognorm(0.5, scale=np.exp(location)) for location in (-0.125, -3.0, -0.125, -3.0)]

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        log_counts = predator_prey(theta, (30.0, 1.0), np.arange(10) * 2.1).reshape(len(theta), 20)
        return np.exp(rng.normal(np.clip(log_counts, np.log(1e-10), np.log(1e4)), 0.1))

    return Task("lotka_volterra", 4, 20, prior, simulate)


def predator_prey(
    rates: np.ndarray, start: tuple[float, float], times: np.ndarray, tolerance: float = 1e-7
) -> np.ndarray:
    """Solves X' = aX - bXY, Y' = -cY + dXY in u = log X and v = log Y: u' = a - b exp(v), v' = -c + d exp(u).

    Logarithms stay accurate where a population almost dies out. Every row has steps of its own.

    Args:
        rates: Shape (n, 4), the a, b, c, d of every row.
        start: X and Y at `times[0]`.
        times: Shape (t,), increasing: when to save.
        tolerance: Largest estimated error of a step in u or v, that is, relative in X or Y.

    Returns:
        Shape (n, 2, t), log X and log Y; NaN from where no step was small enough, as for rates that are not finite.

    Source: Dormand and Prince (1980), A family of embedded Runge-Kutta formulae.
    """
    state = np.tile(np.log(start)[:, None], len(rates))
    saved = np.empty((len(rates), 2, len(times)))
    saved[:, :, 0] = state.T
    step = np.full(len(rates), 1e-3)
    for i, span in enumerate(np.diff(times), start=1):
        _advance(state, step, rates, span, tolerance)
        saved[:, :, i] = state.T
    return saved


def _advance(state: np.ndarray, step: np.ndarray, rates: np.ndarray, span: float, tolerance: float) -> None:
    """Moves `state` (2, n) on by `span` and leaves in `step` (n,) the steps to go on with, both in place."""
    left = np.full(state.shape[1], span)
    rows = np.arange(state.shape[1])
    while rows.size:
        h = np.minimum(step[rows], left[rows])
        with np.errstate(over="ignore", invalid="ignore"):  # a step that overflows is refused below
            new, error = _dormand_prince(state[:, rows], h, rates[rows].T)
            error = np.nan_to_num(error / tolerance, nan=np.inf, posinf=np.inf)
        accepted = error <= 1
        state[:, rows[accepted]] = new[:, accepted]
        left[rows[accepted]] -= h[accepted]
        factor = np.clip(0.9 * np.maximum(error, 1e-10) ** -0.2, 0.2, 5.0)
        # The end of a span may cut a step short; that says nothing against the longer one.
        step[rows] = np.where(accepted & (h < step[rows]), np.maximum(step[rows], h * factor), h * factor)
        stuck = rows[~accepted & (h < 1e-7 * span)]
        state[:, stuck], left[stuck] = np.nan, 0
        rows = rows[left[rows] > 0]


def _dormand_prince(state: np.ndarray, h: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of the fifth order (2, n), and its distance (n,) from the embedded fourth."""
    a, b, c, d = rates
    slopes = np.zeros((7, *state.shape))
    new = state
    for stage in range(7):
        growth = np.exp(new)
        slopes[stage] = a - b * growth[1], d * growth[0] - c
        if stage < 6:
            weights = RK45.A[stage + 1, : stage + 1] if stage < 5 else RK45.B
            new = state + h * np.tensordot(weights, slopes[: stage + 1], 1)
    return new, np.abs(h * np.tensordot(RK45.E, slopes, 1)).max(axis=0)


_WITHOUT_FILES = {
    make.__name__: make
    for make in (gaussian_linear, gaussian_linear_uniform, gaussian_mixture, two_moons, slcp, sir, lotka_volterra)
}
NAMES = ("bernoulli_glm", *_WITHOUT_FILES)


def make(name: str, folder: str | Path) -> Task:
    """The task of that name, one of `NAMES`; `folder` is sbibm's, for the design matrix of Bernoulli GLM."""
    if name == "bernoulli_glm":
        return bernoulli_glm(np.loadtxt(Path(folder, name, "files", "design_matrix.csv"), delimiter=","))
    if name not in _WITHOUT_FILES:
        raise ValueError(f"There is no task {name!r}; choose one of {', '.join(NAMES)}.")
    return _WITHOUT_FILES[name]()


def load(folder: str | Path, name: str, observation: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What sbibm ships with one observation of a task.

    Args:
        folder: sbibm's folder of tasks: `folder/NAME/files/num_observation_1/observation.csv` and so on.
        name: The task's.
        observation: From 1.

    Returns:
        x_o (dim_x,), the theta it was simulated from (dim_theta,), and 10,000 draws of the reference posterior
        (10000, dim_theta).
    """
    files = Path(folder, name, "files", f"num_observation_{observation}")

    def read(file: str) -> np.ndarray:
        return np.loadtxt(files / file, delimiter=",", skiprows=1, ndmin=2)

    reference = read("reference_posterior_samples.csv.bz2")
    return read("observation.csv")[0], read("true_parameters.csv")[0], reference

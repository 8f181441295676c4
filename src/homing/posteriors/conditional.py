r"""Conditionals of a posterior: some parameters held, the others drawn, \(p(\theta_S \mid \theta_{-S} = c, x)\).

They show which parameters compensate each other: a parameter may be loose by itself and tight once the others are held.
Draws are made by tempered sequential Monte Carlo from a wide t distribution about the posterior's own draws of
\(\theta_S\), in coordinates in which the bounds are at infinity.

Correlations are those on a grid. A conditional may be far narrower than the marginals that it is looked for in, so the
grid is moved, turned and scaled by the moments of the density to a power, as high as leaves enough of its points some
weight, until that power is one. Where its odd points say something else than its even ones, as about two distant narrow
modes, no grid will do, and draws tell.

Source: Goncalves et al., *Training deep neural density estimators to identify mechanistic models of neural dynamics*,
2020, https://doi.org/10.7554/eLife.56261 (conditional correlations).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from homing import random
from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError
from homing.posteriors.observation import check_sample_shape
from homing.posteriors.sampling.student import student_draws, student_log_density
from homing.posteriors.sampling.tempered import largest_step, temper
from homing.priors.prior import one_step_inside
from homing.priors.whitened import bind, log_slope, unbound
from homing.units import unit_of

_WIDER = 4.0  # the start's covariance, as a multiple of the draws'
_LEAST = 1024
_GRID = 50  # points in each direction of a pair, and
_REACH = 5.0  # how far they reach, in standard deviations
_SHARE = 0.02  # of these points, at least, that shall count
_MOST_UNEVEN = 0.2  # the weight of every other point less that of the rest
_MOST_GRIDS = 30
_DRAWS = 4096  # of the posterior to begin with, and where no grid fits


def sample_conditional(self: Any, sample_shape: Any, condition: Any, dims: Any, x: Any | None = None) -> Any:
    """Draw some parameters from the posterior while the others are held.

    Args:
        sample_shape: A tuple, or a number n for (n,).
        condition: The theta at which the others are held, shape (d,); its entries at `dims` do not matter.
        dims: Indices of the k parameters to draw.
        x: The observation; the default x if None.

    Returns:
        Shape (*sample_shape, k), of the prior's kind.

    Raises:
        ArgumentError, ShapeError: If the condition or the indices do not fit.
        ObservationError: If there is no x, or it does not fit.
    """
    shape, observed = check_sample_shape(sample_shape), self.condition_of(x)
    chosen = check_dims(dims, self.prior.dim, "dims")
    point = check_condition(to_numpy(condition, "condition"), self.prior.low, self.prior.high)
    seed = self._next_seed()
    draws = self.draw(_DRAWS, observed, random.word(seed, "start"), show_progress_bars=False)
    theta = draw_conditional(
        lambda rows: self.evaluate(rows, observed),
        draws,
        point,
        chosen,
        math.prod(shape),
        self.prior.low,
        self.prior.high,
        random.generator(seed, "conditional"),
    )
    rows = np.repeat(point[None], len(theta), axis=0)
    rows[:, chosen] = theta
    return self.prior.give(rows)[:, chosen].reshape(*shape, len(chosen))


def conditional_corrcoeff(self: Any, condition: Any, x: Any | None = None) -> Any:
    """How every two parameters correlate while all others are held.

    Args:
        condition: The theta at which they are held, shape (d,).
        x: The observation; the default x if None.

    Returns:
        Shape (d, d), of the prior's kind, ones on the diagonal.

    Raises:
        ArgumentError, ShapeError, ObservationError: If the condition or x do not fit, or each other.
    """
    observed = self.condition_of(x)
    point = check_condition(to_numpy(condition, "condition"), self.prior.low, self.prior.high)
    draws = self.draw(_DRAWS, observed, random.word(self._seed, "range"), show_progress_bars=False)
    low, high, rng = self.prior.low, self.prior.high, random.generator(self._seed, "correlations")
    return self.prior.kind.give(
        conditional_correlations(lambda rows: self.evaluate(rows, observed), draws, point, low, high, rng)
    )


def check_dims(dims: Sequence[int], dim: int, name: str) -> list[int]:
    """Distinct indices of parameters.

    Raises:
        ArgumentError: If there is none, all are there, or some are not among 0, ..., d - 1.
    """
    chosen = [int(j) for j in np.atleast_1d(np.asarray(dims, int))]
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0 or max(chosen) >= dim:
        raise ArgumentError(f"{name} must be distinct indices from 0 to {dim - 1}, at least one, found {dims!r}.")
    return chosen


def check_condition(condition: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """One theta, shape (d,), within the support.

    Raises:
        ShapeError: If it has another shape.
        ArgumentError: If it lies outside.
    """
    point = np.asarray(condition, np.float64)
    point = point[0] if point.shape == (1, len(low)) else point
    if point.shape != (len(low),):
        raise ShapeError(f"condition must be one theta, shape ({len(low)},), found {point.shape}.")
    if not ((point >= low) & (point <= high)).all():
        raise ArgumentError(f"condition must lie within the prior's support, found {point.tolist()}.")
    return point


def draw_conditional(
    log_density: Callable[[np.ndarray], np.ndarray],
    draws: np.ndarray,
    condition: np.ndarray,
    dims: list[int],
    num: int,
    low: np.ndarray,
    high: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws of some parameters, the others held.

    Args:
        log_density: Of theta, shape (n, d), up to a constant.
        draws: Draws of the whole posterior, shape (k, d).
        condition: Shape (d,); its entries at `dims` do not matter.
        dims: The parameters that are drawn.
        num: How many.
        low: Lower bounds, shape (d,).
        high: Upper bounds, shape (d,).
        rng: Randomness.

    Returns:
        Shape (num, len(dims)).
    """
    unit = unit_of(draws)
    bounds = low[dims] / unit[dims], high[dims] / unit[dims]
    inner = one_step_inside(*bounds, "float64")
    y = unbound(np.clip(draws[:, dims] / unit[dims], *inner), *bounds)
    mean, size = y.mean(0), len(dims)
    scale = np.linalg.cholesky(_WIDER * np.cov(y.T).reshape(size, size) + 1e-12 * np.eye(size))

    def log_target(rows: np.ndarray) -> np.ndarray:
        inside = np.clip(bind(rows, *bounds), *inner)
        theta = np.repeat(condition[None], len(rows), axis=0)
        theta[:, dims] = inside * unit[dims]
        return log_density(theta) - log_slope(inside, *bounds).sum(1)

    start = mean + student_draws(rng, max(num, _LEAST), scale)
    found = temper(start, lambda rows: student_log_density(rows - mean, scale), log_target, rng).z
    return np.clip(bind(rng.permutation(found)[:num], *bounds), *inner) * unit[dims]


def conditional_correlations(
    log_density: Callable[[np.ndarray], np.ndarray],
    draws: np.ndarray,
    condition: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The correlation of every two parameters, all others held.

    Args:
        log_density, draws, condition, low, high, rng: As for `draw_conditional`.

    Returns:
        Shape (d, d), ones on the diagonal.
    """
    result = np.eye(len(condition))
    for i, j in combinations(range(len(condition)), 2):
        found = _on_a_grid(log_density, draws, condition, [i, j])
        if found is None:
            rows = draw_conditional(log_density, draws, condition, [i, j], _DRAWS, low, high, rng)
            found = np.cov((rows / unit_of(rows)).T)
        result[i, j] = result[j, i] = found[0, 1] / np.sqrt(found[0, 0] * found[1, 1])
    return result


def _on_a_grid(
    log_density: Callable[[np.ndarray], np.ndarray], draws: np.ndarray, condition: np.ndarray, pair: list[int]
) -> np.ndarray | None:
    """The covariance of two parameters in units of their own, shape (2, 2), all others held; None if no grid fits."""
    places = np.linspace(-_REACH, _REACH, _GRID)
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    sign = (-1.0) ** np.indices((_GRID, _GRID)).reshape(2, -1)
    every_other = np.stack([*sign, sign[0] * sign[1]])
    low, high = np.minimum(draws.min(0), condition)[pair], np.maximum(draws.max(0), condition)[pair]
    unit = unit_of(np.stack([low, high]))
    low, high = low / unit, high / unit
    mean, scale = (low + high) / 2, np.diag(high - low) / (2 * _REACH)
    theta = np.repeat(condition[None], len(grid), axis=0)
    power = 0.0
    for _ in range(_MOST_GRIDS):
        rows = mean + grid @ scale.T
        theta[:, pair] = rows * unit
        values = log_density(theta)
        if not (values > -np.inf).any():
            return None
        before, power = power, largest_step(values, 1.0, _SHARE)
        weights = np.exp(power * values - np.logaddexp.reduce(power * values))
        if np.abs(every_other @ weights).max() > _MOST_UNEVEN:
            return None
        mean = weights @ rows
        covariance = (rows - mean).T @ (weights[:, None] * (rows - mean))
        if before == power == 1:
            return covariance
        cell = scale * (places[1] - places[0])
        scale = np.linalg.cholesky(covariance + cell @ cell.T / 12)  # a point stands for its cell
    return None

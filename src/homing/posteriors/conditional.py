r"""Conditionals of a posterior: some parameters held, the others drawn, \(p(\theta_S \mid \theta_{-S} = c, x)\).

They show which parameters compensate each other: a parameter may be loose by itself and tight once the others are held.
Draws are made by tempered sequential Monte Carlo from a wide t distribution about the posterior's own draws of
\(\theta_S\), in coordinates in which the bounds are at infinity.

Source: Goncalves et al., *Training deep neural density estimators to identify mechanistic models of neural dynamics*,
2020, https://doi.org/10.7554/eLife.56261 (conditional correlations).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from homing.errors import ArgumentError, ShapeError
from homing.posteriors.sampling.student import student_draws, student_log_density
from homing.posteriors.sampling.tempered import temper
from homing.priors.prior import one_step_inside
from homing.priors.whitened import bind, log_slope, unbound

_WIDER = 4.0  # the start's covariance, as a multiple of the draws'
_LEAST = 1024
_GRID = 50  # points in each direction of a pair


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
    bounds = low[dims], high[dims]
    inner = one_step_inside(*bounds, "float64")
    y = unbound(np.clip(draws[:, dims], *inner), *bounds)
    mean, size = y.mean(0), len(dims)
    scale = np.linalg.cholesky(_WIDER * np.cov(y.T).reshape(size, size) + 1e-12 * np.eye(size))

    def log_target(rows: np.ndarray) -> np.ndarray:
        inside = np.clip(bind(rows, *bounds), *inner)
        theta = np.repeat(condition[None], len(rows), axis=0)
        theta[:, dims] = inside
        return log_density(theta) - log_slope(inside, *bounds).sum(1)

    start = mean + student_draws(rng, max(num, _LEAST), scale)
    found = temper(start, lambda rows: student_log_density(rows - mean, scale), log_target, rng).z
    return np.clip(bind(rng.permutation(found)[:num], *bounds), *inner)


def conditional_correlations(
    log_density: Callable[[np.ndarray], np.ndarray], condition: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The correlation of every two parameters, all others held, on a grid from low to high.

    Args:
        log_density: Of theta, shape (n, d), up to a constant.
        condition: Shape (d,).
        low, high: The grid's range for each parameter, shape (d,).

    Returns:
        Shape (d, d), ones on the diagonal.
    """
    dim = len(condition)
    result = np.eye(dim)
    for i in range(dim):
        for j in range(i):
            one, two = (np.linspace(low[k], high[k], _GRID + 2)[1:-1] for k in (i, j))
            theta = np.repeat(condition[None], _GRID**2, axis=0)
            theta[:, i], theta[:, j] = (axis.ravel() for axis in np.meshgrid(one, two, indexing="ij"))
            values = log_density(theta)
            weights = np.exp(values - np.logaddexp.reduce(values))
            centred = theta[:, [i, j]] - weights @ theta[:, [i, j]]
            covariance = (centred * weights[:, None]).T @ centred
            result[i, j] = result[j, i] = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    return result

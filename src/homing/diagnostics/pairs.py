r"""Pairs of parameters that made data, and draws of the posterior at these data: the ranks that diagnostics share.

If \(\theta\) and the draws \(\theta_1, \dots, \theta_S\) are all from the posterior given x, the rank of \(\theta\)
among them, by any number that is computed of them, is uniform on 0, ..., S. Where draws come from another density, with
weights \(w = \) target / proposal, one of the S + 1 values is the draw from the target, and it is the one of weight
\(w_i\) with probability \(w_i / \sum_j w_j\): so

\[ u = \sum_i w_i\, 1[f(\theta_i) < f(\theta)] + U\, w_0, \qquad \sum_{i=0}^S w_i = 1, \quad U \sim U(0, 1), \]

with the weight \(w_0\) of \(\theta\) itself, is uniform exactly, however few draws count. Few effective draws cost
power and never raise a false alarm. With equal weights \(\lfloor u (S + 1) \rfloor\) is the rank.

Sources: Talts, Betancourt, Simpson, Vehtari, Gelman, *Validating Bayesian Inference Algorithms with Simulation-Based
    Calibration*, 2018, https://arxiv.org/abs/1804.06788; Tibshirani, Barber, Candès, Ramdas, *Conformal Prediction
    Under Covariate Shift*, 2019, https://arxiv.org/abs/1904.06019, lemma 3 (weights).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError


def ranks_of(truth: np.ndarray, draws: np.ndarray, seed: int, log_weights: np.ndarray | None = None) -> np.ndarray:
    """The truth's rank among the draws, by number; ties are broken at random.

    Args:
        truth: Shape (n,).
        draws: Shape (n, S).
        seed: Breaks the ties.
        log_weights: Shape (n, S + 1), the truth's weight first, each up to a constant of its row; None if all are
            equal.

    Returns:
        Shape (n,), whole numbers from 0 to S, uniform if truth and draws are from the same distribution.

    Example:
        >>> ranks_of(np.array([0.5]), np.array([[0.1, 0.9, 0.2]]), seed=0)
        array([2])
    """
    num = draws.shape[1]
    weights = normalised(np.zeros((len(truth), num + 1)) if log_weights is None else log_weights)
    below = (weights[:, 1:] * (draws < truth[:, None])).sum(1)
    tied = weights[:, 0] + (weights[:, 1:] * (draws == truth[:, None])).sum(1)
    u = below + np.random.default_rng(seed).random(len(truth)) * tied
    return np.clip(np.floor(u * (num + 1)), 0, num).astype(int)


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to one in each row, of logarithms of shape (n, k)."""
    weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def effective_draws(log_weights: np.ndarray) -> np.ndarray:
    """The effective number of draws in each row, shape (n,), of logarithms of weights of shape (n, k)."""
    return 1 / (normalised(log_weights) ** 2).sum(1)


def as_pairs(theta: Any, draws: Any, log_weights: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Parameters (n, d), draws (n, S, d) and log weights (n, S + 1) of a caller, as float64.

    Raises:
        ShapeError: If they do not fit each other.
        ArgumentError: If a number is not finite.
    """
    theta, draws = as_floats(theta, "theta"), as_floats(draws, "draws")
    if theta.ndim != 2 or draws.ndim != 3 or draws[:, 0].shape != theta.shape or not draws.size:
        raise ShapeError(
            "theta must have shape (n, d), the parameters that made n data, and draws (n, S, d), S of the posterior at "
            f"each of these data; found {theta.shape} and {draws.shape}."
        )
    return theta, draws, as_log_weights(log_weights, (len(theta), draws.shape[1] + 1))


def as_log_weights(log_weights: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """Log weights of that shape, as float64.

    Raises:
        ShapeError: If they have another shape.
        ArgumentError: If the truth of some row has no weight, or a weight is NaN or infinite.
    """
    if log_weights is None:
        return None
    array = to_numpy(log_weights, "log_weights").astype(np.float64)
    if array.shape != shape:
        raise ShapeError(
            f"log_weights must have shape {shape}, the truth's own before those of the draws; found {array.shape}."
        )
    if np.isnan(array).any() or (array == np.inf).any() or not np.isfinite(array[:, 0]).all():
        raise ArgumentError("log_weights must not be NaN or infinite, and the truth's own, the first, be finite.")
    return array


def as_floats(value: Any, name: str) -> np.ndarray:
    """A caller's array as float64.

    Raises:
        ArgumentError: If a number is not finite.
    """
    array = to_numpy(value, name).astype(np.float64)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise ArgumentError(f"{name} must be finite, found {count} of {array.size} numbers NaN or infinite.")
    return array

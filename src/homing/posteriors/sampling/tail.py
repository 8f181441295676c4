r"""How heavy the tail of importance weights is: the shape k of a generalized Pareto distribution fitted to the largest.

Below 0.5 the weights have a variance, below 0.7 averages under them can be relied on in practice, above it the proposal
misses part of the target, however large the effective sample size seems.

Sources: Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, 2024,
    https://arxiv.org/abs/1507.02646; Zhang, Stephens, *A new and efficient estimation method for the generalized Pareto
    distribution*, 2009, https://doi.org/10.1198/tech.2009.08017.
"""

from __future__ import annotations

import numpy as np

_LEAST = 5  # weights that a tail needs
_PRIOR_ROWS, _PRIOR_SHAPE = 10, 0.5  # what Vehtari et al. add to the estimate, for small tails


def pareto_shape(log_weights: np.ndarray) -> float:
    r"""\(\hat k\) of importance weights, from their logarithms, shape (n,).

    Returns:
        The shape; NaN if there are too few weights, or the largest are all equal.
    """
    num = len(log_weights)
    tail = int(min(0.2 * num, 3 * np.sqrt(num)))
    if tail < _LEAST:
        return float("nan")
    largest = np.sort(log_weights)[-tail - 1 :]
    if not np.isfinite(largest[-1]):
        return float("nan")
    weights = np.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]
    return float("nan") if excess[-1] <= 0 else _shape(excess)


def _shape(excess: np.ndarray) -> float:
    """Zhang and Stephens's estimate of k from sorted excesses over a threshold."""
    num = len(excess)
    points = 30 + int(np.sqrt(num))
    quartile = max(excess[int(num / 4 + 0.5) - 1], 1e-3 * excess[-1])
    grid = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    rate = grid / (3 * quartile) + 1 / excess[-1]
    shape = np.log1p(-rate[:, None] * excess).mean(1)
    profile = num * (np.log(-rate / shape) - shape - 1)
    posterior = np.exp(profile - np.logaddexp.reduce(profile))
    k = np.log1p(-(posterior @ rate) * excess).mean()
    return float((num * k + _PRIOR_ROWS * _PRIOR_SHAPE) / (num + _PRIOR_ROWS))

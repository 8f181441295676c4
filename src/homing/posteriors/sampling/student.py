"""The multivariate t distribution, the usual heavy-tailed proposal of importance sampling."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

DEGREES = 5.0  # of freedom


def student_draws(rng: np.random.Generator, num: int, scale: np.ndarray) -> np.ndarray:
    """Draws about zero, shape (num, d), for a lower triangular scale of shape (d, d)."""
    normal = rng.standard_normal((num, len(scale))) @ scale.T
    return normal / np.sqrt(rng.chisquare(DEGREES, (num, 1)) / DEGREES)


def student_log_density(z: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The log density of rows z about zero, shape (n,)."""
    dim = len(scale)
    squared = (np.linalg.solve(scale, z.T) ** 2).sum(0)
    constant = gammaln((DEGREES + dim) / 2) - gammaln(DEGREES / 2) - 0.5 * dim * np.log(DEGREES * np.pi)
    return constant - np.log(np.diagonal(scale)).sum() - 0.5 * (DEGREES + dim) * np.log1p(squared / DEGREES)

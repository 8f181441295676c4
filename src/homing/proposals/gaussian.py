"""A normal density in the space where the prior is a standard normal: what SNPE-A simulates from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from homing.priors import Prior
from homing.random import generator


@dataclass(frozen=True, eq=False)
class GaussianProposal:
    """z = T(theta) is normal.

    Attributes:
        prior: The prior, with its map T.
        mean: Shape (d,).
        scale_tril: Lower Cholesky factor of the covariance, shape (d, d).
    """

    prior: Prior
    mean: np.ndarray
    scale_tril: np.ndarray
    name = "gaussian"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        noise = generator(seed, "proposal").standard_normal((num, self.prior.dim))
        return self.prior.from_normal(self.mean + noise @ self.scale_tril.T)

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        z = self.prior.to_normal(theta)
        noise = self.whiten(z)
        log_density = -0.5 * (noise**2).sum(1) - np.log(np.diagonal(self.scale_tril)).sum()
        return log_density - 0.5 * z.shape[1] * np.log(2 * np.pi) - self.prior.log_prob_normal(z)

    def whiten(self, z: np.ndarray) -> np.ndarray:
        """The coordinates in which it is a standard normal, shape (n, d)."""
        return solve_triangular(self.scale_tril, (z - self.mean).T, lower=True, check_finite=False).T

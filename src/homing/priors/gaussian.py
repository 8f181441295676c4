"""The normal prior with a full covariance: z = L^-1 (θ - mean), where the covariance is L L^T (Cholesky)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from homing.arrays import Kind
from homing.errors import PriorError
from homing.priors.prior import Prior, normal_log_density, show


@dataclass(frozen=True, eq=False)
class Gaussian(Prior):
    """A multivariate normal. `mean` has shape (d,), `scale_tril` (d, d): the covariance's lower Cholesky factor."""

    mean: np.ndarray
    scale_tril: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Shape (d, d)."""
        return self.scale_tril @ self.scale_tril.T

    def describe(self) -> str:
        return f"multivariate normal with mean={show(self.mean)}, std={show(np.sqrt(np.diag(self.covariance)))}"

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return normal_log_density(self._to_normal(theta)).sum(1) + self._log_det(theta)

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        return solve_triangular(self.scale_tril, (theta - self.mean).T, lower=True, check_finite=False).T

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        return self.mean + z @ self.scale_tril.T

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return np.full(len(theta), -np.log(np.diag(self.scale_tril)).sum())


def gaussian(mean: np.ndarray, covariance: np.ndarray, kind: Kind) -> Gaussian:
    """The multivariate normal prior of this mean, shape (d,), and covariance, shape (d, d).

    Raises:
        PriorError: If the covariance is singular.
    """
    try:
        scale_tril = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise PriorError(
            "The covariance of a normal prior must be positive definite, found smallest eigenvalue "
            f"{np.linalg.eigvalsh(covariance)[0]:.2g}. Some parameters are fixed by the others: leave those out of the "
            "prior and compute them inside the simulator."
        ) from None
    return from_scale_tril(mean, scale_tril, kind)


def from_scale_tril(mean: np.ndarray, scale_tril: np.ndarray, kind: Kind) -> Gaussian:
    """The multivariate normal prior of this mean, shape (d,), and lower Cholesky factor, shape (d, d)."""
    unbounded = np.full(len(mean), np.inf)
    return Gaussian(-unbounded, unbounded, kind, mean, scale_tril)

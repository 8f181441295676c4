"""Independent parameters: the normal, the log-normal, and any one-dimensional family with a distribution function.

For a distribution function F the map is the normal quantile of F(θ). In each half it is computed from the smaller of F
and 1 - F, so that neither tail loses its digits to the other:

    z = Φ^-1(F(θ)) below the median,    z = -Φ^-1(1 - F(θ)) above,    log dz/dθ = log p(θ) - log φ(z).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from homing.priors.prior import NEAR_BOUND, NEAR_INFINITY, Prior, normal_log_density, show


@dataclass(frozen=True, eq=False)
class Normal(Prior):
    """Independent normals: z = (θ - mean) / std. `mean` and `std` have shape (d,)."""

    mean: np.ndarray
    std: np.ndarray

    def describe(self) -> str:
        return f"normal with mean={show(self.mean)}, std={show(self.std)}"

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return normal_log_density(self._to_normal(theta)).sum(1) + self._log_det(theta)

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        return (theta - self.mean) / self.std

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        return self.mean + self.std * z

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return np.full(len(theta), -np.log(self.std).sum())


@dataclass(frozen=True, eq=False)
class LogNormal(Prior):
    """Independent log-normals: z = (log θ - mean) / std. `mean` and `std`, shape (d,), are those of log θ."""

    mean: np.ndarray
    std: np.ndarray

    def describe(self) -> str:
        return f"log-normal with mean={show(self.mean)}, std={show(self.std)} of the logarithm"

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return normal_log_density(self._to_normal(theta)).sum(1) + self._log_det(theta)

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        return (np.log(theta) - self.mean) / self.std

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # an overflow is infinite: the upper bound
            return np.exp(self.mean + self.std * z)

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return -(np.log(theta) + np.log(self.std)).sum(1)


@dataclass(frozen=True, eq=False)
class ByCdf(Prior):
    """One parameter, mapped by its distribution function.

    Attributes:
        distribution: Has logpdf, cdf, sf, ppf, isf and rvs, as a frozen scipy.stats distribution does.
        name: The family and its parameters, for a person.
    """

    distribution: Any
    name: str

    def sample(self, rng: np.random.Generator, num: int) -> np.ndarray:
        draws = np.reshape(self.distribution.rvs(size=num, random_state=rng), (num, 1))
        return self._strictly(draws)

    def describe(self) -> str:
        return self.name

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return self.distribution.logpdf(theta[:, 0])

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        theta = theta[:, 0]
        lower = theta < self._median
        z = np.empty(len(theta))
        z[lower] = ndtri(self.distribution.cdf(theta[lower]))
        z[~lower] = -ndtri(self.distribution.sf(theta[~lower]))
        return np.clip(z, *self._reach)[:, None]

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        z = np.clip(z[:, 0], *self._reach)
        lower, tail = z < 0, ndtr(-np.abs(z))
        theta = np.empty(len(z))
        theta[lower] = self.distribution.ppf(tail[lower])
        theta[~lower] = self.distribution.isf(tail[~lower])
        return theta[:, None]

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return self._log_prob(theta) - normal_log_density(self._to_normal(theta))[:, 0]

    @cached_property
    def _median(self) -> float:
        return float(self.distribution.ppf(0.5))

    @cached_property
    def _reach(self) -> tuple[float, float]:
        """How far z goes on either side."""

        def reach(bound: float, quantile: Any) -> float:
            far = np.isinf(bound) and np.isfinite(quantile(ndtr(-NEAR_INFINITY)))
            return NEAR_INFINITY if far else NEAR_BOUND

        return -reach(self.low[0], self.distribution.ppf), reach(self.high[0], self.distribution.isf)

r"""How far a learned density is taken at its word.

Over theta a posterior is \(p(\theta \mid x) = p(\theta)\, r(z)\), with \(r = q(z \mid x) / p(z)\), which is likelihood
over evidence and bounded where the likelihood is. Toward a finite bound z goes to infinity, where neither a simulation
nor a draw has been, and a tail of q a little wider than the prior's makes r grow like \(e^{z^2 / 2}\): at a corner of a
box, by any number of nats. So, where z lies farther out than the prior's draws,

- r stays what it is at the outermost draw toward that bound, of the prior's and the posterior's: its limit at the bound
  is finite, and follows from what was seen next to it;
- and where q(z) is below what it is at nearly all draws, r is at most what it is at the nearest of these.

Both only concern some thousandths of the draws, by which at most the integral differs from one. Where no finite bound
is, theta goes as far as z does, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homing.priors import Prior
from homing.random import generator

DRAWS = 2048
_BEYOND = 0.005  # of the posterior's draws lie farther out, on each side, or where it is less dense
_ROWS = 4096  # compared with the draws at once


@dataclass(frozen=True, eq=False)
class Typical:
    """How far the prior's draws lie toward finite bounds.

    Attributes:
        low: Shape (d,), the least z, -inf where theta has no lower bound.
        high: Shape (d,), the largest z, inf where theta has no upper bound.
        radius: The largest distance from zero, of the coordinates that go toward a finite bound.
    """

    low: np.ndarray
    high: np.ndarray
    radius: float

    def is_far(self, z: np.ndarray) -> np.ndarray:
        """Whether rows of shape (n, d) lie farther out, shape (n,)."""
        beyond = ((z < self.low) | (z > self.high)).any(1)
        return beyond | (_toward_bounds(z, self.low, self.high) > self.radius)


def typical_of(prior: Prior) -> Typical:
    """What some thousand draws of the prior reach."""
    z = prior.to_normal(prior.sample(generator(0, "typical"), DRAWS))
    low = np.where(np.isfinite(prior.low), z.min(0), -np.inf)
    high = np.where(np.isfinite(prior.high), z.max(0), np.inf)
    return Typical(low, high, float(_toward_bounds(z, low, high).max()))


@dataclass(frozen=True, eq=False)
class Reach:
    """How far a posterior's draws lie, and how dense it is there.

    Attributes:
        low: Shape (d,), the least z at which r is asked for, -inf where theta has no lower bound.
        high: Shape (d,), the largest z.
        z: Shape (n, d), draws at which q is as dense as at nearly all draws.
        log_ratio: Shape (n,), log r there.
        least: The least log q there.
    """

    low: np.ndarray
    high: np.ndarray
    z: np.ndarray
    log_ratio: np.ndarray
    least: float

    def bounded(self, z: np.ndarray, density: Callable[[np.ndarray], np.ndarray], prior: Prior) -> np.ndarray:
        """log r of rows that the prior's draws do not reach, shape (n, d); shape (n,)."""
        z = np.clip(z, self.low, self.high)
        log_density = density(z)
        log_ratio = log_density - prior.log_prob_normal(z)
        doubtful = np.flatnonzero((log_density < self.least) & (log_ratio > self.log_ratio.min()))
        for start in range(0, len(doubtful), _ROWS):
            rows = doubtful[start : start + _ROWS]
            log_ratio[rows] = np.minimum(log_ratio[rows], self.log_ratio[self._nearest(z[rows])])
        return log_ratio

    def _nearest(self, z: np.ndarray) -> np.ndarray:
        scale = np.maximum(self.z.std(0), 1e-12)
        rows, draws = z / scale, self.z / scale
        return ((draws**2).sum(1) - 2 * rows @ draws.T).argmin(1)


def reach_of(z: np.ndarray, density: Callable[[np.ndarray], np.ndarray], prior: Prior, typical: Typical) -> Reach:
    """What a posterior's draws z, shape (n, d), reach."""
    log_density = density(z)
    low, high = np.quantile(z, [_BEYOND, 1 - _BEYOND], axis=0)
    least = float(np.quantile(log_density, _BEYOND))
    dense = log_density >= least
    log_ratio = log_density[dense] - prior.log_prob_normal(z[dense])
    return Reach(np.minimum(low, typical.low), np.maximum(high, typical.high), z[dense], log_ratio, least)


def _toward_bounds(z: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The distance from zero, of the coordinates that go toward a finite bound, shape (n,)."""
    bounded = np.where(z < 0, np.isfinite(low), np.isfinite(high))
    return np.sqrt((np.where(bounded, z, 0.0) ** 2).sum(1))

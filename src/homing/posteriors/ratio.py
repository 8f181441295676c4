"""A learned ratio of likelihood and evidence, and the posterior that it makes with the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax import Array
from paramax import unwrap

from homing.estimators import RatioEstimator, Standardize
from homing.estimators.validity import Validity
from homing.posteriors.differentiable import LogPosterior, Scaled, log_valid, prior_map
from homing.posteriors.ensemble import in_chunks, padded
from homing.priors import Prior
from homing.programs import Program


@Program
def _ratios(estimator: RatioEstimator, x: Any, z: Any) -> Array:
    model = unwrap(estimator)
    context = model.context(x)
    return jax.vmap(lambda row: model.log_ratio(row, context))(z)


@Program
def _pair_ratios(estimator: RatioEstimator, x: Any, z: Any) -> Array:
    model = unwrap(estimator)
    return jax.vmap(lambda row, data: model.log_ratio(row, model.context(data)))(z, x)


@dataclass(frozen=True, eq=False)
class SurrogateRatio:
    """log p(x | z) / p(x), each member's up to a constant in z.

    Attributes:
        members: Classifiers of one structure.
        standardize: From data to what they see.
        x_shape: Shape of one x.
        prior: The prior, in whose z they are.
        validity: p(valid | z), where simulations fail depending on z: the classifiers compare valid simulations only.
    """

    members: Sequence[RatioEstimator]
    standardize: Standardize
    x_shape: tuple[int, ...]
    prior: Prior
    validity: Validity | None = None

    @property
    def num_members(self) -> int:
        return len(self.members)

    def log_likelihood(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Member m's log ratio at rows z, shape (n, d), for x of shape x_shape or (num_trials, *x_shape); (n,)."""
        data, total = self._trials(x), np.zeros(len(z))
        for row in data:
            total += in_chunks(lambda c, row=row: _ratios(self.members[m], row, padded(z, c)), len(z))
        return total + len(data) * self._log_valid(z)

    def log_likelihood_pairs(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The same of rows z, shape (n, d), each at its own x, shape (n, *x_shape)."""
        data = self.standardize(x)
        values = in_chunks(lambda c: _pair_ratios(self.members[m], padded(data, c), padded(z, c)), len(z))
        return values + self._log_valid(z)

    def differentiable(self, m: int, x: np.ndarray) -> LogPosterior:
        """Member m's log posterior at x as a JAX function of one z.

        Raises:
            ArgumentError: If the prior is not known to be normal in z.
        """
        prior_map(self.prior, np.zeros(self.prior.dim), np.ones(self.prior.dim))
        valid = None if self.validity is None else log_valid(self.validity)
        unit = Scaled(np.zeros(self.prior.dim, np.float32), np.ones(self.prior.dim, np.float32))
        return LogPosterior(_OfPair(self.members[m]), self._trials(x), unit, valid)

    def _trials(self, x: np.ndarray) -> np.ndarray:
        """What the classifiers see, shape (num_trials, *x_shape)."""
        return self.standardize(x if x.ndim > len(self.x_shape) else x[None])

    def _log_valid(self, z: np.ndarray) -> np.ndarray | float:
        return 0.0 if self.validity is None else self.validity.log_prob(z)


class _OfPair(eqx.Module):
    """The log ratio of one row of data and one z."""

    estimator: RatioEstimator

    def __call__(self, row: Array, z: Array) -> Array:
        return self.estimator.log_ratio(z, self.estimator.context(row))

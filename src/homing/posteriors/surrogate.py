"""A learned likelihood, and the posterior that it makes with the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import numpy as np
from jax import Array

from homing.errors import ArgumentError, ShapeError
from homing.estimators import ConditionalDensity, Standardize
from homing.estimators.validity import Validity
from homing.posteriors.differentiable import LogPosterior, Scaled, log_valid, prior_map
from homing.posteriors.ensemble import Ensemble
from homing.priors import Prior
from homing.units import spread_of


class Surrogate(Protocol):
    """What makes a posterior together with the prior: likelihoods or ratios, each up to a constant in z."""

    @property
    def num_members(self) -> int: ...

    def log_likelihood(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Member m's, of rows z, shape (n, d), at x of shape x_shape, or at several trials; (n,)."""
        ...

    def differentiable(self, m: int, x: np.ndarray) -> Any:
        """Member m's log posterior at x as a JAX function of one z; ArgumentError if there is none."""
        ...


@dataclass(frozen=True, eq=False)
class KnownLikelihood:
    """A likelihood that the user has as a function, in place of a learned one.

    Attributes:
        function: From theta, shape (n, d), and x, as float64 NumPy arrays, to log likelihoods, shape (n,).
        prior: The prior.
    """

    function: Callable[[np.ndarray, np.ndarray], Any]
    prior: Prior
    num_members = 1

    def log_likelihood(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Of rows z, shape (n, d), at x; NaN counts as impossible.

        Raises:
            ShapeError: If it is not one value for each row.
            ArgumentError: If one is infinite.
        """
        values = np.asarray(self.function(self.prior.from_normal(z), x), np.float64)
        if values.shape != (len(z),):
            raise ShapeError(
                f"The likelihood must return one value for each of {len(z)} rows of theta, found {values.shape}."
            )
        if (values == np.inf).any():
            theta = self.prior.from_normal(z[np.argmax(values)][None])[0]
            raise ArgumentError(f"The log likelihood must be below infinity, found inf at theta={theta.tolist()}.")
        return np.where(np.isnan(values), -np.inf, values)

    def differentiable(self, m: int, x: np.ndarray) -> Any:
        """There is none."""
        raise ArgumentError(
            "This sampler follows gradients, and a likelihood given as a NumPy function has none. MCMCPosterior(...) "
            "without a sampler of its own needs densities only."
        )


@dataclass(frozen=True, eq=False)
class PerTrial:
    """The geometric mean of several trials' likelihoods: all of them together tell what one does.

    Attributes:
        surrogate: The trials'.
    """

    surrogate: Surrogate

    @property
    def num_members(self) -> int:
        return self.surrogate.num_members

    def log_likelihood(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.surrogate.log_likelihood(m, z, x) / len(x)

    def differentiable(self, m: int, x: np.ndarray) -> Any:
        raise ArgumentError("The mean of trials' likelihoods is drawn by densities only.")


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The parameters as a likelihood sees them: theta or z, whichever explains the data better, centred and scaled.

    Attributes:
        prior: The prior.
        in_theta: Whether theta, and not z, is scaled.
        loc: (d,).
        scale: (d,).
    """

    prior: Prior
    in_theta: bool
    loc: np.ndarray
    scale: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        rows = self.prior.from_normal(z) if self.in_theta else z
        return ((rows - self.loc) / self.scale).astype(np.float32)


def coordinates(prior: Prior, z: np.ndarray, in_theta: bool) -> Coordinates:
    """Coordinates that center and scale these parameters, shape (n, d)."""
    rows = prior.from_normal(z) if in_theta else z
    return Coordinates(prior, in_theta, rows.mean(0), spread_of(rows))


@dataclass(frozen=True, eq=False)
class SurrogateLikelihood:
    """log L_m(x | z), each up to a constant in z: the members of an ensemble of densities of the data.

    Attributes:
        ensemble: The densities; what they call z are standardised data, what they call x are coordinates.
        standardize: From data to standardised data.
        varies: (p,) bool: the columns that the densities know: not constant, and not determined by the others.
        coordinates: From z to what the densities are conditioned on.
        validity: p(valid | z), where simulations fail depending on z: the densities know valid data only.
        whole: (p,) bool: the columns of whole numbers, which the densities know as intervals of length one: a number
            is looked up at its interval's middle. None for no column.
    """

    ensemble: Ensemble
    standardize: Standardize
    varies: np.ndarray
    coordinates: Coordinates
    validity: Validity | None = None
    whole: np.ndarray | None = None

    @property
    def num_members(self) -> int:
        return len(self.ensemble.members)

    def log_likelihood(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Member m's, of rows z, shape (n, d), at one x of shape x_shape, and that x is valid; (n,).

        Several independent trials, x of shape (num_trials, *x_shape), count together.
        """
        seen, data = self.coordinates(z), self._data(x)
        member, valid = self.ensemble.member(m), self._log_valid(z)
        return sum(
            (member.log_prob_pairs(np.broadcast_to(row, (len(z), len(row))), seen) + valid for row in data),
            np.zeros(len(z)),
        )

    def log_likelihood_pairs(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The same of rows z, shape (n, d), each at its own x, shape (n, *x_shape)."""
        return self.ensemble.member(m).log_prob_pairs(self._data(x), self.coordinates(z)) + self._log_valid(z)

    def _log_valid(self, z: np.ndarray) -> np.ndarray | float:
        return 0.0 if self.validity is None else self.validity.log_prob(z)

    def differentiable(self, m: int, x: np.ndarray) -> LogPosterior:
        """Member m's log posterior at x, of shape x_shape or (num_trials, *x_shape), as a JAX function of one z.

        Raises:
            ArgumentError: If the prior's map is not known as one.
        """
        member, seen = self.ensemble.members[m], self.coordinates
        through = prior_map(seen.prior, seen.loc, seen.scale)  # also where z is seen: the prior has to be normal there
        scaled = through if seen.in_theta else Scaled(seen.loc.astype(np.float32), seen.scale.astype(np.float32))
        valid = None if self.validity is None else log_valid(self.validity)
        return LogPosterior(_OfData(member), self._data(x), scaled, valid)

    def _data(self, x: np.ndarray) -> np.ndarray:
        """What the densities see of one x, or of several along the first axis: rows, whatever the shape of one."""
        middle = 0.0 if self.whole is None else 0.5 * self.whole
        return self.standardize(x.reshape(-1, len(self.varies)) + middle)[:, self.varies]


class _OfData(eqx.Module):
    """The log density of one row of data given what a likelihood sees of z."""

    density: ConditionalDensity

    def __call__(self, row: Array, u: Array) -> Array:
        return self.density.log_prob(row, self.density.context(u))


def likelihood_ensemble(members: list[ConditionalDensity], dim: int) -> Ensemble:
    """Densities of data given coordinates as an ensemble that takes coordinates as they are."""
    return Ensemble(
        members, np.full(len(members), 1 / len(members)), Standardize(np.zeros(()), np.ones(()), soft=False), (dim,)
    )

"""A learned likelihood, and the posterior that it makes with the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.estimators import ConditionalDensity, Standardize
from homing.estimators.validity import Validity
from homing.posteriors.ensemble import Ensemble
from homing.priors import Prior


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
    return Coordinates(prior, in_theta, rows.mean(0), np.maximum(rows.std(0), 1e-12))


@dataclass(frozen=True, eq=False)
class SurrogateLikelihood:
    """log L_m(x | z), each up to a constant in z: the members of an ensemble of densities of the data.

    Attributes:
        ensemble: The densities; what they call z are standardised data, what they call x are coordinates.
        standardize: From data to standardised data.
        varies: (p,) bool: the columns that are not constant.
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
        """Member m's, of rows z, shape (n, d), at one x of shape (p,) or each at its own, and that x is valid; (n,)."""
        middle = 0.0 if self.whole is None else 0.5 * self.whole
        data = self.standardize(np.atleast_2d(x) + middle)[:, self.varies]
        data = np.broadcast_to(data, (len(z), data.shape[1]))
        values = self.ensemble.member(m).log_prob_pairs(data, self.coordinates(z))
        return values if self.validity is None else values + self.validity.log_prob(z)


def likelihood_ensemble(members: list[ConditionalDensity], dim: int) -> Ensemble:
    """Densities of data given coordinates as an ensemble that takes coordinates as they are."""
    return Ensemble(
        members, np.full(len(members), 1 / len(members)), Standardize(np.zeros(()), np.ones(()), soft=False), (dim,)
    )

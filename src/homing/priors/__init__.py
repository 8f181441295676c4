"""Priors: what users bring, and the map from each to a standard normal."""

from homing.priors.adapt import as_prior, same_distribution
from homing.priors.box import BoxUniform
from homing.priors.prior import Prior
from homing.priors.subset import marginal

__all__ = ["BoxUniform", "Prior", "as_prior", "marginal", "same_distribution"]

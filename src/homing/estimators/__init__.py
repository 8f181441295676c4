"""Conditional densities on flowjax and equinox. This room knows no prior and no proposal."""

from homing.estimators.build import Builder, Estimator, PosteriorBuilder, posterior_nn
from homing.estimators.density import ConditionalDensity, Context
from homing.estimators.mixture import Gaussians, MixtureNetwork

__all__ = [
    "Builder",
    "ConditionalDensity",
    "Context",
    "Estimator",
    "Gaussians",
    "MixtureNetwork",
    "PosteriorBuilder",
    "posterior_nn",
]

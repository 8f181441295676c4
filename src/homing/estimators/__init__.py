"""Conditional densities on flowjax and equinox. This room knows no prior and no proposal."""

from homing.estimators.build import Builder, Estimator, PosteriorBuilder, posterior_nn
from homing.estimators.density import ConditionalDensity, Context
from homing.estimators.likelihood import LikelihoodBuilder, likelihood_nn
from homing.estimators.mixture import Gaussians, MixtureNetwork
from homing.estimators.ridge import Ridge
from homing.estimators.standardize import Standardize, fit_standardize

__all__ = [
    "Builder",
    "ConditionalDensity",
    "Context",
    "Estimator",
    "Gaussians",
    "LikelihoodBuilder",
    "MixtureNetwork",
    "PosteriorBuilder",
    "Ridge",
    "Standardize",
    "fit_standardize",
    "likelihood_nn",
    "posterior_nn",
]

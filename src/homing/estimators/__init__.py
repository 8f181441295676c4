"""Conditional densities and ratios on flowjax and equinox. This room knows no prior and no proposal."""

from homing.estimators.build import Builder, Estimator, PosteriorBuilder, posterior_nn
from homing.estimators.density import ConditionalDensity, Context
from homing.estimators.determined import own_columns
from homing.estimators.likelihood import LikelihoodBuilder, likelihood_nn
from homing.estimators.mixture import Gaussians, MixtureNetwork
from homing.estimators.ratio import Ratio, RatioBuilder, RatioEstimator, classifier_nn
from homing.estimators.ridge import Ridge
from homing.estimators.standardize import Standardize, fit_standardize
from homing.estimators.velocity import ProbabilityFlow

__all__ = [
    "Builder",
    "ConditionalDensity",
    "Context",
    "Estimator",
    "Gaussians",
    "LikelihoodBuilder",
    "MixtureNetwork",
    "PosteriorBuilder",
    "ProbabilityFlow",
    "Ratio",
    "RatioBuilder",
    "RatioEstimator",
    "Ridge",
    "Standardize",
    "classifier_nn",
    "fit_standardize",
    "likelihood_nn",
    "own_columns",
    "posterior_nn",
]

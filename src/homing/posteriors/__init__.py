"""Posteriors at one x: sample, log_prob, map."""

from homing.posteriors.boundary import Boundary
from homing.posteriors.conditionals import Conditionals, ensemble_at_each
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.divided import DividedPosterior
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.files import load, restore, restored
from homing.posteriors.hybrid import HybridPosterior
from homing.posteriors.identity import identity
from homing.posteriors.mixed import EnsemblePosterior
from homing.posteriors.observation import check_observation
from homing.posteriors.posterior import Posterior
from homing.posteriors.ratio import SurrogateRatio
from homing.posteriors.sampled import (
    ImportanceSamplingPosterior,
    MCMCPosterior,
    RejectionPosterior,
    SampledPosterior,
    VIPosterior,
    sampled_posterior,
)
from homing.posteriors.sampling import MCMC, Importance, Rejection, Sampler, Tempering, Variational
from homing.posteriors.surrogate import SurrogateLikelihood, coordinates, likelihood_ensemble

__all__ = [
    "MCMC",
    "Boundary",
    "Conditionals",
    "DirectPosterior",
    "DividedPosterior",
    "Ensemble",
    "EnsemblePosterior",
    "HybridPosterior",
    "Importance",
    "ImportanceSamplingPosterior",
    "MCMCPosterior",
    "Posterior",
    "Rejection",
    "RejectionPosterior",
    "SampledPosterior",
    "Sampler",
    "SurrogateLikelihood",
    "SurrogateRatio",
    "Tempering",
    "VIPosterior",
    "Variational",
    "check_observation",
    "coordinates",
    "ensemble_at_each",
    "identity",
    "likelihood_ensemble",
    "load",
    "restore",
    "restored",
    "sampled_posterior",
]

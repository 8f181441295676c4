"""Posteriors at one x: sample, log_prob, map."""

from homing.posteriors.boundary import Boundary
from homing.posteriors.conditionals import Conditionals, ensemble_at_each
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.files import load, restore
from homing.posteriors.hybrid import HybridPosterior
from homing.posteriors.observation import check_observation
from homing.posteriors.posterior import Posterior
from homing.posteriors.surrogate import SurrogateLikelihood, coordinates, likelihood_ensemble

__all__ = [
    "Boundary",
    "Conditionals",
    "DirectPosterior",
    "Ensemble",
    "HybridPosterior",
    "Posterior",
    "SurrogateLikelihood",
    "check_observation",
    "coordinates",
    "ensemble_at_each",
    "likelihood_ensemble",
    "load",
    "restore",
]

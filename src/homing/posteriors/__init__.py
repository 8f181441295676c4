"""Posteriors at one x: sample, log_prob, map."""

from homing.posteriors.boundary import Boundary
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.observation import check_observation

__all__ = ["Boundary", "DirectPosterior", "Ensemble", "check_observation"]

"""Losses as pure functions, and one compiled fit for every estimator."""

from homing.training.fit import FitInfo, FitOptions, fit
from homing.training.losses import Atomic, Loss, MaximumLikelihood, NonAtomic, Rows
from homing.training.ratio_losses import BNRE, NRE_A, NRE_B, NRE_C
from homing.training.velocity_losses import DenoisingScore, FlowMatching

__all__ = [
    "BNRE",
    "NRE_A",
    "NRE_B",
    "NRE_C",
    "Atomic",
    "DenoisingScore",
    "FitInfo",
    "FitOptions",
    "FlowMatching",
    "Loss",
    "MaximumLikelihood",
    "NonAtomic",
    "Rows",
    "fit",
]

"""Losses as pure functions, and one compiled fit for every estimator."""

from homing.training.fit import FitInfo, FitOptions, fit
from homing.training.losses import Atomic, Loss, MaximumLikelihood, NonAtomic, Rows

__all__ = ["Atomic", "FitInfo", "FitOptions", "Loss", "MaximumLikelihood", "NonAtomic", "Rows", "fit"]

"""How draws are made of a density that is known up to a constant: samplers are values."""

from homing.posteriors.sampling.chains import MCMC
from homing.posteriors.sampling.independent import Importance, Rejection
from homing.posteriors.sampling.target import Drawn, Sampler, Start, Target
from homing.posteriors.sampling.tempered import Tempering
from homing.posteriors.sampling.variational import Variational

__all__ = ["MCMC", "Drawn", "Importance", "Rejection", "Sampler", "Start", "Target", "Tempering", "Variational"]

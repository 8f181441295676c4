"""Published import paths; nothing inside the package imports from here."""

from homing.plots import pairplot
from homing.priors import BoxUniform
from homing.utils import get_nn_models

__all__ = ["BoxUniform", "get_nn_models", "pairplot"]

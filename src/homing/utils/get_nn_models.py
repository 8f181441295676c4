"""Published import path of `posterior_nn`."""

from homing.estimators import posterior_nn

__all__ = ["posterior_nn"]

"""Pictures of posteriors. matplotlib is imported when the first picture is drawn, not before."""

from homing.plots.pairplot import pairplot

__all__ = ["pairplot"]

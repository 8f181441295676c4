"""Pictures of posteriors and of how far to believe them. matplotlib is imported when the first one is drawn.

Each takes plain arrays or a diagnostic's verdict, returns the figure and its axes, and shows nothing. Drawn into a
figure or axes of the caller's (`fig`, `ax`, `axes`) they leave pyplot alone.
"""

from homing.plots.conditional import conditional_pairplot
from homing.plots.coverage import coverage_plot
from homing.plots.failures import failures_plot
from homing.plots.lc2st import lc2st_plot
from homing.plots.losses import loss_plot
from homing.plots.marginals import marginal_plot
from homing.plots.pairplot import pairplot
from homing.plots.predictive import predictive_plot
from homing.plots.ranks import sbc_rank_plot
from homing.plots.rounds import rounds_plot

__all__ = [
    "conditional_pairplot",
    "coverage_plot",
    "failures_plot",
    "lc2st_plot",
    "loss_plot",
    "marginal_plot",
    "pairplot",
    "predictive_plot",
    "rounds_plot",
    "sbc_rank_plot",
]

"""Where simulations fail: the share of them along each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ShapeError
from homing.plots import arguments, look
from homing.plots.curves import read_array
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_PARTS = 10


def failures_plot(
    theta: Any,
    failed: Any,
    *,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    title: str | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws the share of simulations that gave no valid data, in ten parts of each parameter's range.

    Args:
        theta: The parameters that were simulated, shape (n, d).
        failed: Which of them gave no valid data, shape (n,), bool.
        labels: A name for each parameter.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        fig: A figure or subfigure to draw in, instead of a new one.
        axes: The panels to draw in, d of them, instead of new ones.

    Returns:
        The figure and its axes, shape (d,). A part's bar reaches to the share that failed; its whisker is where the
        true share lies with 95 % (Jeffreys' interval). The line is the share in all parts together.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other.

    Example:
        >>> theta = np.random.default_rng(0).uniform(size=(200, 2))
        >>> figure, axes = failures_plot(theta, theta[:, 0] > 0.8, labels=["rate", "delay (s)"])
        >>> axes.shape
        (2,)
    """
    rows, flags = read_array(theta, "theta", 2, "(n, d)"), to_numpy(failed, "failed")
    if flags.shape != (len(rows),) or flags.dtype != bool:
        raise ShapeError(f"failed must be bool of shape ({len(rows)},), found {flags.dtype} of shape {flags.shape}.")
    arguments.read_labels(labels, "labels", rows.shape[1], "parameters")
    names = parameter_names(labels, rows.shape[1])
    figure, panels = look.small_panels(len(names), fig, axes, fig_size)
    top = max(_draw(ax, column, flags, name) for ax, column, name in zip(panels, rows.T, names))
    for ax in panels:
        ax.set_ylim(0, min(1.0, 1.1 * top))
        ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    look.share_scale(panels)
    panels[0].set_ylabel("share that failed")
    if title is not None:
        figure.suptitle(title, fontsize=look.TEXT + 1)
    return figure, np.array(panels, dtype=object)


def _draw(ax: Axes, x: np.ndarray, failed: np.ndarray, name: str) -> float:
    from scipy.stats import beta

    edges = np.linspace(x.min(), x.max(), _PARTS + 1) if x.min() < x.max() else x[0] + np.array([-0.5, 0.5])
    count, bad = np.histogram(x, edges)[0], np.histogram(x[failed], edges)[0]
    share = bad / np.maximum(count, 1)
    low, high = (np.asarray(beta.ppf(q, bad + 0.5, count - bad + 0.5)) for q in (0.025, 0.975))
    low, high = np.where(bad == 0, 0.0, low), np.where(bad == count, 1.0, high)
    seen, middle = count > 0, (edges[1:] + edges[:-1]) / 2
    ax.stairs(share, edges, fill=True, color=look.faint(look.ALARM, 0.5))
    ax.vlines(middle[seen], low[seen], high[seen], color=look.muted(), linewidth=0.8)
    ax.axhline(failed.mean(), color=look.muted(), linewidth=0.8, linestyle="--")
    ax.set_xlabel(look.fitting(ax, name))
    ax.locator_params(axis="x", nbins=3)
    return float(high[seen].max())

"""Marginals in a row: one parameter a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.plots import arguments, layout, look, panels
from homing.plots.layers import read_drawn
from homing.plots.pairplot import Diag

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

OPTIONS = tuple(f"{kind}_diag" for kind in (*panels.DIAG, "points"))


def marginal_plot(
    samples: Any,
    points: Any = None,
    limits: Any = None,
    subset: Sequence[int] | None = None,
    diag: Diag = "hist",
    fig_size: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    ticks: Any = None,
    *,
    prior: Any = None,
    samples_colors: Any = None,
    points_colors: Any = None,
    samples_labels: Sequence[str] | str | None = None,
    points_labels: Sequence[str] | str | None = None,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
    **options: Mapping[str, Any],
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws the one-dimensional marginals of one or several posteriors, five in a row.

    Args:
        samples: As for `pairplot`, and so are all the others; `axes` has shape (k,) for k parameters shown.

    Returns:
        The figure, and its axes in an array of shape (k,).

    Raises:
        ShapeError, ArgumentError: As `pairplot` does.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(1000, 3))
        >>> figure, axes = marginal_plot(draws, points=[0, 0, 0], prior=2 * draws, labels=["a", "b (km)", "c"])
        >>> axes.shape
        (3,)
    """
    arguments.check_choice("diag", diag, panels.DIAG)
    arguments.check_options(options, OPTIONS)
    drawn = read_drawn(
        samples, points, prior, limits, labels, samples_colors, points_colors, samples_labels, points_labels
    )
    positions = arguments.read_ticks(ticks, len(drawn.names))
    shown = arguments.read_subset(subset, len(drawn.names))
    figure, row = look.small_panels(len(shown), fig, axes, size=figsize or fig_size)
    for ax, j in zip(row, shown):
        drawn.draw_one(ax, j, diag, options)
        layout.dress_one(ax, drawn.ranges[j], drawn.names[j], positions[j])
    if keys := drawn.keys():
        look.legend_above(figure, keys)
    if title is not None:
        figure.suptitle(title, fontsize=10)
    return figure, np.array(row, dtype=object)

"""The square of panels: its axes, and their limits, ticks, labels and legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.errors import ShapeError
from homing.plots import look
from homing.plots.names import wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def square(
    k: int,
    size: tuple[float, float],
    figure: Figure | SubFigure | None,
    axes: Any,
    *,
    names: list[str],
    left: bool,
    legend: bool,
    title: str | None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """The figure and its k x k axes: the caller's, or new ones.

    Args:
        k: The number of parameters.
        size: Width and height of a new figure, in inches.
        figure: A figure to put new axes in; None for a new one.
        axes: The caller's axes; None for new ones.
        names: The parameters' names.
        left: Whether labels need space on the left.
        legend: Whether a legend needs space above the panels.
        title: A title above the panels.

    Raises:
        ShapeError: If the caller's axes are not k x k.
    """
    if axes is None:
        canvas = figure or look.new_figure(size)
        lines = max(name.count("\n") + 1 for name in wrapped(names, *_room(canvas, k)))
        margins = _margins(canvas, k, lines, left, legend, title is not None)
        grid = canvas.subplots(k, k, squeeze=False, gridspec_kw=margins)
    else:
        grid = np.atleast_2d(np.asarray(axes, dtype=object))
        if grid.shape != (k, k):
            raise ShapeError(
                f"axes must have shape ({k}, {k}), for the {k} parameters that are shown, found {grid.shape}."
            )
        canvas = figure or grid[0, 0].figure
    if title is not None:
        canvas.suptitle(title, fontsize=1.2 * font_size(canvas, k))
    return canvas, grid


def font_size(figure: Figure | SubFigure, k: int) -> float:
    """A size of text, in points, that fits a panel."""
    return float(np.clip(min(_extent(figure)) / k / 11, 5, 11))


def _extent(figure: Figure | SubFigure) -> tuple[float, float]:
    return figure.bbox.width * 72 / figure.dpi, figure.bbox.height * 72 / figure.dpi


def _room(figure: Figure | SubFigure, k: int) -> tuple[float, float]:
    """What a name has: a panel's width, and the size of the text."""
    return _extent(figure)[0] / k, 1.1 * font_size(figure, k)


def _margins(
    figure: Figure | SubFigure, k: int, lines: int, left: bool, legend: bool, titled: bool
) -> dict[str, float]:
    (width, height), size = _extent(figure), font_size(figure, k)
    return {
        "left": (4.7 + 1.3 * lines if left else 2) * size / width,
        "right": 1 - 2 * size / width,
        "bottom": (2.7 + 1.3 * lines) * size / height,
        "top": 1 - (1.5 + 2 * titled + 2 * legend) * size / height,
        "wspace": 0.08,
        "hspace": 0.08,
    }


def dress(grid: np.ndarray, ranges: np.ndarray, names: list[str], ticks: list[np.ndarray | None]) -> None:
    """Gives every panel its limits, and those at the lower and left ends of the square ticks and labels.

    The lowest panel of a column carries the labels: that on the diagonal, if none is drawn below it.
    """
    k, figure = len(grid), grid[0, 0].figure
    size, names = font_size(figure, k), wrapped(names, *_room(figure, k))
    for (i, j), ax in np.ndenumerate(grid):
        if not ax.get_visible():
            continue
        ax.set_xlim(*ranges[j])
        if i == j:
            ax.spines[["left", "right", "top"]].set_visible(False)
        else:
            ax.set_ylim(*ranges[i])
        ax.spines[:].set(linewidth=0.6, color=look.muted())
        ax.tick_params(labelsize=0.9 * size, length=0.3 * size, width=0.6, color=look.muted(), pad=0.25 * size)
        lowest = not any(below.get_visible() for below in grid[i + 1 :, j])
        leftmost = j < i and not any(left.get_visible() for left in grid[i, :j])
        _scale(ax.xaxis, names[j] if lowest else None, ticks[j], size)
        _scale(ax.yaxis, names[i] if leftmost else None, ticks[i], size)
    figure.align_ylabels(list(grid[:, 0]))


def dress_one(ax: Axes, limits: np.ndarray, name: str, ticks: np.ndarray | None) -> None:
    """Gives a panel of one parameter its limits, ticks and name; its height is no scale."""
    look.quiet(ax, sides=("bottom",))
    ax.set_xlim(*limits)
    _scale(ax.xaxis, look.fitting(ax, name), ticks, look.TEXT)
    _scale(ax.yaxis, None, None, look.TEXT)


def _scale(axis: Any, name: str | None, ticks: np.ndarray | None, size: float) -> None:
    """A named axis has ticks and a label, another has neither."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    if name is None:
        axis.set_ticks([])
        axis.set_label_text("")
        return
    low, high = axis.get_view_interval()
    locator = MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2)
    places = np.asarray(locator.tick_values(low, high) if ticks is None else ticks, dtype=float)
    slack = 1e-9 * (high - low)
    places = np.clip(places[(places >= low - slack) & (places <= high + slack)], low, high)
    formatter = ScalarFormatter(useMathText=True)
    formatter.set_powerlimits((-3, 4))
    axis.set_major_formatter(formatter)
    axis.set_ticks(places, formatter.format_ticks(list(places)))
    factor = formatter.get_offset()
    side, inwards = ("ha", ("left", "right")) if axis.axis_name == "x" else ("va", ("bottom", "top"))
    for share, text in zip((places - low) / (high - low), axis.get_ticklabels()):
        if not 0.06 < share < 0.94:  # a label centred on the panel's end would run into the next panel's
            text.set(**{side: inwards[int(share > 0.5)]})
    # A common factor stands beside the name: at the axis' end, where it is usual, it would do the same.
    axis.set_label_text(f"{name} ({factor})" if factor else name, fontsize=1.1 * size)


def legend(figure: Figure | SubFigure, grid: np.ndarray, keys: Sequence[Artist]) -> None:
    """A legend in the half of the square that is empty, or above it; none without keys."""
    if not keys:
        return
    k = len(grid)
    size = font_size(figure, k)
    how = {"handles": keys, "fontsize": max(size, 8), "frameon": False}
    if k == 1:
        grid[0, 0].legend(**how)
    elif not grid[k - 1, 0].get_visible():
        box = grid[k - 1, 0].get_position()
        figure.legend(loc="lower left", bbox_to_anchor=(box.x0, box.y0), **how)
    elif not grid[0, k - 1].get_visible():
        box = grid[0, k - 1].get_position()
        figure.legend(loc="upper right", bbox_to_anchor=(box.x1, box.y1), **how)
    else:
        top = grid[0, 0].get_position().y1
        figure.legend(loc="lower center", bbox_to_anchor=(0.5, top), ncols=len(keys), **how)

"""How one panel of a pair plot is drawn: the marginal of one parameter, or of two.

Every function adds one set of draws, or one group of points, to a panel. Options replace the defaults seen here; those
that a function does not take itself go to the matplotlib call that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.plots.arguments import read_bins, read_masses
from homing.plots.density import Column, histogram, smoothed
from homing.plots.look import blend, faint, is_dark, paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

MAX_DOTS = 5_000
MASSES = (0.5, 0.68, 0.95)


def diag_hist(ax: Axes, x: Column, color: Any, options: Mapping[str, Any]) -> float:
    """A histogram of one parameter as a density, by `Axes.stairs`; returns the height of its highest bar."""
    options = dict(options)
    bins = read_bins(options.pop("bins", x.bins))
    edges = x.edges(bins)
    heights = histogram([x], [bins]) / (len(x.values) * (edges[1] - edges[0]))
    defaults = {"fill": True, "facecolor": faint(color, 0.35), "edgecolor": color, "linewidth": 1.0}
    ax.stairs(heights, edges, **{**defaults, **options})
    return float(heights.max())


def diag_kde(ax: Axes, x: Column, color: Any, options: Mapping[str, Any]) -> float:
    """A smoothed density of one parameter, by `Axes.plot`; returns its peak."""
    density = smoothed([x])
    ax.fill_between(density.centres[0], density.values, color=faint(color, 0.25), linewidth=0)
    ax.plot(density.centres[0], density.values, **{"color": color, "linewidth": 1.2, **options})
    return float(density.values.max())


def diag_line(ax: Axes, x: Column, color: Any) -> float:
    """A smoothed density as a line behind the others, by `Axes.plot`; returns its peak."""
    density = smoothed([x])
    ax.plot(density.centres[0], density.values, color=color, linewidth=1.2, zorder=0.5)
    return float(density.values.max())


def offdiag_hist(ax: Axes, x: Column, y: Column, color: Any, options: Mapping[str, Any]) -> None:
    """A histogram of two parameters, by `Axes.imshow`."""
    options = dict(options)
    bins = options.pop("bins", None)
    shape = [x.bins, y.bins] if bins is None else [read_bins(bins)] * 2
    _image(ax, x, y, histogram([x, y], shape), color, {"interpolation": "nearest", **options})


def offdiag_kde(ax: Axes, x: Column, y: Column, color: Any, options: Mapping[str, Any]) -> None:
    """A smoothed density of two parameters, by `Axes.imshow`."""
    _image(ax, x, y, smoothed([x, y]).values, color, {"interpolation": "bilinear", **options})


def _image(ax: Axes, x: Column, y: Column, values: np.ndarray, color: Any, options: Mapping[str, Any]) -> None:
    defaults = {"cmap": colormap(color), "vmin": 0, "vmax": values.max() or 1, "origin": "lower", "aspect": "auto"}
    ax.imshow(values.T, extent=(x.low, x.high, y.low, y.high), **{**defaults, **options})


def offdiag_contour(ax: Axes, x: Column, y: Column, color: Any, options: Mapping[str, Any]) -> None:
    """The highest density regions that hold given masses, by `Axes.contour`, filled in lighter tones of the colour."""
    options = dict(options)
    density = smoothed([x, y])
    masses = read_masses(options.pop("levels", MASSES))
    levels = sorted({level for mass in masses if (level := density.level(mass)) is not None})
    if not levels:
        return
    grid = [np.r_[axis.low, centres[1:-1], axis.high] for axis, centres in zip((x, y), density.centres)]  # to the frame
    tones = np.linspace(0.15, 0.6, len(levels))
    top = max(float(density.values.max()), levels[-1]) * 1.01
    ax.contourf(*grid, density.values.T, levels=[*levels, top], colors=[faint(color, tone) for tone in tones])
    ax.contour(*grid, density.values.T, levels=levels, **{"colors": [color], "linewidths": 0.9, **options})


def offdiag_scatter(ax: Axes, x: Column, y: Column, color: Any, options: Mapping[str, Any]) -> None:
    """Draws as dots, by `Axes.scatter`: all of them, or `MAX_DOTS` evenly spaced ones of more."""
    rows = np.unique(np.linspace(0, len(x.values) - 1, MAX_DOTS).astype(int))
    defaults = {"s": 3, "alpha": 0.3, "color": color, "linewidths": 0, "rasterized": True}
    ax.scatter(x.values[rows], y.values[rows], **{**defaults, **options})


def diag_points(ax: Axes, x: np.ndarray, color: Any, style: str, options: Mapping[str, Any]) -> None:
    """Vertical lines at the points' values `x`, shape (m,), by `Axes.axvline`."""
    for value in x:
        ax.axvline(value, **{"color": color, "linestyle": style, "linewidth": 1.4, **options})


def offdiag_points(ax: Axes, x: np.ndarray, y: np.ndarray, color: Any, marker: str, options: Mapping[str, Any]) -> None:
    """Markers at the points (x, y), each of shape (m,), by `Axes.plot`."""
    defaults = {"color": color, "marker": marker, "markersize": 6, "markeredgecolor": paper(), "markeredgewidth": 0.8}
    ax.plot(x, y, **{**defaults, "linestyle": "none", "zorder": 5, **options})


def colormap(color: Any) -> Colormap:
    """From transparent, where there are no draws, over the colour to a darker one; to a lighter one on dark paper."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    red, green, blue, _ = to_rgba(color)
    towards = (1.0, 1.0, 1.0) if is_dark() else (0.0, 0.0, 0.0)
    end = blend(color, towards, 0.5)
    stops = [(0.0, (red, green, blue, 0.0)), (0.6, (red, green, blue, 1.0)), (1.0, end)]
    return LinearSegmentedColormap.from_list("draws", stops)


DIAG: dict[str, Callable[[Axes, Column, Any, Mapping[str, Any]], float]] = {"hist": diag_hist, "kde": diag_kde}
OFFDIAG: dict[str, Callable[[Axes, Column, Column, Any, Mapping[str, Any]], None]] = {
    "hist": offdiag_hist,
    "kde": offdiag_kde,
    "contour": offdiag_contour,
    "scatter": offdiag_scatter,
}

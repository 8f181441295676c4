"""The pair plot: every one- and two-dimensional marginal of a set of draws, in one square of panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from homing.plots import arguments, layout, panels
from homing.plots.density import Column

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Diag = Literal["hist", "kde"] | None
Offdiag = Literal["hist", "kde", "contour", "scatter"] | None

# Okabe and Ito's palette, which colour blind readers can tell apart; markers and lines differ too, for print in grey.
SAMPLES_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
POINTS_COLORS = ("#D55E00", "#000000", "#CC79A7", "#009E73")
MARKERS, LINE_STYLES = ("o", "s", "^", "D"), ("-", "--", "-.", ":")
OPTIONS = (
    *(f"{kind}_diag" for kind in (*panels.DIAG, "points")),
    *(f"{kind}_offdiag" for kind in (*panels.OFFDIAG, "points")),
)


def pairplot(
    samples: Any,
    points: Any = None,
    limits: Any = None,
    subset: Sequence[int] | None = None,
    upper: Offdiag = "hist",
    diag: Diag = "hist",
    fig_size: tuple[float, float] = (10, 10),
    labels: Sequence[str] | None = None,
    ticks: Any = None,
    *,
    lower: Offdiag = None,
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
    """Draws the marginals of one or several posteriors: one parameter on the diagonal, two beside it.

    Histograms and smoothed densities use every draw. Smoothing is chosen by cross-validation and loses nothing over a
    limit beyond which there are no draws: pass a prior's bounds as `limits` where a posterior touches them. Contours
    bound the regions of highest density that hold 50, 68 and 95 % of the draws. A scatter plot shows at most 5,000
    draws, evenly spaced ones of more.

    Args:
        samples: Draws of shape (n, d), or a list of such arrays to overlay: NumPy, PyTorch or JAX.
        points: Points to mark, such as true parameters, of shape (d,) or (m, d), or a list of such arrays; one colour
            for each array.
        limits: The ranges to show: one pair [low, high], or one for each of the d parameters. By default what holds all
            draws and points, or of a heavy tail three standard deviations (from the quartiles) beyond its 1 % quantile.
        subset: Indices of the parameters to show. All by default.
        upper: What is above the diagonal: `"hist"`, `"kde"`, `"contour"`, `"scatter"` or None.
        diag: What is on the diagonal: `"hist"`, `"kde"` or None.
        fig_size: Width and height of a new figure, in inches.
        labels: A name for each of the d parameters. By default θ₁, θ₂ and so on.
        ticks: Where axes have ticks: one list, or one for each of the d parameters. By default a few round numbers.
        lower: What is below the diagonal, as for `upper`.
        samples_colors: A colour, or one for each set of samples.
        points_colors: A colour, or one for each array of points.
        samples_labels: A name for each set of samples, for a legend.
        points_labels: A name for each array of points, for a legend.
        title: A title above all panels.
        figsize: Another name of `fig_size`.
        fig: A figure or subfigure to draw in, instead of a new one.
        axes: Axes to draw in, of shape (k, k), instead of new ones. What they show already stays: pass the same limits.
        **options: Options for one kind of panel, each a dictionary: `hist_diag`, `kde_diag`, `points_diag`,
            `hist_offdiag`, `kde_offdiag`, `contour_offdiag`, `scatter_offdiag`, `points_offdiag`. Histograms take
            `bins`, their number; contours take `levels`, the masses inside them. All else goes to the Axes method that
            draws: stairs, plot and axvline on the diagonal; imshow, imshow, contour, scatter and plot beside it.

    Returns:
        The figure, and its axes in an array of shape (k, k) for k parameters shown.

    Raises:
        ShapeError: If samples, points, limits, ticks or axes have a shape that does not fit.
        ArgumentError: If samples are not finite, limits hold no draws, or a choice, colour, name or option is unknown.

    Source:
        For smoothing and the contours' levels see `homing.plots.density`. Colours: Okabe and Ito (2008), Color
        universal design, https://jfly.uni-koeln.de/color/.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(1000, 3))
        >>> figure, axes = pairplot(draws, points=[0, 0, 0], limits=[-4, 4], fig_size=(5, 5))
        >>> axes.shape
        (3, 3)
        >>> figure.savefig("posterior.png")  # doctest: +SKIP
    """
    arguments.check_choice("upper", upper, panels.OFFDIAG)
    arguments.check_choice("lower", lower, panels.OFFDIAG)
    arguments.check_choice("diag", diag, panels.DIAG)
    arguments.check_options(options, OPTIONS)
    sets = arguments.read_samples(samples)
    d = sets[0].shape[1]
    groups = arguments.read_points(points, d)
    ranges = arguments.read_limits(limits, sets, groups)
    names = arguments.read_labels(labels, "labels", d, "parameters") or [rf"$\theta_{{{j + 1}}}$" for j in range(d)]
    positions = arguments.read_ticks(ticks, d)
    shown = arguments.read_subset(subset, d)
    layers = _layers(sets, ranges, samples_colors, samples_labels)
    marks = _marks(groups, points_colors, points_labels)

    keys = [entry.key() for entry in (*layers, *marks) if entry.label is not None]
    above, size = bool(upper and lower and keys), figsize or fig_size
    figure, grid = layout.square(len(shown), size, fig, axes, left=lower is not None, legend=above, title=title)
    for (i, j), ax in np.ndenumerate(grid):
        if i == j:
            _draw_one(ax, shown[j], diag, layers, marks, options)
        else:
            _draw_two(ax, shown[j], shown[i], upper if i < j else lower, layers, marks, options)
    layout.dress(grid, ranges[shown], [names[j] for j in shown], [positions[j] for j in shown])
    layout.legend(figure, grid, keys)
    return figure, grid


@dataclass(frozen=True)
class Layer:
    """One set of draws: a column for each of the d parameters, and how it is shown."""

    columns: list[Column]
    color: Any
    label: str | None

    def key(self) -> Artist:
        """What stands for the set in a legend."""
        from matplotlib.patches import Patch

        return Patch(facecolor=self.color, alpha=0.8, label=self.label)


@dataclass(frozen=True)
class Marks:
    """One group of points, shape (m, d), and how it is shown."""

    values: np.ndarray
    color: Any
    style: str
    marker: str
    label: str | None

    def key(self) -> Artist:
        """What stands for the points in a legend."""
        from matplotlib.lines import Line2D

        look = {"color": self.color, "linestyle": self.style, "linewidth": 1.4, "marker": self.marker, "markersize": 6}
        return Line2D([], [], label=self.label, markeredgecolor="white", markeredgewidth=0.8, **look)


def _layers(sets: list[np.ndarray], ranges: np.ndarray, colors: Any, labels: Any) -> list[Layer]:
    colors = arguments.read_colors(colors, "samples_colors", SAMPLES_COLORS, len(sets))
    labels = arguments.read_labels(labels, "samples_labels", len(sets), "sets of samples") or [None] * len(sets)
    return [
        Layer([Column(np.ascontiguousarray(values), *limits) for values, limits in zip(draws.T, ranges)], color, label)
        for draws, color, label in zip(sets, colors, labels)
    ]


def _marks(groups: list[np.ndarray], colors: Any, labels: Any) -> list[Marks]:
    colors = arguments.read_colors(colors, "points_colors", POINTS_COLORS, len(groups))
    labels = arguments.read_labels(labels, "points_labels", len(groups), "arrays of points") or [None] * len(groups)
    looks = zip(colors, cycle(LINE_STYLES), cycle(MARKERS), labels)
    return [Marks(values, *look) for values, look in zip(groups, looks)]


def _draw_one(
    ax: Axes, j: int, kind: str | None, layers: list[Layer], marks: list[Marks], options: dict[str, Mapping[str, Any]]
) -> None:
    if kind is not None:
        heights = [
            panels.DIAG[kind](ax, layer.columns[j], layer.color, options.get(f"{kind}_diag", {})) for layer in layers
        ]
        ax.set_ylim(0, 1.05 * max(heights) or 1)
    for group in marks:
        panels.diag_points(ax, group.values[:, j], group.color, group.style, options.get("points_diag", {}))


def _draw_two(
    ax: Axes,
    j: int,
    i: int,
    kind: str | None,
    layers: list[Layer],
    marks: list[Marks],
    options: dict[str, Mapping[str, Any]],
) -> None:
    ax.set_visible(kind is not None or ax.has_data())  # the caller's axes may show something already
    if kind is None:
        return
    for layer in layers:
        panels.OFFDIAG[kind](ax, layer.columns[j], layer.columns[i], layer.color, options.get(f"{kind}_offdiag", {}))
    for group in marks:
        x, y = group.values[:, j], group.values[:, i]
        panels.offdiag_points(ax, x, y, group.color, group.marker, options.get("points_offdiag", {}))

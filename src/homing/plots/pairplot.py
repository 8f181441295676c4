"""The pair plot: every one- and two-dimensional marginal of a set of draws, in one square of panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from homing.plots import arguments, layout, panels
from homing.plots.layers import read_drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

Diag = Literal["hist", "kde"] | None
Offdiag = Literal["hist", "kde", "contour", "scatter"] | None

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
    """Draws the marginals of one or several posteriors: one parameter on the diagonal, two beside it.

    Histograms and smoothed densities use every draw. Smoothing is chosen by cross-validation and loses nothing over a
    limit beyond which there are no draws: pass a prior's bounds as `limits` where a posterior touches them. Contours
    bound the regions of highest density that hold 50, 68 and 95 % of the draws. A scatter plot shows at most 5,000
    draws, evenly spaced ones of more. Under a dark style (`plt.style.context("dark_background")`) it is light on dark.

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
        labels: A name for each of the d parameters, with its unit if it has one. By default θ₁, θ₂ and so on.
        ticks: Where axes have ticks: one list, or one for each of the d parameters. By default a few round numbers.
        lower: What is below the diagonal, as for `upper`.
        prior: Draws from the prior, shape (m, d): lines behind the diagonal. They do not widen the limits.
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
        ShapeError: If samples, points, prior, limits, ticks or axes have a shape that does not fit.
        ArgumentError: If samples are not finite, limits hold no draws, or a choice, colour, name or option is unknown.

    Source:
        For smoothing and the contours' levels see `homing.plots.density`, for the colours `homing.plots.look`.

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
    drawn = read_drawn(
        samples, points, prior, limits, labels, samples_colors, points_colors, samples_labels, points_labels
    )
    d = len(drawn.names)
    positions = arguments.read_ticks(ticks, d)
    shown = arguments.read_subset(subset, d)

    keys, names = drawn.keys(), [drawn.names[j] for j in shown]
    above, size = bool(upper and lower and keys), figsize or fig_size
    figure, grid = layout.square(
        len(shown), size, fig, axes, names=names, left=lower is not None, legend=above, title=title
    )
    for (i, j), ax in np.ndenumerate(grid):
        kind = upper if i < j else lower
        if i == j:
            drawn.draw_one(ax, shown[j], diag, options)
            continue
        ax.set_visible(kind is not None or ax.has_data())  # the caller's axes may show something already
        if kind is not None:
            drawn.draw_two(ax, shown[j], shown[i], kind, options)
    layout.dress(grid, drawn.ranges[shown], names, [positions[j] for j in shown])
    layout.legend(figure, grid, keys)
    return figure, grid

r"""Slices of a density: one parameter or two, the others held where they are.

A marginal averages over all other parameters and so hides how one makes up for another; the conditional density

    p(theta_j, theta_i | theta_rest = c_rest, x_o) ∝ p(c_1, ..., theta_j, ..., theta_i, ..., c_d | x_o)

does not. It needs only a density that can be evaluated, at the points of a grid.

Source: Gonçalves et al. (2020), Training deep neural density estimators to identify mechanistic models of neural
dynamics, eLife 9, section "conditional distributions", https://doi.org/10.7554/eLife.56261.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError
from homing.plots import arguments, layout, look, panels
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def conditional_pairplot(
    log_prob: Callable[[np.ndarray], Any],
    condition: Any,
    limits: Any,
    points: Any = None,
    subset: Sequence[int] | None = None,
    resolution: int = 50,
    fig_size: tuple[float, float] = (10, 10),
    labels: Sequence[str] | None = None,
    ticks: Any = None,
    *,
    levels: Any = panels.MASSES,
    color: Any = None,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws a density along one parameter and along two, with all others held at one point.

    Args:
        log_prob: The density's logarithm up to a constant, of theta (n, d) with shape (n,): `posterior.log_prob`. It is
            called once a panel, with `resolution` rows or the square of it.
        condition: Shape (d,), where the other parameters are held, such as a draw or the maximum. It is marked.
        limits: The ranges to show: one pair [low, high], or one for each of the d parameters.
        points: Points to mark beside the condition, as for `pairplot`.
        subset: Indices of the parameters to show; all by default. The others are held.
        resolution: Points of a panel's grid along each axis.
        fig_size: As for `pairplot`, and so are labels, ticks, title, figsize, fig and axes.
        levels: The masses inside the contours, of what lies between the limits.
        color: What it is drawn in; by default the first of `homing.plots.look`.

    Returns:
        The figure, and its axes in an array of shape (k, k) for k parameters shown.

    Raises:
        ShapeError: If condition, limits or what log_prob returns have a shape that does not fit.
        ArgumentError: If an argument cannot work, or there is no density between the limits.

    Example:
        >>> precision = np.array([[2.0, -1.5], [-1.5, 2.0]])
        >>> def log_prob(theta):
        ...     return -0.5 * np.einsum("ni,ij,nj->n", theta, precision, theta)
        >>> figure, axes = conditional_pairplot(log_prob, condition=[0, 0], limits=[-3, 3], fig_size=(4, 4))
        >>> axes.shape
        (2, 2)
    """
    where = to_numpy(condition, "condition").astype(np.float64)
    if where.ndim != 1 or not np.isfinite(where).all():
        raise ShapeError(f"condition must be one finite point of shape (d,), found shape {where.shape}.")
    d = len(where)
    if not isinstance(resolution, (int, np.integer)) or resolution < 2:
        raise ArgumentError(f"resolution must be a whole number of at least 2, found {resolution!r}.")
    masses = arguments.read_masses(levels)
    ranges = arguments.read_pairs(limits, d)
    arguments.read_labels(labels, "labels", d, "parameters")
    groups = [where[None], *arguments.read_points(points, d)]
    shown, positions = arguments.read_subset(subset, d), arguments.read_ticks(ticks, d)
    names = parameter_names(labels, d)
    chosen = [names[j] for j in shown]
    size = figsize or fig_size
    figure, grid = layout.square(len(shown), size, fig, axes, names=chosen, left=False, legend=False, title=title)
    centres = [_centres(low, high, resolution) for low, high in ranges]
    tone = arguments.read_colors(color, "color", look.colors()[:1], 1)[0]
    marks = arguments.read_colors(None, "points_colors", (look.ink(), look.ALARM, *look.colors()[1:]), len(groups))
    for (row, column), ax in np.ndenumerate(grid):
        i, j = shown[row], shown[column]
        if row > column:
            ax.set_visible(False)
        elif row == column:
            _draw_one(ax, centres[j], _slice(log_prob, where, [j], [centres[j]]), tone)
        else:
            density = _slice(log_prob, where, [j, i], [centres[j], centres[i]])
            _draw_two(ax, centres[j], centres[i], density, ranges[j], ranges[i], masses, tone)
        for group, mark, marker in zip(groups, marks, look.MARKERS * len(groups)):
            if row == column:
                panels.diag_points(ax, group[:, j], mark, "-", {"linewidth": 1.0})
            elif row < column:
                panels.offdiag_points(ax, group[:, j], group[:, i], mark, marker, {"markersize": 5})
    layout.dress(grid, ranges[shown], chosen, [positions[j] for j in shown])
    return figure, grid


def _centres(low: float, high: float, number: int) -> np.ndarray:
    """The centres of equal cells, shape (number,): a density may vanish at the ends."""
    edges = np.linspace(low, high, number + 1)
    return (edges[1:] + edges[:-1]) / 2


def _slice(
    log_prob: Callable[[np.ndarray], Any], where: np.ndarray, which: list[int], axes: list[np.ndarray]
) -> np.ndarray:
    """The density on a grid of some parameters, the greatest value one, with an axis for each of them."""
    mesh = np.meshgrid(*axes, indexing="ij")
    theta = np.tile(where, (mesh[0].size, 1))
    theta[:, which] = np.stack([values.ravel() for values in mesh], axis=1)
    logs = to_numpy(log_prob(theta), "log_prob").astype(np.float64)
    if logs.shape != (len(theta),):
        raise ShapeError(f"log_prob must return shape ({len(theta)},) for theta {theta.shape}, found {logs.shape}.")
    if np.isnan(logs).any() or np.isposinf(logs).any():
        raise ArgumentError("log_prob must return numbers or -inf, found NaN or infinity.")
    if np.isneginf(logs).all():
        raise ArgumentError(
            f"log_prob is -inf everywhere between the limits of parameter {' and '.join(map(str, which))}, with the "
            "others at the condition: choose a condition where there is density, or other limits."
        )
    return np.exp(logs - logs.max()).reshape(mesh[0].shape)


def _draw_one(ax: Axes, centres: np.ndarray, density: np.ndarray, color: Any) -> None:
    ax.fill_between(centres, density, color=look.faint(color, 0.25), linewidth=0)
    ax.plot(centres, density, color=color, linewidth=1.2)
    ax.set_ylim(0, 1.05)


def _draw_two(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    density: np.ndarray,
    x_range: np.ndarray,
    y_range: np.ndarray,
    masses: list[float],
    color: Any,
) -> None:
    extent = (*x_range, *y_range)
    ax.imshow(density.T, extent=extent, origin="lower", aspect="auto", cmap=panels.colormap(color), vmin=0)
    ranked = np.sort(density.ravel())[::-1]
    held = np.cumsum(ranked) / ranked.sum()
    levels = sorted({float(ranked[np.searchsorted(held, mass)]) for mass in masses} - {0.0})
    if levels and levels[-1] < ranked[0]:
        ax.contour(x, y, density.T, levels=levels, colors=[look.ink()], linewidths=0.7)

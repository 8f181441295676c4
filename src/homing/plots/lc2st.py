"""The local classifier test at x_o: how well posterior draws are told from true parameters, and where.

Left, the classifier's statistic among those that it has where there is nothing to tell. Then, along each parameter, the
probability that it gives a posterior draw of being the posterior's: above one half the posterior has too much mass,
below it too little. What is drawn is the mean over draws in twenty parts of equal mass.

Source: Linhart, Gramfort and Rodrigues (2023), L-C2ST: Local diagnostics for posterior approximations in
simulation-based inference, https://arxiv.org/abs/2306.03580.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.diagnostics import Verdict
from homing.errors import ArgumentError, ShapeError
from homing.plots import arguments, look
from homing.plots.curves import read_array, read_curves
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_PARTS = 20


def lc2st_plot(
    probabilities: Any,
    theta: Any = None,
    null: Any = None,
    statistic: float | None = None,
    *,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    title: str | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws what the local classifier test found.

    Args:
        probabilities: A verdict with the curves `probabilities`, `theta`, `null`; or, at n posterior draws, the
            probability of being a draw of the posterior and no true parameter, shape (n,).
        theta: The draws, shape (n, d); a verdict has them.
        null: The statistic where there is nothing to tell, shape (m,); likewise.
        statistic: The statistic found; a verdict has it, else the mean of (probability - 1/2)².
        labels: A name for each parameter.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        fig: A figure or subfigure to draw in, instead of a new one.
        axes: The panels to draw in, 1 + d of them, instead of new ones.

    Returns:
        The figure and its axes, shape (1 + d,).

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure, axes = lc2st_plot(rng.uniform(0.4, 0.6, 500), rng.normal(size=(500, 2)), rng.uniform(0, 0.01, 99))
        >>> axes.shape
        (3,)
    """
    if isinstance(probabilities, Verdict):
        curves, statistic = read_curves(probabilities, ("probabilities", "theta", "null")), probabilities.statistic
        probabilities, theta, null = (curves[name] for name in ("probabilities", "theta", "null"))
    elif theta is None or null is None:
        raise ArgumentError("theta and null are needed with an array of probabilities.")
    p = read_array(probabilities, "probabilities", 1, "(n,)")
    draws, at_random = read_array(theta, "theta", 2, "(n, d)"), read_array(null, "null", 1, "(m,)")
    if len(draws) != len(p):
        raise ShapeError(f"theta must have a row for each of the {len(p)} probabilities, found {len(draws)}.")
    found = float(((p - 0.5) ** 2).mean()) if statistic is None else float(statistic)
    arguments.read_labels(labels, "labels", draws.shape[1], "parameters")
    names = parameter_names(labels, draws.shape[1])
    figure, panels = look.small_panels(1 + len(names), fig, axes, fig_size)
    _draw_statistic(panels[0], at_random, found)
    reach = max(0.05, *(_draw_along(ax, x, p, name) for ax, x, name in zip(panels[1:], draws.T, names)))
    for ax in panels[1:]:
        ax.set_ylim(0.5 - 1.1 * reach, 0.5 + 1.1 * reach)
    look.share_scale(panels[1:])
    panels[1].set_ylabel("taken for a\nposterior draw")
    if title is not None:
        figure.suptitle(title, fontsize=look.TEXT + 1)
    return figure, np.array(panels, dtype=object)


def _draw_statistic(ax: Axes, null: np.ndarray, found: float) -> None:
    ax.hist(null, bins=min(30, max(5, len(null) // 5)), color=look.faint(look.muted(), 0.35))
    outside = found > np.quantile(null, 0.95)
    ax.axvline(found, color=look.ALARM if outside else look.colors()[0], linewidth=1.8)
    ax.set(xlabel="statistic", yticks=[])
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.15)
    ax.locator_params(axis="x", nbins=3)
    ax.set_title("grey: nothing to tell", fontsize=look.TEXT - 1, color=look.muted())


def _draw_along(ax: Axes, x: np.ndarray, p: np.ndarray, name: str) -> float:
    """The mean probability along one parameter; how far it is from one half at most."""
    order = np.array_split(np.argsort(x, kind="stable"), min(_PARTS, max(len(x) // 5, 1)))
    middle, mean = np.array([(np.median(x[part]), p[part].mean()) for part in order]).T
    error = np.array([p[part].std() / np.sqrt(len(part)) for part in order])
    ax.axhline(0.5, color=look.muted(), linewidth=0.8)
    ax.fill_between(middle, mean - 2 * error, mean + 2 * error, color=look.faint(look.colors()[0], 0.25), linewidth=0)
    ax.plot(middle, mean, color=look.colors()[0], linewidth=1.4)
    ax.set_xlabel(look.fitting(ax, name))
    ax.locator_params(axis="x", nbins=3)
    return float(np.abs(np.concatenate([mean - 2 * error, mean + 2 * error]) - 0.5).max())

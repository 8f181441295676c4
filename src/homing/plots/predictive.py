"""What the posterior predicts, with what was observed: does the model, fitted, make data like these?

Source: Gelman, Meng and Stern (1996), Posterior predictive assessment of model fitness via realized discrepancies,
Statistica Sinica 6, https://www3.stat.sinica.edu.tw/statistica/oldpdf/A6n41.pdf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from homing.diagnostics import Verdict
from homing.errors import ArgumentError, ShapeError
from homing.plots import arguments, look
from homing.plots.curves import read_array, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MOST_PANELS = 20  # entries of x up to which each has a panel of its own
_MASSES = (0.95, 0.5)


def predictive_plot(
    replicated: Any,
    observed: Any = None,
    times: Any = None,
    *,
    kind: Literal["series", "vector"] | None = None,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    title: str | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws data that the posterior predicts, and the observation among them.

    Args:
        replicated: A verdict with the curves `observed` and `replicated`; or data simulated at posterior draws, shape
            (n, p).
        observed: The observation, shape (p,); a verdict has it.
        times: Where the p entries of a series lie, shape (p,); by default 0, 1, and so on.
        kind: `"series"`, one panel with bands that hold 50 and 95 % at each place; `"vector"`, a panel for each entry.
            By default a vector up to 20 entries, unless there are times.
        labels: A name for each entry of a vector; for a series two, those of its axes.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        fig: A figure or subfigure to draw in, instead of a new one.
        axes: The panels to draw in, instead of new ones: one, or p for a vector.

    Returns:
        The figure, and its axes: shape (1,), or (p,) for a vector.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure, axes = predictive_plot(rng.normal(size=(100, 30)), rng.normal(size=30))
        >>> axes.shape
        (1,)
    """
    if isinstance(replicated, Verdict):
        curves = read_curves(replicated, ("replicated", "observed"))
        replicated, observed = (np.asarray(curves[name]) for name in ("replicated", "observed"))
        replicated, observed = replicated.reshape(len(replicated), -1), observed.ravel()  # of any shape
    elif observed is None:
        raise ArgumentError("observed is needed with an array of replicated data.")
    draws, truth = read_array(replicated, "replicated", 2, "(n, p)"), read_array(observed, "observed", 1, "(p,)")
    if draws.shape[1] != len(truth):
        raise ShapeError(f"replicated has {draws.shape[1]} entries a row, observed {len(truth)}: they must be as many.")
    if kind not in ("series", "vector", None):
        raise ArgumentError(f'kind must be "series", "vector" or None, found {kind!r}.')
    as_series = kind == "series" or (kind is None and (times is not None or len(truth) > _MOST_PANELS))
    names = arguments.read_labels(labels, "labels", 2 if as_series else len(truth), "axes" if as_series else "entries")
    if as_series:
        figure, panels = look.small_panels(1, fig, axes, fig_size or (5.6, 3.2))
        _draw_series(panels[0], draws, truth, times, names or ["entry", "x"])
    else:
        figure, panels = look.small_panels(len(truth), fig, axes, fig_size)
        for j, ax in enumerate(panels):
            _draw_entry(ax, draws[:, j], truth[j], names[j] if names else rf"$x_{{{j + 1}}}$")
        if axes is None:
            look.legend_above(figure, panels[0].get_legend_handles_labels()[0])
    if title is not None:
        figure.suptitle(title, fontsize=look.TEXT + 1)
    return figure, np.array(panels, dtype=object)


def _draw_series(ax: Axes, draws: np.ndarray, truth: np.ndarray, times: Any, names: list[str]) -> None:
    at = np.arange(len(truth)) if times is None else read_array(times, "times", 1, "(p,)")
    if len(at) != len(truth):
        raise ShapeError(f"times must have one entry for each of the {len(truth)} of a series, found {len(at)}.")
    for mass, alpha in zip(_MASSES, (0.2, 0.4)):
        ends = np.quantile(draws, [(1 - mass) / 2, (1 + mass) / 2], axis=0)
        color = look.faint(look.colors()[0], alpha)
        ax.fill_between(at, *ends, color=color, linewidth=0, label=f"{mass:.0%} of what is predicted")
    ax.plot(at, np.median(draws, axis=0), color=look.colors()[0], linewidth=1.2)
    ax.plot(at, truth, color=look.ALARM, linewidth=1.4, label="observed")
    ax.set(xlabel=names[0], ylabel=names[1], xlim=(at.min(), at.max()))
    look.head(ax, None, columns=3)


def _draw_entry(ax: Axes, draws: np.ndarray, truth: float, name: str) -> None:
    look.quiet(ax, sides=("bottom",))
    ends = [min(draws.min(), truth), max(draws.max(), truth)]
    if ends[0] == ends[1]:
        ends = [ends[0] - 0.5, ends[1] + 0.5]
    heights, edges = np.histogram(draws, bins=int(np.clip(np.sqrt(len(draws)), 5, 40)), range=(ends[0], ends[1]))
    color = look.colors()[0]
    ax.stairs(heights, edges, fill=True, facecolor=look.faint(color, 0.35), edgecolor=color, label="predicted")
    ax.axvline(truth, color=look.ALARM, linewidth=1.6, label="observed")
    ax.set(xlabel=look.fitting(ax, name), yticks=[])
    ax.margins(x=0.05)
    ax.locator_params(axis="x", nbins=3)

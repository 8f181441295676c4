"""Expected coverage: how often regions that claim to hold a share of the probability hold the true parameters.

A curve below the diagonal is overconfident, one above it conservative. The regions are those of highest posterior
density, or, for TARP, balls about random points, whose coverage is right only if the posterior is.

Source: Hermans et al. (2022), A trust crisis in simulation-based inference? Your posterior approximations can be
unfaithful, https://arxiv.org/abs/2110.06581; Lemos, Coogan, Hezaveh and Perreault-Levasseur (2023), Sampling-based
accuracy testing of posterior estimators for general inference, https://arxiv.org/abs/2302.03026 (TARP).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.diagnostics import Verdict
from homing.errors import ArgumentError, ShapeError
from homing.plots import arguments, look
from homing.plots.curves import read_array, read_band, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def coverage_plot(
    coverage: Any,
    levels: Any = None,
    *,
    band: tuple[Any, Any] | None = None,
    labels: Sequence[str] | str | None = None,
    fig_size: tuple[float, float] = (3.6, 4.2),
    title: str | None = None,
    ax: Axes | None = None,
) -> tuple[Figure | SubFigure, Axes]:
    """Draws how often regions hold the true parameters, against how often they claim to.

    Args:
        coverage: A verdict with the curves `levels`, `coverage`, `band_low`, `band_high`, or a list of such, as those
            of `tarp` and of highest density regions; or shares between 0 and 1, shape (k,).
        levels: What the regions claim to hold, shape (k,), for shares; verdicts know it.
        band: Where the shares of a right posterior stay: lower and upper ends, each of shape (k,). A verdict has its
            own; of several verdicts the first one's is shown.
        labels: A name for each curve; by default the verdicts'.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        ax: Axes to draw in, instead of a new figure's.

    Returns:
        The figure and its axes.

    Raises:
        ShapeError, ArgumentError: If shares, levels and band do not fit each other, or a verdict has no such curves.

    Example:
        >>> levels = np.linspace(0, 1, 21)
        >>> figure, ax = coverage_plot(levels**1.2, levels)
        >>> ax.get_xlabel()
        'claimed'
    """
    verdicts = [coverage] if isinstance(coverage, Verdict) else coverage
    if isinstance(verdicts, (list, tuple)) and any(isinstance(verdict, Verdict) for verdict in verdicts):
        curves = [read_curves(verdict, ("levels", "coverage")) for verdict in verdicts]
        band = band or read_band(curves[0])
        own: Sequence[str] | None = [verdict.name for verdict in verdicts]
    else:
        if levels is None:
            raise ArgumentError("levels are needed with an array: what the regions claim to hold, shape (k,).")
        curves, own = [{"levels": levels, "coverage": coverage}], None
    pairs = [_read_pair(each["levels"], each["coverage"]) for each in curves]
    names = arguments.read_labels(labels, "labels", len(pairs), "curves") or own or [None] * len(pairs)
    figure, panel = look.one_panel(ax, fig_size)
    if band is not None:
        ends = [read_array(end, "band", 1, "(k,)") for end in band]
        if any(end.shape != pairs[0][0].shape for end in ends):
            raise ShapeError(f"band must be two arrays of shape {pairs[0][0].shape}, as levels is, found others.")
        color = look.faint(look.muted(), 0.2)
        x = _to_the_ends(pairs[0][0])
        low, high = map(_to_the_ends, ends)
        panel.fill_between(x, low, high, color=color, linewidth=0, label=look.RIGHT)
    panel.plot([0, 1], [0, 1], color=look.muted(), linewidth=0.8)
    for (x, y), name, color, style in zip(pairs, names, look.colors() * len(pairs), look.LINE_STYLES * len(pairs)):
        panel.plot(_to_the_ends(x), _to_the_ends(y), color=color, linestyle=style, linewidth=1.6, label=name)
    panel.text(0.97, 0.05, "overconfident", ha="right", color=look.muted(), fontsize=look.TEXT - 1)
    panel.text(0.03, 0.92, "conservative", color=look.muted(), fontsize=look.TEXT - 1)
    panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="claimed", ylabel="found to hold the truth")
    look.head(panel, title, columns=1)
    return figure, panel


def _to_the_ends(shares: np.ndarray) -> np.ndarray:
    """With nothing, which holds nothing, before it and all, which holds all, after it."""
    return np.concatenate([[0.0], shares, [1.0]])


def _read_pair(levels: Any, coverage: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = read_array(levels, "levels", 1, "(k,)"), read_array(coverage, "coverage", 1, "(k,)")
    if x.shape != y.shape:
        raise ShapeError(f"levels and coverage must have one shape (k,), found {x.shape} and {y.shape}.")
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > 1:
        raise ArgumentError("levels and coverage must be shares between 0 and 1.")
    return x, y

r"""Ranks of true parameters among posterior draws: uniform if the posterior is right.

As the difference of their distribution function to that of uniform ranks, which shows small departures at any place and
needs no bins; or as histograms. Read the difference so: first above zero, then below: too narrow a posterior (ranks at
both ends); first below, then above: too wide; above throughout: the posterior lies too high; below: too low.

Source: Talts, Betancourt, Simpson, Vehtari and Gelman (2018), Validating Bayesian inference algorithms with
simulation-based calibration, https://arxiv.org/abs/1804.06788; Säilynoja, Bürkner and Vehtari (2022), Graphical test
for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison,
https://arxiv.org/abs/2103.10522 (the differences and their simultaneous bands).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from homing.diagnostics import Verdict
from homing.errors import ArgumentError
from homing.plots import arguments, look
from homing.plots.curves import read_array, read_band, read_curves
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_POINTS = 100  # at which shares are compared
_MASS = 0.95  # of bands that hold for each place alone


def sbc_rank_plot(
    ranks: Any,
    num_draws: int | None = None,
    *,
    kind: Literal["ecdf", "hist"] = "ecdf",
    num_bins: int | None = None,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    title: str | None = None,
    fig: Figure | SubFigure | None = None,
    axes: Any = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws the ranks of true parameters among posterior draws, with where those of a right posterior stay.

    Args:
        ranks: A verdict with the curves `ranks`, `num_draws`, `grid`, `band_low`, `band_high`; or ranks from 0 to
            `num_draws`, shape (n, d) or (n,): how many posterior draws lie below the true parameter.
        num_draws: How many draws each rank is among; a verdict knows it.
        kind: `"ecdf"`, differences of distribution functions in one panel; `"hist"`, a histogram for each parameter.
        num_bins: Of a histogram. By default twenty, or fewer for few ranks.
        labels: A name for each parameter.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        fig: A figure or subfigure to draw in, instead of a new one.
        axes: The panels to draw in, instead of new ones: one, or d for histograms.

    Returns:
        The figure, and its axes: shape (1,), or (d,) for histograms. The band is the verdict's, which a right posterior
        leaves nowhere with the verdict's confidence; for arrays, and in histograms, it holds 95 % at each place alone.

    Raises:
        ShapeError, ArgumentError: If ranks, labels or axes do not fit, or an argument cannot work.

    Example:
        >>> ranks = np.random.default_rng(0).integers(0, 101, size=(300, 2))
        >>> figure, axes = sbc_rank_plot(ranks, num_draws=100)
        >>> axes.shape
        (1,)
    """
    curves = read_curves(ranks, ("ranks", "num_draws")) if isinstance(ranks, Verdict) else {}
    values, most = _read_ranks(curves.get("ranks", ranks), curves.get("num_draws", num_draws))
    arguments.read_labels(labels, "labels", values.shape[1], "parameters")
    names = parameter_names(labels, values.shape[1])
    if kind == "hist":
        figure, panels = look.small_panels(len(names), fig, axes, fig_size)
        for ax, name, column in zip(panels, names, values.T):
            _histogram(ax, column, most, num_bins)
            ax.set_xlabel(look.fitting(ax, f"rank of {name}"))
    elif kind == "ecdf":
        figure, panels = look.small_panels(1, fig, axes, fig_size or (5.2, 3.2))
        _differences(panels[0], values, most, curves, names)
    else:
        raise ArgumentError(f'kind must be "ecdf" or "hist", found {kind!r}.')
    if title is not None:
        figure.suptitle(title, fontsize=look.TEXT + 1)
    return figure, np.array(panels, dtype=object)


def _read_ranks(ranks: Any, num_draws: Any) -> tuple[np.ndarray, int]:
    values = read_array(np.atleast_2d(np.asarray(ranks).T).T, "ranks", 2, "(n, d)")
    if num_draws is None or int(num_draws) != num_draws or num_draws < 1:
        raise ArgumentError(f"num_draws must say among how many draws the ranks are, found {num_draws!r}.")
    most = int(num_draws)
    if values.min() < 0 or values.max() > most:
        raise ArgumentError(
            f"ranks among {most} draws lie between 0 and {most}, found {values.min():g} to {values.max():g}."
        )
    return values, most


def _differences(ax: Axes, ranks: np.ndarray, most: int, curves: dict[str, np.ndarray], names: list[str]) -> None:
    grid = curves.get("grid", np.unique(np.linspace(1, most, _POINTS).round()) / (most + 1))
    bands = read_band(curves) or _pointwise(grid, len(ranks))
    shares = np.sort((ranks + 0.5) / (most + 1), axis=0)  # a rank is below k/(most + 1) if it is less than k
    differences = [np.searchsorted(column, grid) / len(ranks) - grid for column in shares.T]
    ax.fill_between(grid, *bands, color=look.faint(look.muted(), 0.2), linewidth=0, label=look.RIGHT)
    ax.axhline(0, color=look.muted(), linewidth=0.8)
    leaves = [bool(((curve < bands[0]) | (curve > bands[1])).any()) for curve in differences]
    strong = list(product(look.LINE_STYLES[:2], look.colors()))
    all_strong, looks, others = len(names) <= len(look.colors()), iter(strong), "the others"
    lines = list(zip(differences, names, leaves))
    for curve, name, out in lines if all_strong else sorted(lines, key=lambda line: line[2]):
        if all_strong or (out and sum(leaves) <= len(strong)):
            style, color = next(looks)
            ax.step(grid, curve, where="mid", color=color, linestyle=style, linewidth=1.4, label=name)
        else:
            ax.step(grid, curve, where="mid", color=look.muted(), linewidth=0.8, label=others)
            others = None
    ax.set(xlim=(0, 1), xlabel="rank as a share of the draws", ylabel="share of ranks below,\nless what is expected")
    look.head(ax, None)


def _pointwise(grid: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the share of n uniform numbers below each place lies with a probability of 95 %, less the place itself."""
    from scipy.stats import binom

    low, high = (np.asarray(binom.ppf(share, n, grid)) / n - grid for share in ((1 - _MASS) / 2, (1 + _MASS) / 2))
    return low, high


def _histogram(ax: Axes, ranks: np.ndarray, most: int, num_bins: int | None) -> None:
    from scipy.stats import binom

    number = num_bins or int(np.clip(len(ranks) // 10, 2, min(20, most + 1)))
    if not 1 <= number <= most + 1:
        raise ArgumentError(f"num_bins must lie between 1 and {most + 1}, one for each rank, found {number}.")
    edges = np.ceil(np.linspace(0, most + 1, number + 1)) - 0.5  # between whole numbers
    share = np.diff(edges) / (most + 1)
    low, middle, high = (np.asarray(binom.ppf(q, len(ranks), share)) for q in ((1 - _MASS) / 2, 0.5, (1 + _MASS) / 2))
    ax.stairs(high, edges, baseline=low, fill=True, color=look.faint(look.muted(), 0.25))
    ax.stairs(middle, edges, color=look.muted(), linewidth=0.8, baseline=None)
    counts = np.histogram(ranks, edges)[0]
    ax.stairs(counts, edges, fill=True, facecolor=look.faint(look.colors()[0], 0.35), edgecolor=look.colors()[0])
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.1 * max(counts.max(), high.max())))
    ax.set_xticks([0, most])
    ax.locator_params(axis="y", integer=True, nbins=4)

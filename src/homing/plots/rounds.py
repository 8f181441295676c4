"""How the posterior homed in: each parameter round by round, and what each round bought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.errors import ArgumentError
from homing.plots import arguments, look
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MASSES = ((0.95, 1.2), (0.5, 4.0))  # of the intervals, and how thick they are drawn


def rounds_plot(
    draws: Sequence[Any],
    records: Sequence[Any] | None = None,
    *,
    points: Any = None,
    prior: Any = None,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    title: str | None = None,
    fig: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draws each parameter's posterior after every round, and what the rounds' records say that each one bought.

    Args:
        draws: For each round draws of the posterior after it, shape (n, d); a round's entry is None if nothing was
            learned in it.
        records: The rounds' records, `inference.rounds`: of each, `gain`, `volume` and `validation_loss` are shown,
            where they are not None.
        points: True parameters, shape (d,).
        prior: Draws from the prior, shape (m, d): shown as round 0.
        labels: A name for each parameter.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        fig: A figure or subfigure to draw in, instead of a new one.

    Returns:
        The figure and its axes: one a parameter, with the median, the central 50 and 95 % of each round; then one for
        each thing that records tell.

    Raises:
        ShapeError, ArgumentError: If draws, records, points and labels do not fit each other.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> learned = [rng.normal(size=(500, 2)) / k for k in (1, 2, 4)]
        >>> figure, axes = rounds_plot(learned, prior=rng.normal(size=(500, 2)))
        >>> axes.shape
        (2,)
    """
    learned = [(k + 1, entry) for k, entry in enumerate(draws) if entry is not None]
    if not learned:
        raise ArgumentError("draws must have those of at least one round.")
    sets = arguments.read_samples([entry for _, entry in learned])
    d = sets[0].shape[1]
    behind = arguments.read_prior(prior, d)
    truth = arguments.read_points(points, d)
    arguments.read_labels(labels, "labels", d, "parameters")
    told = [] if records is None else _told(records)
    numbers = [number for number, _ in learned]
    last = max([len(draws), *(number for what in told for number, _ in what[1])])
    figure, panels = look.small_panels(d + len(told), fig, None, fig_size)
    for j, (ax, name) in enumerate(zip(panels, parameter_names(labels, d))):
        rows = [(number, values[:, j]) for number, values in zip(numbers, sets)]
        _draw_parameter(ax, rows, None if behind is None else behind[:, j], [group[:, j] for group in truth])
        ax.set_title(look.fitting(ax, name), fontsize=look.TEXT)
    for ax, (name, values, kind) in zip(panels[d:], told):
        _draw_record(ax, values, kind)
        ax.set_title(name, fontsize=look.TEXT, color=look.muted())
    for ax in panels:
        start = 0 if behind is not None else 1
        ax.set_xlim(start - 0.6, last + 0.6)
        ax.set_xticks(range(start, last + 1), ["prior", *map(str, range(1, last + 1))][start:])
        ax.set_xlabel("round")
    if title is not None:
        figure.suptitle(title, fontsize=look.TEXT + 1)
    return figure, np.array(panels, dtype=object)


def _draw_parameter(
    ax: Axes, rows: list[tuple[int, np.ndarray]], prior: np.ndarray | None, truth: list[np.ndarray]
) -> None:
    shown = [(0, prior, look.muted())] if prior is not None else []
    shown += [(number, values, look.colors()[0]) for number, values in rows]
    for number, values, color in shown:
        for mass, width in _MASSES:
            ends = np.quantile(values, [(1 - mass) / 2, (1 + mass) / 2])
            ax.vlines(number, *ends, color=color, linewidth=width)
        ax.plot(number, np.median(values), "o", markersize=3, color=look.paper(), markeredgecolor=color)
    for values in truth:
        for value in values:
            ax.axhline(value, color=look.ALARM, linewidth=1.0, linestyle="--", zorder=0.5)
    ax.locator_params(axis="y", nbins=4)


_Told = tuple[str, list[tuple[int, float]], str]


def _told(records: Sequence[Any]) -> list[_Told]:
    """What records tell of some round: a name, (round, value) pairs, and how it is drawn."""
    shown = (
        ("gain (nats)", "gain", "bars"),
        ("share of the prior\nsimulated from", "volume", "log"),
        ("held-out loss (nats)", "validation_loss", "line"),
    )
    found: list[_Told] = []
    for name, attribute, kind in shown:
        values = [(record.round, _value(record, attribute)) for record in records]
        known = [(number, float(value)) for number, value in values if value is not None and np.isfinite(value)]
        if any(value != 1 for _, value in known):
            found.append((name, known, kind))
    return found


def _value(record: Any, attribute: str) -> float | None:
    """What a record tells; the prior, where it is what a round simulated from, is all of itself."""
    if attribute == "volume" and getattr(record, "proposal", None) == "prior":
        return 1.0
    return getattr(record, attribute, None)


def _draw_record(ax: Axes, values: list[tuple[int, float]], kind: str) -> None:
    x, y = zip(*values)
    if kind == "bars":
        ax.bar(x, y, width=0.6, color=[look.colors()[2] if value >= 0 else look.ALARM for value in y])
        ax.axhline(0, color=look.muted(), linewidth=0.8)
    else:
        ax.plot(x, y, "o-", color=look.colors()[2], linewidth=1.2, markersize=4)
    if kind == "log" and min(y) > 0:
        ax.set_yscale("log")
    elif kind != "log":
        ax.locator_params(axis="y", nbins=4)

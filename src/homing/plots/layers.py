"""What the plots of draws have in common: sets of draws, groups of points and the prior, and how each is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.plots import arguments, look, panels
from homing.plots.density import Column
from homing.plots.names import parameter_names

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Options = Mapping[str, Mapping[str, Any]]


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

        lines = {"color": self.color, "linestyle": self.style, "linewidth": 1.4, "marker": self.marker, "markersize": 6}
        return Line2D([], [], label=self.label, markeredgecolor=look.paper(), markeredgewidth=0.8, **lines)


@dataclass(frozen=True)
class Drawn:
    """All that a plot of draws shows.

    Attributes:
        layers: The sets of draws.
        marks: The groups of points.
        prior: A column for each parameter, or empty: a line behind the sets where one parameter is shown.
        ranges: Shape (d, 2), what is shown of each parameter.
        names: Each parameter's.
    """

    layers: list[Layer]
    marks: list[Marks]
    prior: list[Column]
    ranges: np.ndarray
    names: list[str]

    def keys(self) -> list[Artist]:
        """What a legend shows: all that has a name."""
        named = [entry.key() for entry in (*self.layers, *self.marks) if entry.label is not None]
        return [*named, _prior_key()] if self.prior else named

    def draw_one(self, ax: Axes, j: int, kind: str | None, options: Options) -> None:
        """One parameter's marginals."""
        heights = []
        if self.prior and kind is not None:
            heights.append(panels.diag_line(ax, self.prior[j], look.muted()))
        if kind is not None:
            chosen = options.get(f"{kind}_diag", {})
            heights += [panels.DIAG[kind](ax, layer.columns[j], layer.color, chosen) for layer in self.layers]
            ax.set_ylim(0, 1.05 * max(heights) or 1)
        for group in self.marks:
            panels.diag_points(ax, group.values[:, j], group.color, group.style, options.get("points_diag", {}))

    def draw_two(self, ax: Axes, j: int, i: int, kind: str, options: Options) -> None:
        """Two parameters' marginals: j along x, i along y."""
        chosen = options.get(f"{kind}_offdiag", {})
        for layer in self.layers:
            panels.OFFDIAG[kind](ax, layer.columns[j], layer.columns[i], layer.color, chosen)
        for group in self.marks:
            x, y = group.values[:, j], group.values[:, i]
            panels.offdiag_points(ax, x, y, group.color, group.marker, options.get("points_offdiag", {}))


def read_drawn(
    samples: Any,
    points: Any,
    prior: Any,
    limits: Any,
    labels: Sequence[str] | None,
    samples_colors: Any,
    points_colors: Any,
    samples_labels: Sequence[str] | str | None,
    points_labels: Sequence[str] | str | None,
) -> Drawn:
    """All that is to be shown, checked; the arguments are those of `pairplot`."""
    sets = arguments.read_samples(samples)
    d = sets[0].shape[1]
    groups = arguments.read_points(points, d)
    behind = arguments.read_prior(prior, d)
    ranges = arguments.read_limits(limits, sets, groups)
    arguments.read_labels(labels, "labels", d, "parameters")
    return Drawn(
        _layers(sets, ranges, samples_colors, samples_labels),
        _marks(groups, points_colors, points_labels),
        [] if behind is None else _columns(behind, ranges),
        ranges,
        parameter_names(labels, d),
    )


def _layers(sets: list[np.ndarray], ranges: np.ndarray, colors: Any, labels: Any) -> list[Layer]:
    colors = arguments.read_colors(colors, "samples_colors", look.colors(), len(sets))
    labels = arguments.read_labels(labels, "samples_labels", len(sets), "sets of samples") or [None] * len(sets)
    return [Layer(_columns(draws, ranges), color, label) for draws, color, label in zip(sets, colors, labels)]


def _columns(draws: np.ndarray, ranges: np.ndarray) -> list[Column]:
    return [Column(np.ascontiguousarray(values), *limits) for values, limits in zip(draws.T, ranges)]


def _marks(groups: list[np.ndarray], colors: Any, labels: Any) -> list[Marks]:
    own = (look.ALARM, look.ink(), *look.colors()[3:1:-1])
    colors = arguments.read_colors(colors, "points_colors", own, len(groups))
    labels = arguments.read_labels(labels, "points_labels", len(groups), "arrays of points") or [None] * len(groups)
    looks = zip(colors, cycle(look.LINE_STYLES), cycle(look.MARKERS), labels)
    return [Marks(values, *how) for values, how in zip(groups, looks)]


def _prior_key() -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.muted(), linewidth=1.2, label="prior")

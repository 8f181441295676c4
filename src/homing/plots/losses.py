"""How training went: the loss on held-out rows, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.errors import ArgumentError
from homing.plots import look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_SETTLED = 0.1  # of the epochs, after which losses decide the range that is shown
_RISE = 2.0  # how far above three quarters of the losses it may go, as a multiple of their range


def loss_plot(
    histories: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    fig_size: tuple[float, float] = (5.6, 3.2),
    title: str | None = None,
    ax: Axes | None = None,
) -> tuple[Figure | SubFigure, Axes]:
    """Draws the validation loss of each member of each round's ensemble; a dot marks the weights that were kept.

    Args:
        histories: For each round the members' losses after each epoch: a list of sequences of any lengths, or an array
            (members, epochs) with NaN after a member's last. An empty one is passed over. From a run:
            `[record.losses for record in inference.rounds]`.
        labels: A name for each round; by default its number.
        fig_size: Width and height of a new figure, in inches.
        title: A title.
        ax: Axes to draw in, instead of a new figure's.

    Returns:
        The figure and its axes. Neither the first tenth of the epochs nor what rises far above the rest after the
        weights that were kept widens the range that is shown.

    Raises:
        ArgumentError: If there is no loss at all.

    Example:
        >>> figure, ax = loss_plot([[[3.0, 2.0, 1.5, 1.6]], [[1.4, 1.2, 1.3], [1.5, 1.1, 1.0]]])
        >>> len(ax.lines)  # a line and a dot for each of three members
        6
    """
    rounds = [[_finite(member) for member in history] for history in histories]
    curves = [(k, curve) for k, members in enumerate(rounds) for curve in members if len(curve)]
    if not curves:
        raise ArgumentError("There is no loss to draw: no round has a history of at least one epoch.")
    names = [f"round {k + 1}" for k in range(len(rounds))] if labels is None else [str(label) for label in labels]
    if len(names) != len(rounds):
        raise ArgumentError(f"labels must have one text for each of the {len(rounds)} rounds, found {len(names)}.")
    figure, panel = look.one_panel(ax, fig_size)
    colors, named, kept = look.shades(len(rounds)), set(), []
    for k, curve in curves:
        label = None if k in named else names[k]
        named.add(k)
        panel.plot(np.arange(1, len(curve) + 1), curve, color=colors[k], linewidth=1.1, label=label)
        best = int(np.nanargmin(curve)) if np.isfinite(curve).any() else 0
        kept.append(float(curve[best]))
        panel.plot(best + 1, curve[best], "o", color=colors[k], markersize=5, markeredgecolor=look.paper())
    settled = np.concatenate([curve[int(_SETTLED * len(curve)) :] for _, curve in curves])
    low, most, high = np.nanquantile(settled, [0, 0.75, 1])
    high = min(high, np.nanmax([most + _RISE * (most - low), *kept]))
    margin = 0.05 * (high - low) or 0.5
    panel.set(xlabel="epoch", ylabel="held-out loss (nats)", ylim=(low - margin, high + margin), xlim=(0, None))
    look.head(panel, title, columns=5)
    return figure, panel


def _finite(member: Any) -> np.ndarray:
    """A member's losses as far as it was trained; NaN where one was infinite."""
    losses = np.asarray(member, np.float64)
    losses = losses[: len(losses) - int(np.cumprod(np.isnan(losses[::-1])).sum())]
    return np.where(np.isfinite(losses), losses, np.nan)

"""How pictures look: colours that colour-blind readers can tell apart, on light paper or on dark.

What a style sets (`text.color`, `axes.facecolor`) is followed: under `plt.style.context("dark_background")` all that is
drawn is light on dark. Departures from what is expected are drawn strongly, what is as it should be faintly.

Source: Okabe and Ito (2008), Color universal design, https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.errors import ShapeError
from homing.plots.names import wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_BLUE, _ORANGE, _GREEN, _PINK, _SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
ALARM = "#D55E00"
RIGHT = "95 % of right posteriors stay here"  # what bands are called
MARKERS, LINE_STYLES = ("o", "s", "^", "D"), ("-", "--", "-.", ":")
TEXT = 9.0  # points, of names; numbers are a point smaller
_COLUMNS = 5  # of small panels


def ink() -> str:
    """The colour of text."""
    from matplotlib import rcParams
    from matplotlib.colors import to_hex

    return to_hex(rcParams["text.color"])


def paper() -> str:
    """The colour that panels are drawn on: the style's, or what goes with its text where that is transparent."""
    from matplotlib import rcParams
    from matplotlib.colors import to_hex, to_rgba

    red, green, blue, alpha = to_rgba(rcParams["axes.facecolor"])
    if alpha > 0:
        return to_hex((red, green, blue))
    return "#ffffff" if luminance(ink()) < 0.5 else "#000000"


def is_dark() -> bool:
    """Whether text is lighter than the paper."""
    return luminance(ink()) > luminance(paper())


def colors() -> tuple[str, ...]:
    """What is drawn first, second and so on: blue first on light paper, its lighter sister on dark."""
    first, last = (_SKY, _BLUE) if is_dark() else (_BLUE, _SKY)
    return first, _ORANGE, _GREEN, _PINK, last


def muted() -> str:
    """The colour of frames and of what is as expected: between paper and ink, well legible.

    On dark paper it is nearer to the ink: between, pink looks the same to who sees no green.
    """
    return blend(paper(), ink(), 0.8 if is_dark() else 0.65)


def luminance(color: Any) -> float:
    """How light a colour is, from 0 to 1, as the eye weighs red, green and blue.

    Example:
        >>> luminance("white"), luminance("#000000")
        (1.0, 0.0)
    """
    from matplotlib.colors import to_rgb

    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


def blend(start: Any, end: Any, share: float) -> str:
    """The colour that lies a share of the way from one to another.

    Example:
        >>> blend("#000000", "#ffffff", 0.2)
        '#333333'
    """
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (1 - share) * np.array(to_rgb(start)) + share * np.array(to_rgb(end))
    return to_hex((red, green, blue))


def faint(color: Any, alpha: float) -> tuple[float, float, float, float]:
    """The colour, partly transparent."""
    from matplotlib.colors import to_rgba

    return to_rgba(color, alpha)


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """The first colour from faint to strong, for what follows one another, such as rounds."""
    return [faint(colors()[0], alpha) for alpha in np.linspace(1 if count == 1 else 0.45, 1, count)]


def new_figure(size: tuple[float, float], **options: Any) -> Figure:
    """A figure of so many inches."""
    from matplotlib import pyplot  # so that a notebook shows the figure, and `pyplot.show` finds it

    return pyplot.figure(figsize=size, **options)


def one_panel(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure | SubFigure, Axes]:
    """The caller's axes, or those of a new figure; with quiet frames."""
    panel = new_figure(size, layout="constrained").subplots() if ax is None else ax
    quiet(panel)
    return panel.figure, panel


def small_panels(
    count: int, fig: Figure | SubFigure | None, axes: Any, size: tuple[float, float] | None = None
) -> tuple[Figure | SubFigure, list[Axes]]:
    """So many small panels, in rows of five or of what fits a figure: the caller's axes, or new ones in a figure.

    Args:
        count: How many.
        fig: The caller's figure, or None.
        axes: The caller's axes, or None.
        size: Of a new figure, in inches.

    Raises:
        ShapeError: If the caller's axes are not so many.
    """
    if axes is not None:
        panels = np.atleast_1d(np.asarray(axes, dtype=object)).ravel().tolist()
        if len(panels) != count:
            raise ShapeError(f"axes must be {count}, one for each panel, found {len(panels)}.")
    else:
        most = _COLUMNS if fig is None else max(1, int(fig.bbox.width / fig.dpi / 2.1))
        rows = -(-count // most)
        columns = -(-count // rows)
        fig = fig or new_figure(size or (2.2 * columns, 1.9 * rows), layout="constrained")
        panels = fig.subplots(rows, columns, squeeze=False).ravel().tolist()
        for unused in panels[count:]:
            unused.set_visible(False)
        panels = panels[:count]
    for panel in panels:
        quiet(panel)
    return panels[0].figure, panels


def quiet(ax: Axes, sides: Sequence[str] = ("left", "bottom")) -> None:
    """Frames where scales are, and thin."""
    for name, spine in ax.spines.items():
        spine.set_visible(name in sides)
    ax.spines[:].set(linewidth=0.6, color=muted())
    ax.tick_params(width=0.6, length=3, color=muted(), labelsize=TEXT - 1)
    ax.xaxis.label.set_fontsize(TEXT)
    ax.yaxis.label.set_fontsize(TEXT)
    ax.title.set_fontsize(TEXT)


def head(ax: Axes, title: str | None, columns: int = 2) -> None:
    """A quiet legend above the panel, of what has a label; and a title above that."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        width = 0.7 * ax.figure.bbox.width * 72 / ax.figure.dpi / columns
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0.0}
        how = {"ncols": columns, "frameon": False, "fontsize": TEXT - 1, "handlelength": 1.5}
        ax.legend(handles, wrapped(labels, width, TEXT - 1), **how, **place)
    if title is not None:
        ax.set_title(title, fontsize=TEXT + 1, pad=6 + 1.6 * TEXT * -(-len(labels) // columns))


def fitting(ax: Axes, name: str) -> str:
    """A name in lines that fit a small panel."""
    place = ax.get_subplotspec()
    columns = 1 if place is None else place.get_gridspec().ncols
    return wrapped([name], 0.7 * ax.figure.bbox.width * 72 / ax.figure.dpi / columns, TEXT)[0]


def legend_above(figure: Figure | SubFigure, keys: Sequence[Artist]) -> None:
    """A legend above all panels."""
    figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 4), frameon=False, fontsize=TEXT - 1)


def share_scale(panels: Sequence[Axes]) -> None:
    """Leaves the numbers of a scale that all panels share to the first one and to those that begin a row."""
    for ax in panels[1:]:
        place = ax.get_subplotspec()
        if place is None or not place.is_first_col():
            ax.tick_params(labelleft=False)

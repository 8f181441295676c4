"""A figure as part of a page: SVG in the colours that the page has, light or dark.

Ink, paper and the palette become CSS variables with the palette's own colours behind them, so one drawing is legible on
both. Text becomes outlines: it looks the same where the font is missing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from homing.plots import look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _PAPER = "#010203", "#fdfeff"  # colours that nothing else has
_SIDES = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
_VARIABLES = {  # the palette's colours, in lower case
    **{"first": "#0072b2", "second": "#e69f00", "third": "#009e73", "fourth": "#cc79a7", "fifth": "#56b4e9"},
    "alarm": "#d55e00",
}


def as_svg(draw: Callable[[Figure], Any], size: tuple[float, float], name: str, text: str) -> str:
    """An `<svg>` element.

    Args:
        draw: Draws into a figure of that size; by default it has constrained layout.
        size: Width and height, in inches.
        name: Begins all identifiers, so that several fit in one page: letters, digits and hyphens.
        text: What it shows, in words, for who cannot see it. It must be escaped.

    Returns:
        The element, with the CSS variable `--width`, its natural width. It uses the variables `--paper`, `--muted`,
        `--first` to `--fifth` and `--alarm`; text has the page's colour.

    Example:
        >>> svg = as_svg(lambda figure: figure.subplots().plot([0, 1]), (2, 1), "line", "A rising line.")
        >>> svg[:46], "var(--first" not in svg
        ('<svg role="img" aria-label="A rising line." st', True)
    """
    import matplotlib
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what the user's own style says
        matplotlib.rcParams.update(dict.fromkeys(_SIDES, _INK))
        matplotlib.rcParams.update({"figure.facecolor": _PAPER, "axes.facecolor": _PAPER, "svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(written, format="svg", metadata={"Date": None})
        variables = {_INK: "currentColor", _PAPER: "var(--paper, #fff)", look.muted(): "var(--muted, #666)"}
    variables |= {color: f"var(--{name}, {color})" for name, color in _VARIABLES.items()}
    svg = written.getvalue()
    view = re.search(r'viewBox="[^"]+"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", " ".join(path[0].split())), body)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda color: variables.get(color[0], color[0]), body)
    body = re.sub(r'\bid="|(?<=href=")#|(?<=url\()#', lambda place: f"{place[0]}{name}-", body)
    style = f"--width: {72 * size[0]:.0f}pt; stroke-linejoin: round; stroke-linecap: butt"
    return f'<svg role="img" aria-label="{text}" style="{style}" {view[0] if view else ""}>{body.strip()}</svg>'

"""Names of parameters, and how they fit where they stand."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence


def parameter_names(labels: Sequence[str] | None, d: int) -> list[str]:
    """The parameters' names: the caller's, or θ₁, θ₂ and so on."""
    return [rf"$\theta_{{{j + 1}}}$" for j in range(d)] if labels is None else [str(label) for label in labels]


def wrapped(names: Sequence[str], width: float, size: float) -> list[str]:
    r"""Names in lines that fit a panel; mathematics stays whole.

    Args:
        names: The names.
        width: The panel's, in points.
        size: The text's, in points.

    Example:
        >>> wrapped(["rate of recovery (1/day)", r"$\alpha + \beta$ (km)"], 60, 10)
        ['rate of\nrecovery\n(1/day)', '$\\alpha + \\beta$ (km)']
    """
    room = max(int(width / (0.56 * size)), 5)  # characters
    return ["\n".join(_lines(name, room)) for name in names]


def _lines(name: str, room: int) -> list[str]:
    lines = [""]
    for word in re.findall(r"(?:\$[^$]*\$|\S)+", name):
        glue = " "
        for piece in _pieces(word, room):
            joined = f"{lines[-1]}{glue}{piece}".lstrip()
            lines[-1:] = [joined] if not lines[-1] or _seen(joined) <= room else [lines[-1], piece]
            glue = ""
    return lines


def _pieces(word: str, room: int) -> list[str]:
    """A word, or parts of one that has no room: what ends in an underscore, or just what fits."""
    if "$" in word or len(word) <= room:
        return [word]
    return [part for piece in re.findall(r"[^_]*_|[^_]+", word) for part in textwrap.wrap(piece, room)]


def _seen(text: str) -> int:
    """About how many characters a text with mathematics shows."""
    return len(re.sub(r"\$[^$]*\$", lambda part: re.sub(r"\\[a-zA-Z]+|[${}_^]", "", part[0]) + "x", text))

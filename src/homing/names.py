"""What parameters are called in a text: by their places, theta[0] and so on, or by the names that they were given."""

from __future__ import annotations

import re
from collections.abc import Sequence

from homing.text import printable


def names_of(labels: Sequence[str] | None, dim: int) -> list[str]:
    """The parameters' names: what the problem calls them, or their places."""
    if not labels or len(labels) != dim:
        return [f"theta[{j}]" for j in range(dim)]
    return [printable(str(label), lines=False) for label in labels]


def named(text: str, labels: Sequence[str] | None) -> str:
    """A text that tells parameters by their places, with the names that the problem gives them.

    Example:
        >>> named("The data told nothing of theta[1].", ["mass", "spin"])
        'The data told nothing of spin.'
    """
    if not labels:
        return text
    names = names_of(labels, len(labels))
    return re.sub(
        r"theta\[(\d+)\]", lambda place: names[int(place[1])] if int(place[1]) < len(names) else place[0], text
    )

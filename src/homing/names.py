"""What parameters are called in a text: by their places, theta[0] and so on, or by the names that they were given."""

from __future__ import annotations

import re
from collections.abc import Sequence


def names_of(labels: Sequence[str] | None, dim: int) -> list[str]:
    """The parameters' names: what the problem calls them, or their places."""
    return list(labels) if labels and len(labels) == dim else [f"theta[{j}]" for j in range(dim)]


def named(text: str, labels: Sequence[str] | None) -> str:
    """A text that tells parameters by their places, with the names that the problem gives them.

    Example:
        >>> named("The data told nothing of theta[1].", ["mass", "spin"])
        'The data told nothing of spin.'
    """
    return re.sub(r"theta\[(\d+)\]", lambda place: labels[int(place[1])], text) if labels else text

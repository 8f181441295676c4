"""Texts that others wrote, in a terminal: what would move its cursor or turn a line around is shown as its code."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format, half of a character, separators of lines and paragraphs
_HARMLESS = {"\u00ad", "\u200c", "\u200d"}  # soft hyphens and joiners, which names and emoji are spelled with


def printable(text: str, lines: bool = True) -> str:
    """A text without control characters: each is shown as its code.

    Args:
        text: What somebody else may have written, for example a simulator, or a file.
        lines: Whether line ends and tabs stay, which a cell of a table must not have.

    Example:
        >>> print(printable("red \\x1b[31m, back\\r"))
        red \\x1b[31m, back\\r
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept or not _is_unseen(c) else _code(c) for c in text)


def printable_json(value: Any) -> Any:
    """JSON whose texts are all printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_json(part) for part in value]
    if isinstance(value, dict):
        return {printable(str(name)): printable_json(part) for name, part in value.items()}
    return value


def printable_texts(texts: np.ndarray) -> np.ndarray:
    """Texts, shape (n,), that are all printable; those given if they are."""
    odd = [row for row, text in enumerate(texts.tolist()) if not text.isprintable()]
    if not odd:
        return texts
    shown = texts.copy()
    shown[odd] = [printable(text) for text in texts[odd]]
    return shown


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN and character not in _HARMLESS


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode()

"""HTML from Python, in which every text is escaped unless it is HTML already.

Example:
    >>> tag("p", "5 < 6, ", tag("b", "really"), class_="note")
    '<p class="note">5 &lt; 6, <b>really</b></p>'
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from homing.text import printable

_VOID = {"meta", "link", "br"}


class Html(str):
    """Text that is HTML: `tag` takes it as it is."""

    __slots__ = ()


def escaped(content: Any) -> Html:
    """What was given as HTML: texts escaped, lists joined, None left out."""
    if isinstance(content, Html):
        return content
    if content is None:
        return Html()
    if isinstance(content, (list, tuple)):
        return Html("".join(map(escaped, content)))
    return Html(html.escape(printable(str(content))))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """An element.

    Args:
        name: Its name.
        *content: What it holds, escaped if it is not HTML.
        **attributes: By name; `class_` is class, other underscores are hyphens. True has no value, None and False are
            left out.
    """
    written = ""
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            written += f" {key}"
        elif value is not None and value is not False:
            written += f' {key}="{escaped(value)}"'
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{escaped(content)}</{name}>")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str, numbers: Sequence[int] = ()) -> Html:
    """A table that scrolls within itself where it is too wide.

    Args:
        head: The columns' headings.
        rows: The cells; the first of each row is its heading.
        caption: What it shows, for who cannot see it.
        numbers: The columns that hold numbers, which are aligned.
    """

    def cells(row: Sequence[Any]) -> Html:
        kinds = ["number" if k in numbers else None for k in range(len(row))]
        first = tag("th", row[0], scope="row", class_=kinds[0])
        return tag("tr", first, [tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:])])

    heads = [tag("th", cell, scope="col", class_="number" if k in numbers else None) for k, cell in enumerate(head)]
    body = tag("tbody", [cells(row) for row in rows])
    whole = tag("table", tag("caption", tag("span", caption, class_="unseen")), tag("thead", tag("tr", heads)), body)
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def code(text: str) -> Html:
    """A block of code, to be selected and copied."""
    return tag("pre", tag("code", text), class_="wide", tabindex=0)


def folded(summary: str, *content: Any, id_: str | None = None) -> Html:
    """What is shown when its summary is clicked."""
    return tag("details", tag("summary", summary), *content, id=id_)


def paragraph(*content: Any) -> Html:
    """A paragraph."""
    return tag("p", *content)

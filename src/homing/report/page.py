"""The page: one file that needs nothing else, readable on a phone, light or dark as its reader's machine is.

It loads nothing: no font, no script, no picture from anywhere, and its content policy forbids what a text in it might
ask for. Only the live page has a script, which asks the server that it came from for a newer one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, MutableMapping
from functools import cache
from importlib.resources import files
from typing import Any

from homing.report.html import Html, paragraph, tag
from homing.report.sections import head_section, made_section, posterior_section, rounds_section, verdict_section
from homing.report.simulations import simulations_section
from homing.report.story import Story

_LEARNED: tuple[Callable[[Story], Html], ...] = (posterior_section, rounds_section, verdict_section)


def page(story: Story, as_of: str, version: str | None = None, memory: MutableMapping[Any, Any] | None = None) -> str:
    """The page.

    Args:
        story: What it tells.
        as_of: When that was so.
        version: Of a live page, what tells it from another; None for a page that stays as it is.
        memory: Sections that were written before, by what they tell.
    """
    memory = {} if memory is None else memory
    told = repr((story.records, story.check, story.labels, story.missing, story.learned and story.learned.round))
    sections = []
    for write in _LEARNED:
        if memory.get(write, ("", ""))[0] != told:
            memory[write] = told, write(story)
        sections.append(memory[write][1])
    rest = [simulations_section(story), made_section(story)]
    main = tag("main", head_section(story), sections, rest, tag("footer", paragraph(f"As of {as_of}.")))
    return _document(story.name, main, version)


def notice(name: str, text: str, version: str) -> str:
    """A live page of one sentence."""
    return _document(name, tag("main", tag("header", tag("h1", name), paragraph(text)), tag("footer")), version)


def _document(title: str, main: Html, version: str | None) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(version is not None)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} - homing"),
        tag("style", Html(_text("page.css"))),
    )
    script = None if version is None else tag("script", Html(_text("page.js")))
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', main, script), lang='en', data_version=version)}\n"


def policy(live: bool) -> str:
    """The content policy: inline styles, pictures that are in the page, and no script but the live page's own."""
    allowed = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    if not live:
        return allowed
    digest = base64.b64encode(hashlib.sha256(_text("page.js").encode()).digest()).decode()
    return f"{allowed}; script-src 'sha256-{digest}'; connect-src 'self'"


@cache
def _text(name: str) -> str:
    return (files("homing.report") / name).read_text(encoding="utf-8")

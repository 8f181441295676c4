r"""The package's docstrings, as Sphinx wants them.

They are written to be read as they stand: `code` in single backticks, formulas as \( ... \) and \[ ... \]. Sphinx reads
docstrings as reStructuredText, where a backslash and a bar mean something else. And a module's docstring, which is its
mathematics and its source, becomes a section of a page by

    ```{mathematics} homing.posteriors
    hybrid
    tempered
    ```

for these modules of a room, and then for all others of it that name a source, so that none is forgotten; those behind a
minus are left out, and with `:only:` there are no others.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_FORMULA = re.compile(r"\\\((.+?)\\\)", re.DOTALL)
_DISPLAY = re.compile(r"\\\[(.+?)\\\]", re.DOTALL)
_LITERAL = re.compile(r"(`[^`]+`)", re.DOTALL)
_LINK = re.compile(r"(?<![(<])(https://\S+?)(?=[,.;)]*(?:\s|$))")
_STARRED = re.compile(r"\*(?=[\w ]+\)|\w+,)")  # the last axes of a shape, (n, *x_shape)
_SOURCE = re.compile(r"^(Sources?)( of [^:]+)?:\s", re.MULTILINE)


def _one_line(formula: re.Match[str]) -> str:
    return " ".join(formula[1].split())


def as_restructured_text(docstring: str) -> str:
    """A docstring whose formulas are roles, and whose bars and stars are no markup; examples stay as they are."""
    text, example, code = docstring.partition("Example:\n")
    formulas: list[str] = []

    def keep(formula: re.Match[str]) -> str:
        formulas.append(f":math:`{_one_line(formula)}`")
        return f"\0{len(formulas) - 1}\0"

    parts = _LITERAL.split(_FORMULA.sub(keep, text))
    text = "".join(part if part.startswith("`") else _STARRED.sub(r"\*", part.replace("|", r"\|")) for part in parts)
    return re.sub(r"\0(\d+)\0", lambda found: formulas[int(found[1])], text) + example + code


def as_markdown(docstring: str) -> str:
    """A module's docstring as a part of a Markdown page; indented blocks are code in both."""
    text = _DISPLAY.sub(lambda formula: f"$${_one_line(formula)}$$", docstring.partition("\nExample:\n")[0])
    text = _FORMULA.sub(lambda formula: f"${_one_line(formula)}$", text)
    body, *sources = re.split(r"(?m)^(?=Sources?(?: of [^:]+)?:)", text)
    sources = [" ".join(_SOURCE.sub(r"**\1\2.** ", part).split()) for part in sources]
    return _LINK.sub(r"<\1>", "\n\n".join([body, *sources]))


class Mathematics(SphinxDirective):
    """The docstrings of a room's modules that name a source, each as a section."""

    required_arguments = 1
    has_content = True
    option_spec = {"only": directives.flag}

    def run(self) -> list[nodes.Node]:
        room = importlib.import_module(self.arguments[0])
        listed = [line.strip() for line in self.content if line.strip()]
        first = [name for name in listed if not name.startswith("-")]
        prefix = f"{room.__name__}."
        names = [module.name.removeprefix(prefix) for module in pkgutil.walk_packages(room.__path__, prefix)]
        left = {name.removeprefix("-") for name in listed}
        others = [] if "only" in self.options else sorted(set(names) - left)
        sections = []
        for name in [*first, *others]:
            module = importlib.import_module(prefix + name)
            text = inspect.getdoc(module) or ""
            if name in first or _SOURCE.search(text):
                sections.append(self._section(module.__name__, as_markdown(text)))
        return sections

    def _section(self, name: str, text: str) -> nodes.section:
        heading, _, body = text.partition("\n\n")
        section = nodes.section(ids=[nodes.make_id(name)], names=[name])
        words, _ = self.state.inline_text(" ".join(heading.split()).rstrip("."), self.lineno)
        section += nodes.title("", "", *words)
        origin = nodes.paragraph("", "", nodes.literal("", name), classes=["origin"])
        section += origin
        self.state.nested_parse(StringList(body.splitlines(), source=name), 0, section)
        return section


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_restructured_text("\n".join(lines)).splitlines()


def skip(app: Sphinx, what: str, name: str, obj: Any, is_skipped: bool, options: Any) -> bool | None:
    """The fields of named tuples are in the docstring of the tuple."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
    app.add_directive("mathematics", Mathematics)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Tables that the package itself knows: `{rooms}`, the house's floors, and `{face}`, the names that `homing` has."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import homing

_TEST = Path(__file__).parents[2] / "tests" / "test_house.py"


def floors() -> list[set[str]]:
    """The rooms of each floor, the lowest first: from the test that holds them."""
    for node in ast.parse(_TEST.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return ast.literal_eval(node.value)
    raise LookupError(f"{_TEST} has no FLOORS")


def summary(value: Any) -> str:
    """The first sentence or so of a docstring."""
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


class Table(SphinxDirective):
    """Rows of text as a Markdown table."""

    heading: tuple[str, ...]

    def rows(self) -> list[tuple[str, ...]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        lines = [f"| {' | '.join(row)} |" for row in (self.heading, ["---"] * len(self.heading), *self.rows())]
        node = nodes.container()
        self.state.nested_parse(StringList(lines, source=type(self).__name__), 0, node)
        return node.children


class Rooms(Table):
    heading = ("floor", "room", "what it is")

    def rows(self) -> list[tuple[str, ...]]:
        self.env.note_dependency(str(_TEST))
        named = [
            (number, "homing" if room == "face" else f"homing.{room}")
            for number, rooms in reversed(list(enumerate(floors())))
            for room in sorted(rooms)
        ]
        return [
            (str(number), f"`{name}`", summary(importlib.import_module(name)))
            for number, name in named
            if importlib.util.find_spec(name)
        ]


class Face(Table):
    heading = ("name", "what it is")

    def rows(self) -> list[tuple[str, ...]]:
        return [
            (f"{{py:obj}}`homing.{name} <homing.{room}.{name}>`", summary(getattr(homing, name)))
            for name, room in sorted(homing._ROOMS.items(), key=lambda item: item[0].lower())
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rooms", Rooms)
    app.add_directive("face", Face)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

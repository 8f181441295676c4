"""Every command of `homing`, with its options, from the command line itself: `{commands}`."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Commands(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        from typer.main import get_command

        from homing.cli.app import app

        group: Any = get_command(app)
        return [self._section(name, command) for name, command in group.commands.items()]

    def _section(self, name: str, command: Any) -> nodes.section:
        section = nodes.section(ids=[f"homing-{name}"], names=[f"homing {name}"])
        section += nodes.title("", "", nodes.literal("", f"homing {name}"))
        text, _, example = (command.help or "").partition("Example: ")
        lines = [*text.strip().splitlines(), "", "```sh", example.strip(), "```", "", "| | |", "|---|---|"]
        lines += [f"| {_names(parameter)} | {_about(parameter)} |" for parameter in command.params]
        self.state.nested_parse(StringList(lines, source=f"homing {name}"), 0, section)
        return section


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name}`"
    taken = "" if parameter.is_flag else f" {parameter.metavar or parameter.type.name.upper()}"
    return ", ".join(f"`{name}{taken}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _about(parameter: Any) -> str:
    return " ".join((getattr(parameter, "help", "") or "").split()).replace("|", r"\|")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

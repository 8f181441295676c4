"""The commands of `homing`, and how each of them ends."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

import homing
from homing.cli.batches import ask, tell
from homing.cli.check import check
from homing.cli.failures import DONE, INTERRUPTED, USAGE, explain, wrapped
from homing.cli.looks import export, plot, report, sample, status, watch
from homing.cli.run import run
from homing.cli.template import init

_PIPE_CLOSED = 141  # as a shell tells of a program that was ended by SIGPIPE
_PANELS = {
    "From a simulator to a posterior": (init, run, check),
    "What a run file has": (status, sample, plot, export, report, watch),
    "Simulations that run elsewhere": (ask, tell),
}

app = typer.Typer(name="homing", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def homing_(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="With any command: show where an error came from.")] = False,
) -> None:
    """Infer the parameters of a simulator from one observation, in rounds.

    A problem file, problem.py, defines a simulator, a prior and an observation x_o. A run file, *.homing, keeps what
    was simulated and learned.

    Exit codes: 0 done, 1 no (check: do not believe; ask: nothing is left), 2 the command line, 3 the problem file,
    4 the run file, 5 simulations failed, 6 something is not installed, 70 a bug, 130 interrupted, 141 the pipe that
    it writes to was closed.
    """
    if version:
        print(f"homing {homing.__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


for _panel, _functions in _PANELS.items():
    for _function in _functions:
        app.command(rich_help_panel=_panel)(_function)


def run_app(arguments: Sequence[str]) -> int:
    """Run a command line, and return the exit code."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    with warnings.catch_warnings():
        _soften_warnings(debug)
        try:
            code = get_command(app).main([*arguments], "homing", standalone_mode=False, obj=arguments)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # the second is what typer makes of the first
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
            return _PIPE_CLOSED
        except KeyboardInterrupt:
            print("homing: interrupted.", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            return _usage(error) if hasattr(error, "format_message") else explain(error, debug)
    return code if isinstance(code, int) else DONE


def _usage(error: Any) -> int:
    """Say what is wrong with the command line."""
    context = getattr(error, "ctx", None)
    path = "homing" if context is None else context.command_path
    text = error.format_message().rstrip(".")
    print(wrapped(f"homing: {text}{'' if text.endswith('?') else '.'} Try: {path} --help"), file=sys.stderr)
    return USAGE


def _soften_warnings(debug: bool) -> None:
    """Have warnings printed as a person reads them, unless one looks for errors."""

    def show(message: Any, category: Any, filename: str, line: int, *_: Any) -> None:
        place = "" if issubclass(category, UserWarning) else f" ({Path(filename).name}, line {line})"
        print(wrapped(f"Note: {message}{place}"), file=sys.stderr)

    if not debug:
        warnings.showwarning = show

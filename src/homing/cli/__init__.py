"""The command line, `homing`: what `homing.inference` does, for a problem file and a run file.

    homing init                        writes problem.py, a problem file to start from
    homing run problem.py              simulates and learns, and goes on where it stopped
    homing plot problem.homing         draws the posterior

Each command imports what it needs when it runs, so that asking for help is quick. What it prints for a person goes to
standard output if it is the result, to standard error if it tells how things go.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from homing.errors import MissingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: What follows `homing`; None takes it from the process.

    Returns:
        The exit code: 0 done; 1 no, as an answer; 2 the command line, 3 the problem file or 4 the run file cannot be
        used; 5 simulations failed; 6 something is not installed; 70 a bug; 130 interrupted; 141 the pipe that it
        writes to was closed.
    """
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print(f"homing: {MissingError.of('the command line', 'typer', 'cli')}", file=sys.stderr)
        return 6
    from homing.cli.app import run_app

    return run_app(sys.argv[1:] if arguments is None else arguments)

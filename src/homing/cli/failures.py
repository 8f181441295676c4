"""What went wrong, in one sentence, and the exit code that tells a script which kind it was."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import traceback
from pathlib import Path

from homing.errors import HomingError
from homing.text import printable

DONE, NO, USAGE, PROBLEM, RUN_FILE, SIMULATIONS, MISSING, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 70, 130

# A class by its name, so that nothing has to be imported to tell; the first name in an error's ancestry decides.
_CODES = {
    "ProblemError": PROBLEM,
    "PriorError": PROBLEM,
    "ObservationError": PROBLEM,
    "OutputError": USAGE,
    "RunFileError": RUN_FILE,
    "StoreError": RUN_FILE,
    "NotTrainedError": RUN_FILE,
    "SimulationError": SIMULATIONS,
    "ImportError": MISSING,
    "HomingError": USAGE,
    "OSError": USAGE,
}
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?P<frames>(?:[ \t].*\n)+)(?P<error>\S.*)")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class ProblemError(HomingError, ValueError):
    """A problem file cannot be used."""


class RunFileError(HomingError, ValueError):
    """A run file is not there, or not what is asked for."""


class FileError(HomingError, ValueError):
    """A file cannot be read or written as what it is meant to be."""


def exit_code(error: BaseException) -> int:
    """The exit code for an error."""
    return next((_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), BUG)


def explain(error: BaseException, debug: bool) -> int:
    """Say on standard error what went wrong, and return the exit code for it."""
    code = exit_code(error)
    if debug:
        traceback.print_exception(error)
    print(wrapped(f"homing: {sentence(error)}"), file=sys.stderr)
    return code


def sentence(error: BaseException) -> str:
    """An error's message without the traceback that it may hold, of which the last line and place stay.

    Example:
        >>> frames = 'Traceback (most recent call last):\\n  File "/a/sim.py", line 3, in f\\n    1 / 0\\n'
        >>> sentence(HomingError(f"Row 0 failed:\\n{frames}ValueError: bad\\nGo on."))
        'Row 0 failed: ValueError: bad (sim.py, line 3). Go on.'
    """
    text, code = str(error), exit_code(error)
    if code == MISSING:
        package = (getattr(error, "name", None) or "homing").partition(".")[0]
        known = isinstance(error, ModuleNotFoundError) and package != "homing"
        return f"{text.rstrip('.')}. Install it to use this: pip install {package}" if known else text
    if isinstance(error, OSError) and not isinstance(error, HomingError):
        return f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."
    if code == BUG:
        kind = f"{type(error).__name__}: {text}".rstrip(": ")
        return f"something went wrong that should not: {kind}. The same command with --debug says where."
    return in_one_line(_TRACEBACK.sub(_last_line, text))


def in_one_line(text: str) -> str:
    """Lines as sentences, indented ones as a list.

    Example:
        >>> in_one_line("Another run:\\n  seed: 1, not 2\\n  x_o: 3, not 4\\nChoose a new file.")
        'Another run: seed: 1, not 2; x_o: 3, not 4. Choose a new file.'
    """
    whole = ""
    for line in filter(str.strip, text.split("\n")):
        if whole and not whole.endswith((".", ":", ";", "?", "!")):
            whole += ";" if line.startswith("  ") else "."
        whole += f" {line.strip()}"
    return whole.strip()


def place(error: BaseException, path: Path) -> str:
    """Where in a file an error came from: the innermost line of it, or of what it calls if it has none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename) == path] or frames
    return f"{Path(mine[-1].filename).name}, line {mine[-1].lineno}"


def check_there(path: Path) -> None:
    """Make sure that there is a run file.

    Raises:
        RunFileError: If there is none.
    """
    if not path.is_file():
        raise RunFileError(f"{path} is not there. A run file is made by homing run or homing ask.")


def wrapped(text: str) -> str:
    """The text without control characters, in lines that a terminal's width holds, if there is one to read it on."""
    text = printable(text)
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = (textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join(lines)


def _last_line(match: re.Match[str]) -> str:
    *_, frame = _FRAME.finditer(match["frames"])
    return f"{match['error'].rstrip('.')} ({Path(frame['file']).name}, line {frame['line']})."

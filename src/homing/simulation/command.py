"""Programs in any language as simulators."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError, SimulationError

_PLACEHOLDERS = ("theta_file", "out_file", "seed", "theta")
_LONGEST_OUTPUT = 2000  # characters of a failed program's output that are shown


def command(
    line: str, *, theta_file: str = "theta.csv", out_file: str = "x.csv", timeout: float | None = None
) -> Command:
    """A program as a simulator: it gets one theta a call and gives back data, by files or standard streams.

    The line is divided into arguments as a shell would, but no shell sees it: quotes group, while `*`, `|` and `$` mean
    nothing. In each argument these are filled in:

    - `{theta_file}`: a file that holds theta; `{theta[0]}`: one of its parameters. With neither, theta comes on
      standard input.
    - `{out_file}`: a file for the data, written by the program. Without it, they are read from standard output.
    - `{seed}`: an integer below 2**31, different for each simulation.

    `{{` and `}}` stand for braces. The files live in a directory made for the call. Formats go by suffix, also on the
    streams: `.csv` (numbers separated by commas or blanks; one line or one column is a vector, more are a matrix),
    `.json` (a number or nested lists) and `.npy`.

    Args:
        line: The command line, for example `"./sim {theta_file} {out_file} --seed {seed}"`.
        theta_file: The file's name, whose suffix is the format of theta.
        out_file: The file's name, whose suffix is the format of the data.
        timeout: Seconds after which the program and what it started are killed; the simulation is then timed out.

    Returns:
        A function of (theta, seed), theta of shape (d,), to be used as any simulator. It raises SimulationError with
        the exit code and the last of standard error where the program fails.

    Raises:
        ArgumentError: If the line is empty, cannot be divided, or has an unknown placeholder; if a suffix is unknown.

    Example:
        >>> double = command('''python3 -c "print(2 * float(input()))"''')
        >>> double(np.array([1.5]), seed=0)
        array([3.])
    """
    try:
        arguments = tuple(shlex.split(line))
        fields = [
            field for argument in arguments for _, field, _, _ in Formatter().parse(argument) if field is not None
        ]
    except ValueError as error:
        raise ArgumentError(f"command: {line!r} cannot be divided into arguments: {error}.") from error
    if not arguments:
        raise ArgumentError('command: the line is empty; expected for example "./sim {theta_file} {out_file}".')
    names = {field.partition("[")[0] for field in fields}
    unknown = sorted(names - set(_PLACEHOLDERS))
    if unknown or "theta" in fields:
        found = "{" + (unknown or ["theta"])[0] + "}"
        raise ArgumentError(
            f"command: unknown placeholder {found} in {line!r}; expected {{theta_file}}, {{theta[0]}} (and so on), "
            "{out_file} or {seed}. Write {{ and }} for braces."
        )
    for name, file in (("theta_file", theta_file), ("out_file", out_file)):
        if Path(file).suffix not in _READERS or Path(file).name != file:
            raise ArgumentError(f"command: {name} must be a file name ending in {', '.join(_READERS)}, found {file!r}.")
    if timeout is not None and not timeout > 0:
        raise ArgumentError(f"command: timeout must be positive, found {timeout}.")
    return Command(arguments, frozenset(names), theta_file, out_file, timeout)


@dataclass(frozen=True)
class Command:
    """A program as a function of (theta, seed); see `command`."""

    arguments: tuple[str, ...]
    placeholders: frozenset[str]
    theta_file: str
    out_file: str
    timeout: float | None

    def __call__(self, theta: Any, seed: int) -> np.ndarray:
        theta = to_numpy(theta, "theta").astype(float)
        if theta.ndim != 1:
            raise ShapeError(f"A command simulates one theta of shape (d,) at a time, found shape {theta.shape}.")
        with tempfile.TemporaryDirectory(prefix="homing-") as directory:
            files = {"theta_file": Path(directory, self.theta_file), "out_file": Path(directory, self.out_file)}
            values = {**files, "seed": seed, "theta": [repr(float(value)) for value in theta]}
            try:
                arguments = [argument.format(**values) for argument in self.arguments]
            except (IndexError, TypeError) as error:
                raise ArgumentError(
                    f"command: {shlex.join(self.arguments)!r} names a parameter that theta, with {len(theta)} of them "
                    "numbered from 0, does not have."
                ) from error
            given = _WRITERS[files["theta_file"].suffix](theta)
            if "theta_file" in self.placeholders:
                files["theta_file"].write_bytes(given)
            by_stream = not {"theta_file", "theta"} & self.placeholders
            printed, complaint = _run(arguments, given if by_stream else b"", self.timeout)
            if "out_file" not in self.placeholders:
                return _parsed(printed, files["out_file"].suffix, arguments[0], "standard output", complaint)
            if not files["out_file"].exists():
                raise SimulationError(f"{arguments[0]} ended well but wrote no {self.out_file}.{_shown(complaint)}")
            return _parsed(
                files["out_file"].read_bytes(), files["out_file"].suffix, arguments[0], self.out_file, complaint
            )


def _run(arguments: list[str], given: bytes, timeout: float | None) -> tuple[bytes, bytes]:
    """What the program printed on standard output and standard error.

    It runs in a session of its own: a Ctrl-C in the terminal does not reach it, and what it started ends with it.
    """
    try:
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise SimulationError(
            f"{arguments[0]} cannot be started from {os.getcwd()}: {error.strerror}. Is it there, and executable?"
        ) from error
    with process:
        try:
            printed, complaint = process.communicate(given, timeout)
        except BaseException:
            _kill(process)
            raise
    if process.returncode:
        code = process.returncode
        how = f"exited with code {code}" if code > 0 else f"was killed by signal {-code} ({signal.strsignal(-code)})"
        raise SimulationError(f"{shlex.join(arguments)} {how}.{_shown(complaint)}")
    return printed, complaint


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _shown(complaint: bytes) -> str:
    text = complaint.decode(errors="replace").strip()[-_LONGEST_OUTPUT:]
    return f" Standard error:\n{text}" if text else " It printed nothing on standard error."


def _parsed(content: bytes, suffix: str, program: str, where: str, complaint: bytes) -> np.ndarray:
    try:
        return _READERS[suffix](content)
    except Exception as error:
        start = content[:100].decode(errors="replace")
        raise SimulationError(
            f"{program} gave no data in {suffix} format on {where}: {error}. It begins {start!r}.{_shown(complaint)}"
        ) from error


def _read_csv(content: bytes) -> np.ndarray:
    lines = [line.replace(",", " ").split() for line in content.decode().splitlines()]
    table = np.array([[float(word) for word in words] for words in lines if words])
    return table.ravel() if 1 in table.shape else table


def _write_npy(theta: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, theta)
    return file.getvalue()


_READERS: dict[str, Callable[[bytes], np.ndarray]] = {
    ".csv": _read_csv,
    ".json": lambda content: to_numpy(json.loads(content)),
    ".npy": lambda content: np.load(io.BytesIO(content), allow_pickle=False),
}
_WRITERS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".csv": lambda theta: (",".join(repr(float(value)) for value in theta) + "\n").encode(),
    ".json": lambda theta: json.dumps(theta.tolist()).encode(),
    ".npy": _write_npy,
}

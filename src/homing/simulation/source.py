"""What a simulator's code says without being run: a digest of what it does, and generators that it makes in each call.

The digest is of the instructions that a call may reach and of the numbers, texts and arrays that they find; comments,
names of variables, docstrings and layout do not matter to it. It is of one version of Python.
"""

from __future__ import annotations

import dis
import hashlib
import platform
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import CodeType
from typing import Any

from homing.arrays import library_of, to_numpy
from homing.simulation.command import Command
from homing.simulation.generators import can_be_seeded, changing_keys
from homing.simulation.reach import Reached, reach

_LARGEST_FILE = 2**26
_IDLE = ("CACHE", "PUSH_NULL", "PRECALL", "EXTENDED_ARG", "RESUME", "NOP", "KW_NAMES", "COPY_FREE_VARS", "MAKE_CELL")
_FRESH = ("default_rng", "RandomState", "SeedSequence", "PCG64", "Philox", "MT19937", "SFC64", "SystemRandom")
_RANDOM = re.compile(
    "rand|rng|seed|key|noise|normal|uniform|gauss|poisson|binomial|gamma|beta|expo|choice|sampl|shuffle|permut|draw|urandom"
    "|secrets|stoch|rvs|generat",
    re.IGNORECASE,
)
_SEEDED = (*_FRESH, "Random", "seed", "manual_seed", "PRNGKey", "key")


def digest(function: Any) -> str:
    """A digest of what a function does, as far as it can be reached; begins with the version of Python."""
    found, content = reach(function), hashlib.sha256()
    for code, _, _ in found.codes:
        for one in dis.get_instructions(code):
            if one.opname not in _IDLE:
                local = "FAST" in one.opname or isinstance(one.argval, CodeType)
                content.update(f"{one.opname} {one.arg if local else _text(one.argval)}\n".encode())
    for value in found.plain:
        content.update(_text(value).encode())
    for part in _files(function):
        content.update(part.read_bytes())
    return f"{'.'.join(platform.python_version_tuple()[:2])} {content.hexdigest()}"


def _text(value: Any) -> str:
    if library_of(value) is not None and value.dtype != object:
        value = to_numpy(value)
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(repr, value)))
    return repr(value)


def _files(function: Any) -> Iterator[Path]:
    """The program and the files that a command line names."""
    for k, argument in enumerate(function.arguments if isinstance(function, Command) else ()):
        path = Path((shutil.which(argument) if k == 0 else None) or argument)
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            yield path


def same_noise(function: Any) -> str:
    """Where each call begins with the same random numbers, as far as its code tells, in words; else empty."""
    found = reach(function)
    calls = [f"{call} in {code.co_name}" for code, call in _calls(found, fixed=True)]
    changing = {id(slot.holder): slot.name for slot in changing_keys(found)}
    calls += [f"the JAX key {slot.name}" for slot in found.keys if changing.get(id(slot.holder)) != slot.name]
    return ", ".join(dict.fromkeys(calls))


def fresh_noise(function: Any) -> str:
    """Where calls draw from a generator that no seed decides, as far as the code tells, in words; else empty."""
    found = reach(function)
    calls = [f"{call} in {code.co_name}" for code, call in _calls(found, fixed=False)]
    calls += [type(one).__name__ for one in found.generators if not can_be_seeded(one)]
    return ", ".join(dict.fromkeys(calls))


def looks_noiseless(function: Any) -> bool:
    """Whether nothing that a call may reach has a name of random numbers, or holds a generator."""
    found = reach(function)
    if isinstance(function, Command) or found.generators or found.keys:
        return False
    names = {name for code, _, _ in found.codes for name in (*code.co_names, *code.co_freevars)}
    loaded = {
        str(one.argval) for code, _, _ in found.codes for one in dis.get_instructions(code) if "LOAD" in one.opname
    }
    return bool(found.codes) and not any(_RANDOM.search(name) for name in names | loaded)


def _calls(found: Reached, fixed: bool) -> Iterator[tuple[CodeType, str]]:
    """Calls that make or seed a generator: by a constant, or by nothing."""
    for code, names, held in found.codes:
        if code.co_name == "__init__":
            continue
        steps = [one for one in dis.get_instructions(code) if one.opname not in _IDLE]
        for first, second in pairwise(steps):
            name = first.argval if first.opname.startswith("LOAD_") else None
            if fixed and name in _SEEDED and isinstance(name, str):
                number = _constant(second, names, held)
                if number is not None:
                    yield code, f"{name}({number})"
            elif not fixed and name in _FRESH and second.opname == "CALL" and second.arg == 0:
                yield code, f"{name}()"


def _constant(step: dis.Instruction, names: dict[str, Any], held: dict[str, Any]) -> int | None:
    value = None
    if step.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
        value = step.argval
    elif step.opname == "LOAD_GLOBAL":
        value = names.get(step.argval)
    elif step.opname == "LOAD_DEREF":
        value = held.get(step.argval)
    return value if isinstance(value, int) and not isinstance(value, bool) else None

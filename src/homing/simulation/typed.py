"""JSON out of a file as what it is meant to be: a stranger may have written anything in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from homing.errors import HomingError
from homing.simulation.keeper import StoreError
from homing.text import printable_json

Made = TypeVar("Made")
_LARGEST = 2**63


def from_json(cls: type[Made], content: Any) -> Made:
    """A dataclass of plain values from JSON, each value checked; texts without control characters.

    Args:
        cls: The dataclass.
        content: What is to be its fields, by name; those that have a default may be missing.

    Raises:
        StoreError: If a field is missing, unknown or of another type.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Counted:
        ...     count: int
        >>> from_json(Counted, {"count": 3}).count
        3
    """
    hints = _hints(cls)
    needed = {field.name for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING}  # type: ignore[arg-type]
    if not isinstance(content, dict) or not needed <= content.keys() <= hints.keys():
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise StoreError(
            f"Something stored is damaged, or of a newer homing: {cls.__name__} has the fields {sorted(hints)}, found "
            f"{found}."
        )
    for name, value in content.items():
        check_type(value, hints[name], f"{cls.__name__}.{name}")
    return cls(**printable_json(content))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def check_type(value: Any, kind: Any, name: str) -> None:
    """Make sure that JSON is of a type: a plain one, a Literal, a list, a dict by texts, or a union of these.

    Raises:
        StoreError: If it is not; says what was found.
    """
    if not _is_of(value, kind):
        raise StoreError(
            f"Something stored is damaged, or of a newer homing: {name} should be {_named(kind)}, found "
            f"{_brief(value)}."
        )


@contextmanager
def understood(path: object) -> Iterator[None]:
    """Whatever else goes wrong while a file's content is used is an error of the package, and says of which file."""
    try:
        yield
    except (HomingError, OSError, ImportError):
        raise
    except Exception as error:
        raise StoreError(
            f"{path} could not be used: {error!r}. It is damaged, or comes from somebody who wrote what homing does "
            "not; if you trust it, this is a mistake in homing. Restore it from a copy."
        ) from error


def _is_of(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is_of(value, each) for each in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is list:
        return isinstance(value, list) and all(_is_of(part, arguments[0]) for part in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(part, arguments[1]) for part in value.values())
    if isinstance(value, int) and not isinstance(value, bool) and not -_LARGEST <= value < _LARGEST:
        return False
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, NoneType if kind is None else kind) and (kind is bool or not isinstance(value, bool))


def _named(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind) if get_origin(kind) is None else str(kind)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."

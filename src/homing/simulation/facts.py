"""What makes a run this run, as JSON that can be compared."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from homing.errors import ArgumentError
from homing.simulation.typed import check_type

_CALL = {"arguments": dict[str, str], "imports": list[str], "own": dict[str, str]}
_TYPES: dict[str, Any] = {
    **{"seed": int, "simulation_batch_size": int, "batched": bool | None, "simulator": str},
    **dict.fromkeys(("settings", "prior", "call", "call of ", "run from round "), dict[str, Any]),
    **{"versions": list[dict[str, str]], "labels": list[Any] | str | None, "plan of ": list[int]},
}
_STARTS = ("call of ", "plan of ", "run from round ")
_WITHIN: dict[str, dict[str, Any]] = {  # what readers take out of them
    **{"call": _CALL, "call of ": _CALL, "prior": {"description": str}, "settings": {"method": str | None}},
    "run from round ": {"x_o": list[Any], "num_simulations": int, "num_rounds": int | None, "proposal": str},
}
_MADE_OF = ("jax", "equinox", "flowjax", "optax", "numpy", "scipy")


def versions() -> dict[str, str]:
    """What a run is computed with, by name: homing, Python, the packages below, and the platform."""
    own = {"homing": sys.modules["homing"].__version__, "Python": platform.python_version()}
    return own | {name: version(name) for name in _MADE_OF} | {"platform": platform.platform()}


def to_json(value: Any, name: str) -> str:
    """Canonical JSON of plain values and arrays.

    Raises:
        ArgumentError: If it holds anything else.

    Example:
        >>> to_json({"b": np.zeros(2), "a": (1, np.float64(0.5))}, "settings")
        '{"a": [1, 0.5], "b": [0.0, 0.0]}'
    """

    def plain(part: Any) -> Any:
        if isinstance(part, (np.ndarray, np.generic)) and part.dtype.kind in "biufU":
            return part.tolist()
        raise TypeError(f"{type(part).__name__} is not JSON")

    try:
        return json.dumps(value, default=plain, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name} must consist of numbers, texts, lists, dictionaries and arrays: {error}."
        ) from error


def check_facts(facts: Mapping[str, Any]) -> None:
    """Make sure that the facts which homing itself writes are of the types that its readers expect.

    Raises:
        StoreError: If one is not.
    """
    for name, value in facts.items():
        first = next((start for start in _STARTS if name.startswith(start)), name)
        check_type(value, _TYPES.get(first, Any), name)
        for inner, kind in _WITHIN.get(first, {}).items():
            check_type(value.get(inner), kind, f"{name}: {inner}")


def differences(name: str, kept: str, found: str) -> Iterator[str]:
    """Where two JSON texts differ, one line each."""
    if kept == found:
        return
    a, b = json.loads(kept), json.loads(found)
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            texts = [to_json(side[key], key) if key in side else "nothing" for side in (a, b)]
            if "nothing" in texts and texts[0] != texts[1]:
                yield f"{name}.{key}: it has {_short(texts[0])}, this run {_short(texts[1])}"
            else:
                yield from differences(f"{name}.{key}", *texts)
    else:
        yield f"{name}: it has {_short(kept)}, this run {_short(found)}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:60] + " ... " + text[-15:]

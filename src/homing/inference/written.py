"""Values as the code that makes them again: what a run file keeps of how a run was called, for who repeats it.

What the package itself offers is written out, what differs from its defaults alone. What is the user's own, a function
or an executor, has no code here: it becomes a name, beside what it was.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homing.arrays import NUMPY, Kind, library_of, to_numpy
from homing.priors import BoxUniform
from homing.priors.box import Uniform

_MOST_NUMBERS = 256  # of an array that is written out


def written(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The code of a call's arguments, as JSON.

    Args:
        arguments: The values, by name; None is left out.

    Returns:
        `arguments`, the code by name; `imports`, the modules that it needs; `own`, what the user must bring, by the
        name that the code has for it: where it came from.

    Example:
        >>> from homing.estimators import posterior_nn
        >>> written({"density_estimator": posterior_nn("nsf", embedding_net=len)})["arguments"]
        {'density_estimator': "homing.estimators.PosteriorBuilder(model='nsf', embedding_net=embedding_net)"}
    """
    writer = _Writer()
    code = {name: writer.code(value, name) for name, value in arguments.items() if value is not None}
    return {"arguments": code, "imports": sorted(writer.imports), "own": writer.own}


class _Writer:
    """Writes values, and notes what their code needs."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.own: dict[str, str] = {}

    def code(self, value: Any, name: str) -> str:
        """The value's code; `name` is what it is called if it has none."""
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not np.isfinite(value):
            return f'float("{value}")'
        if value is None or isinstance(value, (bool, int, float, str)):
            return repr(value)
        if isinstance(value, Path):
            return repr(str(value))
        if isinstance(value, (list, tuple)):
            inner = ", ".join(self.code(part, name) for part in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{key!r}: {self.code(part, str(key))}' for key, part in value.items())}}}"
        return self._made(value, name) or self._brought(value, name)

    def _made(self, value: Any, name: str) -> str | None:
        if library_of(value) is not None and hasattr(value, "shape") and hasattr(value, "dtype"):
            array = to_numpy(value, name)
            if array.size > _MOST_NUMBERS or array.dtype.kind not in "biuf":
                return None
            dtype = str(value.dtype).removeprefix("torch.")
            return self._array(array, Kind(library_of(value) or "numpy", dtype, str(getattr(value, "device", None))))
        box = value.prior if type(value) is BoxUniform else value
        if isinstance(box, Uniform):
            self.imports.add("homing")
            return f"homing.BoxUniform({', '.join(self._bound(bound, box.kind) for bound in (box.low, box.high))})"
        return self._distribution(value, name) or self._described(value)

    def _bound(self, bound: np.ndarray, kind: Kind) -> str:
        return self.code(bound.tolist(), "") if kind == NUMPY else self._array(bound, kind)

    def _array(self, array: np.ndarray, kind: Kind) -> str:
        numbers = self.code(array.tolist(), "")
        if kind.library == "torch":
            self.imports.add("torch")
            where = "" if kind.device == "cpu" else f", device={kind.device!r}"
            return f"torch.tensor({numbers}, dtype=torch.{kind.dtype}{where})"
        library = "jax.numpy" if kind.library == "jax" else "numpy"
        self.imports.add(library)
        return f'{library}.array({numbers}, dtype="{kind.dtype}")'

    def _distribution(self, value: Any, name: str) -> str | None:
        """A frozen distribution of scipy.stats."""
        stats = sys.modules.get("scipy.stats")
        if stats is None or not type(value).__module__.startswith("scipy.stats"):
            return None
        if type(value).__name__ == "multivariate_normal_frozen":
            family, args, named = "multivariate_normal", (np.array(value.mean), np.array(value.cov)), {}
        elif hasattr(value, "dist") and hasattr(stats, value.dist.name):
            family, args, named = value.dist.name, value.args, value.kwds
        else:
            return None
        self.imports.add("scipy.stats")
        parts = [self.code(part, name) for part in args]
        return f"scipy.stats.{family}({', '.join([*parts, *self._named(named)])})"

    def _described(self, value: Any) -> str | None:
        """A description of the package's, by the fields that differ from their defaults."""
        cls = type(value)
        room = ".".join(cls.__module__.split(".")[:2])
        if not is_dataclass(value) or getattr(sys.modules.get(room), cls.__name__, None) is not cls:
            return None
        if not room.startswith("homing."):
            return None
        self.imports.add(room)
        given = {known.name: getattr(value, known.name) for known in fields(value) if known.init}
        changed = {known.name: given[known.name] for known in fields(value) if known.init and _differs(known, given)}
        return f"{room}.{cls.__name__}({', '.join(self._named(changed))})"

    def _named(self, arguments: Mapping[str, Any]) -> list[str]:
        return [f"{name}={self.code(value, name)}" for name, value in arguments.items()]

    def _brought(self, value: Any, name: str) -> str:
        """What only the user has."""
        base = name if name.isidentifier() else "value"
        names = (base if k == 1 else f"{base}_{k}" for k in range(1, len(self.own) + 2))
        free = next(name for name in names if name not in self.own)
        known: Any = value if hasattr(value, "__qualname__") else type(value)
        self.own[free] = f"{known.__module__}.{known.__qualname__}"
        return free


def _differs(known: Field[Any], given: Mapping[str, Any]) -> bool:
    default = known.default if known.default_factory is MISSING else known.default_factory()
    value = given[known.name]
    return type(default) is not type(value) or bool(default != value)

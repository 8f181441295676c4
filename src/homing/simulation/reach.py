"""What a function can reach: the functions, objects and random generators behind a simulator, found without a call.

From a function to its closure, defaults, attributes and the globals that its code names; from an object to its
attributes, its class and the object that a method is bound to; into partials, wrapped functions, lists and
dictionaries; into modules by the names that code uses. Code of Python's library and of numerical packages is left
alone, what users put into their objects is not. In the order in which things are met, which is the same in every
process, and no further than a bound.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from types import CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from homing.arrays import library_of

_MOST_OBJECTS = 5000
_MOST_ITEMS = 100  # of a list or a dictionary
_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.ndarray, np.generic, np.dtype, PurePath)
_PACKAGES = sys.stdlib_module_names | {
    *("numpy", "scipy", "torch", "jax", "jaxlib", "homing", "equinox", "numba", "pandas", "sklearn", "sympy", "cupy"),
    *("cloudpickle", "joblib", "loky", "dask", "distributed", "numpyro", "matplotlib", "tensorflow", "xarray", "h5py"),
}


class Slot(NamedTuple):
    """Where a value is held: a name of a dictionary (attributes, globals), or a closure's cell.

    Attributes:
        holder: The dictionary or the cell.
        name: The name.
    """

    holder: Any
    name: str

    def get(self) -> Any:
        return self.holder[self.name] if isinstance(self.holder, dict) else self.holder.cell_contents

    def set(self, value: Any) -> None:
        if isinstance(self.holder, dict):
            self.holder[self.name] = value
        else:
            self.holder.cell_contents = value


@dataclass
class Reached:
    """What is reached.

    Attributes:
        codes: The code that may run in a call, each once, with its globals, and what its closure holds by name.
        plain: Numbers, texts and arrays, in the order in which they are met.
        generators: NumPy's, Python's and torch's generators that are not the process's global ones, each once.
        keys: Where JAX keys are held.
        stored: Names that code sets.
        whole: Whether everything was looked at.
    """

    codes: list[tuple[CodeType, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    plain: list[Any] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)
    keys: list[Slot] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    whole: bool = True


def reach(function: Any) -> Reached:
    """What a function can reach."""
    found = Reached()
    seen: dict[int, Any] = {}
    waiting: deque[tuple[Any, Slot | None]] = deque([(function, None)])
    while waiting:
        value, slot = waiting.popleft()
        if isinstance(value, _PLAIN):
            found.plain.append(value)
            continue
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if len(seen) > _MOST_OBJECTS:
            found.whole = False
            break
        if is_key(value):
            if slot is not None:
                found.keys.append(slot)
        elif is_generator(value):
            if not _is_global(value):
                found.generators.append(value)
        else:
            try:
                if hasattr(value, "shape") and hasattr(value, "dtype") and library_of(value) is not None:
                    found.plain.append(value)
                else:
                    waiting.extend(_parts(value, found))
            except Exception:  # attributes that are computed may raise anything
                found.whole = False
    return found


def is_generator(value: Any) -> bool:
    """Whether it is a random generator of NumPy, Python or torch."""
    torch = sys.modules.get("torch")
    kinds = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
    return isinstance(value, kinds) or (torch is not None and isinstance(value, getattr(torch, "Generator", ())))


def is_key(value: Any) -> bool:
    """Whether it is a JAX key, typed or raw."""
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(value, getattr(jax, "Array", ())):
        return False
    return jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key) or (str(value.dtype), value.shape) == (
        "uint32",
        (2,),
    )


def _is_global(value: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    legacy: Any = np.random.mtrand._rand  # type: ignore[attr-defined]
    own = (legacy, legacy._bit_generator, random._inst, getattr(torch, "default_generator", None))  # type: ignore[attr-defined]
    return any(value is one for one in own)


def _parts(value: Any, found: Reached) -> Iterator[tuple[Any, Slot | None]]:
    if isinstance(value, ModuleType):
        return
    if isinstance(value, FunctionType):
        yield from _of_function(value, found)
    elif isinstance(value, MethodType):
        yield value.__self__, None
        yield value.__func__, None
    elif isinstance(value, type):
        if not _is_of_package(value):
            for part in vars(value).values():
                yield getattr(part, "__func__", getattr(part, "fget", part)), None
            for base in value.__bases__:
                yield base, None
    elif isinstance(value, dict):
        yield from ((part, Slot(value, name)) for name, part in islice(value.items(), _MOST_ITEMS))
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from ((part, None) for part in islice(value, _MOST_ITEMS))
    elif isinstance(value, GeneratorType):
        if value.gi_frame is not None:
            yield value.gi_frame.f_locals, None
    else:
        yield from _of_object(value)


def _of_object(value: Any) -> Iterator[tuple[Any, Slot | None]]:
    for name in ("func", "args", "keywords") if type(value).__module__ == "functools" else ():  # a partial
        yield getattr(value, name, None), None
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        caches = _is_of_package(type(value))  # in what is private, also numbers that come and go
        for name, part in list(attributes.items()):
            if not (caches and name.startswith("_") and isinstance(part, _PLAIN)):
                yield part, Slot(attributes, name)
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield getattr(value, name, None), None
    if not isinstance(attributes, dict):  # a compiled function's own
        yield getattr(value, "__wrapped__", None), None
    bound = getattr(value, "__self__", None)
    if bound is not None and not isinstance(bound, ModuleType):  # a built-in method's
        yield bound, None
    yield type(value), None


def _of_function(function: FunctionType, found: Reached) -> Iterator[tuple[Any, Slot | None]]:
    if _is_of_package(function):
        return
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    held = {name: cell.cell_contents for name, cell in cells.items() if _is_filled(cell)}
    names: dict[str, None] = {}
    for code in codes_of(function.__code__):
        found.codes.append((code, function.__globals__, held))
        found.stored.update(_stored(code))
        names.update(dict.fromkeys(code.co_names))
    yield from ((part, Slot(cells[name], name)) for name, part in held.items())
    yield function.__defaults__, None
    yield function.__kwdefaults__, None
    yield function.__dict__, None
    for name in names:
        if name in function.__globals__:
            yield from _of_name(function.__globals__, name, names, 0)


def _of_name(holder: dict[str, Any], name: str, names: dict[str, None], depth: int) -> Iterator[tuple[Any, Slot]]:
    """A global, or what is named of a module that is one."""
    value = holder[name]
    if not isinstance(value, ModuleType):
        yield value, Slot(holder, name)
    elif value.__name__.partition(".")[0] not in _PACKAGES and depth < 4:
        for inner in names:
            if inner in vars(value):
                yield from _of_name(vars(value), inner, names, depth + 1)


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def _stored(code: CodeType) -> Iterator[str]:
    import dis

    if code.co_name != "__init__":
        yield from (one.argval for one in dis.get_instructions(code) if one.opname.startswith("STORE_"))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _is_of_package(value: Any) -> bool:
    return (getattr(value, "__module__", None) or "").partition(".")[0] in _PACKAGES

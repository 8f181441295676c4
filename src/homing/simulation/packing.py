"""A simulator on its way to other processes.

It travels by value, also where it is a lambda, a closure or from a notebook. A worker's `__main__` is not the user's,
so a pool that the simulator opens itself would not find what the user's script defines: it is put there.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from collections.abc import Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from types import FunctionType
from typing import Any

from homing.errors import ArgumentError


class Pack:
    """A run's simulator as bytes, which also hold lambdas, closures and what a notebook defines, and their digest."""

    def __init__(self) -> None:
        self._simulator: Any = None
        self._packed = "", b""

    def __call__(self, simulator: Any) -> tuple[str, bytes]:
        if simulator is not self._simulator:
            import cloudpickle

            try:
                content = cloudpickle.dumps(simulator)
            except Exception as error:
                raise ArgumentError(
                    f"The simulator {simulator.name} cannot be sent to other processes: {error}. Let it open what it "
                    "needs (files, locks) inside the function, or use num_workers=1 or a ThreadPoolExecutor."
                ) from error
            self._simulator, self._packed = simulator, (hashlib.sha256(content).hexdigest(), content)
        return self._packed


_unpacked: dict[str, Any] = {}  # a worker's last simulator, so that it is unpacked once and keeps what it caches


def run_packed(function: Any, packed: tuple[str, bytes], task: Any) -> Any:
    """In a worker: `function(simulator, task)` of a packed simulator."""
    digest, content = packed
    simulator = _unpacked.get(digest)
    if simulator is None:
        import cloudpickle

        simulator = cloudpickle.loads(content)
        _enter_in_main(simulator.function)
        _unpacked.clear()
        _unpacked[digest] = simulator
    return function(simulator, task)


Main = tuple[str | None, str | None, str | None]  # file, module's name, how it starts processes


def own_main() -> Main:
    """This process's `__main__`, which those that it starts begin with, and how it starts them if that was said."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    return getattr(main, "__file__", None), name, multiprocessing.get_start_method(allow_none=True)


def be_main(main: Main) -> None:
    """Start processes as another one does, which loky's workers do not."""
    file, name, start_method = main
    multiprocessing.set_start_method(start_method, force=True)
    if file is not None:
        module: Any = sys.modules["__main__"]
        module.__file__, module.__spec__ = file, None if name is None else ModuleSpec(name, None, origin=file)


def _enter_in_main(function: Any) -> None:
    """Put what came along from the user's `__main__` into this process's."""
    for found in _functions(function):
        names = found.__globals__
        if names.get("__name__") == "__main__":
            mine = {name: value for name, value in names.items() if getattr(value, "__module__", None) == "__main__"}
            vars(sys.modules["__main__"]).update(mine)


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions that a callable is made of, as far as they are seen at once."""
    if isinstance(value, partial):
        yield from _functions(value.func)
    elif isinstance(value, FunctionType):
        yield value
    elif isinstance(getattr(value, "__func__", None), FunctionType):
        yield value.__func__
    else:
        yield from (found for found in vars(type(value)).values() if isinstance(found, FunctionType))

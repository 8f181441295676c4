"""Compiled programs, kept in memory by their shapes and on disk by their content.

Compiling is most of a short run's time, and the same program is compiled again in every process that runs the same
analysis. A `Program` compiles a function once for each combination of shapes and static arguments, and stores the
result in the user's cache directory, by device, processor features and JAX's version, so that a home directory shared
by a mixed cluster never hands a processor a program it cannot run. What is loaded is what would have been compiled: a
program is named by the hash of its text. Where only this package and known ones take part it has a second name, the
hash of their versions, this package's sources and all arguments, which saves tracing it, as long as all the rest
together. Those least used make room where all take more than a gibibyte. JAX's own persistent cache is not used because
switching it on changes JAX for the whole process. Programs are float32 also where the user has switched JAX to 64 bits.

The directory is `~/.cache/homing` (or below `$XDG_CACHE_HOME`), readable by its owner alone; one that others own or may
write to is not used. The environment variable `HOMING_CACHE` names another, or switches it off (`HOMING_CACHE=off`). A
damaged or foreign entry is ignored, and compiled again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pickle
import platform
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import serialize_executable

from homing.forks import check_fork
from homing.lapack import one_matrix_at_a_time

_MAX_BYTES = 2**30
_KNOWN = ("homing", "jax", "jaxlib", "equinox", "flowjax", "optax", "paramax", "numpy")
_OPTIONAL = ("diffrax",)


def _is_dynamic(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, (np.ndarray, np.generic))


_rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)


@contextmanager
def rehearsed() -> Iterator[None]:
    """Within the block programs that were never compiled are traced alone: they give zeros, or raise where shapes do
    not fit.
    """
    token = _rehearsing.set(True)
    try:
        yield
    finally:
        _rehearsing.reset(token)


class Program:
    """A function of pytrees, compiled for the arrays' shapes; all that is not an array is static and must be hashable.

    Args:
        function: Takes and returns pytrees; what it returns must consist of arrays in tuples and lists.

    Attributes:
        num_traces: How many programs there are, traced here or loaded.

    Example:
        >>> double = Program(lambda a: 2 * a)
        >>> double(np.float32(2)).item(), double(np.float32(3)).item(), double.num_traces
        (4.0, 6.0, 1)
    """

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.function = function
        self._compiled: dict[Any, Any] = {}
        self._rehearsed: dict[Any, Any] = {}
        self._compiling = threading.Lock()

    @property
    def num_traces(self) -> int:
        return len(self._compiled)

    def __call__(self, *args: Any) -> Any:
        check_fork()
        leaves, treedef = jax.tree.flatten(args)
        dynamic = [leaf for leaf in leaves if _is_dynamic(leaf)]
        static = tuple(None if _is_dynamic(leaf) else leaf for leaf in leaves)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in dynamic)
        key = (treedef, static, tuple(map(_is_dynamic, leaves)), shapes, _device())
        if _rehearsing.get() and key not in self._compiled and not _is_kept(self, treedef, leaves):
            return self._rehearse(key, treedef, leaves, dynamic)
        if key not in self._compiled:
            with self._compiling:  # threads that want the same program wait for the first of them
                if key not in self._compiled:
                    self._compiled[key] = _compile(self, treedef, leaves, dynamic)
        return self._compiled[key](dynamic)

    def _rehearse(self, key: Any, treedef: Any, leaves: list[Any], dynamic: list[Any]) -> Any:
        if key not in self._rehearsed:
            with jax.enable_x64(False):
                self._rehearsed[key] = jax.eval_shape(self.flat(treedef, leaves), dynamic)
        return jax.tree.map(lambda made: np.zeros(made.shape, made.dtype), self._rehearsed[key])

    def flat(self, treedef: Any, leaves: list[Any]) -> Callable[[list[Any]], Any]:
        """The function of the arrays alone, as a list."""
        is_dynamic = [_is_dynamic(leaf) for leaf in leaves]
        static = [None if d else leaf for d, leaf in zip(is_dynamic, leaves)]

        def flat(dynamic: list[Any]) -> Any:
            rest = iter(dynamic)
            merged = [next(rest) if d else s for d, s in zip(is_dynamic, static)]
            return self.function(*jax.tree.unflatten(treedef, merged))

        flat.__name__ = getattr(self.function, "__name__", "program")
        return flat


def _compile(program: Program, treedef: Any, leaves: list[Any], dynamic: list[Any]) -> Any:
    function = program.flat(treedef, leaves)
    directory, device = cache_directory(), _device()
    name = None if directory is None else _name_untraced(program, treedef, leaves)
    if directory is not None and name is not None:
        loaded = _load(directory / name, dynamic, device)
        if loaded is not None:
            return loaded
    with jax.enable_x64(False):
        lowered = jax.jit(function, keep_unused=True).lower(dynamic)  # so that all arguments are part of the text
        text = lowered.as_text()
        if "@lapack" in text:
            lowered = jax.jit(one_matrix_at_a_time(function), keep_unused=True).lower(dynamic)
            text = lowered.as_text()
    if directory is None:
        return lowered.compile()
    entry = directory / _hash(f"{text} {lowered.out_tree}")
    compiled = _load(entry, dynamic, device)
    if compiled is None:
        compiled = lowered.compile()
        _store(entry, compiled)
    if name is not None and "custom_call" not in text:  # LAPACK and the like only work once tracing has set them up
        _link(entry, directory / name)
    return compiled


def _is_kept(program: Program, treedef: Any, leaves: list[Any]) -> bool:
    """Whether it was compiled before, and need not be traced to find that."""
    directory, name = cache_directory(), _name_untraced(program, treedef, leaves)
    return directory is not None and name is not None and (directory / name).exists()


def _device() -> Any:
    """The device that a program is compiled for: JAX's default, also where a user has set another."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]  # a device, a platform's name, or None
    return jax.local_devices(backend=chosen)[0] if chosen is None or isinstance(chosen, str) else chosen


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name_untraced(program: Program, treedef: Any, leaves: list[Any]) -> str | None:
    """A program's name without tracing it, which costs as much as loading it; None if a user's code takes part.

    What only known packages and this one take part in is told by their versions, this one's sources, and JAX's
    settings.
    """
    shapes = [(leaf.shape, str(leaf.dtype)) if _is_dynamic(leaf) else _told(leaf) for leaf in leaves]
    told = _told(program.function)
    text = f"{told} {treedef} {shapes} {_sources()} {jax.config.values}"
    if told is None or None in shapes or " at 0x" in text or not _is_known(treedef):
        return None
    return _hash(text)


def _told(leaf: Any) -> str | None:
    """A static leaf as text that says all of it; None for what text cannot say."""
    if isinstance(leaf, (bool, int, float, str)):
        return repr(leaf)
    if dataclasses.is_dataclass(type(leaf)) and _root(type(leaf)) == "homing":
        return repr(leaf)
    name = getattr(leaf, "__qualname__", "<")
    if _root(leaf) not in _KNOWN or "<" in name:
        return None
    found = functools.reduce(lambda scope, part: getattr(scope, part, None), name.split("."), _module(leaf))
    # a function made of another, as by `jax.grad`, goes by that one's name
    return f"{leaf.__module__}.{name}" if leaf in (found, getattr(found, "function", None)) else None


def _module(leaf: Any) -> Any:
    return sys.modules.get(leaf.__module__)


def _root(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _is_known(treedef: Any) -> bool:
    """Whether all kinds of nodes come from known packages."""
    data = treedef.node_data()
    known = data is None or _root(data[0]) in (*_KNOWN, "builtins")
    return known and all(map(_is_known, treedef.children()))


@functools.cache
def _sources() -> str:
    """The versions of the packages that make programs, and a hash of this one's sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    versions = [_version(name) for name in (*_KNOWN, *_OPTIONAL) if name != "homing"]
    return f"{versions} {platform.python_version()} {digest.hexdigest()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _load(path: Path, dynamic: list[Any], device: Any) -> Any | None:
    try:
        stored = path.read_bytes()
        digest, content = stored[:32], stored[32:]
        if hashlib.sha256(content).digest() != digest:
            return None
        payload, out_tree = pickle.loads(content)
        in_tree = jax.tree.structure(((dynamic,), {}))
        loaded = serialize_executable.deserialize_and_load(payload, in_tree, out_tree, device.client, [device])
        os.utime(path)
        return loaded
    except Exception:  # absent, damaged, or made by an incompatible runtime: compile it again
        return None


def _store(path: Path, compiled: Any) -> None:
    try:
        payload, _, out_tree = serialize_executable.serialize(compiled)
        content = pickle.dumps((payload, out_tree))
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(file.name, path)
        _make_room(path.parent)
    except Exception:  # a full disk or a program that cannot be stored costs time, not the run
        return


def _link(path: Path, name: Path) -> None:
    try:
        name.unlink(missing_ok=True)
        os.link(path, name)
    except OSError:  # no program was stored, or the file system has no links
        return


def _make_room(directory: Path) -> None:
    """Remove the programs that were not used for the longest; names of one program are one file."""
    entries = [(path, path.stat()) for path in directory.iterdir()]
    seen, total = set(), 0
    for path, told in sorted(entries, key=lambda entry: -entry[1].st_mtime):
        total += 0 if told.st_ino in seen else told.st_size
        seen.add(told.st_ino)
        if total > _MAX_BYTES:
            path.unlink(missing_ok=True)


def cache_directory() -> Path | None:
    """The directory of stored programs for this processor and version, made if need be; None if none can be trusted."""
    setting = os.environ.get("HOMING_CACHE", "")
    if setting.lower() in ("off", "0", "false", "no"):
        return None
    try:
        root = Path(setting) if setting else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homing"
        directory = root / _fingerprint(_device())
        root.parent.mkdir(parents=True, exist_ok=True)
        for folder in (root, directory):
            folder.mkdir(mode=0o700, exist_ok=True)
        return directory if _is_ours(root) and _is_ours(directory) else None
    except (OSError, RuntimeError):
        return None


def _is_ours(folder: Path) -> bool:
    """Whether nobody else owns or may write to it: loading a program runs it."""
    if not hasattr(os, "getuid"):
        return True
    info = folder.stat()
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _fingerprint(device: Any) -> str:
    """Versions, device, flags and processor features, as a name for a directory."""
    jaxlib = version("jaxlib")
    parts = [jax.__version__, jaxlib, device.platform, device.device_kind, device.id, platform.machine()]
    parts += [os.environ.get("XLA_FLAGS", ""), _processor_features()]
    return f"jaxlib-{jaxlib}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _processor_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())

"""The random generators that a simulator draws from: seeded for each of its calls, and put back afterwards.

They are the process's global ones, and those that the simulator holds (`homing.simulation.reach`): a generator in an
object, a closure, a default argument or a module would go on where the last call left it, so rows would depend on which
worker ran them and after which others, every worker would begin with the same noise, and a resumed run would begin with
it again. Seeded from the row's own seed they give what a generator of the row's own would. Whoever draws from a
generator that goes on from call to call expects other numbers each time; what is to be the same in all calls is no
generator's.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from homing.simulation.reach import Reached, Slot, reach

_in_use = threading.RLock()  # they are one for all threads of the process


def _let_go() -> None:
    """In a forked child, in which no other thread is there to do so."""
    if not _in_use._is_owned():  # type: ignore[attr-defined]
        _in_use._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class Generators:
    """Within the block, `seed` sets the generators of a simulator; the end restores them.

    Args:
        function: The simulator, for the generators that it holds.
        with_global: Whether it may draw from the process's, so that these are seeded: Python's, NumPy's legacy and, if
            imported, torch's.
        keep_global: Whether these are put back; None if they are seeded.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> with Generators(rng.normal, with_global=False) as generators:
        ...     generators.seed(1)
        ...     a = rng.normal()
        ...     generators.seed(1)
        ...     a == rng.normal()
        True
    """

    def __init__(self, function: Any, with_global: bool = True, keep_global: bool | None = None):
        self._function, self._with_global = function, with_global
        self._keep_global = with_global if keep_global is None else keep_global

    def __enter__(self) -> Generators:
        self._restoring = ExitStack()
        held = reach(self._function)
        self._held, self._keys = [one for one in held.generators if can_be_seeded(one)], changing_keys(held)
        self._torch: Any = None
        if not (self._keep_global or self._held or self._keys):
            return self
        _in_use.acquire()
        self._restoring.callback(_in_use.release)
        for generator in self._held:
            self._restoring.callback(_restorer(generator))
        for slot in self._keys:
            self._restoring.callback(slot.set, slot.get())
        if self._keep_global:
            self._restoring.callback(random.setstate, random.getstate())
            self._restoring.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
            self.gained_torch()
        return self

    def gained_torch(self) -> bool:
        """Whether torch was imported since the last look."""
        torch: Any = sys.modules.get("torch")
        if not self._keep_global or self._torch is not None or not hasattr(torch, "manual_seed"):
            return False  # half imported by another thread, it lacks it
        self._torch = torch
        self._restoring.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():
            self._restoring.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        return self._with_global

    def seed(self, seed: int) -> None:
        """Set all of them from one row's seed."""
        if self._with_global:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            if self._torch is not None:
                self._torch.manual_seed(seed)
        for k, generator in enumerate(self._held):
            _set(generator, np.random.SeedSequence(seed, spawn_key=(k,)))
        for k, slot in enumerate(self._keys, start=len(self._held)):
            slot.set(_key(slot.get(), np.random.SeedSequence(seed, spawn_key=(k,))))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restoring.close()


def can_be_seeded(generator: Any) -> bool:
    """Whether a generator draws from a state that can be set."""
    return not isinstance(generator, random.SystemRandom)


def changing_keys(held: Reached) -> list[Slot]:
    """Where JAX keys are held that the simulator's code replaces as it goes on."""
    return [slot for slot in held.keys if slot.name in held.stored]


def _set(generator: Any, sequence: np.random.SeedSequence) -> None:
    word = int(sequence.generate_state(1, np.uint64)[0])
    if isinstance(generator, np.random.Generator):
        _set(generator.bit_generator, sequence)
    elif isinstance(generator, np.random.BitGenerator):
        generator.state = type(generator)(sequence).state
    elif isinstance(generator, np.random.RandomState):
        state = type(generator._bit_generator)(sequence).state
        generator.set_state({**state, "has_gauss": 0, "gauss": 0.0})
    elif isinstance(generator, random.Random):
        generator.seed(word)
    else:
        generator.manual_seed(word % 2**63)


def _restorer(generator: Any) -> Callable[[], None]:
    if isinstance(generator, np.random.Generator):
        return _restorer(generator.bit_generator)
    if isinstance(generator, np.random.BitGenerator):
        state = generator.state
        return lambda: setattr(generator, "state", state)
    if isinstance(generator, np.random.RandomState):
        legacy: Any = generator.get_state(legacy=False)
        return lambda: generator.set_state(legacy)
    state = generator.getstate() if isinstance(generator, random.Random) else generator.get_state()
    return lambda: (generator.setstate if isinstance(generator, random.Random) else generator.set_state)(state)


def _key(old: Any, sequence: np.random.SeedSequence) -> Any:
    """A JAX key of the kind that is there."""
    jax: Any = sys.modules["jax"]
    typed = jax.dtypes.issubdtype(old.dtype, jax.dtypes.prng_key)
    seed = int(sequence.generate_state(1, np.uint32)[0]) % 2**31
    return jax.random.key(seed, impl=jax.random.key_impl(old)) if typed else jax.random.PRNGKey(seed)

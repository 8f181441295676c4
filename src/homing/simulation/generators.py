"""The process's global random generators: seeded for a simulator's calls and put back afterwards."""

from __future__ import annotations

import os
import random
import sys
import threading
from types import TracebackType
from typing import Any

import numpy as np

_in_use = threading.RLock()  # they are one for all threads of the process


def _let_go() -> None:
    """In a forked child, in which no other thread is there to do so."""
    if not _in_use._is_owned():  # type: ignore[attr-defined]
        _in_use._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class GlobalGenerators:
    """Within the block, `seed` sets Python's, NumPy's legacy and (if imported) torch's generator; the end restores
    them.

    Example:
        >>> with GlobalGenerators() as generators:
        ...     generators.seed(1)
        ...     a = np.random.random()
        ...     generators.seed(1)
        ...     a == np.random.random()
        True
    """

    def __enter__(self) -> GlobalGenerators:
        _in_use.acquire()
        self._python, self._numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        self._torch: Any = None
        self.gained_torch()
        return self

    def gained_torch(self) -> bool:
        """Whether torch was imported since the last look."""
        torch: Any = sys.modules.get("torch")
        if self._torch is not None or not hasattr(torch, "manual_seed"):  # half imported by another thread, it lacks it
            return False
        self._torch, self._torch_state = torch, torch.get_rng_state()
        self._cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        return True

    def seed(self, seed: int) -> None:
        """Set all of them from one row's seed."""
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        if self._torch is not None:
            self._torch.manual_seed(seed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        if self._torch is not None:
            self._torch.set_rng_state(self._torch_state)
            if self._cuda_states is not None:
                self._torch.cuda.set_rng_state_all(self._cuda_states)
        _in_use.release()

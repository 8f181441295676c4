"""A process forked from one in which JAX had started: found out, and said, before anything waits for ever.

JAX computes in threads of its own, and a fork copies none of them: what it is asked for in the child is never done. So
`check_fork` stands before all that runs JAX. A child of a process that had not started JAX yet can start its own.
"""

from __future__ import annotations

import os
import sys
import threading

from homing.errors import ForkError


def _jax_has_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and getattr(bridge, "backends_are_initialized", lambda: True)()


def _is_alone() -> bool:
    """Whether this process has but one thread: where JAX has started, those of JAX are gone. False if that is unknown.

    It tells of a fork before this package was imported.
    """
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


_lost_threads = _jax_has_started() and _is_alone()


def _look() -> None:
    global _lost_threads
    _lost_threads = _lost_threads or _jax_has_started()


brief = threading.Lock()  # for a few lines of bookkeeping at a time; no other thread holds it when a process is forked

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look)
    os.register_at_fork(before=brief.acquire, after_in_parent=brief.release, after_in_child=brief.release)


def check_fork() -> None:
    """Refuse what needs JAX in a forked process that has lost JAX's threads.

    Raises:
        ForkError: If JAX had started in the process that this one was forked from.
    """
    if _lost_threads:
        raise ForkError(
            f"Process {os.getpid()} was forked from one in which JAX had started. JAX's threads were not copied, so "
            "what homing computes with JAX would never end here. Start workers afresh instead of forking them: "
            'multiprocessing.get_context("spawn") or "forkserver" as the context of a Process, Pool, '
            "ProcessPoolExecutor or DataLoader; loky or joblib, which do so by themselves; or os.fork before anything "
            "runs JAX."
        )

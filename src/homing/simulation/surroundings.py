"""What a simulator can change of its process that others rely on: noted before its calls, and put back after each.

A call that left the working directory, NumPy's error state or a signal handler changed would reach the next call in
this process and in no other, and homing's own files, mathematics and Ctrl-C. The environment, locale and imported
modules stay as the simulator leaves them: homing does not depend on them, and a simulator may prepare them once.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` translates its answers, a hundred times as slowly
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Any

import numpy as np

from homing.simulation.interrupts import is_main_thread

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2")
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_STREAMS = (("stdout", 1), ("stderr", 2))


class Surroundings:
    """The process as it is now; `put_back` makes it so again.

    The main thread puts back what all threads share; another one only what is its own.

    Example:
        >>> before = Surroundings()
        >>> _ = np.seterr(all="ignore")
        >>> before.put_back()
        >>> np.geterr()["divide"]
        'warn'
    """

    def __init__(self) -> None:
        self._errors = np.geterr()
        self._is_main = is_main_thread()
        if self._is_main:
            self._directory = _directory()
            self._streams = [getattr(sys, name) for name, _ in _STREAMS]
            self._handlers = [_signal.getsignal(number) for number in _SIGNALS]
            self._alarm = _alarm()
            self._filters = list(warnings.filters)
            self._recursion = sys.getrecursionlimit()

    def put_back(self) -> None:
        """Undo what was changed since; a few microseconds where nothing was."""
        if np.geterr() != self._errors:
            np.seterr(**self._errors)  # type: ignore[arg-type]
        if not self._is_main:
            return
        if _directory() != self._directory:
            with suppress(OSError):  # it was deleted
                os.chdir(self._directory)
        for (name, number), stream in zip(_STREAMS, self._streams):
            if getattr(sys, name) is not stream or getattr(stream, "closed", False):
                setattr(sys, name, _reopened(number) if getattr(stream, "closed", False) else stream)
        for number, handler in zip(_SIGNALS, self._handlers):
            if handler is not None and _signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if not self._alarm and _alarm():
            signal.setitimer(signal.ITIMER_REAL, 0)
        if warnings.filters != self._filters:
            self._forget_new_errors()
        if sys.getrecursionlimit() < self._recursion:
            sys.setrecursionlimit(self._recursion)

    def _forget_new_errors(self) -> None:
        """A filter that silences stays, as imported libraries add some; one that makes homing's warnings raise goes."""
        kept = [one for one in warnings.filters if one[0] != "error" or one in self._filters]
        if len(kept) < len(warnings.filters):
            warnings.resetwarnings()
            warnings.filters[:] = kept  # type: ignore[index]
        self._filters = list(warnings.filters)


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _alarm() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _reopened(number: int) -> Any:
    """A stream in place of a closed one: to where it went, as Python's own leave the file open, or to nowhere."""
    with suppress(OSError):
        os.fstat(number)
        return open(number, "w", buffering=1, closefd=False, errors="backslashreplace")
    return open(os.devnull, "w")

"""A time limit on one call, wherever the call happens to run.

In a process's main thread an alarm interrupts the call: Python code, sleeps and waits for other programs end at once. A
worker process of ours that does not react even so (native code that never returns) ends itself; the run then sees that
the worker died over this row. In any other thread (a thread pool, a Dask worker) the call runs in a helper thread that
is left behind when its time is up.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

GRACE = 1.0  # seconds between the alarm and the end of a worker that ignores it

_expendable = False


def make_expendable() -> None:
    """Let this process end itself over a call that ignores its alarm: it is a worker that will be replaced."""
    global _expendable
    _expendable = True


class TimedOut(BaseException):
    """A call's time is up. Not an `Exception`, so that a simulator's own handlers let it through."""


def call_within(seconds: float | None, function: Callable[[], Any]) -> Any:
    """The function's value, or `TimedOut` after so many seconds; None sets no limit.

    Example:
        >>> call_within(5.0, lambda: 1 + 1)
        2
    """
    if seconds is None:
        return function()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _call_with_alarm(seconds, function)
    return _call_in_thread(seconds, function)


def _call_with_alarm(seconds: float, function: Callable[[], Any]) -> Any:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    if _expendable:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_nowhere())
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            return function()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # even if the alarm rang on the line above
        signal.signal(signal.SIGALRM, before)
        if _expendable:
            faulthandler.cancel_dump_traceback_later()


@cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def _call_in_thread(seconds: float, function: Callable[[], Any]) -> Any:
    result: list[Any] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            result.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True, name="homing-simulation")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not result:
        raise TimedOut
    return result[0]

"""Ctrl-C while simulations run: the first asks to stop, the second stops.

A simulator can raise KeyboardInterrupt by itself, which is a failure like any other. So the handlers here note whether
the keyboard did.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

_MESSAGE = b"\nFinishing what runs. Press Ctrl-C again to stop at once; finished simulations are kept either way.\n"

_pressed = False  # a SIGINT has raised KeyboardInterrupt since the last `Interrupt` or `Noted` began


def is_main_thread() -> bool:
    """Whether this is the thread that gets signals."""
    return threading.current_thread() is threading.main_thread()


def was_pressed() -> bool:
    """Whether Ctrl-C has raised KeyboardInterrupt in this thread, even if a simulator caught it."""
    return _pressed and is_main_thread()


def by_keyboard(error: BaseException) -> bool:
    """Whether an error is a KeyboardInterrupt that no simulator raised by itself.

    Example:
        >>> by_keyboard(ValueError())
        False
    """
    global _pressed
    if not isinstance(error, KeyboardInterrupt) or not is_main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    ours = handler is _raise or isinstance(getattr(handler, "__self__", None), Interrupt)
    if not ours and handler not in (signal.SIG_IGN, signal.SIG_DFL, None):  # another's handler: it notes nothing
        _pressed = True
    return _pressed


def _raise(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    raise KeyboardInterrupt


class _Handler:
    """Within the block, SIGINT calls `handle`; nothing changes outside of the main thread, or where the program handles
    SIGINT itself."""

    handle: Any

    def __init__(self) -> None:
        self._installed = False

    def __enter__(self) -> Any:
        if is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._begin()
            signal.signal(signal.SIGINT, self.handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed and is_main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _begin(self) -> None:
        global _pressed
        _pressed = False


class Noted(_Handler):
    """Within the block, a SIGINT that raises KeyboardInterrupt is noted."""

    handle = staticmethod(_raise)


class Interrupt(_Handler):
    """Within the block, a first SIGINT only sets `asked`; a second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        self.handle = self._ask

    def __enter__(self) -> Interrupt:
        if is_main_thread():
            self._begin()
        return super().__enter__()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            _raise(number, frame)
        self.asked = True
        with suppress(OSError):  # the simulator may have closed it
            os.write(2, _MESSAGE)  # print is not safe in a signal handler

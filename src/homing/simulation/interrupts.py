"""Ctrl-C while simulations run: the first asks to stop, the second stops.

In the main thread a KeyboardInterrupt is taken for the user's wherever Ctrl-C is not ignored: extensions that handle it
themselves raise it without a word to Python's handlers. In other threads and in workers of ours it can only be the
simulator's own, a failure like any other.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType

_MESSAGE = b"\nFinishing what runs. Press Ctrl-C again to stop at once; finished simulations are kept either way.\n"

_pressed = False  # Ctrl-C has raised KeyboardInterrupt since it was last forgotten


def is_main_thread() -> bool:
    """Whether this is the thread that gets signals."""
    return threading.current_thread() is threading.main_thread()


def forget() -> None:
    """Begin anew: Ctrl-C was not pressed."""
    global _pressed
    if is_main_thread():
        _pressed = False


def was_pressed() -> bool:
    """Whether Ctrl-C has raised KeyboardInterrupt in this thread, even if a simulator caught it."""
    return _pressed and is_main_thread()


def by_keyboard(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, which is then noted.

    Example:
        >>> by_keyboard(ValueError())
        False
    """
    if not isinstance(error, KeyboardInterrupt) or not is_main_thread():
        return False
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL):
        _note()
    return was_pressed()


def _note() -> None:
    global _pressed
    _pressed = True


class Interrupt:
    """Within the block, a first SIGINT only sets `asked`; a second one raises KeyboardInterrupt.

    Elsewhere than in the main thread, or where the program handles SIGINT itself, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        forget()
        if is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed and is_main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def stops(self) -> bool:
        """Whether no more is to be begun."""
        return self.asked or was_pressed()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            _note()
            raise KeyboardInterrupt
        self.asked = True
        with suppress(OSError):  # the simulator may have closed it
            os.write(2, _MESSAGE)  # print is not safe in a signal handler

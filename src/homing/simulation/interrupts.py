"""Ctrl-C while simulations run: the first asks to stop, the second stops."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

_MESSAGE = b"\nFinishing what runs. Press Ctrl-C again to stop at once; finished simulations are kept either way.\n"


class Interrupt:
    """Within the block, a first SIGINT only sets `asked`; a second one raises KeyboardInterrupt.

    Elsewhere than in the main thread, or where the program handles SIGINT itself, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, _MESSAGE)  # print is not safe in a signal handler

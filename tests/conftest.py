"""Settings and fixtures that the tests share."""

import getpass
import os
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Compiled programs are kept between runs of the tests, apart from the user's own.
os.environ.setdefault("HOMING_CACHE", str(Path(tempfile.gettempdir()) / f"homing-tests-{getpass.getuser()}"))

# A shell's background jobs ignore interrupts, and so would all that the tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

"""Files that are written as a whole or not at all, and that say in words why they could not be."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from homing.errors import HomingError
from homing.simulation.beside import resolved
from homing.simulation.keeper import StoreError


class OutputError(StoreError):
    """A file that was asked for cannot be written."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Where the block is to write a file, which then replaces the one at `path`; one that fails leaves that as it was.

    Raises:
        OutputError: If it cannot be written; this is an OSError too.

    Example:
        >>> path = Path(tempfile.mkdtemp(), "notes.txt")
        >>> with replacing(path) as new:
        ...     _ = new.write_text("written")
        >>> path.read_text()
        'written'
    """
    try:
        with ExitStack() as stack:
            target = resolved(Path(path))
            place = _place(target, stack)
            yield place
            if place != target:
                if target.exists():
                    shutil.copymode(target, place)
                os.replace(place, target)
    except HomingError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Is its directory there, and writable, and is there "
            "room on the disk?"
        ) from error


def _place(target: Path, stack: ExitStack) -> Path:
    """A place of the same name in a directory of its own beside the target; where that is no file, or nothing can be
    made beside it, the target itself.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    if target.exists() and not target.is_file():
        return target  # a pipe or a device
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".homing-", dir=target.parent)), target.name)
    except OSError:
        if target.exists() and os.access(target, os.W_OK):
            return target
        raise

"""The files beside a run file, looked at before SQLite acts on them.

On opening a database SQLite first undoes what a journal beside it tells, and deletes the super-journal that this names:
any file of the user's, if a stranger wrote the journal. A journal that homing left names none, since homing never
changes two databases at once. So whatever lies beside a run file is refused, before SQLite sees it, unless it is what
homing could have left there.

Source: SQLite, https://www.sqlite.org/fileformat2.html#the_rollback_journal and https://www.sqlite.org/atomiccommit.html
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homing.simulation.keeper import StoreError

_MAGIC = bytes.fromhex("d9d505f920a163d7")  # begins a journal, and ends one that names a super-journal
_KINDS = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"))


def beside(path: Path, suffix: str) -> Path:
    """A file beside a run file: its own name and a suffix."""
    return path.with_name(path.name + suffix)


def resolved(path: Path) -> Path:
    """A run file's own path: SQLite follows symbolic links, and keeps its files beside what they point to.

    Raises:
        StoreError: If the links go in a circle, or the path is none.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{path} is no path that can be followed: {error}.") from error


def check_beside(path: Path, write: bool) -> None:
    """Make sure that a run file is a file, and that nothing lies beside it which homing did not leave there.

    Args:
        path: The run file, resolved.
        write: Whether it is to be written, which takes a lock.

    Raises:
        StoreError: If there is anything else; nothing was opened by SQLite then.
    """
    sizes = {suffix: _size(beside(path, suffix)) for suffix in ("", "-journal", "-wal", "-shm")}
    if write and _size(beside(path, "-lock")):
        raise StoreError(
            f"{beside(path, '-lock')} is not empty, so it is no lock of homing's. If it is nothing of yours, delete it."
        )
    if write and _size(locking := beside(path, "-lock-journal")):
        _check_journal(locking, beside(path, "-lock"), _size(locking))
    if sizes["-journal"]:
        _check_journal(beside(path, "-journal"), path, sizes[""] + sizes["-journal"])


def _check_journal(journal: Path, path: Path, most: int) -> None:
    """Make sure that a journal deletes no file, and makes the run file no larger than the two of them are."""
    try:
        with journal.open("rb") as file:
            head = file.read(28)
            file.seek(-min(len(head), len(_MAGIC)), os.SEEK_END)
            tail = file.read()
    except FileNotFoundError:  # whoever writes has just finished
        return
    except OSError as error:
        raise StoreError(f"{journal} cannot be read: {error.strerror or error}.") from error
    if tail == _MAGIC:
        raise StoreError(
            f"{journal} names another file, which SQLite would delete on opening {path}. homing leaves no such "
            "journal: it comes from somebody else, or was tampered with. Do not open it."
        )
    pages, page_size = struct.unpack(">I4xI", head[16:]) if len(head) == 28 and head[:8] == _MAGIC else (0, 0)
    if pages * page_size > most:
        raise StoreError(
            f"{journal} would make {path} a file of {pages * page_size:,} bytes; homing leaves no such journal. "
            "Restore both from a copy."
        )


@contextmanager
def private_copy(path: Path) -> Iterator[Path]:
    """A copy of a run file with what lies beside it, where SQLite may undo and go on with what a dead process began.

    Raises:
        StoreError: If there is no room for it.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="homing-")
    except OSError as error:
        raise StoreError(_no_room(path, error)) from error
    with directory as name:
        copy = Path(name, "run")
        try:
            for suffix in ("", "-journal", "-wal"):
                if beside(path, suffix).exists():
                    shutil.copyfile(beside(path, suffix), beside(copy, suffix))
        except OSError as error:
            raise StoreError(_no_room(path, error)) from error
        yield copy


def _no_room(path: Path, error: OSError) -> str:
    return (
        f"{path} was left in the middle of a change, and lies where nothing can be written. To read it, homing makes a "
        f"copy for temporary files, which failed: {error.strerror or error}. Make room there, set TMPDIR to another "
        "directory, or copy the run file and those beside it to where you may write."
    )


def _size(file: Path) -> int:
    """The size of a file; 0 if it is not there.

    Raises:
        StoreError: If it is there and no plain file.
    """
    try:
        status = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be looked at: {getattr(error, 'strerror', error)}.") from error
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for holds, name in _KINDS if holds(status.st_mode)), "a device or a pipe")
        raise StoreError(f"{file} is {kind}; a run file, and each file beside it, must be a plain file.")
    return status.st_size

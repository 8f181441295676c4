"""SQLite for the run file: connections, the writer's lock, transactions, checksums, errors that say what to do."""

from __future__ import annotations

import json
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from homing.simulation.keeper import StoreError

FORMAT = 1
WRITER = "(writer)"  # the fact that says who writes
APPLICATION = 0x686F6D69  # "homi", in the file's header


class Damage(Exception):
    """What is wrong with a file's content."""


def checksum(*values: Any) -> int:
    """CRC-32 of a row's values, blobs by their bytes and all else by its text.

    Example:
        >>> checksum(1, "a", b"b") == checksum(1, "a", b"b"), checksum(1, "a", b"b") == checksum(1, "b", b"a")
        (True, False)
    """
    crc = 0
    for value in values:
        crc = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode(), zlib.crc32(b"|", crc))
    return crc


def beside(path: Path, suffix: str) -> Path:
    """A file beside a run file: its own name and a suffix."""
    return path.with_name(path.name + suffix)


def lock(path: Path) -> sqlite3.Connection:
    """Become the one writer of a file; ends with the connection, or with the process however it ends.

    SQLite's own file locks do it, so that it works wherever SQLite does.
    """
    connection = None
    try:
        connection = sqlite3.connect(beside(path, "-lock"), timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if connection is not None:
            connection.close()
        if "locked" in str(error):
            raise StoreError(
                f"{path} is being written by {_writer(path)}. A run file has one writer at a time: let that "
                "process finish, or end it. To read meanwhile, use homing.open."
            ) from error
        raise StoreError(f"{path} cannot be written: {error}. Is its directory there, and writable?") from error
    return connection


def _writer(path: Path) -> str:
    with suppress(Exception):
        connection = connect(path, write=False)
        try:
            return json.loads(connection.execute("SELECT value FROM fact WHERE name = ?", (WRITER,)).fetchone()[0])
        finally:
            connection.close()
    return "another process"


def connect(path: Path, write: bool) -> sqlite3.Connection:
    """A connection that starts no transaction by itself."""
    if not write and beside(path, "-journal").exists():
        _roll_back(path)
    address = path.absolute().as_uri() + ("?mode=rwc" if write else "?mode=ro")
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=30.0, check_same_thread=False)


def _roll_back(path: Path) -> None:
    """Undo what a process had begun when it was killed, which SQLite does on reading, but not for who may only read."""
    with suppress(sqlite3.OperationalError):  # the file is not ours to write: the reader will be told
        connection = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=30.0)
        try:
            connection.execute("PRAGMA application_id").fetchone()
        finally:
            connection.close()


def recognise(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that it is a run file of a format we know.

    Raises:
        StoreError: If it is anything else.
    """
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    size = path.stat().st_size
    if size < 100:  # less than a header; SQLite may take it for a new database
        raise StoreError(f"{path} has {size} bytes, too few for a run file. Delete it if a run is to start there.")
    if application != APPLICATION:
        raise StoreError(f"{path} is an SQLite database, but no run file. Choose another name for the run.")
    if version > FORMAT:
        raise StoreError(
            f"{path} has format {version}; this version of homing reads formats up to {FORMAT}. Upgrade homing."
        )


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All of the block or, if it raises, nothing of it."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """SQLite's errors and damaged content as errors that say what to do."""
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.DataError) as error:
        raise StoreError(
            f"{path} could not {action}: {error}. What was recorded before is kept. Is there room on the disk? "
            "Is the directory there, and writable? Then run again to go on."
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(_damaged(path, error)) from error
    except (Damage, ValueError, TypeError, KeyError, IndexError, OverflowError, zipfile.BadZipFile) as error:
        if action == "be written":
            raise
        raise StoreError(_damaged(path, error if isinstance(error, Damage) else repr(error))) from error


def _damaged(path: Path, error: object) -> str:
    if "not a database" in str(error):
        return f"{path} is no run file: {error}. Choose another name for the run, or the right file."
    return (
        f"{path} is damaged: {error}. Part of it was changed or lost after it was written. Restore it from a "
        "copy; to rescue what can be read, use SQLite's own tools (sqlite3 FILE .recover)."
    )

"""SQLite for the run file: connections, the writer's lock, transactions, checksums, errors that say what to do."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from homing.errors import HomingError
from homing.simulation.beside import beside, check_beside, private_copy
from homing.simulation.keeper import StoreError
from homing.text import printable

FORMAT = 1
WRITER = "(writer)"  # the fact that says who writes
APPLICATION = 0x686F6D69  # "homi", in the file's header
_MOST_STEPS = 10_000  # thousands of SQLite's instructions, to read six lines of a schema
_PLACE = ("BUSY", "CANTOPEN", "FULL", "IOERR", "LOCKED", "NOMEM", "PERM", "PROTOCOL", "READONLY")  # not the content


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


def lock(path: Path) -> sqlite3.Connection:
    """Become the one writer of a file; ends with the connection, or with the process however it ends.

    SQLite's own file locks do it, so that it works wherever SQLite does.
    """
    check_beside(path, write=True)
    connection = None
    try:
        connection = sqlite3.connect(beside(path, "-lock"), timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = MEMORY")  # nothing is written, so there is nothing to undo
        connection.execute("BEGIN EXCLUSIVE")
        if not os.access(beside(path, "-lock"), os.W_OK):  # where SQLite is content to read
            raise sqlite3.OperationalError("it lies where nothing can be written")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        if "locked" in str(error):
            raise StoreError(
                f"{path} is being written by {written_by(path) or 'another process'}. A run file has one writer at a "
                "time: let that process finish, have it call inference.close(), or end it. To read meanwhile, use "
                "homing.open."
            ) from error
        raise StoreError(f"{path} cannot be written: {error}. Is its directory there, and writable?") from error
    return connection


def written_by(path: Path) -> str:
    """Who signed in last to write a file; empty if nobody did, or that cannot be read."""
    with suppress(Exception), ExitStack() as stack:
        connection = connect_to_read(path, stack)
        return str(json.loads(connection.execute("SELECT value FROM fact WHERE name = ?", (WRITER,)).fetchone()[0]))
    return ""


def connect(path: Path, options: str) -> sqlite3.Connection:
    """A connection that starts no transaction by itself, and trusts nothing that the file's schema says."""
    check_beside(path, write=False)
    address = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=30.0, check_same_thread=False)
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {setting}")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        for forbidden in (sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW):
            connection.setconfig(forbidden, False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    return connection


def connect_to_read(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """A connection that reads, closed by the stack; to a private copy where what a dead process began must be undone
    first, and nothing can be written beside the file.
    """
    if beside(path, "-journal").exists():
        # SQLite undoes it on reading, but not for who may only read
        with suppress(sqlite3.Error), closing(connect(path, "mode=rw")) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    try:
        return stack.enter_context(closing(_looked_into(connect(path, "mode=ro"))))
    except sqlite3.OperationalError as error:
        if not getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
        if not path.is_file():
            raise
    if any(beside(path, suffix).exists() for suffix in ("-journal", "-wal")):
        copy = stack.enter_context(private_copy(path))
        return stack.enter_context(closing(_looked_into(connect(copy, "mode=rw"))))
    return stack.enter_context(closing(_looked_into(connect(path, "mode=ro&immutable=1"))))


def _looked_into(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, after SQLite has found out whether it can read the file; closed if it cannot."""
    try:
        connection.execute("PRAGMA application_id").fetchone()
        connection.execute("BEGIN")
        connection.execute("PRAGMA user_version").fetchone()
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


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


def check_structure(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    """Make sure that a file consists of these tables, and that they are whole.

    Until this is known, none of its rows is read: pages that are shared or go in circles hold rows without end.

    Raises:
        Damage: If anything is otherwise.
    """
    steps = iter(range(_MOST_STEPS))
    connection.set_progress_handler(lambda: next(steps, None) is None, 1000)
    try:
        entries = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchmany(len(schema) + 1)
        names = [sql.split()[2] for sql in schema]
        if entries != [("table", name, name, sql) for name, sql in zip(names, schema)]:
            raise Damage("its tables are not those of a run file")
    finally:
        connection.set_progress_handler(None, 0)
    ((verdict,),) = connection.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise Damage(verdict)


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
    """SQLite's errors and damaged content as errors that say what to do.

    Whatever goes wrong while content is read is the content's fault: who made the file may have written anything.
    """
    try:
        yield
    except HomingError:
        raise
    except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.DataError, OSError) as error:
        _make_printable(error)
        code = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        if action == "be read" and isinstance(error, sqlite3.OperationalError) and not code.startswith(_PLACE):
            raise StoreError(_damaged(path, error)) from error
        raise StoreError(
            f"{path} could not {action}: {error}. What was recorded before is kept. Is there room on the disk? "
            "Is the directory there, and writable? Then run again to go on."
        ) from error
    except sqlite3.DatabaseError as error:
        _make_printable(error)
        raise StoreError(_damaged(path, error)) from error
    except Exception as error:
        if action == "be written":
            raise
        raise StoreError(_damaged(path, error if isinstance(error, Damage) else repr(error))) from error


def _make_printable(error: Exception) -> None:
    """A traceback shows what an error came from: SQLite puts names from the file into its texts."""
    error.args = tuple(printable(part) if isinstance(part, str) else part for part in error.args)


def _damaged(path: Path, error: object) -> str:
    if "not a database" in str(error):
        return f"{path} is no run file: {error}. Choose another name for the run, or the right file."
    return (
        f"{path} is damaged: {error}. Part of it was changed or lost after it was written. Restore it from a "
        "copy; to rescue what can be read, use SQLite's own tools (sqlite3 FILE .recover)."
    )

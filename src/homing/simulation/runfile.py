"""The run file: one SQLite file.

SQLite's write-ahead log with `synchronous=FULL` makes each transaction durable before it is acknowledged. SQLite does
not notice a changed byte in the file, so every row carries a CRC-32 of its content; all of them are checked when the
file is opened, and data whenever they are read. A changed byte in the log SQLite does notice, and drops without a word
what comes after it. So each transaction is copied from the log into the file at once, and needs the log no more; only a
reader can delay that, for as long as it reads, or a full disk. One process writes: it holds a lock in a file beside the
run file, which the operating system releases when the process dies, and signs in, so that whoever lost the lock finds
out before it writes. Readers are welcome at any time.

Tables: `fact`, `round` (its proposal), `plan` (theta and seeds, before they are simulated), `simulation` (one row each,
its outcome), `batch` (the data of simulations acknowledged together), `result`. Arrays are little-endian blobs or .npz.

Source: SQLite, https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from homing.simulation.beside import beside, check_beside, resolved
from homing.simulation.facts import to_json
from homing.simulation.keeper import Contents, Result, Round, StoreError
from homing.simulation.npz import from_npz, to_npz
from homing.simulation.outcomes import Outcomes, Status
from homing.simulation.sqlite import (
    APPLICATION,
    FORMAT,
    WRITER,
    Damage,
    check_structure,
    checksum,
    connect,
    connect_to_read,
    explained,
    lock,
    recognise,
    transaction,
    written_by,
)
from homing.text import printable_texts

_PIECE = 2**26  # bytes of data kept in one row of `batch`, or one simulation's data if those are more
_ROWS_AT_ONCE = 2**16
_SCHEMA = (
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT, crc INTEGER) WITHOUT ROWID",
    "CREATE TABLE round (number INTEGER PRIMARY KEY, proposal TEXT, arrays BLOB, crc INTEGER)",
    "CREATE TABLE plan (first INTEGER PRIMARY KEY, round INTEGER, d INTEGER, theta BLOB, seeds BLOB, crc INTEGER)",
    "CREATE TABLE simulation (id INTEGER PRIMARY KEY, status INTEGER, seconds REAL, worker TEXT, error TEXT)",
    "CREATE TABLE batch (number INTEGER PRIMARY KEY, round INTEGER, ids BLOB, has_data BLOB, dtype TEXT, shape TEXT, "
    "crc INTEGER, x_crc INTEGER, x BLOB)",
    "CREATE TABLE result (round INTEGER PRIMARY KEY, record TEXT, estimator TEXT, arrays BLOB, crc INTEGER)",
)


_writers: weakref.WeakValueDictionary[Path, RunFile] = weakref.WeakValueDictionary()  # of this process, by file


class RunFile:
    """A run file, open for writing or for reading; the `Keeper` behind `open_store(path)`.

    Within one process the newest writer takes the file from the one before, which takes it back when it is used again,
    unless the newer one wrote: so a cell of a notebook may be run twice, and a call that was refused changes nothing.

    Args:
        path: The file; made if it is not there and is to be written.
        write: Whether to become its one writer.

    Raises:
        StoreError: See `open_store`.
    """

    def __init__(self, path: Path, write: bool):
        self.path, self._file, self._is_writer = path, resolved(path), write
        self._stack = ExitStack()  # lets go of connection, lock and private copy
        self._connection: sqlite3.Connection | None = None
        self._is_closed, self._has_written = False, False
        self._before = ""  # who wrote before this one took the file
        self._process = os.getpid()
        self._busy = threading.RLock()
        self._me = to_json(f"process {os.getpid()} on {socket.gethostname()} ({os.urandom(4).hex()})", "writer")
        if not write and not os.path.exists(self._file):
            raise StoreError(f"{path} is not there.")
        try:
            self._open()
            self._check()
            if write:
                self._sign_in()
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        with suppress(Exception):  # also at the end of the process, when modules are gone
            self.close()

    def _open(self) -> None:
        """Take hold of the file, and of the lock if it is to be written."""
        if self._is_writer:
            holder = _writers.get(self._file)
            if holder is not None and holder is not self and holder._process == os.getpid():
                holder.release()
            connection = lock(self._file)
            self._stack.callback(_unlock, connection, self._file)
            _writers[self._file] = self
        with explained(self.path, "be opened"):
            check_beside(self._file, self._is_writer)
            if self._is_writer and not self._file.exists():
                _create(self._file)
            self._connection = connect_to_read(self._file, self._stack)
            recognise(self._connection, self._file)
            if self._is_writer:
                self._connection.close()
                self._connection = self._stack.enter_context(closing(connect(self._file, "mode=rw")))

    @property
    def source(self) -> Path:
        return self.path

    @property
    def _db(self) -> sqlite3.Connection:
        if self._is_closed:
            raise StoreError(f"{self.path} was closed; open it again to use it.")
        if self._process != os.getpid():
            raise StoreError(
                f"{self.path} was opened by process {self._process}, of which this one is a copy, and SQLite's "
                "connections must not be copied. Open it again here."
            )
        if self._connection is None:
            self._take_back()
        assert self._connection is not None
        return self._connection

    def _take_back(self) -> None:
        """Go on where the file was let go of, if nobody wrote to it meanwhile."""
        with self._busy:
            if written_by(self._file) != json.loads(self._me):
                raise StoreError(self._taken_over(written_by(self._file)))
            try:
                self._open()
                self._set_up()
            except BaseException:
                self.release()
                raise

    def _taken_over(self, writer: str) -> str:
        if writer.startswith(json.loads(self._me).rpartition(" (")[0] + " ("):
            writer = "a newer object of this process, as when a notebook's cell is run twice"
        return (
            f"{self.path} was taken over by {writer or 'another process'}; this object no longer writes to it. Go on "
            "with the newer one, or make this one again by the same lines."
        )

    def _set_up(self) -> None:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 1"):
            self._db.execute(f"PRAGMA {setting}")

    def _sign_in(self) -> None:
        with explained(self.path, "be written"):
            self._set_up()
            found = self._db.execute("SELECT value FROM fact WHERE name = ?", (WRITER,)).fetchone()
            self._before = found[0] if found else ""
            self._save("fact", WRITER, self._me)

    def release(self) -> None:
        """Let go of the file, which is one file again, and of the lock; the next use takes both back."""
        if self._process != os.getpid():  # a copy of this process: the file is not its own
            return
        with self._busy:
            if self._connection is not None and self._is_writer:
                with suppress(sqlite3.Error, StoreError):  # a reader has the log, or the disk is full: it stays
                    if self._before and not self._has_written:
                        self._save("fact", WRITER, self._before)
                    self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection = None
            self._stack.close()
            if _writers.get(self._file) is self:
                del _writers[self._file]

    def close(self) -> None:
        """Let go of the file for good."""
        self.release()
        self._is_closed = True

    # ---------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._busy, explained(self.path, "be written"), transaction(self._db):
            (writer,) = self._db.execute("SELECT value FROM fact WHERE name = ?", (WRITER,)).fetchone()
            if writer != self._me:
                raise StoreError(self._taken_over(json.loads(writer)))
            yield self._db
        self._has_written = True

    def _save(self, table: str, *values: Any) -> None:
        marks = ", ".join("?" * (len(values) + 1))
        verb = "REPLACE" if table in ("fact", "result") else "INSERT"
        self._db.execute(f"{verb} INTO {table} VALUES ({marks})", (*values, checksum(*values)))

    def save_fact(self, name: str, text: str) -> None:
        with self._writing():
            self._save("fact", name, text)

    def save_plan(self, number: int, first: int, theta: np.ndarray, seeds: np.ndarray, new: Round | None) -> None:
        with self._writing():
            if new is not None:
                self._save("round", number, to_json(new.proposal, "proposal"), to_npz(new.arrays))
            for start in range(0, len(theta), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                blobs = theta[rows].astype("<f8").tobytes(), seeds[rows].astype("<u8").tobytes()
                self._save("plan", first + start, number, theta.shape[1], *blobs)

    def save_outcomes(self, number: int, ids: np.ndarray, outcomes: Outcomes) -> None:
        row_bytes = max(outcomes.x.nbytes // max(len(ids), 1), 1)
        step = min(max(_PIECE // row_bytes, 1), _ROWS_AT_ONCE)
        with self._writing() as db:
            for start in range(0, len(ids), step):
                self._save_batch(db, number, ids[start : start + step], outcomes[start : start + step])

    def _save_batch(self, db: sqlite3.Connection, number: int, ids: np.ndarray, outcomes: Outcomes) -> None:
        columns = ids, outcomes.status, outcomes.seconds, outcomes.worker, outcomes.error
        db.executemany("INSERT INTO simulation VALUES (?, ?, ?, ?, ?)", zip(*(column.tolist() for column in columns)))
        has_data, x = outcomes.has_data, b""
        dtype, shape = None, None
        if has_data.any():
            data = outcomes.x if has_data.all() else outcomes.x[has_data]
            data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
            dtype, shape, x = data.dtype.str, json.dumps(data.shape[1:]), data.data.cast("B")
        head = number, ids.astype("<i8").tobytes(), has_data.tobytes(), dtype, shape
        values = (*head, checksum(*head, *_row_contents(columns[1:])), zlib.crc32(x), x)
        db.execute("INSERT INTO batch VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def save_result(self, number: int, result: Result) -> None:
        texts = to_json(result.record, "record"), to_json(result.estimator, "estimator")
        with self._writing():
            self._save("result", number, *texts, to_npz(result.arrays))

    # ---------------------------------------------------------------------------------------------------- reading

    def load(self) -> Contents:
        with explained(self.path, "be read"), transaction(self._db, "DEFERRED"):
            facts = {name: value for name, value in self._rows("fact", "name, value") if name != WRITER}
            rounds = self._planned()
            for number, record, estimator, arrays in self._rows("result", "round, record, estimator, arrays"):
                result = Result(json.loads(record), json.loads(estimator), from_npz(arrays))
                rounds[number] = replace(rounds[number], result=result)
            x_shape = self._fill_outcomes(list(rounds.values()))
        return Contents(facts, rounds, x_shape)

    def _rows(self, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """A table's rows, each checked, in the order of their keys."""
        for *values, crc in self._db.execute(f"SELECT {columns}, crc FROM {table} ORDER BY 1"):
            if crc != checksum(*values):
                raise Damage(f"a row of table {table} is not what was written")
            yield tuple(values)

    def _planned(self) -> dict[int, Round]:
        pieces: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        firsts: dict[int, int] = {}
        total = 0
        for first, number, d, theta, seeds in self._rows("plan", "first, round, d, theta, seeds"):
            piece = (
                np.frombuffer(theta, "<f8").reshape(-1, d).astype(float),
                np.frombuffer(seeds, "<u8").astype(np.uint64),
            )
            pieces.setdefault(number, []).append(piece)
            firsts.setdefault(number, first)
            if first != total:
                raise Damage(f"the plan of simulations {total} to {first - 1} is missing")
            total += len(piece[0])
        rounds = {}
        for number, proposal, arrays in self._rows("round", "number, proposal, arrays"):
            theta, seeds = (np.concatenate(parts) for parts in zip(*pieces.pop(number)))
            ids = firsts[number] + np.arange(len(theta))
            rounds[number] = Round(number, ids, Outcomes.planned(theta), seeds, json.loads(proposal), from_npz(arrays))
        if pieces:
            raise Damage(f"round {min(pieces)} is missing")
        return dict(sorted(rounds.items(), key=lambda item: item[1].ids[0]))

    def _fill_outcomes(self, rounds: list[Round]) -> tuple[int, ...] | None:
        """Set what became of each simulation, check it against its batch; the data's shape."""
        ids, *columns = self._simulations()
        if (columns[0] > max(Status)).any():
            raise Damage(f"a simulation has status {columns[0].max()}")
        known = {each.number: each for each in rounds}
        x_shape, count = None, 0
        query = "SELECT number, round, ids, has_data, dtype, shape, crc FROM batch ORDER BY number"
        for expected, (number, *head, crc) in enumerate(self._db.execute(query), start=1):
            mine = np.frombuffer(head[1], "<i8")
            places = np.searchsorted(ids, mine)
            found = number == expected and len(ids) > places.max(initial=-1) and np.array_equal(ids[places], mine)
            if not found or crc != checksum(*head, *_row_contents([column[places] for column in columns])):
                raise Damage(f"batch {expected} of simulations is not what was written")
            if head[0] not in known or not np.isin(mine, known[head[0]].ids).all():
                raise Damage(f"batch {expected} has simulations of other rounds")
            shape = tuple(json.loads(head[-1])) if head[-1] else x_shape
            if x_shape not in (None, shape):
                raise Damage(f"batch {expected} has data of shape {shape}, those before have {x_shape}")
            x_shape = shape
            count += len(mine)
        if count != len(ids):
            raise Damage(f"{len(ids) - count} simulations belong to no batch")
        columns[2:] = map(printable_texts, columns[2:])
        for each in rounds:
            first, last = each.ids[[0, -1]]
            mine = slice(*np.searchsorted(ids, [first, last + 1]))
            for name, column in zip(("status", "seconds", "worker", "error"), columns):
                getattr(each.outcomes, name)[ids[mine] - first] = column[mine]
        return x_shape

    def _simulations(self) -> tuple[np.ndarray, ...]:
        """Id, status, seconds, worker and error of all recorded simulations, by id."""
        dtypes = (np.int64, np.uint8, np.float64, object, object)
        cursor = self._db.execute("SELECT id, status, seconds, worker, error FROM simulation ORDER BY id")
        parts: list[tuple[np.ndarray, ...]] = [tuple(np.empty(0, dtype) for dtype in dtypes)]
        same: dict[str, str] = {}  # a worker's name is one text, not one a row
        while chunk := cursor.fetchmany(_ROWS_AT_ONCE):
            ids, status, seconds, worker, error = zip(*chunk)
            columns = ids, status, seconds, [same.setdefault(name, name) for name in worker], error
            parts.append(tuple(np.array(column, dtype) for column, dtype in zip(columns, dtypes)))
        return tuple(np.concatenate(columns) for columns in zip(*parts))

    def data(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with explained(self.path, "be read"):
            query = (
                "SELECT number, ids, has_data, dtype, shape, x_crc, x FROM batch "
                "WHERE round = ? AND dtype NOT NULL ORDER BY number"
            )
            for batch, ids, has_data, dtype, shape, crc, x in self._db.execute(query, (number,)):
                _check_data(batch, crc, x)
                rows = np.frombuffer(ids, "<i8")[np.frombuffer(has_data, bool)]
                data = np.frombuffer(x, dtype).reshape(len(rows), *json.loads(shape))
                yield rows, data.astype(data.dtype.newbyteorder("="), copy=False)

    def num_bytes(self, number: int) -> int:
        """How large a round's data are, all together."""
        with explained(self.path, "be read"):
            query = "SELECT coalesce(sum(length(x)), 0) FROM batch WHERE round = ?"
            return int(self._db.execute(query, (number,)).fetchone()[0])

    def _check(self) -> None:
        """Read everything once: SQLite's own structures, and the data, whose checksums `load` does not look at."""
        with explained(self.path, "be read"), transaction(self._db, "DEFERRED"):
            check_structure(self._db, _SCHEMA)
            for number, crc, x in self._db.execute("SELECT number, x_crc, x FROM batch"):
                _check_data(number, crc, x)


def _check_data(batch: int, crc: int, x: bytes) -> None:
    if crc != zlib.crc32(x):
        raise Damage(f"the data of batch {batch} are not what was written")


def _create(path: Path) -> None:
    """Make an empty run file under another name, so that under its own it is whole whenever it is there."""
    new = beside(path, "-new")
    for suffix in ("", "-journal", "-wal", "-shm"):  # that an earlier attempt left
        beside(new, suffix).unlink(missing_ok=True)
    connection = connect(new, "mode=rwc")
    try:
        with transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
    finally:
        connection.close()
    os.replace(new, path)
    if os.name == "posix":  # the new name must survive a power cut too
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


def _unlock(connection: sqlite3.Connection, path: Path) -> None:
    with suppress(OSError):
        beside(path, "-lock").unlink()
    connection.close()


def _row_contents(columns: Any) -> list[bytes]:
    status, seconds, worker, error = columns
    texts = ["\0".join(column).encode() for column in (worker, error)]
    return [status.astype(np.uint8).tobytes(), seconds.astype("<f8").tobytes(), *texts]

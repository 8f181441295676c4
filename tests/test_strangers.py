"""Files that somebody else made or a killed process left: read safely, or refused before anything is done."""

import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import homing
from homing.cli import main
from homing.cli.template import init
from homing.runs import OpenedRun
from homing.simulation import Outcomes, RunView, StoreError, open_store
from homing.simulation.writing import OutputError

posix = pytest.mark.skipif(os.name != "posix", reason="links and mounts of POSIX")
MAGIC = bytes.fromhex("d9d505f920a163d7")
THETA = np.random.default_rng(0).normal(size=(20, 2))


def write(path, **facts):
    with open_store(path) as store:
        store.require(seed=1, **facts)
        store.record(store.plan(1, THETA, np.arange(20), {"name": "prior"}), Outcomes.given(THETA, THETA))


def tampered(path, *statements):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def journal_of(path, victim, pages=None):
    """A hot journal that puts the first page back and, with a victim, names that as its super-journal."""
    data, nonce = path.read_bytes(), 0x12345678
    size = struct.unpack(">H", data[16:18])[0]
    total = nonce + sum(data[place] for place in range(size - 200, 0, -200))
    head = MAGIC + struct.pack(">IIIII", 1, nonce, pages or len(data) // size, 512, size)
    record = struct.pack(">I", 1) + data[:size] + struct.pack(">I", total & 0xFFFFFFFF)
    if victim is None:
        return head.ljust(512, b"\0") + record
    name = str(victim).encode()
    name = struct.pack(">I", 2**30 // size + 1) + name + struct.pack(">II", len(name), sum(name)) + MAGIC
    return head.ljust(512, b"\0") + record + name


def tell(path):
    assert main(["tell", str(path)]) == 4


def status(path):
    assert main(["status", str(path)]) == 4


def by_library(open_it):
    def opens(path):
        with pytest.raises(StoreError):
            open_it(path)

    return opens


OPENERS = {"open": by_library(homing.open), "write": by_library(open_store), "status": status, "tell": tell}


# Journals ------------------------------------------------------------------------------------------------------------


def test_the_journal_of_these_tests_deletes_what_it_names(tmp_path):
    """SQLite alone does what is refused below; else these tests would show nothing."""
    write(path := tmp_path / "run")
    (victim := tmp_path / "thesis").write_text("four years of work")
    (tmp_path / "run-journal").write_bytes(journal_of(path, victim))
    connection = sqlite3.connect(path)
    connection.execute("SELECT * FROM fact").fetchall()
    connection.close()
    assert not victim.exists()


@posix
@pytest.mark.parametrize("how", OPENERS)
@pytest.mark.parametrize("where", ["run", "a link to run", "run-lock", "an empty run-lock", "run-new"])
def test_a_journal_that_names_another_file_deletes_nothing(tmp_path, where, how):
    write(path := tmp_path / "run")
    (victim := tmp_path / "thesis").write_text("four years of work")
    journal = journal_of(path, victim)
    opened = path
    if where == "run-new":
        path.unlink()
        (tmp_path / "run-new").write_bytes(b"")
    elif "run-lock" in where:
        shutil.copy(path, tmp_path / "run-lock")
        if where.startswith("an empty"):
            (tmp_path / "run-lock").write_bytes(b"")
    elif where == "a link to run":
        (opened := tmp_path / "elsewhere").mkdir()
        (opened := opened / "link").symlink_to(path)
    name = {"run-lock": "run-lock", "an empty run-lock": "run-lock", "run-new": "run-new"}.get(where, "run")
    (tmp_path / f"{name}-journal").write_bytes(journal)
    harmless = ("lock" in where and how in ("open", "status")) or (where == "run-new" and how == "write")
    if harmless:  # who reads takes no lock, and a new file is begun on its own
        homing.open(opened) if how != "write" else open_store(opened).close()
    else:
        OPENERS[how](opened)
        if name == "run" or where == "run-lock":
            assert (tmp_path / f"{name}-journal").read_bytes() == journal  # and as it was
    assert victim.read_text() == "four years of work"


@pytest.mark.parametrize("how", ["open", "write"])
def test_a_journal_that_makes_the_file_huge_is_refused(tmp_path, how):
    write(path := tmp_path / "run")
    before = path.read_bytes()
    (tmp_path / "run-journal").write_bytes(journal_of(path, None, pages=2**31))
    OPENERS[how](path)
    assert path.read_bytes() == before


# What lies beside ----------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm", "-lock", "-lock-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path, suffix, kind):
    """And not waited for, followed, or written to."""
    write(path := tmp_path / "run")
    (victim := tmp_path / "thesis").write_text("four years of work")
    place = tmp_path / f"run{suffix}"
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    if not (suffix == "" and kind == "dangling"):  # which is as a file that is not there yet
        OPENERS["write"](path)
    if "lock" not in suffix:
        OPENERS["open"](path)
    assert victim.read_text() == "four years of work"
    assert suffix == "" or not (tmp_path / "nowhere").exists()


def test_a_log_that_claims_more_than_there_is_makes_no_huge_file(tmp_path):
    write(path := tmp_path / "run")
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO fact VALUES ('a', '0', 0)")
        shutil.copy(path, copy := tmp_path / "copy")
        log = bytearray((tmp_path / "run-wal").read_bytes())
    connection.close()
    size = struct.unpack(">I", log[8:12])[0]
    order, place = (">" if log[3] & 1 else "<"), 32
    sums = struct.unpack(">II", log[24:32])

    def checksum(sums, part):
        a, b = sums
        for x, y in struct.iter_unpack(f"{order}II", part):
            a = (a + x + b) & 0xFFFFFFFF
            b = (b + y + a) & 0xFFFFFFFF
        return a, b

    while place < len(log):  # the last frame commits a file of 2**32 - 2 pages, with all checksums right
        last = place + 24 + size >= len(log)
        if last:
            log[place + 4 : place + 8] = struct.pack(">I", 2**32 - 2)
        sums = checksum(checksum(sums, log[place : place + 8]), log[place + 24 : place + 24 + size])
        log[place + 16 : place + 24] = struct.pack(">II", *sums)
        place += 24 + size
    for how in ("open", "write"):
        shutil.copy(copy, tmp_path / how)
        (tmp_path / f"{how}-wal").write_bytes(log)
        with suppress(StoreError), {"open": homing.open, "write": open_store}[how](tmp_path / how) as opened:
            assert opened.rounds[1].outcomes.ok.all()
        assert (tmp_path / how).stat().st_size < 2**20


# Schemas -------------------------------------------------------------------------------------------------------------

SCHEMAS = {
    "a trigger": ["CREATE TRIGGER evil AFTER UPDATE ON fact BEGIN DELETE FROM simulation; END"],
    "a view for a table": ["DROP TABLE result", "CREATE VIEW result AS SELECT 1, 2, 3, 4, 5"],
    "an index with an expression": ["CREATE INDEX evil ON fact (abs(crc))"],
    "one more table": ["CREATE TABLE more (a)"],
    "a virtual table": [
        "INSERT INTO sqlite_schema VALUES ('table', 'evil', 'evil', 0, 'CREATE VIRTUAL TABLE evil USING fts5(a)')"
    ],
    "a generated column": [
        "DROP TABLE result",
        "CREATE TABLE result (round INTEGER PRIMARY KEY, record TEXT, estimator TEXT, arrays BLOB, crc INTEGER, "
        "x AS (zeroblob(1000000000)))",
    ],
    "another name for a table": ["UPDATE sqlite_schema SET tbl_name = 'plan' WHERE name = 'fact'"],
    "two tables in one place": [
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'plan') "
        "WHERE name = 'round'"
    ],
    "no text": ["UPDATE sqlite_schema SET sql = NULL WHERE name = 'plan'"],
    "nonsense": ["UPDATE sqlite_schema SET sql = 'CREATE \x1b[31m' WHERE name = 'plan'"],
}


@pytest.mark.parametrize("how", ["open", "write"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_other_tables_than_those_of_a_run_file_are_refused(tmp_path, schema, how):
    write(path := tmp_path / "run")
    tampered(path, *SCHEMAS[schema])
    OPENERS[how](path)


def test_pages_that_are_shared_are_refused_at_once(tmp_path):
    """A table whose pages are one page, thousands of times over and over, has rows without end."""
    write(path := tmp_path / "run")
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO fact VALUES (?, 'null', 0)", [(f"fact {k:07}",) for k in range(40_000)])
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'fact'").fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    size = struct.unpack(">H", data[16:18])[0]
    page = (root - 1) * size
    assert data[page] == 2  # an inner page of an index, which WITHOUT ROWID is
    cells = struct.unpack(f">{(count := struct.unpack('>H', data[page + 3 : page + 5])[0])}H",
                          data[page + 12 : page + 12 + 2 * count])  # fmt: skip
    for cell in cells:
        data[page + cell : page + cell + 4] = data[page + 8 : page + 12]
    path.write_bytes(data)
    OPENERS["open"](path)


# Where nothing can be written ----------------------------------------------------------------------------------------

KILLED = """
import os, sqlite3, sys
from homing.simulation import open_store
import numpy as np

path, how = sys.argv[1:]
store = open_store(path)
store.require(seed=5)
if how == "within a run":
    store.plan(1, np.zeros((3, 2)), np.arange(3))
    os.kill(os.getpid(), 9)
store.close()
connection = sqlite3.connect(path, isolation_level=None)
if how == "marked for a log":
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    os.kill(os.getpid(), 9)
connection.execute("PRAGMA cache_size = 1")  # so that what is begun reaches the file
connection.execute("BEGIN")
connection.execute("UPDATE fact SET value = '0'")
connection.execute("INSERT INTO fact VALUES ('large', ?, 0)", ("x" * 100_000,))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def read_only(tmp_path):
    """A folder, and what makes it one of a read-only mount; skipped where one may not mount."""
    if os.name != "posix" or subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("this needs the right to mount")
    yield tmp_path, lambda: subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
    subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.parametrize("files", ["all", "without index"])
@pytest.mark.parametrize("how", ["within a run", "within a change", "marked for a log"])
def test_a_killed_runs_file_is_read_where_nothing_can_be_written(read_only, how, files, tmp_path_factory, monkeypatch):
    folder, close = read_only
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder / "run"), how])
    assert killed.returncode == -signal.SIGKILL
    if files == "without index":
        (folder / "run-shm").unlink(missing_ok=True)
    close()
    monkeypatch.setattr("tempfile.tempdir", str(copies := tmp_path_factory.mktemp("copies")))
    with RunView(folder / "run") as view:
        assert view.facts["seed"] == 5
        assert len(view.rounds) == (how == "within a run")
    assert not list(copies.iterdir())  # a copy that was needed is gone
    with pytest.raises(StoreError, match=r"run cannot be written: .*Is its directory there, and writable"):
        open_store(folder / "run")
    if how == "within a change":
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        with pytest.raises(StoreError, match=r"run was left in the middle of a change.* set TMPDIR"):
            homing.open(folder / "run")


def test_a_path_that_is_none(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path / "circle", "a\0b", tmp_path / ("long" * 200), Path("/dev/zero"), "/proc/self/mem", tmp_path):
        for open_it in (homing.open, open_store, homing.load):
            with pytest.raises(StoreError):
                open_it(path)


# Written where nothing can be written --------------------------------------------------------------------------------


def outputs():
    """All that homing writes into a file that it is given, by the file's name."""
    from homing.cli.files import write_batch, write_samples
    from homing.report import report
    from learning import PRIORS, made, posterior_of

    posterior = posterior_of(made("mdn"), PRIORS["box"])

    def page(path):
        with open_store() as store:
            store.plan(1, THETA, np.arange(20), {"name": "prior"})
            report(OpenedRun(store.source, None, None), path)

    def batch(path):
        write_batch(path, np.arange(20), THETA, ["a", "b"])

    yield "posterior.npz", posterior.save
    yield "report.html", page
    yield from (
        (f"samples{suffix}", lambda path: write_samples(path, THETA, ["a", "b"])) for suffix in (".csv", ".npy")
    )
    yield from ((f"batch{suffix}", batch) for suffix in (".csv", ".npz", ".json"))
    yield "problem.py", lambda path: init(path, True)


@pytest.mark.parametrize("what", ["missing", "a file", "full"])
def test_what_cannot_be_written_says_so_and_leaves_what_was_there(tmp_path, what, monkeypatch):
    (tmp_path / "file").write_text("")
    folder = {"missing": tmp_path / "missing", "a file": tmp_path / "file", "full": tmp_path}[what]
    for name, save in outputs():
        if what == "full":
            (folder / name).write_text("as it was")
            monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match=rf"{name} cannot be written: (No |Not |File exists)") as caught:
            save(folder / name)
        monkeypatch.undo()
        assert isinstance(caught.value, OSError)
        if what == "full":
            assert (folder / name).read_text() == "as it was"
            assert not list(folder.glob(".homing*"))


def full(*_):
    raise OSError(28, "No space left on device")


def test_what_is_written_on_a_read_only_mount_says_so(read_only):
    folder, close = read_only
    (folder / "posterior.npz").write_text("as it was")
    close()
    for name, save in outputs():
        with pytest.raises(OutputError, match=rf"{name} cannot be written: Read-only file system"):
            save(folder / name)
    assert (folder / "posterior.npz").read_text() == "as it was"


@posix
def test_what_is_written_follows_no_link_of_a_stranger_and_keeps_ones_own(tmp_path):
    (victim := tmp_path / "thesis").write_text("four years of work")
    (tmp_path / "posterior.npz-new").symlink_to(victim)
    (real := tmp_path / "scratch").write_text("old")
    real.chmod(0o640)
    (tmp_path / "posterior.npz").symlink_to(real)
    next(outputs())[1](tmp_path / "posterior.npz")
    assert victim.read_text() == "four years of work"
    assert (tmp_path / "posterior.npz").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert str(homing.load(tmp_path / "posterior.npz"))

"""Run files after kills, on full disks, damaged, foreign, or wanted by two: a correct result or a clear error."""

import gc
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from homing.simulation import Outcomes, RunView, StoreError, open_store
from homing.simulation.runfile import RunFile

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

# What is killed: three rounds, each planned, simulated, recorded and finished; what is acknowledged goes to a log.
CHILD = """
import json, sys
import numpy as np
from homing.random import generator, row_seeds
from homing.simulation import Simulator, open_store, simulate

path, log, num_workers = sys.argv[1], open(sys.argv[2], "a"), int(sys.argv[3])
ROUNDS, ROWS = 3, 150

def acknowledge(*what):
    print(json.dumps(what), file=log, flush=True)

def simulator(theta, seed):
    noise = np.random.default_rng(seed).normal(size=2)
    np.sort(np.random.default_rng(seed).normal(size=3000))
    if theta[0] > 1.5:
        raise ValueError("too large")
    return theta + noise

with open_store(path) as store:
    print("ready", flush=True)
    store.require(seed=5, settings={"rounds": ROUNDS})
    for number in range(1, ROUNDS + 1):
        known = store.rounds.get(number)
        if known is None:
            earlier = store.rounds[number - 1].result.record["mean"] if number > 1 else 0.0
            theta = generator(5, "theta", number).normal(earlier, 1.0, size=(ROWS, 2))
            store.plan(number, theta, row_seeds(5, "simulate", number, ROWS), {"mean": earlier})
            acknowledge("plan", number)
            known = store.rounds[number]
        if known.result is not None:
            continue
        run = simulate(Simulator(simulator, batched=False), known.theta, known.seeds, rows=known.pending,
                       num_workers=num_workers, x_shape=store.x_shape)
        for rows, outcomes in run:
            for part in np.array_split(np.arange(len(rows)), max(len(rows) // 7, 1)):
                store.record(known.ids[rows[part]], outcomes[part])
                acknowledge("rows", known.ids[rows[part]].tolist())
        outcomes = store.outcomes(number)
        mean = float(outcomes.x[outcomes.ok].mean())
        store.finish(number, {"mean": mean}, "mean", {"mean": np.array([mean])})
        acknowledge("finish", number)
print("done", flush=True)
"""


def start(path, log, num_workers):
    arguments = [sys.executable, "-c", CHILD, str(path), str(log), str(num_workers)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def contents(path):
    """All that a run file holds, but who ran what how fast."""
    with RunView(path) as view:
        rounds = view.rounds
        results = {number: known.result and known.result.record for number, known in rounds.items()}
        simulations = view.simulations() if rounds else {}
    return results, {name: simulations[name] for name in simulations if name not in ("seconds", "worker", "error")}


def check_acknowledged(path, log):
    results, found = contents(path)
    for line in log.read_text().splitlines():
        what, value = json.loads(line)
        if what == "plan":
            assert value in results
        elif what == "finish":
            assert results[value] is not None
        else:
            assert (found["status"][value] != "planned").all()
    connection = sqlite3.connect(path)
    blobs = [blob for (blob,) in connection.execute("SELECT ids FROM batch")]
    connection.close()
    ids = np.concatenate([np.empty(0, int), *(np.frombuffer(blob, "<i8") for blob in blobs)])
    assert len(np.unique(ids)) == len(ids) == sum(found.get("status", np.empty(0)) != "planned")  # none is there twice


def campaign(directory, kills, workers):
    rng, expected, killed, files = random.Random(1), None, 0, 0
    assert start(directory / "whole", directory / "log", 1).wait() == 0
    expected = contents(directory / "whole")
    while killed < kills:
        files += 1
        path, log = directory / f"run {files}", directory / f"log {files}"
        log.touch()
        finished = False
        while not finished:
            child = start(path, log, workers[files % len(workers)])
            assert child.stdout is not None
            child.stdout.readline()
            if killed < kills:
                time.sleep(rng.uniform(0, 0.25))
                child.send_signal(signal.SIGKILL)
                killed += child.wait() == -signal.SIGKILL
            else:
                assert child.wait() == 0
            finished = child.stdout.read() == "done\n" and child.returncode == 0
            if path.exists():
                check_acknowledged(path, log)
        results, found = contents(path)
        assert results == expected[0]
        for name, array in expected[1].items():
            np.testing.assert_array_equal(found[name], array)


@posix
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    campaign(tmp_path, kills=8, workers=[1])


BEGUN = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so that what is begun reaches the file
connection.execute("BEGIN")
connection.execute("UPDATE fact SET value = '0'")
connection.execute("INSERT INTO fact VALUES ('large', ?, 0)", ("x" * 100_000,))
os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_a_reader_comes_after_a_kill_within_a_change_without_a_log(tmp_path):
    """As while the log is put away: SQLite's journal lies beside the file, and who only reads may not undo it."""
    path = tmp_path / "run"
    with open_store(path) as store:
        store.require(seed=5)
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", BEGUN, str(path)], check=False)
    assert (tmp_path / "run-journal").exists()
    assert path.read_bytes() != before
    with RunView(path) as view:
        assert view.facts["seed"] == 5
    assert path.read_bytes() == before


# As above, but what a simulation takes is anywhere between a ten thousandth of a second and two, and some take longer
# or fail at once; each says when it was through.
UNEVEN = """
import os, sys, time
import numpy as np
from homing.random import row_seeds
from homing.simulation import Simulator, open_store, simulate

path, log, num_workers, tail = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def simulator(theta, rng):
    row = int(theta[0])
    draw = np.random.default_rng(row).uniform(size=2)
    quick = row % 40 < 30 if tail == "late" else draw[0] < 0.1
    seconds = 0.0 if quick else 3.0 if draw[0] > 0.98 else 10 ** (-4 + 4.3 * draw[1])
    time.sleep(seconds)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{row} {time.time()}\\n".encode())
    os.close(file)
    if draw[0] < 0.05:
        raise ValueError("at once")
    return theta

with open_store(path) as store:
    if not store.rounds:
        store.plan(1, np.arange(4000.0)[:, None], np.arange(4000))
    known = store.rounds[1]
    print("ready", flush=True)
    run = simulate(Simulator(simulator, batched=False), known.theta, known.seeds, rows=known.pending,
                   num_workers=num_workers, x_shape=store.x_shape,
                   keep=lambda rows, outcomes: store.record(known.ids[rows], outcomes))
    for rows, outcomes in run:
        store.record(known.ids[rows], outcomes)
"""


def uneven_campaign(directory, kills, workers):
    """How many finished rows were two seconds old at a kill and not in the file, and how many were younger."""
    rng, lost, young, finished = random.Random(1), 0, 0, 0
    for kill in range(kills):
        number = kill // 10
        path, log = directory / f"run {number}", directory / f"log {number}"
        arguments = [path, log, workers[number % len(workers)], ["even", "late"][number % 2]]
        child = subprocess.Popen([sys.executable, "-c", UNEVEN, *map(str, arguments)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 6.0))
        child.send_signal(signal.SIGKILL)
        killed = time.time()
        child.wait()
        child.stdout.close()
        time.sleep(1.5 if arguments[2] > 1 else 0)  # workers end by themselves
        with RunView(path) as view:
            status = view.simulations()["status"]
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        ended = {int(row): float(when) for row, when in lines if float(when) < killed}
        missing = [when for row, when in ended.items() if status[row] == "planned"]
        lost += sum(when < killed - 2.0 for when in missing)
        young += len(missing)
        finished += len(ended) if kill % 10 == 9 or kill == kills - 1 else 0
        log.write_text("".join(f"{row} {when}\n" for row, when in ended.items() if status[row] != "planned"))
    return lost, young, finished


@posix
@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_finished_is_soon_in_the_file_however_uneven_the_cost(tmp_path, num_workers):
    lost, _, finished = uneven_campaign(tmp_path, kills=3, workers=[num_workers])
    assert lost == 0
    assert finished > 5  # of how many depends on how busy the machine is


@posix
@pytest.mark.slow
def test_200_kills_lose_nothing_that_was_finished_two_seconds_before(tmp_path):
    lost, young, finished = uneven_campaign(tmp_path, kills=200, workers=[1, 1, 2, 4])
    print(f"{finished} finished, {young} of them unkept at a kill, {lost} for longer than two seconds")
    assert finished > 1000
    assert lost == 0


@posix
@pytest.mark.slow
def test_a_run_killed_200_times(tmp_path):
    campaign(tmp_path, kills=220, workers=[1, 1, 2])


# Damage --------------------------------------------------------------------------------------------------------------

THETA = np.random.default_rng(0).normal(size=(200, 2))


def write(path):
    with open_store(path) as store:
        store.require(seed=1, settings={"a": 1})
        ids = store.plan(1, THETA, np.arange(200), {"kind": "prior"})
        for start in range(0, 150, 10):
            rows = slice(start, start + 10)
            outcomes = Outcomes.given(THETA[rows], THETA[rows].repeat(5, axis=1), {3: f"error {start}"}, "node")
            store.record(ids[rows], outcomes)
        store.finish(1, {"epochs": 3}, "maf", {"w": np.arange(50.0)})
    return path.read_bytes()


def read(path):
    with RunView(path) as view:
        results = [(known.proposal, known.result.record, known.result.arrays["w"]) for known in view.rounds.values()]
        return [view.facts, results, {name: array.tolist() for name, array in view.simulations().items()}]


def test_a_changed_byte_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "run"
    whole = write(path)
    expected, rng, noticed = repr(read(path)), random.Random(2), 0
    for place in [*range(0, 110, 3), *(rng.randrange(len(whole)) for _ in range(120))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = repr(read(path))
        except StoreError:
            noticed += 1
        else:
            assert found == expected, f"byte {place}"
        for name in ("run-wal", "run-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert noticed > 30


def test_a_changed_number_is_named(tmp_path):
    path = tmp_path / "run"
    whole = write(path)
    for value, what in ((THETA[60].repeat(5), "the data of batch 7"), (THETA[60], "a row of table plan")):
        place = whole.index(value.tobytes())
        path.write_bytes(whole[: place + 3] + bytes([whole[place + 3] ^ 1]) + whole[place + 4 :])
        with pytest.raises(StoreError, match=rf"run is damaged: {what} (are|is) not what (were|was) written. .*a copy"):
            RunView(path).rounds  # noqa: B018


@pytest.mark.parametrize("table", ["plan", "round", "simulation", "batch"])
def test_a_missing_row_is_noticed(tmp_path, table):
    path = tmp_path / "run"
    write(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) - (count(*) > 1) FROM {table})")
    connection.close()
    with pytest.raises(StoreError, match="is damaged"):
        open_store(path)


def test_a_truncated_file_is_noticed(tmp_path):
    path = tmp_path / "run"
    whole = write(path)
    for size in [0, 1, 50, 99, 100, 512, 4095, *range(4096, len(whole), 2048), len(whole) - 1]:
        path.write_bytes(whole[:size])
        for open_it in (open_store, RunView):
            with pytest.raises(StoreError, match=r"is damaged|too few for a run file"):
                open_it(path)
        assert path.read_bytes() == whole[:size]  # and left as it is


WRITER = """
import os, sys
import numpy as np
from homing.simulation import Outcomes, open_store

store = open_store(sys.argv[1])
ids = store.plan(1, np.arange(40.0).reshape(20, 2), np.arange(20))
for row in range(20):
    store.record(ids[[row]], Outcomes.given(np.arange(40.0).reshape(20, 2)[[row]], [[row]]))
os.kill(os.getpid(), 9)
"""


@posix
def test_a_damaged_log_of_a_dead_writer_costs_nothing_acknowledged(tmp_path):
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "run")])
    files = {name: (tmp_path / name).read_bytes() for name in ("run", "run-wal")}
    rng, length = random.Random(3), len(files["run-wal"])
    places = [0, 20, 30, *(rng.randrange(length) for _ in range(20))]
    logs = [files["run-wal"][:place] + b"\xaa\xaa" + files["run-wal"][place + 2 :] for place in places]
    for log in (*logs, b"", files["run-wal"][: length // 2], files["run-wal"]):
        for open_it in (RunView, open_store):
            (tmp_path / "run").write_bytes(files["run"])
            (tmp_path / "run-wal").write_bytes(log)
            (tmp_path / "run-shm").unlink(missing_ok=True)
            with open_it(tmp_path / "run") as opened:
                assert opened.rounds[1].outcomes.ok.all()


def test_damage_while_the_file_is_open_is_noticed(tmp_path):
    x = np.random.default_rng(1).normal(size=(4, 250_000))  # more than SQLite keeps in memory
    with open_store(tmp_path / "run") as store:
        ids = store.plan(1, THETA[:4], np.arange(4))
        for row in range(4):
            store.record(ids[[row]], Outcomes.given(THETA[[row]], x[[row]]))
        place = (tmp_path / "run").read_bytes().index(x[0, 5:9].tobytes())
        with open(tmp_path / "run", "r+b") as file:
            file.seek(place)
            file.write(x[0, 6:7].tobytes())
        with pytest.raises(StoreError, match="run is damaged: the data of batch 1 are not what was written"):
            store.outcomes(1)


def test_files_that_are_no_run_files(tmp_path):
    text, database, newer = tmp_path / "notes.txt", tmp_path / "other.db", tmp_path / "newer"
    text.write_text("theta = 1\n" * 1000)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE music (title TEXT)")
    connection.close()
    write(newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = [path.read_bytes() for path in (text, database, newer)]
    for open_it in (open_store, RunView):
        with pytest.raises(StoreError, match=r"notes.txt is no run file: file is not a database. Choose another name"):
            open_it(text)
        with pytest.raises(StoreError, match=r"other.db is an SQLite database, but no run file"):
            open_it(database)
        with pytest.raises(
            StoreError, match=r"newer has format 2; this version of homing reads formats up to 1. Upgrade"
        ):
            open_it(newer)
    assert [path.read_bytes() for path in (text, database, newer)] == before
    with pytest.raises(StoreError, match=r"absent is not there\."):
        RunView(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    with pytest.raises(StoreError, match=r"cannot be written: unable to open.* Is its directory there, and writable"):
        open_store(tmp_path / "no directory" / "run")


# Two writers ---------------------------------------------------------------------------------------------------------


def other_process(code, *arguments):
    code = "import sys; from homing.simulation import *\n" + code
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_a_second_writer_is_refused_and_readers_are_welcome(tmp_path):
    path = tmp_path / "run"
    with open_store(path) as store:
        store.plan(1, THETA, np.arange(200))
        other = other_process("print(RunView(sys.argv[1])); open_store(sys.argv[1])", path)
        assert other.stdout == "round 1: 200 simulations planned\n"
        said = other.stderr.splitlines()[-1]
        assert f"run is being written by process {os.getpid()} on" in said
        assert "one writer at a time" in said
        store.plan(1, THETA, np.arange(200))
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    open_store(path).close()


def test_a_newer_object_of_this_process_takes_the_file(tmp_path):
    """As when a notebook's cell is run twice: the older one says so when it is used again, and writes nothing."""
    path = tmp_path / "run"
    first = open_store(path)
    first.plan(1, THETA, np.arange(200))
    link = tmp_path / "link"
    link.symlink_to(path)
    second = open_store(link)  # the same file by another name
    assert second.rounds[1].pending.tolist() == list(range(200))
    second.record(np.arange(10), Outcomes.given(THETA[:10], THETA[:10]))
    with pytest.raises(StoreError, match="taken over by a newer object of this process") as caught:
        first.record(np.arange(10), Outcomes.given(THETA[:10], THETA[:10]))
    assert str(os.getpid()) not in str(caught.value)
    second.record(np.arange(10, 20), Outcomes.given(THETA[10:20], THETA[10:20]))  # and keeps the file
    second.close()
    with pytest.raises(StoreError, match="taken over by a newer object of this process"):
        first.plan(1, THETA, np.arange(200))
    with RunView(path) as view:
        assert (view.simulations()["status"] == "ok").sum() == 20
    assert {file.name for file in tmp_path.iterdir()} == {"run", "link"}


def test_a_newer_object_that_was_refused_leaves_the_file_to_the_older(tmp_path):
    path = tmp_path / "run"
    first = open_store(path)
    first.require(seed=1)
    with open_store(path) as second, pytest.raises(StoreError, match="seed: it has 1, this run 2"):
        second.require(seed=2)
    first.plan(1, THETA, np.arange(200))
    first.close()
    with RunView(path) as view:
        assert len(view.rounds[1].ids) == 200


@posix
def test_a_store_that_let_go_goes_on_unless_another_has_written(tmp_path):
    path, tell = tmp_path / "run", "store = open_store(sys.argv[1]); store.remember('a', 1); store.close()"
    with open_store(path) as store:
        store.remember("a", 0)
        assert "is being written" in other_process(tell, path).stderr
        with pytest.raises(ZeroDivisionError), store.released_on_error():
            1 / 0  # noqa: B018
        assert [file.name for file in tmp_path.iterdir()] == ["run"]
        assert "seed" not in RunView(path).facts
        store.remember("seed", 2)  # nobody wrote: it goes on
        with pytest.raises(ZeroDivisionError), store.released_on_error():
            1 / 0  # noqa: B018
        assert other_process(tell, path).stderr == ""
        with pytest.raises(StoreError, match=r"was taken over by process \d+.*no longer writes to it"):
            store.remember("seed", 3)
    with RunView(path) as view:
        assert view.facts == {"a": 1, "seed": 2}


def test_an_object_that_is_gone_holds_nothing(tmp_path):
    store = open_store(tmp_path / "run")
    store.remember("a", 1)
    assert len(list(tmp_path.iterdir())) > 1
    del store
    gc.collect()
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@posix
def test_a_forked_process_leaves_the_file_alone(tmp_path):
    store = open_store(tmp_path / "run")
    store.remember("a", 1)
    before = sorted(file.name for file in tmp_path.iterdir())
    child = os.fork()
    if child == 0:
        try:
            with pytest.raises(StoreError, match="of which this one is a copy"):
                store.remember("a", 2)
            store.close()
            assert sorted(file.name for file in tmp_path.iterdir()) == before
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    store.remember("a", 3)
    store.close()


@posix
def test_the_lock_of_a_dead_writer_is_no_obstacle(tmp_path):
    path = tmp_path / "run"
    code = "import os, sys; from homing.simulation import open_store; store = open_store(sys.argv[1]); "
    code += "store.remember('a', 1); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(path)])
    assert {"run", "run-lock"} <= {file.name for file in tmp_path.iterdir()}
    with open_store(path) as store:
        assert store.recall("a") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_whoever_lost_the_lock_does_not_write(tmp_path):
    with open_store(tmp_path / "run") as store:
        store.plan(1, THETA, np.arange(200))
        (tmp_path / "run-lock").unlink()  # somebody tidies up
        with open_store(tmp_path / "run") as second:
            with pytest.raises(StoreError, match=r"was taken over by .* of this process.*no longer writes to it"):
                store.record(np.arange(200), Outcomes.given(THETA, THETA))
            second.record(np.arange(100), Outcomes.given(THETA[:100], THETA[:100]))
    with RunView(tmp_path / "run") as view:
        assert (view.simulations()["status"] == "ok").sum() == 100


# Disks ---------------------------------------------------------------------------------------------------------------


def record_one_by_one(store, ids, done):
    for row in range(200):
        rows = slice(row, row + 1)
        store.record(ids[rows], Outcomes.given(THETA[rows], np.full((1, 5000), row)))
        done.append(row)


@posix
def test_a_full_disk_is_a_clear_error_and_costs_nothing_acknowledged(tmp_path):
    path = tmp_path / "run"
    with open_store(path) as store:
        ids = store.plan(1, THETA, np.arange(200))
        before, done = resource.getrlimit(resource.RLIMIT_FSIZE), []
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
        try:
            with pytest.raises(
                StoreError, match=r"run could not be written: .*recorded before is kept.*room on the disk"
            ):
                record_one_by_one(store, ids, done)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        n = len(done)
        assert 2 < n < 20  # as many again in the log as in the file itself
        assert store.rounds[1].pending.tolist() == list(range(n, 200))
        rest = Outcomes.given(THETA[n:], np.full((200 - n, 5000), n))
        assert store.record(ids[n:], rest) == 200 - n  # there is room again: the same store goes on
    with RunView(path) as view:
        np.testing.assert_array_equal(view.simulations()["x"][:, 0], np.minimum(np.arange(200), n))


@posix
def test_a_directory_that_cannot_be_written(tmp_path):
    write(tmp_path / "run")
    for directory in list(tmp_path.parents)[:3]:
        os.chmod(directory, 0o755)
    os.chmod(tmp_path, 0o555)
    assert len(read(tmp_path / "run")) == 3  # by who may import what this takes
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:  # whom nothing stops
                os.setuid(65534)
            assert len(read(tmp_path / "run")) == 3
            with pytest.raises(StoreError, match=r"cannot be written: .*Is its directory there, and writable"):
                open_store(tmp_path / "run")
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_interrupted_write_is_known_again(tmp_path, monkeypatch):
    """Ctrl-C between the file's change and the store's own: the store looks into the file again."""
    save = RunFile.save_outcomes

    def interrupted(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with open_store(tmp_path / "run") as store:
        ids = store.plan(1, THETA, np.arange(200))
        monkeypatch.setattr(RunFile, "save_outcomes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.record(ids[:50], Outcomes.given(THETA[:50], THETA[:50]))
        monkeypatch.undo()
        assert store.rounds[1].pending.tolist() == list(range(50, 200))
        assert store.record(ids, Outcomes.given(THETA, THETA)) == 150
    assert Path(tmp_path / "run").exists()

"""Real files with something changed at random, also with all checksums made right again: read, or refused in words."""

import io
import json
import math
import shutil
import sqlite3
import subprocess
import sys
import warnings
import zipfile
import zlib
from random import Random

import numpy as np
import pytest

import homing
from homing.cli import main
from homing.cli.files import read_array, read_results
from homing.errors import HomingError, warn
from homing.estimators import posterior_nn
from homing.report import report
from homing.simulation import Outcomes, open_store
from homing.simulation.npz import from_npz, to_npz
from homing.simulation.runfile import _row_contents
from homing.simulation.sqlite import checksum
from homing.simulation.told import tell

X_O = [0.5, -0.5]
ODD = [
    *(None, True, "", "x", "\x1b[31m\r", "\ud800", 0, -1, 1, 2**31, 2**62, -(2**63), 1e308, 1e-320, math.nan, math.inf),
    *([], {}, [[]], [None], {"": 0}, {"is": "array", "name": "x"}, {"is": "dict", "items": 3}, b"", b"\xff" * 9),
]  # fmt: skip
DEEP = "[" * 100_000


# The real files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run file with two rounds, failures, a check and labels; and a posterior's file."""
    folder = tmp_path_factory.mktemp("real")

    def simulator(theta, rng):
        if theta[0] > 1.5:
            raise ValueError("\x1b[2J\x1b]0;gone\x07 too large")
        return theta + 0.3 * rng.normal(size=2)

    inference = homing.SNPE(
        simulator, homing.BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=3, store=folder / "run", batched=False,
        density_estimator=posterior_nn("mdn", hidden_features=8, num_components=2), show_progress_bars=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = inference(60, max_num_epochs=2).set_default_x(X_O)
        posterior = inference(60, posterior, max_num_epochs=2).set_default_x(X_O)
        inference.remember(labels=["rate", "delay"])
        inference.check(20, posterior=posterior)
    posterior.save(folder / "posterior.npz")
    inference.close()
    return folder


# What is done with them ----------------------------------------------------------------------------------------------


def look(path):
    """All that is looked at in a run file without drawing from its posterior."""
    shown = []
    with homing.open(path) as run:
        shown += [str(run), repr(run.facts), str(run.records), str(run.checks)]
        found = run.simulations()
        shown += [*found["error"], *found["worker"], str(run.rounds[1].proposal)[:0]]
        run.check_of(None, None)
        shown += [str(posterior := run.posterior()), repr(posterior)]
    return shown


def load(path):
    posterior = homing.load(path)
    return [str(posterior), repr(posterior)]


def safe(use, path):
    """What is shown is plain text; what is raised is homing's, and so is its text. Whether it could be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shown, used = use(path), True
        except HomingError as error:
            shown, used = [str(error)], False
    for text in shown:
        assert not any(character in text for character in "\x1b\x07\r\x9b\u202e"), text
    return used


# How they are changed ------------------------------------------------------------------------------------------------


def changed_bytes(content, rng):
    """Bits flipped, bytes set to extremes, a part cut off, taken out, doubled, or put elsewhere."""
    content, start = bytearray(content), rng.randrange(len(content))
    length = min(1 << rng.randrange(12), len(content) - start)
    part = bytes(content[start : start + length])
    how = rng.randrange(7)
    if how == 0:
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == 1:
        content[start : start + length] = bytes([rng.choice([0, 1, 127, 128, 255])]) * length
    elif how == 2:
        del content[start:]
    elif how == 3:
        del content[start : start + length]
    elif how == 4:
        content[start:start] = part * rng.choice([1, 50])
    elif how == 5:
        place = rng.randrange(len(content))
        content[place : place + length] = part
    else:
        content[start : start + length] = rng.randbytes(length)
    return bytes(content)


def changed_json(tree, rng):
    """JSON with one value, anywhere, taken away, renamed, or replaced by an odd one or by another of its own."""
    tree, places = json.loads(json.dumps(tree)), []

    def walk(part):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            places.append((part, key))
            if isinstance(value, (dict, list)):
                walk(value)

    if not isinstance(tree, (dict, list)) or not tree or rng.random() < 0.02:
        return rng.choice([odd for odd in ODD if not isinstance(odd, bytes)])
    walk(tree)
    part, key = rng.choice(places)
    how = rng.randrange(4)
    if how == 0:
        del part[key]
    elif how == 1 and isinstance(part, dict):
        part[rng.choice(["is", "name", "\x1b[31m", "shape"])] = part.pop(key)
    elif how == 2:
        other, name = rng.choice(places)
        part[key] = json.loads(json.dumps(other[name]))
    else:
        part[key] = rng.choice([odd for odd in ODD if not isinstance(odd, bytes)])
    return tree


def changed_array(array, rng):
    """An array of another shape, kind or size, or with extreme numbers in it."""
    how = rng.randrange(6)
    if how == 0:
        return array.reshape(-1)[: rng.randrange(array.size + 1)]
    if how == 1 and array.dtype.kind != "U":
        return array.astype(rng.choice(["<f2", "<i8", "<c16", "<U3", "?", "<u1"]), copy=True)
    if how == 2:
        return np.full_like(array, rng.choice([0, 1, 127])) if rng.random() < 0.5 else np.zeros((0, *array.shape))
    if how == 3 and array.dtype.kind == "f":
        return np.full_like(array, rng.choice([np.nan, np.inf, 1e38, -1e-38]))
    return array[None] if how == 4 else np.zeros(rng.choice([(), (1,), (0, 2**20), (3, 3)]))


def changed_arrays(arrays, rng):
    arrays = dict(arrays)
    if arrays:
        name = rng.choice(sorted(arrays))
        arrays[name] = changed_array(arrays[name], rng)
    return arrays


def changed_posterior(content, rng):
    """The file of a posterior that is as whole as ever, with something else in it."""
    arrays = from_npz(content)
    described = json.loads(arrays.pop("homing").tobytes())
    if rng.random() < 0.6:
        described = changed_json(described, rng)
    else:
        arrays = changed_arrays(arrays, rng)
    text = json.dumps(described) if rng.random() < 0.98 else DEEP
    return to_npz({"homing": np.frombuffer(text.encode(), np.uint8), **arrays})


TABLES = {  # the columns that a row's checksum covers, the key first
    "fact": ["name", "value"],
    "plan": ["first", "round", "d", "theta", "seeds"],
    "round": ["number", "proposal", "arrays"],
    "result": ["round", "record", "estimator", "arrays"],
    "simulation": ["id", "status", "seconds", "worker", "error"],
    "batch": ["number", "round", "ids", "has_data", "dtype", "shape", "x"],
}


def changed_value(value, rng):
    if isinstance(value, bytes):
        if value[:2] == b"PK":
            return to_npz(changed_arrays(from_npz(value), rng))
        return rng.choice(
            [value[:-8], value + value, value[::-1], changed_bytes(value, rng) if value else b"a", "text"]
        )
    if isinstance(value, str) and rng.random() < 0.8:
        try:
            return json.dumps(changed_json(json.loads(value), rng))
        except ValueError:
            pass
    return rng.choice([*(odd for odd in ODD if odd is None or isinstance(odd, (int, float, str, bytes))), DEEP])


def changed_rows(path, rng):
    """One field of one row of a run file, with all checksums made right again."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    table = rng.choice(sorted(TABLES))
    columns, key = TABLES[table], TABLES[table][0]
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1").fetchall()
    row = list(rng.choice(rows))
    place, before = rng.randrange(len(row)), row[0]
    try:
        row[place] = changed_value(row[place], rng)
        marks = ", ".join(f"{column} = ?" for column in columns)
        connection.execute(f"UPDATE {table} SET {marks} WHERE {key} = ?", (*row, before))
        if table not in ("simulation", "batch"):
            connection.execute(f"UPDATE {table} SET crc = ? WHERE {key} = ?", (checksum(*row), row[0]))
        mend_batches(connection)
        connection.commit()
    except (sqlite3.Error, OverflowError, TypeError, ValueError, UnicodeError):
        pass  # what cannot be written so is as it was
    connection.close()


def mend_batches(connection):
    for number, *head, x in connection.execute(
        "SELECT number, round, ids, has_data, dtype, shape, x FROM batch"
    ).fetchall():
        ids = np.frombuffer(head[1], "<i8").tolist()
        rows = [
            connection.execute("SELECT status, seconds, worker, error FROM simulation WHERE id = ?", (k,)).fetchone()
            for k in ids
        ]
        status, seconds, worker, error = zip(*rows)
        contents = _row_contents([np.array(status, np.uint8), np.array(seconds, float), worker, error])
        sums = checksum(*head, *contents), zlib.crc32(x)
        connection.execute("UPDATE batch SET crc = ?, x_crc = ? WHERE number = ?", (*sums, number))


def changed_run(path, rng):
    if rng.random() < 0.3:
        path.write_bytes(changed_bytes(path.read_bytes(), rng))
    else:
        for _ in range(rng.choice([1, 1, 2])):
            changed_rows(path, rng)


# The laws ------------------------------------------------------------------------------------------------------------


def fuzz_runs(real, tmp_path, seeds, use=look):
    used = 0
    for seed in seeds:
        path = tmp_path / f"run {seed}"
        shutil.copy(real / "run", path)
        changed_run(path, Random(seed))
        used += safe(use, path)
        path.unlink()
    return used


def fuzz_posteriors(real, tmp_path, seeds, use=load):
    content, used = (real / "posterior.npz").read_bytes(), 0
    for seed in seeds:
        rng, path = Random(seed), tmp_path / f"posterior {seed}.npz"
        path.write_bytes(changed_bytes(content, rng) if rng.random() < 0.3 else changed_posterior(content, rng))
        used += safe(use, path)
    return used


def test_as_they_are_they_are_used(real):
    assert safe(look, real / "run")
    assert safe(load, real / "posterior.npz")


def test_a_changed_run_file_is_read_or_refused(real, tmp_path):
    assert 10 < fuzz_runs(real, tmp_path, range(90)) < 85


def test_a_changed_posterior_is_loaded_or_refused(real, tmp_path):
    assert 10 < fuzz_posteriors(real, tmp_path, range(150)) < 140


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 4000, 500))
def test_thousands_of_changed_run_files(real, tmp_path, first):
    fuzz_runs(real, tmp_path, range(first, first + 500))


@pytest.mark.slow
def test_thousands_of_changed_posteriors(real, tmp_path):
    fuzz_posteriors(real, tmp_path, range(1000, 4000))


# Results that are told ------------------------------------------------------------------------------------------------


def results(folder):
    """Files that `homing tell` and `--x` read, one of each kind."""
    ids, x = np.arange(6), np.arange(12.0).reshape(6, 2)
    errors = np.array(["", "", "no node", "", "", ""])
    np.savez_compressed(folder / "results.npz", ids=ids, x=x, errors=errors)
    np.save(folder / "results.npy", np.column_stack([ids, x]))
    rows = [{"id": k, "x": [k, 1.0]} if k != 2 else {"id": 2, "error": "no node"} for k in range(6)]
    (folder / "results.json").write_text(json.dumps(rows))
    (folder / "results.csv").write_text("id,x1,x2,error\n" + "".join(f"{k},{k},1.5,\n" for k in range(6)))
    (folder / "x.csv").write_text("0.5\n1.5\n")
    return sorted(folder.iterdir())


def read_told(path):
    if path.name.endswith("x.csv"):
        return [str(read_array(path).shape)]
    with open_store() as store:
        store.plan(1, np.zeros((6, 2)), np.arange(6))
        read = read_results(path, ["rate", "delay"], (2,))
        tell(store, read.ids, read.x, read.errors)
        return [*store.outcomes(1).error]


@pytest.mark.parametrize("kind", range(5))
def test_changed_results_are_read_or_refused(tmp_path, kind):
    (tmp_path / "real").mkdir()
    real, used = results(tmp_path / "real")[kind], 0
    assert safe(read_told, real)
    for seed in range(80):
        rng, path = Random(seed), tmp_path / f"{seed} {real.name}"
        content = real.read_bytes()
        if path.suffix == ".json" and rng.random() < 0.7:
            path.write_text(json.dumps(changed_json(json.loads(content), rng)) if seed else DEEP)
        elif path.suffix == ".npz" and rng.random() < 0.7:
            path.write_bytes(to_npz(changed_arrays(from_npz(content), rng)))
        else:
            path.write_bytes(changed_bytes(content, rng))
        used += safe(read_told, path)
    assert used < 80


# Files that claim much, or unpack to much ----------------------------------------------------------------------------


def header(shape, descr="<f8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def zipped(compression=zipfile.ZIP_DEFLATED, **entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


NOUGHT = bytes(40_000_000)
CLAIMS = {
    "terabytes": lambda: header((2**40,)),
    "an endless row of nothing": lambda: header((2**62, 0)),
    "texts of no length": lambda: header((2**50,), "<U0"),
    "a negative size": lambda: header((-1, 5)),
    "a size that is no number": lambda: header(("'a'",)),
    "objects": lambda: header((1,), "|O"),
    "a deep header": lambda: b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535,
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("where", ["posterior.npz", "results.npz", "results.npy", "x.npy"])
def test_what_a_header_claims_is_not_believed(tmp_path, claim, where):
    content, path = CLAIMS[claim](), tmp_path / where
    path.write_bytes(zipped(homing=content, ids=content, x=content) if path.suffix == ".npz" else content)
    read = {"posterior.npz": load, "x.npy": read_array}.get(where, read_told)
    assert not safe(read, path)


MEASURED = """
import resource, sys
import homing
from homing.cli.files import read_results
from homing.cli import main
from homing.errors import HomingError, warn

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    if sys.argv[1] == "run":
        with homing.open(sys.argv[2]) as run:
            run.simulations()
    elif sys.argv[1] == "posterior":
        homing.load(sys.argv[2])
    else:
        read_results(homing.simulation.view.Path(sys.argv[2]), [], None)
except HomingError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kibibytes as Linux counts them")
@pytest.mark.parametrize("what", ["posterior", "results", "run", "run with few data"])
def test_a_small_file_takes_no_memory_to_speak_of(tmp_path, what):
    """400 MB of nothing, packed a thousand times smaller. And NaN for simulations that nobody ran."""
    path = tmp_path / f"{what}.npz"
    if what == "run with few data":
        with open_store(path) as store:
            ids = store.plan(1, np.zeros((100_000, 1)), np.arange(100_000))
            store.record(ids[:1], Outcomes.given(np.zeros((1, 1)), np.zeros((1, 100_000))))
    else:
        entry = header((len(NOUGHT),), "|u1") + NOUGHT
        bomb = zipped(**dict.fromkeys(["homing", "ids", "x", *map(str, range(7))], entry))
        path.write_bytes(bomb)
        if what == "run":
            with open_store(path := tmp_path / "run") as store:
                store.plan(1, np.zeros((3, 1)), np.arange(3))
            with sqlite3.connect(path) as connection:
                (row,) = connection.execute("SELECT number, proposal FROM round")
                connection.execute("UPDATE round SET arrays = ?, crc = ?", (bomb, checksum(*row, bomb)))
            connection.close()
    assert path.stat().st_size < 5e6
    command = [sys.executable, "-c", MEASURED, what.split()[0], str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200, done.stderr


# Control characters --------------------------------------------------------------------------------------------------


def test_nothing_in_a_file_reaches_the_terminal(real, tmp_path, capsys):
    """Labels, names, facts, errors and records with what terminals obey: in texts, tables, commands and the report."""
    evil = "\x1b]0;gone\x07\r\u202e\x9b31m"
    shutil.copy(real / "run", path := tmp_path / f"run {evil[:3]}")
    with open_store(path) as store:
        store.remember("labels", [f"a{evil}", f"b\n{evil}"])
        store.remember("simulator", f"module.{evil}")
        result = store.rounds[2].result
        record = {**result.record, "failing": f"theta[0] {evil}", "loss": evil}
        store.finish(2, record, result.estimator, result.arrays)
    main(["status", str(path), "--no-posterior"])
    main(["sample", str(path), "-n", "3"])
    main(["tell", str(path), str(tmp_path / f"missing {evil}.csv")])
    assert main(["status", str(tmp_path / f"missing {evil}")]) == 4
    texts = [*look(path), *capsys.readouterr(), report(path, tmp_path / "page.html").read_text()]
    with pytest.warns(UserWarning, match="a warning") as warned:
        warn(f"a warning {evil}")
    texts += [str(warned[0].message), str(homing.errors.SimulationError(f"failed: {evil}"))]
    assert "\\x1b]0;gone" in texts[-1]
    for text in texts:
        assert not set(evil) & set(text) - {"0", ";", "g", "o", "n", "e", "]", "3", "1", "m"}, text[:2000]


def test_what_a_simulator_raises_is_kept_and_shown_as_text(real):
    with homing.open(real / "run") as run:
        errors = [text for text in run.simulations()["error"] if text]
    assert errors
    assert all("\\x1b[2J\\x1b]0;gone\\x07 too large" in text for text in errors)

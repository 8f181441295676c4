"""Samples, batches and results as files that other programs read and write.

CSV carries numbers in full: what is read back is what was written, to the last digit.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from homing.cli.failures import FileError
from homing.errors import HomingError, MissingError
from homing.simulation.npz import check_filled, from_npy, from_npz, read_plain
from homing.simulation.writing import replacing

SAMPLES, BATCHES, RESULTS = (".csv", ".npy", ".parquet"), (".csv", ".npz", ".json"), (".csv", ".npz", ".npy", ".json")


@dataclass(frozen=True)
class Results:
    """What came back of planned simulations.

    Attributes:
        ids: Shape (n,).
        x: Shape (n, *x_shape), NaN where there are none; None if all failed.
        errors: Why simulations failed, by id.
    """

    ids: np.ndarray
    x: np.ndarray | None
    errors: dict[int, str] = field(default_factory=dict)


def check_suffix(path: Path, known: Sequence[str]) -> str:
    """The kind of file that a name says.

    Raises:
        FileError: If it is none of the known ones.
    """
    if path.suffix not in known:
        raise FileError(f"{path} must end in one of {', '.join(known)}, which says how it is written.")
    return path.suffix


def write_samples(path: Path | None, samples: np.ndarray, names: Sequence[str]) -> None:
    """Draws, shape (n, d), with the parameters' names; as CSV on standard output if there is no path."""
    suffix = ".csv" if path is None else check_suffix(path, SAMPLES)
    if suffix == ".csv":
        _write_csv(path, names, samples.tolist())
    elif suffix == ".npy":
        with replacing(_named(path)) as new:
            np.save(new, samples)
    else:
        try:
            import pandas

            with replacing(_named(path)) as new:
                pandas.DataFrame(samples, columns=list(names)).to_parquet(new)
        except ImportError as error:
            raise MissingError.of("a .parquet file", "pandas with pyarrow", "parquet") from error


def write_batch(path: Path | None, ids: np.ndarray, theta: np.ndarray, names: Sequence[str]) -> None:
    """What is to be simulated: ids (n,) and theta (n, d); as CSV on standard output if there is no path."""
    suffix = ".csv" if path is None else check_suffix(path, BATCHES)
    if suffix == ".csv":
        _write_csv(path, ["id", *names], ([number, *row] for number, row in zip(ids.tolist(), theta.tolist())))
    elif suffix == ".npz":
        with replacing(_named(path)) as new:
            np.savez(new, ids=ids, theta=theta, names=np.array(names))
    else:
        rows = [{"id": number, "theta": row} for number, row in zip(ids.tolist(), theta.tolist())]
        with replacing(_named(path)) as new:
            new.write_text(json.dumps(rows), encoding="utf-8")


def _write_csv(path: Path | None, heading: Sequence[str], rows: Any) -> None:
    with ExitStack() as stack:
        file = sys.stdout
        if path is not None:
            file = stack.enter_context(stack.enter_context(replacing(path)).open("w", newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)


def _named(path: Path | None) -> Path:
    """The path, of which only .csv has none."""
    assert path is not None
    return path


def read_array(path: Path) -> np.ndarray:
    """One array of numbers, from .npy or from .csv without a heading.

    Raises:
        FileError: If it holds none.
    """
    suffix = check_suffix(path, (".csv", ".npy"))
    with _readable(path, "an array of numbers"):
        content = read_plain(path)
        if suffix == ".npy":
            array = from_npy(content)
        else:
            array = np.loadtxt(io.StringIO(content.decode("utf-8-sig")), delimiter=",")
        if array.dtype.kind not in "biuf":
            raise ValueError(f"it holds {array.dtype}")
        return array


@contextmanager
def _readable(path: Path, what: str, advice: str = "") -> Iterator[None]:
    """Whatever goes wrong while a file is read, since it may hold anything, says which file it was."""
    try:
        yield
    except HomingError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        raise FileError(f"{path} cannot be read as {what}: {error or type(error).__name__}.{advice}") from error


def read_results(path: Path, names: Sequence[str], x_shape: tuple[int, ...] | None) -> Results:
    """What came back.

    Args:
        path: A CSV with the columns id, those of x in order, and perhaps error; columns with the parameters' names
            are passed over. An .npz with ids, x and perhaps errors, a text each. An .npy, a row for each simulation:
            id, x. JSON: a list of {"id": 0, "x": [...]} or {"id": 0, "error": "..."}.
        names: The parameters' names.
        x_shape: The data's shape if it is known; rows of numbers take it.

    Raises:
        FileError: If the file cannot be read so.
    """
    suffix = check_suffix(path, RESULTS)
    with _readable(path, "results", " homing tell --help says what it holds."):
        results = _READ[suffix](path, names)
        if results.x is None or x_shape is None or results.x.shape[1:] == x_shape:
            return results
        found = results.x.shape[1:]
        if math.prod(found) != math.prod(x_shape):
            raise FileError(f"{path} has data of shape {found} for each simulation, those of the run have {x_shape}.")
        return Results(results.ids, results.x.reshape(len(results.ids), *x_shape), results.errors)


def _from_csv(path: Path, names: Sequence[str]) -> Results:
    lines = io.StringIO(read_plain(path).decode("utf-8-sig"), newline="")
    heading, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row] or [[]]
    if "id" not in heading:
        raise FileError(
            f"{path} needs a first line that names its columns, one of them id; found {','.join(heading)!r}."
        )
    for number, row in enumerate(rows, start=2):
        if len(row) != len(heading):
            raise FileError(f"{path}, line {number}: expected {len(heading)} cells, found {len(row)}.")
    place = {name: column for column, name in enumerate(heading)}
    data = [column for name, column in place.items() if name not in ("id", "error", *names)]
    ids = np.array([int(row[place["id"]]) for row in rows], dtype=np.int64)
    texts = [row[place["error"]] for row in rows] if "error" in place else [""] * len(rows)
    errors = {int(number): text for number, text in zip(ids, texts) if text}
    if not data and not all(texts):
        raise FileError(
            f"{path} has no data: beside id, error and the parameters it needs a column for each number of x, found "
            f"{','.join(heading)!r}."
        )
    x = np.array([[float(row[column] or "nan") for column in data] for row in rows]).reshape(len(rows), len(data))
    return Results(ids, x if data else None, errors)


def _from_npz(path: Path, names: Sequence[str]) -> Results:
    arrays = from_npz(read_plain(path))
    ids, x = arrays["ids"], arrays.get("x")
    texts = arrays["errors"].astype(str).tolist() if "errors" in arrays else []
    return Results(ids, x, {int(number): text for number, text in zip(ids, texts) if text})


def _from_npy(path: Path, names: Sequence[str]) -> Results:
    rows = from_npy(read_plain(path))
    if rows.ndim != 2 or rows.shape[1] < 2 or not (rows[:, 0] == np.round(rows[:, 0])).all():
        raise FileError(f"{path} must have one row for each simulation, its id and its data, found shape {rows.shape}.")
    return Results(rows[:, 0].astype(np.int64), rows[:, 1:])


def _from_json(path: Path, names: Sequence[str]) -> Results:
    rows = json.loads(read_plain(path).decode("utf-8-sig"))
    ids = np.array([row["id"] for row in rows])
    errors = {int(row["id"]): str(row["error"]) for row in rows if row.get("error")}
    silent = [row["id"] for row in rows if row.get("x") is None and not row.get("error")]
    if silent:
        raise FileError(f"{path}: the simulation {silent[0]} has neither x nor error.")
    arrays = {place: np.array(row["x"], float) for place, row in enumerate(rows) if row.get("x") is not None}
    if not arrays:
        return Results(ids, None, errors)
    shapes = sorted({array.shape for array in arrays.values()})
    if len(shapes) > 1:
        raise FileError(f"{path} has data of the shapes {shapes[0]} and {shapes[-1]}; those of a run have one.")
    check_filled(len(arrays), len(rows), arrays[min(arrays)].nbytes)
    x = np.full((len(rows), *shapes[0]), np.nan)
    for place, array in arrays.items():
        x[place] = array
    return Results(ids, x, errors)


_READ = {".csv": _from_csv, ".npz": _from_npz, ".npy": _from_npy, ".json": _from_json}

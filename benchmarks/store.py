"""What running and keeping simulations costs: rows on the disk a second, reading them, and what homing takes of a run.

Prints a Markdown table of medians. Nothing else should run on the machine at the time, and the run files should be on
the disk that is meant (`--directory`): how soon a write is durable is the disk's affair. `--scale 0.01` tries it out.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import loky
import numpy as np

from homing.random import row_seeds
from homing.simulation import Outcomes, RunView, Simulator, open_store, simulate

DIM, BATCH = 3, 10_000
MILLISECOND = 0.001


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        label: What is measured.
        value: The figure.
        form: How it is written, a format with its unit.
        goal: What is to be reached, in words; empty if nothing is.
    """

    label: str
    value: float
    form: str
    goal: str = ""


# Keeping -------------------------------------------------------------------------------------------------------------


def keeping(directory: Path, scale: float) -> Iterator[Figure]:
    """Small rows of 3 parameters and 10 numbers, acknowledged in batches."""
    rng = np.random.default_rng(1)
    for batch in (1, 100, 1_000, 10_000):
        n = max(int(scale * min(1_000 * batch, 500_000)), batch)
        theta = rng.normal(size=(n, DIM))
        outcomes = Outcomes.given(theta, rng.normal(size=(n, 10)), worker="node:1")
        with open_store(directory / f"batches of {batch}") as store:
            ids = store.plan(1, theta, np.arange(n))
            begin = time.perf_counter()
            for start in range(0, n, batch):
                store.record(ids[start : start + batch], outcomes[start : start + batch])
            rate = n / (time.perf_counter() - begin)
        goal = "≥ 50,000" if batch >= 1_000 else ""
        yield Figure(f"small rows made durable, acknowledged {batch:,} at a time, 1 / s", rate, ",.0f", goal)


def reading(directory: Path, scale: float) -> Iterator[Figure]:
    """1e6 rows of 100 numbers, in double precision: 800 MB."""
    n, rng = int(scale * 1_000_000), np.random.default_rng(1)
    path = directory / "to read"
    with open_store(path) as store:
        theta = rng.normal(size=(n, DIM))
        ids = store.plan(1, theta, np.arange(n))
        for start in range(0, n, BATCH):
            rows = slice(start, start + BATCH)
            store.record(ids[rows], Outcomes.given(theta[rows], rng.normal(size=(len(ids[rows]), 100)), worker="a:1"))
    begin = time.perf_counter()
    with open_store(path) as store:
        opened = time.perf_counter()
        outcomes = store.outcomes(1)
        theta, x = outcomes.theta[outcomes.ok], outcomes.x[outcomes.ok]
        read = time.perf_counter()
    if x.shape != (n, 100) or not np.isfinite(x).all():
        raise RuntimeError(f"Of {n} rows of 100 numbers, {x.shape} came back.")
    label = f"{n:,} rows of 100 numbers"
    yield Figure(f"{label} opened, all of it checked, and read to learn from, s", read - begin, ".2f", "≤ 5")
    yield Figure(f"{label}: reading alone, s", read - opened, ".2f")


def large_row(directory: Path, scale: float) -> Iterator[Figure]:
    """Rows of 1e6 numbers, one at a time."""
    count, rng = max(int(20 * scale), 2), np.random.default_rng(1)
    theta, x = rng.normal(size=(count, DIM)), rng.normal(size=(count, 1_000_000))
    with open_store(directory / "large rows") as store:
        ids = store.plan(1, theta, np.arange(count))
        begin = time.perf_counter()
        for row in range(count):
            store.record(ids[row : row + 1], Outcomes.given(theta[row : row + 1], x[row : row + 1]))
        written = time.perf_counter() - begin
    begin = time.perf_counter()
    with RunView(directory / "large rows") as view:
        found = view.simulations()["x"]
    read = time.perf_counter() - begin
    if not np.array_equal(found, x):
        raise RuntimeError("A row of 1e6 numbers is not what was written.")
    yield Figure("a row of 1e6 numbers made durable, s", written / count, ".3f", "works")
    yield Figure("a row of 1e6 numbers read, s", read / count, ".3f", "works")


# Running -------------------------------------------------------------------------------------------------------------


def vectorised(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """About 1e6 rows a second."""
    x = np.concatenate([np.sin(k * theta) for k in range(1, 13)], axis=1)
    return x + 0.1 * rng.normal(size=x.shape)


def seconds_of(n: int, keep_in: Path | None, batch_size: int) -> float:
    """Planning, running and keeping n rows of the vectorised simulator, in a run file or in memory."""
    theta = np.random.default_rng(1).normal(size=(n, DIM))
    begin = time.perf_counter()
    with open_store(keep_in) as store:
        ids = store.plan(1, theta, row_seeds(1, "simulate", 1, n))
        seeds = store.rounds[1].seeds
        for rows, outcomes in simulate(Simulator(vectorised, batched=True), theta, seeds, batch_size=batch_size):
            store.record(ids[rows], outcomes)
        return time.perf_counter() - begin


def alone(n: int, batch_size: int, in_one_array: bool) -> float:
    """The vectorised simulator by itself, its data put into one array or left in batches as they come."""
    theta, rng = np.random.default_rng(1).normal(size=(n, DIM)), np.random.default_rng(2)
    starts = range(0, n, batch_size)
    begin = time.perf_counter()
    if in_one_array:
        x = np.empty((n, 12 * DIM))
        for start in starts:
            x[start : start + batch_size] = vectorised(theta[start : start + batch_size], rng)
        return time.perf_counter() - begin
    batches = [vectorised(theta[start : start + batch_size], rng) for start in starts]
    seconds = time.perf_counter() - begin
    del batches
    return seconds


def batched(directory: Path, scale: float) -> Iterator[Figure]:
    """What homing takes of a run of a simulator that is as quick as NumPy."""
    n = int(scale * 2_000_000)
    for batch_size in (1_000, 10_000):
        by_itself, in_batches = alone(n, batch_size, True), alone(n, batch_size, False)
        in_memory = seconds_of(n, None, batch_size)
        in_file = seconds_of(n, directory / f"vectorised {batch_size}", batch_size)
        label = f"vectorised simulator, batches of {batch_size:,}"
        yield Figure(f"{label}, by itself, data put into one array, rows / s", n / by_itself, ",.0f")
        yield Figure(f"{label}, by itself, data left as they come, rows / s", n / in_batches, ",.0f")
        yield Figure(f"{label}: share of the time that homing takes", 1 - by_itself / in_memory, ".1%", "≤ 10%")
        yield Figure(f"{label}: against data left as they come", 1 - in_batches / in_memory, ".1%")
        yield Figure(f"{label}: the same with a run file, rows / s", n / in_file, ",.0f", "≥ 50,000")


def sleeps(theta: np.ndarray, seed: int) -> np.ndarray:
    """A millisecond of waiting."""
    time.sleep(MILLISECOND)
    return theta


def computes(theta: np.ndarray, seed: int) -> np.ndarray:
    """About a millisecond of work, always the same."""
    return theta + sum(range(40_000)) % 2


def repeat(function: Callable[..., np.ndarray], n: int) -> None:
    theta = np.zeros(DIM)
    for seed in range(n):
        function(theta, seed)


def bare(function: Callable[..., np.ndarray], n: int) -> float:
    """Seconds of n calls in two processes that know of the whole work from the beginning: the ideal."""
    with loky.ProcessPoolExecutor(2) as executor:
        list(executor.map(repeat, [function] * 2, [10] * 2))
        begin = time.perf_counter()
        list(executor.map(repeat, [function] * 2, [n // 2] * 2))
        return time.perf_counter() - begin


def two_workers(directory: Path, scale: float) -> Iterator[Figure]:
    """A simulator of a millisecond on two workers."""
    n = max(int(scale * 20_000), 200)
    theta, seeds = np.random.default_rng(1).normal(size=(n, DIM)), row_seeds(1, "simulate", 1, n)
    for function, label in ((sleeps, "waits"), (computes, "computes")):
        simulator, ideal = Simulator(function, batched=False), bare(function, n)
        simulate(simulator, theta[:100], seeds[:100], num_workers=2).collect()  # the workers are there
        begin = time.perf_counter()
        with open_store(directory / label) as store:
            ids = store.plan(1, theta, seeds)
            for rows, outcomes in simulate(simulator, theta, seeds, num_workers=2):
                store.record(ids[rows], outcomes)
        share = ideal / (time.perf_counter() - begin)
        name = f"a simulator that {label} for {2 * ideal / n * 1000:.2f} ms"
        yield Figure(f"{name}, two workers, with a run file: share of the ideal rate", share, ".1%", "≥ 90%")


# The table -----------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Path, float], Iterator[Figure]]] = {
    "keeping": keeping,
    "reading": reading,
    "large-row": large_row,
    "batched": batched,
    "two-workers": two_workers,
}


def measured(what: Sequence[str], repeats: int, scale: float, directory: str | None) -> Iterator[list[Figure]]:
    """Each line's figures, one a repetition."""
    for name in what:
        runs = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(dir=directory) as place:
                runs.append(list(PARTS[name](Path(place), scale)))
            print(name, [round(figure.value, 4) for figure in runs[-1]], file=sys.stderr, flush=True)
        yield from map(list, zip(*runs))


def main() -> None:
    parser = argparse.ArgumentParser(description="What running and keeping simulations costs.")
    parser.add_argument("--what", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the rows to measure with.")
    parser.add_argument("--directory", help="Where the run files go; default: where temporary files do.")
    options = parser.parse_args()
    lines = [
        f"Medians of {options.repeats}; {os.cpu_count()} processors, {platform.system()}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}, SQLite {sqlite3.sqlite_version}, "
        f"homing {version('homing')}.\n",
        "| | homing | goal |",
        "|---|---|---|",
    ]
    for figures in measured(options.what, options.repeats, options.scale, options.directory):
        value = median(figure.value for figure in figures)
        lines.append(f"| {figures[0].label} | {value:{figures[0].form}} | {figures[0].goal} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

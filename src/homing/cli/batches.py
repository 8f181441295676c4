"""`homing ask` and `homing tell`: a run whose simulations run elsewhere, for example in a cluster's batch jobs.

`ask` goes as far through the rounds as `run` would without simulating: it learns from what was told, and hands out what
is to be simulated next. `tell` keeps what came back. Each may be a process of its own, on a day of its own: the run
file is what they share, and in the end it holds what `run` would have made of the same data.
"""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from homing.cli import options as o
from homing.cli.driving import drive, plan_for
from homing.cli.failures import NO, FileError, check_there
from homing.cli.problem import Known, load_problem
from homing.errors import WaitingError
from homing.names import names_of
from homing.text import printable

Batch = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file: .csv, .npz or .json.")]
Files = Annotated[list[Path] | None, typer.Argument(metavar="RESULTS...", help="Files: .csv, .npz, .npy or .json.")]
GiveUp = Annotated[bool, typer.Option("--give-up", help="Count what is then still missing as failed.")]


def ask(
    context: typer.Context,
    problem: o.ProblemFile,
    simulations: o.Simulations = None,
    store: o.Store = None,
    output: Batch = None,
    rounds: o.Rounds = None,
    seed: o.Seed = None,
    method: o.Method = None,
    proposal: o.Proposal = None,
    estimator: o.Estimator = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Hand out what is to be simulated next.

    Ids and theta. Learns first from what was told, as run does. What a round still waits for is handed out again.
    Without --output, CSV on standard output. Exit code 1: nothing is left to simulate, the run is finished.

    Example: while homing ask problem.py -n 1000 -o in.csv; do ./jobs in.csv out.csv; homing tell problem.homing
    out.csv; done
    """
    from homing.cli.files import BATCHES, check_suffix, write_batch

    if output is not None:
        check_suffix(output, BATCHES)
    elif json:
        raise FileError("--json tells about a file: name one with --output, or leave --json out for CSV.")
    loaded = load_problem(problem, elsewhere=True)
    path = store or loaded.store
    plan = plan_for(loaded, path, simulations, rounds, proposal)
    inference = loaded.inference(path, method, estimator, seed=seed)
    try:
        shown = drive(inference, loaded, plan, path, quiet, context.obj)
    except WaitingError:
        newest = Known.of(path).newest
        assert newest is not None
        ids, theta = newest.ids[newest.pending], newest.theta[newest.pending]
        write_batch(output, ids, theta, names_of(loaded.labels, loaded.dim))
        if output is not None:
            told = {"run": str(path), "file": str(output), "round": newest.number, "ids": ids.tolist()}
            text = f"{len(ids):,} simulations of round {newest.number} are in {output}."
            print(jsonlib.dumps(told) if json else printable(text))
        return
    print(jsonlib.dumps({**shown.result(path), "ids": []}) if json else printable(shown.closing(path)))
    raise typer.Exit(NO)


def tell(path: o.RunFile, results: Files = None, give_up: GiveUp = False, json: o.Json = False) -> None:
    """Keep results of what was handed out.

    In any order, in parts. CSV: columns id and the data in order, perhaps error with a text where a simulation failed.
    JSON: a list of {"id": 0, "x": [...]} or {"id": 0, "error": "..."}. .npz: ids, x, perhaps errors. .npy: rows of id
    and data. The first result of a simulation stands; telling it again does nothing.

    Example: homing tell run.homing results-*.csv
    """
    from homing.cli.files import read_results
    from homing.simulation import open_store
    from homing.simulation.told import tell as keep

    check_there(path)
    labels = Known.of(path).facts.get("labels")
    new = told = 0
    with open_store(path) as store:
        dim = next((known.theta.shape[1] for known in store.rounds.values()), 0)
        for file in results or []:
            found = read_results(file, names_of(labels, dim), store.x_shape)
            new += keep(store, found.ids, found.x, found.errors)
            told += len(found.ids)
        missing = [number for n, known in store.rounds.items() if n > 0 for number in known.ids[known.pending].tolist()]
        if give_up and missing:
            keep(store, missing, errors=dict.fromkeys(missing, "given up"))
    if json:
        waiting = [] if give_up else missing
        print(jsonlib.dumps({"run": str(path), "told": told, "new": new, "waiting": waiting}))
        return
    known = f"; {told - new:,} were there before" if told > new else ""
    rest = "none is missing" if not missing else f"{len(missing):,} are {'given up' if give_up else 'still missing'}"
    print(printable(f"{new:,} new results are in {path}{known}. Of those handed out, {rest}."))

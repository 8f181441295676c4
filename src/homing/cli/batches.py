"""`homing ask`, `tell` and `train`: simulations that run elsewhere, for example in a cluster's batch jobs.

A round is asked for, told of, and learned from, each in a process of its own and on a day of its own; the run file is
what they share.
"""

from __future__ import annotations

import json as jsonlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homing.cli import options as o
from homing.cli.failures import FileError, ProblemError, check_there
from homing.cli.problem import Known, Problem, load_problem
from homing.cli.words import names_of, summarise

if TYPE_CHECKING:
    import numpy as np

    from homing.inference.inference import Inference

Count = Annotated[int, typer.Option("--simulations", "-n", min=1, metavar="N", help="How many.")]
Batch = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file: .csv, .npz or .json.")]
FromPriorAgain = Annotated[bool, typer.Option("--prior", help="From the prior, also in later rounds; trains nothing.")]
NewRound = Annotated[bool, typer.Option("--new-round", help="Do not wait for what the last round still lacks.")]
Files = Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Files: .csv, .npz, .npy or .json.")]


def ask(
    problem: o.ProblemFile,
    simulations: Count = 100,
    store: o.Store = None,
    output: Batch = None,
    prior: FromPriorAgain = False,
    new_round: NewRound = False,
    seed: o.Seed = None,
    method: o.Method = "SNPE",
    density_estimator: o.Estimator = None,
    json: o.Json = False,
) -> None:
    """Plan a round that is simulated elsewhere: ids and theta, to a file or as CSV on standard output.

    The first round comes from the prior. A later one comes from the posterior at x_o, which is learned first from all
    results so far. While results of the last round are missing, its missing simulations are given again.

    Example: homing ask problem.py --store run.homing -n 100 -o batch.csv
    """
    from homing.cli.files import BATCHES, check_suffix, write_batch

    if output is not None:
        check_suffix(output, BATCHES)
    elif json:
        raise FileError("--json tells about a file: name one with --output, or leave --json out for CSV.")
    loaded = load_problem(problem)
    path = store or loaded.store
    names = names_of(loaded.labels, loaded.dim)
    newest = Known.of(path).newest
    if newest is not None and len(newest.pending) and not new_round:
        number, ids, theta = newest.number, newest.ids[newest.pending], newest.theta[newest.pending]
        what = f"the {len(ids):,} simulations that round {number} still waits for; --new-round plans others"
    else:
        inference = loaded.inference(method, density_estimator=density_estimator, seed=seed, store=path)
        with closing(inference):
            ids, theta = ask_next(inference, loaded, simulations, from_prior=prior or newest is None)
            number = inference.rounds[-1].round
        what = (
            f"round {number}, {len(ids):,} simulations from the {'prior' if prior or newest is None else 'posterior'}"
        )
    write_batch(output, ids, theta, names)
    if output is not None:
        told = {"run": str(path), "file": str(output), "round": number, "ids": ids.tolist()}
        print(jsonlib.dumps(told) if json else f"In {output}: {what}.")


def ask_next(inference: Inference, problem: Problem, num: int, from_prior: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ids and theta of the next round, from the prior or from what all results so far teach."""
    from homing.arrays import to_numpy

    inference.adopt()
    proposal = None if from_prior else learned(inference, problem)
    ids, theta = inference.ask(num, proposal)
    return ids, to_numpy(theta).astype(float)


def learned(inference: Inference, problem: Problem):
    """The posterior at x_o of all results so far; what was learned from the same results before is read."""
    from homing.arrays import to_numpy

    if not hasattr(inference, "train"):
        raise ProblemError(f"{type(inference).__name__} cannot learn from simulations that ran elsewhere.")
    inference.adopt()
    inference.train()  # type: ignore[attr-defined]
    inference.remember(x_o=to_numpy(problem.x_o, "x_o"))
    return inference.build_posterior().set_default_x(problem.x_o)  # type: ignore[attr-defined]


def tell(path: o.RunFile, results: Files, json: o.Json = False) -> None:
    """Keep results of simulations that were asked for: in any order, in parts, again and again.

    CSV: columns id and the data in order, perhaps error with a text where a simulation failed. JSON: a list of
    {"id": 0, "x": [...]} or {"id": 0, "error": "..."}. .npz: ids, x, perhaps errors. .npy: rows of id and data. The
    first result of a simulation stands.

    Example: homing tell run.homing results-*.csv
    """
    from homing.cli.files import read_results
    from homing.simulation import RunView, open_store
    from homing.simulation.told import tell as keep

    check_there(path)
    with RunView(path) as view:
        rounds, labels = view.rounds, view.facts.get("labels")
    dim = next((known.theta.shape[1] for known in rounds.values()), 0)
    names, new, told = names_of(labels, dim), 0, 0
    with open_store(path) as store:
        for file in results:
            found = read_results(file, names, store.x_shape)
            new += keep(store, found.ids, found.x, found.errors)
            told += len(found.ids)
        newest = store.rounds[max(store.rounds)]
    waiting = len(newest.pending)
    if json:
        print(jsonlib.dumps({"run": str(path), "told": told, "new": new, "round": newest.number, "waiting": waiting}))
        return
    known = f"; {told - new:,} were there before" if told > new else ""
    rest = f"Round {newest.number} waits for {waiting:,} more." if waiting else f"Round {newest.number} is complete."
    print(f"{new:,} new results are in {path}{known}. {rest}")


def train(
    problem: o.ProblemFile,
    store: o.Store = None,
    method: o.Method = "SNPE",
    density_estimator: o.Estimator = None,
    json: o.Json = False,
) -> None:
    """Learn from all results that were told, and keep the posterior in the run file.

    Example: homing train problem.py --store run.homing
    """
    loaded = load_problem(problem)
    path = store or loaded.store
    check_there(path)
    with closing(loaded.inference(method, density_estimator=density_estimator, store=path)) as inference:
        posterior = learned(inference, loaded)
        summary = summarise(posterior, loaded.labels)
        records = inference.rounds
    if json:
        rounds = [record.as_dict() for record in records]
        print(jsonlib.dumps({"run": str(path), "rounds": rounds, "posterior": summary.as_list()}))
        return
    valid = sum(record.valid for record in records)
    print(f"The posterior of {valid:,} simulations, in {path}:\n{summary}")

"""`homing run`: from a problem file to a posterior, and on from where it stopped."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from homing.cli import options as o
from homing.cli.driving import drive, plan_for
from homing.cli.problem import load_problem
from homing.text import printable

Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="What a simulation may take.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, metavar="N", help="Rows in a call of a batched simulator.")
]
MaxFailures = Annotated[
    int, typer.Option("--max-failures", min=1, metavar="N", help="Stop after so many failures in a row.")
]


def run(
    context: typer.Context,
    problem: o.ProblemFile,
    simulations: o.Simulations = None,
    store: o.Store = None,
    rounds: o.Rounds = None,
    seed: o.Seed = None,
    workers: o.Workers = 1,
    method: o.Method = None,
    proposal: o.Proposal = None,
    estimator: o.Estimator = None,
    timeout: Timeout = None,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = 100,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Simulate and learn, on from where it stopped.

    Each finished simulation is in the run file at once, and after each round the posterior's means and widths are
    shown. Ctrl-C ends it cleanly; the same command again goes on.

    Example: homing run problem.py --simulations 1000 --workers 2 --seed 1
    """
    loaded = load_problem(problem)
    path = store or loaded.store
    plan = plan_for(loaded, path, simulations, rounds, proposal)
    inference = loaded.inference(
        path,
        method,
        estimator,
        num_workers=workers,
        seed=seed,
        timeout=timeout,
        simulation_batch_size=batch_size,
        max_failures=max_failures,
    )
    shown = drive(inference, loaded, plan, path, quiet, context.obj)
    print(jsonlib.dumps(shown.result(path)) if json else printable(shown.closing(path)))
    shown.screen.say(f"Whether to believe it: {loaded.command('check', path)}")

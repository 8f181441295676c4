"""`homing check`: whether to believe the posterior, as a sentence and as an exit code."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homing.cli import options as o
from homing.cli.driving import plan_for
from homing.cli.failures import INTERRUPTED, NO, RunFileError, check_there
from homing.cli.problem import Known, Problem, load_problem
from homing.cli.screen import screen_for
from homing.names import named
from homing.text import printable

if TYPE_CHECKING:
    from homing.diagnostics import Check

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 also for believe with care.")]
Count = Annotated[
    int,
    typer.Option("--simulations", "-n", min=0, metavar="N", help="How many to run for it; 0: what is told without."),
]


def check(
    problem: o.ProblemFile,
    simulations: Count = 200,
    store: o.Store = None,
    workers: o.Workers = 1,
    method: o.Method = None,
    estimator: o.Estimator = None,
    strict: Strict = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Say whether to believe the posterior.

    Of a finished run: it simulates anew, and compares. With --simulations 0 it does not, and needs no simulator. Exit
    code 0 is believe, or believe with care; 1 is do not believe.

    Example: homing check problem.py --store run.homing --simulations 200
    """
    loaded = load_problem(problem, elsewhere=not simulations)
    path = store or loaded.store
    check_there(path)
    inference: Any = loaded.inference(path, method, estimator, num_workers=workers)
    try:
        with closing(inference), screen_for([], quiet=quiet) as screen:
            go_on(inference, loaded, path)
            result = inference.on_progress(screen.told).check(num_simulations=simulations)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on with what was simulated for it.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    told = {"run": str(path), **as_json(result, loaded.labels)}
    print(jsonlib.dumps(told) if json else printable(named(str(result), loaded.labels)))
    if result.level == "fail" or (strict and result.level == "care"):
        raise typer.Exit(NO)


def go_on(inference: Any, problem: Problem, path: Path) -> None:
    """Bring a new inference object to where the run in its file ended, without simulating.

    Raises:
        RunFileError: If the run is not finished.
    """
    if not Known.of(path).driven:
        raise RunFileError(f"{path} was made by neither homing run nor homing ask: check it in Python.")
    plan = plan_for(problem, path)
    if plan.finished < len(plan.sizes):
        raise RunFileError(
            f"The run in {path} has finished {plan.finished} of {len(plan.sizes)} rounds. To finish it: "
            f"{problem.command('run', path)}"
        )
    for _ in plan.steps(inference, problem):
        pass


def as_json(check: Check, labels: Sequence[str] | None) -> dict[str, Any]:
    """What a check says, without what its pictures show."""
    from homing.diagnostics import Verdict

    head = {"level": check.level, "sentence": named(check.sentence, labels), "num_simulations": check.num_simulations}
    kept = [f.name for f in fields(Verdict) if f.name != "curves"]
    verdicts = [{name: getattr(verdict, name) for name in kept} for verdict in check]
    return {**head, "verdicts": [{**verdict, "sentence": named(verdict["sentence"], labels)} for verdict in verdicts]}

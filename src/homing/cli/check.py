"""`homing check`: whether to believe the posterior, as a sentence and as an exit code."""

from __future__ import annotations

import json as jsonlib
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homing.cli import options as o
from homing.cli.driving import plan_for
from homing.cli.failures import NO, RunFileError, check_there
from homing.cli.problem import Known, Problem, load_problem

if TYPE_CHECKING:
    from homing.diagnostics import Check

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 also for believe with care.")]
Count = Annotated[int, typer.Option("--simulations", "-n", min=1, metavar="N", help="How many to run for it.")]


def check(
    problem: o.ProblemFile,
    simulations: Count = 200,
    store: o.Store = None,
    workers: o.Workers = 1,
    method: o.Method = "SNPE",
    density_estimator: o.Estimator = None,
    strict: Strict = False,
    json: o.Json = False,
) -> None:
    """Say whether to believe the posterior of a finished run.

    It simulates anew, and compares. Exit code 0 is believe, or believe with care; 1 is do not believe.

    Example: homing check problem.py --store run.homing --simulations 200
    """
    loaded = load_problem(problem)
    path = store or loaded.store
    check_there(path)
    inference: Any = loaded.inference(method, density_estimator=density_estimator, num_workers=workers, store=path)
    with closing(inference):
        go_on(inference, loaded, path)
        result = inference.check(num_simulations=simulations)
    print(jsonlib.dumps({"run": str(path), **as_json(result)}) if json else result)
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
            f"homing run {problem.path} --store {path}"
        )
    for _ in plan.steps(inference, problem):
        pass


def as_json(check: Check) -> dict[str, Any]:
    """What a check says, without what its pictures show."""
    head = {name: getattr(check, name) for name in ("level", "sentence", "num_simulations")}
    verdicts = [{f.name: getattr(verdict, f.name) for f in fields(verdict) if f.name != "curves"} for verdict in check]
    return {**head, "verdicts": verdicts}

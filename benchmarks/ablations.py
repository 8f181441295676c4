"""Ablations: what each default of `inference.run` is worth, as the difference in C2ST from the defaults.

    python benchmarks/ablations.py --data FOLDER --variants "one member" "two rounds"

A variant changes one thing. It is run on the same tasks, observations and seeds as the defaults, observation k with
seed k, and compared pair by pair, by the quick metric. Each run appends one JSON line to --out as it ends, so that an
interrupted campaign goes on where it stopped; the table is printed from that file.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import tasks
from homing.estimators import likelihood_nn, posterior_nn
from homing.inference.methods import Truncated
from homing.inference.sides import SideOptions
from homing.training import FitOptions
from sbibm import one_run

DEFAULTS = "the defaults"


def variants() -> dict[str, dict[str, Any]]:
    """Arguments of `sbibm.one_run`, by what they change."""
    spline, one_rate = SideOptions().builders[:1], FitOptions(rates=(1.0,), stop_after_steps=500)
    return {
        DEFAULTS: {},
        "the direct side alone": {"options": SideOptions(likelihood=None)},
        "the likelihood's side alone (SNLE)": {"method": "SNLE"},
        "one member of each side": {"options": SideOptions(members=1)},
        "two members": {"options": SideOptions(members=2)},
        "eight members": {"options": SideOptions(members=8)},
        "one round": {"num_rounds": 1},
        "two rounds": {"num_rounds": 2},
        "three rounds": {"num_rounds": 3},
        "five rounds, whether the region settles or not": {"num_rounds": 5},
        "ten rounds": {"num_rounds": 10},
        "epsilon .01": {"proposal": Truncated(epsilon=1e-2)},
        "epsilon .0001": {"proposal": Truncated(epsilon=1e-4)},
        "no prior draws in later rounds": {"proposal": Truncated(defensive=0.0)},
        "spline flows alone for the direct side": {"options": SideOptions(builders=spline)},
        "spline flows alone, one rate": {"options": SideOptions(builders=spline, fit=one_rate)},
        "affine flows alone": {"options": SideOptions(builders=SideOptions().builders[1:])},
        "a mixture network alone": {"options": SideOptions(builders=(posterior_nn("mdn"),))},
        "three layers for the likelihood": {"options": SideOptions(likelihood=likelihood_nn(num_transforms=3))},
        "one learning rate, .002": {"options": SideOptions(fit=one_rate)},
        "one learning rate, .0005": {"options": SideOptions(fit=FitOptions(rates=(0.25,), stop_after_steps=500))},
        "batches of 50": {"options": SideOptions(fit=FitOptions(batch_size=50))},
        "batches of 200": {"options": SideOptions(fit=FitOptions(batch_size=200))},
        "patience of 600 steps": {"options": SideOptions(fit=FitOptions(stop_after_steps=600))},
        'proposal="posterior"': {"proposal": "posterior"},
        'proposal="mixture"': {"proposal": "mixture"},
    }


def run(variant: str, data: str, task: str, place: int, budget: int) -> dict[str, Any]:
    """One run of a variant."""
    row = one_run(data, task, place, budget, place, exact=False, **variants()[variant])
    return {"variant": variant, **row}


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What pairs a run with that of another variant."""
    return row["task"], row["observation"], row["budget"]


def table(rows: list[dict[str, Any]]) -> str:
    """The differences, as Markdown."""
    base = {key(row): row["c2st"] for row in rows if row["variant"] == DEFAULTS}
    lines = ["| | difference (standard error) | runs | largest by task |", "|---|---|---|---|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant and key(row) in base]
        if variant == DEFAULTS or len(mine) < 2:
            continue
        change = np.array([row["c2st"] - base[key(row)] for row in mine])
        by_task = {name: change[[row["task"] == name for row in mine]].mean() for name in {row["task"] for row in mine}}
        name = max(by_task, key=lambda task: abs(by_task[task]))
        error = change.std(ddof=1) / np.sqrt(len(change))
        lines.append(
            f"| {variant} | {change.mean():+.3f} ({error:.3f}) | {len(change)} | {name} {by_task[name]:+.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the tasks' files")
    parser.add_argument("--variants", nargs="+", default=list(variants()), choices=list(variants()), metavar="VARIANT")
    parser.add_argument("--tasks", nargs="+", default=list(tasks.NAMES), choices=tasks.NAMES)
    parser.add_argument("--observations", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--out", type=Path, default=Path("ablations.jsonl"))
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(row["variant"], *key(row)) for row in rows}
    wanted = [
        (variant, given.data, task, place, given.budget)
        for variant in dict.fromkeys([DEFAULTS, *given.variants])
        for place in given.observations
        for task in given.tasks
        if (variant, task, place, given.budget) not in done
    ]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, *each) for each in wanted]):
            rows.append(future.result())
            with given.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    print(table([row for row in rows if row["budget"] == given.budget]))


if __name__ == "__main__":
    main()

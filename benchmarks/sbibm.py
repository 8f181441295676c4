"""Accuracy of `inference.run` on eight tasks of the sbibm benchmark, by C2ST against reference posteriors.

    python benchmarks/sbibm.py --data FOLDER --budgets 1000 10000

FOLDER has the layout of sbibm's own task files. Nothing is set by task: every run is
`SNPE(simulator, prior).run(x_o, budget)`, or that of the method named. Each run appends one JSON line to --out as it
ends, so an interrupted benchmark goes on where it stopped; the table is printed from that file.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import tasks
from homing.inference.infer import METHODS
from homing.utils import BoxUniform
from metric import c2st, c2st_fast

DRAWS = 10_000


def one_run(
    data: str, name: str, observation: int, budget: int, seed: int, exact: bool, method: str = "SNPE", **how: Any
) -> dict[str, Any]:
    """One run of the driver, and its score; `how` are further arguments of `run`."""
    task = tasks.make(name, data)
    x_o, _, reference = tasks.load(data, name, observation)
    prior = BoxUniform(*task.prior) if isinstance(task.prior, tuple) else task.prior
    calls = 0

    def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        nonlocal calls
        calls += len(theta)
        return task.simulator(theta, rng)

    inference: Any = METHODS[method](simulator, prior, seed=seed, batched=True, show_progress_bars=False)  # type: ignore[call-arg]
    began = time.perf_counter()
    posterior = inference.run(x_o, budget, **how)
    draws = posterior.sample((DRAWS,))
    seconds = time.perf_counter() - began
    simulating = sum(record.seconds.get("simulate", 0.0) for record in inference.rounds)
    outside = int((~inference.prior.is_inside(draws)).sum())
    last = inference.rounds[-1]
    return {
        "task": name,
        "observation": observation,
        "budget": budget,
        "seed": seed,
        "c2st": round((c2st if exact else c2st_fast)(reference, draws), 4),
        "metric": "exact" if exact else "fast",
        "seconds": round(seconds - simulating, 2),
        "calls": calls,
        "rounds": len(inference.rounds),
        "agreement": last.agreement,
        "share": last.share,
        "rolled_back": [record.round for record in inference.rounds if record.rolled_back],
        "outside": outside,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Mean C2ST by task and budget, as Markdown."""
    budgets = sorted({row["budget"] for row in rows})
    lines = ["| task | " + " | ".join(f"{b:,}: C2ST by observation | mean | seconds" for b in budgets) + " |"]
    lines.append("|---" * (1 + 3 * len(budgets)) + "|")
    for name in [*tasks.NAMES, None]:
        cells = []
        for budget in budgets:
            mine = [row for row in rows if row["budget"] == budget and (name is None or row["task"] == name)]
            mine.sort(key=lambda row: (row["observation"], row["seed"]))
            scores = [row["c2st"] for row in mine]
            if not mine:
                cells += ["-", "-", "-"]
                continue
            each = f"worst {max(scores):.3f}" if name is None else " ".join(f"{score:.3f}" for score in scores)
            cells += [each, f"{np.mean(scores):.3f}", f"{np.median([row['seconds'] for row in mine]):.0f}"]
        lines.append(f"| {name or '**mean**'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the tasks' files")
    parser.add_argument("--method", default="SNPE", choices=METHODS)
    parser.add_argument("--proposal", help="where later rounds simulate; the method's own by default")
    parser.add_argument("--budgets", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--tasks", nargs="+", default=list(tasks.NAMES), choices=tasks.NAMES)
    parser.add_argument("--observations", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--fast", action="store_true", help="the quick metric, for iterating; not to be quoted")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; take 1 where seconds matter")
    parser.add_argument("--out", type=Path, default=Path("sbibm.jsonl"))
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    metric = "fast" if given.fast else "exact"
    method = given.method if given.proposal is None else f"{given.method} {given.proposal}"
    rows = [row for row in rows if row.get("method", "SNPE") == method]
    done = {(r["task"], r["observation"], r["budget"], r["seed"], r["metric"]) for r in rows}
    wanted = [(t, o, b, s) for b in given.budgets for s in given.seeds for o in given.observations for t in given.tasks]
    wanted = [key for key in wanted if (*key, metric) not in done]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        what = {"exact": not given.fast, "method": given.method, "proposal": given.proposal}
        futures = [pool.submit(one_run, given.data, *key, **what) for key in wanted]
        for future in as_completed(futures):  # none waits in memory for a slower one
            row = {"method": method, **future.result()}
            rows.append(row)
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    print(table([row for row in rows if row["metric"] == metric and row["budget"] in given.budgets]))


if __name__ == "__main__":
    main()

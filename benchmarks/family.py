"""SNLE and SNRE beside sbi's: C2ST and seconds on sbibm's tasks, both in turn, each in a process of its own.

    python benchmarks/family.py compare --data FOLDER --peer-python PYTHON --tasks slcp two_moons

Both spend the same budget in three rounds and then draw 10,000 times. sbi runs with its defaults, rounds of equal size
that simulate from the last posterior; homing as `SNLE(...).run(x_o, budget, num_rounds=3)`. Seconds are without the
simulator, from after the imports; homing's with programs compiled by an earlier run. Nothing else should run at the
time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import tasks

ROUNDS = 3
DRAWS = 10_000
OURS = {"snle": "SNLE", "snre": "SNRE_B"}


def run(method: str, data: str, task: str, observation: int, budget: int, out: str) -> dict[str, Any]:
    """One run of homing's."""
    from homing.inference.infer import METHODS
    from homing.utils import BoxUniform

    known, (x_o, _, _) = tasks.make(task, data), tasks.load(data, task, observation)
    prior = BoxUniform(*known.prior) if isinstance(known.prior, tuple) else known.prior
    began = time.perf_counter()
    inference: Any = METHODS[OURS[method]](known.simulator, prior, seed=1, batched=True, show_progress_bars=False)  # type: ignore[call-arg]
    posterior = inference.run(x_o, budget, num_rounds=ROUNDS)
    trained = time.perf_counter()
    draws = posterior.sample((DRAWS,))
    ended = time.perf_counter()
    np.save(out, draws)
    simulating = sum(record.seconds["simulate"] for record in inference.rounds)
    x = np.asarray(posterior.default_x)
    fresh = time.perf_counter()
    posterior.sample((DRAWS,), x=x * (1 + 1e-9))  # an x of its own: nothing was kept for it
    return {
        "seconds": ended - began - simulating,
        "sample": ended - trained,
        "sample another x": time.perf_counter() - fresh,
    }


def measured(python: str, script: str, arguments: list[str], data: str, task: str, observation: int) -> dict[str, Any]:
    """What one process reports, and how near its draws are to the reference."""
    from metric import c2st

    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "draws.npy"))
        command = [python, str(Path(__file__).with_name(script)), *arguments, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        record = json.loads(done.stdout.splitlines()[-1])
        score = c2st(tasks.load(data, task, observation)[2], np.load(out))
    return {**record, "c2st": score}


def compare(given: argparse.Namespace) -> str:
    """The table, in Markdown."""
    lines = [
        "| method | task | C2ST homing | C2ST sbi | s homing | s sbi | times as fast | 10,000 draws at a new x, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, task in product(given.methods, given.tasks):
        what = ["--method", method, "--data", given.data, "--task", task, "--observation", str(given.observation)]
        what += ["--budget", str(given.budget)]
        records: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        measured(sys.executable, "family.py", ["run", *what], given.data, task, given.observation)  # compiles
        for _ in range(given.repeats):
            records["ours"].append(
                measured(sys.executable, "family.py", ["run", *what], given.data, task, given.observation)
            )
            peer = ["sequential", *what, "--rounds", str(ROUNDS)]
            records["theirs"].append(
                measured(given.peer_python, "peer_sbi.py", peer, given.data, task, given.observation)
            )
            print(json.dumps({"task": task, "method": method, **{k: v[-1] for k, v in records.items()}}), flush=True)
        c2st, seconds = (
            [median(row[name] for row in records[side]) for side in records] for name in ("c2st", "seconds")
        )
        fresh = median(row["sample another x"] for row in records["ours"])
        lines.append(
            f"| {OURS[method]} | {task} | {c2st[0]:.3f} | {c2st[1]:.3f} | {seconds[0]:.1f} | {seconds[1]:.1f} | "
            f"{seconds[1] / seconds[0]:.1f} | {fresh:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner, comparer = commands.add_parser("run", help=run.__doc__), commands.add_parser("compare")
    for command in (runner, comparer):
        command.add_argument("--data", required=True, help="folder with the tasks' files")
        command.add_argument("--observation", type=int, default=1)
        command.add_argument("--budget", type=int, default=1000)
    runner.add_argument("--method", choices=list(OURS), default="snle")
    runner.add_argument("--task", choices=tasks.NAMES, default="slcp")
    runner.add_argument("--out", required=True, help="file for the draws")
    comparer.add_argument("--peer-python", required=True, help="a Python with sbi")
    comparer.add_argument("--methods", nargs="+", choices=list(OURS), default=list(OURS))
    comparer.add_argument("--tasks", nargs="+", choices=tasks.NAMES, default=["slcp"])
    comparer.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    options = {name: value for name, value in vars(given).items() if name != "command"}
    print(json.dumps(run(**options)) if given.command == "run" else compare(given))


if __name__ == "__main__":
    main()

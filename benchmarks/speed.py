"""How fast homing is, beside sbi where an environment of it is at hand (`compare --peer-python`).

`tutorial`, `train` and `sample` do what they do in `peer_sbi.py`, and print one JSON line. `compare` calls all of them
and their likes there in turn, each in a process of its own, and prints a Markdown table of medians. Nothing else should
run on the machine at the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from peer_sbi import DIM, NEVER, peak_memory, process_age

SIZES = {500: 200, 10_000: 20, 100_000: 3}  # rows: epochs to time
PEER = Path(__file__).with_name("peer_sbi.py")


def linear_gaussian(theta: Any, rng: Any) -> Any:
    return theta + 1.0 + 0.1 * rng.normal(size=theta.shape)


def linear_gaussian_torch(theta: Any) -> Any:
    import torch

    return theta + 1.0 + 0.1 * torch.randn_like(theta)


def new_inference(model: str = "maf") -> Any:
    from homing import SNPE, BoxUniform

    prior = BoxUniform([-2.0] * DIM, [2.0] * DIM)
    return SNPE(linear_gaussian, prior, density_estimator=model, seed=1, show_progress_bars=False)


def tutorial(arrays: str = "numpy") -> dict[str, Any]:
    """The multi-round tutorial: two rounds of 500, the second with the atomic loss, then 10,000 draws at x_o = 0."""
    started = process_age()
    if arrays == "torch":
        import torch
    from homing import SNPE, BoxUniform

    imported = process_age()

    if arrays == "torch":
        prior, simulator = BoxUniform(-2 * torch.ones(DIM), 2 * torch.ones(DIM)), linear_gaussian_torch
    else:
        prior, simulator = BoxUniform([-2.0] * DIM, [2.0] * DIM), linear_gaussian
    inference = SNPE(simulator, prior, seed=1, show_progress_bars=False)
    proposal = None
    for _ in range(2):
        proposal = inference(num_simulations=500, proposal=proposal).set_default_x([0.0] * DIM)
    begin = time.perf_counter()
    draws = proposal.sample((10_000,))
    sample = time.perf_counter() - begin
    simulate = [record.seconds["sample"] + record.seconds["simulate"] for record in inference.rounds]
    return {
        "arrays": arrays,
        "total": process_age(),
        "import": imported - started,
        "simulate": simulate,
        "train": [sum(record.seconds.values()) - spent for record, spent in zip(inference.rounds, simulate)],
        "epochs": [record.epochs for record in inference.rounds],
        "sample": sample,
        "mean": draws.mean(0).tolist(),
        "std": draws.std(0).tolist(),
        "peak_mib": peak_memory(),
    }


def train(model: str, n: int, epochs: int, loss: str, batch: int) -> dict[str, Any]:
    """Rows times epochs a second, training and validation, of the compiled program.

    What a call of `train` costs besides its epochs is the same for few and for many, and is taken off.
    """
    import numpy as np

    inference = new_inference(model)
    rng = np.random.default_rng(1)
    theta = rng.uniform(-2, 2, (n, DIM))
    x = linear_gaussian(theta, rng)
    options = {"training_batch_size": batch, "stop_after_epochs": NEVER}
    if loss == "mle":
        inference.append_simulations(theta, x)
    else:
        # An epoch's cost does not depend on where the rows come from, only on there being a second round.
        inference.append_simulations(theta[: n // 2], x[: n // 2]).train(max_num_epochs=1)
        posterior = inference.build_posterior().set_default_x([0.0] * DIM)
        inference.append_simulations(theta[n // 2 :], x[n // 2 :], proposal=posterior)

    def seconds(num_epochs: int) -> float:
        begin = time.perf_counter()
        inference.train(max_num_epochs=num_epochs, **options)
        return time.perf_counter() - begin

    seconds(1)  # compiles
    passed = seconds(1 + epochs) - seconds(1)
    return {
        "model": model,
        "loss": loss,
        "n": n,
        "batch": batch,
        "epochs": epochs,
        "seconds": passed,
        "row_epochs_per_second": n * epochs / passed,
    }


def sample(model: str, n: int) -> dict[str, Any]:
    """Draws, and evaluations of `log_prob` at them, a second, of a posterior trained on 1,000 simulations."""
    import numpy as np

    posterior = new_inference(model)(num_simulations=1_000).set_default_x([0.0] * DIM)
    posterior.log_prob(posterior.sample((100_000,)))  # compiles
    begin = time.perf_counter()
    draws = posterior.sample((n,))
    sampled = time.perf_counter()
    log_prob = posterior.log_prob(draws)
    evaluated = time.perf_counter()
    if not np.isfinite(log_prob).all():
        raise RuntimeError("The posterior drew samples to which it gives no probability.")
    return {
        "model": model,
        "n": n,
        "draws_per_second": n / (sampled - begin),
        "log_probs_per_second": n / (evaluated - sampled),
    }


def imports() -> dict[str, Any]:
    """Seconds to import homing, and until its first name that learns is there."""
    begin = time.perf_counter()
    import homing

    imported = time.perf_counter()
    homing.SNPE  # noqa: B018
    return {"import_homing": imported - begin, "import_snpe": time.perf_counter() - begin}


Record = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        label: What is measured.
        ours, theirs: The arguments that measure it; theirs None if there is nothing to compare.
        value: The figure in the record that is printed.
        goal: What is to be reached: so many times as good as the peer, or without one at most so much.
        more_is_better: Whether it is a rate.
        first_run: Whether ours runs with nothing compiled before.
    """

    label: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...] | None
    value: Callable[[Record], float]
    goal: float | None = None
    more_is_better: bool = False
    first_run: bool = False


def figures(what: Sequence[str], sizes: Sequence[int], losses: Sequence[str]) -> Iterator[Figure]:
    """The figures to measure, those of one run side by side."""
    if "import" in what:
        yield Figure("`import homing`, s", ("import",), None, itemgetter("import_homing"), 1.5)
        yield Figure("`from homing import SNPE`, s", ("import",), None, itemgetter("import_snpe"), 1.5)
    for arrays in ("numpy", "torch") if "tutorial" in what else ():
        for first_run, goal in ((True, 4), (False, 8)):
            label = f"tutorial, {arrays}, {'first run ever' if first_run else 'compiled before'}"
            run = partial(Figure, ours=("tutorial", "--arrays", arrays), first_run=first_run)
            yield run(f"{label}, s", theirs=("tutorial",), value=itemgetter("total"), goal=goal)
            yield run(f"{label}: training, s", theirs=("tutorial",), value=lambda record: sum(record["train"]))
            yield run(f"{label}: memory, MiB", theirs=("memory",), value=itemgetter("peak_mib"), goal=1)
    for model, loss in product(("maf", "nsf"), losses) if "train" in what else ():
        for n in sizes:
            run = ("train", "--model", model, "--loss", loss, "--n", str(n), "--epochs", str(SIZES[n]))
            value = itemgetter("row_epochs_per_second")
            yield Figure(f"training, {model}, {loss}, N = {n:,}, rows x epochs / s", run, run, value, 10, True)
    for model in ("maf", "nsf") if "sample" in what else ():
        run = ("sample", "--model", model)
        yield Figure(f"draws, {model}, 1 / s", run, run, itemgetter("draws_per_second"), 3, True)
        yield Figure(f"`log_prob`, {model}, 1 / s", run, run, itemgetter("log_probs_per_second"), 3, True)


def compare(
    peer_python: str | None, repeats: int, what: Sequence[str], sizes: Sequence[int], losses: Sequence[str]
) -> str:
    """The table. All figures are measured once before any is measured again, ours and the peer's in turn."""
    rows = list(figures(what, sizes, losses))
    records: dict[Any, list[Record]] = {}
    with tempfile.TemporaryDirectory() as caches:
        for repeat in range(repeats):
            for row in rows:
                wanted = [(Path(__file__), row.ours, row.first_run)]
                if peer_python and row.theirs:
                    wanted.append((PEER, row.theirs, False))
                for run in wanted:
                    if len(records.setdefault(run, [])) == repeat:
                        records[run].append(measure(*run, peer_python, Path(caches)))
    return table(rows, records)


def measure(script: Path, arguments: Sequence[str], first_run: bool, peer_python: str | None, caches: Path) -> Record:
    """What one run in a new process prints; a first run finds nothing compiled, others what the last one left."""
    python = peer_python if script == PEER else sys.executable
    cache = caches / "_".join(arguments)
    if first_run:
        shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, "HOMING_CACHE": str(cache)}
    done = subprocess.run([str(python), str(script), *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{script.name} {' '.join(arguments)} failed:\n{done.stderr}")
    print(done.stdout, end="", file=sys.stderr, flush=True)
    return json.loads(done.stdout)


def table(rows: Sequence[Figure], records: dict[Any, list[Record]]) -> str:
    """The medians in Markdown, under a line that says where and with what they were measured."""
    peer = next((f"sbi {runs[0]['sbi']}" for (script, *_), runs in records.items() if script == PEER), None)
    repeats = min(map(len, records.values()))
    versions = ", ".join(f"{name} {version(name)}" for name in ("homing", "jax"))
    lines = [
        f"Medians of {repeats}; {os.cpu_count()} processors ({processor()}), {platform.system()}, "
        f"Python {platform.python_version()}, {versions}.\n",
        f"| | homing | {peer or 'peer'} | times as good | goal |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ours = median(map(row.value, records[Path(__file__), row.ours, row.first_run]))
        theirs = records.get((PEER, row.theirs, False))
        cells = [row.label, shown(ours), "", "", ""]
        if theirs:
            other = median(map(row.value, theirs))
            cells[2:4] = shown(other), f"{ours / other if row.more_is_better else other / ours:.1f}"
        if row.goal is not None:
            cells[4] = f"{'≥' if row.theirs else '≤'} {row.goal}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What homing needs for its work, beside sbi.")
    commands = parser.add_subparsers(dest="command", required=True)
    tutor = commands.add_parser("tutorial", help=tutorial.__doc__)
    tutor.add_argument("--arrays", choices=["numpy", "torch"], default="numpy")
    trainer = commands.add_parser("train", help="Rows times epochs a second.")
    sampler = commands.add_parser("sample", help=sample.__doc__)
    for command in (trainer, sampler):
        command.add_argument("--model", choices=["maf", "nsf"], default="maf")
    trainer.add_argument("--n", type=int, default=10_000)
    trainer.add_argument("--epochs", type=int, default=20)
    trainer.add_argument("--loss", choices=["mle", "atomic"], default="mle")
    trainer.add_argument("--batch", type=int, default=200, help="Rows a batch; 200 is what sbi trains with.")
    sampler.add_argument("--n", type=int, default=1_000_000)
    commands.add_parser("import", help=imports.__doc__)
    comparer = commands.add_parser("compare", help="All of these, several times, as a table.")
    comparer.add_argument("--peer-python", help="A Python with sbi; without it homing alone is measured.")
    comparer.add_argument("--repeats", type=int, default=5)
    parts = ["import", "tutorial", "train", "sample"]
    comparer.add_argument("--what", nargs="+", choices=parts, default=parts)
    comparer.add_argument("--sizes", nargs="+", type=int, choices=list(SIZES), default=list(SIZES))
    comparer.add_argument("--losses", nargs="+", choices=["mle", "atomic"], default=["mle", "atomic"])
    return parser.parse_args()


def main() -> None:
    options = vars(arguments())
    command = options.pop("command")
    if command == "compare":
        print(compare(**options))
        return
    with redirect_stdout(sys.stderr):
        result = {"tutorial": tutorial, "train": train, "sample": sample, "import": imports}[command](**options)
    print(json.dumps({"command": command, "homing": version("homing"), **result}))


if __name__ == "__main__":
    main()

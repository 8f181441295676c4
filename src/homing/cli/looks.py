"""What is read from a run file and never writes to it: its state, draws, pictures, exports, reports."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homing.cli import options as o
from homing.cli.failures import FileError, RunFileError, check_there, wrapped
from homing.cli.problem import Known, rounds_of
from homing.cli.words import aligned, span, summarise
from homing.names import named, names_of
from homing.text import printable

if TYPE_CHECKING:
    from homing.inference import OpenedRun
    from homing.posteriors import Posterior

At = Annotated[
    Path | None,
    typer.Option("--x", metavar="FILE", help="Another observation, .npy or .csv; by default the run's own."),
]
Rounds = Annotated[
    list[int] | None,
    typer.Option("--round", "-r", min=1, metavar="N", help="After which round; again to lay several over another."),
]
OtherSeed = Annotated[
    int | None, typer.Option("--seed", min=0, metavar="N", help="Other draws; by default the same each time.")
]
NoPosterior = Annotated[bool, typer.Option("--no-posterior", help="Quick: leave out means and widths.")]


@contextmanager
def opened(path: Path, problem: Path | None = None) -> Iterator[OpenedRun]:
    """A run file to read, with what its posteriors need of the problem file, if it is given."""
    check_there(path)
    import homing
    from homing.cli.problem import load_problem
    from homing.simulation.typed import understood

    loaded = None if problem is None else load_problem(problem)
    builder: Any = None if loaded is None else loaded.density_estimator
    with closing(homing.open(path, prior=loaded and loaded.prior, density_estimator=builder)) as view, understood(path):
        yield view


def labels_in(view: OpenedRun) -> list[str] | None:
    """The parameters' names, if the run file has them."""
    return view.facts.get("labels")


def posterior_in(view: OpenedRun, round: int | None = None, x: Path | None = None) -> Posterior:
    """The posterior after a round, at the run's observation or at that in a file.

    Raises:
        NotTrainedError: If nothing was learned after it.
        RunFileError: If it was learned for no observation, and none is given.
    """
    from homing.cli.files import read_array

    posterior = view.posterior(round)
    if x is not None:
        return posterior.set_default_x(read_array(x))
    if posterior.default_x is None:
        raise RunFileError(f"The posterior in {view.path} is for no observation of its own: name one with --x FILE.")
    return posterior


def status(
    path: o.RunFile, no_posterior: NoPosterior = False, problem: o.ForPrior = None, json: o.Json = False
) -> None:
    """Say how far a run is, also while it goes on.

    Example: homing status run.homing
    """
    with opened(path, problem) as view:
        state = State.of(view)
        summary, posterior = None, _learned_last(view, state, no_posterior)
        x_o = None if posterior is None or posterior.default_x is None else posterior.condition_of()
        if posterior is not None and x_o is not None and not no_posterior:
            summary = summarise(posterior, labels_in(view))
        place = view.check_of(posterior, x_o)
        checked = None if place is None else named(view.checks[place].sentence, labels_in(view))
    if json:
        told = None if summary is None else summary.as_list()
        print(jsonlib.dumps({"run": str(path), **state.as_dict(), "check": checked, "posterior": told}))
        return
    print(wrapped(f"{path}: {state.heading}") + printable(f"\n\n{state}"))
    if checked is not None:
        print(wrapped(f"Its newest check: {checked}"))
    if summary is not None:
        print(f"\nThe posterior after round {state.learned}:\n{summary}")


def _learned_last(view: OpenedRun, state: State, may_be_missing: bool) -> Posterior | None:
    """The newest posterior, if there is one; or none too where it cannot be made from the file alone."""
    from homing.errors import HomingError

    try:
        return view.posterior() if state.learned else None
    except HomingError:
        if may_be_missing:
            return None
        raise


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        facts: What the run file says of the run: simulator, seed, method.
        rounds: One entry a round, as JSON.
        sizes: Simulations in each round as planned by `run`; empty if the rounds were asked for one by one.
    """

    facts: dict[str, Any]
    rounds: list[dict[str, Any]]
    sizes: list[int]

    @classmethod
    def of(cls, view: OpenedRun) -> State:
        """The state of a run file."""
        facts = view.facts
        rounds = []
        for number, known in rounds_of(view).items():
            counts = known.outcomes.counts()
            waiting = counts.pop("planned")
            record = None if known.result is None else known.result.record
            row = {"round": number, "planned": len(known.ids), "waiting": waiting, **counts, "record": record}
            rounds.append(row)
        known = {"simulator": facts.get("simulator"), "seed": facts.get("seed"), **facts.get("settings", {})}
        return cls(known, rounds, Known(facts).sizes)

    @property
    def learned(self) -> int:
        """The newest round that was learned from; 0 before the first."""
        return max((row["round"] for row in self.rounds if row["record"] is not None), default=0)

    @property
    def next(self) -> str:
        """What is still to be done, in words."""
        if not self.rounds:
            return "Nothing is planned yet."
        newest = self.rounds[-1]
        if newest["waiting"]:
            return f"Round {newest['round']} waits for {newest['waiting']:,} of {newest['planned']:,} simulations."
        if newest["record"] is None:
            return f"Round {newest['round']} is simulated and not learned from yet."
        ahead = self.sizes[newest["round"] :]
        if ahead:
            return f"Round {newest['round']} is finished; {len(ahead)} more were planned, unless the run stopped early."
        return "All that was planned is finished."

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON."""
        return {**self.facts, "sizes": self.sizes, "rounds": self.rounds, "learned": self.learned, "next": self.next}

    @property
    def heading(self) -> str:
        """What the run is, in a line."""
        facts = [f"{self.facts.get('method', 'a run')}"]
        if self.facts["simulator"]:
            facts.append(f"simulator {self.facts['simulator']}")
        return ", ".join([*facts, f"seed {self.facts['seed']}"])

    def __str__(self) -> str:
        return f"{aligned(self._table())}\n\n{self.next}" if self.rounds else self.next

    def _table(self) -> list[list[str]]:
        from homing.cli.driving import came_from
        from homing.inference import RoundRecord

        lost = ("invalid", "failed", "timed_out")
        shown = [name for name in lost if any(row[name] for row in self.rounds)]
        rows = [["round", "from", "done", *(name.replace("_", " ") for name in shown), "learning", "gain"]]
        for row in self.rounds:
            record = None if row["record"] is None else RoundRecord.from_json(row["record"])
            rows.append(
                [
                    str(row["round"]),
                    "" if record is None else came_from(record).replace("the ", ""),
                    f"{row['planned'] - row['waiting']:,}/{row['planned']:,}",
                    *(f"{row[name]:,}" for name in shown),
                    "" if record is None else span(record.seconds.get("train", 0.0)),
                    "" if record is None or record.gain is None else f"{record.gain:+.2f}",
                ]
            )
        return rows


def sample(
    path: o.RunFile,
    samples: o.NumSamples = 10_000,
    output: o.Output = None,
    x: At = None,
    round: o.Round = None,
    seed: OtherSeed = None,
    problem: o.ForPrior = None,
    json: o.Json = False,
) -> None:
    """Draw from the posterior into a file.

    .csv, .npy or .parquet; without --output, CSV on standard output. The same command gives the same draws; --seed
    gives others.

    Example: homing sample run.homing -n 10000 -o samples.csv
    """
    import numpy as np

    from homing.cli.files import SAMPLES, check_suffix, write_samples

    if output is None and json:
        raise FileError("--json tells about a file: name one with --output, or leave --json out for CSV.")
    if output is not None:
        check_suffix(output, SAMPLES)
    with opened(path, problem) as view:
        posterior = posterior_in(view, round, x)
        names = names_of(labels_in(view), posterior.prior.dim)
        if seed is None:
            draws = np.asarray(posterior.sample((samples,), show_progress_bars=False), float)
        else:
            draws = posterior.draw(samples, posterior.condition_of(), seed, False)
    write_samples(output, draws, names)
    if output is not None:
        told = {"run": str(path), "file": str(output), "samples": samples, "names": names}
        print(jsonlib.dumps(told) if json else printable(f"{samples:,} draws of {', '.join(names)} are in {output}"))


def plot(
    path: o.RunFile,
    output: o.Output = None,
    samples: o.NumSamples = 10_000,
    x: At = None,
    rounds: Rounds = None,
    problem: o.ForPrior = None,
    json: o.Json = False,
) -> None:
    """Make a pair plot of the posterior.

    .png, .pdf or .svg; several rounds over another.

    Example: homing plot run.homing -o pairplot.png --round 1 --round 3
    """
    import matplotlib

    from homing.cli.files import check_suffix
    from homing.simulation.writing import replacing

    output = output or Path(path.stem + ".png")
    check_suffix(output, (".png", ".pdf", ".svg"))
    matplotlib.use("Agg")
    from homing.posteriors.shown import pairplot_within

    with opened(path, problem) as view:
        numbers: list[int | None] = [*(rounds or [None])]
        posteriors = [posterior_in(view, number, x) for number in numbers]
        draws = [posterior.sample((samples,), show_progress_bars=False) for posterior in posteriors]
        labels = names_of(labels_in(view), draws[0].shape[1]) if labels_in(view) else None
    several = [f"after round {number}" for number in numbers] if len(numbers) > 1 else None
    how: Any = {"labels": labels, "samples_labels": several}
    figure = pairplot_within(posteriors[0].prior, draws, samples, **how)[0]
    with replacing(output) as new:
        figure.savefig(new, dpi=150)
    print(
        jsonlib.dumps({"run": str(path), "file": str(output)}) if json else printable(f"The pair plot is in {output}")
    )


def export(
    path: o.RunFile, output: o.Output = None, x: At = None, problem: o.ForPrior = None, json: o.Json = False
) -> None:
    """Write the posterior for ArviZ, as netCDF.

    Example: homing export run.homing -o posterior.nc
    """
    from homing.cli.files import check_suffix
    from homing.simulation.writing import replacing

    output = output or Path(path.stem + ".nc")
    check_suffix(output, (".nc",))
    with opened(path, problem) as view:
        posterior = posterior_in(view, x=x)
        with replacing(output) as new:
            posterior.to_arviz(labels=labels_in(view)).to_netcdf(str(new))
    print(
        jsonlib.dumps({"run": str(path), "file": str(output)}) if json else printable(f"The posterior is in {output}")
    )


def report(path: o.RunFile, output: o.Output = None, problem: o.ForPrior = None, json: o.Json = False) -> None:
    """Write one page on the run, in HTML.

    Example: homing report run.homing -o report.html
    """
    output = output or Path(path.stem + ".html")
    with opened(path, problem) as view:
        from homing.report import report as write

        write(view, output)
    print(jsonlib.dumps({"run": str(path), "file": str(output)}) if json else printable(f"The report is in {output}"))


def watch(
    path: o.RunFile,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open it.")] = True,
    problem: o.ForPrior = None,
    json: o.Json = False,
) -> None:
    """Show the run in a browser while it goes on.

    On this machine only; Ctrl-C ends it.

    Example: homing watch run.homing --port 8000
    """
    check_there(path)
    from homing.cli.problem import load_problem
    from homing.report import watch as serve

    own = None if problem is None else load_problem(problem)
    options = {} if own is None else {"prior": own.prior, "density_estimator": own.density_estimator}

    def ready(url: str) -> None:
        if json:
            print(jsonlib.dumps({"run": str(path), "url": url}), flush=True)
        print(printable(f"{path} is at {url}; Ctrl-C ends it."), file=sys.stderr, flush=True)

    serve(path, port=port, open_browser=browser, on_ready=ready, **options)

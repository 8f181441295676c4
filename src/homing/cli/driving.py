"""Going through a run's rounds: how it is planned, what is shown meanwhile, how it ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from homing.cli.failures import INTERRUPTED, ProblemError, RunFileError, wrapped
from homing.cli.problem import Known, Problem
from homing.cli.screen import Screen, screen_for
from homing.cli.words import Summary, span, summarise
from homing.errors import ObservationError, SimulationError

if TYPE_CHECKING:
    from homing.inference import Progress, RoundRecord
    from homing.posteriors import Posterior

_SIMULATIONS = 1000
_MOST_SIZES = 5  # that are said


def drive(inference: Any, problem: Problem, plan: Plan, path: Path, quiet: bool, words: Sequence[str]) -> Shown:
    """Go through the rounds, show what they give, and let go of the run file.

    Args:
        inference: The inference object.
        problem: The problem.
        plan: How the run is divided.
        path: The run file.
        quiet: Show no progress.
        words: The command line, to be told to somebody who wants to go on.

    Raises:
        ProblemError: If the observation does not fit the simulations.
        SimulationError: If simulations failed.
        WaitingError: If there is no simulator to call, and something to simulate.
    """
    try:
        with closing(inference), screen_for(plan.sizes, plan.finished, quiet) as screen:
            shown = Shown(screen, plan, problem.labels)
            there = f", which has {plan.done:,} of them" if plan.done else ""
            screen.say(f"{problem.path}: {plan}, seed {inference.seed}, in {path}{there}")
            for record, posterior in plan.steps(inference.on_progress(shown.told), problem):
                shown.round(record, posterior)
        return shown
    except KeyboardInterrupt:
        kept = f"{Known.of(path).done:,} simulations are in {path}"
        print(wrapped(f"Interrupted. {kept}. To go on: {shlex.join(['homing', *words])}"), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except ObservationError as error:
        advice = f"Correct x_o or the simulator; {path} is of the old ones, so delete it, or name another by --store."
        raise ProblemError(f"x_o in {problem.path} does not fit the simulator: {error} {advice}") from error
    except SimulationError as error:
        if Known.of(path).valid:
            raise
        raise SimulationError(f"{error} Here {path} has nothing but failures: delete it.") from error


@dataclass(frozen=True)
class Plan:
    """How a run is divided; prints as a person would say it.

    Attributes:
        sizes: Simulations in each round.
        rounds: How many rounds were asked for; None lets the method decide.
        proposal: Where later rounds simulate; None leaves it to the method.
        finished: The newest round that the run file has learned from.
        done: Simulations that are in the run file.
    """

    sizes: list[int]
    rounds: int | None
    proposal: str | None
    finished: int = 0
    done: int = 0

    @property
    def total(self) -> int:
        """Simulations in all rounds."""
        return sum(self.sizes)

    def steps(self, inference: Any, problem: Problem) -> Iterator[tuple[RoundRecord, Posterior]]:
        """Run it: each round's record, and the posterior so far."""
        return inference.iterate(problem.x_o, self.total, self.rounds, proposal=self.proposal, options=problem.options)

    def __str__(self) -> str:
        if len(self.sizes) == 1:
            return f"{self.total:,} simulations in one round"
        sizes = " + ".join(f"{size:,}" for size in self.sizes[:_MOST_SIZES])
        sizes += " + ..." if len(self.sizes) > _MOST_SIZES else ""
        return f"{self.total:,} simulations in {len(self.sizes)} rounds ({sizes})"


def plan_for(
    problem: Problem,
    path: Path,
    simulations: int | None = None,
    rounds: int | None = None,
    proposal: str | None = None,
) -> Plan:
    """The plan that is asked for; what is not said is as the run file has it.

    Raises:
        ArgumentError: If there are more rounds than simulations, or the proposal is unknown.
        RunFileError, StoreError: If the run file has another plan, or cannot be used.
    """
    from homing.inference.methods import as_method
    from homing.inference.plan import check_driver

    if proposal is not None:
        as_method(proposal)  # before there is a run file
    known = Known.of(path)
    proposal = proposal or known.driven.get("proposal")
    if sizes := known.sizes:
        if simulations not in (None, sum(sizes)) or rounds not in (None, len(sizes)):
            raise RunFileError(
                f"{path} has a run of {Plan(sizes, None, None)}; its plan stays. To go on with it, leave --simulations "
                "and --rounds out; for another run, name a new file with --store."
            )
        return Plan(sizes, known.driven["num_rounds"], proposal, known.learned, known.done)
    sizes = check_driver(simulations or _SIMULATIONS, rounds, problem.dim)
    return Plan(sizes, rounds, proposal, known.learned, known.done)


@dataclass
class Shown:
    """What was shown of a run so far. The newest posterior's table waits until another round begins or the run ends."""

    screen: Screen
    plan: Plan
    labels: list[str] | None
    records: list[RoundRecord] = field(default_factory=list)
    summary: Summary | None = None

    def told(self, progress: Progress) -> None:
        """Show where the run is."""
        if self.summary is not None:
            self.screen.say(str(self.summary))
            self.summary = None
        if self.screen.clock.is_rest(progress):
            self.screen.say(f"The region has settled: the {progress.planned:,} simulations left are one round.")
        self.screen.told(progress)

    def round(self, record: RoundRecord, posterior: Posterior) -> None:
        """Show what a round gave."""
        self.records.append(record)
        in_file = record.round <= self.plan.finished
        self.screen.say(f"round {record.round} of {len(self.screen.clock.sizes)}: {told_of(record, in_file)}")
        if not in_file or record.round == self.plan.finished:
            self.summary = summarise(posterior, self.labels)

    def result(self, path: Path) -> dict[str, Any]:
        """The run as JSON."""
        assert self.summary is not None
        rounds = [record.as_dict() for record in self.records]
        return {"run": str(path), "rounds": rounds, "posterior": self.summary.as_list()}

    def closing(self, path: Path) -> str:
        """The run's last words."""
        asked, valid = (sum(getattr(record, name) for record in self.records) for name in ("asked", "valid"))
        lost = f", {asked - valid:,} of them without finite data" if valid < asked else ""
        rounds = "one round" if len(self.records) == 1 else f"{len(self.records)} rounds"
        return (
            wrapped(f"The posterior after {rounds} and {asked:,} simulations{lost}, in {path}:") + f"\n{self.summary}"
        )


def told_of(record: RoundRecord, in_file: bool = False) -> str:
    """A round in one line."""
    text = f"{record.asked:,} simulations from {came_from(record)}"
    if record.valid < record.asked:
        text += f", {record.valid:,} valid"
    if in_file:
        return f"{text}; from the run file"
    if record.seconds.get("simulate", 0.0) >= 0.1:  # not those that ran elsewhere
        text += f" in {span(record.seconds['simulate'])}"
    text += f", learned in {span(record.seconds.get('train', 0.0))}"
    if record.gain is not None:
        text += f", gain {record.gain:+.2f}"
    if record.agreement is not None:
        text += f", the two sides agree {record.agreement:.0%}"
    return f"{text}; worse than the last one, not used" if record.rolled_back else text


def came_from(record: RoundRecord) -> str:
    """Where a round's theta came from, in words."""
    if record.volume is not None and record.volume < 1:
        return f"{record.volume:.2g} of the prior" if record.volume < 0.001 else f"{record.volume:.1%} of the prior"
    return f"the {'last ' if record.proposal == 'posterior' else ''}{record.proposal}"

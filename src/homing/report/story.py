"""What a page tells of a run: everything read and drawn once, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homing import random
from homing.diagnostics import Check
from homing.errors import ArgumentError, HomingError
from homing.plots.arguments import limits_within, read_labels, read_points
from homing.posteriors import Posterior
from homing.runs import OpenedRun, Rounds
from homing.simulation import Round

NUM_DRAWS = 5_000  # of the posterior that the page shows,
NUM_EARLIER = 2_000  # and of each round's
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Learned:
    """The posterior that the page shows.

    Attributes:
        round: The round after which it was learned; None if the caller brought it.
        posterior: As it was learned.
        x_o: The observation, shape x_shape, or (num_trials, *x_shape).
        draws: Shape (NUM_DRAWS, d).
        prior: Draws from the prior, shape (NUM_DRAWS, d).
        rounds: Draws after each round, shape (NUM_EARLIER, d), by number; rounds without a posterior are left out.
        limits: What is shown of each parameter, shape (d, 2).
    """

    round: int | None
    posterior: Posterior
    x_o: np.ndarray
    draws: np.ndarray
    prior: np.ndarray
    rounds: Mapping[int, np.ndarray]
    limits: np.ndarray


@dataclass(frozen=True)
class Story:
    """What a page tells of a run.

    Attributes:
        name: What the run is called.
        source: The code that makes `run`, which the code under the figures uses.
        facts: What the run file says of the run.
        rounds: The simulations of each round, by number, without their data; those of checks have negative numbers.
        records: The finished rounds' records.
        learned: The posterior, or None.
        missing: Why there is no posterior, in words; empty if there is one.
        check: What diagnostics said, or None.
        checked: The code that makes `check` from `run`, or a comment that says where it is from.
        labels: The parameters' names, or None.
        points: True parameters, shape (d,), or None.
    """

    name: str
    source: str
    facts: Mapping[str, Any]
    rounds: Mapping[int, Round]
    records: Rounds
    learned: Learned | None
    missing: str
    check: Check | None
    checked: str
    labels: list[str] | None
    points: np.ndarray | None

    @property
    def names(self) -> list[str]:
        """The parameters' names, or those that the figures give to parameters without."""
        if self.labels is not None:
            return self.labels
        theta = self.learned.draws if self.learned else next((known.theta for known in self.rounds.values()), None)
        d = 0 if theta is None else theta.shape[1]
        return [f"θ{j}".translate(_LOWERED) for j in range(1, d + 1)]


def tell(
    run: OpenedRun,
    *,
    check: Check | None = None,
    labels: Sequence[str] | None = None,
    points: Any = None,
    x: Any = None,
    posterior: Posterior | None = None,
    memory: MutableMapping[Any, np.ndarray] | None = None,
) -> Story:
    """Read and draw what the page tells.

    Args:
        run: The run.
        check: What diagnostics said of its posterior; by default what the run keeps of the newest check of it at x_o.
        labels: The parameters' names; by default those in the run file, if there are.
        points: True parameters, shape (d,).
        x: The observation, where the run does not know it.
        posterior: Instead of the newest that the run has.
        memory: Draws that were made before, by what they are drawn from.

    Raises:
        ArgumentError, ObservationError: If labels, points or x do not fit the run.
    """
    facts, rounds, records = run.facts, run.rounds, run.records
    d = next((known.theta.shape[1] for known in rounds.values()), None) if posterior is None else posterior.prior.dim
    names = None
    if d is not None:
        names = read_labels(facts.get("labels") if labels is None else labels, "labels", d, "parameters")
        groups = read_points(points, d)
        if len(groups) > 1 or any(len(group) > 1 for group in groups):
            raise ArgumentError(f"points must be the true parameters, shape ({d},).")
        points = groups[0][0] if groups else None
    learned, missing = _learn(run, records, x, posterior, points, {} if memory is None else memory)
    name = "A run in memory" if run.path is None else run.path.name
    source = (
        "run = inference.view  # while that inference is there"
        if run.path is None
        else f"run = homing.open({str(run.path)!r})"
    )
    kept = run.check_of(learned and learned.posterior, learned and learned.x_o)
    told, checked = _checked(run, check, kept)
    return Story(name, source, facts, rounds, records, learned, missing, told, checked, names, points)


def _checked(run: OpenedRun, given: Check | None, place: int | None) -> tuple[Check | None, str]:
    """The check that the page tells, and the code that makes it; `place` is that of one that the run keeps."""
    if given is None and place is None:
        return None, ""
    kept = run.checks
    if given is not None:
        place = kept.index(given) if given in kept else None
    if place is not None:
        return kept[place], f"check = run.checks[{place}]"
    return given, "# check: what the report was given, homing.report(..., check=check)"


def _learn(
    run: OpenedRun,
    records: Rounds,
    x: Any,
    given: Posterior | None,
    points: np.ndarray | None,
    memory: MutableMapping[Any, np.ndarray],
) -> tuple[Learned | None, str]:
    """The posterior with its draws, or why there is none."""
    try:
        newest = given or run.posterior(records[-1].round if records else None)
    except HomingError as error:
        return None, str(error)
    if given is None and not records:
        return None, "The first round was learned from while this was written."
    at = x if x is not None else newest.default_x if newest.default_x is not None else run.facts.get("x_o")
    if at is None:
        return None, "The run knows no observation, so there is nothing to condition the posterior on: pass x=..."
    x_o = newest.condition_of(at)

    def drawn(num: int, key: str, posterior: Callable[[], Posterior]) -> np.ndarray:
        """Draws, made only if the memory has none that were made in the same way."""
        if (num, key, x_o.tobytes()) not in memory:
            memory[num, key, x_o.tobytes()] = posterior().draw(num, x_o, random.word(0, "report", num), False)
        return memory[num, key, x_o.tobytes()]

    draws = drawn(NUM_DRAWS, repr(records[-1]) if given is None else f"given {id(given)}", lambda: newest)
    each = {}
    for record in records[:-1]:
        try:
            each[record.round] = drawn(NUM_EARLIER, repr(record), lambda: run.posterior(record.round))  # noqa: B023
        except HomingError:  # learned by a builder of the user's own, which no file holds
            continue
    if given is None:
        each[records[-1].round] = draws[:NUM_EARLIER]
    prior = newest.prior.sample(random.generator(0, "report"), NUM_DRAWS)
    limits = limits_within(draws, points, newest.prior.low, newest.prior.high)
    return Learned(None if given else records[-1].round, newest, x_o, draws, prior, each, limits), ""

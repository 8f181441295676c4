"""What is kept of a run: its settings, its plans, every simulation, every round's result.

A `Store` is the same code whether it keeps things in memory or in a run file; where is the business of its `Keeper`.
A simulation's life: `plan` gives it an id, theta and a seed, before anything is simulated; `record` acknowledges its
outcome. What `plan`, `record` and `finish` have returned from is kept (with a run file: on the disk), and never
changes.

Simulations that check what was learned, and must never be learned from, are numbered apart: -1, -2 and so on. So they
are in the same file, with a plan, ids and outcomes like all others, and are no rounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from homing.errors import ArgumentError, ShapeError
from homing.simulation.facts import differences, to_json
from homing.simulation.keeper import NOTHING, Arrays, Contents, Keeper, Memory, Result, Round, StoreError
from homing.simulation.outcomes import Outcomes, Status, filled, joined, span
from homing.text import printable_texts


class Store:
    """Everything known of a run. One writer; what a call has returned from is kept.

    Args:
        keeper: Where to keep it; see `open_store`.

    Example:
        >>> store = open_store()
        >>> ids = store.plan(1, theta=np.zeros((3, 2)), seeds=np.arange(3))
        >>> store.record(ids[1:], Outcomes.given(np.zeros((2, 2)), [[1.0], [2.0]]))
        2
        >>> store.record(ids[1:], Outcomes.given(np.zeros((2, 2)), [[1.0], [2.0]]))
        0
        >>> store.rounds[1].pending, store.outcomes(1).x[1:].ravel()
        (array([0]), array([1., 2.]))
    """

    def __init__(self, keeper: Keeper):
        self._keeper = keeper
        self._contents, self._stale = keeper.load(), False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the run file; it can then be opened by another process, copied and moved."""
        self._keeper.close()

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """What fails in the block lets go of the run file, so that nothing stands in the way of whoever mends it.

        The next use of the store takes the file back, if nobody has written to it meanwhile.
        """
        try:
            yield
        except BaseException:
            self._keeper.release()
            raise

    @property
    def source(self) -> Path | Memory:
        """What a `RunView` of this run looks into: the run file, or the memory."""
        return self._keeper.source

    @property
    def rounds(self) -> Mapping[int, Round]:
        """The planned rounds by number, in the order of their ids; those with negative numbers are of checks."""
        return self._known().rounds

    @property
    def x_shape(self) -> tuple[int, ...] | None:
        """The shape of the run's data, or None while there are none."""
        return self._known().x_shape

    def require(self, **facts: Any) -> None:
        """Settle what makes the run this run and no other: written the first time, compared from then on.

        Args:
            **facts: JSON or arrays by name, for example `seed=1, x_o=x_o, settings={"num_atoms": 10}`.

        Raises:
            StoreError: If a fact differs from what was settled before; the message names each difference.
            ArgumentError: If a fact is no JSON.
        """
        texts = {name: to_json(value, name) for name, value in facts.items()}
        known = {name: text for name, text in self._known().facts.items() if text != NOTHING}
        found = [line for name in texts if name in known for line in differences(name, known[name], texts[name])]
        if found:
            raise StoreError(
                "This store holds another run:\n  " + "\n  ".join(found[:10]) + "\n"
                "Open it with what it was made with, or choose a new file."
            )
        for name, text in texts.items():
            if name not in known:
                self._save_fact(name, text)

    def remember(self, name: str, value: Any) -> None:
        """Write down a fact, JSON or an array; it replaces what had this name, and None takes that away."""
        self._save_fact(name, to_json(value, name))

    def collect(self, name: str, value: Any) -> None:
        """Add to the list of this name, if it is not in there."""
        known = self.recall(name, [])
        if json.loads(to_json(value, name)) not in known:
            self.remember(name, [*known, value])

    def recall(self, name: str, default: Any = None) -> Any:
        """A fact as JSON, arrays as lists."""
        text = self._known().facts.get(name)
        return default if text in (None, NOTHING) else json.loads(text)

    def plan(
        self, number: int, theta: np.ndarray, seeds: np.ndarray, proposal: Any = None, arrays: Arrays | None = None
    ) -> np.ndarray:
        """Plan simulations: the next round or check, or more of what was planned last.

        Args:
            number: The round, counted from 1; for a check, a number counted from -1 downward.
            theta: Shape (n, d).
            seeds: Shape (n,), below 2**64.
            proposal: What theta were drawn from, JSON; settled by a round's first plan.
            arrays: Arrays that belong to the proposal; likewise.

        Returns:
            Shape (n,), the ids of the simulations.

        Raises:
            ShapeError: If theta and seeds do not fit each other or what was planned before.
            ArgumentError: If theta is empty, or the round is neither the newest nor the one after it, or is finished,
                or others were planned after it.
        """
        number, theta, seeds = int(number), np.array(theta, float), np.array(seeds, np.uint64)
        rounds = self.rounds
        d = next((known.theta.shape[1] for known in rounds.values()), theta.shape[-1] if theta.ndim else 0)
        if theta.ndim != 2 or seeds.shape != theta.shape[:1] or theta.shape[1] != d:
            raise ShapeError(f"plan: expected theta (n, {d}) and seeds (n,), found {theta.shape} and {seeds.shape}.")
        if not len(theta):
            raise ArgumentError("plan: expected at least one simulation, found none.")
        sign = -1 if number < 0 else 1
        newest = sign * max([0, *(sign * known for known in rounds)])
        if number not in (newest, newest + sign) or number == 0:
            expected = f"round {newest + sign} or more of round {newest}"
            raise ArgumentError(f"plan: expected {expected}, found round {number}.")
        old = rounds.get(number)
        if old is not None and old.result is not None:
            raise ArgumentError(f"plan: round {number} is finished; plan round {number + sign} instead.")
        first = sum(len(known.ids) for known in rounds.values())
        if old is not None and old.ids[-1] + 1 != first:
            raise ArgumentError(f"plan: others were planned after round {number}; plan round {number + sign} instead.")
        ids = np.arange(first, first + len(theta))
        planned = Outcomes.planned(theta)
        new = Round(number, ids, planned, seeds, json.loads(to_json(proposal, "proposal")), dict(arrays or {}))
        with self._changing() as contents:
            self._keeper.save_plan(number, first, theta, seeds, new if old is None else None)
            contents.rounds[number] = new if old is None else _extended(old, new)
        return ids

    def record(self, ids: np.ndarray, outcomes: Outcomes) -> int:
        """Acknowledge outcomes. The first outcome of a simulation stands: to record it again does nothing.

        Args:
            ids: Shape (n,), ids that `plan` gave, in any order.
            outcomes: Their outcomes; those still planned are passed over. In memory, data are kept without a copy: do
                not change them afterwards.

        Returns:
            How many were new.

        Raises:
            ArgumentError: If an id was never planned or its theta is another.
            ShapeError: If ids and outcomes do not fit each other, or data have another shape than the run's.
            StoreError: If they cannot be written; none of them are then.
        """
        ids = np.asarray(ids, int)
        if ids.shape != (len(outcomes),):
            raise ShapeError(f"record: expected one id for each of {len(outcomes)} outcomes, found shape {ids.shape}.")
        if self.x_shape not in (None, outcomes.x_shape) and outcomes.has_data.any():
            raise ShapeError(f"record: this run's data have shape {self.x_shape}, found {outcomes.x_shape}.")
        total = sum(len(known.ids) for known in self.rounds.values())
        if len(ids) and not (ids.min() >= 0 and ids.max() < total):
            raise ArgumentError(
                f"record: the ids {ids.min()} to {ids.max()} were not all planned; known are 0 to {total - 1}."
            )
        once = np.ones(len(ids), bool)
        if not (np.diff(ids) > 0).all():
            once[:] = False
            once[np.unique(ids, return_index=True)[1]] = True
        return sum(self._record(known, ids, outcomes, once) for known in self.rounds.values())

    def _record(self, known: Round, ids: np.ndarray, outcomes: Outcomes, wanted: np.ndarray) -> int:
        rows = ids - known.ids[0]
        mine = np.flatnonzero(wanted & (rows >= 0) & (rows < len(known.ids)) & (outcomes.status != Status.PLANNED))
        mine = mine[known.outcomes.status[rows[mine]] == Status.PLANNED]
        if not len(mine):
            return 0
        rows, part = span(rows[mine]), _printable(outcomes if len(mine) == len(outcomes) else outcomes[mine])
        given, planned = part.theta, known.theta[rows]
        if not (np.array_equal(given, planned) or np.array_equal(given, planned, equal_nan=True)):  # the first is quick
            raise ArgumentError(
                "record: an outcome's theta is not what was planned under its id; are the ids in order?"
            )
        with self._changing() as contents:
            self._keeper.save_outcomes(known.number, ids[mine], part)
            if contents.x_shape is None and part.has_data.any():
                contents.x_shape = part.x_shape
            for name in ("status", "error", "seconds", "worker"):
                getattr(known.outcomes, name)[rows] = getattr(part, name)
        return len(mine)

    def outcomes(self, number: int) -> Outcomes:
        """A round's simulations in planned order, with their data; those not recorded yet are `PLANNED`.

        Raises:
            ArgumentError: If the round was never planned.
        """
        known = self._round(number)
        x = filled(len(known.ids), ((ids - known.ids[0], x) for ids, x in self._keeper.data(number)))
        if x is not None:
            x[~known.outcomes.has_data] = np.nan  # a reader may find data that were recorded since it looked
        return replace(known.outcomes, x=known.outcomes.x if x is None else x)

    def finish(self, number: int, record: Any, estimator: Any = None, arrays: Arrays | None = None) -> None:
        """Write down what a round gave; it replaces an earlier result of that round.

        Args:
            number: A planned round.
            record: What a person wants to see of it, JSON.
            estimator: What it trained, as JSON, and
            arrays: as arrays by name.

        Raises:
            ArgumentError: If the round was never planned, or something is neither JSON nor an array of numbers.
        """
        number = self._round(number).number
        record, estimator = json.loads(to_json(record, "record")), json.loads(to_json(estimator, "estimator"))
        result = Result(record, estimator, {name: np.array(array) for name, array in (arrays or {}).items()})
        with self._changing() as contents:
            self._keeper.save_result(number, result)
            contents.rounds[number] = replace(contents.rounds[number], result=result)

    def _round(self, number: int) -> Round:
        if number not in self.rounds:
            raise ArgumentError(f"Round {number} was never planned; planned are {sorted(self.rounds)}.")
        return self.rounds[number]

    def _save_fact(self, name: str, text: str) -> None:
        with self._changing() as contents:
            self._keeper.save_fact(name, text)
            contents.facts[name] = text

    def _known(self) -> Contents:
        if self._stale:
            self._contents, self._stale = self._keeper.load(), False
        return self._contents

    @contextmanager
    def _changing(self) -> Iterator[Contents]:
        """Keep what is known in step with what is kept: after a failure or an interruption it is loaded again."""
        contents = self._known()
        self._stale = True
        yield contents
        self._stale = False


def open_store(path: str | Path | None = None) -> Store:
    """The store of a run, new or continued.

    Args:
        path: A run file, made if it is not there; None keeps the run in memory. Keep it on a local disk: network file
            systems do not lock reliably.

    Raises:
        StoreError: If the file is no run file, damaged, of a newer format, being written by another process, or cannot
            be written. Another store of this process lets go of it.
    """
    if path is None:
        return Store(Memory())
    from homing.simulation.runfile import RunFile

    file = RunFile(Path(path), write=True)
    try:
        return Store(file)
    except BaseException:
        file.close()
        raise


def _printable(outcomes: Outcomes) -> Outcomes:
    """The outcomes without control characters in their texts, which anybody's simulator may have written."""
    return replace(outcomes, **{name: printable_texts(getattr(outcomes, name)) for name in ("error", "worker")})


def _extended(old: Round, new: Round) -> Round:
    outcomes = joined(old.outcomes, new.outcomes)
    ids, seeds = np.concatenate([old.ids, new.ids]), np.concatenate([old.seeds, new.seeds])
    return replace(old, ids=ids, seeds=seeds, outcomes=outcomes)

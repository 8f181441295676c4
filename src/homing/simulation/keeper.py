"""What a store holds, and where: in memory, or behind the same calls in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from homing.errors import HomingError
from homing.simulation.outcomes import Outcomes, Status

Arrays = Mapping[str, np.ndarray]
NOTHING = "null"  # the text of a fact that was taken away


class StoreError(HomingError, OSError):
    """A run file cannot be used, or belongs to another run."""


@dataclass(frozen=True)
class Result:
    """What a finished round gave: its record, and its trained estimator as JSON and arrays."""

    record: Any
    estimator: Any
    arrays: Arrays


@dataclass(frozen=True)
class Round:
    """A planned round, or the simulations of a check.

    Attributes:
        number: Of a round, counted from 1; of a check, from -1 downward.
        ids: Shape (n,): the ids of its simulations, consecutive.
        outcomes: Its simulations, without data: `outcomes.x` has shape (n, 0).
        seeds: Shape (n,), uint64.
        proposal: The proposal's description, JSON.
        arrays: The proposal's arrays.
        result: What it gave, or None while it is not finished.
    """

    number: int
    ids: np.ndarray
    outcomes: Outcomes
    seeds: np.ndarray
    proposal: Any
    arrays: Arrays
    result: Result | None = None

    @property
    def theta(self) -> np.ndarray:
        """Shape (n, d)."""
        return self.outcomes.theta

    @property
    def pending(self) -> np.ndarray:
        """The rows, numbered from 0 in the round, that have no outcome yet."""
        return np.flatnonzero(self.outcomes.status == Status.PLANNED)


@dataclass
class Contents:
    """Everything a keeper holds but the data."""

    facts: dict[str, str] = field(default_factory=dict)
    rounds: dict[int, Round] = field(default_factory=dict)
    x_shape: tuple[int, ...] | None = None


class Keeper(Protocol):
    """Where a store keeps things. Each call keeps all of what it is given, or raises and keeps nothing."""

    def load(self) -> Contents: ...
    def save_fact(self, name: str, text: str) -> None: ...
    def save_plan(self, number: int, first: int, theta: np.ndarray, seeds: np.ndarray, new: Round | None) -> None: ...
    def save_outcomes(self, number: int, ids: np.ndarray, outcomes: Outcomes) -> None: ...
    def save_result(self, number: int, result: Result) -> None: ...
    def data(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and data, x of shape (m, *data shape), of a round's rows that have data."""
        ...

    def release(self) -> None:
        """Let others write meanwhile; the next use goes on, unless another has written."""
        ...

    def close(self) -> None: ...

    @property
    def source(self) -> Any:
        """What a `RunView` looks into."""
        ...


class Memory:
    """Keeps things as long as the process lives."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._data: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}

    def load(self) -> Contents:
        return self._contents  # which the store itself keeps up to date

    def save_fact(self, name: str, text: str) -> None:
        pass

    def save_plan(self, number: int, first: int, theta: np.ndarray, seeds: np.ndarray, new: Round | None) -> None:
        pass

    def save_outcomes(self, number: int, ids: np.ndarray, outcomes: Outcomes) -> None:
        rows = outcomes.has_data
        if rows.any():
            part = (ids, outcomes.x) if rows.all() else (ids[rows], outcomes.x[rows])
            self._data.setdefault(number, []).append(part)

    def save_result(self, number: int, result: Result) -> None:
        pass

    def data(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from self._data.get(number, [])

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def source(self) -> Memory:
        return self

"""What became of simulations: one entry a row, whatever happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ShapeError


class Status(IntEnum):
    """What became of one simulation."""

    PLANNED = 0
    OK = 1
    INVALID = 2  # it returned data, with NaN or infinity among them
    FAILED = 3  # it raised, returned another shape, or killed its worker
    TIMED_OUT = 4


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of n simulations, as arrays.

    Attributes:
        theta: Shape (n, d), float64: the parameters.
        x: Shape (n, *data shape), floating: the data; NaN where there are none. (n, 0) while no row of the run has
            data.
        status: Shape (n,), uint8: `Status` values.
        error: Shape (n,), text: why a row failed, "" elsewhere.
        seconds: Shape (n,), float64: what the row's call took, a batched call's time shared out evenly.
        worker: Shape (n,), text: host and process that ran the row.
    """

    theta: np.ndarray
    x: np.ndarray
    status: np.ndarray
    error: np.ndarray
    seconds: np.ndarray
    worker: np.ndarray

    @classmethod
    def planned(cls, theta: np.ndarray, x_shape: tuple[int, ...] | None = None, dtype: Any = np.float64) -> Outcomes:
        """Rows of which nothing is known yet but `theta`, shape (n, d)."""
        n = len(theta)
        x = np.full((n, *((0,) if x_shape is None else x_shape)), np.nan, dtype)
        text = np.empty(n, dtype=object)
        text.fill("")  # much quicker than np.full
        return cls(theta, x, np.zeros(n, np.uint8), text, np.zeros(n), text.copy())

    @classmethod
    def given(cls, theta: Any, x: Any, errors: Mapping[int, str] | None = None, worker: str = "") -> Outcomes:
        """The outcomes of simulations that ran elsewhere.

        Args:
            theta: Shape (n, d).
            x: Shape (n, *data shape); what stands at a failed row is ignored.
            errors: The failed rows, row number to the error's text.
            worker: Who ran them.

        Raises:
            ShapeError: If theta and x have different numbers of rows.

        Example:
            >>> Outcomes.given([[0.0], [1.0], [2.0]], [[1.0], [np.nan], [0.0]], {2: "out of memory"}).status.tolist()
            [1, 2, 3]
        """
        theta, x = to_numpy(theta, "theta").astype(float), as_data(x)
        if theta.ndim != 2 or x.ndim == 0 or len(x) != len(theta):
            raise ShapeError(
                "theta must have shape (n, d) and x one entry for each of the n rows, "
                f"found theta {theta.shape} and x {x.shape}."
            )
        outcomes = cls.planned(theta, x.shape[1:], x.dtype)
        failed = np.array(sorted(errors or {}), dtype=int)
        outcomes.x[:] = x
        outcomes.x[failed] = np.nan
        outcomes.status[:] = statuses(x)
        outcomes.status[failed] = Status.FAILED
        outcomes.worker[:] = worker
        for row, text in (errors or {}).items():
            outcomes.error[row] = as_text(text) or "no reason was given"
        return outcomes

    def __len__(self) -> int:
        return len(self.theta)

    def __getitem__(self, rows: Any) -> Outcomes:
        """The outcomes of some rows: a slice, a mask, or an array of row numbers."""
        return Outcomes(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def ok(self) -> np.ndarray:
        """Shape (n,), bool: the rows to learn from."""
        return self.status == Status.OK

    @property
    def has_data(self) -> np.ndarray:
        """Shape (n,), bool: the rows that returned data of the right shape, finite or not."""
        return (self.status == Status.OK) | (self.status == Status.INVALID)

    @property
    def x_shape(self) -> tuple[int, ...] | None:
        """The data's shape, or None while no row has data."""
        return None if self.x.shape[1:] == (0,) else self.x.shape[1:]

    def counts(self) -> dict[str, int]:
        """How many rows have each status, by its name in lower case."""
        return {status.name.lower(): int(np.sum(self.status == status)) for status in Status}

    def conformed(self, x_shape: tuple[int, ...]) -> Outcomes:
        """These outcomes for a run whose data have the shape `x_shape`: data of another shape are failures."""
        if self.x_shape == x_shape:
            return self
        conformed = Outcomes.planned(self.theta, x_shape)
        for name in ("status", "error", "seconds", "worker"):
            getattr(conformed, name)[:] = getattr(self, name)
        conformed.error[self.has_data] = wrong_shape(x_shape, self.x.shape[1:])
        conformed.status[self.has_data] = Status.FAILED
        return conformed


def as_data(value: Any) -> np.ndarray:
    """What a simulator returned as a floating array: floats keep their precision, integers take the float that holds
    them.

    Raises:
        ArgumentError: If it is not numeric.

    Example:
        >>> as_data([1, 2]).dtype, as_data(np.float32(1)).dtype, as_data(np.array([3], np.uint8)).dtype
        (dtype('float64'), dtype('float32'), dtype('float32'))
    """
    array = to_numpy(value, "the simulator's output")
    least = np.float16 if array.dtype.kind == "f" else np.float32
    return array.astype(np.result_type(array.dtype, least), copy=False)  # also in this machine's byte order


def as_text(value: Any) -> str:
    """A text that can be stored: what is no Unicode (a file name of other bytes, say) is replaced."""
    return str(value).encode(errors="replace").decode()


def statuses(x: np.ndarray) -> np.ndarray:
    """OK or INVALID for each row of x, shape (n, *data shape)."""
    finite = np.isfinite(x)
    if finite.all():  # the usual case, much quicker than row by row
        return np.full(len(x), Status.OK, np.uint8)
    return np.where(finite.all(axis=tuple(range(1, x.ndim))), Status.OK, Status.INVALID).astype(np.uint8)


def wrong_shape(expected: tuple[int, ...], found: tuple[int, ...]) -> str:
    """The error text of a row whose data have another shape than the run's."""
    return (
        f"the simulator returned data of shape {found}, but this run's data have shape {expected}; "
        "every simulation of a run must return the same shape"
    )


def joined(*parts: Outcomes) -> Outcomes:
    """The rows of one after those of the other; their data must have one shape."""
    if len(parts) == 1:
        return parts[0]
    return Outcomes(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Outcomes.__dataclass_fields__)
    )


def assembled(theta: np.ndarray, parts: Iterable[tuple[np.ndarray, Outcomes]]) -> Outcomes:
    """All rows in planned order, from finished parts in any order; rows in no part stay planned.

    Args:
        theta: Shape (n, d), the planned parameters.
        parts: Row numbers and their outcomes, data shapes equal in all of them.
    """
    whole, parts = Outcomes.planned(theta), list(parts)
    for rows, part in parts:
        for name in ("status", "error", "seconds", "worker"):
            getattr(whole, name)[span(rows)] = getattr(part, name)
    x = filled(len(theta), ((rows, part.x) for rows, part in parts if part.x_shape is not None))
    return whole if x is None else replace(whole, x=x)


def span(rows: np.ndarray) -> Any:
    """Consecutive rows as a slice, which is copied much faster."""
    consecutive = len(rows) and (np.diff(rows) == 1).all()
    return slice(int(rows[0]), int(rows[-1]) + 1) if consecutive else rows


def filled(n: int, data: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray | None:
    """Data of n rows, NaN where there are none, from rows and their data in parts; None if there are no data."""
    whole = None
    for rows, x in data:
        if whole is None:
            whole = np.full((n, *x.shape[1:]), np.nan, x.dtype)
        elif whole.dtype != x.dtype:
            whole = whole.astype(np.result_type(whole, x), copy=False)
        whole[span(rows)] = x
    return whole

"""Results of simulations that ran elsewhere: checked, and kept under the ids by which they were planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError
from homing.simulation.outcomes import Outcomes, Status
from homing.simulation.store import Store


def tell(store: Store, ids: Any, x: Any = None, errors: Mapping[int, str] | None = None) -> int:
    """Keep what became of planned simulations. The first result of a simulation stands.

    Args:
        store: The run's store.
        ids: Shape (n,), ids of planned simulations, in any order.
        x: Shape (n, *x_shape); None if all of them failed.
        errors: Why simulations failed, text by id; their rows of x are ignored.

    Returns:
        How many of the results were new.

    Raises:
        ShapeError: If ids and x do not fit each other or earlier data.
        ArgumentError: If an id was never planned.
        StoreError: If the results cannot be written; none of them are then.

    Example:
        >>> from homing.simulation import open_store
        >>> store = open_store()
        >>> ids = store.plan(1, theta=np.zeros((3, 2)), seeds=np.arange(3))
        >>> tell(store, [2, 0], [[1.0], [2.0]], errors={0: "out of memory"}), tell(store, ids, np.zeros((3, 1)))
        (2, 1)
    """
    numbers = np.atleast_1d(to_numpy(ids, "ids"))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ArgumentError(f"ids must be whole numbers, shape (n,), found {numbers.dtype} of shape {numbers.shape}.")
    data = None if x is None else to_numpy(x, "x")
    if data is not None and (data.ndim == 0 or len(data) != len(numbers)):
        raise ShapeError(f"x must have one entry for each of the {len(numbers)} ids, found shape {data.shape}.")
    rounds = store.rounds.values()
    total = sum(len(known.ids) for known in rounds)
    wrong = numbers[(numbers < 0) | (numbers >= total)]
    if len(wrong):
        raise ArgumentError(
            f"ids must be some that ask gave; {wrong[0]} was never given, the run has {total} simulations."
        )
    numbers = numbers.astype(np.int64)
    planned = np.zeros((total, *next((known.theta.shape[1:] for known in rounds), (0,))))
    for known in rounds:
        planned[known.ids] = known.theta
    planned = planned[numbers]
    return store.record(numbers, _outcomes(numbers, planned, data, errors or {}))


def _outcomes(ids: np.ndarray, theta: np.ndarray, x: np.ndarray | None, errors: Mapping[int, str]) -> Outcomes:
    strange = sorted(set(errors) - set(ids.tolist()))
    if strange:
        raise ArgumentError(f"errors must be by ids that are told, found {strange[0]}, which is not among them.")
    failed = {row: errors[number] for row, number in enumerate(ids.tolist()) if number in errors}
    if x is not None:
        return Outcomes.given(theta, x, failed)
    if len(failed) < len(ids):
        raise ArgumentError(f"x is needed: only {len(failed)} of the {len(ids)} simulations have an error.")
    outcomes = Outcomes.planned(theta)
    outcomes.status[:] = Status.FAILED
    outcomes.error[:] = [str(failed[row]) or "no reason was given" for row in range(len(ids))]
    return outcomes

"""Sets of trials of unequal number as arrays of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ShapeError


def pad_trials(trials: Any, most: int) -> np.ndarray:
    """One set of trials, filled up to a fixed number of rows, with a last column that says which rows are trials.

    For `homing.embeddings.SetEmbedding`: a simulator returns `pad_trials(trials, most)`, and x_o is made likewise. It
    is for one set; a simulator of a batch stacks them.

    Args:
        trials: Shape (n, p), or (n,) where a trial is one number. NaN is not for filling up: it marks a simulation
            that failed, and stays.
        most: Rows of the result: the largest number of trials that any set has.

    Returns:
        Shape (most, p + 1). The last column is 1 for trials; all other rows are 0.

    Raises:
        ShapeError: If there are more trials than that, or trials have another shape.

    Example:
        >>> pad_trials([[0.5, 1.0], [2.0, 3.0]], most=3)
        array([[0.5, 1. , 1. ],
               [2. , 3. , 1. ],
               [0. , 0. , 0. ]])
    """
    array = to_numpy(trials).astype(np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise ShapeError(f"trials must have the shape (n, p) or (n,), found {array.shape}.")
    if len(array) > most:
        raise ShapeError(f"There are {len(array)} trials, more than most={most}: choose the largest number of any set.")
    padded = np.zeros((most, array.shape[1] + 1))
    padded[: len(array), :-1] = array
    padded[: len(array), -1] = 1
    return padded

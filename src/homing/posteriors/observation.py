"""Checks of what is conditioned on, and of how many draws are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ObservationError

LARGEST = float(np.finfo(np.float32).max)  # that can be conditioned on


def check_observation(x: Any, x_shape: tuple[int, ...] | None, trials: bool = False) -> np.ndarray:
    """One observation as float64 of shape x_shape; or, of several trials, (num_trials, *x_shape).

    Args:
        x: An array of any library, with or without a leading axis of length one.
        x_shape: The shape of one simulation's data; None if it is not known yet.
        trials: Whether x may consist of several independent trials.

    Raises:
        ObservationError: If the shape does not fit, or an entry is NaN, infinite, or beyond the range of float32.

    Example:
        >>> check_observation([[0.0, 1.0]], (2,))
        array([0., 1.])
    """
    array = to_numpy(x, "x").astype(np.float64)
    if x_shape is not None and array.shape != x_shape:
        if (
            array.shape == (1, *x_shape)
            or (array.ndim == 0 and x_shape == (1,))
            or (array.shape == (1,) and x_shape == ())
        ):
            array = array.reshape(x_shape)
        elif not (trials and array.shape[1:] == x_shape and len(array)):
            raise ObservationError(
                f"x must have the shape of one simulation's data, {x_shape}, or (1, ...) before it; found "
                f"{array.shape}. "
                + (
                    f"Several trials have the shape (num_trials, *{x_shape})."
                    if trials
                    else "A posterior is conditioned on one observation; SNLE and SNRE take several trials of it. "
                    "If the simulator was called with a batch and takes one theta, or the reverse, say batched=."
                )
            )
    if np.isnan(array).any():
        where = np.argwhere(np.isnan(array))[0].tolist()
        raise ObservationError(
            f"x contains {int(np.isnan(array).sum())} NaN, the first at index {where}: the posterior given missing "
            "data is not defined. Leave these entries out of the simulator's output too, or impute them in both."
        )
    if (np.abs(array) > LARGEST).any():
        where = np.argwhere(np.abs(array) > LARGEST)[0].tolist()
        raise ObservationError(
            f"x is infinite or beyond the range of float32 (3.4e38) at index {where}: {array[tuple(where)]}. "
            "Rescale the data, for example by returning their logarithm from the simulator."
        )
    return array


def check_sample_shape(sample_shape: Any) -> tuple[int, ...]:
    """How many draws, as a tuple.

    Raises:
        ArgumentError: If it is not made of whole numbers, zero or larger.
    """
    try:
        shape = (int(sample_shape),) if np.ndim(sample_shape) == 0 else tuple(int(n) for n in sample_shape)
        exact = list(shape) == np.atleast_1d(sample_shape).tolist()
    except (TypeError, ValueError):
        exact, shape = False, ()
    if not exact or any(n < 0 for n in shape):
        raise ArgumentError(
            f"sample_shape must be a whole number or a tuple of them, zero or larger, found {sample_shape!r}."
        )
    return shape

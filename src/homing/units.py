"""The size of numbers, so that what follows does not depend on their unit.

A tolerance, a floor or a square that suits numbers near one is wrong for parameters of 1e-19 or data of 1e-200. Columns
are divided by a power of two first, which changes no digit, and results are multiplied by it.
"""

from __future__ import annotations

import numpy as np


def unit_of(*arrays: np.ndarray) -> np.ndarray:
    """A power of two for each column of arrays of shape (..., d), about their largest entry; 1 where all are zero.

    Returns:
        Shape (d,).

    Example:
        >>> unit_of(np.array([[3.0, 0.0], [-5.0, 0.0]]), np.array([[1.0, 0.0]])).tolist()
        [4.0, 1.0]
    """
    largest = np.max([np.abs(array).reshape(-1, array.shape[-1]).max(0, initial=0.0) for array in arrays], axis=0)
    exponent = np.frexp(np.where((largest > 0) & np.isfinite(largest), largest, 1.0))[1]
    return np.ldexp(1.0, np.clip(exponent - 1, -1022, 1022))


def spread_of(rows: np.ndarray) -> np.ndarray:
    """Each column's standard deviation, rows of shape (n, d), above zero; of a constant one, its last digit.

    Returns:
        Shape (d,).

    Example:
        >>> bool(np.isclose(spread_of(np.array([[1e-200], [3e-200]]))[0], 1e-200, atol=0))
        True
    """
    unit = unit_of(rows)
    return unit * np.maximum((rows / unit).std(0), 2 * np.finfo(np.float64).eps)

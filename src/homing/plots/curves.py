"""What a plot of a diagnostic is given: a verdict with its curves, or the arrays themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.diagnostics import Verdict
from homing.errors import ArgumentError, ShapeError


def read_curves(verdict: Verdict, names: Sequence[str]) -> dict[str, np.ndarray]:
    """A verdict's curves, by name.

    Raises:
        ArgumentError: If it has not these.
    """
    missing = [name for name in names if name not in verdict.curves]
    if missing:
        has = ", ".join(verdict.curves) or "none"
        raise ArgumentError(
            f"The verdict {verdict.name!r} has no curve {', '.join(missing)}, which this plot shows; it has {has}. "
            "Choose the plot that goes with the diagnostic, or pass arrays."
        )
    return {name: np.asarray(values) for name, values in verdict.curves.items()}


def read_array(value: Any, name: str, ndim: int, shape: str) -> np.ndarray:
    """Finite numbers as float64 with so many axes.

    Raises:
        ShapeError: If there are more axes or fewer, or nothing along one.
        ArgumentError: If a value is NaN or infinite.
    """
    array = to_numpy(value, name).astype(np.float64)
    if array.ndim != ndim or array.size == 0:
        raise ShapeError(f"{name} must have shape {shape}, found {array.shape}.")
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite, found NaN or infinity. Leave such rows out.")
    return array


def read_band(curves: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """The lower and the upper end of where a right posterior's curve stays, if they are there."""
    if "band_low" in curves and "band_high" in curves:
        return curves["band_low"], curves["band_high"]
    return None

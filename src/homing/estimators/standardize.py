"""From the data as the simulator gives them to what a network should see.

Each column of vector data is first put on the scale on which it is simple (`homing.estimators.columns`). Each entry
of x is centred by its median and divided by its interquartile range (as a standard deviation), which an outlier
cannot move, and what lies beyond five of these is drawn in logarithmically: a one-to-one map, so no information is
lost, after which a heavy tail no longer decides the scale of everything else. The maps are NumPy in float64: data
whose relevant digits lie far behind the leading ones survive the step to the network's float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homing.estimators.columns import ColumnMap, choose_columns, map_columns
from homing.units import unit_of

ZScore = Literal["independent", "structured", "none"]

_MAX_COLUMNS = 256
_QUARTILES = [0.25, 0.5, 0.75]
_LINEAR = 5.0  # beyond so many scales the map grows logarithmically


@dataclass(frozen=True, eq=False)
class Standardize:
    """A fixed map of data of shape (n, *x_shape) to float32 features of the same shape.

    Attributes:
        loc: Broadcastable to x_shape.
        scale: Likewise, positive.
        soft: Whether values beyond five scales are drawn in.
        columns: Each column's map, for vector data; empty for none.
    """

    loc: np.ndarray
    scale: np.ndarray
    soft: bool = True
    columns: tuple[ColumnMap, ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        u = ((map_columns(self.columns, x) if self.columns else x) - self.loc) / self.scale
        if self.soft:
            size = np.abs(u)
            beyond = size > _LINEAR
            if beyond.any():
                u = np.where(beyond, np.sign(u) * (_LINEAR + np.log1p(np.maximum(size - _LINEAR, 0.0))), u)
        return np.clip(u, -1e6, 1e6).astype(np.float32)


def fit_standardize(
    x: np.ndarray,
    z_score: ZScore = "independent",
    z: np.ndarray | None = None,
    alike: tuple[int, ...] = (),
) -> Standardize:
    """The map for data x of shape (n, *x_shape).

    Args:
        x: Finite data.
        z_score: `"independent"` scales each entry by itself, `"structured"` all entries alike (images, time series),
            `"none"` leaves the data as they are.
        z: The parameters, shape (n, d), by which the scale of each column of vector data is chosen.
        alike: The axes of one x along which entries are of one kind, and get one scale also where it is
            `"independent"`: an image's height and width, a series' steps.

    Example:
        >>> x = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
        >>> fit_standardize(x)(x)[:, 1]
        array([0., 0., 0., 0.], dtype=float32)
    """
    if z_score == "none":
        return Standardize(np.zeros(()), np.ones(()), soft=False)
    x = np.asarray(x, np.float64)
    columns: tuple[ColumnMap, ...] = ()
    if z is not None and z_score == "independent" and x.ndim == 2 and x.shape[1] <= _MAX_COLUMNS:
        columns = choose_columns(x, z)
        x = map_columns(columns, x)
    unit = unit_of(x.reshape(-1, 1))[0] if z_score == "structured" else _unit_of_each(x, alike)
    x = x / unit
    if z_score == "independent":
        axes = (0, *(axis + 1 for axis in alike))
        (low, loc, high), std = (
            np.quantile(x, _QUARTILES, axis=axes, keepdims=True)[:, 0],
            x.std(axes, keepdims=True)[0],
        )
    else:
        (low, loc, high), std = np.quantile(x, _QUARTILES), x.std()
    scale = (high - low) / 1.349
    tiny = 1e-12 * np.abs(loc)
    # Mostly one value (counts with many zeros): the quartiles coincide, the standard deviation has to do.
    scale = np.where(scale > tiny, scale, std)
    return Standardize(loc * unit, np.where(scale > tiny, scale, 1.0) * unit, columns=columns)


def _unit_of_each(x: np.ndarray, alike: tuple[int, ...]) -> np.ndarray:
    """One unit for each entry of one x, those of one kind alike; broadcastable to x_shape."""
    axes = tuple(axis + 1 for axis in alike)
    return unit_of(np.abs(x).max(axes, keepdims=True).reshape(len(x), -1)).reshape(
        [1 if axis in axes else size for axis, size in enumerate(x.shape)][1:]
    )

r"""The scale on which a column of data is simple.

Noise is often simple on some scale: log-normal noise on the logarithm, Poisson and binomial counts on the square root,
heavy tails on the inverse hyperbolic sine. For each column the map g is chosen under which a Gaussian regression on
theta explains the column best, \(\sum_i \log N(g(x_i); \hat g_{-i}, s^2) + \log g'(x_i)\), with predictions \(\hat
g_{-i}\) that left the row out: the Jacobian makes the scales comparable. All maps are one to one.

Source: Box, Cox, *An Analysis of Transformations*, 1964, https://doi.org/10.1111/j.2517-6161.1964.tb00553.x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from homing.estimators.ridge import Ridge
from homing.units import unit_of

Scale = Literal["identity", "log", "sqrt", "asinh"]

_MAX_QUADRATIC = 12  # parameters up to which their products help to explain a column


@dataclass(frozen=True)
class ColumnMap:
    """One column's map. `shift` and `unit` are in the column's units.

    Attributes:
        scale: The kind of map.
        shift: Added before the root, or taken off before asinh.
        unit: The floor of the logarithm, or the width on which asinh is linear.
    """

    scale: Scale = "identity"
    shift: float = 0.0
    unit: float = 1.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.scale == "log":
            return np.log(np.maximum(x, self.unit))
        if self.scale == "sqrt":
            return np.sqrt(np.maximum(x + self.shift, 0.0))
        if self.scale == "asinh":
            return np.arcsinh((x - self.shift) / self.unit)
        return x

    def log_derivative(self, x: np.ndarray) -> np.ndarray:
        """log g'(x) at data the map was made for."""
        if self.scale == "log":
            return -np.log(np.maximum(x, self.unit))
        if self.scale == "sqrt":
            return -0.5 * np.log(x + self.shift) - np.log(2)
        if self.scale == "asinh":
            return -0.5 * np.log1p(((x - self.shift) / self.unit) ** 2) - np.log(self.unit)
        return np.zeros_like(x)


def _candidates(x: np.ndarray, is_whole: bool) -> list[ColumnMap]:
    """The maps that a column, shape (n,), allows; `is_whole` if it counts something, in a unit that is part of it."""
    maps = [ColumnMap()]
    median = float(np.median(x))
    width = float(np.median(np.abs(x - median)))
    if width > 0:
        maps.append(ColumnMap("asinh", median, width))
    if (x > 0).all():
        maps += [ColumnMap("log", unit=1e-3 * float(x.min())), ColumnMap("sqrt")]
    elif (x >= 0).all() and is_whole:
        maps.append(ColumnMap("sqrt", 0.375))
    return maps


def choose_columns(x: np.ndarray, z: np.ndarray) -> tuple[ColumnMap, ...]:
    """The map of each column of x, shape (n, p), given the parameters it was simulated with, z of shape (n, d).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(200, 1))
        >>> [column.scale for column in choose_columns(np.exp(z + 0.1 * rng.normal(size=z.shape)), z)]
        ['log']
    """
    ridge = Ridge(z, products=z.shape[1] <= _MAX_QUADRATIC)
    return tuple(_best(x[:, j], ridge) for j in range(x.shape[1]))


def _best(x: np.ndarray, ridge: Ridge) -> ColumnMap:
    unit = unit_of(x[:, None])[0]
    u = x / unit
    if u.std() <= 1e-12:
        return ColumnMap()
    allowed = _candidates(x, bool((x == np.round(x)).all()))
    maps = [replace(column, shift=column.shift / unit, unit=column.unit / unit) for column in allowed]
    mapped = np.stack([column(u) for column in maps], axis=1)
    _, _, left_out = ridge.fit(mapped)
    scores = -0.5 * np.log((left_out**2).mean(0) + 1e-300) + [column.log_derivative(u).mean() for column in maps]
    return allowed[int(np.argmax(scores))]


def map_columns(maps: Sequence[Callable[[np.ndarray], np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Each column of x, shape (n, p), by its map."""
    return np.stack([column(x[:, j]) for j, column in enumerate(maps)], axis=1)

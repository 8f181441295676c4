r"""Simple statistics of raw data: how large they are, how rough, and where.

A network, or a few principal components, look at what tells of the parameters, and what they leave out may be foreign
all the same: noise that is missing, or twice as large, a part of an image that is dead, a stretch that does not change.
Of each x: the logarithm of its variance; of the mean square of differences between neighbours, and of second
differences, along each axis; the smallest and the largest of these in parts of the grid, fine and coarse; the share of
neighbours that are equal. All of it of x as it is, and with each entry on its own scale, since entries of one x may
differ in unit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_LEAST_LENGTH = 8  # of an axis along which neighbours are looked at
_PARTS = (5, 16)  # of each axis
_TINY = 1e-12  # of the mean square of all data: below it there is nothing
LEAST_SPREAD = 0.03  # of a logarithm or a share that is the same in all data


def texture(x: np.ndarray, scaled: np.ndarray, unit: float) -> tuple[list[str], np.ndarray]:
    """Statistics of data.

    Args:
        x: The data, shape (n, *x_shape).
        scaled: The same with each entry on its own scale, shape (n, *x_shape).
        unit: The mean square of data like these.

    Returns:
        What each statistic is, and the statistics, shape (n, k): logarithms, but for shares.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(2, 100)) * [[1.0], [0.1]]
        >>> names, values = texture(noise, noise, 1.0)
        >>> names[1], (values[1] - values[0]).round(1)[1].item()
        ('mean square of differences between neighbours', -4.5)
    """
    found = list(_of_one(x / np.sqrt(unit), "")) + list(_of_one(scaled, ", each entry on its own scale"))
    if not found:
        return [], np.zeros((len(x), 0))
    return [name for name, _ in found], np.stack([values for _, values in found], axis=1)


def _of_one(x: np.ndarray, how: str) -> Iterator[tuple[str, np.ndarray]]:
    axes = [axis for axis in range(1, x.ndim) if x.shape[axis] >= _LEAST_LENGTH]
    if not axes:
        return
    rest = tuple(range(1, x.ndim))
    yield f"variance{how}", _log((x - x.mean(rest, keepdims=True)) ** 2, rest)
    for axis in axes:
        place = f" along axis {axis - 1}" if len(axes) > 1 else ""
        first = np.diff(x, axis=axis)
        for name, differences in (("differences", first), ("second differences", np.diff(first, axis=axis))):
            square = differences**2
            yield f"mean square of {name} between neighbours{place}{how}", _log(square, rest)
            for parts in _PARTS:
                local = _in_parts(square, axes, parts)
                for kind, value in (("smallest", local.min(rest)), ("largest", local.max(rest))):
                    yield f"{kind} {name} in one of {parts} parts{place}{how}", np.log(value + _TINY)
        if not how:
            yield f"share of neighbours that are equal{place}", (first == 0).mean(rest)


def _log(square: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.log(square.mean(axes) + _TINY)


def _in_parts(values: np.ndarray, axes: list[int], parts: int) -> np.ndarray:
    """Means over nearly equal parts along these axes."""
    for axis in axes:
        starts = np.unique(np.linspace(0, values.shape[axis], min(parts, values.shape[axis]) + 1).astype(int)[:-1])
        counts = np.diff([*starts, values.shape[axis]])
        shape = [-1 if k == axis else 1 for k in range(values.ndim)]
        values = np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape)
    return values

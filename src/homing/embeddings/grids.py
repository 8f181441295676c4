r"""What images and series share: entries on a grid, cut into blocks, and simple statistics of them.

A convolution with a stride of s and a kernel of 2 s is an affine map of each block of s entries and its neighbour.
Written so, it is a reshape and one product of matrices, which every processor does fast and JAX compiles fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.estimators.embedding import Dense, library_of_arrays, powers

_LAGS = (1, 2, 4, 8)
_PARTS = 8  # of each axis, whose averages are statistics
_FINE_PARTS = 16  # of each axis, among whose smoothed averages peaks and troughs are looked for
_SHARPNESS = (2.0, -2.0)  # of peaks, and of troughs
_LEAST_VARIANCE = 1e-4  # of standardised data
_MOST_CORRELATED = 0.999
_EVEN = 0.5  # share of the variance of a fresh window's weights that all its entries have alike


def blocks(x: Array, size: int, dims: int) -> Array:
    """Blocks of `size` entries along each of the first `dims` axes, (n, ..., c) to (n / size, ..., size**dims * c)."""
    counts = [-(-n // size) for n in x.shape[:dims]]
    missing = [(0, count * size - n) for count, n in zip(counts, x.shape)]
    x = jnp.pad(x, [*missing, (0, 0)])
    x = x.reshape(*(length for count in counts for length in (count, size)), x.shape[-1])
    places = [*range(0, 2 * dims, 2), *range(1, 2 * dims, 2), 2 * dims]
    return x.transpose(places).reshape(*counts, -1)


def with_next(x: Array, dims: int) -> Array:
    """Each entry together with its next neighbours along the first `dims` axes, (n, ..., c) to (n, ..., 2**dims c)."""
    for axis in range(dims):
        later = jax.lax.slice_in_dim(x, 1, None, axis=axis)
        x = jnp.concatenate([x, jnp.pad(later, [(0, int(a == axis)) for a in range(x.ndim)])], axis=-1)
    return x


def windows(x: Array, size: int, dims: int) -> Array:
    """Overlapping windows of twice `size` entries along each axis, every `size` entries: `with_next` of `blocks`."""
    return with_next(blocks(x, size, dims), dims)


def grid_statistics(x: Any, dims: int) -> Any:
    """Averages over parts, the variance, where there are peaks and troughs, and how neighbours correlate.

    Correlations are on Fisher's scale, on which their noise is even. Of the log variance there are squares and cubes,
    of the places, which are centred, cubes: see `powers`.

    Args:
        x: NumPy or JAX, shape (..., *grid, c), with `dims` axes of the grid.
        dims: 1 or 2.

    Returns:
        Shape (..., p).

    Example:
        >>> grid_statistics(np.zeros((5, 100, 2)), 1).shape, grid_statistics(np.zeros((5, 64, 64, 1)), 2).shape
        ((5, 38), (5, 83))
    """
    library = library_of_arrays(x)
    lead, axes = x.shape[: x.ndim - dims - 1], tuple(range(-dims - 1, -1))
    means, fine = (_averaged(x, axes, parts) for parts in (_parts, _overlapping_parts))
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred**2).mean(axes) + _LEAST_VARIANCE
    height = fine - fine.mean(axes, keepdims=True)
    height = height / (height.std(axes, keepdims=True) + 1e-3)
    places = library.concatenate([centres(sharpness * height, dims) for sharpness in _SHARPNESS], axis=-1)
    parts = [means.reshape(*lead, -1), powers(library.log(variance)), places, places**3]
    for axis in axes:
        num = x.shape[axis]
        for lag in (lag for lag in _LAGS if lag < num):
            early, late = (_cut(centred, axis, start, num - lag) for start in (0, lag))
            correlation = (early * late).mean(axes) / variance
            parts.append(library.arctanh(library.clip(correlation, -_MOST_CORRELATED, _MOST_CORRELATED)))
    return library.concatenate(parts, axis=-1)


def centres(height: Any, dims: int) -> Any:
    """Where the high entries are: the mean place along each axis, weighed by exp(height), from -1 to 1.

    Args:
        height: NumPy or JAX, shape (..., *grid, c), with `dims` axes of the grid.
        dims: 1 or 2.

    Returns:
        Shape (..., dims * c).
    """
    library, axes = library_of_arrays(height), tuple(range(-dims - 1, -1))
    share = library.exp(height - height.max(axes, keepdims=True))
    share = share / share.sum(axes, keepdims=True)
    places = [np.linspace(-1, 1, height.shape[axis], dtype=np.float32).reshape(-1, *[1] * (-axis - 1)) for axis in axes]
    return library.concatenate([(share * place).sum(axes) for place in places], axis=-1)


def fresh_window(rng: np.random.Generator, size: int, dims: int, channels: int, width: int, gain: float) -> Dense:
    """Weights for `windows` of blocks of `size`, a good part of them an average over the window's entries.

    What is seen in a noisy image or series, is seen in averages; white weights would see the noise of single entries.
    """
    entries = (2 * size) ** dims
    own, even = (rng.standard_normal((width, num, channels)) for num in (entries, 1))
    weight = (np.sqrt(1 - _EVEN) * own + np.sqrt(_EVEN) * even) * gain / np.sqrt(entries * channels)
    return Dense(*jax.device_put((weight.reshape(width, -1).astype(np.float32), np.zeros(width, np.float32))))


def _cut(x: Any, axis: int, start: int, length: int) -> Any:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + length)
    return x[tuple(index)]


def _averaged(x: Any, axes: tuple[int, ...], matrix_for: Callable[[int], np.ndarray]) -> Any:
    """Averages along each of these axes, by a matrix for its length."""
    library = library_of_arrays(x)
    for axis in axes:
        x = library.moveaxis(library.tensordot(x, matrix_for(x.shape[axis]), (axis, 1)), -1, axis)
    return x


def _parts(num: int, most: int = _PARTS) -> np.ndarray:
    """The matrix, shape (parts, num), that averages over nearly equal parts; one part an entry where there are few."""
    parts = min(most, num)
    part = np.arange(num) * parts // num
    matrix = (part == np.arange(parts)[:, None]).astype(np.float32)
    return matrix / matrix.sum(1, keepdims=True)


def _overlapping_parts(num: int) -> np.ndarray:
    """The same for finer parts, each averaged with its neighbours by the weights 1, 4, 6, 4, 1."""
    matrix = _parts(num, _FINE_PARTS)
    for _ in range(2):
        around = np.pad(matrix, [(1, 1), (0, 0)], mode="edge")
        matrix = (around[:-2] + 2 * around[1:-1] + around[2:]) / 4
    return matrix

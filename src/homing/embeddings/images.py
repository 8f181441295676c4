r"""Images, and series by convolutions: each stage halves an image's axes, or quarters a series, until little is left.

The raw features are each stage's averages over the grid, which tell what there is at each scale, and the last stage's
grid, which tells where. The number of stages follows from the data's shape, so the network has some ten thousand
weights for an image of 64 x 64 and for a series of 1,000 steps alike.

Source: LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, 1998,
https://doi.org/10.1109/5.726791.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.embeddings.grids import centres, fresh_window, grid_statistics, windows
from homing.errors import ShapeError
from homing.estimators.embedding import GAIN, Body, Dense, Embedding, library_of_arrays
from homing.estimators.standardize import Standardize, ZScore, fit_standardize

_LARGE = 32  # pixels along an axis from which an image's first stage quarters it, as all stages do with a series
_SMALL = 4  # entries along each axis that the last stage leaves at most


class Convolutions(Body):
    """Strided convolutions."""

    stages: tuple[Dense, ...]
    strides: tuple[int, ...] = eqx.field(static=True)
    dims: int = eqx.field(static=True)
    channel_axis: int | None = eqx.field(static=True)  # counted from the end

    def __call__(self, x: Array) -> Array:
        h, raw = self._with_channels(x), []
        for stage, stride in zip(self.stages, self.strides):
            seen = stage(windows(h, stride, self.dims))
            h = jax.nn.silu(seen)
            raw += [h.mean(tuple(range(self.dims))), centres(seen, self.dims)]
        return jnp.concatenate([*raw, self.summary(x)])

    def summary(self, x: Any) -> Any:
        return grid_statistics(self._with_channels(x), self.dims)

    def _with_channels(self, x: Any) -> Any:
        return x[..., None] if self.channel_axis is None else library_of_arrays(x).moveaxis(x, self.channel_axis, -1)


@dataclass(frozen=True)
class CNNEmbedding(Embedding):
    """A convolutional network for images and series of any size. All pixels of a channel are scaled alike.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layer that leads to it.
        channels: Channels of the first stage; the second has twice, later ones four times as many.
        channel_axis: The axis of one x that holds its channels: 0 for (channels, height, width), -1 for (steps,
            channels). None: x has no such axis, and is an image (height, width) or a series (steps,).

    Raises:
        ArgumentError: If a size is not a positive whole number.

    Example:
        >>> images = np.random.default_rng(0).normal(size=(20, 64, 64))
        >>> net = CNNEmbedding(out_features=8).build(images, np.random.default_rng(1))
        >>> jax.eval_shape(net, images[0]).shape
        (8,)
    """

    channels: int = 16
    channel_axis: int | None = None

    def check(self, x: np.ndarray) -> None:
        x_shape = x.shape[1:]
        ndim = len(x_shape)
        dims = ndim - (self.channel_axis is not None)
        if self.channel_axis is not None and not -ndim <= self.channel_axis < ndim:
            raise ShapeError(f"channel_axis is {self.channel_axis}, which an x of shape {x_shape} does not have.")
        if dims not in (1, 2):
            raise ShapeError(
                "CNNEmbedding takes images (height, width) and series (steps,), with one more axis if channel_axis "
                f"says which one holds the channels; found x of shape {x_shape} and channel_axis={self.channel_axis}."
            )

    def standardize(self, x: np.ndarray, z_score: ZScore, z: np.ndarray | None = None) -> Standardize:
        self.check(x)
        axes = set(range(x.ndim - 1))
        if self.channel_axis is not None:
            axes.remove(self.channel_axis % len(axes))
        return fit_standardize(x, z_score, alike=tuple(sorted(axes)))

    def body(self, x: np.ndarray, rng: np.random.Generator) -> Convolutions:
        axis, ndim = self.channel_axis, x.ndim - 1
        if axis is not None:
            axis = axis % ndim - ndim
        num_channels = 1 if axis is None else x.shape[axis]
        grid = [size for place, size in enumerate(x.shape[1:]) if axis is None or place != axis % ndim]
        stages, strides = [], []
        while not stages or max(grid) > _SMALL:
            stride = 2 if len(grid) == 2 and (stages or max(grid) < _LARGE) else 4
            width = self.channels * min(2 ** len(stages), 4)
            stages.append(fresh_window(rng, stride, len(grid), num_channels, width, GAIN if stages else 1.0))
            strides.append(stride)
            grid, num_channels = [-(-size // stride) for size in grid], width
        return Convolutions(tuple(stages), tuple(strides), len(grid), axis)

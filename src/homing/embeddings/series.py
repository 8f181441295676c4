r"""Series: a recurrent network and a transformer. Time is the first axis of x.

A network that goes through a thousand steps one by one is slow to run and slow to learn. Here a series is first cut
into at most 64 windows that overlap by half, each turned into one vector, and these are what is gone through.

Sources: Cho et al., *Learning phrase representations using RNN encoder-decoder for statistical machine translation*,
    2014, https://arxiv.org/abs/1406.1078 (the gated recurrent unit); Vaswani et al., *Attention is all you need*, 2017,
    https://arxiv.org/abs/1706.03762, section 3; Xiong et al., *On layer normalization in the transformer architecture*,
    2020, https://arxiv.org/abs/2002.04745 (normalisation before each part).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.embeddings.grids import grid_statistics, windows
from homing.errors import ArgumentError, ShapeError
from homing.estimators.embedding import Body, Dense, Embedding, dense
from homing.estimators.standardize import Standardize, ZScore, fit_standardize

_MOST_WINDOWS = 64
_WAVELENGTH = 1e4  # the longest, of the codes that tell a window's place


class _Series(Body):
    """A series as windows, each a vector of shape (width,)."""

    enter: Dense
    stride: int = eqx.field(static=True)
    has_channels: bool = eqx.field(static=True)

    def tokens(self, x: Array) -> Array:
        return jax.nn.silu(self.enter(windows(self._with_channels(x), self.stride, 1)))

    def summary(self, x: Any) -> Any:
        return grid_statistics(self._with_channels(x), 1)

    def _with_channels(self, x: Any) -> Any:
        return x if self.has_channels else x[..., None]


class Recurrence(_Series):
    """A gated recurrent unit. The raw features are averages of its inputs and states, and the last state."""

    gates: Dense  # (3 * width, width), of the inputs
    recur: Dense  # (3 * width, width), of the state

    def __call__(self, x: Array) -> Array:
        tokens = self.tokens(x)

        def step(state: Array, inputs: Array) -> tuple[Array, Array]:
            (reset_in, keep_in, new_in), (reset, keep, new) = (jnp.split(a, 3) for a in (inputs, self.recur(state)))
            keep = jax.nn.sigmoid(keep_in + keep)
            state = keep * state + (1 - keep) * jnp.tanh(new_in + jax.nn.sigmoid(reset_in + reset) * new)
            return state, state

        last, states = jax.lax.scan(step, jnp.zeros(tokens.shape[1]), self.gates(tokens))
        return jnp.concatenate([tokens.mean(0), states.mean(0), last, self.summary(x)])


class Block(eqx.Module):
    """A transformer's block: attention, and two layers for each window alone."""

    look: Dense  # (3 * width, width): queries, keys and values
    join: Dense
    widen: Dense
    narrow: Dense
    num_heads: int = eqx.field(static=True)

    def __call__(self, h: Array) -> Array:
        length, width = h.shape
        query, key, value = self.look(_normalised(h)).reshape(length, 3, self.num_heads, -1).transpose(1, 2, 0, 3)
        attention = jax.nn.softmax(query @ key.swapaxes(1, 2) / np.sqrt(width / self.num_heads))
        h = h + self.join((attention @ value).swapaxes(0, 1).reshape(length, width))
        return h + self.narrow(jax.nn.silu(self.widen(_normalised(h))))


class Attention(_Series):
    """A transformer. The raw features are averages of what goes in and comes out."""

    layers: tuple[Block, ...]

    def __call__(self, x: Array) -> Array:
        tokens = self.tokens(x)
        h = tokens + _places(*tokens.shape)
        for layer in self.layers:
            h = layer(h)
        h = _normalised(h)
        return jnp.concatenate([tokens.mean(0), h.mean(0), h[-1], self.summary(x)])


def _normalised(h: Array) -> Array:
    centred = h - h.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def _places(length: int, width: int) -> np.ndarray:
    """Sines and cosines of each window's place, shape (length, width)."""
    waves = np.arange(length)[:, None] / _WAVELENGTH ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(waves), np.cos(waves)], axis=1)[:, :width].astype(np.float32)


@dataclass(frozen=True)
class _SeriesEmbedding(Embedding):
    width: int = 32

    def check(self, x: np.ndarray) -> None:
        if x.ndim not in (2, 3):
            raise ShapeError(
                f"{self.kind} takes series of shape (steps,) or (steps, channels); found x of shape {x.shape[1:]}."
            )

    def standardize(self, x: np.ndarray, z_score: ZScore, z: np.ndarray | None = None) -> Standardize:
        self.check(x)
        return fit_standardize(x, z_score, alike=(0,))

    def _enter(self, x: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        has_channels = x.ndim == 3
        stride = -(-x.shape[1] // _MOST_WINDOWS)
        enter = dense(rng, 2 * stride * (x.shape[2] if has_channels else 1), self.width, 1.0)
        return {"enter": enter, "stride": stride, "has_channels": has_channels}


@dataclass(frozen=True)
class RecurrentEmbedding(_SeriesEmbedding):
    """A gated recurrent unit for series of shape (steps,) or (steps, channels). A channel's steps are scaled alike.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layer that leads to it.
        width: Length of the state.

    Raises:
        ArgumentError: If a size is not a positive whole number.

    Example:
        >>> series = np.random.default_rng(0).normal(size=(20, 1000))
        >>> net = RecurrentEmbedding(out_features=8).build(series, np.random.default_rng(1))
        >>> jax.eval_shape(net, series[0]).shape
        (8,)
    """

    def body(self, x: np.ndarray, rng: np.random.Generator) -> Recurrence:
        gates, recur = (dense(rng, self.width, 3 * self.width, 1.0) for _ in range(2))
        return Recurrence(**self._enter(x, rng), gates=gates, recur=recur)


@dataclass(frozen=True)
class TransformerEmbedding(_SeriesEmbedding):
    """A transformer for series of shape (steps,) or (steps, channels). A channel's steps are scaled alike.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layer that leads to it.
        width: Length of each window's vector, a multiple of num_heads.
        num_layers: Blocks.
        num_heads: Heads of the attention.

    Raises:
        ArgumentError: If a size is not a positive whole number, or width is not a multiple of num_heads.

    Example:
        >>> series = np.random.default_rng(0).normal(size=(20, 100, 3))
        >>> net = TransformerEmbedding(out_features=8).build(series, np.random.default_rng(1))
        >>> jax.eval_shape(net, series[0]).shape
        (8,)
    """

    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.num_heads:
            raise ArgumentError(f"width must be a multiple of num_heads, found {self.width} and {self.num_heads}.")

    def body(self, x: np.ndarray, rng: np.random.Generator) -> Attention:
        width = self.width
        sizes = ((width, 3 * width, 1.0), (width, width, 1.0), (width, 2 * width, 1.0), (2 * width, width, 1.0))
        layers: Any = [[dense(rng, *size) for size in sizes] for _ in range(self.num_layers)]
        layers = tuple(Block(maps[0], maps[1], maps[2], maps[3], self.num_heads) for maps in layers)
        return Attention(**self._enter(x, rng), layers=layers)

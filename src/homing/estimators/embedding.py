r"""What an embedding of data is: a description, and the network made from it once there are data.

\(\mathrm{embed}(x) = \mathrm{head}((\mathrm{body}(x) - m) / s)\). The body looks at images, series or sets and gives
many raw features, averages above all; m and s are their mean and standard deviation over the first data, before any
training: an average over a thousand pixels differs little from one x to the next, and would have to be magnified by
learning. Averages are also what simple statistics are made of. Those, `summary`, are what the density's linear base is
a regression on, so that the network starts from the answer that a few statistics give and has the rest to learn.

What the first data do not reach is not extrapolated to: statistics are held within the range that they had there, and
raw features far beyond it are drawn in. Cubes of a variance that no data have would take the answer anywhere.

Sources: Salimans, Kingma, *Weight Normalization*, 2016, https://arxiv.org/abs/1602.07868, section 3 (scales from the
    first data); Radev, Mertens, Voss, Ardizzone, Köthe, *BayesFlow: Learning complex stochastic models with invertible
    neural networks*, 2020, https://arxiv.org/abs/2003.06281 (embeddings trained jointly with the density).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.errors import ArgumentError
from homing.estimators.standardize import Standardize, ZScore, fit_standardize
from homing.programs import Program

GAIN = 1.68  # silu of a standard normal has a root mean square of 1 / 1.68
_ROWS = 256  # data from which the raw features' mean and standard deviation are taken, and
_MOST_ROWS = 4096  # the statistics' range
_SLACK = 0.05  # of the range, beyond it
_LINEAR = 10.0  # standard deviations beyond which a raw feature grows logarithmically


class Dense(eqx.Module):
    """An affine map of the last axis, from (..., i) to (..., o)."""

    weight: Array  # (o, i)
    bias: Array  # (o,)

    def __call__(self, x: Array) -> Array:
        return x @ self.weight.T + self.bias


def dense(rng: np.random.Generator, size_in: int, size_out: int, gain: float = GAIN) -> Dense:
    """A fresh map that keeps the size of its input, which went through a silu (a gain of 1: which did not)."""
    weight = rng.standard_normal((size_out, size_in)) * gain / np.sqrt(size_in)
    return Dense(*jax.device_put((weight.astype(np.float32), np.zeros(size_out, np.float32))))


def dense_layers(rng: np.random.Generator, sizes: Sequence[int]) -> tuple[Dense, ...]:
    """Fresh maps from each size to the next; the input is standardised."""
    pairs = enumerate(pairwise(sizes))
    return tuple(dense(rng, i, o, GAIN if place else 1.0) for place, (i, o) in pairs)


class Body(eqx.Module):
    """From one standardised x to its raw features."""

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Raw features, shape (k,), of one x of shape x_shape."""

    @abstractmethod
    def summary(self, x: Any) -> Any:
        """Simple statistics of x, NumPy or JAX, from shape (..., *x_shape) to (..., p); nothing here is trained."""


class EmbeddingNet(eqx.Module):
    """From one standardised x of shape x_shape, without a batch dimension, to features of shape (c,)."""

    body: Body
    loc: Array  # (k,)
    scale: Array  # (k,)
    head: tuple[Dense, ...]
    low: Array | None = None  # (p,), of the statistics; None in files of before they were held within a range
    high: Array | None = None

    def summary(self, x: Any) -> Any:
        """The body's simple statistics, NumPy or JAX, from shape (..., *x_shape) to (..., p), within their range."""
        return self._held(self.body.summary(x))

    def _held(self, summary: Any) -> Any:
        if self.low is None or self.high is None:
            return summary
        low, high = jax.lax.stop_gradient(self.low), jax.lax.stop_gradient(self.high)
        if library_of_arrays(summary) is np:
            return np.clip(summary, np.asarray(low), np.asarray(high))
        return jnp.clip(summary, low, high)

    def __call__(self, x: Array) -> Array:
        raw = self.body(x)
        if self.low is not None:
            raw = jnp.concatenate([raw[: -len(self.low)], self._held(raw[-len(self.low) :])])
        h = (raw - jax.lax.stop_gradient(self.loc)) / jax.lax.stop_gradient(self.scale)
        if self.low is not None:
            beyond = jnp.maximum(jnp.abs(h) - _LINEAR, 0.0)
            h = jnp.sign(h) * (jnp.minimum(jnp.abs(h), _LINEAR) + jnp.log1p(beyond))
        for layer in self.head[:-1]:
            h = jax.nn.silu(layer(h))
        return self.head[-1](h)


@Program
def _raw_features(body: Body, x: Any) -> Array:
    return jax.vmap(body)(x)


@dataclass(frozen=True)
class Embedding(ABC):
    """A description of an embedding network. The network is made when there are data, by `build`.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layer that leads to it.

    Raises:
        ArgumentError: If a size is not a positive whole number.
    """

    out_features: int = 20
    hidden_features: int = 50
    kind: str = field(default="", init=False, repr=False)  # so that descriptions of two classes never look the same

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self).__name__)
        for name in self._sizes():
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
                raise ArgumentError(f"{name} must be a positive whole number, found {size!r}.")

    def _sizes(self) -> list[str]:
        return [known.name for known in fields(self) if known.type == "int"]

    def check(self, x: np.ndarray) -> None:  # noqa: B027 - most are for any data
        """Whether data of shape (n, *x_shape) are what this embedding is for.

        Raises:
            ShapeError: If they are not.
        """

    def standardize(self, x: np.ndarray, z_score: ZScore, z: np.ndarray | None = None) -> Standardize:
        """The map from data of shape (n, *x_shape) to what the network sees; see `fit_standardize`."""
        self.check(x)
        return fit_standardize(x, z_score, z)

    @abstractmethod
    def body(self, x: np.ndarray, rng: np.random.Generator) -> Body:
        """The part that looks at x, with fresh weights, for standardised data of shape (n, *x_shape)."""

    def build(self, x: np.ndarray, rng: np.random.Generator) -> EmbeddingNet:
        """A network with fresh weights.

        Args:
            x: Standardised data, shape (n, *x_shape).
            rng: Draws the weights.

        Raises:
            ShapeError: If the data are not what this embedding is for.
        """
        x = np.asarray(x, np.float32)
        self.check(x)
        body = self.body(x, rng)
        raw = np.asarray(_raw_features(body, x[np.linspace(0, len(x) - 1, _ROWS).astype(int)]))
        loc, scale = raw.mean(0), raw.std(0)
        loc, scale = jax.device_put((loc, np.where(scale > 1e-5, scale, 1.0).astype(np.float32)))
        low, high = _range(body.summary(x[np.linspace(0, len(x) - 1, min(len(x), _MOST_ROWS)).astype(int)]))
        head = dense_layers(rng, (raw.shape[1], *self._hidden(), self.out_features))
        return EmbeddingNet(body, loc, scale, head, low, high)

    def _hidden(self) -> tuple[int, ...]:
        """Widths of the head's hidden layers."""
        return (self.hidden_features,)


def _range(summary: np.ndarray) -> tuple[Array, Array]:
    """Between what statistics of data, shape (n, p), lie, and a little beyond."""
    low, high = summary.min(0), summary.max(0)
    slack = _SLACK * (high - low)
    return jax.device_put(((low - slack).astype(np.float32), (high + slack).astype(np.float32)))


def simple_features(embedding: Any, x: Any) -> Any:
    """What the linear base is a regression on, from data of shape (n, *x_shape) to (n, p), NumPy or JAX."""
    return embedding.summary(x) if isinstance(embedding, EmbeddingNet) else x.reshape(len(x), -1)


def powers(values: Any) -> Any:
    """NumPy or JAX values of shape (..., p), their squares and cubes, (..., 3 p): a regression on them follows the bend
    of the map that takes a uniform prior to a normal one."""
    return library_of_arrays(values).concatenate([values, values**2, values**3], axis=-1)


def library_of_arrays(x: Any) -> Any:
    """jax.numpy for JAX's arrays, NumPy for NumPy's."""
    return jnp if isinstance(x, jax.Array) else np

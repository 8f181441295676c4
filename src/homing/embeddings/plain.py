"""Vectors: a multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.estimators.embedding import Body, Embedding


class Flat(Body):
    """All entries of x as they are; they are the simple statistics too."""

    ndim: int = eqx.field(static=True)  # of one x

    def __call__(self, x: Array) -> Array:
        return jnp.ravel(x)

    def summary(self, x: Any) -> Any:
        return x.reshape(*x.shape[: x.ndim - self.ndim], -1)


@dataclass(frozen=True)
class MLPEmbedding(Embedding):
    """A multilayer perceptron of all entries of x, for summary statistics of up to some hundred entries.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layers.
        num_layers: Hidden layers.

    Raises:
        ArgumentError: If a size is not a positive whole number.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 30))
        >>> net = MLPEmbedding(out_features=8).build(x, np.random.default_rng(1))
        >>> net(x[0]).shape
        (8,)
    """

    num_layers: int = 2

    def body(self, x: np.ndarray, rng: np.random.Generator) -> Flat:
        return Flat(x.ndim - 1)

    def _hidden(self) -> tuple[int, ...]:
        return (self.hidden_features,) * self.num_layers

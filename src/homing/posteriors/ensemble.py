"""Trained densities as one: a weighted mixture of members that looks at data as they come and speaks NumPy.

Draws and densities run through programs of one fixed size, however many are asked for, so one compiled program serves
all; two of them run side by side, since one uses one processor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from paramax import unwrap

from homing import random
from homing.estimators import ConditionalDensity, Gaussians
from homing.estimators.density import basis_of
from homing.estimators.mixture import MixtureNetwork
from homing.estimators.standardize import Standardize
from homing.programs import Program

_CHUNK = DRAWS_COMPARED = 2048  # draws or densities in one call of a program; draws that members are compared by
THREADS = max(2, os.cpu_count() or 1)


@Program
def _draw(density: ConditionalDensity, x: Any, seed: Any, chunk: Any) -> Array:
    model = unwrap(density)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), chunk), _CHUNK)
    context = model.context(x)
    return jax.vmap(lambda key: model.sample(key, context))(keys)


@Program
def _draw_pairs(density: ConditionalDensity, x: Any, seed: Any, chunk: Any) -> Array:
    model = unwrap(density)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), chunk), _CHUNK)
    return jax.vmap(lambda key, data: model.sample(key, model.context(data)))(keys, x)


@Program
def _density(density: ConditionalDensity, x: Any, z: Any) -> Array:
    model = unwrap(density)
    context = model.context(x)
    return jax.vmap(lambda row: model.log_prob(row, context))(z)


@Program
def _pair_density(density: ConditionalDensity, x: Any, z: Any) -> Array:
    model = unwrap(density)
    return jax.vmap(lambda row, data: model.log_prob(row, model.context(data)))(z, x)


@Program
def _components(density: ConditionalDensity, x: Any) -> Gaussians:
    model = unwrap(density)
    return model.components(model.context(x))


def in_chunks(call: Callable[[int], Any], num: int, on_chunk: Callable[[int], object] | None = None) -> np.ndarray:
    """The first `num` of the rows that `call(chunk)` gives, _CHUNK at a time and in order."""

    def results() -> Iterator[np.ndarray]:
        chunks = range(-(-num // _CHUNK))
        if len(chunks) == 1:
            yield np.asarray(call(0))
            return
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda chunk: np.asarray(call(chunk)), chunks)

    parts, done = [], 0
    for part in results():
        parts.append(part[: num - done])
        done += len(parts[-1])
        if on_chunk is not None:
            on_chunk(len(parts[-1]))
    return np.concatenate(parts)


def padded(array: np.ndarray, chunk: int) -> np.ndarray:
    part = np.asarray(array[chunk * _CHUNK : (chunk + 1) * _CHUNK], np.float32)
    return np.pad(part, [(0, _CHUNK - len(part))] + [(0, 0)] * (part.ndim - 1))


def disagreement_of(values: np.ndarray, mixed: np.ndarray, weights: np.ndarray) -> float:
    """How much a draw tells about which member it is of, nats.

    Args:
        values: The members' log densities of draws of their mixture, shape (M, n).
        mixed: The mixture's, shape (n,).
        weights: The members' shares of it, shape (M,).
    """
    ratios = values - mixed
    return float(np.clip((weights @ (np.exp(ratios) * ratios)).mean(), 0.0, np.log(len(values))))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A mixture of densities q_m(z | x) with fixed weights.

    Attributes:
        members: Densities of one structure.
        weights: Shape (M,), non-negative, summing to one.
        standardize: The map from data to what the members see.
        x_shape: Shape of one x.
    """

    members: Sequence[ConditionalDensity]
    weights: np.ndarray
    standardize: Standardize
    x_shape: tuple[int, ...]

    @property
    def dim(self) -> int:
        return self.members[0].core.shape[0]

    def member(self, m: int) -> Ensemble:
        """One member alone."""
        return Ensemble([self.members[m]], np.ones(1), self.standardize, self.x_shape)

    @property
    def is_mixture_of_gaussians(self) -> bool:
        return all(isinstance(member.core, MixtureNetwork) for member in self.members)

    def sample(self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None) -> np.ndarray:
        """Draws of z at one x of shape x_shape, shape (num, d), float64, in random order."""
        if num == 0:
            return np.zeros((0, self.dim))
        data = self.standardize(x[None])[0]
        rng = random.generator(seed, "members")
        counts = rng.multinomial(num, self.weights)
        parts = []
        for m, (member, count) in enumerate(zip(self.members, counts)):
            if count:
                word = np.uint32(random.word(seed, "draws", m))
                parts.append(
                    in_chunks(lambda c, d=member, w=word: _draw(d, data, w, np.int32(c)), int(count), on_chunk)
                )
        z = np.concatenate(parts)
        return (z if len(parts) == 1 else rng.permutation(z)).astype(np.float64)

    def sample_pairs(self, x: np.ndarray, seed: int) -> np.ndarray:
        """One draw of the first member at each x, shape (n, *x_shape); shape (n, d), float64."""
        if len(x) == 0:
            return np.zeros((0, self.dim))
        data, word, member = self.standardize(x), np.uint32(random.word(seed, "pairs")), self.members[0]
        return in_chunks(lambda c: _draw_pairs(member, padded(data, c), word, np.int32(c)), len(x)).astype(np.float64)

    def log_prob(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """log q(z | x) of rows z, shape (n, d), at one x of shape x_shape; shape (n,)."""
        if len(z) == 0:
            return np.zeros(0)
        data = self.standardize(x[None])[0]
        values = [in_chunks(lambda c, d=d: _density(d, data, padded(z, c)), len(z)) for d in self.members]
        return self._mixed(values)

    def log_prob_pairs(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """log q(z_i | x_i) of rows z, shape (n, d), each with its own x, shape (n, *x_shape); shape (n,)."""
        if len(z) == 0:
            return np.zeros(0)
        data = self.standardize(x)
        values = [
            in_chunks(lambda c, d=d: _pair_density(d, padded(data, c), padded(z, c)), len(z)) for d in self.members
        ]
        return self._mixed(values)

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        """How much a draw at x tells about which member it is of, nats: zero if they agree, log M at most.

        None if there is but one.
        """
        if len(self.members) == 1:
            return None
        z = self.sample(DRAWS_COMPARED, x, seed)
        values = [self.member(m).log_prob(z, x) for m in range(len(self.members))]
        return disagreement_of(np.stack(values), self._mixed(values), self.weights)

    def _mixed(self, values: Sequence[np.ndarray]) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a member of no weight
            log_weights = np.log(self.weights)[:, None]
        return np.logaddexp.reduce(np.stack(values).astype(np.float64) + log_weights, axis=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The first member's linear prediction of z from data, shape (n, *x_shape), in units of its residual."""
        model = unwrap(self.members[0])
        slope, whiten = np.asarray(model.slope), np.asarray(model.whiten)
        return basis_of(self.standardize(x), model.embedding, slope.shape[1]) @ (whiten @ slope).T

    def components(self, x: np.ndarray) -> Gaussians:
        """The mixture of Gaussians that q(z | x) is, members' components side by side."""
        data = self.standardize(x[None])[0]
        parts = [jax.tree.map(np.asarray, _components(member, data)) for member in self.members]
        log_weights = [np.log(w) + part.log_weights for w, part in zip(self.weights, parts)]
        means, precisions = [part.means for part in parts], [part.precisions for part in parts]
        return Gaussians(np.concatenate(log_weights), np.concatenate(means), np.concatenate(precisions))

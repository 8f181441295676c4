"""Posteriors at many x at once, for diagnostics: draws at each, densities of them, and what they weigh.

A posterior that is costly to draw from at a new x, one by a likelihood, is represented by draws of a cheap one, the
direct side's, and their importance weights: ranks of weighted draws are exact (`homing.diagnostics.pairs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homing import random
from homing.posteriors.ensemble import Ensemble

_MOST_NUMBERS = 2**23  # of repeated data at a time


@dataclass(frozen=True, eq=False)
class Conditionals:
    """The posteriors at n data.

    Attributes:
        draw: Draws what proposes for the posterior at each.
        density: From z of shape (n, k, d) to the log densities of the posterior, and of what proposed, each of shape
            (n, k).
    """

    draw: Callable[[], np.ndarray]
    density: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @cached_property
    def z(self) -> np.ndarray:
        """The draws, shape (n, S, d)."""
        return self.draw()


def ensemble_at_each(ensemble: Ensemble, x: np.ndarray, num: int, seed: int) -> Conditionals:
    """An ensemble's densities at data x of shape (n, *x_shape), with `num` draws of each."""

    def draw() -> np.ndarray:
        member = random.generator(seed, "members").choice(len(ensemble.members), (len(x), num), p=ensemble.weights)
        z = np.empty((len(x), num, ensemble.dim))
        for k, rows in enumerate(_blocks(x, num)):
            repeated, of, drawn = np.repeat(x[rows], num, axis=0), member[rows].ravel(), z[rows].reshape(-1, z.shape[2])
            for m in range(len(ensemble.members)):
                mine = of == m
                drawn[mine] = ensemble.member(m).sample_pairs(repeated[mine], random.word(seed, "draws", k, m))
        return z

    def density(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = paired(ensemble.log_prob_pairs, rows, x)
        return values, values

    return Conditionals(draw, density)


def paired(density: Callable[[np.ndarray, np.ndarray], np.ndarray], z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A function of pairs, z (m, d) and x (m, *x_shape), at z (n, k, d) with the i-th of x for z[i]; shape (n, k)."""
    parts = [
        density(z[rows].reshape(-1, z.shape[2]), np.repeat(x[rows], z.shape[1], axis=0)).reshape(-1, z.shape[1])
        for rows in _blocks(x, z.shape[1])
    ]
    return np.concatenate(parts)


def _blocks(x: np.ndarray, times: int) -> Iterator[slice]:
    """Slices of x, so that each repeated so many times has not too many numbers."""
    step = max(1, _MOST_NUMBERS // max(1, times * x[:1].size))
    for start in range(0, len(x), step):
        yield slice(start, start + step)

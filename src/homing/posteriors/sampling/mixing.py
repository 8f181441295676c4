r"""Whether particles have mixed, by their families: those that descend from one particle are alike until they have.

Particles are drawn anew in proportion to their weights and then moved. The variance of a mean of h over N of them is
about \(V = \frac1{N^2} \sum_f (\sum_{i \in f} (h_i - \bar h))^2\), f the families of a common ancestor; that of h
over V is how many independent draws they are worth. What V cannot see is a place where no particle ever came. If the
moves still lead there, they change the mean: by many standard errors, of the same kind, where they should change it by
about one. Both are asked of every parameter's normal scores, and of the squares of these.

Sources: Lee, Whiteley, *Variance estimation in the particle filter*, 2018, https://arxiv.org/abs/1509.00394 (V);
Olsson, Douc, *Numerically stable online estimation of variance in particle filters*, 2019,
https://arxiv.org/abs/1701.01001 (ancestors not too far back).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

_LEAST_FAMILIES = 100


def normal_scores(draws: np.ndarray) -> np.ndarray:
    """A normal distribution's quantiles in the order of the draws, of any shape."""
    ranks = draws.ravel().argsort().argsort().reshape(draws.shape)
    return ndtri((ranks + 0.625) / (draws.size + 0.25))


def families(parents: Sequence[np.ndarray], num: int) -> np.ndarray:
    """The ancestor of every particle, its parent or as far back as there are enough of them, shape (num,).

    Args:
        parents: For every time that particles were drawn anew, which one each is a copy of, shape (num,).
        num: How many particles.
    """
    family = np.arange(num)
    for age, parent in enumerate(reversed(parents)):
        older = parent[family]
        if age and len(np.unique(older)) < _LEAST_FAMILIES:
            break
        family = older
    return family


def independent(z: np.ndarray, family: np.ndarray) -> float:
    """How many independent draws particles z, shape (n, d), are worth: the least over their parameters.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z, family = rng.normal(size=(4000, 2)), np.repeat(np.arange(400), 10)
        >>> independent(z, family) > 3000, independent(z[family], family) < 450
        (True, True)
    """
    told = _told(z)
    return float(min(len(z), (told.var(0) / _error(told, family) ** 2).min()))


def drift(before: np.ndarray, after: np.ndarray, family: np.ndarray) -> float:
    """By how many standard errors moves change the means: the most over the parameters.

    Args:
        before: The particles, shape (n, d), and
        after: where the moves took each of them.
        family: Their ancestors, shape (n,).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z, moves, family = *rng.normal(size=(2, 4000, 2)), np.arange(4000)
        >>> drift(z, 0.8 * z + 0.6 * moves, family) < 4, drift(z, z + 0.6 * moves, family) > 4
        (True, True)
    """
    told = _told(np.concatenate([before, after]))
    change = told[len(before) :] - told[: len(before)]
    return float((np.abs(change.mean(0)) / _error(change, family)).max())


def _told(z: np.ndarray) -> np.ndarray:
    """The functions of the particles whose means are judged, shape (n, 2 d)."""
    scores = np.stack([normal_scores(column) for column in z.T], axis=1)
    return np.concatenate([scores, scores**2], axis=1)


def _error(values: np.ndarray, family: np.ndarray) -> np.ndarray:
    """The standard errors of the means of values, shape (n, k), by their families; shape (k,)."""
    centred = values - values.mean(0)
    sums = np.stack([np.bincount(family, column, len(family)) for column in centred.T])
    return np.maximum(np.sqrt((sums**2).sum(1)) / len(family), 1e-12)

r"""A classifier that is quick enough to be trained hundreds of times: what tests by classification need.

Ridge regression of the labels, -1 and 1, on the inputs, their products and random cosines of them. Its fit is linear in
the labels, so the classifiers of all permuted labels, whose scores are what chance alone gives, come from one
decomposition; the penalty is chosen for each by the rows that it leaves out. Under equal class sizes its score f is an
estimate of \(2 p(\text{class } 1) - 1\).

Sources: Rahimi, Recht, *Random Features for Large-Scale Kernel Machines*, 2007,
    https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines; Phipson, Smyth, *Permutation
    P-values Should Never Be Zero*, 2010, https://doi.org/10.2202/1544-6115.1585.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.diagnostics.verdict import CARE, Reads
from homing.estimators.ridge import quadratic

PERMUTATIONS = 1999  # so that a p-value can be as low as what makes a posterior wrong
_COSINES = 60
_MOST_QUADRATIC = 12
_PENALTIES = (0.003, 0.03, 0.3)  # times the number of rows
_FOUR_IN_FIVE = 0.8416  # the normal quantile of 0.8


@dataclass(frozen=True, eq=False)
class Features:
    """What the classifier sees of rows u, shape (n, k).

    Attributes:
        loc: (k,), and
        scale: (k,), by which rows are standardised.
        frequency: (k, c), and
        phase: (c,), of the cosines.
    """

    loc: np.ndarray
    scale: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray

    def __call__(self, u: np.ndarray) -> np.ndarray:
        u = np.clip((u - self.loc) / self.scale, -10, 10)
        smooth = quadratic(u) if u.shape[1] <= _MOST_QUADRATIC else np.concatenate([u, u**2], axis=1)
        cosines = np.cos(u @ self.frequency + self.phase)
        return np.concatenate([np.ones((len(u), 1)), smooth, cosines], axis=1)


def features_for(u: np.ndarray, rng: np.random.Generator) -> Features:
    """Features for rows like these, shape (n, k)."""
    frequency = rng.standard_normal((u.shape[1], _COSINES)) / np.sqrt(u.shape[1])
    return Features(u.mean(0), np.maximum(u.std(0), 1e-12), frequency, rng.uniform(0, 2 * np.pi, _COSINES))


class Classifiers:
    """Classifiers of the same rows, one for each column of labels.

    Args:
        features: Shape (n, q).
        labels: -1 or 1, shape (n, B).
        folds: Which part each row belongs to, shape (n,), from 0.

    Attributes:
        left_out: Each row's score by classifiers that did not see its part, shape (n, B).
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray):
        self._gram, self._cross = features.T @ features, features.T @ labels
        trials = [self._left_out(features, labels, folds, len(labels) * penalty) for penalty in _PENALTIES]
        errors = np.stack([((labels - trial) ** 2).mean(0) for trial in trials])
        self._best = errors.argmin(0)
        self.left_out = np.choose(self._best, trials)
        self._num = len(labels)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Scores of new rows, shape (m, q), by classifiers that saw all parts; shape (m, B)."""
        trials = [features @ _solve(self._gram, self._cross, self._num * penalty) for penalty in _PENALTIES]
        return np.choose(self._best, trials)

    def _left_out(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray, penalty: float) -> np.ndarray:
        scores = np.empty(labels.shape)
        for fold in np.unique(folds):
            out = folds == fold
            gram = self._gram - features[out].T @ features[out]
            cross = self._cross - features[out].T @ labels[out]
            scores[out] = features[out] @ _solve(gram, cross, penalty)
        return scores


def _solve(gram: np.ndarray, cross: np.ndarray, penalty: float) -> np.ndarray:
    ridge = np.full(len(gram), penalty)
    ridge[0] = 1e-6  # the constant
    return np.linalg.solve(gram + np.diag(ridge), cross)


def permutation_p_value(observed: float, null: np.ndarray) -> float:
    """How often chance gives as much, from what it gave, shape (B,)."""
    return float((1 + (null >= observed).sum()) / (1 + len(null)))


def permutation_resolution(null: np.ndarray) -> float:
    """The statistic that is found four times in five, if it varies as it does by chance."""
    return float(np.quantile(null, 1 - CARE) + _FOUR_IN_FIVE * null.std())


def comparison(draws: np.ndarray, right: np.ndarray) -> tuple[Reads, int]:
    """How draws, shape (n, d), differ most from right ones, shape (m, d): in place or in width, by standard errors.

    Returns:
        The reading, and the parameter.
    """
    scale = np.maximum(right.std(0), 1e-12)
    shift = np.abs(right.mean(0) - draws.mean(0)) / scale
    width = np.sqrt(2) * np.log(scale / np.maximum(draws.std(0), 1e-12))
    kind, j = np.unravel_index(int(np.argmax([shift, np.abs(width)])), (2, len(shift)))
    if kind == 0:
        return "shifted", int(j)
    return ("overconfident" if width[j] > 0 else "conservative"), int(j)

r"""The probability that a simulation is valid, given its parameters.

Where simulations fail depending on theta, valid rows are drawn from \(p(\theta)\, p(\text{valid} \mid \theta)\), and
so is what is learned from them about theta. A density of theta given x has that factor inside; a likelihood of valid
data given theta has not, and is multiplied by it.

A logistic regression on z, its products (its squares where they would be many), and random cosines of it, which can
draw a boundary of any shape. Whether there are cosines, their length and the penalty are what predicts left-out rows
best. Of the more frequent outcome only a part is learned from, and the constant corrected for that. A classifier is
right for rows of any proposal.

Sources: Rahimi, Recht, *Random Features for Large-Scale Kernel Machines*, 2007,
    https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines; King, Zeng, *Logistic regression
    in rare events data*, 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868 (the correction); Glöckler, Deistler,
    Macke, *Variational methods for simulation-based inference*, 2022, https://arxiv.org/abs/2203.04176 (why failures
    matter).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from homing.estimators.ridge import quadratic

_COSINES = 150
_LENGTHS = (None, 0.7, 1.5, 3.0)  # standard deviations of z, times the root of their number; None for no cosines
_PENALTIES = (30.0, 3.0, 0.3, 0.03)
_FOLDS = 4
_MOST_ROWS = 1500  # of either outcome, and
_FEWEST, _OTHERS = 500, 8  # so many of the more frequent one, or as many as this for each of the other, at least
_LEAST_FAILED = 8
_TOLERANCE = 1e-4
EVIDENCE = 12.0  # nats that left-out rows must favour a dependence on theta by, for it to be part of a posterior
_MOST_QUADRATIC = 12


@dataclass(frozen=True, eq=False)
class Validity:
    """p(valid | z).

    Attributes:
        loc: (d,), and
        scale: (d,), by which z is standardised.
        frequency: (d, k), and
        phase: (k,), of the cosines.
        slope: (p,), of the features, and
        offset: the constant.
    """

    loc: np.ndarray
    scale: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    slope: np.ndarray
    offset: float

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """log p(valid | z) of rows z, shape (n, d); shape (n,)."""
        return -np.logaddexp(0.0, -self._features(z) @ self.slope - self.offset)

    def _features(self, z: np.ndarray) -> np.ndarray:
        u = (z - self.loc) / self.scale
        return np.concatenate([polynomial(u, self.with_squares), np.cos(u @ self.frequency + self.phase)], axis=1)

    @property
    def with_squares(self) -> bool:
        """Whether there are squares where products would be many; those of earlier run files have none."""
        return len(self.slope) != len(self.loc) + len(self.phase)


def polynomial(u: Any, with_squares: bool = True) -> Any:
    """NumPy or JAX rows u, of shape (..., d), with all products of two entries, or their squares where d is large."""
    if u.shape[-1] <= _MOST_QUADRATIC:
        return quadratic(u)
    library = jnp if isinstance(u, jax.Array) else np
    return library.concatenate([u, u**2], axis=-1) if with_squares else u


def fit_validity(
    z: np.ndarray, valid: np.ndarray, rng: np.random.Generator, evidence: float = EVIDENCE
) -> Validity | None:
    """Learn where simulations are valid.

    Args:
        z: Parameters of all simulations, shape (n, d).
        valid: Whether each was valid, shape (n,), bool.
        rng: Randomness.
        evidence: Nats by which left-out rows must be likelier than under one probability for all.

    Returns:
        The classifier, or None where left-out rows do not show that failures depend on z.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(500, 2))
        >>> validity = fit_validity(z, (z**2).sum(1) < 2, rng)
        >>> np.exp(validity.log_prob(np.array([[0.0, 0.0], [2.0, 2.0]]))).round(1).tolist()
        [1.0, 0.0]
    """
    if min(valid.sum(), (~valid).sum()) < _LEAST_FAILED:
        return None
    rows, correction = _balanced(valid, rng)
    z, valid = z[rows], valid[rows]
    loc, scale = z.mean(0), z.std(0)
    start = Validity(loc, np.where(scale > 0, scale, 1.0), np.zeros((z.shape[1], 0)), np.zeros(0), np.zeros(0), 0.0)
    gauss, phase = rng.standard_normal((z.shape[1], _COSINES)), rng.uniform(0, 2 * np.pi, _COSINES)
    share = valid.mean()
    best, choice = len(valid) * (share * np.log(share) + (1 - share) * np.log1p(-share)) + evidence, None
    for length in _LENGTHS:
        form = start
        if length is not None:
            form = replace(start, frequency=gauss / (length * np.sqrt(z.shape[1])), phase=phase)
        features, last = form._features(z), -np.inf
        betas = [np.zeros(features.shape[1] + 1)] * _FOLDS
        for penalty in _PENALTIES:  # each fit begins with that of a larger one
            scores, betas = zip(*(_left_out(features, valid, fold, penalty, betas[fold]) for fold in range(_FOLDS)))
            score = sum(scores)
            if score > best:
                best, choice = score, (form, penalty)
            if score < last:
                break
            last = score
    if choice is None:
        return None
    form, penalty = choice
    features = form._features(z)
    beta = _fit(features, valid, penalty, np.zeros(features.shape[1] + 1))
    return replace(form, slope=beta[1:], offset=float(beta[0]) + correction)


def _balanced(valid: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Rows to learn from, in random order, and what the choice takes from the constant."""
    groups = [rng.permutation(np.flatnonzero(valid == outcome)) for outcome in (False, True)]
    rarer = min(map(len, groups))
    most = int(np.clip(_OTHERS * rarer, _FEWEST, _MOST_ROWS))
    failed, passed = (group[: max(most, min(rarer, _MOST_ROWS))] for group in groups)
    correction = np.log(len(failed) / len(groups[0])) - np.log(len(passed) / len(groups[1]))
    return rng.permutation(np.concatenate([failed, passed])), float(correction)


def _left_out(
    features: np.ndarray, valid: np.ndarray, fold: int, penalty: float, beta: np.ndarray
) -> tuple[float, np.ndarray]:
    """The log likelihood of a fold by a fit to the others, and the fit."""
    out = np.arange(len(valid)) % _FOLDS == fold
    beta = _fit(features[~out], valid[~out], penalty, beta)
    logits = features[out] @ beta[1:] + beta[0]
    return float(-np.logaddexp(0.0, np.where(valid[out], -logits, logits)).sum()), beta


def _fit(features: np.ndarray, valid: np.ndarray, penalty: float, beta: np.ndarray) -> np.ndarray:
    """Newton's method on the penalised log likelihood, from beta, its constant first, with steps halved to improve."""
    features = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    ridge = np.full(features.shape[1], penalty)
    ridge[0] = 0.0
    sign = np.where(valid, 1.0, -1.0)

    def loss(beta: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -sign * (features @ beta)).sum() + 0.5 * (ridge * beta**2).sum())

    value = loss(beta)
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(features @ beta, -500, 500)))
        gradient = features.T @ (p - valid) + ridge * beta
        hessian = (features * (p * (1 - p))[:, None]).T @ features + np.diag(ridge + 1e-9)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while (new := loss(beta - size * step)) > value and size > 1e-4:
            size /= 2
        if not new < value:
            break
        improved, beta, value = value - new, beta - size * step, new
        if improved < _TOLERANCE * abs(value):
            break
    return beta

r"""The probability that a simulation is valid, given its parameters.

Where simulations fail depending on theta, valid rows are drawn from \(p(\theta)\, p(\text{valid} \mid \theta)\), and
so is what is learned from them about theta. A density of theta given x has that factor inside; a likelihood of valid
data given theta has not, and is multiplied by it.

A logistic regression on z, its products, and random cosines of it, which can draw a boundary of any shape; the cosines'
length and the penalty are those that predict left-out rows best. A classifier is right for rows of any proposal.

Sources: Rahimi, Recht, *Random Features for Large-Scale Kernel Machines*, 2007,
    https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines; Glöckler, Deistler, Macke,
    *Variational methods for simulation-based inference*, 2022, https://arxiv.org/abs/2203.04176 (why failures matter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.estimators.ridge import quadratic

_COSINES = 150
_LENGTHS = (0.7, 1.5, 3.0)  # standard deviations of z, times the root of their number
_PENALTIES = (0.03, 0.3, 3.0)
_LEFT_OUT = 5  # one row in so many
_MOST_ROWS = 6000
_LEAST_FAILED = 8
_EVIDENCE = 6.0  # nats that left-out rows must favour a dependence on theta by
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
        smooth = quadratic(u) if u.shape[1] <= _MOST_QUADRATIC else u
        return np.concatenate([smooth, np.cos(u @ self.frequency + self.phase)], axis=1)


def fit_validity(z: np.ndarray, valid: np.ndarray, rng: np.random.Generator) -> Validity | None:
    """Learn where simulations are valid.

    Args:
        z: Parameters of all simulations, shape (n, d).
        valid: Whether each was valid, shape (n,), bool.
        rng: Randomness.

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
    rows = rng.permutation(len(z))[:_MOST_ROWS]
    z, valid = z[rows], valid[rows]
    left_out = np.arange(len(z)) % _LEFT_OUT == 0
    loc, scale = z.mean(0), np.maximum(z.std(0), 1e-12)
    gauss, phase = rng.standard_normal((z.shape[1], _COSINES)), rng.uniform(0, 2 * np.pi, _COSINES)
    share = valid[~left_out].mean()
    constant = np.where(valid[left_out], np.log(share), np.log1p(-share)).sum()
    best, choice = constant + _EVIDENCE, None
    for length in _LENGTHS:
        frequency = gauss / (length * np.sqrt(z.shape[1]))
        for penalty in _PENALTIES:
            trial = _fit(z[~left_out], valid[~left_out], loc, scale, frequency, phase, penalty)
            score = _log_likelihood(trial, z[left_out], valid[left_out])
            if score > best:
                best, choice = score, (frequency, penalty)
    return None if choice is None else _fit(z, valid, loc, scale, choice[0], phase, choice[1])


def _log_likelihood(validity: Validity, z: np.ndarray, valid: np.ndarray) -> float:
    log_valid = validity.log_prob(z)
    log_failed = np.log(np.maximum(-np.expm1(log_valid), 1e-12))
    return float(np.where(valid, log_valid, log_failed).sum())


def _fit(
    z: np.ndarray,
    valid: np.ndarray,
    loc: np.ndarray,
    scale: np.ndarray,
    frequency: np.ndarray,
    phase: np.ndarray,
    penalty: float,
) -> Validity:
    """Newton's method on the penalised log likelihood; the step is halved while it does not improve."""
    start = Validity(loc, scale, frequency, phase, np.zeros(0), 0.0)
    features = np.concatenate([np.ones((len(z), 1)), start._features(z)], axis=1)
    ridge = np.full(features.shape[1], penalty)
    ridge[0] = 0.0
    sign, beta = np.where(valid, 1.0, -1.0), np.zeros(features.shape[1])

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
        if value - new < 1e-6 * abs(value):
            break
        beta, value = beta - size * step, new
    return Validity(loc, scale, frequency, phase, beta[1:], float(beta[0]))

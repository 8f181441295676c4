"""Why and where simulations fail: the first error; in words, the one bound that tells best; and as a probability."""

from __future__ import annotations

import numpy as np

from homing import random
from homing.estimators.validity import Validity, fit_validity
from homing.priors import Prior
from homing.simulation import Outcomes, Status

_EVIDENCE = 6.0  # nats by which the bound must beat failures that come anywhere alike, and the search among bounds
_LEAST = 5  # failures below which nothing is said


def where_failing(theta: np.ndarray, failed: np.ndarray) -> str:
    """What one bound says of where simulations fail; empty if failures show no such bound.

    Args:
        theta: Shape (n, d).
        failed: Shape (n,), bool.

    Example:
        >>> theta = np.linspace(0.0, 1.0, 101)[:, None]
        >>> where_failing(theta, theta[:, 0] > 0.8)
        '100% fail where theta[0] > 0.805, 0% elsewhere'
    """
    if min(failed.sum(), (~failed).sum()) < _LEAST:
        return ""
    best, found = _log_likelihood(failed.sum(), len(failed)) + _EVIDENCE + np.log(theta.size), ""
    for j, column in enumerate(theta.T):
        order = np.argsort(column, kind="stable")
        below = np.cumsum(failed[order])[:-1]
        count = np.arange(1, len(column))
        scores = _log_likelihood(below, count) + _log_likelihood(failed.sum() - below, len(failed) - count)
        scores[np.diff(column[order]) <= 0] = -np.inf
        k = int(np.argmax(scores))
        if scores[k] > best:
            best = scores[k]
            shares = below[k] / count[k], (failed.sum() - below[k]) / (len(failed) - count[k])
            sign, inside, outside = ("<", *shares) if shares[0] > shares[1] else (">", *shares[::-1])
            bound = (column[order][k] + column[order][k + 1]) / 2
            found = f"{inside:.0%} fail where theta[{j}] {sign} {bound:.3g}, {outside:.0%} elsewhere"
    return found


def first_error(outcomes: Outcomes) -> str:
    """What the first simulation that failed said, as the end of a message; empty if none did."""
    failed = outcomes.status == Status.FAILED
    if not failed.any():
        return ""
    row = int(np.argmax(failed))
    return f" The first error, at theta = {outcomes.theta[row].tolist()}:\n{outcomes.error[row]}"


def valid_where(prior: Prior, theta: np.ndarray, valid: np.ndarray, seed: int, number: int) -> Validity | None:
    """p(valid | z) by all simulations up to a round, theta of shape (n, d); None if failures do not depend on theta."""
    rng = random.generator(seed, "validity", number)
    return None if valid.all() else fit_validity(prior.to_normal(theta), valid, rng)


def _log_likelihood(failures: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """Of so many failures among so many, at their own rate."""
    rate = np.clip(failures / count, 1e-12, 1 - 1e-12)
    return failures * np.log(rate) + (count - failures) * np.log1p(-rate)

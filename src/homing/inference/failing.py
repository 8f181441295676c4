"""Why and where simulations fail: in words, the first error and the one bound that tells best; as a probability; and
whether enough are left.
"""

from __future__ import annotations

import numpy as np

from homing import random
from homing.errors import SimulationError
from homing.estimators.validity import EVIDENCE, Validity, fit_validity
from homing.priors import Prior
from homing.runs import RoundRecord
from homing.simulation import Outcomes, Status

LEAST_ROWS = 10  # valid simulations without which nothing is learned
LEAST_PER_PARAMETER = 10  # rows for each parameter without which what is learned says nothing of where to look next
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


def least_rows(dim: int) -> int:
    """Rows without which what is learned of so many parameters says nothing of where to look next."""
    return max(LEAST_ROWS, LEAST_PER_PARAMETER * dim)


def check_enough(valid: int, newest: RoundRecord, outcomes: Outcomes) -> None:
    """Raise if too few simulations are valid.

    Args:
        valid: How many are, in all rounds.
        newest: The newest round's record.
        outcomes: What became of that round's simulations.

    Raises:
        SimulationError: If they are too few; says why the first one failed.
    """
    if valid >= LEAST_ROWS and newest.valid > 0:
        return
    failed = np.flatnonzero(outcomes.status == Status.FAILED)[:1]
    why = [f" The first error, at theta = {outcomes.theta[row].tolist()}:\n{outcomes.error[row]}" for row in failed]
    raise SimulationError(
        f"Too few valid simulations to learn from: {newest.valid} of the {newest.asked} of round {newest.round}, "
        f"{valid} in all; at least {LEAST_ROWS} in all are needed, and one in the newest round. They are kept, "
        "and what failed is not simulated again: run more, or correct the simulator and begin a new run." + "".join(why)
    )


def without_data(outcomes: Outcomes, of: str = "") -> str:
    """How many simulations gave no finite data, in what way, and what the first that failed raised.

    Args:
        outcomes: What became of them.
        of: What they are simulations of, in words.

    Returns:
        The beginning of a sentence; empty if all were valid, or are still to come.

    Example:
        >>> without_data(Outcomes.given(np.zeros((3, 1)), [[1.0], [np.nan], [0.0]], {2: "disk full"}))
        '2 of 3 simulations gave no finite data (1 NaN or infinite, 1 failed, 0 timed out; the first error: disk full)'
    """
    counts = outcomes.counts()
    done = len(outcomes) - counts["planned"]
    if counts["ok"] == done:
        return ""
    failed = np.flatnonzero(outcomes.status == Status.FAILED)[:1]
    first = "".join(f"; the first error: {str(outcomes.error[row]).strip().splitlines()[-1]}" for row in failed)
    return (
        f"{done - counts['ok']} of {done} simulations{of} gave no finite data ({counts['invalid']} NaN or infinite, "
        f"{counts['failed']} failed, {counts['timed_out']} timed out{first})"
    )


def valid_where(
    prior: Prior, theta: np.ndarray, valid: np.ndarray, seed: int, number: int, evidence: float = EVIDENCE
) -> Validity | None:
    """p(valid | z) by all simulations up to a round, theta of shape (n, d); None if failures do not depend on theta."""
    rng = random.generator(seed, "validity", number)
    return None if valid.all() else fit_validity(prior.to_normal(theta), valid, rng, evidence)


def _log_likelihood(failures: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """Of so many failures among so many, at their own rate."""
    rate = np.clip(failures / count, 1e-12, 1 - 1e-12)
    return failures * np.log(rate) + (count - failures) * np.log1p(-rate)

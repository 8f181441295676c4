r"""Whether rows of theta can be draws of the prior: for rows that come without a word about what they were drawn from.

Rows are compared with draws of the prior along some directions: each parameter's \(z_j\); the distance \(|z|\) from the
prior's centre; and, found on every other row and tested on the rest, the combination of parameters in which they are
narrowest, and the one in which they are off. Along each, values become normal scores by their ranks among the prior's
draws, so that under any prior their mean is N(0, 1/n) and their sum of squares about it \(\chi^2_{n-1}\). Rows are said
not to be from the prior if a p-value is below 1e-8 over all tests, and the effect above a tenth of the prior's spread.

A Sobol sequence, a Latin hypercube and a grid over the prior are more even than draws are, and pass. Rows with few
different values of each parameter were chosen by hand; of these only what is far from all of the prior counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc, log_ndtr, ndtri

from homing.errors import ArgumentError, warn
from homing.priors import Prior
from homing.random import generator

_REFERENCE = 8192  # draws of the prior that ranks are among
_MOST_ROWS = 16_384  # enough to see any effect that counts
_LARGEST_LOG_P = float(np.log(1e-8))


@dataclass(frozen=True)
class _Effects:
    """The least that counts, as multiples of the prior's spread: off by, narrower than, wider than."""

    shift: float
    narrow: float
    wide: float


_DRAWN = _Effects(0.1, 0.9, 1.1)
_CHOSEN = _Effects(0.5, 0.6, np.inf)  # two values of each parameter, at its quarters, are .67 wide; at its bounds, 3.8


class _Finding(NamedTuple):
    """One difference: whether a posterior's draws differ so from the prior's, the log of its p-value, and words."""

    like_posterior: bool
    log_p: float
    words: str


def check_prior_draws(parts: list[np.ndarray], prior: Prior) -> None:
    """Refuse rows that nobody said the proposal of, if they are none of the prior's draws.

    Rows that are wider than the prior, or chosen by hand, are warned of.

    Args:
        parts: Theta of shape (n, d), one set for each time that rows were brought, the newest last: it is looked at
            alone and together with those before it, since few rows tell little.
        prior: The prior.

    Raises:
        ArgumentError: If rows are off the prior or narrower, as a posterior's draws are.
    """
    reference = prior.to_normal(prior.sample(generator(0, "reference of the prior"), _REFERENCE))
    counts = sorted({len(parts), *(2**k for k in range(len(parts).bit_length()))} - {0})
    for count in counts:
        theta = np.concatenate(parts[-count:])
        if len(theta) > _MOST_ROWS:
            theta = generator(0, "rows").choice(theta, _MOST_ROWS, replace=False)
        theta = np.unique(theta, axis=0)  # what is simulated twice was drawn once
        chosen = theta.shape[1] > 1 and max(len(np.unique(column)) for column in theta.T) <= len(theta) / 2
        found = _differences(prior.to_normal(theta), reference, _CHOSEN if chosen else _DRAWN)
        if not found:
            continue
        worst = min(found, key=lambda one: (not one.like_posterior, one.log_p))
        what = (
            f"{len(theta)} rows of theta were appended without a proposal, and are not drawn from the prior: "
            f"{worst.words} (p < 1e{int(np.floor(max(worst.log_p / np.log(10), -300))) + 1:d})."
        )
        ways = (
            "Say what they were drawn from: append_simulations(theta, x, proposal=posterior), or a distribution. If it "
            "is the prior all the same, for example with the rows left out whose simulations failed, say "
            "proposal=prior."
        )
        if worst.like_posterior and not chosen:
            raise ArgumentError(f"{what} As if they were, the posterior would count the data twice. {ways}")
        warn(f"{what} They are learned from as if they were, which makes their density the prior. {ways}")
        return


def _differences(z: np.ndarray, reference: np.ndarray, effects: _Effects) -> list[_Finding]:
    """What differs between rows z, shape (n, d), and the prior's draws, shape (m, d)."""
    dim = z.shape[1]
    names, rows, draws = [f"parameter {j}" for j in range(dim)], list(z.T), list(reference.T)
    least = _LARGEST_LOG_P - np.log(2 * dim + 5)
    if dim > 1 and len(z) >= 4 * dim and effects is _DRAWN:
        scores, drawn = _scores_of_columns(z, reference), _scores_of_columns(reference, reference)
        precision = np.linalg.inv(np.cov(drawn.T) + 1e-9 * np.eye(dim))
        whiten, half = np.linalg.cholesky(precision), scores[::2]
        narrowest = whiten @ np.linalg.eigh(np.cov((half @ whiten).T))[1][:, 0]
        for axis in (narrowest, precision @ half.mean(0)):
            names.append("a combination of parameters")
            rows.append(scores[1::2] @ axis)
            draws.append(drawn @ axis)
    found = [finding for part in zip(names, rows, draws) for finding in _along(*part, effects)]
    if dim > 1 and effects is _DRAWN:
        found += _distance(z, reference, effects)
    return [finding for finding in found if finding.log_p < least]


def _along(name: str, rows: np.ndarray, draws: np.ndarray, effects: _Effects) -> list[_Finding]:
    score, found = _scores(rows, draws), []
    num, mean, spread = len(score), float(score.mean()), float(score.std())
    if abs(mean) > effects.shift:
        found.append(_Finding(True, _log_p(mean, num), f"{name} is off by {abs(mean):.2g} of the prior's spread"))
    words = f"{name} has {spread:.2g} of the prior's spread"
    with np.errstate(divide="ignore"):
        if spread < effects.narrow:
            found.append(_Finding(True, float(np.log(gammainc((num - 1) / 2, num * spread**2 / 2))), words))
        if spread > effects.wide:
            found.append(_Finding(False, float(np.log(gammaincc((num - 1) / 2, num * spread**2 / 2))), words))
    return found


def _distance(z: np.ndarray, reference: np.ndarray, effects: _Effects) -> list[_Finding]:
    mean = float(_scores((z**2).sum(1), (reference**2).sum(1)).mean())
    words = f"the distances from the prior's centre are {abs(mean):.2g} spreads too {'small' if mean < 0 else 'large'}"
    return [_Finding(mean < 0, _log_p(mean, len(z)), words)] if abs(mean) > effects.shift else []


def _log_p(mean: float, num: int) -> float:
    return float(log_ndtr(-abs(mean) * np.sqrt(num)) + np.log(2))


def _scores(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Normal scores of values, shape (n,), by their ranks among draws, shape (m,)."""
    ordered = np.sort(draws)
    rank = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    return ndtri((rank + 0.5) / (len(ordered) + 1))


def _scores_of_columns(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return np.stack([_scores(*pair) for pair in zip(values.T, draws.T)], axis=1)

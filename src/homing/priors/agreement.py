r"""Whether `sample` and `log_prob` describe one distribution, and by what constant log_prob falls short of a density.

Metropolis steps along one axis leave the density p invariant and are reversible: if \(\theta \sim p\) and
\(\theta'\) is where some of them lead, then \((\theta, \theta')\) and \((\theta', \theta)\) have one distribution.
So, of the draws that moved, a coordinate has grown in one half, and so have its distance from the middle and log p:
exactly binomial with share 1/2, whatever the tails, modes, correlations and number of parameters, and without the
constant of p. Draws that are shifted, too wide or too narrow, and a log_prob that lacks a Jacobian or is no logarithm,
push them to one side.

The constant is found from the draws and from as many of a normal, by bridge sampling.

Sources: Metropolis et al., *Equation of State Calculations by Fast Computing Machines*, 1953,
https://doi.org/10.1063/1.1699114; Meng, Wong, *Simulating ratios of normalizing constants via a simple identity*,
Statistica Sinica 6, 1996 (the bridge).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import bdtr

from homing.errors import PriorError

LogProb = Callable[[np.ndarray], np.ndarray]

FALSE_ALARM = 1e-6  # of a prior whose two methods agree
_NUM_STEPS = 8
_STEPS = (-4.0, 2.0)  # log2 of a step, in spreads: modes and tails may be of any width
_LEAST_ERROR = 0.02  # of the constant's logarithm, and five standard errors: below it is as good as normalised
_MOST_ERROR = 0.1  # the standard error above which the constant is not known


def rows_needed(dim: int) -> int:
    """How many draws the check takes for so many parameters."""
    return min(4096 + 256 * dim, 16_384)


def check_agreement(
    log_prob: LogProb,
    draws: np.ndarray,
    center: np.ndarray,
    scale_tril: np.ndarray,
    rng: np.random.Generator,
    name: str,
) -> None:
    """Raise if draws are not of the density that log_prob is the logarithm of, up to a constant.

    Args:
        log_prob: From rows, shape (n, d), to log-densities, shape (n,).
        draws: Independent draws, shape (n, d), other ones than those that gave the next two.
        center: Shape (d,), about the middle.
        scale_tril: Shape (d, d), lower triangular: about the spread.
        rng: Randomness.
        name: The distribution's name, for the message.

    Raises:
        PriorError: If they disagree.
    """
    before = log_prob(draws)
    draws, before = draws[np.isfinite(before)], before[np.isfinite(before)]
    num, dim = draws.shape
    axis = rng.permutation(num) % dim
    rows, after, reached = draws, before, np.zeros(num)
    for _ in range(_NUM_STEPS):
        step = rng.standard_normal(num) * 2 ** rng.uniform(*_STEPS, num)
        proposed = rows + step[:, None] * scale_tril.T[axis]
        values = log_prob(proposed)
        accepted = np.log(rng.random(num)) < values - after
        rows = np.where(accepted[:, None], proposed, rows)
        after, reached = np.where(accepted, values, after), np.where(accepted, reached + step, reached)
    along = _whitened(draws, center, scale_tril)[np.arange(num), axis]
    moves = {
        "place": np.sign(reached),
        "width": np.sign(np.abs(along + reached) - np.abs(along)),
        "density": np.sign(after - before),
    }
    moved = reached != 0
    where = [*((j, moved & (axis == j)) for j in range(dim)), (None, moved)]
    allowed = FALSE_ALARM / (len(moves) * len(where))
    for kind, signs in moves.items():
        for parameter, rows in where:
            grown, fallen = int((signs[rows] > 0).sum()), int((signs[rows] < 0).sum())
            if 2 * bdtr(min(grown, fallen), grown + fallen, 0.5) < allowed:
                raise _disagree(name, kind, parameter, grown, fallen)


def _disagree(name: str, kind: str, parameter: int | None, grown: int, fallen: int) -> PriorError:
    which = "all parameters together" if parameter is None else f"theta[{parameter}]"
    more = grown > fallen
    what = {
        "place": "the draws lie too low" if more else "the draws lie too high",
        "width": "the draws are too narrow" if more else "the draws are too wide",
        "density": "the draws lie where log_prob is too low" if more else "the draws lie where log_prob is too high",
    }[kind]
    return PriorError(
        f"`sample` and `log_prob` of the prior {name} do not describe the same distribution: by log_prob {what}, of "
        f"{which} (of {grown + fallen} draws that Metropolis steps moved {grown} went up, where half should). Correct "
        "either: log_prob is the natural logarithm of the density, over the parameters as they are drawn, with the "
        "Jacobian of any transformation."
    )


def _whitened(rows: np.ndarray, center: np.ndarray, scale_tril: np.ndarray) -> np.ndarray:
    return np.linalg.solve(scale_tril, (rows - center).T).T


def log_constant(log_density: LogProb, z: np.ndarray, rng: np.random.Generator) -> float:
    """The logarithm of a density's integral; zero where it is one, or cannot be told.

    Args:
        log_density: From rows z, shape (n, d), to logarithms of the density, shape (n,).
        z: Draws, shape (n, d), roughly standard normal.
        rng: Randomness.
    """
    normal = rng.standard_normal(z.shape)
    own, other = (
        log_density(rows) + 0.5 * (rows**2).sum(1) + 0.5 * z.shape[1] * np.log(2 * np.pi) for rows in (z, normal)
    )
    if not (np.isfinite(own).any() and np.isfinite(other).any()):
        return 0.0
    value = float(np.median(own[np.isfinite(own)]))
    for _ in range(100):
        above = np.exp(-np.logaddexp(0.0, value - other))  # weights between zero and one, of either sample
        below = np.exp(-np.logaddexp(0.0, own - value))
        if not (above.mean() > 0 and below.mean() > 0):
            return 0.0
        step = float(np.log(above.mean()) - np.log(below.mean()))
        value += step
        if abs(step) < 1e-10:
            break
    error = float(np.sqrt(sum(part.var() / part.mean() ** 2 for part in (above, below)) / len(z)))
    return value if error < _MOST_ERROR and abs(value) > max(_LEAST_ERROR, 5 * error) else 0.0

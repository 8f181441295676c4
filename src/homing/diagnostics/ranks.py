r"""Simulation-based calibration: do parameters that made data rank uniformly among the posterior's draws?

For \(\theta \sim p(\theta)\), \(x \sim p(x \mid \theta)\) and S draws of the right posterior at x, the rank of each
parameter among its draws is uniform on 0, ..., S; also where the pairs are chosen by x, or theta comes from the prior
cut to a region and the draws are cut to the same. Ranks at both ends mean that the posterior is too narrow, ranks in
the middle that it is too wide, ranks at one end that it is shifted.

Source: Talts, Betancourt, Simpson, Vehtari, Gelman, *Validating Bayesian Inference Algorithms with Simulation-Based
Calibration*, 2018, https://arxiv.org/abs/1804.06788. The bands are those of `homing.diagnostics.bands`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.diagnostics.bands import (
    PICTURED,
    edges_of,
    reading,
    shares_below,
    uniform_band,
    uniform_p_value,
    uniform_resolution,
)
from homing.diagnostics.pairs import as_pairs, ranks_of
from homing.diagnostics.verdict import Reads, Verdict, agreeing, level_of, share_of
from homing.errors import ArgumentError, ShapeError

LARGE = 0.07  # a departure of the distribution function that makes a posterior wrong: of a width 30 % too small; and
SMALL = 0.02  # one too small to matter: of a width 8 % off, or a shift by a twentieth of it


def sbc_ranks(theta: Any, draws: Any, *, log_weights: Any = None, seed: int = 0) -> np.ndarray:
    """Each parameter's rank among the posterior's draws.

    Args:
        theta: The parameters that made n data, shape (n, d).
        draws: Draws of the posterior at each of these data, shape (n, S, d).
        log_weights: Of weighted draws, shape (n, S + 1), the truth's own first (`homing.diagnostics.pairs`).
        seed: Breaks ties.

    Returns:
        Shape (n, d), whole numbers from 0 to S.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> sbc_ranks([[0.5, 2.0]], [[[0.1, 1.0], [0.9, 3.0], [0.2, 4.0]]])
        array([[2, 1]])
    """
    theta, draws, log_weights = as_pairs(theta, draws, log_weights)
    columns = [ranks_of(theta[:, j], draws[:, :, j], seed + j, log_weights) for j in range(theta.shape[1])]
    return np.stack(columns, axis=1)


def check_ranks(ranks: Any, num_draws: int, *, name: str = "ranks") -> Verdict:
    """Whether ranks are uniform.

    Args:
        ranks: Each parameter's ranks, shape (n, d) or (n,), whole numbers from 0 to S.
        num_draws: S, the number of draws that each truth was ranked among.
        name: The verdict's name.

    Returns:
        The verdict. Its statistic is the largest difference between the ranks' distribution function and the uniform
        one, as a share; of the parameter that is worst. The p-value is exact for one parameter, and multiplied by
        their number for several. Curves: `ranks` (n, d), `num_draws` (), `grid` (K,), levels between 0 and 1,
        `difference` (d, K), of the two distribution functions there, and `band_low` and `band_high` (K,), which the
        differences of all parameters keep to in 95 % of cases.

    Raises:
        ShapeError: If there are no ranks.
        ArgumentError: If a rank is no whole number from 0 to S.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> check_ranks(rng.integers(0, 100, (300, 2)), 99).level, check_ranks(rng.integers(20, 80, (300, 2)), 99).reads
        ('pass', 'conservative')
    """
    ranks, num_draws = _as_ranks(ranks, num_draws)
    n, d = ranks.shape
    p_values = [uniform_p_value(column, num_draws) for column in ranks.T]
    worst = int(np.argmin(p_values))
    p = min(1.0, d * p_values[worst])
    levels = edges_of(num_draws) / (num_draws + 1)
    difference = np.stack([shares_below(column, num_draws) - levels for column in ranks.T])
    statistic = float(np.abs(difference[worst]).max())
    found = reading(ranks[:, worst], num_draws)
    level = level_of(p, found, statistic, SMALL, LARGE)
    reads: Reads = "" if level == "pass" else found
    low, high = uniform_band(n, num_draws, PICTURED / d)
    curves = {
        "ranks": ranks,
        "num_draws": np.array(num_draws),
        "grid": levels,
        "difference": difference,
        "band_low": low - levels,
        "band_high": high - levels,
    }
    resolution = uniform_resolution(n, num_draws, d)
    sentence = _sentence(reads, worst, int((ranks[:, worst] > num_draws / 2).sum()), n)
    if level == "pass":
        sentence = agreeing(sentence, p, f"{statistic:.1%} of the ranks of theta[{worst}]")
    return Verdict(name, level, statistic, p, n, resolution, sentence, reads, curves)


def _as_ranks(ranks: Any, num_draws: Any) -> tuple[np.ndarray, int]:
    array = to_numpy(ranks, "ranks")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"ranks must have shape (n, d) or (n,), at least one, found {array.shape}.")
    if num_draws < 1 or num_draws != int(num_draws):
        raise ArgumentError(f"num_draws must be a whole number of at least 1, found {num_draws!r}.")
    if (array != np.round(array)).any() or array.min() < 0 or array.max() > num_draws:
        raise ArgumentError(
            f"ranks must be whole numbers from 0 to num_draws = {num_draws}, found {array.min()} to {array.max()}."
        )
    return array.astype(int), int(num_draws)


def _sentence(reads: Reads, j: int, above: int, n: int) -> str:
    if reads == "":
        return f"Each parameter ranks among the posterior's draws as it should, in {n} cases."
    if reads == "shifted":
        share = share_of(above, n)
        return f"The posterior of theta[{j}] is shifted, the truth is above its median in {share} of {n} cases."
    how = "narrow, the truth is too often" if reads == "overconfident" else "wide, the truth is too seldom"
    return f"The posterior of theta[{j}] is too {how} in its tails, by {n} cases."

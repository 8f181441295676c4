r"""Expected coverage: do the regions of highest density hold the truth as often as they say?

The credible level at which a region of highest posterior density just reaches \(\theta\) is the posterior's mass of
higher density, estimated by the share of draws with \(q(\theta_i \mid x) > q(\theta \mid x)\). Under the right
posterior it is uniform, so the region of level \(1 - \alpha\) holds the truth in \(1 - \alpha\) of all cases. One
number whatever the dimension: a posterior that is too narrow, or shifted, covers too seldom, one that is too wide too
often.

Sources: Hermans, Delaunoy, Rozet, Wehenkel, Begy, Louppe, *A Trust Crisis In Simulation-Based Inference? Your Posterior
    Approximations Can Be Unfaithful*, 2022, https://arxiv.org/abs/2110.06581, equation 4; Deistler, Goncalves, Macke,
    *Truncated proposals for scalable and hassle-free simulation-based inference*, 2022,
    https://arxiv.org/abs/2210.04815, appendix (by ranks of log_prob, within a truncated prior).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.bands import (
    PICTURED,
    edges_of,
    shares_below,
    uniform_band,
    uniform_p_value,
    uniform_resolution,
)
from homing.diagnostics.pairs import as_floats, as_log_weights, ranks_of
from homing.diagnostics.verdict import Reads, Verdict, agreeing, level_of, share_of
from homing.errors import ShapeError

_LARGE = 0.15  # a difference between coverage and level that makes a posterior wrong: of a width 30 % too small; and
_SMALL = 0.04  # one too small to matter: of a width 8 % off


def check_coverage(log_prob: Any, log_prob_draws: Any, *, log_weights: Any = None, seed: int = 0) -> Verdict:
    """Whether regions of highest density cover as they say.

    Args:
        log_prob: The posterior's log density at the parameters that made n data, each at its own, shape (n,).
        log_prob_draws: The log density of S draws of the posterior at each of these data, shape (n, S). A constant may
            be missing in each row, the same here and in `log_prob`.
        log_weights: Of weighted draws, shape (n, S + 1), the truth's own first (`homing.diagnostics.pairs`).
        seed: Breaks ties.

    Returns:
        The verdict. Its statistic is coverage minus level where they differ most, a share: negative if the posterior
        is overconfident. The p-value is exact. Curves: `levels` (K,), `coverage` (K,), the share of regions of that
        level that hold the truth, and `band_low` and `band_high` (K,), which it keeps to in 95 % of cases.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth, draws = rng.normal(size=200), rng.normal(size=(200, 99))
        >>> check_coverage(-(truth**2), -(draws**2)).level, check_coverage(-(truth**2), -((0.5 * draws) ** 2)).reads
        ('pass', 'overconfident')
    """
    log_prob, log_prob_draws = as_floats(log_prob, "log_prob"), as_floats(log_prob_draws, "log_prob_draws")
    if (
        log_prob.ndim != 1
        or log_prob_draws.ndim != 2
        or len(log_prob_draws) != len(log_prob)
        or not log_prob_draws.size
    ):
        raise ShapeError(
            "log_prob must have shape (n,), one for each truth, and log_prob_draws (n, S), found "
            f"{log_prob.shape} and {log_prob_draws.shape}."
        )
    n, num_draws = log_prob_draws.shape
    log_weights = as_log_weights(log_weights, (n, num_draws + 1))
    return coverage_of(ranks_of(-log_prob, -log_prob_draws, seed, log_weights), num_draws)


def coverage_of(ranks: np.ndarray, num_draws: int) -> Verdict:
    """The verdict, from how many of `num_draws` draws are denser than each truth, shape (n,)."""
    n, levels = len(ranks), edges_of(num_draws) / (num_draws + 1)
    coverage, p = shares_below(ranks, num_draws), uniform_p_value(ranks, num_draws)
    at = int(np.argmax(np.abs(coverage - levels)))
    statistic = float(coverage[at] - levels[at])
    found: Reads = "conservative" if statistic > 0 else "overconfident"
    level = level_of(p, found, abs(statistic), _SMALL, _LARGE)
    reads: Reads = "" if level == "pass" else found
    low, high = uniform_band(n, num_draws, PICTURED)
    curves = {"levels": levels, "coverage": coverage, "band_low": low, "band_high": high}
    if level == "pass":
        sentence = f"Regions of the posterior hold the truth as often as they say, in {n} cases."
        sentence = agreeing(sentence, p, f"{abs(statistic):.1%} of the cases")
    else:
        size = "large" if reads == "conservative" else "small"
        sentence = (
            f"Regions are too {size}, those of {levels[at]:.0%} hold the truth in {share_of(coverage[at] * n, n)} of "
            f"{n} cases."
        )
    return Verdict("coverage", level, statistic, p, n, uniform_resolution(n, num_draws, 1), sentence, reads, curves)

r"""TARP: coverage of balls about random points.

For a reference point r that does not depend on \(\theta\), the share of draws nearer to r than \(\theta\) is uniform if
the posterior is right; and if it is uniform for every r, the posterior is right. It needs draws only, no density, and
looks at all parameters at once. Reference points are uniform in the box that the parameters span, distances in units of
each parameter's spread.

Source: Lemos, Coogan, Hezaveh, Perreault-Levasseur, *Sampling-Based Accuracy Testing of Posterior Estimators for
General Inference*, 2023, https://arxiv.org/abs/2302.03026, algorithm 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.bands import (
    PICTURED,
    edges_of,
    reading,
    shares_below,
    uniform_band,
    uniform_p_value,
    uniform_resolution,
)
from homing.diagnostics.pairs import as_floats, as_pairs, ranks_of
from homing.diagnostics.ranks import LARGE, SMALL
from homing.diagnostics.verdict import Reads, Verdict, agreeing, level_of, share_of
from homing.errors import ShapeError
from homing.units import unit_of


def check_tarp(theta: Any, draws: Any, *, references: Any = None, log_weights: Any = None, seed: int = 0) -> Verdict:
    """Whether balls about random points cover as they say.

    Args:
        theta: The parameters that made n data, shape (n, d).
        draws: Draws of the posterior at each of these data, shape (n, S, d).
        references: The balls' centres, shape (n, d), which may depend on the data but not on theta; None draws them.
        log_weights: Of weighted draws, shape (n, S + 1), the truth's own first (`homing.diagnostics.pairs`).
        seed: Draws the centres, and breaks ties.

    Returns:
        The verdict. Its statistic is coverage minus level where they differ most, a share. The p-value is exact.
        Curves: `levels` (K,), `coverage` (K,), the share of balls of that level that hold the truth, and `band_low`
        and `band_high` (K,), which it keeps to in 95 % of cases.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta, draws = rng.normal(size=(200, 2)), rng.normal(size=(200, 99, 2))
        >>> check_tarp(theta, draws).level, check_tarp(theta, 2 * draws).reads
        ('pass', 'conservative')
    """
    theta, draws, log_weights = as_pairs(theta, draws, log_weights)
    n, num_draws = draws.shape[:2]
    if references is None:
        references = np.random.default_rng(seed + 1).uniform(theta.min(0), theta.max(0), theta.shape)
    references = as_floats(references, "references")
    if references.shape != theta.shape:
        raise ShapeError(f"references must have the shape of theta, {theta.shape}, found {references.shape}.")
    unit = unit_of(theta, draws, references)
    theta, draws, references = theta / unit, draws / unit, references / unit
    scale = np.maximum(theta.std(0), 1e-12)
    distance = (((theta - references) / scale) ** 2).sum(1)
    distances = (((draws - references[:, None]) / scale) ** 2).sum(2)
    ranks = ranks_of(distance, distances, seed, log_weights)
    levels, coverage = edges_of(num_draws) / (num_draws + 1), shares_below(ranks, num_draws)
    at = int(np.argmax(np.abs(coverage - levels)))
    statistic, p = float(coverage[at] - levels[at]), uniform_p_value(ranks, num_draws)
    found = reading(ranks, num_draws)
    level = level_of(p, found, abs(statistic), SMALL, LARGE)
    reads: Reads = "" if level == "pass" else found
    low, high = uniform_band(n, num_draws, PICTURED)
    sentence = f"Balls about random points hold the truth as often as they say, in {n} cases."
    sentence = agreeing(sentence, p, f"{abs(statistic):.1%} of the cases")
    if reads:
        how = "seldom" if statistic < 0 else "often"
        share = f"those of {levels[at]:.0%} in {share_of(coverage[at] * n, n)} of {n} cases"
        sentence = f"Balls about random points hold the truth too {how}, {share}."
    curves = {"levels": levels, "coverage": coverage, "band_low": low, "band_high": high}
    return Verdict("TARP", level, statistic, p, n, uniform_resolution(n, num_draws, 1), sentence, reads, curves)

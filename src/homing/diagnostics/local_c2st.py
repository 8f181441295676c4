r"""L-C2ST: is the posterior right at one observation?

A classifier learns to tell pairs of a parameter and the data it made, \((\theta, x)\), from pairs of a posterior's draw
and the same data. At x_o, where there is no truth to compare with, it is asked about the posterior's draws: if the
posterior is right there, it cannot tell, d = 1/2. The statistic is the mean of \((d(\theta, x_o) - 1/2)^2\) over these
draws. If the posterior is right everywhere, truth and draw may change places within each pair, which gives the
statistic's distribution by chance, and a p-value that is exact.

Parameters are shown to the classifier as they lie within the posterior at their own data: less the mean of the other
draws there, in units of their spread. Then too wide and too narrow are simple features, whatever the data.
What a departure reads as is by the half of the pairs that is nearest to x_o.

Sources: Linhart, Gramfort, Rodrigues, *L-C2ST: Local Diagnostics for Posterior Approximations in Simulation-Based
    Inference*, 2023, https://arxiv.org/abs/2306.03580, algorithms 1 and 2, and section 3.2 (in the space where the
    posterior is simple).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.classifier import (
    PERMUTATIONS,
    Classifiers,
    comparison,
    features_for,
    permutation_p_value,
    permutation_resolution,
)
from homing.diagnostics.pairs import as_floats, as_pairs
from homing.diagnostics.verdict import Reads, Verdict, agreeing, level_of
from homing.errors import ShapeError
from homing.units import unit_of

_FOLDS = 5
_LEAST_DRAWS = 20
_LEAST_PAIRS = 2 * _FOLDS
_MOST_COLUMNS = 6  # of x: the largest principal components of more
_LARGE = 0.01  # a mean squared distance from one half that makes a posterior wrong: .1 off; and
_SMALL = 5e-4  # one too small to matter: .02 off
_HOW = {"conservative": "wide", "overconfident": "narrow", "shifted": "far off"}


def check_local_c2st(theta: Any, draws: Any, x: Any, draws_o: Any, x_o: Any, *, seed: int = 0) -> Verdict:
    """Whether the posterior at x_o can be told from the right one.

    Args:
        theta: The parameters that made n data, shape (n, d). The nearer the data are to x_o, the more they tell.
        draws: Draws of the posterior at each of these data, shape (n, S, d), at least 20.
        x: The data, or summaries of them, shape (n, p).
        draws_o: Draws of the posterior at x_o, shape (m, d).
        x_o: The observation, or its summaries, shape (p,).
        seed: Decides the folds, the cosines and the exchanges.

    Returns:
        The verdict. Its statistic is the mean squared distance of the classifier's probability from one half. Curves:
        `theta` (m, d), the draws at x_o, `probabilities` (m,), that each is such a draw and no true
        parameter: above one half where the posterior has too much mass, `statistic` (), and `null` (B,), the statistics
        by chance.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, are too small or not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 1))
        >>> theta, draws, draws_o = (x + rng.normal(size=(300, 1)), x[:, None] + rng.normal(size=(300, 50, 1)),
        ...     rng.normal(size=(500, 1)))
        >>> check_local_c2st(theta, draws, x, draws_o, [0.0]).level
        'pass'
        >>> check_local_c2st(theta, x[:, None] + 2 * (draws - x[:, None]), x, 2 * draws_o, [0.0]).reads
        'conservative'
    """
    theta, draws, _ = as_pairs(theta, draws)
    x, draws_o, x_o = as_floats(x, "x"), as_floats(draws_o, "draws_o"), as_floats(x_o, "x_o")
    n, num_draws, d = draws.shape
    if n < _LEAST_PAIRS or num_draws < _LEAST_DRAWS:
        raise ShapeError(
            f"At least {_LEAST_PAIRS} pairs and {_LEAST_DRAWS} draws at each are needed, found {n} and {num_draws}."
        )
    if x.ndim != 2 or len(x) != n or x_o.shape != x.shape[1:] or draws_o.ndim != 2 or draws_o.shape[1] != d:
        raise ShapeError(
            f"x must have shape ({n}, p), x_o (p,) and draws_o (m, {d}), found {x.shape}, {x_o.shape} and "
            f"{draws_o.shape}."
        )
    unit, unit_x = unit_of(theta, draws, draws_o), unit_of(x, x_o)
    theta, draws, draws_o, x, x_o = theta / unit, draws / unit, draws_o / unit, x / unit_x, x_o / unit_x
    rng = np.random.default_rng(seed)
    mean, spread = draws[:, 1:].mean(1, keepdims=True), np.maximum(draws[:, 1:].std(1, keepdims=True), 1e-12)
    right, within = (theta - mean[:, 0]) / spread[:, 0], (draws - mean) / spread
    at_o = (draws_o - draws_o.mean(0)) / np.maximum(draws_o.std(0), 1e-12)
    seen, seen_o = _summaries(x, x_o)
    pooled = np.concatenate([np.concatenate([right, seen], axis=1), np.concatenate([within[:, 0], seen], axis=1)])
    features = features_for(pooled, rng)
    signs = rng.choice([-1.0, 1.0], (n, PERMUTATIONS + 1))
    signs[:, 0] = 1.0  # the first is as it is, in the others truth and draw change places at random
    folds = np.tile(rng.permutation(n) % _FOLDS, 2)
    classifiers = Classifiers(features(pooled), np.concatenate([-signs, signs]), folds)
    rows = np.concatenate([at_o, np.broadcast_to(seen_o, (len(at_o), len(seen_o)))], axis=1)
    probabilities = np.clip((1 + classifiers.score(features(rows))) / 2, 0.01, 0.99)
    statistics = ((probabilities - 0.5) ** 2).mean(0)
    statistic, null, at_x_o = float(statistics[0]), statistics[1:], probabilities[:, 0]
    p = permutation_p_value(statistic, null)
    near = np.argsort(((seen - seen_o) ** 2).sum(1))[: max(n // 2, _LEAST_PAIRS)]
    found, j = comparison(within[near].reshape(-1, d), right[near])
    level = level_of(p, found, statistic, _SMALL, _LARGE)
    reads: Reads = "" if level == "pass" else found
    sentence = f"At x_o a classifier cannot tell the posterior's draws from right ones, by {n} pairs."
    sentence = agreeing(sentence, p, f"probabilities that are {np.sqrt(statistic):.2g} off one half")
    if reads:
        sentence = f"At x_o a classifier finds the posterior of theta[{j}] too {_HOW[reads]}, by {n} pairs."
    curves = {"theta": draws_o * unit, "probabilities": at_x_o, "statistic": np.array(statistic), "null": null}
    return Verdict("L-C2ST", level, statistic, p, n, permutation_resolution(null), sentence, reads, curves)


def _summaries(x: np.ndarray, x_o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and x_o by the standardised columns of x, or the principal components of many; x_o no further than the data."""
    loc, scale = np.median(x, axis=0), np.maximum(x.std(0), 1e-12)
    rows, row_o = (x - loc) / scale, (x_o - loc) / scale
    if x.shape[1] > _MOST_COLUMNS:
        _, _, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
        rows, row_o = rows @ axes[:_MOST_COLUMNS].T, row_o @ axes[:_MOST_COLUMNS].T
    return rows, np.clip(row_o, rows.min(0), rows.max(0))

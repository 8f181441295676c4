r"""How much the data told, and whether the posterior's mean and spread bear it out: shrinkage and z-scores.

Shrinkage is \(1 - \mathrm{Var}(\theta_j \mid x) / \mathrm{Var}(\theta_j)\): 0 if the data told nothing of a parameter,
1 if they told all. The z-score of a truth, \((\theta_j - E[\theta_j \mid x]) / \mathrm{sd}(\theta_j \mid x)\), has mean
zero and mean square one under the right posterior, of whatever form. How far either may stray by chance the draws
themselves tell: under the right posterior the truth is as good as any of them, so it is compared with each draw in the
truth's place, which makes the p-value exact.

Source: Schad, Betancourt, Vasishth, *Toward a principled Bayesian workflow in cognitive science*, 2021,
https://arxiv.org/abs/1904.12765 (z-score and contraction).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.classifier import permutation_resolution
from homing.diagnostics.pairs import as_floats, as_pairs
from homing.diagnostics.verdict import Reads, Verdict, level_of
from homing.errors import ArgumentError, ShapeError

_LEAST_DRAWS = 20


def check_z_scores(theta: Any, draws: Any, prior_scale: Any = None) -> Verdict:
    """Whether truths lie as far from the posterior's mean as its spread says.

    Args:
        theta: The parameters that made n data, shape (n, d).
        draws: Draws of the posterior at each of these data, shape (n, S, d), at least 20; of about a thousand the
            p-value can fall low enough for "do not believe".
        prior_scale: The prior's standard deviations, shape (d,); None for those of theta.

    Returns:
        The verdict. Its statistic is the mean or the mean square of the z-scores, of the parameter where it strays
        most, in standard errors. Curves: `z_scores` (n, d), and `shrinkage` (n, d), at each of the data.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta, draws = rng.normal(size=(200, 2)), rng.normal(size=(200, 1000, 2))
        >>> check_z_scores(theta, draws).level, check_z_scores(theta + 0.5, draws).reads
        ('pass', 'shifted')
    """
    theta, draws, _ = as_pairs(theta, draws)
    n, num_draws, d = draws.shape
    if num_draws < _LEAST_DRAWS:
        raise ShapeError(f"At least {_LEAST_DRAWS} draws at each of the data are needed, found {num_draws}.")
    scale = theta.std(0) if prior_scale is None else as_floats(prior_scale, "prior_scale")
    if scale.shape != (d,) or (scale <= 0).any():
        raise ArgumentError(f"prior_scale must be {d} positive numbers, found {scale.tolist()}.")
    pool = np.concatenate([theta[:, None], draws], axis=1)
    z = (pool - pool.mean(1, keepdims=True)) / np.maximum(pool.std(1, keepdims=True), 1e-12)
    moments = np.stack([z.mean(0), (z**2).mean(0)])  # of the truth, then of each draw in its place
    strays = np.abs(moments - moments[:, 1:].mean(1, keepdims=True)) / np.maximum(moments.std(1, keepdims=True), 1e-12)
    largest = strays.max(axis=(0, 2))
    kind, j = np.unravel_index(int(strays[:, 0].argmax()), (2, d))
    statistic, p = float(largest[0]), float((largest >= largest[0]).mean())
    too_far = bool(moments[1, 0, j] > 1)
    found: Reads = "shifted" if kind == 0 else "overconfident" if too_far else "conservative"
    level = level_of(p, found)
    reads: Reads = "" if level == "pass" else found
    sentence = f"Truths lie as far from the posterior's mean as its spread says, in {n} cases."
    if reads == "shifted":
        way = "above" if moments[0, 0, j] > 0 else "below"
        away = f"{abs(moments[0, 0, j]):.2g} standard deviations {way} its mean"
        sentence = f"The posterior of theta[{j}] is shifted, the truth lies {away} on average, in {n} cases."
    elif reads:
        size = np.sqrt(moments[1, 0, j])
        sentence = f"Truths of theta[{j}] lie {size:.2g} times as far from the mean as its spread says, in {n} cases."
    curves = {"z_scores": z[:, 0], "shrinkage": 1 - draws.var(1) / scale**2}
    return Verdict("z-scores", level, statistic, p, n, permutation_resolution(largest[1:]), sentence, reads, curves)


def check_shrinkage(draws: Any, prior_draws: Any) -> Verdict:
    """How much narrower the posterior is than the prior. It passes always: to be told little is not wrong.

    Args:
        draws: Draws of the posterior, shape (m, d).
        prior_draws: Draws of the prior, shape (k, d).

    Returns:
        The verdict. Its statistic is the shrinkage of the parameter of which the data told least. Curves: `shrinkage`
        (d,).

    Raises:
        ShapeError, ArgumentError: If the samples do not fit each other, or are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> prior = rng.normal(size=(1000, 2))
        >>> check_shrinkage(prior * [0.1, 1.0], prior).sentence
        'The data told nothing of theta[1].'
    """
    draws, prior_draws = as_floats(draws, "draws"), as_floats(prior_draws, "prior_draws")
    if draws.ndim != 2 or prior_draws.ndim != 2 or draws.shape[1] != prior_draws.shape[1] or not draws.size:
        raise ShapeError(
            f"draws must have shape (m, d) and prior_draws (k, d), found {draws.shape} and {prior_draws.shape}."
        )
    shrinkage = 1 - draws.var(0) / np.maximum(prior_draws.var(0), 1e-300)
    unknown = np.flatnonzero(shrinkage < 0.05)
    sentence = f"The posterior's variance is {1 - shrinkage.max():.2g} to {1 - shrinkage.min():.2g} of the prior's."
    if len(unknown):
        sentence = f"The data told nothing of {', '.join(f'theta[{j}]' for j in unknown)}."
    least = float(shrinkage.min())
    return Verdict("shrinkage", "pass", least, None, len(draws), None, sentence, "", {"shrinkage": shrinkage})

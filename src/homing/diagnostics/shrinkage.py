r"""How much the data told, and whether the posterior's mean and spread bear it out: shrinkage and z-scores.

Shrinkage is \(1 - \mathrm{Var}(\theta_j \mid x) / \mathrm{Var}(\theta_j)\): 0 if the data told nothing of a parameter,
1 if they told all. The z-score of a truth, \((\theta_j - E[\theta_j \mid x]) / \mathrm{sd}(\theta_j \mid x)\), has mean
zero and mean square one under the right posterior, of whatever form. How far either may stray by chance the draws
themselves tell: under the right posterior the truth is as good as any of them, so truths are compared with draws in
their places, taken at random by their weights, which makes the p-value exact (Besag, Clifford). All truths count by how
far off they are and not only by their order: of few data it finds a wrong width long before ranks do.

Sources: Schad, Betancourt, Vasishth, *Toward a principled Bayesian workflow in cognitive science*, 2021,
    https://arxiv.org/abs/1904.12765 (z-score and contraction); Besag, Clifford, *Generalized Monte Carlo significance
    tests*, 1989, https://doi.org/10.1093/biomet/76.4.633.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.classifier import PERMUTATIONS, permutation_p_value, permutation_resolution
from homing.diagnostics.pairs import as_floats, as_pairs, normalised
from homing.diagnostics.verdict import Level, Reads, Verdict, agreeing, level_of
from homing.errors import ArgumentError, ShapeError
from homing.units import unit_of

_LEAST_DRAWS = 20
_WIDER = -4.0  # the shrinkage below which a posterior is wider than a prior can make it: more than twice as wide
_POINT = 1e-6  # of the prior's spread, below which float32 has no more than a few numbers
_FURTHEST = 10.0  # standard deviations: how much further off one truth is tells nothing more
_LARGE_SHIFT = 0.3  # of the mean z-score, and
_LARGE_SQUARE = 0.5  # of the mean square, off one: what makes a posterior wrong; and
_SMALL = 1 / 6  # the share of either that is too small to matter: .05 standard deviations, a width 4 % off


def check_z_scores(
    theta: Any, draws: Any, *, prior_scale: Any = None, log_weights: Any = None, seed: int = 0
) -> Verdict:
    """Whether truths lie as far from the posterior's mean as its spread says.

    Args:
        theta: The parameters that made n data, shape (n, d).
        draws: Draws of the posterior at each of these data, shape (n, S, d), at least 20.
        prior_scale: The prior's standard deviations, shape (d,); None for those of theta.
        log_weights: Of weighted draws, shape (n, S + 1), the truth's own first (`homing.diagnostics.pairs`).
        seed: Draws what stands in the truths' places.

    Returns:
        The verdict. Its statistic is the mean or the mean square of the z-scores, of the parameter where it strays
        most, in standard errors. Curves: `z_scores` (n, d), cut at 10, and `shrinkage` (n, d), at each of the data.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta, draws = rng.normal(size=(200, 2)), rng.normal(size=(200, 100, 2))
        >>> check_z_scores(theta, draws).level, check_z_scores(theta + 0.5, draws).reads
        ('pass', 'shifted')
    """
    theta, draws, log_weights = as_pairs(theta, draws, log_weights)
    n, num_draws, d = draws.shape
    if num_draws < _LEAST_DRAWS:
        raise ShapeError(f"At least {_LEAST_DRAWS} draws at each of the data are needed, found {num_draws}.")
    if prior_scale is not None and (
        np.shape(prior_scale) != (d,) or (as_floats(prior_scale, "prior_scale") <= 0).any()
    ):
        raise ArgumentError(f"prior_scale must be {d} positive numbers, found {np.asarray(prior_scale).tolist()}.")
    unit = unit_of(theta, draws)
    theta, draws = theta / unit, draws / unit
    scale = theta.std(0) if prior_scale is None else as_floats(prior_scale, "prior_scale") / unit
    weights = normalised(np.zeros((n, num_draws + 1)) if log_weights is None else log_weights)
    pool = np.concatenate([theta[:, None], draws], axis=1)
    around = pool - (weights[:, :, None] * pool).sum(1, keepdims=True)
    variance = (weights[:, :, None] * around**2).sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.clip(np.nan_to_num(around / np.sqrt(variance)), -_FURTHEST, _FURTHEST)
        shrinkage = 1 - variance[:, 0] / scale**2  # NaN where all parameters are one
    moments = _moments(z, weights, np.random.default_rng(seed))
    strays = np.abs(moments - moments.mean(1, keepdims=True)) / np.maximum(moments.std(1, keepdims=True), 1e-12)
    largest = strays.max(axis=(0, 2))
    kind, j = np.unravel_index(int(strays[:, 0].argmax()), (2, d))
    statistic, p = float(largest[0]), permutation_p_value(float(largest[0]), largest[1:])
    shift, square = moments[:, 0, j]
    found: Reads = "shifted" if kind == 0 else "overconfident" if square > 1 else "conservative"
    effect = max(abs(shift) / _LARGE_SHIFT, abs(square - 1) / _LARGE_SQUARE)
    level = level_of(p, found, effect, _SMALL, 1.0)
    reads: Reads = "" if level == "pass" else found
    error = 1.96 * np.array([z[:, 0, j].std(), (z[:, 0, j] ** 2).std()]) / np.sqrt(n)
    sentence = f"Truths lie as far from the posterior's mean as its spread says, in {n} cases."
    sentence = agreeing(sentence, p, f"{abs(shift):.2g} standard deviations, and {np.sqrt(square):.2g} times as far")
    if reads == "shifted":
        away = f"{abs(shift):.2g} ± {error[0]:.1g} standard deviations {'above' if shift > 0 else 'below'} its mean"
        sentence = f"The posterior of theta[{j}] is shifted, the truth lies {away} on average, in {n} cases."
    elif reads:
        low, size, high = np.sqrt(np.maximum([square - error[1], square, square + error[1]], 0.0))
        far = f"{size:.2g} ({low:.2g} to {high:.2g}) times as far from the mean as its spread says"
        sentence = f"Truths of theta[{j}] lie {far}, in {n} cases."
    curves = {"z_scores": z[:, 0], "shrinkage": shrinkage}
    return Verdict("z-scores", level, statistic, p, n, permutation_resolution(largest[1:]), sentence, reads, curves)


def _moments(z: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means and mean squares of the first of each row, z (n, k, d), then of some taken by weight; (2, 1 + B, d)."""
    moments = np.zeros((2, PERMUTATIONS + 1, z.shape[2]))
    for row, share in zip(z, weights.cumsum(1)):
        taken = np.searchsorted(share, rng.random(PERMUTATIONS) * share[-1], side="right")
        rows = row[np.concatenate([[0], taken])]
        moments += np.stack([rows, rows**2])
    return moments / len(z)


def check_shrinkage(draws: Any, prior_draws: Any) -> Verdict:
    """How much narrower the posterior is than the prior. To be told little is not wrong; a point is no posterior.

    Args:
        draws: Draws of the posterior, shape (m, d).
        prior_draws: Draws of the prior, shape (k, d).

    Returns:
        The verdict. Its statistic is the shrinkage of the parameter of which the data told least. It fails where the
        draws of a parameter are one number, to a millionth of the prior's spread, takes care where they are more than
        twice as wide as the prior's, and passes otherwise. Curves:
        `shrinkage` (d,).

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
    unit = unit_of(draws, prior_draws)
    draws, prior_draws = draws / unit, prior_draws / unit
    shrinkage = 1 - draws.var(0) / np.maximum(prior_draws.var(0), 1e-300)
    unknown = np.flatnonzero(shrinkage < 0.05)
    sentence = f"The posterior's variance is {1 - shrinkage.max():.2g} to {1 - shrinkage.min():.2g} of the prior's."
    if len(unknown):
        sentence = f"The data told nothing of {', '.join(f'theta[{j}]' for j in unknown)}."
    least = float(shrinkage.min())
    level: Level = "pass"
    reads: Reads = "as prior" if len(unknown) else ""
    wide = np.flatnonzero(shrinkage < _WIDER)
    if len(wide):
        level, reads = "care", "conservative"
        sentence = (
            f"The posterior of {', '.join(f'theta[{j}]' for j in wide)} is wider than the prior: its variance is "
            f"{1 - least:.2g} times the prior's, where the prior is a standard normal."
        )
    points = np.flatnonzero(draws.std(0) <= _POINT * prior_draws.std(0))
    if len(points):
        level, reads = "fail", "overconfident"
        sentence = (
            f"The posterior of {', '.join(f'theta[{j}]' for j in points)} is a point: its {len(draws)} draws are one "
            "number, to a millionth of the prior's spread."
        )
    return Verdict("shrinkage", level, least, None, len(draws), None, sentence, reads, {"shrinkage": shrinkage})

r"""Posterior SBC: calibration about the one observation, and nowhere else.

A posterior that was made for x_o need not be right elsewhere, so parameters are drawn from it and not from the prior:
\(\theta' \sim p(\theta \mid x_o)\), \(x' \sim p(x \mid \theta')\). Then \(\theta'\) ranks uniformly among draws of

\[ p(\theta \mid x_o, x') \propto p(\theta \mid x_o)\, p(x' \mid \theta) \propto p(\theta \mid x_o)\,
   \frac{p(\theta \mid x')}{p(\theta)}. \]

Nothing is learned anew: draws of the posterior at x_o are weighted by its density at x' over the prior's. The ranks of
weighted draws are exact however few of them count (`homing.diagnostics.pairs`); where few do, it has little power.
It finds what is wrong with the posterior at data like x_o; a posterior at x_o alone that is wrong, and right at all
data that it predicts itself, it cannot find.

Source: Säilynoja, Schmitt, Bürkner, Vehtari, *Posterior SBC: Simulation-Based Calibration Checking Conditional on
Data*, 2025, https://arxiv.org/abs/2502.03279, section 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from homing.diagnostics.pairs import as_pairs, effective_draws
from homing.diagnostics.ranks import check_ranks, sbc_ranks
from homing.diagnostics.verdict import Verdict
from homing.errors import ArgumentError

_LEAST_EFFECTIVE = 10.0


def check_posterior_sbc(theta: Any, draws: Any, log_weights: Any, *, seed: int = 0) -> Verdict:
    """Whether the posterior at x_o agrees with itself once it has seen more.

    Args:
        theta: Draws of the posterior at x_o that made n further data, shape (n, d).
        draws: Further draws of the posterior at x_o, S for each of these data, shape (n, S, d).
        log_weights: log of the posterior's density at the further data over the prior's, of `theta` in the first
            column and of `draws` in the others, shape (n, S + 1), each up to a constant of its row.
        seed: Breaks ties.

    Returns:
        The verdict, of ranks as by `check_ranks`, which names the statistic and the curves; another curve is
        `effective` (n,), how many of the S + 1 draws count.

    Raises:
        ShapeError, ArgumentError: If the arrays do not fit each other, or are not finite.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)  # x = theta + noise, both standard normal; x_o = 0
        >>> theta, draws = rng.normal(0, 0.5**0.5, (200, 1)), rng.normal(0, 0.5**0.5, (200, 100, 1))
        >>> x = theta + rng.normal(size=theta.shape)
        >>> def log_weight(theta):
        ...     return -((theta - x / 2) ** 2) + theta**2 / 2
        >>> check_posterior_sbc(theta, draws, np.concatenate([log_weight(theta), log_weight(draws[..., 0])], 1)).level
        'pass'
    """
    if log_weights is None:
        raise ArgumentError("log_weights are needed: without them the draws are not of the posterior given both data.")
    theta, draws, log_weights = as_pairs(theta, draws, log_weights)
    assert log_weights is not None
    effective = effective_draws(log_weights)
    ranks = sbc_ranks(theta, draws, log_weights=log_weights, seed=seed)
    verdict = check_ranks(ranks, draws.shape[1], name="posterior SBC")
    count = f"{effective.mean():.0f} of {draws.shape[1]} draws count"
    sentence = f"About x_o, where {count}: {verdict.sentence[0].lower()}{verdict.sentence[1:]}"
    if verdict.level == "pass" and effective.mean() < _LEAST_EFFECTIVE:
        sentence = f"About x_o hardly anything can be told, only {count}."
    return replace(verdict, sentence=sentence, curves={**verdict.curves, "effective": effective})

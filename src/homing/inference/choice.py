r"""Which side held-out simulations speak for.

Both sides are densities of theta given x: the direct one as it is, the likelihood's after division by its constant
\(Z(x_i) = \int L(x_i \mid \theta)\, p(\theta)\, d\theta\), here by importance sampling from the direct side. On pairs
(theta_i, x_i) that a member of both has not learned from, weighed as if theta_i were from the prior, the difference of
their log densities is what one loses by the other, and those whose data are most like x_o are the ones that matter.
The rule is one-sided. The likelihood's side stands alone where it is clearly ahead; where it is behind, the mixture
stays: a log density punishes a side that is too sure at a few x far more than a posterior at one x suffers from it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from homing import random
from homing.posteriors import SurrogateLikelihood
from homing.posteriors.ensemble import Ensemble
from homing.priors import Prior

_PAIRS = 96  # held-out pairs that are compared, over all members
_CANDIDATES = 256  # importance draws for each
_NEAR = 0.5  # share of the rows that count as like x_o
_CLEARLY = 2.0  # standard errors,
_MATTERS = 0.01  # nats,
_LEAST = 10  # and pairs without which nothing is clear


class Lead(NamedTuple):
    """By how much the likelihood's side is ahead of the direct one, nats, and its standard error."""

    mean: float
    error: float

    @property
    def is_clear(self) -> bool:
        return self.mean - _CLEARLY * self.error > _MATTERS


def likelihood_lead(
    direct: Ensemble,
    likelihood: SurrogateLikelihood,
    prior: Prior,
    z: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    held_out: np.ndarray,
    x_o: np.ndarray,
    seed: int,
) -> Lead:
    """Compare the sides on held-out pairs near x_o.

    Args:
        direct: The direct side, M members.
        likelihood: The likelihood's, of as many.
        prior: The prior.
        z: Parameters, shape (n, d).
        x: Data, shape (n, *x_shape).
        weight: What each row counts for, so that all together are as if from the prior, shape (n,).
        held_out: (M, n) bool, the rows that each member has not learned from.
        x_o: The observation, shape x_shape.
        seed: Below 2**32.
    """
    seen = direct.predict(np.concatenate([x_o[None], x]))
    distance = ((seen[1:] - seen[0]) ** 2).mean(1)
    near = distance <= np.quantile(distance, _NEAR)
    leads, counts = [], []
    for m, held in enumerate(held_out):
        rows = random.generator(seed, "pairs", m).permutation(np.flatnonzero(held & near))
        rows = rows[: -(-_PAIRS // len(held_out))]
        counts.append(weight[rows])
        leads.append(_leads(direct.member(m), likelihood, m, prior, z[rows], x[rows], random.word(seed, "draws", m)))
    lead, count = np.concatenate(leads), np.concatenate(counts)
    if len(lead) < _LEAST:
        return Lead(0.0, np.inf)
    share = count / count.sum()
    mean = float(share @ lead)
    return Lead(mean, float(np.sqrt((share**2) @ (lead - mean) ** 2)))


def _leads(
    direct: Ensemble, likelihood: SurrogateLikelihood, m: int, prior: Prior, z: np.ndarray, x: np.ndarray, seed: int
) -> np.ndarray:
    """Each pair's lead, shape (n,). The pair itself is among the candidates, so that no density can be unbounded."""

    def log_ratio(rows: np.ndarray, data: np.ndarray) -> np.ndarray:
        joint = likelihood.log_likelihood_pairs(m, rows, data) + prior.log_prob_normal(rows)
        return joint - direct.log_prob_pairs(rows, data)

    repeated = np.repeat(x, _CANDIDATES, axis=0)
    drawn = log_ratio(direct.sample_pairs(repeated, seed), repeated).reshape(len(x), _CANDIDATES)
    own = log_ratio(z, x)
    weights = np.concatenate([drawn, own[:, None]], axis=1)
    return own - (np.logaddexp.reduce(weights, axis=1) - np.log(weights.shape[1]))

"""Candidates that cover a density known by its draws, for importance sampling of its constant.

Half are from a density that one hopes is like it: a posterior learned directly, or, without one, t distributions about
some of the draws, which follow several modes. The other half are from one wide t distribution about all of them.
"""

from __future__ import annotations

import numpy as np

from homing import random
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.sampling.student import student_draws, student_log_density

_CENTRES = 128
_NARROWER = 0.6  # the t distributions about single draws, beside the draws' standard deviation
_WIDER = 1.5  # the wide one's covariance, beside the draws'


def cover(
    draws: np.ndarray, num: int, seed: int, start: Ensemble | None, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates.

    Args:
        draws: Of what is to be covered, shape (n, d).
        num: How many candidates.
        seed: The posterior's.
        start: A density of z given x that was learned directly, or None.
        x: The observation.

    Returns:
        The candidates, shape (num, d), those of the first kind first; the log density of the first kind at these,
        shape (num / 2,); and that of the mixture at all of them, shape (num,).
    """
    rng = random.generator(seed, "evidence")
    mean, dim = draws.mean(0), draws.shape[1]
    scale = np.linalg.cholesky(_WIDER * np.cov(draws.T).reshape(dim, dim) + 1e-12 * np.eye(dim))
    wide = mean + student_draws(rng, num // 2, scale)
    if start is not None:
        own = start.sample(num // 2, x, random.word(seed, "evidence"))
        z = np.concatenate([own, wide])
        log_own = start.log_prob(z, x)
    else:
        centres = draws[rng.choice(len(draws), _CENTRES, replace=len(draws) < _CENTRES)]
        narrow = _NARROWER / np.sqrt(_WIDER) * scale
        own = centres[rng.integers(_CENTRES, size=num // 2)] + student_draws(rng, num // 2, narrow)
        z = np.concatenate([own, wide])
        log_own = np.logaddexp.reduce([student_log_density(z - centre, narrow) for centre in centres], axis=0)
        log_own = log_own - np.log(_CENTRES)
    log_mixture = np.logaddexp(log_own, student_log_density(z - mean, scale)) - np.log(2)
    return z, log_own[: num // 2], log_mixture

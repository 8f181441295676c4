r"""Is a sample of ranks uniform? Simultaneous bands for its distribution function, and an exact p-value.

Of n ranks that are uniform on 0, ..., S, the number \(N_k\) below an edge \(e_k\) is binomial with probability \(z_k =
e_k / (S + 1)\). The band at level \(\gamma\) holds, at every edge, the counts whose two-sided tail probability is at
least \(\gamma\). That all \(N_k\) stay inside at once is the probability of a path: the counts are those of a Poisson
process with n arrivals, whose steps are independent, so it is a sum of convolutions, and no simulation is needed. The
p-value is the probability that a uniform sample comes as near to leaving a band as this one does.

Source: Säilynoja, Bürkner, Vehtari, *Graphical test for discrete uniformity and its applications in goodness-of-fit
evaluation and multiple sample comparison*, 2022, https://arxiv.org/abs/2103.10522, section 2 and algorithm 2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import bdtr, bdtrc, gammaln

from homing.diagnostics.verdict import CARE, Reads

PICTURED = 0.05  # how often a right posterior leaves the bands that pictures show
_POINTS = 50  # edges at most
_HALVINGS = 20
_FOUR_IN_FIVE = 0.8416  # the normal quantile of 0.8


def edges_of(num_draws: int) -> np.ndarray:
    """The ranks e at which the distribution function is looked at, shape (K,); `edges / (num_draws + 1)` are levels.

    Example:
        >>> edges_of(3)
        array([1, 2, 3])
    """
    points = min(num_draws + 1, _POINTS)
    return np.unique(np.round(np.linspace(0, num_draws + 1, points + 1)).astype(int))[1:-1]


def shares_below(ranks: np.ndarray, num_draws: int) -> np.ndarray:
    """The share of ranks, shape (n,), below each edge; shape (K,)."""
    return np.searchsorted(np.sort(ranks), edges_of(num_draws)) / len(ranks)


def uniform_p_value(ranks: np.ndarray, num_draws: int) -> float:
    """How often n uniform ranks leave a band that these, shape (n,), just leave.

    Example:
        >>> uniform_p_value(np.arange(100), 99) > 0.9, uniform_p_value(np.arange(50), 99) < 1e-6
        (True, True)
    """
    tails = _tails(len(ranks), num_draws)
    counts = np.searchsorted(np.sort(ranks), edges_of(num_draws))
    nearest = tails[np.arange(len(counts)), counts].min()
    return float(np.clip(1 - _chance_inside(tails > nearest * (1 + 1e-9), num_draws), 0.0, 1.0))


@lru_cache(maxsize=64)
def uniform_band(n: int, num_draws: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The band that n uniform ranks leave with probability alpha at most: lowest and highest shares, shape (K,) each.

    Example:
        >>> low, high = uniform_band(100, 9, 0.05)
        >>> bool((low < edges_of(9) / 10).all() and (high > edges_of(9) / 10).all())
        True
    """
    tails = _tails(n, num_draws)
    small, large = -35.0, 0.0  # logarithms of the level
    for _ in range(_HALVINGS):
        middle = (small + large) / 2
        stays = _chance_inside(tails >= np.exp(middle), num_draws) >= 1 - alpha
        small, large = (middle, large) if stays else (small, middle)
    low, high = _ends(tails >= np.exp(small))
    return low / n, high / n


def uniform_resolution(n: int, num_draws: int, num_tests: int) -> float:
    """The departure of the distribution function, at its middle, that is found four times in five; as a share."""
    low, high = uniform_band(n, num_draws, CARE / num_tests)
    middle = len(low) // 2
    return float((high - low)[middle] / 2 + _FOUR_IN_FIVE * 0.5 / np.sqrt(n))


def reading(ranks: np.ndarray, num_draws: int) -> Reads:
    """What ranks of the truth, shape (n,), not uniform, look like: in their mean, their spread or their tails."""
    n, u = len(ranks), (ranks + 0.5) / (num_draws + 1)
    shift = (u.mean() - 0.5) * np.sqrt(12 * n)  # each in standard errors
    spread = (u.var() - 1 / 12) * np.sqrt(180 * n)
    tails = ((np.abs(u - 0.5) > 0.45).mean() - 0.1) * np.sqrt(n / 0.09)
    wide = max(spread, tails, key=abs)
    if abs(shift) >= abs(wide):
        return "shifted"
    return "overconfident" if wide > 0 else "conservative"


@lru_cache(maxsize=4)
def _tails(n: int, num_draws: int) -> np.ndarray:
    """The two-sided tail probability of each count, 0 to n, at each edge; shape (K, n + 1)."""
    levels, counts = edges_of(num_draws)[:, None] / (num_draws + 1), np.arange(n + 1)
    return np.minimum(1.0, 2 * np.minimum(bdtr(counts, n, levels), bdtrc(counts - 1, n, levels)))


def _ends(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last count inside at each edge."""
    return np.argmax(inside, axis=1), inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)


def _chance_inside(inside: np.ndarray, num_draws: int) -> float:
    """The probability that uniform ranks' counts stay inside at every edge; inside has shape (K, n + 1)."""
    if not inside.any(axis=1).all():
        return 0.0
    n, levels = inside.shape[1] - 1, edges_of(num_draws) / (num_draws + 1)
    chance, first, last = np.ones(1), 0, 0.0  # of the counts from `first` on, at the last edge
    for level, low, high in zip(levels, *_ends(inside)):
        reached = np.convolve(chance, _poisson(np.arange(high - first + 1), n * (level - last)))
        chance, first, last = reached[low - first : high - first + 1], low, level
    rest = n - first - np.arange(len(chance))
    return float(chance @ _poisson(rest, n * (1 - last)) / _poisson(np.array(n), n))


def _poisson(counts: np.ndarray, mean: float) -> np.ndarray:
    return np.exp(counts * np.log(mean) - mean - gammaln(counts + 1.0))

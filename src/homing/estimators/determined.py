r"""Which columns of data say something that the others do not.

A density of data in which some columns are determined by others is no density: it is learned as an infinitely thin
sheet, and where the sheet is thought to lie decides on theta more than the noise does. Such columns are found among the
simulations and left out. They are copies, in any unit, linear combinations (a Cholesky decomposition with pivots, whose
remainder is compared with what rounding makes), monotone functions (a logarithm; a rounded copy), and polynomials of
second degree (a variance beside a mean and a mean square).

Source: Golub, Van Loan, *Matrix Computations*, 2013, section 4.2.8 (pivoting), https://doi.org/10.56021/9781421407944.
"""

from __future__ import annotations

import numpy as np

from homing.estimators.ridge import quadratic
from homing.units import spread_of, unit_of

_SAME = 1e-5  # of a column's standard deviation: less is no news, and float32 would hardly see it
_ROUNDINGS = 4.0
_FIRST_ROWS = 50
_LEAST_ROWS = 200  # that have to be in order before one column counts as a function of another
_LEAST_VARIED = 10  # rows in which it has to be off its median: what is rare is in order by chance
_MOST_PRODUCTS = 12  # columns up to which their products are looked at
_PRECISE = float(np.finfo(np.float32).eps)


def own_columns(x: np.ndarray) -> np.ndarray:
    """Which columns of x, shape (n, p), are neither constant nor determined by others that stay; shape (p,), bool.

    Where too few rows would make anything seem determined, everything stays.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> own_columns(np.column_stack([x, 1e9 * x[:, 0] + 3.0, x[:, 0] + x[:, 1], np.exp(x[:, 1])])).sum()
        np.int64(2)
    """
    x = np.asarray(x, np.float64)
    x = x / unit_of(x)
    spread = spread_of(x)
    rounding = np.where((x == x.astype(np.float32)).all(0), _PRECISE, np.finfo(np.float64).eps) * np.abs(x).max(0)
    own = spread > 2 * rounding
    doubt = _SAME + _ROUNDINGS * rounding / spread
    u = (x - x.mean(0)) / spread
    for find in (_in_line, _in_order, _of_second_degree):
        at = np.flatnonzero(own)
        own[at] = find(u[:, at], doubt[at])
    return own


def _in_line(u: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Which columns no linear combination of the others that stay gives."""
    n, p = u.shape
    left, doubt, kept = u.T @ u / n, doubt.copy(), []
    while len(kept) < min(p, n // 2):
        variance = np.diagonal(left) * n / (n - len(kept))
        news = np.where(np.isin(np.arange(p), kept), 0.0, variance / doubt**2)
        if not (news > 1).any():
            break
        pivot = int(np.argmax(np.where(news > 1, variance, 0.0)))
        kept.append(pivot)
        along = left[pivot] / left[pivot, pivot]
        left = left - np.outer(along, left[pivot])
        doubt = np.hypot(doubt, along * doubt[pivot])
    own = np.isin(np.arange(p), kept)
    if len(kept) == n // 2 or own.all():
        return np.ones(p, bool)
    # An outlier that two columns share says nothing of what else is in them: the bulk has to agree, too.
    return own | ~_agrees(u[:, own], u, doubt)


def _agrees(features: np.ndarray, u: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Whether a regression on features, shape (n, q), leaves of the bulk of each column of u no more than its doubt."""
    centred = features - features.mean(0)
    remainder = np.abs(u - centred @ np.linalg.lstsq(centred, u, rcond=1e-12)[0])
    width = np.ptp(np.quantile(u, [0.1, 0.9], axis=0), axis=0) / 2.56
    return np.quantile(remainder, 0.8, axis=0) <= 1.3 * doubt * np.where(width > 0, np.minimum(width, 1.0), 1.0)


def _in_order(u: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Which columns are not a monotone function of one of the others that stay."""
    p = u.shape[1]
    own, rounding = np.ones(p, bool), doubt - _SAME + 1e-12
    varied = (np.abs(u - np.median(u, axis=0)) > rounding).sum(0) >= _LEAST_VARIED
    for j in np.flatnonzero(varied) if len(u) >= _LEAST_ROWS else ():
        if own[j]:
            others = own & varied & (np.arange(p) != j)
            for rows in (u[:_FIRST_ROWS], u):  # few of them exclude most
                others[others] = _follow(rows[:, j], rows[:, others], rounding[others])
            own &= ~others
    return own


def _follow(first: np.ndarray, others: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Which of others, shape (n, q), are a monotone function of the first, shape (n,)."""
    order = np.argsort(first, kind="stable")
    steps, same = np.diff(others[order], axis=0), np.diff(first[order]) == 0
    in_order = (steps >= -rounding).all(0) | (steps <= rounding).all(0)
    return np.logical_and(in_order, (np.abs(steps[same]) <= rounding).all(0))


def _of_second_degree(u: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Which columns are not a polynomial of second degree of the others that stay."""
    n, p = u.shape
    own = np.ones(p, bool)
    for j in reversed(range(p)):
        others = own & (np.arange(p) != j)
        size = int(others.sum())
        if 0 < size <= _MOST_PRODUCTS and n >= max(_LEAST_ROWS, 3 * size * (size + 3) // 2):
            own[j] = not _agrees(quadratic(u[:, others]), u[:, [j]], doubt[[j]])[0]
    return own

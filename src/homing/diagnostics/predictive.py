r"""Is an observation like these data? By its distance from their middle, and how rough it is; a p-value by rank.

Each entry of the data is standardised; their covariance is that of their largest principal components, as many as a
quarter of the rows allow, and of equal noise in all other directions. So the distance, Mahalanobis's, grows also where
an observation breaks a relation between entries, and entries that tell nothing do not drown the others. One half of the
rows measures the other, and the observation is measured by both halves: its rank among theirs is a p-value, and small
samples or many entries do not spoil it.

What is ranked is the largest of several scores: of the distance, and of statistics of what no distance sees, how large
and how rough the data are (`homing.diagnostics.texture`), each in units of how far it strays to that side. So what is
quieter than all data, or nearer to their middle, is as foreign as what is louder or further away.

Of data of more than 4096 entries, each entry, standardised, is added with a random sign to one of 4096 sums, which are
looked at instead: lengths and angles stay what they were up to a few percent, and so do the large components, at the
cost of reading the data once. What the observation has in a few of very many entries alone drowns in these sums.

For data that the prior predicts, it asks whether simulator and prior can have made the observation at all. For data
that the posterior predicts it is a posterior predictive check, whose p-value is, of a right posterior, larger than
uniform, since the observation helped to make what it is compared with.

Sources: Gelman, Meng, Stern, *Posterior predictive assessment of model fitness via realized discrepancies*, 1996,
    https://www.jstor.org/stable/24306036; Tipping, Bishop, *Probabilistic principal component analysis*, 1999,
    https://doi.org/10.1111/1467-9868.00196; Vovk, *Cross-conformal predictors*, 2015, https://arxiv.org/abs/1208.0806;
    Weinberger, Dasgupta, Attenberg, Langford, Smola, *Feature hashing for large scale multitask learning*, 2009,
    https://arxiv.org/abs/0902.2206 (sums with random signs).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing.diagnostics.pairs import as_floats
from homing.diagnostics.texture import LEAST_SPREAD, texture
from homing.diagnostics.verdict import Level, Verdict
from homing.errors import ShapeError
from homing.estimators.standardize import Standardize, fit_standardize

LEAST_ROWS = 20
MOST_ENTRIES = 4096  # of one x that are looked at by themselves
_MOST_ROWS, _LEAST_MOST = 2000, 200  # rows that count, and so many at least if they are large:
_MOST_NUMBERS = 2**23  # in all of them
_MOST_SCALED = 32  # entries up to which each is put on the scale on which it is simple
_ROWS_A_COMPONENT = 4
_STRAYS = (0.05, 0.5, 0.95)  # quantiles, in units of whose differences a score is
_FLOOR = 1e-8  # of the mean variance: below it a direction counts as constant
UNLIKE = 0.01  # the p-value below which an observation is unlike the data: what a hundred of them can tell
_FAR = 1.5  # times the largest distance: so far that a p-value need not say it


@dataclass(frozen=True, eq=False)
class Half:
    """How some rows spread, and how far other rows are from them.

    Attributes:
        loc: (p,), the mean.
        axes: (p, r), the principal directions.
        scale: (r,), the standard deviations along them.
        noise_precision: One over the variance in all other directions; zero if there is none.
        distances: (k,), those of the other rows, in increasing order.
        quantiles: (3, 1 + q), the 5, 50 and 95 % quantiles of the distance, as measured by some of these rows of the
            others, and of the statistics.
        scores: (k,), those of the other rows, in increasing order. None in files of before there were any.
    """

    loc: np.ndarray
    axes: np.ndarray
    scale: np.ndarray
    noise_precision: float
    distances: np.ndarray
    quantiles: np.ndarray | None = None
    scores: np.ndarray | None = None

    def score(self, rows: np.ndarray, statistics: np.ndarray) -> np.ndarray:
        """How far the distance and each of the statistics (m, q) stray, with signs; shape (m, 1 + q)."""
        assert self.quantiles is not None
        low, middle, high = self.quantiles
        strays = np.concatenate([self.distance(rows)[:, None], statistics], axis=1) - middle
        return strays / np.where(strays > 0, high - middle, middle - low)

    def distance(self, rows: np.ndarray) -> np.ndarray:
        """Of rows, shape (m, p); shape (m,)."""
        u = rows - self.loc
        along = u @ self.axes
        rest = np.maximum((u**2).sum(1) - (along**2).sum(1), 0.0)
        return np.sqrt(((along / self.scale) ** 2).sum(1) + rest * self.noise_precision)


@dataclass(frozen=True, eq=False)
class Predictive:
    """What data are like, for asking whether an observation is.

    Attributes:
        standardize: From flat data to standardised entries, of which `sums` makes what the halves look at.
        halves: Each measures the other's rows.
        x_shape: Shape of one x.
        unit: The data's mean square.
    """

    standardize: Standardize
    halves: tuple[Half, ...]
    x_shape: tuple[int, ...] = ()
    unit: float = 1.0

    @property
    def distances(self) -> np.ndarray:
        """Those of all rows, shape (n,), one being the typical distance."""
        return np.concatenate([half.distances / _typical(half) for half in self.halves])

    def distance(self, x: np.ndarray) -> float:
        """An observation's distance from the middle, as a multiple of the typical one; of trials, the largest."""
        rows = self._rows(x)
        return float(np.mean([half.distance(rows) / _typical(half) for half in self.halves], axis=0).max())

    def p_value(self, x: np.ndarray) -> float:
        """How often data like these stray as far as an observation.

        Of several trials, how often, at most, one of as many strays as far as the furthest, however they depend on each
        other (Bonferroni).
        """
        return self._p_value(self._ranked(x))

    def is_unlike(self, x: np.ndarray) -> bool:
        """Whether an observation is unlike the data: further than all but one in a hundred, or far beyond them all."""
        ranked = self._ranked(x)
        return self._p_value(ranked) < UNLIKE or self._is_far(ranked)

    def is_far(self, x: np.ndarray) -> bool:
        """Whether an observation, or one of several trials, is far beyond all the data."""
        return self._is_far(self._ranked(x))

    def _p_value(self, ranked: list[tuple[np.ndarray, np.ndarray]]) -> float:
        far = sum((known[:, None] >= own).sum(0) for known, own in ranked)
        return float(np.minimum(1.0, np.size(far) * (1 + np.min(far)) / (1 + len(self.distances))))

    def _is_far(self, ranked: list[tuple[np.ndarray, np.ndarray]]) -> bool:
        return bool(np.all([own > _FAR * known[-1] for known, own in ranked], axis=0).any())

    def unlike_by(self, x: np.ndarray) -> str:
        """In what an observation strays most from the data, in words."""
        distance = f"{self.distance(x):.2g} times as far from their middle as half of them"
        if self.halves[0].quantiles is None:
            return distance
        rows, (names, statistics) = self._rows(x), self._texture(x)
        scores = np.mean([half.score(rows, statistics) for half in self.halves], axis=0)
        row, k = np.unravel_index(int(np.abs(scores).argmax()), scores.shape)
        if k == 0:
            return distance
        middle = np.mean([half.quantiles[1, k] for half in self.halves if half.quantiles is not None])
        value, name = statistics[row, k - 1], names[k - 1]
        if name.startswith("share"):
            return f"the {name} is {value:.0%}, and {middle:.0%} in half of them"
        return f"the {name} is {np.exp(value - middle):.2g} times that of half of them"

    def _ranked(self, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """By each half: what the other rows have, in increasing order, and what one or several x have, shape (m,)."""
        rows = self._rows(x)
        if self.halves[0].quantiles is None:
            return [(half.distances, half.distance(rows)) for half in self.halves]
        statistics = self._texture(x)[1]
        return [(np.asarray(h.scores), np.abs(h.score(rows, statistics)).max(1)) for h in self.halves]

    def _texture(self, x: np.ndarray) -> tuple[list[str], np.ndarray]:
        return _textures(self.standardize, np.asarray(x, np.float64), self.x_shape, self.unit)

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """One observation, or several trials, as rows, shape (m, p)."""
        return sums(self.standardize(np.asarray(x, np.float64).reshape(-1, self.standardize.loc.size)))


def fit_predictive(x: np.ndarray, z: np.ndarray | None = None, *, nearer: bool = True) -> Predictive | None:
    """What these data are like.

    Args:
        x: Finite data, shape (n, *x_shape), in random order; of more than 2000, or of large ones more than 200, the
            first count.
        z: The parameters that made them, shape (n, d), by which the scale of each entry is chosen; None to keep it.
        nearer: Whether an observation that is nearer to the middle than all data is unlike them.

    Returns:
        The summary; None of fewer than 20 data.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> predictive = fit_predictive(rng.normal(size=(200, 3)))
        >>> predictive.is_unlike(np.zeros(3)), predictive.is_unlike(np.array([0.0, 9.0, 0.0]))
        (False, True)
    """
    size = int(np.prod(np.shape(x)[1:]))
    if len(x) < LEAST_ROWS or size == 0:
        return None
    num = int(np.clip(_MOST_NUMBERS // size, _LEAST_MOST, _MOST_ROWS))
    flat = np.asarray(x[:num], np.float64).reshape(-1, size)
    standardize = fit_standardize(flat, z=z[:num] if z is not None and size <= _MOST_SCALED else None)
    rows, x_shape = sums(standardize(flat)), tuple(np.shape(x)[1:])
    unit = float(np.mean(np.clip(flat, -1e100, 1e100) ** 2)) or 1.0
    statistics = _textures(standardize, flat, x_shape, unit)[1]
    halves = [(slice(k, None, 2), slice(1 - k, None, 2)) for k in (0, 1)]
    known = tuple(_half(rows[own], rows[other], statistics[other], nearer) for own, other in halves)
    return Predictive(standardize, known, x_shape, unit)


def _textures(
    standardize: Standardize, x: np.ndarray, x_shape: tuple[int, ...], unit: float
) -> tuple[list[str], np.ndarray]:
    """The statistics of data, shape (m, *x_shape) or flat."""
    flat = x.reshape(-1, standardize.loc.size)
    clipped = np.clip(flat, -1e100, 1e100).reshape(-1, *x_shape)
    return texture(clipped, standardize(flat).astype(np.float64).reshape(-1, *x_shape), unit)


def sums(rows: np.ndarray) -> np.ndarray:
    """Standardised rows, shape (n, p), as they are; of more than 4096 entries, sums of them, with signs, at random.

    Which are added to which is the same for all rows of p entries.
    """
    p = rows.shape[1]
    if p <= MOST_ENTRIES:
        return rows.astype(np.float64)
    rng = np.random.default_rng(p)
    mixed = rows[:, rng.permutation(p)] * rng.choice([-1.0, 1.0], p)
    padded = np.pad(mixed, [(0, 0), (0, -p % MOST_ENTRIES)])
    return padded.reshape(len(rows), -1, MOST_ENTRIES).sum(1)


def check_predictive(observed: Any, replicated: Any) -> Verdict:
    """Posterior predictive check: is the observation like what the posterior predicts?

    Args:
        observed: The observation, shape x_shape.
        replicated: Data simulated from draws of the posterior, shape (n, *x_shape), in random order.

    Returns:
        The verdict. Its statistic is the observation's distance from the middle of the replicated data, as a multiple
        of their typical distance. Curves: `observed` x_shape and `replicated` (n, *x_shape), unless they have more
        than 4096 entries each, `distances` (n,), those of the replicated data, and `distance` ().

    Raises:
        ShapeError: If the arrays do not fit each other, or there are too few replicated data.
        ArgumentError: If a number is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> check_predictive(np.zeros(2), rng.normal(size=(100, 2))).level
        'pass'
    """
    observed, replicated = as_floats(observed, "observed"), as_floats(replicated, "replicated")
    if replicated.shape[1:] != observed.shape:
        raise ShapeError(
            f"replicated must have shape (n, *{observed.shape}), data like the observed, found {replicated.shape}."
        )
    predictive = fit_predictive(replicated, nearer=False)  # the observation helped to make them
    if predictive is None:
        raise ShapeError(
            f"At least {LEAST_ROWS} replicated data of at least one number each are needed, found shape "
            f"{replicated.shape}."
        )
    is_small = observed.size <= MOST_ENTRIES  # enough for a picture, and to be kept
    curves = {"observed": observed, "replicated": replicated} if is_small else {}
    what = f"the {len(replicated)} data that the posterior predicts"
    return likeness("predictive", predictive, observed, what, curves)


def likeness(name: str, predictive: Predictive, x: np.ndarray, what: str, curves: dict[str, np.ndarray]) -> Verdict:
    """The verdict on an observation's likeness to data, which `what` names."""
    p, distance, distances = predictive.p_value(x), predictive.distance(x), predictive.distances
    level: Level = "fail" if predictive.is_far(x) else "care" if predictive.is_unlike(x) else "pass"
    sentence = f"x_o is like {what}."
    if level != "pass":
        sentence = f"x_o is unlike {what}, {predictive.unlike_by(x)} (p = {p:.2g})."
    curves = curves | {"distances": distances, "distance": np.array(distance)}
    resolution = float(np.quantile(distances, 1 - UNLIKE))
    return Verdict(name, level, distance, p, len(distances), resolution, sentence, curves=curves)


def _typical(half: Half) -> float:
    return max(float(np.median(half.distances)), 1e-12)


def _half(rows: np.ndarray, others: np.ndarray, statistics: np.ndarray, nearer: bool) -> Half:
    """Measure some rows, shape (m, p), and by them others, whose statistics are of shape (k, q)."""
    loc, num = rows.mean(0), min(rows.shape[1], max(len(rows) // _ROWS_A_COMPONENT, 1))
    _, size, axes = np.linalg.svd(rows - loc, full_matrices=False)
    variance = size**2 / (len(rows) - 1)
    floor = max(_FLOOR * float(variance.sum()) / rows.shape[1], 1e-12)
    left = rows.shape[1] - num
    noise = 1 / max(float(variance[num:].sum()) / left, floor) if left else 0.0
    half = Half(loc, axes[:num].T, np.sqrt(np.maximum(variance[:num], floor)), noise, np.zeros(0))
    distances = half.distance(others)
    low, middle, high = np.quantile(statistics, _STRAYS, axis=0)
    spread = np.stack([np.minimum(low, middle - LEAST_SPREAD), middle, np.maximum(high, middle + LEAST_SPREAD)])
    near, typical, far = np.quantile(distances, _STRAYS)
    least = 1e-9 * max(typical, 1e-300)
    of_distance = [[min(near, typical - least) if nearer else -np.inf], [typical], [max(far, typical + least)]]
    half = replace(half, distances=np.sort(distances), quantiles=np.concatenate([of_distance, spread], axis=1))
    return replace(half, scores=np.sort(np.abs(half.score(others, statistics)).max(1)))

r"""Is an observation like these data? A distance that knows how they spread, and a p-value by rank.

Each entry of the data is standardised; their covariance is that of their largest principal components, as many as a
quarter of the rows allow, and of equal noise in all other directions. So the distance, Mahalanobis's, grows also where
an observation breaks a relation between entries, and entries that tell nothing do not drown the others. One half of the
rows measures the other, and the observation is measured by both halves: the rank of its distance among theirs is a
p-value, and small samples or many entries do not spoil it.

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

from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.diagnostics.pairs import as_floats
from homing.diagnostics.verdict import Level, Verdict
from homing.errors import ShapeError
from homing.estimators.standardize import Standardize, fit_standardize

LEAST_ROWS = 20
MOST_ENTRIES = 4096  # of one x that are looked at by themselves
_MOST_ROWS, _LEAST_MOST = 2000, 200  # rows that count, and so many at least if they are large:
_MOST_NUMBERS = 2**23  # in all of them
_MOST_SCALED = 32  # entries up to which each is put on the scale on which it is simple
_ROWS_A_COMPONENT = 4
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
    """

    loc: np.ndarray
    axes: np.ndarray
    scale: np.ndarray
    noise_precision: float
    distances: np.ndarray

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
    """

    standardize: Standardize
    halves: tuple[Half, ...]

    @property
    def distances(self) -> np.ndarray:
        """Those of all rows, shape (n,), one being the typical distance."""
        return np.concatenate([half.distances / _typical(half) for half in self.halves])

    def distance(self, x: np.ndarray) -> float:
        """An observation's distance from the middle, as a multiple of the typical one; of trials, the largest."""
        rows = self._rows(x)
        return float(np.mean([half.distance(rows) / _typical(half) for half in self.halves], axis=0).max())

    def p_value(self, x: np.ndarray) -> float:
        """How often data like these are as far from the middle as an observation.

        Of several trials, how often, at most, one of as many is as far as the furthest, however they depend on each
        other (Bonferroni).
        """
        rows = self._rows(x)
        far = sum((half.distances[:, None] >= half.distance(rows)).sum(0) for half in self.halves)
        return float(np.minimum(1.0, len(rows) * (1 + np.min(far)) / (1 + len(self.distances))))

    def is_unlike(self, x: np.ndarray) -> bool:
        """Whether an observation is unlike the data: further than all but one in a hundred, or far beyond them all."""
        return self.p_value(x) < UNLIKE or self.is_far(x)

    def is_far(self, x: np.ndarray) -> bool:
        """Whether an observation, or one of several trials, is far beyond all the data."""
        rows = self._rows(x)
        return bool(np.all([half.distance(rows) > _FAR * half.distances[-1] for half in self.halves], axis=0).any())

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """One observation, or several trials, as rows, shape (m, p)."""
        return sums(self.standardize(np.asarray(x, np.float64).reshape(-1, self.standardize.loc.size)))


def fit_predictive(x: np.ndarray, z: np.ndarray | None = None) -> Predictive | None:
    """What these data are like.

    Args:
        x: Finite data, shape (n, *x_shape), in random order; of more than 2000, or of large ones more than 200, the
            first count.
        z: The parameters that made them, shape (n, d), by which the scale of each entry is chosen; None to keep it.

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
    rows = sums(standardize(flat))
    return Predictive(standardize, (_half(rows[::2], rows[1::2]), _half(rows[1::2], rows[::2])))


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
    predictive = fit_predictive(replicated)
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
        sentence = f"x_o is unlike {what}, {distance:.2g} times as far from their middle as half of them (p = {p:.2g})."
    curves = curves | {"distances": distances, "distance": np.array(distance)}
    resolution = float(np.quantile(distances, 1 - UNLIKE))
    return Verdict(name, level, distance, p, len(distances), resolution, sentence, curves=curves)


def _typical(half: Half) -> float:
    return max(float(np.median(half.distances)), 1e-12)


def _half(rows: np.ndarray, others: np.ndarray) -> Half:
    """Measure some rows, shape (m, p), and by them others."""
    loc, num = rows.mean(0), min(rows.shape[1], max(len(rows) // _ROWS_A_COMPONENT, 1))
    _, size, axes = np.linalg.svd(rows - loc, full_matrices=False)
    variance = size**2 / (len(rows) - 1)
    floor = max(_FLOOR * float(variance.sum()) / rows.shape[1], 1e-12)
    left = rows.shape[1] - num
    noise = 1 / max(float(variance[num:].sum()) / left, floor) if left else 0.0
    half = Half(loc, axes[:num].T, np.sqrt(np.maximum(variance[:num], floor)), noise, np.zeros(0))
    return Half(loc, half.axes, half.scale, noise, np.sort(half.distance(others)))

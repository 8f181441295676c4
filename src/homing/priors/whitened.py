"""Any distribution that can be drawn from and evaluated, on any box.

Each parameter is first freed of its bounds,

    y = θ,    y = log(θ - low),    y = -log(high - θ)    or    y = log(θ - low) - log(high - θ),

by which bounds it has, and y is then centred, scaled and decorrelated, z = L^-1 (y - m). The centre m is the median of
a fixed number of draws; L L^T has their spread (half the distance between the 16% and the 84% quantiles) and the
correlation of their normal scores: ranks, so that heavy tails decide neither. z is only roughly a standard normal; its
density is still exact, by the change of variables.

Source: the maps are the Stan reference manual's, https://mc-stan.org/docs/reference-manual/transforms.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit, ndtri

from homing.errors import PriorError
from homing.priors.agreement import check_agreement, log_constant, rows_needed
from homing.priors.prior import Prior, one_step_inside, show
from homing.priors.source import Source, declared_support
from homing.priors.support import as_bound, bounds_of, cautious, find_box
from homing.random import generator
from homing.units import unit_of

NUM_DRAWS = 4096
_REACH = 20.0  # how far toward a bound the map goes, in spreads of y


@dataclass(frozen=True, eq=False)
class Whitened(Prior):
    """A prior around someone else's `sample` and `log_prob`. Made by `whiten`.

    A parameter on a finite bound counts as the nearest number inside of the type that log_prob works in, and one beyond
    20 spreads of y toward that bound as being there.

    Attributes:
        source: The distribution.
        center: Shape (d,), m.
        scale_tril: Shape (d, d), L.
        log_constant: The logarithm of what the source's density integrates to.
    """

    source: Source
    center: np.ndarray
    scale_tril: np.ndarray
    log_constant: float = 0.0

    def sample(self, rng: np.random.Generator, num: int) -> np.ndarray:
        return self._strictly(self.source.sample(rng, num))

    def log_prob_normal(self, z: np.ndarray) -> np.ndarray:
        theta = self.from_normal(z)
        return self.log_prob(theta) - self._slope(np.clip(theta, *one_step_inside(self.low, self.high, "float64")))

    def describe(self) -> str:
        ranges = ", ".join(f"[{low:.6g}, {high:.6g}]" for low, high in zip(self.low[:6], self.high[:6]))
        return f"{self.source.name} on {ranges}" + (", ..." if self.dim > 6 else "")

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        values = self.source.log_prob(theta) - self.log_constant
        return np.where(np.isnan(values), -np.inf, values)

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        y = unbound(np.clip(theta, *self._reach), self.low, self.high) - self.center
        return solve_triangular(self.scale_tril, y.T, lower=True, check_finite=False).T

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        return bind(self.center + z @ self.scale_tril.T, self.low, self.high)

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return self._slope(np.clip(theta, *self._reach))

    def _slope(self, theta: np.ndarray) -> np.ndarray:
        return log_slope(theta, self.low, self.high).sum(1) - np.log(np.diag(self.scale_tril)).sum()

    @cached_property
    def _inner(self) -> tuple[np.ndarray, np.ndarray]:
        return one_step_inside(self.low, self.high, self.source.kind.dtype)

    @cached_property
    def _reach(self) -> tuple[np.ndarray, np.ndarray]:
        reach = _REACH * np.sqrt((self.scale_tril**2).sum(1))
        low, high = (bind(self.center + sign * reach, self.low, self.high) for sign in (-1, 1))
        inner = self._inner
        return (
            np.where(np.isfinite(self.low), np.maximum(low, inner[0]), -np.inf),
            np.where(np.isfinite(self.high), np.minimum(high, inner[1]), np.inf),
        )


def whiten(source: Source) -> Whitened:
    """The prior of a source: its box found, its map fitted to a fixed number of its draws.

    Raises:
        PriorError: If `sample` and `log_prob` do not agree, draws do not follow the seed, or the support is not a box.
    """
    if not source.from_library and not _repeatable(source):
        raise PriorError(
            f"The prior {source.name} gave other draws under the same seed, so no result could be repeated. Let its "
            "`sample` draw from NumPy's or torch's global generator, or take a NumPy generator as an argument `rng`."
        )
    draws = source.sample(generator(0, "whitening"), NUM_DRAWS)
    low, high = _declared_bounds(source)
    draws = _checked(source, draws, low, high)
    low, high = find_box(source.log_prob, draws, low, high, source.kind.dtype, source.name)
    y = unbound(np.clip(draws, *one_step_inside(low, high, source.kind.dtype)), low, high)
    prior = Whitened(low, high, source.kind, source, np.median(y, axis=0), _scale_tril(y))
    return prior if source.from_library else _agreeing(prior, draws)


def _agreeing(prior: Whitened, draws: np.ndarray) -> Whitened:
    """The prior with its constant, if the draws follow the density."""
    source = prior.source
    unit = unit_of(draws)
    fresh = prior.sample(generator(0, "agreement"), rows_needed(prior.dim)) / unit
    known = np.median(draws / unit, axis=0), _scale_tril(draws / unit)

    def density(rows: np.ndarray) -> np.ndarray:
        return cautious(prior.log_prob, rows * unit)

    check_agreement(density, fresh, *known, generator(0, "steps"), source.name)
    z = prior.to_normal(fresh * unit)
    found = log_constant(lambda rows: cautious(prior.log_prob_normal, rows), z, generator(0, "constant"))
    return replace(prior, log_constant=found)


def _repeatable(source: Source) -> bool:
    once, again = (source.sample(generator(0, "repeated"), 10) for _ in range(2))
    return np.array_equal(once, again)


def unbound(theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """y, column by column, shape (n, d); theta strictly between the bounds."""
    below, above = _distances(theta, low, high)
    return np.where(np.isfinite(low) | np.isfinite(high), np.log(below) - np.log(above), theta)


def log_slope(theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """log dy/dθ, column by column, shape (n, d)."""
    below, above = _distances(theta, low, high)
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    return np.log(width) - np.log(below) - np.log(above)


def bind(y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The inverse of `unbound`."""
    with np.errstate(over="ignore", invalid="ignore"):
        part = expit(-np.abs(y)) * (high - low)
        both = np.where(y < 0, low + part, high - part)
        one = np.where(np.isfinite(low), low + np.exp(y), np.where(np.isfinite(high), high - np.exp(-y), y))
    return np.where(np.isfinite(low) & np.isfinite(high), both, one)


def _distances(theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distances to the two bounds; 1, whose logarithm adds nothing, where there is none."""
    return np.where(np.isfinite(low), theta - low, 1.0), np.where(np.isfinite(high), high - theta, 1.0)


def _scale_tril(y: np.ndarray) -> np.ndarray:
    scores = ndtri((y.argsort(0).argsort(0) + 0.5) / len(y))
    correlation = np.atleast_2d(np.corrcoef(scores.T))
    correlation = (1 - 1e-6) * correlation + 1e-6 * np.eye(len(correlation))  # positive definite, whatever the draws
    spread = np.diff(np.quantile(y, [0.16, 0.84], axis=0), axis=0)[0] / 2
    return np.linalg.cholesky(correlation) * np.where(spread > 0, spread, y.std(0))[:, None]


def _declared_bounds(source: Source) -> tuple[np.ndarray, np.ndarray]:
    distribution, dim = source.distribution, source.dim
    if source.name == "VonMises":  # torch declares the real line, but draws and is normalised on the circle
        return np.full(dim, -np.pi), np.full(dim, np.pi)
    if source.from_library and hasattr(distribution, "component_distribution"):
        return np.full(dim, -np.inf), np.full(dim, np.inf)  # its support has bounds for each component
    low, high = bounds_of(declared_support(distribution), dim)
    if source.from_library:
        return low, high
    own_low, own_high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return np.maximum(low, as_bound(own_low, dim, -np.inf)), np.minimum(high, as_bound(own_high, dim, np.inf))


def _checked(source: Source, draws: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The draws, moved off their declared bounds, if log_prob agrees with them."""
    outside = ~((draws >= low) & (draws <= high) & np.isfinite(draws)).all(1)
    if outside.any():
        raise PriorError(
            f"Draws of the prior {source.name} must be finite and within its own bounds low={show(low)}, "
            f"high={show(high)}, found {show(draws[outside.argmax()])}. Correct its `sample`, or its `low`, `high` or "
            "`support`."
        )
    _check_not_flat(source, draws)
    _check_not_discrete(source, draws)
    draws = np.clip(draws, *one_step_inside(low, high, source.kind.dtype))
    try:
        values = source.log_prob(draws)
    except PriorError:
        raise
    except Exception as error:
        raise PriorError(
            f"log_prob of the prior {source.name} must take what its sample gives, a {source.kind.library} array of "
            f"shape {(len(draws), *source.shape)}, but raised {type(error).__name__}: {error}"
        ) from error
    poles = values == np.inf  # a draw rounded to a bound where the density is infinite
    wrong = ~np.isfinite(values) & ~(poles & (poles.mean() < 0.01))
    if wrong.any():
        raise PriorError(
            f"log_prob of the prior {source.name} must be finite at its own draws, found {values[wrong.argmax()]} at "
            f"theta={show(draws[wrong.argmax()])} ({wrong.sum()} of {len(draws)} draws). Its `sample` and `log_prob` "
            "do not describe the same distribution: correct either."
        )
    return draws[~poles]


def _check_not_flat(source: Source, draws: np.ndarray) -> None:
    constant = np.flatnonzero(np.ptp(draws, axis=0) == 0)
    if len(constant):
        raise PriorError(
            f"Parameter {constant[0]} of the prior {source.name} never varies: it is always {draws[0, constant[0]]:g}. "
            "Leave it out of the prior and set it inside the simulator."
        )
    if source.dim > 1 and np.linalg.eigvalsh(np.corrcoef((draws / unit_of(draws)).T))[0] < 1e-10:
        raise PriorError(
            f"The parameters of the prior {source.name} determine each other, as on a simplex, where they sum to one: "
            f"it has no density in {source.dim} dimensions. Infer {source.dim - 1} free ones and compute the last "
            "inside the simulator: for a Dirichlet, independent Beta fractions broken off a stick, or log-ratios."
        )


def _check_not_discrete(source: Source, draws: np.ndarray) -> None:
    fine = np.spacing(np.abs(draws).max(0).astype(source.kind.dtype)) < 0.1  # so large numbers have no fractions
    whole = np.flatnonzero((draws == np.round(draws)).all(0) & fine)
    if len(whole):
        raise PriorError(
            f"Parameter {whole[0]} of the prior {source.name} is a whole number in all draws, and a prior must be "
            "continuous. Infer a continuous parameter and round it inside the simulator, or run the inference once for "
            "each value."
        )

"""The prior as the rooms above see it: a density on a box, and a smooth bijection from the box's inside to R^d.

Every prior p(θ) comes with a map z = T(θ) under which it is, exactly or roughly, a standard normal. Estimators learn a
density q(z) on all of R^d, and the density in the user's parameters follows from the change of variables,

    log q(θ) = log q(z) + log |det dT/dθ|,    z = T(θ).

It is normalised because q(z) is, and nothing can leak outside the support, because T^-1 maps nothing there.

A parameter exactly on a bound counts as the nearest number inside: z is finite there, and so is the log-density unless
it vanishes faster than any power. Where a parameter is mapped by its distribution function, z is moreover clipped to
|z| <= 8.2 toward a finite bound, where float64 no longer tells 1 - p from 1 (p = 1e-16), and to |z| <= 20 toward
infinity (p = 1e-89), or 8.2 again if the library's quantile function reaches no further.

Source: M. Rosenblatt, Remarks on a Multivariate Transformation, Annals of Mathematical Statistics 23, 1952 (the map of
a distribution to a uniform one, here followed by the normal quantile), https://doi.org/10.1214/aoms/1177729394
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from homing.arrays import Kind
from homing.errors import ShapeError

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_LARGEST = np.finfo(np.float64).max

NEAR_BOUND = 8.2
NEAR_INFINITY = 20.0


def normal_log_density(z: np.ndarray) -> np.ndarray:
    """The standard normal's log-density, element by element.

    Example:
        >>> normal_log_density(np.zeros(1)).round(3).tolist()
        [-0.919]
    """
    return -0.5 * z * z - _LOG_SQRT_2PI


@dataclass(frozen=True, eq=False)
class Prior(ABC):
    """A density on a box of R^d with its bijection to R^d. `theta` and `z` are float64 arrays of shape (n, d).

    A subclass writes the mathematics in the methods with a leading underscore, which are only called on rows inside the
    support; the public ones check shapes and take care of bounds.

    Attributes:
        low: Shape (d,), the support's lower bounds, -inf where there is none.
        high: Shape (d,), the support's upper bounds, inf where there is none.
        kind: The kind of arrays the user's simulator gets and samples are given back as.
    """

    low: np.ndarray
    high: np.ndarray
    kind: Kind

    @property
    def dim(self) -> int:
        """The number of parameters, d."""
        return len(self.low)

    def sample(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """Independent draws, shape (num, d)."""
        return self.from_normal(rng.standard_normal((num, self.dim)))

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """The log-density, shape (n,); -inf outside the support."""
        inside = self.is_inside(theta)
        values = np.full(len(inside), -np.inf)
        if inside.any():
            values[inside] = self._log_prob(self._strictly(np.asarray(theta, np.float64)[inside]))
        return values

    def to_normal(self, theta: np.ndarray) -> np.ndarray:
        """z = T(θ), shape (n, d), finite also on the bounds; what lies outside the support is moved to its bound."""
        return self._to_normal(self._strictly(self._rows(theta, "theta")))

    def from_normal(self, z: np.ndarray) -> np.ndarray:
        """θ = T^-1(z), shape (n, d), always finite and strictly between the bounds."""
        return np.clip(self._from_normal(self._rows(z, "z")), *self._open)

    def log_det(self, theta: np.ndarray) -> np.ndarray:
        """log |det dT/dθ|, shape (n,)."""
        return self._log_det(self._strictly(self._rows(theta, "theta")))

    def log_prob_normal(self, z: np.ndarray) -> np.ndarray:
        """The prior's log-density in z, log p(θ(z)) - log |det dT/dθ|, shape (n,); standard normal if T is exact."""
        return normal_log_density(self._rows(z, "z")).sum(1)

    def is_inside(self, theta: np.ndarray) -> np.ndarray:
        """Whether each row lies in the support, bounds included, shape (n,)."""
        theta, (low, high) = self._rows(theta, "theta"), self._finite
        return np.all((theta >= low) & (theta <= high), axis=1)

    def give(self, theta: np.ndarray) -> Any:
        """Rows as arrays of the user's kind, strictly between the bounds also after rounding to its floating type.

        Casting alone could round a row onto a bound or past it, and not every library counts a bound as inside: torch's
        uniform distribution has density zero at its upper one.

        Args:
            theta: Shape (n, d), float64.

        Returns:
            Shape (n, d), an array of `kind`.
        """
        return self.kind.give(np.clip(self._rows(theta, "theta"), *self._innermost))

    @abstractmethod
    def describe(self) -> str:
        """One line for a person."""

    @abstractmethod
    def _log_prob(self, theta: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _to_normal(self, theta: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _from_normal(self, z: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _log_det(self, theta: np.ndarray) -> np.ndarray: ...

    @cached_property
    def _open(self) -> tuple[np.ndarray, np.ndarray]:
        return one_step_inside(self.low, self.high, "float64")

    @property
    def _inner(self) -> tuple[np.ndarray, np.ndarray]:
        return self._open

    @cached_property
    def _innermost(self) -> tuple[np.ndarray, np.ndarray]:
        return one_step_inside(self.low, self.high, self.kind.dtype)

    @cached_property
    def _finite(self) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(self.low, -_LARGEST), np.minimum(self.high, _LARGEST)

    def _strictly(self, theta: np.ndarray) -> np.ndarray:
        return np.clip(theta, *self._inner)

    def _rows(self, rows: np.ndarray, name: str) -> np.ndarray:
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ShapeError(
                f"{name} must have shape (n, {self.dim}), one row for each parameter vector, found {rows.shape}: "
                f"the prior has {self.dim} parameter{'s' * (self.dim != 1)} ({self.describe()})."
            )
        return rows


@dataclass(frozen=True, eq=False)
class Product(Prior):
    """Independent blocks of parameters, side by side. Made by `product`."""

    blocks: tuple[Prior, ...]

    def sample(self, rng: np.random.Generator, num: int) -> np.ndarray:
        return np.concatenate([block.sample(rng, num) for block in self.blocks], axis=1)

    def log_prob_normal(self, z: np.ndarray) -> np.ndarray:
        return np.sum([block.log_prob_normal(part) for block, part in self._parts(self._rows(z, "z"))], axis=0)

    def describe(self) -> str:
        names = [block.describe() for block in self.blocks]
        shown = names if len(names) <= 6 else [*names[:5], "...", names[-1]]
        return f"{len(names)} independent blocks: " + "; ".join(shown)

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.sum([block.log_prob(part) for block, part in self._parts(theta)], axis=0)

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        return np.concatenate([block.to_normal(part) for block, part in self._parts(theta)], axis=1)

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        return np.concatenate([block.from_normal(part) for block, part in self._parts(z)], axis=1)

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return np.sum([block.log_det(part) for block, part in self._parts(theta)], axis=0)

    def _parts(self, rows: np.ndarray) -> list[tuple[Prior, np.ndarray]]:
        ends = np.cumsum([block.dim for block in self.blocks])
        return list(zip(self.blocks, np.split(rows, ends[:-1], axis=1)))


def one_step_inside(low: np.ndarray, high: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The bounds moved inward to the next number of that floating type, as float64; next to zero, to a normal number.

    Example:
        >>> one_step_inside(np.zeros(1), np.ones(1), "float32")
        (array([1.17549435e-37]), array([0.99999994]))
    """
    number, tiny = (
        np.dtype(dtype).type,
        10 * np.finfo(dtype).tiny,
    )  # subnormal ones count as zero in JAX, or once scaled
    with np.errstate(over="ignore"):
        low, high = low.astype(number), high.astype(number)
    inner_low = np.maximum(np.nextafter(low, number(np.inf)), low + tiny)
    inner_high = np.minimum(np.nextafter(high, number(-np.inf)), high - tiny)
    return inner_low.astype(np.float64), inner_high.astype(np.float64)


def product(blocks: Sequence[Prior], kind: Kind) -> Prior:
    """The prior under which the blocks are independent; one block alone stays itself."""
    if len(blocks) == 1:
        return blocks[0]
    low, high = (np.concatenate([getattr(block, bound) for block in blocks]) for bound in ("low", "high"))
    return Product(low, high, kind, tuple(blocks))


def show(values: np.ndarray) -> str:
    """A vector as short text, for `describe`.

    Example:
        >>> show(np.array([1.0, 2.5])), show(np.zeros(20))
        ('[1, 2.5]', '[0, 0, 0, ..., 0, 0, 0]')
    """
    texts = [f"{value:.6g}" for value in np.atleast_1d(values)]
    return "[" + ", ".join(texts if len(texts) <= 8 else [*texts[:3], "...", *texts[-3:]]) + "]"

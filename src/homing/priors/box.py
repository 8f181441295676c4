"""The uniform prior on a box, as users write it (`BoxUniform`) and as the package works with it (`Uniform`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from homing.arrays import NUMPY, Kind, kind_of, library_of, to_numpy
from homing.errors import ArgumentError, PriorError, ShapeError
from homing.priors.prior import NEAR_BOUND, Prior, normal_log_density, show
from homing.random import global_seed


@dataclass(frozen=True, eq=False)
class Uniform(Prior):
    """Uniform on [low, high]. z is the normal quantile of the distance to the nearer bound, exact in both tails."""

    def describe(self) -> str:
        return f"uniform on low={show(self.low)}, high={show(self.high)}"

    def _log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.full(len(theta), -np.log(self.high - self.low).sum())

    def _to_normal(self, theta: np.ndarray) -> np.ndarray:
        below, above = theta - self.low, self.high - theta
        z = np.maximum(ndtri(np.minimum(below, above) / (self.high - self.low)), -NEAR_BOUND)
        return np.where(below < above, z, -z)

    def _from_normal(self, z: np.ndarray) -> np.ndarray:
        distance = ndtr(-np.abs(z)) * (self.high - self.low)
        return np.where(z < 0, self.low + distance, self.high - distance)

    def _log_det(self, theta: np.ndarray) -> np.ndarray:
        return self._log_prob(theta) - normal_log_density(self._to_normal(theta)).sum(1)


class BoxUniform:
    """The uniform distribution on a box: every parameter between its `low` and its `high`, independent of the others.

    The kind of `low` (or of `high`, where `low` is a list) decides what a simulator gets and what samples come back as:
    torch tensors, JAX arrays or NumPy arrays, with their floating type and device.

    Args:
        low: Shape (d,), or a number for one parameter: the lower bounds.
        high: Shape (d,), or a number: the upper bounds.

    Raises:
        PriorError: If the bounds differ in shape, are not finite numbers, or `low` is not below `high` everywhere.

    Example:
        >>> prior = BoxUniform(low=[-1.0, 0.0], high=[1.0, 10.0])
        >>> prior.sample((100,), seed=0).shape
        (100, 2)
        >>> prior.log_prob([[0.0, 5.0], [0.0, 11.0]]).round(3).tolist()
        [-2.996, -inf]
    """

    def __init__(self, low: Any, high: Any) -> None:
        libraries = {library_of(bound) for bound in (low, high)}
        if {"torch", "jax"} <= libraries:
            raise PriorError("BoxUniform takes low and high of one library, found torch and JAX arrays. Convert one.")
        kinds = [kind for kind in map(kind_of, (low, high)) if kind is not None]
        kind = next((kind for kind in kinds if kind.library != "numpy"), kinds[0] if kinds else NUMPY)
        self.prior: Prior = uniform(_bound(low, "low"), _bound(high, "high"), kind)

    @property
    def low(self) -> Any:
        """The lower bounds, shape (d,)."""
        return self.prior.kind.give(self.prior.low)

    @property
    def high(self) -> Any:
        """The upper bounds, shape (d,)."""
        return self.prior.kind.give(self.prior.high)

    @property
    def mean(self) -> Any:
        """The middle of the box, shape (d,)."""
        return self.prior.kind.give((self.prior.low + self.prior.high) / 2)

    @property
    def stddev(self) -> Any:
        """The standard deviations, shape (d,): the widths over the square root of twelve."""
        return self.prior.kind.give((self.prior.high - self.prior.low) / np.sqrt(12))

    def sample(self, sample_shape: int | tuple[int, ...] = (), *, seed: int | None = None) -> Any:
        """Independent draws.

        Args:
            sample_shape: How many, as a number or a shape; one draw by default.
            seed: Makes the draws repeatable. Without it they follow torch's or NumPy's global generator, as those
                libraries' own distributions do, so `torch.manual_seed` holds here too.

        Returns:
            Shape sample_shape + (d,), of the bounds' kind.

        Raises:
            ArgumentError: If sample_shape is not made of non-negative integers.
        """
        shape = (sample_shape,) if isinstance(sample_shape, (int, np.integer)) else tuple(sample_shape)
        if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in shape):
            raise ArgumentError(
                f"sample_shape must be a number or a tuple of numbers, none negative, found {sample_shape!r}; "
                "for example prior.sample((100,))."
            )
        rng = np.random.default_rng(global_seed(self.prior.kind) if seed is None else seed)
        theta = self.prior.sample(rng, int(np.prod(shape, dtype=int)))
        return self.prior.give(theta).reshape(*shape, self.prior.dim)

    def log_prob(self, theta: Any) -> Any:
        """The log-density.

        Args:
            theta: Shape (..., d), of any kind.

        Returns:
            Shape (...), of the bounds' kind; -inf outside the box. No gradient passes through.

        Raises:
            ShapeError: If theta's last axis has not d entries.
        """
        rows = to_numpy(theta, "theta").astype(np.float64)
        dim = self.prior.dim
        if rows.ndim == 0 or rows.shape[-1] != dim:
            raise ShapeError(
                f"theta must have shape (..., {dim}), {dim} parameters in the last axis, found {rows.shape}."
            )
        return self.prior.kind.give(self.prior.log_prob(rows.reshape(-1, dim)).reshape(rows.shape[:-1]))

    def __repr__(self) -> str:
        return f"BoxUniform(low={show(self.prior.low)}, high={show(self.prior.high)})"


def uniform(low: np.ndarray, high: np.ndarray, kind: Kind) -> Uniform:
    """The uniform prior on [low, high], bounds checked.

    Raises:
        PriorError: If the bounds differ in shape, are not finite, or low is not below high everywhere.
    """
    if low.shape != high.shape or low.ndim != 1 or not len(low):
        raise PriorError(
            "low and high must be vectors of one length, with an entry for each parameter, "
            f"found shapes {low.shape} and {high.shape}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.flatnonzero(~((high > low) & np.isfinite(high - low)))
    if len(wrong):
        i = wrong[0]
        raise PriorError(
            "A uniform prior needs finite bounds with low below high, "
            f"found low[{i}]={low[i]:g}, high[{i}]={high[i]:g}. "
            "For a parameter without a bound use another distribution, for example a normal or a log-normal one."
        )
    return Uniform(low, high, kind)


def _bound(value: Any, name: str) -> np.ndarray:
    try:
        return np.atleast_1d(to_numpy(value, name)).astype(np.float64)
    except ArgumentError as error:
        raise PriorError(f"BoxUniform: {error}") from error

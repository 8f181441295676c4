"""A surrogate's log posterior as a JAX function of one z, for samplers that follow its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm

from homing.errors import ArgumentError
from homing.estimators.validity import Validity, polynomial
from homing.priors import Prior
from homing.priors.box import Uniform
from homing.priors.gaussian import Gaussian
from homing.priors.marginals import LogNormal, Normal
from homing.priors.prior import Product


class PriorMap(eqx.Module):
    """z to theta, centred and scaled, for one z: blocks of parameters side by side, by the formulas of their families.

    The scaling is part of the blocks' numbers, so that no theta, whatever its unit, has to be a float32.
    """

    blocks: tuple[tuple[Any, ...], ...]
    families: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, z: Array) -> Array:
        theta, start = [], 0
        for family, arrays in zip(self.families, self.blocks):
            stop = start + arrays[0].shape[0]
            theta.append(_FORMULAS[family](z[start:stop], *arrays))
            start = stop
        return jnp.concatenate(theta)


_FORMULAS: dict[str, Callable[..., Array]] = {
    "uniform": lambda z, low, width: low + width * norm.cdf(z),
    "normal": lambda z, mean, std: mean + std * z,
    "log-normal": lambda z, mean, std, loc: jnp.exp(mean + std * z) - loc,
    "gaussian": lambda z, mean, tril: mean + tril @ z,
}


def prior_map(prior: Prior, loc: np.ndarray, scale: np.ndarray) -> PriorMap:
    """The prior's map as a JAX function, from z to (theta - loc) / scale, each of shape (d,).

    Raises:
        ArgumentError: If it is only known as a NumPy function.
    """
    blocks = prior.blocks if isinstance(prior, Product) else (prior,)
    ends = np.cumsum([block.dim for block in blocks])[:-1]
    told = [_told(*part) for part in zip(blocks, np.split(loc, ends), np.split(scale, ends))]
    arrays = tuple(tuple(np.asarray(array, np.float32) for array in parts) for _, parts in told)
    return PriorMap(arrays, tuple(family for family, _ in told))


def _told(block: Prior, loc: np.ndarray, scale: np.ndarray) -> tuple[str, tuple[np.ndarray, ...]]:
    match block:
        case Uniform():
            return "uniform", ((block.low - loc) / scale, (block.high - block.low) / scale)
        case Normal():
            return "normal", ((block.mean - loc) / scale, block.std / scale)
        case LogNormal():
            return "log-normal", (block.mean - np.log(scale), block.std, loc / scale)
        case Gaussian():
            return "gaussian", ((block.mean - loc) / scale, block.scale_tril / scale[:, None])
    raise ArgumentError(
        f"This sampler follows gradients, and the prior has none that is known: {block.describe()}. Known are uniform, "
        'normal and log-normal ones. sample_with="smc", or mcmc_method="slice", needs densities only.'
    )


class Scaled(eqx.Module):
    """What a surrogate sees of one z: z, centred and scaled."""

    loc: Any
    scale: Any

    def __call__(self, z: Array) -> Array:
        return (z - self.loc) / self.scale


class LogValid(eqx.Module):
    """log p(valid | z) of one z; see `homing.estimators.validity`."""

    loc: Any
    scale: Any
    frequency: Any
    phase: Any
    slope: Any
    offset: Any

    def __call__(self, z: Array) -> Array:
        u = (z - self.loc) / self.scale
        cosines = jnp.cos(u @ self.frequency + self.phase)
        smooth = polynomial(u, self.slope.shape[0] != u.size + cosines.size)
        return jax.nn.log_sigmoid(jnp.concatenate([smooth, cosines]) @ self.slope + self.offset)


def log_valid(validity: Validity) -> LogValid:
    """The classifier as a JAX function."""
    names = ("loc", "scale", "frequency", "phase", "slope", "offset")
    return LogValid(*(np.asarray(getattr(validity, name), np.float32) for name in names))


class LogPosterior(eqx.Module):
    """The sum of a surrogate's log likelihood or ratio over trials, and the log prior, at one z.

    Attributes:
        pairs: (one row of standardised data, what the surrogate sees of z) to a log likelihood: a density of data, or
            a classifier's log ratio.
        data: Standardised data, shape (num_trials, ...).
        seen_as: From z to what the surrogate sees.
        valid: log p(valid | z), or None.
    """

    pairs: Any
    data: Any
    seen_as: Scaled | PriorMap
    valid: LogValid | None

    def __call__(self, z: Array) -> Array:
        u = self.seen_as(z)
        total = jax.vmap(lambda row: self.pairs(row, u))(self.data).sum() - 0.5 * (z**2).sum()
        return total if self.valid is None else total + self.data.shape[0] * self.valid(z)

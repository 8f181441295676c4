r"""The conditional density q(z | x): a linear base, an embedding of x, and a flow or a mixture for what is left.

\(z = A x + b + S \varepsilon\), with \(\varepsilon \sim q(\varepsilon \mid \mathrm{embed}(x))\). A, b and S come in closed form from a ridge regression of z on x: for a simulator that
is nearly linear, a few hundred simulations already determine them, and the network starts from that answer instead of from noise
and has only the residual to learn. As a bijection of \(\varepsilon\), the base changes what the density is made of and never what it can
be, so it is right under any proposal. z is theta in the space in which the prior is a standard normal.

Source: ridge regression with its leave-one-out error in closed form: Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, 2009,
section 7.10, https://hastie.su.domains/ElemStatLearn/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import AbstractDistribution
from jax import Array
from paramax import NonTrainable

from homing.estimators.mixture import Gaussians, MixtureNetwork


class Context(NamedTuple):
    """All that q(. | x) needs of one x: computed once, used for every theta.

    Attributes:
        features: (c,), the embedding of x.
        mean: (d,), the linear base's prediction A x + b.
    """

    features: Array
    mean: Array


class ConditionalDensity(eqx.Module):
    """q(z | x) for one z of shape (d,) and one standardised x of shape x_shape."""

    embedding: Callable[[Array], Array]
    slope: Array | NonTrainable  # (d, p); p = 0 where the base does not look at x
    offset: Array | NonTrainable  # (d,)
    scale: Array | NonTrainable  # (d, d), lower triangular
    whiten: Array | NonTrainable  # its inverse, because thousands of small triangular solves are slow
    core: AbstractDistribution

    def context(self, x: Array) -> Context:
        flat = jnp.ravel(x)
        return Context(jnp.ravel(self.embedding(x)), self.slope @ flat[: self.slope.shape[1]] + self.offset)

    def log_prob(self, z: Array, context: Context) -> Array:
        residual = self.whiten @ (z - context.mean)
        return self.core._log_prob(residual, context.features) + jnp.log(jnp.diagonal(self.whiten)).sum()

    def sample(self, key: Array, context: Context) -> Array:
        return context.mean + self.scale @ self.core._sample(key, context.features)

    def components(self, context: Context) -> Gaussians:
        """The mixture that q(z | x) is, where the core is one."""
        assert isinstance(self.core, MixtureNetwork)
        mixture = self.core.components(context.features)
        precisions = jnp.einsum("ji,kjl,lm->kim", self.whiten, mixture.precisions, self.whiten)
        return Gaussians(mixture.log_weights, context.mean + mixture.means @ self.scale.T, precisions)


class Base(NamedTuple):
    """The linear base: slope (d, p), offset (d,), and the residual's Cholesky factor (d, d)."""

    slope: np.ndarray
    offset: np.ndarray
    scale: np.ndarray


def affine_base(z: np.ndarray, *, standardize: bool = True) -> Base:
    """A base that does not look at x: centres and scales z of shape (n, d), or leaves it as it is."""
    dim = z.shape[1]
    if not standardize:
        return Base(np.zeros((dim, 0)), np.zeros(dim), np.eye(dim))
    return Base(np.zeros((dim, 0)), z.mean(0), np.diag(np.maximum(z.std(0), 1e-6)))


def linear_base(z: np.ndarray, x: np.ndarray) -> Base:
    """The ridge regression of z, shape (n, d), on x, shape (n, p), with the penalty that predicts left-out rows best.

    The residual's covariance is that of the leave-one-out residuals, so it does not shrink when there are few rows.
    """
    x_mean, z_mean = x.mean(0), z.mean(0)
    u, s, vt = np.linalg.svd(x - x_mean, full_matrices=False)
    keep = s > 1e-6 * max(s.max(initial=0.0), 1e-30)
    u, s, vt = u[:, keep], s[keep], vt[keep]
    target = u.T @ (z - z_mean)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for penalty in len(z) * np.logspace(-6, 3, 19):
        shrink = s**2 / (s**2 + penalty)
        leverage = 1 / len(z) + (u**2) @ shrink
        left_out = (z - z_mean - u @ (shrink[:, None] * target)) / np.maximum(1 - leverage, 1e-3)[:, None]
        error = float(np.log((left_out**2).mean(0) + 1e-12).sum())
        if best is None or error < best[0]:
            best = error, left_out, vt.T @ ((s / (s**2 + penalty))[:, None] * target)
    assert best is not None
    _, left_out, slope = best
    covariance = left_out.T @ left_out / len(z)
    covariance += np.diag(1e-4 * np.diagonal(covariance) + 1e-10)
    return Base(slope.T, z_mean - slope.T @ x_mean, np.linalg.cholesky(covariance))


def conditional_density(
    core: AbstractDistribution, base: Base, embedding: Callable[[Array], Array] | None = None
) -> ConditionalDensity:
    """Put a density together from its parts, on the device as float32."""
    arrays = (*base, np.linalg.inv(base.scale))
    fixed = [NonTrainable(jax.device_put(np.asarray(array, np.float32))) for array in arrays]
    return ConditionalDensity(embedding or jnp.ravel, *fixed, core)

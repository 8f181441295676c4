r"""The conditional density q(z | x): a linear base, an embedding of x, and a flow or a mixture for what is left.

\(z = A x + b + S \varepsilon\), with \(\varepsilon \sim q(\varepsilon \mid \mathrm{embed}(x))\). A, b and S come in
closed form from a ridge regression of z on x: for a simulator that is nearly linear, a few hundred simulations already
determine them, and the network starts from that answer instead of from noise and has only the residual to learn. As a
bijection of \(\varepsilon\), the base changes what the density is made of and never what it can be, so it is right
under any proposal. z is theta in the space in which the prior is a standard normal.

Source: ridge regression with its leave-one-out error in closed form: Hastie, Tibshirani, Friedman, *The Elements of
Statistical Learning*, 2009, section 7.10, https://hastie.su.domains/ElemStatLearn/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import AbstractDistribution
from jax import Array
from paramax import NonTrainable

from homing.estimators.embedding import simple_features
from homing.estimators.mixture import Gaussians, MixtureNetwork
from homing.estimators.ridge import Ridge, quadratic


class Context(NamedTuple):
    """All that q(. | x) needs of one x: computed once, used for every theta.

    Attributes:
        features: (c,), the embedding of x.
        mean: (d,), the linear base's prediction A x + b.
    """

    features: Array
    mean: Array


def basis_of(x: Any, embedding: Any, size: int) -> Any:
    """What the linear base is a regression on, from data (n, *x_shape) to (n, size), NumPy or JAX: simple features of
    them and, where the size is that large, their products."""
    simple = simple_features(embedding, x)
    return quadratic(simple) if size > simple.shape[1] else simple[:, :size]


def context_of(x: Array, embedding: Callable[[Array], Array], slope: Array, offset: Array) -> Context:
    """The embedding of one x, and the base's prediction from it."""
    basis = basis_of(x[None], embedding, slope.shape[1])[0]
    return Context(jnp.ravel(embedding(x)), slope @ basis + offset)


class ConditionalDensity(eqx.Module):
    """q(z | x) for one z of shape (d,) and one standardised x of shape x_shape.

    The base is kept wrapped as `NonTrainable`: apply `paramax.unwrap` to the density before calling it.
    """

    embedding: Callable[[Array], Array]
    slope: Array  # (d, p); p = 0 where the base does not look at x
    offset: Array  # (d,)
    scale: Array  # (d, d), lower triangular
    whiten: Array  # its inverse, because thousands of small triangular solves are slow
    core: AbstractDistribution

    def context(self, x: Array) -> Context:
        return context_of(x, self.embedding, self.slope, self.offset)

    def residual(self, z: Array, context: Context) -> Array:
        """What the base leaves of z, in units of its deviation: what the core is a density of."""
        return self.whiten @ (z - context.mean)

    def log_prob(self, z: Array, context: Context) -> Array:
        log_det = jnp.log(jnp.diagonal(self.whiten)).sum()
        return self.core._log_prob(self.residual(z, context), context.features) + log_det

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


def linear_base(z: np.ndarray, x: np.ndarray, *, products: bool = False) -> Base:
    """The ridge regression of z, shape (n, d), on x, shape (n, p), and, if asked, on the products of x's columns.

    The residual's covariance is that of the leave-one-out residuals, so it does not shrink when there are few rows.
    """
    slope, offset, left_out = Ridge(x, products).fit(z)
    covariance = left_out.T @ left_out / len(z)
    covariance += np.diag(1e-4 * np.diagonal(covariance) + 1e-10)
    return Base(slope, offset, np.linalg.cholesky(covariance))


def conditional_density(
    core: AbstractDistribution, base: Base, embedding: Callable[[Array], Array] | None = None
) -> ConditionalDensity:
    """Put a density together from its parts, on the device as float32."""
    constants = fixed(**base._asdict(), whiten=np.linalg.inv(base.scale))
    return ConditionalDensity(embedding=single(embedding or jnp.ravel), core=core, **constants)


def fixed(**arrays: np.ndarray) -> dict[str, Any]:
    """Arrays that are not trained, on the device as float32."""
    return {name: NonTrainable(jax.device_put(a.astype(np.float32))) for name, a in arrays.items()}


def single(embedding: Any) -> Any:
    """A module with its weights as float32."""

    def cast(leaf: Any) -> Any:
        return leaf.astype(np.float32) if eqx.is_array(leaf) and leaf.dtype == np.float64 else leaf

    return jax.tree.map(cast, embedding)

r"""Mixture density networks: a mixture of full-covariance Gaussians, its parameters computed from the context.

\(q(\varepsilon \mid c) = \sum_k w_k(c)\, N(\varepsilon; m_k(c), \Lambda_k(c)^{-1})\), with
\(\Lambda_k = F + U_k^\top U_k\), \(U_k\) upper triangular with a positive diagonal and F a fixed positive semidefinite
floor. The floor is what makes the exact loss of SNPE-C safe: in the space in which the prior is a standard normal,
every component gets a precision of at least the prior's, \(\Lambda_k \succeq I\), as any posterior with a bounded
likelihood has, so that the proposal posterior's precision \(\Lambda_k + \tilde\Lambda_l - I\) is positive definite by
construction.

Factors are made without LAPACK: XLA runs its calls on the workers of a pool, where each waits for others of the same
pool, so that a few of them at a time, in one program or in those of several threads, wait for one another for ever.

Sources: Bishop, *Mixture Density Networks*, 1994, https://publications.aston.ac.uk/id/eprint/373/;
Greenberg, Nonnenmacher, Macke, *Automatic Posterior Transformation for Likelihood-Free Inference*, 2019,
https://arxiv.org/abs/1905.07488.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import AbstractDistribution
from jax import Array
from jax.scipy.special import logsumexp
from paramax import NonTrainable

_ONE = float(np.log(np.expm1(1.0)))  # softplus(_ONE) = 1
_MIN_DIAGONAL = 1e-3


class Gaussians(NamedTuple):
    """A mixture of K Gaussians in precision form; NumPy arrays outside of compiled programs.

    Attributes:
        log_weights: (K,), normalised.
        means: (K, d).
        precisions: (K, d, d).
    """

    log_weights: Any
    means: Any
    precisions: Any


@jax.custom_jvp
def whitener(precision: Array) -> Array:
    r"""The lower triangular W of \(W \Lambda W^\top = I\) for a positive definite Λ of shape (d, d).

    Then \(W^\top \varepsilon\) has the precision Λ, and log det Λ is minus twice the sum of W's log diagonal. By
    Cholesky's algorithm, the row R_k of its factor and the row W_k in one step, each from those above.
    """
    dim = len(precision)
    rows = jnp.concatenate([precision, jnp.eye(dim, dtype=precision.dtype)], axis=1)

    def step(k: Array, done: Array) -> Array:
        row = rows[k] - (done[:, k, None] * done).sum(0)
        return done.at[k].set(row * jax.lax.rsqrt(row[k]))

    return jax.lax.fori_loop(0, dim, step, jnp.zeros_like(rows))[:, dim:]


@whitener.defjvp
def _whitener_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    factor = whitener(*primals)
    change = factor @ tangents[0] @ factor.T
    return factor, -(jnp.tril(change) - 0.5 * jnp.diag(jnp.diag(change))) @ factor


def log_det(whiteners: Array) -> Array:
    """log det Λ of matrices' whiteners, shape (..., d, d)."""
    return -2 * jnp.log(jnp.diagonal(whiteners, axis1=-2, axis2=-1)).sum(-1)


def mixture_log_prob(mixture: Gaussians, z: Array) -> Array:
    """The mixture's log density at one z of shape (d,)."""
    apart = z - mixture.means
    distance = jnp.einsum("ki,kij,kj->k", apart, mixture.precisions, apart)
    half_log_det = 0.5 * log_det(jax.vmap(whitener)(mixture.precisions))
    return logsumexp(mixture.log_weights + half_log_det - 0.5 * distance) - 0.5 * z.size * np.log(2 * np.pi)


class MixtureNetwork(AbstractDistribution):
    """A conditional Gaussian mixture as a flowjax distribution of shape (d,) with condition shape (c,)."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    floor: Array  # (d, d); wrapped as `NonTrainable` until `paramax.unwrap` is applied to the model
    num_components: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] = eqx.field(static=True)

    def components(self, condition: Array) -> Gaussians:
        """The mixture at one context, shape (c,)."""
        h = condition
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            h = jax.nn.silu(weight @ h + bias)
        out = (self.weights[-1] @ h + self.biases[-1]).reshape(self.num_components, -1)
        (dim,) = self.shape
        logits, means, diagonal, above = jnp.split(out, (1, 1 + dim, 1 + 2 * dim), axis=1)
        rows, columns = np.triu_indices(dim, 1)
        factor = jnp.zeros((self.num_components, dim, dim)).at[:, rows, columns].set(above)
        factor += jax.vmap(jnp.diag)(jax.nn.softplus(diagonal + _ONE) + _MIN_DIAGONAL)
        precisions = self.floor + jnp.einsum("kji,kjl->kil", factor, factor)
        return Gaussians(jax.nn.log_softmax(logits[:, 0]), means, precisions)

    def _log_prob(self, x: Array, condition: Array | None = None) -> Array:
        assert condition is not None
        return mixture_log_prob(self.components(condition), x)

    def _sample(self, key: Array, condition: Array | None = None) -> Array:
        assert condition is not None
        mixture = self.components(condition)
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, mixture.log_weights)
        factor = jax.vmap(whitener)(mixture.precisions)[k]  # of each component and not of each draw
        return mixture.means[k] + jax.random.normal(noise, self.shape) @ factor


def mixture_network(
    rng: np.random.Generator,
    *,
    dim: int,
    dim_context: int,
    hidden_features: int,
    num_components: int,
    floor: np.ndarray,
    depth: int = 2,
) -> MixtureNetwork:
    """A mixture density network that starts near the standard normal.

    Args:
        rng: Draws the initial weights.
        dim: Number of parameters d.
        dim_context: Length of the context vector c.
        hidden_features: Width of each hidden layer.
        num_components: Number of Gaussians K.
        floor: Shape (d, d), the precision that every component has at least.
        depth: Number of hidden layers.

    Example:
        >>> import paramax
        >>> rng = np.random.default_rng(0)
        >>> no_floor = np.zeros((2, 2))
        >>> net = mixture_network(rng, dim=2, dim_context=3, hidden_features=8, num_components=4, floor=no_floor)
        >>> paramax.unwrap(net).components(jnp.zeros(3)).precisions.shape
        (4, 2, 2)
    """
    sizes = [dim_context, *[hidden_features] * depth, num_components * (1 + dim + dim + dim * (dim - 1) // 2)]
    weights = [rng.uniform(-1, 1, (o, i)) / np.sqrt(i) for i, o in pairwise(sizes)]
    weights[-1] *= 0.1
    biases = [np.zeros(o) for o in sizes[1:]]
    last = biases[-1].reshape(num_components, -1)
    if num_components > 1:  # break the symmetry
        last[:, 1 : 1 + dim] = 0.5 * rng.standard_normal((num_components, dim))

    def put(arrays: list[np.ndarray]) -> tuple[Array, ...]:
        return tuple(jax.device_put(a.astype(np.float32)) for a in arrays)

    fixed: Any = NonTrainable(*put([floor]))
    return MixtureNetwork(
        weights=put(weights),
        biases=put(biases),
        floor=fixed,
        num_components=num_components,
        shape=(dim,),
        cond_shape=(dim_context,),
    )

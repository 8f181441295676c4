r"""Variational inference: a flow q(z), fitted to the target by the reverse divergence.

\(\min_\phi E_{q_\phi}[\log q_\phi(z) - \log \pi(z)]\), with draws by reparametrisation, from a start that has the mean
and covariance of a short tempered sequential Monte Carlo. A mode-seeking divergence: what q misses it does not see, so
the Pareto shape of the weights \(\pi / q\) is reported, and says whether to believe it.

Sources: Rezende, Mohamed, *Variational inference with normalizing flows*, 2015, https://arxiv.org/abs/1505.05770;
Glöckler, Deistler, Macke, *Variational methods for simulation-based inference*, 2022, https://arxiv.org/abs/2203.04176;
Yao, Vehtari, Simpson, Gelman, *Yes, but did it work?*, 2018, https://arxiv.org/abs/1802.02538.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from paramax import NonTrainable, unwrap

from homing import random
from homing.estimators.autoregressive import autoregressive_flow
from homing.posteriors.sampling.independent import quality
from homing.posteriors.sampling.target import Drawn, Target, check_counts
from homing.posteriors.sampling.tempered import temper
from homing.programs import Program

_PARTICLES = 1024
_JUDGED = 4096  # draws that the fit is judged by
_LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class Variational:
    """A flow fitted to the target. Needs gradients. Reports `"effective"`, as a number of draws, and `"khat"`.

    Attributes:
        num_steps: Gradient steps.
        particles: Draws of the flow in each.
        num_transforms: The flow's layers.
        hidden_features: Width of their hidden layers.
    """

    name: ClassVar[str] = "vi"
    num_steps: int = 1000
    particles: int = 128
    num_transforms: int = 4
    hidden_features: int = 32

    def __post_init__(self) -> None:
        check_counts(self, "num_steps", "particles", "num_transforms", "hidden_features")

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        rng = random.generator(seed, "moves", member)
        start = target.start.sample(_PARTICLES, random.word(seed, "start", member))
        found = temper(start, target.start.log_density, target.log_density, rng).z
        dim = found.shape[1]
        scale = np.linalg.cholesky(np.cov(found.T).reshape(dim, dim) + 1e-10 * np.eye(dim))
        inverted: Any = autoregressive_flow(
            random.generator(seed, "weights", member),
            dim=dim,
            dim_context=1,
            transformer="spline",
            hidden_features=self.hidden_features,
            num_layers=self.num_transforms,
            bins=8,
        ).bijection
        flow = _Flow(
            inverted.bijection,
            *(NonTrainable(array.astype(np.float32)) for array in (found.mean(0), scale)),
        )
        key, sampled = (np.uint32(random.word(seed, name, member)) for name in ("fit", "draws"))
        params, rest = _partition(flow)
        fitted = _fit(flow, target.differentiable(), key, self.num_steps, self.particles)
        flow = eqx.combine(jax.tree.unflatten(jax.tree.structure(params), fitted), rest)
        count = -(-max(num, _JUDGED) // _JUDGED) * _JUDGED
        z, log_q = (np.asarray(array, np.float64) for array in _draw(flow, sampled, count))
        return Drawn(z[:num], quality(target.log_density(z[:_JUDGED]) - log_q[:_JUDGED]))


class _Flow(eqx.Module):
    """Draws with their densities. The layers run from noise to z, in which direction one pass gives both."""

    layers: Any
    mean: Any
    scale: Any

    def __call__(self, key: Array) -> tuple[Array, Array]:
        noise = jax.random.normal(key, self.mean.shape)
        u, log_det = self.layers.transform_and_log_det(noise, jnp.zeros(1))
        log_det += jnp.log(jnp.diagonal(self.scale)).sum()
        return self.mean + self.scale @ u, jax.scipy.stats.norm.logpdf(noise).sum() - log_det


def _partition(flow: Any) -> tuple[Any, Any]:
    """The trainable arrays, and the rest."""
    return eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))


@Program
def _fit(flow: Any, target: Any, seed: Any, num_steps: int, particles: int) -> list[Array]:
    params, rest = _partition(flow)
    log_density = unwrap(target)
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))
    )

    def loss(params: Any, key: Array) -> Array:
        z, log_q = jax.vmap(unwrap(eqx.combine(params, rest)))(jax.random.split(key, particles))
        return (log_q - jax.vmap(log_density)(z)).mean()

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        grads = jax.grad(loss)(params, key)
        updates, new_state = optimizer.update(grads, state, params)
        finite = jnp.all(jnp.stack([jnp.isfinite(part).all() for part in jax.tree.leaves(grads)]))
        new = optax.apply_updates(params, updates), new_state
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, carry), None

    keys = jax.random.split(jax.random.key(seed), num_steps)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return jax.tree.leaves(params)  # a module cannot be the result of a program that is stored


@Program
def _draw(flow: Any, seed: Any, num: int) -> tuple[Array, Array]:
    return jax.vmap(unwrap(flow))(jax.random.split(jax.random.key(seed), num))

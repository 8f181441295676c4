"""Hamiltonian Monte Carlo and NUTS by blackjax, as one compiled program for all chains.

The chains move in coordinates in which the target has about unit covariance. They share a step size, which follows
their mean acceptance by dual averaging while they warm up. HMC's trajectories are of random length: those of one length
come back to where they were, or to the opposite, on a normal density of unit covariance.

Sources: Hoffman, Gelman, *The No-U-Turn Sampler*, 2014, https://arxiv.org/abs/1111.4246; Neal, *MCMC using Hamiltonian
dynamics*, 2011, https://arxiv.org/abs/1206.1901 (random lengths); Cabezas et al., *BlackJAX*, 2024,
https://arxiv.org/abs/2402.10797.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from paramax import unwrap

from homing.programs import Program

_ACCEPTANCE = 0.8
_MOST_DOUBLINGS = 6


@Program
def _run(
    model: Any, chains: Any, mean: Any, scale: Any, seed: Any, warmup: int, steps: int, leapfrog: int
) -> tuple[Array, Array]:
    from blackjax.adaptation.step_size import dual_averaging_adaptation
    from blackjax.mcmc import hmc, nuts

    target = unwrap(model)

    def log_density(u: Array) -> Array:
        return target(mean + scale @ u)

    start, update, final = dual_averaging_adaptation(_ACCEPTANCE)
    whole = nuts.build_kernel() if leapfrog == 0 else hmc.build_kernel()
    limit = _MOST_DOUBLINGS if leapfrog == 0 else leapfrog
    unit = jnp.ones(mean.shape[0])

    def move(state: Any, key: Any, step_size: Any, length: Any) -> Any:
        state, info = whole(key, state, log_density, step_size, unit, length)
        return state, info.acceptance_rate, info.is_divergent

    def moves(states: Any, key: Array, step_size: Any) -> Any:
        by_chance = jax.random.fold_in(key, len(chains))
        length = limit if leapfrog == 0 else jax.random.randint(by_chance, (), 1, limit + 1)
        return jax.vmap(move, in_axes=(0, 0, None, None))(states, jax.random.split(key, len(chains)), step_size, length)

    def warm(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
        states, adaptation = carry
        step_size = jnp.exp(adaptation.log_step_size)
        states, acceptance, _ = moves(states, key, step_size)
        return (states, update(adaptation, acceptance.mean())), None

    def sample(states: Any, key: Array) -> tuple[Any, tuple[Array, Array]]:
        states, _, divergent = moves(states, key, step_size)
        return states, (states.position, divergent.sum())

    keys = jax.random.split(jax.random.key(seed), warmup + steps)
    states = jax.vmap(lambda u: hmc.init(u, log_density))(chains)
    (states, adaptation), _ = jax.lax.scan(warm, (states, start(0.5)), keys[:warmup])
    step_size = final(adaptation)
    _, (positions, divergences) = jax.lax.scan(sample, states, keys[warmup:])
    return positions @ scale.T + mean, divergences.sum()


def run_chains(
    model: Any, chains: np.ndarray, scale: np.ndarray, warmup: int, steps: int, seed: int, leapfrog: int
) -> tuple[np.ndarray, float]:
    """Every state after the warm-up, shape (steps, chains, d), and how many trajectories diverged.

    Args:
        model: An equinox module that gives the log density of one z.
        chains: Where they start, shape (chains, d).
        scale: Lower Cholesky factor of about the target's covariance, shape (d, d).
        warmup: Steps to adapt in.
        steps: Steps after that.
        seed: Below 2**32.
        leapfrog: The most steps of a trajectory; 0 lets NUTS choose.
    """
    mean = chains.mean(0)
    whitened = np.linalg.solve(scale, (chains - mean).T).T
    arrays = [array.astype(np.float32) for array in (whitened, mean, scale)]
    positions, divergences = _run(model, *arrays, np.uint32(seed), max(warmup, 20), steps, leapfrog)
    return np.asarray(positions, np.float64), float(divergences)

r"""Losses of neural posterior estimation, each for one mini-batch, as values: equal losses compare equal.

Notation: prior p, proposal p̃, estimator q; rows (z_i, x_i) with z_i ~ p̃ and x_i from the simulator; z is theta in the
space where the prior is a standard normal, or close to it.

Maximum likelihood: \(-\log q(z_i \mid x_i)\). Its optimum is the posterior when z ~ p; and, for rows drawn from the
prior cut to a region, the posterior within that region.

Atomic (SNPE-C, APT): with atoms \(z_{i0} = z_i\) and \(z_{ik}\) the parameters of K - 1 other rows of the batch,
\(-\log \frac{q(z_{i0} \mid x_i) / p(z_{i0})}{\sum_k q(z_{ik} \mid x_i) / p(z_{ik})}\). Its optimum is the posterior
under any proposal, on the proposal's support, up to a factor that depends on x alone: mass where no atoms lie costs
nothing, which is why the share of the posterior's mass at the prior's bounds is measured each round.

Non-atomic (SNPE-C, for mixtures of Gaussians): the proposal posterior
\(\tilde q(z \mid x) \propto q(z \mid x)\, \tilde p(z) / p(z)\) in closed form. With p = N(0, I), and components
\((w_k, m_k, \Lambda_k)\) of q and \((v_l, n_l, M_l)\) of p̃, \(Z = \sum_{kl} w_k v_l Z_{kl}\),
\(\log Z_{kl} = \tfrac12 [\log|\Lambda_k| + \log|M_l| - \log|P_{kl}|
- \delta_{kl}^\top \Lambda_k \delta_{kl} + n_l^\top n_l + g_{kl}^\top P_{kl}^{-1} g_{kl}]\), with
\(P_{kl} = \Lambda_k + M_l - I\), \(\delta_{kl} = m_k - n_l\), \(g_{kl} = \Lambda_k \delta_{kl} + n_l\): the origin is
moved to the proposal's mean, so that no digits are lost where both are narrow. Each row is corrected for the proposal
it came from, so the rows of all rounds are used.

Source: Greenberg, Nonnenmacher, Macke, *Automatic Posterior Transformation for Likelihood-Free Inference*, 2019,
https://arxiv.org/abs/1905.07488, equations 2 to 4 and appendix A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from homing.errors import ArgumentError
from homing.estimators import ConditionalDensity, Gaussians, ProbabilityFlow
from homing.estimators.mixture import log_det, whitener


class Rows(NamedTuple):
    """Simulations as the losses see them; every leaf has the rows as its leading axis, and is NumPy outside of `fit`.

    Attributes:
        z: (n, d).
        x: (n, *x_shape), standardised.
        log_prior: (n,), the prior's log density at z, in the space of z.
        weight: (n,), what the row counts for in a maximum-likelihood loss.
        source: (n,) int, index of the row's proposal; 0 is the prior.
        key: (n,) JAX random keys, which `fit` brings, for losses that draw noise: a training row has another one in
            each epoch, a validation row the same in all, so that validation losses can be compared.
    """

    z: Any
    x: Any
    log_prior: Any
    weight: Any
    source: Any
    key: Any = None


class Loss(Protocol):
    """A loss: (estimator, batch, number of distinct rows at its start, proposals) to one value a row, shape (B,)."""

    name: ClassVar[str]

    def __call__(self, density: Any, batch: Rows, num_rows: Array, proposals: Gaussians | None) -> Array: ...


def _refuse_fields(density: ConditionalDensity) -> None:
    """Each density of a velocity field is the solution of an equation, far too slow to train by."""
    if isinstance(getattr(density, "core", None), ProbabilityFlow):
        raise ArgumentError(
            'posterior_nn("cnf") is a velocity field, which is trained by regression, not by its density: pass it to '
            'FMPE or NPSE; for SNPE choose "maf", "nsf" or "mdn".'
        )


def _negative_log_prob(density: ConditionalDensity, batch: Rows) -> Array:
    _refuse_fields(density)
    return -jax.vmap(lambda z, x: density.log_prob(z, density.context(x)))(batch.z, batch.x)


@dataclass(frozen=True)
class MaximumLikelihood:
    """Minus the log density of each row's own theta, times its weight."""

    name: ClassVar[str] = "maximum likelihood"

    def __call__(self, density: ConditionalDensity, batch: Rows, num_rows: Array, proposals: Gaussians | None) -> Array:
        return batch.weight * _negative_log_prob(density, batch)


@dataclass(frozen=True)
class Atomic:
    """SNPE-C's atomic loss; with `combined`, plus maximum likelihood on the rows that came from the prior.

    The other atoms of row i are rows i + 1, ..., i + K - 1 of the batch, counted round its end: batches are in random
    order, so this is a uniform choice without replacement.
    """

    name: ClassVar[str] = "atomic"
    num_atoms: int = 10
    combined: bool = False

    def __call__(self, density: ConditionalDensity, batch: Rows, num_rows: Array, proposals: Gaussians | None) -> Array:
        _refuse_fields(density)
        atoms = jnp.arange(self.num_atoms)
        which = (jnp.arange(len(batch.z))[:, None] + atoms) % num_rows

        def row(x: Array, z: Array, log_prior: Array) -> tuple[Array, Array]:
            context = density.context(x)
            log_q = jax.vmap(lambda atom: density.log_prob(atom, context))(z)
            ratio = jnp.where(atoms < num_rows, log_q - log_prior, -jnp.inf)
            return logsumexp(ratio) - ratio[0], -log_q[0]

        contrast, negative_log_q = jax.vmap(row)(batch.x, batch.z[which], batch.log_prior[which])
        if self.combined:
            contrast = contrast + jnp.where(batch.source == 0, negative_log_q, 0.0)
        return contrast


@dataclass(frozen=True)
class NonAtomic:
    """SNPE-C's exact loss for a mixture density network.

    `proposals` holds the mixture of each source; source 0 is the prior, N(0, I).
    """

    name: ClassVar[str] = "non-atomic"

    def __call__(self, density: ConditionalDensity, batch: Rows, num_rows: Array, proposals: Gaussians | None) -> Array:
        assert proposals is not None

        def row(z: Array, x: Array, source: Array) -> Array:
            context = density.context(x)
            proposal = Gaussians(*(leaf[source] for leaf in proposals))
            return log_overlap(density.components(context), proposal) - density.log_prob(z, context)

        return jax.vmap(row)(batch.z, batch.x, batch.source)


def log_overlap(q: Gaussians, proposal: Gaussians) -> Array:
    r"""\(\log \int q(z)\, \tilde p(z) / N(z; 0, I)\, dz\) for two mixtures whose precisions are all at least I."""

    def weights(mixture: Gaussians) -> Array:
        return mixture.log_weights + 0.5 * log_det(jax.vmap(whitener)(mixture.precisions))

    apart = q.means[:, None] - proposal.means[None]
    pull = jnp.einsum("kij,klj->kli", q.precisions, apart)
    joint = q.precisions[:, None] + proposal.precisions[None] - jnp.eye(apart.shape[-1])
    factor = jax.vmap(jax.vmap(whitener))(joint)
    whitened = jnp.einsum("klij,klj->kli", factor, pull + proposal.means)
    exponent = (whitened**2).sum(-1) + (proposal.means**2).sum(-1) - (apart * pull).sum(-1)
    return logsumexp(weights(q)[:, None] + weights(proposal)[None] - 0.5 * log_det(factor) + 0.5 * exponent)

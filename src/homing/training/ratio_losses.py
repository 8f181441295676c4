r"""Losses of neural ratio estimation, each for one mini-batch, as values: equal losses compare equal.

Notation: rows (z_i, x_i) of weight w_i with z_i ~ p̃, the mixture of all rounds' proposals, and x_i from the simulator;
f(z, x) the estimator. A row of weight w counts as w rows, weights being one on average: the rows stand for
\(\tilde p_w(z) \propto w(z)\, \tilde p(z)\) with the data \(\tilde p_w(x) = \int p(x \mid z)\, \tilde p_w(z)\, dz\).

What is told apart are the row's own parameters \(z_{i0} = z_i\) and the contrasts \(z_{ik}\), those of the K - 1 rows
after it in the batch, counted round its end: batches are in random order, so this is a uniform choice without
replacement. Contrasts are drawn from p̃, whatever their weights; so that the weights cancel from f, the logits are
\(g_{ik} = f(z_{ik}, x_i) + \log w_{ik}\), and row i counts w_i. With equal weights this is what is published.

All are right under any proposal, because a proposal enters the joint pairs and the contrasts alike: the optimum is

\(f(z, x) = \log p(x \mid z) - \log \tilde p_w(x)\)

for `NRE_A`, `BNRE` and `NRE_C`, and this plus any function of x for `NRE_B`. For one x that is the log likelihood up to
a constant: with rows of any number of rounds, \(p(z \mid x_o) \propto p(z)\, e^{f(z, x_o)}\). It is learned only where
the rows' z are. Normalised by the *prior's* evidence, as some diagnostics need, it is only for rows from the prior.

There are more contrasts than published, because x is embedded once for all of them and simulations cost more. With
1,000 simulations, mean of two seeds, what held-out rows told about z in nats, two moons and SLCP: NRE-A with 1 and 9
contrasts 3.8, 1.3 and 4.0, 1.3; NRE-B with 9 and 49 3.7, 1.5 and 4.2, 1.7; NRE-C with 5 and 50 4.2, 1.5 and 4.4, 1.7.
Time grows with their number. The defaults, 19 of NRE-B (20 atoms) and 20 of NRE-C, are between: after three rounds on
SLCP, NRE-B with 10, 20 and 50 atoms had the same C2ST, .97, in 54 s with 20 and 96 s with 50; with 10 and 20 atoms it
was .64 and .56 on two moons, and .72 and .78, so worse, on Lotka-Volterra (one run each).

Sources: Hermans, Begy, Louppe, *Likelihood-free MCMC with Amortized Approximate Ratio Estimators*, 2020,
    https://arxiv.org/abs/1903.04057; Durkan, Murray, Papamakarios, *On Contrastive Learning for Likelihood-free
    Inference*, 2020, https://arxiv.org/abs/2002.03712; Miller, Weniger, Forré, *Contrastive Neural Ratio Estimation*,
    2022, https://arxiv.org/abs/2210.06170; Delaunoy, Hermans, Rozet, Wehenkel, Louppe, *Towards Reliable
    Simulation-Based Inference with Balanced Neural Ratio Estimation*, 2022, https://arxiv.org/abs/2208.13624.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from homing.estimators import Context
from homing.training.losses import Rows

_LEAST_WEIGHT = 1e-30


class HasLogRatio(Protocol):
    """What these losses train: `RatioEstimator`, or what speaks like it."""

    def context(self, x: Array) -> Context: ...

    def log_ratio(self, z: Array, context: Context) -> Array: ...


def _logits(ratio: HasLogRatio, batch: Rows, num_rows: Array, num_contrasts: int) -> tuple[Array, Array]:
    """Each row's own logit and its contrasts', (B, 1 + num_contrasts), -inf where rows are too few; and how many
    contrasts are rows of their own: one at least, though a single row has to be its own."""
    atoms = jnp.arange(1 + num_contrasts)
    which = (jnp.arange(len(batch.z))[:, None] + atoms) % num_rows
    log_weight = jnp.log(jnp.maximum(batch.weight, _LEAST_WEIGHT))

    def row(x: Array, z: Array) -> Array:
        context = ratio.context(x)
        return jax.vmap(lambda atom: ratio.log_ratio(atom, context))(z)

    logits = jax.vmap(row)(batch.x, batch.z[which]) + log_weight[which]
    count = jnp.clip(num_rows - 1, 1, num_contrasts)
    return jnp.where(atoms <= count, logits, -jnp.inf), count


@dataclass(frozen=True)
class NRE_A:
    r"""Binary cross entropy: \(-\log \sigma(g_{i0}) - \frac{1}{K - 1} \sum_{k \ge 1} \log (1 - \sigma(g_{ik}))\).

    Published with K = 2, one contrast a row. More have the same mean and a smaller variance.

    Attributes:
        num_atoms: K, contrasts and the row itself.

    Source: Hermans, Begy, Louppe, 2020, algorithm 1.
    """

    name: ClassVar[str] = "NRE-A"
    num_atoms: int = 10

    def __call__(self, density: HasLogRatio, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        logits, count = _logits(density, batch, num_rows, self.num_atoms - 1)
        return batch.weight * _binary(logits, count)


def _binary(logits: Array, count: Array) -> Array:
    return jax.nn.softplus(-logits[:, 0]) + jax.nn.softplus(logits[:, 1:]).sum(1) / count


@dataclass(frozen=True)
class BNRE:
    r"""NRE-A's loss and a penalty for imbalance, \(\lambda\, (E[\sigma(g_{i0})] + E[\sigma(g_{ik})] - 1)^2\).

    The means are over the batch's joint pairs and its contrasts. They add up to one at NRE-A's optimum, which is this
    one's too; a classifier that is not there yet is more careful: its posteriors are rather too wide than too narrow.

    Attributes:
        num_atoms: K, contrasts and the row itself; published with 2.
        regularization: The penalty's strength λ.

    Source: Delaunoy, Hermans, Rozet, Wehenkel, Louppe, 2022, section 3.
    """

    name: ClassVar[str] = "BNRE"
    num_atoms: int = 10
    regularization: float = 100.0

    def __call__(self, density: HasLogRatio, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        logits, count = _logits(density, batch, num_rows, self.num_atoms - 1)
        likely = jax.nn.sigmoid(logits)
        balance = batch.weight * (likely[:, 0] + likely[:, 1:].sum(1) / count)
        mean = jnp.where(jnp.arange(len(balance)) < num_rows, balance, 0.0).sum() / num_rows
        return batch.weight * _binary(logits, count) + self.regularization * (mean - 1) ** 2


@dataclass(frozen=True)
class NRE_B:
    r"""Cross entropy of K classes, which of the parameters x came from: \(\log \sum_{k < K} e^{g_{ik}} - g_{i0}\).

    f is known up to any function of x: enough for a posterior at one x_o, not for a ratio between data.

    Attributes:
        num_atoms: K, contrasts and the row itself; published with 10.

    Source: Durkan, Murray, Papamakarios, 2020, section 2.
    """

    name: ClassVar[str] = "NRE-B"
    num_atoms: int = 20

    def __call__(self, density: HasLogRatio, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        logits, _ = _logits(density, batch, num_rows, self.num_atoms - 1)
        return batch.weight * (logsumexp(logits, axis=1) - logits[:, 0])


@dataclass(frozen=True)
class NRE_C:
    r"""Cross entropy of K + 1 classes, which of K parameters x came from, or none of them.

    \(\frac{\gamma}{1 + \gamma} [\log(K + \gamma \sum_{0 \le k < K} e^{g_{ik}}) - \log \gamma - g_{i0}]
    + \frac{1}{1 + \gamma} [\log(K + \gamma \sum_{1 \le k \le K} e^{g_{ik}}) - \log K]\)

    The last class pins what NRE-B leaves open: f is the ratio itself. K = 1 and γ = 1 is half of NRE-A.

    Attributes:
        num_classes: K; published with 5 and more.
        gamma: The odds that x came from one of them.

    Source: Miller, Weniger, Forré, 2022, section 2.
    """

    name: ClassVar[str] = "NRE-C"
    num_classes: int = 20
    gamma: float = 1.0

    def __call__(self, density: HasLogRatio, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        logits, count = _logits(density, batch, num_rows, self.num_classes)
        with_own = jnp.where(jnp.arange(logits.shape[1]) < count, logits, -jnp.inf)
        log_k, log_gamma = jnp.log(count), float(np.log(self.gamma))
        one_of_them = jnp.logaddexp(log_k, log_gamma + logsumexp(with_own, axis=1)) - log_gamma - logits[:, 0]
        none = jnp.logaddexp(log_k, log_gamma + logsumexp(logits[:, 1:], axis=1)) - log_k
        return batch.weight * (self.gamma * one_of_them + none) / (1 + self.gamma)

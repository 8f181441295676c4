r"""Losses that teach a velocity field by regression, without solving its equation.

Notation as in `homing.estimators.velocity`: e is noise, z what the linear base leaves of a row's parameters, \(y_a =
\cos(a)\, e + \sin(a)\, z\), \(w_a = \cos(a)\, z - \sin(a)\, e\), and v the network. Both losses are

\(E_a\, E_e\; \lambda(a)\, |w_a - v(y_a, a, x)|^2,\)

whose optimum, for any λ > 0, is the field of the posterior where z ~ p; λ and the distribution of a say where an error
counts. Rows drawn from the prior cut to a region teach the posterior within it, and a row of weight w counts as w rows,
as in maximum likelihood: there is no other correction for rows of later rounds.

For each row `num_draws` angles, one from each part of their range, and noises are drawn from the row's key.

Sources: Lipman, Chen, Ben-Hamu, Nickel, Le, *Flow Matching for Generative Modeling*, 2023,
    https://arxiv.org/abs/2210.02747; Wildberger, Dax, Buchholz, Green, Macke, Schölkopf, *Flow Matching for Scalable
    Simulation-Based Inference*, 2023, https://arxiv.org/abs/2305.17161; Song, Sohl-Dickstein, Kingma, Kumar, Ermon,
    Poole, *Score-Based Generative Modeling through Stochastic Differential Equations*, 2021,
    https://arxiv.org/abs/2011.13456; Geffner, Papamakarios, Mnih, *Compositional Score Modeling for Simulation-Based
    Inference*, 2023, https://arxiv.org/abs/2209.14249; Sharrock, Simons, Liu, Beaumont, *Sequential Neural Score
    Estimation: Likelihood-Free Inference with Conditional Score Based Diffusion Models*, 2024,
    https://arxiv.org/abs/2210.04872.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from homing.estimators import ConditionalDensity, ProbabilityFlow
from homing.estimators.velocity import END
from homing.training.losses import Rows

_BETA_MIN, _BETA_MAX = 0.1, 20.0


def _regression(
    density: ConditionalDensity, batch: Rows, num_draws: int, place: Callable[[Array], tuple[Array, Array]]
) -> Array:
    """The rows' mean errors, shape (B,); `place` takes a number in [0, 1) to an angle and what an error there counts."""
    core = density.core
    assert isinstance(core, ProbabilityFlow)

    def row(z: Array, x: Array, key: Array) -> Array:
        context = density.context(x)
        target = density.residual(z, context)
        for_place, for_noise = jax.random.split(key)
        places = (jnp.arange(num_draws) + jax.random.uniform(for_place)) / num_draws

        def error(u: Array, noise: Array) -> Array:
            angle, counts = place(u)
            y = jnp.cos(angle) * noise + jnp.sin(angle) * target
            w = jnp.cos(angle) * target - jnp.sin(angle) * noise
            return counts * ((w - core.velocity(y, angle, context.features)) ** 2).sum()

        return jax.vmap(error)(places, jax.random.normal(for_noise, (num_draws, target.size))).mean()

    return batch.weight * jax.vmap(row)(batch.z, batch.x, batch.key)


@dataclass(frozen=True)
class FlowMatching:
    r"""Regression on the velocity of straight paths, \(E_{t \sim U(0, 1)} |z - e - u(t z + (1 - t) e, t, x)|^2\).

    On the circle this is \(\lambda = \pi / 2\) with a uniform: dt / σ_t² = da.

    Attributes:
        num_draws: Times and noises a row, each time it is seen.

    Source: Lipman et al., 2023, equation 23 with σ_min = 0.
    """

    name: ClassVar[str] = "flow matching"
    num_draws: int = 8

    def __call__(self, density: ConditionalDensity, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        return _regression(density, batch, self.num_draws, lambda u: (END * u, jnp.float32(END)))


@dataclass(frozen=True)
class DenoisingScore:
    r"""Denoising score matching, \(E_{s \sim U(0, 1)}\, \sigma_s^2\, |\nabla \log p(y_s \mid z) - S(y_s, s, x)|^2\).

    The diffusion keeps the variance: \(\alpha_s = \sin a = \exp(-\tfrac12 \int_0^s \beta)\), \(\sigma_s = \cos a\), β
    linear from 0.1 to 20. It is the one whose paths are the circle's, so one field serves scores and flow matching. The
    weight σ² makes the loss the error of the predicted noise, which is of one size at all times; on the circle λ =
    sin²(a).

    Attributes:
        num_draws: Times and noises a row, each time it is seen.

    Source: Song et al., 2021, equations 7 and 11; Geffner et al., 2023, section 2.
    """

    name: ClassVar[str] = "denoising score matching"
    num_draws: int = 8

    def __call__(self, density: ConditionalDensity, batch: Rows, num_rows: Array, proposals: Any) -> Array:
        return _regression(density, batch, self.num_draws, _diffused)


def _diffused(s: Array) -> tuple[Array, Array]:
    """The angle at time s of the diffusion, and the squared share of the data."""
    total = _BETA_MIN * s + 0.5 * (_BETA_MAX - _BETA_MIN) * s**2
    shares = jnp.exp(-0.5 * total), jnp.sqrt(-jnp.expm1(-total))
    return jnp.arctan2(*shares), shares[0] ** 2

r"""The other side: a density of the data given the parameters, q(x | theta).

Learned by maximum likelihood from rows of any proposal, it needs no correction. Its base is a regression of the
(mapped, standardised) data on the parameters and their products, \(x = A\, \mathrm{quadratic}(u) + b + S \varepsilon\):
near the posterior most simulators are smooth, so that a few hundred runs determine mean and covariance, and the flow is
left with what is not Gaussian.

Sources: Wood, *Statistical inference for noisy nonlinear ecological dynamic systems*, 2010,
    https://doi.org/10.1038/nature09319 (Gaussian synthetic likelihood); Papamakarios, Sterratt, Murray, *Sequential
    Neural Likelihood*, 2019, https://arxiv.org/abs/1805.07226.
"""

from __future__ import annotations

import numpy as np

from homing.estimators.autoregressive import autoregressive_flow
from homing.estimators.density import ConditionalDensity, conditional_density, linear_base

MAX_PRODUCTS = 12  # parameters up to which their products enter the base


def likelihood_density(
    x: np.ndarray, u: np.ndarray, rng: np.random.Generator, *, hidden_features: int = 50, num_layers: int = 5
) -> ConditionalDensity:
    """A fresh density of standardised data x, shape (n, p), given standardised parameters u, shape (n, d)."""
    base = linear_base(x.astype(np.float64), u.astype(np.float64), products=u.shape[1] <= MAX_PRODUCTS)
    core = autoregressive_flow(
        rng,
        dim=x.shape[1],
        dim_context=u.shape[1],
        transformer="affine",
        hidden_features=hidden_features,
        num_layers=num_layers,
        depth=2,
    )
    return conditional_density(core, base)

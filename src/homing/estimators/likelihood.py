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

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homing.errors import ArgumentError
from homing.estimators.autoregressive import autoregressive_flow
from homing.estimators.density import ConditionalDensity, conditional_density, linear_base

MAX_PRODUCTS = 12  # parameters up to which their products enter the base


@dataclass(frozen=True)
class LikelihoodBuilder:
    """The package's own densities of data; see `likelihood_nn` for the fields."""

    model: Literal["maf", "nsf"] = "maf"
    hidden_features: int = 50
    num_transforms: int = 5
    num_bins: int = 8

    def __call__(self, x: np.ndarray, u: np.ndarray, rng: np.random.Generator) -> ConditionalDensity:
        """A fresh density of standardised data x, shape (n, p), given standardised parameters u, shape (n, d)."""
        base = linear_base(x.astype(np.float64), u.astype(np.float64), products=u.shape[1] <= MAX_PRODUCTS)
        core = autoregressive_flow(
            rng,
            dim=x.shape[1],
            dim_context=u.shape[1],
            transformer="affine" if self.model == "maf" else "spline",
            hidden_features=self.hidden_features,
            num_layers=self.num_transforms,
            depth=2,
            bins=self.num_bins,
        )
        return conditional_density(core, base)


def likelihood_nn(
    model: Literal["maf", "nsf"] = "maf", *, hidden_features: int = 50, num_transforms: int = 5, num_bins: int = 8
) -> LikelihoodBuilder:
    """Describe an estimator of the likelihood q(x | theta), to be passed to `SNLE` as `density_estimator`.

    Args:
        model: `"maf"`, a masked autoregressive flow, or `"nsf"`, the same with rational-quadratic splines.
        hidden_features: Width of the two hidden layers.
        num_transforms: Layers of the flow.
        num_bins: Bins of a spline flow.

    Raises:
        ArgumentError: If the name is unknown or a size is not a positive whole number.

    Example:
        >>> likelihood_nn("nsf", num_transforms=3).num_transforms
        3
    """
    if model not in ("maf", "nsf"):
        raise ArgumentError(f'model must be "maf" or "nsf", found {model!r}.')
    sizes = {"hidden_features": hidden_features, "num_transforms": num_transforms, "num_bins": num_bins}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < (2 if name == "num_bins" else 1):
            raise ArgumentError(f"{name} must be a positive whole number (bins at least 2), found {size!r}.")
    return LikelihoodBuilder(model, **sizes)

"""The prior of some of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from homing.errors import PriorError
from homing.priors.box import Uniform
from homing.priors.gaussian import Gaussian, gaussian
from homing.priors.marginals import LogNormal, Normal
from homing.priors.prior import Prior, Product, product


def marginal(prior: Prior, parameters: Sequence[int]) -> Prior:
    """The prior's marginal.

    Args:
        prior: The prior.
        parameters: Distinct indices, in the order wanted; those of one correlated block side by side.

    Raises:
        PriorError: If it is not known: the prior is given by `sample` and `log_prob` only.

    Example:
        >>> from homing.priors import as_prior
        >>> from scipy.stats import gamma, norm
        >>> marginal(as_prior([norm(0, 1), gamma(2.0), norm(5, 1)]), [2, 0]).dim
        2
    """
    chosen = list(parameters)
    if chosen == list(range(prior.dim)):
        return prior
    match prior:
        case Uniform():
            return Uniform(prior.low[chosen], prior.high[chosen], prior.kind)
        case Normal() | LogNormal():
            bounds = prior.low[chosen], prior.high[chosen]
            return type(prior)(*bounds, prior.kind, prior.mean[chosen], prior.std[chosen])
        case Gaussian():
            return gaussian(prior.mean[chosen], prior.covariance[np.ix_(chosen, chosen)], prior.kind)
        case Product():
            owner = [(b, k) for b, block in enumerate(prior.blocks) for k in range(block.dim)]
            groups = [
                (b, [k for _, k in group]) for b, group in groupby((owner[j] for j in chosen), lambda pair: pair[0])
            ]
            separated = {b for b, _ in groups if sum(b == other for other, _ in groups) > 1}
            if not any(isinstance(prior.blocks[b], Gaussian) for b in separated):
                return product([marginal(prior.blocks[b], within) for b, within in groups], prior.kind)
            raise PriorError(f"Parameters of one correlated block of the prior must be side by side, found {chosen}.")
    raise PriorError(
        f"The marginal of the prior is not known, {prior.describe()}: it is given by its joint density only. Give "
        "independent parameters as a list of one-dimensional distributions."
    )

"""A look at what was learned, right after it was learned."""

from __future__ import annotations

import warnings

import numpy as np

from homing.inference.learn import Dataset
from homing.posteriors import DirectPosterior
from homing.training import Atomic, Loss

_AUDITED_X = 8  # held-out x at which the boundary is looked at while there is no default x


def audit_boundary(posterior: DirectPosterior, data: Dataset, loss: Loss) -> float:
    """The share of mass at the prior's bounds, at the default x or over some held-out ones; warns of a pile."""
    if posterior.default_x is not None:
        at_x = [posterior.boundary()]
    else:
        at_x = [posterior.boundary(x) for x in data.x[data.is_validation][:_AUDITED_X]]
    piled = [boundary for boundary in at_x if boundary.is_piled]
    if isinstance(loss, Atomic) and 2 * len(piled) > len(at_x):
        warnings.warn(
            f"{piled[0].mass:.1%} of the posterior's mass is piled up in the outermost 0.5 % of the prior's mass, "
            f"for {piled[0].where}. The atomic loss does not see mass where no atoms lie. Compare with one round of "
            "as many simulations from the prior.",
            stacklevel=4,
        )
    return float(np.mean([boundary.mass for boundary in at_x]))

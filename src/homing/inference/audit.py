"""A look at what was learned, right after it was learned."""

from __future__ import annotations

import numpy as np

from homing.errors import warn
from homing.inference.learn import Dataset
from homing.posteriors import DirectPosterior
from homing.posteriors.observation import LARGEST
from homing.training import Atomic, Loss

_AUDITED_X = 8  # held-out x at which the boundary is looked at while there is no default x


def audit_boundary(posterior: DirectPosterior, data: Dataset, loss: Loss) -> float | None:
    """The share of mass at the prior's bounds, at the default x or over some held-out ones; warns of a pile.

    None if all of these are too large to be conditioned on.
    """
    if posterior.default_x is not None:
        at_x = [posterior.boundary()]
    else:
        held_out = data.x[data.is_validation]
        usable = held_out[(np.abs(held_out) <= LARGEST).reshape(len(held_out), -1).all(1)]
        at_x = [posterior.boundary(x) for x in usable[:_AUDITED_X]]
    piled = [boundary for boundary in at_x if boundary.is_piled]
    if isinstance(loss, Atomic) and 2 * len(piled) > len(at_x):
        warn(
            f"{piled[0].mass:.1%} of the posterior's mass is piled up in the outermost 0.5 % of the prior's mass, "
            f"for {piled[0].where}. The atomic loss does not see mass where no atoms lie. Compare with one round of "
            "as many simulations from the prior."
        )
    return float(np.mean([boundary.mass for boundary in at_x])) if at_x else None

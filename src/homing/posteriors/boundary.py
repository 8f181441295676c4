r"""The audit of the prior's bounds.

A loss that only compares atoms with each other does not see mass where no atoms lie. On the bounded support of a prior
such mass cannot leave; it piles up against a bound. Two numbers tell a pile from a posterior that truly touches the
bound: the share of the draws in the outermost half percent of the prior's mass on that side, and the share in the next
half percent. Where data inform about a bound, the density there is smooth and the two are alike; a pile is all in the
first.

Source: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*, 2022,
appendix 5, https://arxiv.org/abs/2210.04815.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from homing.priors import Prior

STRIP = 0.005
WARN_MASS = 0.02
WARN_RATIO = 3.0


class Boundary(NamedTuple):
    """The posterior's mass at the prior's finite bounds.

    Attributes:
        mass: The largest share of draws in the outermost strip, half a percent of the prior's mass, over all bounds.
        is_piled: Whether some bound holds more than 2 % of the draws in its outermost strip and at least three
            times what the next strip holds: more than data explain.
        where: What to call that bound, for example `"theta[2] at its lower bound"`; empty if there is none.
    """

    mass: float
    is_piled: bool
    where: str


def boundary_mass(z: np.ndarray, prior: Prior) -> Boundary:
    """The audit of draws z of shape (n, d), in the space where the prior is a standard normal."""
    outer, inner = -ndtri(STRIP), -ndtri(2 * STRIP)
    worst = Boundary(0.0, False, "")
    for j in range(prior.dim):
        for side, bound in (("lower", -prior.low[j]), ("upper", prior.high[j])):
            if not np.isfinite(bound):
                continue
            distance = z[:, j] if side == "upper" else -z[:, j]
            mass = float((distance > outer).mean())
            next_strip = float(((distance > inner) & (distance <= outer)).mean())
            piled = mass > WARN_MASS and mass > WARN_RATIO * next_strip
            if (piled, mass) > (worst.is_piled, worst.mass):
                worst = Boundary(mass, piled, f"theta[{j}] at its {side} bound" if piled else "")
    return worst

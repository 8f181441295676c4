"""A proposal is what a round's theta were drawn from, as a typed value: the loss follows from what it is.

`FromPrior`: maximum likelihood is right as it stands. `FromPosterior`: drawn from a posterior at one x; needs the
atomic loss, or the non-atomic one where the posterior is a mixture of Gaussians. `FromDensity`: any other distribution
over theta; needs the atomic loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.errors import ArgumentError, ObservationError, PriorError
from homing.posteriors import Posterior
from homing.priors import Prior, as_prior, same_distribution
from homing.proposals.truncated import TruncatedPrior
from homing.random import generator


@dataclass(frozen=True, eq=False)
class FromPrior:
    """Draws from the prior."""

    prior: Prior
    name = "prior"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        return self.prior.sample(generator(seed, "proposal"), num)


@dataclass(frozen=True, eq=False)
class FromPosterior:
    """Draws from a posterior at the x it was set to when it became a proposal."""

    posterior: Posterior
    x: np.ndarray
    name = "posterior"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        return self.posterior.draw(num, self.x, seed, show_progress_bars)


@dataclass(frozen=True, eq=False)
class FromDensity:
    """Draws from any other distribution whose support lies within the prior's."""

    density: Prior
    name = "density"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        return self.density.sample(generator(seed, "proposal"), num)


Proposal = FromPrior | FromPosterior | FromDensity | TruncatedPrior


def as_proposal(proposal: Any, prior: Prior) -> Proposal:
    """The proposal that a user's object stands for.

    Args:
        proposal: None or anything equal to the prior, for the prior, whatever object it is; a posterior with a default
            x; or a distribution over theta of any library.
        prior: The prior.

    Raises:
        ObservationError: If a posterior has no default x.
        ArgumentError: If it is a distribution of another dimension, or no distribution.
    """
    if proposal is None or isinstance(proposal, FromPrior):
        return FromPrior(prior)
    if isinstance(proposal, (FromPosterior, FromDensity, TruncatedPrior)):
        return proposal
    if isinstance(proposal, Posterior):
        if proposal.prior.dim != prior.dim:
            raise ArgumentError(f"The proposal has {proposal.prior.dim} parameters and the prior {prior.dim}.")
        try:
            return FromPosterior(proposal, proposal.condition_of())
        except ObservationError as error:
            raise ObservationError(
                "A posterior can only be a proposal at one observation: call posterior.set_default_x(x_o) first."
            ) from error
    try:
        density = as_prior(proposal)
    except PriorError as error:
        raise ArgumentError(f"proposal must be None, a posterior, or a distribution over theta: {error}") from error
    if density.dim != prior.dim:
        raise ArgumentError(f"The proposal has {density.dim} parameters and the prior {prior.dim}.")
    return FromPrior(prior) if same_distribution(density, prior) else FromDensity(density)

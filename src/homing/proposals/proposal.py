"""A proposal is what a round's theta were drawn from, as a typed value: the loss follows from what it is.

`FromPrior`: maximum likelihood is right as it stands. `TruncatedPrior`: it is right within the region. `FromPosterior`:
drawn from a posterior at one x; needs the atomic loss, or the non-atomic one where the posterior is a mixture of
Gaussians. `FromDensity`, `ValidPrior`: any other distribution over theta; needs the atomic loss. Or rows of all kinds
are weighted by `mixture_weights`, and maximum likelihood is right again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.errors import ArgumentError, ObservationError, PriorError
from homing.posteriors import Posterior
from homing.priors import Prior, as_prior, same_distribution
from homing.proposals.gaussian import GaussianProposal
from homing.proposals.truncated import TruncatedPrior
from homing.proposals.valid import ValidPrior
from homing.random import generator


@dataclass(frozen=True, eq=False)
class FromPrior:
    """Draws from the prior."""

    prior: Prior
    name = "prior"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        return self.prior.sample(generator(seed, "proposal"), num)

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        return np.zeros(len(theta))


@dataclass(frozen=True, eq=False)
class FromPosterior:
    """Draws from a posterior at the x it was set to when it became a proposal."""

    posterior: Posterior
    x: np.ndarray
    name = "posterior"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64."""
        return self.posterior.draw(num, self.x, seed, show_progress_bars)

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        z = self.posterior.prior.to_normal(theta)
        return self.posterior.log_prob_normal(z, self.x) - self.posterior.prior.log_prob_normal(z)


@dataclass(frozen=True, eq=False)
class FromDensity:
    """Draws from any other distribution, within the prior's support."""

    density: Prior
    prior: Prior
    name = "density"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64.

        Raises:
            ArgumentError: If some lie outside the prior's support.
        """
        theta = self.density.sample(generator(seed, "proposal"), num)
        margin = 1e-6 * np.abs(theta)  # bounds of another floating type differ in their last digits
        outside = ((theta < self.prior.low - margin) | (theta > self.prior.high + margin)).any(1)
        if outside.any():
            raise ArgumentError(
                f"{outside.sum()} of {num} draws of the proposal lie outside the prior's support, the first is "
                f"{theta[np.argmax(outside)].tolist()}. Cut the proposal to the support, or widen the prior."
            )
        return theta

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        return self.density.log_prob(theta) - self.prior.log_prob(theta)


Proposal = FromPrior | FromPosterior | FromDensity | TruncatedPrior | ValidPrior | GaussianProposal


def as_proposal(proposal: Any, prior: Prior) -> Proposal:
    """The proposal that a user's object stands for.

    Args:
        proposal: None or anything equal to the prior, for the prior, whatever object it is; a posterior with a default
            x; or a distribution over theta of any library.
        prior: The prior.

    Raises:
        ObservationError: If a posterior has no default x.
        ArgumentError: If it is a distribution of another dimension, or no distribution, or a posterior under another
            prior.
    """
    if proposal is None or isinstance(proposal, FromPrior):
        return FromPrior(prior)
    if isinstance(proposal, (FromPosterior, FromDensity, TruncatedPrior, ValidPrior, GaussianProposal)):
        return proposal
    if isinstance(proposal, Posterior):
        _check_dim(proposal.prior, prior)
        if not same_distribution(proposal.prior, prior):
            raise ArgumentError(
                f"A posterior can only be a proposal under the prior it was learned with, {proposal.prior.describe()}; "
                f"found {prior.describe()}. Learn it again under this one, or leave the proposal out."
            )
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
    _check_dim(density, prior)
    return FromPrior(prior) if same_distribution(density, prior) else FromDensity(density, prior)


def mixture_weights(theta: np.ndarray, source: np.ndarray, proposals: Sequence[Proposal]) -> np.ndarray:
    r"""What each row must count for so that all rounds' rows together are as if drawn from the prior.

    The rounds' rows are draws of the deterministic mixture of their proposals, \(\sum_r \frac{n_r}{n} \tilde p_r\), so
    a row weighs \(p / \sum_r \frac{n_r}{n} \tilde p_r\), whichever round it came from: bounded by \(n / n_1\) where the
    first round drew from the prior.

    Source: Veach, Guibas, *Optimally combining sampling techniques for Monte Carlo rendering*, 1995,
    https://doi.org/10.1145/218380.218498 (the balance heuristic).

    Args:
        theta: Shape (n, d).
        source: Shape (n,), int, which of the proposals each row was drawn from.
        proposals: The proposals.

    Returns:
        Shape (n,).
    """
    shares = np.bincount(source, minlength=len(proposals)) / max(len(source), 1)
    terms = [np.log(share) + proposal.log_ratio(theta) for share, proposal in zip(shares, proposals) if share > 0]
    return np.exp(-np.logaddexp.reduce(terms))


def _check_dim(proposal: Prior, prior: Prior) -> None:
    if proposal.dim != prior.dim:
        raise ArgumentError(f"The proposal has {proposal.dim} parameters and the prior {prior.dim}.")

"""Where a round simulates, and what that means for learning."""

from homing.proposals.gaussian import GaussianProposal
from homing.proposals.prior_draws import check_prior_draws
from homing.proposals.proposal import FromDensity, FromPosterior, FromPrior, Proposal, as_proposal, mixture_weights
from homing.proposals.truncated import Region, TruncatedPrior, posterior_region
from homing.proposals.valid import ValidPrior

__all__ = [
    "FromDensity",
    "FromPosterior",
    "FromPrior",
    "GaussianProposal",
    "Proposal",
    "Region",
    "TruncatedPrior",
    "ValidPrior",
    "as_proposal",
    "check_prior_draws",
    "mixture_weights",
    "posterior_region",
]

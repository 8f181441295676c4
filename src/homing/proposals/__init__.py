"""Where a round simulates, and what that means for learning."""

from homing.proposals.proposal import FromDensity, FromPosterior, FromPrior, Proposal, as_proposal

__all__ = ["FromDensity", "FromPosterior", "FromPrior", "Proposal", "as_proposal"]

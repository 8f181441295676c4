"""Learning from the simulations of all rounds: which loss is right for them, and the fit.

The loss follows from the proposals the rows came from, as values. All from the prior: maximum likelihood. Some from
posteriors that are mixtures of Gaussians, learned by a mixture, under a prior that maps to a standard normal: the
non-atomic loss, exact and without atoms. Anything else: the atomic loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from homing import random
from homing.estimators import Builder, Gaussians, MixtureNetwork
from homing.inference.options import TrainOptions
from homing.posteriors import DirectPosterior, Ensemble
from homing.priors import Prior
from homing.proposals import FromPosterior, FromPrior, Proposal
from homing.training import Atomic, FitInfo, Loss, MaximumLikelihood, NonAtomic, Rows, fit

_LEAST_PRECISION = 1e-2  # of a mixture's components, where the prior maps only roughly to a standard normal
_SOURCES = 16  # the number of sources that programs know is a multiple of this


@dataclass(frozen=True, eq=False)
class Dataset:
    """Valid simulations of all rounds.

    Attributes:
        theta: (n, d), float64, round by round.
        x: (n, *x_shape), float64.
        source: (n,) int, index into `proposals`.
        is_validation: (n,) bool; a row's role never changes.
        proposals: Where theta came from; the first is the prior.
    """

    theta: np.ndarray
    x: np.ndarray
    source: np.ndarray
    is_validation: np.ndarray
    proposals: Sequence[Proposal]

    @property
    def newest(self) -> Proposal:
        """What the newest round was drawn from: the prior again, where a run starts anew after other rounds."""
        return self.proposals[self.source[-1]]

    def without_prior(self) -> Dataset:
        """The rows of later rounds only, if there are any."""
        later = self.source > 0
        if not (later & self.is_validation).any() or not (later & ~self.is_validation).any():
            return self
        return Dataset(self.theta[later], self.x[later], self.source[later], self.is_validation[later], self.proposals)


@dataclass(frozen=True, eq=False)
class Learned:
    """What a round learned: the state the next round needs, and what happened."""

    ensemble: Ensemble
    loss: Loss
    info: FitInfo


def maps_to_normal(prior: Prior) -> bool:
    """Whether the prior's map gives a standard normal exactly, and not only roughly."""
    z = random.generator(0, "maps to normal").standard_normal((64, prior.dim)) * 1.5
    normal = -0.5 * (z**2).sum(1) - 0.5 * prior.dim * np.log(2 * np.pi)
    return bool(np.allclose(prior.log_prob_normal(z), normal, atol=1e-6))


def learn(
    data: Dataset,
    prior: Prior,
    builder: Builder,
    options: TrainOptions,
    seed: int,
    previous: Ensemble | None = None,
    on_loss: Callable[[Loss], None] | None = None,
    on_epochs: Callable[[int], object] | None = None,
) -> Learned:
    """One round's learning.

    Args:
        data: All rounds' valid rows.
        prior: The prior.
        builder: Makes the estimator from z and x.
        options: Training options.
        seed: Below 2**32.
        previous: The last round's estimator to continue from; None to build one.
        on_loss: Told the loss before training starts.
        on_epochs: Told the number of epochs as training goes on.
    """
    if options.discard_prior_samples:
        data = data.without_prior()
    exact = maps_to_normal(prior)
    z = prior.to_normal(data.theta)
    if previous is None:
        train = ~data.is_validation
        floor = 1.0 if exact else _LEAST_PRECISION
        estimator = builder(z[train], data.x[train], random.generator(seed, "weights"), floor)
        previous = Ensemble([estimator.density], np.ones(1), estimator.standardize, estimator.x_shape)
    loss, proposals = choose_loss(data.proposals, previous, exact, options)
    if on_loss is not None:
        on_loss(loss)
    rows = Rows(
        z=z.astype(np.float32),
        x=previous.standardize(data.x),
        log_prior=prior.log_prob_normal(z).astype(np.float32),
        weight=np.ones(len(z), np.float32),
        source=data.source.astype(np.int32),
    )
    members, info = fit(previous.members, rows, data.is_validation[None], loss, options.fit, seed, proposals, on_epochs)
    return Learned(Ensemble(members, previous.weights, previous.standardize, previous.x_shape), loss, info)


def choose_loss(
    sources: Sequence[Proposal], ensemble: Ensemble, exact: bool, options: TrainOptions
) -> tuple[Loss, Gaussians | None]:
    """The loss that is right for rows from these proposals, and the proposals' mixtures where it needs them."""
    if all(isinstance(source, FromPrior) for source in sources):
        return MaximumLikelihood(), None
    later = [source for source in sources if not isinstance(source, FromPrior)]
    is_mixture = all(isinstance(member.core, MixtureNetwork) for member in ensemble.members)
    if is_mixture and exact and all(map(_is_mixture_proposal, later)):
        return NonAtomic(), _as_mixtures(sources, ensemble.dim)
    return Atomic(options.num_atoms, options.use_combined_loss), None


def _is_mixture_proposal(proposal: Proposal) -> bool:
    posterior = proposal.posterior if isinstance(proposal, FromPosterior) else None
    return isinstance(posterior, DirectPosterior) and posterior.ensemble.is_mixture_of_gaussians


def _as_mixtures(sources: Sequence[Proposal], dim: int) -> Gaussians:
    """Each source's mixture in z, padded to the largest by components of no weight; the prior is N(0, I).

    Their number is padded too, so that growing rounds share a program.
    """
    sources = [*sources, *[sources[0]] * (-len(sources) % _SOURCES)]
    standard = Gaussians(np.zeros(1), np.zeros((1, dim)), np.eye(dim)[None])
    parts = [
        s.posterior.ensemble.components(s.x)
        if isinstance(s, FromPosterior) and isinstance(s.posterior, DirectPosterior)
        else standard
        for s in sources
    ]
    size = max(len(part.log_weights) for part in parts)

    def padded(part: Gaussians) -> Gaussians:
        missing = size - len(part.log_weights)
        return Gaussians(
            np.concatenate([part.log_weights, np.full(missing, -np.inf)]),
            np.concatenate([part.means, np.zeros((missing, dim))]),
            np.concatenate([part.precisions, np.broadcast_to(np.eye(dim), (missing, dim, dim))]),
        )

    return Gaussians(*(np.stack(leaves).astype(np.float32) for leaves in zip(*map(padded, parts))))

r"""SNPE-A: learn the proposal posterior, and divide it by the proposal.

    for r = 1, 2, ...:
        theta ~ p̃_r             the prior, then the normal density with the last posterior's mean and covariance
        x ~ simulator(theta)
        q̃ = argmax sum log q̃(theta_i | x_i)     over the rows of this round
    return q̃(theta | x_o) p(theta) / p̃_r(theta)

Published with a single normal in all rounds but the last; here every round learns the mixture, and the proposal has its
moments.

Source: Papamakarios, Murray, *Fast epsilon-free Inference of Simulation Models with Bayesian Conditional Density
Estimation*, 2016, https://arxiv.org/abs/1605.06376, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Unpack

import numpy as np

from homing import random
from homing.errors import ArgumentError, PriorError
from homing.estimators import PosteriorBuilder, posterior_nn
from homing.estimators.validity import Validity
from homing.inference.learn import Dataset, maps_to_normal
from homing.inference.learner import NOT_KNOWN, Learned, Material, recalled_info, windows
from homing.inference.methods import bounded
from homing.inference.running import Running
from homing.inference.sequential import Sequential
from homing.posteriors import DividedPosterior, Ensemble, Posterior
from homing.priors import Prior
from homing.proposals import FromPosterior, FromPrior, GaussianProposal, Proposal, ValidPrior
from homing.runs import RoundRecord
from homing.training import FitInfo, FitOptions, MaximumLikelihood, Rows, fit

_WIDER = 1.5  # the proposal's covariance, as a multiple of the posterior's: the divided precision stays well above zero


@dataclass(frozen=True)
class Gaussian:
    """The normal density with the last posterior's moments; only the newest round's rows are learned from."""

    name: ClassVar[str] = "gaussian"
    loss: MaximumLikelihood = field(default=MaximumLikelihood(), init=False, repr=False)

    def propose(self, posterior: Posterior, validity: Validity | None, seed: int) -> Proposal:
        return gaussian_of(posterior, posterior.condition_of())

    def weigh(self, data: Dataset) -> np.ndarray:
        weights, newest = (data.source == data.source[-1]).astype(float), data.newest
        return bounded(weights * np.exp(-newest.log_ratio(data.theta))) if isinstance(newest, ValidPrior) else weights


def gaussian_of(posterior: Posterior, x: np.ndarray) -> GaussianProposal:
    """The normal density of a posterior's moments at x, in the space of z."""
    if isinstance(posterior, DividedPosterior):
        mean, covariance = posterior.moments(x)
    else:
        z = posterior.prior.to_normal(posterior.draw(4096, x, 0, show_progress_bars=False))
        mean, covariance = z.mean(0), np.atleast_2d(np.cov(z.T))
    # Nowhere wider than the prior: a proposal that is would ask for what no posterior can have.
    values, axes = np.linalg.eigh(_WIDER * covariance)
    covariance = axes * np.clip(values, 1e-12, 1.0) @ axes.T
    return GaussianProposal(posterior.prior, mean, np.linalg.cholesky(covariance))


@dataclass(frozen=True)
class DividedLearner:
    """Learns a mixture where the newest proposal is a standard normal.

    Attributes:
        builder: Makes the members, mixture density networks.
        members: How many.
        fit: Training options.
    """

    builder: PosteriorBuilder = field(default_factory=lambda: PosteriorBuilder("mdn", num_components=1))
    members: int = 4
    fit: FitOptions = field(default_factory=FitOptions)
    takes_trials = False

    @property
    def embedding_net(self) -> Any:
        return self.builder.embedding_net

    def learn(self, material: Material) -> Learned:
        z, x = material.z, material.x
        newest = material.proposal
        mean, scale = np.zeros(z.shape[1]), np.eye(z.shape[1])
        u = z
        if isinstance(newest, GaussianProposal):
            mean, scale, u = newest.mean, newest.scale_tril, newest.whiten(z)
        standardize = self.builder.standardize(x, z)
        features = standardize(x)
        held_out = windows(material.order, self.members)
        nothing = np.zeros(len(z), np.int32)
        rows = Rows(u.astype(np.float32), features, nothing.astype(np.float32), material.weight.astype("f4"), nothing)
        members = [
            self.builder.density(u[~out], features[~out], random.generator(material.seed, "direct", m), 1.0)
            for m, out in enumerate(held_out)
        ]
        seed = random.word(material.seed, "fit direct")
        trained, info = fit(members, rows, held_out, MaximumLikelihood(), self.fit, seed)
        ensemble = Ensemble(trained, np.full(self.members, 1 / self.members), standardize, x.shape[1:])
        return Divided(ensemble, mean, scale, info, held_out)

    def recall(self, posterior: Posterior, record: RoundRecord) -> Learned:
        assert isinstance(posterior, DividedPosterior)
        return Divided(posterior.ensemble, posterior.mean, posterior.scale_tril, recalled_info(record), NOT_KNOWN)


@dataclass(frozen=True, eq=False)
class Divided:
    """See `Learned`."""

    ensemble: Ensemble
    mean: np.ndarray
    scale_tril: np.ndarray
    info: FitInfo
    held_out: np.ndarray
    loss = MaximumLikelihood.name

    @property
    def num_members(self) -> int:
        return len(self.ensemble.members)

    def posterior(self, prior: Prior, **options: Any) -> Posterior:
        return DividedPosterior(self.ensemble, prior, self.mean, self.scale_tril, **options)

    def score(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Not known: each round learns the posterior of another proposal."""
        return np.full(len(z), np.nan)

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        return []


class SNPE_A(Sequential):
    """SNPE-A, one round a call, or all by `run`.

    Args:
        simulator: A function from theta to data, or None if all simulations are appended.
        prior: Anything that `SNPE` takes that maps to a standard normal: independent parameters of known families, or
            a multivariate normal.
        num_components: Normals of the mixture.
        embedding_net: As for `posterior_nn`.
        **running: See `Running`: num_workers, seed, store and so on.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.

    Example:
        >>> from homing.utils import BoxUniform
        >>> def simulator(theta, rng):
        ...     return theta + 0.3 * rng.normal(size=theta.shape)
        >>> inference = SNPE_A(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
        >>> proposal = None
        >>> for _ in range(2):
        ...     posterior = inference(num_simulations=60, proposal=proposal, max_num_epochs=3)
        ...     proposal = posterior.set_default_x([0.5, -0.5])
        >>> [record.proposal for record in inference.rounds]
        ['prior', 'gaussian']
    """

    name = "SNPE_A"
    default_method = Gaussian()
    proposals = (Gaussian.name,)

    def __init__(
        self,
        simulator: Callable[..., Any] | None = None,
        prior: Any = None,
        *,
        num_components: int = 10,
        embedding_net: Any = None,
        **running: Unpack[Running],
    ):
        if isinstance(num_components, bool) or not isinstance(num_components, (int, np.integer)) or num_components < 1:
            raise ArgumentError(f"num_components must be a positive whole number, found {num_components!r}.")
        self._builder = posterior_nn("mdn", num_components=int(num_components), embedding_net=embedding_net)
        given = {"num_components": num_components, "embedding_net": embedding_net}
        super().__init__(simulator, prior, given, {"num_components": int(num_components)}, embedding_net, **running)
        if not maps_to_normal(self.prior):
            raise PriorError(
                "SNPE_A divides normal densities, so it needs a prior that maps to a standard normal, found "
                f"{self.prior.describe()}. Use SNPE, or independent parameters of known families."
            )

    @property
    def learner(self) -> DividedLearner:
        return DividedLearner(self._builder)

    def _as_proposal(self, proposal: Any, simulated: bool = False) -> Proposal:
        known = super()._as_proposal(proposal)
        if isinstance(known, FromPosterior) and not simulated:
            return gaussian_of(known.posterior, known.x)
        if isinstance(known, (FromPrior, GaussianProposal)):
            return known
        raise ArgumentError(
            "SNPE_A learns from the prior's simulations, or from a normal density's: call the inference object or ask "
            f"with proposal=posterior, which makes one. Found simulations from the {known.name}."
        )

    def _weigh(self, data: Dataset) -> np.ndarray:
        return Gaussian().weigh(data)

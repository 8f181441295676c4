r"""Where a run simulates next, and what its rows then count for: a method is a value.

`"truncated"`: the next round's theta are drawn from the prior, cut to the region that holds all but epsilon of the
posterior; rows within the newest region are learned from, as if drawn from the prior. `"posterior"`: theta are drawn
from the posterior; all rows are learned from, by the atomic loss. `"mixture"`: theta are drawn from the posterior; all
rows are learned from, as if drawn from the prior.

"As if drawn from the prior" is by the deterministic mixture of all rounds' proposals, `mixture_weights`, capped at
twenty times the typical weight. Within nested regions these weights are all the same, so truncation corrects only where
a region reaches beyond an earlier one.

Sources: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*,
    2022, https://arxiv.org/abs/2210.04815; Greenberg, Nonnenmacher, Macke, *Automatic Posterior Transformation for
    Likelihood-Free Inference*, 2019, https://arxiv.org/abs/1905.07488; Lueckmann et al., *Flexible statistical
    inference for mechanistic models of neural dynamics*, 2017, https://arxiv.org/abs/1711.01861 (weights).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from homing.errors import ArgumentError, warn
from homing.estimators.validity import Validity
from homing.inference.failing import least_rows
from homing.inference.learn import Dataset
from homing.posteriors import Posterior
from homing.proposals import FromPosterior, Proposal, TruncatedPrior, mixture_weights, posterior_region
from homing.training import Atomic, Loss, MaximumLikelihood

_HEAVIEST = 20.0  # times the median: what a row may weigh


class Method(Protocol):
    """How a run proposes and corrects."""

    name: ClassVar[str]

    @property
    def loss(self) -> Loss:
        """What the direct side is trained by, once there are rows of other proposals than the prior."""
        ...

    def propose(self, posterior: Posterior, validity: Validity | None, seed: int) -> Proposal:
        """Where to simulate after a round that learned this posterior, at its default x, and p(valid | z)."""
        ...

    def weigh(self, data: Dataset) -> np.ndarray:
        """What each row counts for, shape (n,); rows of weight zero are left out."""
        ...


@dataclass(frozen=True)
class Truncated:
    """The prior, cut to where the posterior is.

    Attributes:
        epsilon: Share of the posterior that the region may lose.
        defensive: Share of each later round that comes from the whole prior: what would show that the region is too
            small.
    """

    name: ClassVar[str] = "truncated"
    epsilon: float = 1e-3
    defensive: float = 0.03
    loss: Loss = field(default=MaximumLikelihood(), init=False, repr=False)

    def propose(self, posterior: Posterior, validity: Validity | None, seed: int) -> Proposal:
        region = posterior_region(posterior, self.epsilon, seed, None if validity is None else validity.log_prob)
        proposal = TruncatedPrior(posterior.prior, region, self.defensive)
        if proposal.is_reachable:
            return proposal
        warn(
            f"The prior cannot be drawn from where the posterior is, in {proposal.volume:.1g} of its mass: hardly a "
            "candidate lies there. The next round is drawn from the posterior instead, and weighed by that."
        )
        return FromPosterior(posterior, posterior.condition_of())

    def weigh(self, data: Dataset) -> np.ndarray:
        newest, weights = data.newest, mixture_weights(data.theta, data.source, data.proposals)
        if isinstance(newest, TruncatedPrior):
            inside = newest.region.contains(newest.prior.to_normal(data.theta))
            if inside.sum() >= least_rows(data.theta.shape[1]):
                weights = weights * inside
        return bounded(weights)


@dataclass(frozen=True)
class FromLast:
    """The last round's posterior, and the atomic loss.

    Attributes:
        num_atoms: Atoms of the loss.
    """

    name: ClassVar[str] = "posterior"
    num_atoms: int = 10

    @property
    def loss(self) -> Loss:
        return Atomic(self.num_atoms)

    def propose(self, posterior: Posterior, validity: Validity | None, seed: int) -> Proposal:
        return FromPosterior(posterior, posterior.condition_of())

    def weigh(self, data: Dataset) -> np.ndarray:
        return np.ones(len(data.theta))


@dataclass(frozen=True)
class Mixture:
    """The last round's posterior, and maximum likelihood of weighted rows."""

    name: ClassVar[str] = "mixture"
    loss: Loss = field(default=MaximumLikelihood(), init=False, repr=False)

    def propose(self, posterior: Posterior, validity: Validity | None, seed: int) -> Proposal:
        return FromPosterior(posterior, posterior.condition_of())

    def weigh(self, data: Dataset) -> np.ndarray:
        return bounded(mixture_weights(data.theta, data.source, data.proposals))


METHODS: dict[str, Method] = {method.name: method for method in (Truncated(), FromLast(), Mixture())}


def as_method(proposal: Any) -> Method:
    """The method that a name, or a value, stands for.

    Raises:
        ArgumentError: If there is none of that name.
    """
    if not isinstance(proposal, (str, type)) and hasattr(proposal, "propose") and hasattr(proposal, "weigh"):
        return proposal
    if isinstance(proposal, str) and proposal in METHODS:
        return METHODS[proposal]
    names = ", ".join(map(repr, METHODS))
    raise ArgumentError(f"proposal must be {names}, or a value of these kinds, found {proposal!r}.")


def bounded(weights: np.ndarray) -> np.ndarray:
    """Weights with a mean of one over the rows that count, none far heavier than the typical one."""
    counts = weights > 0
    if not counts.any():
        return weights
    weights = np.minimum(weights, _HEAVIEST * np.median(weights[counts]))
    return weights / weights[counts].mean()

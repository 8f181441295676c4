"""Learning both sides of the same simulations, each as an ensemble; or the direct side alone.

The direct side, q(theta | x), and the likelihood's, q(x | theta), see the same rows: those that the method chose, for
truncation the ones inside the newest region. All maps (each column's scale,
the standardisation, the regressions) are fitted to these rows anew, so the networks always work at the posterior's own
scale. Each member holds out another part of the rows.

Of several families for the direct side, the one whose held-out rows are the likeliest is kept, in each round anew: some
posteriors are smooth and some have edges, and which it is shows in the rows. Two members of each are compared, on the
same held-out rows, and only the better family gets the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from homing import random
from homing.errors import ArgumentError
from homing.estimators import ConditionalDensity, LikelihoodBuilder, PosteriorBuilder, fit_standardize
from homing.inference.choice import likelihood_lead
from homing.inference.learner import NOT_KNOWN, Learned, Material, recalled_info, windows
from homing.inference.likelihoods import learn_likelihood
from homing.posteriors import DirectPosterior, Ensemble, HybridPosterior, Posterior, SurrogateLikelihood
from homing.priors import Prior
from homing.runs import RoundRecord
from homing.training import FitInfo, FitOptions, Rows, fit

_COMPARED = 2  # members of each family, before one is chosen
MOST_COLUMNS = 64  # of x, up to which its likelihood is learned beside


@dataclass(frozen=True)
class SideOptions:
    """What is learned: a learner of posteriors.

    Attributes:
        builders: Families for the direct side's members.
        members: Members of each side.
        likelihood: Makes the members of the likelihood's side; None to learn the direct side alone.
        fit: Training options.
    """

    builders: tuple[PosteriorBuilder, ...] = (
        PosteriorBuilder("nsf", num_transforms=3, num_bins=8),
        PosteriorBuilder("maf"),
    )
    members: int = 4
    likelihood: LikelihoodBuilder | None = field(default_factory=LikelihoodBuilder)
    fit: FitOptions = field(default_factory=FitOptions)
    takes_trials = False

    def __post_init__(self) -> None:
        if not isinstance(self.builders, tuple) or not self.builders:
            raise ArgumentError(
                f"builders must be a tuple of one or more of posterior_nn(...), found {self.builders!r}."
            )
        if not isinstance(self.likelihood, (LikelihoodBuilder, type(None))):
            raise ArgumentError(f"likelihood must be likelihood_nn(...), or None for none, found {self.likelihood!r}.")

    @property
    def embedding_net(self) -> Any:
        return self.builders[0].embedding_net

    def learn(self, material: Material) -> Learned:
        sides = learn_sides(material, self)
        if sides.likelihood is None or material.x_o is None or not material.as_if_from_prior:
            return sides
        shown = (material.prior, material.z, material.x, material.weight, sides.held_out, material.x_o)
        lead = likelihood_lead(sides.direct, sides.likelihood, *shown, random.word(material.seed, "choose"))
        return replace(sides, share=0.0 if lead.is_clear else 0.5)

    def recall(self, posterior: Posterior, record: RoundRecord) -> Learned:
        if isinstance(posterior, HybridPosterior):
            direct, likelihood, share = posterior.direct, posterior.likelihood, posterior.share
        else:
            direct, likelihood, share = posterior, None, 1.0
        assert isinstance(direct, DirectPosterior)
        return Sides(posterior.prior, direct.ensemble, likelihood, recalled_info(record), NOT_KNOWN, record.loss, share)


@dataclass(frozen=True, eq=False)
class Sides:
    """What a round learned; see `Learned`.

    Attributes:
        prior: The prior.
        direct: The density of z given x.
        likelihood: The likelihood, or None.
        info: The direct side's fit.
        held_out: (M, n) bool, each member's held-out rows.
        loss: The direct side's, by name.
        share: The direct side's share of the posterior.
    """

    prior: Prior
    direct: Ensemble
    likelihood: SurrogateLikelihood | None
    info: FitInfo
    held_out: np.ndarray
    loss: str
    share: float = 0.5

    @property
    def num_members(self) -> int:
        return len(self.direct.members)

    def posterior(self, prior: Prior, **options: Any) -> Posterior:
        direct = DirectPosterior(self.direct, prior, **options)
        if self.likelihood is None:
            return direct
        return HybridPosterior(direct, self.likelihood, self.share, **options)

    def score(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.direct.member(m).log_prob_pairs(z, x) - self.prior.log_prob_normal(z)

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        return [self.direct.predict(x), self.direct.standardize(x).reshape(len(x), -1)]


def learn_sides(material: Material, options: SideOptions) -> Sides:
    """Learn both sides, the direct one by the material's loss, the likelihood's by maximum likelihood."""
    z, x = material.z, material.x
    held_out = windows(material.order, options.members)
    direct, info = _learn_direct(material, options, held_out)
    found = None
    if options.likelihood is not None and x.ndim == 2 and x.shape[1] <= MOST_COLUMNS:
        found = learn_likelihood(
            material.prior,
            z,
            x,
            fit_standardize(x, "independent", z) if options.embedding_net is not None else direct.standardize,
            material.weight,
            held_out,
            material.seed,
            options.likelihood,
            options.fit,
            material.validity,
        )
    return Sides(material.prior, direct, found and found[0], info, held_out, material.loss.name)


def _learn_direct(material: Material, options: SideOptions, held_out: np.ndarray) -> tuple[Ensemble, FitInfo]:
    """The direct side, of the family that held-out rows speak for."""
    first = options.members if len(options.builders) == 1 else min(_COMPARED, options.members)
    families = [_Family(material, builder, held_out, options.fit) for builder in options.builders]
    for family in families:
        family.grow(first)
    best = min(families, key=lambda family: np.nan_to_num(family.info.validation_loss.mean(), nan=np.inf))
    best.grow(options.members)
    weights = np.full(options.members, 1 / options.members)
    return Ensemble(best.members, weights, best.standardize, material.x.shape[1:]), best.info


class _Family:
    """Members of one family, trained as far as they are asked for."""

    def __init__(self, material: Material, builder: PosteriorBuilder, held_out: np.ndarray, options: FitOptions):
        z, x = material.z, material.x
        self.standardize = builder.standardize(x, z)
        self._rows = Rows(
            z.astype(np.float32),
            self.standardize(x),
            material.prior.log_prob_normal(z).astype(np.float32),
            material.weight.astype(np.float32),
            np.zeros(len(z), np.int32),
        )
        self._material, self._builder, self._held_out, self._options = material, builder, held_out, options
        self.members: list[ConditionalDensity] = []
        self.info = FitInfo.none()

    def grow(self, num: int) -> None:
        """Train further members, up to so many."""
        seed, new = self._material.seed, range(len(self.members), num)
        if not new:
            return
        fresh = []
        for m in new:
            train, rng = ~self._held_out[m], random.generator(seed, "direct", m)
            fresh.append(self._builder.density(self._material.z[train], self._rows.x[train], rng))
        word = random.word(seed, "fit direct", new.start)
        trained, info = fit(
            fresh, self._rows, self._held_out[new.start : num], self._material.loss, self._options, word
        )
        self.members, self.info = [*self.members, *trained], self.info.with_others(info)

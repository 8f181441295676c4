"""Learning both sides of the same simulations, each as an ensemble; or the direct side alone.

The direct side, q(theta | x), and the likelihood's, q(x | theta), see the same rows: those that the method chose, for
truncation the ones inside the newest region. All maps (each column's scale,
the standardisation, the regressions) are fitted to these rows anew, so the networks always work at the posterior's own
scale. Each member holds out another part of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from homing import random
from homing.estimators import LikelihoodBuilder, PosteriorBuilder, fit_standardize
from homing.inference.choice import likelihood_lead
from homing.inference.learner import NOT_KNOWN, Learned, Material, recalled_info, windows
from homing.inference.likelihoods import learn_likelihood
from homing.posteriors import DirectPosterior, Ensemble, HybridPosterior, Posterior, SurrogateLikelihood
from homing.priors import Prior
from homing.runs import RoundRecord
from homing.training import FitInfo, FitOptions, Rows, fit

MOST_COLUMNS = 64  # of x, up to which its likelihood is learned beside


@dataclass(frozen=True)
class SideOptions:
    """What is learned: a learner of posteriors.

    Attributes:
        builder: Makes the direct side's members.
        members: Members of each side.
        likelihood: Makes the members of the likelihood's side; None to learn the direct side alone.
        fit: Training options.
    """

    builder: PosteriorBuilder = field(default_factory=lambda: PosteriorBuilder("nsf", num_transforms=3, num_bins=8))
    members: int = 4
    likelihood: LikelihoodBuilder | None = field(default_factory=LikelihoodBuilder)
    fit: FitOptions = field(default_factory=lambda: FitOptions(stop_after_steps=500))
    takes_trials = False

    @property
    def embedding_net(self) -> Any:
        return self.builder.embedding_net

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
        return Sides(direct.ensemble, likelihood, recalled_info(record), NOT_KNOWN, record.loss, share)


@dataclass(frozen=True, eq=False)
class Sides:
    """What a round learned; see `Learned`.

    Attributes:
        direct: The density of z given x.
        likelihood: The likelihood, or None.
        info: The direct side's fit.
        held_out: (M, n) bool, each member's held-out rows.
        loss: The direct side's, by name.
        share: The direct side's share of the posterior.
    """

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
        return self.direct.member(m).log_prob_pairs(z, x)

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        return [self.direct.predict(x), self.direct.standardize(x).reshape(len(x), -1)]


def learn_sides(material: Material, options: SideOptions) -> Sides:
    """Learn both sides, the direct one by the material's loss, the likelihood's by maximum likelihood."""
    z, x, weight, seed = material.z, material.x, material.weight, material.seed
    standardize = options.builder.standardize(x, z)
    features = standardize(x)
    held_out = windows(material.order, options.members)
    rows = Rows(
        z.astype(np.float32),
        features,
        material.prior.log_prob_normal(z).astype(np.float32),
        weight.astype(np.float32),
        np.zeros(len(z), np.int32),
    )
    members = [
        options.builder.density(z[~out], features[~out], random.generator(seed, "direct", m))
        for m, out in enumerate(held_out)
    ]
    trained, info = fit(members, rows, held_out, material.loss, options.fit, random.word(seed, "fit direct"))
    direct = Ensemble(trained, np.full(options.members, 1 / options.members), standardize, x.shape[1:])
    found = None
    if options.likelihood is not None and x.ndim == 2 and x.shape[1] <= MOST_COLUMNS:
        found = learn_likelihood(
            material.prior,
            z,
            x,
            standardize if options.builder.embedding_net is None else fit_standardize(x, "independent", z),
            weight,
            held_out,
            seed,
            options.likelihood,
            options.fit,
            material.validity,
        )
    return Sides(direct, found and found[0], info, held_out, material.loss.name)

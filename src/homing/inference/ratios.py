"""Learning the ratio p(x | theta) / p(x), as an ensemble of classifiers; for all parameters or for some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homing import random
from homing.estimators import RatioBuilder
from homing.inference.learner import NOT_KNOWN, Learned, Material, recalled_info, windows
from homing.inference.likelihoods import contrast
from homing.posteriors import Posterior, SampledPosterior, Sampler, SurrogateRatio, Tempering, sampled_posterior
from homing.priors import Prior
from homing.runs import RoundRecord
from homing.training import NRE_B, FitInfo, FitOptions, Loss, Rows, fit


@dataclass(frozen=True)
class RatioLearner:
    """Learns the ratio, and samples the posterior.

    Attributes:
        loss: How.
        builder: Makes the members.
        members: How many.
        fit: Training options.
        sampler: How the posterior is drawn.
        name: The method's, for a person.
    """

    loss: Loss = field(default_factory=NRE_B)
    builder: RatioBuilder = field(default_factory=RatioBuilder)
    members: int = 4
    fit: FitOptions = field(default_factory=FitOptions)
    sampler: Sampler = field(default_factory=Tempering)
    name: str = "SNRE"
    takes_trials = True

    @property
    def embedding_net(self) -> Any:
        return self.builder.embedding_net

    def learn(self, material: Material) -> Learned:
        z, x, seed = material.z, material.x, material.seed
        standardize = self.builder.standardize(x, z)
        features = standardize(x)
        held_out = windows(material.order, self.members)
        rows = Rows(
            z.astype(np.float32),
            features,
            material.prior.log_prob_normal(z).astype(np.float32),
            material.weight.astype(np.float32),
            np.zeros(len(z), np.int32),
        )
        members = [
            self.builder.ratio(z[~out], features[~out], random.generator(seed, "ratio", m))
            for m, out in enumerate(held_out)
        ]
        trained, info = fit(members, rows, held_out, self.loss, self.fit, random.word(seed, "fit ratio"))
        ratio = SurrogateRatio(trained, standardize, x.shape[1:], material.prior, material.validity)
        return LearnedRatio(ratio, info, held_out, self.loss.name, self.sampler, self.name)

    def recall(self, posterior: Posterior, record: RoundRecord) -> Learned:
        assert isinstance(posterior, SampledPosterior)
        info = recalled_info(record)
        return LearnedRatio(posterior.surrogate, info, NOT_KNOWN, record.loss, posterior.sampler, self.name)


@dataclass(frozen=True, eq=False)
class LearnedRatio:
    """See `Learned`."""

    ratio: SurrogateRatio
    info: FitInfo
    held_out: np.ndarray
    loss: str
    sampler: Sampler
    name: str

    @property
    def num_members(self) -> int:
        return self.ratio.num_members

    def posterior(self, prior: Prior, **options: Any) -> Posterior:
        own: dict[str, Any] = {"x_shape": self.ratio.x_shape, "sampler": self.sampler, "obtained_by": self.name}
        return sampled_posterior(self.ratio, prior, **own | options)

    def score(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return contrast(self.ratio, m, z, x)

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        return [self.ratio.standardize(x).reshape(len(x), -1)]

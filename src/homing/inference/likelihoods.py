r"""Learning the likelihood q(x | theta), as an ensemble.

By maximum likelihood, right for rows of any proposal. Data of whole numbers are spread over intervals of length one,
since a density knows no whole numbers; so discrete and continuous columns may stand side by side.

Source: Papamakarios, Sterratt, Murray, *Sequential Neural Likelihood*, 2019, https://arxiv.org/abs/1805.07226; Theis,
van den Oord, Bethge, *A note on the evaluation of generative models*, 2016, https://arxiv.org/abs/1511.01844 (uniform
noise on whole numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homing import random
from homing.errors import ArgumentError, SimulationError
from homing.estimators import LikelihoodBuilder, Ridge, Standardize, fit_standardize, own_columns
from homing.inference.learner import NOT_KNOWN, Learned, Material, recalled_info, windows
from homing.posteriors import (
    Posterior,
    SampledPosterior,
    Sampler,
    SurrogateLikelihood,
    Tempering,
    coordinates,
    likelihood_ensemble,
    sampled_posterior,
)
from homing.posteriors.surrogate import Coordinates
from homing.priors import Prior
from homing.runs import RoundRecord
from homing.training import FitInfo, FitOptions, MaximumLikelihood, Rows, fit

_MOST_COLUMNS = 512  # of x
_ATOMS = 64  # other rows' parameters that a pair is scored against


@dataclass(frozen=True)
class LikelihoodLearner:
    """Learns the likelihood, and samples the posterior.

    Attributes:
        builder: Makes the members.
        members: How many.
        fit: Training options.
        sampler: How the posterior is drawn.
    """

    builder: LikelihoodBuilder = field(default_factory=LikelihoodBuilder)
    members: int = 4
    fit: FitOptions = field(default_factory=FitOptions)
    sampler: Sampler = field(default_factory=Tempering)
    takes_trials = True
    embedding_net = None

    def learn(self, material: Material) -> Learned:
        x = material.x.reshape(len(material.x), -1)
        if x.shape[1] > _MOST_COLUMNS:
            raise ArgumentError(
                f"The likelihood of data with {x.shape[1]} entries cannot be learned; at most {_MOST_COLUMNS}. Let the "
                "simulator return summary statistics, or use SNPE or SNRE with an embedding_net."
            )
        held_out = windows(material.order, self.members)
        standardize = fit_standardize(x, "independent", material.z)
        found = learn_likelihood(
            material.prior,
            material.z,
            x,
            standardize,
            material.weight,
            held_out,
            material.seed,
            self.builder,
            self.fit,
            material.validity,
        )
        if found is None:
            raise SimulationError("All simulations gave the same data: there is nothing to learn from them.")
        return LearnedLikelihood(*found, held_out, material.x.shape[1:], self.sampler)

    def recall(self, posterior: Posterior, record: RoundRecord) -> Learned:
        assert isinstance(posterior, SampledPosterior)
        return LearnedLikelihood(
            posterior.surrogate, recalled_info(record), NOT_KNOWN, posterior.x_shape, posterior.sampler
        )


@dataclass(frozen=True, eq=False)
class LearnedLikelihood:
    """See `Learned`."""

    likelihood: SurrogateLikelihood
    info: FitInfo
    held_out: np.ndarray
    x_shape: tuple[int, ...]
    sampler: Sampler
    loss = MaximumLikelihood.name

    @property
    def num_members(self) -> int:
        return self.likelihood.num_members

    def posterior(self, prior: Prior, **options: Any) -> Posterior:
        own: dict[str, Any] = {"x_shape": self.x_shape, "sampler": self.sampler, "obtained_by": "SNLE"}
        return sampled_posterior(self.likelihood, prior, **own | options)

    def score(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Against other rows' parameters, so that the scale on which the data are seen does not count."""
        return contrast(self.likelihood, m, z, x.reshape(len(x), -1))

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        return [self.likelihood.standardize(x.reshape(len(x), -1))]


def contrast(surrogate: Any, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Member m's log likelihood or ratio of pairs, less the log mean of it over other rows' parameters, (n,)."""
    own = surrogate.log_likelihood_pairs(m, z, x)
    steps = range(1, min(_ATOMS, len(z)))
    others = [surrogate.log_likelihood_pairs(m, np.roll(z, step, axis=0), x) for step in steps]
    return own - np.logaddexp.reduce([own, *others], axis=0) + np.log(len(others) + 1)


def learn_likelihood(
    prior: Prior,
    z: np.ndarray,
    x: np.ndarray,
    standardize: Standardize,
    weight: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    builder: LikelihoodBuilder,
    options: FitOptions,
    validity: Any,
) -> tuple[SurrogateLikelihood, FitInfo] | None:
    """The likelihood of data x, shape (n, p), given parameters z; None if no column varies.

    Columns that others determine are left out: said twice, they would count twice.

    Args:
        prior: The prior.
        z: Shape (n, d).
        x: Shape (n, p).
        standardize: The map for x, if no column is of whole numbers.
        weight: What each row counts for, shape (n,).
        held_out: (M, n) bool.
        seed: Below 2**32.
        builder: Makes the members.
        options: Training options.
        validity: p(valid | z), or None.
    """
    own = own_columns(x)
    whole = (x == np.round(x)).all(0) & (np.ptp(x, axis=0) > 0)
    if whole.any():  # k stands for the interval from k to k + 1
        x = x + whole * random.generator(seed, "whole numbers").random(x.shape)
        standardize = fit_standardize(x, "independent", z)
    features = standardize(x)
    varies = own & (features.std(0) > 1e-6)
    if not varies.any():
        return None
    data = features[:, varies]
    seen_as = _better_coordinates(prior, z, data)
    u = seen_as(z)
    rows = Rows(data, u, np.zeros(len(z), np.float32), weight.astype(np.float32), np.zeros(len(z), np.int32))
    members = [builder(data[~out], u[~out], random.generator(seed, "likelihood", m)) for m, out in enumerate(held_out)]
    trained, info = fit(members, rows, held_out, MaximumLikelihood(), options, random.word(seed, "fit likelihood"))
    ensemble = likelihood_ensemble(trained, z.shape[1])
    known_as = whole if whole.any() else None
    return SurrogateLikelihood(ensemble, standardize, varies, seen_as, validity, known_as), info


def _better_coordinates(prior: Prior, z: np.ndarray, data: np.ndarray) -> Coordinates:
    """theta or z: whichever a regression predicts left-out data from better."""
    options = [coordinates(prior, z, in_theta) for in_theta in (False, True)]
    errors = [
        (Ridge(option(z).astype(np.float64), products=z.shape[1] <= 12).fit(data)[2] ** 2).mean(0) for option in options
    ]
    scores = [np.log(error + 1e-12).sum() for error in errors]
    return options[int(np.argmin(scores))]

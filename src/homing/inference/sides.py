"""Learning both sides of the same simulations, each as an ensemble.

The direct side, q(theta | x), and the likelihood's, q(x | theta), see the same rows: those that the method chose, for
truncation the ones inside the newest region. All maps (each column's scale,
the standardisation, the regressions) are fitted to these rows anew, so the networks always work at the posterior's own
scale. Each member holds out another part of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from homing import random
from homing.estimators import PosteriorBuilder, Ridge, Standardize, fit_standardize, likelihood_density
from homing.estimators.validity import Validity
from homing.posteriors import (
    DirectPosterior,
    Ensemble,
    HybridPosterior,
    Posterior,
    SurrogateLikelihood,
    coordinates,
    likelihood_ensemble,
)
from homing.posteriors.surrogate import Coordinates
from homing.priors import Prior
from homing.training import FitInfo, FitOptions, Loss, MaximumLikelihood, Rows, fit

MOST_COLUMNS = 64  # of x, up to which its likelihood is learned
_HELD_OUT = 0.12  # of the rows, for each member


@dataclass(frozen=True)
class SideOptions:
    """What is learned.

    Attributes:
        builder: Makes the direct side's members.
        members: Members of each side.
        likelihood: Whether the likelihood's side is learned.
        fit: Training options.
    """

    builder: PosteriorBuilder = field(default_factory=lambda: PosteriorBuilder("nsf", num_transforms=3, num_bins=8))
    members: int = 4
    likelihood: bool = True
    fit: FitOptions = field(default_factory=lambda: FitOptions(stop_after_steps=500))


@dataclass(frozen=True, eq=False)
class Sides:
    """What a round learned.

    Attributes:
        direct: The density of z given x.
        likelihood: The likelihood, or None.
        info: The direct side's fit.
        held_out: (M, n) bool, each member's held-out rows.
        share: The direct side's share of the posterior.
    """

    direct: Ensemble
    likelihood: SurrogateLikelihood | None
    info: FitInfo
    held_out: np.ndarray
    share: float = 0.5


def learn_sides(
    prior: Prior,
    z: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    order: np.ndarray,
    loss: Loss,
    seed: int,
    options: SideOptions,
    validity: Validity | None = None,
) -> Sides:
    """Learn both sides.

    Args:
        prior: The prior.
        z: Parameters, shape (n, d).
        x: Data, shape (n, *x_shape).
        weight: What each row counts for, shape (n,).
        order: A number in [0, 1) for each row, shape (n,), that never changes: member m holds out those in its window.
        loss: The direct side's; the likelihood is learned by maximum likelihood, right for rows of any proposal.
        seed: Below 2**32.
        options: What to learn.
        validity: p(valid | z), for the likelihood; the direct side has it in its rows.
    """
    standardize = options.builder.standardize(x, z)
    features = standardize(x)
    held_out = _windows(order, options.members)
    rows = Rows(
        z.astype(np.float32),
        features,
        prior.log_prob_normal(z).astype(np.float32),
        weight.astype(np.float32),
        _zeros(z),
    )
    members = [
        options.builder.density(z[~out], features[~out], random.generator(seed, "direct", m))
        for m, out in enumerate(held_out)
    ]
    trained, info = fit(members, rows, held_out, loss, options.fit, random.word(seed, "fit direct"))
    equal = np.full(options.members, 1 / options.members)
    direct = Ensemble(trained, equal, standardize, x.shape[1:])
    likelihood = None
    if options.likelihood and x.ndim == 2 and x.shape[1] <= MOST_COLUMNS:
        likelihood = _learn_likelihood(prior, z, x, standardize, weight, held_out, seed, options, validity)
    return Sides(direct, likelihood, info, held_out)


def sides_of(posterior: Posterior, epochs: int, converged: bool, validation_loss: float | None) -> Sides:
    """The sides that a posterior was made of, with what its round's record kept of the fit."""
    hybrid = posterior if isinstance(posterior, HybridPosterior) else None
    direct = hybrid.direct if hybrid else posterior
    assert isinstance(direct, DirectPosterior)
    loss = np.array([np.nan if validation_loss is None else validation_loss])
    info = FitInfo(np.array([epochs]), np.array([converged]), loss, np.zeros((1, 0)), 0.0)
    unknown = np.zeros((1, 0), bool)
    if hybrid is None:
        return Sides(direct.ensemble, None, info, unknown)
    return Sides(direct.ensemble, hybrid.likelihood, info, unknown, hybrid.share)


def _learn_likelihood(
    prior: Prior,
    z: np.ndarray,
    x: np.ndarray,
    standardize: Standardize,
    weight: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    options: SideOptions,
    validity: Validity | None,
) -> SurrogateLikelihood | None:
    whole = (x == np.round(x)).all(0) & (np.ptp(x, axis=0) > 0)
    if whole.any():  # a density knows no whole numbers: k stands for the interval from k to k + 1
        x = x + whole * random.generator(seed, "whole numbers").random(x.shape)
    if whole.any() or options.builder.embedding_net is not None:
        standardize = fit_standardize(x, options.builder.z_score_x, z)
    features = standardize(x)
    varies = features.std(0) > 1e-6
    if not varies.any():
        return None
    data = features[:, varies]
    seen_as = _better_coordinates(prior, z, data)
    u = seen_as(z)
    rows = Rows(data, u, np.zeros(len(z), np.float32), weight.astype(np.float32), _zeros(z))
    members = [
        likelihood_density(data[~out], u[~out], random.generator(seed, "likelihood", m))
        for m, out in enumerate(held_out)
    ]
    trained, _ = fit(members, rows, held_out, MaximumLikelihood(), options.fit, random.word(seed, "fit likelihood"))
    ensemble = likelihood_ensemble(trained, z.shape[1])
    return SurrogateLikelihood(ensemble, standardize, varies, seen_as, validity, whole if whole.any() else None)


def _better_coordinates(prior: Prior, z: np.ndarray, data: np.ndarray) -> Coordinates:
    """theta or z: whichever a regression predicts left-out data from better."""
    options = [coordinates(prior, z, in_theta) for in_theta in (False, True)]
    errors = [
        (Ridge(option(z).astype(np.float64), products=z.shape[1] <= 12).fit(data)[2] ** 2).mean(0) for option in options
    ]
    scores = [np.log(error + 1e-12).sum() for error in errors]
    return options[int(np.argmin(scores))]


def _windows(order: np.ndarray, members: int) -> np.ndarray:
    """Each member's held-out rows, shape (M, n): windows of the fixed order, side by side."""
    rank = np.argsort(np.argsort(order))
    count = max(1, round(_HELD_OUT * len(order)))
    place = (rank[None, :] - count * np.arange(members)[:, None]) % len(order)
    return place < count


def _zeros(z: np.ndarray) -> np.ndarray:
    return np.zeros(len(z), np.int32)

r"""The prior, cut to the region that holds all but a share epsilon of the posterior.

\(\{\theta : q(\theta \mid x_o) / p(\theta) > \tau\}\) with \(\tau\) the \(\epsilon\)-quantile of the ratio under the
posterior: of all regions with so much of the posterior it is the one with the least of the prior (Neyman, Pearson),
whatever the parametrisation. Rows drawn from the prior cut to a region need no correction inside it: maximum likelihood
is right. The density is the ensemble's mixture, to which every member contributes its share, so that a theta stays if
one member alone gives it enough. (The union of
the members' own regions was measured too, on Lotka-Volterra, two seeds: twice as large, and .04 and .07 worse in C2ST.)

Draws are exact by rejection while the prior hits the region often enough; else they are resampled, without replacement,
from candidates of a heavy-tailed density about the posterior, by their weight under the prior within the region. The
work is fixed beforehand, so it never hangs, and the effective sample size of the weights is part of what comes back.

Source: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*, 2022,
https://arxiv.org/abs/2210.04815.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from homing.posteriors import HybridPosterior, Posterior, SampledPosterior
from homing.posteriors.sampling.student import student_draws, student_log_density
from homing.priors import Prior
from homing.random import generator, word

_PILOT = 16_384  # prior draws to estimate the region's volume by
_MOST_REJECTED = 16  # times the pilot: prior draws before resampling takes over
_CANDIDATES = 256  # for each draw by resampling
_MOST_CANDIDATES = 131_072
_WIDER = 2.0  # the candidates' covariance, as a multiple of the posterior's
_POSTERIOR_DRAWS = 8192
_LEAST_VALID = float(np.log(0.05))  # of the typical probability to be valid


class Drawn(NamedTuple):
    """How draws of a truncated prior were made.

    Attributes:
        volume: The region's share of the prior's mass.
        effective: Effective sample size of the resampling weights, as a multiple of the draws; None for exact draws.
    """

    volume: float
    effective: float | None

    def as_dict(self) -> dict[str, float | None]:
        """By name."""
        return self._asdict()


@dataclass(frozen=True, eq=False)
class Region:
    """Where the log ratio of posterior to prior exceeds a threshold.

    Attributes:
        log_ratio: From z of shape (n, d) to (n,).
        threshold: What it has to exceed.
        draws: Draws of the posterior that the region was made from, shape (k, d), in z.
    """

    log_ratio: Callable[[np.ndarray], np.ndarray]
    threshold: float
    draws: np.ndarray

    def contains(self, z: np.ndarray) -> np.ndarray:
        """Shape (n,), bool, of rows z."""
        return self.log_ratio(z) > self.threshold

    @cached_property
    def volume(self) -> float:
        """The region's share of the prior's mass, from the posterior's draws: the mean of p / q within the region."""
        ratio = self.log_ratio(self.draws)
        return float(np.where(ratio > self.threshold, np.exp(-ratio), 0.0).mean())


def posterior_region(
    posterior: Posterior,
    epsilon: float,
    seed: int,
    log_valid: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Region:
    """The region that holds all but epsilon of a posterior at its default x.

    Of two sides, it is the direct one's. Of several trials, it is that of one: within a smaller region, parameters
    would differ by less than one simulation's noise, and their influence on the data could not be learned.

    Args:
        posterior: The posterior.
        epsilon: Share of the posterior left out.
        seed: Decides the draws that the threshold is from.
        log_valid: log p(valid | z) of rows z. Left out is also where a simulation is far less likely to be valid than
            it typically is under the posterior: nearly all would be wasted, and the posterior is as much smaller there.
    """
    x, prior = posterior.condition_of(), posterior.prior
    density = _density_of(posterior)
    draws = density.draw_normal(_POSTERIOR_DRAWS, x, word(seed, "region"))
    least = -np.inf if log_valid is None else float(np.median(log_valid(draws))) + _LEAST_VALID

    def log_ratio(z: np.ndarray) -> np.ndarray:
        ratio = density.log_prob_normal(z, x) - prior.log_prob_normal(z)
        return ratio if log_valid is None else np.where(log_valid(z) >= least, ratio, -np.inf)

    ratio = log_ratio(draws)
    return Region(log_ratio, float(np.quantile(ratio[ratio > -np.inf], epsilon)), draws)


def _density_of(posterior: Posterior) -> Posterior:
    if isinstance(posterior, SampledPosterior):
        return posterior.of_one_trial()
    return posterior.direct if isinstance(posterior, HybridPosterior) else posterior


@dataclass(frozen=True, eq=False)
class TruncatedPrior:
    """Draws from the prior cut to a region, and a small share from the whole prior.

    Attributes:
        prior: The prior.
        region: Where it is cut to.
        defensive: Share of draws from the whole prior: what would show that the region is too small.
    """

    prior: Prior
    region: Region
    defensive: float = 0.0
    name = "truncated"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64, in random order."""
        return self.draw_with_info(num, seed)[0]

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        inside = self.region.contains(self.prior.to_normal(theta))
        with np.errstate(divide="ignore"):  # nothing is drawn outside
            return np.log(self.defensive + (1 - self.defensive) * inside / max(self.region.volume, 1e-300))

    def draw_with_info(self, num: int, seed: int) -> tuple[np.ndarray, Drawn]:
        """Draws, and how they were made."""
        rng = generator(seed, "truncated")
        free = int(rng.binomial(num, self.defensive))
        z, drawn = self._draw_z(num - free, rng)
        z = rng.permutation(np.concatenate([z, self.prior.to_normal(self.prior.sample(rng, free))]))
        return self.prior.from_normal(z), drawn

    def _draw_z(self, num: int, rng: np.random.Generator) -> tuple[np.ndarray, Drawn]:
        kept, tried = [np.zeros((0, self.prior.dim))], 0
        for batch in range(_MOST_REJECTED):
            z = self.prior.to_normal(self.prior.sample(rng, _PILOT))
            kept.append(z[self.region.contains(z)])
            tried += _PILOT
            found = sum(map(len, kept))
            if found >= num or (found / tried * _MOST_REJECTED * _PILOT < num and batch > 0):
                break
        exact = np.concatenate(kept)
        if len(exact) >= num:
            return exact[:num], Drawn(len(exact) / tried, None)
        z, effective, volume = self._resample(num, rng)
        return z, Drawn(volume, effective)

    def _resample(self, num: int, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
        """Draws by resampling, their effective sample size a draw, and the region's volume."""
        draws = self.region.draws
        count = int(np.clip(_CANDIDATES * num, 1024, _MOST_CANDIDATES))
        mean, dim = draws.mean(0), draws.shape[1]
        scale = np.linalg.cholesky(_WIDER * np.cov(draws.T).reshape(dim, dim) + 1e-12 * np.eye(dim))
        candidates = mean + student_draws(rng, count, scale)
        log_weights = np.where(
            self.region.contains(candidates),
            self.prior.log_prob_normal(candidates) - student_log_density(candidates - mean, scale),
            -np.inf,
        )
        if not np.isfinite(log_weights).any():
            return draws[rng.permutation(len(draws))[:num]], 0.0, 0.0
        total = float(np.logaddexp.reduce(log_weights))
        weights = np.exp(log_weights - total)
        effective = 1 / float((weights**2).sum())
        replace = int((weights > 0).sum()) < num
        chosen = rng.choice(count, num, replace=replace, p=weights)
        return candidates[chosen], effective / max(num, 1), float(np.exp(total) / count)

r"""The prior, cut to the region that holds all but a share epsilon of the posterior.

\(\{\theta : q(\theta \mid x_o) / p(\theta) > \tau\}\) with \(\tau\) the \(\epsilon\)-quantile of the ratio under the
posterior: of all regions with so much of the posterior it is the one with the least of the prior (Neyman, Pearson),
whatever the parametrisation. Rows drawn from the prior cut to a region need no correction inside it: maximum likelihood
is right. The density is the ensemble's mixture, to which every member contributes its share, so that a theta stays if
one member alone gives it enough. (The union of the members' own regions was measured too, on Lotka-Volterra, two seeds:
twice as large, and .04 and .07 worse in C2ST.)

Source: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*, 2022,
https://arxiv.org/abs/2210.04815.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homing.posteriors import HybridPosterior, Posterior, SampledPosterior
from homing.priors import Prior
from homing.proposals.reweighed import Drawn, ReweighedPrior
from homing.random import generator, word

_POSTERIOR_DRAWS = 8192
_LEAST_VALID = float(np.log(0.05))  # of the typical probability to be valid


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

    @property
    def volume(self) -> float:
        """The region's share of the prior's mass."""
        return self._inside.volume

    @property
    def is_reachable(self) -> bool:
        """Whether the region can be drawn from."""
        return self._inside.is_reachable

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64, in random order."""
        return self.draw_with_info(num, seed)[0]

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        return self._inside.log_ratio(theta)

    def draw_with_info(self, num: int, seed: int) -> tuple[np.ndarray, Drawn]:
        """Draws, and how they were made.

        Raises:
            SimulationError: If the region cannot be drawn from.
        """
        return self._inside.draw(num, generator(seed, "truncated"))

    @cached_property
    def _inside(self) -> ReweighedPrior:
        def log_factor(z: np.ndarray) -> np.ndarray:
            return np.where(self.region.contains(z), 0.0, -np.inf)

        draws = self.region.draws
        return ReweighedPrior(self.prior, log_factor, draws[self.region.contains(draws)], self.defensive)

r"""The prior times a factor, \(p(\theta)\, w(\theta) / V\) with \(V = E_p[w]\), importance resampled in bounded work.

Candidates come from the prior where it hits the factor often enough. Else they come from a mixture of normal
distributions fitted to draws near which the factor is above zero, widened to the edge of a normal distribution. Where
some are chosen more than once, all are moved by Metropolis steps under the product until hardly one stands twice. How
many independent draws the candidates are worth is part of what comes back.

Source: Robert, Casella, *Monte Carlo Statistical Methods*, 2004, chapters 3 and 14,
https://doi.org/10.1007/978-1-4757-4145-2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri

from homing.errors import SimulationError
from homing.posteriors.sampling.gaussians import GaussianMixture, fit_gaussians
from homing.posteriors.sampling.tempered import Differences, effective_share
from homing.priors import Prior
from homing.random import generator

_PILOT = 16_384  # candidates that show what candidates are worth
_FROM_PRIOR = 1024  # independent draws that those of the prior must be worth, to come from it
_EDGE = 0.999  # of a normal distribution within the widened candidates' typical radius
_MOST_CANDIDATES = 131_072
_EFFECTIVE = 4  # independent draws that the candidates should be worth, for each that is wanted
_REACHABLE = 64  # independent draws that the pilot must be worth
_MOST_MOVES, _MOVED = 64, 0.99  # steps of every repeated row, and the share of them that has to have moved


class Drawn(NamedTuple):
    """How draws were made.

    Attributes:
        volume: The factor's mean under the prior; of a region, its share of the prior's mass.
        effective: How many independent draws the candidates are worth, as a multiple of the draws; None where the
            prior itself gave them.
    """

    volume: float
    effective: float | None

    def as_dict(self) -> dict[str, float | None]:
        """By name."""
        return self._asdict()


class _Candidates(NamedTuple):
    """Where candidates come from, and what a pilot of them showed.

    Attributes:
        mixture: What they are drawn from; None for the prior.
        widened: The multiple of its standard deviations.
        share: How many independent draws of the product one candidate is worth.
        volume: The factor's mean under the prior.
    """

    mixture: GaussianMixture | None
    widened: float
    share: float
    volume: float


@dataclass(frozen=True, eq=False)
class ReweighedPrior:
    """The prior times a factor.

    Attributes:
        prior: The prior.
        log_factor: The factor's logarithm, from rows z of shape (n, d) to (n,); -inf for zero.
        near: Draws near which it is above zero, shape (k, d), in z; None to look for it by draws of the prior alone.
        whole: Share of draws from the prior without the factor.
    """

    prior: Prior
    log_factor: Callable[[np.ndarray], np.ndarray]
    near: np.ndarray | None = None
    whole: float = 0.0

    @property
    def volume(self) -> float:
        """The factor's mean under the prior."""
        return self._candidates.volume

    @property
    def is_reachable(self) -> bool:
        """Whether it can be drawn: not where the factor is above zero in too small and too oddly shaped a place."""
        return self._candidates.share * _PILOT >= _REACHABLE

    def draw(self, num: int, rng: np.random.Generator) -> tuple[np.ndarray, Drawn]:
        """Draws of theta, shape (num, d), float64, in random order, and how they were made.

        Raises:
            SimulationError: If it cannot be drawn; see `is_reachable`.
        """
        free = int(rng.binomial(num, self.whole))
        z, drawn = self._draw_product(num - free, rng)
        z = rng.permutation(np.concatenate([z, self.prior.to_normal(self.prior.sample(rng, free))]))
        return self.prior.from_normal(z), drawn

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        log_factor = self.log_factor(self.prior.to_normal(theta)) - np.log(max(self.volume, 1e-300))
        with np.errstate(divide="ignore"):  # no share of the whole prior
            return np.logaddexp(np.log(self.whole), np.log1p(-self.whole) + log_factor)

    def _draw_product(self, num: int, rng: np.random.Generator) -> tuple[np.ndarray, Drawn]:
        """Draws of z, shape (num, d), and how they were made.

        Raises:
            SimulationError: If it cannot be drawn; see `is_reachable`.
        """
        mixture, _, share, volume = self._candidates
        if not self.is_reachable:
            raise SimulationError(
                f"The prior cut to {volume:.1g} of its mass cannot be drawn: {_PILOT} candidates are worth "
                f"{share * _PILOT:.1f} independent draws. Draw from the posterior instead."
            )
        count = int(np.clip(_EFFECTIVE * num / share, _PILOT, _MOST_CANDIDATES))
        z, log_weights = self._weigh(count, self._candidates, rng)
        ends = np.cumsum(np.exp(log_weights - log_weights.max()))
        chosen = np.searchsorted(ends, (rng.random() + np.arange(num)) / max(num, 1) * ends[-1]).clip(0, count - 1)
        z = self._move(z[chosen], np.diff(chosen, prepend=-1) == 0, rng)
        effective = effective_share(log_weights) * count / max(num, 1)
        return z, Drawn(volume, None if mixture is None else effective)

    @cached_property
    def _candidates(self) -> _Candidates:
        """Of the prior where these are worth enough; else of the mixture, with the width that is worth most."""
        rng = generator(0, "candidates")
        found = self._pilot(None, 1.0, rng)
        if self.near is None or found.share * _PILOT >= _FROM_PRIOR:
            return found
        mixture, dim = fit_gaussians(self.near, rng), self.prior.dim
        if mixture is None:
            return found
        edge = np.sqrt(chdtri(dim, 1 - _EDGE) / dim)  # of a normal distribution, in root mean square radii
        return max([found, *(self._pilot(mixture, widened, rng) for widened in (edge, np.sqrt(edge)))], key=_worth)

    def _pilot(self, mixture: GaussianMixture | None, widened: float, rng: np.random.Generator) -> _Candidates:
        _, log_weights = self._weigh(_PILOT, _Candidates(mixture, widened, 0.0, 0.0), rng)
        return _Candidates(mixture, widened, effective_share(log_weights), float(np.exp(log_weights).mean()))

    def _weigh(self, num: int, source: _Candidates, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Candidates z, and the logarithm of the product's density over theirs."""
        if source.mixture is None:
            z = self.prior.to_normal(self.prior.sample(rng, num))
            return z, self.log_factor(z)
        z = source.mixture.sample(num, rng, source.widened)
        log_factor = self.log_factor(z) + self.prior.log_prob_normal(z)
        return z, log_factor - source.mixture.log_density(z, source.widened)

    def _move(self, z: np.ndarray, is_repeated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """All rows z after Metropolis steps under the product, until those that stood there already have moved.

        To move these alone would not be right: they are where weights are large.
        """
        if not is_repeated.any():
            return z
        values, steps, has_moved = self._log_density(z), Differences(z, rng), ~is_repeated
        for _ in range(_MOST_MOVES):
            proposed = z + steps(len(z), rng)
            new = self._log_density(proposed)
            accepted = np.log(rng.random(len(z))) < new - values
            z[accepted], values[accepted], has_moved[accepted] = proposed[accepted], new[accepted], True
            if has_moved[is_repeated].mean() > _MOVED:
                break
        return z

    def _log_density(self, z: np.ndarray) -> np.ndarray:
        return self.prior.log_prob_normal(z) + self.log_factor(z)


def _worth(candidates: _Candidates) -> float:
    return candidates.share

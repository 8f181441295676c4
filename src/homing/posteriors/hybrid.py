r"""Two sides of the same simulations, half and half.

A density of theta given x and a likelihood of x given theta, learned from the same rows, err differently, and no rule
was found that chooses between them as well as not choosing does: \(p(\theta \mid x) \approx \tfrac12\, q(\theta \mid x)
+ \tfrac12\, L(x \mid \theta)\, p(\theta) / Z(x)\). The likelihood's half is drawn by tempering draws of the first half;
its constant Z comes from importance sampling, whose effective sample size is also how far the two sides agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from homing import random
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.posterior import Posterior
from homing.posteriors.student import student_draws, student_log_density
from homing.posteriors.surrogate import SurrogateLikelihood
from homing.posteriors.tempered import effective_share, temper

_BANK = 8192  # tempered draws kept for an x; a request for more is tempered anew
_CANDIDATES = 16_384  # importance draws for the constant


class Side(NamedTuple):
    """The likelihood's posterior at one x.

    Attributes:
        z: Tempered draws, shape (n, d).
        log_evidence: log Z.
        effective: The importance weights' effective share, when proposed from q(theta | x) alone: one if the sides
            agree, near
            zero if they contradict each other.
    """

    z: np.ndarray
    log_evidence: float
    effective: float


class HybridPosterior(Posterior):
    """The equal mixture of a direct posterior and of a learned likelihood times the prior.

    Args:
        direct: The direct side.
        likelihood: The likelihood's side, learned from the same simulations.
        **options: As for `Posterior`.
    """

    def __init__(self, direct: DirectPosterior, likelihood: SurrogateLikelihood, **options: Any):
        super().__init__(direct.prior, direct.x_shape, **options)
        self.direct = direct
        self.likelihood = likelihood
        self._sides: dict[bytes, Side] = {}

    def side(self, x: np.ndarray) -> Side:
        """The likelihood's side at an x of shape x_shape."""
        key = x.tobytes()
        if key not in self._sides:
            z = self._temper(_BANK, x, random.word(self._seed, "bank"))
            self._sides[key] = Side(z, *self._evidence(x, z))
        return self._sides[key]

    def agreement(self, x: Any | None = None) -> float:
        """How far the two sides agree at x: the effective share of importance weights from one to the other."""
        return self.side(self.condition_of(x)).effective

    def _draw_z(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        rng = random.generator(seed, "halves")
        half = int(rng.binomial(num, 0.5))
        direct = self.direct.ensemble.sample(num - half, x, random.word(seed, "direct"), on_chunk)
        bank = self.side(x).z
        other = (
            rng.permutation(bank)[:half] if half <= len(bank) else self._temper(half, x, random.word(seed, "temper"))
        )
        if on_chunk is not None:
            on_chunk(half)
        return rng.permutation(np.concatenate([direct, other]))

    def _log_prob_z(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        sides = [self.direct.ensemble.log_prob(z, x), self._log_joint(z, x) - self.side(x).log_evidence]
        return np.logaddexp(*sides) - np.log(2)

    def _log_joint(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.likelihood.log_likelihood(z, x) + self.prior.log_prob_normal(z)

    def _temper(self, num: int, x: np.ndarray, seed: int) -> np.ndarray:
        ensemble = self.direct.ensemble
        start = ensemble.sample(num, x, random.word(seed, "start"))
        rng = random.generator(seed, "moves")
        return temper(start, lambda z: ensemble.log_prob(z, x), lambda z: self._log_joint(z, x), rng).z

    def _evidence(self, x: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
        """log Z by importance sampling, half from q and half from a t about the tempered draws; and q's agreement."""
        rng = random.generator(self._seed, "evidence")
        mean, dim = draws.mean(0), draws.shape[1]
        scale = np.linalg.cholesky(1.5 * np.cov(draws.T).reshape(dim, dim) + 1e-12 * np.eye(dim))
        heavy = mean + student_draws(rng, _CANDIDATES // 2, scale)
        own = self.direct.ensemble.sample(_CANDIDATES // 2, x, random.word(self._seed, "evidence"))
        z = np.concatenate([own, heavy])
        log_q = self.direct.ensemble.log_prob(z, x)
        log_joint = self._log_joint(z, x)
        mixture = np.logaddexp(log_q, student_log_density(z - mean, scale)) - np.log(2)
        own_weights = (log_joint - log_q)[: len(own)]
        return float(np.logaddexp.reduce(log_joint - mixture) - np.log(len(z))), effective_share(own_weights)

    @property
    def _learned(self) -> dict[str, Any]:
        return {"ensemble": self.direct.ensemble, "likelihood": self.likelihood}

    @property
    def _origin(self) -> str:
        return "This HybridPosterior-object was obtained with a SNPE-class method using a flow, and a likelihood flow."

r"""Two sides of the same simulations.

A density of theta given x and a likelihood of x given theta, learned from the same rows, err differently, and neither
is the better one everywhere: \(p(\theta \mid x) \approx w\, q(\theta \mid x) + (1 - w)\, \frac1M \sum_m L_m(x \mid
\theta)\, p(\theta) / Z_m(x)\), with w = 1/2 unless held-out data tell the direct side to be behind. Each member of the
likelihood is normalised by itself: a mixture of the likelihoods would be the posterior of the boldest, whichever puts
x_o highest. Its draws come by tempering draws of q; the constants by importance sampling, whose effective sample size
is also how far the two sides agree.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from homing import random
from homing.diagnostics import Verdict, check_agreement
from homing.posteriors.conditionals import Conditionals, paired
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.ensemble import THREADS
from homing.posteriors.posterior import Posterior
from homing.posteriors.student import student_draws, student_log_density
from homing.posteriors.surrogate import SurrogateLikelihood
from homing.posteriors.tail import pareto_shape
from homing.posteriors.tempered import effective_share, temper

_BANK = 16_384  # draws for an x without tempering anew; those of the likelihood's side are kept, and given again
_LEAST_BANK = 4096
_CANDIDATES = 16_384  # importance draws for the constant


class Side(NamedTuple):
    """The likelihood's posterior at one x.

    Attributes:
        z: Tempered draws in random order, shape (n, d).
        log_evidence: log Z_m, shape (M,).
        effective: The importance weights' effective share, when proposed from q(theta | x) alone: one if the sides
            agree, near zero if they contradict each other.
        khat: The Pareto shape of these weights.
    """

    z: np.ndarray
    log_evidence: np.ndarray
    effective: float
    khat: float


class HybridPosterior(Posterior):
    """The mixture of a direct posterior and of a learned likelihood times the prior.

    Args:
        direct: The direct side.
        likelihood: The likelihood's side, learned from the same simulations.
        share: The direct side's share w of the mixture, from 0 to 1.
        **options: As for `Posterior`.
    """

    def __init__(self, direct: DirectPosterior, likelihood: SurrogateLikelihood, share: float = 0.5, **options: Any):
        super().__init__(direct.prior, direct.x_shape, **options)
        self.direct = direct
        self.likelihood = likelihood
        self.share = share
        self._sides: dict[bytes, Side] = {}

    def side(self, x: np.ndarray) -> Side:
        """The likelihood's side at an x of shape x_shape."""
        key = x.tobytes()
        if key not in self._sides:
            z = self._temper(max(_LEAST_BANK, round(_BANK * (1 - self.share))), x, random.word(self._seed, "bank"))
            self._sides[key] = Side(z, *self._evidence(x, z))
        return self._sides[key]

    def agreement(self, x: Any | None = None) -> float:
        """How far the two sides agree at x: the effective share of importance weights from one to the other."""
        return self.side(self.condition_of(x)).effective

    def _draw_z(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        rng = random.generator(seed, "halves")
        num_direct = int(rng.binomial(num, self.share))
        num_other = num - num_direct
        direct = self.direct.ensemble.sample(num_direct, x, random.word(seed, "direct"), on_chunk)
        bank = self.side(x).z
        if num_other <= len(bank):
            other = rng.permutation(bank)[:num_other]
        else:
            other = self._temper(num_other, x, random.word(seed, "temper"))
        if on_chunk is not None:
            on_chunk(num_other)
        return rng.permutation(np.concatenate([direct, other]))

    def _log_prob_z(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        other = _log_mean(self._log_joints(z, x), self.side(x).log_evidence)
        return self._mixed(self.direct.ensemble.log_prob(z, x), other)

    def _mixed(self, log_direct: np.ndarray, log_other: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a side of no share
            log_shares = np.log([self.share, 1 - self.share])
        return np.logaddexp(log_direct + log_shares[0], log_other + log_shares[1])

    def _log_joint(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.likelihood.log_likelihood(m, z, x) + self.prior.log_prob_normal(z)

    def _log_joints(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.stack([self._log_joint(m, z, x) for m in range(self.likelihood.num_members)])

    def _temper(self, num: int, x: np.ndarray, seed: int) -> np.ndarray:
        """Draws of all members' posteriors, as many of each; each starts from a direct member's draws."""
        members = self.likelihood.num_members

        def one(m: int) -> np.ndarray:
            direct = self.direct.ensemble.member(m % len(self.direct.ensemble.members))
            start = direct.sample(-(-num // members), x, random.word(seed, "start", m))
            rng = random.generator(seed, "moves", m)
            return temper(start, lambda z: direct.log_prob(z, x), lambda z: self._log_joint(m, z, x), rng).z

        with ThreadPoolExecutor(THREADS) as pool:
            draws = np.concatenate(list(pool.map(one, range(members))))
        return random.generator(seed, "order").permutation(draws)[:num]

    def _evidence(self, x: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, float, float]:
        """log Z_m by importance sampling, half from q and half from a t about the draws; and how q agrees."""
        rng = random.generator(self._seed, "evidence")
        mean, dim = draws.mean(0), draws.shape[1]
        scale = np.linalg.cholesky(1.5 * np.cov(draws.T).reshape(dim, dim) + 1e-12 * np.eye(dim))
        heavy = mean + student_draws(rng, _CANDIDATES // 2, scale)
        own = self.direct.ensemble.sample(_CANDIDATES // 2, x, random.word(self._seed, "evidence"))
        z = np.concatenate([own, heavy])
        log_q = self.direct.ensemble.log_prob(z, x)
        log_joints = self._log_joints(z, x)
        mixture = np.logaddexp(log_q, student_log_density(z - mean, scale)) - np.log(2)
        log_evidence = np.logaddexp.reduce(log_joints - mixture, axis=1) - np.log(len(z))
        own_weights = (_log_mean(log_joints, log_evidence) - log_q)[: len(own)]
        return log_evidence, effective_share(own_weights), pareto_shape(own_weights)

    def _audits(self, x: np.ndarray) -> list[Verdict]:
        side = self.side(x)
        agreement = check_agreement(side.effective, side.khat, _CANDIDATES // 2)
        return [agreement, *self.direct._disagreement(x), *super()._audits(x)]

    def at_each(self, x: np.ndarray, num: int, seed: int) -> Conditionals:
        """As `Posterior.at_each`: the direct side proposes, and its draws give the likelihood's constants, too."""
        direct = self.direct.at_each(x, num, seed)

        def log_joints(rows: np.ndarray) -> np.ndarray:
            members = range(self.likelihood.num_members)
            return np.stack([paired(lambda z, at, m=m: self._log_joint(m, z, at), rows, x) for m in members])

        proposed = direct.density(direct.z)[1]
        log_evidence = np.logaddexp.reduce(log_joints(direct.z) - proposed, axis=2) - np.log(num)

        def density(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log_direct, joints = direct.density(rows)[0], log_joints(rows) - log_evidence[:, :, None]
            return self._mixed(log_direct, np.logaddexp.reduce(joints, axis=0) - np.log(len(joints))), log_direct

        return Conditionals(lambda: direct.z, density)

    @property
    def _learned(self) -> dict[str, Any]:
        return {"ensemble": self.direct.ensemble, "likelihood": self.likelihood, "share": self.share}

    @property
    def _origin(self) -> str:
        return "This HybridPosterior-object was obtained with a SNPE-class method using a flow, and a likelihood flow."


def _log_mean(log_joints: np.ndarray, log_evidence: np.ndarray) -> np.ndarray:
    """log of the members' mean posterior density, from shapes (M, n) and (M,)."""
    return np.logaddexp.reduce(log_joints - log_evidence[:, None], axis=0) - np.log(len(log_evidence))

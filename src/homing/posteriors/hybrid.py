r"""Two sides of the same simulations.

A density of theta given x and a likelihood of x given theta, learned from the same rows, err differently, and neither
is the better one everywhere: \(p(\theta \mid x) \approx w\, q(\theta \mid x) + (1 - w)\, \frac1M \sum_m L_m(x \mid
\theta)\, p(\theta) / Z_m(x)\), with w = 1/2 unless held-out data tell the direct side to be behind. The likelihood's
draws come by tempering draws of q; its constants by importance sampling, whose effective sample size is also how far
the two sides agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from homing import random
from homing.diagnostics import Verdict, check_agreement
from homing.diagnostics.verdict import attempt
from homing.posteriors.conditionals import Conditionals, paired
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.posterior import Posterior
from homing.posteriors.sampled import BANK, CANDIDATES, MCMCPosterior, Side
from homing.posteriors.surrogate import SurrogateLikelihood

_LEAST_BANK = 4096


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
        self.num_members = direct.num_members
        bank = max(_LEAST_BANK, round(BANK * (1 - share)))
        own = {"multi_round": self.multi_round, "seed": self._seed}
        self._other = MCMCPosterior(likelihood, direct.prior, direct.x_shape, start=direct.ensemble, bank=bank, **own)

    def side(self, x: np.ndarray) -> Side:
        """The likelihood's side at an x of shape x_shape."""
        return self._other.side(x)

    def agreement(self, x: Any | None = None) -> float:
        """How far the two sides agree at x: the effective share of importance weights from one to the other."""
        return self.side(self.condition_of(x)).effective

    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        return self._drawn(self._other.draw_normal, num, x, seed, on_chunk)

    def fresh_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        return self._drawn(self._other.fresh_normal, num, x, seed, on_chunk)

    def _drawn(
        self,
        other: Callable[..., np.ndarray],
        num: int,
        x: np.ndarray,
        seed: int,
        on_chunk: Callable[[int], object] | None,
    ) -> np.ndarray:
        """Draws of both sides in random order, those of the likelihood's side by `other`."""
        rng = random.generator(seed, "halves")
        num_direct = int(rng.binomial(num, self.share))
        parts = [self.direct.ensemble.sample(num_direct, x, random.word(seed, "direct"), on_chunk)]
        if num > num_direct:
            parts.append(other(num - num_direct, x, random.word(seed, "other"), on_chunk))
        return rng.permutation(np.concatenate(parts))

    def sampling_info(self, x: Any | None = None) -> dict[str, float]:
        return self._other.sampling_info(self.condition_of(x))

    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self._mixed(self.direct.ensemble.log_prob(z, x), self._other.log_density(z, x))

    def _mixed(self, log_direct: np.ndarray, log_other: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a side of no share
            log_shares = np.log([self.share, 1 - self.share])
        return np.logaddexp(log_direct + log_shares[0], log_other + log_shares[1])

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        """The direct side's."""
        return self.direct.ensemble.disagreement(x, seed)

    def _log_joint_pairs(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.likelihood.log_likelihood_pairs(m, z, x) + self.prior.log_prob_normal(z)

    def _audit(self, verdicts: list[Verdict], x: np.ndarray) -> None:
        attempt(verdicts, "two sides", lambda: self._agreement(x))
        super()._audit(verdicts, x)

    def _agreement(self, x: np.ndarray) -> Verdict:
        side = self.side(x)
        agreement = check_agreement(side.effective, side.khat, CANDIDATES // 2)
        if self.share == 0:
            sentence = f"{agreement.sentence.removesuffix('.')}; the posterior is the likelihood's alone."
            agreement = replace(agreement, sentence=sentence)
        return agreement

    def at_each(self, x: np.ndarray, num: int, seed: int) -> Conditionals:
        """As `Posterior.at_each`: the direct side proposes, and its draws give the likelihood's constants, too."""
        direct = self.direct.at_each(x, num, seed)

        def log_joints(rows: np.ndarray) -> np.ndarray:
            members = range(self.likelihood.num_members)
            return np.stack([paired(lambda z, at, m=m: self._log_joint_pairs(m, z, at), rows, x) for m in members])

        proposed = direct.density(direct.z)[1]
        log_evidence = np.logaddexp.reduce(log_joints(direct.z) - proposed, axis=2) - np.log(num)

        def density(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log_direct = direct.density(rows)[0]
            # Constants from draws that missed a peak are too small by any factor; what more than `num` times the
            # draws' own density would be, `num` draws cannot tell.
            members = np.minimum(log_joints(rows) - log_evidence[:, :, None], log_direct + np.log(num))
            return self._mixed(log_direct, np.logaddexp.reduce(members, axis=0) - np.log(len(members))), log_direct

        return Conditionals(lambda: direct.z, density)

    @property
    def _learned(self) -> dict[str, Any]:
        return {"ensemble": self.direct.ensemble, "likelihood": self.likelihood, "share": self.share}

    @property
    def _origin(self) -> str:
        return "This HybridPosterior-object was obtained with a SNPE-class method using a flow, and a likelihood flow."

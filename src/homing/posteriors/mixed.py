r"""Several posteriors as one: \(\sum_k w_k\, p_k(\theta \mid x)\), for example of runs with different seeds.

Source: Lakshminarayanan, Pritzel, Blundell, *Simple and scalable predictive uncertainty estimation using deep
ensembles*, 2017, https://arxiv.org/abs/1612.01474; Hermans et al., *A trust crisis in simulation-based inference?*,
2022, https://arxiv.org/abs/2110.06581 (ensembles are the more conservative posteriors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from homing import random
from homing.diagnostics import Predictive, Verdict
from homing.diagnostics.verdict import attempt
from homing.errors import ArgumentError
from homing.posteriors.posterior import Posterior
from homing.posteriors.sampled import SampledPosterior, sampler_verdict, worst
from homing.priors import same_distribution


class EnsemblePosterior(Posterior):
    """A weighted mixture of posteriors under one prior.

    Args:
        posteriors: At least one.
        weights: One for each, not negative; equal if not given.
        seed: Decides the draws.
        x_o: The default x; that of the first posterior if not given.
        multi_round: Whether any of them is not amortized; found out if not given.
        predicted, show_progress_bars: As for `Posterior`.

    Raises:
        ArgumentError: If there is none, they have other priors or data shapes, or the weights do not fit.

    Example:
        >>> from homing.posteriors import MCMCPosterior
        >>> from homing.priors import BoxUniform
        >>> prior = BoxUniform([-1.0], [1.0])
        >>> one, two = (
        ...     MCMCPosterior(lambda theta, x, c=c: -50 * (theta[:, 0] - c) ** 2, prior, x_o=[0.0])
        ...     for c in (-0.5, 0.5)
        ... )
        >>> both = EnsemblePosterior([one, two], weights=[1, 3], show_progress_bars=False)
        >>> bool(abs((both.sample((4000,)) > 0).mean() - 0.75) < 0.03)
        True
    """

    def __init__(
        self,
        posteriors: Sequence[Posterior],
        weights: Any = None,
        *,
        seed: int = 0,
        x_o: np.ndarray | None = None,
        multi_round: bool | None = None,
        predicted: Predictive | None = None,
        show_progress_bars: bool = True,
    ):
        members = list(posteriors)
        if not members:
            raise ArgumentError("An ensemble of posteriors needs at least one.")
        first = members[0]
        for other in members[1:]:
            if other.x_shape != first.x_shape or not same_distribution(other.prior, first.prior):
                raise ArgumentError(
                    f"The posteriors of an ensemble must have one prior and one shape of x: {first.prior.describe()} "
                    f"and {first.x_shape}, found {other.prior.describe()} and {other.x_shape}."
                )
        given = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
        if given.shape != (len(members),) or not (np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
            raise ArgumentError(
                f"weights must be {len(members)} numbers, one for each posterior, none negative and not all zero; "
                f"found {weights!r}."
            )
        super().__init__(
            first.prior,
            first.x_shape,
            multi_round=any(member.multi_round for member in members) if multi_round is None else multi_round,
            seed=seed,
            x_o=first.parts["x_o"] if x_o is None else x_o,
            predicted=first.predicted if predicted is None else predicted,
            show_progress_bars=show_progress_bars,
        )
        self.posteriors = members
        self.weights = given / given.sum()
        self.takes_trials = all(member.takes_trials for member in members)

    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        return self._drawn("draw_normal", num, x, seed, on_chunk)

    def fresh_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        return self._drawn("fresh_normal", num, x, seed, on_chunk)

    def _drawn(
        self, how: str, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None
    ) -> np.ndarray:
        """Draws of all members in random order, by their method of that name."""
        rng = random.generator(seed, "members")
        counts = rng.multinomial(num, self.weights)
        words = [random.word(seed, "member", k) for k in range(len(counts))]
        parts = [
            getattr(member, how)(int(count), x, word, on_chunk)
            for member, count, word in zip(self.posteriors, counts, words)
            if count
        ]
        return rng.permutation(np.concatenate([np.zeros((0, self.prior.dim)), *parts]))

    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        terms = [weight + member.log_prob_normal(z, x) for weight, member in zip(log_weights, self.posteriors)]
        return np.logaddexp.reduce(terms, axis=0)

    def sampling_info(self, x: Any | None = None) -> dict[str, float]:
        at = self.condition_of(x)
        return worst([info for member in self.posteriors if (info := member.sampling_info(at))])

    def _audit(self, verdicts: list[Verdict], x: np.ndarray) -> None:
        if self._sampled:
            attempt(verdicts, "sampler", lambda: self._sampler(x))
        super()._audit(verdicts, x)

    def _sampler(self, x: np.ndarray) -> Verdict:
        num = sum(len(member.side(x).z) for member in self._sampled)
        return sampler_verdict(worst([member.sampling_info(x) for member in self._sampled]), num)

    @property
    def _sampled(self) -> list[SampledPosterior]:
        return [member for member in self.posteriors if isinstance(member, SampledPosterior)]

    @property
    def _learned(self) -> dict[str, Any]:
        return {"posteriors": [member.parts for member in self.posteriors], "weights": self.weights}

    @property
    def _origin(self) -> str:
        return f"This EnsemblePosterior-object is a mixture of {len(self.posteriors)} posteriors."

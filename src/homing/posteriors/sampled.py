r"""Posteriors that are known up to a constant: a likelihood, or a ratio, times the prior.

\(p(\theta \mid x) \approx \frac1M \sum_m L_m(x \mid \theta)\, p(\theta) / Z_m(x)\): each member of an ensemble is
normalised by itself, since a mixture of the likelihoods would be the posterior of the boldest, whichever puts x
highest. Draws come by a sampler, and are kept for the last few x; the constants \(Z_m\) by importance sampling from a
density fitted to the draws. x may be several independent trials, whose likelihoods multiply.

Source: Papamakarios, Sterratt, Murray, *Sequential Neural Likelihood*, 2019, https://arxiv.org/abs/1805.07226;
Hermans, Begy, Louppe, *Likelihood-free MCMC with amortized approximate ratio estimators*, 2020,
https://arxiv.org/abs/1903.04057.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import numpy as np

from homing import random
from homing.arrays import to_numpy
from homing.diagnostics import Predictive, Verdict, check_disagreement, check_sampler
from homing.diagnostics.verdict import attempt
from homing.errors import ArgumentError, warn
from homing.forks import brief
from homing.posteriors.conditionals import Conditionals
from homing.posteriors.cover import cover
from homing.posteriors.ensemble import THREADS, Ensemble
from homing.posteriors.fresh import FreshDraws
from homing.posteriors.observation import check_observation
from homing.posteriors.posterior import Posterior
from homing.posteriors.sampling import Importance, Rejection, Sampler, Start, Target, Tempering, Variational
from homing.posteriors.sampling.tail import pareto_shape
from homing.posteriors.sampling.tempered import effective_share
from homing.posteriors.surrogate import KnownLikelihood, PerTrial, Surrogate
from homing.priors import Prior, as_prior

BANK = 16_384  # draws for an x without sampling anew
_LEAST_BANK = 2048
_KEPT = 8  # observations whose draws are kept
CANDIDATES = 16_384  # importance draws for the constants
_WORST = {
    **{"rhat": max, "khat": max, "drift": max, "divergences": sum, "acceptance": min},
    "effective": lambda values: len(values) * min(values),  # each has as many of the draws
    **{"evidence_effective": min, "evidence_khat": max},
}


class Side(NamedTuple):
    """A posterior at one x.

    Attributes:
        z: Draws in random order, shape (n, d).
        log_evidence: log Z_m, shape (M,).
        effective: The effective share of the importance weights that give it, when proposed from the start alone, or,
            where that is the prior, from the density fitted to the draws.
        khat: The Pareto shape of these weights.
        info: What the sampler reports of itself.
    """

    z: np.ndarray
    log_evidence: np.ndarray
    effective: float
    khat: float
    info: Mapping[str, float]


def worst(infos: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What several samplers report, as one: the worst of each, and the sum of what they counted."""
    names = dict.fromkeys(name for info in infos for name in info)
    return {name: float(_WORST[name]([info[name] for info in infos if name in info])) for name in names}


def sampler_verdict(info: Mapping[str, float], num_draws: int) -> Verdict:
    """What a sampler reports of so many draws, as a verdict."""
    known = {name: info[name] for name in ("rhat", "khat", "effective", "drift", "divergences") if name in info}
    return check_sampler(num_draws=num_draws, **known)


class SampledPosterior(Posterior):
    """A learned likelihood or ratio times the prior; see the module.

    Args:
        surrogate: The likelihood or ratio; or a function from theta, shape (n, d), and x to log likelihoods, (n,), if
            that is known.
        prior: The prior.
        x_shape: Shape of one x; that of `x_o` if not given.
        sampler: How to draw.
        start: A density to start from; None for the prior.
        bank: Draws that are kept for an x.
        obtained_by: The method's name.
        x_o, seed, multi_round, predicted, show_progress_bars: As for `Posterior`.

    Raises:
        ArgumentError: If the shape of x is not told.

    Example:
        >>> from homing.priors import BoxUniform
        >>> def log_likelihood(theta, x):
        ...     return -0.5 * ((theta - x) ** 2).sum(1) / 0.1**2
        >>> posterior = MCMCPosterior(log_likelihood, BoxUniform([-1.0], [1.0]), x_o=[0.5], show_progress_bars=False)
        >>> bool(abs(posterior.sample((2000,)).mean() - 0.5) < 0.02)
        True
    """

    takes_trials = True
    default_sampler: ClassVar[type] = Tempering

    def __init__(
        self,
        surrogate: Surrogate | Callable[[np.ndarray, np.ndarray], Any],
        prior: Any,
        x_shape: tuple[int, ...] | None = None,
        *,
        sampler: Sampler | None = None,
        start: Ensemble | None = None,
        bank: int = BANK,
        multi_round: bool = False,
        seed: int = 0,
        x_o: Any = None,
        predicted: Predictive | None = None,
        obtained_by: str = "likelihood",
        show_progress_bars: bool = True,
    ):
        known = prior if isinstance(prior, Prior) else as_prior(prior)
        observed = None if x_o is None else to_numpy(x_o, "x_o").astype(np.float64)
        if x_shape is None and observed is None:
            raise ArgumentError("The shape of x is not known: pass x_o, or x_shape.")
        shape = tuple(observed.shape) if x_shape is None and observed is not None else x_shape
        assert shape is not None
        super().__init__(
            known,
            shape,
            multi_round=multi_round,
            seed=seed,
            x_o=None if observed is None else check_observation(observed, shape, trials=True),
            predicted=predicted,
            show_progress_bars=show_progress_bars,
        )
        is_function = not hasattr(surrogate, "log_likelihood")
        self.surrogate: Any = KnownLikelihood(surrogate, known) if is_function else surrogate  # type: ignore[arg-type]
        self.num_members = self.surrogate.num_members
        self.sampler: Sampler = sampler or self.default_sampler()
        self._start, self._bank, self._obtained_by = start, bank, obtained_by
        self._sides: dict[bytes, Side] = {}
        self._fresh = FreshDraws(self._batch)

    def side(self, x: np.ndarray) -> Side:
        """The posterior at an x of shape x_shape, or (num_trials, *x_shape)."""
        key = x.tobytes()
        side = self._sides.get(key) or self._drawn_side(x)
        with brief:
            self._sides.pop(key, None)
            self._sides[key] = side  # the last asked for is the last to go
            if len(self._sides) > _KEPT:
                del self._sides[next(iter(self._sides))]
        return side

    def _drawn_side(self, x: np.ndarray) -> Side:
        z, info = self.sample_anew(self._size(x), x, random.word(self._seed, "bank"))
        candidates = max(_LEAST_BANK, CANDIDATES // self._num_trials(x))
        verdict = sampler_verdict(info, len(z))
        if verdict.level == "fail":
            warn(f"{verdict.sentence} posterior.sampling_info() has the numbers.")
        return Side(z, *self._evidence(x, z, candidates), info)

    def _size(self, x: np.ndarray) -> int:
        return max(_LEAST_BANK, self._bank // self._num_trials(x))

    def _batch(self, x: np.ndarray, batch: int, num: int) -> np.ndarray:
        """Draws for calls of `sample`: first those that are kept for x, then others."""
        kept = self.side(x).z
        if batch == 0 and num <= len(kept):
            return kept
        return self.sample_anew(max(num, self._size(x)), x, random.word(self._seed, "batch", batch))[0]

    def sampling_info(self, x: Any | None = None) -> dict[str, float]:
        side = self.side(self.condition_of(x))
        return {**side.info, "evidence_effective": side.effective, "evidence_khat": side.khat}

    def of_one_trial(self) -> SampledPosterior:
        """The posterior if the trials of the default x told as much together as one of them does; itself for one."""
        x = self.condition_of()
        if x.ndim == len(self.x_shape):
            return self
        mean = PerTrial(self.surrogate)
        return MCMCPosterior(mean, self.prior, self.x_shape, start=self._start, bank=self._bank, seed=self._seed, x_o=x)

    def sample_anew(self, num: int, x: np.ndarray, seed: int) -> tuple[np.ndarray, Mapping[str, float]]:
        """Draws of all members' posteriors, as many of each, and what the sampler reports."""
        members = self.surrogate.num_members

        def one(m: int) -> Any:
            target = Target(
                lambda z: self._log_joint(m, z, x),
                self._start_of(m, x),
                lambda: self.surrogate.differentiable(m, x),
            )
            return self.sampler.draw(target, -(-num // members), seed, m)

        with ThreadPoolExecutor(THREADS) as pool:
            drawn = list(pool.map(one, range(members)))
        z = random.generator(seed, "order").permutation(np.concatenate([part.z for part in drawn]))[:num]
        return z, worst([part.info for part in drawn])

    def log_density(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The log density of rows z, shape (n, d), at x; shape (n,)."""
        return _log_mean(self._log_joints(z, x), self.side(x).log_evidence)

    def log_likelihood(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The members' mean likelihood, by its logarithm, up to a constant of each row.

        Args:
            z: Shape (n, k, d). Each member counts by its likelihood over the mean of that over the k rows at one x:
                otherwise the boldest one alone would count.
            x: Shape (n, *x_shape) or (n, num_trials, *x_shape).

        Returns:
            Shape (n, k).
        """
        members = range(self.surrogate.num_members)
        values = np.array([[self.surrogate.log_likelihood(m, part, at) for part, at in zip(z, x)] for m in members])
        values -= np.logaddexp.reduce(values, axis=2, keepdims=True)
        return np.logaddexp.reduce(values, axis=0)

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        if self.surrogate.num_members == 1:
            return None
        side = self.side(x)
        ratios = self._log_joints(side.z, x) - side.log_evidence[:, None]
        ratios = ratios - _log_mean(ratios, np.zeros(len(ratios)))
        return float(np.maximum((np.exp(ratios) * ratios).mean(), 0.0))

    def _audit(self, verdicts: list[Verdict], x: np.ndarray) -> None:
        attempt(verdicts, "sampler", lambda: sampler_verdict(self.side(x).info, len(self.side(x).z)))
        super()._audit(verdicts, x)

    def _disagreement(self, x: np.ndarray) -> list[Verdict]:
        nats = self.disagreement(x, 0)
        return [] if nats is None else [check_disagreement(nats, self.num_members, len(self.side(x).z))]

    def at_each(self, x: np.ndarray, num: int, seed: int) -> Conditionals:
        """As `Posterior.at_each`: a short sampling at each x, its draws of equal weight."""
        z = np.stack([self.sample_anew(num, row, random.word(seed, "at each", i))[0] for i, row in enumerate(x)])
        evidence = [self._evidence(row, draws, _LEAST_BANK)[0] for row, draws in zip(x, z)]

        def density(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values = [_log_mean(self._log_joints(part, at), known) for part, at, known in zip(rows, x, evidence)]
            return np.stack(values), np.stack(values)

        return Conditionals(lambda: z, density)

    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        bank = self.side(x).z
        if num <= len(bank):
            z = random.generator(seed, "bank").permutation(bank)[:num]
        else:
            z = self.sample_anew(num, x, random.word(seed, "anew"))[0]
        if on_chunk is not None:
            on_chunk(num)
        return z

    def fresh_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        z = self._fresh.take(num, x)
        if on_chunk is not None:
            on_chunk(num)
        return z

    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.log_density(z, x)

    def _num_trials(self, x: np.ndarray) -> int:
        return len(x) if x.ndim > len(self.x_shape) else 1

    def _start_of(self, m: int, x: np.ndarray) -> Start:
        if self._start is None:
            prior = self.prior
            return Start(
                lambda num, seed: prior.to_normal(prior.sample(random.generator(seed, "prior"), num)),
                prior.log_prob_normal,
            )
        direct = self._start.member(m % len(self._start.members))
        return Start(lambda num, seed: direct.sample(num, x, seed), lambda z: direct.log_prob(z, x))

    def _log_joint(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.surrogate.log_likelihood(m, z, x) + self.prior.log_prob_normal(z)

    def _log_joints(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.stack([self._log_joint(m, z, x) for m in range(self.surrogate.num_members)])

    def _evidence(self, x: np.ndarray, draws: np.ndarray, num: int) -> tuple[np.ndarray, float, float]:
        """log Z_m by importance sampling, and what the weights of the first half of the candidates tell."""
        z, log_own, log_mixture = cover(draws, num, self._seed, self._start, x)
        log_joints = self._log_joints(z, x)
        log_evidence = np.logaddexp.reduce(log_joints - log_mixture, axis=1) - np.log(len(z))
        own_weights = _log_mean(log_joints, log_evidence)[: len(log_own)] - log_own
        return log_evidence, effective_share(own_weights), pareto_shape(own_weights)

    @property
    def _learned(self) -> dict[str, Any]:
        return {
            "surrogate": self.surrogate,
            "x_shape": self.x_shape,
            "sampler": self.sampler,
            "start": self._start,
            "bank": self._bank,
            "obtained_by": self._obtained_by,
        }

    @property
    def _origin(self) -> str:
        return f"This {type(self).__name__}-object was obtained with a {self._obtained_by}-class method."


class MCMCPosterior(SampledPosterior):
    """Drawn by tempered sequential Monte Carlo, for several modes and without gradients; or by chains, `MCMC`."""


class ImportanceSamplingPosterior(SampledPosterior):
    """Drawn by importance resampling; see `Importance`."""

    default_sampler = Importance


class RejectionPosterior(SampledPosterior):
    """Drawn by rejection, with a bounded number of proposals; see `Rejection`."""

    default_sampler = Rejection


class VIPosterior(SampledPosterior):
    """Drawn from a flow fitted to it; see `Variational`."""

    default_sampler = Variational


KINDS: dict[str, type[SampledPosterior]] = {  # by the name of the sampler
    "smc": MCMCPosterior,
    "mcmc": MCMCPosterior,
    "importance": ImportanceSamplingPosterior,
    "rejection": RejectionPosterior,
    "vi": VIPosterior,
}


def sampled_posterior(surrogate: Any, prior: Prior, *, sampler: Sampler, **options: Any) -> SampledPosterior:
    """The posterior of the kind that a sampler makes."""
    return KINDS[sampler.name](surrogate, prior, sampler=sampler, **options)


def _log_mean(log_joints: np.ndarray, log_evidence: np.ndarray) -> np.ndarray:
    """log of the members' mean posterior density, from shapes (M, n) and (M,)."""
    return np.logaddexp.reduce(log_joints - log_evidence[:, None], axis=0) - np.log(len(log_evidence))

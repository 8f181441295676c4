r"""Markov chains: slice sampling, Hamiltonian Monte Carlo and NUTS, many chains side by side.

The chains start from draws of tempered sequential Monte Carlo, so that every mode has its share of them, with the
draws' covariance as their metric; what remains to them is to move. R̂ compares the chains, split in halves; the
effective sample size counts draws as if they were independent.

Sources: Neal, *Slice sampling*, 2003, https://doi.org/10.1214/aos/1056562461; Hoffman, Gelman, *The No-U-Turn Sampler*,
2014, https://arxiv.org/abs/1111.4246; Vehtari et al., *Rank-normalization, folding, and localization: an improved R̂*,
2021, https://arxiv.org/abs/1903.08008. NUTS and HMC are blackjax's: Cabezas et al., *BlackJAX*, 2024,
https://arxiv.org/abs/2402.10797.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from homing import random
from homing.errors import ArgumentError
from homing.posteriors.sampling.mixing import normal_scores
from homing.posteriors.sampling.slice import slice_step
from homing.posteriors.sampling.target import Drawn, Target, check_counts
from homing.posteriors.sampling.tempered import temper

_METHODS = ("nuts", "hmc", "slice")
_PARTICLES = 1024
_LEAST_STEPS = 20  # of each chain, so that R̂ can compare its halves


@dataclass(frozen=True)
class MCMC:
    """Markov chains. Reports `"rhat"` and `"effective"`, the worst over the parameters, and `"divergences"`.

    Attributes:
        method: `"slice"`, needs densities only; `"nuts"` or `"hmc"`, need gradients and the package blackjax.
        num_chains: Chains side by side; None for 100, or for 500 that are sliced: many at once cost little more.
        warmup_steps: Steps of each chain before its draws count; NUTS and HMC choose their step size in them.
        thin: Of so many draws, one is kept.
        num_leapfrog: The most steps of HMC's trajectories, which are of random length.
    """

    name: ClassVar[str] = "mcmc"
    method: Literal["nuts", "hmc", "slice"] = "slice"
    num_chains: int | None = None
    warmup_steps: int = 30
    thin: int = 2
    num_leapfrog: int = 8

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ArgumentError(f"mcmc_method must be one of {', '.join(map(repr, _METHODS))}, found {self.method!r}.")
        check_counts(self, *(["num_chains"] if self.num_chains is not None else []), "thin", "num_leapfrog")
        check_counts(self, "warmup_steps", least=0)

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        rng = random.generator(seed, "moves", member)
        start = target.start.sample(_PARTICLES, random.word(seed, "start", member))
        particles = temper(start, target.start.log_density, target.log_density, rng).z
        num_chains = self.num_chains or (500 if self.method == "slice" else 100)
        chains = particles[_spread(particles, num_chains, rng)]
        steps = max(-(-num // num_chains), _LEAST_STEPS)
        scale = _scale(particles)
        if self.method == "slice":
            history, divergences = self._slice(target, chains, scale, steps, rng), 0.0
        else:
            from homing.posteriors.sampling.hamiltonian import run_chains

            model, word = target.differentiable(), random.word(seed, "chains", member)
            leapfrog = self.num_leapfrog if self.method == "hmc" else 0
            history, divergences = run_chains(
                model, chains, scale, self.warmup_steps, steps * self.thin, word, leapfrog
            )
            history = history[:: self.thin]
        z = rng.permutation(history.reshape(-1, history.shape[-1]))[:num]
        return Drawn(z, {"rhat": rhat(history), "effective": effective(history), "divergences": divergences})

    def _slice(
        self, target: Target, chains: np.ndarray, scale: np.ndarray, steps: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Every kept state, shape (steps, chains, d)."""
        state, values = chains.copy(), target.log_density(chains)
        kept = []
        for step in range(-self.warmup_steps, steps * self.thin):
            state, values = slice_step(state, values, target.log_density, scale, rng)
            if step >= 0 and step % self.thin == 0:
                kept.append(state)
        return np.stack(kept)


def _spread(particles: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Particles at even distances along their longest axis, so that each mode gets its share of the chains."""
    centred = particles - particles.mean(0)
    order = np.argsort(centred @ np.linalg.svd(centred, full_matrices=False)[2][0])
    return order[((rng.random() + np.arange(num)) / num * len(particles)).astype(int)]


def _scale(particles: np.ndarray) -> np.ndarray:
    """The covariance's lower Cholesky factor, shape (d, d)."""
    dim = particles.shape[1]
    return np.linalg.cholesky(np.cov(particles.T).reshape(dim, dim) + 1e-10 * np.eye(dim))


def rhat(history: np.ndarray) -> float:
    """The largest split R̂ over the parameters of rank-normalised draws, shape (steps, chains, d).

    Of the draws, which tells chains that lie apart, and of their distance from the median, which tells chains of
    unequal width.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(100, 20, 2))
        >>> half = (np.arange(20) < 10)[:, None]
        >>> rhat(draws) < 1.05, rhat(draws + 3 * half) > 1.5, rhat(draws * (1 + 9 * half)) > 1.2
        (True, True, True)
    """
    half = len(history) // 2
    split = np.concatenate([history[:half], history[half : 2 * half]], axis=1)
    folded = np.abs(split - np.median(split, axis=(0, 1)))
    return float(max(_rhat(normal_scores(part[..., j])) for part in (split, folded) for j in range(split.shape[-1])))


def effective(history: np.ndarray) -> float:
    """The smallest effective sample size over the parameters of draws, shape (steps, chains, d).

    By Geyer's initial positive sequence of the chains' mean autocorrelations.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(100, 20, 1))
        >>> 1600 < effective(draws) < 2600, effective(np.repeat(draws[:25], 4, axis=0)) < 700
        (True, True)
    """
    return float(min(_effective(normal_scores(history[..., j])) for j in range(history.shape[-1])))


def _within_and_total(draws: np.ndarray) -> tuple[float, float]:
    steps = len(draws)
    within = draws.var(axis=0, ddof=1).mean()
    between = draws.mean(0).var(ddof=1) if draws.shape[1] > 1 else 0.0
    return float(within), float((steps - 1) / steps * within + between)


def _rhat(draws: np.ndarray) -> float:
    within, total = _within_and_total(draws)
    return float(np.sqrt(total / within)) if within > 0 else float("inf")


def _effective(draws: np.ndarray) -> float:
    steps, chains = draws.shape
    within, total = _within_and_total(draws)
    centred = draws - draws.mean(0)
    spectrum = np.fft.rfft(centred, 2 * steps, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:steps].mean(1) / steps
    correlation = 1 - (within - covariance) / total
    correlation[0] = 1.0
    pairs = correlation[: steps // 2 * 2].reshape(-1, 2).sum(1)
    positive = pairs[: int(np.argmax(pairs < 0))] if (pairs < 0).any() else pairs
    time = 2 * np.minimum.accumulate(positive).sum() - 1
    return steps * chains / max(float(time), 1 / np.log10(steps * chains))

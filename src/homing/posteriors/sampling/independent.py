r"""Independent draws by importance: proposals from a density q near the target, weighed or rejected.

Importance resampling: of K proposals a draw, draws are taken with probabilities proportional to \(w = \pi / q\).
Rejection: a proposal is kept with probability \(w / w_{max}\), with the largest weight seen for \(w_{max}\). Both do a
fixed amount of work. What they give is as good as q covers the target: the effective sample size of the weights says
how many proposals count, the Pareto shape \(\hat k\) (`homing.posteriors.sampling.tail`) whether to believe it.

Source: Rubin, *Using the SIR algorithm to simulate posterior distributions*, 1988, in Bayesian Statistics 3; Robert,
Casella, *Monte Carlo Statistical Methods*, 2004, chapters 2 and 3, https://doi.org/10.1007/978-1-4757-4145-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from homing import random
from homing.errors import warn
from homing.posteriors.sampling.tail import pareto_shape
from homing.posteriors.sampling.target import Drawn, Target, check_counts, check_reached
from homing.posteriors.sampling.tempered import effective_share

_LEAST = 4096  # proposals


@dataclass(frozen=True)
class Importance:
    """Importance resampling. Reports `"effective"`, the effective sample size in draws, and `"khat"`.

    Attributes:
        oversampling: Proposals for each draw.
    """

    name: ClassVar[str] = "importance"
    oversampling: int = 32

    def __post_init__(self) -> None:
        check_counts(self, "oversampling")

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        rng = random.generator(seed, "moves", member)
        z, log_weights = _weighed(target, max(_LEAST, self.oversampling * num), random.word(seed, "start", member))
        return Drawn(_resampled(z, log_weights, num, rng), quality(log_weights))


@dataclass(frozen=True)
class Rejection:
    """Rejection from at most so many proposals. Reports `"acceptance"`, `"effective"` and `"khat"`.

    Where fewer are accepted than are wanted, a warning says so, and all are resampled by their weights instead.

    Attributes:
        most: Proposals for each draw at most.
    """

    name: ClassVar[str] = "rejection"
    most: int = 256

    def __post_init__(self) -> None:
        check_counts(self, "most")

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        rng = random.generator(seed, "moves", member)
        z, log_weights = _weighed(target, max(_LEAST, self.most * num), random.word(seed, "start", member))
        kept = np.flatnonzero(np.log(rng.random(len(z))) < log_weights - log_weights.max())
        info = {"acceptance": len(kept) / len(z), **quality(log_weights)}
        if len(kept) >= num:
            return Drawn(z[rng.permutation(kept)[:num]], info)
        warn(
            f"Rejection sampling accepted {len(kept)} of {len(z)} proposals, fewer than the {num} draws that are "
            'wanted: draws are resampled by weight instead. sample_with="smc" or a proposal nearer to the posterior '
            "does better."
        )
        return Drawn(_resampled(z, log_weights, num, rng), info)


def _weighed(target: Target, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Proposals and their log weights."""
    z = target.start.sample(num, seed)
    values = target.log_density(z)
    check_reached(values)
    return z, values - target.start.log_density(z)


def quality(log_weights: np.ndarray) -> Mapping[str, float]:
    """What importance weights tell of the density they are from: `"effective"`, in draws, and `"khat"`."""
    return {"effective": effective_share(log_weights) * len(log_weights), "khat": pareto_shape(log_weights)}


def _resampled(z: np.ndarray, log_weights: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """By systematic resampling, in random order."""
    ends = np.cumsum(np.exp(log_weights - log_weights.max()))
    places = (rng.random() + np.arange(num)) / num * ends[-1]
    return z[rng.permutation(np.searchsorted(ends, places).clip(0, len(z) - 1))]

r"""Tempered sequential Monte Carlo: draws of a posterior that is known as a likelihood times the prior.

From draws of a tractable q_0, usually the direct posterior, the particles pass through \(\gamma_t \propto q_0^{1-t}\,
(L\, p)^t\), t from 0 to 1, each step as large as keeps the effective sample size at `TARGET`; after resampling, every
particle moves by some Metropolis steps along the difference of two others (differential evolution), which follows the
scale and the correlations of what is there and needs densities only: no gradients, and no program to compile beside the
densities. Every other step takes two that are near each other, on any scale: with narrow modes, or along a curve, the
difference of any two is too long. The work is bounded.

Sources: Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, 2006,
    https://doi.org/10.1111/j.1467-9868.2006.00553.x; ter Braak, *A Markov chain Monte Carlo version of the genetic
    algorithm differential evolution*, 2006, https://doi.org/10.1007/s11222-006-8769-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from homing import random
from homing.posteriors.sampling.mixing import drift, families, independent
from homing.posteriors.sampling.target import Drawn, LogDensity, Target, check_reached

TARGET = 0.6  # effective share, after a step, of the particles that count at all
_MAX_STEPS = 100
_LEAST_STEP, _HALVINGS = 1e-200, 40
_INCREDIBLE = 100.0  # nats below the median at which a draw is denied by its own density: rounding made it
_ANCHORS, _NEIGHBOURS = 128, 1024  # points whose neighbours are known, and points among which these are
_MOVES = 4  # Metropolis steps after each temperature; twice as many after the last


@dataclass(frozen=True)
class Tempering:
    """Tempered sequential Monte Carlo, with as many particles as draws are wanted.

    Reports `"acceptance"`; `"effective"`, how many independent draws the particles are worth; and `"drift"`, by how
    many standard errors the last moves still changed them (`homing.posteriors.sampling.mixing`).
    """

    name: ClassVar[str] = "smc"

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        start = target.start.sample(num, random.word(seed, "start", member))
        rng = random.generator(seed, "moves", member)
        found = temper(start, target.start.log_density, target.log_density, rng)
        info = {
            "acceptance": found.acceptance,
            "effective": independent(found.z, found.family),
            "drift": drift(found.before, found.z, found.family),
        }
        return Drawn(found.z, info)


class Tempered(NamedTuple):
    """What a run gave.

    Attributes:
        z: (n, d), the draws.
        steps: Temperatures it took.
        acceptance: Share of the last moves that were accepted.
        before: (n, d), where the last moves took the draws from.
        family: (n,), whom each descends from.
    """

    z: np.ndarray
    steps: int
    acceptance: float
    before: np.ndarray
    family: np.ndarray


def temper(start: np.ndarray, log_start: LogDensity, log_target: LogDensity, rng: np.random.Generator) -> Tempered:
    """Carry draws of one density over to another.

    Args:
        start: Draws of the first, shape (n, d).
        log_start: Its log density, normalised or not.
        log_target: The other's.
        rng: Randomness.

    Returns:
        As many draws of the target.

    Raises:
        ObservationError: If the other density is zero at all of them.
    """
    num, own = len(start), log_start(start)
    credible = np.flatnonzero(own > np.median(own) - _INCREDIBLE)
    z = start[np.resize(credible, num)] if len(credible) else start.copy()
    values = np.stack([log_start(z), log_target(z)])
    check_reached(values[1])
    t, steps, acceptance, before, parents = 0.0, 0, 1.0, z, []
    while t < 1 and steps < _MAX_STEPS:
        step = largest_step(values[1] - values[0], 1 - t) if steps < _MAX_STEPS - 1 else 1 - t
        log_weights = step * (values[1] - values[0])
        weights = np.exp(log_weights - np.logaddexp.reduce(log_weights))
        chosen = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(num)) / num).clip(0, num - 1)
        z, values, t, steps = z[chosen], values[:, chosen], t + step, steps + 1
        before, parents, steps_of = z.copy(), [*parents, chosen], Differences(z, rng)
        for _ in range(_MOVES if t < 1 else 2 * _MOVES):
            acceptance = _move(z, values, t, log_start, log_target, steps_of, rng)
    return Tempered(z, steps, acceptance, before, families(parents, num))


def effective_share(log_weights: np.ndarray) -> float:
    """The effective sample size of importance weights, as a share of their number."""
    total, squares = np.logaddexp.reduce(log_weights), np.logaddexp.reduce(2 * log_weights)
    return float(np.exp(2 * total - squares) / len(log_weights)) if total > -np.inf else 0.0


def largest_step(log_ratio: np.ndarray, most: float, share: float = TARGET) -> float:
    """The largest step up to `most` that keeps an effective share of those that count: its logarithm by bisection."""
    target = share * (log_ratio > -np.inf).mean()
    if effective_share(most * log_ratio) >= target:
        return most
    low, high = most * _LEAST_STEP, most
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if effective_share(middle * log_ratio) >= target else (low, middle)
    return low


class Differences:
    """Steps along the difference of two of a set of points: any two, or two that are near each other.

    A near pair is one of some anchors and its r-th neighbour, the logarithm of r uniform. The points stay as they are
    and every step is as likely as its opposite, so that a Metropolis step is right.

    Args:
        points: Shape (n, d).
        rng: Randomness.
    """

    def __init__(self, points: np.ndarray, rng: np.random.Generator):
        self._points = points[rng.permutation(len(points))[:_NEIGHBOURS]]
        scale = np.where(self._points.std(0) > 0, self._points.std(0), 1.0)
        scaled = self._points / scale
        scaled = scaled - scaled.mean(0)
        anchors = scaled[:_ANCHORS]
        self._order = np.argsort((scaled**2).sum(1) - 2 * anchors @ scaled.T, axis=1)

    def __call__(self, num: int, rng: np.random.Generator) -> np.ndarray:
        """So many steps, shape (num, d)."""
        points, count = self._points, len(self._points)
        first, second = rng.integers(count, size=(2, num))
        anchor = rng.integers(len(self._order), size=num)
        rank = np.exp(rng.uniform(0, np.log(count), num)).astype(int).clip(0, count - 1)
        is_near = rng.random(num) < 0.5
        first, second = np.where(is_near, anchor, first), np.where(is_near, self._order[anchor, rank], second)
        length = 2.38 / np.sqrt(2 * points.shape[1]) * rng.choice([-1.0, -0.6, -0.3, 0.3, 0.6, 1.0], num)
        jitter = 1e-3 * points.std(0) * rng.standard_normal((num, points.shape[1]))
        return length[:, None] * (points[first] - points[second] + jitter)


def _move(
    z: np.ndarray,
    values: np.ndarray,
    t: float,
    log_start: LogDensity,
    log_target: LogDensity,
    steps_of: Differences,
    rng: np.random.Generator,
) -> float:
    """One Metropolis step of every particle, in place; returns the share accepted."""
    proposed = z + steps_of(len(z), rng)
    passed = values[0] if t == 1 else log_start(proposed)  # at the end the first density counts no more
    new = np.stack([passed, log_target(proposed)])
    mix = np.array([1 - t, t])
    accepted = np.log(rng.random(len(z))) < mix @ new - mix @ values
    z[accepted], values[:, accepted] = proposed[accepted], new[:, accepted]
    return float(accepted.mean())

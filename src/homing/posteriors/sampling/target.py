"""What a sampler is given, and what it gives back.

All of it lives in the space of z, where the prior is a standard normal or close to it: no bounds, and scales near one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from homing.errors import ArgumentError, ObservationError

LogDensity = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Start:
    """A normalised density that can be drawn from: the prior, or a posterior learned directly.

    Attributes:
        sample: From (num, seed) to draws, shape (num, d).
        log_density: From rows z, shape (n, d), to (n,).
    """

    sample: Callable[[int, int], np.ndarray]
    log_density: LogDensity


@dataclass(frozen=True, eq=False)
class Target:
    """A density of z that is known up to a constant.

    Attributes:
        log_density: From rows z, shape (n, d), to (n,).
        start: Where to look for it first.
        differentiable: Gives the same log density as a JAX function of one z, an equinox module; raises ArgumentError
            where there is none.
    """

    log_density: LogDensity
    start: Start
    differentiable: Callable[[], Any]


def check_reached(log_density: np.ndarray) -> None:
    """Whether a density is above zero at any of the points, shape (n,), that a sampler starts from.

    Raises:
        ObservationError: If it is not.
    """
    if not (log_density > -np.inf).any():
        raise ObservationError(
            f"The posterior's density is zero at all {len(log_density)} points that were tried, so nothing can be "
            "drawn: the likelihood excludes this x for theta of the prior, or for what is held fixed. Check x and the "
            "likelihood; if it is above zero in a tiny region only, narrow the prior to about that."
        )


def check_counts(settings: Any, *names: str, least: int = 1) -> None:
    """Whether some of a sampler's settings are whole numbers, and large enough.

    Raises:
        ArgumentError: If one is not.
    """
    wanted = "a positive whole number" if least == 1 else f"a whole number, {least} or larger"
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ArgumentError(f"{name} must be {wanted}, found {value!r}.")


class Drawn(NamedTuple):
    """Draws, and how they came about.

    Attributes:
        z: Shape (num, d).
        info: Numbers by name: what a sampler reports of itself, for example `"rhat"` and `"effective"`.
    """

    z: np.ndarray
    info: Mapping[str, float]


class Sampler(Protocol):
    """A way to draw; a frozen dataclass of plain numbers, so that it can be stored."""

    name: ClassVar[str]

    def draw(self, target: Target, num: int, seed: int, member: int = 0) -> Drawn:
        """Draws of a target by an amount of work that is bounded beforehand; their order may tell something.

        Args:
            target: The density.
            num: How many.
            seed: Below 2**32; with
            member: it names the random numbers.
        """
        ...

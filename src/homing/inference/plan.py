"""How many rounds a run has, of which sizes, what they may follow, and when a run stops before its budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.errors import ArgumentError
from homing.inference.failing import LEAST_ROWS, least_rows
from homing.proposals import Proposal, TruncatedPrior

_SHARE_NOTHING = 0.95  # of the most nats by which an ensemble's members can differ


@dataclass(frozen=True)
class Stop:
    """When to stop before the budget is spent: as soon as one of these says so.

    Attributes:
        gain: A round's gain, nats of held-out log density, falls below this.
        disagreement: The ensemble's members differ by less than this, nats (`RoundRecord.disagreement`).
        volume: The region that a truncated round would simulate from is more than this share of the last one's.
        seconds: So many seconds went into simulating and learning, by the records: rounds that an earlier process
            finished count too.
    """

    gain: float | None = None
    disagreement: float | None = None
    volume: float | None = None
    seconds: float | None = None

    def after(self, gain: float | None, disagreement: float | None, seconds: float) -> bool:
        """Whether to stop after a round with such a record."""
        return (
            (self.gain is not None and gain is not None and gain < self.gain)
            or (self.disagreement is not None and disagreement is not None and disagreement < self.disagreement)
            or (self.seconds is not None and seconds > self.seconds)
        )

    def before(self, proposal: Proposal, last: Proposal) -> bool:
        """Whether to stop rather than to simulate from a proposal that follows on another."""
        if self.volume is None or not isinstance(proposal, TruncatedPrior):
            return False
        volume = last.volume if isinstance(last, TruncatedPrior) else 1.0
        return proposal.volume > self.volume * volume


def plan_rounds(num_simulations: int, dim: int, num_rounds: int | None = None) -> list[int]:
    """How many simulations each round gets: up to five equal ones.

    Too small a round can neither find the posterior's place nor sharpen it: none is smaller than 25 a parameter, or
    150, where the budget allows more than one. Once the region has settled, the rest may become one round.

    Example:
        >>> plan_rounds(1000, 3), plan_rounds(1000, 10), plan_rounds(50, 3), plan_rounds(500, 3, num_rounds=4)
        ([200, 200, 200, 200, 200], [250, 250, 250, 250], [50], [125, 125, 125, 125])
    """
    if num_rounds is None:
        num_rounds = int(np.clip(num_simulations // max(150, 25 * dim), 1, 5))
    ends = np.round(np.linspace(0, num_simulations, num_rounds + 1)).astype(int)
    return np.diff(ends).tolist()


def why_uncut(used: int, dim: int, information: float | None, differ: float | None, members: int) -> str:
    """Why what a round learned is no guide to where to simulate, in words; empty if it is.

    Args:
        used: Rows that were learned from.
        dim: Parameters.
        information: Nats by which held-out parameters are likelier than under the prior, or None if not known.
        differ: Nats by which the members of the ensemble differ, or None if there is but one.
        members: How many there are.

    Example:
        >>> why_uncut(16, 31, 2.0, 0.1, 4)
        '16 valid simulations are too few to learn 31 parameters from, of 310'
    """
    needed = least_rows(dim)
    if used < needed:
        return f"{used} valid simulations are too few to learn {dim} parameters from, of {needed}"
    if information is not None and information < 0:
        return f"held-out parameters are {-information:.2g} nats less likely by the posterior than by the prior"
    if differ is not None and differ > _SHARE_NOTHING * np.log(members):
        return f"the {members} members of the ensemble share next to nothing: they differ by {differ:.2f} nats"
    return ""


def check_driver(num_simulations: Any, num_rounds: Any, dim: int) -> list[int]:
    """The rounds' sizes.

    Raises:
        ArgumentError: If the numbers cannot work.
    """
    is_number = isinstance(num_rounds, (int, np.integer)) and not isinstance(num_rounds, bool)
    if num_rounds is not None and not (is_number and 1 <= num_rounds <= num_simulations):
        raise ArgumentError(f"num_rounds must be a whole number between 1 and num_simulations, found {num_rounds!r}.")
    return plan_rounds(num_simulations, dim, None if num_rounds is None else int(num_rounds))


def check_first_round(sizes: list[int], known: int) -> None:
    """Refuse a run whose first round cannot be learned from, before it costs anything.

    Args:
        sizes: Simulations in each round.
        known: Valid simulations that there are already.

    Raises:
        ArgumentError: If there would be too few.
    """
    if known + sizes[0] < LEAST_ROWS:
        raise ArgumentError(
            f"Nothing can be learned from fewer than {LEAST_ROWS} valid simulations: num_simulations={sum(sizes)} "
            f"give the first of {len(sizes)} rounds {sizes[0]}. Spend more, or take fewer rounds."
        )

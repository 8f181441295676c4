"""How many simulations to hand out at a time, so that what is finished is soon kept and keeping costs little.

A task is to take ten times what keeping its rows took of late, between limits: a tenth of the time goes into keeping,
and no more work than that is unkept, or one simulation. What a row takes is a mean over the latest tasks, long rows
among them: where cost is uneven it is the long ones' mean, and each row is kept by itself. No task has more rows than
were seen before it, and one that takes much longer than expected comes back with a part.
"""

from __future__ import annotations

from homing.simulation.outcomes import Outcomes

_FACTOR = 10.0  # a task's seconds for one second of keeping
_MOST_SECONDS = 0.25
_MOST_BYTES = 2**26
_MOST_ROWS = 2**16
_MEMORY = 0.9  # by which what earlier tasks took counts less with each new one


class Pace:
    """What simulations and keeping them took of late.

    Args:
        least_seconds: What a task is to take at least, since handing it out costs something too.
    """

    def __init__(self, least_seconds: float):
        self._least = least_seconds
        self._keeping = 0.0
        self._seconds, self._rows = 0.0, 0.0
        self._seen, self._bytes = 1, 1.0

    @property
    def seconds(self) -> float:
        """How long a task is to take."""
        return min(max(_FACTOR * self._keeping, self._least), max(_MOST_SECONDS, self._least))

    @property
    def rows(self) -> int:
        """How many rows the next task is to have."""
        per_row = max(self._seconds / self._rows, 1e-9) if self._rows else float("inf")
        return int(max(min(self._seen, _MOST_ROWS, _MOST_BYTES / self._bytes, self.seconds / per_row), 1))

    def simulated(self, outcomes: Outcomes) -> None:
        """Note what a task took."""
        n = len(outcomes)
        self._seconds = _MEMORY * self._seconds + float(outcomes.seconds.sum())
        self._rows = _MEMORY * self._rows + n
        self._seen, self._bytes = self._seen + n, max(outcomes.x.nbytes / n, 1.0)

    def kept(self, seconds: float) -> None:
        """Note what keeping took."""
        self._keeping = seconds if self._keeping == 0 else 0.7 * self._keeping + 0.3 * seconds

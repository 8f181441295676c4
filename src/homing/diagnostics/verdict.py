"""What a diagnostic says: numbers, one sentence in plain words, and what a picture of it shows.

A diagnostic is a function from arrays to a `Verdict`; a `Check` is several of them about one posterior, and one answer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Level = Literal["pass", "care", "fail"]

_LEVELS: tuple[Level, ...] = ("pass", "care", "fail")
_ANSWERS = {"pass": "believe", "care": "believe with care", "fail": "do not believe"}
_WIDTH = 100


@dataclass(frozen=True)
class Verdict:
    """What one diagnostic says.

    Attributes:
        name: The diagnostic's, short.
        level: `"pass"`; `"care"`, something to know; `"fail"`, the posterior is wrong in what is looked at.
        statistic: The number that it judges by; the diagnostic says in which unit.
        p_value: How often a right posterior would give a number as extreme; None where that is not known.
        n: How many independent comparisons, draws or simulations it rests on.
        resolution: The smallest departure, in the statistic's unit, that it would find four times in five; None where
            that is not known.
        reads: What kind of departure there is: `"conservative"` (too wide), `"overconfident"` (too narrow),
            `"shifted"`, or empty.
        sentence: All this in plain words.
        curves: What a picture of it shows, by name, as the diagnostic's docstring lists.
    """

    name: str
    level: Level
    statistic: float
    p_value: float | None
    n: int
    resolution: float | None
    sentence: str
    reads: Literal["", "conservative", "overconfident", "shifted"] = ""
    curves: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


@dataclass(frozen=True)
class Check:
    """Several verdicts on one posterior; prints as a short table that ends in one sentence.

    Attributes:
        verdicts: In the order in which they are best read.
        num_simulations: How many simulations they cost.

    Example:
        >>> coverage = Verdict("coverage", "care", 0.1, 0.03, 200, 0.05, "Intervals are too wide.", "conservative")
        >>> check = Check((coverage,))
        >>> check.level, check.sentence
        ('care', 'Believe with care: intervals are too wide.')
    """

    verdicts: tuple[Verdict, ...]
    num_simulations: int = 0

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of this name."""
        found = {verdict.name: verdict for verdict in self.verdicts}
        if name not in found:
            raise KeyError(f"There is no verdict {name!r}; there are {', '.join(found)}.")
        return found[name]

    @property
    def level(self) -> Level:
        """The worst of them."""
        levels = {verdict.level for verdict in self.verdicts}
        return next((level for level in reversed(_LEVELS) if level in levels), "pass")

    @property
    def sentence(self) -> str:
        """Believe, believe with care (why), or do not believe (why)."""
        answer = _ANSWERS[self.level].capitalize()
        if self.level == "pass":
            return f"{answer}: nothing that was looked at speaks against it."
        reasons = [verdict.sentence for verdict in self.verdicts if verdict.level == self.level]
        return f"{answer}: " + " ".join([reasons[0][0].lower() + reasons[0][1:], *reasons[1:]])

    def __str__(self) -> str:
        cells = [("check", "", "statistic", "p", "n")]
        for verdict in self.verdicts:
            p = "" if verdict.p_value is None else f"{verdict.p_value:.3f}"
            cells.append((verdict.name, verdict.level, f"{verdict.statistic:.3g}", p, f"{verdict.n:,}"))
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *map(str.rjust, row[2:], widths[2:])]).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, "", *textwrap.wrap(self.sentence, _WIDTH)])

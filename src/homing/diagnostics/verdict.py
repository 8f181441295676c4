"""What a diagnostic says: numbers, one sentence in plain words, and what a picture of it shows.

A diagnostic is a function from arrays to a `Verdict`; a `Check` is several of them about one posterior, and one answer.

All of them judge by the same rule (`level_of`), at Bonferroni's levels, and by how large a departure is: with enough
simulations any is found. One that a right posterior would show in less than one case in two hundred, and that is not
too small to matter, is something to know. One that it would show in less than one in two thousand, and that is large
besides, means that the posterior is wrong, unless it is wrong on the safe side: too wide. Eight
diagnostics of a check are judged so, and one in a hundred right observations counts as unlike what the prior predicts,
and one as unlike what the posterior does. So a whole check, however its diagnostics depend on each other, finds by
their p-values something to know in at most six right posteriors in a hundred. Holm's levels would give the same
answers: they differ only in what else they name once something was found.

Source: Holm, *A simple sequentially rejective multiple test procedure*, 1979, https://www.jstor.org/stable/4615733.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.special import betaincinv

from homing.simulation.keeper import StoreError
from homing.simulation.typed import check_type, from_json

Level = Literal["pass", "care", "fail"]
Reads = Literal["", "conservative", "overconfident", "shifted", "as prior"]

CARE, FAIL = 0.005, 0.0005  # p-values up to which there is something to know, and up to which the posterior is wrong

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
        sentence: All this in plain words.
        reads: What kind of departure there is: `"conservative"` (too wide), `"overconfident"` (too narrow),
            `"shifted"`, or empty.
        curves: What a picture of it shows, by name, as the diagnostic's docstring lists.
    """

    name: str
    level: Level
    statistic: float
    p_value: float | None
    n: int
    resolution: float | None
    sentence: str
    reads: Reads = ""
    curves: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


def level_of(
    p_value: float, reads: Reads = "", effect: float = np.inf, small: float = 0.0, large: float = 0.0
) -> Level:
    """The level of a departure; a posterior that is too wide is never wrong for it.

    Args:
        p_value: How often a right posterior shows as much.
        reads: What kind of departure it is.
        effect: How large it is, in a unit that does not depend on the number of simulations.
        small: The effect below which it does not matter.
        large: The effect above which a posterior is wrong.

    Example:
        >>> level_of(0.5), level_of(0.004), level_of(1e-4), level_of(1e-4, "conservative")
        ('pass', 'care', 'fail', 'care')
        >>> [level_of(1e-9, "shifted", effect, small=0.05, large=0.3) for effect in (0.01, 0.1, 0.5)]
        ['pass', 'care', 'fail']
    """
    if p_value > CARE or effect < small:
        return "pass"
    return "fail" if p_value <= FAIL and effect > large and reads != "conservative" else "care"


def untold(name: str, why: str | Exception, level: Level = "care") -> Verdict:
    """The verdict where something cannot be computed.

    Example:
        >>> untold("coverage", ValueError("no rows")).sentence
        'Coverage cannot be told: no rows.'
    """
    said = " ".join(str(why).split()) or type(why).__name__
    return Verdict(name, level, 0.0, None, 0, None, f"{name[0].upper()}{name[1:]} cannot be told: {said.rstrip('.')}.")


def attempt(verdicts: list[Verdict], name: str, make: Callable[[], Verdict | Iterable[Verdict] | None]) -> None:
    """Add what `make` gives to the verdicts; where it raises, one that says so.

    Memory that runs out and files that cannot be written are no matter of the posterior, and raised.
    """
    try:
        made = make()
    except (MemoryError, OSError):
        raise
    except Exception as error:
        made = untold(name, error)
    verdicts += [made] if isinstance(made, Verdict) else made or []


def share_of(count: float, n: int) -> str:
    """A share as it was found in n cases, and where it lies with 95 % confidence (Clopper, Pearson).

    Example:
        >>> share_of(30, 100), share_of(2, 2)
        ('30% (21 to 40%)', '100% (16 to 100%)')
    """
    low, high = share_interval(count, n)
    return f"{count / n:.0%} ({100 * low:.0f} to {high:.0%})"


def share_interval(count: float, n: int) -> tuple[float, float]:
    """Between which shares one that was found `count` times in n lies, with 95 % confidence."""
    low = float(betaincinv(count, n - count + 1, 0.025)) if count > 0 else 0.0
    return low, float(betaincinv(count + 1, n - count, 0.975)) if count < n else 1.0


def agreeing(sentence: str, p_value: float, size: str) -> str:
    """The sentence of a verdict that passes; with the size of a departure that is there, and too small to matter."""
    return sentence if p_value > CARE else f"{sentence.removesuffix('.')}, but for {size}: too little to matter."


@dataclass(frozen=True, repr=False)
class Check:
    """Several verdicts on one posterior; prints as a short table that ends in one sentence.

    Attributes:
        verdicts: In the order in which they are best read.
        num_simulations: How many simulations they cost.

    Example:
        >>> coverage = Verdict("coverage", "care", 0.1, 0.003, 200, 0.05, "Regions are too large.", "conservative")
        >>> check = Check((coverage,), num_simulations=200)
        >>> check.level, check["coverage"].n
        ('care', 200)
        >>> print(check)
        check     level  reads         statistic  finds      p    n
        coverage  care   conservative        0.1   0.05  0.003  200
        <BLANKLINE>
        Believe with care: regions are too large.
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
        """The worst of them; where nothing was looked at, that is something to know."""
        return _LEVELS[max((_LEVELS.index(verdict.level) for verdict in self.verdicts), default=1)]

    @property
    def sentence(self) -> str:
        """Believe, believe with care (why), or do not believe (why)."""
        answer = _ANSWERS[self.level].capitalize()
        if not self.verdicts:
            return "Nothing was looked at: without an x_o, a check needs simulations."
        if self.level == "pass":
            told = "" if self.num_simulations else ", as far as one can tell without simulations"
            untold = [verdict.sentence for verdict in self.verdicts if verdict.reads == "as prior"]
            return " ".join([f"{answer}{told}: nothing that was looked at speaks against it.", *untold])
        reasons = [verdict.sentence for verdict in self.verdicts if verdict.level == self.level]
        return f"{answer}: " + " ".join([reasons[0][0].lower() + reasons[0][1:], *reasons[1:]])

    def __str__(self) -> str:
        rows = [("check", "level", "reads", "statistic", "finds", "p", "n")]
        for verdict in self.verdicts:
            finds = "" if verdict.resolution is None else f"{verdict.resolution:.2g}"
            p = "" if verdict.p_value is None else f"{verdict.p_value:.3f}"
            numbers = f"{verdict.statistic:.3g}" if verdict.n else "", finds, p, f"{verdict.n:,}"
            rows.append((verdict.name, verdict.level, verdict.reads, *numbers))
        widths = [max(map(len, column)) for column in zip(*rows)]
        padded = [[f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<<>>>>", widths)] for row in rows]
        lines = ["  ".join(row).rstrip() for row in padded]
        return "\n".join([*lines, "", *textwrap.wrap(self.sentence, _WIDTH)])

    __repr__ = __str__


def check_as_json(check: Check) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A check as JSON, and its curves as arrays by name: what a run file keeps of it."""
    verdicts = [asdict(verdict) | {"curves": sorted(verdict.curves)} for verdict in check]
    curves = {f"{k}/{name}": np.asarray(a) for k, verdict in enumerate(check) for name, a in verdict.curves.items()}
    return {"num_simulations": check.num_simulations, "verdicts": verdicts}, curves


def check_from_json(content: Mapping[str, Any], curves: Mapping[str, np.ndarray]) -> Check:
    """The check that `check_as_json` gave.

    Example:
        >>> verdict = Verdict("tarp", "pass", 0.1, 0.5, 9, None, "It is right.", curves={"levels": np.arange(2.0)})
        >>> check_from_json(*check_as_json(Check((verdict,)))) == Check((verdict,))
        True
    """
    check_type(content, dict[str, Any], "a check")
    check_type(content.get("num_simulations"), int, "num_simulations of a check")
    check_type(content.get("verdicts"), list[dict[str, Any]], "verdicts of a check")
    verdicts = []
    for k, entry in enumerate(content["verdicts"]):
        check_type(names := entry.get("curves"), list[str], "curves of a verdict")
        missing = [name for name in names if f"{k}/{name}" not in curves]
        if missing or not entry.get("sentence"):
            raise StoreError(f"A stored verdict is damaged: it has no {missing[0] if missing else 'sentence'}.")
        verdict = from_json(Verdict, {name: value for name, value in entry.items() if name != "curves"})
        verdicts.append(replace(verdict, curves={name: curves[f"{k}/{name}"] for name in names}))
    return Check(tuple(verdicts), content["num_simulations"])

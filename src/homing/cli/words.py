"""Numbers as people read them: spans of time, rates, and a posterior in a few lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from homing.names import names_of

if TYPE_CHECKING:
    import numpy as np

    from homing.posteriors import Posterior

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_DRAWS = 4000
_MOST_ROWS = 30
_LONGEST_LABEL = 18


def span(seconds: float, tenths: bool = True) -> str:
    """A span of time; below ten seconds with tenths, unless they are not wanted.

    Example:
        >>> span(0.42), span(42), span(200), span(7200), span(2e5)
        ('0.4 s', '42 s', '3 min 20 s', '2 h', '2 d 7 h')
    """
    if tenths and seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = max(round(seconds), 0)
    for (large, name), (small, rest) in pairwise(_UNITS):
        if whole >= large:
            more = whole % large // small
            return f"{whole // large} {name}" + (f" {more} {rest}" if more else "")
    return f"{whole} s"


def rate(per_second: float) -> str:
    """How often something happens.

    Example:
        >>> rate(12345.6), rate(4.56), rate(0.25), rate(0.001)
        ('12,346/s', '4.6/s', '15/min', '3.6/h')
    """
    factor, unit = next(((f, u) for f, u in ((1, "s"), (60, "min")) if per_second * f >= 1), (3600, "h"))
    value = per_second * factor
    return f"{value:,.0f}/{unit}" if value >= 9.95 else f"{value:.1f}/{unit}"


@dataclass(frozen=True)
class Summary:
    """Each parameter's marginal, by draws; prints as a table.

    Attributes:
        names: The parameters' names.
        mean, sd: Shape (d,).
        low, high: Shape (d,), what 5 % of the draws lie below and 5 % above.
        of_prior: Shape (d,), how wide that is as a multiple of the prior's.
    """

    names: list[str]
    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    of_prior: np.ndarray

    def as_list(self) -> list[dict[str, Any]]:
        """As JSON, one entry a parameter."""
        columns = zip(self.names, self.mean, self.sd, self.low, self.high, self.of_prior)
        keys = ("mean", "sd", "q05", "q95", "of_prior")
        return [{"name": name, **{key: float(v) for key, v in zip(keys, values)}} for name, *values in columns]

    def __str__(self) -> str:
        rows = [["", "mean", "sd", "5 %", "95 %", "of prior"]]
        for j, name in enumerate(self.names[:_MOST_ROWS]):
            label = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
            numbers = [_to_sd(value[j], self.sd[j]) for value in (self.mean, self.sd, self.low, self.high)]
            share = self.of_prior[j]
            rows.append([label, *numbers, f"{share:.1%}" if share < 0.1 else f"{share:.0%}"])
        lines = aligned(rows, indent="  ")
        more = len(self.names) - _MOST_ROWS
        return lines + (f"\n  and {more} more" if more > 0 else "")


def summarise(posterior: Posterior, labels: Sequence[str] | None) -> Summary:
    """A posterior at its default x, in numbers. Draws that are asked of it later are not changed by this."""
    import numpy as np

    from homing import random

    prior = posterior.prior
    draws = posterior.draw(_DRAWS, posterior.condition_of(), random.word(0, "summary"), False)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    before = np.quantile(prior.sample(random.generator(0, "summary"), _DRAWS), [0.05, 0.95], axis=0)
    names = names_of(labels, prior.dim)
    return Summary(names, draws.mean(0), draws.std(0), low, high, (high - low) / (before[1] - before[0]))


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of cells as a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    cells = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join((indent + "  ".join(row)).rstrip() for row in cells)


def _to_sd(value: float, sd: float) -> str:
    """A number with as many digits as its standard deviation has meaning for."""
    if not (math.isfinite(value) and 1e-6 < sd < 1e6 and abs(value) < 1e8):
        return f"{value:.4g}"
    return f"{value:.{max(1 - math.floor(math.log10(sd)), 0)}f}"

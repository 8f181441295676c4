"""The page's section on simulations: how many there are, what they took, which failed, why and where."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np

from homing.names import named
from homing.report import figures
from homing.report.html import Html, code, folded, paragraph, table
from homing.report.sections import section, status_counts
from homing.report.story import Story
from homing.simulation import Status

_MOST_GROUPS = 12
_MOST_TEXT = 4_000  # characters of an error that are shown
_WORDS = {"ok": "valid", "invalid": "NaN or infinite", "failed": "failed", "timed_out": "timed out"}


def simulations_section(story: Story) -> Html:
    """What became of the simulations."""
    if not story.rounds:
        return section("simulations", "The simulations", paragraph("No round was planned yet."))
    counts = status_counts(story)
    kinds = [name for name in _WORDS if name == "ok" or any(row[name] for row in counts.values())]
    rows = [
        [
            str(number) if number > 0 else f"check {-number}",
            f"{len(story.rounds[number].ids):,}",
            *(f"{row[name]:,}" for name in kinds),
            _took(story, number),
        ]
        for number, row in counts.items()
    ]
    head = ["round", "planned", *(_WORDS[name] for name in kinds), "seconds each (median)"]
    content: list[Any] = [table(head, rows, "What became of the simulations of each round", range(1, len(head)))]
    theta = np.concatenate([known.theta for known in story.rounds.values()])
    status = np.concatenate([known.outcomes.status for known in story.rounds.values()])
    errors = np.concatenate([known.outcomes.error for known in story.rounds.values()])
    done, failed = status != Status.PLANNED, (status != Status.PLANNED) & (status != Status.OK)
    if failed.any():
        shown = "They were left out: the posterior is the one given that a simulation is valid."
        content += [paragraph(f"{failed.sum():,} of {done.sum():,} simulations gave no valid data. {shown}")]
        content += [figures.failures_figure(story, theta[done], failed[done])]
        content += [paragraph(f"Round {r.round}: {named(r.failing, story.names)}.") for r in story.records if r.failing]
        content += _why(theta[failed], status[failed], errors[failed])
    return section("simulations", "The simulations", content)


def _took(story: Story, number: int) -> str:
    known = story.rounds[number]
    seconds = known.outcomes.seconds[known.outcomes.status != Status.PLANNED]
    return f"{np.median(seconds):.3g}" if len(seconds) and seconds.any() else "-"


def _why(theta: np.ndarray, status: np.ndarray, errors: np.ndarray) -> list[Html]:
    """Errors that say the same but for numbers, together: how many, one of their texts, and one theta."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, (kind, error) in enumerate(zip(status, errors)):
        groups["NaN or infinite data" if kind == Status.INVALID else _gist(error)].append(row)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
    parts = [paragraph("Why, the most frequent first:")]
    for k, (gist, rows) in enumerate(ranked[:_MOST_GROUPS]):
        first = rows[0]
        at = f"first at theta = {[float(f'{value:.6g}') for value in theta[first]]}"
        text = errors[first] or "The simulator returned data with NaN or infinity among them."
        text = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} ..."
        parts.append(folded(f"{len(rows):,} × {gist}", paragraph(at), code(text), id_=f"error-{k}"))
    if len(ranked) > _MOST_GROUPS:
        rest = sum(len(rows) for _, rows in ranked[_MOST_GROUPS:])
        parts.append(paragraph(f"{rest:,} more, of {len(ranked) - _MOST_GROUPS:,} other kinds."))
    return parts


def _gist(error: str) -> str:
    """The last line of an error's text, numbers replaced.

    Example:
        >>> _gist("Traceback: ...\\nValueError: diverged at step 17, t = 1.5e-3")
        'ValueError: diverged at step …, t = …'
    """
    last = next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "no reason was given")
    gist = re.sub(r"(?<![A-Za-z_])[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", "…", last)
    return gist if len(gist) <= 160 else f"{gist[:160]} ..."

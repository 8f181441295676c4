"""The page's sections, in the order in which they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics import Check
from homing.names import named
from homing.report import figures
from homing.report.html import Html, code, folded, paragraph, table, tag
from homing.report.recipe import recipe
from homing.report.story import Learned, Story

_LINKS = {
    "posterior": "posterior",
    "rounds": "rounds",
    "verdict": "verdict",
    "simulations": "simulations",
    "made": "how it was made",
}
_ANSWERS = {"pass": "Believe", "care": "Believe with care", "fail": "Do not believe"}
_QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
_CHECKING = """check = inference.check(num_simulations=200)  # or posterior.check(), which simulates nothing
print(check)
inference.report("report.html", check=check)"""
_EXPLAINED = {
    "of prior": "the share of the prior's mass that the round simulated from",
    "ESS/draw": "effective number of candidates behind each draw of a truncated proposal",
    "held out": "loss on rows kept for validation; losses of different names do not compare",
    "gain": "nats by which the round's density beats the last one's on rows that the last had not seen",
    "agreement": "how far two ways of learning agree at the observation, by importance weights from one to the other",
    "khat": "above 0.7 these weights cannot be relied on: one way misses part of what the other holds possible",
    "members differ": "how much a draw tells of which member of the ensemble it is from, nats",
    "direct side": "the directly learned density's share of the posterior; the rest is the learned likelihood's",
    "at bounds": "the posterior's largest share in the outermost half percent of the prior at a finite bound",
}


def section(name: str, title: str, *content: Any) -> Html:
    """A section with its heading."""
    return tag("section", tag("h2", title, id=f"{name}-title"), *content, id=name, aria_labelledby=f"{name}-title")


def head_section(story: Story) -> Html:
    """What the run is, and the answer, in a few words."""
    counts = status_counts(story)
    done = sum(sum(row.values()) - row["planned"] for row in counts.values())
    valid = sum(row["ok"] for row in counts.values())
    seconds = sum(sum(record.seconds.values()) for record in story.records)
    rounds = sum(number > 0 for number in story.rounds)  # the others are of checks
    checking = sum(sum(row.values()) - row["planned"] for number, row in counts.items() if number < 0)
    told = [f"{_many(rounds, 'round')}, {_many(done - checking, 'simulation')}"]
    told += [f"{checking:,} more to check it"] if checking else []
    told += [f"{done - valid:,} of all without valid data"] if done > valid else []
    told += [f"{_span(seconds)} of work"] if seconds else []
    answer, level = "Not checked", "none"
    if story.check is not None:
        answer, level = _ANSWERS[story.check.level], story.check.level
    return tag(
        "header",
        tag("p", "homing", class_="brand"),
        tag("h1", story.name),
        paragraph(", ".join(told), "."),
        tag("p", tag("a", answer, href="#verdict", class_=f"answer {level}")),
        tag("nav", [tag("a", text, href=f"#{name}") for name, text in _LINKS.items()], aria_label="Sections"),
    )


def posterior_section(story: Story) -> Html:
    """What was learned of each parameter."""
    if story.learned is None:
        return section("posterior", "The posterior", paragraph(story.missing))
    learned = story.learned
    where = f"{_where(learned)} Numbers and pictures are of {len(learned.draws):,} draws."
    return section(
        "posterior",
        "The posterior",
        paragraph(where),
        _summary(story, learned),
        figures.posterior_figure(story, learned),
    )


def _where(learned: Learned) -> str:
    after = "The posterior" if learned.round is None else f"The posterior after round {learned.round}"
    at = f"{after}, at x_o = {_brief(learned.x_o)}."
    if learned.posterior.multi_round:
        return f"{at} It was trained for this observation: it is right there, and perhaps nowhere else."
    return f"{at} It is amortized: it may be asked for any observation."


def _summary(story: Story, learned: Learned) -> Html:
    quantiles = np.quantile(learned.draws, _QUANTILES, axis=0).T
    mean, deviation, before = learned.draws.mean(0), learned.draws.std(0), learned.prior.std(0)
    head = ["parameter", "mean", "sd", *(f"{share:.3g} %" for share in 100 * np.array(_QUANTILES)), "sd / prior's"]
    rows = []
    for j, name in enumerate(story.names):
        values = [mean[j], deviation[j], *quantiles[j]]
        rows.append([name, *(_rounded(value, deviation[j]) for value in values), f"{deviation[j] / before[j]:.3f}"])
        if story.points is not None:
            rows[-1].insert(1, _rounded(story.points[j], deviation[j]))
    if story.points is not None:
        head.insert(1, "true")
    return table(
        head, rows, "The posterior of each parameter: mean, standard deviation, quantiles", range(1, len(head))
    )


def rounds_section(story: Story) -> Html:
    """What each round did."""
    if not story.records:
        return section("rounds", "The rounds", paragraph("No round is finished yet."))
    head, *rows = story.records.table()
    words = {"round", "proposal", "loss", ""}
    numbers = [k for k, heading in enumerate(head) if heading not in words]
    meanings = [(heading, _EXPLAINED[heading]) for heading in head if heading in _EXPLAINED]
    explained = tag("dl", [[tag("dt", heading), tag("dd", text)] for heading, text in meanings])
    return section(
        "rounds",
        "The rounds",
        table(head, rows, "The rounds", numbers),
        folded("What the columns mean", explained, id_="columns") if meanings else None,
        figures.rounds_figure(story, story.learned) if story.learned and story.learned.rounds else None,
        figures.losses_figure(story),
    )


def verdict_section(story: Story) -> Html:
    """Whether to believe it."""
    title = "Can it be believed?"
    if story.check is None:
        said = "Nobody has checked this posterior yet. A check asks whether it is right at this observation:"
        return section("verdict", title, paragraph(said), code(_CHECKING))
    check = story.check
    pictures = [figures.verdict_figure(story, verdict, k) for k, verdict in enumerate(check)]
    return section(
        "verdict",
        title,
        tag("p", named(check.sentence, story.names), class_=f"sentence {check.level}"),
        _checks(check, story.names),
        paragraph(f"It cost {_many(check.num_simulations, 'simulation')}.") if check.num_simulations else None,
        pictures,
    )


def _checks(check: Check, names: list[str]) -> Html:
    head = ["check", "level", "in words", "reads", "statistic", "finds", "p", "n"]  # a phone shows the first three
    rows = []
    for verdict in check:
        p = "" if verdict.p_value is None else f"{verdict.p_value:.3f}"
        finds = "" if verdict.resolution is None else f"{verdict.resolution:.2g}"
        level = tag("span", verdict.level, class_=f"level {verdict.level}")
        words = tag("span", named(verdict.sentence, names), class_="words")
        rows.append([verdict.name, level, words, verdict.reads, f"{verdict.statistic:.3g}", finds, p, f"{verdict.n:,}"])
    return table(head, rows, "What each check says", range(4, 8))


def status_counts(story: Story) -> dict[int, dict[str, int]]:
    """How many simulations of each round have each status."""
    return {number: known.outcomes.counts() for number, known in story.rounds.items()}


def made_section(story: Story) -> Html:
    """How the run was made, and how to make it again."""
    apart = ("validation rows", "call")  # told by the lines, or of use to the run alone
    facts = {name: value for name, value in story.facts.items() if not name.startswith(apart)}
    versions = facts.pop("versions", [])
    settings = [[name, tag("code", _flat(value))] for name, value in _flattened(facts)]
    software = [
        table(["software", "version"], list(each.items()), f"Software{f', process {k}' * (k > 1)}")
        for k, each in enumerate(versions, 1)
    ]
    homing = ", then ".join(f"homing {each.get('homing')} on Python {each.get('Python')}" for each in versions)
    return section(
        "made",
        "How it was made",
        paragraph(f"With seed {facts.get('seed')}{', by ' * bool(homing)}{homing}. These lines make the run again:"),
        code(recipe(story)),
        folded("All settings", table(["setting", "value"], settings, "Settings"), id_="settings"),
        folded("All software", software, id_="software") if software else None,
    )


def _flattened(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Nested settings as pairs of a dotted name and a value."""
    if isinstance(value, dict) and value:
        return [pair for key, part in value.items() for pair in _flattened(part, f"{name}.{key}" if name else str(key))]
    return [(name, value)]


def _flat(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-60:]}"


def _brief(x: np.ndarray) -> str:
    if x.size <= 8:
        return str(np.round(x, 6).tolist())
    return f"{x.size} numbers of shape {x.shape}, from {x.ravel()[0]:.4g} to {x.ravel()[-1]:.4g}"


def _rounded(value: float, scale: float) -> str:
    """A number to a hundredth of a scale, with a minus that is as wide as a plus.

    Example:
        >>> _rounded(-0.123456, 0.05), _rounded(12345.6, 200.0), _rounded(3e-7, 1e-8)
        ('−0.1235', '12346', '3.000e-07')
    """
    digits = 2 - int(np.floor(np.log10(scale))) if scale > 0 else 4
    if -4 <= digits <= 6:
        return f"{value:.{max(digits, 0)}f}".replace("-", "−")
    return f"{value:.3e}".replace("-", "−", 1) if value < 0 else f"{value:.3e}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"

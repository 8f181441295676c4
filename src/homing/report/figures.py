"""The page's figures, each with what it shows in words and the code that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.diagnostics import Verdict
from homing.plots import (
    coverage_plot,
    failures_plot,
    lc2st_plot,
    loss_plot,
    marginal_plot,
    pairplot,
    predictive_plot,
    rounds_plot,
    sbc_rank_plot,
)
from homing.plots.svg import as_svg
from homing.report.html import Html, code, escaped, folded, tag
from homing.report.story import NUM_DRAWS, NUM_EARLIER, Learned, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 6.9  # inches, of figures of several panels
_LARGE = 7.2  # inches, from which a figure may be wider than the text
_TOLD = ("gain", "volume", "validation_loss")  # of records, by `rounds_plot`
_MOST_PAIRS = 10  # parameters up to which every pair is shown


def figure(
    story: Story, name: str, size: tuple[float, float], draw: Callable[[Figure], Any], alt: str, caption: str, made: str
) -> Html:
    """A figure with its caption and, folded, its code.

    Args:
        story: The run's.
        name: Its own, which no other figure has.
        size: In inches.
        draw: Draws it.
        alt: What it shows, for who cannot see it.
        caption: What to see in it.
        made: The code that makes it from `run`.
    """
    svg = Html(as_svg(draw, size, name, escaped(alt)))
    whole = f"import homing\nfrom homing import plots\n\n{story.source}\n{made}"
    return tag(
        "figure",
        tag("div", svg, class_="drawing", tabindex=0),
        tag("figcaption", caption),
        folded("The code that makes this figure", code(whole), id_=f"{name}-code"),
        id=name,
        class_="large" if size[0] > _LARGE else None,
    )


def _labels(story: Story) -> str:
    return "" if story.labels is None else f", labels={story.labels!r}"


def _points(story: Story) -> str:
    return "" if story.points is None else f", points={story.points.tolist()!r}"


def _posterior(story: Story, learned: Learned) -> str:
    """The code that makes `posterior`."""
    made = f"posterior = run.posterior({learned.round})"
    if learned.round is None:
        made = "# posterior: the one that the report was given, homing.report(..., posterior=posterior)"
    elif "prior" in story.facts and learned.posterior.default_x is None:
        made += f".set_default_x({learned.x_o.tolist()!r})"
    return made + "\n"


def posterior_figure(story: Story, learned: Learned) -> Html:
    """Every pair of parameters, or each of many."""
    d = learned.draws.shape[1]
    shown: dict[str, Any] = {"points": story.points, "limits": learned.limits, "labels": story.labels}
    shown |= {"prior": learned.prior, "samples_labels": "posterior", "diag": "kde"}
    if story.points is not None:
        shown["points_labels"] = "true parameters"
    if d > _MOST_PAIRS:
        return figure(
            story,
            "figure-posterior",
            _panels(d),
            lambda fig: marginal_plot(learned.draws, fig=fig, **shown),
            f"The posterior of each of {d} parameters.",
            "The posterior of each parameter; the grey line is the prior.",
            f"{_posterior(story, learned)}samples = posterior.sample(({NUM_DRAWS},))\n"
            f'plots.marginal_plot(samples, diag="kde"{_labels(story)}{_points(story)})',
        )

    def draw(fig: Figure) -> None:
        fig.set_layout_engine("none")  # a square has its own
        pairplot(learned.draws, upper="contour", fig=fig, **shown)

    side = float(np.clip(1.8 + 1.5 * d, 3.4, 10.0))
    return figure(
        story,
        "figure-posterior",
        (side, side) if d > 1 else (4.4, 2.8),
        draw,
        f"The posterior of {d} parameter{'s' * (d > 1)}, each and in pairs.",
        "The posterior. Contours hold 50, 68 and 95 % of it; the grey line is the prior.",
        f"{_posterior(story, learned)}"
        f'posterior.pairplot({NUM_DRAWS}, upper="contour", diag="kde"{_labels(story)}{_points(story)})',
    )


def rounds_figure(story: Story, learned: Learned) -> Html:
    """How the posterior homed in."""
    numbers = sorted(learned.rounds)
    draws = [learned.rounds.get(number) for number in range(1, numbers[-1] + 1)]
    d = learned.draws.shape[1]
    told = [any(getattr(record, name) is not None for record in story.records) for name in _TOLD]
    shown: dict[str, Any] = {"points": story.points, "prior": learned.prior, "labels": story.labels}
    made = (
        f"import numpy as np\n\n{_posterior(story, learned)}x_o = posterior.condition_of()\n"
        f"prior = posterior.prior.sample(np.random.default_rng(0), {NUM_DRAWS})\n"
        f"draws = [run.posterior(r).sample(({NUM_EARLIER},), x=x_o) for r in {numbers}]\n"
        f"plots.rounds_plot(draws, run.records, prior=prior{_labels(story)}{_points(story)})"
    )
    return figure(
        story,
        "figure-rounds",
        _panels(d + sum(told)),
        lambda fig: rounds_plot(draws, story.records, fig=fig, **shown),
        f"How the posterior of {d} parameters changed over {len(numbers)} rounds, and what each round gained.",
        "Each parameter after every round, its median, its central half (thick) and 95 % (thin); then what each round "
        "bought. A round that gains little was hardly needed; one that gains much asks for another.",
        made,
    )


def losses_figure(story: Story) -> Html | None:
    """How training went; None if the records do not tell."""
    histories = [record.losses for record in story.records]
    if not any(any(history) for history in histories):
        return None
    return figure(
        story,
        "figure-losses",
        (4.6, 2.9),
        lambda fig: loss_plot(histories, ax=fig.subplots()),
        f"The loss on held-out rows, epoch by epoch, in {len(histories)} rounds.",
        "The loss on rows that training did not see, of each member; dots mark the weights that were kept. A line that "
        "still falls at its end was stopped too early; one that explodes after its dot goes out of sight. Losses of "
        "different rounds are of different rows.",
        "plots.loss_plot([record.losses for record in run.records])",
    )


def verdict_figure(story: Story, verdict: Verdict, number: int) -> Html | None:
    """The picture that goes with a diagnostic's curves; None if there is none."""
    curves = verdict.curves
    name, where = f"figure-check-{number}", f"check[{verdict.name!r}]"
    labels = story.labels

    def shown(size: tuple[float, float], draw: Callable[[Figure], Any], plot: str, caption: str) -> Html:
        made = f"{story.checked}\nplots.{plot}"
        told = f"{verdict.name[0].upper()}{verdict.name[1:]}. {caption}"
        return figure(story, name, size, draw, f"{verdict.name}: {verdict.sentence}", told, made)

    if {"ranks", "num_draws"} <= curves.keys():
        return shown(
            (4.6, 3.2),
            lambda fig: sbc_rank_plot(verdict, axes=fig.subplots(), labels=labels),
            f"sbc_rank_plot({where}{_labels(story)})",
            "Ranks of true parameters among posterior draws. Above zero first and below it then: too narrow a "
            "posterior; the other way round: too wide; on one side throughout: shifted.",
        )
    if {"levels", "coverage"} <= curves.keys():
        return shown(
            (3.4, 4.0),
            lambda fig: coverage_plot(verdict, ax=fig.subplots()),
            f"coverage_plot({where})",
            "How often regions hold the truth, against how often they claim to.",
        )
    if {"probabilities", "theta", "null"} <= curves.keys():
        return shown(
            _panels(1 + np.asarray(curves["theta"]).shape[1]),
            lambda fig: lc2st_plot(verdict, fig=fig, labels=labels),
            f"lc2st_plot({where}{_labels(story)})",
            "How well a classifier tells posterior draws from true parameters at this observation, and where: above "
            "one half the posterior has too much mass, below it too little.",
        )
    if {"observed", "replicated"} <= curves.keys():
        p = np.asarray(curves["observed"]).size
        return shown(
            (4.8, 3.0) if p > 20 else _panels(p),
            lambda fig: predictive_plot(verdict, fig=fig),
            f"predictive_plot({where})",
            "Data that the posterior predicts, and what was observed.",
        )
    return None


def failures_figure(story: Story, theta: np.ndarray, failed: np.ndarray) -> Html:
    """Where simulations fail."""
    made = (
        'simulations = run.simulations()\ndone = simulations["status"] != "planned"\n'
        'theta, failed = simulations["theta"][done], simulations["status"][done] != "ok"\n'
        f"plots.failures_plot(theta, failed{_labels(story)})"
    )
    return figure(
        story,
        "figure-failures",
        _panels(theta.shape[1]),
        lambda fig: failures_plot(theta, failed, labels=story.labels, fig=fig),
        "The share of simulations without valid data, along each parameter.",
        "The share of simulations that gave no valid data, along each parameter, with 95 % intervals; the dashed line "
        "is the share in all.",
        made,
    )


def _panels(count: int) -> tuple[float, float]:
    """The size of a figure of so many small panels, three in a row."""
    columns = min(count, 3)
    return columns * _WIDTH / 3, 1.8 * -(-count // 3)

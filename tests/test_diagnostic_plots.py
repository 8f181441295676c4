"""Plots of verdicts, rounds and losses: what is drawn is what was given, on light paper and dark, and errors teach."""

import io
import re
import warnings
from dataclasses import replace
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from homing import plots
from homing.diagnostics import Verdict
from homing.errors import ArgumentError, ShapeError
from homing.plots import look
from homing.plots.names import wrapped
from homing.plots.svg import _VARIABLES, as_svg

RNG = np.random.default_rng(0)
NUM_DRAWS = 99
GRID = np.arange(1, 50) / 50
LONG = ["initially_infected_share_of_the_population", "rate of recovery (1/day)", r"$\log_{10} M$ ($M_\odot$)"]


@pytest.fixture(autouse=True)
def _nothing_shown_no_warning_and_no_figure_left(monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("a figure was shown"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module="matplotlib|pyparsing"
        )  # theirs, not ours
        yield
    pyplot.close("all")


def verdict(name, statistic=0.01, **curves):
    return Verdict(name, "pass", statistic, 0.5, 200, 0.05, "It is right.", curves=curves)


def exact_ranks(n=400, width=1.0, shift=0.0):
    """Ranks of standard normal parameters among draws of that width and shift: exact at one and zero."""
    theta, draws = RNG.normal(size=n), shift + width * RNG.normal(size=(n, NUM_DRAWS))
    return (draws < theta[:, None]).sum(1)


def rank_verdict(*columns):
    half = 2.9 * np.sqrt(GRID * (1 - GRID) / len(columns[0]))
    curves = {"ranks": np.stack(columns, 1), "num_draws": np.array(NUM_DRAWS), "grid": GRID}
    return verdict("ranks", **curves, band_low=-half, band_high=half)


def coverage_verdict(power=1.0):
    half = 2.9 * np.sqrt(GRID * (1 - GRID) / 200)
    band = {"band_low": np.clip(GRID - half, 0, 1), "band_high": np.clip(GRID + half, 0, 1)}
    return verdict("coverage", levels=GRID, coverage=GRID**power, **band)


def local_verdict(d=2):
    theta = RNG.normal(size=(600, d))
    probabilities = 0.5 + 0.2 * np.tanh(theta[:, 0])
    return verdict("L-C2ST", 0.02, probabilities=probabilities, theta=theta, null=RNG.gamma(2, 0.003, 100))


def predictive_verdict(p=3):
    return verdict(
        "predictive", observed=np.arange(p, dtype=float), replicated=np.arange(p) + RNG.normal(size=(200, p))
    )


class Record:
    def __init__(self, round, proposal="truncated", gain=None, volume=None, validation_loss=None):
        self.round, self.proposal, self.gain, self.volume = round, proposal, gain, volume
        self.validation_loss = validation_loss


def everything(d):
    """Each plot with d parameters of long names, by name."""
    labels = (LONG * 4)[:d]
    draws = RNG.normal(size=(500, d))
    theta = RNG.uniform(size=(200, d))
    pairs = {"labels": labels, "prior": 3 * draws, "title": "both", "points_labels": "true parameters"}
    return {
        "pairs": lambda: plots.pairplot([draws, draws / 2], np.zeros(d), samples_labels=["one", "another"], **pairs),
        "pairs on both sides": lambda: plots.pairplot(
            draws, np.zeros(d), upper="scatter", lower="hist", diag="kde", samples_labels="posterior", **pairs
        ),
        "contours": lambda: plots.pairplot(draws[:, :3], upper="contour", labels=labels[:3], fig_size=(4, 4)),
        "marginal": lambda: plots.marginal_plot([draws, draws / 2], np.zeros(d), labels=labels, prior=3 * draws),
        "conditional": lambda: plots.conditional_pairplot(
            lambda theta: -(theta**2).sum(1), np.zeros(d), [-2, 2], labels=labels, resolution=12
        ),
        "ranks": lambda: plots.sbc_rank_plot(rank_verdict(*(exact_ranks() for _ in range(d))), labels=labels),
        "rank histograms": lambda: plots.sbc_rank_plot(
            rank_verdict(*(exact_ranks() for _ in range(d))), labels=labels, kind="hist"
        ),
        "coverage": lambda: plots.coverage_plot([coverage_verdict(), coverage_verdict(1.3)], title="both"),
        "local": lambda: plots.lc2st_plot(local_verdict(d), labels=labels),
        "predictive": lambda: plots.predictive_plot(predictive_verdict(d), labels=labels),
        "series": lambda: plots.predictive_plot(predictive_verdict(40), labels=["time (s)", "voltage (mV)"]),
        "rounds": lambda: plots.rounds_plot(
            [draws, draws / 2], [Record(1, "prior"), Record(2, gain=1.0, volume=0.1)], prior=3 * draws, labels=labels
        ),
        "losses": lambda: plots.loss_plot([[[3.0, 2.0, 1.0, 1.2]], [[1.0, 0.5, 0.6], [1.1, 0.7]]]),
        "failures": lambda: plots.failures_plot(theta, theta[:, 0] > 0.8, labels=labels),
    }


PLOTS = sorted(everything(1))


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("d", [1, 7])
def test_labels_neither_touch_nor_leave_the_figure(name, d):
    figure, _ = everything(d)[name]()
    figure.canvas.draw()
    whole = figure.bbox
    shown = [ax for ax in figure.axes if ax.get_visible()]
    texts = [text for ax in shown for text in (ax.xaxis.label, ax.yaxis.label, ax.title) if text.get_text()]
    boxes = [part.get_window_extent() for part in (*texts, *figure.legends, *figure.texts)]
    assert boxes
    assert all(box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1 for box in boxes)
    assert all(box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("name", PLOTS)
def test_light_on_dark(name):
    """On dark paper nothing is drawn in a dark ink; on light paper nothing in a light one."""
    for style, is_dark in (("default", False), ("dark_background", True)):
        with pyplot.style.context(style):
            figure, axes = everything(2)[name]()
            assert look.is_dark() == is_dark
            named = [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
            ticks = [label for ax in figure.axes for label in (*ax.get_xticklabels(), *ax.get_yticklabels())]
            texts = [*named, *ticks, *figure.texts, *(text for key in figure.legends for text in key.get_texts())]
            assert all((look.luminance(text.get_color()) > 0.5) == is_dark for text in texts)
            lines = [line.get_color() for ax in np.ravel(axes) for line in ax.lines if len(line.get_xdata()) > 1]
            paper = look.luminance(look.paper())
            assert all(abs(look.luminance(color) - paper) > 0.15 for color in lines)


# Linear RGB as who lacks one kind of cones sees it. Machado, Oliveira, Fernandes, A Physiologically-based Model for
# Simulation of Color Vision Deficiency, 2009, https://doi.org/10.1109/TVCG.2009.113, severity 1.
EYES = {
    "all three": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TOLD = 15  # of CIE 1976: about six times what is just noticed of two large patches, since lines are thin


def as_seen(color, eyes):
    """A colour in CIELAB, where distances are differences that are seen."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    white = np.array([0.95047, 1.0, 1.08883])
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(np.array(EYES[eyes]) @ linear, 0, 1) / white
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def looks_alike(colors):
    """Pairs of colours that somebody can hardly tell apart."""
    return [
        (eyes, *pair)
        for eyes in EYES
        for pair in combinations(sorted(colors), 2)
        if np.linalg.norm(as_seen(pair[0], eyes) - as_seen(pair[1], eyes)) < TOLD
    ]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_colours_are_told_apart_by_those_who_see_fewer(style):
    with pyplot.style.context(style):
        assert looks_alike({*look.colors(), look.ALARM, look.muted(), look.ink(), look.paper()}) == []
    assert looks_alike({"#cc79a7", "#a6a6a6"}) == [("no green", "#a6a6a6", "#cc79a7")]


def test_colours_of_the_page_are_told_apart_and_are_those_of_its_figures():
    css = (files("homing.report") / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    themes = [dict(re.findall(r"--(\w+): (#\w+)", theme)) for theme in (light, dark)]
    for theme in themes:
        assert {*_VARIABLES, "muted", "ink", "paper"} <= theme.keys()
        assert looks_alike({theme[name] for name in (*_VARIABLES, "muted", "ink", "paper")}) == []
    assert {name: themes[0][name] for name in _VARIABLES} == _VARIABLES
    assert {*map(str.lower, (*look.colors(), look.ALARM))} == {*_VARIABLES.values()}


@pytest.mark.parametrize("name", PLOTS)
def test_changes_no_settings_and_draws_in_the_callers_figure(name):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure, axes = everything(2)[name]()
    assert dict(matplotlib.rcParams) == before
    assert all(ax.figure is figure for ax in np.ravel(axes))
    figure.savefig(io.BytesIO())


def test_only_new_figures_are_pyplots():
    own = Figure((7, 7), layout="constrained")
    left, right = own.subfigures(1, 2)
    plots.sbc_rank_plot(rank_verdict(exact_ranks()), fig=left)
    plots.lc2st_plot(local_verdict(), fig=right)
    plots.coverage_plot(coverage_verdict(), ax=Figure().subplots())
    plots.rounds_plot([RNG.normal(size=(50, 2))], fig=Figure())
    assert pyplot.get_fignums() == []


# --- what is drawn ---


def test_ranks_are_drawn_as_differences():
    low, high = (exact_ranks(shift=shift) for shift in (-0.5, 0.5))
    _, (ax,) = plots.sbc_rank_plot(rank_verdict(low, high), labels=["low", "high"])
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    shares = np.searchsorted(np.sort(low), np.arange(2, 100, 2)) / 400  # ranks below an edge, e / 100
    np.testing.assert_allclose(lines["low"], shares - GRID)
    assert (lines["low"] <= 0.01).all()  # the posterior lies too low
    assert (lines["high"] >= -0.01).all()


def test_ranks_of_many_parameters_name_those_that_leave_the_band():
    columns = [exact_ranks() for _ in range(7)]
    columns[3] = exact_ranks(width=0.4)
    exact = rank_verdict(*columns)
    wide = {
        name: 1.5 * np.asarray(exact.curves[name]) for name in ("band_low", "band_high")
    }  # that none leaves by chance
    _, (ax,) = plots.sbc_rank_plot(replace(exact, curves={**exact.curves, **wide}), labels=list("abcdefg"))
    named = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in named] == ["the others", "d"]
    assert to_hex(named[1].get_color()) != to_hex(named[0].get_color())


@pytest.mark.parametrize(("width", "leaves"), [(1.0, False), (0.5, True), (2.0, True)])
def test_bands_of_arrays_hold_what_is_exact_and_nothing_else(width, leaves):
    ranks = exact_ranks(n=2000, width=width)
    _, (ax,) = plots.sbc_rank_plot(ranks, NUM_DRAWS)
    band = ax.collections[0].get_paths()[0]
    line = next(line for line in ax.lines if line.get_label() == r"$\theta_{1}$")
    outside = ~band.contains_points(line.get_xydata()[1:-1])
    assert (outside.mean() > 0.2) == leaves


def test_rank_histogram_counts_every_rank():
    ranks = exact_ranks(n=333)
    _, (ax,) = plots.sbc_rank_plot(ranks, NUM_DRAWS, kind="hist", num_bins=7)
    counts, edges, _ = ax.patches[-1].get_data()
    assert counts.sum() == 333
    np.testing.assert_array_equal(counts, np.histogram(ranks, edges)[0])
    assert (edges[0], edges[-1]) == (-0.5, NUM_DRAWS + 0.5)


def test_coverage_goes_from_nothing_to_all():
    _, ax = plots.coverage_plot([coverage_verdict(1.5), verdict("TARP", levels=GRID, coverage=GRID)], labels=["a", "b"])
    first = next(line for line in ax.lines if line.get_label() == "a")
    np.testing.assert_allclose(first.get_xydata(), np.r_[0, GRID, 1][:, None] ** [1, 1.5])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [look.RIGHT, "a", "b"]


def test_local_test_shows_where_there_is_too_much_mass():
    found = local_verdict()
    _, (null, first, second) = plots.lc2st_plot(found)
    assert null.lines[0].get_xdata()[0] == found.statistic
    along = next(line for line in first.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(along.get_ydata(), 0.5 + 0.2 * np.tanh(along.get_xdata()), atol=0.02)
    flat = next(line for line in second.lines if len(line.get_xdata()) > 2)
    assert np.abs(flat.get_ydata() - 0.5).max() < 0.15
    arrays = [found.curves[name] for name in ("probabilities", "theta", "null")]
    _, axes = plots.lc2st_plot(*arrays)
    assert axes[0].lines[0].get_xdata()[0] == pytest.approx(((found.curves["probabilities"] - 0.5) ** 2).mean())


def test_predictive_bands_are_quantiles():
    draws, observed, times = RNG.normal(size=(500, 30)), RNG.normal(size=30), np.linspace(0, 3, 30)
    _, (ax,) = plots.predictive_plot(draws, observed, times)
    outer = ax.collections[0].get_paths()[0].vertices
    assert outer[:, 1].min() == pytest.approx(np.quantile(draws, 0.025, axis=0).min())
    assert outer[:, 1].max() == pytest.approx(np.quantile(draws, 0.975, axis=0).max())
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), observed)
    images = verdict("predictive", observed=np.arange(4.0).reshape(2, 2), replicated=RNG.normal(size=(50, 2, 2)))
    assert [ax.lines[0].get_xdata()[0] for ax in plots.predictive_plot(images)[1]] == [0, 1, 2, 3]
    _, axes = plots.predictive_plot(predictive_verdict(3))
    assert [ax.lines[0].get_xdata()[0] for ax in axes] == [0, 1, 2]


def test_rounds_show_intervals_and_what_each_round_bought():
    sets = [None, RNG.normal(size=(4000, 2)), 0.1 * RNG.normal(size=(4000, 2))]
    told = [Record(1, "prior"), Record(2, gain=1.5, volume=0.2), Record(3, gain=-0.1, volume=0.1)]
    _, axes = plots.rounds_plot(sets, told, points=[1, 2])
    ends = [collection.get_segments()[0] for collection in axes[0].collections]
    assert [segment[0, 0] for segment in ends] == [2, 2, 3, 3]
    np.testing.assert_allclose(
        [segment[1, 1] - segment[0, 1] for segment in ends], [3.92, 1.35, 0.392, 0.135], rtol=0.1
    )
    assert [ax.get_title() for ax in axes[2:]] == ["gain (nats)", "share of the prior\nsimulated from"]
    assert [bar.get_height() for bar in axes[2].patches] == [1.5, -0.1]
    assert axes[3].lines[0].get_ydata().tolist() == [1.0, 0.2, 0.1]


def test_losses_mark_what_was_kept():
    array = np.array([[3.0, 1.0, 2.0, np.nan], [3.0, 2.5, 2.0, 1.5]])
    _, ax = plots.loss_plot([array, []])
    assert [len(line.get_xdata()) for line in ax.lines] == [3, 1, 4, 1]
    assert [line.get_xydata().tolist() for line in ax.lines[1::2]] == [[[2, 1]], [[4, 1.5]]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["round 1"]


def test_losses_that_explode_after_the_best_do_not_hide_the_others():
    falling = np.concatenate([np.linspace(3.0, -2.0, 80), np.full(40, -1.9)])
    exploding = np.concatenate([falling[:100], np.geomspace(1.0, 500.0, 20)])
    early = np.full(120, 9.0)  # a round whose best is far above the others'
    for members in ([falling, exploding], [falling, exploding, early]):
        _, ax = plots.loss_plot([members])
        low, high = ax.get_ylim()
        assert low < -2.0
        assert max(2.0, members[-1].min()) < high < 50.0


def test_failures_are_shares():
    theta = RNG.uniform(size=(4000, 2))
    _, axes = plots.failures_plot(theta, theta[:, 0] > 0.8)
    shares = [ax.patches[0].get_data().values for ax in axes]
    np.testing.assert_allclose(shares[0], [0] * 8 + [1] * 2, atol=0.02)
    np.testing.assert_allclose(shares[1], 0.2, atol=0.08)


def test_a_conditional_is_a_slice_and_holds_what_it_claims():
    """Of a correlated normal: theta_1 given theta_2 = 1 is normal about the regression's value."""
    precision = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]])
    calls = []

    def log_prob(theta):
        calls.append(theta)
        return -0.5 * np.einsum("ni,ij,nj->n", theta, precision, theta)

    _, axes = plots.conditional_pairplot(log_prob, [0.0, 1.0], [-4, 4], resolution=81, points=[1, 1])
    assert [len(theta) for theta in calls] == [81, 81**2, 81]
    assert (calls[0][:, 1] == 1).all()
    curve = axes[0, 0].lines[0]
    np.testing.assert_allclose(curve.get_ydata(), np.exp(-((curve.get_xdata() - 0.8) ** 2) / 0.72), atol=0.01)
    fresh = np.linalg.cholesky(np.linalg.inv(precision)) @ RNG.normal(size=(2, 20_000))
    levels = axes[0, 1].collections[0].levels
    density = np.exp(log_prob(fresh.T))
    held = [(density >= level).mean() for level in levels]
    np.testing.assert_allclose(held, [0.95, 0.68, 0.5], atol=0.02)


def test_the_prior_is_drawn_behind_and_widens_nothing():
    draws = 0.1 * RNG.normal(size=(2000, 2))
    _, axes = plots.pairplot(draws, diag="kde")
    figure, same = plots.pairplot(draws, diag="kde", prior=RNG.uniform(-5, 5, (2000, 2)), samples_labels="posterior")
    assert same[0, 0].get_xlim() == axes[0, 0].get_xlim()
    behind, front = same[0, 0].lines
    assert to_rgb(behind.get_color()) == to_rgb(look.muted())
    np.testing.assert_allclose(np.mean(behind.get_ydata()), 0.1, rtol=0.2)
    assert front.get_ydata().max() > 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["posterior", "prior"]


def test_names_are_broken_where_they_may_be():
    assert wrapped(["a long_name_of_parts"], 60, 10) == ["a long_\nname_of_\nparts"]
    assert wrapped([r"$\alpha_{very\ long}$ (mV)"], 40, 10)[0].count("$") == 2
    assert wrapped(["Nebuchadnezzar"], 30, 10) == ["Nebuc\nhadne\nzzar"]


def test_svg_takes_the_pages_colours_and_has_names_of_its_own():
    def draw(figure):
        ax = figure.subplots()
        ax.plot([0, 1], color=look.colors()[0])
        ax.axhline(0.5, color=look.muted())
        ax.set_xlabel("x")

    with pyplot.style.context("dark_background"):
        one = as_svg(draw, (3, 2), "one", "a line")
    assert one == as_svg(draw, (3, 2), "one", "a line")  # whatever the style, whenever
    for wanted in ("var(--first, #0072b2)", "currentColor", "var(--muted, #666)", "var(--paper, #fff)"):
        assert wanted in one
    other = as_svg(draw, (3, 2), "two", "a line")
    assert not set(names_in(one)) & set(names_in(other))
    assert "<style" not in one
    assert "<metadata" not in one
    assert pyplot.get_fignums() == []


def names_in(svg):
    return [part.partition('"')[0] for part in svg.split(' id="')[1:]]


# --- errors ---

OTHER = verdict("TARP", levels=GRID, coverage=GRID)
THETA = RNG.normal(size=(20, 2))


def flat(theta):
    return np.zeros(len(theta))


CASES = [
    (ArgumentError, r"verdict 'TARP' has no curve ranks.*has levels, coverage", lambda: plots.sbc_rank_plot(OTHER)),
    (ArgumentError, "num_draws must say", lambda: plots.sbc_rank_plot([1, 2, 3])),
    (ArgumentError, "ranks among 2 draws lie between 0 and 2, found 1 to 3", lambda: plots.sbc_rank_plot([1, 2, 3], 2)),
    (ArgumentError, 'kind must be "ecdf" or "hist", found \'bar\'', lambda: plots.sbc_rank_plot([1], 2, kind="bar")),
    (ArgumentError, "num_bins must lie between 1 and 3", lambda: plots.sbc_rank_plot([1], 2, kind="hist", num_bins=9)),
    (ShapeError, "axes must be 1, one for each panel, found 2", lambda: plots.sbc_rank_plot([1], 2, axes=[1, 2])),
    (ArgumentError, "levels are needed", lambda: plots.coverage_plot([0.1, 0.2])),
    (ShapeError, r"one shape \(k,\), found \(2,\) and \(1,\)", lambda: plots.coverage_plot([0.1], [0.1, 0.2])),
    (ArgumentError, "shares between 0 and 1", lambda: plots.coverage_plot([0.1, 2], [0.1, 0.2])),
    (ShapeError, "band must be two arrays", lambda: plots.coverage_plot([0.1], [0.1], band=([0, 1], [0, 1]))),
    (ArgumentError, "theta and null are needed", lambda: plots.lc2st_plot([0.5])),
    (ShapeError, "a row for each of the 3 probabilities, found 20", lambda: plots.lc2st_plot([0.5] * 3, THETA, [0.1])),
    (ArgumentError, "observed is needed", lambda: plots.predictive_plot(THETA)),
    (ShapeError, "replicated has 2 entries a row, observed 3", lambda: plots.predictive_plot(THETA, [0, 0, 0])),
    (ArgumentError, "replicated must be finite", lambda: plots.predictive_plot([[np.nan]], [0])),
    (ArgumentError, 'kind must be "series"', lambda: plots.predictive_plot(THETA, [0, 0], kind="bars")),
    (ShapeError, "times must have one entry for each", lambda: plots.predictive_plot(THETA, [0, 0], [0, 1, 2])),
    (ArgumentError, "draws must have those of at least one round", lambda: plots.rounds_plot([None])),
    (ShapeError, r"prior must have shape \(m, 2\)", lambda: plots.rounds_plot([THETA], prior=THETA[:, :1])),
    (ArgumentError, "There is no loss to draw", lambda: plots.loss_plot([[], []])),
    (ArgumentError, "labels must have one text for each of the 1", lambda: plots.loss_plot([[[1.0]]], labels=[])),
    (ShapeError, r"failed must be bool of shape \(20,\)", lambda: plots.failures_plot(THETA, np.zeros(20))),
    (ShapeError, "condition must be one finite point", lambda: plots.conditional_pairplot(flat, THETA, [0, 1])),
    (ArgumentError, "resolution must be", lambda: plots.conditional_pairplot(flat, [0, 0], [0, 1], resolution=1)),
    (ShapeError, r"log_prob must return shape \(50,\)", lambda: plots.conditional_pairplot(len, [0, 0], [0, 1])),
    (
        ArgumentError,
        "log_prob is -inf everywhere between the limits of parameter 0",
        lambda: plots.conditional_pairplot(lambda theta: flat(theta) - np.inf, [0, 0], [0, 1]),
    ),
    (
        ArgumentError,
        "numbers or -inf, found NaN",
        lambda: plots.conditional_pairplot(lambda theta: flat(theta) * np.nan, [0, 0], [0, 1]),
    ),
    (ArgumentError, "unknown option 'upper'.*hist_diag", lambda: plots.marginal_plot(THETA, upper={})),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), CASES)
def test_errors_teach(error, message, call):
    with pytest.raises(error, match=message):
        call()

"""The pair plot: what is drawn is what was given, regions hold the mass they claim, and wrong calls are explained."""

import io
import os
import subprocess
import sys
import warnings

os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest

from homing.errors import ArgumentError, ShapeError
from homing.plots import pairplot
from homing.plots.density import Column, histogram, smoothed
from homing.plots.panels import MAX_DOTS

RNG = np.random.default_rng(0)
GAUSS = RNG.standard_normal((4000, 3)) @ np.array([[1, 0.8, 0], [0, 0.6, 0.3], [0, 0, 0.5]]) + [0, 5, -2]


@pytest.fixture(autouse=True)
def _nothing_shown_no_warning_and_no_figure_left(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("a figure was shown"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module="matplotlib|pyparsing"
        )  # theirs, not ours
        yield
    pyplot.close("all")


def moons(n):
    angle, radius = RNG.uniform(-np.pi / 2, np.pi / 2, n), RNG.normal(0.1, 0.01, n)
    side = RNG.choice([-1, 1], n)
    return np.stack([side * (radius * np.cos(angle) + 0.1), side * radius * np.sin(angle)], axis=1)


def gauss(n):
    return RNG.standard_normal((n, 2)) @ np.array([[1, 0.95], [0, 0.31]])


def modes(n):
    return 0.05 * RNG.standard_normal((n, 2)) + RNG.choice([-1, 1], (n, 1))


def corner(n):
    return np.stack([RNG.beta(1, 4, n), RNG.uniform(0, 1, n)], axis=1)


def bars(ax):
    """Heights and edges of the first histogram."""
    return ax.patches[0].get_data()[:2]


# --- the square ---


@pytest.mark.parametrize("d", [1, 2, 10])
def test_shapes(d):
    figure, axes = pairplot(RNG.standard_normal((200, d)), fig_size=(5, 4))
    assert axes.shape == (d, d)
    assert figure.get_size_inches().tolist() == [5, 4]
    assert all(ax.figure is figure for ax in axes.flat)
    assert [ax.get_visible() for ax in axes.flat] == np.triu(np.ones((d, d), bool)).ravel().tolist()
    figure.savefig(io.BytesIO())


def test_figsize_is_another_name():
    assert pairplot(GAUSS, figsize=(3, 2))[0].get_size_inches().tolist() == [3, 2]


def test_import_needs_no_matplotlib():
    code = "import sys, homing.plots; print([m for m in ('matplotlib', 'scipy.stats', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_changes_no_settings():
    import matplotlib

    before, state = dict(matplotlib.rcParams), np.random.get_state()[1].tolist()  # noqa: NPY002
    pairplot(GAUSS, upper="contour", lower="scatter", diag="kde", title="t", samples_labels="a")
    assert dict(matplotlib.rcParams) == before
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_subset_picks_rows_and_columns():
    _, axes = pairplot(GAUSS, subset=[2, 0], limits=[[-9, 9], [-9, 9], [-8, 8]], labels=["a", "b", "c"])
    assert axes.shape == (2, 2)
    assert [axes[i, i].get_xlabel() for i in range(2)] == ["c", "a"]
    assert axes[0, 0].get_xlim() == (-8, 8)
    image = axes[0, 1].images[0]
    expected, *_ = np.histogram2d(GAUSS[:, 2], GAUSS[:, 0], bins=image.get_array().shape, range=[[-8, 8], [-9, 9]])
    assert image.get_extent() == [-9, 9, -8, 8]
    np.testing.assert_array_equal(image.get_array(), expected)


def test_draws_in_the_callers_figure_and_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subfigures(1, 2)
    assert pairplot(GAUSS, fig=left)[0] is left
    axes = right.subplots(3, 3)
    returned, same = pairplot(GAUSS, axes=axes)
    assert returned is right
    assert same[1, 2] is axes[1, 2]
    pairplot(GAUSS, upper=None, diag=None, lower="contour", axes=axes)  # a second call adds to the first
    assert all(ax.get_visible() for ax in axes.flat)
    assert [axes[i, i].get_xlabel() != "" for i in range(3)] == [False, False, True]
    assert pairplot(GAUSS[:, :1], axes=Figure().subplots())[1].shape == (1, 1)


# --- what is in the panels ---


def test_histograms_count_every_draw():
    n = len(GAUSS)
    _, axes = pairplot(GAUSS, limits=[[-9, 9]] * 3)
    for j in range(3):
        heights, edges = bars(axes[j, j])
        assert (heights * np.diff(edges)).sum() == pytest.approx(1)
        np.testing.assert_allclose(heights * np.diff(edges) * n, np.histogram(GAUSS[:, j], edges)[0])
        for i in range(j):
            assert axes[i, j].images[0].get_array().sum() == n


def test_histogram_is_a_share_of_all_draws_where_limits_cut():
    _, axes = pairplot(GAUSS, limits=[[-9, 0], [5, 9], [-9, 9]])
    heights, edges = bars(axes[0, 0])
    assert (heights * np.diff(edges)).sum() == pytest.approx((GAUSS[:, 0] <= 0).mean())
    assert axes[0, 1].images[0].get_array().sum() == ((GAUSS[:, 0] <= 0) & (GAUSS[:, 1] >= 5)).sum()


def test_upper_and_lower_show_the_same_draws_transposed():
    _, axes = pairplot(GAUSS, lower="hist", hist_offdiag={"bins": 20})
    np.testing.assert_array_equal(axes[0, 2].images[0].get_array(), axes[2, 0].images[0].get_array().T)


def test_draws_at_the_limits_count():
    assert histogram([Column(np.array([0.0, 0.3, 0.3]), 0.0, 0.3)], [3]).tolist() == [1, 0, 2]
    # 0.1 * 3 > 0.3 in floating point: a limit so computed must not lose the draws that touch it.
    assert smoothed([Column(np.array([0.0, 0.1 * 3]), 0.0, 0.1 * 3)]).held[-1] == 1


def test_scatter_shows_draws_and_not_too_many():
    _, axes = pairplot(GAUSS[:100], upper="scatter")
    np.testing.assert_array_equal(axes[0, 1].collections[0].get_offsets(), GAUSS[:100, [1, 0]])
    _, axes = pairplot(np.repeat(GAUSS, 3, axis=0), upper="scatter")
    assert len(axes[0, 1].collections[0].get_offsets()) == MAX_DOTS


def test_points_are_lines_and_dots():
    _, axes = pairplot(GAUSS, points=[[0.5, 5, -2], [[-1, 4, -1], [-2, 3, 0]]], limits=[-9, 9])
    assert [line.get_xdata()[0] for line in axes[1, 1].lines] == [5, 4, 3]
    assert [line.get_xydata().tolist() for line in axes[0, 2].lines] == [[[-2, 0.5]], [[-1, -1], [0, -2]]]
    one, other, same = (line.get_color() for line in axes[1, 1].lines)
    assert one != other == same


def test_overlay_has_a_colour_each_and_a_legend():
    sets, points = [GAUSS, GAUSS + 1], [[0, 5, -2], [1, 6, -1]]
    figure, axes = pairplot(sets, points, samples_labels=["first", "second"], points_labels=["a", "b"], title="both")
    assert len(axes[0, 0].patches) == len(axes[0, 1].images) == 2
    assert axes[0, 0].patches[0].get_edgecolor() != axes[0, 0].patches[1].get_edgecolor()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", "second", "a", "b"]
    assert figure.get_suptitle() == "both"


@pytest.mark.parametrize(("upper", "lower"), [("hist", None), (None, "contour"), ("kde", "scatter")])
def test_legend_covers_no_panel(upper, lower):
    figure, axes = pairplot(GAUSS[:, :2], upper=upper, lower=lower, samples_labels="posterior", title="a title")
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in axes.flat if ax.get_visible())
    assert not box.overlaps(figure._suptitle.get_window_extent())


def test_colours_are_the_callers():
    _, axes = pairplot([GAUSS, GAUSS], [[0, 5, -2]], samples_colors=["k", "r"], points_colors="g", diag="kde")
    assert [line.get_color() for line in axes[0, 0].lines] == ["k", "r", "g"]


def test_options_reach_their_panels():
    _, axes = pairplot(
        GAUSS, [[0, 5, -2]], lower="contour", hist_diag={"bins": 7, "linewidth": 3}, hist_offdiag={"bins": np.int64(9)},
        contour_offdiag={"levels": 0.5, "linewidths": 2}, points_offdiag={"markersize": 12}, points_diag={"color": "b"},
    )  # fmt: skip
    assert len(bars(axes[0, 0])[0]) == 7
    assert axes[0, 0].patches[0].get_linewidth() == 3
    assert axes[0, 1].images[0].get_array().shape == (9, 9)
    assert axes[1, 0].collections[-1].levels.size == 1
    assert axes[1, 0].collections[-1].get_linewidths()[0] == 2
    assert axes[0, 1].lines[0].get_markersize() == 12
    assert axes[0, 0].lines[0].get_color() == "b"


def test_none_draws_nothing():
    _, axes = pairplot(GAUSS, upper=None, diag=None)
    assert not any(ax.has_data() for ax in axes.flat)
    assert [ax.get_visible() for ax in axes.flat] == np.eye(3, dtype=bool).ravel().tolist()


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_other_arrays_give_the_same_picture(library):
    draws = GAUSS.astype(np.float32)
    if library == "torch":
        torch = pytest.importorskip("torch")
        given, point = torch.tensor(draws, requires_grad=True), torch.zeros(3)
    else:
        given = pytest.importorskip("jax.numpy").asarray(draws)
        point = given[0] * 0
    for several in (given, [given, given]):
        _, axes = pairplot(several, point, limits=[-9, 9])
        assert axes[0, 1].images[0].get_array().sum() == len(draws)
        assert axes[0, 0].lines[0].get_xdata()[0] == 0


# --- densities ---


def test_kde_integrates_to_one_and_follows_the_density():
    draws = RNG.standard_normal(20_000)
    density = smoothed([Column(draws, -6.0, 6.0)])
    (x,) = density.centres
    truth = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    assert density.values.sum() * (x[1] - x[0]) == pytest.approx(1)
    assert np.abs(density.values - truth).max() < 0.02
    _, axes = pairplot(draws[:, None], diag="kde", limits=[-6, 6])
    np.testing.assert_allclose(axes[0, 0].lines[0].get_ydata(), density.values)


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_kde_keeps_narrow_modes_apart(n):
    """Scott's rule, with the spread of both modes together, would have a peak of at most a third of the truth."""
    density = smoothed([Column(modes(n)[:, 0], -3.0, 3.0)])
    truth = 0.5 / (np.sqrt(2 * np.pi) * 0.05)
    assert 0.8 * truth < density.values.max() < 1.3 * truth
    assert density.values[len(density.values) // 2] < 1e-6


def test_kde_does_not_leak_over_a_bound():
    draws = RNG.exponential(size=20_000)
    bounded = smoothed([Column(draws, 0.0, 20.0)])
    assert bounded.values[0] == pytest.approx(1, abs=0.1)
    assert bounded.values.sum() * 20 / 500 == pytest.approx(1, abs=1e-3)


def test_kde_goes_on_where_draws_do():
    """Zooming in on half of a density leaves it what it was: the limit is no bound."""
    draws = RNG.standard_normal((20_000, 1))
    cut = smoothed([Column(draws[:, 0], -4.0, 1.0)])
    assert cut.values[-1] == pytest.approx(np.exp(-0.5) / np.sqrt(2 * np.pi), abs=0.02)
    assert cut.values.sum() * 5 / 500 == pytest.approx((draws < 1).mean(), abs=0.005)


@pytest.mark.parametrize("n", [500, 20_000])
@pytest.mark.parametrize("draw", [gauss, moons, modes, corner])
def test_regions_hold_their_mass(draw, n):
    """New draws from the same density fall into the drawn regions as often as claimed."""
    from matplotlib.path import Path

    limits = [0, 1] if draw is corner else None
    masses, fresh = np.array([0.5, 0.68, 0.95]), draw(20_000)
    _, axes = pairplot(draw(n), upper="contour", limits=limits)
    filled = axes[0, 1].collections[0]  # bands from the lowest level, which holds the most, to the peak
    held = [np.zeros(len(fresh), bool)]
    for path in reversed(filled.get_paths()):  # in a band are the points that an odd number of its outlines surround
        outlines = [Path(outline).contains_points(fresh[:, ::-1]) for outline in path.to_polygons()]
        held.append(held[-1] | np.logical_xor.reduce(outlines))
    held = np.mean(held[1:], axis=1)
    tolerance = 3 * np.sqrt(masses * (1 - masses) * (1 / n + 1 / len(fresh))) + 0.015
    assert (np.abs(held - masses) < tolerance).all(), held


def test_level_is_none_where_the_limits_hold_too_little():
    density = smoothed([Column(RNG.standard_normal(5000), 0.0, 0.5)])
    assert density.level(0.9) is None
    assert density.level(0.1) is not None
    _, axes = pairplot(GAUSS, upper="contour", limits=[[0, 0.1], [5, 5.1], [-2, -1.9]])
    assert not axes[0, 1].collections


# --- limits, ticks, labels ---


def test_default_limits_hold_draws_and_points_with_a_margin():
    _, axes = pairplot(GAUSS, points=[0, 50, -2])
    for j in (0, 2):
        low, high = axes[j, j].get_xlim()
        assert low < GAUSS[:, j].min() < GAUSS[:, j].max() < high
    assert axes[1, 1].get_xlim()[1] > 50
    assert axes[0, 1].get_ylim() == axes[0, 0].get_xlim()


def test_default_limits_cut_heavy_tails():
    draws = RNG.standard_cauchy((20_000, 2))
    figure, axes = pairplot(draws, lower="contour", diag="kde")
    low, high = axes[0, 0].get_xlim()
    assert -50 < low < -30
    assert 30 < high < 50
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("value", [0.0, 3.5, -1e9, 1e-12])
def test_constant_parameters_are_drawn(value):
    draws = np.stack([np.full(500, value), RNG.standard_normal(500)], axis=1)
    figure, axes = pairplot(draws, lower="contour", diag="kde")
    low, high = axes[0, 0].get_xlim()
    assert low < value < high
    assert axes[0, 1].images[0].get_array().sum() == 500
    figure.savefig(io.BytesIO())


def test_labels_are_below_the_diagonal_or_at_the_ends():
    _, axes = pairplot(GAUSS)
    assert [axes[i, i].get_xlabel() for i in range(3)] == [rf"$\theta_{{{i}}}$" for i in (1, 2, 3)]
    assert not any(ax.get_xlabel() or ax.get_ylabel() for ax in axes[np.triu_indices(3, 1)])
    _, axes = pairplot(GAUSS, lower="kde", labels=["a", "b", "c"])
    assert [[ax.get_xlabel() for ax in row] for row in axes] == [[""] * 3] * 2 + [["a", "b", "c"]]
    assert [[ax.get_ylabel() for ax in row] for row in axes] == [[""] * 3, ["b", "", ""], ["c", "", ""]]


def test_ticks_are_few_round_or_the_callers():
    _, axes = pairplot(GAUSS, limits=[-2, 9], subset=[0, 1])
    assert axes[0, 0].get_xticks().tolist() == [0, 5]
    assert axes[0, 1].get_xticks().size == axes[0, 0].get_yticks().size == 0
    _, axes = pairplot(GAUSS, limits=[-9, 9], ticks=[[-3, 3], [0], []])
    assert [axes[i, i].get_xticks().tolist() for i in range(3)] == [[-3, 3], [0], []]
    _, axes = pairplot(GAUSS, limits=[-9, 9], ticks=[-9, 0, 20])
    assert axes[0, 0].get_xticks().tolist() == [-9, 0]
    assert axes[0, 0].get_xlim() == (-9, 9)


def test_a_common_factor_stands_beside_the_name():
    _, axes = pairplot(GAUSS * [1e-6, 1, 1], labels=["a", "b", "c"])
    assert axes[0, 0].get_xlabel().startswith("a ($")
    assert "10^{-6}" in axes[0, 0].get_xlabel().replace("−", "-")
    assert axes[1, 1].get_xlabel() == "b"


def test_tick_labels_do_not_touch():
    figure, axes = pairplot(RNG.uniform(-2, 2, (500, 4)), limits=[-2, 2], lower="hist", fig_size=(6, 6))
    figure.canvas.draw()
    texts = [
        *(t for ax in axes[-1] for t in ax.get_xticklabels()),
        *(t for ax in axes[:, 0] for t in ax.get_yticklabels()),
    ]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) == 4 * 3 + 3 * 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# --- errors ---

BAD = GAUSS.copy()
BAD[7, 1] = np.nan
LEVELS = {"levels": 5}
SWAPPED = [[-9, 9], [1, 0], [-9, 9]]

CASES = [
    (ShapeError, r"samples must have shape \(n, d\).*found \(4000,\).*samples\[:, None\]", {"samples": GAUSS[:, 0]}),
    (ShapeError, r"found \(2, 2000, 3\).*samples.reshape\(-1, d\)", {"samples": GAUSS.reshape(2, 2000, 3)}),
    (ShapeError, r"samples\[1\] has 2 parameters, samples\[0\] has 3", {"samples": [GAUSS, GAUSS[:, :2]]}),
    (ShapeError, r"samples\[1\] must have shape", {"samples": [GAUSS, GAUSS[:, 0]]}),
    (ArgumentError, "at least 2 draws.*found 1", {"samples": GAUSS[:1]}),
    (ArgumentError, "NaN or infinite values in 1 of 4000 draws, first in draw 7, parameter 1", {"samples": BAD}),
    (ArgumentError, "samples must be an array of real numbers", {"samples": [["a", "b"]]}),
    (ShapeError, r"points must have shape \(3,\) or \(m, 3\).*found \(2,\)", {"points": [0, 0]}),
    (ShapeError, r"points\[1\] must have shape", {"points": [[0, 0, 0], [0, 0]]}),
    (ArgumentError, "points must be finite, found nan", {"points": [0, np.nan, 0]}),
    (ShapeError, r"limits must be one pair.*\(3, 2\), found shape \(2, 2\)", {"limits": [[-1, 1], [-1, 1]]}),
    (ArgumentError, r"limits of parameter 1 must be finite with low < high, found \[1, 0\]", {"limits": SWAPPED}),
    (ArgumentError, r"limits of parameter 0, \[90, 99\], hold none of its draws", {"limits": [90, 99]}),
    (ArgumentError, "subset must be a list of parameters' indices", {"subset": [0.5]}),
    (ArgumentError, "subset must be a list of parameters' indices", {"subset": []}),
    (ArgumentError, r"subset must hold indices from 0 to 2.*found \[0, 3\]", {"subset": [0, 3]}),
    (ArgumentError, "upper must be 'hist', 'kde', 'contour', 'scatter' or None, found 'bar'", {"upper": "bar"}),
    (ArgumentError, "lower must be 'hist'.*found 3", {"lower": 3}),
    (ArgumentError, r"upper must be 'hist'.*found \['kde', 'hist'\]", {"upper": ["kde", "hist"]}),
    (ArgumentError, "diag must be 'hist', 'kde' or None, found 'scatter'", {"diag": "scatter"}),
    (ArgumentError, "unknown option 'bins'.*hist_diag.*points_offdiag", {"bins": 3}),
    (ArgumentError, "hist_diag must be a dictionary of options.*found 3", {"hist_diag": 3}),
    (ArgumentError, "bins must be a positive integer.*found 0", {"hist_diag": {"bins": 0}}),
    (ArgumentError, "bins must be a positive integer.*found 'auto'", {"hist_offdiag": {"bins": "auto"}}),
    (ArgumentError, "levels must be masses between 0 and 1.*found 5", {"upper": "contour", "contour_offdiag": LEVELS}),
    (ArgumentError, "labels must have one text for each of the 3 parameters, found 2", {"labels": ["a", "b"]}),
    (ArgumentError, r"The mathematics of '\$x_\$' in labels cannot be drawn", {"labels": ["a", "cost ($)", "$x_$"]}),
    (ArgumentError, "samples_labels must have one text for each of the 1 sets", {"samples_labels": ["a", "b"]}),
    (ArgumentError, "points_labels must have one text for each of the 0 arrays of points", {"points_labels": "a"}),
    (ShapeError, "ticks must be one list for all parameters or one for each of the 3, found 2", {"ticks": [[0], [1]]}),
    (ArgumentError, "samples_colors must be a colour that matplotlib knows.*found 'sky'", {"samples_colors": ["sky"]}),
    (ArgumentError, "points_colors must hold at least one colour", {"points_colors": []}),
    (ShapeError, r"axes must have shape \(3, 3\).*found \(1, 2\)", {"axes": [None, None]}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "arguments"), CASES)
def test_errors_teach(error, message, arguments):
    with pytest.raises(error, match=message):
        pairplot(**{"samples": GAUSS, **arguments})

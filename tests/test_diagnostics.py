"""Every diagnostic on a model whose posterior is known: the exact one passes; too wide, too narrow, shifted are told.

False alarms come as often as they should: by many repetitions in `make test-slow`.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom, chi2

from homing import diagnostics
from homing.diagnostics import (
    check_agreement,
    check_boundary,
    check_c2st,
    check_coverage,
    check_disagreement,
    check_local_c2st,
    check_misspecification,
    check_posterior_sbc,
    check_predictive,
    check_ranks,
    check_sampler,
    check_shrinkage,
    check_tarp,
    check_truncation,
    check_z_scores,
    effective_draws,
    fit_predictive,
    sbc_ranks,
)
from homing.diagnostics.bands import edges_of, shares_below, uniform_band, uniform_p_value
from homing.diagnostics.pairs import ranks_of
from homing.diagnostics.predictive import UNLIKE
from homing.plots import lc2st_plot
from homing.posteriors.boundary import boundary_mass
from homing.posteriors.ensemble import disagreement_of
from homing.posteriors.sampling.chains import rhat
from homing.posteriors.sampling.tail import pareto_shape
from homing.posteriors.sampling.tempered import effective_share
from homing.priors import BoxUniform, as_prior

NOISE, DIM = 0.5, 2
GAIN = 1 / (1 + NOISE**2)  # theta ~ N(0, 1), x = theta + noise: the posterior is N(gain x, sd^2)
SD = NOISE * np.sqrt(GAIN)


class Cases(NamedTuple):
    """Parameters, their data, draws of a posterior at these, and it."""

    theta: np.ndarray
    x: np.ndarray
    draws: np.ndarray
    log_prob: np.ndarray
    log_prob_draws: np.ndarray


def posterior_at(x, num, rng, width=1.0, shift=0.0):
    """Draws, shape (*x.shape[:-1], num, d), of the exact posterior, made wider or moved by its standard deviations."""
    mean = GAIN * x + shift * SD
    return mean[..., None, :] + width * SD * rng.normal(size=(*x.shape[:-1], num, x.shape[-1]))


def cases(n, rng, num_draws=100, width=1.0, shift=0.0):
    theta = rng.normal(size=(n, DIM))
    x = theta + NOISE * rng.normal(size=(n, DIM))
    draws = posterior_at(x, num_draws, rng, width, shift)
    mean = (GAIN * x + shift * SD)[:, None]
    log_prob, log_prob_draws = (-0.5 * (((rows - mean) / (width * SD)) ** 2).sum(2) for rows in (theta[:, None], draws))
    return Cases(theta, x, draws, log_prob[:, 0], log_prob_draws)


def by_ranks(n, seed, **wrong):
    made = cases(n, np.random.default_rng(seed), **wrong)
    return check_ranks(sbc_ranks(made.theta, made.draws, seed=seed), 100)


def by_coverage(n, seed, **wrong):
    made = cases(n, np.random.default_rng(seed), **wrong)
    return check_coverage(made.log_prob, made.log_prob_draws, seed=seed)


def by_tarp(n, seed, **wrong):
    made = cases(n, np.random.default_rng(seed), **wrong)
    return check_tarp(made.theta, made.draws, seed=seed)


def by_z_scores(n, seed, **wrong):
    made = cases(n, np.random.default_rng(seed), **wrong)
    return check_z_scores(made.theta, made.draws, seed=seed)


def by_c2st(n, seed, width=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return check_c2st(rng.normal(shift, width, (n, DIM)), rng.normal(size=(n, DIM)), seed=seed)


def by_local_c2st(n, seed, **wrong):
    rng = np.random.default_rng(seed)
    made, x_o = cases(n, rng, **wrong), np.zeros(DIM)
    return check_local_c2st(made.theta, made.draws, made.x, posterior_at(x_o, 500, rng, **wrong), x_o, seed=seed)


def by_posterior_sbc(n, seed, width=1.0, shift=0.0):
    """Draws of the posterior at x_o = 0.4 make data; the posterior's density there over the prior's is the weight."""
    rng = np.random.default_rng(seed)
    theta, draws = np.split(posterior_at(np.full((n, DIM), 0.4), 201, rng, width, shift), [1], axis=1)
    x = theta + NOISE * rng.normal(size=theta.shape)
    pool = np.concatenate([theta, draws], axis=1)
    log_posterior = -0.5 * ((pool - GAIN * x - shift * SD) / (width * SD)) ** 2
    return check_posterior_sbc(theta[:, 0], draws, (log_posterior + 0.5 * pool**2).sum(2), seed=seed)


def by_misspecification(n, seed, width=1.0, shift=0.0):
    """Data of a prior of that width and place, and an observation of the right one's."""
    rng = np.random.default_rng(seed)
    x_o, theta = rng.normal(size=DIM), rng.normal(shift, width, (n, DIM))
    return check_misspecification(fit_predictive(theta + 0.1 * width * rng.normal(size=theta.shape)), x_o)


def by_predictive(n, seed, width=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    x_o = rng.normal(size=DIM) + NOISE * rng.normal(size=DIM)
    theta = posterior_at(x_o, n, rng, width, shift)
    return check_predictive(x_o, theta + NOISE * rng.normal(size=theta.shape))


def log_density(z, width=1.0, shift=0.0):
    return (-0.5 * ((z - shift) / width) ** 2 - np.log(width)).sum(-1)


def by_agreement(n, seed, width=1.0, shift=0.0):
    """Draws of one side, weighted to the other, which is exact."""
    z = shift + width * np.random.default_rng(seed).normal(size=(10 * n, DIM))
    log_weights = log_density(z) - log_density(z, width, shift)
    return check_agreement(effective_share(log_weights), pareto_shape(log_weights), len(z))


def by_disagreement(n, seed, width=1.0, shift=0.0):
    """Three exact members and one other."""
    z = np.random.default_rng(seed).normal(size=(4, n, DIM)) * np.array([1, 1, 1, width])[:, None, None]
    z[3] += shift
    values = np.stack([*[log_density(z.reshape(-1, DIM))] * 3, log_density(z.reshape(-1, DIM), width, shift)])
    mixed, shares = np.logaddexp.reduce(values, axis=0) - np.log(4), np.full(4, 0.25)
    return check_disagreement(disagreement_of(values, mixed, shares), 4, n)


def by_sampler(n, seed, width=1.0, shift=0.0):
    """Four chains of which one is elsewhere."""
    history = np.random.default_rng(seed).normal(size=(n, 4, DIM))
    history[:, 3] = shift + width * history[:, 3]
    return check_sampler(rhat(history), float("nan"), history.shape[0] * 4)


def by_shrinkage(n, seed, width=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return check_shrinkage(posterior_at(np.zeros(DIM), n, rng, width, shift), rng.normal(size=(n, DIM)))


def by_boundary(n, seed, width=1.0, shift=0.0):
    """A posterior within a box: what would lie outside it is at its bounds."""
    z = shift + width * np.random.default_rng(seed).normal(size=(n, DIM))
    boundary = boundary_mass(z, as_prior(BoxUniform([0.0] * DIM, [1.0] * DIM)))
    return check_boundary(boundary.mass, boundary.where, n)


def by_truncation(n, seed, width=1.0, shift=0.0):
    """The region of a posterior that holds 99.9 % of it, and simulations like x_o: of the exact one."""
    rng = np.random.default_rng(seed)
    reach = chi2.ppf(0.999, DIM)
    inside = (((rng.normal(size=(n, DIM)) - shift) / width) ** 2).sum(1) < reach
    return check_truncation(int(inside.sum()), int((~inside).sum()), 1.0, 0.001)


WRONG = {"wide": {"width": 2.0}, "narrow": {"width": 0.5}, "shifted": {"shift": 1.0}}
FAR = {"wide": {"width": 20.0}, "narrow": {"width": 0.05}, "shifted": {"shift": 10.0}}
CAUGHT, CARE, PASS = ("fail", "shifted"), ("care", ""), ("pass", "")


class Row(NamedTuple):
    """A diagnostic's level and reading of a wide, a narrow and a shifted posterior, and how far wrong these are."""

    diagnose: Callable
    wide: tuple = ("care", "conservative")
    narrow: tuple = ("fail", "overconfident")
    shifted: tuple = CAUGHT
    wrong: dict = WRONG


# Only the middle of a shifted posterior misses with a region: it reads as overconfident.
CALIBRATION = {
    "check_ranks": Row(by_ranks),
    "check_coverage": Row(by_coverage, shifted=("fail", "overconfident")),
    "check_tarp": Row(by_tarp, shifted=("fail", "overconfident")),
    "check_z_scores": Row(by_z_scores),
    "check_c2st": Row(by_c2st),
    "check_local_c2st": Row(by_local_c2st),
    "check_posterior_sbc": Row(by_posterior_sbc),
}
# Of one observation against data, and of numbers that a posterior has of itself: what each is blind to, it passes.
OTHERS = {
    "check_misspecification": Row(by_misspecification, PASS, ("fail", ""), ("fail", ""), FAR),
    "check_predictive": Row(by_predictive, PASS, PASS, ("fail", ""), WRONG | {"shifted": {"shift": 10.0}}),
    "check_truncation": Row(by_truncation, PASS, CARE, CARE, WRONG | {"shifted": {"shift": 2.0}}),
    "check_agreement": Row(
        by_agreement, PASS, CARE, CARE, WRONG | {"narrow": {"width": 0.4}, "shifted": {"shift": 2.0}}
    ),
    "check_disagreement": Row(by_disagreement, CARE, CARE, CARE, FAR),
    "check_boundary": Row(by_boundary, CARE, PASS, CARE, FAR),
    "check_sampler": Row(by_sampler, CARE, CARE, ("fail", ""), WRONG | {"shifted": {"shift": 3.0}}),
    "check_shrinkage": Row(by_shrinkage, PASS, PASS, PASS),
}
ROWS = CALIBRATION | OTHERS
WITH_P_VALUE = {name: ROWS[name] for name in (*CALIBRATION, *list(OTHERS)[:3])}


def each(rows):
    return pytest.mark.parametrize(("name", "row"), rows.items(), ids=rows)


@cache
def said_of(name):
    """The verdicts on the exact posterior and on the wrong ones, by kind."""
    row = ROWS[name]
    return {kind: row.diagnose(300, 2, **wrong) for kind, wrong in ({"exact": {}} | row.wrong).items()}


def test_every_diagnostic_has_its_row():
    """Whatever in the room returns a verdict; a new one without a row fails here."""
    rooms = [import_module(f"homing.diagnostics.{module.name}") for module in iter_modules(diagnostics.__path__)]
    found = [value for room in rooms for name, value in vars(room).items() if name.startswith("check_")]
    assert {check.__name__ for check in found if check.__annotations__["return"] == "Verdict"} == ROWS.keys()
    assert ROWS.keys() <= set(diagnostics.__all__)


@each(ROWS)
def test_the_triad(name, row):
    said = said_of(name)
    assert {kind: (verdict.level, verdict.reads) for kind, verdict in said.items()} == {
        **{"exact": PASS, "wide": row.wide, "narrow": row.narrow, "shifted": row.shifted},
    }
    assert len({verdict.name for verdict in said.values()}) == 1
    assert all(verdict.sentence.endswith(".") for verdict in said.values())
    assert (said["exact"].p_value is not None) == (name in WITH_P_VALUE)


@each(CALIBRATION)
def test_what_calibration_finds_is_beyond_chance(name, row):
    exact, *others = said_of(name).values()
    assert exact.p_value > 0.01
    assert (exact.n, exact.resolution > 0) == (300, True)
    for verdict in others:
        assert verdict.p_value < 0.001
        assert abs(verdict.statistic) > abs(exact.statistic)


@pytest.mark.slow
@each(WITH_P_VALUE)
def test_false_alarms_come_at_their_nominal_rate(name, row):
    p = np.array([row.diagnose(100, seed).p_value for seed in range(200)])
    for alpha in (0.01, 0.05, 0.2):
        assert (p < alpha).sum() <= binom.ppf(0.999, 200, alpha)
    for alpha in (0.05, 0.2, 0.3) if name in CALIBRATION else ():  # nor less often: that would be want of power
        assert (p < alpha).sum() >= binom.ppf(0.001, 200, alpha)


@pytest.mark.slow
@each({name: row for name, row in OTHERS.items() if name not in WITH_P_VALUE})
def test_numbers_of_right_posteriors_raise_no_alarm(name, row):
    """Where there is no p-value, the bound is far beyond what chance does."""
    assert {row.diagnose(1000, seed).level for seed in range(200)} == {"pass"}


@pytest.mark.slow
@each(CALIBRATION)
def test_a_departure_of_its_resolution_is_found(name, row):
    """Widths and shifts whose statistic is at least the resolution are found four times in five, or more often."""
    found = []
    for width, shift in ((0.4, 0.0), (0.6, 0.0), (1.6, 0.0), (2.5, 0.0), (1.0, 0.5), (1.0, 1.0)):
        verdicts = [row.diagnose(100, seed, width=width, shift=shift) for seed in range(30)]
        if np.mean([abs(verdict.statistic) for verdict in verdicts]) > verdicts[0].resolution:
            found.append(np.mean([verdict.level != "pass" for verdict in verdicts]))
    assert found
    assert min(found) >= 0.8 - 3 * np.sqrt(0.16 / 30)


@each(CALIBRATION)
def test_a_departure_that_does_not_matter_is_none_however_many_pairs_show_it(name, row):
    """A shift of .1 standard deviations is something to know, to what sees it; one of .02 is not even that."""
    num = 500 if "c2st" in name else 5000
    known, small = (row.diagnose(num, 0, shift=shift) for shift in (0.1, 0.02))
    assert known.level in ("pass", "care")
    if name in ("check_ranks", "check_z_scores", "check_posterior_sbc"):
        assert known.level == "care"
        assert known.p_value <= 0.0005  # beyond chance
    assert small.level == "pass"


@each(CALIBRATION)
def test_a_number_from_a_few_pairs_is_said_with_its_interval(name, row):
    for wrong in ({"width": 0.3}, {"shift": 2.0}):
        sentence = row.diagnose(60, 1, **wrong).sentence
        for estimate in re.findall(r"(?:in|lies|lie) [\d.]+%?(?! draws| cases| pairs| of).{12}", sentence):
            assert re.search(r"\(|±", estimate), sentence


# --------------------------------------------------------------------------------------------------- how they are made


def test_the_exact_p_value_is_that_of_many_simulated_samples():
    rng = np.random.default_rng(0)
    null = np.array([uniform_p_value(rng.integers(0, 31, 80), 30) for _ in range(1000)])
    for alpha in (0.01, 0.05, 0.2, 0.5):
        assert (null <= alpha).mean() == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / 1000) + 0.01)


@pytest.mark.parametrize(("n", "num_draws"), [(50, 9), (300, 100), (40, 1)])
def test_a_band_holds_uniform_ranks_as_often_as_it_says(n, num_draws):
    rng = np.random.default_rng(0)
    low, high = uniform_band(n, num_draws, 0.1)
    assert low.shape == high.shape == edges_of(num_draws).shape
    shares = np.stack([shares_below(rng.integers(0, num_draws + 1, n), num_draws) for _ in range(2000)])
    left = ((shares < low) | (shares > high)).any(1).mean()
    assert left <= 0.1 + 4 * np.sqrt(0.09 / 2000)
    assert left >= 0.02  # counts are whole numbers, so it may be less than 0.1


def test_leaving_the_band_is_a_small_p_value():
    rng = np.random.default_rng(1)
    low, high = uniform_band(60, 20, 0.05)
    for _ in range(300):
        ranks = rng.integers(0, 21, 60)
        share = shares_below(ranks, 20)
        assert ((share < low) | (share > high)).any() == (uniform_p_value(ranks, 20) <= 0.05)


def test_ranks_of_weighted_draws_are_uniform_however_few_count():
    """Draws of N(0, 1.5^2), weighted to N(1, 0.3^2), from which the truth is: about seven in thirty count."""
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(1, 0.3, 3000), rng.normal(0, 1.5, (3000, 30))

    def log_weight(theta):
        return -0.5 * ((theta - 1) / 0.3) ** 2 + 0.5 * (theta / 1.5) ** 2

    log_weights = np.concatenate([log_weight(truth)[:, None], log_weight(draws)], axis=1)
    assert effective_draws(log_weights).mean() < 8
    assert uniform_p_value(ranks_of(truth, draws, 0, log_weights), 30) > 0.01
    assert uniform_p_value(ranks_of(truth, draws, 0), 30) < 1e-6  # the weights are needed


def test_equal_weights_are_no_weights_and_ties_are_broken():
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=50), rng.normal(size=(50, 20))
    plain = ranks_of(truth, draws, 0)
    np.testing.assert_array_equal(plain, (draws < truth[:, None]).sum(1))
    np.testing.assert_array_equal(plain, ranks_of(truth, draws, 0, np.full((50, 21), -7.0)))
    tied = ranks_of(np.zeros(4000), np.zeros((4000, 9)), 0)
    assert np.bincount(tied, minlength=10).min() > 300


def test_a_correlation_that_ranks_do_not_see_is_told_by_coverage_and_c2st():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(400, 2))
    theta[:, 1] = 0.95 * theta[:, 0] + np.sqrt(1 - 0.95**2) * theta[:, 1]
    draws = rng.normal(size=(400, 100, 2))
    assert check_ranks(sbc_ranks(theta, draws), 100).level == "pass"
    assert check_coverage(-(theta**2).sum(1), -(draws**2).sum(2)).level != "pass"
    assert check_c2st(draws[:, 0], theta).level == "fail"


def test_local_c2st_is_about_x_o():
    """A posterior that is right for x < 0 only."""
    rng = np.random.default_rng(0)
    made, wrong = cases(1000, rng), posterior_at
    draws = np.where((made.x > 0).all(1)[:, None, None], wrong(made.x, 100, rng, width=0.4), made.draws)
    at = [np.full(DIM, value) for value in (-1.0, 1.0)]
    left, right = (
        check_local_c2st(made.theta, draws, made.x, wrong(x_o, 500, rng, width=1.0 if x_o[0] < 0 else 0.4), x_o)
        for x_o in at
    )
    assert right.level == "fail"
    assert right.reads == "overconfident"
    assert right.statistic > 2 * left.statistic


def test_posterior_sbc_says_when_it_can_tell_hardly_anything():
    rng = np.random.default_rng(0)
    theta, draws = rng.normal(size=(50, 1)), rng.normal(size=(50, 60, 1))
    log_weights = -0.5 * ((np.concatenate([theta[:, None], draws], 1)[..., 0] - theta) / 1e-3) ** 2
    verdict = check_posterior_sbc(theta, draws, log_weights)
    assert verdict.level == "pass"
    assert verdict.sentence == "About x_o hardly anything can be told, only 1 of 60 draws count."
    assert verdict.curves["effective"].shape == (50,)


def test_the_local_test_says_where_there_is_too_much_mass():
    """A posterior that is too wide has too much far out, and too little in the middle."""
    verdict = by_local_c2st(1000, 2, width=2.0)
    theta, probabilities = verdict.curves["theta"], verdict.curves["probabilities"]
    out = (np.abs(theta) / (2 * SD)).max(1)
    assert probabilities[out > 1.5].mean() > 0.6
    assert probabilities[out < 0.5].mean() < 0.4
    _, axes = lc2st_plot(verdict)
    for ax in axes[1:]:
        height = ax.lines[-1].get_ydata()
        assert min(height[0], height[-1]) > 0.5 > height[len(height) // 2]


# -------------------------------------------------------------------------------------------------- is x_o like data?


@pytest.mark.parametrize(("n", "nuisances"), [(150, 0), (100, 150)], ids=["few entries", "more entries than rows"])
def test_an_observation_unlike_the_data_is_told(n, nuisances):
    """Among many entries that tell nothing, one that is out of range, and two that break their relation."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(n, 1))
    x = np.concatenate([np.exp(theta), theta + 0.02 * rng.normal(size=(n, 1)), rng.normal(size=(n, nuisances))], axis=1)
    predictive = fit_predictive(x, theta)
    like = np.concatenate([[1.0, 0.0], rng.normal(size=nuisances)])
    assert not predictive.is_unlike(like)
    assert predictive.is_unlike(like + np.eye(len(like))[0] * 1e4)
    if not nuisances:
        assert predictive.is_unlike(np.array([np.exp(1.0), -1.0]))  # each within its range


def test_p_values_of_observations_that_are_like_the_data_are_uniform():
    for n, p in ((40, 3), (80, 100), (200, 3)):
        rng = np.random.default_rng(n)
        found = []
        for _ in range(300):
            x = rng.standard_t(5, (n + 1, p)) * np.exp(0.3 * rng.normal(size=(n + 1, 1)))
            found.append(check_misspecification(fit_predictive(x[:n]), x[n]))
        p_values = np.array([verdict.p_value for verdict in found])
        for alpha in (0.01, 0.05, 0.2):
            assert (p_values <= alpha).sum() <= binom.ppf(0.999, 300, alpha)
        assert p_values.mean() == pytest.approx(0.5, abs=0.08)
        assert sum(verdict.level != "pass" for verdict in found) <= binom.ppf(0.999, 300, UNLIKE)


def test_the_posterior_predictive_check_raises_no_false_alarm_and_tells_what_predicts_other_data():
    """Observations from the prior, replicated by the posterior of each: p-values are uniform, or larger."""

    def verdicts(width, shift):
        for seed in range(200):
            rng = np.random.default_rng(seed)
            x_o = rng.normal(size=DIM) + NOISE * rng.normal(size=DIM)
            theta = posterior_at(x_o, 100, rng, width, shift)
            yield check_predictive(x_o, theta + NOISE * rng.normal(size=theta.shape))

    exact, wide, narrow, moved = (
        list(verdicts(width, shift)) for width, shift in ((1.0, 0.0), (2.0, 0.0), (0.5, 0.0), (1.0, 10.0))
    )
    p_values = np.array([verdict.p_value for verdict in exact])
    for alpha in (0.01, 0.05, 0.2):
        assert (p_values <= alpha).sum() <= binom.ppf(0.999, 200, alpha)
    for found in (exact, wide, narrow):  # of a wrong width the data are still like x_o: other checks are for that
        assert sum(verdict.level != "pass" for verdict in found) <= binom.ppf(0.999, 200, UNLIKE)
    assert sum(verdict.level != "pass" for verdict in moved) > 190


@pytest.mark.slow
def test_images_of_very_many_pixels_unlike_the_data_are_told():
    """Two patterns of any strength, and noise: one that is brighter, noisier, has another pattern, or lost a part."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(2, 64, 100))

    def images(n):
        return np.tensordot(rng.normal(size=(n, 2)), patterns, 1) + 0.5 * rng.normal(size=(n, 64, 100))

    predictive = fit_predictive(images(150))
    assert predictive.halves[0].loc.shape == (4096,)
    like = images(100)
    assert sum(predictive.is_unlike(image) for image in like) <= binom.ppf(0.999, 100, UNLIKE)
    assert predictive.is_unlike(like[0] + 1.0)
    assert predictive.is_unlike(like[0] + 1.0 * rng.normal(size=(64, 100)))
    assert predictive.is_unlike(like[0] + 2 * rng.normal(size=(64, 1)))
    assert predictive.is_unlike(np.where(np.arange(100) < 50, like[0] + 2 * patterns[0], 0.0))
    p_values = np.array([fit_predictive(images(40)).p_value(images(1)[0]) for _ in range(60)])
    for alpha in (0.05, 0.2, 0.5):
        assert (p_values <= alpha).sum() <= binom.ppf(0.999, 60, alpha)
    assert p_values.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 60))


def test_data_of_any_shape_have_a_distance_and_what_is_too_little_has_none():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 4, 5))
    assert not fit_predictive(images).is_unlike(rng.normal(size=(4, 5)))
    assert fit_predictive(images).is_unlike(np.full((4, 5), 50.0))
    assert fit_predictive(images[:19]) is None
    assert fit_predictive(np.zeros((20, 0))) is None
    constant = fit_predictive(np.concatenate([images[:, 0], np.full((60, 1), 7.0)], axis=1))
    assert constant.is_unlike(np.array([0.0, 0, 0, 0, 0, 7.1]))  # no simulation ever gives that
    assert not constant.is_unlike(np.array([0.0, 0, 0, 0, 0, 7.0]))


@pytest.mark.parametrize(("off", "level"), [(0.0, "pass"), (10.0, "fail")])
def test_the_posterior_predictive_check(off, level):
    rng = np.random.default_rng(0)
    x_o = np.full(DIM, 0.4)
    theta = posterior_at(x_o, 200, rng)
    verdict = check_predictive(x_o + off, theta + NOISE * rng.normal(size=theta.shape))
    assert verdict.level == level
    assert verdict.curves["observed"].shape == (DIM,)
    assert verdict.curves["replicated"].shape == (200, DIM)
    word = "like" if level == "pass" else "unlike"
    assert verdict.sentence.startswith(f"x_o is {word} the 200 data that the posterior predicts")


# ----------------------------------------------------------------------------------------------- what pictures are from


def test_the_curves_that_docstrings_list():
    made = cases(60, np.random.default_rng(0))
    ranks = by_ranks(60, 0).curves
    assert ranks["ranks"].shape == (60, DIM)
    assert ranks["num_draws"] == 100
    points = ranks["grid"].shape
    assert ranks["difference"].shape == (DIM, *points)
    assert ranks["band_low"].shape == ranks["band_high"].shape == points
    assert ((ranks["band_low"] < 0) & (ranks["band_high"] > 0)).all()
    for curves in (by_coverage(60, 0).curves, by_tarp(60, 0).curves):
        assert {array.shape for array in curves.values()} == {points}
        assert sorted(curves) == ["band_high", "band_low", "coverage", "levels"]
    local = by_local_c2st(60, 0).curves
    assert local["theta"].shape == (500, DIM)
    assert local["probabilities"].shape == (500,)
    assert local["null"].ndim == by_c2st(60, 0).curves["null"].ndim == 1
    scores = check_z_scores(made.theta, made.draws).curves
    assert scores["z_scores"].shape == scores["shrinkage"].shape == (60, DIM)


def test_one_truth_that_nothing_allows_is_no_million_standard_deviations_off():
    rng = np.random.default_rng(0)
    theta, draws, log_weights = rng.normal(size=(200, 1)), rng.normal(size=(200, 100, 1)), np.zeros((200, 101))
    log_weights[7, 30] = 6000.0
    verdict = check_z_scores(theta, draws, log_weights=log_weights)
    assert np.abs(verdict.curves["z_scores"]).max() == 10
    assert verdict.sentence.startswith("Truths of theta[0] lie 1.2 (")

"""Every diagnostic on a model whose posterior is known: the exact one passes; too wide, too narrow, shifted are told.

False alarms come as often as they should: by many repetitions in `make test-slow`.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from homing.diagnostics import (
    check_c2st,
    check_coverage,
    check_local_c2st,
    check_misspecification,
    check_posterior_sbc,
    check_predictive,
    check_ranks,
    check_tarp,
    check_z_scores,
    effective_draws,
    fit_predictive,
    sbc_ranks,
)
from homing.diagnostics.bands import edges_of, shares_below, uniform_band, uniform_p_value
from homing.diagnostics.pairs import ranks_of
from homing.diagnostics.predictive import UNLIKE

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


# What each reads a shifted posterior as; only its middle misses with a region or a ball about a random point.
CALIBRATION = {
    "ranks": (by_ranks, {"shifted"}),
    "coverage": (by_coverage, {"overconfident"}),
    "TARP": (by_tarp, {"overconfident", "shifted"}),
    "z-scores": (by_z_scores, {"shifted"}),
    "C2ST": (by_c2st, {"shifted"}),
    "L-C2ST": (by_local_c2st, {"shifted"}),
    "posterior SBC": (by_posterior_sbc, {"shifted"}),
}
triad = pytest.mark.parametrize(("name", "diagnose", "shifted"), [(name, *row) for name, row in CALIBRATION.items()])


@triad
def test_the_triad(name, diagnose, shifted):
    exact, wide, narrow, moved = (
        diagnose(300, 2, **wrong) for wrong in ({}, {"width": 2.0}, {"width": 0.5}, {"shift": 1.0})
    )
    assert {verdict.name for verdict in (exact, wide, narrow, moved)} == {name}
    assert (exact.level, exact.reads) == ("pass", "")
    assert exact.p_value > 0.01
    assert (wide.level, wide.reads) == ("care", "conservative")
    assert (narrow.level, narrow.reads) == ("fail", "overconfident")
    assert moved.level == "fail"
    assert moved.reads in shifted
    for verdict in (wide, narrow, moved):
        assert verdict.p_value < 0.001
        assert abs(verdict.statistic) > abs(exact.statistic)
        assert verdict.sentence.endswith(".")
    assert exact.n == 300
    assert exact.resolution > 0


@pytest.mark.slow
@triad
def test_false_alarms_come_at_their_nominal_rate(name, diagnose, shifted):
    p = np.array([diagnose(100, seed).p_value for seed in range(200)])
    for alpha in (0.01, 0.05, 0.2):
        assert (p < alpha).sum() <= binom.ppf(0.999, 200, alpha)
    assert (p < 0.3).sum() >= binom.ppf(0.001, 200, 0.15)  # and not for want of any power


@pytest.mark.slow
@triad
def test_a_departure_of_its_resolution_is_found(name, diagnose, shifted):
    """Widths and shifts whose statistic is at least the resolution are found four times in five, or more often."""
    found = []
    for width, shift in ((0.4, 0.0), (0.6, 0.0), (1.6, 0.0), (2.5, 0.0), (1.0, 0.5), (1.0, 1.0)):
        verdicts = [diagnose(100, seed, width=width, shift=shift) for seed in range(30)]
        if np.mean([abs(verdict.statistic) for verdict in verdicts]) > verdicts[0].resolution:
            found.append(np.mean([verdict.level != "pass" for verdict in verdicts]))
    assert found
    assert min(found) >= 0.8 - 3 * np.sqrt(0.16 / 30)


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

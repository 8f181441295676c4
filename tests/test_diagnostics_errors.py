"""What diagnostics say to arrays that cannot be judged, and how verdicts are put together."""

import numpy as np
import pytest

from homing.diagnostics import (
    Check,
    Verdict,
    check_agreement,
    check_boundary,
    check_c2st,
    check_coverage,
    check_disagreement,
    check_local_c2st,
    check_posterior_sbc,
    check_predictive,
    check_ranks,
    check_sampler,
    check_shrinkage,
    check_tarp,
    check_truncation,
    check_z_scores,
    fit_predictive,
    sbc_ranks,
    warn_if_unlike,
)
from homing.diagnostics.verdict import check_as_json, check_from_json, level_of
from homing.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
THETA, DRAWS = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 40, 2))


def test_what_pairs_must_be():
    for diagnose in (sbc_ranks, check_tarp, check_z_scores):
        with pytest.raises(ShapeError, match=r"theta must have shape \(n, d\).* found \(30,\) and \(30, 40, 2\)"):
            diagnose(THETA[:, 0], DRAWS)
        with pytest.raises(ShapeError, match=r"draws \(n, S, d\).* found \(30, 2\) and \(29, 40, 2\)"):
            diagnose(THETA, DRAWS[:29])
        with pytest.raises(ArgumentError, match="draws must be finite, found 1200 of 2400 numbers NaN or infinite"):
            diagnose(THETA, DRAWS * [1.0, np.inf])
        with pytest.raises(ArgumentError, match="theta must be an array of real numbers"):
            diagnose(THETA.astype(str), DRAWS)


def test_what_weights_must_be():
    with pytest.raises(ShapeError, match=r"log_weights must have shape \(30, 41\), the truth's own before"):
        sbc_ranks(THETA, DRAWS, log_weights=np.zeros((30, 40)))
    weights = np.zeros((30, 41))
    weights[3, 0] = -np.inf
    with pytest.raises(ArgumentError, match="the truth's own, the first, be finite"):
        check_tarp(THETA, DRAWS, log_weights=weights)
    with pytest.raises(ArgumentError, match="log_weights must not be NaN or infinite"):
        check_coverage(np.zeros(30), np.zeros((30, 40)), log_weights=np.full((30, 41), np.nan))
    with pytest.raises(ArgumentError, match="log_weights are needed"):
        check_posterior_sbc(THETA, DRAWS, None)


def test_what_each_needs():
    with pytest.raises(ShapeError, match=r"ranks must have shape \(n, d\) or \(n,\), at least one, found \(0, 2\)"):
        check_ranks(np.zeros((0, 2)), 10)
    with pytest.raises(ArgumentError, match="num_draws must be a whole number of at least 1, found 0"):
        check_ranks([0, 1], 0)
    with pytest.raises(ArgumentError, match="from 0 to num_draws = 10, found 0 to 11"):
        check_ranks([0, 11], 10)
    with pytest.raises(ShapeError, match=r"log_prob must have shape \(n,\).* found \(30, 2\) and \(30, 40\)"):
        check_coverage(THETA, DRAWS[:, :, 0])
    with pytest.raises(ShapeError, match=r"references must have the shape of theta, \(30, 2\), found \(30, 1\)"):
        check_tarp(THETA, DRAWS, references=THETA[:, :1])
    with pytest.raises(ShapeError, match="At least 20 draws at each of the data are needed, found 5"):
        check_z_scores(THETA, DRAWS[:, :5])
    with pytest.raises(ArgumentError, match=r"prior_scale must be 2 positive numbers, found \[1.0, 0.0\]"):
        check_z_scores(THETA, DRAWS, prior_scale=[1.0, 0.0])
    with pytest.raises(ShapeError, match=r"draws must have shape \(m, d\) and prior_draws \(k, d\)"):
        check_shrinkage(THETA, DRAWS)
    with pytest.raises(ShapeError, match=r"with at least 10 rows each, found \(5, 2\) and \(30, 2\)"):
        check_c2st(THETA[:5], THETA)
    with pytest.raises(ShapeError, match="At least 10 pairs and 20 draws at each are needed, found 30 and 5"):
        check_local_c2st(THETA, DRAWS[:, :5], THETA, DRAWS[0], THETA[0])
    with pytest.raises(ShapeError, match=r"x must have shape \(30, p\), x_o \(p,\) and draws_o \(m, 2\)"):
        check_local_c2st(THETA, DRAWS, THETA, DRAWS[0], THETA[0, :1])
    with pytest.raises(ShapeError, match=r"replicated must have shape \(n, \*\(3,\)\), data like the observed"):
        check_predictive(np.zeros(3), THETA)
    with pytest.raises(ShapeError, match="At least 20 replicated data of at least one number each are needed"):
        check_predictive(THETA[0], THETA[:19])
    with pytest.raises(ArgumentError, match="observed must be finite"):
        check_predictive(np.full(2, np.nan), THETA)


def test_a_warning_of_an_observation_unlike_the_data(recwarn):
    predictive = fit_predictive(RNG.normal(size=(200, 2)))
    warn_if_unlike(predictive, np.zeros(2))
    warn_if_unlike(None, np.full(2, 99.0))
    assert not recwarn
    with pytest.warns(UserWarning, match=r"x_o is unlike the 200 data that the prior predicts: .* as far"):
        warn_if_unlike(predictive, np.full(2, 99.0))


def test_audits_take_care_beyond_their_bounds_only():
    assert [check_agreement(*numbers, 100).level for numbers in ((0.2, 0.3), (0.05, 0.3), (0.3, 0.8), (0.2, 0.8))] == [
        "pass",
        "care",
        "pass",
        "care",
    ]
    assert check_agreement(0.5, float("nan"), 100).level == "pass"
    assert [check_disagreement(nats, 4, 100).level for nats in (0.1, 1.0)] == ["pass", "care"]
    none = float("nan")
    assert [check_sampler(rhat, none, 100).level for rhat in (1.01, 1.1, 2.0)] == ["pass", "care", "fail"]
    assert [check_sampler(none, khat, 100).level for khat in (0.5, 0.8, 1.5)] == ["pass", "care", "fail"]
    assert [check_sampler(effective=n, num_draws=2000).level for n in (900, 200, 20)] == ["pass", "care", "fail"]
    assert check_sampler(effective=20, num_draws=2000).sentence == (
        "The 2000 draws of the posterior are worth 20 independent ones: they are few."
    )
    assert [check_sampler(1.0, none, 1000, 900, divergences).level for divergences in (5, 20)] == ["pass", "care"]
    assert check_sampler(1.0, none, 1000, 900, 20).sentence.startswith("20 trajectories of the chains diverged: where")
    assert [check_sampler(effective=900, drift=drift).level for drift in (3, 8)] == ["pass", "care"]
    assert check_sampler(effective=900, drift=8).sentence.startswith("Further moves of the sampler still change")
    assert [check_boundary(0.1, where, 100).level for where in ("", "theta[0] at its lower bound")] == ["pass", "care"]


def test_a_truncation_that_lost_something_is_told():
    assert check_truncation(50, 0, 5.0, 1e-3).level == "pass"
    assert check_truncation(500, 1, 1.0, 1e-3).level == "pass"  # one in five hundred is less than one percent
    lost = check_truncation(50, 4, 5.0, 1e-3)
    assert lost.level == "care"
    assert lost.statistic == pytest.approx(20 / 70)
    assert lost.p_value < 1e-3
    assert "place 29% (9 to 52%) of the posterior outside" in lost.sentence
    few = check_truncation(0, 2, 5.0, 1e-3)  # two simulations are no certainty
    assert "2 simulations" in few.sentence
    assert "100% (48 to 100%)" in few.sentence
    outside = check_truncation(50, 0, 5.0, 0.08)
    assert outside.level == "care"
    assert outside.sentence == "8.0% of the posterior lie outside the region that the last round was cut to."
    rng = np.random.default_rng(0)  # a region that lost one percent, seen by rows of which one outside counts for five
    p = [check_truncation(1000, rng.poisson(1000 * 0.01 / 0.99 / 5), 5.0, 0.0).p_value for _ in range(2000)]
    assert (np.array(p) < 0.05).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_levels():
    assert level_of(0.5) == "pass"
    assert level_of(0.005) == "care"
    assert level_of(1e-4) == "fail"
    assert level_of(1e-4, "conservative") == level_of(1e-4, large=np.inf) == "care"


def verdict(level, sentence, **fields):
    return Verdict("one" if level == "pass" else level, level, 0.5, 0.2, 100, None, sentence, **fields)


def test_a_check_is_its_worst_verdict():
    good, care, bad = (
        verdict("pass", "All is well."),
        verdict("care", "Regions are large."),
        verdict("fail", "They miss."),
    )
    assert Check((good,)).level == "pass"
    assert Check(()).level == "care"  # of nothing, nothing is believed
    nothing = "nothing that was looked at speaks against it."
    assert Check((good,), 100).sentence == f"Believe: {nothing}"
    assert Check((good,)).sentence == f"Believe, as far as one can tell without simulations: {nothing}"
    untold = check_shrinkage(np.eye(5)[:, :1], np.eye(5)[:, :1])
    assert Check((good, untold), 100).sentence == f"Believe: {nothing} The data told nothing of theta[0]."
    assert Check((good, care)).sentence == "Believe with care: regions are large."
    both = Check((good, care, bad, verdict("fail", "They lie.")), 7)
    assert both.level == "fail"
    assert both.sentence == "Do not believe: they miss. They lie."
    assert both["care"] is care
    assert [v.level for v in both] == ["pass", "care", "fail", "fail"]
    assert str(both).splitlines()[-1] == both.sentence
    assert repr(both) == str(both)
    assert str(care) == "care: Regions are large."
    with pytest.raises(KeyError, match="There is no verdict 'tarp'; there are one, care"):
        Check((good, care))["tarp"]


def test_a_check_as_json_and_back():
    made = Check((check_ranks(RNG.integers(0, 10, (50, 2)), 9), verdict("care", "So.", reads="shifted")), 50)
    back = check_from_json(*check_as_json(made))
    assert back == made
    assert back.num_simulations == 50
    for name, array in made["ranks"].curves.items():
        np.testing.assert_array_equal(back["ranks"].curves[name], array)

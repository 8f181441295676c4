"""An observation unlike all that the prior predicts is told of, of any shape, louder or quieter; others are not."""

import numpy as np
import pytest
from scipy.stats import binom

from homing.diagnostics import check_misspecification, fit_predictive
from homing.diagnostics.predictive import UNLIKE

TIMES, GRID = np.linspace(0, 1, 100), np.linspace(-1, 1, 32)


def vector(theta, noise, rng):
    """Ten numbers in two units."""
    clean = np.stack([theta[:, 0], theta[:, 1], theta.sum(1)] * 4, axis=1)[:, :10]
    return (clean + 0.3 * noise * rng.normal(size=clean.shape)) * np.resize([1.0, 1e3], 10)


def series(theta, noise, rng):
    clean = (1.2 + 0.5 * theta[:, 1:]) * np.sin(2 * np.pi * (1 + 0.3 * theta[:, :1]) * TIMES)
    return clean + 0.5 * noise * rng.normal(size=clean.shape)


def image(theta, noise, rng):
    square = (GRID - 0.4 * theta[:, :1])[:, :, None] ** 2 + (GRID - 0.4 * theta[:, 1:])[:, None] ** 2
    return np.exp(-square / 0.1) + 0.3 * noise * rng.normal(size=square.shape)


def channels(theta, noise, rng):
    return np.stack([series(theta, noise, rng), 5.0 * series(-theta, noise, rng)], axis=2)


def trials(theta, noise, rng):
    """A set of fifty trials of two numbers."""
    return theta[:, None] + noise * rng.normal(size=(len(theta), 50, 2))


def counts(theta, noise, rng):
    return rng.poisson(np.exp(1 + 0.5 * theta[:, :1] + 0.5 * theta[:, 1:] * TIMES)).astype(float)


MODELS = {f.__name__: f for f in (vector, series, image, channels, trials, counts)}


def drawn(model, num, rng, noise=1.0):
    theta = np.clip(rng.normal(size=(num, 2)), -2, 2)
    return MODELS[model](theta, noise, rng), theta


def dead(x, value=0.0):
    """A quarter of each axis that does not change."""
    x = x.copy()
    x[tuple(slice(0, max(1, n // 4)) for n in x.shape[:2])] = value
    return x


FOREIGN = {  # which must be told of nearly always
    "no noise": ("series", "image", "channels", "trials"),
    "half the noise": ("series", "image", "channels", "trials"),
    "twice the noise": ("series", "image", "channels", "trials"),
    "a dead part": ("series", "image", "channels"),
    "a stretch that stays": ("series", "channels"),
    "another unit": ("vector", "series", "image", "channels", "trials", "counts"),
    "an offset": ("vector", "series", "image", "channels", "trials"),  # counts: within what large rates give
    "not finite in float32": ("vector", "series"),
}


def foreign(kind, model, rng):
    theta = np.clip(rng.normal(size=(1, 2)), -2, 2)
    scale = {"no noise": 0.0, "half the noise": 0.5, "twice the noise": 2.0}.get(kind, 1.0)
    x = MODELS[model](theta, scale, rng)[0]
    if kind == "a dead part":
        return dead(x)
    if kind == "a stretch that stays":
        return np.concatenate([x[:60], np.repeat(x[60:61], 15, axis=0), x[75:]])
    if kind == "another unit":
        return 1000 * x
    if kind == "an offset":
        return x + 20 * (1e3 if model == "vector" else 1.0)
    if kind == "not finite in float32":
        return x + 1e37
    return x


@pytest.mark.parametrize(("kind", "model"), [(kind, model) for kind, models in FOREIGN.items() for model in models])
def test_what_is_foreign_is_told_of(kind, model):
    rng = np.random.default_rng(1)
    predictive = fit_predictive(*drawn(model, 300, rng))
    found = [predictive.is_unlike(foreign(kind, model, rng)) for _ in range(20)]
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("model", MODELS)
def test_what_is_quieter_than_all_data_is_as_foreign_as_what_is_louder(model):
    """Whether a little or a lot: the verdict says in what, and by how much."""
    rng = np.random.default_rng(2)
    predictive = fit_predictive(*drawn(model, 300, rng))
    x = drawn(model, 1, rng)[0][0]
    assert check_misspecification(predictive, x).level == "pass"
    flat = np.full_like(x, x.mean()) if model != "vector" else None
    if flat is not None:
        verdict = check_misspecification(predictive, flat)
        assert verdict.level == "fail"
        assert "times" in verdict.sentence or "%" in verdict.sentence


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("num", [60, 160])
def test_what_the_prior_predicts_is_not(model, num):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(8):
        predictive = fit_predictive(*drawn(model, num, rng))
        found += [predictive.is_unlike(x) for x in drawn(model, 20, rng)[0]]
    assert sum(found) <= binom.ppf(0.999, len(found), UNLIKE)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("num", [40, 120, 400])
def test_false_alarms_come_as_seldom_as_they_say(model, num):
    rng = np.random.default_rng(4)
    shares = []  # of one predictive at a time: its answers are not independent of each other
    for _ in range(150):
        predictive = fit_predictive(*drawn(model, num, rng))
        shares.append(np.mean([predictive.is_unlike(x) for x in drawn(model, 20, rng)[0]]))
    assert np.mean(shares) <= UNLIKE + 3 * np.std(shares) / np.sqrt(150)


def test_one_of_several_trials_that_is_foreign():
    rng = np.random.default_rng(5)
    predictive = fit_predictive(*drawn("series", 300, rng))
    several = np.stack([*drawn("series", 3, rng)[0], foreign("no noise", "series", rng)])
    assert not predictive.is_unlike(several[:3])
    assert predictive.is_unlike(several)

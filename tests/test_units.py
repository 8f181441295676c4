"""The unit of theta or x changes nothing but the unit."""

import warnings

import numpy as np
import pytest
import scipy.stats as st

from homing import SNPE, BoxUniform
from homing.diagnostics import (
    check_c2st,
    check_local_c2st,
    check_predictive,
    check_shrinkage,
    check_tarp,
    check_z_scores,
)
from homing.estimators import fit_standardize
from homing.inference import SNLE
from homing.posteriors import MCMCPosterior
from homing.posteriors.conditional import conditional_correlations, draw_conditional
from homing.posteriors.differentiable import prior_map
from homing.posteriors.maximum import maximise
from homing.posteriors.surrogate import coordinates
from homing.priors import as_prior
from homing.units import spread_of, unit_of

UNITS = [1e-200, 1e-19, 1e-3, 1e5, 1e30, 1e200]
RNG = np.random.default_rng(0)
THETA, DRAWS = RNG.normal(size=(200, 2)), RNG.normal(size=(200, 99, 2)) * [1.4, 1.0]
X, X_O = THETA + RNG.normal(size=(200, 2)), np.array([0.3, -0.2])
CLOUD = RNG.normal(size=(500, 2))

CHECKS = {
    "C2ST": lambda u: check_c2st(CLOUD * u, (CLOUD[::-1] + np.array([0.5, 0.0])) * u),
    "TARP": lambda u: check_tarp(THETA * u, DRAWS * u),
    "TARP, own references": lambda u: check_tarp(THETA * u, DRAWS * u, references=THETA[::-1] * u),
    "z-scores": lambda u: check_z_scores(THETA * u, DRAWS * u),
    "z-scores, prior's scale": lambda u: check_z_scores(THETA * u, DRAWS * u, prior_scale=np.ones(2) * u),
    "L-C2ST": lambda u: check_local_c2st(THETA * u, DRAWS * u, X, DRAWS[0] * u, X_O),
    "L-C2ST of x": lambda u: check_local_c2st(THETA, DRAWS, X * u, DRAWS[0], X_O * u),
    "shrinkage": lambda u: check_shrinkage(0.5 * CLOUD * u, CLOUD * u),
    "predictive": lambda u: check_predictive(np.array([3.0, 3.0]) * u, CLOUD * u),
}


@pytest.mark.parametrize("unit", [*UNITS, 1e300, 1e-300])
@pytest.mark.parametrize("name", CHECKS)
def test_a_verdict_has_no_unit(name, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected, found = CHECKS[name](1.0), CHECKS[name](unit)
    assert (found.level, found.p_value) == (expected.level, expected.p_value)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("unit", UNITS)
def test_data_are_standardised_alike_in_any_unit(unit):
    z = RNG.normal(size=(300, 2))
    columns = np.stack([np.exp(z[:, 0]), z[:, 1], RNG.standard_t(2, 300), np.full(300, 3.0)], axis=1)
    for data, parameters in ((columns, z), (columns, None), (columns.reshape(300, 2, 2), None)):
        for way in ("independent", "structured"):
            expected = fit_standardize(data, way, parameters)(data)
            scaled = fit_standardize(data * unit, way, parameters)(data * unit)
            np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", UNITS)
def test_the_maximum_and_conditionals_scale(unit):
    exact = st.multivariate_normal([1.0, -2.0, 0.5], [[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 4.0]])
    draws, free = exact.rvs(2000, random_state=0), np.full(3, np.inf)

    def log_prob(theta):
        return exact.logpdf(theta / unit)

    np.testing.assert_allclose(maximise(log_prob, draws * unit, -free, free) / unit, [1.0, -2.0, 0.5], atol=2e-3)
    condition = np.array([1.0, -2.0, 0.5]) * unit
    correlations = conditional_correlations(log_prob, draws * unit, condition, -free, free, np.random.default_rng(0))
    assert correlations[0, 1] == pytest.approx(0.8, abs=0.02)
    one = draw_conditional(log_prob, draws * unit, condition, [2], 2000, -free, free, np.random.default_rng(0)) / unit
    assert one.std() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "make",
    [
        lambda u: BoxUniform([0.0, -u], [u, 2 * u]),
        lambda u: [st.norm(u, 3 * u), st.lognorm(0.5, scale=u)],
        lambda u: [st.expon(0.0, u), st.halfnorm(0.0, u)],
    ],
    ids=["box", "normal and log-normal", "exponential and half-normal"],
)
def test_priors_and_what_surrogates_see_scale(make, unit):
    z = RNG.normal(size=(500, 2))
    one, other = as_prior(make(1.0)), as_prior(make(unit))
    np.testing.assert_allclose(other.from_normal(z), one.from_normal(z) * unit, rtol=1e-9)
    np.testing.assert_allclose(
        other.log_prob(other.from_normal(z)) + 2 * np.log(unit), one.log_prob(one.from_normal(z))
    )
    seen = [coordinates(prior, z, True) for prior in (one, other)]
    np.testing.assert_allclose(seen[1](z), seen[0](z), rtol=1e-4, atol=1e-5)
    if not isinstance(make(1.0), list) or "expon" not in str(one.describe()):
        through = prior_map(other, seen[1].loc, seen[1].scale)
        np.testing.assert_allclose(through(z[0].astype(np.float32)), seen[0](z[:1])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-19, 1e-150, 1e150])
def test_a_posterior_by_a_known_likelihood_scales(unit):
    box = BoxUniform(np.zeros(2), np.full(2, unit))

    def log_likelihood(theta, x):
        return -0.5 * (((theta / unit - [0.3, 0.6]) / 0.05) ** 2).sum(1)

    posterior = MCMCPosterior(log_likelihood, box, x_o=[0.0], seed=1, show_progress_bars=False)
    np.testing.assert_allclose(posterior.map() / unit, [0.3, 0.6], atol=1e-3)
    np.testing.assert_allclose(posterior.sample((4000,)).mean(0) / unit, [0.3, 0.6], atol=0.005)


def test_units_themselves():
    assert unit_of(np.array([[0.75, 0.0, 1e300, 3e-310]])).tolist()[:2] == [0.5, 1.0]
    rows = RNG.normal(size=(100, 1))
    for unit in (1e-300, 1e300):
        assert spread_of(rows * unit)[0] == pytest.approx(rows.std() * unit, rel=1e-12)
    assert 0 < spread_of(np.full((3, 1), 1e6))[0] < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-19, 1e12])
@pytest.mark.parametrize("method", [SNPE, SNLE])
def test_a_run_in_any_unit(method, unit):
    found = []
    for u, v in ((1.0, 1.0), (unit, 1.0), (1.0, unit)):

        def simulator(theta, rng, u=u, v=v):
            return v * (theta / u + 0.1 * rng.normal(size=3))

        box = BoxUniform(np.zeros(3), np.full(3, u))
        posterior = method(simulator, box, seed=1, batched=False, show_progress_bars=False)(
            num_simulations=300, max_num_epochs=40
        )
        posterior.set_default_x(np.full(3, 0.5 * v))
        found.append(np.r_[posterior.map(), posterior.sample((4000,), show_progress_bars=False).std(0)] / u)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    np.testing.assert_allclose(found[2], found[0], rtol=2e-2)

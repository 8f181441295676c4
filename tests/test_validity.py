"""Failures teach: where simulations fail is learned, told, avoided, and part of the posterior."""

import numpy as np
import pytest
import scipy.stats as st

import homing
from homing.estimators.validity import fit_validity
from homing.inference import SNPE
from homing.inference.failing import where_failing
from homing.inference.sides import SideOptions
from homing.priors import BoxUniform
from homing.training import FitOptions
from learning import AFFINE

QUICK = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=80, stop_after_steps=300))
X_O, NOISE = np.array([0.2, 0.2]), 0.4


def chance(theta):
    """The share of simulations that are valid: hardly any on one side of x_o, nearly all on the other."""
    return st.norm.cdf((theta[:, 0] + theta[:, 1] - 0.4) / 0.1)


def simulator(theta, rng):
    x = theta + NOISE * rng.normal(size=theta.shape)
    x[rng.random(len(theta)) > chance(theta)] = np.nan
    return x


def exact():
    """Draws of the posterior given x_o and that it is valid, whose likelihood is a Gaussian times `chance`."""
    axis = np.linspace(-2, 2, 400)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = chance(grid) * np.exp(-0.5 * (((grid - X_O) / NOISE) ** 2).sum(1))
    return grid[np.random.default_rng(0).choice(len(grid), 20_000, p=weights / weights.sum())]


@pytest.fixture(scope="module")
def finished():
    prior = BoxUniform([-2.0, -2.0], [2.0, 2.0])
    inference = SNPE(simulator, prior, seed=1, batched=True, show_progress_bars=False)
    with pytest.warns(UserWarning, match="simulations of round 1 gave no finite data"):
        posterior = inference.run(X_O, 1200, 3, options=QUICK)
    return inference, posterior


def test_the_posterior_is_that_of_a_valid_run(finished):
    _, posterior = finished
    right = exact()
    spread = right.std(0).max()
    for draws in (posterior.sample((4000,)), posterior.prior.from_normal(posterior.side(X_O).z)):
        np.testing.assert_allclose(draws.mean(0), right.mean(0), atol=0.2 * spread)
        along = [rows.sum(1) for rows in (draws, right)]
        assert st.ks_2samp(*along).statistic < 0.12
        assert (draws.sum(1) < 0.1).mean() < 0.05
    ignorant = st.norm.cdf(0.1, 0.4, NOISE * np.sqrt(2))  # the share there if failures were ignored
    assert ignorant > 0.25


def test_later_rounds_waste_fewer_simulations(finished):
    inference, _ = finished
    shares = [record.valid / record.asked for record in inference.rounds]
    near = chance(np.random.default_rng(0).normal(X_O, NOISE, (1000, 2))).mean()  # about x_o, ignoring failures
    assert near == pytest.approx(0.5, abs=0.05)
    assert shares[-1] > 0.75


def test_the_record_says_where(finished):
    inference, _ = finished
    assert "fail where theta[" in inference.rounds[0].failing
    assert f"round 1: {inference.rounds[0].failing}" in str(inference.rounds)


def test_what_was_learned_of_failures_is_saved(finished, tmp_path):
    _, posterior = finished
    posterior.save(tmp_path / "posterior")
    kept = homing.load(tmp_path / "posterior")
    theta = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    np.testing.assert_array_equal(posterior.log_prob(theta), kept.log_prob(theta))


@pytest.mark.parametrize(
    "region",
    [lambda z: (z**2).sum(1) < 2, lambda z: z[:, 0] > 0.5, lambda z: z[:, 0] * z[:, 1] > -0.3],
    ids=["disc", "half", "saddle"],
)
def test_a_region_of_any_shape_is_found(region):
    rng = np.random.default_rng(0)
    z, new = rng.normal(size=(600, 3)), rng.normal(size=(4000, 3))
    validity = fit_validity(z, region(z), rng)
    assert ((validity.log_prob(new) > np.log(0.5)) == region(new)).mean() > 0.95


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    z, new = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2))
    validity = fit_validity(z, rng.random(3000) < st.norm.cdf(z[:, 0]), rng)
    np.testing.assert_allclose(np.exp(validity.log_prob(new)), st.norm.cdf(new[:, 0]), atol=0.15)
    assert np.abs(np.exp(validity.log_prob(new)) - st.norm.cdf(new[:, 0])).mean() < 0.03


def test_failures_that_come_anywhere_teach_nothing():
    rng = np.random.default_rng(0)
    for _ in range(20):
        z, valid = rng.normal(size=(300, 3)), rng.random(300) < 0.7
        assert fit_validity(z, valid, rng) is None
        assert where_failing(z, ~valid) == ""
    assert fit_validity(z, np.arange(300) > 3, rng) is None  # too few to tell


def test_the_bound_that_tells_failures_apart_is_named():
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1, (1000, 2))
    failed = (theta[:, 1] < 0.3) & (rng.random(1000) < 0.9)
    text = where_failing(theta, failed)
    assert text.startswith(("88%", "89%", "90%", "91%", "92%"))
    assert "fail where theta[1] < 0.3" in text
    assert text.endswith("0% elsewhere")

"""Laws that every prior keeps, over the table of the kinds a user may bring."""

import jax
import numpy as np
import pytest
import scipy.stats as st
import torch
from scipy.integrate import trapezoid

from homing.priors import BoxUniform, as_prior
from homing.priors.prior import normal_log_density
from test_priors import EXACT, ROUGH, TABLE, draws, made


@pytest.fixture(params=TABLE)
def name(request):
    return request.param


def test_theta_to_z_and_back(name):
    _, prior = made(name)
    theta = draws(prior)
    again = prior.from_normal(prior.to_normal(theta))
    scale = np.abs(theta).max(0) if name != "torch half Cauchy" else np.abs(theta)
    precision = 1e-7 if name == "object with poles" else 1e-9  # its float32 draws lie on the bounds
    assert (np.abs(again - theta) <= precision * scale + 1e-12).all()


def test_z_to_theta_and_back(name):
    _, prior = made(name)
    z = np.random.default_rng(1).standard_normal((300, prior.dim))
    np.testing.assert_allclose(prior.to_normal(prior.from_normal(z)), z, atol=1e-6)


TAILED = ["torch normal", "torch float64 log-normal", "torch gamma", "torch exponential", "torch half normal"]
TAILED += ["torch half Cauchy", "torch Student", "torch Cauchy", "torch Laplace", "torch Gumbel", "torch Weibull"]
TAILED += ["torch inverse gamma", "torch chi2", "numpyro logistic", "scipy halfnorm", "scipy multivariate normal"]


@pytest.mark.parametrize("name", TAILED)
def test_both_tails_keep_their_digits(name):
    _, prior = made(name)
    z = np.repeat(np.linspace(-8, 8, 65)[:, None], prior.dim, axis=1)
    np.testing.assert_allclose(prior.to_normal(prior.from_normal(z)), z, atol=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_tails_are_exact_to_five_sigma_next_to_any_bound(name):
    _, prior = made(name)
    z = np.repeat(np.linspace(-5, 5, 41)[:, None], prior.dim, axis=1)
    tolerance = (
        1e-3 if name in ("box, numpy", "torch beta") else 1e-6
    )  # 1000 + 1e-7, and a square root against the bound 1
    np.testing.assert_allclose(prior.to_normal(prior.from_normal(z)), z, atol=tolerance)


def test_log_det_is_the_maps_derivative(name):
    _, prior = made(name)
    z = 0.8 * np.random.default_rng(2).standard_normal((20, prior.dim))
    step = 1e-4
    columns = []
    for shift in step * np.eye(prior.dim):  # the inverse map's Jacobian, by differences of fourth order
        near, far = [prior.from_normal(z + k * shift) - prior.from_normal(z - k * shift) for k in (1, 2)]
        columns.append((8 * near - far) / (12 * step))
    jacobian = np.stack(columns, axis=-1)
    expected = -np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(prior.log_det(prior.from_normal(z)), expected, atol=2e-5)


def test_density_in_z_is_the_change_of_variables(name):
    _, prior = made(name)
    z = np.random.default_rng(3).standard_normal((100, prior.dim))
    theta = prior.from_normal(z)
    np.testing.assert_allclose(prior.log_prob_normal(z), prior.log_prob(theta) - prior.log_det(theta), atol=1e-5)
    if name in EXACT:
        np.testing.assert_allclose(prior.log_prob_normal(z), normal_log_density(z).sum(1), rtol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_draws_are_standard_normal_in_z(name):
    _, prior = made(name)
    z = prior.to_normal(draws(prior))
    for column in z.T:
        assert st.kstest(column, "norm").pvalue > 1e-4
    if prior.dim > 1:
        assert np.abs(np.corrcoef(z.T) - np.eye(prior.dim)).max() < 4.5 / np.sqrt(1000)


@pytest.mark.parametrize("name", ROUGH)
def test_draws_are_roughly_standard_normal_in_z(name):
    _, prior = made(name)
    z = prior.to_normal(draws(prior))
    assert (np.abs(np.median(z, axis=0)) < 0.3).all()
    assert (np.abs(np.diff(np.quantile(z, [0.16, 0.84], axis=0), axis=0) / 2 - 1) < 0.3).all()


@pytest.mark.parametrize("name", [name for name in ROUGH if name not in ("list with object", "object by probability")])
def test_density_in_z_integrates_to_one(name):
    _, prior = made(name)
    grid = np.linspace(-30, 30, 4001) if prior.dim == 1 else np.linspace(-16, 16, 401)
    if name == "scipy multivariate t":
        grid = np.sinh(np.linspace(-6, 6, 401))  # heavy tails
    z = np.stack(np.meshgrid(*[grid] * prior.dim, indexing="ij"), axis=-1)
    density = np.exp(prior.log_prob_normal(z.reshape(-1, prior.dim))).reshape(z.shape[:-1])
    for _ in range(prior.dim):
        density = trapezoid(density, grid, axis=-1)
    assert density == pytest.approx(1.0, abs=2e-3)


def test_nothing_outside_and_bounds_are_finite(name):
    _, prior = made(name)
    inside = draws(prior)[:1]
    assert np.isfinite(prior.log_prob(inside)).all()
    for axis in range(prior.dim):
        for bound, away in ((prior.low[axis], -np.inf), (prior.high[axis], np.inf)):
            theta = inside.copy()
            theta[:, axis] = bound
            if not np.isfinite(bound):
                assert prior.log_prob(theta) == -np.inf
                continue
            assert np.isfinite(prior.to_normal(theta)).all()
            for value in (prior.log_prob(theta), prior.log_det(theta)):
                assert np.isfinite(value) or (value == -np.inf and name == "torch inverse gamma")
            for outside in (np.nextafter(bound, away), bound + np.sign(away), bound + 1e6 * np.sign(away)):
                theta[:, axis] = outside
                assert prior.log_prob(theta) == -np.inf
                assert not prior.is_inside(theta)
    assert prior.log_prob(np.full((1, prior.dim), np.nan)) == -np.inf


def test_extreme_z_stay_inside(name):
    _, prior = made(name)
    z = np.array([-1e3, -40.0, -9.0, 0.0, 9.0, 40.0, 1e3])[:, None] * np.ones(prior.dim)
    theta = prior.from_normal(z)
    assert prior.is_inside(theta).all()
    assert np.isfinite(prior.to_normal(theta)).all()


def test_draws_are_inside_and_follow_the_seed(name):
    _, prior = made(name)
    theta = draws(prior)
    assert theta.shape == (1000, prior.dim)
    assert theta.dtype == np.float64
    assert prior.is_inside(theta).all()
    assert np.isfinite(prior.log_prob(theta)).all()
    np.testing.assert_array_equal(theta, draws(prior))
    none = prior.sample(np.random.default_rng(0), 0)
    assert none.shape == prior.to_normal(none).shape == prior.from_normal(none).shape == (0, prior.dim)
    assert prior.log_prob(none).shape == prior.log_det(none).shape == prior.log_prob_normal(none).shape == (0,)


def test_given_rows_have_the_users_kind_and_stay_inside(name):
    _, prior = made(name)
    z = np.concatenate(
        [np.random.default_rng(4).standard_normal((50, prior.dim)), [[-40.0] * prior.dim, [40.0] * prior.dim]]
    )
    given = prior.give(prior.from_normal(z))
    library = {"numpy": np.ndarray, "torch": torch.Tensor, "jax": jax.Array}[prior.kind.library]
    assert isinstance(given, library)
    assert str(given.dtype).removeprefix("torch.") == prior.kind.dtype
    assert prior.is_inside(np.asarray(given, np.float64)).all()


def test_describe_is_one_line(name):
    _, prior = made(name)
    assert "\n" not in prior.describe()
    assert 5 < len(prior.describe()) < 400


def test_clip_levels_on_bounds():
    box = as_prior(BoxUniform([0.0], [1.0]))
    np.testing.assert_allclose(box.to_normal(np.array([[0.0], [1.0]])), [[-8.2], [8.2]])
    gamma = as_prior(st.gamma(2.0))
    np.testing.assert_allclose(as_prior(st.f(4.0, 6.0)).to_normal(np.array([[1e300]])), [[8.2]])  # an inexact quantile
    np.testing.assert_allclose(gamma.to_normal(np.array([[0.0], [1e300]])), [[-8.2], [20.0]])

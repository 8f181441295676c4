"""Posteriors at one x: shapes, kinds, text, the maximum, ensembles, the audit of the bounds, and what they refuse."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
import torch
from scipy.special import ndtri

from homing.errors import ArgumentError, ObservationError, ShapeError
from homing.posteriors import DirectPosterior, Ensemble, check_observation
from homing.posteriors.boundary import boundary_mass
from homing.posteriors.maximum import maximise
from homing.priors import BoxUniform, as_prior
from learning import PRIORS, made, posterior_of

X = [0.4, -0.3]
BOX = BoxUniform([-2.0, 0.0], [2.0, 5.0])


@pytest.fixture
def posterior():
    return posterior_of(made("maf"), BOX)


# Draws and densities


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (2,)),
        (5, (5, 2)),
        ((5,), (5, 2)),
        ((2, 3), (2, 3, 2)),
        ([4], (4, 2)),
        (np.int64(3), (3, 2)),
        ((0,), (0, 2)),
        ((2, 0), (2, 0, 2)),
    ],
)
def test_shapes_of_draws(posterior, shape, expected):
    draws = posterior.sample(shape, X)
    assert draws.shape == expected
    assert posterior.log_prob(draws.reshape(-1, 2), X).shape == (draws.size // 2,)


@pytest.mark.parametrize("shape", [-1, (3, -1), 2.5, (2.5,), "three", ("a",), None, [[1]]])
def test_shapes_that_are_none(posterior, shape):
    with pytest.raises(
        ArgumentError, match="sample_shape must be a whole number or a tuple of them, zero or larger, found"
    ):
        posterior.sample(shape, X)


def test_densities_of_one_theta_or_many(posterior):
    one = posterior.log_prob([0.1, 2.0], X)
    assert one.shape == (1,)
    assert posterior.log_prob([[0.1, 2.0], [5.0, 5.0]], X).tolist() == [one[0], -np.inf]
    for wrong in ([[0.1, 2.0, 3.0]], [1.0], np.zeros((2, 2, 2))):
        with pytest.raises(ShapeError, match=r"theta must have shape \(n, 2\) or \(2,\), found \("):
            posterior.log_prob(wrong, X)


@pytest.mark.parametrize(
    ("like", "library", "dtype"),
    [
        (torch.tensor, torch.Tensor, torch.float32),
        (jnp.array, jnp.ndarray, jnp.float32),
        (np.array, np.ndarray, np.float64),
        (lambda a: np.array(a, np.float32), np.ndarray, np.float32),
        (lambda a: torch.tensor(a, dtype=torch.float64), torch.Tensor, torch.float64),
    ],
)
def test_arrays_are_of_the_priors_kind(like, library, dtype):
    posterior = posterior_of(made("maf"), BoxUniform(like([-2.0, 0.0]), like([2.0, 5.0])))
    posterior.set_default_x(like([X]))
    draws = posterior.sample((50,))
    for array in (draws, posterior.log_prob(draws), posterior.map(), posterior.default_x):
        assert isinstance(array, library)
        assert array.dtype == dtype
    assert posterior.default_x.shape == (1, 2)
    assert posterior.map().shape == (2,)
    assert np.isfinite(np.asarray(posterior.log_prob(draws))).all()


def test_each_call_draws_anew_and_equal_posteriors_draw_equally():
    one, other = (posterior_of(made("maf"), BOX) for _ in range(2))
    first, second = one.sample((100,), X), one.sample((100,), X)
    assert not np.isin(first, second).any()
    other.map(X)  # which draws, but not from the same stream
    np.testing.assert_array_equal(other.sample((100,), X), first)
    np.testing.assert_array_equal(other.sample((100,), X), second)


def test_draws_do_not_depend_on_bars(capsys):
    quiet, loud = (posterior_of(made("maf"), BOX) for _ in range(2))
    draws = loud.sample((5000,), X, show_progress_bars=True)
    assert "Drawing 5000 posterior samples: 100%" in capsys.readouterr().err
    np.testing.assert_array_equal(quiet.sample((5000,), X), draws)
    assert capsys.readouterr().err == ""


# The observation


def test_the_default_x():
    posterior = posterior_of(made("maf"), BOX)
    assert posterior.default_x is None
    assert posterior.set_default_x(X) is posterior
    assert posterior.default_x.tolist() == [X]
    density = posterior.log_prob([[0.1, 2.0]])
    np.testing.assert_array_equal(density, posterior.log_prob([[0.1, 2.0]], [X]))
    assert density != posterior.log_prob([[0.1, 2.0]], [0.0, 0.0])


def test_what_was_set_does_not_change_with_the_users_array():
    posterior, x = posterior_of(made("maf"), BOX), np.array(X)
    posterior.set_default_x(x)
    x[0] = 99.0
    posterior.default_x[0, 0] = 99.0
    assert posterior.default_x.tolist() == [X]


@pytest.mark.parametrize("call", ["sample", "map", "log_prob", "boundary"])
def test_without_x(posterior, call):
    arguments = {"sample": ((3,),), "log_prob": ([[0.1, 2.0]],)}.get(call, ())
    with pytest.raises(
        ObservationError, match=r"There is no x to condition on: pass x=\.\.\., or set one with posterior.set_default_x"
    ):
        getattr(posterior, call)(*arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([0.1], r"x must have the shape of one simulation's data, \(2,\), or \(1, \.\.\.\) before it; found \(1,\)"),
        (
            np.zeros((3, 2)),
            r"found \(3, 2\)\. A posterior is conditioned on one observation; SNLE and SNRE take several",
        ),
        ([0.1, np.nan], r"x contains 1 NaN, the first at index \[1\]: the posterior given missing data is not defined"),
        ([np.nan, np.nan], r"x contains 2 NaN, the first at index \[0\]"),
        (np.ma.masked_array([0.1, 2.0], [False, True]), r"x contains 1 NaN, the first at index \[1\]"),
        ([0.1, np.inf], r"x is infinite or beyond the range of float32 \(3.4e38\) at index \[1\]: inf"),
        ([-1e39, 0.0], r"x is infinite or beyond the range of float32 \(3.4e38\) at index \[0\]: -1e\+39"),
    ],
)
def test_an_x_that_cannot_be_conditioned_on(posterior, x, message):
    for call in (
        posterior.set_default_x,
        lambda x: posterior.sample((1,), x),
        lambda x: posterior.log_prob([[0.1, 2.0]], x),
    ):
        with pytest.raises(ObservationError, match=message):
            call(x)
    assert posterior.default_x is None


def test_an_x_that_is_no_array(posterior):
    with pytest.raises(ArgumentError, match="x must be an array of"):
        posterior.set_default_x("seven")


def test_observations_of_other_shapes():
    assert check_observation(3.0, (1,)).tolist() == [3.0]
    assert check_observation([3.0], ()).shape == ()
    assert check_observation(torch.ones(1, 2, 2), (2, 2)).shape == (2, 2)
    assert check_observation([1, 2, 3], None).dtype == np.float64


# Text


def test_text_without_and_with_a_default(posterior):
    assert str(posterior) == (
        "Posterior conditional density p(θ|x) (amortized).\n\n"
        "This DirectPosterior-object was obtained with a SNPE-class method using a flow. "
        "It allows `.sample()`, `.log_prob()` and `.map()` for any x, without training again."
    )
    later = DirectPosterior(made("maf"), as_prior(BOX), multi_round=True, seed=0, x_o=np.array(X))
    assert str(later).startswith(
        "Posterior conditional density p(θ|x) (multi-round). Evaluates and samples by default at x=[[0.4, -0.3]].\n\n"
        "This DirectPosterior-object was obtained with a SNPE-class method using a flow. It was trained for one "
    )
    assert repr(posterior).startswith("DirectPosterior(")
    assert "uniform on low=[-2, 0], high=[2, 5]" in repr(posterior)


def test_long_observations_are_cut_in_the_text():
    ensemble = made("maf")
    ensemble = Ensemble(ensemble.members, ensemble.weights, ensemble.standardize, (101,))
    text = str(posterior_of(ensemble, BOX).set_default_x(np.arange(101.0)))
    assert "at x=[[0.0, 1.0, 2.0, 3.0, 4.0, ...]] (shape (1, 101))." in text


# The maximum


def test_the_maximum_is_where_the_density_is_highest(posterior):
    best = posterior.map(X)
    draws = posterior.sample((2000,), X)
    assert posterior.log_prob(best, X) >= posterior.log_prob(draws, X).max()
    np.testing.assert_array_equal(best, posterior.map(X))
    for step in 0.01 * np.concatenate([np.eye(2), -np.eye(2)]):
        assert posterior.log_prob(best + step, X) <= posterior.log_prob(best, X) + 1e-3


def test_maximise_a_known_density():
    exact = st.multivariate_normal([1.0, -2.0], [[1.0, 0.8], [0.8, 1.0]])
    draws = exact.rvs(500, random_state=0)
    free = np.full(2, np.inf)
    np.testing.assert_allclose(maximise(exact.logpdf, draws, -free, free), [1, -2], atol=1e-3)
    best = maximise(exact.logpdf, draws[draws[:, 0] < 0.5], -free, np.array([0.5, np.inf]))  # on the bound
    np.testing.assert_allclose(best, [0.5, -2.4], atol=1e-2)


def test_maximise_past_cliffs():
    def cliff(theta):
        return np.where((theta > 0).all(1), -theta.sum(1), -np.inf)

    draws = np.random.default_rng(0).exponential(size=(500, 2))
    best = maximise(cliff, draws, np.full(2, -np.inf), np.full(2, np.inf))
    assert (best > 0).all()
    assert best.sum() <= draws.sum(1).min()


# Ensembles


def test_an_ensemble_is_the_mixture_of_its_members():
    parts = [made("maf", seed=0), made("maf", size=0.1, seed=0)]
    weights = np.array([0.3, 0.7])
    both = Ensemble([part.members[0] for part in parts], weights, parts[0].standardize, (2,))
    x, z = np.array(X), np.random.default_rng(0).standard_normal((100, 2))
    densities = [np.exp(part.log_prob(z, x)) for part in parts]
    np.testing.assert_allclose(np.exp(both.log_prob(z, x)), weights @ densities, rtol=1e-5)
    np.testing.assert_allclose(both.log_prob_pairs(z, np.tile(x, (100, 1))), both.log_prob(z, x), atol=1e-4)
    draws = both.sample(20_000, x, seed=0)
    for moment in (draws, draws**2):
        each = [part.sample(20_000, x, seed=9) for part in parts]
        expected = sum(w * (e if moment is draws else e**2).mean(0) for w, e in zip(weights, each))
        assert (np.abs(moment.mean(0) - expected) < 6 * moment.std(0) / np.sqrt(20_000)).all()
    assert abs(np.corrcoef(np.arange(20_000), draws[:, 0])[0, 1]) < 4.5 / np.sqrt(20_000)  # in random order


def test_components_of_an_ensemble():
    parts = [made("mdn", seed=0), made("mdn", size=0.1, seed=0)]
    both = Ensemble([part.members[0] for part in parts], np.array([0.3, 0.7]), parts[0].standardize, (2,))
    mixture = both.components(np.array(X))
    assert mixture.precisions.shape == (20, 2, 2)
    assert np.exp(mixture.log_weights[:10]).sum() == pytest.approx(0.3, abs=1e-5)
    assert np.exp(mixture.log_weights).sum() == pytest.approx(1.0, abs=1e-5)
    assert both.is_mixture_of_gaussians
    assert not made("maf").is_mixture_of_gaussians


def test_no_rows():
    ensemble, x = made("maf"), np.array(X)
    assert ensemble.sample(0, x, seed=0).shape == (0, 2)
    assert ensemble.log_prob(np.zeros((0, 2)), x).shape == (0,)
    assert ensemble.log_prob_pairs(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)


# The audit of the bounds


def audit(theta, prior=BOX):
    prior = as_prior(prior)
    return boundary_mass(prior.to_normal(np.asarray(theta, np.float64)), prior)


def inner(n=4000, seed=0):
    return np.random.default_rng(seed).uniform([-1.0, 1.0], [1.0, 4.0], (n, 2))


def test_a_pile_at_a_bound_is_flagged_where_it_is():
    for axis, side, bound in ((0, "lower", -2.0), (1, "upper", 5.0)):
        theta = inner()
        theta[:200, axis] = bound + np.random.default_rng(1).uniform(-1e-3, 1e-3, 200) * 0.1
        theta = np.clip(theta, [-2.0, 0.0], [2.0, 5.0])
        found = audit(theta)
        assert found.is_piled
        assert found.mass == pytest.approx(0.05, abs=0.002)
        assert found.where == f"theta[{axis}] at its {side} bound"


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
def test_a_posterior_that_honestly_touches_a_bound_is_not(scale):
    """A normal likelihood whose maximum lies on or beyond the bound: high there, but smooth."""
    for center in (2.0, 2.0 + scale, 2.0 - scale):
        theta = inner()
        theta[:, 0] = st.truncnorm((-2 - center) / scale, (2 - center) / scale, center, scale).rvs(4000, random_state=2)
        found = audit(theta)
        assert not found.is_piled
        assert found.where == ""
        if scale == 0.05:
            assert found.mass > 0.1  # measured all the same


def test_prior_draws_and_inner_posteriors_are_not_piled():
    found = audit(as_prior(BOX).sample(np.random.default_rng(3), 4000))
    assert not found.is_piled
    assert found.mass == pytest.approx(0.005, abs=0.005)
    assert audit(inner()) == (0.0, False, "")


def test_a_prior_without_bounds_has_none_to_pile_at():
    assert audit(np.full((100, 2), 1e3), PRIORS["correlated normal"]) == (0.0, False, "")
    z = np.random.default_rng(4).standard_normal((4000, 2))
    z[:400, 0] = ndtri(1e-6)
    found = boundary_mass(z, as_prior(PRIORS["half-bounded"]))
    assert found.is_piled
    assert found.where == "theta[0] at its lower bound"
    assert not boundary_mass(-z, as_prior(PRIORS["half-bounded"])).is_piled  # toward infinity


def test_a_posteriors_own_audit(posterior):
    found = posterior.boundary(X)
    assert found == posterior.boundary(X)
    assert not found.is_piled

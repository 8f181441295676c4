"""Next to the prior's bounds: no draw where the user's prior is zero, and a density that is finite and right."""

import numpy as np
import pytest
import scipy.stats as st
import torch
import torch.distributions as td

from homing.inference import SNLE, SNPE
from homing.posteriors import DirectPosterior, MCMCPosterior
from homing.posteriors.reach import reach_of, typical_of
from homing.priors import BoxUniform, as_prior
from learning import BUILDERS, made, posterior_of

X = np.array([0.4, -0.3])


class HalfOpen:
    """Uniform on [0, 1)^2, or open on both sides, in numbers of any type."""

    def __init__(self, dtype):
        self.dtype = dtype

    def sample(self, num, rng):
        return rng.uniform(size=(num, 2)).astype(self.dtype)

    def log_prob(self, theta):
        return np.where(((theta > 0) & (theta < 1)).all(1), 0.0, -np.inf)


OPEN = {
    "torch": lambda: td.Independent(td.Uniform(-2 * torch.ones(2), 2 * torch.ones(2)), 1),
    "torch, odd bounds": lambda: td.Uniform(torch.tensor([0.1, -0.3]), torch.tensor([0.3, 0.7])),
    "torch, float64": lambda: td.Uniform(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)),
    "torch, list": lambda: [td.Uniform(0.1, 0.3), td.Uniform(-1e-3, 1e4)],
    "torch, beta": lambda: td.Beta(torch.tensor([0.5, 2.0]), torch.tensor([0.5, 3.0])),
    "numpy, float32": lambda: HalfOpen(np.float32),
    "numpy, float64": lambda: HalfOpen(np.float64),
}


@pytest.mark.parametrize("name", OPEN)
def test_nothing_is_given_where_the_users_own_prior_says_impossible(name):
    own = OPEN[name]()
    prior = as_prior(own)
    z = np.array([-40.0, -9.0, -5.5, -5.2, 5.2, 5.5, 9.0, 40.0])[:, None] * np.ones(2)
    corners = np.array([[low, high] for low in (prior.low[0], prior.high[0]) for high in (prior.low[1], prior.high[1])])
    for theta in (prior.from_normal(z), corners, prior.from_normal(prior.to_normal(corners))):
        given = prior.give(theta)
        parts = own if isinstance(own, list) else [own]
        columns = given.T if isinstance(own, list) else [given]
        for part, column in zip(parts, columns):
            values = np.asarray(part.log_prob(column))
            assert np.isfinite(values).all(), (name, given)


@pytest.mark.parametrize("name", ["torch", "numpy, float32"])
def test_draws_and_the_maximum_of_a_posterior_that_piles_up_at_a_bound(name):
    own = OPEN[name]()
    prior = as_prior(own)
    posterior = MCMCPosterior(lambda theta, x: 1e3 * theta.sum(1), prior, x_o=[0.0], seed=1, show_progress_bars=False)
    theta = posterior.sample((4000,))
    assert np.isfinite(np.asarray(own.log_prob(theta))).all()
    assert np.isfinite(np.asarray(own.log_prob(posterior.map()[None]))).all()
    assert (prior.high - np.asarray(posterior.map()) < 1e-3 * (prior.high - prior.low)).all()


ONE = {
    "box": BoxUniform([-2.0], [2.0]),
    "beta": st.beta([2.0], [1.0]),
    "half-normal": st.halfnorm([0.0], 2.0),
    "exponential": st.expon([0.0], 0.5),
    "log-normal": st.lognorm([0.5], scale=3.0),
    "normal": st.norm([1.0], 2.0),
    "whitened": td.Kumaraswamy(torch.tensor([2.0]), torch.tensor([3.0])),
}


class Tailed:
    """q(z) with a tail of its own: where it is wider than the prior's, density over prior goes to e^30 at a bound."""

    def __init__(self, spread, middle=0.0):
        self.own = st.norm(middle, spread)

    def draw(self, num):
        return self.own.rvs((num, 1), random_state=0)

    def log_prob(self, z):
        return self.own.logpdf(z)[:, 0]


class Known(DirectPosterior):
    """A posterior whose density in z is known."""

    def __init__(self, density, prior):
        super().__init__(made("maf"), as_prior(prior), multi_round=False, seed=0, show_progress_bars=False)
        self.known = density

    def draw_normal(self, num, x, seed, on_chunk=None):
        return np.repeat(self.known.draw(num), self.prior.dim, axis=1)

    def log_prob_normal(self, z, x):
        return self.known.log_prob(z)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize(("spread", "middle"), [(1.15, 0.0), (1.5, 0.0), (0.7, 0.0), (0.3, 1.0), (0.5, 3.0)])
def test_the_density_with_its_bounds_integrates_to_one(name, spread, middle):
    posterior = Known(Tailed(spread, middle), ONE[name])
    low, high = posterior.prior.from_normal(np.array([[-9.0], [9.0]]))[:, 0]
    ends = posterior.prior.low[0], posterior.prior.high[0]
    low, high = (end if np.isfinite(end) else inner for end, inner in zip(ends, (low, high)))
    middle = posterior.prior.from_normal(np.linspace(-7, 7, 2001)[:, None])[:, 0]
    theta = np.concatenate([[low], middle, [high]])
    density = np.exp(np.asarray(posterior.log_prob(theta[:, None], X), np.float64))
    assert np.isfinite(density).all()
    assert np.trapezoid(density, theta) == pytest.approx(1.0, abs=0.03)


def test_the_limit_at_a_bound_is_the_densitys_next_to_it():
    """Where data favour the bound, a likelihood that is smooth in theta has the posterior end there, at a number."""
    prior = as_prior(BoxUniform([0.0], [1.0]))

    class Slope:
        def draw(self, num):
            u = 1 - np.log1p(np.random.default_rng(0).uniform(size=num) * np.expm1(-20.0)) / -20.0
            return prior.to_normal(u[:, None])

        def log_prob(self, z):
            u = prior.from_normal(z)[:, 0]
            return st.norm.logpdf(z[:, 0]) + np.log(20 / -np.expm1(-20.0)) - 20 * (1 - u)

    posterior = Known(Slope(), BoxUniform([0.0], [1.0]))
    np.testing.assert_allclose(posterior.log_prob([[1.0], [1 - 1e-9], [1 - 1e-4]], X), np.log(20), atol=0.05)
    assert posterior.map(X) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "maf with an embedding"])
def test_no_estimator_is_densest_in_a_corner_that_no_draw_reaches(name):
    posterior = posterior_of(made(name, size=0.1), BoxUniform([-2.0, 0.0], [2.0, 5.0]))
    axis = np.linspace(0, 1, 201)
    rows = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2) * [4.0, 5.0] - [2.0, 0.0]
    log_prob = posterior.log_prob(rows, X)
    mass = np.trapezoid(np.trapezoid(np.exp(log_prob).reshape(201, 201), 5 * axis, axis=1), 4 * axis)
    assert mass == pytest.approx(1.0, abs=0.1)
    at_draws = posterior.log_prob(posterior.sample((2000,), X), X)
    on_bounds = ((rows == rows.min(0)) | (rows == rows.max(0))).any(1)
    assert log_prob[on_bounds].max() <= at_draws.max() + 0.5


def test_a_density_is_as_it_was_learned_where_no_bound_is():
    prior = as_prior(st.norm([0.0, 1.0], 2.0))
    z = 3 * np.random.default_rng(0).standard_normal((500, 2))
    posterior = posterior_of(made("maf"), prior)
    theta = prior.from_normal(z)
    np.testing.assert_allclose(
        posterior.log_prob(theta, X), made("maf").log_prob(z, X) + prior.log_det(theta), rtol=1e-6
    )


def test_what_lies_beyond_all_draws_is_no_higher_than_at_the_nearest():
    prior = as_prior(BoxUniform([0.0, 0.0], [1.0, 1.0]))
    z = np.random.default_rng(0).normal(size=(2048, 2)) * 0.3

    def density(rows):  # with a spike in a corner
        spike = np.where((rows > 3).all(1), 40.0, -np.inf)
        return np.logaddexp(st.norm.logpdf(rows, scale=0.3).sum(1), spike + st.norm.logpdf(rows).sum(1) - 34)

    reach = reach_of(z, density, prior, typical_of(prior))
    corner = np.array([[8.2, 8.2], [3.2, 3.2]])
    assert (reach.bounded(corner, density, prior) <= reach.log_ratio.max()).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("estimator", ["maf", "nsf"])
def test_the_maximum_of_two_modes_in_a_box(estimator, seed):
    rng = np.random.default_rng(seed)

    def simulator(theta):
        return theta - (rng.integers(0, 2, (len(theta), 1)) * 2 - 1) + 0.22 * rng.normal(size=theta.shape)

    box = BoxUniform([-2.0] * 3, [2.0] * 3)
    inference = SNPE(simulator, box, density_estimator=estimator, batched=True, seed=seed, show_progress_bars=False)
    posterior = inference(num_simulations=3000).set_default_x([0.0] * 3)
    assert np.abs(np.abs(posterior.map()) - 1).max() < 0.4
    assert posterior.log_prob([[-2.0, -2.0, -2.0]]) < 0


@pytest.mark.slow
@pytest.mark.parametrize("method", [SNLE, SNPE])
def test_draws_of_a_trained_posterior_are_the_users_own(method):
    prior = OPEN["torch"]()

    def simulator(theta):
        return theta + 0.1 * torch.randn_like(theta)

    posterior = method(simulator, prior, seed=1, show_progress_bars=False)(num_simulations=300, max_num_epochs=20)
    for first in (2.1, 3.0, 10.0):
        x = torch.tensor([first, 0.0])
        theta = torch.cat([posterior.sample((5000,), x=x), posterior.map(x=x)[None]])
        assert torch.isfinite(prior.log_prob(theta)).all()

"""What a user may bring as a prior: a table of it, and what becomes of each. The laws are in test_priors_laws."""

import pickle
import random

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
import scipy.stats as st
import torch
import torch.distributions as td
from scipy.special import ndtr

from homing.errors import PriorError
from homing.priors import BoxUniform, as_prior, same_distribution

MEAN, COV = [0.5, -1.0], [[2.0, 0.9], [0.9, 0.5]]


class Reference:
    """A user's object: a gamma and a shifted, bounded triangle, drawn from NumPy's global generator."""

    parts = (st.gamma(2.0), st.triang(0.4, loc=-3.0, scale=5.0))

    def sample(self, size):
        return np.stack([part.rvs(size=size) for part in self.parts], axis=-1)

    def log_prob(self, theta):
        return sum(part.logpdf(theta[..., i]) for i, part in enumerate(self.parts))


class WithGenerator(Reference):
    """The same with a generator of its own, and bounds it declares."""

    low, high = [0.0, -3.0], [np.inf, 2.0]

    def sample(self, num, rng):
        return np.stack([part.rvs(size=num, random_state=rng) for part in self.parts], axis=-1)


class TorchStyle:
    """A user's prior on torch tensors: minus a log-normal, so bounded above only."""

    base = td.LogNormal(torch.zeros(2), torch.tensor([0.5, 1.0]))

    def sample(self, sample_shape):
        return -self.base.sample(sample_shape)

    def log_prob(self, theta):
        return self.base.log_prob(-theta).sum(-1)


class Stacked:
    """Torch distributions side by side, validation off: wrong outside the support, which it declares."""

    parts = td.Exponential(1.0, validate_args=False), td.Uniform(0.0, 0.7)
    support = td.constraints.stack([part.support for part in parts], dim=-1)

    def sample(self, sample_shape):
        return torch.stack([part.sample(sample_shape) for part in self.parts], dim=-1)

    def log_prob(self, theta):
        return sum(part.log_prob(theta[..., i]) for i, part in enumerate(self.parts))


class JaxStyle:
    """A user's prior in pure JAX, uniform on [-1, 3]."""

    def sample(self, key, sample_shape):
        return jax.random.uniform(key, (*sample_shape, 1), minval=-1.0, maxval=3.0)

    def log_prob(self, theta):
        return jnp.where((theta >= -1.0) & (theta <= 3.0), -jnp.log(4.0), -jnp.inf)[..., 0]


class Poles:
    """A beta in float32, infinite at both bounds, some of whose draws round to them."""

    def sample(self, size, rng):
        return rng.beta(0.5, 0.4, size=(size, 1)).astype(np.float32)

    def log_prob(self, theta):
        with np.errstate(divide="ignore"):
            return st.beta.logpdf(theta[:, 0], 0.5, 0.4).astype(np.float32)


class ByProbability:
    """A normal whose log_prob underflows far out, as one computed from probabilities does: still unbounded."""

    def sample(self, n):
        return np.random.normal(size=(n, 2))  # noqa: NPY002 - as users do

    def log_prob(self, theta):
        return np.log(np.prod(st.norm.pdf(theta), axis=-1))


EXACT = {  # whose z is exactly a standard normal
    "box, numpy": lambda: BoxUniform([-2.0, 1000.0, 0.0], [2.0, 1001.0, 1e-3]),
    "box, torch": lambda: BoxUniform(low=-2 * torch.ones(3), high=torch.tensor([0.1, 0.3, 0.7])),
    "box, jax": lambda: BoxUniform(jnp.zeros(2), jnp.array([1.0, 1e6])),
    "torch uniform": lambda: td.Uniform(torch.tensor([0.1, -0.3]), torch.tensor([0.3, 0.7])),
    "torch normal": lambda: td.Normal(0.3, 2.0),
    "torch independent normal": lambda: td.Independent(td.Normal(torch.zeros(3), torch.tensor([0.1, 1.0, 9.0])), 1),
    "torch float64 log-normal": lambda: td.LogNormal(torch.zeros(2, dtype=torch.float64), 0.7),
    "torch gamma": lambda: td.Gamma(torch.tensor([0.5, 3.0]), torch.tensor([2.0, 0.1])),
    "torch beta": lambda: td.Beta(torch.tensor([2.0, 0.5]), torch.tensor([3.0, 0.5])),
    "torch exponential": lambda: td.Exponential(torch.tensor([0.3])),
    "torch half normal": lambda: td.HalfNormal(torch.tensor([2.0])),
    "torch half Cauchy": lambda: td.HalfCauchy(2.0),
    "torch Student": lambda: td.StudentT(3.0, 1.0, torch.tensor([2.0, 0.1])),
    "torch Cauchy": lambda: td.Cauchy(1.0, 0.5),
    "torch Laplace": lambda: td.Laplace(1.0, 0.5),
    "torch Gumbel": lambda: td.Gumbel(1.0, 0.5),
    "torch Weibull": lambda: td.Weibull(2.0, 1.5),
    "torch Pareto": lambda: td.Pareto(1.5, 3.0),
    "torch inverse gamma": lambda: td.InverseGamma(3.0, 2.0),
    "torch F": lambda: td.FisherSnedecor(4.0, 6.0),
    "torch chi2": lambda: td.Chi2(3.0),
    "torch multivariate normal": lambda: td.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COV)),
    "torch low rank": lambda: td.LowRankMultivariateNormal(torch.ones(3), torch.ones(3, 1), torch.ones(3)),
    "numpyro expanded": lambda: npd.Normal(1.0, 2.0).expand([3]).to_event(1),
    "numpyro beta": lambda: npd.Beta(2.0, jnp.array([1.0, 4.0])),
    "numpyro logistic": lambda: npd.Logistic(2.0, 3.0),
    "numpyro log-uniform": lambda: npd.LogUniform(0.01, 10.0),
    "numpyro truncated normal": lambda: npd.TruncatedNormal(0.3, 1.5, low=-0.1, high=0.7),
    "numpyro left truncated": lambda: npd.TruncatedNormal(0.3, jnp.ones(2), low=-0.1),
    "numpyro multivariate normal": lambda: npd.MultivariateNormal(jnp.array(MEAN), jnp.array(COV)),
    "scipy uniform": lambda: st.uniform(-0.1, 0.3),
    "scipy norm": lambda: st.norm([0.0, 2.0], scale=[1.0, 3.0]),
    "scipy lognorm": lambda: st.lognorm(0.5, scale=3.0),
    "scipy shifted lognorm": lambda: st.lognorm(0.5, 2.0, 3.0),
    "scipy halfnorm": lambda: st.halfnorm(0.0, 3.0),
    "scipy gamma": lambda: st.gamma([1.0, 2.0, 0.7], scale=3.0),
    "scipy truncnorm": lambda: st.truncnorm(-1.0, 3.0),
    "scipy multivariate normal": lambda: st.multivariate_normal(MEAN, COV),
    "list": lambda: [
        td.Uniform(0.1, 0.3), st.gamma(2.0), td.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COV)),
        BoxUniform([0.0], [2.0]),
    ],
}  # fmt: skip
ROUGH = {  # whitened
    "torch correlated log-normal": lambda: td.TransformedDistribution(
        td.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COV)), td.ExpTransform()
    ),
    "torch Kumaraswamy": lambda: td.Kumaraswamy(torch.tensor([2.0, 0.7]), torch.tensor([3.0, 2.0])),
    "torch shifted uniform": lambda: td.TransformedDistribution(td.Uniform(0.0, 1.0), td.AffineTransform(2.0, 3.0)),
    "torch mixture": lambda: td.MixtureSameFamily(
        td.Categorical(torch.ones(2)), td.Gamma(torch.tensor([2.0, 9.0]), torch.ones(2))
    ),
    "torch von Mises": lambda: td.VonMises(torch.tensor([1.0]), torch.tensor([2.0])),
    "numpyro shifted uniform": lambda: npd.TransformedDistribution(
        npd.Uniform(0.0, 1.0), npd.transforms.AffineTransform(2.0, 3.0)
    ),
    "numpyro Kumaraswamy": lambda: npd.Kumaraswamy(2.0, 3.0).expand([1]).to_event(1),
    "scipy multivariate t": lambda: st.multivariate_t(MEAN, COV, df=3),
    "object": Reference,
    "object with generator": WithGenerator,
    "object, torch": TorchStyle,
    "object with support": Stacked,
    "object, jax": JaxStyle,
    "object with poles": Poles,
    "object by probability": ByProbability,
    "list with object": lambda: [Reference(), td.Normal(0.0, 1.0)],
}
TABLE = EXACT | ROUGH
_MADE = {}


@pytest.fixture(params=TABLE)
def name(request):
    return request.param


def made(name):
    """The user's object and its prior, made once."""
    if name not in _MADE:
        original = TABLE[name]()
        _MADE[name] = original, as_prior(original)
    return _MADE[name]


def draws(prior, num=1000):
    return prior.sample(np.random.default_rng(0), num)


def library_log_prob(original, prior, theta):
    """What the user's own library says, in its own arrays."""
    if hasattr(original, "logpdf"):
        values = original.logpdf(theta)
        return values.sum(1) if hasattr(original, "ppf") and np.ndim(values) == 2 else np.reshape(values, -1)
    given = prior.kind.give(theta)
    if getattr(original, "batch_shape", None) == () and original.event_shape == ():
        given = given[:, 0]
    log_prob = jax.jit(original.log_prob) if isinstance(original, npd.Distribution) else original.log_prob
    values = np.asarray(log_prob(given))
    return values if values.ndim == 1 else values.sum(1)


def test_log_prob_agrees_with_the_library(name):
    original, prior = made(name)
    if isinstance(original, list):
        parts = [as_prior(part) for part in original]
        theta = draws(prior)
        columns = np.split(theta, np.cumsum([part.dim for part in parts])[:-1], axis=1)
        expected = sum(part.log_prob(column) for part, column in zip(parts, columns))
    else:
        theta = np.asarray(prior.give(draws(prior)), np.float64)
        expected = library_log_prob(original, prior, theta)
    inside = np.isfinite(expected)  # torch excludes a uniform's upper bound
    assert inside.mean() > 0.99
    np.testing.assert_allclose(prior.log_prob(theta)[inside], expected[inside], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "library", "dtype"),
    [("box, numpy", "numpy", "float64"), ("box, torch", "torch", "float32"), ("box, jax", "jax", "float32"),
     ("torch normal", "torch", "float32"), ("torch float64 log-normal", "torch", "float64"),
     ("numpyro expanded", "jax", "float32"), ("scipy gamma", "numpy", "float64"), ("list", "torch", "float32"),
     ("object", "numpy", "float64"), ("object, jax", "jax", "float32"), ("list with object", "torch", "float32")],
)  # fmt: skip
def test_kind_follows_the_users_library(name, library, dtype):
    _, prior = made(name)
    assert (prior.kind.library, prior.kind.dtype) == (library, dtype)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("object", [0.0, -3.0], [np.inf, 2.0]), ("object, torch", [-np.inf] * 2, [0.0] * 2),
     ("object with support", [0.0, 0.0], [np.inf, 0.7]),
     ("torch shifted uniform", [2.0], [5.0]), ("numpyro shifted uniform", [2.0], [5.0]), ("object, jax", [-1.0], [3.0]),
     ("torch von Mises", [-np.pi], [np.pi]),
     ("torch mixture", [0.0], [np.inf])],
)  # fmt: skip
def test_bounds_are_found(name, low, high):
    _, prior = made(name)
    np.testing.assert_allclose(prior.low, low, rtol=2e-7)
    np.testing.assert_allclose(prior.high, high, rtol=2e-7)


def test_a_density_that_only_underflows_has_no_bound():
    _, prior = made("object by probability")
    assert (prior.low < -38).all()
    assert (prior.high > 38).all()
    correlated = st.multivariate_normal([0.0, 0.0], [[1.0, 0.3], [0.3, 1.0]])

    class Underflowing:
        def sample(self, n, rng):
            return correlated.rvs(n, random_state=rng)

        def log_prob(self, theta):
            return np.log(correlated.pdf(theta))

    assert np.isinf(as_prior(Underflowing()).low).all()


def test_float32_bounds_are_read_exactly():
    prior = as_prior(td.Uniform(torch.tensor([0.1]), torch.tensor([0.3])))
    assert prior.low[0] == float(np.float32(0.1))
    assert prior.high[0] == float(np.float32(0.3))
    truncated = as_prior(npd.TruncatedNormal(0.3, 1.5, low=jnp.float32(-0.1), high=jnp.float32(0.7)))
    assert (truncated.low[0], truncated.high[0]) == (float(np.float32(-0.1)), float(np.float32(0.7)))


def test_gaussian_density_is_exact_in_float64():
    theta = np.random.default_rng(0).normal(size=(50, 2))
    exact = st.multivariate_normal(MEAN, COV)
    np.testing.assert_allclose(as_prior(exact).log_prob(theta), exact.logpdf(theta), rtol=1e-12)
    box = as_prior(BoxUniform([-1.0], [3.0]))
    np.testing.assert_allclose(box.to_normal(np.array([[1.0]])), [[0.0]], atol=1e-15)
    np.testing.assert_allclose(ndtr(box.to_normal(np.array([[2.0]]))), [[0.75]])


def test_global_generators_are_left_alone():
    for state in (random, np.random, torch):
        getattr(state, "manual_seed" if state is torch else "seed")(5)
    expected = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
    for state in (random, np.random, torch):
        getattr(state, "manual_seed" if state is torch else "seed")(5)
    for original in (Reference(), TorchStyle(), td.Kumaraswamy(2.0, 3.0)):
        draws(as_prior(original))
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002


@pytest.mark.parametrize("name", ["box, torch", "torch gamma", "scipy multivariate normal", "object", "list"])
def test_priors_can_be_pickled(name):
    _, prior = made(name)
    again = pickle.loads(pickle.dumps(prior))
    np.testing.assert_array_equal(again.sample(np.random.default_rng(0), 5), draws(prior, 5))
    np.testing.assert_array_equal(again.log_prob(draws(prior, 5)), prior.log_prob(draws(prior, 5)))


SAME = [
    [
        BoxUniform(torch.tensor([0.1, -2.0]), torch.tensor([0.3, 2.0])),
        BoxUniform([0.1, -2.0], [0.3, 2.0]),
        td.Uniform(torch.tensor([0.1, -2.0]), torch.tensor([0.3, 2.0])),
        [st.uniform(0.1, 0.2), npd.Uniform(-2.0, 2.0)],
    ],
    [
        st.multivariate_normal(MEAN, COV),
        td.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COV)),
        npd.MultivariateNormal(jnp.array(MEAN), jnp.array(COV)),
    ],
    [[st.gamma(2.0), st.triang(0.4, loc=-3.0, scale=5.0)], Reference(), WithGenerator()],
    [st.norm(0.0, 1.0), td.Normal(0.0, 1.0), td.Independent(td.Normal(torch.zeros(1), torch.ones(1)), 1)],
]


@pytest.mark.parametrize("group", SAME)
def test_equal_priors_are_the_same_whatever_they_are_made_of(group):
    for other in group[1:]:
        assert same_distribution(group[0], other)
        assert same_distribution(other, group[0])


@pytest.mark.parametrize(
    ("a", "b"),
    [(BoxUniform([0.0], [1.0]), BoxUniform([0.0], [1.001])), (BoxUniform([0.0], [1.0]), BoxUniform([0.5], [1.5])),
     (BoxUniform([0.0], [1.0]), BoxUniform([0.0] * 2, [1.0] * 2)), (st.norm(0.0, 1.0), st.norm(0.001, 1.0)),
     (st.multivariate_normal(MEAN, COV), st.norm(MEAN, np.sqrt(np.diag(COV)))), (st.norm(), st.t(50.0))],
)  # fmt: skip
def test_unequal_priors_are_not(a, b):
    assert not same_distribution(a, b)
    assert not same_distribution(b, a)


def test_a_prior_stays_itself():
    prior = as_prior(st.norm(0.0, 1.0))
    assert as_prior(prior) is prior
    assert as_prior([prior]).dim == 1


# What users bring beside: used, or refused in words


def _mixture(parts, **options):
    count = parts.batch_shape[-1] if not parts.event_shape else parts.batch_shape[0]
    return td.MixtureSameFamily(td.Categorical(torch.ones(count)), parts, **options)


UNCHECKED = {"validate_args": False}
UNIFORMS = td.Uniform(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0]), **UNCHECKED)


class UniformsAndNormal:
    """Its `low` and `high` are those of two of its three parameters."""

    low, high = np.array([0.1, 0.6]), np.array([0.5, 1.0])

    def sample(self, num, rng):
        return np.concatenate([rng.uniform(self.low, self.high, (num, 2)), rng.normal(size=(num, 1))], axis=1)

    def log_prob(self, theta):
        inside = ((theta[:, :2] >= self.low) & (theta[:, :2] <= self.high)).all(1)
        return np.where(inside, st.norm.logpdf(theta[:, 2]) - np.log(0.16), -np.inf)


class Exponentials:
    """With attributes of any meaning."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def sample(self, size=None, random_state=None):
        return random_state.exponential(size=(size, 2))

    def log_prob(self, theta):
        return np.where((theta >= 0).all(1), -theta.sum(1), -np.inf)


FREE, HALF = ([-np.inf] * 2, [np.inf] * 2), ([0.0] * 2, [np.inf] * 2)
POINTS = np.random.default_rng(0).normal(size=(2, 100))
USED = {  # made, low, high
    "torch mixture of uniforms": (lambda: _mixture(UNIFORMS, **UNCHECKED), [0.0], [2.0]),
    "torch mixture of boxes": (
        lambda: _mixture(
            td.Independent(td.Uniform(torch.zeros(2, 2), torch.tensor([[1.0], [2.0]]), **UNCHECKED), 1, **UNCHECKED),
            **UNCHECKED,
        ),
        [0.0, 0.0],
        [2.0, 2.0],
    ),
    "torch mixture of betas": (lambda: _mixture(td.Beta(torch.tensor([2.0, 5.0]), 2.0)), [0.0], [1.0]),
    "torch mixture of vectors": (lambda: _mixture(td.MultivariateNormal(torch.randn(3, 2), torch.eye(2))), *FREE),
    "low and high of some": (UniformsAndNormal, [0.1, 0.6, -np.inf], [0.5, 1.0, np.inf]),
    "low None": (lambda: Exponentials(low=None, high=None), *HALF),
    "low a list of None": (lambda: Exponentials(low=[0.0, None], high=[None, None]), *HALF),
    "low a method": (lambda: Exponentials(low=lambda: 0, high=lambda: 1), *HALF),
    "low a text": (lambda: Exponentials(low="left", high={"a": 1}), *HALF),
    "low a matrix": (lambda: Exponentials(low=np.zeros((3, 3)), high=np.ones((3, 3))), *HALF),
    "low NaN": (lambda: Exponentials(low=np.nan, high=np.nan), *HALF),
    "support a tuple, mean and cov": (lambda: Exponentials(support=(0, 1), mean=3, cov="x", loc=1, scale=0), *HALF),
    "kernel density": (lambda: st.gaussian_kde(POINTS), *FREE),
    "kernel density of one": (lambda: st.gaussian_kde(POINTS[0]), [-np.inf], [np.inf]),
    "nested lists": (lambda: [[st.gamma(2.0), st.gamma(1.0)], [td.Normal(0.0, 1.0)]], [0, 0, -np.inf], [np.inf] * 3),
    "independent of nothing": (lambda: td.Independent(td.HalfNormal(torch.ones(2)), 0), *HALF),
}
TOLD = {
    "torch mixture of uniforms, checked": (lambda: _mixture(UNIFORMS), "log_prob of the prior MixtureSameFamily must"),
    "bounds that draws contradict": (lambda: Exponentials(low=[5.0, 5.0]), r"low=\[5, 5\].* found"),
    "a support of another size": (
        lambda: Exponentials(support=td.constraints.interval(torch.zeros(3), torch.ones(3))),
        "`support` of the prior Exponentials must take theta of shape",
    ),
    "columns of parameters": (lambda: st.norm(np.zeros((2, 1))), r"found \(2, 1\)"),
    "a dict": (lambda: {"a": st.norm(0, 1)}, "found a dict"),
    "pairs of numbers": (lambda: [(0, 1), (0, 2)], "found int"),
    "None in a list": (lambda: [None, st.norm(0, 1)], "found NoneType"),
    "a transform that does not invert": (
        lambda: td.TransformedDistribution(td.Normal(torch.zeros(1), 1.0), td.AbsTransform()),
        "raised NotImplementedError",
    ),
    "scipy's new distributions": (lambda: st.Normal(mu=0.0, sigma=1.0), "frozen distribution.*found Normal"),
}


@pytest.mark.parametrize("name", USED)
def test_what_users_bring_beside_is_used(name):
    make, low, high = USED[name]
    prior = as_prior(make())
    np.testing.assert_allclose(prior.low, low, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(prior.high, high, rtol=1e-6, atol=1e-6)
    assert np.isfinite(prior.log_prob(prior.sample(np.random.default_rng(1), 500))).all()


@pytest.mark.parametrize("name", TOLD)
def test_or_refused_in_words(name):
    make, message = TOLD[name]
    if name == "scipy's new distributions" and not hasattr(st, "Normal"):
        pytest.skip("this scipy has none")
    with pytest.raises(PriorError, match=message):
        as_prior(make())

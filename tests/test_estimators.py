"""Laws that every conditional density keeps, over the table of estimators and priors."""

from functools import cache, partial
from typing import get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from paramax import unwrap

from homing.errors import ArgumentError, ShapeError
from homing.estimators import classifier_nn, fit_standardize, posterior_nn
from homing.estimators.build import Model
from homing.estimators.density import affine_base, linear_base
from homing.inference import SNLE, SNPE, SNPE_A, SNRE_B, TSNPE
from homing.priors import as_prior
from homing.programs import Program
from learning import BUILDERS, FLOWS, PRIORS, made, posterior_of, x_shape

GRID = np.linspace(-6.0, 6.0, 401)
STEP = GRID[1] - GRID[0]
NODES = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name == "cnf" else []) for name in BUILDERS])
def name(request):
    return request.param


@pytest.fixture(params=PRIORS)
def prior(request):
    return PRIORS[request.param]


def test_every_estimator_has_a_row():
    assert {builder.model for builder in BUILDERS.values()} == set(get_args(Model))
    for model in get_args(Model):
        assert posterior_nn(model).model == model
    with pytest.raises(ArgumentError, match=f"model must be one of {', '.join(map(repr, get_args(Model)))}, found"):
        posterior_nn("made")


def observed(name, value=(0.4, -0.3)):
    return np.broadcast_to(np.array(value), x_shape(name)).astype(np.float64)


@cache
def masses(name):
    """Of the cells of a grid in z, shape (401, 401)."""
    return np.exp(made(name).log_prob(NODES, observed(name))).reshape(401, 401) * STEP**2


def test_density_in_z_integrates_to_one(name):
    assert masses(name).sum() == pytest.approx(1.0, abs=5e-4)


def test_density_in_theta_integrates_to_one(name, prior):
    """Over an even grid of theta where there are bounds, else over where theta are."""
    posterior, x = posterior_of(made(name), prior), observed(name)
    draws = np.asarray(posterior.sample((4000,), x))
    margin = 1.5 * np.ptp(draws, axis=0)
    low = np.maximum(posterior.prior.low, draws.min(0) - margin)
    high = np.minimum(posterior.prior.high, draws.max(0) + margin)
    axes = [a + (b - a) * (np.arange(300) + 0.5) / 300 for a, b in zip(low, high)]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    total = np.exp(posterior.log_prob(theta, x)).sum() * np.prod((high - low) / 300)
    assert total == pytest.approx(1.0, abs=3e-3)


def test_draws_follow_the_density(name):
    n = 20_000
    z = made(name).sample(n, observed(name), seed=1)
    edges = GRID[::8] - STEP / 2  # the cells' edges
    counts = np.histogram2d(*z.T, bins=[edges, edges])[0].ravel()
    expected = n * masses(name)[:-1, :-1].reshape(50, 8, 50, 8).sum(axis=(1, 3)).ravel()
    often = expected > 10
    counts = np.append(counts[often], n - counts[often].sum())
    expected = np.append(expected[often], n - expected[often].sum())
    assert often.sum() > 30
    assert st.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1) > 1e-4
    # The mean log density of draws is minus the entropy, which the grid knows.
    values = made(name).log_prob(z, observed(name))
    mass = masses(name).ravel()
    entropy = -(mass * np.log(np.maximum(mass, 1e-300) / STEP**2)).sum()
    assert abs(values.mean() + entropy) < 4.5 * values.std() / np.sqrt(n) + 1e-3


def test_draws_in_theta_follow_the_density_in_theta(name, prior):
    """The mean of p / q over draws from q is the mass that q gives to where p is: here p is q, moved a little."""
    posterior, x = posterior_of(made(name), prior), observed(name)
    z = made(name).sample(5000, x, seed=2)
    theta = posterior.prior.from_normal(z)
    in_theta = posterior.log_prob(theta, x)
    as_learned = made(name).log_prob(z, x) + posterior.prior.log_det(theta)
    assert (np.abs(in_theta - as_learned) > 2e-3).mean() < 0.005  # next to bounds it is kept from growing
    moved = made(name).log_prob(z + 0.05, x) + posterior.prior.log_det(theta)
    ratio = np.exp(moved - in_theta)
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(5000)


@pytest.mark.parametrize("name", FLOWS)
def test_there_and_back_with_log_determinants(name):
    (density,) = made(name).members
    rng = np.random.default_rng(3)
    noise = 1.5 * rng.standard_normal((100, 2)).astype(np.float32)
    c = rng.standard_normal((100, 2)).astype(np.float32)

    @Program
    def there_and_back(density, noise, c):
        def one(noise, c):
            flow = unwrap(density).core.bijection
            z, log_det = flow.transform_and_log_det(noise, c)
            again, back = flow.inverse_and_log_det(z, c)
            jacobian = jax.jacfwd(flow.transform)(noise, c)
            return again, log_det, back, jnp.linalg.slogdet(jacobian)[1]

        return jax.vmap(one)(noise, c)

    again, log_det, back, true = map(np.asarray, there_and_back(density, noise, c))
    np.testing.assert_allclose(again, noise, atol=2e-4)
    np.testing.assert_allclose(log_det, -back, atol=2e-4)
    np.testing.assert_allclose(log_det, true, atol=5e-4)


@pytest.mark.parametrize("name", FLOWS)
def test_a_layer_moves_each_coordinate_by_those_before_it(name):
    (density,) = made(name).members
    layers = density.core.bijection.bijection.bijection
    orders = np.asarray(layers.order)
    assert len(np.unique(orders, axis=0)) > 1
    for i in range(2):
        layer = jax.tree.map(lambda leaf, i=i: leaf[i], layers)
        jacobian = Program(lambda layer, z, c: jax.jacfwd(layer.transform)(z, c))(
            layer, np.array([0.3, -0.7], np.float32), np.ones(2, np.float32)
        )
        first, second = np.argsort(orders[i])
        assert jacobian[first, second] == 0
        assert jacobian[second, first] != 0
        assert (np.diag(jacobian) > 0).all()


@Program
def log_prob(density, z, x):
    model = unwrap(density)
    return model.log_prob(z, model.context(x))


def test_one_by_one_as_side_by_side(name):
    ensemble = made(name)
    rng = np.random.default_rng(4)
    z = rng.standard_normal((5, 2))
    x = rng.standard_normal((5, *x_shape(name)))
    alone = [log_prob(ensemble.members[0], a, b) for a, b in zip(z.astype(np.float32), ensemble.standardize(x))]
    np.testing.assert_allclose(ensemble.log_prob_pairs(z, x), alone, atol=1e-3)
    np.testing.assert_allclose([ensemble.log_prob(a[None], b)[0] for a, b in zip(z, x)], alone, atol=1e-3)


def test_the_order_and_number_of_rows_do_not_matter(name):
    """Densities to the rounding of float32: where a row stands in a program may change its last bit."""
    same = partial(np.testing.assert_allclose, rtol=5e-7, atol=5e-6)
    ensemble, x = made(name), observed(name)
    rng = np.random.default_rng(5)
    z = rng.standard_normal((5000, 2))  # more than a program takes at once
    order = rng.permutation(5000)
    values = ensemble.log_prob(z, x)
    same(ensemble.log_prob(z[order], x), values[order])
    same(ensemble.log_prob(z[:7], x), values[:7])
    xs = np.broadcast_to(x, (5000, *x.shape)) + rng.standard_normal((5000, *[1] * x.ndim))
    values = ensemble.log_prob_pairs(z, xs)
    same(ensemble.log_prob_pairs(z[order], xs[order]), values[order])
    draws = ensemble.sample(5000, x, seed=6)
    np.testing.assert_array_equal(ensemble.sample(100, x, seed=6), draws[:100])
    assert len(np.unique(draws, axis=0)) == 5000


def test_nothing_outside_the_support(name, prior):
    posterior, x = posterior_of(made(name), prior), observed(name)
    inside = posterior.sample((1,), x)
    assert np.isfinite(posterior.log_prob(inside, x)).all()
    for axis in range(2):
        for bound, away in ((posterior.prior.low[axis], -np.inf), (posterior.prior.high[axis], np.inf)):
            theta = inside.copy()
            theta[:, axis] = bound
            value = posterior.log_prob(theta, x)
            assert np.isfinite(value) if np.isfinite(bound) else value == -np.inf
            if np.isfinite(bound):
                for outside in (np.nextafter(bound, away), bound + np.sign(away), away):
                    theta[:, axis] = outside
                    assert posterior.log_prob(theta, x) == -np.inf
    assert posterior.log_prob(np.full((1, 2), np.nan), x) == -np.inf


@pytest.mark.parametrize("value", [(0.0, 0.0), (30.0, -1e3), (1e30, 0.0), (-1e38, 1e38)])
def test_draws_are_inside_whatever_the_weights_and_the_data(name, prior, value):
    posterior = posterior_of(made(name, size=0.3, seed=1), prior)
    draws = posterior.sample((2000,), observed(name, value))
    assert np.isfinite(draws).all()
    assert posterior.prior.is_inside(draws).all()
    assert not np.isnan(posterior.log_prob(draws, observed(name, value))).any()


def test_every_component_is_at_least_as_narrow_as_the_prior():
    rng = np.random.default_rng(7)
    for size in (0.1, 1.0):
        for x in 3 * rng.standard_normal((5, 2)):
            precisions = made("mdn", size=size, seed=2).components(x).precisions
            assert precisions.shape == (10, 2, 2)
            smallest = np.linalg.eigvalsh(precisions.astype(np.float64))
            assert (smallest >= 1 - 1e-5 * smallest.max(1, keepdims=True)).all()


def test_components_are_the_density():
    x = observed("mdn")
    mixture = made("mdn").components(x)
    z = np.random.default_rng(8).standard_normal((50, 2))
    parts = [
        weight + st.multivariate_normal(mean, np.linalg.inv(precision.astype(np.float64))).logpdf(z)
        for weight, mean, precision in zip(*mixture)
    ]
    np.testing.assert_allclose(np.logaddexp.reduce(parts), made("mdn").log_prob(z, x), atol=1e-3)
    assert np.exp(mixture.log_weights).sum() == pytest.approx(1.0, abs=1e-5)


def test_an_estimator_starts_from_the_linear_answer():
    """z | x is normal here; a fresh estimator, its weights near the identity, has its mean and width already."""
    rng = np.random.default_rng(9)
    z = rng.standard_normal((2000, 2))
    x = z @ [[1.0, 0.5], [0.0, 1.0]] + 0.2 * rng.standard_normal((2000, 2))
    for model in ("maf", "nsf", "mdn"):
        builder = posterior_nn(model, num_components=1)
        estimator = builder(z, x, rng, 0.0)
        density = unwrap(estimator.density)
        mean = density.slope @ estimator.standardize(x[:1])[0] + density.offset
        exact = np.linalg.solve(np.eye(2) + (a := np.array([[1.0, 0.0], [0.5, 1.0]])).T @ a / 0.04, a.T @ x[0] / 0.04)
        np.testing.assert_allclose(mean, exact, atol=0.05)
        width = np.sqrt(np.diag(np.linalg.inv(np.eye(2) + a.T @ a / 0.04)))
        np.testing.assert_allclose(np.sqrt((np.asarray(density.scale) ** 2).sum(1)), width, rtol=0.1)


def test_the_linear_base_does_not_believe_few_rows():
    """Noise explains nothing: with fewer rows than columns the residual is as wide as z itself."""
    rng = np.random.default_rng(10)
    z, x = rng.standard_normal((30, 1)), rng.standard_normal((30, 60))
    base = linear_base(z, x)
    assert base.scale[0, 0] == pytest.approx(z.std(), rel=0.15)
    assert (x @ base.slope.T).std() < 0.3 * z.std()


def test_bases_that_do_not_look_at_x():
    z = np.random.default_rng(11).normal(3.0, 0.1, (100, 2))
    base = affine_base(z)
    assert base.slope.shape == (2, 0)
    np.testing.assert_allclose(
        (z - base.offset) @ np.linalg.inv(base.scale).T @ np.ones(2), ((z - z.mean(0)) / z.std(0)).sum(1)
    )
    np.testing.assert_array_equal(affine_base(z, standardize=False).scale, np.eye(2))


@pytest.mark.parametrize("z_score_theta", ["structured", "independent", "none", True, False, None])
@pytest.mark.parametrize("z_score_x", ["independent", "structured", "none", True, False, None])
def test_every_way_of_scaling_is_a_density(z_score_theta, z_score_x):
    rng = np.random.default_rng(12)
    z, x = rng.standard_normal((100, 2)), rng.standard_normal((100, 2))
    estimator = posterior_nn("maf", z_score_theta=z_score_theta, z_score_x=z_score_x)(z, x, rng, 1.0)
    density = estimator.density
    assert np.isfinite(log_prob(density, np.zeros(2, np.float32), estimator.standardize(x[:1])[0]))
    density = unwrap(density)
    assert (density.slope.shape == (2, 0)) == (z_score_theta not in ("structured", True))


# Standardising


def test_an_outlier_does_not_set_the_scale():
    x = np.random.default_rng(13).standard_normal((500, 2))
    x[0] = [1e10, -1e200]
    for column in fit_standardize(x)(x)[1:].T:
        assert np.median(np.abs(column)) == pytest.approx(0.674, abs=0.08)
    assert np.isfinite(fit_standardize(x)(x)).all()


def test_digits_far_behind_the_leading_ones_survive():
    x = 1e9 + np.random.default_rng(14).standard_normal((500, 1))
    features = fit_standardize(x)(x)
    assert len(np.unique(features)) > 490
    assert features.std() == pytest.approx(1.0, abs=0.15)


def test_constant_and_mostly_constant_columns():
    x = np.zeros((100, 3))
    x[:, 1] = 1e5 / 3
    x[:10, 2] = np.arange(1, 11)
    features = fit_standardize(x)(x)
    np.testing.assert_array_equal(features[:, :2], 0)
    assert 0.5 < features[:, 2].std() < 2


def test_standardising_is_one_to_one_and_linear_in_the_middle():
    x = np.random.default_rng(15).standard_t(1.5, (1000, 1))
    map = fit_standardize(x)
    ladder = np.sinh(np.linspace(-15, 15, 2001))[:, None]
    assert (np.diff(map(ladder)[:, 0]) > 0).all()
    inner = np.linspace(-3, 3, 50)[:, None]
    np.testing.assert_allclose(np.diff(map(inner)[:, 0], 2), 0, atol=1e-6)


def test_ways_to_standardise():
    x = np.random.default_rng(16).normal([0.0, 100.0], [1.0, 10.0], (200, 2))
    np.testing.assert_allclose(fit_standardize(x, "none")(x), x, rtol=1e-6)
    assert fit_standardize(x, "structured").scale.shape == ()
    assert np.ptp(fit_standardize(x, "independent")(x).std(0)) < 0.3


# Embeddings and errors


def test_an_embedding_with_weights_is_trained_with_the_rest():
    net = eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(0))
    rng = np.random.default_rng(17)
    estimator = posterior_nn("maf", embedding_net=net)(
        rng.standard_normal((50, 2)), rng.standard_normal((50, 2)), rng, 1.0
    )
    weights = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(estimator.density.embedding, eqx.is_inexact_array))]
    assert (4, 2) in weights
    context = unwrap(estimator.density).context(jnp.zeros(2))
    assert context.features.shape == (3,)


def test_embeddings_of_64_bits_become_32():
    with jax.enable_x64(True):
        net = eqx.nn.Linear(2, 3, key=jax.random.key(0))
        assert net.weight.dtype == np.float64
        rng = np.random.default_rng(18)
        z, x = rng.standard_normal((2, 50, 2))
        density = posterior_nn("maf", embedding_net=net)(z, x, rng, 1.0).density
    assert density.embedding.weight.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "flow"}, r"model must be one of 'maf', 'nsf', 'mdn', 'cnf', found 'flow'"),
        ({"hidden_features": 0}, r"hidden_features must be a positive whole number .* found 0"),
        ({"num_transforms": 2.5}, r"num_transforms must be a positive whole number .* found 2.5"),
        ({"num_bins": 1}, r"num_bins must be a positive whole number \(bins at least 2\), found 1"),
        ({"num_components": -1}, r"num_components must be a positive whole number .* found -1"),
        (
            {"embedding_net": 3},
            r"embedding_net must be one of homing.embeddings, a JAX function or an equinox module, found int",
        ),
        ({"z_score_x": "robust"}, r'z_score_x must be "independent", "structured" or "none", found \'robust\''),
        ({"z_score_theta": "all"}, r'z_score_theta must be "independent", "structured" or "none", found \'all\''),
    ],
)
def test_what_cannot_be_built(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        posterior_nn(**arguments)


def test_torch_modules_are_refused_wherever_a_network_may_be_given():
    torch = pytest.importorskip("torch")

    class Own(torch.nn.Module):
        def forward(self, x):
            return x

    box = PRIORS["box"]
    for net in (torch.nn.Linear(2, 2), torch.nn.Sequential(Own()), Own(), Own().forward, torch.nn.Linear):
        for given in (posterior_nn, classifier_nn, partial(SNPE_A, prior=box)):
            with pytest.raises(ArgumentError, match=r"embedding_net is a torch module; .* bring one of homing.embed"):
                given(embedding_net=net)
    with pytest.raises(ArgumentError, match="density_estimator is a torch module; training runs in JAX"):
        SNPE(prior=box, density_estimator=Own())
    for method, name in ((TSNPE, "density_estimator"), (SNLE, "density_estimator"), (SNRE_B, "classifier")):
        with pytest.raises(ArgumentError, match=rf"{name} .*must be .* found Own\(\)"):
            method(prior=box, **{name: Own()})


def test_an_embedding_that_does_not_take_the_data():
    rng = np.random.default_rng(19)
    builder = posterior_nn("maf", embedding_net=eqx.nn.Linear(5, 3, key=jax.random.key(0)))
    with pytest.raises(
        ShapeError, match=r"embedding_net could not be applied to one x of shape \(2,\): .* It raised: "
    ):
        builder(rng.standard_normal((50, 2)), rng.standard_normal((50, 2)), rng, 1.0)


def test_priors_of_the_table_are_what_they_are_called():
    assert np.isinf(as_prior(PRIORS["half-bounded"]).high).all()
    assert (as_prior(PRIORS["half-bounded"]).low == [0, 1]).all()

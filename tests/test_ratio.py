"""Ratio estimation: its losses against their formulas and their optima, and the classifier."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from paramax import unwrap

from homing.errors import ArgumentError, ShapeError
from homing.estimators import Context, classifier_nn
from homing.posteriors.serialize import pack, unpack
from homing.programs import Program
from homing.training import BNRE, NRE_A, NRE_B, NRE_C, FitOptions, Rows, fit

S = 0.5  # noise of the model x ~ N(z, S²)
PROPOSAL = 0.8, 0.7  # mean and standard deviation of the proposal
WEIGHTED = 0.5, 0.5  # of what the proposal's rows stand for when they have weights


class Shifted(NamedTuple):
    """The exact log ratio for z ~ N(mean, std²), and what a mistaken estimator would add to it."""

    mean: float
    std: float
    constant: jax.Array
    slope: jax.Array  # in z x
    curve: jax.Array  # in z²
    of_x: jax.Array  # in x²

    def context(self, x):
        return Context(x, x)

    def log_ratio(self, z, context):
        x, variance = context.features, self.std**2 + S**2
        exact = 0.5 * (((x - self.mean) ** 2 / variance).sum() - ((x - z) ** 2).sum() / S**2)
        exact += 0.5 * x.size * jnp.log(variance / S**2)
        wrong = self.slope * (z * x).sum() + self.curve * (z**2).sum() + self.of_x * (x**2).sum()
        return exact + self.constant + wrong


def rows_of(n, seed=0, weighted=False):
    """Rows whose parameters come from the proposal."""
    rng = np.random.default_rng(seed)
    z = rng.normal(*PROPOSAL, (n, 1))
    x = z + S * rng.standard_normal((n, 1))
    weight = np.exp(st.norm(*WEIGHTED).logpdf(z) - st.norm(*PROPOSAL).logpdf(z))[:, 0] if weighted else np.ones(n)
    return Rows(*(a.astype(np.float32) for a in (z, x, np.zeros(n), weight)), np.zeros(n, np.int32))


@Program
def values(loss, ratio, rows, num_rows):
    return loss(ratio, rows, num_rows, None)


# The formulas, row by row, from the logits g[i, k] of z_k and x_i


def sigmoid(g):
    return 1 / (1 + np.exp(-g))


def after(i, count, num_rows):
    """The contrasts of row i: those after it that are other rows, and itself where there is none."""
    return [(i + k) % num_rows for k in range(1, 1 + min(count, max(num_rows - 1, 1)))]


def nre_a(g, i, n, atoms=10):
    return -np.log(sigmoid(g[i, i])) - np.mean([np.log(1 - sigmoid(g[i, k])) for k in after(i, atoms - 1, n)])


def nre_b(g, i, n, atoms=20):
    return -np.log(np.exp(g[i, i]) / sum(np.exp(g[i, k]) for k in [i, *after(i, atoms - 1, n)]))


def nre_c(g, i, n, classes=20, gamma=1.0):
    contrasts = after(i, classes, n)
    k = len(contrasts)
    joint, apart = [i, *contrasts[:-1]], contrasts
    one_of_them = gamma * np.exp(g[i, i]) / (k + gamma * sum(np.exp(g[i, j]) for j in joint))
    none = k / (k + gamma * sum(np.exp(g[i, j]) for j in apart))
    return -(gamma * np.log(one_of_them) + np.log(none)) / (1 + gamma)


def imbalance(g, weight, n):
    pairs = [weight[i] * (sigmoid(g[i, i]) + sigmoid(g[i, after(i, 1, n)[0]])) for i in range(n)]
    return (np.mean(pairs) - 1) ** 2


FORMULAS = [
    (NRE_A(), nre_a),
    (NRE_A(2), lambda g, i, n: nre_a(g, i, n, 2)),
    (NRE_A(4), lambda g, i, n: nre_a(g, i, n, 4)),
    (NRE_B(), nre_b),
    (NRE_B(3), lambda g, i, n: nre_b(g, i, n, 3)),
    (NRE_C(), nre_c),
    (NRE_C(3, 2.5), lambda g, i, n: nre_c(g, i, n, 3, 2.5)),
]


def logits(rows, ratio):
    z, x = rows.z[None, :, 0].astype(np.float64), rows.x[:, None, 0].astype(np.float64)
    variance = ratio.std**2 + S**2
    exact = st.norm.logpdf(x, z, S) - st.norm.logpdf(x, ratio.mean, np.sqrt(variance))
    wrong = ratio.constant + ratio.slope * z * x + ratio.curve * z**2 + ratio.of_x * x**2
    return exact + wrong + np.log(rows.weight.astype(np.float64))


@pytest.mark.parametrize("num_rows", [12, 4, 1])
def test_each_loss_is_its_formula(num_rows):
    rows = rows_of(12, weighted=True)
    rows = jax.tree.map(
        lambda leaf: leaf[np.arange(12) % num_rows], rows
    )  # what a batch larger than the data looks like
    ratio = Shifted(*PROPOSAL, *map(np.float32, (0.3, -0.2, 0.1, 0.2)))
    g = logits(rows, ratio)
    for loss, formula in FORMULAS:
        found = np.asarray(values(loss, ratio, rows, np.int32(num_rows)))
        exact = [rows.weight[i] * formula(g, i % num_rows, num_rows) for i in range(12)]
        np.testing.assert_allclose(found, exact, rtol=2e-4, atol=1e-4)
    balanced = np.asarray(values(BNRE(2, 30.0), ratio, rows, np.int32(num_rows)))
    exact = [rows.weight[i] * nre_a(g, i % num_rows, num_rows, 2) for i in range(12)]
    np.testing.assert_allclose(balanced, exact + 30 * imbalance(g, rows.weight, num_rows), rtol=1e-3, atol=1e-3)


def test_the_binary_loss_is_the_contrastive_one_with_one_class():
    rows, ratio = rows_of(12), Shifted(*PROPOSAL, *map(np.float32, (0.3, -0.2, 0.1, 0.2)))
    one, two = (np.asarray(values(loss, ratio, rows, np.int32(12))) for loss in (NRE_A(2), NRE_C(1, 1.0)))
    np.testing.assert_allclose(two, one / 2, atol=1e-5)


def test_rows_of_no_weight_do_not_count():
    """Neither by themselves nor as contrasts of a softmax, and their gradients are finite."""
    rows, ratio = rows_of(12), Shifted(*PROPOSAL, *map(np.float32, (0.3, -0.2, 0.1, 0.2)))
    rows = rows._replace(weight=np.where(np.arange(12) % 3 == 0, 0, 1).astype(np.float32))
    moved = rows._replace(z=np.where(rows.weight[:, None] == 0, 50.0, rows.z).astype(np.float32))
    for loss in (NRE_A(4), NRE_B(4), NRE_C(4), BNRE(4)):
        found = np.asarray(values(loss, ratio, rows, np.int32(12)))
        np.testing.assert_allclose(values(loss, ratio, moved, np.int32(12)), found, atol=1e-5)
        if not isinstance(loss, BNRE):
            assert (found[::3] == 0).all()
    found = slopes(NRE_C(4), tuple(map(np.float32, ratio)), jax.tree.map(lambda leaf: leaf[None], rows))
    assert np.isfinite(found).all()


# Where the optimum is: the mean gradient over independent batches is zero within its standard error, or is not.


@Program
def slopes(loss, at, batches):
    def value(at, rows):
        return loss(Shifted(*at), rows, jnp.asarray(len(rows.z)), None).mean()

    found = jax.vmap(jax.grad(value), in_axes=(None, 0))(at, batches)
    return jnp.stack(found[2:], axis=-1)


def gradients(loss, rows, at, mean_and_std, batch=100):
    """The mean gradient in (constant, slope, curve, of_x), in standard errors."""
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, batch, *leaf.shape[1:]), rows)
    found = np.asarray(slopes(loss, tuple(map(np.float32, (*mean_and_std, *at))), batches), np.float64)
    error = found.std(0) / np.sqrt(len(found))
    return np.where(error > 1e-6, found.mean(0) / np.maximum(error, 1e-6), 0.0)


EXACT = (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [NRE_A(), NRE_B(10), NRE_C(5), BNRE(regularization=0.5)], ids=lambda loss: loss.name)
def test_the_optimum_is_the_log_ratio_under_the_rows_own_proposal(loss, weighted):
    rows, truth = rows_of(40_000, weighted=weighted), WEIGHTED if weighted else PROPOSAL
    if isinstance(loss, BNRE):  # the square of a batch's balance has a bias of one over the batch's size
        rows = jax.tree.map(lambda leaf: leaf[:36_000], rows)
        found = gradients(loss, rows, EXACT, truth, batch=2000)
    else:
        found = gradients(loss, rows, EXACT, truth)
    assert np.abs(found).max() < 4.5
    along = gradients(loss, rows, (0.0, 0.0, 0.3, 0.0), truth, batch=1000)
    assert along[2] > 4.5
    for i in (0, 3):  # what depends on x alone is not seen by NRE-B, and is by the others
        at = np.where(np.arange(4) == i, 0.4, 0.0)
        seen = gradients(loss, rows, at, truth, batch=1000)[i]
        assert seen == pytest.approx(0, abs=1e-2) if isinstance(loss, NRE_B) else seen > 4.5


def test_without_weights_the_optimum_is_another():
    rows = rows_of(40_000)
    for loss in (NRE_A(), NRE_C()):
        assert np.abs(gradients(loss, rows, EXACT, WEIGHTED)).max() > 10


def test_balance_prefers_careful_classifiers():
    """Of two that are as wrong, one too sure and one too unsure, the penalty is for the first."""
    rows = rows_of(20_000)
    scale = [Shifted(*PROPOSAL, np.float32(c), *[np.float32(0.0)] * 3) for c in (-2.0, 2.0)]
    for ratio in scale:
        plain = values(NRE_A(), ratio, rows, np.int32(20_000)).mean()
        assert values(BNRE(), ratio, rows, np.int32(20_000)).mean() > plain + 0.5


def test_equal_losses_are_equal_and_hashable():
    assert NRE_B(20) == NRE_B() != NRE_B(5)
    assert len({NRE_A(), NRE_A(10), NRE_B(), NRE_C(), NRE_C(20, 1.0), BNRE(), BNRE(10, 100.0)}) == 4
    assert [loss.name for loss in (NRE_A(), NRE_B(), NRE_C(), BNRE())] == ["NRE-A", "NRE-B", "NRE-C", "BNRE"]


# The classifier


def pairs(n, dim=2, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, dim))
    return z, z + S * rng.standard_normal((n, dim))


@Program
def log_ratios(ratio, z, x):
    model = unwrap(ratio)
    return jax.vmap(lambda a, b: model.log_ratio(a, model.context(b)))(z, x)


def exact_log_ratio(z, x):
    return (st.norm.logpdf(x, z, S) - st.norm.logpdf(x, 0, np.sqrt(1 + S**2))).sum(-1)


def evaluate(built, z, x):
    return np.asarray(log_ratios(built.ratio, z.astype(np.float32), built.standardize(x)), np.float64)


@pytest.mark.parametrize("model", ["resnet", "mlp", "linear"])
def test_a_classifier_starts_from_the_linear_answer(model):
    z, x = pairs(3000)
    built = classifier_nn(model)(z, x, np.random.default_rng(1))
    new_z, new_x = pairs(300, seed=2)
    np.testing.assert_allclose(evaluate(built, new_z, new_x), exact_log_ratio(new_z, new_x), atol=0.4)
    far = evaluate(built, 50 * new_z, new_x)
    assert (far < 0).all()


@pytest.mark.parametrize("z_score_theta", ["independent", "none"])
def test_a_classifier_that_does_not_look_starts_from_nothing(z_score_theta):
    z, x = pairs(500)
    built = classifier_nn(z_score_theta=z_score_theta)(z, x, np.random.default_rng(1))
    assert np.abs(evaluate(built, z, x)).max() < 0.5


def test_the_regression_is_nowhere_wider_than_the_rows():
    """Data that say nothing: with few rows the left-out residual is wider than z itself."""
    rng = np.random.default_rng(3)
    z, x = rng.standard_normal((25, 3)), rng.standard_normal((25, 12))
    ratio = unwrap(classifier_nn()(z, x, rng).ratio)
    whiten, center = np.asarray(ratio.whiten, np.float64), np.asarray(ratio.center, np.float64)
    gain = np.linalg.eigvalsh(whiten.T @ whiten - center.T @ center)
    assert gain.min() > -1e-4


@pytest.mark.parametrize(
    ("loss", "model"),
    [
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((NRE_B(10), "resnet"), (NRE_C(5), "linear"))),
        (BNRE(), "mlp"),
    ],
)
def test_training_finds_the_ratio(loss, model):
    """x = z² + noise, which no linear regression sees: x_o has two explanations. For the linear model x = z + noise."""
    rng = np.random.default_rng(4)
    z = rng.standard_normal((2000, 1))
    mean = (lambda z: z) if model == "linear" else np.square
    x = mean(z) + 0.5 * rng.standard_normal((2000, 1))
    is_validation = rng.random((1, 2000)).argsort(1) < 200
    built = classifier_nn(model)(z, x, rng)
    zeros, ones = np.zeros(2000, np.float32), np.ones(2000, np.float32)
    rows = Rows(z.astype(np.float32), built.standardize(x), zeros, ones, zeros.astype(np.int32))
    (ratio,), _ = fit([built.ratio], rows, is_validation, loss, FitOptions(max_num_epochs=40), seed=0)
    grid, x_o = np.linspace(-3.5, 3.5, 281)[:, None], np.ones((281, 1))
    learned = np.asarray(log_ratios(ratio, grid.astype(np.float32), built.standardize(x_o)), np.float64)
    prior = st.norm.pdf(grid[:, 0]) * (7 / 280)
    posterior, exact = prior * np.exp(learned), prior * st.norm.pdf(x_o, mean(grid), 0.5)[:, 0]
    if not isinstance(loss, NRE_B):  # normalised: the prior's mean of the ratio is one
        assert posterior.sum() == pytest.approx(1.0, abs=0.25)
    posterior, exact = posterior / posterior.sum(), exact / exact.sum()
    apart = 0.5 * np.abs(posterior - exact).sum()
    if isinstance(loss, BNRE):  # which is careful: too wide, not too narrow
        assert apart < 0.25
        assert (posterior * np.log(posterior)).sum() < (exact * np.log(exact)).sum()
    else:
        assert apart < 0.12


def test_an_embedding_is_trained_with_the_rest_and_sees_each_x_once():
    net = eqx.nn.MLP(6, 3, 4, 1, key=jax.random.key(0))
    rng = np.random.default_rng(5)
    z, x = rng.standard_normal((50, 2)), rng.standard_normal((50, 3, 2))
    built = classifier_nn(embedding_net=eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), net]))(z, x, rng)
    assert built.x_shape == (3, 2)
    weights = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(built.ratio.embedding, eqx.is_inexact_array))]
    assert (4, 6) in weights
    assert unwrap(built.ratio).context(jnp.zeros((3, 2))).features.shape == (3,)


@pytest.mark.parametrize("model", ["resnet", "mlp", "linear"])
def test_a_classifier_is_stored_without_code(model):
    z, x = pairs(100)
    built = classifier_nn(model, hidden_features=8)(z, x, np.random.default_rng(6))
    again = unpack(pack(built.ratio))
    assert type(again) is type(built.ratio)
    assert jax.tree.structure(again) == jax.tree.structure(built.ratio)
    z, x = z.astype(np.float32), built.standardize(x)
    np.testing.assert_array_equal(log_ratios(again, z, x), log_ratios(built.ratio, z, x))


def test_a_classifier_with_an_embedding_needs_it_again():
    z, x = pairs(100)
    net = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    ratio = classifier_nn(embedding_net=net)(z, x, np.random.default_rng(7)).ratio
    with pytest.raises(ArgumentError, match="embedding_net of its own"):
        unpack(pack(ratio))
    again = unpack(pack(ratio), embedding_net=eqx.nn.Linear(2, 3, key=jax.random.key(1)))
    np.testing.assert_array_equal(again.embedding.weight, net.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "maf"}, r"model must be one of 'resnet', 'mlp', 'linear', found 'maf'"),
        ({"hidden_features": 0}, r"hidden_features must be a positive whole number .* found 0"),
        ({"num_blocks": 1.5}, r"num_blocks must be a positive whole number .* found 1.5"),
        (
            {"embedding_net": "cnn"},
            r"embedding_net must be one of homing.embeddings, .* found str",
        ),
        ({"z_score_theta": "all"}, r"z_score_theta must be .* found 'all'"),
        ({"z_score_x": "all"}, r"z_score_x must be .* found 'all'"),
    ],
)
def test_what_cannot_be_built(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        classifier_nn(**arguments)


def test_an_embedding_that_does_not_take_the_data():
    z, x = pairs(20)
    with pytest.raises(ShapeError, match=r"embedding_net could not be applied to one x of shape \(2,\)"):
        classifier_nn(embedding_net=eqx.nn.Linear(5, 3, key=jax.random.key(0)))(z, x, np.random.default_rng(0))

"""Embeddings: the laws that all keep, what each is for, and posteriors of images, series and sets that are known."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paramax import unwrap

import homing
from homing.embeddings import (
    CNNEmbedding,
    MLPEmbedding,
    RecurrentEmbedding,
    SetEmbedding,
    TransformerEmbedding,
    pad_trials,
)
from homing.embeddings.grids import centres, grid_statistics, windows
from homing.errors import ArgumentError, ShapeError
from homing.estimators import classifier_nn, posterior_nn
from homing.estimators.density import basis_of
from homing.estimators.embedding import simple_features
from homing.inference import FMPE, NPSE, SNPE, SNRE_B
from homing.inference.options import as_settings
from homing.inference.sides import SideOptions
from homing.posteriors.serialize import Packed, pack, unpack
from homing.priors import BoxUniform
from homing.programs import Program
from homing.training import FitOptions
from large_data import MOST, AutoRegressive, Blob, NormalTrials

SMALL = {"out_features": 5, "hidden_features": 8}
EMBEDDINGS = {
    "mlp": (MLPEmbedding(**SMALL), (7,)),
    "cnn of images": (CNNEmbedding(**SMALL, channels=2), (13, 10)),
    "cnn of channels first": (CNNEmbedding(**SMALL, channels=2, channel_axis=0), (3, 9, 40)),
    "cnn of series": (CNNEmbedding(**SMALL, channels=2, channel_axis=-1), (50, 2)),
    "recurrent": (RecurrentEmbedding(**SMALL, width=6), (70,)),
    "transformer": (TransformerEmbedding(**SMALL, width=8, num_heads=2), (70, 2)),
    "set": (SetEmbedding(**SMALL, trial=MLPEmbedding(**SMALL)), (12, 3)),
    "set by sum": (SetEmbedding(**SMALL, pool="sum"), (12, 3)),
    "set by max": (SetEmbedding(**SMALL, pool="max"), (12, 3)),
    "set of one size": (SetEmbedding(**SMALL, masked=False), (12, 2)),
    "set of series": (SetEmbedding(**SMALL, trial=CNNEmbedding(**SMALL, channels=2)), (6, 31)),
}
SETS = [name for name in EMBEDDINGS if name.startswith("set")]
MASKED = [name for name in SETS if name != "set of one size"]
NUM = 40


LONG = (
    "cnn of channels first",
    "cnn of series",
    "transformer",
    "set by sum",
    "set of series",
)  # in the long tests


def each_of(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in LONG else []) for name in names]


@pytest.fixture(params=each_of(EMBEDDINGS))
def name(request):
    return request.param


@cache
def data(name):
    """Data of such a shape, a random number of rows of a set being trials."""
    rng = np.random.default_rng(0)
    x = 3.0 + 2.0 * rng.normal(size=(NUM, *EMBEDDINGS[name][1]))
    if name in MASKED:
        for row, count in zip(x, rng.integers(1, x.shape[1] + 1, NUM)):
            row[:, -1] = np.arange(x.shape[1]) < count
    return x


@cache
def made(name):
    """A network, and standardised data."""
    embedding, _ = EMBEDDINGS[name]
    seen = embedding.standardize(data(name), "independent")(data(name))
    return embedding.build(seen, np.random.default_rng(1)), seen


@Program
def look(net, x):
    """Features, what the head sees of them, simple statistics, and the gradient of a number: one program for all."""
    weights, rest = eqx.partition(net, eqx.is_inexact_array)
    gradient = jax.grad(lambda weights: (jax.vmap(eqx.combine(weights, rest))(x) ** 2).sum())(weights)
    whitened = (jax.vmap(net.body)(x) - net.loc) / net.scale
    return jax.vmap(net)(x), whitened, simple_features(net, x), jax.tree.leaves(gradient)


def features(net, x):
    return np.asarray(look(net, x)[0])


def test_each_x_has_features_of_its_own(name):
    net, seen = made(name)
    here = features(net, seen)
    assert here.shape == (NUM, 5)
    assert (here.std(0) > 1e-3).all()
    np.testing.assert_allclose(features(net, seen[::-1]), here[::-1], atol=2e-5)


def test_what_the_head_sees_is_standardised(name):
    whitened = np.asarray(look(*made(name))[1])
    assert np.abs(whitened.mean(0)).max() < 1  # by 256 rows, here with some of the 40 more often than others
    assert np.median(whitened.std(0)) == pytest.approx(1, abs=0.2)


def test_gradients_are_finite_and_reach_all_that_is_trained(name):
    net, seen = made(name)
    weights = jax.tree_util.tree_leaves_with_path(eqx.filter(net, eqx.is_inexact_array))
    for (path, _), slope in zip(weights, look(net, seen)[3], strict=True):
        assert np.isfinite(slope).all()
        if path[-1].name in (
            "loc",
            "scale",
            "low",
            "high",
        ):  # a network's, or its trials' network's: fixed by the first data
            assert not np.any(slope), path
        else:
            assert np.any(slope), path


def test_statistics_by_numpy_and_by_jax(name):
    net, seen = made(name)
    statistics = simple_features(net, seen)
    assert statistics.ndim == 2
    assert np.isfinite(statistics).all()
    np.testing.assert_allclose(look(net, seen)[2], statistics, atol=1e-4)
    np.testing.assert_allclose(simple_features(net, seen[:1]), statistics[:1], atol=1e-4)


def test_two_networks_have_weights_of_their_own(name):
    embedding, _ = EMBEDDINGS[name]
    _, seen = made(name)
    z = np.random.default_rng(2).normal(size=(NUM, 2))
    builder = posterior_nn("maf", hidden_features=4, num_transforms=1, embedding_net=embedding)
    one, other, same = (
        jax.tree.leaves(builder.density(z, seen, np.random.default_rng(seed)).embedding.head) for seed in (1, 2, 1)
    )
    assert not any(np.array_equal(a, b) for a, b in zip(one[::2], other[::2]))
    assert all(np.array_equal(a, b) for a, b in zip(one, same))


def test_a_network_is_stored_whole(name):
    """Its description's class and its code are the package's: nothing has to be brought again."""
    _net, seen = made(name)
    builder = posterior_nn("mdn", hidden_features=4, embedding_net=EMBEDDINGS[name][0])
    density = builder.density(np.random.default_rng(2).normal(size=(NUM, 2)), seen, np.random.default_rng(1))
    packed = pack(density)
    again = unpack(Packed(json.loads(json.dumps(packed.tree)), packed.arrays))
    assert jax.tree.structure(again) == jax.tree.structure(density)
    np.testing.assert_array_equal(features(again.embedding, seen), features(density.embedding, seen))


def test_no_two_descriptions_look_alike():
    """A run file knows a run by them."""
    settings = [as_settings(embedding) for embedding, _ in EMBEDDINGS.values()]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
    assert as_settings(MLPEmbedding()) == as_settings(MLPEmbedding(num_layers=2))
    assert as_settings(RecurrentEmbedding()) != as_settings(RecurrentEmbedding(width=33))


# Sets


@pytest.mark.parametrize("name", each_of(SETS))
def test_the_order_of_trials_does_not_matter(name):
    net, seen = made(name)
    order = np.random.default_rng(3).permutation(seen.shape[1])
    np.testing.assert_allclose(features(net, seen[:, order]), features(net, seen), atol=1e-4)
    np.testing.assert_allclose(simple_features(net, seen[:, order]), simple_features(net, seen), atol=1e-5)


@pytest.mark.parametrize("name", each_of(MASKED))
def test_rows_that_are_no_trials_do_not_matter(name):
    net, seen = made(name)
    others = np.where(seen[..., -1:] > 0, seen, 1e3 * (np.arange(seen.shape[2]) < seen.shape[2] - 1)).astype(np.float32)
    assert not np.array_equal(others, seen)
    np.testing.assert_allclose(features(net, others), features(net, seen), atol=1e-4)
    assert np.isfinite(features(net, np.zeros_like(seen))).all()  # sets of none


def test_the_number_of_trials_matters():
    net, _ = made("set")
    sets = [pad_trials(np.tile([0.3, -0.5], (count, 1)), 12) for count in (2, 12)]
    few, many = features(net, np.stack(sets * (NUM // 2)).astype(np.float32))[:2]
    assert np.abs(few - many).max() > 0.01


def test_trials_are_scaled_by_themselves_and_their_mark_is_not():
    rng = np.random.default_rng(4)
    sets = [rng.normal([5.0, -100.0], [0.1, 20.0], size=(count, 2)) for count in rng.integers(1, 30, 200)]
    x = np.stack([pad_trials(trials, 30) for trials in sets])
    for z_score in ("independent", "structured", "none"):
        seen = SetEmbedding().standardize(x, z_score)(x)
        np.testing.assert_array_equal(seen[..., -1], x[..., -1])
        if z_score == "independent":
            np.testing.assert_allclose(seen[x[..., -1] > 0][:, :2].std(0), 1, atol=0.1)
            assert abs(seen[x[..., -1] > 0][:, :2].mean()) < 0.1


def test_padding():
    padded = pad_trials([1.0, 2.0], 3)
    np.testing.assert_array_equal(padded, [[1, 1], [2, 1], [0, 0]])
    assert homing.pad_trials is pad_trials
    assert np.isnan(pad_trials([np.nan], 2)[0, 0])  # a trial that failed stays one
    with pytest.raises(ShapeError, match=r"There are 4 trials, more than most=3: choose the largest number of any set"):
        pad_trials(np.zeros((4, 2)), 3)
    with pytest.raises(ShapeError, match=r"trials must have the shape \(n, p\) or \(n,\), found \(2, 2, 2\)"):
        pad_trials(np.zeros((2, 2, 2)), 3)


def test_padding_in_a_simulator_loads_no_machine_learning():
    code = "import homing, json, sys; homing.pad_trials([1.0], 2); print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "flowjax", "scipy"} & set(json.loads(done.stdout))


# Images and series


def test_pixels_and_steps_share_a_scale_and_channels_do_not():
    rng = np.random.default_rng(5)
    images = rng.normal(size=(50, 2, 8, 8)) * np.array([1.0, 100.0])[:, None, None] + np.linspace(0, 3, 8)
    seen = CNNEmbedding(channel_axis=0).standardize(images, "independent")
    assert seen.loc.shape == seen.scale.shape == (2, 1, 1)
    np.testing.assert_allclose(seen(images).std((0, 2, 3)), 1, atol=0.2)
    assert np.ptp(seen(images)[:, 0].mean((0, 1))) > 1  # the gradient from left to right is still there
    series = RecurrentEmbedding().standardize(np.moveaxis(images[:, :, 0], 1, 2), "independent")
    assert series.scale.shape == (1, 2)
    assert CNNEmbedding().standardize(images[:, 0], "structured").scale.shape == ()


def test_windows_are_those_of_a_strided_convolution():
    rng = np.random.default_rng(6)
    x, kernel = rng.normal(size=(9, 6, 2)), rng.normal(size=(4, 4, 2, 3))
    seen = windows(jnp.asarray(x), 2, 2)
    assert seen.shape == (5, 3, 4 * 4 * 2)
    # Columns are: next along the second axis, next along the first, place in the block, channel.
    weight = kernel.reshape(2, 2, 2, 2, 2, 3).transpose(2, 0, 1, 3, 4, 5).reshape(32, 3)
    padded = np.pad(x, [(0, 3), (0, 2), (0, 0)])
    expected = [
        [np.tensordot(padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel, 3) for j in range(3)] for i in range(5)
    ]
    np.testing.assert_allclose(np.asarray(seen) @ weight, expected, atol=1e-4)


def test_statistics_of_a_series():
    x = AutoRegressive()(np.array([[0.7, 0.0], [-0.7, 1.0]]), np.random.default_rng(7))
    statistics = grid_statistics(x[..., None], 1)
    means, log_variance, places, lags = np.split(statistics, [8, 11, 15], axis=1)
    error = 5 / np.sqrt(x.shape[1])
    np.testing.assert_allclose(means, x.reshape(2, 8, 125).mean(2), atol=1e-6)
    np.testing.assert_allclose(log_variance[:, 0], [0 - np.log(1 - 0.49), 2 - np.log(1 - 0.49)], atol=3 * error)
    np.testing.assert_allclose(log_variance[:, 1:], log_variance[:, :1] ** [2, 3])
    np.testing.assert_allclose(places[:, 2:], places[:, :2] ** 3)
    correlations = np.tanh(lags)  # of neighbours 1, 2, 4 and 8 apart
    np.testing.assert_allclose(correlations[:, 0], [0.7, -0.7], atol=error)
    np.testing.assert_allclose(correlations[:, 1], [0.49, 0.49], atol=error)


def test_statistics_say_where_a_peak_and_a_trough_are():
    """In noise, to a fifth of the width of what is looked for, over nearly the whole of the image."""
    theta = np.random.default_rng(8).uniform(-0.8, 0.8, (100, 2))
    x = Blob()(theta, np.random.default_rng(9))
    for sign, places in ((1, slice(67, 69)), (-1, slice(69, 71))):
        seen = grid_statistics(sign * x[..., None], 2)[:, places]
        error = theta - np.stack([np.polyval(np.polyfit(seen[:, i], theta[:, i], 3), seen[:, i]) for i in (0, 1)], 1)
        assert (error.std(0) < 0.2 * Blob().width).all()


def test_the_centre_of_a_peak():
    height = np.full((11, 21, 2), -50.0)
    height[8, 5, 0] = height[0, 20, 1] = 0.0
    np.testing.assert_allclose(centres(height, 2), [0.6, -1.0, -0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize("x_shape", [(64, 64), (1000,)])
def test_large_data_need_few_weights(x_shape):
    x = np.random.default_rng(8).normal(size=(4, *x_shape)).astype(np.float32)
    nets = [CNNEmbedding()] if len(x_shape) == 2 else [CNNEmbedding(), RecurrentEmbedding(), TransformerEmbedding()]
    for embedding in nets:
        body = embedding.body(x, np.random.default_rng(1))
        (num_raw,) = jax.eval_shape(body, x[0]).shape
        assert sum(leaf.size for leaf in jax.tree.leaves(body)) + embedding.hidden_features * num_raw < 80_000


def test_what_no_data_reach_is_not_extrapolated_to(name):
    """A series or an image without noise, a flat one, one that is far too large: its answer is one of those before."""
    net, x = made(name)
    lowest, highest = (np.asarray(edge(net.summary(x), axis=0)) for edge in (np.min, np.max))
    span = highest - lowest
    for foreign in (0 * x[:3], 50 * x[:3], x[:3] - 1000 * np.ones(x.shape[1:], np.float32)):
        if name in MASKED:
            foreign = np.concatenate([foreign[..., :-1], x[:3, :, -1:]], axis=-1)
        for summary in (net.summary(foreign), np.asarray(net.summary(jnp.asarray(foreign)))):
            assert (summary >= lowest - 0.06 * span - 1e-5).all()
            assert (summary <= highest + 0.06 * span + 1e-5).all()
        assert np.isfinite(features(net, foreign)).all()


def test_the_density_starts_from_the_statistics_answer():
    """A set's count, mean and variance say all of a normal: untrained, the base is not far from the exact posterior."""
    model, rng = NormalTrials(), np.random.default_rng(9)
    z = 0.3 * rng.standard_normal((800, 2))
    x = model(z, rng)
    builder = posterior_nn(embedding_net=SetEmbedding())
    seen = builder.standardize(x, z)(x)
    density = unwrap(builder.density(z, seen, rng))
    basis = basis_of(seen, density.embedding, density.slope.shape[1])
    residual = z - basis @ np.asarray(density.slope).T - np.asarray(density.offset)
    counts = x[..., -1].sum(1)
    expected = np.sqrt([(np.exp(2 * z[:, 1]) / counts).mean(), (0.5 / counts).mean()])
    assert (residual.std(0) < 1.3 * expected).all()


# Errors


@pytest.mark.parametrize(
    ("embedding", "x_shape", "message"),
    [
        (CNNEmbedding(), (3, 8, 8), r"CNNEmbedding takes images .* found x of shape \(3, 8, 8\) and channel_axis=None"),
        (
            CNNEmbedding(channel_axis=0),
            (8,),
            r"CNNEmbedding takes images .* found x of shape \(8,\) and channel_axis=0",
        ),
        (CNNEmbedding(channel_axis=2), (8, 8), r"channel_axis is 2, which an x of shape \(8, 8\) does not have"),
        (RecurrentEmbedding(), (2, 8, 8), r"RecurrentEmbedding takes series of shape .* found x of shape \(2, 8, 8\)"),
        (TransformerEmbedding(), (2, 8, 8), r"TransformerEmbedding takes series of shape .* found x of shape"),
        (
            SetEmbedding(),
            (8,),
            r"SetEmbedding takes x of shape \(most, p \+ 1\), as pad_trials makes it; found .* \(8,\)",
        ),
        (SetEmbedding(), (8, 1), r"SetEmbedding takes x of shape \(most, p \+ 1\), .* found x of shape \(8, 1\)"),
        (SetEmbedding(masked=False), (8,), r"SetEmbedding takes x of shape \(n, p\); found x of shape \(8,\)"),
        (SetEmbedding(), (8, 3), r"last column is 1 in rows that are trials .* SetEmbedding\(masked=False\)"),
    ],
)
def test_data_that_an_embedding_is_not_for(embedding, x_shape, message):
    rng = np.random.default_rng(10)
    z, x = rng.normal(size=(20, 2)), rng.normal(size=(20, *x_shape))
    with pytest.raises(ShapeError, match=message):
        posterior_nn("maf", embedding_net=embedding)(z, x, rng, 1.0)
    with pytest.raises(ShapeError, match=message):
        embedding.build(x, rng)


def test_sets_without_a_single_trial():
    with pytest.raises(ShapeError, match="needs trials to learn from; found none in any of the sets"):
        SetEmbedding().standardize(np.zeros((5, 4, 2)), "independent")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPEmbedding(0), "out_features must be a positive whole number, found 0"),
        (lambda: MLPEmbedding(num_layers=1.5), "num_layers must be a positive whole number, found 1.5"),
        (lambda: CNNEmbedding(channels=-1), "channels must be a positive whole number, found -1"),
        (lambda: TransformerEmbedding(width=True), "width must be a positive whole number, found True"),
        (lambda: TransformerEmbedding(width=30), "width must be a multiple of num_heads, found 30 and 4"),
        (lambda: SetEmbedding(pool="median"), "pool must be one of 'mean', 'sum', 'max', found 'median'"),
        (lambda: SetEmbedding(trial=3), r"trial must be an embedding from homing.embeddings, .* found 3"),
        (lambda: posterior_nn(embedding_net=CNNEmbedding), r"is the class CNNEmbedding: call it, .*=CNNEmbedding\("),
    ],
)
def test_embeddings_that_cannot_be(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_options_that_would_leave_the_embedding_out():
    builder = posterior_nn("maf", embedding_net=SetEmbedding())
    inference = SNPE(NormalTrials(), NormalTrials.prior, density_estimator=builder, batched=True)
    with pytest.raises(ArgumentError, match=r"options say how SNPE learns, not what: found builders .*, not .*SetEmb"):
        inference.run(np.zeros((MOST, 2)), 100, options=SideOptions(members=2))


# Posteriors


def run(model, embedding, num_simulations, num_rounds, seed, store=None, **learning):
    """The exact posterior's mean and standard deviation, and a learned one."""
    rng = np.random.default_rng(100 + seed)
    x_o = model.observed(rng) if isinstance(model, NormalTrials) else model(model.truth[None], rng)[0]
    builder = posterior_nn(embedding_net=embedding)
    inference = SNPE(
        model, model.prior, density_estimator=builder, seed=seed, store=store, batched=True, show_progress_bars=False
    )
    options = SideOptions(builders=(builder,), **learning)
    return model.posterior(x_o), inference.run(x_o, num_simulations, num_rounds, options=options)


def check_posterior(exact, posterior, shift, low, high):
    """Means within `shift` standard deviations, standard deviations within factors; returns the first 4,000 draws."""
    mean, std = exact
    draws = posterior.sample((4000,))
    shifts, ratios = (draws.mean(0) - mean) / std, draws.std(0) / std
    print(f"shifts {shifts.round(2)}, ratios {ratios.round(2)}")  # shown by pytest -rP
    assert (np.abs(shifts) < shift).all()
    assert ((low < ratios) & (ratios < high)).all()
    return draws


@pytest.mark.slow
def test_a_set_over_two_rounds_stored_and_loaded(tmp_path):
    store, file = tmp_path / "run.homing", tmp_path / "posterior.npz"
    quick = FitOptions(max_num_epochs=60, stop_after_steps=150)
    exact, posterior = run(NormalTrials(), SetEmbedding(), 800, 2, 1, store, members=2, fit=quick)
    draws = check_posterior(exact, posterior, 0.5, 0.7, 1.5)
    posterior.save(file)
    for again in (homing.load(file), homing.open(store).posterior()):  # no builder is brought
        np.testing.assert_array_equal(again.sample(draws.shape[:1]), draws)
    members = [member.embedding.head[0].weight for member in homing.load(file).ensemble.members]
    assert not np.array_equal(*members)
    with pytest.raises(homing.errors.ObservationError):
        posterior.sample((5,), x=pad_trials(np.zeros(3), MOST - 1))


@pytest.mark.slow
@pytest.mark.parametrize("num_observed", [10, 200])
def test_a_set_of_few_and_of_many_trials(num_observed):
    exact, posterior = run(NormalTrials(num_observed), SetEmbedding(), 2000, 3, 2)
    check_posterior(exact, posterior, 0.4, 0.75, 1.35)


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [CNNEmbedding(), RecurrentEmbedding(), TransformerEmbedding()])
def test_a_series_of_a_thousand_steps(embedding):
    exact, posterior = run(AutoRegressive(), embedding, 1000, 3, 3)
    check_posterior(exact, posterior, 0.7, 0.7, 1.6)


class FewTrials:
    """Six trials, normal about theta: of a wide box, the posterior is normal about their mean."""

    noise = 0.4

    def __call__(self, theta, rng):
        return theta[:, None] + self.noise * rng.standard_normal((len(theta), 6, 2))


@pytest.mark.slow
@pytest.mark.parametrize("method", [SNRE_B, FMPE, NPSE], ids=lambda method: method.name)
def test_ratios_and_velocities_see_by_an_embedding(method, tmp_path):
    embedding, box = SetEmbedding(masked=False, out_features=6), BoxUniform([-1.0, -1.0], [1.0, 1.0])
    given = (
        {"classifier": classifier_nn(embedding_net=embedding)}
        if method is SNRE_B
        else {"density_estimator": posterior_nn("cnf", embedding_net=embedding)}
    )
    x_o = np.array([0.3, -0.2]) + FewTrials.noise * np.random.default_rng(4).standard_normal((6, 2))
    inference = method(FewTrials(), box, seed=5, batched=True, show_progress_bars=False, **given)
    learner = replace(inference.learner, members=2, fit=FitOptions(max_num_epochs=100, stop_after_steps=200))
    posterior = inference.run(x_o, 1000, 2, options=learner)
    assert [record.proposal for record in inference.rounds] == ["prior", "truncated"]
    exact = x_o.mean(0), np.full(2, FewTrials.noise / np.sqrt(6))
    draws = check_posterior(exact, posterior, 0.45, 0.75, 1.4)
    np.testing.assert_allclose(posterior.sample((4000,), x=x_o[::-1]).mean(0), draws.mean(0), atol=0.1 * exact[1][0])
    posterior.save(tmp_path / "posterior.npz")
    again = homing.load(tmp_path / "posterior.npz")
    np.testing.assert_allclose(again.log_prob(draws[:5]), posterior.log_prob(draws[:5]))


@pytest.mark.slow
def test_an_image():
    """At x_o, and over images of parameters about the truth, where chance averages out.

    An image is told by what a network makes of it, whose own noise is added to the image's: an observation's mean is
    off by about half a standard deviation.
    """
    model = Blob()
    (mean, std), posterior = run(model, CNNEmbedding(), 4000, 2, 4)
    check_posterior((mean, std), posterior, 1.2, 0.7, 1.6)
    rng = np.random.default_rng(7)
    images = model(model.truth + std * rng.normal(size=(40, 2)), rng)
    means, stds = np.moveaxis([model.posterior(image) for image in images], 1, 0)
    draws = np.stack([posterior.sample((1000,), x=image) for image in images])
    shifts, ratios = (draws.mean(1) - means) / stds, draws.std(1) / stds
    print(f"shift {np.sqrt((shifts**2).mean()):.2f}, width {ratios.mean():.2f}")
    assert np.sqrt((shifts**2).mean()) < 0.65  # .38; by 60 images and three seeds .53, .45 and .47
    assert 0.95 < ratios.mean() < 1.2  # 1.05; likewise 1.05, 1.03 and 1.04

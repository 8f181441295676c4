"""Velocity fields: their losses, their noise, their accuracy, and what they learn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from paramax import unwrap

from homing.errors import ArgumentError, MissingError
from homing.estimators import posterior_nn, velocity
from homing.estimators.velocity import END
from homing.posteriors import Ensemble
from homing.posteriors.serialize import pack, unpack
from homing.programs import Program
from homing.training import Atomic, DenoisingScore, FitOptions, FlowMatching, MaximumLikelihood, Rows, fit
from learning import made

LOSSES = [FlowMatching(), DenoisingScore()]
SMALL = posterior_nn("cnf", hidden_features=30, num_transforms=2)


def rows_of(z, x, weight=None):
    weight = np.ones(len(z)) if weight is None else weight
    zeros = np.zeros(len(z))
    return Rows(*(a.astype(np.float32) for a in (z, x, zeros, weight)), zeros.astype(np.int32))


@Program
def values(loss, density, rows, seed):
    keys = jax.random.split(jax.random.key(seed), len(rows.z))
    return loss(unwrap(density), rows._replace(key=keys), jnp.asarray(len(rows.z)), None)


@Program
def fields(density, y, angle, x):
    """The field and the score at rows of y and angles, at one x."""
    model = unwrap(density)
    features = model.context(x).features

    def one(y, angle):
        return model.core.velocity(y, angle, features), model.core.score(y, angle, features)

    return jax.vmap(one)(y, angle)


def map_to_double(arrays):
    return [np.asarray(array, np.float64) for array in arrays]


def draws(n=200_000, seed=0):
    """Noise, two explanations of the same data, and a number in [0, 1)."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n, 2)),
        rng.choice([-1.0, 1.0], (n, 1)) + 0.2 * rng.standard_normal((n, 2)),
        rng.random(n),
    )


def by_the_published_formula(loss, field_at):
    """The losses in the words of their papers, for the straight path's velocity and the score; one value a draw."""
    e, z, u = draws()
    if isinstance(loss, FlowMatching):
        t = u[:, None] ** (1 / (1 + loss.power))
        sigma = np.sqrt(t**2 + (1 - t) ** 2)
        y, angle = t * z + (1 - t) * e, np.arctan2(t, 1 - t)
        # What the field on the circle says about the straight path, from its derivative in t.
        straight = (2 * t - 1) / sigma**2 * y + field_at(y / sigma, angle[:, 0])[0] / sigma
        return ((z - e - straight) ** 2).sum(1)
    noise = 1e-3 ** u[:, None]
    share = np.sqrt(1 - noise**2)
    y = share * z + noise * e
    score = field_at(y, np.arccos(noise[:, 0]))[1]
    # g² ds of the diffusion is 2 (noise / share)² d log(noise), less the constant factor of that range.
    return (noise[:, 0] / share[:, 0]) ** 2 * ((-e / noise - score) ** 2).sum(1)


@pytest.mark.parametrize(
    "loss",
    [*LOSSES, *(pytest.param(loss, marks=pytest.mark.slow) for loss in (FlowMatching(0.0), FlowMatching(3.0, 2)))],
    ids=str,
)
def test_each_loss_is_the_published_one(loss):
    density = made("cnf", size=0.2).members[0]
    x = np.array([0.3, -0.2], np.float32)

    def field_at(y, angle):
        return map_to_double(fields(density, y.astype(np.float32), angle.astype(np.float32), x))

    exact = by_the_published_formula(loss, field_at)
    _, z, _ = draws(seed=1)
    model = unwrap(density)
    context = model.context(x)
    z = np.asarray(context.mean + z @ np.asarray(model.scale).T)
    rows = rows_of(z[:40_000], np.broadcast_to(x, (40_000, 2)))
    found = np.asarray(values(loss, density, rows, np.uint32(0)))
    error = np.hypot(found.std() / np.sqrt(len(found)), exact.std() / np.sqrt(len(exact)))
    assert abs(found.mean() - exact.mean()) < 4.5 * error
    assert error < 0.03 * exact.mean()


@pytest.mark.slow
def test_rows_count_by_their_weight():
    density = made("cnf").members[0]
    z, x = np.random.default_rng(0).standard_normal((2, 20, 2))
    for loss in LOSSES:
        plain, weighted = (
            np.asarray(values(loss, density, rows_of(z, x, weight), np.uint32(0))) for weight in (None, np.arange(20.0))
        )
        np.testing.assert_allclose(weighted, np.arange(20) * plain, rtol=1e-5)
        assert not np.array_equal(plain, values(loss, density, rows_of(z, x), np.uint32(1)))


# The noise that `fit` brings


@dataclass(frozen=True)
class Noise:
    """A loss whose value is each row's noise."""

    name = "noise"

    def __call__(self, density, batch, num_rows, proposals):
        return jax.vmap(jax.random.uniform)(batch.key)


def noises(seed, epochs=3, batch_size=30, n=100):
    z, x = np.random.default_rng(2).standard_normal((2, n, 2))
    estimator = SMALL(z, x, np.random.default_rng(0), 0.0)
    options = FitOptions(batch_size=batch_size, max_num_epochs=epochs)
    return fit([estimator.density], rows_of(z, x), np.arange(n)[None] < 40, Noise(), options, seed)[1].history[0]


@pytest.mark.slow
def test_validation_rows_keep_their_noise():
    history = noises(0)
    assert (history == history[0]).all()
    assert 0.3 < history[0] < 0.7
    np.testing.assert_allclose(noises(0, batch_size=7), history, rtol=1e-6)  # it belongs to the row, not to its place
    assert noises(1)[0] != history[0]


def trained(loss, z, x, weight=None, seed=0, builder=SMALL, **options):
    estimator = builder(z, x, np.random.default_rng(seed), 0.0)
    is_validation = np.random.default_rng(seed).random((1, len(z))).argsort(1) < len(z) // 8
    options = FitOptions(**{"max_num_epochs": 60} | options)
    rows = rows_of(z, estimator.standardize(x), weight)
    members, info = fit([estimator.density], rows, is_validation, loss, options, seed)
    return Ensemble(members, np.ones(1), estimator.standardize, x.shape[1:]), info


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_same_seed_gives_the_same_numbers_and_each_epoch_its_own_noise(loss):
    z, x = np.random.default_rng(3).standard_normal((2, 60, 2))
    histories = [trained(loss, z, x, seed=seed, max_num_epochs=3)[1].history for seed in (0, 0, 1)]
    np.testing.assert_array_equal(histories[0], histories[1])
    assert (histories[0] != histories[2]).all()


# What they learn


@pytest.mark.parametrize(
    "loss", [LOSSES[0], pytest.param(LOSSES[1], marks=pytest.mark.slow)], ids=lambda loss: loss.name
)
def test_a_gaussian_posterior_is_recovered(loss):
    """z | x has mean and covariance in closed form; the density, not only its draws."""
    rng = np.random.default_rng(4)
    z = rng.standard_normal((1000, 2))
    mixing, noise = np.array([[1.0, 0.5], [0.0, 1.0]]), 0.4
    x = z @ mixing + noise * rng.standard_normal((1000, 2))
    ensemble, _ = trained(loss, z, x)
    precision = np.eye(2) + mixing @ mixing.T / noise**2
    x_o = np.array([0.7, -0.4])
    exact = st.multivariate_normal(np.linalg.solve(precision, mixing @ x_o / noise**2), np.linalg.inv(precision))
    test = exact.rvs(2000, random_state=5)
    gap = exact.logpdf(test) - ensemble.log_prob(test, x_o)
    assert 0 - 4.5 * gap.std() / np.sqrt(2000) < gap.mean() < 0.06
    found = ensemble.sample(4000, x_o, seed=1)
    np.testing.assert_allclose(found.mean(0), exact.mean, atol=0.08)
    np.testing.assert_allclose(np.cov(found.T), exact.cov, atol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_bimodal_posterior_is_recovered_also_from_weighted_rows(loss):
    """x = (z1², z2) + noise, with rows from a wider density than the prior, weighted back to it."""
    rng = np.random.default_rng(6)
    z = rng.standard_normal((1000, 2)) * [1.5, 1.0]
    x = np.stack([z[:, 0] ** 2, z[:, 1]], axis=1) + 0.5 * rng.standard_normal((1000, 2))
    weight = st.norm.pdf(z[:, 0]) / st.norm.pdf(z[:, 0], scale=1.5)
    ensemble, _ = trained(loss, z, x, weight)
    first, second, x_o = np.linspace(-4, 4, 161), np.linspace(-3, 4, 71), np.array([1.5, 0.5])
    grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
    learned = np.exp(ensemble.log_prob(grid, x_o)).reshape(161, 71).sum(1) * 0.05 * 0.1
    exact = st.norm.pdf(first) * st.norm.pdf(x_o[0], first**2, 0.5)
    assert learned.sum() == pytest.approx(1.0, abs=3e-3)
    assert 0.5 * np.abs(learned - exact / exact.sum()).sum() < 0.2
    share = (ensemble.sample(4000, x_o, seed=0)[:, 0] > 0).mean()
    assert share == pytest.approx(learned[first > 0].sum(), abs=0.03)
    assert share == pytest.approx(0.5, abs=0.12)


def test_rows_of_weight_zero_teach_nothing():
    """Such as those outside the region of a truncated prior."""
    z, x = np.random.default_rng(7).standard_normal((2, 1000, 2))
    ensemble, _ = trained(FlowMatching(), z, x, (z[:, 0] > 0).astype(float))
    assert (ensemble.sample(1000, np.zeros(2), seed=0)[:, 0] > -0.1).mean() > 0.97


# The solver


@pytest.mark.slow
def test_the_tolerance_is_small_enough(monkeypatch):
    """Against a tenth of it, for a field far from where it starts: log densities to a thousandth, or their 1e-4."""
    ensemble = made("cnf", size=0.3)
    z, x = np.random.default_rng(8).standard_normal((500, 2)), np.array([0.4, -0.3])
    coarse = ensemble.log_prob(z, x)
    monkeypatch.setattr(velocity, "_TOLERANCE", 1e-5)
    fine = fresh_log_prob(ensemble.members[0], z.astype(np.float32), ensemble.standardize(x[None])[0])
    assert np.std(coarse) > 1
    np.testing.assert_allclose(coarse, fine, atol=1e-3, rtol=1e-4)


@Program
def fresh_log_prob(density, z, x):
    model = unwrap(density)
    context = model.context(x)
    return jax.vmap(lambda row: model.log_prob(row, context))(z)


def test_the_field_saturates():
    density = made("cnf", size=3.0, seed=5).members[0]
    y = 1e4 * np.random.default_rng(9).standard_normal((50, 2)).astype(np.float32)
    v, _ = fields(density, y, np.full(50, END, np.float32), np.ones(2, np.float32))
    assert np.abs(v).max() <= 10
    assert np.abs(v).max() > 9


def test_a_field_is_stored_without_code():
    density = made("cnf").members[0]
    again = unpack(pack(density))
    assert jax.tree.structure(again) == jax.tree.structure(density)
    z, x = np.zeros((5, 2)), np.zeros(2)
    ensembles = [Ensemble([d], np.ones(1), made("cnf").standardize, (2,)) for d in (density, again)]
    np.testing.assert_array_equal(*(e.log_prob(z, x) for e in ensembles))


def test_without_diffrax_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(velocity, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"needs diffrax, which is not installed: pip install 'homing\[flows\]'"):
        posterior_nn("cnf")


def test_losses_and_estimators_that_do_not_fit_each_other():
    z, x = np.random.default_rng(10).standard_normal((2, 50, 2))
    for loss in (MaximumLikelihood(), Atomic()):
        with pytest.raises(
            ArgumentError, match=r'trained by regression, .* pass it to FMPE or NPSE; for SNPE choose "maf"'
        ):
            trained(loss, z, x)
    with pytest.raises(
        ArgumentError, match=r'must be posterior_nn\("cnf"\), found one with the density MixtureNetwork'
    ):
        trained(FlowMatching(), z, x, builder=posterior_nn("mdn"))

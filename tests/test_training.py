"""The compiled fit: what it trains on, when it stops, what it returns, and that it does not compile again."""

from dataclasses import dataclass
from importlib import import_module

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homing.posteriors import Ensemble
from homing.training import FitOptions, MaximumLikelihood, Rows, fit
from learning import BUILDERS

module = import_module("homing.training.fit")  # the package gives its name to the function

N = 57  # no multiple of anything
VALIDATION = (np.arange(N) % 3 == 0)[None]  # 19 rows
OPTIONS = FitOptions(batch_size=10, learning_rate=1e-2, stop_after_epochs=5, stop_after_steps=0)


class Marked(eqx.Module):
    """A model with one weight a row, in the place of a density."""

    weights: jax.Array


@dataclass(frozen=True)
class Mark:
    """A loss whose gradient moves the weights of the rows it is called with; its value is that of a column of z."""

    name = "mark"
    spoiled: int = -1  # the row whose loss and gradient are NaN

    def __call__(self, density, batch, num_rows, proposals):
        weights = density.weights[batch.source] * jnp.where(batch.source == self.spoiled, jnp.nan, 1.0)
        return batch.z[:, 0] - (weights - jax.lax.stop_gradient(weights))


def rows(n=N, d=1, seed=0):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal((2, n, d)).astype(np.float32)
    return Rows(z, x, np.zeros(n, np.float32), np.ones(n, np.float32), np.arange(n, dtype=np.int32))


def marked(n=N):
    return [Marked(jnp.zeros(n))]


@pytest.mark.parametrize("batch_size", [1, 10, 38, 100])
def test_every_training_row_is_used_and_no_validation_row(batch_size):
    options = FitOptions(batch_size=batch_size, max_num_epochs=1)
    (model,), _ = fit(marked(), rows(), VALIDATION, Mark(), options, seed=0)
    np.testing.assert_array_equal(np.asarray(model.weights) > 0, ~VALIDATION[0])


@pytest.mark.parametrize("batch_size", [1, 10, 19, 100])
def test_the_whole_validation_set_is_scored(batch_size):
    options = FitOptions(batch_size=batch_size, max_num_epochs=2)
    _, info = fit(marked(), rows(), VALIDATION, Mark(), options, seed=0)
    np.testing.assert_allclose(info.history, rows().z[VALIDATION[0]].mean(), rtol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 7, 130])
def test_as_many_epochs_as_allowed(epochs):
    options = FitOptions(batch_size=10, stop_after_epochs=1000, max_num_epochs=epochs)
    seen = []
    _, info = fit(marked(), rows(), VALIDATION, Mark(), options, seed=0, on_epochs=seen.append)
    assert info.epochs.tolist() == [epochs]
    assert info.history.shape == (1, epochs)
    assert not info.converged.any()
    assert seen == sorted(set(seen))
    assert seen[-1] == epochs
    assert info.seconds > 0


@pytest.mark.parametrize("rates", [(1.0,), (1.0, 0.2), (1.0, 0.3, 0.1)])
@pytest.mark.parametrize(("epochs", "steps", "patience"), [(5, 0, 5), (5, 38, 10), (1, 0, 1), (3, 37, 10)])
def test_stops_when_the_validation_loss_does_not_improve(epochs, steps, patience, rates):
    """Here it never does after the first epoch; 38 rows in batches of 10 are four steps an epoch.

    A lower rate waits a third as long.
    """
    options = FitOptions(batch_size=10, rates=rates, stop_after_epochs=epochs, stop_after_steps=steps)
    _, info = fit(marked(), rows(), VALIDATION, Mark(), options, seed=0)
    assert info.epochs.tolist() == [1 + patience + -(-patience // 3) * (len(rates) - 1)]
    assert info.converged.all()


@dataclass(frozen=True)
class Distance:
    """Half the squared distance of the weights from each row's z."""

    name = "distance"

    def __call__(self, density, batch, num_rows, proposals):
        return 0.5 * ((density.weights - batch.z) ** 2).sum(1)


def test_a_lower_rate_goes_on_from_the_best_weights():
    """A hasty rate only comes near the rows' mean, which the lower one then finds."""
    data = rows(d=8)._replace(z=np.tile(rows(N // 3, d=8).z, (3, 1)))  # a third of them is held out: the same rows
    hasty = {"batch_size": 5, "learning_rate": 0.3, "stop_after_epochs": 10, "stop_after_steps": 0}
    (_, first), (found, both) = (
        fit(marked(8), data, np.arange(N)[None] < N // 3, Distance(), FitOptions(rates=rates, **hasty), seed=0)
        for rates in ((1.0,), (1.0, 0.01))
    )
    phase, best = len(first.history[0]), first.validation_loss[0]
    np.testing.assert_array_equal(both.history[0, :phase], first.history[0])
    least = 0.5 * data.z.var(0).sum()
    assert abs(both.history[0, phase] - best) < 0.2 * (best - least)  # where it goes on
    assert both.validation_loss[0] - least < 0.2 * (best - least)
    np.testing.assert_allclose(found[0].weights, data.z.mean(0), atol=0.1)


def test_a_gradient_that_is_not_finite_is_passed_over():
    options = FitOptions(batch_size=10, max_num_epochs=3)
    spoiled = int(np.flatnonzero(~VALIDATION[0])[4])
    (model,), _ = fit(marked(), rows(), VALIDATION, Mark(spoiled), options, seed=0)
    weights = np.asarray(model.weights)
    assert np.isfinite(weights).all()
    assert weights[spoiled] == 0
    assert (weights > 0).sum() > 25


def estimators(name="maf", n=200, count=1):
    """Fresh estimators and rows of z ~ N(0, 1), x = z + noise."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, 2))
    x = z + 0.5 * rng.standard_normal((n, 2))
    built = [BUILDERS[name](z, x, np.random.default_rng(m), 1.0) for m in range(count)]
    standardize = built[0].standardize
    ones = np.ones(n, np.float32)
    data = Rows(z.astype(np.float32), standardize(x), 0 * ones, ones, np.zeros(n, np.int32))
    return [one.density for one in built], data, standardize, x


def held_out(n, count=1):
    return np.random.default_rng(1).random((count, n)).argsort(1) < n // 5


def test_the_best_weights_are_returned():
    members, data, standardize, x = estimators()
    hasty = {"learning_rate": 2e-2, "stop_after_epochs": 10, "stop_after_steps": 0}  # so that it gets worse
    options = FitOptions(rates=(1.0,), **hasty)
    is_validation = held_out(200)
    trained, info = fit(members, data, is_validation, MaximumLikelihood(), options, seed=0)
    (history,) = info.history
    assert history.argmin() == len(history) - 11
    assert info.validation_loss[0] == history.min() < history[0]
    ensemble = Ensemble(trained, np.ones(1), standardize, (2,))
    chosen = is_validation[0]
    assert -ensemble.log_prob_pairs(data.z[chosen], x[chosen]).mean() == pytest.approx(history.min(), abs=1e-4)
    np.testing.assert_array_equal(trained[0].slope.tree, members[0].slope.tree)  # the base is not trained
    assert not np.array_equal(
        trained[0].core.bijection.bijection.bijection.enter, members[0].core.bijection.bijection.bijection.enter
    )


def leaves(models):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(models, eqx.is_array))]


def same(a, b):
    return all(map(np.array_equal, leaves(a), leaves(b)))


@pytest.mark.parametrize("patience", [40, 1])
def test_the_numbers_depend_on_the_seed_and_not_on_how_often_it_returns(monkeypatch, patience):
    """Nor where a phase of a lower rate begins."""
    members, data, *_ = estimators()
    options = FitOptions(learning_rate=1e-2, max_num_epochs=40, stop_after_epochs=patience, stop_after_steps=0)

    def run(seed):
        seen = []
        trained, info = fit(members, data, held_out(200), MaximumLikelihood(), options, seed, on_epochs=seen.append)
        return trained, info, seen

    one, info, few = run(3)
    monkeypatch.setattr(module, "_STRETCH_SECONDS", 0.0)
    again, other, many = run(3)
    assert len(many) == other.epochs[0] > len(few)
    assert same(one, again)
    np.testing.assert_array_equal(info.history, other.history)
    assert info.converged[0] == (patience == 1)
    assert not same(one, run(4)[0])


def test_members_are_trained_as_if_alone():
    members, data, *_ = estimators(count=3)
    options = FitOptions(max_num_epochs=4)
    splits = held_out(200, 3)
    together, info = fit(members, data, splits, MaximumLikelihood(), options, seed=5)
    assert info.history.shape == (3, 4)
    assert len(set(info.validation_loss.tolist())) == 3
    alone, _ = fit(members[:1], data, splits[:1], MaximumLikelihood(), options, seed=5)
    assert same(together[0], alone[0])
    assert not same(together[0], together[1])


def test_histories_end_with_each_members_last_epoch():
    members = [*marked(), *marked()]
    splits = np.concatenate([VALIDATION, np.arange(N)[None] < 47])  # one batch an epoch instead of four
    options = FitOptions(batch_size=10, rates=(1.0,), stop_after_epochs=2, stop_after_steps=12)
    _, info = fit(members, rows(), splits, Mark(), options, seed=0)
    assert info.epochs.tolist() == [4, 13]
    assert np.isnan(info.history[0, 4:]).all()
    assert not np.isnan(info.history[1]).any()


def test_growing_rows_share_programs():
    advance = module._advance
    fit(marked(300), rows(300), held_out(300), Mark(), OPTIONS, seed=0)
    before = advance.num_traces
    for n in range(100, 1025, 131):
        options = FitOptions(
            batch_size=10, learning_rate=1e-3 * n, stop_after_epochs=n % 7 + 1, max_num_epochs=n, clip_max_norm=1.0 * n
        )
        fit(
            marked(300),
            rows(n)._replace(source=np.arange(n, dtype=np.int32) % 300),
            held_out(n),
            Mark(),
            options,
            seed=n,
        )
    assert advance.num_traces == before


def test_sizes_grow_by_a_factor_of_four():
    sizes = {module.bucket(n) for n in range(1, 100_001, 99)}
    assert sorted(sizes) == [1024, 4096, 16384, 65536, 262144]
    assert all(module.bucket(n) >= n for n in (1, 1024, 1025, 4096, 4097))


@pytest.mark.parametrize("members", [1, 2])
def test_an_interrupt_is_heard(members):
    """And ends all members, which would train for ever."""

    def stop(epochs):
        if epochs > 3:
            raise KeyboardInterrupt

    options = FitOptions(batch_size=10, stop_after_epochs=10**6)
    with pytest.raises(KeyboardInterrupt):
        fit(marked() * members, rows(), np.repeat(VALIDATION, members, 0), Mark(), options, seed=0, on_epochs=stop)

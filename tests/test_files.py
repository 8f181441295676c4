"""Posteriors saved and loaded: the same draws and densities, without running anything that a file says."""

import json
import pickle

import equinox as eqx
import jax
import numpy as np
import pytest
import scipy.stats
import torch

import homing
from homing.errors import ArgumentError, PriorError
from homing.estimators import posterior_nn
from homing.inference.sides import SideOptions
from homing.posteriors import HybridPosterior
from homing.posteriors.serialize import NotStorable, Packed, pack, unpack
from homing.priors import as_prior
from homing.priors.fingerprint import prior_fact
from homing.simulation import StoreError
from homing.simulation.npz import from_npz, to_npz
from homing.training import FitOptions
from learning import AFFINE

X_O = [0.5, 1.0]


def simulator(theta, rng):
    return theta + 0.3 * rng.normal(size=2)


class OwnPrior:
    """Two normals, written by a user."""

    def __init__(self, std=1.0):
        self.std = std

    def sample(self, shape, rng):
        return rng.normal(0.0, self.std, (*shape, 2))

    def log_prob(self, theta):
        return scipy.stats.norm(0.0, self.std).logpdf(theta).sum(-1)


class Net(eqx.Module):
    """An embedding of a user's."""

    linear: eqx.nn.Linear

    def __init__(self, seed, size=3):
        self.linear = eqx.nn.Linear(2, size, key=jax.random.key(seed))

    def __call__(self, x):
        return jax.nn.tanh(self.linear(x))


def learned(prior=None, estimator="mdn", **options):
    prior = prior or homing.BoxUniform([-3.0, -3.0], [3.0, 3.0])
    if estimator != "maf":  # whose default most tests compile
        options = {"hidden_features": 8, "num_components": 2, "num_transforms": 2, "num_bins": 4} | options
    inference = homing.SNPE(
        lambda theta: theta + 0.3, prior, seed=1, density_estimator=posterior_nn(estimator, **options),
        show_progress_bars=False, batched=False,
    )  # fmt: skip
    return inference(60, max_num_epochs=2).set_default_x(X_O)


def check_same(posterior, again):
    assert type(again) is type(posterior)
    assert str(again) == str(posterior)
    theta = again.sample((40,), show_progress_bars=False)
    expected = posterior.sample((40,), show_progress_bars=False)
    assert type(theta) is type(expected)
    np.testing.assert_array_equal(np.asarray(theta), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(again.log_prob(theta)), np.asarray(posterior.log_prob(theta)))


def saved(posterior, tmp_path):
    posterior.save(tmp_path / "posterior.npz")
    return tmp_path / "posterior.npz"


@pytest.mark.parametrize("estimator", ["maf", pytest.param("nsf", marks=pytest.mark.slow), "mdn"])
def test_each_estimator(estimator, tmp_path):
    posterior = learned(estimator=estimator)
    check_same(posterior, homing.load(saved(posterior, tmp_path)))


@pytest.mark.parametrize("z_score", ["independent", "structured", "none"])
def test_each_way_to_standardize(z_score, tmp_path):
    posterior = learned(z_score_x=z_score, z_score_theta=z_score)
    check_same(posterior, homing.load(saved(posterior, tmp_path)))


@pytest.mark.parametrize(
    "prior",
    [
        homing.BoxUniform(torch.zeros(2), torch.tensor([1.0, 2.0])),
        scipy.stats.norm([0.0, 1.0], [1.0, 2.0]),
        scipy.stats.lognorm([0.5, 0.5]),
        scipy.stats.multivariate_normal([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]]),
        [scipy.stats.gamma(2.0, scale=3.0), scipy.stats.uniform(1.0, 2.0)],
        [torch.distributions.HalfNormal(torch.ones(1)), torch.distributions.Beta(torch.ones(1), 2 * torch.ones(1))],
        torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_each_prior(prior, tmp_path):
    posterior = learned(prior)
    again = homing.load(saved(posterior, tmp_path))
    check_same(posterior, again)
    assert prior_fact(again.prior) == prior_fact(posterior.prior)
    given = as_prior(prior)
    assert homing.load(tmp_path / "posterior.npz", prior=given).prior is given


def test_a_posterior_is_pickled_by_what_it_saves():
    posterior = learned()
    check_same(posterior, pickle.loads(pickle.dumps(posterior)))
    with pytest.raises(PriorError, match="The prior, OwnPrior"):
        pickle.loads(pickle.dumps(learned(OwnPrior())))


def test_both_sides(tmp_path):
    sides = SideOptions(AFFINE, members=2, fit=FitOptions(stop_after_steps=10, max_num_epochs=2))
    inference = homing.SNPE(
        lambda theta: np.exp(theta), homing.BoxUniform([-3.0, -3.0], [3.0, 3.0]), seed=1, show_progress_bars=False
    )
    posterior = inference.run(X_O, 60, 1, options=sides)
    assert isinstance(posterior, HybridPosterior)
    check_same(posterior, again := homing.load(saved(posterior, tmp_path)))
    assert again.agreement() == posterior.agreement()
    first, second = (again.sample((6000,), show_progress_bars=False) for _ in range(2))  # of 8192 that are kept
    assert len(np.intersect1d(first[:, 0], second[:, 0])) < 20  # equal by rounding to float32 alone


def test_a_prior_of_ones_own_is_given_again(tmp_path):
    path = saved(posterior := learned(OwnPrior()), tmp_path)
    with pytest.raises(PriorError, match=r"The prior, OwnPrior .* that is not in the file: pass .*; none was given"):
        homing.load(path)
    with pytest.raises(PriorError, match=r"pass it again, prior=...; found OwnPrior on"):
        homing.load(path, prior=OwnPrior(2.0))
    check_same(posterior, homing.load(path, prior=OwnPrior()))


def test_another_prior_than_the_saved_one_is_refused(tmp_path):
    path = saved(learned(), tmp_path)
    with pytest.raises(PriorError, match=r"learned with another prior, uniform on .*; found normal with"):
        homing.load(path, prior=scipy.stats.norm([0.0, 0.0], [1.0, 1.0]))


def test_an_embedding_of_ones_own_is_given_again(tmp_path):
    path = saved(posterior := learned(embedding_net=Net(0)), tmp_path)
    with pytest.raises(ArgumentError, match=r"embedding_net of its own, .*Net, whose code is not in the file: pass"):
        homing.load(path)
    with pytest.raises(ArgumentError, match=r"arrays of shapes \[\(3, 2\), \(3,\)\]; found .*\[\(4, 2\), \(4,\)\]"):
        homing.load(path, density_estimator=posterior_nn(embedding_net=Net(0, 4)))
    check_same(posterior, homing.load(path, density_estimator=posterior_nn("mdn", embedding_net=Net(1))))


def test_files_that_cannot_be_used(tmp_path):
    path = saved(learned(), tmp_path)
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"missing\.npz cannot be read: No such file"):
        homing.load(tmp_path / "missing.npz")
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        learned().save(tmp_path / "missing" / "posterior.npz")
    for wrong in (b"", b"text", content[:-100], to_npz({"a": np.zeros(2)}), content[:3000] + b"!" + content[3001:]):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match=r"holds no posterior, or is damaged\. .* is opened by homing\.open"):
            homing.load(path)
    arrays = from_npz(content)
    described = json.loads(arrays["homing"].tobytes())

    def write(**changed):
        path.write_bytes(to_npz(arrays | {"homing": np.frombuffer(json.dumps(described | changed).encode(), np.uint8)}))

    write(format=2)
    with pytest.raises(
        StoreError, match=r"has format 2; this version of homing reads formats up to 1\. Upgrade homing"
    ):
        homing.load(path)
    write(content={"is": "Popen", "items": {}})
    with pytest.raises(StoreError, match="damaged, or was made by a newer homing: KeyError"):
        homing.load(path)
    path.write_bytes(pickled())
    with pytest.raises(StoreError, match=r"posterior\.npz holds no posterior, or is damaged"):
        homing.load(path)


def pickled():
    import io

    file = io.BytesIO()
    np.savez(file, homing=np.array([print], dtype=object))
    return file.getvalue()


def test_what_cannot_be_packed():
    with pytest.raises(NotStorable, match="a/1 is of the class object, which cannot be stored"):
        pack({"a": [1, object()]})
    with pytest.raises(StoreError, match=r"has the fields .*, found"):
        unpack(Packed({"is": "Standardize", "items": {"loc": 1.0}}, {}))
    with pytest.raises(StoreError, match="KeyError"):
        unpack(Packed({"is": "scipy", "name": "describe", "args": [], "kwds": {}}, {}))

"""`BoxUniform` as users call it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from homing.errors import ArgumentError, ShapeError
from homing.priors import BoxUniform, as_prior

KINDS = {
    "numpy": (np.array, np.ndarray, "float64"),
    "numpy float32": (np.float32, np.ndarray, "float32"),
    "torch": (torch.tensor, torch.Tensor, "torch.float32"),
    "torch float64": (lambda values: torch.tensor(values, dtype=torch.float64), torch.Tensor, "torch.float64"),
    "jax": (jnp.array, jax.Array, "float32"),
    "list": (list, np.ndarray, "float64"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shape", [(), 5, (5,), (2, 3), (0,)])
def test_users_get_arrays_of_their_own_kind(name, shape):
    make, array, dtype = KINDS[name]
    prior = BoxUniform(low=make([-1.0, 0.1]), high=make([1.0, 0.3]))
    theta = prior.sample(shape)
    log_prob = prior.log_prob(theta)
    shape = (shape,) if isinstance(shape, int) else shape
    assert tuple(theta.shape) == (*shape, 2)
    assert tuple(log_prob.shape) == shape
    for value in (theta, log_prob, prior.low, prior.high, prior.mean, prior.stddev):
        assert isinstance(value, array)
        assert str(value.dtype) == dtype
    assert bool(((theta >= prior.low) & (theta <= prior.high)).all())
    np.testing.assert_allclose(np.asarray(log_prob), -np.log(2.0 * 0.2), rtol=1e-6)


def test_moments_and_densities():
    prior = BoxUniform([0.0, -2.0], [1.0, 4.0])
    np.testing.assert_allclose(prior.mean, [0.5, 1.0])
    np.testing.assert_allclose(prior.stddev, [1 / np.sqrt(12), 6 / np.sqrt(12)])
    theta = prior.sample(20_000, seed=1)
    np.testing.assert_allclose(theta.mean(0), prior.mean, atol=4 * 6 / np.sqrt(12 * 20_000))
    np.testing.assert_allclose(theta.std(0), prior.stddev, rtol=0.03)
    assert prior.log_prob([[0.0, -2.0], [1.0, 4.0], [0.5, 4.001]]).tolist() == [-np.log(6), -np.log(6), -np.inf]
    assert prior.log_prob([0.5, 0.0]).shape == ()


def test_ints_and_single_numbers_are_bounds_too():
    assert BoxUniform(0, 1).sample((3,)).shape == (3, 1)
    prior = BoxUniform(torch.zeros(2, dtype=torch.int64), [1, 2])
    assert prior.sample((3,)).dtype == torch.float32


@pytest.mark.parametrize("array", [torch.ones(2, dtype=torch.bfloat16), jnp.ones(2, jnp.bfloat16)])
def test_a_type_that_numpy_lacks_counts_as_the_next_wider(array):
    prior = BoxUniform(0 * array, array)
    assert str(prior.sample((3,)).dtype).endswith("float32")
    assert prior.log_prob(array / 2).tolist() == 0.0


def test_torch_seed_holds():
    prior = BoxUniform(low=-2 * torch.ones(3), high=2 * torch.ones(3))
    torch.manual_seed(0)
    first = prior.sample((10,))
    assert not torch.equal(first, prior.sample((10,)))
    torch.manual_seed(0)
    assert torch.equal(first, prior.sample((10,)))


def test_numpy_seed_holds():
    prior = BoxUniform([0.0], [1.0])
    np.random.seed(0)  # noqa: NPY002
    first = prior.sample(10)
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_array_equal(first, prior.sample(10))


def test_own_seed_holds_and_leaves_the_global_generator_alone():
    prior = BoxUniform(jnp.zeros(2), jnp.ones(2))
    np.testing.assert_array_equal(prior.sample(10, seed=3), prior.sample(10, seed=3))
    assert not np.array_equal(prior.sample(10), prior.sample(10))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    BoxUniform(torch.zeros(2), torch.ones(2)).sample(10, seed=3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("shape", [-1, (2, -1), (2.5,), "ab"])
def test_wrong_sample_shape(shape):
    with pytest.raises(ArgumentError, match=r"sample_shape must be .* found .*; for example prior.sample"):
        BoxUniform([0.0], [1.0]).sample(shape)


@pytest.mark.parametrize("theta", [0.5, [0.5], np.zeros((4, 3))])
def test_wrong_theta(theta):
    with pytest.raises(ShapeError, match=r"theta must have shape \(\.\.\., 2\)"):
        BoxUniform([0.0, 0.0], [1.0, 1.0]).log_prob(theta)


def test_it_prints_its_bounds():
    assert repr(BoxUniform(torch.zeros(2), torch.ones(2))) == "BoxUniform(low=[0, 0], high=[1, 1])"
    assert as_prior(BoxUniform([0.0], [1.0])).describe() == "uniform on low=[0], high=[1]"


def test_the_room_imports_no_library_the_user_did_not():
    code = (
        "import sys, homing.priors as p; p.as_prior(p.BoxUniform([0.0], [1.0]));"
        "print([m for m in ('torch', 'numpyro', 'jax', 'scipy.stats', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"

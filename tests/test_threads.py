"""Threads: programs of several at a time end, whatever they compute and on however many processors."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from homing.estimators import Gaussians
from homing.estimators.mixture import log_det, whitener
from homing.posteriors.ensemble import _density, _draw, _pair_density
from homing.programs import Program
from homing.training.losses import log_overlap
from learning import made

LONGEST = 240.0  # seconds for what takes a few


def matrices(dim, num=5, seed=0):
    factors = np.random.default_rng(seed).standard_normal((num, dim, dim))
    return np.eye(dim) + factors @ factors.transpose(0, 2, 1) / dim


@pytest.mark.parametrize("dim", [1, 2, 9, 40])
def test_whiteners(dim):
    precisions = matrices(dim)
    exact = np.linalg.inv(np.linalg.cholesky(precisions))
    found = jax.vmap(whitener)(precisions.astype(np.float32))
    np.testing.assert_allclose(found, exact, atol=1e-5)
    np.testing.assert_allclose(log_det(found), np.linalg.slogdet(precisions)[1], atol=1e-4)
    slope = jax.vmap(jax.grad(lambda a: log_det(whitener(a))))(precisions.astype(np.float32))
    np.testing.assert_allclose(slope + slope.swapaxes(1, 2), 2 * np.linalg.inv(precisions), atol=1e-4)
    (change,) = matrices(dim, 1, seed=1)
    tangent = jax.jvp(whitener, (precisions[0].astype(np.float32),), (change.astype(np.float32),))[1]
    step = 1e-5
    ends = [np.linalg.inv(np.linalg.cholesky(precisions[0] + sign * step * change)) for sign in (-1, 1)]
    np.testing.assert_allclose(tangent, (ends[1] - ends[0]) / (2 * step), atol=1e-4)


class Text(Exception):
    """A program as text, instead of compiling it."""


@pytest.fixture
def text_of(monkeypatch):
    def refuse(lowered, *args, **options):
        raise Text(lowered.as_text())

    def text(function, *args):
        with pytest.raises(Text) as caught:
            Program(function)(*args)
        return str(caught.value)

    monkeypatch.setenv("HOMING_CACHE", "off")
    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    return text


@pytest.mark.parametrize("name", ["maf", "nsf", "mdn", "cnf"])
def test_no_program_of_an_estimator_calls_lapack(text_of, name):
    density, x, rows = made(name).members[0], np.zeros(2, np.float32), np.zeros((2048, 2), np.float32)
    for function, args in (
        (_draw, (x, np.uint32(0), np.int32(0))),
        (_density, (x, rows)),
        (_pair_density, (rows, rows)),
    ):
        assert "lapack" not in text_of(function.function, density, *args)


def test_the_exact_loss_does_not_call_lapack(text_of):
    mixture = Gaussians(np.zeros(2, np.float32), np.zeros((2, 9), np.float32), matrices(9, 2).astype(np.float32))
    assert "lapack" not in text_of(jax.grad(log_overlap), mixture, mixture)


STRESS = """
import os, sys
cores, model, dims = int(sys.argv[1]), sys.argv[2], map(int, sys.argv[3].split(","))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(min(cores, os.cpu_count() or 1)))
os.environ["NPROC"] = os.environ["PJRT_NPROC"] = str(cores)  # the threads of XLA's pool,
os.cpu_count = lambda: cores  # and homing's
import numpy as np
from homing import SNPE, BoxUniform
for d in dims:
    simulator = lambda theta, rng: theta + 0.3 * rng.normal(size=theta.shape)
    prior = BoxUniform([-2.0] * d, [2.0] * d)
    options = dict(seed=1, batched=True, show_progress_bars=False)
    inference = SNPE(simulator, prior, density_estimator=model, **options)
    posterior = inference(num_simulations=300, max_num_epochs=2).set_default_x([0.2] * d)
    draws = posterior.sample((10_000,), show_progress_bars=False)
    assert np.isfinite(posterior.log_prob(draws)).all()
    print(cores, model, d, flush=True)
"""


def stress(cores, model, dims):
    command = [sys.executable, "-c", STRESS, str(cores), model, ",".join(map(str, dims))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST * len(dims))
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_round_of_many_parameters_ends():
    stress(2, "mdn", [12])


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("model", ["maf", "nsf", "mdn", "cnf"])
def test_rounds_end_whatever_they_learn(cores, model):
    stress(cores, model, [1, 2, 8, 20, 40])

"""Threads: programs of several at a time end, whatever they compute and on however many processors."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homing import SNPE, BoxUniform
from homing.estimators import Gaussians
from homing.estimators.mixture import log_det, whitener
from homing.posteriors import MCMCPosterior
from homing.posteriors.ensemble import _density, _draw, _pair_density
from homing.posteriors.fresh import FreshDraws
from homing.programs import Program
from homing.training.losses import log_overlap
from learning import PRIORS, made, posterior_of

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


FACTORS = {
    "cholesky": jnp.linalg.cholesky,
    "inverse": jnp.linalg.inv,
    "QR": lambda a: jnp.abs(jnp.linalg.qr(a)[1]),
    "eigenvalues": jnp.linalg.eigvalsh,
    "singular values": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "a loop": lambda a: jax.lax.scan(lambda s, _: (s + jnp.linalg.cholesky(a), s), a, None, 2)[0],
    "a branch": lambda a: jax.lax.cond(a[0, 0] > 0, jnp.linalg.cholesky, lambda a: a, a),
    "a slope": jax.grad(lambda a: jnp.linalg.slogdet(a)[1]),
}


def users(factor, a):
    """Several that do not depend on one another, of many matrices: alone they would wait for one another for ever."""
    return [jax.vmap(factor)(a + jnp.float32(i) * jnp.eye(24)) for i in range(6)]


@pytest.mark.parametrize("name", FACTORS)
def test_a_users_linear_algebra_ends_and_is_what_it_is(name):
    many = matrices(24, 400).astype(np.float32)
    program = Program(partial(users, FACTORS[name]))
    exact = [np.asarray(part) for part in jax.jit(partial(users, FACTORS[name]))(many[:2])]
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(lambda: [np.asarray(part) for part in program(many)]) for _ in range(4)]:
            for part, known in zip(future.result(LONGEST), exact):
                np.testing.assert_allclose(part[:2], known, rtol=1e-3, atol=1e-3)


POSTERIORS = {
    "direct": lambda: posterior_of(made("mdn"), PRIORS["box"], x_o=np.zeros(2)),
    "sampled": lambda: MCMCPosterior(
        lambda theta, x: -8 * ((theta - x) ** 2).sum(1), BoxUniform([-2.0] * 2, [2.0] * 2), x_o=np.zeros(2), bank=2048
    ),
}


@pytest.mark.parametrize("kind", POSTERIORS)
def test_threads_that_use_one_posterior_get_what_one_thread_gets(kind):
    """All draws differ, and come from the posterior; densities are what they are."""
    posterior, theta = POSTERIORS[kind](), np.random.default_rng(0).uniform(-1, 1, (3000, 2))
    alone = POSTERIORS[kind]().log_prob(theta)
    with ThreadPoolExecutor(6) as pool:
        drawn = [pool.submit(posterior.sample, (700,), show_progress_bars=False) for _ in range(12)]
        dense = [pool.submit(posterior.log_prob, theta) for _ in range(4)]
        draws = np.stack([np.asarray(future.result(LONGEST)) for future in drawn])
        for future in dense:
            np.testing.assert_allclose(future.result(LONGEST), alone, rtol=1e-5, atol=1e-5)
    assert len(np.unique(draws.reshape(-1, 2), axis=0)) > 0.98 * draws.size / 2
    reference = np.asarray(POSTERIORS[kind]().sample((8400,), show_progress_bars=False))
    apart = np.abs(draws.reshape(-1, 2).mean(0) - reference.mean(0)) / reference.std(0)
    assert (apart < 5 * np.sqrt(2 / len(reference))).all()


def test_two_inferences_at_the_same_time_learn_what_each_does_alone():
    def learn(seed):
        inference = SNPE(
            lambda theta, rng: theta + 0.3 * rng.normal(size=theta.shape),
            BoxUniform([-2.0] * 2, [2.0] * 2),
            density_estimator="mdn",
            **{"seed": seed, "batched": True, "show_progress_bars": False},
        )
        posterior = inference(num_simulations=200, max_num_epochs=3)
        return np.asarray(posterior.log_prob(np.zeros((1, 2)), x=[0.1, 0.1]))

    alone = [learn(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = [future.result(LONGEST) for future in [pool.submit(learn, seed) for seed in (1, 2)]]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_call_numbers_and_batches_are_given_once():
    """However threads take turns: the switch comes after every few instructions."""
    posterior, taken = POSTERIORS["sampled"](), FreshDraws(lambda x, batch, num: batch + np.zeros((num + 1, 1)))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            seeds = list(pool.map(lambda _: posterior._next_seed(), range(4000)))
            batches = list(pool.map(lambda _: taken.take(3, np.zeros(1)), range(2000)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(seeds)) == 4000
    assert np.unique(np.concatenate(batches), return_counts=True)[1].max() <= 4  # a batch has four


STRESS = """
import os, sys
cores, model, dims = int(sys.argv[1]), sys.argv[2], map(int, sys.argv[3].split(","))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(min(cores, os.cpu_count() or 1)))
os.environ["NPROC"] = os.environ["PJRT_NPROC"] = str(cores)  # the threads of XLA's pool,
os.cpu_count = lambda: cores  # and homing's
import numpy as np
from homing import SNPE, BoxUniform
from homing.inference import FMPE
for d in dims:
    simulator = lambda theta, rng: theta + 0.3 * rng.normal(size=theta.shape)
    prior = BoxUniform([-2.0] * d, [2.0] * d)
    options = dict(seed=1, batched=True, show_progress_bars=False)
    options |= {} if model == "FMPE" else {"density_estimator": model}
    inference = (FMPE if model == "FMPE" else SNPE)(simulator, prior, **options)
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
@pytest.mark.parametrize("model", ["maf", "nsf", "mdn", "FMPE"])
def test_rounds_end_whatever_they_learn(cores, model):
    stress(cores, model, [1, 2, 8, 20, 40])

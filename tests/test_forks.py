"""JAX does not survive a fork: what needs it in a forked process says so at once, and says what to do."""

import multiprocessing
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest

from homing import SNPE, BoxUniform, infer, simulate_for_sbi
from homing.diagnostics import sbc_ranks
from learning import made, posterior_of

pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning"),
]
BOX = BoxUniform([-2.0, -2.0], [2.0, 2.0])
LONGEST = 60.0  # seconds that a child has to answer


def simulator(theta, rng):
    return theta + 0.2 * rng.normal(size=theta.shape)


def with_a_key(theta, key):
    return np.asarray(theta) + 0.2 * np.asarray(jax.random.normal(key, np.shape(theta)))


def posterior():
    return posterior_of(made("maf"), BOX, x_o=np.array([0.6, -0.5]))


def inference():
    return SNPE(simulator, BOX, seed=1, batched=True, show_progress_bars=False)


def in_a_fork(function):
    """What a forked child says: the value as text, or the error's class and text."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def answer():
        try:
            there.send(("value", repr(function())))
        except BaseException as error:
            there.send((type(error).__name__, str(error)))

    child = context.Process(target=answer)
    child.start()
    try:
        assert here.poll(LONGEST), f"no answer from the child in {LONGEST} s"
        return here.recv()
    finally:
        child.kill()
        child.join(LONGEST)


def numpyro_normal():
    distributions = pytest.importorskip("numpyro.distributions")
    return distributions.Normal(np.zeros(2, np.float32), 1).to_event(1)


def needing_jax():
    """What users do in workers, and what it takes from the parent."""
    known, stored, before = posterior(), pickle.dumps(posterior()), inference()
    return {
        "sample": lambda: known.sample((10,)),
        "log_prob": lambda: known.log_prob(np.zeros((3, 2))),
        "map": lambda: known.map(),
        "a posterior sent there": lambda: pickle.loads(stored).sample((10,)),
        "an inference made there": inference,
        "a round": lambda: before(num_simulations=100),
        "rounds": lambda: before.run([0.1, 0.1], 100, 2),
        "train": lambda: before.append_simulations(np.ones((20, 2)), np.ones((20, 2))).train(),
        "infer": lambda: infer(simulator, BOX, num_simulations=100),
        "a prior of JAX": lambda: simulate_for_sbi(simulator, numpyro_normal(), 10),
        "a simulator of JAX": lambda: simulate_for_sbi(with_a_key, BOX, 10),
    }


def test_what_needs_jax_says_what_to_do():
    jax.device_put(np.ones(3)).block_until_ready()  # JAX has started here
    for name, use in needing_jax().items():
        kind, text = in_a_fork(use)
        expected = "SimulationError" if name == "a simulator of JAX" else "ForkError"  # what fails there is data
        assert (kind, "spawn" in text) == (expected, True), f"{name}: {kind}: {text}"


def test_what_does_not_need_it_works():
    rng = np.random.default_rng(0)
    theta, draws = rng.normal(size=(50, 2)), rng.normal(size=(50, 30, 2))
    for use in (
        lambda: np.shape(simulate_for_sbi(simulator, BOX, 10, show_progress_bar=False)[0]) == (10, 2),
        lambda: sbc_ranks(theta, draws).shape == (50, 2),
    ):
        assert in_a_fork(use) == ("value", "True")


def test_a_fork_of_a_process_that_has_not_started_jax_starts_its_own():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import jax
from test_forks import BOX, in_a_fork, inference, posterior
made = inference()
print(in_a_fork(lambda: made(num_simulations=100, max_num_epochs=2).sample((10,), x=[0.6, -0.5]).shape))
posterior()  # starts it
print(in_a_fork(lambda: made(num_simulations=100))[0])
"""
    assert printed(code) == ["('value', '(10, 2)')", "ForkError"]


def test_a_fork_before_homing_was_imported_is_known():
    code = """
import os, sys
import jax
jax.numpy.ones(3).block_until_ready()
child = os.fork()
if child == 0:
    sys.path.insert(0, sys.argv[1])
    from test_forks import inference
    try:
        inference()
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert printed(code) == ["ForkError"]


def printed(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(__file__).rpartition("/")[0]],
        capture_output=True,
        text=True,
        timeout=3 * LONGEST,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["spawn", "loky"])
def test_workers_started_afresh_answer(kind):
    loky = pytest.importorskip("loky")
    known = posterior()
    pool = loky.ProcessPoolExecutor(1, context=None if kind == "loky" else multiprocessing.get_context("spawn"))
    with pool:
        log_prob = pool.submit(type(known).log_prob, known, np.zeros((3, 2))).result(LONGEST)
    np.testing.assert_allclose(log_prob, known.log_prob(np.zeros((3, 2))), rtol=1e-5)

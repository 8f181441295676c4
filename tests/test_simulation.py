"""Simulators, what they return, and that the numbers depend on nothing but theta and seeds."""

import itertools
import random
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from homing.arrays import Kind
from homing.errors import ArgumentError, ShapeError
from homing.random import row_seeds
from homing.simulation import Outcomes, Simulator, Status, simulate

THETA = np.random.default_rng(0).normal(size=(47, 3))
SEEDS = row_seeds(1, "simulate", 1, len(THETA))


def global_numpy(theta):
    return theta + np.random.randn(3)  # noqa: NPY002


def global_python(theta):
    return [random.gauss(value, 1.0) for value in theta]


def takes_seed(theta, seed):
    return theta[:2] + np.random.default_rng(seed).normal(size=(4, 2))


def takes_rng(theta, *, rng):
    return rng.normal(theta[0])


def takes_key(theta, key):
    import jax

    return theta + jax.random.normal(key, (3,))


def for_batches(theta, rng):
    return theta[:, :1] + rng.normal(size=(len(theta), 5))


def for_torch(theta):
    import torch

    return theta + torch.randn(3)


def run(function, kind=None, **options):
    return simulate(Simulator(function, kind or Kind()), THETA, SEEDS, **options)


FUNCTIONS = [global_numpy, global_python, takes_seed, takes_rng, takes_key, for_batches, for_torch]


@pytest.mark.filterwarnings("ignore:A worker was restarted")  # one that had no torch yet: it looks like a leak
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_the_number_of_workers_does_not_change_the_numbers(function):
    kind = Kind("torch", "float32", "cpu") if function is for_torch else Kind()
    options = [{"num_workers": 1}, {"num_workers": 4}]
    if function in (for_torch, takes_key):  # whose workers take seconds to begin: one other process will do
        options = [{}, {"timeout": 100.0}]
    one, *others = (run(function, kind, batch_size=10, **some).collect() for some in options)
    assert one.ok.all()
    for other in others:
        np.testing.assert_array_equal(one.x, other.x)
    assert len(np.unique(one.x.reshape(len(THETA), -1)[:, 0])) == len(THETA)


@pytest.mark.parametrize("function", [takes_seed, for_batches, global_numpy])
def test_a_part_of_the_rows_gives_what_all_rows_give(function):
    whole = run(function, batch_size=10)
    everything = whole.collect()
    rows = np.r_[0:10, 30:47]
    part = simulate(whole.simulator, THETA, SEEDS, rows=rows, batch_size=10).collect()
    np.testing.assert_array_equal(part.x[rows], everything.x[rows])
    assert part.counts()["planned"] == len(THETA) - len(rows)


def test_global_generators_are_left_as_they_were():
    import torch

    def draws():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    run(lambda theta: theta + np.random.randn() + random.random() + torch.rand(1).item()).collect()  # noqa: NPY002
    assert draws() == expected


# What is batched -----------------------------------------------------------------------------------------------------


def noise_of_its_own(theta):
    return theta + np.random.randn(*theta.shape)  # noqa: NPY002


def noise_shared(theta):
    return theta + np.random.randn(3)  # noqa: NPY002


def noise_partly_shared(theta):
    return theta + np.random.randn() + np.random.randn(*theta.shape)  # noqa: NPY002


def mean_over_batch(theta):
    return theta - np.mean(theta)


def runs_down_the_wrong_axis(theta):
    return np.cumsum(theta, axis=0)


def reversed_rows(theta):
    return theta[::-1] * 1.0


def linear(theta):
    return theta @ np.arange(12.0).reshape(3, 4)


def swallows_one(theta):
    theta = np.atleast_2d(theta)
    return theta + np.random.randn(*theta.shape)  # noqa: NPY002


def sizes_by_len(theta, rng):
    return theta + rng.normal(size=(len(theta), 3))


def loops(theta):
    time.sleep(0.002 * len(np.atleast_2d(theta)))
    return theta + 1.0


def one_noise_for_a_row_of_a_batch(theta):
    return [random.gauss(value, 1.0) for value in theta]


def scalar(theta):
    return float(np.sum(theta))


def one_number_of_each(theta):
    return theta[:, 0] ** 2


def shares_noise_in_a_batch(theta):
    if np.random.rand() < 2:  # noqa: NPY002
        raise ValueError("never one by one") if theta.ndim == 1 else None
    return theta + np.random.randn(3)  # noqa: NPY002


def fails_for_some(theta, rng):
    """Which takes batches too, and whose first rows fail."""
    if np.ndim(theta) == 1 and theta[0] < np.sort(THETA[:7, 0])[-1] + 1e-9 and (theta == THETA[:7]).all(1).any():
        raise ValueError("one of the first")
    return theta + rng.normal(size=3)


def parameters_by_row(theta, rng):
    return np.outer(theta, [1.0, 2.0]) + rng.normal(size=(3, 2))


BATCHED = [for_batches, one_number_of_each, sizes_by_len]
NOT_BATCHED = [noise_shared, noise_partly_shared, mean_over_batch, runs_down_the_wrong_axis, reversed_rows]
NOT_BATCHED += [loops, scalar, takes_seed, one_noise_for_a_row_of_a_batch, fails_for_some]
NOT_BATCHED += [noise_of_its_own, linear, swallows_one, parameters_by_row]  # which would be quicker as batches


@pytest.mark.parametrize(
    ("function", "batched"),
    [(function, True) for function in BATCHED] + [(function, False) for function in NOT_BATCHED],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_batched_only_where_one_theta_is_refused(function, batched):
    going = run(function)
    outcomes = going.collect()
    assert going.simulator.batched is batched
    assert outcomes.ok.sum() == len(THETA) - (7 if function is fails_for_some else 0)
    expected = {for_batches: (5,), linear: (4,), scalar: (), one_number_of_each: (), takes_seed: (4, 2)}
    expected[parameters_by_row] = (3, 2)
    assert outcomes.x_shape == expected.get(function, (3,))


def test_what_shares_its_noise_within_a_batch_is_no_simulator_for_batches():
    going = run(shares_noise_in_a_batch, max_failures=1000)
    assert (going.collect().status == Status.FAILED).all()
    assert going.simulator.batched is False


@pytest.mark.parametrize("function", [noise_of_its_own, takes_seed, for_batches, swallows_one, fails_for_some])
def test_no_clock_decides_on_numbers(function, monkeypatch):
    """As if it took between no time at all and a minute: the same calls, the same numbers."""
    found = []
    for tick in (0.0, 1e-4, 0.02, 60.0):
        ticks = itertools.count()
        monkeypatch.setattr(time, "perf_counter", lambda ticks=ticks, tick=tick: next(ticks) * tick)
        found.append(run(function, batch_size=10).collect().x)
        monkeypatch.undo()
    for x in found[1:]:
        np.testing.assert_array_equal(x, found[0])


@pytest.mark.parametrize("batched", [None, False])
@pytest.mark.parametrize("known", [None, (3,), (1, 3)])
def test_one_row_for_one_theta_is_that_many_numbers(batched, known):
    going = simulate(Simulator(swallows_one, batched=batched), THETA, SEEDS, x_shape=known)
    outcomes = going.collect()
    assert outcomes.ok.all()
    assert outcomes.x_shape == (known or (3,))  # a run file of before has (1, 3)
    alone = run(noise_of_its_own).collect()
    np.testing.assert_array_equal(outcomes.x.reshape(-1, 3), alone.x)


def test_a_batch_that_was_begun_row_by_row_is_ended_so():
    """The rows of a batch that fails are tried alone, and kept as they come; if the run ends there, it goes on so."""

    def batch(theta, rng):
        if (theta == THETA[13]).all(1).any():
            raise ValueError("thirteen")
        return theta + rng.normal(size=theta.shape)

    simulator = Simulator(batch, batched=True)
    whole = simulate(simulator, THETA, SEEDS, batch_size=10).collect()
    for first in range(11, 20):
        rows = np.arange(first, len(THETA))
        rest = simulate(simulator, THETA, SEEDS, rows=rows, batch_size=10).collect()
        np.testing.assert_array_equal(rest.x[first:], whole.x[first:])


@pytest.mark.parametrize("function", [linear, mean_over_batch, runs_down_the_wrong_axis, reversed_rows])
def test_rows_are_simulated_as_if_alone(function):
    np.testing.assert_allclose(run(function).collect().x, [function(theta) for theta in THETA], rtol=1e-12)


def test_no_call_is_thrown_away_where_one_theta_is_taken():
    calls = []

    def costly(theta, seed):
        calls.append(tuple(theta))
        return theta

    going = run(costly)
    assert going.collect().ok.all()
    assert not going.simulator.batched
    assert calls == [tuple(theta) for theta in THETA]


def test_the_user_decides_what_is_batched():
    shapes = []

    def record(theta):
        shapes.append(theta.shape)
        return theta

    simulate(Simulator(record, batched=True), THETA, SEEDS, batch_size=20).collect()
    assert shapes == [(20, 3), (20, 3), (7, 3)]
    shapes.clear()
    simulate(Simulator(record, batched=False), THETA, SEEDS).collect()
    assert shapes == [(3,)] * len(THETA)


def test_a_batch_is_seeded_by_its_first_row():
    seeds = []

    def record(theta, seed):
        seeds.append(seed)
        return theta

    simulate(Simulator(record, batched=True), THETA, SEEDS, batch_size=20).collect()
    assert seeds == [int(seed) % 2**31 for seed in SEEDS[::20]]


def test_a_key_that_is_text_is_no_jax_key():
    def by_name(theta, key="sum"):
        return {"sum": theta.sum()}[key]

    assert Simulator(by_name).randomness is None


# Kinds, shapes, types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (3, (), np.float64),
        ([1, 2.5], (2,), np.float64),
        (np.zeros((2, 3, 4), np.float32), (2, 3, 4), np.float32),
        (np.zeros(4, np.uint8), (4,), np.float32),
        (True, (), np.float32),
        (torch.ones(2, dtype=torch.bfloat16), (2,), np.float32),
        (jnp.ones(2, jnp.bfloat16), (2,), np.float32),
    ],
)
def test_data_of_any_shape_and_type(value, shape, dtype):
    outcomes = simulate(Simulator(lambda theta: value, batched=False), THETA[:3], SEEDS[:3]).collect()
    assert outcomes.x.shape == (3, *shape)
    assert outcomes.x.dtype == dtype


def test_what_is_masked_is_missing():
    def simulator(theta):
        return np.ma.masked_array(theta, theta > 1.5)

    outcomes = simulate(Simulator(simulator), THETA, SEEDS).collect()
    masked = (THETA > 1.5).any(1)
    assert 0 < masked.sum() < len(THETA)
    np.testing.assert_array_equal(outcomes.status, np.where(masked, Status.INVALID, Status.OK))


@pytest.mark.parametrize("batched", [None, False, True])
def test_a_simulator_may_change_what_it_gets(batched):
    def in_place(theta):
        theta *= 2
        return theta

    outcomes = simulate(Simulator(in_place, batched=batched), THETA, SEEDS, batch_size=10).collect()
    np.testing.assert_array_equal(outcomes.x, 2 * THETA)
    np.testing.assert_array_equal(outcomes.theta, THETA)


def test_a_million_numbers_a_row():
    outcomes = simulate(Simulator(lambda theta: np.full(10**6, theta[0])), THETA[:2], SEEDS[:2]).collect()
    np.testing.assert_array_equal(outcomes.x[:, -1], THETA[:2, 0])


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_the_simulator_gets_arrays_of_its_kind(library):
    module = pytest.importorskip(library)
    seen = []

    def record(theta):
        seen.append(type(theta))
        return theta * 2

    outcomes = simulate(Simulator(record, Kind(library, "float32")), THETA, SEEDS).collect()
    array = {"numpy": "ndarray", "torch": "Tensor", "jax": "Array"}[library]
    assert all(issubclass(found, getattr(module, array)) for found in seen)
    np.testing.assert_array_equal(outcomes.x, 2 * THETA.astype(np.float32))


def test_no_rows_no_calls():
    outcomes = simulate(Simulator(lambda theta: 1 / 0), THETA[:0], SEEDS[:0]).collect()
    assert len(outcomes) == 0
    assert outcomes.x_shape is None


# Outcomes ------------------------------------------------------------------------------------------------------------


def test_outcomes_given_from_elsewhere():
    outcomes = Outcomes.given(THETA[:4], [[1.0, 2], [np.nan, 2], [3, 4], [5, np.inf]], {2: "node lost"}, worker="hpc")
    assert outcomes.status.tolist() == [Status.OK, Status.INVALID, Status.FAILED, Status.INVALID]
    assert outcomes.error.tolist() == ["", "", "node lost", ""]
    assert np.isnan(outcomes.x[2]).all()
    assert outcomes.counts() == {"planned": 0, "ok": 1, "invalid": 2, "failed": 1, "timed_out": 0}
    assert outcomes[1:3].error.tolist() == ["", "node lost"]


def test_messages_about_arguments():
    with pytest.raises(ArgumentError, match=r"must be a function.*found str.*homing.command"):
        Simulator("./simulate")
    with pytest.raises(ShapeError, match=r"theta must have shape \(n, d\) and seeds \(n,\), found \(3,\) and \(47,\)"):
        simulate(Simulator(scalar), THETA[0], SEEDS)
    with pytest.raises(ArgumentError, match="num_workers must be a positive integer, found 0"):
        simulate(Simulator(scalar), THETA, SEEDS, num_workers=0)
    with pytest.raises(ArgumentError, match=r"batched must be True, if .* or None to find out, found 'yes'"):
        Simulator(scalar, batched="yes")
    for wrong in ({"timeout": 0}, {"timeout": "3"}, {"batch_size": 10.5}, {"batch_size": 0}, {"max_failures": 0}):
        ((name, value),) = wrong.items()
        with pytest.raises(ArgumentError, match=f"must be positive whole numbers, .*{name}={value!r}"):
            simulate(Simulator(scalar), THETA, SEEDS, **wrong)
    with pytest.raises(ArgumentError, match=r"executor must be a concurrent.futures.Executor.*found int"):
        simulate(Simulator(scalar), THETA, SEEDS, executor=4)
    with pytest.raises(ShapeError, match=r"found theta \(47, 3\) and x \(2,\)"):
        Outcomes.given(THETA, [1.0, 2.0])


def test_a_worker_loads_little():
    code = "import sys, homing.simulation.engines, homing.simulation.task; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "torch", "scipy", "matplotlib", "pandas", "xarray", "loky", "tqdm"} & set(modules)

"""Driving rounds: both published ways, the loss that follows from the proposals, and what is kept, counted and said."""

import copy
import dataclasses
import pickle
import re
import threading
import warnings
from importlib import import_module
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
import torch

from homing.errors import ArgumentError
from homing.inference import APT, NPE, SNPE, SNPE_C, RoundRecord, Rounds, infer, prepare_for_sbi, simulate_for_sbi
from homing.posteriors import Boundary, DirectPosterior
from homing.posteriors.ensemble import _density, _draw
from homing.training import Atomic
from homing.utils import BoxUniform
from homing.utils.get_nn_models import posterior_nn
from learning import PRIORS

fitting, learning = import_module("homing.training.fit"), import_module("homing.inference.learn")
WIDE = BoxUniform([-2.0, -2.0], [2.0, 2.0])
X_O = [0.5, -0.5]


def simulator(theta, rng):
    return theta + 0.3 * rng.standard_normal(theta.shape)


def start(simulator=simulator, prior=WIDE, **options):
    return SNPE(simulator, prior, **{"seed": 1, "batched": True, "show_progress_bars": False, **options})


def one_round(inference, num_simulations=100, proposal=None, **training):
    return inference(num_simulations, proposal, **{"max_num_epochs": 1, **training})


@pytest.fixture
def fits(monkeypatch):
    """A list of what `fit` was called with: (rows, is_validation, loss)."""
    calls, fit = [], learning.fit

    def spy(members, rows, is_validation, loss, *rest):
        calls.append((rows, is_validation, loss))
        return fit(members, rows, is_validation, loss, *rest)

    monkeypatch.setattr(learning, "fit", spy)
    return calls


# The published tutorial, whose posterior is normal with mean -1 and standard deviation 0.1


def in_numpy(theta, rng):
    return theta + 1.0 + 0.1 * rng.standard_normal(theta.shape)


def in_torch(theta):
    return theta + 1.0 + torch.randn_like(theta) * 0.1


def in_jax(theta, key):
    return theta + 1.0 + 0.1 * jax.random.normal(key, theta.shape)


LIBRARIES = {
    "numpy": (np.ones, np.ndarray, in_numpy),
    "torch": (torch.ones, torch.Tensor, in_torch),
    "jax": (jnp.ones, jax.Array, in_jax),
}


def check_tutorial(posterior, kind):
    samples = posterior.sample((2000,))
    assert isinstance(samples, kind)
    assert samples.shape == (2000, 3)
    array = np.asarray(samples)
    assert (np.abs(array) <= 2).all()
    assert np.abs(array.mean(0) + 1).max() < 0.1
    assert np.abs(array.std(0) - 0.1).max() < 0.05
    log_prob = posterior.log_prob(samples[:10])
    assert isinstance(log_prob, kind)
    assert log_prob.shape == (10,)
    assert "(multi-round). Evaluates and samples by default at x=[[0.0, 0.0, 0.0]].\n\n" in str(posterior)


@pytest.mark.parametrize(
    "library", ["numpy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("torch", "jax"))]
)
def test_the_tutorial_by_calls(library):
    ones, kind, function = LIBRARIES[library]
    simulator, prior = prepare_for_sbi(function, BoxUniform(low=-2 * ones(3), high=2 * ones(3)))
    inference = SNPE(simulator, prior, seed=1, show_progress_bars=False)
    posteriors, proposal = [], None
    for _ in range(2):
        posterior = inference(num_simulations=500, proposal=proposal)
        posteriors.append(posterior)
        proposal = posterior.set_default_x(0 * ones(3))
    check_tutorial(posterior, kind)
    assert "(amortized)" in str(posteriors[0])
    assert [record.loss for record in inference.rounds] == ["maximum likelihood", "atomic"]


@pytest.mark.parametrize("library", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_the_tutorial_by_steps(library):
    ones, kind, function = LIBRARIES[library]
    simulator, prior = prepare_for_sbi(function, BoxUniform(low=-2 * ones(3), high=2 * ones(3)))
    inference = SNPE(prior=prior, seed=1, show_progress_bars=False)
    proposal = prior
    for round in range(2):
        theta, x = simulate_for_sbi(simulator, proposal, num_simulations=500, seed=round, show_progress_bar=False)
        assert isinstance(theta, kind)
        assert isinstance(x, kind)
        estimator = inference.append_simulations(theta, x, proposal=proposal).train()
        posterior = inference.build_posterior(estimator)
        proposal = posterior.set_default_x(0 * ones(3))
    check_tutorial(posterior, kind)
    assert [record.proposal for record in inference.rounds] == ["prior", "posterior"]


# Repeatable


def run_two_rounds(**options):
    inference = start(**options)
    posterior = one_round(inference, max_num_epochs=4).set_default_x(X_O)
    posterior = one_round(inference, proposal=posterior, max_num_epochs=4)
    return posterior.sample((50,)), posterior.log_prob([[0.0, 0.0]]), inference.rounds[1].validation_loss


def test_the_numbers_depend_on_the_seed_alone(capsys):
    once = run_two_rounds()
    for a, b in zip(once, run_two_rounds(num_workers=2, show_progress_bars=True)):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(once[0], run_two_rounds(seed=2)[0])


@pytest.mark.parametrize(("ones", "seed"), [(np.ones, np.random.seed), (torch.ones, torch.manual_seed)])
def test_without_a_seed_the_librarys_global_one_decides(ones, seed):
    prior = BoxUniform(-2 * ones(2), 2 * ones(2))
    seeds = []
    for value in (3, 3, 4):
        seed(value)
        seeds.append(SNPE(prior=prior).seed)
    assert seeds[0] == seeds[1] != seeds[2]


def test_drawing_from_a_posterior_does_not_change_what_follows():
    draws = []
    for meddle in (False, True):
        inference = start()
        posterior = one_round(inference).set_default_x(X_O)
        if meddle:
            posterior.sample((10,))
            posterior.map()
            np.random.seed(7)  # noqa: NPY002
        draws.append(one_round(inference, proposal=posterior).sample((10,)))
    np.testing.assert_array_equal(*draws)


# What is printed


def test_the_published_texts(capsys):
    inference = start(show_progress_bars=True)
    posterior = inference(500, stop_after_epochs=1).set_default_x(X_O)
    captured = capsys.readouterr()
    assert "Running 500 simulations.: 100%" in captured.err
    epochs = inference.rounds[0].epochs
    assert f"Neural network successfully converged after {epochs} epochs." in captured.out
    assert "Using SNPE-C" not in captured.out
    inference(500, proposal=posterior, max_num_epochs=2)
    captured = capsys.readouterr()
    assert "Drawing 500 posterior samples: 100%" in captured.err
    assert "Running 500 simulations.: 100%" in captured.err
    assert "Using SNPE-C with atomic loss" in captured.out
    assert "Neural network trained for 2 epochs, the most it was allowed (max_num_epochs)." in captured.out


def test_silence_without_bars(capsys):
    inference = start()
    posterior = one_round(inference).set_default_x(X_O)
    one_round(inference, proposal=posterior).sample((10,))
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_rounds_print_as_a_table():
    inference = start()
    assert len(inference.rounds) == 0
    one_round(inference, proposal=one_round(inference).set_default_x(X_O))
    rounds = inference.rounds
    header, *lines = str(rounds).splitlines()
    assert header.split()[:4] == ["round", "proposal", "simulations", "valid"]
    assert [line.split()[:4] for line in lines] == [["1", "prior", "100", "100"], ["2", "posterior", "100", "100"]]
    assert {len(line) for line in lines} == {len(header)}
    assert isinstance(rounds[:1], Rounds)
    assert rounds[1].seconds.keys() >= {"sample", "simulate", "train"}
    assert rounds[1].as_dict()["loss"] == "atomic"
    assert repr(rounds) == str(rounds)


def test_a_wide_table_goes_on_below_itself():
    wide = RoundRecord(1, "truncated", 500, 498, loss="maximum likelihood", epochs=100, validation_loss=-1.5,
                       volume=0.5, effective=3.0, used=400, gain=0.1, agreement=0.9, boundary_mass=0.0)  # fmt: skip
    rounds = Rounds([wide, dataclasses.replace(wide, round=2, asked=50)])
    blocks = [block.splitlines() for block in str(rounds).split("\n\n")]
    assert len(blocks) == 2
    assert max(len(line) for block in blocks for line in block) <= 120
    parts = [[re.split(" {2,}", line.strip()) for line in block] for block in blocks]
    assert [row[0] for row in parts[1]] == ["round", "1", "2"]
    assert [[*first, *then[1:]] for first, then in zip(*parts, strict=True)] == rounds.table()


# The loss follows from what the proposals are


class OwnPrior:
    """The same uniform distribution, as somebody else's object."""

    def sample(self, shape):
        return np.random.uniform(-2, 2, (*shape, 2))  # noqa: NPY002

    def log_prob(self, theta):
        return np.where((np.abs(theta) <= 2).all(-1), -np.log(16.0), -np.inf)


@pytest.mark.parametrize(
    "proposal",
    [
        None,
        WIDE,
        BoxUniform(torch.tensor([-2.0, -2.0]), torch.tensor([2.0, 2.0])),
        [st.uniform(-2, 4), st.uniform(-2, 4)],
        torch.distributions.Independent(torch.distributions.Uniform(-2 * torch.ones(2), 2 * torch.ones(2)), 1),
        prepare_for_sbi(simulator, [st.uniform(-2, 4), st.uniform(-2, 4)])[1],
        OwnPrior(),
    ],
    ids=["none", "itself", "torch box", "list", "torch", "prepared", "object"],
)
def test_an_equal_prior_is_the_prior(proposal):
    inference = start()
    one_round(inference)
    posterior = one_round(inference, proposal=proposal)
    assert [record.loss for record in inference.rounds] == ["maximum likelihood"] * 2
    assert [record.proposal for record in inference.rounds] == ["prior"] * 2
    assert not posterior.multi_round


def test_prior_rounds_may_come_after_others():
    inference = start()
    posterior = one_round(inference).set_default_x(X_O)
    one_round(inference, proposal=posterior)
    later = one_round(inference)
    assert [record.loss for record in inference.rounds] == ["maximum likelihood", "atomic", "atomic"]
    assert [record.proposal for record in inference.rounds] == ["prior", "posterior", "prior"]
    assert later.multi_round
    assert later.default_x.tolist() == [X_O]


def test_any_distribution_may_propose():
    inference = start()
    posterior = one_round(inference, proposal=[st.truncnorm(-1, 1), st.uniform(-1, 1)])
    assert [(record.loss, record.proposal) for record in inference.rounds] == [("atomic", "density")]
    assert posterior.multi_round
    assert posterior.default_x is None


@pytest.mark.parametrize(
    ("estimator", "prior", "loss"),
    [
        ("mdn", "box", "non-atomic"),
        ("mdn", "normal", "non-atomic"),
        ("mdn", "correlated normal", "non-atomic"),
        ("mdn", "half-bounded", "non-atomic"),  # its map to a normal is exact too
        pytest.param("mdn", "roughly normal", "atomic", marks=pytest.mark.slow),
        ("maf", "box", "atomic"),
        ("maf", "roughly normal", "atomic"),
    ],
)
def test_mixtures_under_a_prior_that_maps_to_a_normal_need_no_atoms(estimator, prior, loss):
    inference = start(prior=PRIORS[prior], density_estimator=estimator)
    x_o = inference.prior.from_normal(np.zeros((1, 2)))
    posterior = one_round(inference).set_default_x(x_o)
    posterior = one_round(inference, proposal=posterior)
    one_round(inference, proposal=posterior)
    assert [record.loss for record in inference.rounds] == ["maximum likelihood", loss, loss]
    assert np.isfinite([record.validation_loss for record in inference.rounds]).all()


@pytest.mark.slow
def test_a_mixture_needs_atoms_where_a_proposal_was_none():
    flow = one_round(start()).set_default_x(X_O)
    inference = start(density_estimator="mdn")
    mixture = one_round(inference, proposal=flow).set_default_x(X_O)
    one_round(inference, proposal=mixture)
    assert [record.loss for record in inference.rounds] == ["atomic", "atomic"]


def test_the_proposal_is_the_posterior_at_the_x_it_had_then():
    inference = start()
    posterior = one_round(inference, max_num_epochs=60).set_default_x([1.0, 1.0])
    theta = posterior.sample((100,))
    inference.append_simulations(theta, simulator(theta, np.random.default_rng(0)), proposal=posterior)
    posterior.set_default_x([-1.0, -1.0])
    inference.train(max_num_epochs=1)
    assert inference.build_posterior().default_x.tolist() == [[1.0, 1.0]]


def test_a_posterior_keeps_working_after_later_rounds():
    inference = start()
    first = one_round(inference).set_default_x(X_O)
    theta, before = [[0.4, -0.4]], str(first)
    density, twin = first.log_prob(theta), inference.build_posterior()
    one_round(inference, proposal=first, max_num_epochs=10)
    assert first.log_prob(theta) == density
    assert str(first) == before
    np.testing.assert_array_equal(first.sample((20,)), twin.sample((20,), X_O))
    assert inference.build_posterior().log_prob(theta) != density


# Rows


def test_validation_rows_stay_validation_rows_for_life(fits):
    inference = start()
    proposal = None
    for fraction in (0.1, 0.3, 0.2):
        posterior = one_round(inference, proposal=proposal, validation_fraction=fraction)
        proposal = posterior.set_default_x(X_O)
    inference.train(max_num_epochs=1, validation_fraction=0.5, retrain_from_scratch=True)
    roles = [dict(zip(map(tuple, rows.z.tolist()), is_validation[0])) for rows, is_validation, _ in fits]
    assert [len(role) for role in roles] == [100, 200, 300, 300]
    for earlier, later in pairwise(roles):
        assert all(later[z] == role for z, role in earlier.items())
    shares = [[sum(is_validation[0][100 * r : 100 * r + 100]) for r in range(3)] for _, is_validation, _ in fits]
    assert shares == [[10, 0, 0], [10, 30, 0], [10, 30, 20], [10, 30, 20]]


@pytest.mark.parametrize("epochs", [1, 3, 40])
def test_as_many_epochs_as_allowed(epochs):
    inference = start()
    one_round(inference, max_num_epochs=epochs, stop_after_epochs=1000)
    assert inference.rounds[0].epochs == epochs
    assert not inference.rounds[0].converged


def sometimes_bad(theta, rng):
    x = simulator(theta, rng)
    x[::10, 0] = np.nan
    x[5::20, 1] = -np.inf
    return x


def test_bad_simulations_are_left_out_counted_and_said_once(fits):
    inference = start(sometimes_bad)
    with pytest.warns(
        UserWarning, match=r"15 of 100 simulations of round 1 gave no finite data \(15 NaN or infinite, 0 failed"
    ) as caught:
        posterior = one_round(inference).set_default_x(X_O)
    assert [warning.filename for warning in caught if "finite data" in str(warning.message)] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_round(inference, proposal=posterior)
    assert [(record.asked, record.valid, record.invalid) for record in inference.rounds] == [(100, 85, 15)] * 2
    assert [len(rows.z) for rows, *_ in fits] == [85, 170]
    assert all(np.isfinite(rows.x).all() for rows, *_ in fits)


def test_bad_rows_that_are_appended():
    theta = np.random.default_rng(0).uniform(-2, 2, (100, 2))
    x = sometimes_bad(theta, np.random.default_rng(1))
    inference = start(None)
    with pytest.warns(UserWarning, match="15 of 100 simulations of round 1 gave no finite data"):
        inference.append_simulations(theta, x)
    inference.train(max_num_epochs=1)
    assert inference.rounds[0].valid == 85


def test_failed_simulations_are_counted():
    def fails(theta, rng):
        if theta[0] > 1:
            raise ValueError("too large")
        return simulator(theta, rng)

    inference = start(fails, batched=False)
    with pytest.warns(
        UserWarning,
        match=r"\(0 NaN or infinite, \d+ failed, 0 timed out; the first error: ValueError: too large\)",
    ):
        one_round(inference)
    (record,) = inference.rounds
    assert 10 < record.failed < 40
    assert record.valid == 100 - record.failed


def test_the_options_reach_the_training(fits):
    inference = start()
    posterior = one_round(inference).set_default_x(X_O)
    one_round(inference, proposal=posterior, num_atoms=4, use_combined_loss=True, clip_max_norm=None)
    one_round(inference, proposal=posterior, discard_prior_samples=True)
    (_, _, first), (_, _, second), (rows, _, third) = fits
    assert first.name == "maximum likelihood"
    assert second == Atomic(4, combined=True)
    assert third == Atomic()
    assert len(rows.z) == 200
    assert (rows.source > 0).all()


def test_prior_rows_are_kept_where_there_are_no_others(fits):
    one_round(start(), discard_prior_samples=True)
    assert len(fits[0][0].z) == 100


def test_warm_and_fresh_starts():
    inference = start()
    first = one_round(inference, max_num_epochs=30).ensemble
    warm = inference.append_simulations(np.zeros((10, 2)), np.zeros((10, 2))).train(max_num_epochs=1)
    fresh = inference.train(max_num_epochs=1, retrain_from_scratch=True)
    assert warm.standardize is first.standardize
    assert fresh.standardize is not first.standardize


# Compiled once


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["maf", "mdn"])
def test_ten_growing_rounds_compile_a_handful_of_programs(estimator):
    programs = [fitting._advance, _draw, _density]
    inference = start(density_estimator=posterior_nn(estimator, hidden_features=21))  # nobody else's
    before = [program.num_traces for program in programs]
    proposal = None
    for round in range(10):
        posterior = one_round(inference, 90 + 10 * round, proposal)
        proposal = posterior.set_default_x(X_O)
        posterior.log_prob(posterior.sample((10 + round,)))
    assert sum(record.valid for record in inference.rounds) == 1350
    after = [program.num_traces for program in programs]
    # To learn from the prior, from up to 1024 rows of proposals, and from up to 4096; to draw; to evaluate.
    assert [b - a for a, b in zip(before, after)] == [3, 1, 1]


# Data, embeddings, 64 bits


@pytest.mark.parametrize("shape", [*(pytest.param(shape, marks=pytest.mark.slow) for shape in ((), (1,))), (2, 3)])
def test_data_of_any_shape(shape):
    def simulate(theta, rng):
        return theta.sum() + 0.1 * rng.standard_normal(shape)

    inference = start(simulate, batched=False)
    posterior = one_round(inference)
    x_o = np.zeros(shape)
    assert posterior.sample((5,), x=x_o).shape == (5, 2)
    assert posterior.sample((5,), x=x_o[None]).shape == (5, 2)
    assert posterior.set_default_x(x_o).default_x.shape == (1, *(shape or (1,)))


def test_integers_and_single_precision_are_data():
    for dtype in (np.int64, np.float32, np.uint8, bool):
        inference = start(lambda theta, rng, dtype=dtype: (10 + 3 * simulator(theta, rng)).astype(dtype))
        assert one_round(inference).sample((5,), x=[10, 10]).shape == (5, 2)


@pytest.mark.slow
def test_an_embedding_with_weights_is_trained_in_every_round():
    net = eqx.nn.MLP(2, 4, 8, 1, key=jax.random.key(0))
    inference = start(density_estimator=posterior_nn("mdn", hidden_features=8, num_components=2, embedding_net=net))
    nets = [net]
    for _ in range(2):
        (member,) = one_round(inference, max_num_epochs=3).ensemble.members
        nets.append(member.embedding)
    weights = [jax.tree.leaves(eqx.filter(each, eqx.is_inexact_array)) for each in nets]
    for before, first, second in zip(*weights):
        for one, two in ((before, first), (before, second), (first, second)):
            assert not np.array_equal(one, two)


def test_an_embedding_without_batch_dimension_sees_one_x():
    shapes = []

    def embed(x):
        shapes.append(x.shape)
        return x.mean(axis=1)

    inference = start(
        lambda theta, rng: theta[:, None] + rng.standard_normal((len(theta), 3, 2)),
        density_estimator=posterior_nn("mdn", hidden_features=8, num_components=2, embedding_net=embed),
    )
    one_round(inference)
    assert set(shapes) == {(3, 2)}


def test_under_64_bits():
    with jax.enable_x64(True):
        prior = BoxUniform(-2 * jnp.ones(2), 2 * jnp.ones(2))
        inference = SNPE(lambda theta, key: theta, prior, seed=1, show_progress_bars=False)
        posterior = one_round(inference).set_default_x(X_O)
        posterior = one_round(inference, proposal=posterior)
        draws = posterior.sample((10,))
        assert draws.dtype == posterior.log_prob(draws).dtype == posterior.map().dtype == np.float64
        assert jnp.ones(1).dtype == np.float64


# The audit of the bounds


@pytest.fixture
def piled(monkeypatch):
    monkeypatch.setattr(
        DirectPosterior, "boundary", lambda self, x=None: Boundary(0.12, True, "theta[1] at its upper bound")
    )


def test_mass_piled_up_by_atoms_is_recorded_and_said(piled):
    inference = start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # maximum likelihood sees all mass
        posterior = one_round(inference).set_default_x(X_O)
    with pytest.warns(
        UserWarning,
        match=r"12\.0% of the posterior's mass is piled up .* for theta\[1\] at its upper bound\. The atomic loss",
    ) as caught:
        one_round(inference, proposal=posterior)
    assert [warning.filename for warning in caught if "piled" in str(warning.message)] == [__file__]
    assert [record.boundary_mass for record in inference.rounds] == [pytest.approx(0.12)] * 2


def test_an_honest_posterior_at_a_bound_is_recorded_and_not_said():
    inference = start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = inference(300).set_default_x([2.1, 0.0])
        inference(300, proposal=posterior)
    assert inference.rounds[1].boundary_mass > 0.02


def test_data_that_none_could_observe_are_learned_from_and_not_conditioned_on(fits):
    """Finite, as float64, and too large for an x_o: held-out ones are not what the bounds are looked at for."""

    def explodes(theta, rng):
        return np.exp(80 * simulator(theta, rng))

    inference = start(explodes)
    posterior = one_round(inference)
    (rows, *_), (record,) = fits[0], inference.rounds
    assert record.valid == len(rows.x) == 100
    assert np.isfinite(rows.x).all()
    assert 0 <= record.boundary_mass <= 1
    assert np.isfinite(posterior.sample((50,), x=[1.0, 1.0])).all()
    inference = start(lambda theta: 1e100 * (1 + theta**2))
    one_round(inference)
    assert inference.rounds[0].boundary_mass is None


# The other doors


def test_one_line():
    posterior = infer(
        simulator, WIDE, method="NPE", num_simulations=100, seed=1, batched=True, show_progress_bars=False
    )
    assert not posterior.multi_round
    assert posterior.sample((5,), x=X_O).shape == (5, 2)


def test_other_names():
    assert SNPE_C is APT is NPE is SNPE
    inference = SNPE(WIDE)  # the prior alone, as published since 2020
    assert inference.prior.dim == 2


def test_prepared_objects_can_be_called_by_hand():
    simulate, prior = prepare_for_sbi(simulator, [st.norm(0, 1), st.gamma(2.0)])
    assert simulate(prior.sample((7,))).shape == (7, 2)
    assert simulate(prior.sample()).shape == (1, 2)
    assert prior.sample(3).shape == (3, 2)
    assert prior.log_prob(prior.sample((4,))).shape == (4,)
    assert prior.log_prob([[0.0, -1.0]]).tolist() == [-np.inf]
    assert "norm" in repr(prior)
    again, same = prepare_for_sbi(simulate, prior)
    assert again(same.sample((2,))).shape == (2, 2)
    assert prepare_for_sbi(simulator, WIDE)[1] is WIDE


def test_simulating_outside_of_a_run():
    theta, x = simulate_for_sbi(simulator, WIDE, 50, seed=3, show_progress_bar=False)
    again = simulate_for_sbi(simulator, WIDE, 50, seed=3, show_progress_bar=False)
    assert theta.shape == x.shape == (50, 2)
    np.testing.assert_array_equal(theta, again[0])
    np.testing.assert_array_equal(x, again[1])


def test_an_estimator_of_an_earlier_round_can_be_built_again():
    inference = start()
    first = one_round(inference).set_default_x(X_O)
    one_round(inference, proposal=first)
    again = inference.build_posterior(first.ensemble)
    assert again.log_prob([[0.0, 0.0]], X_O) == first.log_prob([[0.0, 0.0]])


def test_a_builder_of_ones_own():
    calls = []

    def builder(z, x, rng, min_precision):
        calls.append((z.shape, x.shape, min_precision))
        return posterior_nn("maf")(z, x, rng, min_precision)

    assert one_round(start(density_estimator=builder)).sample((5,), x=X_O).shape == (5, 2)
    assert calls == [((90, 2), (90, 2), 1.0)]


# Pickled -------------------------------------------------------------------------------------------------------------

COPIES = {"pickle": lambda inference: pickle.loads(pickle.dumps(inference)), "copy": copy.copy, "deep": copy.deepcopy}


@pytest.mark.parametrize("how", COPIES)
def test_an_inference_object_in_memory_is_pickled_and_copied(how):
    """With a simulator that pickle itself would refuse; the copy goes on as the first would, and apart from it."""
    inference = start(lambda theta, rng: simulator(theta, rng))
    theta, x = simulate_for_sbi(simulator, WIDE, 30, seed=1, show_progress_bar=False)
    inference.append_simulations(theta, x)
    second = COPIES[how](inference)
    ids, theta = second.ask(5)
    assert len(inference.rounds) == 1
    again, expected = inference.ask(5)
    np.testing.assert_array_equal(theta, expected)
    assert ids.tolist() == again.tolist()


@pytest.mark.parametrize("how", COPIES)
def test_what_cannot_be_pickled_says_why(how, tmp_path):
    inference = start(store=tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"run has one writer.*homing.open\('.*run'\)"):
        COPIES[how](inference)
    inference.close()
    lock = threading.Lock()
    with pytest.raises(ArgumentError, match=r"cannot be pickled or copied: .*lock"):
        COPIES[how](start(lambda theta: (lock, theta)[1]))

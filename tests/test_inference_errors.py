"""What inference refuses: each message says what was expected, what was found and what to do, and nothing is lost."""

import numpy as np
import pytest
import scipy.stats as st
import torch

from homing.errors import ArgumentError, NotTrainedError, ObservationError, PriorError, ShapeError, SimulationError
from homing.inference import SNPE, infer, prepare_for_sbi, simulate_for_sbi
from homing.utils import BoxUniform

BOX = BoxUniform([-2.0, -2.0], [2.0, 2.0])


def simulator(theta, rng):
    return theta + 0.3 * rng.standard_normal(theta.shape)


def start(simulator=simulator, prior=BOX, **options):
    return SNPE(simulator, prior, **{"seed": 1, "batched": True, "show_progress_bars": False, **options})


def trained(**options):
    return start(**options)(100, max_num_epochs=1)


THETA = np.random.default_rng(0).uniform(-2, 2, (100, 2))


# Making it


def test_no_prior():
    with pytest.raises(PriorError, match=r"A prior is needed: SNPE\(simulator, prior\), or SNPE\(prior=prior\)"):
        SNPE(simulator)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", True])
def test_seeds_that_are_none(seed):
    with pytest.raises(ArgumentError, match="seed must be a whole number, zero or larger, or None, found"):
        start(seed=seed)


def test_estimators_that_are_none():
    with pytest.raises(ArgumentError, match="model must be one of 'maf', 'nsf', 'mdn', 'cnf', found 'flow'"):
        start(density_estimator="flow")
    with pytest.raises(ArgumentError, match='density_estimator must be "maf", "nsf", "mdn", or a builder, found 7'):
        start(density_estimator=7)


def test_a_prior_whose_sample_and_log_prob_do_not_fit():
    class Prior:
        def sample(self, shape):
            return np.random.uniform(size=(*shape, 2))  # noqa: NPY002

        def log_prob(self, theta):
            return np.zeros(theta.shape)  # one for each parameter

    with pytest.raises(PriorError, match="log_prob"):
        start(prior=Prior())


def test_a_simulator_that_is_none():
    for make in (lambda: start(simulator=3), lambda: prepare_for_sbi(3, BOX)):
        with pytest.raises(
            ArgumentError, match="The simulator must be a function that takes theta and returns data, found int"
        ):
            make()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda theta, r: theta, r"named seed, rng or key; found \(theta, r\): missing a required argument: 'r'\."),
        (lambda a, b, rng: a + b, r"found \(a, b, rng\): missing a required argument: 'b'"),
        (lambda: 1.0, r"found \(\): too many positional arguments"),
    ],
)
def test_a_simulator_that_cannot_be_called_with_theta(function, message):
    with pytest.raises(ArgumentError, match="The simulator is called with theta, and .*" + message):
        start(simulator=function)


def test_methods_that_are_none():
    with pytest.raises(ArgumentError, match=r"method must be one of SNPE, .*, BNRE, found 'ABC'"):
        infer(simulator, BOX, method="ABC")


# Calling it


@pytest.mark.parametrize("count", [0, -5, 2.5, "many", None, True])
def test_counts_that_are_none(count):
    message = "num_simulations must be a positive whole number, found"
    inference = start()
    with pytest.raises(ArgumentError, match=message):
        inference(count)
    with pytest.raises(ArgumentError, match=message):
        simulate_for_sbi(simulator, BOX, count)
    assert len(inference.rounds) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_atoms": 1}, "num_atoms must be a whole number of at least 2, found 1"),
        ({"training_batch_size": 0}, "training_batch_size must be a whole number of at least 1, found 0"),
        ({"stop_after_epochs": 0}, "stop_after_epochs must be a whole number of at least 1, found 0"),
        ({"max_num_epochs": 0}, "max_num_epochs must be a whole number of at least 1, found 0"),
        ({"max_num_epochs": True}, "max_num_epochs must be a whole number of at least 1, found True"),
        ({"max_num_epochs": 2.5}, "max_num_epochs must be a whole number of at least 1, found 2.5"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, found 0.0"),
        ({"learning_rate": np.nan}, "learning_rate must be positive, found nan"),
        ({"validation_fraction": 0.0}, "validation_fraction must be between 0 and 1, found 0.0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be between 0 and 1, found 1.0"),
        ({"clip_max_norm": -1.0}, "clip_max_norm must be positive or None, found -1.0"),
        ({"batch_size": 10}, r"Unknown training option batch_size\. Known are: num_atoms, training_batch_size,"),
        ({"a": 1, "b": 2}, r"Unknown training option a, b\. Known are"),
    ],
)
def test_training_options_that_cannot_work(option, message):
    inference = start()
    with pytest.raises(ArgumentError, match=message):
        inference(100, **option)
    assert len(inference.rounds) == 0  # nothing was simulated for nothing
    with pytest.raises(ArgumentError, match=message):
        inference.append_simulations(THETA, THETA).train(**option)


def test_no_simulator_to_call():
    with pytest.raises(
        ArgumentError, match=r"There is no simulator to call: give one, SNPE\(simulator, prior\), or append"
    ):
        start(None)(100)


def test_training_before_there_is_data():
    with pytest.raises(NotTrainedError, match="There are no simulations to learn from: append_simulations"):
        start().train()


def test_a_posterior_before_training():
    inference = start().append_simulations(THETA, THETA)
    with pytest.raises(
        NotTrainedError, match=r"Nothing was trained yet: call the inference object, or append_simulations"
    ):
        inference.build_posterior()


# Proposals


def test_a_posterior_without_x_is_no_proposal():
    with pytest.raises(
        ObservationError, match=r"can only be a proposal at one observation: call posterior.set_default_x\(x_o\) first"
    ):
        start()(100, proposal=trained())


def test_proposals_of_another_dimension():
    inference = start()
    for proposal in (BoxUniform([0.0], [1.0]), [st.norm()] * 3):
        with pytest.raises(ArgumentError, match=r"The proposal has [13] parameters and the prior 2"):
            inference(100, proposal=proposal)
    other = trained().set_default_x([0.0, 0.0])
    with pytest.raises(ArgumentError, match="The proposal has 2 parameters and the prior 1"):
        start(prior=BoxUniform([-2.0], [2.0]))(100, proposal=other)


def test_a_posterior_under_another_prior_is_no_proposal():
    other = trained(prior=BoxUniform([-5.0, -2.0], [5.0, 2.0])).set_default_x([0.0, 0.0])
    with pytest.raises(
        ArgumentError,
        match=r"under the prior it was learned with, uniform on low=\[-5, -2\].* found uniform on low=\[-2, -2\]",
    ):
        start()(100, proposal=other)


def test_proposals_that_reach_outside_the_prior():
    inference = start()
    with pytest.raises(
        ArgumentError,
        match=r"\d+ of 100 draws of the proposal lie outside the prior's support, the first is \[.*\]\. Cut",
    ):
        inference(100, proposal=[st.norm(0, 3), st.norm(0, 1)])
    assert len(inference.rounds) == 0
    inference(100, proposal=[st.norm(0, 0.2), st.norm(0, 0.2)], max_num_epochs=1)  # which does not, in practice
    assert inference.rounds[0].valid == 100


def test_bounds_may_differ_in_their_last_digits():
    low, high = [-0.1, -0.3], [0.1, 0.7]
    narrow = BoxUniform(torch.tensor(low), torch.tensor([0.1, 0.3]))  # -0.1 is not the same number in float32
    start(prior=BoxUniform(low, high))(100, proposal=narrow, max_num_epochs=1)


@pytest.mark.parametrize("proposal", [3, "prior", np.zeros((100, 2))])
def test_proposals_that_are_none(proposal):
    with pytest.raises(
        ArgumentError, match="proposal must be None, a posterior, or a distribution over theta: A prior must be"
    ):
        start()(100, proposal=proposal)


# Appending


@pytest.mark.parametrize(
    ("theta", "x", "message"),
    [
        (THETA[:, :1], THETA, r"theta must have shape \(n, 2\), one row a simulation, found \(100, 1\)"),
        (THETA[0], THETA, r"theta must have shape \(n, 2\), one row a simulation, found \(2,\)"),
        (THETA, THETA[:99], r"x must have one entry for each of the 100 rows of theta, found shape \(99, 2\)"),
        (THETA, 3.0, r"x must have one entry for each of the 100 rows of theta, found shape \(\)"),
        (THETA[:0], THETA[:0], r"At least one simulation .* found theta of shape \(0, 2\) and x of shape \(0, 2\)"),
        (THETA, THETA[:, :0], r"At least one simulation with at least one number as data .* x of shape \(100, 0\)"),
    ],
)
def test_shapes_that_do_not_fit(theta, x, message):
    inference = start()
    with pytest.raises(ShapeError, match=message):
        inference.append_simulations(theta, x)
    assert len(inference.rounds) == 0


def test_theta_outside_the_prior():
    theta = THETA.copy()
    theta[[7, 9], 1] = 2.5
    with pytest.raises(
        ArgumentError,
        match=r"2 of 100 rows of theta lie outside the prior's support, the first is row 7: .*2\.5\]\. .* leave them",
    ):
        start().append_simulations(theta, theta)
    theta[7, 1] = np.nan
    with pytest.raises(ArgumentError, match="lie outside the prior's support"):
        start().append_simulations(theta, theta)


def test_arrays_that_are_none():
    with pytest.raises(ArgumentError, match="theta must be an array of"):
        start().append_simulations("theta", THETA)
    with pytest.raises(ArgumentError, match="x must be an array of real numbers, found dtype complex128"):
        start().append_simulations(THETA, 1j * THETA)


# Too few valid simulations: an error, and nothing is lost


def half_bad(theta, rng):
    x = simulator(theta, rng)
    x[::2] = np.nan
    return x


def test_too_few_valid_simulations():
    inference = start(half_bad)
    message = (
        r"Too few valid simulations to learn from: 6 of the 12 of round 1, 6 in all; at least 10 in all are needed, "
        r"and one in the newest round\. They are kept, and what failed is not simulated again: run more, or"
    )
    with pytest.warns(UserWarning, match="6 of 12 simulations"), pytest.raises(SimulationError, match=message):
        inference(12)
    assert [(record.asked, record.valid, record.loss) for record in inference.rounds] == [(12, 6, "")]
    with pytest.raises(SimulationError, match="Too few valid"):
        inference.train()
    posterior = inference(12, max_num_epochs=1)
    assert [record.valid for record in inference.rounds] == [6, 6]
    assert inference.rounds[1].loss == "maximum likelihood"
    assert posterior.sample((5,), x=[0.0, 0.0]).shape == (5, 2)


def test_too_few_valid_simulations_say_why_the_first_of_them_failed():
    def broken(theta, rng):
        if theta[0] > 0:
            raise ValueError("no such file")
        return np.nan * theta

    with (
        pytest.warns(UserWarning, match="20 of 20 simulations"),
        pytest.raises(
            SimulationError,
            match=r"begin a new run\. The first error, at theta = \[\d\.(.|\n)*ValueError: no such file$",
        ),
    ):
        start(broken, batched=False)(20)


def test_a_round_of_which_nothing_is_valid():
    inference = start(lambda theta, rng: simulator(theta, rng) if len(inference.rounds) == 0 else np.nan * theta)
    posterior = inference(100, max_num_epochs=1).set_default_x([0.0, 0.0])
    with (
        pytest.warns(UserWarning, match="100 of 100 simulations of round 2"),
        pytest.raises(SimulationError, match="0 of the 100 of round 2, 100 in all"),
    ):
        inference(100, proposal=posterior)
    assert inference.rounds[0].valid == 100
    assert posterior.sample((5,)).shape == (5, 2)
    assert inference.build_posterior().default_x is not None


def test_a_simulator_that_always_fails():
    def broken(theta, rng):
        raise ValueError("no such file")

    with pytest.raises(
        SimulationError, match=r"100 simulations in a row failed\. The first of them was(.|\n)*no such file"
    ):
        start(broken, batched=False)(200)
    with pytest.raises(
        SimulationError, match=r"None of 20 simulations gave data\. The first of them: (.|\n)*no such file"
    ):
        simulate_for_sbi(broken, BOX, 20, show_progress_bar=False)


def test_simulating_outside_of_a_run_says_what_failed():
    def half(theta):
        if theta[0] > 0:
            raise ValueError("negative concentration")
        return theta if theta[1] < 1.5 else theta * np.nan

    theta = BOX.prior.sample(np.random.default_rng(0), 60)
    bad = int((theta[:, 0] > 0).sum())
    nan = int(((theta[:, 0] <= 0) & (theta[:, 1] >= 1.5)).sum())
    found = rf"{bad + nan} of 60 simulations .*{nan} NaN .*, {bad} failed.*negative concentration.*theta\[0\] >"
    with pytest.warns(UserWarning, match=found):
        prepare_for_sbi(half, BOX)[0](theta)
    with pytest.warns(UserWarning, match=r"of 60 simulations .*negative concentration.*theta\[0\] >"):
        _, x = simulate_for_sbi(half, BOX, 60, seed=0, show_progress_bar=False)
    assert np.isnan(x).any(1).sum() > 20


def test_an_x_o_that_does_not_fit_the_data():
    posterior = trained()
    with pytest.raises(ObservationError, match=r"x must have the shape of one simulation's data, \(2,\)"):
        posterior.set_default_x([0.0, 0.0, 0.0])
    with pytest.raises(ObservationError, match="x contains 1 NaN"):
        posterior.sample((3,), x=[np.nan, 0.0])
    with pytest.raises(ObservationError, match="beyond the range of float32"):
        posterior.sample((3,), x=torch.tensor([torch.inf, 0.0]))
    with pytest.raises(ObservationError, match="There is no x to condition on"):
        posterior.sample((3,))

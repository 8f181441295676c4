"""SNLE: known posteriors over several rounds, trials, mixed data, by hand and by the driver, with every sampler."""

import warnings

import jax
import numpy as np
import pytest
from paramax import unwrap
from scipy.stats import gamma, norm

from homing.diagnostics import check_misspecification
from homing.errors import ArgumentError, NotTrainedError, ObservationError
from homing.estimators import likelihood_nn
from homing.inference import SNLE, infer, simulate_for_sbi
from homing.inference.likelihoods import LikelihoodLearner
from homing.posteriors import MCMC, MCMCPosterior, VIPosterior, load, restore
from homing.priors import BoxUniform
from homing.proposals import TruncatedPrior, posterior_region
from homing.training import FitOptions
from learning import AT_ONE_AND_FOUR, drawn_by_gradients

BOX = BoxUniform([-1.0, -1.0], [1.0, 1.0])
NOISE = 0.2
X_O = np.array([0.3, -0.2])
QUICK = LikelihoodLearner(members=2, fit=FitOptions(max_num_epochs=80, stop_after_steps=200))


class Linear:
    """x = theta + noise; one of them counts its calls, so that a resumed run can be seen not to simulate."""

    def __init__(self):
        self.calls = 0

    def __call__(self, theta, rng):
        self.calls += len(theta)
        return theta + NOISE * rng.normal(size=theta.shape)


@pytest.fixture(scope="module")
def finished():
    inference = SNLE(Linear(), BOX, seed=1, batched=True, show_progress_bars=False)
    return inference.run(X_O, 450, 2, options=QUICK), inference


def check_linear(draws, x_o=X_O, trials=1):
    std = NOISE / np.sqrt(trials)
    np.testing.assert_allclose(draws.mean(0), x_o, atol=0.25 * std + 0.01)
    np.testing.assert_allclose(draws.std(0), std, rtol=0.25)


def test_run_finds_the_posterior_over_rounds(finished):
    posterior, inference = finished
    check_linear(posterior.sample((4000,)))
    assert [record.proposal for record in inference.rounds] == ["prior", "truncated"]
    assert inference.rounds[1].volume < 0.9
    assert inference.rounds[1].gain is not None
    assert inference.rounds[1].sampling["evidence_khat"] < 0.7
    assert 0 < inference.rounds[1].disagreement < np.log(2)
    assert "This MCMCPosterior-object was obtained with a SNLE-class method. It was trained for one" in str(posterior)


def test_its_density_is_normalised(finished):
    axis = np.linspace(-0.999, 0.999, 100)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(finished[0].log_prob(grid)) * (axis[1] - axis[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=0.03)
    assert finished[0].log_prob([[1.5, 0.0]])[0] == -np.inf


def test_several_trials_multiply(finished):
    posterior = finished[0]
    trials = X_O + NOISE * np.array([[1.0, -0.5], [-1.0, 0.5], [0.5, 1.0], [-0.5, -1.0]])
    draws = posterior.sample((2000,), x=trials)
    check_linear(draws, trials.mean(0), trials=4)
    one, two = posterior.sample((5,), x=X_O), posterior.sample((5,), x=X_O[None])
    assert one.shape == two.shape
    with pytest.raises(ObservationError, match=r"Several trials have the shape \(num_trials, \*\(2,\)\)"):
        posterior.sample((5,), x=np.zeros((3, 3)))
    with pytest.raises(ObservationError, match="x contains 1 NaN"):
        posterior.sample((5,), x=[[0.0, 0.0], [0.0, np.nan]])


def test_a_default_x_of_several_trials(finished):
    other = restore(finished[0].parts, show_progress_bars=False)
    other.set_default_x(np.repeat(X_O[None], 3, axis=0))
    assert other.default_x.shape == (3, 2)
    assert "x=[[0.3, -0.2], [0.3, -0.2], [0.3, -0.2]]" in str(other)


@pytest.mark.slow
def test_a_run_to_several_trials(tmp_path):
    """A region as narrow as all trials make it would be too narrow to learn in."""
    trials = X_O + NOISE * np.array([[1.0, -0.5], [-1.0, 0.5], [0.5, 1.0], [-0.5, -1.0]])
    inference = SNLE(Linear(), BOX, seed=4, batched=True, show_progress_bars=False)
    posterior = inference.run(trials, 300, num_rounds=2, options=QUICK)
    mean, std = posterior.sample((4000,)).mean(0), NOISE / 2
    np.testing.assert_allclose(mean, trials.mean(0), atol=0.6 * std)  # 60 rows' own error is .25
    little = inference.check(39)  # which says what it did not look at, and why
    assert little.num_simulations == 0
    assert little["calibration"].level == "care"
    assert little.sentence.endswith(
        "nothing was simulated: x_o is 4 trials, and 10 sets of as many take 40 simulations."
    )
    check = inference.check(43)
    assert check.num_simulations == 40
    assert check["posterior SBC"].n <= 10
    assert check["posterior SBC"].sentence.startswith("By sets of 4 trials, about x_o")
    page = inference.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "figure-posterior" in page
    assert "By sets of 4 trials" in page


def test_one_trial_unlike_all_data_is_warned_of(finished):
    other = restore(finished[0].parts, show_progress_bars=False)
    trials = X_O + NOISE * np.random.default_rng(5).normal(size=(20, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.set_default_x(trials)
    trials[7] = 9.0
    with pytest.warns(UserWarning, match="x_o is unlike the 225 data"):
        other.set_default_x(trials)
    assert check_misspecification(other.predicted, trials).level == "fail"


def test_the_region_of_several_trials_is_that_of_one():
    def log_likelihood(theta, x):
        return norm(theta[:, None], NOISE).logpdf(np.atleast_2d(x)).sum((1, 2))

    trials = X_O + NOISE * np.array([[1.0, -0.5], [-1.0, 0.5], [0.5, 1.0], [-0.5, -1.0]])
    many, one = (MCMCPosterior(log_likelihood, BOX, (2,), x_o=x_o) for x_o in (trials, trials.mean(0)))
    assert one.of_one_trial() is one
    regions = [posterior_region(posterior, 1e-3, 0) for posterior in (many, one)]
    volumes = [TruncatedPrior(one.prior, region).volume for region in regions]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_its_maximum_and_conditionals(finished):
    posterior = finished[0]
    np.testing.assert_allclose(posterior.map(), X_O, atol=0.5 * NOISE)
    check_linear(posterior.sample_conditional((2000,), condition=X_O, dims=[1]), X_O[1:])
    np.testing.assert_allclose(posterior.conditional_corrcoeff(X_O), np.eye(2), atol=0.25)


def test_gradients_follow_the_same_density(finished):
    surrogate = finished[0].surrogate
    z = np.random.default_rng(0).normal(size=(5, 2)) * 0.3
    ours = np.asarray(jax.jit(jax.vmap(unwrap(surrogate.differentiable(0, X_O))))(z.astype(np.float32)))
    theirs = surrogate.log_likelihood(0, z, X_O) - 0.5 * (z**2).sum(1)
    np.testing.assert_allclose(np.subtract(ours, ours[0]), theirs - theirs[0], atol=2e-3)


def test_the_posterior_of_a_file_is_the_same(finished, tmp_path):
    posterior = finished[0]
    posterior.save(tmp_path / "posterior.npz")
    again = load(tmp_path / "posterior.npz")
    assert isinstance(again, MCMCPosterior)
    np.testing.assert_array_equal(again.log_prob([[0.3, -0.2]]), posterior.log_prob([[0.3, -0.2]]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num"), AT_ONE_AND_FOUR)
def test_samplers_that_follow_the_likelihoods_gradient(finished, name, num):
    trials = X_O + NOISE * np.array([[1.0, -0.5], [-1.0, 0.5], [0.5, 1.0], [-0.5, -1.0]])
    x = X_O if num == 1 else trials
    check_linear(drawn_by_gradients(finished[0], name, x), np.atleast_2d(x).mean(0), num)


@pytest.mark.slow
def test_rounds_by_hand_and_other_samplers():
    inference = SNLE(Linear(), BOX, seed=2, batched=True, show_progress_bars=False)
    proposal = None
    for _ in range(2):
        posterior = inference(num_simulations=200, proposal=proposal, max_num_epochs=60, stop_after_epochs=10)
        proposal = posterior.set_default_x(X_O)
    check_linear(posterior.sample((2000,)))
    assert [record.proposal for record in inference.rounds] == ["prior", "posterior"]
    assert inference.rounds[1].used == 400
    chains = inference.build_posterior(sample_with="slice", num_chains=200)
    check_linear(chains.sample((2000,)))
    assert chains.sampling_info()["rhat"] < 1.1
    assert isinstance(inference.build_posterior(sample_with="vi"), VIPosterior)
    with pytest.raises(ArgumentError, match=r"Options of a sampler need its name, sample_with=...; found num_chains"):
        inference.build_posterior(num_chains=40)


def test_simulations_from_elsewhere():
    inference = SNLE(prior=BOX, seed=3, show_progress_bars=False)
    rng = np.random.default_rng(0)
    theta, x = simulate_for_sbi(
        lambda theta: theta + NOISE * rng.normal(size=theta.shape), BOX, 300, show_progress_bar=False
    )
    with pytest.raises(NotTrainedError, match="Nothing was trained yet"):
        inference.build_posterior()
    inference.append_simulations(theta, x).train(max_num_epochs=60)
    check_linear(inference.build_posterior().sample((2000,), x=X_O))


@pytest.mark.slow
def test_counts_beside_continuous_data():
    """x = (Poisson count with rate exp(theta_1), theta_2 + noise): the exact posterior on a grid."""

    def simulator(theta, rng):
        return np.stack([rng.poisson(np.exp(theta[:, 0])), theta[:, 1] + NOISE * rng.normal(size=len(theta))], axis=1)

    prior = BoxUniform([0.0, -1.0], [3.0, 1.0])
    inference = SNLE(simulator, prior, seed=4, batched=True, show_progress_bars=False)
    draws = inference.run([4.0, 0.1], 600, 2, options=QUICK).sample((4000,))
    grid = np.linspace(0.0, 3.0, 1001)
    exact = np.exp(4 * grid - np.exp(grid))
    exact /= exact.sum()
    mean = exact @ grid
    assert draws[:, 0].mean() == pytest.approx(mean, abs=0.15)
    assert draws[:, 0].std() == pytest.approx(np.sqrt(exact @ (grid - mean) ** 2), rel=0.25)
    check_linear(draws[:, 1:], np.array([0.1]))


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same(tmp_path):
    def run(rounds, simulator):
        inference = SNLE(simulator, BOX, seed=5, batched=True, store=tmp_path / "run.homing", show_progress_bars=False)
        try:
            steps = inference.iterate(X_O, 450, 2, options=QUICK)
            return [next(steps)[1] for _ in range(rounds)][-1]
        finally:
            inference.close()

    first, again = Linear(), Linear()
    run(1, first)
    assert first.calls == 225
    resumed = run(2, again)
    assert again.calls == 450  # its first batch again, to see that it gives the same
    whole = SNLE(Linear(), BOX, seed=5, batched=True, show_progress_bars=False).run(X_O, 450, 2, options=QUICK)
    np.testing.assert_array_equal(resumed.sample((10,)), whole.sample((10,)))


def test_a_data_set_of_one_value_teaches_nothing():
    inference = SNLE(lambda theta: np.ones((len(theta), 2)), BOX, batched=True, show_progress_bars=False)
    with pytest.raises(Exception, match="All simulations gave the same data"):
        inference(num_simulations=20)


def test_what_it_refuses():
    with pytest.raises(ArgumentError, match='density_estimator must be "maf", "nsf", or what likelihood_nn returns'):
        SNLE(prior=BOX, density_estimator=3)
    with pytest.raises(ArgumentError, match='model must be "maf" or "nsf", found \'mdn\''):
        likelihood_nn("mdn")
    with pytest.raises(ArgumentError, match="num_transforms must be a positive whole number"):
        likelihood_nn(num_transforms=0)
    with pytest.raises(ArgumentError, match="SNLE has no argument workers; for running simulations it has num_workers"):
        SNLE(prior=BOX, workers=3)
    wide = SNLE(lambda theta: np.zeros((len(theta), 1000)) + theta[:, :1], BOX, batched=True, show_progress_bars=False)
    with pytest.raises(ArgumentError, match="The likelihood of data with 1000 entries cannot be learned; at most 512"):
        wide(num_simulations=20)
    with pytest.raises(ArgumentError, match="Unknown training option num_atoms"):
        SNLE(Linear(), BOX, show_progress_bars=False)(num_simulations=20, num_atoms=5)


def test_a_prior_without_known_gradients_has_the_other_samplers():
    prior = [norm(0, 1), gamma(2.0)]
    inference = SNLE(
        lambda theta, rng: theta + 0.1 * rng.normal(size=theta.shape),
        prior,
        seed=1,
        batched=True,
        sample_with=MCMC("nuts", num_chains=4),
        show_progress_bars=False,
    )
    posterior = inference(num_simulations=60, max_num_epochs=3)
    with pytest.raises(ArgumentError, match="the prior has none that is known"):
        posterior.sample((5,), x=[0.0, 1.0])
    assert inference.build_posterior(sample_with="smc").sample((5,), x=[0.0, 1.0]).shape == (5, 2)


def test_infer_by_name():
    posterior = infer(Linear(), BOX, "SNLE", num_simulations=60, seed=1, batched=True, show_progress_bars=False)
    assert isinstance(posterior, MCMCPosterior)

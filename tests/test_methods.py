"""Where a run simulates next, and what makes its rows right: weights, and recoveries of each method."""

import numpy as np
import pytest
import scipy.stats as st

from homing.errors import ArgumentError
from homing.inference import SNPE, FromLast, Mixture, Truncated
from homing.inference.learn import Dataset
from homing.inference.methods import METHODS, as_method
from homing.inference.sides import SideOptions
from homing.inference.snpe_a import Gaussian
from homing.priors import BoxUniform, as_prior
from homing.proposals import FromDensity, FromPrior, Region, TruncatedPrior, mixture_weights
from homing.training import Atomic, FitOptions, MaximumLikelihood
from learning import AFFINE

PRIOR = as_prior(BoxUniform([-1.0, -1.0], [1.0, 1.0]))


def disc(radius):
    """The prior within a disc."""
    rng = np.random.default_rng(0)
    angle, distance = rng.uniform(0, 2 * np.pi, 20_000), radius * np.sqrt(rng.random(20_000))
    draws = PRIOR.to_normal(np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1))
    log_ratio = -np.log(np.pi * radius**2 / 4)  # of the uniform density on the disc to the prior

    def ratio(z):
        return np.where(np.linalg.norm(PRIOR.from_normal(z), axis=1) < radius, log_ratio, -np.inf)

    return Region(ratio, -100.0, draws)


def test_a_regions_volume_is_its_share_of_the_prior():
    share, draws = np.pi / 16, 16_384
    volume = TruncatedPrior(PRIOR, disc(0.5)).volume
    assert volume == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / draws))
    assert TruncatedPrior(PRIOR, disc(0.01)).volume == pytest.approx(np.pi * 0.01**2 / 4, rel=0.1)


def test_weighted_rows_of_all_rounds_are_as_if_from_the_prior():
    proposals = [
        FromPrior(PRIOR),
        TruncatedPrior(PRIOR, disc(0.5), defensive=0.1),
        FromDensity(as_prior([st.beta(2, 3, -1, 2), st.beta(3, 2, -1, 2)]), PRIOR),
    ]
    counts = [4000, 8000, 8000]
    theta = np.concatenate([p.draw(n, seed=k) for k, (p, n) in enumerate(zip(proposals, counts))])
    source = np.repeat(np.arange(3), counts)
    weights = mixture_weights(theta, source, proposals)
    assert weights.max() <= sum(counts) / counts[0] * (1 + 1e-9)
    assert weights.mean() == pytest.approx(1, abs=5 * weights.std() / np.sqrt(len(weights)))
    for value in (theta[:, 0], theta[:, 1], theta[:, 0] ** 2 - 1 / 3, theta[:, 0] * theta[:, 1]):
        assert abs((weights * value).mean()) < 5 * (weights * value).std() / np.sqrt(len(value))
    assert abs(theta[:, 0].mean()) > 0.03  # which the rows without weights are not


def test_a_run_that_starts_anew_learns_from_rows_of_the_whole_prior():
    """After a run for another x_o its rows are from the prior again, and that one's region says nothing."""
    proposals = [FromPrior(PRIOR), TruncatedPrior(PRIOR, disc(0.5), defensive=0.1)]
    source = np.array([0] * 100 + [1] * 100 + [0] * 100)
    theta = np.concatenate([proposals[k].draw(100, seed=k) for k in (0, 1, 0)])
    anew = Dataset(theta, theta, source, np.zeros(300, bool), proposals)
    going_on = Dataset(theta[:200], theta[:200], source[:200], np.zeros(200, bool), proposals)
    assert isinstance(anew.newest, FromPrior)
    assert going_on.newest is proposals[1]
    assert (Truncated().weigh(anew) > 0).all()
    np.testing.assert_array_equal(Truncated().weigh(going_on) > 0, np.linalg.norm(theta[:200], axis=1) < 0.5)
    np.testing.assert_array_equal(Gaussian().weigh(anew), source == 0)
    np.testing.assert_array_equal(Gaussian().weigh(going_on), source[:200] == 1)


CASES = [Truncated(), Truncated(epsilon=0.01, defensive=0.0), FromLast(), Mixture()]


def test_every_method_by_name_is_a_case():
    assert set(METHODS.values()) <= set(CASES)


@pytest.mark.parametrize("method", CASES)
def test_every_method_recovers_the_posterior(method):
    """A Gaussian mean within a box, near one of its edges."""
    x_o, noise = np.array([0.3, 0.9]), 0.1

    def simulator(theta, rng):
        return theta + noise * rng.normal(size=theta.shape)

    inference = SNPE(simulator, PRIOR, seed=2, batched=True, show_progress_bars=False)
    options = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=80, stop_after_steps=300))
    posterior = inference.run(x_o, 600, 2, proposal=method, options=options)
    draws = posterior.sample((4000,))
    exact = [st.truncnorm((-1 - x) / noise, (1 - x) / noise, x, noise) for x in x_o]
    for column, marginal in zip(np.asarray(draws).T, exact):
        assert st.kstest(column, marginal.cdf).statistic < 0.12
    later = "truncated" if isinstance(method, Truncated) else "posterior"
    assert [record.proposal for record in inference.rounds] == ["prior", later]
    expected = "atomic" if isinstance(method, FromLast) else "maximum likelihood"
    assert [record.loss for record in inference.rounds] == ["maximum likelihood", expected]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["truncated", "mixture"])
def test_rows_appended_from_another_proposal_do_not_bias_a_run(method):
    """Noise as wide as the prior, and most rows from the prior's right end: taken as they are, they pull it there."""
    x_o, noise = np.zeros(2), 0.6

    def simulator(theta, rng):
        return theta + noise * rng.normal(size=theta.shape)

    rng = np.random.default_rng(0)
    end = BoxUniform([0.4, -1.0], [1.0, 1.0])
    right = rng.uniform(end.low, end.high, size=(900, 2))
    inference = SNPE(simulator, PRIOR, seed=2, batched=True, show_progress_bars=False)
    inference.append_simulations(right, simulator(right, rng), proposal=end)
    options = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=80, stop_after_steps=300))
    posterior = inference.run(x_o, 600, 2, proposal=method, options=options)
    exact = st.truncnorm(-1 / noise, 1 / noise, 0, noise)
    draws = np.asarray(posterior.sample((4000,)))[:, 0]
    assert st.kstest(draws, exact.cdf).statistic < 0.08
    biased = np.concatenate([right[:, 0], rng.uniform(-1, 1, 600)])  # what unweighted rows would make the prior
    weight = np.exp(-0.5 * (biased / noise) ** 2)
    assert (weight @ biased) / weight.sum() > 0.25


def test_a_method_is_named_or_given():
    assert as_method("mixture") == Mixture()
    assert as_method(Truncated(0.01)) == Truncated(0.01)
    assert FromLast(5).loss == Atomic(5)
    assert Truncated().loss == MaximumLikelihood()
    with pytest.raises(ArgumentError, match="proposal must be 'truncated', 'posterior', 'mixture', or a value of"):
        as_method("prior")

"""Rows of theta that come without a proposal: draws of the prior pass, draws of a posterior are told from them."""

import warnings

import numpy as np
import pytest
import scipy.stats as st
from scipy.stats import qmc

from homing.errors import ArgumentError
from homing.inference import SNLE, SNPE, SNPE_A, SNRE_B
from homing.priors import BoxUniform, as_prior
from homing.proposals import check_prior_draws
from learning import PRIORS

WITHIN = {**PRIORS, "one parameter": BoxUniform([0.0], [1.0]), "many": BoxUniform([0.0] * 12, [1.0] * 12)}


@pytest.fixture(autouse=True)
def _silence_is_tested():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", WITHIN)
@pytest.mark.parametrize("num", [1, 7, 50, 2000])
def test_draws_of_the_prior_pass(name, num):
    prior = as_prior(WITHIN[name])
    for seed in range(8):
        theta = prior.sample(np.random.default_rng(seed), num)
        check_prior_draws([theta], prior)
        check_prior_draws([np.repeat(theta, 5, axis=0), *np.array_split(theta, min(num, 6))], prior)  # simulated often


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("num", [32, 1024])
def test_what_is_more_even_than_draws_passes(dim, num):
    prior = as_prior(BoxUniform([-1.0] * dim, [3.0] * dim))
    k = round(num ** (1 / dim))
    for unit in (
        qmc.Sobol(dim, rng=0).random(num),
        qmc.LatinHypercube(dim, rng=0).random(num),
        np.stack(np.meshgrid(*[np.linspace(0, 1, k)] * dim), -1).reshape(-1, dim),
        np.stack(np.meshgrid(*[(np.arange(k) + 0.5) / k] * dim), -1).reshape(-1, dim),
    ):
        check_prior_draws([4 * unit - 1], prior)


NOISE = np.random.default_rng(3).standard_normal((400, 3))
POSTERIORS = {  # z of a posterior's draws under a standard normal prior
    "narrower": 0.7 * NOISE,
    "one parameter known": NOISE * [1.0, 0.5, 1.0],
    "off": NOISE + np.array([0.0, 1.0, 0.0]),
    "a sum known": NOISE - 0.7 * NOISE.mean(1, keepdims=True),
    "a shell": NOISE / np.linalg.norm(NOISE, axis=1, keepdims=True),
    "ten rows": 0.1 * NOISE[:10],
}


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("prior", ["box", "normal", "roughly normal"])
def test_draws_of_a_posterior_are_refused(name, prior):
    prior = as_prior({**PRIORS, "box": BoxUniform([0.0] * 3, [1.0] * 3)}[prior])
    theta = prior.from_normal(POSTERIORS[name][:, : prior.dim])
    with pytest.raises(ArgumentError, match=f"{len(theta)} rows of theta were appended without a proposal"):
        check_prior_draws([theta], prior)


def test_few_rows_are_told_together():
    prior = as_prior(BoxUniform([0.0, 0.0], [1.0, 1.0]))
    first = prior.sample(np.random.default_rng(0), 500)
    parts = [prior.from_normal(0.6 * NOISE[start : start + 12, :2]) for start in range(0, 120, 12)]
    for part in parts:
        check_prior_draws([part], prior)
    with pytest.raises(ArgumentError, match="96 rows"):
        check_prior_draws([first, *parts], prior)


def test_what_is_wider_or_chosen_by_hand_is_warned_of():
    prior = as_prior(st.multivariate_normal([0.0, 0.0], np.eye(2)))
    with pytest.warns(UserWarning, match="256 rows"):
        check_prior_draws([8 * qmc.Sobol(2, rng=0).random(256) - 4], prior)
    grid = np.stack(np.meshgrid(np.linspace(-0.2, 0.2, 10), np.linspace(-0.2, 0.2, 10)), -1).reshape(-1, 2)
    with pytest.warns(UserWarning, match="100 rows"):
        check_prior_draws([grid], prior)


@pytest.mark.parametrize("method", [SNPE, SNPE_A])
def test_a_forgotten_proposal_is_refused_and_a_said_one_taken(method):
    prior = st.multivariate_normal([0.0, 0.0], np.eye(2))
    inference = method(prior=prior, seed=1, show_progress_bars=False)
    inference.append_simulations(NOISE[:, :2], NOISE[:, :2])
    with pytest.raises(ValueError, match=r"say proposal=prior|proposal=posterior"):
        inference.append_simulations(0.5 * NOISE[:, :2], NOISE[:, :2])
    assert len(inference.rounds) == 1
    inference.append_simulations(0.5 * NOISE[:, :2], NOISE[:, :2], proposal=prior)
    assert len(inference.rounds) == 2


def test_likelihoods_and_ratios_take_rows_from_anywhere_and_marginal_ratios_do_not():
    prior = st.multivariate_normal([0.0, 0.0], np.eye(2))
    SNLE(prior=prior, seed=1).append_simulations(0.5 * NOISE[:, :2], NOISE[:, :2])
    inference = SNRE_B(prior=prior, seed=1).append_simulations(0.5 * NOISE[:, :2], NOISE[:, :2])
    with pytest.raises(ArgumentError, match="400 rows"):
        inference.marginal([0])

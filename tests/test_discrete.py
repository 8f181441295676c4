"""Whole numbers: parameters that are rounded inside the simulator, and data of choices beside continuous ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from homing.inference import SNLE, TSNPE
from homing.priors import BoxUniform
from homing.training import FitOptions

QUICK = FitOptions(max_num_epochs=100, stop_after_steps=300)
PLACES = np.array([0.0, 1.0, 3.0])  # of what each of three kinds gives


def kinds(theta, rng):
    """A parameter that says which of three kinds, beside a continuous one."""
    kind = np.floor(theta[:, 0]).astype(int)
    return np.stack([PLACES[kind], theta[:, 1]], axis=1) + [0.4, 0.2] * rng.standard_normal(theta.shape)


def test_a_discrete_parameter_is_rounded_inside_the_simulator():
    """The tolerance is of eight seeds: a flow rounds the posterior's edges off, by .1 of its mass on average."""
    x_o = np.array([0.6, 0.1])
    inference = TSNPE(kinds, BoxUniform([0.0, -1.0], [2.999, 1.0]), seed=1, batched=True, show_progress_bars=False)
    options = replace(inference.learner, members=2, fit=QUICK)
    draws = inference.run(x_o, 800, 2, options=options).sample((4000,))
    shares = norm.pdf(x_o[0], PLACES, 0.4)
    found = np.bincount(np.floor(draws[:, 0]).astype(int), minlength=3) / len(draws)
    np.testing.assert_allclose(found, shares / shares.sum(), atol=0.18)
    assert draws[:, 1].mean() == pytest.approx(0.1, abs=0.06)
    assert draws[:, 1].std() == pytest.approx(0.2, rel=0.25)


def choices(theta, rng):
    """A choice, by its log odds, and a time that is longer where the choice is one."""
    chosen = rng.random(len(theta)) < 1 / (1 + np.exp(-theta[:, 0]))
    return np.stack([chosen, theta[:, 1] + 0.8 * chosen + 0.3 * rng.standard_normal(len(theta))], axis=1)


@pytest.mark.slow
def test_choices_and_times_of_several_trials():
    """The exact posterior: of the log odds on a grid, of the time's base normal.

    The tolerance is of six seeds: over eight trials the learned likelihood's errors add up, to .8 standard deviations.
    """
    x_o = np.array([[1, 1.0], [0, 0.1], [1, 1.3], [1, 0.9], [0, -0.2], [1, 0.6], [1, 1.1], [0, 0.4]])
    grid = np.linspace(-3.0, 3.0, 601)
    weights = np.exp(x_o[:, 0].sum() * grid - len(x_o) * np.log1p(np.exp(grid)))
    weights /= weights.sum()
    mean = np.array([weights @ grid, (x_o[:, 1] - 0.8 * x_o[:, 0]).mean()])
    std = np.array([np.sqrt(weights @ (grid - mean[0]) ** 2), 0.3 / np.sqrt(len(x_o))])
    inference = SNLE(choices, BoxUniform([-3.0, -1.0], [3.0, 1.0]), seed=1, batched=True, show_progress_bars=False)
    posterior = inference.run(x_o, 800, 2, options=replace(inference.learner, members=2, fit=QUICK))
    draws = posterior.sample((2000,))
    assert [record.proposal for record in inference.rounds] == ["prior", "truncated"]
    np.testing.assert_allclose((draws.mean(0) - mean) / std, 0, atol=0.9)
    np.testing.assert_allclose(draws.std(0) / std, 1, atol=0.5)

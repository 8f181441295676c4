"""A prior cut to a region, and the prior times p(valid | theta): rows are distinct, and distributed as they say."""

import warnings

import numpy as np
import pytest
import scipy.stats as st

from homing.estimators.validity import fit_validity
from homing.inference import SNPE, Truncated
from homing.inference.plan import why_uncut
from homing.inference.sides import SideOptions
from homing.priors import BoxUniform, as_prior
from homing.proposals import FromPosterior, FromPrior, Region, TruncatedPrior, ValidPrior, mixture_weights, reweighed
from homing.training import FitOptions
from learning import AFFINE

QUICK = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=80, stop_after_steps=300))
WIDE = 4.0  # half the side of the box: all regions lie well within it, so that rows are uniform in them


class Shape:
    """A posterior by its draws and log density, and what is uniform on [0, 1] of rows that are uniform in its region.

    Each is a function of a distance r, from a mode or the ring, with q falling in r alone.
    """

    def __init__(self, dim):
        self.dim = dim

    def log_density(self, theta):
        return -0.5 * self.squares(theta)

    def scores(self, theta, threshold):
        return (self.squares(theta) / (-2 * threshold)) ** (self.dim / 2)


class Modes(Shape):
    """2^d narrow modes."""

    def draws(self, num, rng):
        return (1 + 0.05 * rng.normal(size=(num, self.dim))) * rng.choice([-1, 1], size=(num, self.dim))

    def squares(self, theta):
        return (((np.abs(theta) - 1) / 0.05) ** 2).sum(1)


class Correlated(Shape):
    """A normal distribution whose widths are from .003 to .3, along axes of any direction."""

    def __init__(self, dim):
        super().__init__(dim)
        axes = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
        self.scale = axes * np.geomspace(0.003, 0.3, dim)
        self.inverse = np.linalg.inv(self.scale)

    def draws(self, num, rng):
        return rng.normal(size=(num, self.dim)) @ self.scale.T

    def squares(self, theta):
        return ((theta @ self.inverse.T) ** 2).sum(1)


class Banana(Shape):
    """A normal distribution bent by a map that keeps volumes."""

    def draws(self, num, rng):
        theta = rng.normal(size=(num, self.dim)) * np.r_[0.7, np.full(self.dim - 1, 0.1)]
        theta[:, 1] += theta[:, 0] ** 2
        return theta

    def squares(self, theta):
        straight = theta.copy()
        straight[:, 1] -= theta[:, 0] ** 2
        return ((straight / np.r_[0.7, np.full(self.dim - 1, 0.1)]) ** 2).sum(1)


class Shell(Shape):
    """A thin spherical shell, in two dimensions a ring."""

    def draws(self, num, rng):
        direction = rng.normal(size=(num, self.dim))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        radius = rng.uniform(0, 1, (num, 1)) * (1.6**self.dim - 1.5**self.dim) + 1.5**self.dim
        radius = radius ** (1 / self.dim)
        weight = np.exp(-0.5 * ((radius[:, 0] - 1.55) / 0.02) ** 2)  # draws uniform near it, thinned
        return (radius * direction)[rng.random(num) < weight]

    def squares(self, theta):
        return ((np.linalg.norm(theta, axis=1) - 1.55) / 0.02) ** 2

    def scores(self, theta, threshold):
        reach = 0.02 * np.sqrt(-2 * threshold)
        low, high = ((1.55 + sign * reach) ** self.dim for sign in (-1, 1))
        return (np.linalg.norm(theta, axis=1) ** self.dim - low) / (high - low)


SHAPES = [Modes(4), Modes(5), Modes(6), Correlated(2), Correlated(10), Correlated(50), Banana(8), Shell(2), Shell(3)]
SHAPES = [pytest.param(shape, id=f"{type(shape).__name__}{shape.dim}") for shape in SHAPES]


def cut(shape, rng):
    """The box cut to a shape's region, and the log density that bounds it."""
    prior = as_prior(BoxUniform(np.full(shape.dim, -WIDE), np.full(shape.dim, WIDE)))
    draws = shape.draws(8192, rng)
    threshold = float(np.quantile(shape.log_density(draws), 1e-3))
    region = Region(lambda z: shape.log_density(prior.from_normal(z)), threshold, prior.to_normal(draws))
    return TruncatedPrior(prior, region), threshold


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_a_region_are_distinct_and_uniform_in_it(shape):
    num, rng = 1000, np.random.default_rng(0)
    proposal, threshold = cut(shape, rng)
    theta, drawn = proposal.draw_with_info(num, 1)
    assert len(np.unique(theta, axis=0)) >= 0.98 * num
    assert st.kstest(shape.scores(theta, threshold), "uniform").pvalue > 1e-4
    worth = num if drawn.effective is None else num * min(1.0, drawn.effective)
    scores = theta.mean(0) / theta.std(0) * np.sqrt(worth)  # each is symmetric, but for the banana's bend
    symmetric = np.delete(scores, 1) if isinstance(shape, Banana) else scores
    assert np.abs(symmetric).max() < 5
    if isinstance(shape, Modes):
        counts = np.unique(theta > 0, axis=0, return_counts=True)[1]
        assert len(counts) == 2**shape.dim
        assert counts.std() / counts.mean() < 2.5 * np.sqrt(2**shape.dim / num)  # no mode far from its mass


def test_rows_that_candidates_are_too_few_for_are_moved(monkeypatch):
    """Five rows for each independent candidate: none stands twice, and they are still uniform."""
    monkeypatch.setattr(reweighed, "_MOST_CANDIDATES", 4096)
    shape, num = Correlated(10), 4000
    proposal, threshold = cut(shape, np.random.default_rng(0))
    theta, drawn = proposal.draw_with_info(num, 1)
    assert drawn.effective < 0.5
    assert len(np.unique(theta, axis=0)) > 0.98 * num
    assert st.kstest(shape.scores(theta, threshold), "uniform").statistic < 1.95 / np.sqrt(num * drawn.effective)


def test_where_a_region_cannot_be_drawn_rows_are_from_the_posterior_and_weighed_by_it(monkeypatch):
    monkeypatch.setattr(reweighed, "_REACHABLE", 1e9)
    x_o, noise = np.array([0.3, 0.9]), 0.1

    def simulator(theta, rng):
        return theta + noise * rng.normal(size=theta.shape)

    inference = SNPE(simulator, BoxUniform([-1.0, -1.0], [1.0, 1.0]), seed=2, batched=True, show_progress_bars=False)
    with pytest.warns(UserWarning, match="drawn from the posterior instead"):
        posterior = inference.run(x_o, 600, 2, proposal=Truncated(), options=QUICK)
    assert [record.proposal for record in inference.rounds] == ["prior", "posterior"]
    assert isinstance(inference._campaign.proposals[2], FromPosterior)
    draws = np.asarray(posterior.sample((4000,)))
    for column, x in zip(draws.T, x_o):
        exact = st.truncnorm((-1 - x) / noise, (1 - x) / noise, x, noise)
        assert st.kstest(column, exact.cdf).statistic < 0.12


def test_rows_of_the_valid_prior_are_the_prior_times_the_probability():
    rng = np.random.default_rng(0)
    prior = as_prior(st.multivariate_normal(np.zeros(6), np.eye(6)))
    z = rng.normal(size=(3000, 6))
    validity = fit_validity(z, np.abs(z[:, :3]).max(1) < 0.4, rng)
    proposal = ValidPrior(prior, validity, defensive=0.1)
    theta = proposal.draw(1500, 1)
    assert len(np.unique(theta, axis=0)) >= 0.98 * len(theta)
    many = rng.normal(size=(200_000, 6))
    chance = np.exp(validity.log_prob(many))
    right = 0.1 * chance.mean() + 0.9 * (chance**2).mean() / chance.mean()
    found = np.exp(validity.log_prob(theta))
    assert found.mean() == pytest.approx(right, abs=5 * found.std() / np.sqrt(len(theta)) + 0.01)
    both = np.concatenate([rng.normal(size=(1500, 6)), theta])
    weights = mixture_weights(both, np.repeat([0, 1], 1500), [FromPrior(prior), proposal])
    for value in (both[:, 0] ** 2 - 1, both[:, 4], both[:, 1] * both[:, 2]):  # as if from the prior
        assert abs((weights * value).mean()) < 5 * (weights * value).std() / np.sqrt(len(value)) + 0.02


def test_while_few_simulations_are_valid_rounds_look_for_where_they_are():
    """One in 64 of the prior is valid. The exact posterior is known: a normal distribution cut to a box."""
    dim, half, noise = 6, 0.25, 0.3
    x_o = np.array([0.1, -0.2, 0.3, 0.5, -0.4, 0.0])
    bounds = np.r_[np.full(3, half), np.ones(3)]

    def simulator(theta, rng):
        x = theta + noise * rng.normal(size=theta.shape)
        x[np.abs(theta[:, :3]).max(1) > half] = np.nan
        return x

    inference = SNPE(simulator, BoxUniform(-np.ones(dim), np.ones(dim)), seed=1, batched=True, show_progress_bars=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        posterior = inference.run(x_o, 2000, options=QUICK)
    assert any("prior times p(valid | theta)" in str(warning.message) for warning in said)
    rounds = inference.rounds
    assert rounds[0].proposal == "prior"
    assert rounds[1].proposal == "valid"
    assert rounds[0].used is None  # nothing was learned from so few
    assert rounds[-1].valid / rounds[-1].asked > 10 * rounds[0].valid / rounds[0].asked
    draws = np.asarray(posterior.sample((4000,)))
    exact = [st.truncnorm((-b - x) / noise, (b - x) / noise, x, noise) for x, b in zip(x_o, bounds)]
    off = [(column.mean() - one.mean()) / one.std() for column, one in zip(draws.T, exact)]
    widths = [column.std() / one.std() for column, one in zip(draws.T, exact)]
    assert np.sqrt(np.mean(np.square(off))) < 0.25
    np.testing.assert_allclose(widths, 1, atol=0.25)
    assert np.abs(np.asarray(posterior.map())[:3]).max() < half  # whose simulations are valid


def test_data_that_say_nothing_cut_nothing():
    """Held-out parameters are no likelier by the posterior than by the prior: no region, and it is said."""

    def simulator(theta, rng):
        return rng.normal(size=theta.shape)

    inference = SNPE(simulator, BoxUniform([-1.0, -1.0], [1.0, 1.0]), seed=1, batched=True, show_progress_bars=False)
    with pytest.warns(UserWarning, match="less likely by the posterior than by the prior"):
        inference.run([0.3, 0.1], 300, 2, options=QUICK)
    assert [record.proposal for record in inference.rounds] == ["prior", "prior"]
    assert "less likely" in inference.rounds[0].uncut


def test_a_check_knows_that_rows_were_too_few():
    prior = as_prior(st.multivariate_normal(np.zeros(8), np.eye(8)))
    inference = SNPE(
        lambda theta, rng: theta[:, :2] + rng.normal(size=(len(theta), 2)),
        prior,
        seed=1,
        batched=True,
        show_progress_bars=False,
    )
    inference(40, max_num_epochs=2).set_default_x(np.zeros(2))
    row = inference.check(0)["training rows"]
    assert (row.level, row.statistic, row.resolution) == ("fail", 40, 80)


def test_what_is_no_guide_is_not_followed():
    assert why_uncut(100, 2, 1.0, 0.1, 4) == ""
    assert why_uncut(100, 2, None, None, 1) == ""
    assert "of 310" in why_uncut(16, 31, 1e5, 0.1, 4)
    assert "0.2 nats" in why_uncut(100, 2, -0.2, 0.1, 4)
    assert "1.38 nats" in why_uncut(100, 2, 1.0, 1.38, 4)

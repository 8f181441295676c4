"""The driver and what it is made of: regressions, column maps, tempering, truncated priors, the loop."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from homing.errors import ArgumentError, ObservationError
from homing.estimators.columns import ColumnMap, choose_columns
from homing.estimators.ridge import Ridge, quadratic
from homing.inference import SNPE, Stop, sides
from homing.inference.plan import plan_rounds
from homing.inference.sides import SideOptions
from homing.posteriors.sampling.tempered import TARGET, effective_share, largest_step, temper
from homing.priors import BoxUniform, as_prior
from homing.proposals import Region, TruncatedPrior
from homing.training import FitOptions
from learning import AFFINE

QUICK = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=60, stop_after_steps=200))


def test_left_out_residuals_are_those_of_fits_without_the_row():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=(12, 1))
    penalty = 0.1 * len(x)
    (decomposition,) = Ridge(x)._decompositions
    _, left_out = decomposition.fit(y, penalty)
    features, intercept = x - x.mean(0), np.ones((12, 1))
    design = np.concatenate([intercept, features], axis=1)
    for i in range(12):  # the intercept and the centring are those of all rows, as in the closed form
        rest = np.arange(12) != i
        gram = design[rest].T @ design[rest] + penalty * np.diag([0.0, 1.0, 1.0])
        beta = np.linalg.solve(gram, design[rest].T @ y[rest])
        assert left_out[i] == pytest.approx(y[i] - design[i] @ beta, rel=1e-6)


def test_products_are_used_where_they_explain_and_left_out_where_they_do_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    noise = 0.1 * rng.normal(size=(300, 2))
    targets = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1) + noise
    slope, offset, left_out = Ridge(x, products=True).fit(targets)
    np.testing.assert_allclose(left_out.std(0), 0.1, rtol=0.15)
    np.testing.assert_allclose(quadratic(x) @ slope.T + offset, targets, atol=0.6)


@pytest.mark.parametrize(
    ("noise", "scale"),
    [
        (lambda mean, rng: mean + rng.normal(size=mean.shape), "identity"),
        (lambda mean, rng: np.exp(mean + 0.1 * rng.normal(size=mean.shape)), "log"),
        (lambda mean, rng: rng.poisson(np.exp(1 + 0.5 * mean) * 3).astype(float), "sqrt"),
        (lambda mean, rng: mean + 0.3 * rng.standard_cauchy(mean.shape), "asinh"),
    ],
)
def test_a_column_gets_the_scale_on_which_its_noise_is_simple(noise, scale):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(600, 1))
    assert choose_columns(noise(z, rng), z)[0].scale == scale


@pytest.mark.parametrize(
    "column", [ColumnMap(), ColumnMap("log", unit=1e-3), ColumnMap("sqrt", 0.375), ColumnMap("asinh", 1.0, 2.0)]
)
def test_a_column_maps_derivative_is_its_own(column):
    x, step = np.array([0.5, 1.0, 7.0]), 1e-6
    numerical = (column(x + step) - column(x - step)) / (2 * step)
    np.testing.assert_allclose(np.exp(column.log_derivative(x)), numerical, rtol=1e-6)


def test_tempering_carries_draws_over_to_the_target():
    rng = np.random.default_rng(0)
    num = 4000
    start = 3 * rng.normal(size=(num, 2))
    target = np.array([2.0, -1.0])

    def log_target(z):
        return norm.logpdf(z, target, [0.3, 0.1]).sum(1)

    z, steps, acceptance, _, family = temper(start, lambda z: norm.logpdf(z, 0, 3).sum(1), log_target, rng)
    error = 5 / np.sqrt(num) * 2  # neighbours share ancestors: half of the draws count
    np.testing.assert_allclose((z.mean(0) - target) / [0.3, 0.1], 0, atol=error)
    np.testing.assert_allclose(z.std(0) / [0.3, 0.1], 1, atol=error)
    assert steps > 1
    assert acceptance > 0.1
    assert 100 <= len(np.unique(family)) < num  # ancestors not too far back


@pytest.mark.parametrize("width", [1e-6, 1e-14])
def test_tempering_reaches_what_is_narrow_by_many_orders(width):
    rng = np.random.default_rng(1)
    z, steps, *_ = temper(
        rng.normal(size=(1000, 1)), lambda z: norm.logpdf(z[:, 0]), lambda z: norm.logpdf(z[:, 0], 0.3, width), rng
    )
    assert steps < 100
    assert (z.mean() - 0.3) / width == pytest.approx(0, abs=0.3)
    assert z.std() / width == pytest.approx(1, rel=0.2)


def test_tempering_starts_from_the_few_particles_that_count():
    """A density that is zero but in a hundredth of the start's mass."""
    rng = np.random.default_rng(2)
    z, steps, _, _, family = temper(
        rng.uniform(size=(4000, 1)),
        lambda z: np.where((z > 0) & (z < 1), 0.0, -np.inf)[:, 0],
        lambda z: np.where((z > 0.5) & (z < 0.51), 0.0, -np.inf)[:, 0],
        rng,
    )
    assert steps == 1
    assert len(np.unique(family)) == pytest.approx(40, abs=20)  # so few parents are told, and not taken for 4,000
    np.testing.assert_allclose(np.quantile(z, [0.0, 0.5, 1.0]), [0.5, 0.505, 0.51], atol=1e-3)


@pytest.mark.parametrize("denied", [-np.inf, -1e12])
def test_tempering_leaves_out_draws_that_their_own_density_denies(denied):
    """As rounding makes them far out in a flow; their weight alone would be all of it."""
    rng = np.random.default_rng(3)
    start = np.concatenate([rng.normal(size=(1995, 1)), np.full((5, 1), 30.0)])

    def log_start(z):
        return np.where(z[:, 0] > 20, denied, norm.logpdf(z[:, 0]))

    z, steps, *_ = temper(start, log_start, lambda z: norm.logpdf(z[:, 0], 0.5, 0.5), rng)
    assert steps < 5
    assert z.mean() == pytest.approx(0.5, abs=0.1)
    assert z.std() == pytest.approx(0.5, abs=0.05)


def test_a_step_goes_as_far_as_leaves_its_share():
    log_ratio = 1e6 * np.random.default_rng(3).normal(size=4000)
    for share in (TARGET, 0.02):
        assert effective_share(largest_step(log_ratio, 1.0, share) * log_ratio) == pytest.approx(share, rel=1e-3)
    some = np.where(np.arange(4000) < 3000, log_ratio, -np.inf)  # the share is of those that count at all
    assert effective_share(largest_step(some, 1.0) * some) == pytest.approx(0.75 * TARGET, rel=1e-3)
    assert largest_step(1e-7 * log_ratio, 0.4) == 0.4


def test_the_effective_share_of_equal_weights_is_one():
    assert effective_share(np.full(10, -3.0)) == pytest.approx(1)
    assert effective_share(np.array([0.0, -np.inf, -np.inf, -np.inf])) == pytest.approx(0.25)
    assert effective_share(np.full(4, -np.inf)) == 0


@pytest.mark.parametrize(("radius", "exact"), [(1.0, True), (0.002, False)])
def test_a_truncated_prior_draws_the_prior_within_its_region(radius, exact):
    """By rejection and by resampling: uniform over a disc, and told how large its share of the prior is."""
    prior = as_prior(BoxUniform([-2.0, -2.0], [2.0, 2.0]))
    rng = np.random.default_rng(0)
    angle, distance = rng.uniform(0, 2 * np.pi, 3000), radius * np.sqrt(rng.random(3000))
    inside = prior.to_normal(np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1))
    region = Region(lambda z: -np.linalg.norm(prior.from_normal(z), axis=1), -radius, inside)
    theta, drawn = TruncatedPrior(prior, region).draw_with_info(500, seed=1)
    size = np.linalg.norm(theta, axis=1) / radius
    assert size.max() <= 1
    assert (drawn.effective is None) == exact
    assert drawn.volume == pytest.approx(np.pi * radius**2 / 16, rel=0.1)
    assert (size**2).mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / 500))
    again, _ = TruncatedPrior(prior, region).draw_with_info(500, seed=1)
    np.testing.assert_array_equal(theta, again)


def test_a_defensive_share_comes_from_the_whole_prior():
    prior = as_prior(BoxUniform([0.0], [1.0]))
    region = Region(lambda z: -np.abs(z[:, 0]), -0.01, np.zeros((10, 1)))
    theta = TruncatedPrior(prior, region, defensive=0.2).draw(2000, seed=0)
    outside = (~region.contains(prior.to_normal(theta))).mean()
    assert outside == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 2000))


@pytest.mark.parametrize(("budget", "dim"), [(10, 1), (50, 3), (500, 10), (1000, 2), (2000, 5), (10_000, 10)])
def test_planned_rounds_spend_the_budget(budget, dim):
    sizes = plan_rounds(budget, dim)
    assert sum(sizes) == budget
    assert len(sizes) == 1 or min(sizes) >= max(150, 25 * dim)
    assert max(sizes) - min(sizes) <= 1
    assert plan_rounds(budget, dim, 2) == [budget // 2, budget // 2]


@pytest.fixture(scope="module")
def finished():
    """A run whose posterior is known, its inference object, and how many rows the simulator was given."""
    calls = []

    def simulator(theta, rng):
        calls.append(len(theta))
        return theta + 0.1 * rng.normal(size=theta.shape)

    prior = BoxUniform([-1.0, -1.0], [1.0, 1.0])
    inference = SNPE(simulator, prior, seed=3, batched=True, show_progress_bars=False)
    records = []
    posterior = inference.run([0.3, -0.2], 450, 2, on_round=records.append, options=QUICK)
    return posterior, inference, calls, records


def test_run_finds_the_posterior_within_its_budget(finished):
    posterior, inference, calls, records = finished
    assert sum(calls) == 450 == sum(record.asked for record in records)
    samples = posterior.sample((4000,))
    np.testing.assert_allclose(samples.mean(0), [0.3, -0.2], atol=0.05)
    np.testing.assert_allclose(samples.std(0), 0.1, atol=0.04)
    assert (np.abs(samples) <= 1).all()
    assert "multi-round" in str(posterior)
    assert [record.proposal for record in records] == ["prior", "truncated"]
    assert 0 < records[1].volume < 0.6
    assert 0 < records[1].agreement <= 1
    assert "of prior" in str(inference.rounds)
    assert "agreement" in str(inference.rounds)


def test_another_observation_starts_from_the_whole_prior():
    """The region of the first one has no part in it; all rows that there are do."""

    def simulator(theta, rng):
        return theta + 0.1 * rng.normal(size=theta.shape)

    inference = SNPE(simulator, BoxUniform([-1.0, -1.0], [1.0, 1.0]), seed=3, batched=True, show_progress_bars=False)
    quick = replace(QUICK, likelihood=None)
    inference.run([0.6, 0.6], 450, 2, options=quick)
    posterior = inference.run([-0.6, -0.6], 300, 1, options=quick)
    assert [record.proposal for record in inference.rounds] == ["prior", "truncated", "prior"]
    assert inference.rounds[2].used == 750
    np.testing.assert_allclose(posterior.sample((4000,)).mean(0), -0.6, atol=0.06)


def test_a_hybrid_posteriors_density_is_normalised_and_that_of_its_draws(finished):
    posterior, *_ = finished
    axis = np.linspace(-0.999, 0.999, 160)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(posterior.log_prob(grid)) * (axis[1] - axis[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(density @ grid, posterior.sample((4000,)).mean(0), atol=0.02)
    assert posterior.log_prob([[1.5, 0.0]])[0] == -np.inf


def test_what_is_left_is_one_round_once_the_region_has_settled(tmp_path):
    def simulator(theta, rng):
        return theta + 0.3 * rng.normal(size=theta.shape)

    def inference():
        prior = BoxUniform([-1.0, -1.0], [1.0, 1.0])
        return SNPE(simulator, prior, seed=3, batched=True, show_progress_bars=False, store=tmp_path / "run")

    quick = replace(QUICK, likelihood=None, fit=FitOptions(max_num_epochs=10))
    started = inference()
    steps = started.iterate([0.1, 0.2], 600, options=quick)
    assert [next(steps)[0].asked, next(steps)[0].asked] == [150, 150]
    assert started.view.facts["plan of run from round 1"] == [150, 150, 300]
    started.close()
    resumed = inference()
    posterior = resumed.run([0.1, 0.2], 600, options=quick)
    assert [record.asked for record in resumed.rounds] == [150, 150, 300]
    assert posterior.sample((3,)).shape == (3, 2)
    resumed.run([0.1, 0.2], 200, 4, options=quick)  # rounds that are asked for are not merged
    assert [record.asked for record in resumed.rounds][3:] == [50] * 4
    resumed.run([0.1, 0.2], 600, stop=Stop(seconds=1e9), options=quick)  # and a stop has its say after each
    assert [record.asked for record in resumed.rounds][7:] == [150] * 4
    resumed.close()


def test_iterate_gives_the_loop_and_stops_when_told():
    def simulator(theta, rng):
        return theta + 0.1 * rng.normal(size=theta.shape)

    inference = SNPE(simulator, BoxUniform([-1.0, -1.0], [1.0, 1.0]), seed=3, batched=True, show_progress_bars=False)
    steps = list(inference.iterate([0.3, -0.2], 450, num_rounds=2, stop=Stop(seconds=0.0), options=QUICK))
    assert len(steps) == 1
    record, posterior = steps[0]
    assert record.asked == 225
    assert posterior.sample((3,)).shape == (3, 2)


def test_a_round_that_made_things_worse_is_rolled_back(monkeypatch):
    """The second round learns from data that were mixed up."""
    learn_sides, learned = sides.learn_sides, []

    def muddled(material, options):
        x = material.x if not learned else np.random.default_rng(0).permutation(material.x)
        learned.append(learn_sides(replace(material, x=x), options))
        return learned[-1]

    monkeypatch.setattr(sides, "learn_sides", muddled)
    inference = SNPE(
        lambda theta, rng: theta + 0.1 * rng.normal(size=theta.shape),
        BoxUniform([-1.0, -1.0], [1.0, 1.0]),
        seed=3,
        batched=True,
        show_progress_bars=False,
    )
    posterior = inference.run([0.3, -0.2], 600, options=QUICK)
    assert [record.rolled_back for record in inference.rounds] == [False, True, True, True]
    assert [record.asked for record in inference.rounds] == [150] * 4  # such a region has not settled
    assert inference.rounds[1].gain < -0.1
    assert posterior.direct.ensemble is learned[0].direct
    assert [row[-1] for row in inference.rounds.table()] == ["", "-", *["rolled back"] * 3]
    np.testing.assert_allclose(posterior.sample((2000,)).mean(0), [0.3, -0.2], atol=0.06)


def test_an_observation_unlike_the_data_is_refused_before_many_simulations():
    calls = []

    def simulator(theta):
        calls.append(theta)
        return theta

    inference = SNPE(simulator, BoxUniform([0.0], [1.0]), batched=False, show_progress_bars=False)
    with pytest.raises(ObservationError, match=r"one simulation's data, \(1,\), .*found \(3,\)"):
        inference.run([0.5, 0.5, 0.5], 5000)
    assert len(calls) < 500
    spent = len(calls)
    with pytest.raises(ObservationError, match=r"found \(2,\)"):  # not: that this is the run for another x_o
        inference.run([0.5, 0.5], 5000)
    assert inference.view.facts.keys().isdisjoint({"run from round 1", "plan of run from round 1"})
    assert len(calls) < spent + 500


def test_what_run_refuses():
    inference = SNPE(lambda theta: theta, BoxUniform([0.0, 0.0], [1.0, 1.0]), show_progress_bars=False)
    with pytest.raises(ArgumentError, match="num_rounds must be a whole number between 1 and num_simulations, found 0"):
        inference.run([0.5], 100, num_rounds=0)
    with pytest.raises(ArgumentError, match="num_simulations must be a positive whole number, found -1"):
        inference.run([0.5], -1)
    with pytest.raises(ArgumentError, match=r"num_rounds must be a whole number .* found True"):
        inference.run([0.5], 100, num_rounds=True)
    with pytest.raises(ArgumentError, match=r"stop must be a Stop, for example Stop\(gain=0.05\), or None, found 0.1"):
        inference.run([0.5], 100, stop=0.1)
    for options in ({"members": 2}, SideOptions):
        with pytest.raises(ArgumentError, match=r"options of SNPE must be a SideOptions, found (dict|type)"):
            inference.run([0.5], 100, options=options)
    with pytest.raises(ArgumentError, match="members must be a whole number, one or larger, found 0"):
        inference.run([0.5], 100, options=SideOptions(members=0))
    message = r"fewer than 10 valid simulations: num_simulations=50 give the first of 10 rounds 5\. Spend more, or take"
    with pytest.raises(ArgumentError, match=message):
        inference.run([0.5], 50, num_rounds=10)
    assert len(inference.rounds) == 0  # nothing was simulated for nothing
    theta, noise = np.random.default_rng(0).random((2, 9, 2))
    assert next(inference.append_simulations(theta, theta + noise).iterate([0.5, 0.5], 1, options=QUICK))[0].used == 10
    with pytest.raises(ObservationError, match="x contains 1 NaN"):
        inference.run([np.nan], 100)
    own = SNPE(
        lambda theta: theta, BoxUniform([0.0], [1.0]), density_estimator=lambda *a: None, show_progress_bars=False
    )
    with pytest.raises(ArgumentError, match="run and iterate need a density_estimator by name"):
        own.run([0.5], 100)

"""Checking a run: a right posterior is believed, broken ones are not, and what a check simulates stays apart."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.stats import binom

import homing
from homing.diagnostics import check_predictive, fit_predictive
from homing.errors import ArgumentError, NotTrainedError, ObservationError
from homing.estimators import posterior_nn
from homing.inference import SNPE, left_out, sides
from homing.inference.apart import Apart
from homing.inference.check import _near, _pool_about, _pool_near, _posterior_sbc, _z_scores
from homing.inference.learner import windows
from homing.inference.sides import SideOptions
from homing.posteriors import Conditionals, MCMCPosterior, Posterior
from homing.priors import BoxUniform, as_prior
from homing.proposals import FromPrior, Region
from homing.training import FitOptions
from learning import AFFINE

QUICK = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=60, stop_after_steps=200))
TINY = SideOptions(AFFINE, 2, likelihood=None, fit=FitOptions(max_num_epochs=3, stop_after_steps=20))
X_O = [0.3, -0.2]
PRIOR = BoxUniform([-1.0, -1.0], [1.0, 1.0])


def simulator(noise=0.1, shift=0.0, calls=None):
    def simulate(theta, rng):
        if calls is not None:
            calls.append(len(theta))
        return theta + shift + noise * rng.normal(size=theta.shape)

    return simulate


def snpe(simulate, **options):
    return SNPE(simulate, PRIOR, **{"seed": 2, "batched": True, "show_progress_bars": False} | options)


@pytest.fixture(scope="module")
def finished():
    """A run, its posterior, what a check of it says, and how many rows the simulator was given."""
    calls = []
    inference = snpe(simulator(calls=calls))
    posterior = inference.run(X_O, 450, 2, options=QUICK)
    return inference, posterior, inference.check(100), calls


def test_a_right_posterior_is_believed(finished):
    inference, _, check, calls = finished
    assert check.level != "fail"
    assert str(check).splitlines()[-1].startswith("Believe")
    assert [verdict.name for verdict in check] == [
        *("misspecification", "two sides", "members", "bounds", "shrinkage", "left-out rows", "truncation"),
        *("coverage", "ranks", "TARP", "L-C2ST", "predictive", "posterior SBC", "z-scores"),
    ]
    assert check.num_simulations == 100 == sum(calls) - 450
    assert [record.asked for record in inference.rounds] == [225, 225]  # a check is no round
    assert check["predictive"].curves["observed"].tolist() == X_O
    assert check["predictive"].curves["replicated"].shape == (50, 2)
    assert check["ranks"].curves["ranks"].shape[1] == 2
    np.testing.assert_allclose(
        check["L-C2ST"].curves["theta"].mean(0), X_O, atol=0.05
    )  # in parameters: z are .39, -.25
    assert (check["posterior SBC"].curves["effective"] > 20).mean() > 0.9
    assert 0.95 < check["shrinkage"].statistic < 1


@pytest.mark.parametrize(
    ("truth", "reads", "level"),
    [
        pytest.param(simulator(noise=0.2), "overconfident", "fail", id="too narrow"),
        pytest.param(simulator(noise=0.05), "conservative", "care", id="too wide", marks=pytest.mark.slow),
        pytest.param(simulator(shift=0.1), "shifted", "fail", id="shifted"),
    ],
)
def test_a_posterior_learned_from_another_simulator_is_told(finished, truth, reads, level):
    check = snpe(truth).check(200, posterior=finished[1])
    assert check.level == level
    assert reads in {verdict.reads for verdict in check}
    assert check.sentence.startswith("Do not believe: " if level == "fail" else "Believe with care: ")


def test_a_posterior_that_was_broken_is_not_believed(finished):
    """The same posterior, looking at data that are off by its own width."""
    inference, posterior, _, _ = finished
    standardize = posterior.direct.ensemble.standardize
    kept = standardize.loc.copy()
    try:
        standardize.loc[:] += standardize.scale
        check = inference.check(100, posterior=posterior.direct)
    finally:
        standardize.loc[:] = kept
    assert check.level == "fail"
    assert check.sentence.startswith("Do not believe: ")


def test_without_simulations_it_says_what_is_known(finished):
    inference, posterior, check, calls = finished
    before = sum(calls)
    free = inference.check(0)
    assert sum(calls) == before
    assert [verdict.name for verdict in free] == [verdict.name for verdict in check][:7]
    assert [verdict.name for verdict in posterior.check()] == [verdict.name for verdict in check][:5]
    assert free.sentence.startswith("Believe, as far as one can tell without simulations: ")
    assert free["left-out rows"].n >= 50
    assert free["left-out rows"].level == free["truncation"].level == "pass"
    assert posterior.check()["two sides"].statistic == inference.rounds[-1].agreement


def test_a_direct_side_that_does_not_count_is_not_looked_at(finished, monkeypatch):
    inference, posterior, _, _ = finished
    monkeypatch.setattr(posterior, "share", 0.0)
    check = inference.check(0)
    assert "left-out rows" not in {verdict.name for verdict in check}
    assert check["two sides"].sentence.endswith("; the posterior is the likelihood's alone.")


def test_an_x_o_unlike_all_data_is_warned_of_and_not_believed(finished):
    _, posterior, _, _ = finished
    far = [5.0, 5.0]
    try:
        with pytest.warns(UserWarning, match="x_o is unlike the 225 data that the prior predicts") as caught:
            posterior.set_default_x(far)
        assert caught[0].filename == __file__
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            posterior.set_default_x(X_O)
    check = posterior.direct.check(far)  # so far away the likelihood takes long to draw from
    assert check["misspecification"].level == check.level == "fail"
    assert check.sentence.startswith("Do not believe: x_o is unlike the 225 data that the prior predicts")


def test_run_warns_of_an_x_o_unlike_all_data(capsys):
    with pytest.warns(UserWarning, match="x_o is unlike the 100 data that the prior predicts") as caught:
        snpe(simulator(), show_progress_bars=True).run([5.0, 5.0], 100, 1, options=TINY)
    assert "Learning from 100 simulations: 0" in capsys.readouterr().err  # and the time that it took
    assert [entry.filename for entry in caught if "unlike" in str(entry.message)] == [__file__]


def test_a_loaded_posterior_knows_what_the_prior_predicts(finished, tmp_path):
    _, posterior, _, _ = finished
    posterior.save(tmp_path / "posterior.npz")
    loaded = homing.load(tmp_path / "posterior.npz")
    with pytest.warns(UserWarning, match="x_o is unlike"):
        loaded.set_default_x([5.0, 5.0])
    assert loaded.check(X_O)["misspecification"] == posterior.check()["misspecification"]


def test_rounds_driven_by_hand_and_posteriors_for_any_x():
    inference = snpe(simulator())
    posterior = inference(num_simulations=300, max_num_epochs=100)
    anywhere = inference.check(100)  # no x_o: under the whole prior, no simulation left for x_o
    assert [verdict.name for verdict in anywhere] == ["coverage", "ranks", "TARP", "z-scores"]
    assert anywhere["coverage"].n >= 50
    posterior.set_default_x(X_O)
    at_x_o = [verdict.name for verdict in inference.check(100)]
    assert at_x_o == [
        *("misspecification", "bounds", "shrinkage", "left-out rows"),
        *("coverage", "ranks", "TARP", "L-C2ST", "predictive", "posterior SBC", "z-scores"),
    ]
    inference(num_simulations=100, proposal=posterior, max_num_epochs=5)  # atomic: rows of many proposals
    assert inference.check(0).verdicts[0].name == "misspecification"


@pytest.mark.slow
def test_data_of_any_shape_through_an_embedding():
    def simulate(theta, rng):
        return theta[:, None, :] + 0.3 * rng.normal(size=(len(theta), 3, 2))

    builder = posterior_nn("maf", embedding_net=lambda x: jnp.tanh(x).sum(0))
    inference = snpe(simulate, density_estimator=builder)
    posterior = inference(num_simulations=200, max_num_epochs=40).set_default_x(np.full((3, 2), 0.2))
    inference(num_simulations=100, proposal=posterior, max_num_epochs=5)
    check = inference.check(60)
    assert {"misspecification", "coverage", "ranks", "TARP", "predictive"} <= {verdict.name for verdict in check}
    assert check["predictive"].curves["replicated"].shape == (30, 3, 2)


@pytest.mark.slow
def test_data_of_very_many_numbers():
    """They are compared all the same, and a check does not carry them along."""

    def simulate(theta, rng):
        return np.repeat(theta[:, :1], 4097, axis=1) + 0.3 * rng.normal(size=(len(theta), 4097))

    builder = posterior_nn("maf", embedding_net=lambda x: x.reshape(-1, 17).mean(1)[:2])
    inference = snpe(simulate, density_estimator=builder)
    posterior = inference(num_simulations=100, max_num_epochs=5).set_default_x(np.full(4097, 0.2))
    check = inference.check(60)
    assert {"misspecification", "predictive", "posterior SBC"} <= {verdict.name for verdict in check}
    assert check["predictive"].curves.keys() == {"distances", "distance"}
    with pytest.warns(UserWarning, match="x_o is unlike the 100 data"):
        posterior.set_default_x(np.tile([0.2, 2.0], 2049)[:4097])


def test_simulations_that_fail_are_left_out():
    def fails(theta, rng):
        x = theta + 0.1 * rng.normal(size=theta.shape)
        x[theta[:, 0] > 0.4] = np.nan
        return x

    inference = snpe(fails)
    with pytest.warns(UserWarning, match="gave no finite data") as caught:
        inference.run(X_O, 300, 1, options=TINY)
    assert [entry.filename for entry in caught if "finite" in str(entry.message)] == [__file__]
    with pytest.warns(UserWarning, match=r"of 50 simulations of this check gave no finite data"):
        check = inference.check(100)
    assert check.num_simulations == 100
    assert check["predictive"].n < 50
    everything = SNPE(lambda theta: theta * np.nan, PRIOR, seed=1, batched=True, show_progress_bars=False)
    nothing = everything.check(40, posterior=inference._latest)
    assert [verdict.name for verdict in nothing] == [*(each.name for each in inference._latest.check()), "calibration"]
    assert nothing.level == "care"
    assert nothing["calibration"].sentence == (
        "Calibration was not looked at: too few of 40 simulations can be compared with, 10 pairs are needed."
    )
    few = inference.check(10)
    assert few["calibration"].level == "care"


def test_a_check_of_nothing_believes_nothing():
    inference = snpe(simulator())
    inference(num_simulations=50, max_num_epochs=1)
    check = inference.check(0)  # of no x_o
    assert (check.verdicts, check.level) == ((), "care")
    assert check.sentence == "Nothing was looked at: without an x_o, a check needs simulations."


def test_what_check_refuses(finished):
    _, posterior, _, _ = finished
    with pytest.raises(NotTrainedError, match="There is no posterior to check: run the inference first"):
        snpe(simulator()).check()
    with pytest.raises(ArgumentError, match="num_simulations must be a positive whole number, found -1"):
        snpe(simulator()).check(-1)
    with pytest.raises(ArgumentError, match="There is no simulator to check with: give one"):
        SNPE(prior=PRIOR, show_progress_bars=False).check(10, posterior=posterior)
    other = SNPE(simulator(), BoxUniform([0.0, 0.0], [1.0, 1.0]), show_progress_bars=False)
    with pytest.raises(ArgumentError, match=r"The posterior was learned with the prior .* check it with the run"):
        other.check(10, posterior=posterior)
    amortized = snpe(simulator())(num_simulations=50, max_num_epochs=1)
    with pytest.raises(ObservationError, match="There is no x to condition on"):
        amortized.check()


# ------------------------------------------------------------------------------------------------------- in the store


def test_a_check_is_in_the_run_file_and_leaves_rounds_as_they_are(tmp_path):
    def rounds(path, checked):
        inference = snpe(simulator(), store=path)
        posterior = inference(num_simulations=60, max_num_epochs=2)
        check = inference.check(20) if checked else None
        inference(num_simulations=50, proposal=posterior.set_default_x(X_O), max_num_epochs=2)
        after = inference.check(30) if checked else None
        inference.close()
        return [inference.rounds[k].validation_loss for k in range(2)], (check, after)

    plain, _ = rounds(tmp_path / "plain.homing", checked=False)
    losses, checks = rounds(tmp_path / "checked.homing", checked=True)
    assert losses == plain  # neither data nor seeds of a round depend on a check before it
    with homing.open(tmp_path / "checked.homing") as run, homing.open(tmp_path / "plain.homing") as unchecked:
        assert str(run).splitlines() == [
            "round 1: 60 simulations planned, 60 ok",
            "check 1: 20 simulations planned, 20 ok",
            "round 2: 50 simulations planned, 50 ok",
            "check 2: 15 simulations planned, 15 ok",
            "check 3: 15 simulations planned, 15 ok",
        ]
        rows = run.simulations()
        assert rows["id"].tolist() == list(range(160))
        assert np.unique(rows["round"]).tolist() == [-3, -2, -1, 1, 2]
        trained = rows["round"] > 0
        np.testing.assert_array_equal(rows["x"][trained], unchecked.simulations()["x"])
        assert len(run.records) == 2
        assert run.posterior().sample((3,), x=X_O).shape == (3, 2)
        assert run.checks == checks
        np.testing.assert_array_equal(run.checks[0]["ranks"].curves["ranks"], checks[0]["ranks"].curves["ranks"])


def test_a_check_that_was_killed_goes_on_where_it_was(tmp_path):
    calls, limit = [], []

    def simulate(theta, rng):
        if limit and len(calls) == limit[0]:
            raise KeyboardInterrupt
        calls.append(theta)
        return theta + 0.1 * rng.normal(size=2)

    def lines(path):
        inference = SNPE(simulate, PRIOR, seed=2, store=path, batched=False, show_progress_bars=False)
        try:
            inference(num_simulations=40, max_num_epochs=2).set_default_x(X_O)
            return inference.check(40), inference.check(10)
        finally:
            inference.close()

    whole = lines(tmp_path / "whole.homing")
    calls.clear()
    limit.append(55)  # in the first part of the first check
    with pytest.raises(KeyboardInterrupt):
        lines(tmp_path / "killed.homing")
    assert len(calls) == 55
    with homing.open(tmp_path / "killed.homing") as run:
        lost = 55 - int((run.simulations()["status"] == "ok").sum())
    assert lost < 15  # some of the check are kept
    limit.clear()
    again = lines(tmp_path / "killed.homing")
    assert 0 <= len(calls) - (40 + 40 + 10 + lost) <= 8  # of the rows that are there, some are repeated to be compared
    assert [verdict.statistic for check in again for verdict in check] == [v.statistic for c in whole for v in c]
    assert lines(tmp_path / "killed.homing") == again
    assert 0 <= len(calls) - (40 + 40 + 10 + lost) <= 2 * 8


def test_a_second_check_simulates_anew(tmp_path):
    inference = snpe(simulator(), store=tmp_path / "run.homing")
    inference(num_simulations=40, max_num_epochs=1)
    apart = Apart(inference._campaign)
    first, second = (apart.simulate(20, FromPrior(inference.prior), "a") for _ in range(2))
    assert not np.array_equal(first[0], second[0])
    again, other = (Apart(inference._campaign).simulate(20, FromPrior(inference.prior), of) for of in "ab")
    np.testing.assert_array_equal(again[1], first[1])
    assert not np.isin(other[0], np.concatenate([first[0], second[0]])).any()


def test_a_check_is_of_one_posterior_at_one_x_o(finished, tmp_path):
    """In a process before, another posterior was checked, and this one at another x_o: neither counts for it."""
    _, other, _, _ = finished
    elsewhere, calls = np.array([-0.3, 0.1]), []

    def run():
        inference = snpe(simulator(calls=calls), store=tmp_path / "run.homing")
        return inference, inference(num_simulations=60, max_num_epochs=2)

    inference, posterior = run()
    wrong = inference.check(40, posterior=other)
    there = inference.check(40, posterior=posterior.set_default_x(elsewhere))
    inference.close()
    inference, posterior = run()
    before = sum(calls)  # with the rows that are repeated, to see that the simulator is the same
    with inference.view as view:
        assert view.check_of(other, X_O) == 0
        assert view.check_of(posterior, elsewhere) == 1
        assert view.check_of(posterior, X_O) is None
        assert "Not checked" in homing.report(view, tmp_path / "none.html", x=X_O).read_text()
    here = inference.check(40, posterior=posterior.set_default_x(X_O))
    assert sum(calls) == before + 40
    again = inference.check(40, posterior=other.set_default_x(X_O))
    assert sum(calls) == before + 40  # those of the process before
    assert again["predictive"] == wrong["predictive"]
    assert len({str(check) for check in (wrong, there, here)}) == 3
    with homing.open(tmp_path / "run.homing") as view:
        assert view.checks[view.check_of(view.posterior(), X_O)] == here
    inference.close()


def test_the_rows_said_to_be_left_out_are_those_that_were(monkeypatch):
    seen = {}
    for room in (sides, left_out):

        def told(order, members, room=room):
            seen.setdefault(room, []).append((order, windows(order, members)))
            return seen[room][-1][1]

        monkeypatch.setattr(room, "windows", told)
    inference = snpe(simulator())
    inference.run(X_O, 300, 2, options=TINY)
    assert inference.check(0)["left-out rows"].n >= 30
    for learned, checked in zip(seen[sides][-1], seen[left_out][0]):
        np.testing.assert_array_equal(learned, checked)
    assert len(seen[sides][-1][0]) < 300  # not all rows are within the region


def test_what_a_posterior_left_out_is_known_of_the_last_one_alone(finished):
    inference, posterior, check, _ = finished
    names = {verdict.name for verdict in inference.check(0, posterior=posterior.direct)}
    assert "left-out rows" in {verdict.name for verdict in check}
    assert "left-out rows" not in names
    assert "truncation" in names


def test_a_campaign_knows_what_the_prior_predicts():
    inference = snpe(simulator())
    rng = np.random.default_rng(0)
    theta = rng.uniform(-1, 1, (60, 2))
    x = theta + 0.1 * rng.normal(size=theta.shape)
    inference.append_simulations(theta[:10], x[:10])
    assert inference._campaign.predicted() is None  # of ten rows
    inference.append_simulations(theta[10:], x[10:])
    inference.append_simulations(theta, x + 50.0, proposal=BoxUniform([-0.5, -0.5], [0.5, 0.5]))
    predicted = inference._campaign.predicted()
    assert len(predicted.distances) == 60
    assert predicted.is_unlike(np.array([50.0, 50.0]))
    expected = fit_predictive(x, inference.prior.to_normal(theta))
    assert predicted.distance(np.ones(2)) == expected.distance(np.ones(2))


# ---------------------------------------------------------------------------------------- exact posteriors, all the way


class Exact(Posterior):
    """The posterior of x = theta + noise under a standard normal prior, or one of another width or place.

    Its draws at many x come, as a likelihood's would, from a wider density, and are weighted.
    """

    _origin, _learned, noise = "", {}, 0.5

    def __init__(self, width=1.0, shift=0.0, x_o=None, multi_round=False):
        prior = as_prior([scipy.stats.norm(), scipy.stats.norm()])
        super().__init__(prior, (2,), multi_round=multi_round, seed=0, x_o=x_o, show_progress_bars=False)
        self.gain = 1 / (1 + self.noise**2)
        self.scale = width * self.noise * np.sqrt(self.gain)
        self.shift = shift * self.scale

    def draw_normal(self, num, x, seed, on_chunk=None):
        return self.gain * x + self.shift + self.scale * np.random.default_rng(seed).normal(size=(num, 2))

    def log_prob_normal(self, z, x):
        return scipy.stats.norm.logpdf(z, self.gain * x + self.shift, self.scale).sum(1)

    def at_each(self, x, num, seed):
        mean, wide = (self.gain * x + self.shift)[:, None], 1.5 * self.scale

        def density(z):
            return tuple(scipy.stats.norm.logpdf(z, mean, scale).sum(2) for scale in (self.scale, wide))

        rng = np.random.default_rng(seed)
        return Conditionals(lambda: mean + wide * rng.normal(size=(len(x), num, 2)), density)

    def p_values(self, num, seed):
        """Of the verdicts within the region that holds most of it at x_o, and about x_o."""
        x_o, rng = self._x_o, np.random.default_rng(seed)
        draws = self.draw_normal(4000, x_o, seed)
        region = Region(lambda z: -((z - draws.mean(0)) ** 2).sum(1), -((4 * 0.45) ** 2), draws)
        near, about = rng.normal(size=(40 * num, 2)), self.draw_normal(num, x_o, seed + 1)
        near = near[region.contains(near)][:num]
        x_near, x_about = (theta + self.noise * rng.normal(size=theta.shape) for theta in (near, about))
        pools = [
            _pool_near(self, region, near, x_near, seed),
            _pool_about(self, x_o, region, about, x_about, seed),
        ]
        verdicts = [
            *_near(self, x_o, region, pools[0], seed),
            check_predictive(x_o, x_about),
            _posterior_sbc(pools[1], seed),
            *_z_scores(pools, seed),
        ]
        return {verdict.name: verdict.p_value for verdict in verdicts}


@pytest.mark.slow
@pytest.mark.parametrize("repetitions", [12, 200])
def test_a_check_of_the_exact_posterior_raises_false_alarms_at_their_nominal_rate(repetitions):
    found = [Exact(x_o=np.array([0.5, -0.5])).p_values(50, seed) for seed in range(repetitions)]
    assert found[0].keys() == {"coverage", "ranks", "TARP", "L-C2ST", "predictive", "posterior SBC", "z-scores"}
    for name in found[0]:
        p = np.array([values[name] for values in found])
        for alpha in (0.01, 0.05, 0.2):
            assert (p < alpha).sum() <= binom.ppf(0.999, repetitions, alpha), name
    for name in ("coverage", "TARP"):  # and not for want of any power
        assert np.mean([values[name] < 0.5 for values in found]) > 0.3


@pytest.mark.parametrize("wrong", [{"width": 2.0}, {"width": 0.4}, {"shift": 1.0}], ids=str)
def test_a_check_of_a_wrong_posterior_finds_it_in_the_region_and_about_x_o(wrong):
    found = Exact(**wrong, x_o=np.array([0.5, -0.5])).p_values(150, 0)
    assert min(found["coverage"], found["ranks"]) < 0.001
    assert found["z-scores"] < 0.001
    assert found["posterior SBC"] < 0.05


@pytest.mark.parametrize("multi_round", [True, False])
def test_a_posterior_of_another_kind_is_checked_by_its_density(multi_round):
    def simulate(theta, rng):
        return theta + 0.5 * rng.normal(size=theta.shape)

    normal = [scipy.stats.norm(), scipy.stats.norm()]
    inference = SNPE(simulate, normal, seed=0, batched=True, show_progress_bars=False)
    check = inference.check(80, posterior=Exact(x_o=np.zeros(2), multi_round=multi_round))
    assert {"coverage", "ranks", "TARP", "predictive", "posterior SBC"} <= {verdict.name for verdict in check}
    assert check.level != "fail"
    assert check["coverage"].n == check["predictive"].n == 40


def several(noise, shift, seed, sets=150, failing=False):
    """What a check says of a likelihood at four trials, and its simulations: of that noise, in place of 0.5."""

    def simulate(theta, rng):
        x = theta + 0.5 * rng.normal(size=theta.shape)
        return np.where(failing & (rng.random((len(theta), 1)) < 0.1), np.nan, x)

    normal = [scipy.stats.norm(), scipy.stats.norm()]
    posterior = MCMCPosterior(
        lambda theta, x: -0.5 * ((theta[:, None] - shift - np.atleast_2d(x)) ** 2).sum((1, 2)) / noise**2,
        as_prior(normal),
        (2,),
        x_o=np.array([[0.5, -0.5], [0.1, 0.2], [0.9, -0.4], [0.3, 0.0]]),
        multi_round=True,
        bank=2048,
        show_progress_bars=False,
    )
    inference = SNPE(simulate, normal, seed=seed, batched=True, show_progress_bars=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of trials that failed
        return inference.check(4 * sets + 3, posterior=posterior), inference.view.simulations()


@pytest.mark.parametrize(
    ("noise", "shift", "sets", "level", "reads"),
    [
        (0.5, 0.0, 150, "pass", ""),
        (0.25, 0.0, 150, "fail", "overconfident"),
        (
            1.5,
            0.0,
            300,
            "care",
            "conservative",
        ),  # told by the trials it has seen: truths lie at least .7 times as far as it says
        (0.5, 0.4, 150, "fail", "shifted"),
    ],
)
def test_a_check_at_several_trials_is_by_sets_of_as_many(noise, shift, sets, level, reads):
    check, simulations = several(noise, shift, seed=1, sets=sets)
    assert check.level == level
    assert reads in {verdict.reads for verdict in check}
    assert check["posterior SBC"].n == check["z-scores"].n == sets
    assert all(check[name].sentence.startswith("By sets of 4 trials, ") for name in ("posterior SBC", "z-scores"))
    assert check.num_simulations == len(simulations["theta"]) == 4 * sets
    theta = simulations["theta"].reshape(sets, 4, 2)
    np.testing.assert_array_equal(theta, np.repeat(theta[:, :1], 4, axis=1))
    assert len(np.unique(simulations["x"], axis=0)) == 4 * sets


def test_a_set_of_trials_of_which_one_failed_is_left_out():
    check, simulations = several(0.5, 0.0, seed=2, failing=True)
    whole = (simulations["status"].reshape(150, 4) == "ok").all(1).sum()
    assert check["posterior SBC"].n == whole < 150
    assert check.level == "pass"


@pytest.mark.slow
def test_a_check_at_several_trials_raises_false_alarms_at_their_nominal_rate():
    found = [several(0.5, 0.0, seed)[0] for seed in range(100)]
    for name in ("posterior SBC", "z-scores"):
        p = np.array([check[name].p_value for check in found])
        for alpha in (0.01, 0.05, 0.2):
            assert (p < alpha).sum() <= binom.ppf(0.999, 100, alpha), name


@pytest.mark.parametrize(
    ("noise", "level", "reads"),
    [
        (0.5, "pass", ""),
        pytest.param(0.3, "fail", "overconfident", marks=pytest.mark.slow),
        pytest.param(1.0, "care", "conservative", marks=pytest.mark.slow),
    ],
)
def test_a_check_of_a_likelihood(noise, level, reads):
    """The exact one; too narrow; too wide."""

    def simulate(theta, rng):
        return theta + 0.5 * rng.normal(size=theta.shape)

    normal = [scipy.stats.norm(), scipy.stats.norm()]
    posterior = MCMCPosterior(
        lambda theta, x: -0.5 * ((theta - x) ** 2).sum(1) / noise**2,
        as_prior(normal),
        (2,),
        x_o=np.array([0.5, -0.5]),
        multi_round=True,
        bank=2048,
        show_progress_bars=False,
    )
    inference = SNPE(simulate, normal, seed=1, batched=True, show_progress_bars=False)
    check = inference.check(200, posterior=posterior)
    assert check.level == level
    assert check["coverage"].reads == reads

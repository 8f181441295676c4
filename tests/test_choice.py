"""Which side stands, how members and sides differ, and when to stop."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import genpareto, norm

from homing import load
from homing.errors import ArgumentError
from homing.estimators import posterior_nn
from homing.inference import SNPE, SideOptions, Stop, sides
from homing.inference.choice import Lead, likelihood_lead
from homing.inference.learner import Material
from homing.posteriors import Ensemble, HybridPosterior
from homing.posteriors.sampling.tail import pareto_shape
from homing.priors import BoxUniform, as_prior
from homing.proposals import FromPrior, Region, TruncatedPrior
from homing.training import FitOptions, MaximumLikelihood
from learning import AFFINE, LinearGaussian, made

BOX = BoxUniform([-1.0, -1.0], [1.0, 1.0])
QUICK = SideOptions(AFFINE, 2, fit=FitOptions(max_num_epochs=60, stop_after_steps=200))
NOISE = 0.5
SPREAD = NOISE / np.sqrt(1 + NOISE**2)  # of the exact posterior under a standard normal prior


class ExactDirect:
    """The exact posterior of z ~ N(0, 1), x ~ N(z, NOISE), but `width` times as wide."""

    def __init__(self, width=1.0):
        self.scale = width * SPREAD

    def member(self, m):
        return self

    def predict(self, x):
        return x

    def sample_pairs(self, x, seed):
        return self._mean(x) + self.scale * np.random.default_rng(seed).normal(size=x.shape)

    def log_prob_pairs(self, z, x):
        return norm.logpdf(z, self._mean(x), self.scale)[:, 0]

    def _mean(self, x):
        return x / (1 + NOISE**2)


def lead_of(direct_width, shift, num=4000):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(num, 1))
    x = z + NOISE * rng.normal(size=z.shape)
    likelihood = SimpleNamespace(log_likelihood_pairs=lambda m, z, x: norm.logpdf(x, z + shift, NOISE)[:, 0])
    held_out = rng.random((2, num)) < 0.1
    prior = as_prior(norm(0, 1))
    weight = np.ones(num)
    return likelihood_lead(ExactDirect(direct_width), likelihood, prior, z, x, weight, held_out, np.zeros(1), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["one", "several"])
def test_held_out_rows_choose_the_family(first, monkeypatch):
    """z is plus or minus what x tells, which one Gaussian cannot say; only the chosen family gets all members."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 1))
    x = np.abs(z) + 0.1 * rng.normal(size=z.shape)
    prior = as_prior(norm(0, 1))
    ones = np.ones(300)
    material = Material(
        prior, z, x, ones, rng.random(300), MaximumLikelihood(), FromPrior(prior), True, None, None, seed=1
    )
    families = [posterior_nn("mdn", hidden_features=8, num_components=count) for count in (1, 4)]
    trained, fit = [], sides.fit
    monkeypatch.setattr(sides, "fit", lambda members, *rest: (trained.append(members), fit(members, *rest))[1])
    options = SideOptions(
        builders=tuple(families if first == "one" else families[::-1]),
        members=3,
        likelihood=None,
        fit=FitOptions(max_num_epochs=60),
    )
    learned = sides.learn_sides(material, options)
    assert [member.core.num_components for member in learned.direct.members] == [4, 4, 4]
    assert sorted(member.core.num_components for members in trained for member in members) == [1, 1, 4, 4, 4]
    assert learned.info.epochs.shape == learned.info.validation_loss.shape == (3,)
    assert learned.info.history.shape == (3, learned.info.epochs.max())
    held = learned.held_out[2]
    score = learned.score(2, z[held], x[held]).mean()
    assert score == pytest.approx(-learned.info.validation_loss[2], abs=1e-3)  # its own held-out rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"builders": posterior_nn("maf")},
            r"builders must be a tuple of one or more of posterior_nn\(...\), found",
        ),
        ({"builders": ()}, r"builders must be a tuple of one or more of posterior_nn\(...\), found \(\)"),
        ({"likelihood": False}, r"likelihood must be likelihood_nn\(...\), or None for none, found False"),
    ],
)
def test_what_sides_are_made_of(options, message):
    with pytest.raises(ArgumentError, match=message):
        SideOptions(**options)


def test_two_exact_sides_are_level():
    lead = lead_of(1.0, 0.0)
    assert lead.mean == pytest.approx(0, abs=1e-6)  # the ratio of equal densities is one at every draw
    assert not lead.is_clear


def test_the_likelihood_leads_by_the_divergence_of_a_direct_side_that_is_too_wide():
    lead = lead_of(3.0, 0.0)
    divergence = np.log(3) + (1 / 9 - 1) / 2
    assert lead.mean == pytest.approx(divergence, abs=4 * lead.error)
    assert lead.is_clear


def test_the_likelihood_falls_behind_by_its_own_divergence():
    lead = lead_of(1.0, 0.5)
    away = 0.5 / (1 + NOISE**2) / SPREAD  # of the posterior's mean, in its standard deviations
    assert lead.mean == pytest.approx(-(away**2) / 2, abs=4 * lead.error)
    assert not lead.is_clear


def test_too_few_pairs_decide_nothing():
    lead = lead_of(3.0, 0.0, num=60)  # three a member are near x_o
    assert lead == Lead(0.0, np.inf)
    assert not lead.is_clear


def test_rows_of_a_narrow_proposal_do_not_speak_for_a_side_that_leans_to_it():
    """Weighed as if from the prior, they speak for the exact direct side; as they are, for a wrong likelihood."""
    rng = np.random.default_rng(0)
    z = 0.3 * rng.normal(size=(40_000, 1))
    x = z + NOISE * rng.normal(size=z.shape)
    weight = np.exp(norm.logpdf(z[:, 0]) - norm.logpdf(z[:, 0], 0, 0.3))
    weight = np.minimum(weight, 20 * np.median(weight))
    wrong = SimpleNamespace(log_likelihood_pairs=lambda m, z, x: norm.logpdf(0.4 * x, z, NOISE)[:, 0])
    rest = (rng.random((20, len(z))) < 0.1, np.zeros(1), 1)
    prior = as_prior(norm(0, 1))
    weighed = likelihood_lead(ExactDirect(), wrong, prior, z, x, weight, *rest)
    taken_as_they_are = likelihood_lead(ExactDirect(), wrong, prior, z, x, np.ones(len(z)), *rest)
    assert not weighed.is_clear
    assert taken_as_they_are.mean > weighed.mean


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.6, 1.0])
def test_the_tails_shape_is_found(shape):
    weights = genpareto.rvs(shape, size=(20, 8192), random_state=1)
    found = [pareto_shape(np.log(row)) for row in weights]
    # 271 excesses determine the shape to (1 + k) / sqrt(271); the prior of ten rows pulls it to a half
    expected = (271 * shape + 5) / 281
    assert np.mean(found) == pytest.approx(expected, abs=4 * (1 + shape) / np.sqrt(271 * 20))


def test_the_tails_shape_tells_a_proposal_that_is_too_narrow():
    z = 0.6 * np.random.default_rng(0).normal(size=8192)
    assert pareto_shape(norm.logpdf(z) - norm.logpdf(z, 0, 0.6)) > 0.5  # 0.64 in the limit
    wide = np.random.default_rng(0).normal(size=8192) * 1.5
    assert pareto_shape(norm.logpdf(wide) - norm.logpdf(wide, 0, 1.5)) < 0
    assert np.isnan(pareto_shape(np.zeros(4)))
    assert np.isnan(pareto_shape(np.zeros(1000)))


def test_members_that_agree_do_not_disagree():
    one = made("maf")
    twice = Ensemble(one.members * 2, np.full(2, 0.5), one.standardize, one.x_shape)
    x = np.zeros(one.x_shape)
    assert one.disagreement(x, 0) is None
    assert twice.disagreement(x, 0) == pytest.approx(0, abs=1e-6)


def test_members_that_share_nothing_disagree_by_what_tells_them_apart():
    one, other = made("maf"), made("maf", size=2.0, seed=3)
    both = Ensemble([*one.members, *other.members], np.full(2, 0.5), one.standardize, one.x_shape)
    assert 0.1 < both.disagreement(np.zeros(one.x_shape), 0) <= np.log(2)


def region(volume):
    prior = as_prior(BoxUniform([0.0], [1.0]))
    return TruncatedPrior(prior, Region(lambda z: -prior.from_normal(z)[:, 0], -volume, np.zeros((1, 1))))


def test_when_to_stop():
    assert not Stop().after(gain=-5.0, disagreement=0.0, seconds=1e9)
    assert Stop(gain=0.1).after(0.05, None, 0.0)
    assert not Stop(gain=0.1).after(None, None, 0.0)  # the first round has no gain
    assert Stop(disagreement=0.1).after(None, 0.05, 0.0)
    assert not Stop(disagreement=0.1).after(None, 0.2, 0.0)
    assert Stop(seconds=10.0).after(None, None, 11.0)
    prior = FromPrior(as_prior(BoxUniform([0.0], [1.0])))
    assert Stop(volume=0.5).before(region(0.6), prior)
    assert not Stop(volume=0.5).before(region(0.4), prior)
    assert Stop(volume=0.5).before(region(0.3), region(0.4))
    assert not Stop(volume=0.5).before(prior, prior)


@pytest.fixture(scope="module")
def hybrid():
    inference = SNPE(LinearGaussian(0.2), BOX, seed=1, batched=True, show_progress_bars=False)
    return inference.run([0.3, 0.1], 200), inference


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_posterior_of_any_share_is_normalised_and_is_that_of_its_draws(hybrid, share):
    made, _ = hybrid
    posterior = HybridPosterior(
        made.direct, made.likelihood, share, multi_round=False, seed=0, x_o=np.array([0.3, 0.1])
    )
    axis = np.linspace(-0.999, 0.999, 120)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(posterior.log_prob(grid)) * (axis[1] - axis[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=0.03)
    draws = posterior.sample((4000,), show_progress_bars=False)
    np.testing.assert_allclose(density @ grid / density.sum(), draws.mean(0), atol=4 * 0.25 / np.sqrt(2000))


def test_a_peak_that_the_direct_sides_draws_missed_does_not_swamp_the_mixture(hybrid, monkeypatch):
    """One member of four knows of a peak: its constant, by 512 draws elsewhere, is too small by hundreds of nats."""
    posterior, _ = hybrid
    x, peak, joint = np.array([[0.3, 0.1], [-0.2, 0.4]]), np.array([1.5, -1.5]), posterior._log_joint_pairs

    def one_has_a_peak(m, z, x):
        return -1e4 * ((z - peak) ** 2).sum(1) if m == 2 else joint(m, z, x)

    monkeypatch.setattr(posterior, "_log_joint_pairs", one_has_a_peak)
    conditionals = posterior.at_each(x, 512, 0)
    at_peak = np.broadcast_to(peak, (2, 1, 2))
    log_prob, log_direct = conditionals.density(np.concatenate([at_peak, conditionals.z], axis=1))
    assert (log_prob - log_direct <= np.log(512) + 1e-6).all()
    assert (log_prob[:, 0] > log_direct[:, 0]).all()  # it still counts


def test_the_record_says_how_the_sides_and_members_compare(hybrid):
    inference = hybrid[1]
    record = inference.rounds[-1]
    assert record.share == hybrid[0].share
    assert 0 < record.disagreement < np.log(4)
    assert record.khat < 1.5
    for heading in ("khat", "members differ", "direct side"):
        assert heading in str(inference.rounds)


def test_a_likelihood_that_leads_stands_alone_also_after_a_crash_and_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "likelihood_lead", lambda *given: Lead(1.0, 0.1))

    def lines():
        inference = SNPE(
            LinearGaussian(0.2), BOX, seed=1, batched=True, store=tmp_path / "run", show_progress_bars=False
        )
        posterior = inference.run([0.3, 0.1], 60, options=QUICK)
        inference.close()
        return posterior, inference.rounds[-1]

    (posterior, record), (resumed, _) = lines(), lines()
    assert posterior.share == record.share == resumed.share == 0
    posterior.save(tmp_path / "file")
    draws = [p.sample((50,)) for p in (posterior, resumed, load(tmp_path / "file"))]
    np.testing.assert_array_equal(draws[0], draws[1])
    np.testing.assert_array_equal(draws[0], draws[2])


def test_one_member_and_few_rows_decide_nothing_and_end_well():
    inference = SNPE(LinearGaussian(0.2), BOX, seed=1, batched=True, show_progress_bars=False)
    posterior = inference.run([0.3, 0.1], 20, options=replace(QUICK, members=1))
    assert posterior.share == 0.5
    assert inference.rounds[-1].disagreement is None
    assert np.isfinite(posterior.sample((20,))).all()


def test_few_rows_in_a_real_ensemble():
    one = made("maf")
    assert one.sample_pairs(np.zeros((0, 2)), 0).shape == (0, 2)


def test_whole_numbers_are_looked_up_at_the_middle_of_their_interval():
    """Counts of a Poisson: the likelihood is that of the interval, not of its start."""

    def count(theta, rng):
        return rng.poisson(np.exp(theta))

    x_o = np.array([2, 5])
    inference = SNPE(count, BoxUniform([-1.0, -1.0], [2.5, 2.5]), seed=1, batched=True, show_progress_bars=False)
    posterior = inference.run(x_o, 600, 1, options=QUICK)
    assert posterior.likelihood.whole.all()
    grid = np.linspace(-1, 2.5, 400)[:, None]
    weight = np.exp(x_o * grid - np.exp(grid))
    mean = (weight * grid).sum(0) / weight.sum(0)
    spread = np.sqrt((weight * (grid - mean) ** 2).sum(0) / weight.sum(0))
    side = posterior.prior.from_normal(posterior.side(posterior.condition_of()).z)
    assert (np.abs(side.mean(0) - mean) < 0.3 * spread).all()
    np.testing.assert_allclose(side.std(0), spread, rtol=0.25)

"""Samplers of densities that are known up to a constant: each against exact answers, and what they report."""

import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp
from scipy.stats import norm, truncnorm

from homing.errors import ArgumentError, ObservationError, ShapeError
from homing.inference.samplers import as_sampler
from homing.posteriors import (
    MCMC,
    EnsemblePosterior,
    ImportanceSamplingPosterior,
    MCMCPosterior,
    RejectionPosterior,
    VIPosterior,
    load,
    sampled_posterior,
)
from homing.posteriors.sampled import sampler_verdict
from homing.posteriors.sampling.chains import effective, rhat
from homing.priors import BoxUniform, as_prior

NORMAL = as_prior([norm(0, 1), norm(0, 1)])
NOISE = 0.5
X_O = np.array([0.8, -0.4])
NUM = 4000
# What each is allowed for the Monte Carlo error of its mean, in draws that count for one.
LIGHT = {"smc": 4, "slice": 4, "nuts": 3, "hmc": 4, "importance": 3, "rejection": 2, "vi": 8}


class LogTarget(eqx.Module):
    """One mode at x, or a second one opposite, under a standard normal prior."""

    x: np.ndarray
    both: bool = eqx.field(static=True)

    def __call__(self, z):
        centres = jnp.stack([self.x, -self.x]) if self.both else self.x[None]
        return logsumexp(-0.5 * ((z - centres) ** 2).sum(1) / NOISE**2) - 0.5 * (z**2).sum()


class Exact:
    """A likelihood with a known posterior: normal, or two normals of equal weight."""

    num_members = 1

    def __init__(self, both=False):
        self.both = both

    def log_likelihood(self, m, z, x):
        centres = [x, -x] if self.both else [x]
        return np.logaddexp.reduce([-0.5 * ((z - c) ** 2).sum(1) / NOISE**2 for c in centres])

    def differentiable(self, m, x):
        return LogTarget(x.astype(np.float32), self.both)


MEAN, STD = X_O / (1 + NOISE**2), np.sqrt(NOISE**2 / (1 + NOISE**2))


@pytest.mark.parametrize("name", [*list(LIGHT)[:-1], pytest.param("vi", marks=pytest.mark.slow)])
def test_a_sampler_gives_the_posterior_and_says_how_well(name):
    posterior = sampled_posterior(Exact(), NORMAL, x_shape=(2,), x_o=X_O, sampler=as_sampler(name), seed=1)
    draws = posterior.sample((NUM,), show_progress_bars=False)
    error = STD * np.sqrt(LIGHT[name] / NUM)
    np.testing.assert_allclose(draws.mean(0), MEAN, atol=5 * error)
    np.testing.assert_allclose(draws.std(0), STD, rtol=5 * np.sqrt(LIGHT[name] / 2 / NUM))
    info = posterior.sampling_info()
    assert info["evidence_effective"] > 0.3
    assert info["evidence_khat"] < 0.7
    if name in ("slice", "nuts", "hmc"):
        assert info["rhat"] < 1.02
        assert info["effective"] > NUM / LIGHT[name] / 2
        assert info["divergences"] == 0
    if name in ("importance", "rejection", "vi"):
        assert info["khat"] < 0.7
        assert info["effective"] > 500


@pytest.mark.slow
@pytest.mark.parametrize("num_leapfrog", [4, 8])
def test_trajectories_do_not_come_back_to_where_they_were(num_leapfrog):
    """On a normal density those of one length may: chains then stay as far from its middle as they began."""
    sampler = MCMC("hmc", num_chains=10, num_leapfrog=num_leapfrog)
    posterior = sampled_posterior(Exact(), NORMAL, x_shape=(2,), sampler=sampler, seed=1)
    info = posterior.sample_anew(2000, X_O, seed=0)[1]
    assert info["rhat"] < 1.02
    assert info["effective"] > 1000


@pytest.mark.parametrize("name", ["smc", "slice", pytest.param("nuts", marks=pytest.mark.slow), "importance"])
def test_both_modes_get_their_share(name):
    x_o = np.array([1.5, 1.5])
    posterior = sampled_posterior(Exact(both=True), NORMAL, x_shape=(2,), x_o=x_o, sampler=as_sampler(name), seed=2)
    draws = posterior.sample((NUM,), show_progress_bars=False)
    assert (draws[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.07)
    np.testing.assert_allclose(np.abs(draws.mean(1)).mean(), 1.5 / (1 + NOISE**2), atol=0.03)


def test_the_density_is_normalised_and_that_of_the_draws():
    posterior = sampled_posterior(Exact(), NORMAL, x_shape=(2,), x_o=X_O, sampler=as_sampler("smc"), seed=1)
    theta = posterior.sample((50,), show_progress_bars=False)
    exact = norm(MEAN, STD).logpdf(theta).sum(1)
    np.testing.assert_allclose(posterior.log_prob(theta), exact, atol=0.05)


def test_the_same_seed_gives_the_same_draws_and_another_x_others():
    def made():
        return MCMCPosterior(Exact(), NORMAL, x_o=X_O, seed=3, show_progress_bars=False)

    one, two = made(), made()
    np.testing.assert_array_equal(one.sample((10,)), two.sample((10,)))
    assert abs(one.sample((500,), x=[-2.0, 2.0]).mean(0)[0] - one.sample((500,)).mean(0)[0]) > 1


def test_the_draws_of_the_last_few_x_are_kept():
    posterior = MCMCPosterior(Exact(), NORMAL, x_o=X_O, bank=2048, show_progress_bars=False)
    first, second, *others = np.random.default_rng(0).normal(size=(8, 2))
    kept, dropped = posterior.side(first), posterior.side(second)
    for x in others:  # eight in all
        posterior.side(x)
    assert posterior.side(first) is kept
    posterior.side(X_O)  # the ninth: the one that was not asked for the longest goes
    assert posterior.side(first) is kept
    again = posterior.side(second)
    assert again is not dropped
    np.testing.assert_array_equal(again.z, dropped.z)


@pytest.mark.parametrize("name", ["smc", "slice", "importance", "rejection"])
def test_two_calls_share_no_draw(name):
    """Whether the second needs more than are left of the first or fewer; importance resampling repeats its draws."""

    def calls(posterior):
        sizes = (3, 1500, 1500, 3000, 1)
        return [posterior.sample((num,), show_progress_bars=False) for num in sizes]

    def made():
        return sampled_posterior(
            Exact(),
            NORMAL,
            x_shape=(2,),
            x_o=X_O,
            sampler=as_sampler(name),
            seed=1,
            bank=2048,
            show_progress_bars=False,
        )

    first = calls(made())
    assert [len(np.unique(part, axis=0)) > 0.8 * len(part) for part in first] == [True] * 5
    each = [set(map(tuple, part)) for part in first]
    assert sum(map(len, each)) == len(set.union(*each))
    other = made()
    other.sample((700,), x=[-2.0, 2.0])  # which uses up nothing of those at x_o
    for one, two in zip(first, calls(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_draws_of_many_calls_are_those_of_the_posterior():
    """Also of importance resampling, whose repeated draws weigh as much in every call as in the first."""
    for name in ("smc", "importance"):
        posterior = sampled_posterior(
            Exact(), NORMAL, x_shape=(2,), x_o=X_O, sampler=as_sampler(name), seed=1, bank=2048
        )
        draws = np.concatenate([posterior.sample((500,), show_progress_bars=False) for _ in range(8)])
        np.testing.assert_allclose(draws.mean(0), MEAN, atol=5 * STD * np.sqrt(2 / len(draws)))
        np.testing.assert_allclose(draws.std(0), STD, rtol=5 * np.sqrt(1 / len(draws)))


def test_a_likelihood_that_is_known_is_a_function_of_theta_and_x():
    def log_likelihood(theta, x):
        return -0.5 * ((theta - x) ** 2).sum(1) / 0.1**2

    for kind in (MCMCPosterior, RejectionPosterior, ImportanceSamplingPosterior):
        posterior = kind(log_likelihood, BoxUniform([-1.0], [1.0]), x_o=[0.95], show_progress_bars=False)
        draws = posterior.sample((2000,))
        assert draws.max() <= 1  # the bound cuts the likelihood in half
        exact = truncnorm(-19.5, 0.5, loc=0.95, scale=0.1)
        assert draws.mean() == pytest.approx(exact.mean(), abs=5 * exact.std() * np.sqrt(3 / 2000))
    assert str(posterior).startswith("Posterior conditional density p(θ|x) (amortized). Evaluates and samples by")
    assert "This ImportanceSamplingPosterior-object was obtained with" in str(posterior)


def test_what_a_likelihood_must_give():
    posterior = MCMCPosterior(lambda theta, x: theta, NORMAL, x_o=X_O, show_progress_bars=False)
    with pytest.raises(ShapeError, match=r"one value for each of \d+ rows of theta, found \(\d+, 2\)"):
        posterior.sample((5,))
    posterior = MCMCPosterior(lambda theta, x: np.where(theta[:, 0] > 0, np.inf, 0.0), NORMAL, x_o=X_O)
    with pytest.raises(ArgumentError, match=r"log likelihood must be below infinity, found inf at theta=\[0\.\d+, "):
        posterior.sample((5,))
    with pytest.raises(ArgumentError, match="The shape of x is not known: pass x_o, or x_shape"):
        MCMCPosterior(Exact(), NORMAL)


def test_gradients_of_a_plain_function_are_refused():
    for posterior in (
        MCMCPosterior(lambda theta, x: -(theta**2).sum(1), NORMAL, x_o=X_O, sampler=MCMC("nuts")),
        VIPosterior(lambda theta, x: -(theta**2).sum(1), NORMAL, x_o=X_O),
    ):
        with pytest.raises(ArgumentError, match="a likelihood given as a NumPy function has none"):
            posterior.sample((5,), show_progress_bars=False)


def test_rejection_that_falls_short_says_so_and_resamples():
    def narrow(theta, x):
        return -0.5 * ((theta - x) ** 2).sum(1) / 0.003**2

    posterior = RejectionPosterior(narrow, NORMAL, x_o=X_O, show_progress_bars=False)
    with pytest.warns(UserWarning, match="Rejection sampling accepted .* fewer than the 16384 draws"):
        draws = posterior.sample((100,))
    np.testing.assert_allclose(draws.mean(0), X_O, atol=0.01)


def test_samplers_by_name():
    assert as_sampler("hmc", {"num_leapfrog": 3}) == MCMC("hmc", num_leapfrog=3)
    assert as_sampler(MCMC("slice", thin=3)).thin == 3
    with pytest.raises(ArgumentError, match=r"sample_with must be one of 'smc', 'mcmc'.*found 'gibbs'"):
        as_sampler("gibbs")
    with pytest.raises(ArgumentError, match="The sampler 'slice' has no option chains; it has num_chains"):
        as_sampler("slice", {"chains": 3})
    with pytest.raises(ArgumentError, match="A sampler is a name, or a value without further options"):
        as_sampler(MCMC(), {"thin": 1})
    with pytest.raises(ArgumentError, match="mcmc_method must be one of 'nuts', 'hmc', 'slice', found 'gibbs'"):
        MCMC("gibbs")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slice", {"num_chains": 0}, "num_chains must be a positive whole number, found 0"),
        ("hmc", {"warmup_steps": -3}, "warmup_steps must be a whole number, 0 or larger, found -3"),
        ("nuts", {"warmup_steps": 2.5}, "warmup_steps must be a whole number, 0 or larger, found 2.5"),
        ("slice", {"thin": True}, "thin must be a positive whole number, found True"),
        ("hmc", {"num_leapfrog": 0}, "num_leapfrog must be a positive whole number, found 0"),
        ("importance", {"oversampling": 0}, "oversampling must be a positive whole number, found 0"),
        ("rejection", {"most": 1.5}, "most must be a positive whole number, found 1.5"),
        ("vi", {"num_steps": -1}, "num_steps must be a positive whole number, found -1"),
        ("vi", {"particles": 0}, "particles must be a positive whole number, found 0"),
        ("vi", {"num_transforms": None}, "num_transforms must be a positive whole number, found None"),
        ("vi", {"hidden_features": "32"}, "hidden_features must be a positive whole number, found '32'"),
    ],
)
def test_the_numbers_of_a_sampler(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        as_sampler(name, options)
    assert MCMC(warmup_steps=0, num_chains=np.int64(5)).num_chains == 5


def test_rhat_and_effective_size_tell_chains_that_have_not_met():
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(200, 10, 1)) + np.arange(10)[:, None]
    walk = 0.1 * np.cumsum(rng.normal(size=(200, 10, 1)), axis=0)
    good = rng.normal(size=(200, 10, 1))
    assert rhat(good) < 1.01 < 1.5 < rhat(apart)
    assert effective(walk) < 100 < 1500 < effective(good) < 2700


def test_rhat_tells_chains_of_equal_mean_and_unequal_width():
    draws = np.random.default_rng(0).normal(size=(200, 10, 2))
    draws[:, :, 1] *= np.where(np.arange(10) < 5, 0.1, 3.0)
    assert rhat(draws[:, :, :1]) < 1.01
    assert rhat(draws) > 1.5


class LogFunnel(eqx.Module):
    """The second parameter is as wide as the exponential of thrice the first."""

    def __call__(self, z):
        return -0.5 * z[0] ** 2 - 3 * z[0] - 0.5 * z[1] ** 2 * jnp.exp(-6 * z[0])


class Funnel:
    num_members = 1

    def log_likelihood(self, m, z, x):
        return -3 * z[:, 0] - 0.5 * z[:, 1] ** 2 * (np.exp(-6 * z[:, 0]) - 1)

    def differentiable(self, m, x):
        return LogFunnel()


@pytest.mark.slow
def test_trajectories_that_diverge_are_counted_and_told():
    posterior = sampled_posterior(Funnel(), NORMAL, x_shape=(2,), x_o=X_O, sampler=as_sampler("nuts"), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that have not met
        info, verdict = posterior.sampling_info(), posterior.check()["sampler"]
    assert info["divergences"] > 200
    assert verdict.level != "pass"


def moons(theta, x):
    """Two thin crescents, back to back."""
    u = np.abs(theta[:, 0]) - 0.25
    return np.where(u > 0, -0.5 * ((np.hypot(u, theta[:, 1]) - 0.3) / 0.03) ** 2, -np.inf)


TEMPERED = {
    "normal": lambda seed: sampled_posterior(Exact(), NORMAL, sampler=as_sampler("smc"), x_o=X_O, seed=seed),
    "two modes": lambda seed: sampled_posterior(
        Exact(both=True), NORMAL, sampler=as_sampler("smc"), x_o=np.array([1.5, 1.5]), seed=seed
    ),
    "moons": lambda seed: MCMCPosterior(moons, BoxUniform([-1.0] * 2, [1.0] * 2), x_o=X_O, seed=seed),
    "funnel": lambda seed: sampled_posterior(Funnel(), NORMAL, sampler=as_sampler("smc"), x_o=X_O, seed=seed),
}


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 22), marks=pytest.mark.slow)], ids=["few", "many"])
@pytest.mark.parametrize("name", TEMPERED)
def test_tempering_tells_whether_it_found_its_target(name, seeds):
    """The funnel's mouth is wider than anything it starts from: z_0 has mean -.4 and deviation .8, not 0 and 1."""
    for seed in seeds:
        posterior = TEMPERED[name](seed)
        side = posterior.side(posterior.condition_of())
        verdict = sampler_verdict(side.info, len(side.z))
        assert (verdict.level != "pass") == (name == "funnel"), (seed, side.info)
        if name == "funnel":
            assert side.z[:, 0].mean() < -0.2
            assert "they are few" in verdict.sentence or "Further moves" in verdict.sentence


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 10, 15])
def test_what_tempered_draws_are_worth_is_what_their_means_vary_by(dim):
    def log_likelihood(theta, x):
        return -0.5 * ((theta - 0.5) ** 2).sum(1) / 0.3**2

    prior, means, told = as_prior([norm(0, 1)] * dim), [], []
    for seed in range(40):
        side = MCMCPosterior(log_likelihood, prior, x_o=X_O, bank=8192, seed=seed).side(X_O)
        means.append(side.z.mean(0))
        told.append(side.info["effective"])
    worth = 0.3**2 / (1 + 0.3**2) / np.var(means, axis=0, ddof=1).mean()
    assert 0.4 * worth < np.median(told) < 1.6 * worth  # told is the least over parameters


def islands(theta, x):
    """Two far from each other: no line through one meets the other."""
    return np.logaddexp(*(-0.5 * ((theta - c) ** 2).sum(1) / 0.01**2 for c in (-0.8, 0.8)))


def test_chains_that_do_not_meet_are_told():
    posterior = MCMCPosterior(
        islands, BoxUniform([-1.0] * 4, [1.0] * 4), x_o=[0.0] * 4, sampler=MCMC(num_chains=200, thin=1)
    )
    with pytest.warns(
        UserWarning, match=r"chains that drew the posterior disagree \(R-hat .*sampling_info\(\) has the"
    ):
        info = posterior.sampling_info()
    assert info["rhat"] > 1.5
    assert info["effective"] < 400
    assert posterior.check()["sampler"].level == "fail"


def narrow(theta, x):
    return -0.5 * ((theta - 0.3) ** 2).sum(1) / 1e-4**2


def edge(theta, x):
    return 1e4 * theta.sum(1)


def cliffs(theta, x):
    """A normal density on half of the box, and no number on the other."""
    return np.where(theta[:, 0] > 0, -0.5 * ((theta - 0.3) ** 2).sum(1) / 0.1**2, np.nan)


HARD = {
    narrow: (0.3, 1e-4),
    edge: (1 - 1e-4, 1e-4),
    cliffs: (0.3, 0.1),
}  # mean and standard deviation of each parameter


def hard(log_likelihood, name, dim):
    """With few draws kept, so that it is quick."""
    box = BoxUniform([-1.0] * dim, [1.0] * dim)
    options = {"x_o": np.zeros(dim), "bank": 2048, "show_progress_bars": False}
    return MCMCPosterior(log_likelihood, box, sampler=as_sampler(name), **options)


@pytest.mark.parametrize("log_likelihood", HARD)
@pytest.mark.parametrize("name", ["smc", "slice"])
def test_hard_targets_are_found(log_likelihood, name):
    posterior = hard(log_likelihood, name, 5)
    draws, (mean, std) = posterior.sample((2048,)), HARD[log_likelihood]
    np.testing.assert_allclose((draws.mean(0) - mean) / std, 0, atol=0.25)
    np.testing.assert_allclose(draws.std(0) / std, 1, atol=0.2)
    few = (name, log_likelihood) == ("smc", edge)  # over 30 seeds, its 2048 draws are worth 250
    assert sampler_verdict(posterior.sampling_info(), 2048).level == ("care" if few else "pass")
    assert np.isfinite(posterior.log_prob(draws)).all()


@pytest.mark.parametrize("log_likelihood", [narrow, edge])
@pytest.mark.parametrize("name", ["importance", "rejection"])
def test_targets_that_proposals_miss_are_told(log_likelihood, name):
    posterior = hard(log_likelihood, name, 5)
    with pytest.warns(UserWarning, match=r"draws of the posterior are worth 1.* independent ones: they are few"):
        draws = posterior.sample((100,))
    assert (np.abs(draws) <= 1).all()
    assert posterior.sampling_info()["effective"] < 2
    assert sampler_verdict(posterior.sampling_info(), 2048).level == "fail"
    one_good = EnsemblePosterior([hard(log_likelihood, "smc", 5), posterior], show_progress_bars=False)
    assert one_good.sampling_info()["effective"] < 4


@pytest.mark.parametrize("name", LIGHT)
def test_an_x_that_is_impossible_is_refused(name):
    for nothing in (-np.inf, np.nan):
        posterior = hard(lambda theta, x, nothing=nothing: np.full(len(theta), nothing), name, 2)
        with pytest.raises(
            ObservationError, match=r"density is zero at all \d+ points that were tried.*Check x and the"
        ):
            posterior.sample((5,))


class TestEnsemble:
    def made(self, **options):
        one, two = (
            MCMCPosterior(lambda theta, x, c=c: -200 * (theta[:, 0] - c) ** 2, BoxUniform([-1.0], [1.0]), x_o=[0.0])
            for c in (-0.5, 0.5)
        )
        return EnsemblePosterior([one, two], [1, 3], show_progress_bars=False, **options)

    def test_it_is_the_mixture(self):
        posterior = self.made()
        draws = posterior.sample((4000,))[:, 0]
        assert (draws > 0).mean() == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / 4000))
        exact = np.log(0.25 * norm.pdf(-0.45, -0.5, 0.05) + 0.75 * norm.pdf(-0.45, 0.5, 0.05))
        assert posterior.log_prob([[-0.45]])[0] == pytest.approx(exact, abs=0.05)
        assert "mixture of 2 posteriors" in str(posterior)

    def test_it_reports_the_worst_of_its_samplers(self):
        posterior = self.made()
        each = [member.sampling_info() for member in posterior.posteriors]
        for name, choose in {"evidence_khat": max, "evidence_effective": min}.items():
            assert posterior.sampling_info()[name] == choose(info[name] for info in each)

    def test_its_calls_share_no_draw(self):
        posterior = self.made()
        first, second = (set(posterior.sample((10_000,))[:, 0]) for _ in range(2))
        assert len(first) == len(second) == 10_000
        assert not first & second

    def test_its_check_has_a_verdict_of_them(self):
        assert self.made().check()["sampler"].level == "pass"

    def test_what_it_refuses(self):
        with pytest.raises(ArgumentError, match="needs at least one"):
            EnsemblePosterior([])
        members = self.made().posteriors
        with pytest.raises(ArgumentError, match="weights must be 2 numbers"):
            EnsemblePosterior(members, [1, -1])
        other = MCMCPosterior(lambda theta, x: theta[:, 0], BoxUniform([0.0], [1.0]), x_o=[0.0])
        with pytest.raises(ArgumentError, match="must have one prior and one shape of x"):
            EnsemblePosterior([members[0], other])


def test_an_ensemble_of_exact_posteriors_in_a_file(tmp_path):
    posterior = MCMCPosterior(lambda theta, x: -(theta**2).sum(1), NORMAL, x_o=X_O)
    with pytest.raises(ArgumentError, match="cannot be stored"):
        posterior.save(tmp_path / "posterior.npz")
    with pytest.raises(Exception, match="cannot be read"):
        load(tmp_path / "posterior.npz")


def test_conditionals_hold_the_other_parameters():
    """Two parameters whose difference is known well: each alone is loose, and tight once the other is held."""

    def log_likelihood(theta, x):
        return -0.5 * (theta[:, 0] - theta[:, 1]) ** 2 / 0.1**2

    posterior = MCMCPosterior(log_likelihood, BoxUniform([-1.0] * 3, [1.0] * 3), x_o=[0.0], show_progress_bars=False)
    assert posterior.sample((2000,)).std(0)[0] > 0.45
    draws = posterior.sample_conditional((2000,), condition=[0.0, 0.3, 0.0], dims=[0])
    assert draws.shape == (2000, 1)
    assert draws.mean() == pytest.approx(0.3, abs=0.015)
    assert draws.std() == pytest.approx(0.1, rel=0.1)
    correlation = posterior.conditional_corrcoeff([0.0, 0.0, 0.0])
    assert correlation[0, 1] > 0.8
    assert abs(correlation[0, 2]) < 0.01
    np.testing.assert_allclose(np.diag(correlation), 1)


@pytest.mark.parametrize("width", [1e-1, 1e-2, 1e-3, 1e-4])
def test_conditional_correlations_do_not_depend_on_the_scale(width):
    """theta_1 and theta_2 are theta_3 and normal noise of correlation .9, as wide as this: far narrower than alone."""
    precision = np.linalg.inv(width**2 * np.array([[1, 0.9], [0.9, 1]]))

    def log_likelihood(theta, x):
        noise = theta[:, :2] - theta[:, 2:]
        return -0.5 * np.einsum("ni,ij,nj->n", noise, precision, noise)

    posterior = MCMCPosterior(log_likelihood, BoxUniform([-1.0] * 3, [1.0] * 3), x_o=[0.0], bank=4096)
    correlation = posterior.conditional_corrcoeff([0.03, 0.03, 0.03])
    np.testing.assert_allclose(correlation[0, 1], 0.9, atol=1e-6)
    np.testing.assert_allclose(correlation[:2, 2], np.sqrt((1 - 0.9) / 2), atol=1e-6)


def test_conditional_correlations_of_distant_narrow_modes():
    """No grid has the two: with one alone, or what lies between them, the correlation would be zero."""
    posterior = MCMCPosterior(islands, BoxUniform([-1.0] * 3, [1.0] * 3), x_o=[0.0], bank=4096)
    correlation = posterior.conditional_corrcoeff([0.0, 0.0, 0.0])
    np.testing.assert_allclose(correlation, 1, atol=1e-3)


def test_what_conditionals_refuse():
    posterior = MCMCPosterior(Exact(), NORMAL, x_o=X_O, show_progress_bars=False)
    with pytest.raises(ArgumentError, match=r"dims must be distinct indices from 0 to 1, at least one, found \[2\]"):
        posterior.sample_conditional((5,), [0.0, 0.0], [2])
    with pytest.raises(ShapeError, match=r"condition must be one theta, shape \(2,\), found \(3,\)"):
        posterior.sample_conditional((5,), [0.0, 0.0, 0.0], [0])
    box = MCMCPosterior(lambda theta, x: theta[:, 0], BoxUniform([0.0], [1.0]), x_o=[0.0])
    with pytest.raises(ArgumentError, match="condition must lie within the prior's support"):
        box.conditional_corrcoeff([2.0])


def test_a_target_wider_than_its_proposals_is_reported_and_doubted():
    posterior = ImportanceSamplingPosterior(
        lambda theta, x: 0.4 * (theta**2).sum(1), NORMAL, x_o=X_O, show_progress_bars=False
    )
    khat = posterior.sampling_info()["khat"]
    assert khat > 0.6  # weights exp(.4 z^2) of a normal z: .8 in the limit
    assert posterior.check()["sampler"].statistic == khat

"""Whole checks of posteriors that are known: the exact one is believed, and one that is a little wrong is not.

False alarms are counted over whole runs, the answer's too, in `make test-slow`.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.stats
from scipy.stats import binom

from homing import random
from homing.diagnostics import check_agreement
from homing.diagnostics.predictive import UNLIKE
from homing.diagnostics.verdict import CARE, FAIL
from homing.estimators.standardize import fit_standardize
from homing.inference import SNPE
from homing.inference.methods import Truncated
from homing.posteriors import DirectPosterior
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.sampling.tail import pareto_shape
from homing.posteriors.sampling.tempered import effective_share

NOISE = 0.5
GAIN = 1 / (1 + NOISE**2)  # theta ~ N(0, 1), x = theta + noise: the posterior is N(gain x, sd^2)
SD = NOISE * np.sqrt(GAIN)
EXACT, WIDE, NARROW, SHIFTED = (1.0, 0.0), (2.0, 0.0), (0.5, 0.0), (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Known(Ensemble):
    """An ensemble whose members are the exact posterior, each made wider and moved by its standard deviations."""

    @property
    def dim(self):
        return self.x_shape[0]

    def member(self, m):
        return Known([self.members[m]], np.ones(1), self.standardize, self.x_shape)

    def predict(self, x):
        return GAIN * x

    def sample(self, num, x, seed, on_chunk=None):
        rng = random.generator(seed, "known")
        width, shift = np.array(self.members)[rng.choice(len(self.members), num, p=self.weights)].T[:, :, None]
        return GAIN * x + shift * SD + width * SD * rng.normal(size=(num, self.dim))

    def sample_pairs(self, x, seed):
        return self.member(0).sample(len(x), x, seed)

    def log_prob(self, z, x):
        parts = [scipy.stats.norm.logpdf(z, GAIN * x + shift * SD, width * SD) for width, shift in self.members]
        return self._mixed([part.sum(-1) for part in parts])

    log_prob_pairs = log_prob


def simulate(theta, rng):
    return theta + NOISE * rng.normal(size=theta.shape)


def run_of(members, seed, dim=2, num=(500, 300), epsilon=1e-3):
    """A run of two rounds, the second within the region of the posterior, which is of these members."""
    rng = np.random.default_rng(seed)
    x_o = np.resize([0.5, -0.5], dim)
    inference = SNPE(simulate, [scipy.stats.norm()] * dim, seed=seed, batched=True, show_progress_bars=False)
    theta = rng.normal(size=(num[0], dim))
    x = simulate(theta, rng)
    inference.append_simulations(theta, x)
    campaign, method = inference._campaign, Truncated(epsilon)
    ensemble = Known(members, np.full(len(members), 1 / len(members)), fit_standardize(x), (dim,))
    options = {"seed": seed, "x_o": x_o, "multi_round": True, "show_progress_bars": False}
    posterior = DirectPosterior(ensemble, inference.prior, predicted=campaign.predicted(), **options)
    proposal = method.propose(posterior, None, seed)
    theta = proposal.draw(num[1], seed)
    campaign.append(theta, simulate(theta, rng), proposal)
    inference._keep(posterior, method)
    return inference


@pytest.fixture(scope="module")
def checks():
    """Of the exact posterior, a wide, a narrow and a shifted one."""
    cases = {"exact": EXACT, "wide": WIDE, "narrow": NARROW, "shifted": SHIFTED}
    return {name: run_of([case] * 4, seed=3).check(200) for name, case in cases.items()}


def test_the_exact_posterior_is_believed_and_wrong_ones_are_not(checks):
    assert {name: check.level for name, check in checks.items()} == {
        "exact": "pass",
        "wide": "care",
        "narrow": "fail",
        "shifted": "fail",
    }
    assert checks["exact"].sentence == "Believe: nothing that was looked at speaks against it."


def test_all_that_calibrates_reads_what_is_wrong(checks):
    for name in ("coverage", "z-scores", "posterior SBC", "left-out rows"):
        assert checks["wide"][name].reads == "conservative"
        assert checks["narrow"][name].reads == "overconfident"
    for name in ("ranks", "z-scores", "posterior SBC", "left-out rows"):
        assert checks["shifted"][name].reads == "shifted"
    assert {check["left-out rows"].level for check in checks.values()} == {"pass", "care"}  # never "do not believe"


def test_shrinkage_is_what_the_posterior_says(checks):
    for name, width in (("exact", 1.0), ("wide", 2.0), ("narrow", 0.5)):
        found = checks[name]["shrinkage"].curves["shrinkage"]
        np.testing.assert_allclose(found, 1 - (width * SD) ** 2, atol=0.05 * width**2)
        assert checks[name]["shrinkage"].level == "pass"


def test_members_that_differ_are_told():
    levels = {}
    for name, case in {"wide": WIDE, "narrow": NARROW, "shifted": (1.0, 4.0)}.items():
        alike, mixed = (run_of(members, seed=0).check(0)["members"] for members in ([case] * 2, [EXACT, case]))
        assert alike.statistic == pytest.approx(0, abs=1e-6)
        assert alike.level == "pass"
        levels[name] = mixed.level
    assert levels == {"wide": "pass", "narrow": "pass", "shifted": "care"}  # only members that exclude each other


def test_a_region_that_lost_some_of_the_posterior_is_told():
    right, small = (run_of([EXACT], seed=0, num=(3000, 300), epsilon=epsilon).check(0) for epsilon in (1e-3, 0.5))
    assert right["truncation"].level == "pass"
    assert small["truncation"].level == "care"
    assert small["truncation"].statistic == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(
    ("width", "shift", "level"), [(1.0, 0.0, "pass"), (1.5, 0.0, "pass"), (0.4, 0.0, "care"), (1.0, 2.0, "care")]
)
def test_two_sides_agree_unless_one_is_too_narrow_or_elsewhere(width, shift, level):
    """Weights of the exact density in two dimensions, of draws of another: their effective share is known."""
    rng = np.random.default_rng(0)
    z = shift + width * rng.normal(size=(4096, 2))
    log_weights = (scipy.stats.norm.logpdf(z) - scipy.stats.norm.logpdf(z, shift, width)).sum(1)
    effective = effective_share(log_weights)
    if width >= 1:
        assert effective == pytest.approx((np.sqrt(2 * width**2 - 1) / width**2 * np.exp(-(shift**2))) ** 2, abs=0.03)
    assert check_agreement(effective, pareto_shape(log_weights), len(z)).level == level


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 3])
def test_right_posteriors_are_believed_in_95_of_100_checks(dim):
    found = [run_of([EXACT] * 4, seed, dim).check(200) for seed in range(200)]
    levels = Counter(check.level for check in found)
    assert levels["care"] + levels["fail"] <= binom.ppf(0.999, 200, 8 * CARE + UNLIKE)
    assert levels["fail"] <= binom.ppf(0.999, 200, 8 * FAIL)
    names = [verdict.name for verdict in found[0] if verdict.p_value is not None]
    assert len(names) == 10
    for name in names:
        p = np.array([check[name].p_value for check in found])
        for alpha in (0.01, 0.05, 0.2):
            assert (p <= alpha).sum() <= binom.ppf(0.999, len(p), alpha), name


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("case", [(0.7, 0.0), (1.0, 0.5)], ids=["30 % too narrow", "half a standard deviation off"])
def test_posteriors_that_are_a_little_wrong_are_not_believed(dim, case):
    levels = Counter(run_of([case] * 4, seed, dim).check(200).level for seed in range(50))
    assert levels["pass"] <= binom.ppf(0.999, 50, 0.05)
    assert levels["fail"] >= binom.ppf(0.001, 50, 0.7)

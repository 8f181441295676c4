"""A check says what cannot be computed, of any posterior and any simulator, and raises nothing."""

import numpy as np
import pytest

from homing.diagnostics import check_shrinkage, check_z_scores
from homing.diagnostics.verdict import untold
from homing.errors import ObservationError
from homing.inference import SNPE
from homing.posteriors import Posterior
from homing.priors import BoxUniform, as_prior


class Fake(Posterior):
    """A posterior by a function that draws, from the number, the number of parameters and a generator."""

    _origin, _learned = "", {}

    def __init__(self, dim, columns, draw, log_prob=lambda z: -0.5 * (z**2).sum(1)):
        prior = as_prior(BoxUniform([-1.0] * dim, [1.0] * dim))
        super().__init__(prior, (columns,), multi_round=False, seed=0, show_progress_bars=False)
        self.draws, self.log_prob_of = draw, log_prob
        self._x_o = np.zeros(columns)

    def draw_normal(self, num, x, seed, on_chunk=None):
        return self.draws(num, self.prior.dim, np.random.default_rng(seed))

    def log_prob_normal(self, z, x):
        return self.log_prob_of(z)


def raises(num, dim, rng):
    raise ObservationError("the density is zero everywhere")


def breaks(num, dim, rng):
    raise np.linalg.LinAlgError("Singular matrix")


def normal(num, dim, rng):
    return rng.normal(size=(num, dim))


POSTERIORS = {  # and whether each is one that must not be trusted
    "prior": (normal, {}, False),
    "a point": (lambda num, dim, rng: np.full((num, dim), 0.3), {}, True),
    "a point at the bound": (lambda num, dim, rng: 60 + normal(num, dim, rng), {}, True),
    "two numbers": (lambda num, dim, rng: rng.choice([-0.1, 0.2], (num, dim)), {}, False),
    "NaN": (lambda num, dim, rng: np.full((num, dim), np.nan), {}, True),
    "some NaN": (lambda num, dim, rng: np.where(normal(num, dim, rng) > 2, np.nan, normal(num, dim, rng)), {}, True),
    "infinite": (lambda num, dim, rng: np.full((num, dim), np.inf), {}, True),
    "cannot be drawn from": (raises, {}, True),
    "breaks": (breaks, {}, True),
    "no density": (normal, {"log_prob": lambda z: np.full(len(z), -np.inf)}, False),
    "density NaN": (normal, {"log_prob": lambda z: np.full(len(z), np.nan)}, False),
    "density breaks": (normal, {"log_prob": lambda z: breaks(0, 0, None)}, False),
}


def failing(theta, rng):
    raise ValueError("no such thing")


def once(theta, rng):
    once.count = getattr(once, "count", 0) + 1
    return np.full(3, 0.1 if once.count == 1 else np.nan)


SIMULATORS = {
    "right": lambda theta, rng: np.resize(theta, 3) + rng.normal(size=3),
    "constant": lambda theta, rng: np.ones(3),
    "all NaN": lambda theta, rng: np.full(3, np.nan),
    "all raise": failing,
    "one is valid": once,
    "infinite": lambda theta, rng: np.full(3, np.inf),
    "huge": lambda theta, rng: np.full(3, 1e300) * rng.normal(size=3),
}


def checked(simulator, posterior, num):
    prior = posterior.prior
    return SNPE(simulator, prior, seed=1, batched=False, show_progress_bars=False).check(num, posterior=posterior)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", POSTERIORS)
def test_of_any_posterior(name, dim):
    draw, options, is_wrong = POSTERIORS[name]
    for num in (0, 1, 60):
        check = checked(SIMULATORS["right"], Fake(dim, 3, draw, **options), num)
        assert check.num_simulations == num
        assert str(check)
        if is_wrong:
            assert check.level == "fail"
        elif num == 60 and name != "prior":
            assert check.level != "pass"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIMULATORS)
def test_of_any_simulator(name):
    for num in (1, 2, 40):
        check = checked(SIMULATORS[name], Fake(2, 3, normal), num)
        assert check.num_simulations == num
        if name not in ("right", "huge") or num < 40:  # both tell nothing, and the prior is right of them
            assert check.level != "pass"
            assert "calibration" in {verdict.name for verdict in check} or check.level == "fail"


def test_of_one_column():
    check = checked(lambda theta, rng: theta[:1] + rng.normal(), Fake(1, 1, normal), 60)
    assert {"coverage", "ranks", "TARP", "predictive"} <= {verdict.name for verdict in check}


def test_parameters_that_are_repeated_do_not_count_twice():
    """Of draws that are three values over and over there are no ranks; of a few that are repeated, there are."""

    def few(num, dim, rng):
        return np.random.default_rng(0).normal(size=(3, dim))[rng.integers(3, size=num)]

    def some(num, dim, rng):
        z = normal(num, dim, rng)
        z[: num // 5] = z[0]
        return z

    check = checked(SIMULATORS["right"], Fake(2, 3, few), 100)
    assert "posterior SBC" not in {verdict.name for verdict in check if verdict.p_value is not None}
    said = [verdict.sentence for verdict in check if verdict.name.startswith("calibration")]
    assert any("3 of the 50 parameters that were simulated with are distinct" in sentence for sentence in said)
    check = checked(SIMULATORS["right"], Fake(2, 3, some), 100)
    assert check["posterior SBC"].n == 50 - 9


def test_truths_that_are_one_number_have_a_z_score():
    draws = np.random.default_rng(0).normal(size=(30, 40, 2))
    for made in (draws, np.zeros((30, 40, 2))):
        verdict = check_z_scores(np.zeros((30, 2)), made)
        assert np.isfinite(verdict.statistic)
        assert np.isfinite(verdict.curves["z_scores"]).all()


def test_what_is_no_posterior():
    prior = np.random.default_rng(0).normal(size=(1000, 2))
    assert check_shrinkage(np.zeros((50, 2)), prior).level == "fail"
    assert "theta[1]" in check_shrinkage(prior * [1.0, 0.0], prior).sentence
    assert check_shrinkage(4 * prior, prior).level == "care"
    assert untold("ranks", ValueError("")).sentence == "Ranks cannot be told: ValueError."

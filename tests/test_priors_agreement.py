"""Whether a user's `sample` and `log_prob` belong together: wrong ones are refused, right ones of any kind are not."""

import numpy as np
import pytest
import scipy.stats as st
from scipy.special import logsumexp

from homing.errors import PriorError
from homing.priors import as_prior


class Own:
    """A user's object."""

    def __init__(self, draw, log_prob, **attributes):
        self.draw, self.density = draw, log_prob
        vars(self).update(attributes)

    def sample(self, num, rng):
        return self.draw(rng, num)

    def log_prob(self, theta):
        return self.density(theta)


def one(draw, log_prob):
    return Own(lambda rng, num: draw(rng, num)[:, None], lambda theta: log_prob(theta[:, 0]))


def log_normal_without_jacobian(t):
    return np.where(t > 0, st.norm.logpdf(np.log(np.where(t > 0, t, 1.0))), -np.inf)


def normals(dim, widths=1.0, place=0.0):
    return Own(lambda rng, num: place + widths * rng.normal(size=(num, dim)), lambda t: st.norm.logpdf(t).sum(1))


WIDE_IN_ONE = np.where(np.arange(30) == 7, 2.0, 1.0)
WRONG = {
    "density, not its logarithm": (lambda: one(lambda rng, n: rng.normal(size=n), st.norm.pdf), "too narrow|too low"),
    "logarithm to the base of ten": (
        lambda: one(lambda rng, n: rng.normal(size=n), lambda t: st.norm.logpdf(t) / np.log(10)),
        "too narrow",
    ),
    "three times as wide": (lambda: normals(1, 3.0), "too wide"),
    "a third as wide": (lambda: normals(1, 1 / 3), "too narrow"),
    "a fifth wider": (lambda: normals(1, 1.2), "too wide"),
    "moved by one sd": (lambda: normals(1, place=1.0), "too high"),
    "moved by four tenths": (lambda: normals(2, place=0.4), "too high"),
    "without its Jacobian": (
        lambda: one(lambda rng, n: rng.lognormal(size=n), log_normal_without_jacobian),
        r"too low, of theta\[0\]",
    ),
    "variance for width": (lambda: normals(3, np.sqrt(2)), "too wide"),
    "one of thirty twice as wide": (lambda: normals(30, WIDE_IN_ONE), r"too wide, of theta\[7\]"),
    "thirty a tenth wider": (lambda: normals(30, 1.1), "too wide, of all"),
    "correlated, said independent": (
        lambda: Own(lambda rng, n: rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], n), st.norm(0, 1).logpdf),
        "shape",
    ),
    "impossible draws by a sentinel": (
        lambda: one(lambda rng, n: rng.uniform(0, 2, n), lambda t: np.where((t >= 0) & (t <= 1), 0.0, -1e10)),
        "do not describe the same distribution",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_belong_together_is_refused(name):
    make, message = WRONG[name]
    with pytest.raises(PriorError, match=message):
        as_prior(make())


RHO = np.full((30, 30), 0.99) + 0.01 * np.eye(30)
MODES = np.array([[-8.0, -8.0], [8.0, 8.0], [8.0, -8.0]])


def mixture(centres, width):
    """Narrow normals far from each other."""
    dim = centres.shape[1]

    def draw(rng, num):
        return centres[rng.integers(len(centres), size=num)] + width * rng.normal(size=(num, dim))

    def log_prob(theta):
        each = st.norm.logpdf(theta[:, None], centres, width).sum(2)
        return logsumexp(each, axis=1) - np.log(len(centres))

    return Own(draw, log_prob)


def spike_and_slab(rng, num):
    return np.where(rng.random(num) < 0.3, 1e-3 * rng.normal(size=num), rng.normal(size=num))


RIGHT = {
    "normal": lambda: normals(1),
    "thirty normals": lambda: normals(30),
    "Cauchy": lambda: one(lambda rng, n: rng.standard_cauchy(n), st.cauchy.logpdf),
    "Student of one degree in five": lambda: Own(
        lambda rng, n: rng.standard_t(1.5, (n, 5)), lambda t: st.t(1.5).logpdf(t).sum(1)
    ),
    "log-normal, wide": lambda: one(lambda rng, n: rng.lognormal(0, 3, n), st.lognorm(3).logpdf),
    "correlated in thirty": lambda: Own(
        lambda rng, n: rng.multivariate_normal(np.zeros(30), RHO, n), st.multivariate_normal(np.zeros(30), RHO).logpdf
    ),
    "three modes": lambda: mixture(MODES, 0.05),
    "two modes in ten": lambda: mixture(np.array([[-3.0] * 10, [3.0] * 10]), 0.3),
    "spike and slab": lambda: one(
        spike_and_slab,
        lambda t: np.logaddexp(np.log(0.3) + st.norm.logpdf(t, 0, 1e-3), np.log(0.7) + st.norm.logpdf(t)),
    ),
    "poles": lambda: one(lambda rng, n: rng.beta(0.5, 0.4, n), st.beta(0.5, 0.4).logpdf),
    "uniform, float32": lambda: Own(
        lambda rng, n: rng.uniform(5, 6, (n, 3)).astype(np.float32),
        lambda t: np.where(((t >= 5) & (t <= 6)).all(1), 0.0, -np.inf),
    ),
    "banana": lambda: Own(
        lambda rng, n: (lambda a, b: np.stack([a, b + a**2], 1))(rng.normal(size=n), 0.1 * rng.normal(size=n)),
        lambda t: st.norm.logpdf(t[:, 0]) + st.norm.logpdf(t[:, 1], t[:, 0] ** 2, 0.1),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_what_belongs_together_is_taken_in_any_unit(name, unit):
    if unit != 1.0 and name in ("uniform, float32", "poles"):
        pytest.skip("float32 ends there" if "float" in name else "rounded onto a pole")
    own = RIGHT[name]()
    scaled = Own(
        lambda rng, num: own.sample(num, rng) * np.asarray(unit, own.sample(2, rng).dtype),
        lambda theta: own.log_prob(theta / unit) - theta.shape[1] * np.log(unit),
    )
    prior = as_prior(scaled)
    assert prior.log_constant == 0


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 4])
def test_false_alarms_do_not_come(dim):
    """At a millionth each, not one in some hundred; by draws of other seeds."""
    from homing.priors.agreement import check_agreement

    for seed in range(300):
        rng = np.random.default_rng(seed)
        draws = rng.standard_t(3, (4096, dim))
        check_agreement(lambda t: st.t(3).logpdf(t).sum(1), draws, np.zeros(dim), np.eye(dim), rng, "")


@pytest.mark.parametrize("constant", [-3.0, 7.0, np.log(25.0)])
def test_a_log_prob_up_to_a_constant_is_normalised(constant):
    box = Own(
        lambda rng, n: rng.uniform(0, 5, (n, 2)), lambda t: np.where(((t >= 0) & (t <= 5)).all(1), constant, -np.inf)
    )
    np.testing.assert_allclose(as_prior(box).log_prob(np.array([[1.0, 4.0]])), -np.log(25.0), atol=0.1)
    normal = Own(lambda rng, n: rng.normal(size=(n, 3)), lambda t: constant - 0.5 * (t**2).sum(1))
    expected = st.norm.logpdf(0.0) * 3
    np.testing.assert_allclose(as_prior(normal).log_prob(np.zeros((1, 3))), expected, atol=0.1)


# Impossible, said by a number


def in_a_box(impossible):
    return Own(
        lambda rng, n: rng.uniform(size=(n, 2)), lambda t: np.where(((t >= 0) & (t <= 1)).all(1), 0.0, impossible)
    )


IMPOSSIBLE = {
    **{
        f"{value:g}": (lambda value=value: in_a_box(value))
        for value in (-1e2, -1e5, -1e10, -1e300, np.finfo(float).min)
    },
    "of each parameter": lambda: Own(
        lambda rng, n: rng.uniform(size=(n, 2)), lambda t: np.where((t >= 0) & (t <= 1), 0.0, -1e8).sum(1)
    ),
    "a steep wall": lambda: Own(
        lambda rng, n: rng.uniform(size=(n, 2)),
        lambda t: -1e12 * (np.maximum(t - 1, 0) ** 2 + np.maximum(-t, 0) ** 2).sum(1),
    ),
    "of one parameter": lambda: Own(
        lambda rng, n: np.stack([rng.uniform(size=n), rng.normal(size=n)], 1),
        lambda t: st.norm.logpdf(t[:, 1]) + np.where((t[:, 0] >= 0) & (t[:, 0] <= 1), 0.0, -1e6),
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_number_that_says_impossible_is_a_bound(name):
    prior = as_prior(IMPOSSIBLE[name]())
    bounded = [0] if name == "of one parameter" else [0, 1]
    np.testing.assert_allclose(prior.low[bounded], 0.0, atol=1e-4)
    np.testing.assert_allclose(prior.high[bounded], 1.0, atol=1e-4)
    assert np.isinf(prior.high).sum() == 2 - len(bounded)
    assert (prior.log_prob(np.array([[1.1, 0.5]])) == -np.inf).all()


def test_a_support_that_is_no_box_is_refused_also_if_a_number_says_impossible():
    ordered = Own(
        lambda rng, n: np.sort(rng.uniform(size=(n, 2)), axis=1),
        lambda t: np.where((t[:, 0] >= 0) & (t[:, 1] <= 1) & (t[:, 0] < t[:, 1]), np.log(2.0), -1e10),
    )
    with pytest.raises(PriorError, match="must be a box"):
        as_prior(ordered)


@pytest.mark.parametrize(
    "own",
    [normals(1), normals(3), one(lambda rng, n: rng.standard_cauchy(n), st.cauchy.logpdf)],
    ids=["normal", "normals", "Cauchy"],
)
def test_a_density_that_dies_away_has_no_bound(own):
    prior = as_prior(own)
    assert np.isinf(prior.low).all()
    assert np.isinf(prior.high).all()

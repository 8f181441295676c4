"""What a prior that cannot be used is told: each message, and that it says what to do."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
import scipy.stats as st
import torch
import torch.distributions as td

from homing.errors import PriorError, ShapeError
from homing.priors import BoxUniform, as_prior


class Standard:
    """A correct object, for subclasses to get wrong."""

    def sample(self, num, rng):
        return rng.normal(size=(num, 2))

    def log_prob(self, theta):
        return st.norm.logpdf(theta).sum(-1)


class OneValueForEachParameter(Standard):
    def log_prob(self, theta):
        return st.norm.logpdf(theta)


class OneValueInAll(Standard):
    def log_prob(self, theta):
        return st.norm.logpdf(theta).sum()


class Raising(Standard):
    def log_prob(self, theta):
        raise KeyError("no such thing")


class NotItsOwnDraws(Standard):
    def log_prob(self, theta):
        return np.where(theta[:, 0] > 1, -np.inf, 0.0)


class NotANumber(Standard):
    def log_prob(self, theta):
        return np.full(len(theta), np.nan)


class OwnGenerator(Standard):
    rng = np.random.default_rng(0)

    def sample(self, num):
        return self.rng.normal(size=(num, 2))


class Ordered(Standard):
    def sample(self, num, rng):
        return np.sort(rng.uniform(size=(num, 2)), axis=1)

    def log_prob(self, theta):
        low, high = theta.T
        return np.where((low >= 0) & (high <= 1) & (low < high), np.log(2.0), -np.inf)


class OrderedAndStrict(Ordered):
    """Raises outside, as validating libraries do."""

    def log_prob(self, theta):
        if not np.isfinite(super().log_prob(theta)).all():
            raise ValueError("outside")
        return np.full(len(theta), np.log(2.0))


class Tilted(Standard):
    """All recombinations of typical draws are inside, but the far bound of one parameter depends on the other."""

    def sample(self, num, rng):
        return rng.uniform(size=(num, 2))

    def log_prob(self, theta):
        return np.where((theta >= 0).all(1) & (theta[:, 1] <= 2 + theta[:, 0]), 0.0, -np.inf)


class Unchecked(Standard):
    """An exponential that forgot to be zero below zero."""

    def sample(self, num, rng):
        return rng.exponential(size=(num, 2))

    def log_prob(self, theta):
        return -theta.sum(-1)


class TwoIslands(Standard):
    def sample(self, num, rng):
        return rng.uniform(size=(num, 1)) + 2.0 * rng.integers(2, size=(num, 1))

    def log_prob(self, theta):
        inside = ((theta >= 0) & (theta <= 1)) | ((theta >= 2) & (theta <= 3))
        return np.where(inside, -np.log(2.0), -np.inf)[:, 0]


class OutsideItsBounds(Standard):
    low, high = [0.0, 0.0], [1.0, 1.0]


class Integers(Standard):
    def sample(self, num, rng):
        return rng.integers(10, size=(num, 2))


class WholeNumbers(Standard):
    """A normal parameter and a Poisson one, by an object that says of neither what it is."""

    def sample(self, num, rng):
        return np.stack([rng.normal(size=num), rng.poisson(3.0, num)], axis=1)

    def log_prob(self, theta):
        return st.norm.logpdf(theta[:, 0]) + st.poisson.logpmf(np.floor(theta[:, 1]), 3.0)


class Constant(Standard):
    def sample(self, num, rng):
        return rng.normal(size=(num, 2)) * [1.0, 0.0] + [0.0, 3.0]


class Matrices(Standard):
    def sample(self, num, rng):
        return rng.normal(size=(num, 2, 3))


class NoDraws(Standard):
    def sample(self, num, rng):
        raise OSError("file not found")


class OneDraw(Standard):
    def sample(self, num, rng):
        return rng.normal(size=2)


class OnlySample:
    def sample(self, num):
        return np.zeros((num, 2))


CASES = {
    "no prior": (lambda: 3.0, "A prior must be a BoxUniform, .* found float. For bounds alone write BoxUniform"),
    "an array": (lambda: np.zeros((2, 3)), "found ndarray"),
    "no log_prob": (OnlySample, "an object with `sample` and `log_prob`, found OnlySample"),
    "a simulator": (lambda: abs, r"found a function. The simulator comes before the prior: SNPE\(simulator, prior\)"),
    "a class": (lambda: td.Normal, "found the class Normal. Make an instance"),
    "empty list": (lambda: [], "found an empty list"),
    "list of numbers": (lambda: [0.0, 1.0], "found float"),
    "list of torch and numpyro": (lambda: [td.Normal(0.0, 1.0), npd.Normal(0.0, 1.0)], "one library besides NumPy"),
    "box: shapes": (lambda: BoxUniform([0.0, 0.0], [1.0]), r"vectors of one length.* found shapes \(2,\) and \(1,\)"),
    "box: no parameters": (lambda: BoxUniform([], []), r"vectors of one length.* found shapes \(0,\)"),
    "box: order": (lambda: BoxUniform([0.0, 1.0], [1.0, 1.0]), r"low below high, found low\[1\]=1, high\[1\]=1"),
    "box: infinite": (lambda: BoxUniform([0.0], [np.inf]), r"finite bounds .* high\[0\]=inf.* log-normal"),
    "box: NaN": (lambda: BoxUniform([np.nan], [1.0]), r"finite bounds .* low\[0\]=nan"),
    "box: text": (lambda: BoxUniform(["a"], ["b"]), "BoxUniform: low must be an array of real numbers"),
    "box: libraries": (lambda: BoxUniform(torch.zeros(2), jnp.ones(2)), "low and high of one library"),
    "torch, discrete": (lambda: td.Poisson(3.0), "must be continuous, found the discrete Poisson.* round it"),
    "numpyro, discrete": (lambda: npd.Bernoulli(0.3), "must be continuous, found the discrete Bernoulli"),
    "scipy, discrete": (lambda: st.poisson(3.0), "must be continuous, found the discrete rv_discrete_frozen"),
    "scipy, multivariate discrete": (lambda: st.multinomial(3, [0.5, 0.5]), "found the discrete multinomial_frozen"),
    "scipy, not frozen": (lambda: st.norm, r"must be a frozen distribution, .* norm\(0.0, 1.0\), found norm_gen"),
    "scipy, not frozen either": (lambda: st.multivariate_normal, "frozen .* found multivariate_normal_gen"),
    "no parameters": (lambda: st.norm([]), "at least one parameter, found rv_continuous_frozen with none"),
    "a dict": (lambda: {"a": st.norm()}, r"found a dict.* a list of its values"),
    "scipy, circular": (lambda: st.vonmises(2.0), "Use scipy.stats.vonmises_line"),
    "scipy, matrix of parameters": (lambda: st.norm(np.zeros((2, 3))), r"shape \(\) or \(d,\), .* found \(2, 3\)"),
    "scipy, bad scale": (lambda: st.norm(0.0, -1.0), "parameters of the prior rv_continuous_frozen are not valid"),
    "numpyro, bad scale": (lambda: npd.Normal(0.0, -1.0, validate_args=False), "NaN, and for scales that are zero"),
    "singular": (lambda: st.multivariate_normal([0.0, 0.0], np.ones((2, 2)), allow_singular=True), "positive definite"),
    "improper": (lambda: npd.ImproperUniform(npd.constraints.real, (), (2,)), "ImproperUniform cannot .* BoxUniform"),
    "torch, simplex": (lambda: td.Dirichlet(torch.ones(3)), "Dirichlet determine each other, as on a simplex"),
    "scipy, simplex": (lambda: st.dirichlet([1.0, 2.0, 3.0]), "Infer 2 free ones .* broken off a stick"),
    "scipy, sphere": (lambda: st.vonmises_fisher([0.0, 1.0], 2.0), "vonmises_fisher must be a box"),
    "torch, matrices": (lambda: td.Wishart(torch.tensor(4.0), torch.eye(2)), r"one vector .* \(2, 2, 2\)"),
    "torch, batch of vectors": (lambda: td.MultivariateNormal(torch.zeros(2, 3), torch.eye(3)), r"found \(2, 2, 3\)"),
    "torch, bfloat16": (lambda: td.Normal(torch.zeros(2, dtype=torch.bfloat16), 1.0), "found torch.bfloat16"),
    "torch, one discrete": (lambda: [td.Normal(0.0, 1.0), td.Bernoulli(0.3)], "found the discrete Bernoulli"),
    "torch, discrete vector": (lambda: td.Independent(td.Poisson(torch.ones(2)), 1), "must be continuous"),
    "whole numbers": (WholeNumbers, "Parameter 1 of the prior WholeNumbers is a whole number .* round it inside"),
    "constant": (Constant, "Parameter 1 of the prior Constant never varies: it is always 3"),
    "integers": (Integers, "must draw floating numbers .* found int64"),
    "matrices": (Matrices, r"should have shape \(7, d\), found \(7, 2, 3\)"),
    "no draws": (NoDraws, r"one of `sample\(\(n,\)\)`, .* raised OSError: file not found"),
    "one draw": (OneDraw, r"sample\(7\) returned shape \(2,\)"),
    "no seed": (OwnGenerator, "other draws under the same seed, .* an argument `rng`"),
    "log_prob for each parameter": (OneValueForEachParameter, r"\(4096,\) was expected, found \(4096, 2\).* sum over"),
    "log_prob of all": (OneValueInAll, r"one value for each parameter vector: .* found \(\)\.$"),
    "log_prob raises": (Raising, r"what its sample gives, a numpy array of shape \(4096, 2\), but raised Key"),
    "log_prob -inf": (NotItsOwnDraws, r"finite at its own draws, found -inf at theta=\[.*\] \(\d+ of 4096 draws\)"),
    "log_prob NaN": (NotANumber, r"finite at its own draws, found nan .* \(4096 of 4096 draws\)"),
    "own bounds": (OutsideItsBounds, r"within its own bounds low=\[0, 0\], high=\[1, 1\], found"),
    "ordered": (Ordered, "must be a box, .* log_prob is -inf at theta=.* theta_2 - theta_1 > 0"),
    "ordered, raising": (OrderedAndStrict, "must be a box, .* log_prob is -inf at theta="),
    "tilted": (Tilted, r"theta\[1\]'s bound is .* or .*, depending on the other parameters"),
    "unchecked": (Unchecked, r"must be -inf outside the support, found it as high at theta\[0\]=-.* `low` and `high`"),
    "islands": (TwoIslands, "must be a box"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused(name):
    make, message = CASES[name]
    with pytest.raises(PriorError, match=message):
        as_prior(make())


@pytest.mark.parametrize("prior", [BoxUniform([0.0, 0.0], [1.0, 1.0]), st.norm([0.0, 0.0]), Standard()])
def test_rows_of_another_shape(prior):
    prior = as_prior(prior)
    for function in (prior.log_prob, prior.to_normal, prior.from_normal, prior.log_det, prior.is_inside, prior.give):
        for wrong in (np.zeros(2), np.zeros((3, 1)), np.zeros((1, 3, 2))):
            with pytest.raises(ShapeError, match=r"must have shape \(n, 2\), .* found .*: the prior has 2 parameters"):
                function(wrong)

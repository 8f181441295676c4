"""Estimators, priors and models with known answers, shared by the tests of learning."""

from dataclasses import dataclass
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats as st
from paramax import NonTrainable

from homing.estimators import posterior_nn
from homing.inference.samplers import as_sampler
from homing.inference.sides import SideOptions
from homing.posteriors import DirectPosterior, Ensemble, sampled_posterior
from homing.priors import BoxUniform, as_prior

BUILDERS = {
    "maf": posterior_nn("maf"),
    "nsf": posterior_nn("nsf"),
    "mdn": posterior_nn("mdn"),
    "cnf": posterior_nn("cnf", hidden_features=20, num_transforms=2),
    "maf with an embedding": posterior_nn("maf", embedding_net=lambda x: jnp.tanh(x).sum(0)),
}
FLOWS = ["maf", "nsf", "maf with an embedding"]
AFFINE = SideOptions().builders[1:]  # one family alone, the one that compiles fastest
PRIORS = {
    "box": BoxUniform([-2.0, 0.0], [2.0, 5.0]),
    "normal": [st.norm(1.0, 2.0), st.norm(-3.0, 0.1)],
    "correlated normal": st.multivariate_normal([1.0, -1.0], [[2.0, 1.2], [1.2, 1.0]]),
    "half-bounded": [st.gamma(2.0), st.halfnorm(1.0, 3.0)],
    "roughly normal": st.multivariate_t([0.0, 1.0], [[1.0, 0.5], [0.5, 2.0]], df=8),
}


def x_shape(name):
    return (3, 2) if name == "maf with an embedding" else (2,)


def shaken(density, size, seed=0):
    """The density with noise on its weights: far from where it starts, as after training."""
    rng = np.random.default_rng(seed)

    def shake(leaf):
        if isinstance(leaf, NonTrainable) or not eqx.is_inexact_array(leaf):
            return leaf
        return leaf + size * rng.standard_normal(leaf.shape).astype(np.float32)

    return jax.tree.map(shake, density, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))


@cache
def made(name, size=0.05, seed=0):
    """An estimator of that name, its weights shaken, as an ensemble of one."""
    rng = np.random.default_rng(seed)
    z = 0.5 * rng.standard_normal((300, 2))
    x = z + 0.3 * rng.standard_normal((300, 2))
    x = np.repeat(x[:, None], 3, axis=1) if len(x_shape(name)) == 2 else x
    estimator = BUILDERS[name](z, x, rng, 1.0)
    return Ensemble([shaken(estimator.density, size, seed)], np.ones(1), estimator.standardize, estimator.x_shape)


def posterior_of(ensemble, prior, **options):
    return DirectPosterior(ensemble, as_prior(prior), multi_round=False, seed=0, show_progress_bars=False, **options)


CHAINS = {"num_chains": 10}
BY_GRADIENTS = {"nuts": CHAINS, "hmc": CHAINS, "vi": {"num_steps": 300, "num_transforms": 2}}
AT_ONE_AND_FOUR = [(name, num) for name in BY_GRADIENTS for num in (1, 4)]  # trials


def drawn_by_gradients(posterior, name, x):
    """2,000 draws of what a posterior learned, by a sampler that follows gradients, which says that they are good."""
    sampler = as_sampler(name, BY_GRADIENTS[name])
    other = sampled_posterior(posterior.surrogate, posterior.prior, x_shape=posterior.x_shape, sampler=sampler, seed=3)
    z, info = other.sample_anew(2000, x, seed=5)
    assert info["effective"] > 800
    if name != "vi":
        assert info["rhat"] < 1.05
        assert info["divergences"] < 20
    return posterior.prior.from_normal(z)


@dataclass(frozen=True)
class LinearGaussian:
    """x = theta + noise of standard deviation s; the exact posterior under a normal or a wide box prior is normal."""

    s: float = 0.3

    def __call__(self, theta, rng):
        return theta + self.s * rng.standard_normal(theta.shape)

    def posterior(self, x_o, mean=None, covariance=None):
        """Exact, under a normal prior, or one so wide that it does not matter."""
        if mean is None:
            return st.multivariate_normal(x_o, self.s**2 * np.eye(len(x_o)))
        precision = np.linalg.inv(covariance)
        total = np.linalg.inv(precision + np.eye(len(x_o)) / self.s**2)
        return st.multivariate_normal(total @ (precision @ mean + np.asarray(x_o) / self.s**2), total)

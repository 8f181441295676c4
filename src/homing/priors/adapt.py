"""From whatever a user brings as a prior to a `Prior`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing.arrays import library_of
from homing.errors import PriorError
from homing.priors.box import BoxUniform
from homing.priors.convert import from_library, from_scipy, library_class
from homing.priors.prior import Prior, product
from homing.priors.source import declared_support, library_source, object_source
from homing.priors.whitened import whiten
from homing.random import generator

_WHAT = (
    "A prior must be a BoxUniform, a torch, numpyro or frozen scipy.stats distribution, a list of independent ones, or "
    "an object with `sample` and `log_prob`"
)


def as_prior(prior: Any) -> Prior:
    """The prior that a user's object stands for.

    Args:
        prior: A `BoxUniform`; a torch, numpyro or frozen scipy.stats distribution over one vector of continuous
            parameters, a batch of one-dimensional ones counting as independent parameters; a list or tuple of such,
            whose parameters are put side by side; or any object with `log_prob` and `sample`, called as `sample((n,))`,
            `sample(n)`, `sample(size=n)` or `sample(key, (n,))`, with a NumPy generator where it takes `rng`. Its
            bounds may be attributes `low` and `high` or `support`, and are otherwise found from its log-density; there
            a number such as -1e10 may stand for -inf. `log_prob` may lack a constant, which is found from draws.

    Returns:
        The prior. Its `kind` is the library that the object draws in: torch, JAX (numpyro), else NumPy; of a list, the
        first that is not NumPy.

    Raises:
        PriorError: If it is none of these, is discrete, has no density, lives on something else than a box, or its
            `sample` and `log_prob` do not agree.

    Example:
        >>> import scipy.stats
        >>> prior = as_prior([scipy.stats.gamma(2.0), scipy.stats.norm(0.0, 3.0)])
        >>> prior.dim, prior.low.tolist(), prior.high.tolist()
        (2, [0.0, -inf], [inf, inf])
    """
    if isinstance(prior, Prior):
        return prior
    if isinstance(prior, BoxUniform):
        return prior.prior
    if isinstance(prior, (list, tuple)):
        return _side_by_side(prior)
    if isinstance(prior, type):
        raise PriorError(f"{_WHAT}, found the class {prior.__name__}. Make an instance of it, with its parameters.")
    if type(prior).__module__.startswith("scipy.stats"):
        return _checked(_from_scipy(prior), prior)
    if library_class(prior):
        return _checked(_from_library(prior), prior)
    if callable(getattr(prior, "sample", None)) and callable(getattr(prior, "log_prob", None)):
        return whiten(object_source(prior))
    if isinstance(prior, dict):
        raise PriorError(f"{_WHAT}, found a dict. Parameters have places, not names: give a list of its values.")
    if callable(prior):
        raise PriorError(f"{_WHAT}, found a function. The simulator comes before the prior: SNPE(simulator, prior).")
    raise PriorError(f"{_WHAT}, found {type(prior).__name__}. For bounds alone write BoxUniform(low, high).")


def same_distribution(a: Any, b: Any) -> bool:
    """Whether two priors are the same distribution, whatever objects or libraries they are made of.

    Decided by behaviour: their log-densities agree at draws of both, to the precision of float32 parameters.

    Example:
        >>> import scipy.stats
        >>> same_distribution(BoxUniform([0.0], [2.0]), scipy.stats.uniform(0.0, 2.0))
        True
    """
    a, b = as_prior(a), as_prior(b)
    if a.dim != b.dim:
        return False
    theta = np.concatenate([prior.sample(generator(0, "same distribution"), 256) for prior in (a, b)])
    return bool(np.allclose(a.log_prob(theta), b.log_prob(theta), rtol=1e-5, atol=1e-4))


def _side_by_side(parts: Sequence[Any]) -> Prior:
    if not parts:
        raise PriorError(f"{_WHAT}, found an empty list.")
    blocks = [as_prior(part) for part in parts]
    kinds = [block.kind for block in blocks if block.kind.library != "numpy"]
    if len({kind.library for kind in kinds}) > 1:
        raise PriorError(
            "The priors in a list must be of one library besides NumPy and scipy, found torch and JAX (numpyro): the "
            "simulator could get either. Write all of them in the one it uses."
        )
    kind = kinds[0] if kinds else blocks[0].kind
    return product([replace(block, kind=kind) for block in blocks], kind)


def _from_library(distribution: Any) -> Prior:
    name = type(distribution).__name__
    if library_class(distribution) == "ImproperUniform":
        raise PriorError(
            "An ImproperUniform cannot be a prior here: it cannot be drawn from, so there is nothing to simulate. Use "
            "a BoxUniform, or a wide normal."
        )
    if getattr(declared_support(distribution), "is_discrete", False):
        raise _discrete(name)
    source = library_source(distribution, "shape" if library_of(distribution) == "torch" else "key")
    return from_library(distribution, source.kind, source.dim) or whiten(source)


def _from_scipy(distribution: Any) -> Prior:
    name = type(distribution).__name__
    if name == "gaussian_kde":
        return whiten(object_source(_Kernels(distribution), name))
    if "frozen" not in name:
        raise PriorError(
            f"A scipy.stats prior must be a frozen distribution, called with its parameters like norm(0.0, 1.0), "
            f"found {name}. For anything else write an object with `sample` and `log_prob`."
        )
    if not hasattr(distribution, "logpdf"):
        raise _discrete(name)
    if hasattr(distribution, "dist") and distribution.dist.name == "vonmises":
        raise PriorError(
            "scipy.stats.vonmises has the real line as support but draws on the circle. Use scipy.stats.vonmises_line, "
            "which is on [-pi, pi]."
        )
    return from_scipy(distribution) or whiten(object_source(_Scipy(distribution), name.removesuffix("_frozen")))


@dataclass(frozen=True, eq=False)
class _Scipy:
    """A frozen multivariate scipy.stats distribution under the names other libraries use."""

    frozen: Any

    def sample(self, num: int, rng: np.random.Generator) -> np.ndarray:
        return self.frozen.rvs(size=num, random_state=rng)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.atleast_1d(self.frozen.logpdf(theta))


@dataclass(frozen=True, eq=False)
class _Kernels:
    """A scipy.stats.gaussian_kde under the names other libraries use."""

    kde: Any

    def sample(self, num: int, rng: np.random.Generator) -> np.ndarray:
        return self.kde.resample(num, seed=rng).T

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return self.kde.logpdf(theta.T)


def _discrete(name: str) -> PriorError:
    return PriorError(
        f"A prior must be continuous, found the discrete {name}. Infer a continuous parameter and round it inside the "
        "simulator, or run the inference once for each value."
    )


def _checked(prior: Prior, original: Any) -> Prior:
    """Not all libraries refuse bad parameters, such as a negative scale; they show at the prior's centre."""
    if not prior.dim:
        raise PriorError(f"A prior must have at least one parameter, found {type(original).__name__} with none.")
    with np.errstate(all="ignore"):
        center = prior.from_normal(np.zeros((1, prior.dim)))
        fine = np.isfinite(center).all() and np.isfinite(prior.log_prob(center)).all()
    if not fine:
        raise PriorError(
            f"The parameters of the prior {type(original).__name__} are not valid: its density is not finite at its "
            f"centre ({prior.describe()}). Check for NaN, and for scales that are zero or negative."
        )
    return prior

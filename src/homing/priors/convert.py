"""Distributions of torch, numpyro and scipy that have a closed form here, converted by the values of their parameters.

Parameters are read as the float64 numbers they exactly are: a bound born as a float32 stays that float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homing.arrays import NUMPY, Kind, to_numpy
from homing.errors import PriorError
from homing.priors.box import uniform
from homing.priors.gaussian import from_scale_tril, gaussian
from homing.priors.marginals import ByCdf, LogNormal, Normal
from homing.priors.prior import Prior, product

Parameters = Callable[[str], np.ndarray]
_LIBRARIES = ("torch.distributions.", "numpyro.distributions.")

# torch's or numpyro's class: scipy's name and arguments. The two libraries name their parameters alike.
_FAMILIES: dict[str, tuple[str, Callable[[Parameters], dict[str, np.ndarray]]]] = {
    "Beta": ("beta", lambda p: {"a": p("concentration1"), "b": p("concentration0")}),
    "Cauchy": ("cauchy", lambda p: {"loc": p("loc"), "scale": p("scale")}),
    "Chi2": ("chi2", lambda p: {"df": p("df")}),
    "Exponential": ("expon", lambda p: {"scale": 1 / p("rate")}),
    "FisherSnedecor": ("f", lambda p: {"dfn": p("df1"), "dfd": p("df2")}),
    "Gamma": ("gamma", lambda p: {"a": p("concentration"), "scale": 1 / p("rate")}),
    "Gumbel": ("gumbel_r", lambda p: {"loc": p("loc"), "scale": p("scale")}),
    "HalfCauchy": ("halfcauchy", lambda p: {"scale": p("scale")}),
    "HalfNormal": ("halfnorm", lambda p: {"scale": p("scale")}),
    "InverseGamma": ("invgamma", lambda p: {"a": p("concentration"), "scale": p("rate")}),
    "Laplace": ("laplace", lambda p: {"loc": p("loc"), "scale": p("scale")}),
    "Logistic": ("logistic", lambda p: {"loc": p("loc"), "scale": p("scale")}),
    "LogUniform": ("loguniform", lambda p: {"a": p("low"), "b": p("high")}),
    "Pareto": ("pareto", lambda p: {"b": p("alpha"), "scale": p("scale")}),
    "StudentT": ("t", lambda p: {"df": p("df"), "loc": p("loc"), "scale": p("scale")}),
    "Weibull": ("weibull_min", lambda p: {"c": p("concentration"), "scale": p("scale")}),
}
_TRUNCATED = ("TwoSidedTruncatedDistribution", "LeftTruncatedDistribution", "RightTruncatedDistribution")


def library_class(distribution: Any) -> str | None:
    """The name of torch's or numpyro's class whose `sample` and `log_prob` the object has; None if it has its own."""
    for cls in type(distribution).__mro__:
        if cls.__module__.startswith(_LIBRARIES):
            same = all(getattr(type(distribution), name) is getattr(cls, name) for name in ("sample", "log_prob"))
            return cls.__name__ if same else None
    return None


def from_library(distribution: Any, kind: Kind, dim: int) -> Prior | None:
    """A torch or numpyro distribution over `dim` parameters in closed form; None if it has none here."""
    name = library_class(distribution)
    while name in ("Independent", "ExpandedDistribution"):
        distribution = distribution.base_dist
        name = library_class(distribution)

    def parameter(attribute: str, of: Any = None) -> np.ndarray:
        values = to_numpy(getattr(of or distribution, attribute), attribute).astype(np.float64)
        return np.array(np.broadcast_to(values.reshape(-1), (dim,)))

    if name == "Uniform":
        return uniform(parameter("low"), parameter("high"), kind)
    if name in ("Normal", "LogNormal"):
        return _normal(name == "LogNormal", parameter("loc"), parameter("scale"), kind)
    if name == "MultivariateNormal":
        return from_scale_tril(parameter("loc"), _matrix(distribution.scale_tril, dim), kind)
    if name == "LowRankMultivariateNormal":
        return gaussian(parameter("loc"), _matrix(distribution.covariance_matrix, dim), kind)
    if name in _TRUNCATED and library_class(distribution.base_dist) == "Normal":
        base = distribution.base_dist
        low = parameter("low") if hasattr(distribution, "low") else np.full(dim, -np.inf)
        high = parameter("high") if hasattr(distribution, "high") else np.full(dim, np.inf)
        loc, scale = parameter("loc", base), parameter("scale", base)
        shapes = {"a": (low - loc) / scale, "b": (high - loc) / scale, "loc": loc, "scale": scale}
        return _by_cdf("truncnorm", shapes, kind, dim, (low, high))
    if name in _FAMILIES:
        family, arguments = _FAMILIES[name]
        return _by_cdf(family, arguments(parameter), kind, dim)
    return None


def from_scipy(frozen: Any) -> Prior | None:
    """A frozen scipy.stats distribution in closed form; None if it is multivariate and not normal."""
    if type(frozen).__name__ == "multivariate_normal_frozen":
        return gaussian(np.array(frozen.mean, np.float64), np.array(frozen.cov, np.float64), NUMPY)
    if not hasattr(frozen, "ppf"):
        return None
    shape = np.shape(frozen.ppf(0.5))
    if len(shape) > 1:
        raise PriorError(
            f"A scipy.stats prior must have parameters of shape () or (d,), for d independent ones, found {shape}."
        )
    dim = int(np.prod(shape, dtype=int))
    names = [*(frozen.dist.shapes or "").replace(" ", "").split(","), "loc", "scale"]
    values = dict(zip([name for name in names if name], frozen.args)) | frozen.kwds
    arguments = {name: np.array(np.broadcast_to(np.ravel(value), (dim,)), np.float64) for name, value in values.items()}
    family, loc = frozen.dist.name, arguments.get("loc", np.zeros(dim))
    scale = arguments.get("scale", np.ones(dim))
    if family == "uniform":
        return uniform(loc, loc + scale, NUMPY)
    if family == "norm":
        return _normal(False, loc, scale, NUMPY)
    if family == "lognorm" and not loc.any():
        return _normal(True, np.log(scale), arguments["s"], NUMPY)
    return _by_cdf(frozen.dist, arguments, NUMPY, dim)


def _normal(logarithm: bool, mean: np.ndarray, std: np.ndarray, kind: Kind) -> Prior:
    unbounded = np.full(len(mean), np.inf)
    if logarithm:
        return LogNormal(np.zeros(len(mean)), unbounded, kind, mean, std)
    return Normal(-unbounded, unbounded, kind, mean, std)


# The same distributions under scipy's names whose quantiles keep their digits near the bound.
_EXACT = {"halfnorm": ("chi", {"df": 1.0})}


def _by_cdf(
    family: Any,
    arguments: dict[str, np.ndarray],
    kind: Kind,
    dim: int,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
) -> Prior:
    """Independent parameters of one scipy family (its name or itself), each with its own entry of the arguments."""
    import scipy.stats

    blocks = []
    for i in range(dim):
        own = {name: float(values[i]) for name, values in arguments.items()}
        title = family if isinstance(family, str) else family.name
        exact, more = _EXACT.get(title, (family, {}))
        frozen = (getattr(scipy.stats, exact) if isinstance(exact, str) else exact)(**own, **more)
        low, high = frozen.support() if bounds is None else (bounds[0][i], bounds[1][i])
        described = f"{title}({', '.join(f'{name}={value:.6g}' for name, value in own.items())})"
        blocks.append(ByCdf(np.array([low], np.float64), np.array([high], np.float64), kind, frozen, described))
    return product(blocks, kind)


def _matrix(values: Any, dim: int) -> np.ndarray:
    return to_numpy(values).astype(np.float64).reshape(dim, dim)

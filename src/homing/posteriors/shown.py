"""A posterior as others see it: in words, a pair plot, and the groups that ArviZ works with. All are methods of
`Posterior`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from homing import random
from homing.arrays import to_numpy
from homing.errors import ArgumentError, MissingError, ShapeError
from homing.priors import Prior

_CHAINS = 4  # ArviZ compares chains; draws are independent, so any parts of them will do


def summary(self: Any) -> str:
    """What it is, where it is conditioned, and what it was obtained with."""
    what = "multi-round" if self.multi_round else "amortized"
    where = ""
    if self._x_o is not None:
        where = f" Evaluates and samples by default at x={_brief(self._with_leading_axis(self._x_o))}."
    use = (
        "It was trained for one observation: `.sample()`, `.log_prob()` and `.map()` are right there, and perhaps "
        "nowhere else."
        if self.multi_round
        else "It allows `.sample()`, `.log_prob()` and `.map()` for any x, without training again."
    )
    return f"Posterior conditional density p(θ|x) ({what}).{where}\n\n{self._origin} {use}"


def pairplot(
    self: Any, num_samples: int = 10_000, x: Any | None = None, *, prior: bool = True, **options: Any
) -> tuple[Any, Any]:
    """Draw from the posterior and plot every pair of parameters, within the prior's support.

    Args:
        num_samples: Number of draws.
        x: The observation; the default x if None.
        prior: Whether the prior is drawn along.
        **options: As for `homing.utils.pairplot`.

    Returns:
        The figure and its axes.
    """
    return pairplot_within(self.prior, self.sample((num_samples,), x), num_samples if prior else 0, **options)


def pairplot_within(prior: Prior, samples: Any, num_prior: int, **options: Any) -> tuple[Any, Any]:
    """A pair plot of samples, or of several sets, within a prior's support; `num_prior` draws of it are drawn along."""
    from homing.plots import pairplot
    from homing.plots.arguments import limits_within

    if options.get("limits") is None:
        options["limits"] = limits_within(samples, options.get("points"), prior.low, prior.high)
    behind = prior.sample(random.generator(0, "prior draws"), num_prior) if num_prior else None
    return pairplot(samples, prior=behind, **options)


def to_arviz(
    self: Any,
    num_samples: int = 4_000,
    x: Any | None = None,
    *,
    labels: Sequence[str] | None = None,
    predictive: Any | None = None,
) -> Any:
    """The posterior for ArviZ: its plots, summaries and files.

    Args:
        num_samples: Number of draws of the posterior and of the prior, a multiple of four: they are independent, and
            handed over as four chains.
        x: The observation; the default x if None.
        labels: A name for each parameter.
        predictive: Data simulated at draws of the posterior, shape (m, *x_shape), as for a posterior predictive check.

    Returns:
        An `arviz.InferenceData`, or with ArviZ 1 an `xarray.DataTree`, with the groups `posterior` and `prior`
        (`theta`, with the dimension `parameter`), `sample_stats` (`lp`, the posterior's log density), `observed_data`
        and, where it was given, `posterior_predictive` (`x`).

    Raises:
        MissingError: If ArviZ is not installed.
        ObservationError: If there is no x, or it does not fit.
        ShapeError, ArgumentError: If labels or predictive do not fit, or the number is no multiple of four.

    Example:
        >>> from homing.inference import SNPE
        >>> from homing.utils import BoxUniform
        >>> prior = BoxUniform([0.0, 0.0], [1.0, 1.0])
        >>> inference = SNPE(lambda theta: theta, prior, seed=0, show_progress_bars=False)
        >>> posterior = inference(num_simulations=50, max_num_epochs=1).set_default_x([0.5, 0.5])
        >>> posterior.to_arviz(400, labels=["rate", "delay"]).posterior["theta"].shape
        (4, 100, 2)
    """
    if num_samples < _CHAINS or num_samples % _CHAINS:
        raise ArgumentError(f"num_samples must be a multiple of {_CHAINS}, one or more a chain, found {num_samples!r}.")
    d = self.prior.dim
    names = [f"theta[{j}]" for j in range(d)] if labels is None else [str(label) for label in labels]
    if len(names) != d:
        raise ArgumentError(f"labels must have one text for each of the {d} parameters, found {len(names)}: {names}.")
    observed = self.condition_of(x)
    theta = to_numpy(self.sample((num_samples,), observed, show_progress_bars=False)).astype(np.float64)
    prior = self.prior.sample(random.generator(0, "prior draws"), num_samples)
    dims = [f"x_{k}" for k in range(observed.ndim)]
    groups: dict[str, dict[str, tuple[list[str], np.ndarray]]] = {
        "posterior": {"theta": (["chain", "draw", "parameter"], theta.reshape(_CHAINS, -1, d))},
        "prior": {"theta": (["chain", "draw", "parameter"], prior.reshape(_CHAINS, -1, d))},
        "sample_stats": {"lp": (["chain", "draw"], self.evaluate(theta, observed).reshape(_CHAINS, -1))},
        "observed_data": {"x": (dims, observed)},
    }
    if predictive is not None:
        made = to_numpy(predictive, "predictive")
        if made.shape[1:] != observed.shape or not made.size:
            raise ShapeError(
                f"predictive must have shape (m, {', '.join(map(str, observed.shape))}), found {made.shape}."
            )
        groups["posterior_predictive"] = {"x": (["chain", "draw", *dims], made[None])}
    return _gathered(groups, names)


def _gathered(groups: dict[str, dict[str, tuple[list[str], np.ndarray]]], names: list[str]) -> Any:
    try:
        import arviz
        import xarray
    except ImportError as error:
        raise MissingError.of("to_arviz", "ArviZ", "arviz") from error
    about = {"inference_library": "homing", "inference_library_version": sys.modules["homing"].__version__}
    sets = {}
    for group, variables in groups.items():
        coords: dict[str, Any] = {"parameter": names} if "theta" in variables else {}
        for dims, values in variables.values():
            coords |= {dim: np.arange(size) for dim, size in zip(dims, values.shape) if dim != "parameter"}
        sets[group] = xarray.Dataset(variables, coords, about)
    made = vars(arviz).get("InferenceData")  # by `getattr` ArviZ 1.3 has one too, which is none
    return xarray.DataTree.from_dict(sets) if made is None else made(**sets)


def _brief(array: np.ndarray) -> str:
    """The array as nested lists; only the beginning of a long one."""
    if array.size <= 100:
        return str(array.tolist())
    head = ", ".join(str(value) for value in array.ravel()[:5].tolist())
    return f"[[{head}, ...]] (shape {array.shape})"

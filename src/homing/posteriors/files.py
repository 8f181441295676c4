"""Posteriors out of files and pickles."""

from __future__ import annotations

import copyreg
import math
from pathlib import Path
from typing import Any

import numpy as np

from homing import random
from homing.errors import PriorError
from homing.estimators import Builder
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.divided import DividedPosterior
from homing.posteriors.hybrid import HybridPosterior
from homing.posteriors.mixed import EnsemblePosterior
from homing.posteriors.posterior import Posterior
from homing.posteriors.sampled import KINDS, sampled_posterior
from homing.posteriors.serialize import Packed, pack, read_file, unpack
from homing.priors import Prior, as_prior
from homing.programs import rehearsed
from homing.simulation.typed import understood

_LARGEST_X = 2**28  # numbers in one x that are believed


def load(path: str | Path, *, prior: Any = None, density_estimator: Builder | None = None) -> Posterior:
    """The posterior that `posterior.save(path)` wrote. No code of the file is run.

    Args:
        path: The file.
        prior: The prior it was learned with: needed only if that is an object with `sample` and `log_prob` of your own.
        density_estimator: The builder it was learned with: needed only if that has an `embedding_net` of your own.

    Returns:
        The posterior. Its k-th call of `sample` gives what the k-th call of the saved one gave.

    Raises:
        StoreError: If the file is not there, holds no posterior, is damaged or has a newer format.
        PriorError: If the prior is needed, or is another one.
        ArgumentError: If the builder is needed, or is another one.

    Example:
        >>> import tempfile
        >>> from homing.inference import SNPE
        >>> from homing.utils import BoxUniform
        >>> prior = BoxUniform([0.0, 0.0], [1.0, 1.0])
        >>> inference = SNPE(lambda theta: theta, prior, seed=0, show_progress_bars=False)
        >>> posterior = inference(num_simulations=50, max_num_epochs=1)
        >>> path = Path(tempfile.mkdtemp(), "posterior.npz")
        >>> posterior.save(path)
        >>> bool((load(path).sample((5,), x=[0.5, 0.5]) == posterior.sample((5,), x=[0.5, 0.5])).all())
        True
    """
    known = None if prior is None else as_prior(prior)
    packed = read_file(Path(path))
    with understood(path):
        posterior = restored(unpack(packed, known, getattr(density_estimator, "embedding_net", None)))
    if known is not None and posterior.prior is not known:
        raise PriorError(
            f"{path} holds a posterior learned with another prior, {posterior.prior.describe()}; found "
            f"{known.describe()}. Leave the prior out: it is in the file."
        )
    return posterior


def restored(parts: dict[str, Any]) -> Posterior:
    """The posterior with these parts, out of a file that a stranger may have made: they are known to fit each other.

    Raises:
        Exception: Of any kind, if they do not; see `homing.simulation.typed.understood`.
    """
    with rehearsed(), np.errstate(all="ignore"):
        _rehearse(parts)
    posterior = restore(parts)
    _ = str(posterior), repr(posterior)
    return posterior


def _rehearse(parts: dict[str, Any]) -> None:
    """Use what was learned once, without compiling anything."""
    for member in parts.get("posteriors", []):
        _rehearse(member)
    prior, ensemble = parts["prior"], parts.get("ensemble")
    if not isinstance(prior, Prior):
        raise TypeError(f"the prior is {type(prior).__name__}")
    theta = prior.sample(random.generator(0, "rehearsal"), 2)
    z = prior.to_normal(theta)
    np.broadcast_shapes(prior.log_prob(theta).shape, (2,))
    if ensemble is not None:
        x = _empty(ensemble.x_shape)
        np.broadcast_shapes(ensemble.log_prob(z, x).shape, (2,))
        ensemble.sample(1, x, 0)
    for name in ("likelihood", "surrogate"):
        if name in parts:
            x = _empty(parts["x_shape"] if ensemble is None else ensemble.x_shape)
            for m in range(parts[name].num_members):
                np.broadcast_shapes(parts[name].log_likelihood(m, z, x).shape, (2,))


def _empty(shape: Any) -> np.ndarray:
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 0 for size in shape):
        raise TypeError(f"the shape of x is {shape!r}")
    if math.prod(shape) > _LARGEST_X:
        raise ValueError(f"x would have {math.prod(shape):,} numbers")
    return np.zeros(shape)


def restore(parts: dict[str, Any], show_progress_bars: bool = True) -> Posterior:
    """The posterior with these `Posterior.parts`."""
    names = ("multi_round", "seed", "x_o")
    options: dict[str, Any] = {name: parts[name] for name in names} | {"show_progress_bars": show_progress_bars}
    options["predicted"] = parts.get("predicted")
    if "posteriors" in parts:
        members = [restore(member, show_progress_bars) for member in parts["posteriors"]]
        return EnsemblePosterior(members, parts["weights"], **options)
    if "surrogate" in parts:
        own = {name: parts[name] for name in ("surrogate", "x_shape", "sampler", "start", "bank", "obtained_by")}
        return sampled_posterior(prior=parts["prior"], **own, **options)
    if "scale_tril" in parts:
        own = {name: parts[name] for name in ("ensemble", "prior", "mean", "scale_tril")}
        return DividedPosterior(**own, **options)
    direct = DirectPosterior(parts["ensemble"], parts["prior"], **options)
    if "likelihood" not in parts:
        return direct
    return HybridPosterior(direct, parts["likelihood"], parts.get("share", 0.5), **options)


def _unpickled(packed: Packed) -> Posterior:
    return restore(unpack(packed))


def _reduced(posterior: Posterior) -> tuple[Any, ...]:
    return _unpickled, (pack(posterior.parts),)


for _kind in (DirectPosterior, DividedPosterior, HybridPosterior, EnsemblePosterior, *KINDS.values()):
    copyreg.pickle(_kind, _reduced)  # pickled and copied by what `save` writes, so with the same gaps

"""Posteriors out of files and pickles."""

from __future__ import annotations

import copyreg
from pathlib import Path
from typing import Any

from homing.errors import PriorError
from homing.estimators import Builder
from homing.posteriors.direct import DirectPosterior
from homing.posteriors.divided import DividedPosterior
from homing.posteriors.hybrid import HybridPosterior
from homing.posteriors.mixed import EnsemblePosterior
from homing.posteriors.posterior import Posterior
from homing.posteriors.sampled import KINDS, sampled_posterior
from homing.posteriors.serialize import Packed, pack, read_file, unpack
from homing.priors import as_prior


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
    posterior = restore(unpack(read_file(Path(path)), known, getattr(density_estimator, "embedding_net", None)))
    if known is not None and posterior.prior is not known:
        raise PriorError(
            f"{path} holds a posterior learned with another prior, {posterior.prior.describe()}; found "
            f"{known.describe()}. Leave the prior out: it is in the file."
        )
    return posterior


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

"""Methods whose posterior is drawn by a sampler, and samplers by the names that users give them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from homing.errors import ArgumentError
from homing.inference.learner import Learner
from homing.inference.sequential import Sequential
from homing.posteriors import MCMC, Importance, Posterior, Rejection, Sampler, Tempering, Variational

_KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "smc": (Tempering, {}),
    "mcmc": (MCMC, {}),
    "slice": (MCMC, {"method": "slice"}),
    "nuts": (MCMC, {"method": "nuts"}),
    "hmc": (MCMC, {"method": "hmc"}),
    "importance": (Importance, {}),
    "rejection": (Rejection, {}),
    "vi": (Variational, {}),
}


def as_sampler(sample_with: str | Sampler, options: dict[str, Any] | None = None) -> Sampler:
    """The sampler that a name, or a value, stands for.

    Args:
        sample_with: `"smc"`, tempered sequential Monte Carlo; `"slice"`, `"nuts"`, `"hmc"`, chains (`"mcmc"` is
            slice sampling); `"importance"`; `"rejection"`; `"vi"`; or a value such as `MCMC(num_chains=20)`.
        options: Of a sampler by name, for example `{"num_chains": 20}`.

    Raises:
        ArgumentError: If there is none of that name, or it has no such option.

    Example:
        >>> as_sampler("nuts", {"num_chains": 20}).num_chains
        20
    """
    if not isinstance(sample_with, str):
        if not hasattr(sample_with, "draw") or options:
            raise ArgumentError(f"A sampler is a name, or a value without further options; found {sample_with!r}.")
        return sample_with
    if sample_with not in _KINDS:
        raise ArgumentError(f"sample_with must be one of {', '.join(map(repr, _KINDS))}, found {sample_with!r}.")
    kind, own = _KINDS[sample_with]
    known = [field.name for field in fields(kind) if field.name not in own]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        raise ArgumentError(
            f"The sampler {sample_with!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}."
        )
    return kind(**own, **(options or {}))


class Sampled(Sequential):
    """A method that learns a likelihood or a ratio, to which it does not matter where theta came from."""

    depends_on_proposal = False
    _learner: Learner

    @property
    def learner(self) -> Learner:
        return self._learner

    def build_posterior(
        self, learned: Any = None, sample_with: str | Sampler | None = None, **options: Any
    ) -> Posterior:
        """The posterior of what was trained last, or of something else that `train` returned.

        Args:
            learned: What `train` returned; None for the last.
            sample_with: Another way to draw than the method's own.
            **options: Of that sampler.

        Raises:
            NotTrainedError: If nothing was trained.
            ArgumentError: If there is no such sampler or option.
        """
        if sample_with is None and options:
            raise ArgumentError(f"Options of a sampler need its name, sample_with=...; found {', '.join(options)}.")
        own = {} if sample_with is None else {"sampler": as_sampler(sample_with, options)}
        return super().build_posterior(learned, **own)

    def _weigh(self, data: Any) -> np.ndarray:
        return np.ones(len(data.theta))

"""What a prior is, in words and numbers that can be written down and compared, whatever object it came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.priors.prior import Prior
from homing.random import generator

_DRAWS = 4
_DIGITS = 4  # few enough that another processor's rounding does not show


def prior_fact(prior: Prior) -> dict[str, Any]:
    """A prior's description and its behaviour, as JSON.

    Returns:
        `description`; `arrays`, the kind that simulators get; `draws`, some fixed ones; `log_prob` there.

    Example:
        >>> from homing.priors import BoxUniform
        >>> fact = prior_fact(BoxUniform([0.0], [2.0]).prior)
        >>> fact["description"], fact["arrays"], fact["log_prob"]
        ('uniform on low=[0], high=[2]', 'numpy float64', [-0.6931, -0.6931, -0.6931, -0.6931])
    """
    draws = prior.sample(generator(0, "fingerprint"), _DRAWS)
    return {
        "description": prior.describe(),
        "arrays": f"{prior.kind.library} {prior.kind.dtype}",
        "draws": _rounded(draws),
        "log_prob": _rounded(prior.log_prob(draws)),
    }


def is_same_fact(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two facts tell of one distribution, perhaps in arrays of different libraries."""
    return all(a.get(name) == b.get(name) for name in ("description", "draws", "log_prob"))


def _rounded(values: np.ndarray) -> list[Any]:
    return np.vectorize(lambda value: float(f"{value:.{_DIGITS}g}"))(values).tolist()

"""Which posterior it is, and at which observation: for what was said of one not to be taken for another's."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from homing.posteriors.serialize import NotStorable, pack

if TYPE_CHECKING:
    from homing.posteriors.posterior import Posterior


def identity(posterior: Posterior, x_o: np.ndarray | None) -> str | None:
    """Letters that two posteriors share if they are the same at the same x_o, live or from a file.

    Args:
        posterior: The posterior.
        x_o: The observation, shape x_shape or (num_trials, *x_shape); None for any.

    Returns:
        None of a posterior with code of the user's own.

    Example:
        >>> from homing.inference import SNPE
        >>> from homing.utils import BoxUniform
        >>> prior = BoxUniform([0.0, 0.0], [1.0, 1.0])
        >>> inference = SNPE(lambda theta: theta, prior, seed=0, show_progress_bars=False)
        >>> posterior = inference(num_simulations=50, max_num_epochs=1)
        >>> same = identity(inference.view.posterior(), np.zeros(2))
        >>> same == identity(posterior, np.zeros(2)), same == identity(posterior, np.ones(2))
        (True, False)
    """
    at = None if x_o is None else np.asarray(x_o, np.float64)
    try:
        tree, arrays = pack({**posterior.parts, "predicted": None, "x_o": at})
    except NotStorable:
        return None
    told = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    for name in sorted(arrays):
        told.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        told.update(np.ascontiguousarray(arrays[name]).tobytes())
    return told.hexdigest()[:16]

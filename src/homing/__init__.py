"""Simulation-based inference that homes in on one observation.

The face: what the first ten minutes need. The rest is in the rooms behind it, `homing.inference` and the like.

A name is loaded from its room when it is first used (PEP 562), so `import homing` takes no time, and the processes that
run simulators load no machine learning.

Example:
    >>> import numpy as np
    >>> import homing
    >>> def simulator(theta, rng):
    ...     return theta + 0.1 * rng.normal(size=theta.shape)
    >>> prior = homing.BoxUniform(low=[-2.0, -2.0], high=[2.0, 2.0])
    >>> inference = homing.SNPE(simulator, prior, seed=1, show_progress_bars=False)
    >>> posterior = inference(num_simulations=200, max_num_epochs=20)
    >>> posterior.sample((1000,), x=[0.5, -0.5]).shape
    (1000, 2)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homing import (
        diagnostics as diagnostics,
    )
    from homing import (
        embeddings as embeddings,
    )
    from homing import (
        errors as errors,
    )
    from homing import (
        estimators as estimators,
    )
    from homing import (
        inference as inference,
    )
    from homing import (
        plots as plots,
    )
    from homing import (
        posteriors as posteriors,
    )
    from homing import (
        priors as priors,
    )
    from homing import (
        proposals as proposals,
    )
    from homing import (
        runs as runs,
    )
    from homing import (
        simulation as simulation,
    )
    from homing import (
        training as training,
    )
    from homing import (
        utils as utils,
    )
    from homing.estimators import posterior_nn
    from homing.inference import NLE, NPE, NRE, SNLE, SNPE, SNRE, infer, open, prepare_for_sbi, simulate_for_sbi
    from homing.plots import pairplot
    from homing.posteriors import load
    from homing.priors import BoxUniform
    from homing.report import report
    from homing.simulation import command, pad_trials

__version__ = "0.1.0"

__all__ = [
    "NLE",
    "NPE",
    "NRE",
    "SNLE",
    "SNPE",
    "SNRE",
    "BoxUniform",
    "command",
    "infer",
    "load",
    "open",
    "pad_trials",
    "pairplot",
    "posterior_nn",
    "prepare_for_sbi",
    "report",
    "simulate_for_sbi",
]

_ROOMS = {
    "NLE": "inference",
    "NPE": "inference",
    "NRE": "inference",
    "SNLE": "inference",
    "SNPE": "inference",
    "SNRE": "inference",
    "BoxUniform": "priors",
    "command": "simulation",
    "infer": "inference",
    "load": "posteriors",
    "open": "inference",
    "pad_trials": "simulation",
    "pairplot": "plots",
    "posterior_nn": "estimators",
    "prepare_for_sbi": "inference",
    "report": "report",
    "simulate_for_sbi": "inference",
}


_DOORS = (  # rooms that are used by their name: homing.embeddings.CNNEmbedding
    "diagnostics",
    "embeddings",
    "errors",
    "estimators",
    "inference",
    "plots",
    "posteriors",
    "priors",
    "proposals",
    "runs",
    "simulation",
    "training",
    "utils",
)


def __getattr__(name: str) -> Any:
    if name in _DOORS:
        return importlib.import_module(f"homing.{name}")
    if name not in _ROOMS:
        raise AttributeError(f"module 'homing' has no attribute {name!r}; it has {', '.join(__all__)}.")
    room = importlib.import_module(f"homing.{_ROOMS[name]}")
    value = globals()[name] = room if name == _ROOMS[name] else getattr(room, name)  # `report` is its own room
    return value


def __dir__() -> list[str]:
    """What is public, for tab completion."""
    return sorted({*__all__, *_DOORS, *(name for name in globals() if name.startswith("__"))})

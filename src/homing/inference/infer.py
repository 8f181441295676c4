"""The one-line way: a posterior for any x, from one round of simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homing.errors import ArgumentError
from homing.inference.sequential import Sequential
from homing.inference.snle import SNLE
from homing.inference.snpe import SNPE
from homing.posteriors import Posterior

METHODS: dict[str, type[Sequential]] = {
    **dict.fromkeys(("SNPE", "SNPE_C", "APT", "NPE"), SNPE),
    **dict.fromkeys(("SNLE", "NLE"), SNLE),
}


def infer(
    simulator: Callable[..., Any],
    prior: Any,
    method: str = "SNPE",
    num_simulations: int = 1000,
    num_workers: int = 1,
    **options: Any,
) -> Posterior:
    """Simulate from the prior, learn, and return the posterior, good for any x.

    Args:
        simulator: A function from theta to data.
        prior: Anything that `SNPE` takes.
        method: `"SNPE"` (also `"SNPE_C"`, `"APT"`, `"NPE"`), `"SNLE"` (`"NLE"`).
        num_simulations: How many.
        num_workers: Processes that simulate.
        **options: Further arguments of the method, for example `seed=1`.

    Raises:
        ArgumentError: If the method is unknown.

    Example:
        >>> from homing.utils import BoxUniform
        >>> prior = BoxUniform([0.0], [1.0])
        >>> posterior = infer(lambda theta: theta**2, prior, num_simulations=50, seed=0, show_progress_bars=False)
        >>> posterior.sample((5,), x=[0.5]).shape
        (5, 1)
    """
    if method not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(METHODS)}, found {method!r}.")
    return METHODS[method](simulator, prior, num_workers=num_workers, **options)(num_simulations=num_simulations)

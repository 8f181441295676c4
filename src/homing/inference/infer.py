"""The one-line way: a posterior for any x, from one round of simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homing.errors import ArgumentError
from homing.inference.direct import FMPE, NPSE, SNPE_B, TSNPE
from homing.inference.sequential import Sequential
from homing.inference.snle import SNLE
from homing.inference.snpe import SNPE
from homing.inference.snpe_a import SNPE_A
from homing.inference.snre import BNRE, SNRE_A, SNRE_B, SNRE_C
from homing.posteriors import Posterior

_ALSO = {  # other published names
    "SNPE": ("SNPE_C", "APT", "NPE", "NPE_C"),
    "SNPE_A": ("NPE_A",),
    "SNPE_B": ("NPE_B",),
    "SNLE": ("SNLE_A", "NLE", "NLE_A"),
    "SNRE_A": ("AALR", "NRE_A"),
    "SNRE_B": ("SNRE", "SRE", "NRE", "NRE_B"),
    "SNRE_C": ("CNRE", "NRE_C"),
}
METHODS: dict[str, type[Sequential]] = {
    name: method
    for method in (SNPE, SNPE_A, SNPE_B, TSNPE, FMPE, NPSE, SNLE, SNRE_A, SNRE_B, SNRE_C, BNRE)
    for name in (method.name, *_ALSO.get(method.name, ()))
}


def as_method_class(method: str) -> type[Sequential]:
    """The method of that name.

    Raises:
        ArgumentError: If there is none.
    """
    if method not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(METHODS)}, found {method!r}.")
    return METHODS[method]


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
        method: `"SNPE"`, `"SNPE_A"`, `"SNPE_B"`, `"TSNPE"`, `"FMPE"`, `"NPSE"`, `"SNLE"`, `"SNRE_A"`, `"SNRE_B"`,
            `"SNRE_C"`, `"BNRE"`, or another published name of one of them.
        num_simulations: How many.
        num_workers: Processes that simulate.
        **options: Further arguments of the method, for example `seed=1`.

    Raises:
        ArgumentError: If the method is unknown.

    Example:
        >>> from homing.utils import BoxUniform
        >>> prior = BoxUniform([0.0, 0.0], [1.0, 1.0])
        >>> posterior = infer(lambda theta: theta**2, prior, num_simulations=50, seed=0, show_progress_bars=False)
        >>> posterior.sample((5,), x=[0.5, 0.5]).shape
        (5, 2)
    """
    inference: Any = as_method_class(method)(simulator, prior, num_workers=num_workers, **options)  # type: ignore[call-arg]
    return inference(num_simulations=num_simulations)

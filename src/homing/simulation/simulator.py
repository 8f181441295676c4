"""A user's simulator, and how it wants to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from homing.arrays import NUMPY, Kind
from homing.errors import ArgumentError
from homing.forks import check_fork
from homing.simulation.outcomes import as_data

Randomness = Literal["seed", "rng", "key"]


@dataclass(frozen=True)
class Simulator:
    """A function from parameters to data, wrapped so that NumPy goes in and NumPy comes out.

    **One theta or a batch.** `batched=False`: the function gets one theta of shape (d,) a call, and what it returns is
    the data; of shape (1, k), as functions written for batches return, they are k numbers. `batched=True`: it gets a
    batch (b, d) and returns b rows, which is much quicker where the function is made of array operations. With None it
    gets one theta a call unless it refuses: where the first planned thetas fail one at a time, and batches come back
    with one row for each theta, it gets batches (`homing.simulation.probing`).

    **Randomness.** A function with a parameter named `seed` gets an int below 2**31, one with `rng` a
    `numpy.random.Generator`, one with `key` a JAX key (the first of these that it has; a parameter whose default is
    text is left alone). A batch's is that of its first row, and batches begin at fixed rows, so the numbers depend
    neither on workers nor on timing. A function with none of them is expected to draw from global generators: Python's
    `random`, NumPy's legacy generator and, if imported, torch's are seeded before each call and put back afterwards. In
    threads such calls run one at a time; with one of the three parameters they run side by side, and only these are
    proof against what else a process does (Dask's workers draw from Python's generator themselves). Generators that the
    function holds, in an object, a closure or a module, are seeded likewise (`homing.simulation.generators`).

    Attributes:
        function: Gets theta as arrays of `kind`; returns an array of any library, a number or a list.
        kind: The kind of array the function expects.
        batched: Whether it gets a batch (b, d); None to find out.
        randomness: The parameter that receives the row's randomness, or None.

    Raises:
        ArgumentError: If the function cannot be called so, or `batched` is none of these.

    Example:
        >>> double = Simulator(lambda theta: 2 * theta, batched=True)
        >>> double(np.ones((2, 3)), seed=1)
        array([[2., 2., 2.],
               [2., 2., 2.]])
    """

    function: Callable[..., Any]
    kind: Kind = NUMPY
    batched: bool | None = None
    randomness: Randomness | None = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError(
                "The simulator must be a function that takes theta and returns data, "
                f"found {type(self.function).__name__}. A program is made a function by homing.command(...)."
            )
        if not isinstance(self.batched, (bool, np.bool_, type(None))):
            raise ArgumentError(
                f"batched must be True, if the simulator takes a batch (b, d), False, or None to find out, found "
                f"{self.batched!r}."
            )
        object.__setattr__(self, "randomness", _randomness(self.function))

    def __call__(self, theta: np.ndarray, seed: int) -> np.ndarray:
        """One call of the function.

        Args:
            theta: Shape (d,), or (b, d) for a batched one.
            seed: The row's seed, or that of the batch's first row.

        Returns:
            The data as a floating NumPy array of the shape the function gave.

        Raises:
            ArgumentError: If the output is not numeric. Whatever the function raises passes through.
        """
        given = self.kind.give(np.array(theta))  # a copy: the function may change what it gets
        if self.randomness is None:
            return as_data(self.function(given))
        return as_data(self.function(given, **{self.randomness: _RANDOMNESS[self.randomness](int(seed))}))

    def decided(self, batched: bool) -> Simulator:
        """The same simulator, known to be batched or not."""
        return replace(self, batched=batched)

    @property
    def name(self) -> str:
        """The function's module and name, as far as it has them."""
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return f"{named.__module__}.{named.__qualname__}"  # type: ignore[union-attr]


def _small(seed: int) -> int:
    return seed % 2**31  # what C programs, RandomState and JAX all take


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _key(seed: int) -> Any:
    check_fork()
    import jax

    return jax.random.key(_small(seed))


_RANDOMNESS: dict[Randomness, Callable[[int], Any]] = {"seed": _small, "rng": _rng, "key": _key}


def _randomness(function: Callable[..., Any]) -> Randomness | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return None
    takes: list[Randomness] = [name for name in _RANDOMNESS if _takes(signature.parameters.get(name))]
    randomness = takes[0] if takes else None
    try:
        signature.bind(None, **({} if randomness is None else {randomness: None}))
    except TypeError as error:
        raise ArgumentError(
            "The simulator is called with theta, and with random numbers where it has a parameter named seed, rng or "
            f"key; found {signature}: {error}."
        ) from None
    return randomness


def _takes(parameter: inspect.Parameter | None) -> bool:
    return (
        parameter is not None and parameter.kind != parameter.POSITIONAL_ONLY and not isinstance(parameter.default, str)
    )

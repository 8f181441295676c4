"""Calling a distribution that is not ours: a user's object, or one of a library's without a closed form here.

A `Source` hides how its `sample` wants to be called, which arrays it takes and gives, and where its random numbers come
from.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from homing.arrays import NUMPY, Kind, kind_of, to_numpy
from homing.errors import PriorError
from homing.forks import check_fork
from homing.random import generator

Call = Literal["shape", "number", "size", "key"]
_BUCKET = 1024


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and (if imported) torch for a block, and restores them after it."""
    torch = sys.modules.get("torch")
    devices = range(torch.cuda.device_count()) if torch and torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - users' objects draw from it
    with torch.random.fork_rng(devices) if torch else nullcontext():
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            if torch:
                torch.random.default_generator.manual_seed(seed)
                for device in devices:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@dataclass(frozen=True, eq=False)
class Source:
    """Someone else's distribution over one parameter vector, behind float64 rows.

    Attributes:
        distribution: Has `sample` and `log_prob`.
        kind: The kind of arrays it draws.
        shape: The shape of one draw: (d,), or () for one parameter.
        call: How `sample` is asked for n draws: `sample((n,))`, `sample(n)`, `sample(size=n)` or `sample(key, (n,))`.
        rng: The name under which `sample` takes a NumPy generator; None where it draws from global ones.
        name: The distribution's class, for messages.
        from_library: Whether it is torch's or numpyro's own. Then `log_prob` may return one value for each independent
            entry, to be summed, and on JAX the density is compiled.
    """

    distribution: Any
    kind: Kind
    shape: tuple[int, ...]
    call: Call
    rng: str | None
    name: str
    from_library: bool = False

    @property
    def dim(self) -> int:
        """The number of parameters, d."""
        return int(np.prod(self.shape, dtype=int))

    def sample(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """Draws, shape (num, d), decided by `rng` alone."""
        if not num:
            return np.empty((0, self.dim))  # which some libraries cannot draw
        draws = to_numpy(ask(self.distribution, self.call, self.rng, rng, num), "sample")
        return draws.astype(np.float64).reshape(num, self.dim)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """The log-density at rows of shape (n, d), shape (n,); -inf outside the declared support, NaN where it says so.

        JAX compiles once for each shape, so rows are padded to powers of two.
        """
        num = len(theta)
        if self.kind.library == "jax":
            padding = max(_BUCKET, 1 << max(num - 1, 0).bit_length()) - num
            theta = np.concatenate([theta, np.broadcast_to(theta[:1], (padding, self.dim))])
        inside = _in_support(self.distribution, self._give(theta))
        if not inside.any():
            return np.full(num, -np.inf)
        theta = np.where(inside[:, None], theta, theta[inside.argmax()])  # some libraries raise on rows outside
        values = self._values(self._call_log_prob(self._give(theta)), len(theta))
        return np.where(inside, values, -np.inf)[:num]

    def _give(self, theta: np.ndarray) -> Any:
        with np.errstate(over="ignore"):
            return self.kind.give(theta.reshape(-1, *self.shape))

    def _call_log_prob(self, theta: Any) -> Any:
        if self.kind.library == "torch":
            import torch

            with torch.no_grad():
                return self.distribution.log_prob(theta)
        if self.from_library and self.kind.library == "jax":
            return _compiled_log_prob()((self.distribution, theta))
        with np.errstate(all="ignore"):
            return self.distribution.log_prob(theta)

    def _values(self, result: Any, num: int) -> np.ndarray:
        values = to_numpy(result, "log_prob").astype(np.float64)
        if self.from_library and values.shape == (num, *self.shape):
            values = values.reshape(num, -1).sum(1)
        if values.shape not in ((num,), (num, 1)):
            hint = ""
            if values.shape == (num, *self.shape):
                hint = " It seems to hold one value for each parameter: sum over the last axis."
            raise PriorError(
                f"log_prob of the prior {self.name} must return one value for each parameter vector: for theta of "
                f"shape {(num, *self.shape)} the shape ({num},) was expected, found {values.shape}.{hint}"
            )
        return values.reshape(num)


def library_source(distribution: Any, call: Call) -> Source:
    """The source of a torch (`call="shape"`) or numpyro (`"key"`) distribution."""
    name = type(distribution).__name__
    if call == "key":
        check_fork()
        import jax

        draws = jax.eval_shape(lambda key: distribution.sample(key, (2,)), jax.random.key(0))  # compiles nothing
    else:
        draws = ask(distribution, call, None, generator(0, "prior source"), 2)
    kind, shape = _kind_and_shape(name, draws, 2)
    return Source(distribution, kind, shape, call, None, name, from_library=True)


def object_source(distribution: Any, name: str | None = None) -> Source:
    """The source of any object with `sample` and `log_prob`; tries how its `sample` wants to be called.

    Raises:
        PriorError: If `sample` can be called in none of the known ways, or gives no parameter vectors.
    """
    name = name or type(distribution).__name__
    try:
        arguments = list(inspect.signature(distribution.sample).parameters)
    except (TypeError, ValueError):
        arguments = []
    rng = next((argument for argument in ("rng", "random_state") if argument in arguments), None)
    calls: tuple[Call, ...] = ("key",) if arguments[:1] in (["key"], ["rng_key"]) else ("shape", "number", "size")
    failures = []
    for call in calls:
        try:
            draws = ask(distribution, call, rng, generator(0, "prior source"), 7)
            found = np.shape(draws) if kind_of(draws) is None else tuple(draws.shape)
        except Exception as error:
            failures.append(f"{_CALLS[call]} raised {type(error).__name__}: {error}")
            continue
        if found[:1] == (7,):
            return Source(distribution, *_kind_and_shape(name, draws, 7), call, rng, name)
        failures.append(f"{_CALLS[call]} returned shape {found}")
    raise PriorError(
        f"The prior {name} must give n parameter vectors, shape (n, d), from one of `sample((n,))`, `sample(n)`, "
        "`sample(size=n)` or, with JAX, `sample(key, (n,))`. Tried with n=7: " + "; ".join(failures) + "."
    )


_CALLS = {"shape": "sample((7,))", "number": "sample(7)", "size": "sample(size=7)", "key": "sample(key, (7,))"}


def ask(distribution: Any, call: Call, rng_name: str | None, rng: np.random.Generator, num: int) -> Any:
    """`num` draws as the distribution's own arrays, decided by `rng` alone."""
    if call == "key":
        import jax

        return distribution.sample(jax.random.key(int(rng.integers(2**32))), (num,))
    named = {rng_name: rng} if rng_name else {}
    with seeded(int(rng.integers(2**32))):
        if call == "size":
            return distribution.sample(size=num, **named)
        return distribution.sample((num,) if call == "shape" else num, **named)


def _kind_and_shape(name: str, draws: Any, num: int) -> tuple[Kind, tuple[int, ...]]:
    array = np.asarray(draws) if kind_of(draws) is None else draws
    kind, shape = kind_of(array) or NUMPY, tuple(array.shape)[1:]
    if str(array.dtype).removeprefix("torch.") not in ("float16", "float32", "float64"):
        raise PriorError(
            f"The prior {name} must draw floating numbers of 16, 32 or 64 bits, found {array.dtype}. Parameters are "
            "continuous here: for a discrete one infer a continuous one and round it inside the simulator."
        )
    if int(np.prod(shape, dtype=int)) != max(shape, default=1):
        raise PriorError(
            f"A prior must draw one vector of parameters at a time: {num} draws of {name} should have shape ({num}, d)"
            f", found {(num, *shape)}. Give one distribution over vectors, or a list of independent ones."
        )
    return kind, shape


@cache
def _compiled_log_prob() -> Any:
    import jax

    from homing.lapack import one_matrix_at_a_time

    return jax.jit(one_matrix_at_a_time(lambda given: given[0].log_prob(given[1])))


def declared_support(distribution: Any) -> Any:
    """The constraint under `support`; None if there is none."""
    try:
        support = distribution.support
    except (AttributeError, NotImplementedError):
        return None
    return support if hasattr(support, "is_discrete") else None


def _in_support(distribution: Any, theta: Any) -> np.ndarray:
    """Whether theta passes the torch or numpyro constraint that a distribution declares, and its base's, if any.

    A transformed distribution declares its last transform's range, which is too wide where the base itself is bounded.
    """
    support = declared_support(distribution)
    if support is None:
        return np.ones(len(theta), bool)
    components = getattr(distribution, "component_distribution", None)
    if components is not None and hasattr(support, "base_constraint"):  # torch asks for a theta in all of them
        axis = len(components.batch_shape)
        within = to_numpy(support.base_constraint.check(theta.unsqueeze(axis)))
        inside = np.all(np.any(within, axis=axis).reshape(len(theta), -1), axis=1)
    else:
        try:
            within = to_numpy(getattr(support, "check", support)(theta))
        except (RuntimeError, ValueError, TypeError) as error:
            raise PriorError(
                f"The `support` of the prior {type(distribution).__name__} must take theta of shape "
                f"{tuple(theta.shape)}, but raised {type(error).__name__}: {error}"
            ) from error
        inside = np.all(within.reshape(len(theta), -1), axis=1)
    if hasattr(distribution, "transforms") and inside.any():
        for transform in reversed(distribution.transforms):
            theta = transform.inv(theta)
        inside = inside & _in_support(distribution.base_dist, theta)
    return inside

"""LAPACK one matrix at a time, in programs that take part of a user's code.

XLA runs LAPACK's calls on the workers of a pool. A call of many matrices is divided among workers of the same pool, and
waits for them: two of them, in one program or in those of two threads, can occupy all workers, each waiting for ever. A
call of one matrix is not divided. So a program that calls LAPACK is traced, and what is called for many matrices is
called in a loop. This package's own estimators do not call it.

Source: `ParallelBatchMap` in jaxlib/cpu/lapack_kernels.cc, https://github.com/jax-ml/jax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal

_OF_MATRICES = {
    *("cholesky", "eig", "eigh", "geqp3", "geqrf", "hessenberg", "householder_product", "lu", "ormqr", "qr", "schur"),
    *("svd", "triangular_solve", "tridiagonal"),
}


def one_matrix_at_a_time(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function of one pytree of arrays, for compiling."""

    def looped(argument: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(argument)
        return jax.tree.unflatten(jax.tree.structure(shapes), _evaluate(traced, *jax.tree.leaves(argument)))

    looped.__name__ = getattr(function, "__name__", "program")
    return looped


def _evaluate(traced: ClosedJaxpr, *args: Any) -> list[Any]:
    """What was traced, again, with loops."""
    values = dict(zip(traced.jaxpr.constvars, traced.consts)) | dict(zip(traced.jaxpr.invars, args))

    def value(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for step in traced.jaxpr.eqns:
        called, given = step.params.get("call_jaxpr"), [*map(value, step.invars)]
        params = {name: _looped(param) for name, param in step.params.items()}
        call = partial(step.primitive.bind, **params)
        if isinstance(called, ClosedJaxpr):  # with a derivative of its own, which is of no use any more
            results = _evaluate(called, *given)
        elif step.primitive.name in _OF_MATRICES and given[0].ndim > 2:
            results = _in_a_loop(call, given)
        else:
            results = call(*given)
        values |= zip(step.outvars, results if step.primitive.multiple_results else [results])
    return [*map(value, traced.jaxpr.outvars)]


def _looped(param: Any) -> Any:
    """A loop's or a branch's part, or whatever else."""
    if isinstance(param, ClosedJaxpr):
        like = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in param.in_avals]
        return jax.make_jaxpr(partial(_evaluate, param))(*like)
    if isinstance(param, tuple):
        parts = map(_looped, param)
        return type(param)(*parts) if hasattr(param, "_fields") else tuple(parts)
    return param


def _in_a_loop(call: Callable[..., Any], given: Sequence[Any]) -> Any:
    """A call for arrays that agree in their leading axes, of matrices in the first."""
    leading = given[0].ndim - 2
    results = jax.lax.map(lambda one: call(*one), [a.reshape(-1, *a.shape[leading:]) for a in given])
    return jax.tree.map(lambda a: a.reshape(*given[0].shape[:leading], *a.shape[1:]), results)

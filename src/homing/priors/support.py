"""Finding the box a prior lives on, from its draws and its log-density alone.

From several draws, each axis is searched outward for a point of density zero, and the bound between the two is found by
bisection. A box has the same bounds wherever one starts, and holds every recombination of its draws' coordinates: both
are checked, so a support like theta_1 < theta_2 is refused and not silently widened. A density that does not vanish
where no draw falls is refused too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, PriorError
from homing.priors.prior import one_step_inside
from homing.random import generator

LogProb = Callable[[np.ndarray], np.ndarray]

_NUM_STARTS = 8
_FAR = (1.0, 10.0, 100.0, 1000.0)  # how far beyond the draws to look, in their range
_NUM_HALVINGS = 128
_BEYOND = 0.05  # how far beyond the last draw, in their range, the density must have fallen below the typical draw's
_WALL = 50.0  # log units below all draws: a density that falls so far at once has a wall there, whatever lies beyond
_THICKNESS = 1e-3  # of a wall, in the draws' range
_DIED_AWAY = 80.0  # log units below the peak where a density may underflow (exp(-87) is float32's smallest)


def bounds_of(support: object, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds that a torch or numpyro constraint declares, each of shape (dim,); infinite where it declares none."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint  # type: ignore[attr-defined]
    low, high = getattr(support, "lower_bound", -np.inf), getattr(support, "upper_bound", np.inf)
    return as_bound(low, dim, -np.inf), as_bound(high, dim, np.inf)


def as_bound(value: Any, dim: int, none: float) -> np.ndarray:
    """A declared bound as float64 of shape (dim,), `none` where it declares none.

    What is no number, or not one for each parameter, is an attribute that means something else.
    """
    try:
        if isinstance(value, (list, tuple)):
            value = [none if entry is None else entry for entry in value]
        bound = to_numpy(value, "bound").astype(np.float64).reshape(-1)
        bound = np.array(np.broadcast_to(bound, (dim,)))
    except (ArgumentError, ValueError):
        return np.full(dim, none)
    return np.where(np.isnan(bound), none, bound)


def find_box(
    log_prob: LogProb, draws: np.ndarray, low: np.ndarray, high: np.ndarray, dtype: str, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The support's bounds, within the declared ones.

    Args:
        log_prob: Rows of shape (n, d) to log-densities (n,); -inf, NaN or an exception mean outside.
        draws: Shape (n, d), at which log_prob is finite.
        low: Shape (d,), the declared lower bounds, or -inf.
        high: Shape (d,), the declared upper bounds, or inf.
        dtype: The floating type that log_prob works in.
        name: The distribution's name, for messages.

    Returns:
        Two arrays of shape (d,), infinite where nothing bounds.

    Raises:
        PriorError: If the support is not a box.
    """

    impossible = _sentinel(log_prob, draws, low, high)

    def density(theta: np.ndarray) -> np.ndarray:
        values = cautious(log_prob, theta)
        return np.where(values > impossible, values, -np.inf)

    mixed = generator(0, "recombined draws").permuted(draws[:1000], axis=0)
    empty = ~(density(mixed) > -np.inf)
    if empty.any():
        theta = ", ".join(f"{value:.4g}" for value in mixed[empty.argmax()])
        raise _not_a_box(name, f"log_prob is -inf at theta=[{theta}], though draws reach that far in each parameter")
    inner = one_step_inside(low, high, dtype)
    low = _find_bounds(density, draws, -1, low, inner[0], np.dtype(dtype), name)
    high = _find_bounds(density, draws, 1, high, inner[1], np.dtype(dtype), name)
    least = density(draws).min() - _WALL

    def walled(theta: np.ndarray) -> np.ndarray:
        values = density(theta)
        return np.where(values > least, values, -np.inf)

    low = _find_bounds(walled, draws, -1, low, inner[0], np.dtype(dtype), name, least + _WALL / 2)
    high = _find_bounds(walled, draws, 1, high, inner[1], np.dtype(dtype), name, least + _WALL / 2)
    beyond = (draws < low) | (draws > high)
    if beyond.any():
        row, i = np.argwhere(beyond)[0]
        raise _not_a_box(
            name, f"theta[{i}] seems bounded to [{low[i]:g}, {high[i]:g}], but draws reach {draws[row, i]:g}"
        )
    _check_vanishing(density, draws, low, high, name)
    return low, high


def _check_vanishing(density: LogProb, draws: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    """A density as high beyond all draws as at them is one that forgot its bounds: draws would have fallen there."""
    starts, step = draws[:_NUM_STARTS], _BEYOND * np.ptp(draws, axis=0)
    for positions in (draws.min(0) - step, draws.max(0) + step):
        for i in np.flatnonzero((positions > low) & (positions < high)):
            theta = starts.copy()
            theta[:, i] = positions[i]
            if np.median(density(theta) - density(starts)) >= 0:
                raise PriorError(
                    f"log_prob of the prior {name} must be -inf outside the support, found it as high at "
                    f"theta[{i}]={positions[i]:.4g} as at draws, though all {len(draws)} draws lie within "
                    f"[{draws[:, i].min():.4g}, {draws[:, i].max():.4g}]. Let it return -inf beyond the bounds, or "
                    "declare them as attributes `low` and `high`."
                )


def _find_bounds(
    density: LogProb,
    draws: np.ndarray,
    side: int,
    declared: np.ndarray,
    limit: np.ndarray,
    dtype: np.dtype,
    name: str,
    wall: float | None = None,
) -> np.ndarray:
    """The bounds on one side of every axis: one ray from each start along each axis, all searched at once.

    With `wall` only those count from before which the log-density has been above it: elsewhere it has died away.
    """
    dim = draws.shape[1]
    starts = draws[:_NUM_STARTS]
    axis = np.tile(np.arange(dim), len(starts))
    base, rays = np.repeat(starts, dim, axis=0), np.arange(len(axis))
    span = np.ptp(draws, axis=0)
    edge = draws.min(0) if side < 0 else draws.max(0)

    def at(position: np.ndarray) -> np.ndarray:
        theta = base.copy()
        theta[rays, axis] = position
        return density(theta)

    outside = np.full(len(rays), np.nan)
    for far in _FAR:
        target = side * np.minimum(side * edge + far * span, side * limit)[axis]
        new = np.isnan(outside) & ~(at(target) > -np.inf)
        outside[new] = target[new]
    bounded = ~np.isnan(outside)
    if not bounded.any():
        return declared
    inside = base[rays, axis]
    outside = np.where(bounded, outside, inside)
    for _ in range(_NUM_HALVINGS):
        middle = (inside + outside) / 2
        near, far, between = (values.astype(dtype) for values in (inside, outside, middle))
        if np.all((between == near) | (between == far)):
            break
        ok = at(middle) > -np.inf
        inside, outside = np.where(ok, middle, inside), np.where(ok, outside, middle)
    inside = inside.astype(dtype).astype(np.float64)  # the last one within, as log_prob saw it
    faint = np.maximum(at(inside), at(inside - side * 1e-3 * span[axis])) < density(starts).max() - _DIED_AWAY
    found = np.where(bounded, inside, side * np.inf)
    if wall is not None:
        stands = bounded & (at(inside - side * _THICKNESS * span[axis]) > wall)
        values = np.where(stands, inside, side * np.inf).reshape(-1, dim)
        stands = np.isfinite(values).all(0) & (np.ptp(np.where(np.isfinite(values), values, 0), axis=0) <= 1e-5 * span)
        return np.where(np.isinf(declared) & stands, np.median(values, axis=0), declared)
    return _agree(found.reshape(-1, dim), faint.reshape(-1, dim), declared, edge, span, name)


def _agree(
    found: np.ndarray, faint: np.ndarray, declared: np.ndarray, edge: np.ndarray, span: np.ndarray, name: str
) -> np.ndarray:
    """One bound for each axis from what the starts found, shape (starts, d), if it is the same wherever one starts."""
    bounds = declared.copy()
    for axis in range(len(bounds)):
        values = found[:, axis]
        if np.isinf(values).all():
            continue
        distant = np.abs(values - edge[axis]) > _FAR[1] * span[axis]
        if (distant & faint[:, axis]).all():
            continue
        if np.isfinite(values).all() and np.ptp(values) <= 1e-5 * span[axis] + 1e-6 * abs(values[0]):
            middle = float(np.median(values))
            bounds[axis] = 0.0 if abs(middle) < 1e-30 * span[axis] else middle
        elif not faint[np.isfinite(values), axis].all():  # else it only underflows out there, which bounds nothing
            ends = f"{values.min():g} or {values.max():g}"
            raise _not_a_box(name, f"theta[{axis}]'s bound is {ends}, depending on the other parameters")
    return bounds


def _sentinel(log_prob: LogProb, draws: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """What log_prob returns in place of -inf, -1e10 for instance: the same at any distance beyond the draws."""
    starts, span = draws[:_NUM_STARTS], np.ptp(draws, axis=0)
    plateaus = [-np.inf]
    typical = float(cautious(log_prob, draws[:1000]).min())
    for edge, bound, side in ((draws.min(0), low, -1), (draws.max(0), high, 1)):
        for i in np.flatnonzero(np.isinf(bound)):
            near, far = starts.copy(), starts.copy()
            near[:, i], far[:, i] = (edge[i] + side * times * span[i] for times in _FAR[-2:])
            values = cautious(log_prob, near)
            plateaus += values[(values == cautious(log_prob, far)) & (values < typical - _WALL / 5)].tolist()
    return max(plateaus)


def cautious(log_prob: LogProb, theta: np.ndarray) -> np.ndarray:
    """log_prob with NaN and exceptions read as -inf, row by row."""
    try:
        values = log_prob(theta)
    except Exception:
        if len(theta) == 1:
            return np.full(1, -np.inf)
        values = np.concatenate([cautious(log_prob, row[None]) for row in theta])
    return np.where(np.isnan(values), -np.inf, values)


def _not_a_box(name: str, found: str) -> PriorError:
    return PriorError(
        f"The support of the prior {name} must be a box, each parameter between bounds of its own: {found}. "
        "Reparametrise so that the bounds are constant, and undo it inside the simulator: for theta_1 < theta_2 infer "
        "theta_1 and the difference theta_2 - theta_1 > 0. (If the density is only too small for a float there, "
        "compute log_prob in logarithms.)"
    )

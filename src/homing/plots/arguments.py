"""What callers hand to a plot, checked once: samples, points, limits and the names and colours of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from homing.arrays import to_numpy
from homing.errors import ArgumentError, ShapeError
from homing.plots.density import spread


def read_samples(samples: Any) -> list[np.ndarray]:
    """One or several sets of draws.

    Args:
        samples: An array of shape (n, d), or a list of such arrays with the same d.

    Returns:
        The sets, each float64 of shape (n, d).

    Raises:
        ShapeError: If a set is not of shape (n, d), or the sets differ in d.
        ArgumentError: If a set has fewer than two draws, or values that are NaN or infinite.
    """
    several = isinstance(samples, (list, tuple)) and len(samples) > 0 and _ndim(samples[0], "samples") == 2
    named = [(f"samples[{i}]", entry) for i, entry in enumerate(samples)] if several else [("samples", samples)]
    sets = [_read_set(name, entry) for name, entry in named]
    for (name, _), values in zip(named, sets):
        if values.shape[1] != sets[0].shape[1]:
            raise ShapeError(
                f"{name} has {values.shape[1]} parameters, samples[0] has {sets[0].shape[1]}: "
                "sets drawn over each other must have the same parameters."
            )
    return sets


def _read_set(name: str, entry: Any) -> np.ndarray:
    values = to_numpy(entry, name).astype(np.float64)
    if values.ndim == 1:
        raise ShapeError(
            f"{name} must have shape (n, d), n draws of d parameters, found {values.shape}. "
            "Draws of one parameter are samples[:, None], one draw of many parameters is no sample."
        )
    if values.ndim != 2 or values.shape[1] == 0:
        raise ShapeError(
            f"{name} must have shape (n, d), n draws of d parameters, found {values.shape}. "
            "Merge leading axes, such as chains, with samples.reshape(-1, d)."
        )
    if len(values) < 2:
        raise ArgumentError(f"{name} must have at least 2 draws to show a distribution, found {len(values)}.")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ArgumentError(
            f"{name} must be finite, found NaN or infinite values in {bad.any(1).sum()} of {len(values)} draws, first "
            f"in draw {row}, parameter {column}. Find out where they come from, or drop these draws."
        )
    return values


def read_points(points: Any, d: int) -> list[np.ndarray]:
    """One or several groups of points.

    Args:
        points: None, an array of shape (d,) or (m, d), or a list of such arrays.
        d: The number of parameters.

    Returns:
        The groups, each float64 of shape (m, d); empty without points.

    Raises:
        ShapeError: If a group does not fit the d parameters.
        ArgumentError: If a value is NaN or infinite.
    """
    if points is None:
        return []
    several = isinstance(points, (list, tuple)) and len(points) > 0 and _ndim(points[0], "points") > 0
    named = [(f"points[{i}]", entry) for i, entry in enumerate(points)] if several else [("points", points)]
    groups = []
    for name, entry in named:
        values = np.atleast_2d(to_numpy(entry, name).astype(np.float64))
        if values.ndim != 2 or values.shape[1] != d:
            raise ShapeError(
                f"{name} must have shape ({d},) or (m, {d}), as samples have {d} parameters, found {np.shape(entry)}."
            )
        if not np.isfinite(values).all():
            raise ArgumentError(f"{name} must be finite, found {values[~np.isfinite(values)][0]}.")
        groups.append(values)
    return groups


def _ndim(value: Any, name: str) -> int:
    return value.ndim if hasattr(value, "ndim") else to_numpy(value, name).ndim


def read_limits(limits: Any, sets: list[np.ndarray], groups: list[np.ndarray]) -> np.ndarray:
    """The range of each parameter that is shown.

    Args:
        limits: None, one pair (low, high) for all parameters, or an array of shape (d, 2).
        sets: The draws, each of shape (n, d).
        groups: The points, each of shape (m, d).

    Returns:
        Shape (d, 2). Without limits, what holds all draws and points with a margin of a twentieth; of heavy tails, what
        lies up to three standard deviations (from the quartiles) beyond the 1 % and 99 % quantiles.

    Raises:
        ShapeError: If the limits are neither one pair nor d pairs.
        ArgumentError: If a pair is not finite and rising, or no draw lies within it.
    """
    d = sets[0].shape[1]
    if limits is None:
        return np.array([_own_limits([s[:, j] for s in sets], [g[:, j] for g in groups]) for j in range(d)])
    pairs = read_pairs(limits, d)
    for j, (low, high) in enumerate(pairs):
        if not any(((s[:, j] >= low) & (s[:, j] <= high)).any() for s in sets):
            smallest, largest = min(s[:, j].min() for s in sets), max(s[:, j].max() for s in sets)
            raise ArgumentError(
                f"limits of parameter {j}, [{low:g}, {high:g}], hold none of its draws, which lie in "
                f"[{smallest:g}, {largest:g}]. Pass limits that do, or None to have them found."
            )
    return pairs


def read_pairs(limits: Any, d: int) -> np.ndarray:
    """One pair (low, high) for each of d parameters, shape (d, 2), from one for all or one for each.

    Raises:
        ShapeError: If the limits are neither one pair nor d pairs.
        ArgumentError: If a pair is not finite and rising.
    """
    pairs = to_numpy(limits, "limits").astype(np.float64)
    if pairs.shape not in ((2,), (d, 2)):
        raise ShapeError(
            f"limits must be one pair [low, high] or one for each of the {d} parameters, shape (2,) or ({d}, 2), "
            f"found shape {pairs.shape}."
        )
    pairs = np.broadcast_to(pairs, (d, 2))
    for j, (low, high) in enumerate(pairs):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ArgumentError(f"limits of parameter {j} must be finite with low < high, found [{low:g}, {high:g}].")
    return pairs


def _own_limits(draws: list[np.ndarray], points: list[np.ndarray]) -> tuple[float, float]:
    ends = [*points]
    for values in draws:
        (first, last), reach = np.percentile(values, [1, 99]), 3 * spread(values)
        ends.append(np.array([max(values.min(), first - reach), min(values.max(), last + reach)]))
    low, high = (float(end) for end in (np.concatenate(ends).min(), np.concatenate(ends).max()))
    scale = max(abs(low), abs(high))
    constant = high - low <= 1e-12 * scale
    margin = 0.05 * ((scale or 10) if constant else high - low)
    return low - margin, high + margin


def check_choice(name: str, choice: Any, known: Iterable[str]) -> None:
    """Refuses a choice that is neither None nor known.

    Raises:
        ArgumentError: If it is not.
    """
    if choice is not None and not (isinstance(choice, str) and choice in known):
        raise ArgumentError(f"{name} must be {', '.join(map(repr, known))} or None, found {choice!r}.")


def check_options(options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuses options that are unknown or no dictionaries.

    Raises:
        ArgumentError: If there is one.
    """
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(
                f"unknown option {name!r}; beside its named arguments, this plot takes {', '.join(known)}."
            )
        if not isinstance(value, Mapping):
            raise ArgumentError(f"{name} must be a dictionary of options, such as dict(alpha=0.5), found {value!r}.")


def read_bins(bins: Any) -> int:
    """How many bins a histogram has.

    Raises:
        ArgumentError: If it is no positive integer.
    """
    if not isinstance(bins, (int, np.integer)) or bins < 1:
        raise ArgumentError(f"bins must be a positive integer, the number of bins between the limits, found {bins!r}.")
    return int(bins)


def read_masses(levels: Any) -> list[float]:
    """The masses of highest density regions.

    Raises:
        ArgumentError: If one is not between 0 and 1.
    """
    masses = np.atleast_1d(to_numpy(levels, "levels")).astype(np.float64)
    if masses.ndim != 1 or not ((masses > 0) & (masses < 1)).all():
        raise ArgumentError(
            f"levels must be masses between 0 and 1, such as [0.5, 0.95] for the regions that hold 50 and 95 %, "
            f"found {levels!r}."
        )
    return masses.tolist()


def read_subset(subset: Any, d: int) -> list[int]:
    """The indices of the parameters to show, each between 0 and d - 1; all without a subset.

    Raises:
        ArgumentError: If an index is no integer below d, or there is none.
    """
    if subset is None:
        return list(range(d))
    indices = to_numpy(subset, "subset")
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise ArgumentError(f"subset must be a list of parameters' indices, such as [0, 2], found {subset!r}.")
    if indices.min() < 0 or indices.max() >= d:
        raise ArgumentError(
            f"subset must hold indices from 0 to {d - 1}, as samples have {d} parameters, found {subset!r}."
        )
    return [int(i) for i in indices]


def read_labels(labels: Sequence[str] | str | None, name: str, count: int, what: str) -> list[str] | None:
    """One text for each of `count` things.

    Raises:
        ArgumentError: If there are more texts or fewer, or one has mathematics that cannot be drawn.
    """
    from matplotlib.cbook import is_math_text
    from matplotlib.mathtext import MathTextParser

    if labels is None:
        return None
    texts = [labels] if isinstance(labels, str) else [str(text) for text in labels]
    if len(texts) != count:
        raise ArgumentError(f"{name} must have one text for each of the {count} {what}, found {len(texts)}: {texts}.")
    for text in filter(is_math_text, texts):
        try:
            MathTextParser("path").parse(text)
        except ValueError as error:
            raise ArgumentError(
                f"The mathematics of {text!r} in {name} cannot be drawn: it should be as matplotlib reads TeX between "
                "dollars. A dollar that is one is written \\$."
            ) from error
    return texts


def read_ticks(ticks: Any, d: int) -> list[np.ndarray | None]:
    """The ticks of each parameter, from one list for all or a list for each; None where they are to be found.

    Raises:
        ShapeError: If there are lists for more parameters or fewer.
    """
    if ticks is None:
        return [None] * d
    if len(ticks) == 0 or all(np.ndim(tick) == 0 for tick in ticks):
        return [to_numpy(ticks, "ticks")] * d if len(ticks) else [np.array([])] * d
    if len(ticks) != d:
        raise ShapeError(
            f"ticks must be one list for all parameters or one for each of the {d}, found {len(ticks)} lists."
        )
    return [to_numpy(tick, f"ticks[{j}]") if len(tick) else np.array([]) for j, tick in enumerate(ticks)]


def read_colors(colors: Any, name: str, default: Sequence[str], count: int) -> list[Any]:
    """`count` colours: one colour for all, or a sequence that is repeated as needed.

    Raises:
        ArgumentError: If something is not a colour to matplotlib.
    """
    from matplotlib.colors import is_color_like

    chosen = list(default) if colors is None else [colors] if is_color_like(colors) else list(colors)
    for color in chosen:
        if not is_color_like(color):
            raise ArgumentError(f"{name} must be a colour that matplotlib knows, or a list of them, found {color!r}.")
    if not chosen:
        raise ArgumentError(f"{name} must hold at least one colour, found none.")
    return [chosen[i % len(chosen)] for i in range(count)]


def read_prior(prior: Any, d: int) -> np.ndarray | None:
    """Draws from the prior, shape (m, d), or None.

    Raises:
        ShapeError: If they have another number of parameters than the draws they are shown with.
    """
    if prior is None:
        return None
    draws = _read_set("prior", prior)
    if draws.shape[1] != d:
        raise ShapeError(
            f"prior must have shape (m, {d}), draws of the same parameters as samples, found {draws.shape}."
        )
    return draws


def limits_within(samples: Any, points: Any, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The ranges that `pairplot` would choose, no wider than a support from `low` to `high`; shape (d, 2)."""
    sets = read_samples(samples)
    ranges = read_limits(None, sets, read_points(points, sets[0].shape[1]))
    return np.stack([np.maximum(ranges[:, 0], low), np.minimum(ranges[:, 1], high)], axis=1)

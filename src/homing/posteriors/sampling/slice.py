r"""Slice sampling of many chains at once, along random directions.

From \(z\) with height \(\log y = \log \pi(z) - e\), e exponential, an interval about z on a line is stepped out until
both ends are below the height, a point is drawn within, and the interval shrinks to it until it is above. Steps out and
shrinkings are bounded; stepping out is given its limit by a random split, which keeps the target invariant, and a chain
that finds no point stays where it is.

Source: Neal, *Slice sampling*, 2003, https://doi.org/10.1214/aos/1056562461, figures 3 and 5.
"""

from __future__ import annotations

import numpy as np

from homing.posteriors.sampling.target import LogDensity

_STEPS_OUT = 6
_SHRINKINGS = 30
_WIDTH = 2.0  # of the first interval, in standard deviations along the line


def slice_step(
    z: np.ndarray, values: np.ndarray, log_density: LogDensity, scale: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One step of every chain, along as many random directions as there are dimensions.

    Args:
        z: Where the chains are, shape (n, d).
        values: Their log densities, shape (n,).
        log_density: From rows z to their log densities.
        scale: Lower Cholesky factor of the covariance that directions are drawn with, shape (d, d).
        rng: Randomness.

    Returns:
        Where they are now, and their log densities.
    """
    for _ in range(z.shape[1]):
        direction = rng.standard_normal(z.shape)
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True) @ scale.T
        z, values = _along(z, values, direction, log_density, rng)
    return z, values


def _along(
    z: np.ndarray, values: np.ndarray, direction: np.ndarray, log_density: LogDensity, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    num = len(z)
    height = values - rng.exponential(size=num)

    def above(place: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log densities at places on the lines of some chains, and whether they are above the height."""
        found = log_density(z[which] + place[:, None] * direction[which])
        return found, found > height[which]

    low = -_WIDTH * rng.random(num)
    high = low + _WIDTH
    left = rng.integers(_STEPS_OUT + 1, size=num)
    for ends, sign, limits in ((low, -1.0, left), (high, 1.0, _STEPS_OUT - left)):
        open_ends, step = np.arange(num), 0
        while len(open_ends):
            open_ends = open_ends[limits[open_ends] > step]
            open_ends = open_ends[above(ends[open_ends], open_ends)[1]] if len(open_ends) else open_ends
            ends[open_ends] += sign * _WIDTH
            step += 1
    new, new_values, trying = z.copy(), values.copy(), np.arange(num)
    for _ in range(_SHRINKINGS):
        place = low[trying] + (high[trying] - low[trying]) * rng.random(len(trying))
        found, ok = above(place, trying)
        done = trying[ok]
        new[done] = z[done] + place[ok, None] * direction[done]
        new_values[done] = found[ok]
        trying, place = trying[~ok], place[~ok]
        if not len(trying):
            break
        below = place < 0
        low[trying[below]], high[trying[~below]] = place[below], place[~below]
    return new, new_values

"""Draws that are costly to begin with, kept and handed out once.

A sampler gives some thousand draws at an x for the price of a few. Those that a call does not take are kept for the
next one, and when they are used up, more are drawn: no two calls share a draw, and a sequence of calls gives the same
numbers whenever it is repeated. Where a sampler repeats draws (importance resampling), what is left over is not used:
the next call would get what this one has.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from homing.forks import brief

_KEPT = 8  # observations whose draws are kept
_MOST_REPEATED = 0.01  # share of draws up to which repeated ones are left out, and the others used


class FreshDraws:
    """Draws at any x, each handed out once.

    Args:
        draw: Takes an x, the number of a batch, counted from 0, and how many are needed; gives at least as many draws
            of that batch, shape (n, d), in random order, the same whenever it is asked.
    """

    def __init__(self, draw: Callable[[np.ndarray, int, int], np.ndarray]):
        self._draw = draw
        self._batches: dict[bytes, int] = {}  # of each x: what is lost of a batch is not given again
        self._rest: dict[bytes, np.ndarray] = {}

    def take(self, num: int, x: np.ndarray) -> np.ndarray:
        """The next `num` draws at x, shape (num, d).

        Example:
            >>> fresh = FreshDraws(lambda x, batch, num: 10.0 * batch + np.arange(max(num, 3.0))[:, None])
            >>> [fresh.take(num, np.zeros(1)).ravel().tolist() for num in (2, 2, 5)]
            [[0.0, 1.0], [2.0, 10.0], [11.0, 12.0, 20.0, 21.0, 22.0]]
        """
        key = x.tobytes()
        parts, missing = [], num
        with brief:
            rest = self._rest.pop(key, None)
        if rest is not None:
            parts, missing = [rest[:num]], max(num - len(rest), 0)
            rest = rest[num:]
        if missing or rest is None:
            with brief:
                batch = self._batches.get(key, 0)
                self._batches[key] = batch + 1
            drawn = self._draw(x, batch, missing)
            parts.append(drawn[:missing])
            rest = _unlike(drawn[missing:], drawn[:missing])
        with brief:
            self._rest[key] = np.concatenate([self._rest.pop(key, rest[:0]), rest])  # with what another thread left
            if len(self._rest) > _KEPT:
                del self._rest[next(iter(self._rest))]
        return np.concatenate(parts)


def _unlike(rest: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Those of the rest that are not repeated; none of them where many are."""
    rows = np.ascontiguousarray(np.concatenate([given, rest]))
    _, first = np.unique(rows.view([("", rows.dtype)] * rows.shape[1]).ravel(), return_index=True)
    if len(first) < (1 - _MOST_REPEATED) * len(rows):
        return rest[:0]
    first = np.sort(first)
    return rows[first[first >= len(given)]]

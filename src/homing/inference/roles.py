"""Which rows are for validation: drawn when a round is first learned from, and theirs for life."""

from __future__ import annotations

import numpy as np

from homing import random
from homing.simulation import Store


class Roles:
    """The roles of a run's rows.

    Args:
        store: Where they are kept.
        seed: The run's.
    """

    def __init__(self, store: Store, seed: int):
        self._store, self._seed = store, seed
        self._known: dict[int, np.ndarray] = {}

    def of(self, number: int, ok: np.ndarray, fraction: float) -> np.ndarray:
        """Whether each row of a round is for validation, shape (n,).

        Args:
            number: The round.
            ok: Which of its rows are valid, shape (n,).
            fraction: Share of these to hold out, if that was not decided before.
        """
        name = f"validation rows of round {number}"
        if number not in self._known and self._store.recall(name) is not None:
            self._known[number] = np.isin(np.arange(len(ok)), self._store.recall(name))
        if number not in self._known:
            draws = np.where(ok, random.generator(self._seed, "validation", number).random(len(ok)), np.inf)
            count = int(np.clip(round(fraction * ok.sum()), 1, max(ok.sum() - 1, 0)))
            roles = np.zeros(len(ok), bool)
            roles[np.argsort(draws)[:count]] = True
            self._known[number] = roles
            self._store.remember(name, np.flatnonzero(roles))
        return self._known[number]

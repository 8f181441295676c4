"""The prior times the probability that a simulation is valid: where to look while most simulations fail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homing.estimators.validity import Validity
from homing.priors import Prior
from homing.proposals.reweighed import Drawn, ReweighedPrior
from homing.random import generator


@dataclass(frozen=True, eq=False)
class ValidPrior:
    """Draws from the prior times p(valid | z), and a share from the whole prior.

    Attributes:
        prior: The prior.
        validity: The probability that a simulation is valid.
        defensive: Share of draws from the whole prior, for places that were taken for invalid by mistake.
    """

    prior: Prior
    validity: Validity
    defensive: float = 0.0
    name = "valid"

    def draw(self, num: int, seed: int, show_progress_bars: bool = False) -> np.ndarray:
        """Draws of theta, shape (num, d), float64, in random order."""
        return self.draw_with_info(num, seed)[0]

    def draw_with_info(self, num: int, seed: int) -> tuple[np.ndarray, Drawn]:
        """Draws, and how they were made."""
        return self._product.draw(num, generator(seed, "valid"))

    @property
    def is_reachable(self) -> bool:
        """Whether it can be drawn from."""
        return self._product.is_reachable

    def log_ratio(self, theta: np.ndarray) -> np.ndarray:
        """log p̃(theta) / p(theta) of rows theta, shape (n, d); shape (n,)."""
        return self._product.log_ratio(theta)

    @cached_property
    def _product(self) -> ReweighedPrior:
        return ReweighedPrior(self.prior, self.validity.log_prob, whole=self.defensive)

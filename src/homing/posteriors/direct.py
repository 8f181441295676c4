"""The posterior of neural posterior estimation: a trained density of theta, drawn from and evaluated directly.

Source: Papamakarios, Murray, *Fast epsilon-free Inference of Simulation Models with Bayesian Conditional Density
Estimation*, 2016, https://arxiv.org/abs/1605.06376.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homing.posteriors.conditionals import Conditionals, ensemble_at_each
from homing.posteriors.ensemble import Ensemble
from homing.posteriors.posterior import Posterior
from homing.priors import Prior


class DirectPosterior(Posterior):
    """p(theta | x) as a trained density.

    Args:
        ensemble: The trained density of z given x.
        prior: The prior.
        **options: As for `Posterior`.
    """

    def __init__(self, ensemble: Ensemble, prior: Prior, **options: Any):
        super().__init__(prior, ensemble.x_shape, **options)
        self.ensemble = ensemble
        self.num_members = len(ensemble.members)

    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        return self.ensemble.sample(num, x, seed, on_chunk)

    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self.ensemble.log_prob(z, x)

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        return self.ensemble.disagreement(x, seed)

    def at_each(self, x: np.ndarray, num: int, seed: int) -> Conditionals:
        return ensemble_at_each(self.ensemble, x, num, seed)

    @property
    def _learned(self) -> dict[str, Any]:
        return {"ensemble": self.ensemble}

    @property
    def _origin(self) -> str:
        return "This DirectPosterior-object was obtained with a SNPE-class method using a flow."

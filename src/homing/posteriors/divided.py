r"""The posterior of SNPE-A: a mixture learned from a normal proposal's rows, divided by the proposal.

The mixture \(\tilde q(z \mid x) = \sum_k w_k N(z; m_k, \Lambda_k^{-1})\) is learned where the proposal
\(\tilde p = N(\tilde m, M^{-1})\) is a standard normal, and every \(\Lambda_k\) is at least M there, as that of any
proposal posterior with a bounded likelihood is. So, with the prior \(N(0, I)\),

\(q(z \mid x) \propto \tilde q(z \mid x)\, p(z) / \tilde p(z)\) is the mixture of normals with the precisions
\(P_k = \Lambda_k + I - M\), positive definite by construction, and the means
\(P_k^{-1} (\Lambda_k m_k - M \tilde m)\).

Source: Papamakarios, Murray, *Fast epsilon-free Inference of Simulation Models with Bayesian Conditional Density
Estimation*, 2016, https://arxiv.org/abs/1605.06376, appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from homing import random
from homing.estimators import Gaussians
from homing.posteriors.ensemble import DRAWS_COMPARED, Ensemble, disagreement_of
from homing.posteriors.posterior import Posterior
from homing.priors import Prior


class DividedPosterior(Posterior):
    """A mixture of normals in the space of z, at any x.

    Args:
        ensemble: The mixture of u given x, where u = S^-1 (z - m) is a standard normal under the proposal.
        prior: The prior, which maps to a standard normal.
        mean: The proposal's m, shape (d,).
        scale_tril: The proposal's S, shape (d, d).
        **options: As for `Posterior`.
    """

    def __init__(self, ensemble: Ensemble, prior: Prior, mean: np.ndarray, scale_tril: np.ndarray, **options: Any):
        super().__init__(prior, ensemble.x_shape, **options)
        self.ensemble, self.mean, self.scale_tril = ensemble, mean, scale_tril
        self.num_members = len(ensemble.members)

    def components(self, x: np.ndarray) -> Gaussians:
        """The mixture of z at an x of shape x_shape, float64."""
        learned = self.ensemble.components(x)
        inverse = solve_triangular(self.scale_tril, np.eye(len(self.mean)), lower=True)
        precisions = inverse.T @ learned.precisions.astype(np.float64) @ inverse
        means = self.mean + learned.means.astype(np.float64) @ self.scale_tril.T
        of_proposal = inverse.T @ inverse
        divided = precisions + np.eye(len(self.mean)) - of_proposal
        pulls = np.einsum("kij,kj->ki", precisions, means) - of_proposal @ self.mean
        moved = np.linalg.solve(divided, pulls[..., None])[..., 0]
        exponents = np.einsum("ki,ki->k", moved, pulls) - np.einsum("ki,kij,kj->k", means, precisions, means)
        log_dets = np.linalg.slogdet(precisions)[1] - np.linalg.slogdet(divided)[1]
        log_weights = learned.log_weights + 0.5 * (exponents + log_dets)
        return Gaussians(log_weights - np.logaddexp.reduce(log_weights), moved, divided)

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of z at x."""
        mixture = self.components(x)
        weights = np.exp(mixture.log_weights)
        mean = weights @ mixture.means
        apart = mixture.means - mean
        within = np.linalg.inv(mixture.precisions)
        return mean, np.einsum("k,kij->ij", weights, within + apart[:, :, None] * apart[:, None, :])

    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        mixture, rng = self.components(x), random.generator(seed, "mixture")
        which = rng.choice(len(mixture.log_weights), num, p=np.exp(mixture.log_weights))
        factors = np.linalg.cholesky(np.linalg.inv(mixture.precisions))
        noise = rng.standard_normal((num, len(self.mean)))
        if on_chunk is not None:
            on_chunk(num)
        return mixture.means[which] + np.einsum("nij,nj->ni", factors[which], noise)

    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        mixture = self.components(x)
        apart = z[:, None] - mixture.means
        squared = np.einsum("nki,kij,nkj->nk", apart, mixture.precisions, apart)
        log_norm = 0.5 * np.linalg.slogdet(mixture.precisions)[1] - 0.5 * z.shape[1] * np.log(2 * np.pi)
        return np.logaddexp.reduce(mixture.log_weights + log_norm - 0.5 * squared, axis=1)

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        """Of what each member makes of the posterior alone: dividing may take apart what agreed, or join it."""
        if self.num_members == 1:
            return None
        options: dict[str, Any] = {"multi_round": self.multi_round, "seed": self._seed}
        members = [
            DividedPosterior(self.ensemble.member(m), self.prior, self.mean, self.scale_tril, **options)
            for m in range(self.num_members)
        ]
        num = -(-DRAWS_COMPARED // len(members))
        draws = [part.draw_normal(num, x, random.word(seed, "member", m)) for m, part in enumerate(members)]
        values = np.stack([part.log_prob_normal(np.concatenate(draws), x) for part in members])
        weights = np.full(len(members), 1 / len(members))
        return disagreement_of(values, np.logaddexp.reduce(values, axis=0) + np.log(weights[0]), weights)

    @property
    def _learned(self) -> dict[str, Any]:
        return {"ensemble": self.ensemble, "mean": self.mean, "scale_tril": self.scale_tril}

    @property
    def _origin(self) -> str:
        return "This DividedPosterior-object was obtained with a SNPE-class method using a mixture of normals."

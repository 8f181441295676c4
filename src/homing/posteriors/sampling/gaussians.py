r"""A mixture of normal distributions fitted to draws: what a density known by its draws alone is sampled near.

\(\sum_k w_k\, N(z; \mu_k, s^2 \Sigma_k)\), with a cluster's share, mean and covariance for each k, the covariance
shrunk towards the mean one of all clusters as if that had been seen in 2 d more draws, and a small share for one normal
distribution about all draws, so that no place among them is without candidates. The number of clusters is the one under
which draws that were left out are the likeliest. Widened by s, it reaches beyond the draws.

Sources: Lloyd, *Least squares quantization in PCM*, 1982, https://doi.org/10.1109/TIT.1982.1056489 (clusters);
Hesterberg, *Weighted average importance sampling and defensive mixture distributions*, 1995,
https://doi.org/10.1080/00401706.1995.10484303 (the share for all draws).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

_CLUSTERS = (1, 8, 64, 256)
_CLUSTERED = 4096  # draws that the clusters are found by
_LEFT_OUT = 2048
_WORTHWHILE = 0.1  # nats of a left-out draw that more clusters, which cost more, must gain
_FOR_ALL = 0.05  # share of the distribution about all draws
_ROWS = 4_000_000  # numbers in one block of standardised rows


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A weighted mixture of normal distributions.

    Attributes:
        weights: The shares of the distributions, shape (k,), summing to one.
        means: Their means, shape (k, d).
        factors: The lower Cholesky factors of their covariances, shape (k, d, d).
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def sample(self, num: int, rng: np.random.Generator, widened: float = 1.0) -> np.ndarray:
        """Independent draws, shape (num, d), with all standard deviations multiplied by `widened`."""
        counts = rng.multinomial(num, self.weights)
        noise = np.split(widened * rng.standard_normal((num, self.means.shape[1])), np.cumsum(counts)[:-1])
        return np.concatenate([m + part @ f.T for m, f, part in zip(self.means, self.factors, noise)])

    def log_density(self, z: np.ndarray, widened: float = 1.0) -> np.ndarray:
        """The log density of rows z, shape (n, d), with standard deviations multiplied by `widened`; shape (n,)."""
        k, dim = self.means.shape
        inverse = np.linalg.inv(self.factors) / widened
        columns, centres = inverse.reshape(k * dim, dim).T, np.einsum("kij,kj->ki", inverse, self.means)
        log_scale = np.log(widened * np.diagonal(self.factors, axis1=1, axis2=2)).sum(1)
        with np.errstate(divide="ignore"):
            constants = np.log(self.weights) - log_scale - 0.5 * dim * np.log(2 * np.pi)
        parts = []
        for rows in np.array_split(z, max(1, -(-z.shape[0] * k * dim // _ROWS))):
            squared = ((rows @ columns - centres.ravel()).reshape(-1, k, dim) ** 2).sum(2)
            parts.append(np.logaddexp.reduce(constants - 0.5 * squared, axis=1))
        return np.concatenate(parts)


def fit_gaussians(draws: np.ndarray, rng: np.random.Generator) -> GaussianMixture | None:
    """The mixture that predicts left-out draws best.

    Args:
        draws: Shape (n, d).
        rng: Randomness.

    Returns:
        The mixture; None if the draws are too few, or have no extent in some direction, so that no density is near.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draws = rng.choice([-1.0, 1.0], size=(4000, 3)) + 0.01 * rng.normal(size=(4000, 3))
        >>> mixture = fit_gaussians(draws, rng)
        >>> len(mixture.weights) > 8, bool((abs(abs(mixture.sample(1000, rng)) - 1) < 0.1).all(1).mean() > 0.9)
        (True, True)
    """
    rows = rng.permutation(draws)
    left_out = rows[: min(_LEFT_OUT, len(rows) // 4)]
    best, found = -np.inf, None
    if len(left_out) <= draws.shape[1]:
        return None
    for clusters in _CLUSTERS:
        try:
            mixture = _fit(rows[len(left_out) :], clusters)
        except np.linalg.LinAlgError:
            return found
        score = float(mixture.log_density(left_out).mean())
        if not score > best + _WORTHWHILE:
            return found
        best, found = score, mixture
    return found


def _fit(draws: np.ndarray, clusters: int) -> GaussianMixture:
    """A mixture of so many clusters, and of one about all draws, which come in random order."""
    num, dim = draws.shape
    mean, whole = draws.mean(0), np.cov(draws.T).reshape(dim, dim)
    scale = np.sqrt(np.diagonal(whole))
    if not (scale > 0).all():
        raise np.linalg.LinAlgError("draws of no extent")
    label = np.zeros(num, int)
    if clusters > 1:
        from scipy.cluster.vq import kmeans2  # adds filters for warnings

        scaled = (draws - mean) / scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty clusters
            centres, _ = kmeans2(scaled[:_CLUSTERED], scaled[:clusters], iter=8, minit="matrix")
        label = ((centres**2).sum(1) - 2 * scaled @ centres.T).argmin(1)
    parts = [draws[label == k] for k in np.unique(label)]
    centred = [part - part.mean(0) for part in parts]
    pooled = sum(part.T @ part for part in centred) / num
    covariances = [(part.T @ part + 2 * dim * pooled) / (len(part) + 2 * dim) for part in centred]
    ridge = 1e-10 * np.diag(scale**2)  # below what a float32 density can tell
    return GaussianMixture(
        np.array([_FOR_ALL, *((1 - _FOR_ALL) * len(part) / num for part in parts)]),
        np.stack([mean, *(part.mean(0) for part in parts)]),
        np.linalg.cholesky(np.stack([whole, *covariances]) + ridge),
    )

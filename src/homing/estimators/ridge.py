r"""Ridge regression with its leave-one-out residuals in closed form.

With centred features F = U S V^T and hat matrix \(H = U\, \mathrm{diag}(s^2 / (s^2 + \lambda))\, U^\top + 1/n\), the
prediction of a row by a fit without it misses by \((y_i - \hat y_i) / (1 - H_{ii})\): all penalties are tried for the
price of one decomposition.

Source: Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, 2009, section 7.10,
https://hastie.su.domains/ElemStatLearn/.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_PENALTIES = np.logspace(-6, 3, 19)  # times the number of rows
_SHARES = (0.0, 0.03, 0.1, 0.3, 1.0)  # of the products' size beside the features themselves; zero leaves them out


class Ridge:
    """Regressions on one set of features, each with the penalty that predicts left-out rows best.

    Args:
        features: Shape (n, p).
        products: Whether to use the features' products too, with a penalty of their own.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(50, 2))
        >>> slope, offset, left_out = Ridge(x).fit(x @ [[1.0], [2.0]] + 3.0)
        >>> slope.round(2).tolist(), offset.round(2).tolist()
        ([[1.0, 2.0]], [3.0])
    """

    def __init__(self, features: np.ndarray, products: bool = False):
        p = features.shape[1]
        whole = quadratic(features) if products else features
        shares = _SHARES if products else (1.0,)
        scales = [np.concatenate([np.ones(p), np.full(whole.shape[1] - p, share)]) for share in shares]
        self._decompositions = [_Decomposition(whole, scale) for scale in scales]

    def fit(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Regress each column of targets, shape (n, m).

        Returns:
            The slope (m, p), or (m, p + p (p + 1) / 2) with products; the offset (m,); and the left-out residuals (n,
            m).
        """
        fits = [part.fit(targets, penalty) for part in self._decompositions for penalty in len(targets) * _PENALTIES]
        best = np.argmin([(left_out**2).mean(0) for _, left_out in fits], axis=0)
        slope = np.stack([fits[b][0][m] for m, b in enumerate(best)])
        left_out = np.stack([fits[b][1][:, m] for m, b in enumerate(best)], axis=1)
        return slope, targets.mean(0) - slope @ self._decompositions[0].mean, left_out


class _Decomposition:
    """The features' singular value decomposition, after scaling each of them."""

    def __init__(self, features: np.ndarray, scale: np.ndarray):
        self.mean = features.mean(0)
        u, s, vt = np.linalg.svd((features - self.mean) * scale, full_matrices=False)
        keep = s > 1e-6 * max(float(s.max(initial=0.0)), 1e-30)
        self._u, self._s, self._vt = u[:, keep], s[keep], vt[keep] * scale

    def fit(self, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """The slope (m, p) and the left-out residuals (n, m)."""
        centred = targets - targets.mean(0)
        projected = self._u.T @ centred
        shrink = self._s**2 / (self._s**2 + penalty)
        leverage = 1 / len(targets) + (self._u**2) @ shrink
        left_out = (centred - self._u @ (shrink[:, None] * projected)) / np.maximum(1 - leverage, 1e-10)[:, None]
        return (self._vt.T @ ((self._s / (self._s**2 + penalty))[:, None] * projected)).T, left_out


def quadratic(features: Any) -> Any:
    """NumPy or JAX features of shape (..., p) and all their products: shape (..., p + p (p + 1) / 2)."""
    rows, columns = np.triu_indices(features.shape[-1])
    library = jnp if isinstance(features, jax.Array) else np
    return library.concatenate([features, features[..., rows] * features[..., columns]], axis=-1)

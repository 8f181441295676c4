"""The point of highest posterior density."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from homing.units import spread_of

_STARTS = 3


def maximise(
    log_prob: Callable[[np.ndarray], np.ndarray], draws: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The maximum of a log density, climbing from the best of its draws.

    Args:
        log_prob: From rows, shape (n, d), to (n,).
        draws: Draws from the density, shape (n, d).
        low, high: Shape (d,), bounds that the search keeps to.

    Returns:
        Shape (d,).
    """
    from scipy.optimize import minimize  # costs a tenth of a second, which only a caller of this should pay

    scale = spread_of(draws)
    centre = draws.mean(0)
    bounds = list(zip((low - centre) / scale, (high - centre) / scale))

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log density and its gradient by central differences, in one call."""
        step = 1e-2
        points = np.concatenate([u[None], u + step * np.eye(len(u)), u - step * np.eye(len(u))])
        values = -log_prob(np.clip(points * scale + centre, low, high))
        values = np.where(np.isfinite(values), values, 1e10)
        return float(values[0]), (values[1 : 1 + len(u)] - values[1 + len(u) :]) / (2 * step)

    order = np.argsort(-log_prob(draws))[:_STARTS]
    found = [
        minimize(
            objective, (draws[i] - centre) / scale, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100}
        ).x
        for i in order
    ]
    candidates = np.clip(np.concatenate([np.stack(found) * scale + centre, draws[order]]), low, high)
    return candidates[np.argmax(log_prob(candidates))]

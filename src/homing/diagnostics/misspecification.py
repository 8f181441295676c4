"""Misspecification: can prior and simulator have made this observation?

Where they cannot, every posterior is an extrapolation, and no calibration shows it, since all of that is done with
simulated data. So it is asked first: is x_o like the data that the prior predicts, those of the first round?

Source: Schmitt, Bürkner, Köthe, Radev, *Detecting Model Misspecification in Amortized Bayesian Inference with Neural
Networks*, 2023, https://arxiv.org/abs/2112.08866. The distance is that of `homing.diagnostics.predictive`.
"""

from __future__ import annotations

import numpy as np

from homing.diagnostics.predictive import Predictive, likeness
from homing.diagnostics.verdict import Verdict
from homing.errors import warn


def check_misspecification(predictive: Predictive, x_o: np.ndarray) -> Verdict:
    """Whether an observation is like the data that the prior predicts.

    Args:
        predictive: What these data are like, from `fit_predictive`.
        x_o: The observation, shape x_shape, or several trials, (num_trials, *x_shape), of which the furthest counts.

    Returns:
        The verdict. Its statistic is the observation's distance from the middle of the data, as a multiple of their
        typical distance; its p-value is the share of data that are as far. Curves: `distances` (n,), those of the data,
        and `distance` ().

    Example:
        >>> from homing.diagnostics.predictive import fit_predictive
        >>> predictive = fit_predictive(np.random.default_rng(0).normal(size=(200, 3)))
        >>> check_misspecification(predictive, np.array([0.0, 99.0, 0.0])).level
        'fail'
    """
    what = f"the {len(predictive.distances)} data that the prior predicts"
    return likeness("misspecification", predictive, x_o, what, {})


def warn_if_unlike(predictive: Predictive | None, x_o: np.ndarray) -> None:
    """Warn of an observation that is unlike the data that the prior predicts."""
    if predictive is not None and predictive.is_unlike(x_o):
        warn(
            f"x_o is unlike the {len(predictive.distances)} data that the prior predicts: "
            f"{predictive.unlike_by(x_o)}, and at most {predictive.p_value(x_o):.1%} of them stray as far. "
            "What is learned from simulations may be wrong there, and no calibration shows it. See that x_o has the "
            "simulator's units and order of entries, and that prior "
            "and simulator allow for what it shows."
        )

"""Small runs with failing simulations, in a run file and in memory, shared by the tests of reports."""

import warnings

import numpy as np

from homing.estimators import posterior_nn
from homing.inference import SNPE, SideOptions
from homing.priors import BoxUniform
from homing.training import FitOptions

X_O = np.array([0.5, -0.5])
LABELS = ["rate (1/day)", "delay (s)"]
OPTIONS = SideOptions((posterior_nn("mdn"),), 2, likelihood=None, fit=FitOptions(max_num_epochs=20))
EVIL = "<script>document.title = 'broken'</script><img src=x onerror=alert(1)>"


def simulator(theta, rng):
    if theta[0] > 1.5:
        raise ValueError(f"{EVIL} diverged at t = {theta[0]:.3f}")
    x = theta + 0.3 * rng.normal(size=2)
    return x if theta[1] > -1.8 else np.full(2, np.nan)


def inference(store=None, seed=1):
    prior = BoxUniform([-2.0, -2.0], [2.0, 2.0])
    return SNPE(
        simulator, prior, density_estimator="mdn", batched=False, seed=seed, store=store, show_progress_bars=False
    )


def driven(store=None):
    """Two rounds of `run`, quickly learned; the inference object, still open."""
    started = inference(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started.run(X_O, 300, num_rounds=2, options=OPTIONS)
    return started


def by_hand(store=None):
    """Two rounds, one by one; the inference object, still open."""
    started, proposal = inference(store), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            proposal = started(100, proposal=proposal, max_num_epochs=5).set_default_x(X_O)
    return started

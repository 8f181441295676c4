r"""Sequential neural likelihood estimation (SNLE).

    for r = 1, 2, ...:
        theta ~ p̃_r             the prior, then the prior cut to where the posterior is
        x ~ simulator(theta)
        L_r = argmax sum log L(x_i | theta_i)     over the rows of all rounds, or those in the newest region
    return L_r(x_o | theta) p(theta) / Z

The likelihood of x given theta does not depend on where theta came from, so rows of any proposal are learned from as
they are; `run` leaves out those outside the region it cut the prior to, since a likelihood is simpler within. Several
independent trials are one product: x_o may have the shape (num_trials, *x_shape), while one simulation stays one trial.
Columns of whole numbers may stand beside continuous ones.

Source: Papamakarios, Sterratt, Murray, *Sequential Neural Likelihood: Fast Likelihood-free Inference with
Autoregressive Flows*, 2019, https://arxiv.org/abs/1805.07226; Boelts et al., *Flexible and efficient simulation-based
inference for models of decision-making*, 2022, https://doi.org/10.7554/eLife.77220 (trials, mixed data).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from homing.errors import ArgumentError
from homing.estimators import LikelihoodBuilder, likelihood_nn
from homing.inference.likelihoods import LikelihoodLearner
from homing.inference.options import as_settings
from homing.inference.running import Running
from homing.inference.samplers import Sampled, as_sampler
from homing.posteriors import Sampler


class SNLE(Sampled):
    """Sequential neural likelihood estimation, one round a call, or all by `run`.

    Args:
        simulator: A function from theta to data of up to 512 numbers, in any shape. None if all simulations are
            appended.
        prior: Anything that `SNPE` takes.
        density_estimator: `"maf"`, `"nsf"`, or what `likelihood_nn` returns.
        sample_with: How the posterior is drawn: `"smc"`, `"slice"`, `"nuts"`, `"hmc"`, `"importance"`, `"rejection"`,
            `"vi"`, or a value such as `MCMC("nuts", num_chains=20)`.
        **running: See `Running`: num_workers, seed, store and so on.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.
        StoreError: If the run file cannot be used, or is that of a run with another prior, seed or other settings.

    Example:
        >>> from homing.utils import BoxUniform
        >>> def simulator(theta, rng):
        ...     return theta + 0.3 * rng.normal(size=theta.shape)
        >>> inference = SNLE(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
        >>> posterior = inference(num_simulations=100, max_num_epochs=5)
        >>> posterior.sample((100,), x=[[0.5, -0.5], [0.4, -0.7], [0.6, -0.3]]).shape  # three trials
        (100, 2)
    """

    name = "SNLE"

    def __init__(
        self,
        simulator: Callable[..., Any] | None = None,
        prior: Any = None,
        *,
        density_estimator: str | LikelihoodBuilder = "maf",
        sample_with: str | Sampler = "smc",
        **running: Unpack[Running],
    ):
        builder = likelihood_nn(density_estimator) if isinstance(density_estimator, str) else density_estimator  # type: ignore[arg-type]
        if not isinstance(builder, LikelihoodBuilder):
            raise ArgumentError(
                f'density_estimator must be "maf", "nsf", or what likelihood_nn returns, found {density_estimator!r}.'
            )
        self._learner = LikelihoodLearner(builder, sampler=as_sampler(sample_with))
        given = {"density_estimator": density_estimator, "sample_with": sample_with}
        super().__init__(simulator, prior, given, {"density_estimator": as_settings(builder)}, **running)

r"""Sequential neural ratio estimation: SNRE-A, SNRE-B, SNRE-C, BNRE.

    for r = 1, 2, ...:
        theta ~ p̃_r             the prior, then the prior cut to where the posterior is
        x ~ simulator(theta)
        f_r = a classifier that tells pairs (theta, x) from pairs put together at random
    return e^{f_r(theta, x_o)} p(theta) / Z

f is the log of p(x | theta) / p(x), up to a constant at x_o, whatever theta were drawn from (`homing.training`'s
losses). Several independent trials add up: x_o may have the shape (num_trials, *x_shape).

Sources: Hermans, Begy, Louppe, *Likelihood-free MCMC with Amortized Approximate Ratio Estimators*, 2020,
    https://arxiv.org/abs/1903.04057; Durkan, Murray, Papamakarios, *On Contrastive Learning for Likelihood-free
    Inference*, 2020, https://arxiv.org/abs/2002.03712; Miller, Weniger, Forré, *Contrastive Neural Ratio Estimation*,
    2022, https://arxiv.org/abs/2210.06170; Delaunoy et al., *Towards Reliable Simulation-Based Inference with Balanced
    Neural Ratio Estimation*, 2022, https://arxiv.org/abs/2208.13624; Miller et al., *Truncated Marginal Neural Ratio
    Estimation*, 2021, https://arxiv.org/abs/2107.01214 (marginals).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Unpack

import numpy as np

from homing import random
from homing.errors import ArgumentError
from homing.estimators import RatioBuilder, classifier_nn
from homing.inference.failing import valid_where
from homing.inference.inference import releasing
from homing.inference.learner import Material, order_of
from homing.inference.methods import METHODS
from homing.inference.options import as_settings
from homing.inference.ratios import RatioLearner
from homing.inference.running import Running
from homing.inference.samplers import Sampled, as_sampler
from homing.posteriors import Posterior, Sampler
from homing.priors import marginal
from homing.proposals import check_prior_draws
from homing.training import BNRE as BalancedLoss
from homing.training import NRE_A, NRE_B, NRE_C, Loss, MaximumLikelihood


class _Ratio(Sampled):
    """What the four have in common."""

    loss: ClassVar[type]

    def __init__(
        self,
        simulator: Callable[..., Any] | None = None,
        prior: Any = None,
        *,
        classifier: str | RatioBuilder = "resnet",
        sample_with: str | Sampler = "smc",
        loss_options: dict[str, Any] | None = None,
        **running: Unpack[Running],
    ):
        builder = classifier_nn(classifier) if isinstance(classifier, str) else classifier  # type: ignore[arg-type]
        if not isinstance(builder, RatioBuilder):
            raise ArgumentError(
                f'classifier must be "resnet", "mlp", "linear", or what classifier_nn returns, found {classifier!r}.'
            )
        loss = self._as_loss(loss_options or {})
        self._learner = RatioLearner(loss, builder, sampler=as_sampler(sample_with), name=self.name)
        settings = {"classifier": as_settings(builder), "loss": as_settings(loss)}
        given = {"classifier": classifier, "sample_with": sample_with, "loss_options": loss_options}
        super().__init__(simulator, prior, given, settings, builder.embedding_net, **running)

    @releasing
    def marginal(self, parameters: Any, x_o: Any = None, **training: Any) -> Posterior:
        """The posterior of some parameters alone, learned directly from the simulations so far.

        It is learned from all rows, weighted as if from the prior, and so is good wherever rows are.

        Args:
            parameters: Indices of the k parameters.
            x_o: The observation, for the posterior's default x.
            **training: Options of `TrainOptions`.

        Returns:
            A posterior over k parameters, in the order given.

        Raises:
            ArgumentError: If the indices do not fit, or theta were appended without a proposal and are plainly no
                draws of the prior, under which the other parameters are averaged.
            PriorError: If the prior's marginal is not known.
            NotTrainedError, SimulationError: If there are no simulations, or too few valid ones.
        """
        chosen = [int(j) for j in np.atleast_1d(parameters)]
        if len(set(chosen)) < len(chosen) or not chosen or min(chosen) < 0 or max(chosen) >= self.prior.dim:
            raise ArgumentError(
                f"parameters must be distinct indices from 0 to {self.prior.dim - 1}, found {parameters!r}."
            )
        if self._without_proposal:
            check_prior_draws(self._without_proposal, self.prior)
        self._adopt()
        campaign, prior = self._campaign, marginal(self.prior, chosen)
        data = campaign.dataset(0.1)
        seed = random.word(self.seed, "marginal", campaign.newest, *chosen)
        theta, valid = campaign.tried()
        learned = self._with(self._options(training)).learn(
            Material(
                prior=prior,
                z=prior.to_normal(data.theta[:, chosen]),
                x=data.x,
                weight=METHODS["mixture"].weigh(data),
                order=order_of(self.seed, len(data.x)),
                loss=MaximumLikelihood(),
                proposal=data.newest,
                as_if_from_prior=True,
                x_o=None,
                validity=valid_where(prior, theta[:, chosen], valid, self.seed, campaign.newest),
                seed=seed,
            )
        )
        options = {"multi_round": campaign.is_multi_round, "seed": seed, "show_progress_bars": self._bars}
        return learned.posterior(prior, x_o=x_o, **options)

    def _as_loss(self, options: dict[str, Any]) -> Loss:
        known = [field.name for field in fields(self.loss)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ArgumentError(
                f"The loss of {self.name} has no option {', '.join(unknown)}; it has {', '.join(known)}."
            )
        return self.loss(**options)


class SNRE_A(_Ratio):
    """SNRE-A (AALR): a classifier of two classes. One round a call, or all by `run`.

    Args:
        simulator: A function from theta to data, or None if all simulations are appended.
        prior: Anything that `SNPE` takes.
        classifier: `"resnet"`, `"mlp"`, `"linear"`, or what `classifier_nn` returns.
        sample_with: How the posterior is drawn; as for `SNLE`.
        loss_options: Options of the loss: num_atoms, for BNRE regularization too; for SNRE_C num_classes and gamma.
        **running: See `Running`: num_workers, seed, store and so on.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.
        StoreError: If the run file cannot be used, or is that of a run with another prior, seed or other settings.

    Example:
        >>> from homing.utils import BoxUniform
        >>> def simulator(theta, rng):
        ...     return theta + 0.3 * rng.normal(size=theta.shape)
        >>> inference = SNRE_A(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
        >>> inference(num_simulations=50, max_num_epochs=2).sample((5,), x=[0.5, -0.5]).shape
        (5, 2)
    """

    name = "SNRE_A"
    loss = NRE_A


class SNRE_B(_Ratio):
    """SNRE-B (SRE): which of several parameters x came from; see `SNRE_A` for the arguments."""

    name = "SNRE_B"
    loss = NRE_B


class SNRE_C(_Ratio):
    """SNRE-C (CNRE): which of several parameters x came from, or none; see `SNRE_A` for the arguments."""

    name = "SNRE_C"
    loss = NRE_C


class BNRE(_Ratio):
    """Balanced ratio estimation: rather too wide than too narrow; see `SNRE_A` for the arguments."""

    name = "BNRE"
    loss = BalancedLoss

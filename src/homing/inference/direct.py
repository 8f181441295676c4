r"""Methods that learn one density of theta given x, by name: TSNPE, SNPE-B, FMPE, NPSE.

They differ from `SNPE.run` in what is learned: the direct side alone, no likelihood beside it.

    for r = 1, 2, ...:
        theta ~ p̃_r, x ~ p(x | theta)                          p̃_1 is the prior p
        q = argmin of -sum w(theta) log q(theta | x)            over the rows of all rounds

`TSNPE`: p̃ is the prior cut to the region that holds all but epsilon of q(theta | x_o); w is one inside the newest
region, else zero.
`SNPE_B`: p̃ is q(theta | x_o); w is p over the mixture of all rounds' proposals, of which the prior's own bounds it.
`FMPE`, `NPSE`: as `TSNPE`, but q is where a velocity field takes noise, learned by flow matching or by denoising in
place of the log density (`training/velocity_losses.py` has the losses).

Sources: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*,
    2022, https://arxiv.org/abs/2210.04815; Lueckmann et al., *Flexible statistical inference for mechanistic models of
    neural dynamics*, 2017, https://arxiv.org/abs/1711.01861; Wildberger et al., *Flow Matching for Scalable
    Simulation-Based Inference*, 2023, https://arxiv.org/abs/2305.17161; Sharrock et al., *Sequential Neural Score
    Estimation*, 2024, https://arxiv.org/abs/2210.04872.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Unpack

from homing.errors import ArgumentError
from homing.estimators import LikelihoodBuilder, PosteriorBuilder, posterior_nn
from homing.inference.learner import Learned, Material
from homing.inference.options import as_settings
from homing.inference.running import Running
from homing.inference.sequential import Sequential
from homing.inference.sides import SideOptions
from homing.training import DenoisingScore, FlowMatching, Loss


@dataclass(frozen=True)
class VelocityLearner(SideOptions):
    """Learns a velocity field.

    Attributes:
        loss: How.
    """

    builders: tuple[PosteriorBuilder, ...] = field(default_factory=lambda: (posterior_nn("cnf"),))
    likelihood: LikelihoodBuilder | None = None
    loss: Loss = field(default_factory=FlowMatching)

    def learn(self, material: Material) -> Learned:
        return super().learn(replace(material, loss=self.loss))


class Direct(Sequential):
    """A method that learns a density of theta given x.

    Args:
        simulator: A function from theta to data, or None if all simulations are appended.
        prior: Anything that `SNPE` takes.
        density_estimator: A name, or what `posterior_nn` returns.
        **running: See `Running`: num_workers, seed, store and so on.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.
        StoreError: If the run file cannot be used, or is that of a run with another prior, seed or other settings.
    """

    models: ClassVar[tuple[str, ...]] = ("maf", "nsf", "mdn")

    def __init__(
        self,
        simulator: Callable[..., Any] | None = None,
        prior: Any = None,
        *,
        density_estimator: str | PosteriorBuilder | None = None,
        **running: Unpack[Running],
    ):
        self._builder = self._as_builder(density_estimator)
        settings = {"density_estimator": as_settings(self._builder)}
        given = {"density_estimator": density_estimator}
        super().__init__(simulator, prior, given, settings, self._builder and self._builder.embedding_net, **running)

    @property
    def learner(self) -> SideOptions:
        own = self._own_learner()
        return own if self._builder is None else replace(own, builders=(self._builder,))

    def _own_learner(self) -> SideOptions:
        return SideOptions(likelihood=None)

    def _as_builder(self, density_estimator: Any) -> PosteriorBuilder | None:
        if density_estimator is None:
            return None
        if isinstance(density_estimator, str) and density_estimator in self.models:
            return posterior_nn(density_estimator)  # type: ignore[arg-type]
        if isinstance(density_estimator, PosteriorBuilder) and density_estimator.model in self.models:
            return density_estimator
        raise ArgumentError(
            f"density_estimator of {self.name} must be {' or '.join(map(repr, self.models))}, or posterior_nn of it, "
            f"found {density_estimator!r}."
        )


class TSNPE(Direct):
    """Truncated sequential neural posterior estimation.

    Example:
        >>> from homing.utils import BoxUniform
        >>> def simulator(theta, rng):
        ...     return theta + 0.3 * rng.normal(size=theta.shape)
        >>> inference = TSNPE(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
        >>> inference(num_simulations=50, max_num_epochs=2).sample((5,), x=[0.5, -0.5]).shape
        (5, 2)
    """

    name = "TSNPE"
    proposals = ("truncated",)


class SNPE_B(Direct):
    """SNPE-B: maximum likelihood of rows weighted by the deterministic mixture of proposals."""

    name = "SNPE_B"
    default_method = "mixture"
    proposals = ("mixture",)


class FMPE(Direct):
    """Flow matching posterior estimation, over rounds by truncation. Needs the package diffrax."""

    name = "FMPE"
    models = ("cnf",)
    proposals = ("truncated", "mixture")  # a regression on velocities has no atoms

    def _own_learner(self) -> SideOptions:
        return VelocityLearner()


class NPSE(Direct):
    """Neural posterior score estimation, over rounds by truncation. Needs the package diffrax."""

    name = "NPSE"
    models = ("cnf",)
    proposals = ("truncated", "mixture")

    def _own_learner(self) -> SideOptions:
        return VelocityLearner(loss=DenoisingScore())

r"""Sequential neural posterior estimation (SNPE-C, APT).

    for r = 1, 2, ...:
        theta ~ p̃_r             p̃_1 = p(theta), then p̃_r = q_{r-1}(theta | x_o)
        x ~ simulator(theta)
        q_r = argmin loss        over the rows of all rounds
    return q_r(theta | x_o)

The loss follows from the proposals: maximum likelihood while all rows come from the prior, then the atomic loss, or
the non-atomic one for mixtures of Gaussians (`homing.training.losses`). The density lives where the prior lives.

Source: Greenberg, Nonnenmacher, Macke, *Automatic Posterior Transformation for Likelihood-Free Inference*, 2019,
https://arxiv.org/abs/1905.07488, algorithm 1.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

from tqdm.auto import tqdm

from homing import random
from homing.arrays import library_of
from homing.errors import ArgumentError, NotTrainedError
from homing.estimators import Builder, PosteriorBuilder, posterior_nn
from homing.inference.audit import audit_boundary
from homing.inference.learn import learn
from homing.inference.learner import Learner
from homing.inference.options import TrainOptions, as_settings
from homing.inference.sequential import Sequential
from homing.inference.sides import SideOptions
from homing.posteriors import DirectPosterior, Ensemble
from homing.simulation.facts import to_json
from homing.training import Loss, MaximumLikelihood


class SNPE(Sequential):
    """Sequential neural posterior estimation, one round a call.

    Args:
        simulator: A function from theta to data, of NumPy, torch or JAX arrays (the prior's kind), for one theta or a
            batch (`batched` says which; None finds out, see `homing.simulation.Simulator`). None if all simulations are
            appended.
        prior: A `BoxUniform`; a torch, numpyro or frozen scipy.stats distribution; a list of independent ones; or an
            object with `sample` and `log_prob`.
        density_estimator: `"maf"`, `"nsf"`, `"mdn"`, or a builder as `posterior_nn` returns. None: a MAF for rounds
            driven by hand, and what `SideOptions` says for `run`.
        num_workers: Processes that simulate; the numbers do not depend on it.
        seed: Makes the run repeatable. None takes one from the global generator of the prior's library.
        show_progress_bars: Whether to show bars and say what is going on.
        executor: Any `concurrent.futures.Executor` to simulate with, instead of processes of our own.
        batched: Whether the simulator takes a batch (b, d).
        simulation_batch_size: Rows in a call of a batched simulator.
        timeout: Seconds a simulation may take.
        max_failures: Stop after so many failed simulations in a row.
        store: A run file in which every simulation is durable once it is done, and each round's estimator once it is
            trained; None keeps them in memory. After a crash, run the same lines again: what is in the file is not
            simulated, drawn or trained again, and the numbers are those of a run without the crash. `close()` lets go
            of the file.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.
        StoreError: If the run file cannot be used, or is that of a run with another prior, seed or other settings.

    Example:
        >>> import numpy as np
        >>> from homing.utils import BoxUniform
        >>> rng = np.random.default_rng(0)
        >>> def simulator(theta):
        ...     return theta + 0.1 * rng.normal(size=theta.shape)
        >>> inference = SNPE(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
        >>> proposal = None
        >>> for _ in range(2):
        ...     posterior = inference(num_simulations=100, proposal=proposal, max_num_epochs=5)
        ...     proposal = posterior.set_default_x([0.5, -0.5])
        >>> posterior.sample((1000,)).shape
        (1000, 2)
    """

    name = "SNPE"
    training_options = tuple(field.name for field in fields(TrainOptions))

    def __init__(
        self,
        simulator: Callable[..., Any] | None = None,
        prior: Any = None,
        *,
        density_estimator: str | Builder | None = None,
        num_workers: int = 1,
        seed: int | None = None,
        show_progress_bars: bool = True,
        executor: Any = None,
        batched: bool | None = None,
        simulation_batch_size: int = 1000,
        timeout: float | None = None,
        max_failures: int = 100,
        store: str | Path | None = None,
    ):
        self._builder = _as_builder("maf" if density_estimator is None else density_estimator)
        self._is_default = density_estimator is None
        self._ensemble: Ensemble | None = None
        self._key: dict[str, Any] | None = None  # how it was learned
        self._is_adopted = False  # whether that comes from the run file and not from lines that were run
        super().__init__(
            simulator,
            prior,
            {"density_estimator": density_estimator},
            {"density_estimator": as_settings(self._builder)},
            getattr(self._builder, "embedding_net", None),
            num_workers=num_workers,
            seed=seed,
            show_progress_bars=show_progress_bars,
            executor=executor,
            batched=batched,
            simulation_batch_size=simulation_batch_size,
            timeout=timeout,
            max_failures=max_failures,
            store=store,
        )

    @property
    def learner(self) -> Learner:
        if self._is_default:
            return SideOptions()
        if not isinstance(self._builder, PosteriorBuilder):
            raise ArgumentError(
                "run and iterate need a density_estimator by name or from posterior_nn, not a builder of your own."
            )
        return SideOptions(builders=(self._builder,))

    @property
    def free(self) -> tuple[str, ...]:
        return (*super().free, "likelihood", *(["builders"] if self._is_default else []))

    def build_posterior(self, density_estimator: Ensemble | None = None, **options: Any) -> DirectPosterior:
        """The posterior of what was trained last, or of another estimator that `train` returned.

        Raises:
            NotTrainedError: If nothing was trained.
        """
        if density_estimator is None and self._ensemble is None:
            self._adopt()
        if density_estimator is None and self._ensemble is None:
            raise NotTrainedError(
                "Nothing was trained yet: call the inference object, or append_simulations(...).train(), first."
            )
        ensemble = density_estimator or self._ensemble
        assert ensemble is not None
        return DirectPosterior(ensemble, self.prior, **self._of_this_run() | options)

    def _train(self, options: TrainOptions) -> Ensemble:
        """Learn from all rows, unless the store has what was learned from the same rows in the same way."""
        campaign = self._campaign
        self._adopt()
        data = campaign.dataset(options.validation_fraction)
        key: dict[str, Any] = {"options": asdict(options), "rows": campaign.rows_key()}
        if self._is_adopted and self._key is not None and key.items() <= self._key.items():
            key = self._key
        else:
            key["after"] = None if self._key is None else zlib.crc32(to_json(self._key, "key").encode())
        self._key, self._is_adopted = key, False
        kept = campaign.learned(campaign.newest, key)
        if isinstance(kept, DirectPosterior):
            self._ensemble = kept.ensemble
            self._say(f"What was learned after round {campaign.newest} is in the run file.")
            return kept.ensemble
        began = time.perf_counter()
        previous = None if options.retrain_from_scratch else self._ensemble
        with tqdm(desc="Training neural network", unit=" epochs", disable=not self._bars, leave=False) as bar:
            learned = learn(
                data,
                self.prior,
                self._builder,
                options,
                random.word(self.seed, "train", campaign.newest),
                previous,
                on_loss=self._say_loss,
                on_epochs=lambda epochs: bar.update(epochs - bar.n),
            )
        self._ensemble = learned.ensemble
        epochs, converged = int(learned.info.epochs.max()), bool(learned.info.converged.all())
        self._say_trained(epochs, converged)
        trained = time.perf_counter()
        mass = audit_boundary(self.build_posterior(), data, learned.loss)
        campaign.complete(
            campaign.newest,
            {"train": trained - began, "audit": time.perf_counter() - trained},
            self.build_posterior(),
            key,
            loss=learned.loss.name,
            epochs=epochs,
            converged=converged,
            validation_loss=float(learned.info.validation_loss.mean()),
            losses=learned.info.losses,
            boundary_mass=mass,
        )
        return learned.ensemble

    def _adopt(self) -> None:
        """Go on from what the run file has, where that was not made by lines that this process has run."""
        self._campaign.adopt()
        if self._key is None and self._campaign.adopted:
            kept, self._key = self._campaign.last_learned()
            self._is_adopted = True
            if isinstance(kept, DirectPosterior):
                self._ensemble = kept.ensemble

    def _say_loss(self, loss: Loss) -> None:
        if not isinstance(loss, MaximumLikelihood):
            self._say(f"Using SNPE-C with {loss.name} loss")


def _as_builder(density_estimator: Any) -> Builder:
    if isinstance(density_estimator, str):
        return posterior_nn(density_estimator)  # type: ignore[arg-type]
    if library_of(density_estimator) == "torch":
        raise ArgumentError(
            "density_estimator is a torch module; training runs in JAX. Name a family or describe one by posterior_nn."
        )
    if callable(density_estimator):
        return cast(Builder, density_estimator)
    raise ArgumentError(f'density_estimator must be "maf", "nsf", "mdn", or a builder, found {density_estimator!r}.')

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
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.errors import ArgumentError, NotTrainedError, PriorError
from homing.estimators import Builder, PosteriorBuilder, posterior_nn
from homing.inference.audit import audit_boundary
from homing.inference.campaign import Campaign
from homing.inference.driver import Drive, Stop, check_driver
from homing.inference.inference import Inference
from homing.inference.learn import learn
from homing.inference.methods import Method, as_method
from homing.inference.options import TrainOptions, as_settings, train_options
from homing.inference.sides import SideOptions
from homing.inference.simulating import check_count, unprepared_prior, unprepared_simulator
from homing.posteriors import DirectPosterior, Ensemble, Posterior
from homing.proposals import FromPosterior, as_proposal
from homing.runs import RoundRecord
from homing.simulation.facts import to_json
from homing.training import Loss, MaximumLikelihood


class SNPE(Inference):
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
        >>> inference = SNPE(simulator, BoxUniform([-2.0], [2.0]), seed=0, show_progress_bars=False)
        >>> proposal = None
        >>> for _ in range(2):
        ...     posterior = inference(num_simulations=100, proposal=proposal, max_num_epochs=5)
        ...     proposal = posterior.set_default_x([0.5])
        >>> posterior.sample((1000,)).shape
        (1000, 1)
    """

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
        if prior is None and hasattr(simulator, "log_prob"):
            simulator, prior = None, simulator  # SNPE(prior), as published since 2020
        if prior is None:
            raise PriorError("A prior is needed: SNPE(simulator, prior), or SNPE(prior=prior) to append simulations.")
        known = unprepared_prior(prior)
        self._builder = _as_builder("maf" if density_estimator is None else density_estimator)
        self._is_default = density_estimator is None
        self._bars = show_progress_bars
        self._ensemble: Ensemble | None = None
        self._key: dict[str, Any] | None = None  # how it was learned
        self._is_adopted = False  # whether that comes from the run file and not from lines that were run
        campaign = Campaign(
            known,
            None if simulator is None else unprepared_simulator(simulator, known.kind, batched),
            None if seed is None else _check_seed(seed),
            show_progress_bars,
            store,
            {
                "executor": executor,
                "num_workers": num_workers,
                "batch_size": simulation_batch_size,
                "timeout": timeout,
                "max_failures": max_failures,
            },
            {"method": "SNPE", "density_estimator": as_settings(self._builder)},
            getattr(self._builder, "embedding_net", None),
        )
        super().__init__(known, campaign)

    def __call__(self, num_simulations: int, proposal: Any = None, **training: Any) -> DirectPosterior:
        """One round: propose, simulate, learn.

        Args:
            num_simulations: How many to run.
            proposal: None for the prior; a posterior with a default x; or any distribution over theta.
            **training: Options of `TrainOptions`, for example `num_atoms=10`, `stop_after_epochs=20`.

        Returns:
            The posterior learned from all rounds so far. It carries the proposal's default x on.

        Raises:
            ArgumentError: If an argument cannot work.
            SimulationError: If too few simulations were valid to learn from; nothing is lost, and another call goes on.
        """
        options = train_options(training)
        check_count(num_simulations)
        self._campaign.check_options(self._campaign.newest + 1, asdict(options))
        self._campaign.simulate(num_simulations, as_proposal(proposal, self.prior))
        self._train(options)
        return self.build_posterior()

    def run(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None = None,
        *,
        proposal: str | Method = "truncated",
        stop: Stop | None = None,
        on_round: Callable[[RoundRecord], None] | None = None,
        options: SideOptions | None = None,
    ) -> Posterior:
        """From an observation and a budget to a posterior, with nothing else to decide.

        Args:
            x_o: The observation, shape x_shape or (1, *x_shape).
            num_simulations: Simulator calls in all rounds together, failed ones included.
            num_rounds: How many rounds; None lets budget and dimension decide.
            proposal: Where later rounds simulate, and how that is corrected: `"truncated"`, the prior cut to where the
                posterior is; `"posterior"`, with the atomic loss; `"mixture"`, the posterior with weighted rows; or one
                of them as a value, `Truncated(epsilon=1e-4)`.
            stop: When to stop before the budget is spent; None to spend it.
            on_round: Told each round's record as it is finished.
            options: What to learn.

        Returns:
            The posterior at x_o.

        Raises:
            ArgumentError, ObservationError: If an argument cannot work.
            SimulationError: If too few simulations were valid.

        Example:
            >>> import numpy as np
            >>> from homing.utils import BoxUniform
            >>> inference = SNPE(np.sin, BoxUniform([-1.0], [1.0]), batched=True, seed=0, show_progress_bars=False)
            >>> posterior = inference.run([0.5], num_simulations=60)
            >>> posterior.sample((5,)).shape
            (5, 1)
        """
        drive = self._drive(x_o, num_simulations, num_rounds, proposal, stop, options)
        for record in drive:
            if on_round is not None:
                on_round(record)
        return drive.posterior

    def iterate(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None = None,
        *,
        proposal: str | Method = "truncated",
        stop: Stop | None = None,
        options: SideOptions | None = None,
    ) -> Iterator[tuple[RoundRecord, Posterior]]:
        """The loop of `run` in the user's hands: yields each round's record and the posterior so far.

        Args: As for `run`.
        """
        drive = self._drive(x_o, num_simulations, num_rounds, proposal, stop, options)
        for record in drive:
            yield record, drive.posterior

    def _drive(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None,
        proposal: str | Method,
        stop: Stop | None,
        options: SideOptions | None,
    ) -> Drive:
        check_count(num_simulations)
        sizes = check_driver(num_simulations, num_rounds, self.prior.dim)
        options = options or SideOptions()
        if not self._is_default:
            if not isinstance(self._builder, PosteriorBuilder):
                raise ArgumentError(
                    "run and iterate need a density_estimator by name or from posterior_nn, not a builder of your own."
                )
            options = replace(options, builder=self._builder)
        return Drive(self._campaign, self.prior, x_o, sizes, stop or Stop(), as_method(proposal), options, self._bars)

    def train(self, **training: Any) -> Ensemble:
        """Learn from all simulations so far.

        Args:
            **training: Options of `TrainOptions`.

        Returns:
            The trained density estimator.

        Raises:
            NotTrainedError: If there are no simulations.
            SimulationError: If too few are valid.
            ArgumentError: If an option cannot work.
        """
        return self._train(train_options(training))

    def build_posterior(self, density_estimator: Ensemble | None = None) -> DirectPosterior:
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
        proposals = [proposal for _, proposal in sorted(self._campaign.proposals.items())]
        at_x = [proposal.x for proposal in proposals if isinstance(proposal, FromPosterior)]
        return DirectPosterior(
            ensemble,
            self.prior,
            multi_round=self._campaign.is_multi_round,
            seed=random.word(self.seed, "posterior", self._campaign.newest),
            x_o=at_x[-1] if at_x else None,
            show_progress_bars=self._bars,
        )

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
        if converged:
            self._say(f"Neural network successfully converged after {epochs} epochs.")
        else:
            self._say(f"Neural network trained for {epochs} epochs, the most it was allowed (max_num_epochs).")
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

    def _say(self, text: str) -> None:
        if self._bars:
            tqdm.write(text)


def _as_builder(density_estimator: Any) -> Builder:
    if isinstance(density_estimator, str):
        return posterior_nn(density_estimator)  # type: ignore[arg-type]
    if callable(density_estimator):
        return cast(Builder, density_estimator)
    raise ArgumentError(f'density_estimator must be "maf", "nsf", "mdn", or a builder, found {density_estimator!r}.')


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed must be a whole number, zero or larger, or None, found {seed!r}.")
    return int(seed)

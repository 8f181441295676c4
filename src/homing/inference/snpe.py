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
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.errors import ArgumentError, NotTrainedError, PriorError
from homing.estimators import Builder, posterior_nn
from homing.inference.campaign import Campaign
from homing.inference.driver import Drive, DriverOptions, Stop, check_driver
from homing.inference.learn import Dataset, Learned, learn
from homing.inference.options import TrainOptions, train_options
from homing.inference.rounds import RoundRecord, Rounds
from homing.inference.simulating import check_count, check_rows, unprepared_prior, unprepared_simulator
from homing.posteriors import DirectPosterior, Ensemble, Posterior
from homing.proposals import FromPosterior, as_proposal
from homing.training import Atomic, Loss, MaximumLikelihood

_AUDITED_X = 8  # held-out x at which the boundary is looked at while there is no default x


class SNPE:
    """Sequential neural posterior estimation, one round a call.

    Args:
        simulator: A function from theta to data, of NumPy, torch or JAX arrays (the prior's kind), for one theta or a
            batch (`batched` says which; None finds out, see `homing.simulation.Simulator`). None if all simulations are
            appended.
        prior: A `BoxUniform`; a torch, numpyro or frozen scipy.stats distribution; a list of independent ones; or an
            object with `sample` and `log_prob`.
        density_estimator: `"maf"`, `"nsf"`, `"mdn"`, or a builder as `posterior_nn` returns.
        num_workers: Processes that simulate; the numbers do not depend on it.
        seed: Makes the run repeatable. None takes one from the global generator of the prior's library.
        show_progress_bars: Whether to show bars and say what is going on.
        executor: Any `concurrent.futures.Executor` to simulate with, instead of processes of our own.
        batched: Whether the simulator takes a batch (b, d).
        simulation_batch_size: Rows in a call of a batched simulator.
        timeout: Seconds a simulation may take.
        max_failures: Stop after so many failed simulations in a row.
        store: A run file in which every simulation is durable once it is done; None keeps them in memory.

    Raises:
        PriorError: If there is no prior, or it cannot be used.
        ArgumentError: If an argument cannot work.

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
        density_estimator: str | Builder = "maf",
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
        self.prior = unprepared_prior(prior)
        self.seed = random.global_seed(self.prior.kind) if seed is None else _check_seed(seed)
        self._builder = _as_builder(density_estimator)
        self._bars = show_progress_bars
        self._learned: Learned | None = None
        self._campaign = Campaign(
            self.prior,
            None if simulator is None else unprepared_simulator(simulator, self.prior.kind, batched),
            self.seed,
            show_progress_bars,
            store,
            {
                "executor": executor,
                "num_workers": num_workers,
                "batch_size": simulation_batch_size,
                "timeout": timeout,
                "max_failures": max_failures,
            },
        )

    @property
    def rounds(self) -> Rounds:
        """One record a round; prints as a table."""
        return Rounds([record for _, record in sorted(self._campaign.records.items())])

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
        self._campaign.simulate(num_simulations, as_proposal(proposal, self.prior))
        self._train(options)
        return self.build_posterior()

    def run(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None = None,
        *,
        stop: Stop | None = None,
        on_round: Callable[[RoundRecord], None] | None = None,
        options: DriverOptions | None = None,
    ) -> Posterior:
        """From an observation and a budget to a posterior, with nothing else to decide.

        Args:
            x_o: The observation, shape x_shape or (1, *x_shape).
            num_simulations: Simulator calls in all rounds together, failed ones included.
            num_rounds: How many rounds; None lets budget and dimension decide.
            stop: When to stop before the budget is spent; None to spend it.
            on_round: Told each round's record as it is finished.
            options: How to propose and learn.

        Returns:
            The posterior at x_o.

        Raises:
            ArgumentError, ObservationError: If an argument cannot work.
            SimulationError: If too few simulations were valid.

        Example:
            >>> import numpy as np
            >>> from homing.utils import BoxUniform
            >>> inference = SNPE(lambda theta: np.sin(theta), BoxUniform([-1.0], [1.0]), seed=0, show_progress_bars=False)
            >>> posterior = inference.run([0.5], num_simulations=60)
            >>> posterior.sample((5,)).shape
            (5, 1)
        """
        drive = self._drive(x_o, num_simulations, num_rounds, stop, options)
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
        stop: Stop | None = None,
        options: DriverOptions | None = None,
    ) -> Iterator[tuple[RoundRecord, Posterior]]:
        """The loop of `run` in the user's hands: yields each round's record and the posterior so far.

        Args: As for `run`.
        """
        drive = self._drive(x_o, num_simulations, num_rounds, stop, options)
        for record in drive:
            yield record, drive.posterior

    def _drive(
        self, x_o: Any, num_simulations: int, num_rounds: int | None, stop: Stop | None, options: DriverOptions | None
    ) -> Drive:
        check_count(num_simulations)
        sizes = check_driver(num_simulations, num_rounds, self.prior.dim)
        return Drive(self._campaign, self.prior, x_o, sizes, stop or Stop(), options or DriverOptions(), self._bars)

    def append_simulations(self, theta: Any, x: Any, proposal: Any = None) -> SNPE:
        """Add simulations that were run elsewhere, as a round of their own.

        Args:
            theta: Shape (n, d).
            x: Shape (n, *x_shape); a row with NaN or infinity counts as invalid.
            proposal: What theta were drawn from: None for the prior, the posterior, or a distribution.

        Returns:
            This object, so that `.train()` can follow.

        Raises:
            ShapeError: If the shapes do not fit.
            ArgumentError: If some theta lies outside the prior's support, or the proposal is none.
        """
        self._campaign.append(*check_rows(theta, x, self.prior), as_proposal(proposal, self.prior))
        return self

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
        return self._train(train_options(training)).ensemble

    def build_posterior(self, density_estimator: Ensemble | None = None) -> DirectPosterior:
        """The posterior of what was trained last, or of another estimator that `train` returned.

        Raises:
            NotTrainedError: If nothing was trained.
        """
        if density_estimator is None and self._learned is None:
            raise NotTrainedError(
                "Nothing was trained yet: call the inference object, or append_simulations(...).train(), first."
            )
        ensemble = density_estimator or self._learned.ensemble  # type: ignore[union-attr]
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

    def _train(self, options: TrainOptions) -> Learned:
        campaign = self._campaign
        data = campaign.dataset(options.validation_fraction)
        began = time.perf_counter()
        previous = None if options.retrain_from_scratch or self._learned is None else self._learned.ensemble
        with tqdm(desc="Training neural network", unit=" epochs", disable=not self._bars, leave=False) as bar:
            self._learned = learned = learn(
                data,
                self.prior,
                self._builder,
                options,
                random.word(self.seed, "train", campaign.newest),
                previous,
                on_loss=self._say_loss,
                on_epochs=lambda epochs: bar.update(epochs - bar.n),
            )
        epochs, converged = int(learned.info.epochs.max()), bool(learned.info.converged.all())
        if converged:
            self._say(f"Neural network successfully converged after {epochs} epochs.")
        else:
            self._say(f"Neural network trained for {epochs} epochs, the most it was allowed (max_num_epochs).")
        trained = time.perf_counter()
        mass = self._audit_boundary(data, learned.loss)
        campaign.complete(
            campaign.newest,
            {"train": trained - began, "audit": time.perf_counter() - trained},
            loss=learned.loss.name,
            epochs=epochs,
            converged=converged,
            validation_loss=float(learned.info.validation_loss.mean()),
            boundary_mass=mass,
        )
        return learned

    def _audit_boundary(self, data: Dataset, loss: Loss) -> float:
        """The share of mass at the prior's bounds, at the default x or over some held-out ones; warns of a pile."""
        posterior = self.build_posterior()
        if posterior.default_x is not None:
            at_x = [posterior.boundary()]
        else:
            at_x = [posterior.boundary(x) for x in data.x[data.is_validation][:_AUDITED_X]]
        piled = [boundary for boundary in at_x if boundary.is_piled]
        if isinstance(loss, Atomic) and 2 * len(piled) > len(at_x):
            warnings.warn(
                f"{piled[0].mass:.1%} of the posterior's mass is piled up in the outermost 0.5 % of the prior's mass, "
                f"for {piled[0].where}. The atomic loss does not see mass where no atoms lie. Compare with one round of "
                "as many simulations from the prior.",
                stacklevel=4,
            )
        return float(np.mean([boundary.mass for boundary in at_x]))

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

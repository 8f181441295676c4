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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.arrays import to_numpy
from homing.errors import ArgumentError, NotTrainedError, PriorError, SimulationError
from homing.estimators import Builder, PosteriorBuilder, posterior_nn
from homing.inference.learn import Dataset, Learned, learn
from homing.inference.options import TrainOptions, train_options
from homing.inference.rounds import RoundRecord, Rounds
from homing.inference.simulating import check_count, check_rows, run_simulations, unprepared_prior, unprepared_simulator
from homing.posteriors import DirectPosterior, Ensemble
from homing.proposals import FromPosterior, FromPrior, Proposal, as_proposal
from homing.simulation import Outcomes, open_store
from homing.training import Atomic, Loss, MaximumLikelihood

LEAST_ROWS = 10  # valid simulations without which nothing is learned
_AUDITED_X = 8  # held-out x at which the boundary is looked at while there is no default x


class SNPE:
    """Sequential neural posterior estimation, one round a call.

    Args:
        simulator: A function from theta to data, of NumPy, torch or JAX arrays (the prior's kind), for one theta or a
            batch (`batched` says which; None finds out, see `homing.simulation.Simulator`). None if all simulations are appended.
        prior: A `BoxUniform`; a torch, numpyro or frozen scipy.stats distribution; a list of independent ones; or an object
            with `sample` and `log_prob`.
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
        self._simulator = None if simulator is None else unprepared_simulator(simulator, self.prior.kind, batched)
        self._simulating = dict(
            executor=executor, num_workers=num_workers, batch_size=simulation_batch_size, timeout=timeout, max_failures=max_failures
        )
        self._bars = show_progress_bars
        self._store = open_store(store)
        self._proposals: dict[int, Proposal] = {}
        self._roles: dict[int, np.ndarray] = {}
        self._records: dict[int, RoundRecord] = {}
        self._learned: Learned | None = None
        self._warned = False

    @property
    def rounds(self) -> Rounds:
        """One record a round; prints as a table."""
        return Rounds([self._records[number] for number in sorted(self._records)])

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
        if self._simulator is None:
            raise ArgumentError("There is no simulator to call: give one, SNPE(simulator, prior), or append simulations and train.")
        self._simulate(num_simulations, as_proposal(proposal, self.prior))
        self._train(options)
        return self.build_posterior()

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
        rows, data = check_rows(theta, x, self.prior)
        number = self._plan(rows, as_proposal(proposal, self.prior))
        self._store.record(self._store.rounds[number].ids, Outcomes.given(rows, data))
        self._note_simulations(number, {})
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
            raise NotTrainedError("Nothing was trained yet: call the inference object, or append_simulations(...).train(), first.")
        ensemble = density_estimator or self._learned.ensemble  # type: ignore[union-attr]
        later = [p for _, p in sorted(self._proposals.items()) if isinstance(p, FromPosterior)]
        return DirectPosterior(
            ensemble,
            self.prior,
            multi_round=not all(isinstance(p, FromPrior) for p in self._proposals.values()),
            seed=random.word(self.seed, "posterior", len(self._proposals)),
            x_o=later[-1].x if later else None,
            show_progress_bars=self._bars,
        )

    def _simulate(self, num_simulations: int, proposal: Proposal) -> None:
        """Plan a round, simulate it, and keep what comes as it comes."""
        number = len(self._store.rounds) + 1
        began = time.perf_counter()
        drawn = proposal.draw(num_simulations, random.word(self.seed, "propose", number), self._bars)
        theta = to_numpy(self.prior.give(drawn)).astype(np.float64)  # as the simulator gets it, to the last digit
        sampled = time.perf_counter()
        self._plan(theta, proposal)
        known = self._store.rounds[number]
        _, self._simulator = run_simulations(
            self._simulator,  # type: ignore[arg-type]
            theta,
            known.seeds,
            show_progress_bar=self._bars,
            on_outcomes=lambda rows, outcomes: self._store.record(known.ids[rows], outcomes),
            x_shape=self._store.x_shape,
            **self._simulating,
        )
        self._note_simulations(number, {"sample": sampled - began, "simulate": time.perf_counter() - sampled})

    def _plan(self, theta: np.ndarray, proposal: Proposal) -> int:
        number = len(self._store.rounds) + 1
        seeds = random.row_seeds(self.seed, "simulate", number, len(theta))
        self._store.plan(number, theta, seeds, {"name": proposal.name})
        self._proposals[number] = proposal
        return number

    def _note_simulations(self, number: int, seconds: dict[str, float]) -> None:
        counts = self._store.rounds[number].outcomes.counts()
        asked = len(self._store.rounds[number].ids)
        self._records[number] = RoundRecord(
            number, self._proposals[number].name, asked, counts["ok"], counts["failed"], counts["timed_out"], seconds=seconds
        )
        if counts["ok"] < asked and not self._warned:
            self._warned = True
            warnings.warn(
                f"{asked - counts['ok']} of {asked} simulations of round {number} gave no finite data ({counts['invalid']} NaN or "
                f"infinite, {counts['failed']} failed, {counts['timed_out']} timed out). They are left out: the posterior is that given "
                "that a simulation is valid. inference.rounds counts them; this is said once.",
                stacklevel=4,
            )

    def _train(self, options: TrainOptions) -> Learned:
        data = self._dataset(options.validation_fraction)
        number = max(self._records)
        began = time.perf_counter()
        previous = None if options.retrain_from_scratch or self._learned is None else self._learned.ensemble
        with tqdm(desc="Training neural network", unit=" epochs", disable=not self._bars, leave=False) as bar:
            self._learned = learned = learn(
                data,
                self.prior,
                self._builder,
                options,
                random.word(self.seed, "train", number),
                previous,
                on_loss=self._say_loss,
                on_epochs=lambda epochs: bar.update(epochs - bar.n),
            )
        epochs = int(learned.info.epochs.max())
        if learned.info.converged.all():
            self._say(f"Neural network successfully converged after {epochs} epochs.")
        else:
            self._say(f"Neural network trained for {epochs} epochs, the most it was allowed (max_num_epochs).")
        trained = time.perf_counter()
        mass = self._audit_boundary(data)
        self._records[number] = _completed(self._records[number], learned, mass, trained - began, time.perf_counter() - trained)
        self._store.finish(number, self._records[number].as_dict())
        return learned

    def _dataset(self, validation_fraction: float) -> Dataset:
        """All rounds' valid rows, with their roles."""
        if not self._records:
            raise NotTrainedError("There are no simulations to learn from: append_simulations(theta, x) first, or call the inference object.")
        proposals: list[Proposal] = [FromPrior(self.prior)]
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        for number, proposal in sorted(self._proposals.items()):
            outcomes = self._store.outcomes(number)
            if not outcomes.ok.any():
                continue
            if not isinstance(proposal, FromPrior):
                proposals.append(proposal)
            source = np.full(len(outcomes), 0 if isinstance(proposal, FromPrior) else len(proposals) - 1)
            roles = self._roles_of(number, outcomes.ok, validation_fraction)
            parts.append(tuple(a[outcomes.ok] for a in (outcomes.theta, outcomes.x, source, roles)))  # type: ignore[arg-type]
        valid = sum(len(part[0]) for part in parts)
        newest = self._records[max(self._records)]
        if valid < LEAST_ROWS or newest.valid == 0:
            raise SimulationError(
                f"Too few valid simulations to learn from: {newest.valid} of the {newest.asked} of round {newest.round}, {valid} in all; "
                f"at least {LEAST_ROWS} in all are needed, and one in the newest round. They are kept: run more, or see why they fail."
            )
        theta, x, source, is_validation = (np.concatenate(column) for column in zip(*parts))
        return Dataset(theta, x.reshape(len(x), *(x.shape[1:] or (1,))).astype(np.float64), source, is_validation, proposals)

    def _roles_of(self, number: int, ok: np.ndarray, fraction: float) -> np.ndarray:
        """Which rows of a round are for validation: drawn when it is first learned from, and kept."""
        if number not in self._roles:
            draws = np.where(ok, random.generator(self.seed, "validation", number).random(len(ok)), np.inf)
            count = int(np.clip(round(fraction * ok.sum()), 1, max(ok.sum() - 1, 0)))
            roles = np.zeros(len(ok), bool)
            roles[np.argsort(draws)[:count]] = True
            self._roles[number] = roles
        return self._roles[number]

    def _audit_boundary(self, data: Dataset) -> float:
        """The share of mass at the prior's bounds, at the default x or over some held-out ones; warns of a pile."""
        posterior = self.build_posterior()
        if posterior.default_x is not None:
            at_x = [posterior.boundary()]
        else:
            at_x = [posterior.boundary(x) for x in data.x[data.is_validation][:_AUDITED_X]]
        piled = [boundary for boundary in at_x if boundary.is_piled]
        if 2 * len(piled) > len(at_x):
            warnings.warn(
                f"{piled[0].mass:.1%} of the posterior's mass is piled up in the outermost 0.5 % of the prior's mass, for {piled[0].where}. "
                "The atomic loss does not see mass where no atoms lie. Compare with one round of as many simulations from the prior.",
                stacklevel=5,
            )
        return float(np.mean([boundary.mass for boundary in at_x]))

    def _say_loss(self, loss: Loss) -> None:
        if not isinstance(loss, MaximumLikelihood):
            self._say(f"Using SNPE-C with {'atomic' if isinstance(loss, Atomic) else 'non-atomic'} loss")

    def _say(self, text: str) -> None:
        if self._bars:
            tqdm.write(text)


def _completed(record: RoundRecord, learned: Learned, mass: float, train: float, audit: float) -> RoundRecord:
    names = {"MaximumLikelihood": "maximum likelihood", "Atomic": "atomic", "NonAtomic": "non-atomic"}
    done = dict(
        loss=names[type(learned.loss).__name__],
        epochs=int(learned.info.epochs.max()),
        converged=bool(learned.info.converged.all()),
        validation_loss=float(learned.info.validation_loss.mean()),
        boundary_mass=mass,
        seconds={**record.seconds, "train": train, "audit": audit},
    )
    return RoundRecord(**{**record.as_dict(), **done})


def _as_builder(density_estimator: Any) -> Builder:
    if isinstance(density_estimator, str):
        return posterior_nn(density_estimator)  # type: ignore[arg-type]
    if isinstance(density_estimator, PosteriorBuilder) or callable(density_estimator):
        return density_estimator
    raise ArgumentError(f'density_estimator must be "maf", "nsf", "mdn", or a builder, found {density_estimator!r}.')


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed must be a whole number, zero or larger, or None, found {seed!r}.")
    return int(seed)

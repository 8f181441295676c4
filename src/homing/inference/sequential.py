"""What all methods share: one round a call, simulations brought from elsewhere, and the loop that decides by itself."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar, Unpack

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.errors import ArgumentError, NotTrainedError, PriorError
from homing.forks import check_fork
from homing.inference.campaign import Campaign
from homing.inference.driver import Drive
from homing.inference.failing import valid_where
from homing.inference.inference import Inference, releasing
from homing.inference.learner import Learned, Learner, Material, check_options, order_of
from homing.inference.methods import METHODS, Method, as_method
from homing.inference.options import TrainOptions, as_settings, train_options
from homing.inference.plan import Stop, check_driver, check_first_round
from homing.inference.running import DEFAULTS, Running
from homing.inference.simulating import check_count, unprepared_prior, unprepared_simulator
from homing.inference.written import written
from homing.posteriors import Posterior
from homing.proposals import FromPosterior
from homing.runs import RoundRecord
from homing.training import MaximumLikelihood

_WRITTEN = tuple(name for name in DEFAULTS if name not in ("seed", "store", "show_progress_bars"))


class Sequential(Inference):
    """A method that learns from rounds.

    Args:
        simulator: A function from theta to data, or None if all simulations are appended.
        prior: Anything that `SNPE` takes.
        given: What the user gave beside, by name: written down as code, for who repeats the run.
        settings: What makes the run this run, as JSON, beside the prior and the seed.
        embedding_net: The user's own code in the estimator, or None.
        **running: See `Running`.

    Attributes:
        name: The method's.
        default_method: Where later rounds of `run` simulate.
        proposals: Names of all ways to propose that leave it what its name says; empty for any.
        training_options: The options of `TrainOptions` that it has.
    """

    name: ClassVar[str]
    default_method: ClassVar[str | Method] = "truncated"
    proposals: ClassVar[tuple[str, ...]] = ()
    training_options: ClassVar[tuple[str, ...]] = (
        *("training_batch_size", "learning_rate", "stop_after_epochs", "max_num_epochs", "clip_max_norm"),
    )

    def __init__(
        self,
        simulator: Any,
        prior: Any,
        given: Mapping[str, Any],
        settings: Mapping[str, Any],
        embedding_net: Any = None,
        **running: Unpack[Running],
    ):
        check_fork()
        unknown = sorted(set(running) - set(DEFAULTS))
        if unknown:
            raise ArgumentError(
                f"{self.name} has no argument {', '.join(unknown)}; for running simulations it has "
                f"{', '.join(DEFAULTS)}."
            )
        how: dict[str, Any] = {**DEFAULTS, **running}
        if prior is None and hasattr(simulator, "log_prob"):
            simulator, prior = None, simulator  # SNPE(prior), as published since 2020
        if prior is None:
            raise PriorError(
                f"A prior is needed: {self.name}(simulator, prior), or {self.name}(prior=prior) to append simulations."
            )
        known = unprepared_prior(prior)
        self._bars = how["show_progress_bars"]
        self._learned: Learned | None = None
        campaign = Campaign(
            known,
            None if simulator is None else unprepared_simulator(simulator, known.kind, how["batched"]),
            None if how["seed"] is None else _check_seed(how["seed"]),
            self._bars,
            how["store"],
            {
                "executor": how["executor"],
                "num_workers": how["num_workers"],
                "batch_size": how["simulation_batch_size"],
                "timeout": how["timeout"],
                "max_failures": how["max_failures"],
            },
            {"method": self.name, **settings},
            embedding_net,
        )
        with campaign.store.released_on_error():
            super().__init__(known, campaign)
            changed = {name: how[name] for name in _WRITTEN if how[name] != DEFAULTS[name]}
            self.remember(call=written({"prior": prior, **given, **changed}))

    @property
    @abstractmethod
    def learner(self) -> Learner:
        """What is learned; `run` may change what is `free` of it."""

    @property
    def free(self) -> tuple[str, ...]:
        """What `run`'s options may change of the learner; the rest is what the method was made with."""
        return ("members", "fit")

    @releasing
    def __call__(self, num_simulations: int, proposal: Any = None, **training: Any) -> Posterior:
        """One round: propose, simulate, learn.

        Args:
            num_simulations: How many to run.
            proposal: None for the prior; a posterior with a default x; or any distribution over theta.
            **training: Options of `TrainOptions`, for example `stop_after_epochs=20`.

        Returns:
            The posterior learned from all rounds so far. It carries the proposal's default x on.

        Raises:
            ArgumentError: If an argument cannot work.
            SimulationError: If too few simulations were valid to learn from; nothing is lost, and another call goes on.
        """
        options = self._options(training)
        check_count(num_simulations)
        self._campaign.check_options(self._campaign.newest + 1, asdict(options))
        self._campaign.simulate(num_simulations, self._as_proposal(proposal))
        self._write_call(training, proposal.condition_of() if isinstance(proposal, Posterior) else None)
        self._train(options)
        return self._keep(self.build_posterior())

    @releasing
    def train(self, **training: Any) -> Any:
        """Learn from all simulations so far.

        Args:
            **training: Options of `TrainOptions`.

        Returns:
            What was learned, for `build_posterior`.

        Raises:
            NotTrainedError: If there are no simulations.
            SimulationError: If too few are valid.
            ArgumentError: If an option cannot work.
        """
        learned = self._train(self._options(training))
        self._write_call(training)
        return learned

    def build_posterior(self, learned: Any = None, **options: Any) -> Posterior:
        """The posterior of what was trained last, or of something else that `train` returned.

        Raises:
            NotTrainedError: If nothing was trained.
        """
        if learned is None and self._learned is None:
            self._adopt()
        learned = learned or self._learned
        if learned is None:
            raise NotTrainedError(
                "Nothing was trained yet: call the inference object, or append_simulations(...).train(), first."
            )
        return learned.posterior(self.prior, **self._of_this_run() | options)

    @releasing
    def run(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None = None,
        *,
        proposal: str | Method | None = None,
        stop: Stop | None = None,
        on_round: Callable[[RoundRecord], None] | None = None,
        options: Learner | None = None,
    ) -> Posterior:
        """From an observation and a budget to a posterior, with nothing else to decide.

        Args:
            x_o: The observation, shape x_shape or (1, *x_shape); several independent trials too, (num_trials,
                *x_shape), where a likelihood or a ratio is learned.
            num_simulations: Simulator calls in all rounds together, failed ones included.
            num_rounds: How many rounds, all of a size. None lets budget and dimension decide, and without a `stop`
                gives what is left to one round once the region where rounds simulate has settled.
            proposal: Where later rounds simulate, and how that is corrected: `"truncated"`, the prior cut to where the
                posterior is; `"posterior"`, with the atomic loss where a density of theta is learned; `"mixture"`, the
                posterior with weighted rows; or one of them as a value, `Truncated(epsilon=1e-4)`. None takes the
                method's own.
            stop: When to stop before the budget is spent; None to spend it.
            on_round: Told each round's record as it is finished.
            options: How to learn: the method's own `learner` with other `members` or `fit`, for example
                `dataclasses.replace(inference.learner, members=2)`. Of `SNPE`, `SideOptions`, with its `likelihood`,
                and with its `builders` unless a density_estimator was given.

        Returns:
            The posterior at x_o.

        Raises:
            ArgumentError, ObservationError: If an argument cannot work.
            SimulationError: If too few simulations were valid.

        Example:
            >>> from homing.inference import SNPE
            >>> from homing.utils import BoxUniform
            >>> def simulator(theta, rng):
            ...     return theta + 0.3 * rng.normal(size=theta.shape)
            >>> inference = SNPE(simulator, BoxUniform([-2.0, -2.0], [2.0, 2.0]), seed=0, show_progress_bars=False)
            >>> posterior = inference.run([0.5, -0.5], num_simulations=60)
            >>> posterior.sample((5,)).shape
            (5, 2)
        """
        drive = self._drive(x_o, num_simulations, num_rounds, proposal, stop, options)
        for record in drive:
            if on_round is not None:
                on_round(record)
        return self._keep(drive.posterior, drive.method)

    def iterate(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None = None,
        *,
        proposal: str | Method | None = None,
        stop: Stop | None = None,
        options: Learner | None = None,
    ) -> Iterator[tuple[RoundRecord, Posterior]]:
        """The loop of `run` in the user's hands: yields each round's record and the posterior so far.

        Args: As for `run`.
        """
        with self._campaign.store.released_on_error():
            drive = self._drive(x_o, num_simulations, num_rounds, proposal, stop, options)
            for record in drive:
                if drive.has_learned:
                    yield record, self._keep(drive.posterior, drive.method)

    def _drive(
        self,
        x_o: Any,
        num_simulations: int,
        num_rounds: int | None,
        proposal: str | Method | None,
        stop: Stop | None,
        options: Learner | None,
    ) -> Drive:
        check_fork()
        check_count(num_simulations)
        sizes, kept = check_driver(num_simulations, num_rounds, self.prior.dim), self._campaign.store.rounds
        check_first_round(sizes, sum(int(kept[number].outcomes.ok.sum()) for number in kept if number > 0))
        method = as_method(self.default_method if proposal is None else proposal)
        if not isinstance(stop, (Stop, type(None))):
            raise ArgumentError(f"stop must be a Stop, for example Stop(gain=0.05), or None, found {stop!r}.")
        if self.proposals and method.name not in self.proposals:
            raise ArgumentError(
                f"{self.name} with proposal={method.name!r} would not be {self.name}: it has "
                f"{' or '.join(map(repr, self.proposals))}. SNPE, SNLE and the SNREs take any proposal."
            )
        learner = self.learner if options is None else check_options(options, self.learner, self.free, self.name)
        drive = Drive(self._campaign, self.prior, x_o, sizes, num_rounds, stop or Stop(), method, learner, self._bars)
        self.remember(**{f"call of {drive.name}": written({"proposal": proposal, "stop": stop, "options": options})})
        return drive

    def _write_call(self, training: dict[str, Any], x: np.ndarray | None = None) -> None:
        """Write down how the newest round was called, and the x that its proposal was conditioned on."""
        self.remember(**{f"call of round {self._campaign.newest}": {**written(training), "x": x}})

    def _options(self, training: dict[str, Any]) -> TrainOptions:
        check_fork()  # before it simulates, which may take long
        return train_options(training, self.training_options)

    def _weigh(self, data: Any) -> np.ndarray:
        """What each row counts for in rounds that are driven by hand: as if drawn from the prior."""
        return METHODS["mixture"].weigh(data)

    def _proposed_at(self) -> np.ndarray | None:
        """The x of the newest round's posterior among the proposals."""
        proposals = [proposal for _, proposal in sorted(self._campaign.proposals.items())]
        at_x = [proposal.x for proposal in proposals if isinstance(proposal, FromPosterior)]
        return at_x[-1] if at_x else None

    def _of_this_run(self) -> dict[str, Any]:
        """What a posterior is told of the run that it is from."""
        return {
            "multi_round": self._campaign.is_multi_round,
            "seed": random.word(self.seed, "posterior", self._campaign.newest),
            "x_o": self._proposed_at(),
            "predicted": self._campaign.predicted(),
            "show_progress_bars": self._bars,
        }

    def _train(self, options: TrainOptions) -> Any:
        """Learn from all rows, unless the store has what was learned from the same rows in the same way."""
        campaign, learner = self._campaign, self._with(options)
        self._adopt()
        data = campaign.dataset(options.validation_fraction)
        newest = campaign.newest
        key = {"options": asdict(options), "learner": as_settings(learner), "rows": campaign.rows_key()}
        kept = campaign.learned(newest, key)
        if kept is not None:
            self._learned = learner.recall(kept, campaign.records[newest])
            self._say(f"What was learned after round {newest} is in the run file.")
            return self._learned
        began = time.perf_counter()
        weight = self._weigh(data)
        used = weight > 0
        learned = self._learned = learner.learn(
            Material(
                prior=self.prior,
                z=self.prior.to_normal(data.theta[used]),
                x=data.x[used],
                weight=weight[used],
                order=order_of(self.seed, len(used))[used],
                loss=MaximumLikelihood(),
                proposal=data.newest,
                as_if_from_prior=True,
                x_o=self._proposed_at(),
                validity=valid_where(self.prior, *campaign.tried(), self.seed, newest),
                seed=random.word(self.seed, "train", newest),
            )
        )
        info = learned.info
        self._say_trained(int(info.epochs.max()), bool(info.converged.all()))
        campaign.complete(
            newest,
            {"train": time.perf_counter() - began},
            self.build_posterior(),
            key,
            loss=learned.loss,
            used=int(used.sum()),
            epochs=int(info.epochs.max()),
            converged=bool(info.converged.all()),
            validation_loss=float(info.validation_loss.mean()),
            losses=info.losses,
        )
        return self._learned

    def _with(self, options: TrainOptions) -> Any:
        """The learner with these training options."""
        own = options.fit
        changed = {name: getattr(own, name) for name in ("batch_size", "learning_rate", "stop_after_epochs")}
        changed |= {"max_num_epochs": own.max_num_epochs, "clip_max_norm": own.clip_max_norm}
        learner: Any = self.learner
        return replace(learner, fit=replace(learner.fit, **changed))

    def _adopt(self) -> None:
        """Go on from what the run file has, where that was not made by lines that this process has run."""
        self._campaign.adopt()
        if self._learned is None and self._campaign.adopted:
            kept, _ = self._campaign.last_learned()
            if kept is not None:
                self._learned = self.learner.recall(kept, self._campaign.records[self._campaign.adopted])

    def _say_trained(self, epochs: int, converged: bool) -> None:
        if converged:
            self._say(f"Neural network successfully converged after {epochs} epochs.")
        else:
            self._say(f"Neural network trained for {epochs} epochs, the most it was allowed (max_num_epochs).")

    def _say(self, text: str) -> None:
        if self._bars:
            tqdm.write(text)


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed must be a whole number, zero or larger, or None, found {seed!r}.")
    return int(seed)

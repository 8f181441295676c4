"""What every method offers for simulations that are run elsewhere: append them, or ask and tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np

from homing.diagnostics import Check
from homing.errors import ArgumentError, NotTrainedError
from homing.inference.apart import Apart
from homing.inference.campaign import Campaign
from homing.inference.check import check_run
from homing.inference.methods import Method
from homing.inference.simulating import check_count, check_rows
from homing.posteriors import Posterior
from homing.priors import Prior, same_distribution
from homing.proposals import Proposal, as_proposal, check_prior_draws
from homing.runs import OpenedRun, Progress, Rounds

Call = TypeVar("Call", bound=Callable[..., Any])


def releasing(call: Call) -> Call:
    """A method that lets go of the run file where it is refused or fails: this object may go on then, or another."""

    @wraps(call)
    def called(self: Inference, *arguments: Any, **named: Any) -> Any:
        with self._campaign.store.released_on_error():
            return call(self, *arguments, **named)

    return cast(Call, called)


class Inference:
    """A method's simulations; how it learns from them is the method's own.

    Args:
        prior: The prior.
        campaign: The simulations.

    Attributes:
        depends_on_proposal: Whether what it learns depends on what theta were drawn from.
    """

    depends_on_proposal: ClassVar[bool] = True

    def __init__(self, prior: Prior, campaign: Campaign):
        self.prior = prior
        self.seed = campaign.seed
        self._campaign = campaign
        self._apart = Apart(campaign)
        self._without_proposal: list[np.ndarray] = []  # theta that were appended without a word of where from
        self._latest: Posterior | None = None
        self._method: Method | None = None  # what its rows were weighed by

    def _keep(self, posterior: Posterior, method: Method | None = None) -> Posterior:
        """Remember what was learned last, for `check`."""
        self._latest, self._method = posterior, method
        return posterior

    @releasing
    def check(self, num_simulations: int = 200, *, posterior: Posterior | None = None) -> Check:
        """Whether to believe the posterior, at its default x, by simulations that it was not learned from.

        They are kept in the store, and are no round: nothing is ever learned from them. Half of them are drawn from
        the prior, cut to where most of the posterior is, the other half from the posterior; `homing.inference.check`
        says what for. With a few hundred, intervals that are a third too narrow or too wide are found, and shifts by
        half of their width. At an x_o of several trials all of them are sets of as many, from draws of the posterior.

        Args:
            num_simulations: How many simulations to spend; with 0, what is known without.
            posterior: The posterior; None for the one that the last call of `run`, `iterate` or this object gave. Of
                another one it is not known which rows it left out, so these are not ranked.

        Returns:
            The verdicts; prints as a short table that ends in one sentence: believe, believe with care (why), or do
            not believe (why).

        Raises:
            NotTrainedError: If there is no posterior yet.
            ArgumentError: If the number cannot work, there is no simulator, or the posterior has another prior.

        Example:
            >>> import numpy as np
            >>> from homing.inference import SNPE
            >>> from homing.utils import BoxUniform
            >>> prior = BoxUniform([-1.0, -1.0], [1.0, 1.0])
            >>> inference = SNPE(np.sin, prior, batched=True, seed=0, show_progress_bars=False)
            >>> _ = inference(num_simulations=60, max_num_epochs=1)
            >>> [verdict.name for verdict in inference.check(20)]
            ['coverage', 'ranks', 'TARP', 'z-scores']
        """
        if num_simulations != 0:
            check_count(num_simulations)
        posterior = posterior or self._latest
        if posterior is None:
            raise NotTrainedError("There is no posterior to check: run the inference first, or pass posterior=...")
        if not same_distribution(posterior.prior, self.prior):
            raise ArgumentError(
                f"The posterior was learned with the prior {posterior.prior.describe()}, and this run has "
                f"{self.prior.describe()}: check it with the run that it is from."
            )
        last = posterior is self._latest
        return check_run(self._campaign, self._apart, posterior, self._method, last, int(num_simulations))

    @property
    def rounds(self) -> Rounds:
        """One record a round; prints as a table."""
        return Rounds([record for _, record in sorted(self._campaign.records.items())])

    def on_progress(self, told: Callable[[Progress], None] | None) -> Self:
        """Have a function told where the run is, each time that changes; None for none.

        Returns:
            This object.
        """
        self._campaign.on_progress = told
        return self

    @releasing
    def remember(self, **facts: Any) -> Self:
        """Write down in the run file what its readers should know; they find it in `homing.open(path).facts`.

        Args:
            **facts: JSON or arrays by name, for example `labels=["mass", "spin"]`; each replaces what had this name,
                and None takes that away.

        Returns:
            This object.

        Raises:
            ArgumentError: If a fact is no JSON.
        """
        self._campaign.remember(**facts)
        return self

    @releasing
    def append_simulations(self, theta: Any, x: Any, proposal: Any = None) -> Self:
        """Add simulations that were run elsewhere, as a round of their own.

        Args:
            theta: Shape (n, d).
            x: Shape (n, *x_shape); a row with NaN or infinity counts as invalid.
            proposal: What theta were drawn from: the posterior, a distribution, or the prior. None is for the prior
                too, and theta are then compared with its draws, unless it does not matter to the method where they
                are from.

        Returns:
            This object, so that `.train()` can follow.

        Raises:
            ShapeError: If the shapes do not fit.
            ArgumentError: If some theta lies outside the prior's support, the proposal is none, or there is none and
                theta are plainly no draws of the prior (a false alarm in 1e8): a forgotten proposal.
        """
        rows, data = check_rows(theta, x, self.prior)
        appended = [*self._without_proposal, rows] if proposal is None else self._without_proposal
        if proposal is None and self.depends_on_proposal:
            check_prior_draws(appended, self.prior)
        self._campaign.append(rows, data, self._as_proposal(proposal, simulated=True))
        self._without_proposal = appended
        return self

    @releasing
    def ask(self, num_simulations: int, proposal: Any = None) -> tuple[np.ndarray, Any]:
        """Plan a round that is simulated elsewhere, for example by a cluster's batch jobs: what to simulate.

        With a run file the plan is durable, and the results may be told tomorrow by another process.

        Args:
            num_simulations: How many.
            proposal: As for a call of this object.

        Returns:
            The simulations' ids, shape (n,), and theta, shape (n, d), of the prior's kind.

        Raises:
            ArgumentError: If an argument cannot work.
            StoreError: If the run file has planned this round otherwise.

        Example:
            >>> from homing.inference import SNPE
            >>> from homing.utils import BoxUniform
            >>> inference = SNPE(prior=BoxUniform([0.0, 0.0], [1.0, 1.0]), seed=0, show_progress_bars=False)
            >>> ids, theta = inference.ask(40)
            >>> inference.tell(ids[20:], theta[20:] ** 2), inference.tell(ids, theta**2)
            (20, 20)
            >>> _ = inference.train(max_num_epochs=1)
            >>> inference.build_posterior().sample((5,), x=[0.5, 0.5]).shape
            (5, 2)
        """
        check_count(num_simulations)
        ids, theta = self._campaign.ask(num_simulations, self._as_proposal(proposal))
        return ids, self.prior.give(theta)

    @releasing
    def tell(self, ids: Any, x: Any = None, errors: Mapping[int, str] | None = None) -> int:
        """Keep results of simulations that were asked for: in any order, in parts, from any process.

        The first result of a simulation stands; telling it again does nothing.

        Args:
            ids: Shape (n,), some that `ask` gave.
            x: Shape (n, *x_shape); a row with NaN or infinity counts as invalid. None if all of them failed.
            errors: Why simulations failed, text by id; their rows of x are ignored.

        Returns:
            How many of the results were new.

        Raises:
            ShapeError: If ids and x do not fit each other or earlier data.
            ArgumentError: If an id was never given.
            StoreError: If the results cannot be written; none of them are then.
        """
        return self._campaign.tell(ids, x, errors)

    def _as_proposal(self, proposal: Any, simulated: bool = False) -> Proposal:
        """What a user's object stands for; `simulated` if theta have been drawn from it already."""
        return as_proposal(proposal, self.prior)

    @property
    def view(self) -> OpenedRun:
        """The run as `homing.open` shows it, also if it has no file: simulations, records, posteriors, facts."""
        return self._campaign.view()

    def report(self, path: str | Path, **options: Any) -> Path:
        """Write one page on this run: what was simulated and learned, the posterior, and whether to believe it.

        Args:
            path: The file, best with the suffix .html; one of that name is replaced.
            **options: As for `homing.report`: `check`, `labels`, `points` and so on.

        Returns:
            The file.
        """
        from homing.report import report

        with self.view as view:
            return report(view, path, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as a whole, simulator and simulations in memory among it; with a run file it is not.

        Raises:
            ArgumentError: If it has a run file, or something that cannot be pickled.
        """
        advice = "A posterior can be pickled: inference.build_posterior(), or what run gave."
        source = self._campaign.store.source
        if isinstance(source, Path):
            raise ArgumentError(
                f"An inference object with a run file cannot be pickled or copied, as {source} has one writer. Call "
                f"close(), and run the same lines in the other process; homing.open({str(source)!r}) reads it. {advice}"
            )
        import cloudpickle

        try:
            return _restored, (type(self), cloudpickle.dumps(self.__dict__))
        except Exception as error:
            raise ArgumentError(f"This inference object cannot be pickled or copied: {error}. {advice}") from error

    def close(self) -> None:
        """Let go of the run file, so that another process may write to it."""
        self._campaign.store.close()


def _restored(kind: type[Inference], content: bytes) -> Inference:
    import cloudpickle

    inference = kind.__new__(kind)
    inference.__dict__.update(cloudpickle.loads(content))
    return inference

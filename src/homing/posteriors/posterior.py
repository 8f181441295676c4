"""What every posterior offers: draws, a density, its maximum, at one x.

The density lives in the space where the prior is a standard normal: q(theta | x) = q(z | x) |dz/dtheta|, z = T(theta).
It is normalised because q(z | x) is and T is a bijection of the support; nothing is rejected and no leakage factor is
estimated. A kind of posterior says how z is drawn and how dense it is; everything else is here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.arrays import to_numpy
from homing.diagnostics import (
    Check,
    Predictive,
    Verdict,
    check_boundary,
    check_disagreement,
    check_misspecification,
    check_shrinkage,
    warn_if_unlike,
)
from homing.diagnostics.verdict import attempt, untold
from homing.errors import ObservationError, ShapeError
from homing.forks import brief
from homing.posteriors.boundary import Boundary, boundary_mass
from homing.posteriors.conditional import conditional_corrcoeff, sample_conditional
from homing.posteriors.conditionals import Conditionals
from homing.posteriors.ensemble import DRAWS_COMPARED
from homing.posteriors.maximum import maximise
from homing.posteriors.observation import check_observation, check_sample_shape
from homing.posteriors.reach import DRAWS, Reach, Typical, reach_of, typical_of
from homing.posteriors.serialize import write_file
from homing.posteriors.shown import pairplot, summary, to_arviz
from homing.priors import Prior

_MAP_DRAWS = 4096
_CHECK_DRAWS = 4096


class Posterior(ABC):
    """p(theta | x), learned.

    Arrays go in and come out as the kind the prior is made of. It never changes after it was made, except for its
    default x; what is trained later makes another posterior.

    Args:
        prior: The prior, with its bijection between theta and z.
        x_shape: Shape of one x.
        multi_round: Whether proposals other than the prior were used: then it is good at its default x, and perhaps
            nowhere else.
        seed: Decides the draws: the k-th call of `sample` on equal posteriors gives equal draws.
        x_o: The default x, shape x_shape, or None.
        predicted: What data the prior predicts, by which an x that is unlike them is told; None if that is not known.
        show_progress_bars: Whether `sample` shows a bar where not told otherwise.
    """

    takes_trials = False  # whether x may be several independent trials, shape (num_trials, *x_shape)
    num_members = 1  # of the ensemble that it was learned as

    def __init__(
        self,
        prior: Prior,
        x_shape: tuple[int, ...],
        *,
        multi_round: bool,
        seed: int,
        x_o: np.ndarray | None = None,
        predicted: Predictive | None = None,
        show_progress_bars: bool = True,
    ):
        self.prior = prior
        self.x_shape = x_shape
        self.multi_round = multi_round
        self.predicted = predicted
        self._seed = seed
        self._calls = 0
        self._x_o = x_o
        self._bars = show_progress_bars
        self._reached: dict[bytes, Reach] = {}  # of the newest x

    @abstractmethod
    def draw_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        """Draws of z at an x of shape x_shape, shape (num, d); `on_chunk` is told how many more are done."""

    def fresh_normal(
        self, num: int, x: np.ndarray, seed: int, on_chunk: Callable[[int], object] | None = None
    ) -> np.ndarray:
        """The same for `sample`: draws that no call before was given."""
        return self.draw_normal(num, x, seed, on_chunk)

    @abstractmethod
    def log_prob_normal(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The log density of rows z, shape (n, d), at an x of shape x_shape; shape (n,)."""

    @property
    @abstractmethod
    def _origin(self) -> str:
        """The sentence of `str` that says what it was obtained with."""

    @property
    @abstractmethod
    def _learned(self) -> dict[str, Any]:
        """What it consists of beside what all posteriors have, by the names of the arguments."""

    @property
    def parts(self) -> dict[str, Any]:
        """All that makes this posterior, by name: what `save` writes, and `homing.posteriors.restore` takes."""
        own = {"prior": self.prior, "multi_round": self.multi_round, "seed": self._seed, "x_o": self._x_o}
        return own | self._learned | ({} if self.predicted is None else {"predicted": self.predicted})

    @property
    def default_x(self) -> Any | None:
        """The x used where none is given, as the prior's kind with shape (1, *x_shape); None if there is none."""
        return None if self._x_o is None else self.prior.kind.give(self._with_leading_axis(self._x_o).copy())

    def set_default_x(self, x: Any) -> Self:
        """Condition on x where nothing else is said. Warns of an x that is unlike all data that the prior predicts.

        Args:
            x: Shape x_shape or (1, *x_shape); where the likelihood or the ratio was learned, several independent trials
                too, (num_trials, *x_shape).

        Returns:
            This posterior.

        Raises:
            ObservationError: If x is not one finite observation of the data's shape.
        """
        self._x_o = check_observation(x, self.x_shape, self.takes_trials)
        self.warn_if_unlike(self._x_o)
        return self

    def warn_if_unlike(self, x: np.ndarray) -> None:
        """Warn of an x that is unlike all data that the prior predicts."""
        warn_if_unlike(self.predicted, x)

    def condition_of(self, x: Any | None = None) -> np.ndarray:
        """The observation meant by `x`, shape x_shape: x itself, or the default."""
        if x is not None:
            return check_observation(x, self.x_shape, self.takes_trials)
        if self._x_o is None:
            raise ObservationError(
                "There is no x to condition on: pass x=..., or set one with posterior.set_default_x(x_o)."
            )
        return self._x_o

    def sample(self, sample_shape: Any = (), x: Any | None = None, show_progress_bars: bool | None = None) -> Any:
        """Draw from p(theta | x). Every call gives new draws, none of which another call gave.

        The k-th call gives the same draws whenever a run is repeated; a posterior that is loaded, unpickled or copied
        begins again with the first. Where a likelihood or a ratio was learned, some thousand draws are made at once
        and handed out over several calls, and a call that needs more than are left takes as long as the first.

        Args:
            sample_shape: A tuple, or a number n for (n,). `()` gives one draw of shape (d,).
            x: The observation, shape x_shape or (1, *x_shape); the default x if None.
            show_progress_bars: Whether to show a bar.

        Returns:
            Shape (*sample_shape, d), of the prior's kind, within the prior's support.

        Raises:
            ObservationError: If there is no x, or it does not fit.
            ArgumentError: If the shape is not made of whole numbers, zero or larger.

        Example:
            >>> import homing
            >>> prior = homing.BoxUniform([0.0, 0.0], [1.0, 1.0])
            >>> inference = homing.SNPE(lambda theta: theta, prior, seed=0, show_progress_bars=False)
            >>> posterior = inference(num_simulations=50, max_num_epochs=1)
            >>> posterior.sample((2, 3), x=[0.5, 0.5]).shape
            (2, 3, 2)
        """
        shape = check_sample_shape(sample_shape)
        num, observed, seed = math.prod(shape), self.condition_of(x), self._next_seed()
        theta = self._with_bar(self.fresh_normal, num, observed, seed, show_progress_bars)
        return self.prior.give(theta).reshape(*shape, self.prior.dim)

    def draw(self, num: int, x: np.ndarray, seed: int, show_progress_bars: bool | None = None) -> np.ndarray:
        """Draws as float64 NumPy, shape (num, d), at an x of shape x_shape: the same whenever the seed is."""
        return self._with_bar(self.draw_normal, num, x, seed, show_progress_bars)

    def _with_bar(self, how: Any, num: int, x: np.ndarray, seed: int, show_progress_bars: bool | None) -> np.ndarray:
        bars = self._bars if show_progress_bars is None else show_progress_bars
        with tqdm(total=num, desc=f"Drawing {num} posterior samples", disable=not bars) as bar:
            return self.prior.from_normal(how(num, x, seed, bar.update))

    def sampling_info(self, x: Any | None = None) -> dict[str, float]:
        """How well the draws at x came about, where a sampler makes them.

        Args:
            x: The observation; the default x if None.

        Returns:
            What the sampler reports, the worst over the members of an ensemble: `"rhat"`, `"effective"`, `"drift"`,
            `"divergences"`, `"acceptance"`, `"khat"`, as it has them; and of the importance weights that normalise
            `log_prob`: `"evidence_effective"`, the effective share of them, and `"evidence_khat"`. Empty of a density
            that is drawn from directly.

        Raises:
            ObservationError: If there is no x, or it does not fit.
        """
        self.condition_of(x)
        return {}

    def log_prob(self, theta: Any, x: Any | None = None) -> Any:
        """The posterior's log density, normalised; -inf exactly outside the prior's support.

        Args:
            theta: Shape (n, d) or (d,).
            x: The observation; the default x if None.

        Returns:
            Shape (n,), of the prior's kind; n is 1 for theta of shape (d,).

        Raises:
            ShapeError: If theta does not have d columns.
            ObservationError: If there is no x, or it does not fit.
        """
        array = np.atleast_2d(to_numpy(theta, "theta").astype(np.float64))
        if array.ndim != 2 or array.shape[1] != self.prior.dim:
            raise ShapeError(
                f"theta must have shape (n, {self.prior.dim}) or ({self.prior.dim},), found {np.shape(theta)}."
            )
        return self.prior.kind.give(self.evaluate(array, self.condition_of(x)))

    def evaluate(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The log density as float64 NumPy, shape (n,), of theta with shape (n, d) at an x of shape x_shape."""
        values = np.full(len(theta), -np.inf)
        inside = np.flatnonzero(self.prior.is_inside(theta))
        z = self.prior.to_normal(theta[inside])
        far = self._typical.is_far(z)
        near, beyond = inside[~far], inside[far]
        if len(near):
            values[near] = self.log_prob_normal(z[~far], x) + self.prior.log_det(theta[near])
        if len(beyond):
            bounded = self._reach(x).bounded(z[far], lambda rows: self.log_prob_normal(rows, x), self.prior)
            values[beyond] = self.prior.log_prob(theta[beyond]) + bounded
        return values

    @cached_property
    def _typical(self) -> Typical:
        return typical_of(self.prior)

    def _reach(self, x: np.ndarray) -> Reach:
        key = x.tobytes()
        if key not in self._reached:
            z = self.draw_normal(DRAWS, x, random.word(self._seed, "reach"))
            self._reached = {key: reach_of(z, lambda rows: self.log_prob_normal(rows, x), self.prior, self._typical)}
        return self._reached[key]

    def map(self, x: Any | None = None) -> Any:
        """The theta of highest posterior density, shape (d,), of the prior's kind.

        Climbs from the best of some thousand draws; the density is that over theta, so it depends on how the
        parameters are expressed.

        Args:
            x: The observation; the default x if None.

        Raises:
            ObservationError: If there is no x, or it does not fit.
        """
        observed = self.condition_of(x)
        draws = self.draw(_MAP_DRAWS, observed, random.word(self._seed, "map"), show_progress_bars=False)
        best = maximise(lambda theta: self.evaluate(theta, observed), draws, self.prior.low, self.prior.high)
        return self.prior.give(best[None])[0]

    def disagreement(self, x: np.ndarray, seed: int) -> float | None:
        """How much a draw at x tells about which member of an ensemble it is of, nats: zero if they agree.

        None if there is but one.
        """
        return None

    def boundary(self, x: Any | None = None) -> Boundary:
        """How much of the posterior's mass lies next to the prior's bounds; see `Boundary`."""
        z = self.draw_normal(_MAP_DRAWS, self.condition_of(x), random.word(self._seed, "boundary"))
        return boundary_mass(z, self.prior)

    def check(self, x: Any | None = None) -> Check:
        """Whether to believe the posterior at x, by all that can be known without a simulation.

        That is: whether x is like the data that the prior predicts, whether what was learned apart agrees, whether
        mass is piled up at the prior's bounds, and how much the data told. Calibration is not among it: that takes
        simulations, and is `inference.check(num_simulations)`.

        Args:
            x: The observation; the default x if None.

        Returns:
            The verdicts; prints as a short table that ends in one sentence.

        Raises:
            ObservationError: If there is no x, or it does not fit.

        Example:
            >>> import homing
            >>> prior = homing.BoxUniform([0.0, 0.0], [1.0, 1.0])
            >>> inference = homing.SNPE(lambda theta: theta, prior, seed=0, show_progress_bars=False)
            >>> posterior = inference(num_simulations=50, max_num_epochs=1)
            >>> [verdict.name for verdict in posterior.check(x=[0.5, 0.5])]
            ['misspecification', 'bounds', 'shrinkage']
        """
        observed = self.condition_of(x)
        verdicts: list[Verdict] = []
        predicted = self.predicted
        if predicted is not None:
            attempt(verdicts, "misspecification", lambda: check_misspecification(predicted, observed))
        self._audit(verdicts, observed)
        return Check(tuple(verdicts))

    def _audit(self, verdicts: list[Verdict], x: np.ndarray) -> None:
        """Add what the posterior tells of itself at an x of shape x_shape."""
        attempt(verdicts, "members", lambda: self._disagreement(x))
        try:
            z = self.draw_normal(_CHECK_DRAWS, x, random.word(self._seed, "check"))
            z = self.prior.to_normal(self.prior.from_normal(z))  # what a user is given: bounds are numbers
        except (MemoryError, OSError):
            raise
        except Exception as error:
            verdicts.append(untold("shrinkage", f"the posterior cannot be drawn from at x, {error}", "fail"))
            return
        odd = int((~np.isfinite(z)).any(1).sum())
        if odd:
            verdicts.append(untold("shrinkage", f"{odd} of {len(z)} draws of the posterior are no numbers", "fail"))
            return
        prior_draws = self.prior.to_normal(self.prior.sample(random.generator(self._seed, "check"), _CHECK_DRAWS))
        attempt(verdicts, "bounds", lambda: self._at_bounds(z))
        attempt(verdicts, "shrinkage", lambda: check_shrinkage(z, prior_draws))

    def _at_bounds(self, z: np.ndarray) -> Verdict:
        boundary = boundary_mass(z, self.prior)
        return check_boundary(boundary.mass, boundary.where, len(z))

    def _disagreement(self, x: np.ndarray) -> list[Verdict]:
        """Whether the members of an ensemble agree at x; nothing of one alone."""
        nats = self.disagreement(x, random.word(self._seed, "disagreement"))
        return [] if nats is None else [check_disagreement(nats, self.num_members, DRAWS_COMPARED)]

    def at_each(self, x: np.ndarray, num: int, seed: int) -> Conditionals:
        """The posteriors at many x, with `num` draws of each or of what proposes for it.

        x: Shape (n, *x_shape); where it takes trials, (n, num_trials, *x_shape), too.
        """

        def draw() -> np.ndarray:
            return np.stack([self.draw_normal(num, row, random.word(seed, "at each", i)) for i, row in enumerate(x)])

        def density(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values = np.stack([self.log_prob_normal(part, at) for part, at in zip(rows, x)])
            return values, values

        return Conditionals(draw, density)

    sample_conditional = sample_conditional
    conditional_corrcoeff = conditional_corrcoeff
    pairplot = pairplot
    to_arviz = to_arviz

    def save(self, path: str | Path) -> None:
        """Write the posterior to a file, for `homing.load(path)`; a file of that name is replaced.

        The file holds arrays and JSON, no code: an `embedding_net` of your own, or a prior that is an object with
        `sample` and `log_prob`, has to be given again when it is loaded.

        Args:
            path: The file, best with the suffix .npz.

        Raises:
            StoreError: If it cannot be written.
            ArgumentError: If the density estimator comes from a builder of your own.
        """
        write_file(self.parts, Path(path))

    def _with_leading_axis(self, x: np.ndarray) -> np.ndarray:
        return x if x.ndim > len(self.x_shape) else x[None]

    def _next_seed(self) -> int:
        with brief:  # threads that sample at the same time get different draws
            self._calls += 1
            calls = self._calls
        return random.word(self._seed, "sample", calls)

    __str__ = summary

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prior={self.prior.describe()}, x_shape={self.x_shape})"

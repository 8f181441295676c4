"""Simulators and priors prepared for inference, and simulating outside of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from homing import random
from homing.arrays import Kind, to_numpy
from homing.errors import ArgumentError, ShapeError, SimulationError, warn
from homing.inference.failing import where_failing, without_data
from homing.inference.noise import say_noise_of_code
from homing.posteriors import Posterior
from homing.priors import Prior, as_prior
from homing.proposals import as_proposal
from homing.simulation import Outcomes, Run, Simulator, simulate
from homing.simulation.outcomes import assembled


class PreparedSimulator:
    """A simulator for batches, whatever it was for before: theta (n, d) or (d,) in, x of shape (n, *x_shape) out.

    Args:
        simulator: What to run.
        num_workers: Processes.
    """

    def __init__(self, simulator: Simulator, num_workers: int = 1):
        self.simulator = simulator
        self.num_workers = num_workers

    def __call__(self, theta: Any) -> Any:
        rows = np.atleast_2d(to_numpy(theta, "theta").astype(np.float64))
        seed = random.global_seed(self.simulator.kind)
        seeds = random.row_seeds(seed, "simulate", 0, len(rows))
        run = simulate(self.simulator, rows, seeds, num_workers=self.num_workers)
        outcomes, self.simulator = run.collect(), run.simulator
        _say_without_data(outcomes)
        return self.simulator.kind.give(outcomes.x)


class PreparedPrior:
    """A prior with `sample` and `log_prob` in the user's arrays, for those that were brought as lists or by scipy.

    Args:
        prior: The prior.
    """

    def __init__(self, prior: Prior):
        self.prior = prior

    def sample(self, sample_shape: Any = ()) -> Any:
        """Independent draws, shape (*sample_shape, d)."""
        shape = (int(sample_shape),) if np.ndim(sample_shape) == 0 else tuple(int(n) for n in sample_shape)
        rng = random.generator(random.global_seed(self.prior.kind), "prior")
        return self.prior.give(self.prior.sample(rng, int(np.prod(shape, dtype=int)))).reshape(*shape, self.prior.dim)

    def log_prob(self, theta: Any) -> Any:
        """The log density, shape (n,), of theta with shape (n, d); -inf outside the support."""
        rows = np.atleast_2d(to_numpy(theta, "theta").astype(np.float64))
        return self.prior.kind.give(self.prior.log_prob(rows))

    def __repr__(self) -> str:
        return self.prior.describe()


def unprepared_prior(prior: Any) -> Prior:
    """The prior behind a user's object, prepared or not."""
    return prior.prior if isinstance(prior, PreparedPrior) else as_prior(prior)


def unprepared_simulator(simulator: Any, kind: Kind, batched: bool | None) -> Simulator:
    """The simulator behind a user's function, prepared or not."""
    if isinstance(simulator, PreparedSimulator):
        return simulator.simulator
    made = Simulator(simulator, kind, batched)
    say_noise_of_code(made)
    return made


def prepare_for_sbi(
    simulator: Callable[..., Any], prior: Any, batched: bool | None = None
) -> tuple[PreparedSimulator, Any]:
    """Check a simulator and a prior, and make them fit each other.

    Nothing is simulated. What is returned can be called by hand: `simulator(theta)` for a batch of theta,
    `prior.sample((n,))`, `prior.log_prob(theta)`. `SNPE` does the same to what it is given, so this step may be left
    out.

    Args:
        simulator: A function of one theta or of a batch; see `homing.simulation.Simulator`.
        prior: Anything that `SNPE` takes as a prior.
        batched: Whether the simulator takes a batch (b, d); None gives it one theta at a time, unless it refuses.

    Returns:
        The simulator for batches, and the prior: itself where it draws `sample((n,))` already.

    Raises:
        PriorError: If the prior cannot be used.
        ArgumentError: If the simulator is not a function.

    Example:
        >>> import numpy as np
        >>> from homing.utils import BoxUniform
        >>> simulator, prior = prepare_for_sbi(lambda theta: theta.sum(), BoxUniform([0.0, 0.0], [1.0, 1.0]))
        >>> simulator(np.ones((4, 2))).shape, prior.sample((3,)).shape
        ((4,), (3, 2))
    """
    known = unprepared_prior(prior)
    prepared = PreparedSimulator(unprepared_simulator(simulator, known.kind, batched))
    plain = isinstance(prior, (list, tuple)) or type(prior).__module__.startswith("scipy.")
    return prepared, PreparedPrior(known) if plain else prior


def finished(run: Run, num: int, show_progress_bar: bool) -> Generator[tuple[np.ndarray, Outcomes], None, None]:
    """What a run of `num` simulations yields, under a bar. However this ends, the run ends with it."""
    description = f"Running {num} simulations."
    with closing(run), tqdm(total=num, desc=description, disable=not show_progress_bar) as bar:
        for rows, outcomes in run:
            yield rows, outcomes
            bar.update(len(rows))


def simulate_for_sbi(
    simulator: Any,
    proposal: Any,
    num_simulations: int,
    num_workers: int = 1,
    simulation_batch_size: int = 1000,
    seed: int | None = None,
    show_progress_bar: bool = True,
    batched: bool | None = None,
) -> tuple[Any, Any]:
    """Draw theta from a proposal and simulate.

    Args:
        simulator: A function of one theta or of a batch.
        proposal: The prior, or a posterior with a default x.
        num_simulations: How many.
        num_workers: Processes; the numbers do not depend on it.
        simulation_batch_size: Rows in a call of a batched simulator.
        seed: Makes the numbers repeatable; None takes one from the global generator of the prior's library.
        show_progress_bar: Whether to show bars.
        batched: Whether the simulator takes a batch (b, d); None gives it one theta at a time, unless it refuses.

    Returns:
        theta of shape (n, d) and x of shape (n, *x_shape), of the prior's kind; rows of failed simulations are NaN in
        x, and are left out and counted when they are appended. How many there are, and the first error, is warned of.

    Raises:
        ArgumentError: If the number is not positive.
        SimulationError: If nothing but failures came back.
    """
    check_count(num_simulations)
    prior = proposal.prior if isinstance(proposal, Posterior) else unprepared_prior(proposal)
    source = as_proposal(proposal if isinstance(proposal, Posterior) else None, prior)
    seed = random.global_seed(prior.kind) if seed is None else seed
    theta = source.draw(num_simulations, random.word(seed, "propose"), show_progress_bar)
    given = prior.give(theta)
    rows = to_numpy(given).astype(np.float64)
    run = simulate(
        unprepared_simulator(simulator, prior.kind, batched),
        rows,
        random.row_seeds(seed, "simulate", 0, num_simulations),
        num_workers=num_workers,
        batch_size=simulation_batch_size,
    )
    outcomes = assembled(rows, finished(run, num_simulations, show_progress_bar))
    if not outcomes.has_data.any():
        raise SimulationError(
            f"None of {num_simulations} simulations gave data. The first of them: {outcomes.error[0]}"
        )
    _say_without_data(outcomes)
    return given, prior.kind.give(outcomes.x)


def _say_without_data(outcomes: Outcomes) -> None:
    lost = without_data(outcomes)
    if lost:
        where = where_failing(outcomes.theta, ~outcomes.ok)
        where = f"; {where}" if where else ""
        warn(f"{lost}{where}. Their rows of x hold NaN; append_simulations leaves them out and counts them.")


def check_count(num_simulations: Any) -> None:
    """Raise unless the number of simulations is a positive whole number."""
    if isinstance(num_simulations, bool) or not isinstance(num_simulations, (int, np.integer)) or num_simulations < 1:
        raise ArgumentError(f"num_simulations must be a positive whole number, found {num_simulations!r}.")


def check_rows(theta: Any, x: Any, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """theta (n, d) and x (n, *x_shape) of a user as float64 NumPy.

    Raises:
        ShapeError: If the shapes do not fit the prior or each other.
        ArgumentError: If some theta lies outside the prior's support.
    """
    rows, data = to_numpy(theta, "theta").astype(np.float64), to_numpy(x, "x").astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != prior.dim:
        raise ShapeError(f"theta must have shape (n, {prior.dim}), one row a simulation, found {rows.shape}.")
    if data.ndim == 0 or len(data) != len(rows):
        raise ShapeError(f"x must have one entry for each of the {len(rows)} rows of theta, found shape {data.shape}.")
    if not rows.size or not data.size:
        raise ShapeError(
            "At least one simulation with at least one number as data is needed, found theta of shape "
            f"{rows.shape} and x of shape {data.shape}."
        )
    outside = ~prior.is_inside(rows)
    if outside.any():
        raise ArgumentError(
            f"{int(outside.sum())} of {len(rows)} rows of theta lie outside the prior's support, the first is row "
            f"{int(np.argmax(outside))}: {rows[np.argmax(outside)].tolist()}. The posterior has no mass there: leave "
            "them out, or widen the prior."
        )
    return rows, data

"""What a run learns from its rows, as a value: the driver and the calls by hand know nothing else of a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from homing import random
from homing.errors import ArgumentError
from homing.estimators.validity import Validity
from homing.posteriors import Posterior
from homing.priors import Prior
from homing.proposals import Proposal
from homing.runs import RoundRecord
from homing.training import FitInfo, FitOptions, Loss

HELD_OUT = 0.12  # of the rows, for each member of an ensemble


@dataclass(frozen=True, eq=False)
class Material:
    """What a round learns from.

    Attributes:
        prior: The prior.
        z: Parameters where the prior is a standard normal, shape (n, d).
        x: Data, shape (n, *x_shape).
        weight: What each row counts for, so that all together are as if from the prior, shape (n,).
        order: A number in [0, 1) for each row, shape (n,), that never changes: it says which member holds it out.
        loss: What a density of theta is trained by; a likelihood or a ratio has a loss of its own.
        proposal: What the newest rows were drawn from.
        as_if_from_prior: Whether the weights make the rows such.
        x_o: The observation, or None while there is none.
        validity: p(valid | z), or None where failures do not depend on z.
        seed: Below 2**32.
    """

    prior: Prior
    z: np.ndarray
    x: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    loss: Loss
    proposal: Proposal
    as_if_from_prior: bool
    x_o: np.ndarray | None
    validity: Validity | None
    seed: int


class Learned(Protocol):
    """What was learned: the state that the next round and the posterior need."""

    @property
    def info(self) -> FitInfo: ...

    @property
    def loss(self) -> str:
        """What it was trained by, for a person."""
        ...

    @property
    def num_members(self) -> int: ...

    @property
    def held_out(self) -> np.ndarray:
        """(M, n) bool, each member's held-out rows."""
        ...

    def posterior(self, prior: Prior, **options: Any) -> Posterior:
        """What it makes of the prior; options as for `Posterior`."""
        ...

    def score(self, m: int, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Member m's log density of theta given x over the prior's, of pairs; shape (n,). NaN where it is not known."""
        ...

    def tells(self, x: np.ndarray) -> Sequence[np.ndarray]:
        """Ways in which data, shape (n, *x_shape), can be like each other: arrays of shape (n, k)."""
        ...


class Learner(Protocol):
    """How to learn."""

    @property
    def fit(self) -> FitOptions: ...

    @property
    def embedding_net(self) -> Any:
        """The user's own code in the estimator, or None."""
        ...

    @property
    def takes_trials(self) -> bool:
        """Whether the posterior takes several independent trials."""
        ...

    def learn(self, material: Material) -> Learned: ...

    def recall(self, posterior: Posterior, record: RoundRecord) -> Learned:
        """What a round that a run file has once learned, from its posterior and record."""
        ...


def check_options(options: Any, own: Any, free: Sequence[str], name: str) -> Learner:
    """The options, if they leave a method what its name and its arguments say.

    Args:
        options: A learner.
        own: The method's.
        free: The fields in which they may differ.
        name: The method's, for a person.

    Raises:
        ArgumentError: If they learn something else.
    """
    kind = type(own).__name__
    how = (
        f"Free to change are {', '.join(free)}: run(..., options=dataclasses.replace(inference.learner, members=2)); "
        f"the rest is an argument of {name}(...)."
    )
    if type(options) is not type(own):
        raise ArgumentError(f"options of {name} must be a {kind}, found {type(options).__name__}. {how}")
    fixed = [field.name for field in fields(own) if field.name not in free]
    differ = [field for field in fixed if getattr(options, field) != getattr(own, field)]
    if differ:
        found = "; ".join(f"{field} {getattr(options, field)!r}, not {getattr(own, field)!r}" for field in differ)
        raise ArgumentError(f"options say how {name} learns, not what: found {found}. {how}")
    members = options.members
    if isinstance(members, bool) or not isinstance(members, (int, np.integer)) or members < 1:
        raise ArgumentError(f"members must be a whole number, one or larger, found {members!r}.")
    return options


def order_of(seed: int, num: int) -> np.ndarray:
    """A run's fixed order of its rows, shape (num,): that of more rows begins with the same numbers."""
    return random.generator(seed, "order").random(num)


def windows(order: np.ndarray, members: int) -> np.ndarray:
    """Each member's held-out rows, shape (M, n): windows of the fixed order, side by side."""
    rank = np.argsort(np.argsort(order))
    count = max(1, round(HELD_OUT * len(order)))
    place = (rank[None, :] - count * np.arange(members)[:, None]) % len(order)
    return place < count


def recalled_info(record: RoundRecord) -> FitInfo:
    """What a record kept of the fit."""
    loss = np.nan if record.validation_loss is None else record.validation_loss
    return FitInfo(np.array([record.epochs]), np.array([record.converged]), np.array([loss]), np.zeros((1, 0)), 0.0)


NOT_KNOWN = np.zeros((1, 0), bool)  # held-out rows of what was recalled

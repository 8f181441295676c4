"""The options of training, by their published names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from homing.errors import ArgumentError
from homing.training import FitOptions


@dataclass(frozen=True)
class TrainOptions:
    """How a round is learned. Each is an argument of `SNPE.__call__` and `SNPE.train`.

    Attributes:
        num_atoms: Atoms of the atomic loss, the row's own included.
        training_batch_size: Rows in a mini-batch at most.
        learning_rate: Adam's step size.
        validation_fraction: Share of each round's rows held out, for life.
        stop_after_epochs: Stop when the validation loss has not improved for so many epochs and 300 gradient steps.
        max_num_epochs: Train at most so many epochs.
        clip_max_norm: Largest norm of a gradient; None for any.
        use_combined_loss: Add maximum likelihood on the prior's rows to the atomic loss.
        discard_prior_samples: Leave the prior's rows out from round 2 on.
        retrain_from_scratch: Start from fresh weights instead of the last round's.
    """

    num_atoms: int = 10
    training_batch_size: int = 100
    learning_rate: float = 2e-3
    validation_fraction: float = 0.1
    stop_after_epochs: int = 20
    max_num_epochs: int = 2**31 - 1
    clip_max_norm: float | None = 5.0
    use_combined_loss: bool = False
    discard_prior_samples: bool = False
    retrain_from_scratch: bool = False

    def __post_init__(self) -> None:
        whole = {"num_atoms": 2, "training_batch_size": 1, "stop_after_epochs": 1, "max_num_epochs": 1}
        for name, least in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ArgumentError(f"{name} must be a whole number of at least {least}, found {value!r}.")
        if not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate must be positive, found {self.learning_rate!r}.")
        if not 0 < self.validation_fraction < 1:
            raise ArgumentError(f"validation_fraction must be between 0 and 1, found {self.validation_fraction!r}.")
        if self.clip_max_norm is not None and not self.clip_max_norm > 0:
            raise ArgumentError(f"clip_max_norm must be positive or None, found {self.clip_max_norm!r}.")

    @property
    def fit(self) -> FitOptions:
        return FitOptions(
            batch_size=self.training_batch_size,
            learning_rate=self.learning_rate,
            rates=(1.0,),  # as published; with atoms a lower one at the end took half as long again and gained nothing
            stop_after_epochs=self.stop_after_epochs,
            max_num_epochs=self.max_num_epochs,
            clip_max_norm=np.inf if self.clip_max_norm is None else self.clip_max_norm,
        )


def train_options(given: dict[str, Any], known: Sequence[str]) -> TrainOptions:
    """The options with those given by name.

    Args:
        given: By name.
        known: The names that the method has.

    Raises:
        ArgumentError: If a name is unknown or a value cannot work.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ArgumentError(f"Unknown training option {', '.join(unknown)}. Known are: {', '.join(known)}.")
    return TrainOptions(**given)


def as_settings(value: Any) -> Any:
    """Options as JSON that can be compared: dataclasses by their fields, what is code by its name.

    Example:
        >>> as_settings(FitOptions(batch_size=7))["batch_size"], as_settings(np.tanh)
        (7, 'numpy.tanh')
    """
    if isinstance(value, (list, tuple)):
        return [as_settings(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type) and type(value).__module__.startswith("homing."):
        return {field.name: as_settings(getattr(value, field.name)) for field in fields(value)}
    if value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray)):
        return value
    named: Any = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"

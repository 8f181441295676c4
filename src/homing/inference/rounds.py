"""What each round did, for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, overload


@dataclass(frozen=True)
class RoundRecord:
    """One round.

    Attributes:
        round: Counted from 1.
        proposal: What theta were drawn from: `"prior"`, `"posterior"` or `"density"`.
        asked: Simulations run, or appended.
        valid: Of these, the ones that gave finite data.
        failed: Raised, returned another shape, or killed their worker.
        timed_out: Took too long.
        loss: The loss that was trained, or `""` if the round was not trained after.
        epochs: Epochs trained.
        converged: Whether the validation loss stopped the training.
        validation_loss: The loss on the held-out rows; losses of different names do not compare.
        boundary_mass: The posterior's largest share in the outermost half percent of the prior at a finite bound, at
            the default x or, without one, the mean over some held-out x. None if not measured.
        used: Rows learned from, of all rounds; None for all that are valid.
        volume: The proposal's share of the prior's mass; 1 for the prior, None if not known.
        effective: Effective sample size of a truncated proposal's resampling weights, as a multiple of its draws; None where
            draws were exact.
        gain: Nats by which this round's density beats the last one's on held-out rows that the last had not seen.
        agreement: Effective share of importance weights from the direct side to the likelihood's; near one: two
            estimators agree, near zero: at least one is wrong.
        rolled_back: Whether the round made things worse and was not used.
        seconds: Wall time by part: sample, simulate, train, audit.
    """

    round: int
    proposal: str
    asked: int
    valid: int
    failed: int = 0
    timed_out: int = 0
    loss: str = ""
    epochs: int = 0
    converged: bool = False
    validation_loss: float | None = None
    boundary_mass: float | None = None
    used: int | None = None
    volume: float | None = None
    effective: float | None = None
    gain: float | None = None
    agreement: float | None = None
    rolled_back: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def invalid(self) -> int:
        """Simulations that returned NaN or infinity."""
        return self.asked - self.valid - self.failed - self.timed_out

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


_COLUMNS = (
    "round",
    "proposal",
    "simulations",
    "valid",
    "loss",
    "epochs",
    "held out",
    "at bounds",
    "simulate",
    "train",
    "sample",
)


def _cells(record: RoundRecord) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    seconds = (record.seconds.get(part) for part in ("simulate", "train", "sample"))
    return (
        str(record.round),
        record.proposal,
        str(record.asked),
        str(record.valid),
        record.loss or "-",
        str(record.epochs) if record.loss else "-",
        number(record.validation_loss, ".3f"),
        number(record.boundary_mass, ".1%"),
        *("-" if value is None else f"{value:.2f} s" for value in seconds),
    )


class Rounds(Sequence[RoundRecord]):
    """The rounds of a run, in order; prints as a table.

    Example:
        >>> print(Rounds([RoundRecord(1, "prior", asked=500, valid=498)]))
        round  proposal  simulations  valid  loss  epochs  held out  at bounds  simulate  train  sample
            1     prior          500    498     -       -         -          -         -      -       -
    """

    def __init__(self, records: Sequence[RoundRecord]):
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> RoundRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Rounds: ...
    def __getitem__(self, index: int | slice) -> RoundRecord | Rounds:
        return Rounds(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __str__(self) -> str:
        table = [_COLUMNS, *map(_cells, self._records)]
        widths = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in table)

    __repr__ = __str__

"""What each round did, for a person to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, overload

from homing.simulation.typed import from_json

Part = Literal["propose", "simulate", "learn"]


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        round: Counted from 1.
        part: What it does: draw theta, simulate them, or learn from all that was simulated.
        done: Simulations of this round that are done, by whatever process.
        planned: Simulations of this round.
    """

    round: int
    part: Part
    done: int
    planned: int


@dataclass(frozen=True)
class RoundRecord:
    """One round.

    Attributes:
        round: Counted from 1.
        proposal: What theta were drawn from: `"prior"`, `"valid"` (the prior times p(valid | theta)),
            `"posterior"`, `"truncated"`, `"gaussian"` or `"density"`.
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
        effective: Effective sample size of a truncated proposal's resampling weights, as a multiple of its draws; None
            where draws were exact.
        gain: Nats by which this round's density beats the last one's on held-out rows that the last had not seen.
        agreement: Effective share of importance weights from the direct side to the likelihood's; near one: two
            estimators agree, near zero: at least one is wrong.
        khat: Pareto shape of the same weights; above 0.7 they cannot be relied on: the direct side misses part of what
            the likelihood's holds possible.
        disagreement: How much a draw of the direct side tells about which member of the ensemble it is of, nats.
        share: The direct side's share of the posterior: a half, or none where the likelihood's is clearly better on
            held-out rows. None if there is no likelihood's side.
        sampling: What the posterior's sampler reports (`SampledPosterior.sampling_info`); empty where none is needed.
        rolled_back: Whether the round made things worse and was not used.
        uncut: Why what was learned is no guide to where the next round should simulate, in words; empty if it is.
        failing: Where simulations gave no finite data, in words; empty if no bound on a parameter tells.
        seconds: Wall time by part: sample, simulate, train, audit.
        losses: The loss on the held-out rows after each epoch, of each member that was kept; of the direct side
            where there are two.
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
    khat: float | None = None
    disagreement: float | None = None
    share: float | None = None
    sampling: dict[str, float] = field(default_factory=dict)
    rolled_back: bool = False
    uncut: str = ""
    failing: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    losses: list[list[float]] = field(default_factory=list)

    @property
    def invalid(self) -> int:
        """Simulations that returned NaN or infinity."""
        return self.asked - self.valid - self.failed - self.timed_out

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> RoundRecord:
        """The record that `as_dict` gave.

        Raises:
            StoreError: If it is none, or one of a newer homing.
        """
        return from_json(cls, content)


def _number(form: str) -> Callable[[Any], str]:
    return lambda value: format(value, form)


# Heading, what it shows of a record (None shows as a dash), and how. A column that no record fills is left out.
_COLUMNS: tuple[tuple[str, Callable[[RoundRecord], Any], Callable[[Any], str]], ...] = (
    ("round", lambda r: r.round, str),
    ("proposal", lambda r: r.proposal, str),
    ("simulations", lambda r: r.asked, str),
    ("valid", lambda r: r.valid, str),
    ("of prior", lambda r: r.volume, _number(".2g")),
    ("ESS/draw", lambda r: r.effective, _number(".1f")),
    ("learned from", lambda r: r.used, str),
    ("loss", lambda r: r.loss or None, str),
    ("epochs", lambda r: r.epochs or None, str),
    ("held out", lambda r: r.validation_loss, _number(".3f")),
    ("gain", lambda r: r.gain, _number("+.3f")),
    ("agreement", lambda r: r.agreement, _number(".0%")),
    ("khat", lambda r: r.khat, _number(".2f")),
    ("members differ", lambda r: r.disagreement, _number(".2f")),
    ("direct side", lambda r: r.share, _number(".0%")),
    ("R-hat", lambda r: r.sampling.get("rhat"), _number(".3f")),
    ("at bounds", lambda r: r.boundary_mass, _number(".1%")),
    ("simulate", lambda r: r.seconds.get("simulate"), lambda value: f"{value:.2f} s"),
    ("train", lambda r: r.seconds.get("train"), lambda value: f"{value:.2f} s"),
    ("sample", lambda r: r.seconds.get("sample"), lambda value: f"{value:.2f} s"),
    ("", lambda r: "rolled back" if r.rolled_back else None, str),
)


_WIDTH = 120  # characters of a printed line, at most


def _blocks(table: list[list[str]]) -> list[list[list[str]]]:
    """The table's columns, set to their widths, in as many blocks as lines need; each begins with the rounds."""
    first, *others = [[cell.rjust(max(map(len, column))) for cell in column] for column in zip(*table)]
    blocks = [[first]]
    for column in others:
        if sum(len(c[0]) + 2 for c in blocks[-1]) + len(column[0]) > _WIDTH:
            blocks.append([first])
        blocks[-1].append(column)
    return blocks


class Rounds(Sequence[RoundRecord]):
    """The rounds of a run, in order; prints as a table, below itself where it is too wide for a line.

    Example:
        >>> print(Rounds([RoundRecord(1, "prior", asked=500, valid=498)]))
        round  proposal  simulations  valid
            1     prior          500    498
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

    def table(self) -> list[list[str]]:
        """The table's rows, the headings first; columns that no record fills are left out."""
        columns = []
        for heading, value, form in _COLUMNS:
            values = [value(record) for record in self._records]
            if not self._records or any(v is not None for v in values):
                columns.append([heading, *("-" if v is None else form(v) for v in values)])
        return [list(row) for row in zip(*columns)]

    def __str__(self) -> str:
        parts = ["\n".join("  ".join(row).rstrip() for row in zip(*block)) for block in _blocks(self.table())]
        said = [f"round {r.round}: {text}" for r in self._records for text in (r.failing, r.uncut) if text]
        return "\n".join(["\n\n".join(parts), *said])

    __repr__ = __str__

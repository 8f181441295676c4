"""Looking into a run file, also while the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from homing.errors import ArgumentError, MissingError
from homing.simulation.facts import check_facts
from homing.simulation.keeper import NOTHING, Keeper, Memory, Round
from homing.simulation.npz import check_filled
from homing.simulation.outcomes import Status
from homing.simulation.runfile import RunFile
from homing.simulation.store import Store
from homing.simulation.typed import understood
from homing.text import printable_json

if TYPE_CHECKING:
    import pandas
    import xarray


class RunView:
    """A run, read-only. Everything asked of it is read anew, so a run that goes on can be watched.

    Args:
        source: A run file; or `Store.source` of a run that is kept in memory.

    Attributes:
        path: The run file; None if the run is kept in memory.
        name: What it is called.

    Raises:
        StoreError: If it is not there, is no run file, is damaged, or has a newer format.

    Example:
        >>> import tempfile
        >>> from homing.simulation import Outcomes, open_store
        >>> path = Path(tempfile.mkdtemp(), "run.homing")
        >>> with open_store(path) as store:
        ...     ids = store.plan(1, theta=np.zeros((2, 3)), seeds=np.arange(2))
        ...     done = store.record(ids[:1], Outcomes.given(np.zeros((1, 3)), [[5.0]]))
        >>> view = RunView(path)
        >>> print(view)
        round 1: 2 simulations planned, 1 ok
        >>> view.simulations()["x"].ravel()
        array([ 5., nan])
    """

    def __init__(self, source: str | Path | Memory):
        self._file: Keeper = source if isinstance(source, Memory) else RunFile(Path(source), write=False)
        self.path = None if isinstance(source, Memory) else Path(source)
        self.name = "This run" if self.path is None else str(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def facts(self) -> dict[str, Any]:
        """What the run is, by name: seed, settings, prior, x_o and so on; arrays as lists."""
        with understood(self.name):
            facts = {name: json.loads(text) for name, text in self._file.load().facts.items() if text != NOTHING}
            check_facts(facts)
            return printable_json(facts)

    @property
    def rounds(self) -> Mapping[int, Round]:
        """The rounds by number: plan, status of each simulation, proposal, and the result of the finished ones.

        Negative numbers are those of checks.
        """
        return self._file.load().rounds

    def __str__(self) -> str:
        lines = []
        for number, known in self.rounds.items():
            counts = {name: count for name, count in known.outcomes.counts().items() if count and name != "planned"}
            done = "".join(f", {count} {name.replace('_', ' ')}" for name, count in counts.items())
            what = f"round {number}" if number > 0 else f"check {-number}"
            lines.append(f"{what}: {len(known.ids)} simulations planned{done}")
        return "\n".join(lines) or "no round was planned yet"

    def simulations(self, round: int | None = None) -> dict[str, np.ndarray]:
        """The simulations of one round, or of all, as arrays.

        Returns:
            `id` (n,), `round` (n,), negative for those of a check, `theta` (n, d), `x` (n, *data shape) with NaN where
            there are none, `status` (n,) as text, `error` (n,), `seconds` (n,), `worker` (n,), `seed` (n,).

        Raises:
            ArgumentError: If the round was never planned.
        """
        with understood(self.name):
            return self._simulations(round)

    def _simulations(self, round: int | None) -> dict[str, np.ndarray]:
        store = Store(self._file)
        numbers = list(store.rounds) if round is None else [round]
        for number in store.rounds.keys() & numbers:
            self._check_size(store.rounds[number])
        parts = [(store.outcomes(number), store.rounds[number]) for number in numbers]
        if not parts:
            raise ArgumentError(f"{self.name} has no simulations: no round was planned yet.")
        x_shape = store.x_shape or (0,)
        names = np.array([status.name.lower() for status in Status])
        columns = [
            {
                "id": known.ids,
                "round": np.full(len(known.ids), known.number),
                "theta": outcomes.theta,
                "x": outcomes.x if outcomes.x_shape else np.full((len(known.ids), *x_shape), np.nan),
                "status": names[outcomes.status],
                "error": outcomes.error,
                "seconds": outcomes.seconds,
                "worker": outcomes.worker,
                "seed": known.seeds,
            }
            for outcomes, known in parts
        ]
        return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}

    def _check_size(self, known: Round) -> None:
        """Refuse a round whose few data, in a stranger's file, would fill the memory with NaN for all the rest."""
        given = int(known.outcomes.has_data.sum())
        if isinstance(self._file, RunFile) and given:
            check_filled(given, len(known.ids), self._file.num_bytes(known.number) // given)

    def to_pandas(self, round: int | None = None) -> pandas.DataFrame:
        """The same as a data frame: one row a simulation, one column a number, `theta[0]`, `x[0]`, `x[0, 1]`.

        Raises:
            MissingError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingError.of("to_pandas", "pandas", "tables") from error

        columns: dict[str, np.ndarray] = {}
        for name, array in self.simulations(round).items():
            places = [()] if array.ndim == 1 else list(np.ndindex(array.shape[1:]))
            flat = array.reshape(len(array), -1)
            for k, place in enumerate(places):
                columns[f"{name}[{', '.join(map(str, place))}]" if place else name] = flat[:, k]
        return pandas.DataFrame(columns).set_index("id")

    def to_xarray(self, round: int | None = None) -> xarray.Dataset:
        """The same as a dataset with dimensions `id`, `parameter`, and `x_0`, `x_1`, ... for the data's axes.

        Raises:
            MissingError: If xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise MissingError.of("to_xarray", "xarray", "tables") from error

        arrays = self.simulations(round)
        axes = ["id", *(f"x_{k}" for k in range(arrays["x"].ndim - 1))]
        dims = {name: ["id"] for name in arrays} | {"theta": ["id", "parameter"], "x": axes}
        texts = {name: array.astype(str) if array.dtype == object else array for name, array in arrays.items()}
        variables = {name: (dims[name], array) for name, array in texts.items() if name != "id"}
        return xarray.Dataset(variables, coords={"id": arrays["id"]})

"""Whether a simulator is still the one whose simulations a store holds: asked when a run is gone on with.

Some stored simulations are run again with their own seeds, for a second at most, and compared. One that takes longer is
repeated only if the code has changed since (`homing.simulation.source`), and that is said before. Where two repeats
differ from each other no seed decides, and the code alone speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from homing.errors import warn
from homing.simulation.keeper import Round, StoreError
from homing.simulation.outcomes import Outcomes
from homing.simulation.run import simulate
from homing.simulation.simulator import Simulator
from homing.simulation.source import digest, looks_noiseless
from homing.simulation.store import Store

FACT, NOISELESS = "simulator digest", "noiseless"
_SECONDS = 1.0  # that repeats may take together
_MOST = 8
_SAME = 1e-4  # relative; another order of summation makes less
_WAYS = (
    "For the new model choose a new file; to go on with this one, bring back the simulator that it was made with. If "
    "it is the same model, and another machine or library gives other numbers, say so once, after making the object: "
    'inference.remember(**{"simulator digest": None}).'
)


class _Stored(NamedTuple):
    """Simulations of a round that can be repeated: rows of it, their data, and the seconds that they took."""

    known: Round
    rows: np.ndarray
    x: np.ndarray
    seconds: float


def check_same_simulator(store: Store, simulator: Simulator, simulating: Mapping[str, Any]) -> None:
    """Refuse a simulator that gives other data than those that are stored.

    Args:
        store: The run's store; where it does not know of what code its simulations are, they are taken as this one's.
        simulator: The simulator.
        simulating: Options of `homing.simulation.simulate`.

    Raises:
        StoreError: If data differ, or nothing can be repeated and the code has changed.
    """
    now, before = digest(simulator.function), store.recall(FACT)
    if before is None:
        store.remember(FACT, now)
        return
    batched = store.recall("batched") if simulator.batched is None else simulator.batched
    stored = _stored(store, simulating["batch_size"] if batched else 1)
    if stored is None:
        store.remember(FACT, now)
        return
    if stored.seconds > _SECONDS:
        if before == now:
            return
        warn(
            f"The code of the simulator {simulator.name} is not what this run file was made with. The quickest of its "
            f"simulations, which took {stored.seconds:.3g} seconds, is repeated to see whether the data are the same."
        )
    decided = simulator.decided(bool(batched))
    again = _again(decided, stored, simulating)
    if not _differs(stored.x, again):
        store.remember(FACT, now)
        return
    unseeded = stored.seconds <= _SECONDS and again.has_data.all() and again.x.shape == stored.x.shape
    if unseeded and _differs(again.x, _again(decided, stored, simulating)):
        if before == now:
            return
        raise StoreError(
            f"The code of the simulator {simulator.name} is not what this run file was made with, and its data cannot "
            f"be compared, since the seed does not decide them. {_WAYS}"
        )
    row = int(np.argmax([_differs(stored.x[k : k + 1], again[k : k + 1]) for k in range(len(stored.rows))]))
    found = again.error[row].strip().splitlines()[-1:] or [np.array2string(again.x[row], threshold=6)]
    raise StoreError(
        f"The simulator {simulator.name} is not the one that this run file was made with: simulation "
        f"{stored.known.ids[stored.rows[row]]} of theta={stored.known.theta[stored.rows[row]].tolist()} gave "
        f"{np.array2string(stored.x[row], threshold=6)}, and with the same seed it now gives {found[0]}. {_WAYS}"
    )


def say_if_noiseless(store: Store, simulator: Simulator | None, simulating: Mapping[str, Any]) -> None:
    """Warn, once in a run's life, of data that another seed does not change, where the code names no random numbers.

    Only the quickest simulation, or batch, is repeated, and none that takes longer than a second.
    """
    if simulator is None or store.recall(NOISELESS) is not None or not looks_noiseless(simulator.function):
        return
    batched = store.recall("batched") if simulator.batched is None else simulator.batched
    stored = _stored(store, simulating["batch_size"] if batched else 1)
    if stored is None or stored.seconds > _SECONDS:
        return
    stored = stored if batched else stored._replace(rows=stored.rows[:1], x=stored.x[:1])
    other = stored._replace(known=replace(stored.known, seeds=stored.known.seeds + 1))
    is_noiseless = not _differs(stored.x, _again(simulator.decided(bool(batched)), other, simulating))
    store.remember(NOISELESS, is_noiseless)
    if is_noiseless:
        warn(
            f"The simulator {simulator.name} is deterministic: another seed gives the same data. Its posterior is as "
            "narrow as the network can learn from so many simulations, and no width of it is exact. If what you "
            "observed has noise, let the simulator add it."
        )


def _stored(store: Store, batch_size: int) -> _Stored | None:
    """Some of a store's simulations with data that this package ran, quick ones; a batch where it takes those."""
    for known in store.rounds.values():
        ran = known.outcomes.has_data & (known.outcomes.worker != "")
        seconds = np.where(ran, known.outcomes.seconds, np.inf)
        if batch_size > 1:
            starts = np.arange(0, len(ran), batch_size)
            whole = np.logical_and.reduceat(ran, starts)
            if not whole.any():
                continue
            start = int(starts[np.argmax(whole)])
            rows = np.arange(start, min(start + batch_size, len(ran)))
        elif ran.any():
            order = np.argsort(seconds, kind="stable")[: int(ran.sum())]
            few = order[: max(int((np.cumsum(seconds[order]) <= _SECONDS).sum()), 1)]
            rows = np.sort(few[np.linspace(0, len(few) - 1, min(_MOST, len(few))).astype(int)])
        else:
            continue
        return _Stored(known, rows, store.outcomes(known.number).x[rows], float(seconds[rows].sum()))
    return None


def _again(simulator: Simulator, stored: _Stored, simulating: Mapping[str, Any]) -> Outcomes:
    workers = 1 if simulating.get("executor") is None else simulating["num_workers"]
    run = simulate(
        simulator,
        stored.known.theta,
        stored.known.seeds,
        rows=stored.rows,
        **{**simulating, "num_workers": workers, "max_failures": len(stored.rows) + 1},
    )
    return run.collect()[stored.rows]


def _differs(x: np.ndarray, again: Outcomes) -> bool:
    if again.x.shape != x.shape or not again.has_data.all():
        return True
    atol = _SAME * 1e-2 * float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0))
    return not np.allclose(again.x, x, rtol=_SAME, atol=atol, equal_nan=True)

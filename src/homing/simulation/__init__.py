"""Running simulators and keeping what they give. Knows nothing of priors, learning or posteriors."""

from homing.simulation.command import Command, command
from homing.simulation.keeper import Result, Round, StoreError
from homing.simulation.outcomes import Outcomes, Status
from homing.simulation.run import Run, simulate
from homing.simulation.simulator import Simulator
from homing.simulation.store import Store, open_store
from homing.simulation.trials import pad_trials
from homing.simulation.view import RunView

__all__ = [
    "Command",
    "Outcomes",
    "Result",
    "Round",
    "Run",
    "RunView",
    "Simulator",
    "Status",
    "Store",
    "StoreError",
    "command",
    "open_store",
    "pad_trials",
    "simulate",
]

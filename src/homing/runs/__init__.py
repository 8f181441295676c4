"""What a run has done: its rounds' records, and a look into its file."""

from homing.runs.opened import OpenedRun, open
from homing.runs.rounds import RoundRecord, Rounds

__all__ = ["OpenedRun", "RoundRecord", "Rounds", "open"]

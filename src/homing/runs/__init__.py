"""What a run has done: its rounds' records, and a look into its file."""

from homing.runs.opened import OpenedRun, open
from homing.runs.rounds import Part, Progress, RoundRecord, Rounds

__all__ = ["OpenedRun", "Part", "Progress", "RoundRecord", "Rounds", "open"]

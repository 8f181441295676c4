"""Inference methods: what a user drives."""

from homing.inference.driver import DriverOptions, Stop
from homing.inference.infer import infer
from homing.inference.opened import OpenedRun, open
from homing.inference.options import TrainOptions
from homing.inference.rounds import RoundRecord, Rounds
from homing.inference.simulating import prepare_for_sbi, simulate_for_sbi
from homing.inference.snpe import SNPE

SNPE_C = APT = NPE = SNPE

__all__ = [
    "APT",
    "NPE",
    "SNPE",
    "SNPE_C",
    "DriverOptions",
    "OpenedRun",
    "RoundRecord",
    "Rounds",
    "Stop",
    "TrainOptions",
    "infer",
    "open",
    "prepare_for_sbi",
    "simulate_for_sbi",
]

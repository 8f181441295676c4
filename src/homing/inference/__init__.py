"""Inference methods: what a user drives."""

from homing.inference.driver import Stop
from homing.inference.infer import infer
from homing.inference.methods import FromLast, Method, Mixture, Truncated
from homing.inference.options import TrainOptions
from homing.inference.sides import SideOptions
from homing.inference.simulating import prepare_for_sbi, simulate_for_sbi
from homing.inference.snpe import SNPE
from homing.runs import OpenedRun, RoundRecord, Rounds, open

SNPE_C = APT = NPE = SNPE

__all__ = [
    "APT",
    "NPE",
    "SNPE",
    "SNPE_C",
    "FromLast",
    "Method",
    "Mixture",
    "OpenedRun",
    "RoundRecord",
    "Rounds",
    "SideOptions",
    "Stop",
    "TrainOptions",
    "Truncated",
    "infer",
    "open",
    "prepare_for_sbi",
    "simulate_for_sbi",
]

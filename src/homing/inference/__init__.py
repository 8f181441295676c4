"""Inference methods: what a user drives."""

from homing.inference.direct import FMPE, NPSE, SNPE_B, TSNPE
from homing.inference.infer import infer
from homing.inference.likelihoods import LikelihoodLearner
from homing.inference.methods import FromLast, Method, Mixture, Truncated
from homing.inference.options import TrainOptions
from homing.inference.plan import Stop
from homing.inference.ratios import RatioLearner
from homing.inference.running import Running
from homing.inference.sides import SideOptions
from homing.inference.simulating import prepare_for_sbi, simulate_for_sbi
from homing.inference.snle import SNLE
from homing.inference.snpe import SNPE
from homing.inference.snpe_a import SNPE_A
from homing.inference.snre import BNRE, SNRE_A, SNRE_B, SNRE_C
from homing.runs import OpenedRun, Progress, RoundRecord, Rounds, open

SNPE_C = APT = NPE = NPE_C = SNPE
NPE_A, NPE_B = SNPE_A, SNPE_B
SNLE_A = NLE = NLE_A = SNLE
AALR = NRE_A = SNRE_A
SNRE = SRE = NRE = NRE_B = SNRE_B
CNRE = NRE_C = SNRE_C

__all__ = [
    "AALR",
    "APT",
    "BNRE",
    "CNRE",
    "FMPE",
    "NLE",
    "NLE_A",
    "NPE",
    "NPE_A",
    "NPE_B",
    "NPE_C",
    "NPSE",
    "NRE",
    "NRE_A",
    "NRE_B",
    "NRE_C",
    "SNLE",
    "SNLE_A",
    "SNPE",
    "SNPE_A",
    "SNPE_B",
    "SNPE_C",
    "SNRE",
    "SNRE_A",
    "SNRE_B",
    "SNRE_C",
    "SRE",
    "TSNPE",
    "FromLast",
    "LikelihoodLearner",
    "Method",
    "Mixture",
    "OpenedRun",
    "Progress",
    "RatioLearner",
    "RoundRecord",
    "Rounds",
    "Running",
    "SideOptions",
    "Stop",
    "TrainOptions",
    "Truncated",
    "infer",
    "open",
    "prepare_for_sbi",
    "simulate_for_sbi",
]

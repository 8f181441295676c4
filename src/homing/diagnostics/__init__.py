"""Whether to believe a posterior: arrays in, a verdict out."""

from homing.diagnostics.audits import (
    check_agreement,
    check_boundary,
    check_disagreement,
    check_sampler,
    check_truncation,
)
from homing.diagnostics.c2st import check_c2st
from homing.diagnostics.coverage import check_coverage
from homing.diagnostics.local_c2st import check_local_c2st
from homing.diagnostics.misspecification import check_misspecification, warn_if_unlike
from homing.diagnostics.pairs import effective_draws
from homing.diagnostics.posterior_sbc import check_posterior_sbc
from homing.diagnostics.predictive import Predictive, check_predictive, fit_predictive
from homing.diagnostics.ranks import check_ranks, sbc_ranks
from homing.diagnostics.shrinkage import check_shrinkage, check_z_scores
from homing.diagnostics.tarp import check_tarp
from homing.diagnostics.verdict import Check, Verdict

__all__ = [
    "Check",
    "Predictive",
    "Verdict",
    "check_agreement",
    "check_boundary",
    "check_c2st",
    "check_coverage",
    "check_disagreement",
    "check_local_c2st",
    "check_misspecification",
    "check_posterior_sbc",
    "check_predictive",
    "check_ranks",
    "check_sampler",
    "check_shrinkage",
    "check_tarp",
    "check_truncation",
    "check_z_scores",
    "effective_draws",
    "fit_predictive",
    "sbc_ranks",
    "warn_if_unlike",
]

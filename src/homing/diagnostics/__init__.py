"""Whether to believe a posterior: arrays in, a verdict out."""

from homing.diagnostics.verdict import Check, Verdict

__all__ = ["Check", "Verdict"]

"""Proposals as JSON and arrays: what a run file says that a round was drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from homing.errors import ArgumentError
from homing.posteriors import restore
from homing.posteriors.serialize import NotStorable, Packed, pack, unpack
from homing.priors import Prior
from homing.proposals.proposal import FromDensity, FromPosterior, FromPrior, Proposal


def pack_proposal(proposal: Proposal) -> Packed:
    """A proposal by its name and, for one that can be made again from a file, all it consists of."""
    parts: Any = None
    if isinstance(proposal, FromPosterior):
        parts = {"posterior": {**proposal.posterior.parts, "predicted": None}, "x": proposal.x}  # not drawn from
    elif isinstance(proposal, FromDensity):
        parts = {"density": proposal.density}
    try:
        packed = pack(parts)
    except NotStorable:
        packed = Packed(None, {})
    return Packed({"name": proposal.name, "parts": packed.tree}, packed.arrays)


def unpack_proposal(packed: Packed, prior: Prior, embedding_net: Any = None) -> Proposal:
    """The proposal that was packed.

    Raises:
        ArgumentError: If it cannot be made again from what was stored.
    """
    name, parts = packed.tree["name"], packed.tree["parts"]
    if name == FromPrior.name:
        return FromPrior(prior)
    if parts is None:
        raise ArgumentError(
            f"A {name} proposal of this run cannot be made again from the file alone: run the lines again that made "
            "it. What it learned is there by homing.open."
        )
    values = unpack(Packed(parts, packed.arrays), prior, embedding_net)
    if name == FromPosterior.name:
        return FromPosterior(restore(values["posterior"]), values["x"])
    return FromDensity(values["density"], prior)


def proposal_differences(kept: Packed, given: Packed) -> str:
    """What makes two packed proposals different ones, as the end of a sentence; empty if nothing does."""
    if kept.tree["name"] != given.tree["name"]:
        return f"it was drawn from the {kept.tree['name']}, now the proposal is the {given.tree['name']}"
    if kept.tree["parts"] is None or given.tree["parts"] is None:
        return ""
    at_x = kept.arrays.get("x"), given.arrays.get("x")
    if not _equal(*at_x):
        return f"it was drawn from the posterior at x={_brief(at_x[0])}, now it is the one at x={_brief(at_x[1])}"
    if kept.tree["parts"] != given.tree["parts"] or not _all_equal(kept.arrays, given.arrays):
        return f"it was drawn from another {kept.tree['name']} than the one given now"
    return ""


def _all_equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))


def _brief(x: np.ndarray | None) -> str:
    return "nothing" if x is None else np.array2string(x, threshold=6, edgeitems=2, separator=", ")

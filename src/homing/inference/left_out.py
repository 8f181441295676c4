"""Ranks of rows that a member of the ensemble was not trained on: calibration near x_o that costs no simulation.

Each member holds out its own part of the rows, to stop its training by. There its density is ranked like any posterior:
among draws cut to the region that the rows were drawn from, as if from the prior. Rows of other proposals are thinned
to that: each stays with a probability in proportion to what it counts for (`homing.proposals.mixture_weights`). Of
these the ones whose data are nearest to x_o are looked at: a choice by data leaves ranks uniform.

One member alone is judged, and the ensemble is wider than any of its members: so this never says "do not believe".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homing import random
from homing.diagnostics import Verdict, check_ranks, sbc_ranks
from homing.inference.campaign import Campaign
from homing.inference.failing import least_rows
from homing.inference.learner import order_of, windows
from homing.inference.methods import Method
from homing.inference.plan import why_uncut
from homing.posteriors import DirectPosterior, ensemble_at_each
from homing.proposals import Region, mixture_weights

_DRAWS = 512
_LEAST = 30  # rows
_NEAR = 0.5  # share of the rows that counts as near x_o, and
_LEAST_NEAR = 100  # so many at least


def check_left_out(
    campaign: Campaign, direct: DirectPosterior, method: Method | None, x_o: np.ndarray, region: Region | None
) -> Verdict | None:
    """Whether left-out rows rank as they should.

    Args:
        campaign: The simulations.
        direct: What was learned from all of them, by the method.
        method: What the rows were weighed by; None for rounds driven by hand, whose rows for validation never change.
        x_o: The observation, shape x_shape.
        region: What the last round's proposal was cut to, if it was.

    Returns:
        The verdict, as of `homing.diagnostics.check_ranks`; None of fewer than 30 rows.
    """
    data = campaign.dataset(0.1)
    held_out = data.is_validation[None]
    weights = mixture_weights(data.theta, data.source, data.proposals)
    z = campaign.prior.to_normal(data.theta)
    if method is not None:
        used = method.weigh(data) > 0
        held_out = np.zeros((len(direct.ensemble.members), len(used)), bool)
        held_out[:, used] = windows(order_of(campaign.seed, len(used))[used], len(held_out))
    if region is not None:
        weights = weights * region.contains(z)
    weights = weights * held_out.any(0)
    rng = random.generator(campaign.seed, "left out")
    rows = np.flatnonzero(rng.random(len(weights)) < weights / max(weights.max(initial=0.0), 1e-300))
    if len(rows) < _LEAST:
        return None
    seen, at = direct.ensemble.predict(data.x[rows]), direct.ensemble.predict(x_o[None])
    nearest = np.argsort(((seen - at) ** 2).sum(1))[: max(_LEAST_NEAR, round(_NEAR * len(rows)))]
    rows = np.sort(rows[nearest])
    member = held_out[:, rows].argmax(0)
    ranks = np.zeros((len(rows), campaign.prior.dim), int)
    for m in range(len(held_out)):
        mine = rows[member == m]
        if len(mine):
            ensemble = direct.ensemble.member(m)
            drawn = ensemble_at_each(ensemble, data.x[mine], _DRAWS, random.word(campaign.seed, "left out", m)).z
            pool = np.concatenate([z[mine][:, None], drawn], axis=1)
            inside = np.ones(pool.shape[:2], bool) if region is None else contained(region, pool)
            inside[:, 0] = True
            log_weights = np.where(inside, 0.0, -np.inf)
            theta = np.stack([campaign.prior.from_normal(part) for part in drawn])
            ranks[member == m] = sbc_ranks(data.theta[mine], theta, log_weights=log_weights, seed=m)
    verdict = check_ranks(ranks, _DRAWS, name="left-out rows")
    found = f"{verdict.sentence[0].lower()}{verdict.sentence[1:]}"
    sentence = f"Of rows near x_o, by the members that were not trained on them: {found}"
    return replace(verdict, level="care" if verdict.level == "fail" else verdict.level, sentence=sentence)


def check_rows(campaign: Campaign) -> Verdict | None:
    """Whether the last round learned enough for its posterior to be one; None if it did.

    Args:
        campaign: The simulations that were learned from.
    """
    record, dim = campaign.records[campaign.newest], campaign.prior.dim
    used = record.valid if record.used is None else record.used
    why = record.uncut or why_uncut(used, dim, None, None, 1)
    found = f"The posterior says little of x_o: {why}."
    return Verdict("training rows", "fail", float(used), None, used, float(least_rows(dim)), found) if why else None


def contained(region: Region, z: np.ndarray) -> np.ndarray:
    """Whether each of z, shape (n, k, d), lies in a region; shape (n, k)."""
    return region.contains(z.reshape(-1, z.shape[2])).reshape(z.shape[:2])

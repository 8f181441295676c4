r"""Whether to believe the posterior of a run, at its x_o: the sensible set of diagnostics, for a budget of simulations.

A sequential posterior need be good about x_o only, so it is looked at there. Half of the simulations are \(\theta' \sim
p(\theta \mid R)\), \(x' \sim p(x \mid \theta')\), with the prior cut to the region R of highest density that holds 95 %
of the posterior at x_o, and \(\theta'\) is compared with draws of \(q(\theta \mid x')\) cut to R: coverage, ranks,
TARP, and L-C2ST at x_o, all of which are right for pairs of a truncated prior (Deistler et al.). R lies well
within the region that the last round was cut to. At the very edge of that, a density learned within it would have to
end abruptly, which no flow does, and which does not matter at x_o. The other half are \(\theta' \sim q(\theta \mid
x_o)\): posterior SBC, about x_o alone (Säilynoja et al.), and data to compare x_o with. Both halves are truths before
draws that are as good, so both count for the z-scores. Without an x_o all are from the whole prior.

At an x_o of several independent trials a pair is a set of as many trials, and costs as many simulations. All of them go
into posterior SBC: \(\theta' \sim q(\theta \mid x_o)\) and as many trials of \(p(x \mid \theta')\) as x_o has.

Where drawing at a new x is costly, draws of the direct side stand for the posterior's, with weights.

Sources: Deistler, Goncalves, Macke, *Truncated proposals for scalable and hassle-free simulation-based inference*,
    2022, https://arxiv.org/abs/2210.04815; Säilynoja, Schmitt, Bürkner, Vehtari, *Posterior SBC: Simulation-Based
    Calibration Checking Conditional on Data*, 2025, https://arxiv.org/abs/2502.03279.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from homing import random
from homing.diagnostics import (
    Check,
    Verdict,
    check_coverage,
    check_local_c2st,
    check_posterior_sbc,
    check_predictive,
    check_ranks,
    check_tarp,
    check_truncation,
    check_z_scores,
    effective_draws,
    sbc_ranks,
)
from homing.diagnostics.pairs import normalised
from homing.diagnostics.predictive import LEAST_ROWS
from homing.diagnostics.verdict import attempt
from homing.errors import ArgumentError
from homing.inference.apart import Apart
from homing.inference.campaign import Campaign
from homing.inference.left_out import check_left_out, check_rows, contained
from homing.inference.methods import Method
from homing.posteriors import DirectPosterior, HybridPosterior, Posterior, SampledPosterior, identity
from homing.proposals import (
    FromPosterior,
    FromPrior,
    Proposal,
    Region,
    TruncatedPrior,
    mixture_weights,
    posterior_region,
)

_DRAWS = 512  # of the posterior, at each of the data
_FEW_DRAWS = 100  # of these, where all must weigh the same
_AT_X_O = 2048
_LEAST_PAIRS = 10
_LEAST_DISTINCT = 0.5  # share of the parameters that were simulated with
_LEAST_EFFECTIVE = 50.0  # draws, for equal ones to be made of them
_FEWEST_EFFECTIVE = 5.0  # draws, for ranks among them to tell anything
_EPSILON = 0.05  # share of the posterior that the region leaves out
_LARGEST = 1e30  # of a log density
_LIKE_X_O = 0.05  # share of the region's rows whose data count as like x_o


def check_run(
    campaign: Campaign,
    apart: Apart,
    posterior: Posterior,
    method: Method | None,
    learned_last: bool,
    num_simulations: int,
) -> Check:
    """The verdicts on a posterior, at its default x if it has one.

    Args:
        campaign: The simulations that it was learned from.
        apart: The simulations for checks.
        posterior: The posterior.
        method: How rows were weighed; None for rounds driven by hand.
        learned_last: Whether the posterior is what the campaign learned last: of another one nobody knows which rows
            it left out.
        num_simulations: How many simulations to spend, failed ones included; none if 0.
    """
    x_o = None if posterior.default_x is None else posterior.condition_of()
    if num_simulations:
        apart.check_simulator()
    if x_o is not None and x_o.shape != posterior.x_shape:
        return _of_trials(campaign, apart, posterior, x_o, num_simulations)
    seed = random.word(campaign.seed, "check", campaign.newest, apart.count)
    verdicts = [] if x_o is None else list(posterior.check())
    if x_o is not None:
        _from_rows(verdicts, campaign, posterior, method, learned_last, x_o)
    pools = _simulated(verdicts, campaign, apart, posterior, x_o, num_simulations, seed)
    attempt(verdicts, "z-scores", lambda: _z_scores(pools, seed))
    if pools and all(pool is None for pool in pools):
        found = f"too few of {num_simulations} simulations can be compared with, {_LEAST_PAIRS} pairs are needed"
        verdicts.append(_not_calibrated(found))
    check = Check(tuple(verdicts), num_simulations)
    apart.keep(check)
    return check


def _simulated(
    verdicts: list[Verdict],
    campaign: Campaign,
    apart: Apart,
    posterior: Posterior,
    x_o: np.ndarray | None,
    num_simulations: int,
    seed: int,
) -> list[_Pool | None]:
    """Simulate both halves, and add what they tell; returns what can be compared of each."""
    of = identity(posterior, x_o)
    about = 0 if x_o is None else num_simulations // 2
    pools: list[_Pool | None] = []

    def near() -> list[Verdict]:
        pools.append(None)
        proposal = _where(campaign, posterior, x_o, seed)
        region = proposal.region if isinstance(proposal, TruncatedPrior) else None
        theta, x = _distinct(*apart.simulate(num_simulations - about, proposal, of))
        pools[-1] = _pool_near(posterior, region, theta, x, seed)
        return _near(posterior, x_o, region, pools[-1], seed)

    def beside(x_o: np.ndarray) -> list[Verdict]:
        pools.append(None)
        theta, x = _distinct(*apart.simulate(about, FromPosterior(posterior, x_o), of))
        found: list[Verdict] = []
        attempt(found, "predictive", lambda: check_predictive(x_o, x) if len(x) >= LEAST_ROWS else None)
        attempt(found, "posterior SBC", lambda: _sbc_about(theta, x))
        return found

    def _sbc_about(theta: np.ndarray, x: np.ndarray) -> list[Verdict]:
        assert x_o is not None
        pools[-1] = _pool_about(posterior, x_o, _last_region(campaign), theta, x, seed)
        return [] if pools[-1] is None else [_posterior_sbc(pools[-1], seed)]

    if num_simulations:
        attempt(verdicts, "calibration", near)
    if x_o is not None and about:
        attempt(verdicts, "calibration about x_o", lambda: beside(x_o))
    return pools


def _distinct(theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of parameters that are not repeated: no p-value is of more pairs than there are.

    Raises:
        ArgumentError: If most are repeated.
    """
    rows = np.sort(np.unique(theta, axis=0, return_index=True)[1])
    if len(rows) < _LEAST_DISTINCT * len(theta):
        raise ArgumentError(
            f"{len(rows)} of the {len(theta)} parameters that were simulated with are distinct, and pairs of one "
            "parameter do not count twice"
        )
    return theta[rows], x[rows]


def _of_trials(campaign: Campaign, apart: Apart, posterior: Posterior, x_o: np.ndarray, asked: int) -> Check:
    """The verdicts at an x_o of several trials: about it, by sets of as many."""
    verdicts, num_trials, num = list(posterior.check()), len(x_o), asked // len(x_o)
    seed = random.word(campaign.seed, "check", campaign.newest, apart.count)
    if num < _LEAST_PAIRS:
        if asked:
            needed = f"{_LEAST_PAIRS} sets of as many take {_LEAST_PAIRS * num_trials} simulations"
            verdicts.append(_not_calibrated(f"nothing was simulated: x_o is {num_trials} trials, and {needed}"))
        return Check(tuple(verdicts))

    def by_sets() -> list[Verdict]:
        proposal = FromPosterior(posterior, x_o)
        theta, x = _distinct(*apart.simulate_sets(num, num_trials, proposal, identity(posterior, x_o)))
        pool = _pool_about(posterior, x_o, _last_region(campaign), theta, x, seed)
        if pool is None:
            return [_not_calibrated(f"{len(theta)} of {num} sets can be used, and {_LEAST_PAIRS} are needed")]
        found: list[Verdict] = []
        attempt(found, "posterior SBC", lambda: _posterior_sbc(pool, seed))
        attempt(found, "z-scores", lambda: _z_scores([pool], seed))
        start = f"By sets of {num_trials} trials, "
        return [replace(v, sentence=f"{start}{v.sentence[0].lower()}{v.sentence[1:]}") for v in found]

    attempt(verdicts, "calibration", by_sets)
    check = Check(tuple(verdicts), num * num_trials)
    apart.keep(check)
    return check


def _not_calibrated(why: str) -> Verdict:
    return Verdict("calibration", "care", 0.0, None, 0, None, f"Calibration was not looked at: {why}.")


def direct_side(posterior: Posterior) -> DirectPosterior | None:
    """The density of theta that a posterior has, if it has one."""
    if isinstance(posterior, HybridPosterior):
        return posterior.direct
    return posterior if isinstance(posterior, DirectPosterior) else None


def _where(campaign: Campaign, posterior: Posterior, x_o: np.ndarray | None, seed: int) -> Proposal:
    """The prior, cut to where most of the posterior is, within what it was learned from."""
    last = _last_region(campaign)
    if x_o is None:
        return FromPrior(posterior.prior)
    region = posterior_region(posterior, _EPSILON, seed)
    if last is not None and last.contains(region.draws).mean() > 0.5:  # or it is not of this run
        whole = region.log_ratio
        region = replace(region, log_ratio=lambda z: np.where(last.contains(z), whole(z), -np.inf))
    return TruncatedPrior(posterior.prior, region)


def _last_region(campaign: Campaign) -> Region | None:
    """What the last round's prior was cut to, if it was."""
    last = campaign.proposals.get(campaign.newest)
    return last.region if isinstance(last, TruncatedPrior) else None


def _from_rows(
    verdicts: list[Verdict],
    campaign: Campaign,
    posterior: Posterior,
    method: Method | None,
    learned_last: bool,
    x_o: np.ndarray,
) -> None:
    """Add what the simulations tell that there are."""
    direct = direct_side(posterior)
    if direct is None or not campaign.newest or campaign.records[campaign.newest].rolled_back:
        return  # after a round that was not used, its rows are not those that were learned from
    region = _last_region(campaign)
    if learned_last:
        attempt(verdicts, "training rows", lambda: check_rows(campaign))
    counts = not isinstance(posterior, HybridPosterior) or posterior.share > 0
    if learned_last and counts:
        attempt(verdicts, "left-out rows", lambda: check_left_out(campaign, direct, method, x_o, region))
    if region is not None:
        attempt(verdicts, "truncation", lambda: _truncation(campaign, direct, x_o, region))


def _truncation(campaign: Campaign, direct: DirectPosterior, x_o: np.ndarray, region: Region) -> Verdict:
    """Whether rows from outside the region have data like x_o: nearer than most from inside, in what they predict too.

    A row from outside was drawn by earlier rounds, or from the whole prior, and so stands for more of the prior.
    """
    data = campaign.dataset(0.1)
    weights = mixture_weights(data.theta, data.source, data.proposals)
    inside = region.contains(direct.prior.to_normal(data.theta))
    like = np.ones(len(inside), bool)
    rows = np.concatenate([x_o[None], data.x])
    for seen in (direct.ensemble.predict(rows), direct.ensemble.standardize(rows).reshape(len(rows), -1)):
        distance = ((seen[1:] - seen[0]) ** 2).mean(1)
        like &= distance < np.quantile(distance[inside], _LIKE_X_O) if inside.any() else False
    counts = int((like & inside).sum()), int((like & ~inside).sum())
    weight = float(weights[like & ~inside].mean() / weights[inside].mean()) if counts[1] else 1.0
    draws = direct.ensemble.sample(_AT_X_O, x_o, random.word(campaign.seed, "truncation"))
    return check_truncation(*counts, weight, float((~region.contains(draws)).mean()))


class _Pool(NamedTuple):
    """Truths, each before draws at its data: z (n, 1 + S, d), theta likewise, log weights and density (n, 1 + S)."""

    z: np.ndarray
    theta: np.ndarray
    log_weights: np.ndarray
    log_prob: np.ndarray


def _pool_near(
    posterior: Posterior, region: Region | None, theta: np.ndarray, x: np.ndarray, seed: int
) -> _Pool | None:
    """Parameters from within the region, before draws of the posterior at their data, cut to it."""
    if len(theta) < _LEAST_PAIRS:
        return None
    conditionals = posterior.at_each(x, _DRAWS, random.word(seed, "pool"))
    z = np.concatenate([posterior.prior.to_normal(theta)[:, None], conditionals.z], axis=1)
    log_prob, log_proposal = map(_finite, conditionals.density(z))
    theta = _from_normal(posterior, z)
    log_det = np.stack([posterior.prior.log_det(part) for part in theta])
    return _Pool(z, theta, np.where(_inside(region, z), log_prob - log_proposal, -np.inf), log_prob + log_det)


def _pool_about(
    posterior: Posterior, x_o: np.ndarray, region: Region | None, theta: np.ndarray, x: np.ndarray, seed: int
) -> _Pool | None:
    """Draws of the posterior at x_o, before further ones, which are weighted to the posterior given their data too.

    x (n, *x_shape), or (n, num_trials, *x_shape) of sets of trials.
    """
    prior = posterior.prior
    truths = prior.to_normal(theta)
    kept = np.ones(len(truths), bool) if region is None else region.contains(truths)
    if kept.sum() < _LEAST_PAIRS:
        return None
    truths, x = truths[kept], x[kept]
    size = 8 * max(_DRAWS, len(truths))  # enough for what they share not to show in their ranks
    bank = prior.to_normal(posterior.draw(size, x_o, random.word(seed, "bank"), False))
    bank = bank[~np.isin(bank[:, 0], truths[:, 0])]  # no truth is among the draws that it is compared with
    if len(bank) < 2 * _DRAWS:
        return None
    rng = random.generator(seed, "bank")
    chosen = np.stack([rng.choice(len(bank), _DRAWS, replace=False, shuffle=False) for _ in truths])
    z = np.concatenate([truths[:, None], bank[chosen]], axis=1)
    told = _told_by(posterior, z, x, seed)
    return _Pool(z, _from_normal(posterior, z), np.where(_inside(region, z), told, -np.inf), told)


def _told_by(posterior: Posterior, z: np.ndarray, x: np.ndarray, seed: int) -> np.ndarray:
    """What each of x adds to the log density of its z (n, k, d), up to a constant of each row; (n, k).

    A likelihood is that itself; of other posteriors it is their density at x over the prior's.
    """
    if isinstance(posterior, SampledPosterior):
        return _finite(posterior.log_likelihood(z, x))
    log_prob = _finite(posterior.at_each(x, _DRAWS, random.word(seed, "more")).density(z)[0])
    return log_prob - np.stack([posterior.prior.log_prob_normal(part) for part in z])


def _from_normal(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    return np.stack([posterior.prior.from_normal(part) for part in z])


def _finite(values: np.ndarray) -> np.ndarray:
    """Log densities of which the lowest are very low, and not NaN: a truth may be where a density is zero."""
    return np.nan_to_num(values, nan=-_LARGEST, neginf=-_LARGEST, posinf=_LARGEST)


def _inside(region: Region | None, pool: np.ndarray) -> np.ndarray:
    """Which of a pool lie in the region, shape (n, 1 + S); the truths always do, whatever rounding says."""
    inside = np.ones(pool.shape[:2], bool) if region is None else contained(region, pool)
    inside[:, 0] = True
    return inside


def _near(
    posterior: Posterior, x_o: np.ndarray | None, region: Region | None, pool: _Pool | None, seed: int
) -> list[Verdict]:
    """Calibration within the region, by pairs of parameters drawn there and their data."""
    if pool is None:
        return []
    log_prob, weights = pool.log_prob, pool.log_weights
    verdicts: list[Verdict] = []
    effective = float(effective_draws(weights).mean())
    if effective < _FEWEST_EFFECTIVE:
        why = f"{effective:.0f} of {_DRAWS} draws at each of {len(weights)} data count"
        return [_not_calibrated(f"the posterior at data like x_o is elsewhere than what made them, {why}")]
    attempt(
        verdicts, "coverage", lambda: check_coverage(log_prob[:, 0], log_prob[:, 1:], log_weights=weights, seed=seed)
    )
    attempt(verdicts, "ranks", lambda: _ranks(pool, seed))
    attempt(verdicts, "TARP", lambda: check_tarp(pool.z[:, 0], pool.z[:, 1:], log_weights=weights, seed=seed))
    if x_o is not None:
        attempt(verdicts, "L-C2ST", lambda: _at_x_o(posterior, x_o, region, pool, seed))
    return verdicts


def _ranks(pool: _Pool, seed: int) -> Verdict:
    ranks = sbc_ranks(pool.theta[:, 0], pool.theta[:, 1:], log_weights=pool.log_weights, seed=seed)
    return check_ranks(ranks, _DRAWS)


def _at_x_o(posterior: Posterior, x_o: np.ndarray, region: Region | None, pool: _Pool, seed: int) -> list[Verdict]:
    """L-C2ST, with the posterior's mean in place of the data: few numbers, and what the posterior makes of them."""
    weights = pool.log_weights[:, 1:]
    rows = np.flatnonzero(np.isfinite(weights).any(1))
    rows = rows[effective_draws(weights[rows]) >= _LEAST_EFFECTIVE]
    at_x_o = posterior.prior.to_normal(posterior.draw(_AT_X_O, x_o, random.word(seed, "x_o"), False))
    at_x_o = at_x_o if region is None else at_x_o[region.contains(at_x_o)]
    if len(rows) < _LEAST_PAIRS or len(at_x_o) < _LEAST_EFFECTIVE:
        return []
    rng = random.generator(seed, "equal")
    chosen = [rng.choice(_DRAWS, _FEW_DRAWS, p=row) for row in normalised(weights[rows])]
    draws = np.stack([part[few] for part, few in zip(pool.z[rows, 1:], chosen)])
    verdict = check_local_c2st(pool.z[rows, 0], draws, draws.mean(1), at_x_o, at_x_o.mean(0), seed=seed)
    shown = {**verdict.curves, "theta": posterior.prior.from_normal(at_x_o)}  # pictures are of parameters, not of z
    return [replace(verdict, curves=shown)]


def _posterior_sbc(pool: _Pool, seed: int) -> Verdict:
    return check_posterior_sbc(pool.theta[:, 0], pool.theta[:, 1:], pool.log_weights, seed=seed)


def _z_scores(pools: list[_Pool | None], seed: int) -> list[Verdict]:
    """By all the truths there are, each before draws at its own data."""
    made = [pool for pool in pools if pool is not None]
    if not made:
        return []
    z, log_weights = (np.concatenate(parts) for parts in zip(*((pool.z, pool.log_weights) for pool in made)))
    return [check_z_scores(z[:, 0], z[:, 1:], log_weights=log_weights, seed=seed)]

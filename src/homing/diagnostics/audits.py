r"""Audits: what a posterior tells of itself without a simulation, as verdicts.

They have no p-value: each compares a number with one beyond which it is known to be a sign of trouble.

Sources: Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, 2024,
    https://arxiv.org/abs/1507.02646 (k̂); Vehtari, Gelman, Simpson, Carpenter, Bürkner, *Rank-normalization, folding,
    and localization: an improved R̂*, 2021, https://arxiv.org/abs/1903.08008; Deistler, Goncalves, Macke, *Truncated
    proposals for scalable and hassle-free simulation-based inference*, 2022, https://arxiv.org/abs/2210.04815 (bounds,
    and what a truncation may lose).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc

from homing.diagnostics.verdict import Level, Verdict, level_of, share_interval

_MOST_KHAT, _WRONG_KHAT = 0.7, 1.0
_MOST_RHAT, _WRONG_RHAT = 1.05, 1.2
_LEAST_DRAWS, _TOO_FEW_DRAWS = 400, 40
_MOST_DRIFT = 4.0  # standard errors, of which those of some parameters are the largest
_MOST_DIVERGENCES = 0.01  # for each draw
_LEAST_EFFECTIVE, _LESS_EFFECTIVE = 0.1, 0.25  # the second where k̂ is larger
_MOST_DISAGREEMENT = 0.3  # of log M, what a draw can tell at most about which member it is of
_MOST_LOST = 0.01  # of the posterior, beyond a region, by simulations, and
_MOST_OUTSIDE = 0.05  # by its own draws


def check_agreement(effective: float, khat: float, num_draws: int) -> Verdict:
    """Whether a density of theta and a likelihood, learned from the same simulations, agree at x_o.

    Args:
        effective: The effective share of importance weights from one to the other.
        khat: The Pareto shape of the same weights.
        num_draws: How many weights.

    Returns:
        The verdict; its statistic is the effective share. It takes care if that is below a tenth, or below a quarter
        with k̂ above 0.7, where it is less certain.

    Example:
        >>> check_agreement(0.02, 0.9, 1000).sentence
        'Posterior and likelihood, learned apart, agree in 2% of their draws only (k̂ = 0.90): one of them is wrong.'
    """
    good = effective >= (_LESS_EFFECTIVE if khat > _MOST_KHAT else _LEAST_EFFECTIVE)
    agree = f"Posterior and likelihood, learned apart, agree in {effective:.0%} of their draws"
    sentence = f"{agree} (k̂ = {khat:.2f})." if good else f"{agree} only (k̂ = {khat:.2f}): one of them is wrong."
    return Verdict("two sides", "pass" if good else "care", effective, None, num_draws, None, sentence)


def check_disagreement(nats: float, members: int, num_draws: int) -> Verdict:
    """Whether an ensemble's members agree at x_o.

    Args:
        nats: How much a draw tells about which member it is of: zero if they agree, log M at most.
        members: M.
        num_draws: How many draws that is from.

    Returns:
        The verdict; its statistic is `nats`. It takes care above three tenths of log M.

    Example:
        >>> check_disagreement(1.0, 4, 2048).sentence
        'The 4 members of the ensemble disagree, by 1 of at most 1.4 nats: there are too few simulations for them.'
    """
    most = np.log(members)
    good = nats <= _MOST_DISAGREEMENT * most
    sentence = f"The {members} members of the ensemble agree, to {nats:.2g} of at most {most:.2g} nats."
    if not good:
        sentence = (
            f"The {members} members of the ensemble disagree, by {nats:.2g} of at most {most:.2g} nats: there are too "
            "few simulations for them."
        )
    return Verdict("members", "pass" if good else "care", nats, None, num_draws, None, sentence)


def check_sampler(
    rhat: float = np.nan,
    khat: float = np.nan,
    num_draws: int = 0,
    effective: float = np.nan,
    divergences: float = 0.0,
    drift: float = np.nan,
) -> Verdict:
    """Whether the draws at x_o are those of what was learned, by what their sampler reports of itself.

    Args:
        rhat: R-hat of the chains, the worst over parameters; NaN if there are none.
        khat: The Pareto shape of the importance weights; NaN if there are none.
        num_draws: How many draws.
        effective: How many independent draws they are worth; NaN if that is not known.
        divergences: Trajectories of NUTS or HMC that diverged.
        drift: By how many standard errors the last moves of particles still changed them; NaN if there are none.

    Returns:
        The verdict; its statistic is the first that is known of `rhat`, `khat` and `effective`. It takes care above an
        R-hat of 1.05 or a shape of 0.7, and fails above 1.2 or 1; it takes care below 400 effective draws, and fails
        below 40; and it takes care of a drift above 4, or if there are more divergences than a hundredth of the draws.

    Example:
        >>> check_sampler(2.0, float("nan"), 1000).sentence
        'The chains that drew the posterior disagree (R-hat 2): the draws are not yet those of what was learned.'
    """
    diverge = divergences > _MOST_DIVERGENCES * num_draws
    care = rhat > _MOST_RHAT or khat > _MOST_KHAT or effective < _LEAST_DRAWS or drift > _MOST_DRIFT or diverge
    level: Level = "care" if care else "pass"
    if rhat > _WRONG_RHAT or khat > _WRONG_KHAT or effective < _TOO_FEW_DRAWS:
        level = "fail"
    sentence = "By what the sampler reports, the draws are those of what was learned."
    if rhat > _MOST_RHAT:
        sentence = (
            f"The chains that drew the posterior disagree (R-hat {rhat:.3g}): the draws are not yet those of what was "
            "learned."
        )
    elif khat > _MOST_KHAT:
        sentence = (
            f"A few of the sampler's proposals carry all the weight (Pareto shape {khat:.3g}): the draws may not be "
            "those of what was learned."
        )
    elif effective < _LEAST_DRAWS:
        sentence = f"The {num_draws} draws of the posterior are worth {effective:.3g} independent ones: they are few."
    elif drift > _MOST_DRIFT:
        sentence = (
            f"Further moves of the sampler still change its draws, by {drift:.3g} standard errors: they are not yet "
            "those of what was learned."
        )
    elif diverge:
        sentence = f"{divergences:.0f} trajectories of the chains diverged: where they did, draws of it are missing."
    statistic = next((value for value in (rhat, khat, effective) if not np.isnan(value)), np.nan)
    return Verdict("sampler", level, statistic, None, num_draws, None, sentence)


def check_boundary(mass: float, where: str, num_draws: int) -> Verdict:
    """Whether mass is piled up at a bound of the prior.

    Args:
        mass: The largest share of draws in the outermost half percent of the prior at a finite bound.
        where: What to call the bound where mass is piled up; empty if it is nowhere.
        num_draws: How many draws.

    Returns:
        The verdict; its statistic is `mass`. It takes care if `where` says so.

    Example:
        >>> check_boundary(0.1, "theta[0] at its lower bound", 1000).sentence
        '10.0% of the posterior is piled up within the outermost 0.5 % of the prior, for theta[0] at its lower bound.'
    """
    sentence = "No mass is piled up at the prior's bounds."
    if where:
        sentence = f"{mass:.1%} of the posterior is piled up within the outermost 0.5 % of the prior, for {where}."
    return Verdict("bounds", "care" if where else "pass", mass, None, num_draws, None, sentence)


def check_truncation(num_inside: int, num_outside: int, weight: float, outside: float) -> Verdict:
    """Whether a truncated prior lost part of the posterior.

    Args:
        num_inside: Simulations from within the region whose data are like x_o.
        num_outside: Simulations from outside it whose data are.
        weight: What one of those outside counts for, where one inside counts for one, so that all are as if drawn from
            the prior.
        outside: The share of the posterior's own draws that lie outside the region.

    Returns:
        The verdict; its statistic is the share of the posterior that the simulations place outside the region. The
        p-value is that of a loss of one percent. It takes care if the p-value is small, or the posterior has more than
        a twentieth there itself.

    Example:
        >>> check_truncation(40, 3, 10.0, 0.0).sentence  # doctest: +ELLIPSIS
        '3 simulations like x_o from outside ... beside 40 from within, place 43% (13 to 70%) of the posterior outside.'
    """
    total = num_inside + weight * num_outside
    lost = weight * num_outside / max(total, 1e-12)
    expected = _MOST_LOST / (1 - _MOST_LOST) * num_inside / max(weight, 1e-12)
    p = 1.0 if num_outside == 0 else float(gammainc(num_outside, max(expected, 1e-300)))  # of a Poisson number
    level = level_of(p, large=np.inf)
    sentence = "The region that the last round was cut to lost nothing that simulations show."
    if level != "pass":
        odds = [
            weight * share / max(1 - share, 1e-12) for share in share_interval(num_outside, num_inside + num_outside)
        ]
        low, high = (value / (1 + value) for value in odds)
        sentence = (
            f"{num_outside} simulations like x_o from outside the region that the last round was cut to, beside "
            f"{num_inside} from within, place {lost:.0%} ({100 * low:.0f} to {high:.0%}) of the posterior outside."
        )
    elif outside > _MOST_OUTSIDE:
        level = "care"
        sentence = f"{outside:.1%} of the posterior lie outside the region that the last round was cut to."
    return Verdict("truncation", level, lost, p, num_inside + num_outside, None, sentence)

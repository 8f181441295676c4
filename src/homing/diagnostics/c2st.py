"""C2ST: can a classifier tell two samples apart?

If the samples are from one distribution, no classifier gets more than half of new rows right. The accuracy is that on
rows it did not see, in five parts; the p-value is from permuted labels, which makes it exact. For draws of a posterior
against draws of a reference, where there is one.

Published tables train a neural network (0.5 is perfect, 1 useless); this classifier is smoother and reads lower where
two distributions differ in fine detail (`homing.diagnostics.classifier`).

Source: Lopez-Paz, Oquab, *Revisiting Classifier Two-Sample Tests*, 2017, https://arxiv.org/abs/1610.06545.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.diagnostics.classifier import (
    PERMUTATIONS,
    Classifiers,
    comparison,
    features_for,
    permutation_p_value,
    permutation_resolution,
)
from homing.diagnostics.pairs import as_floats
from homing.diagnostics.verdict import Reads, Verdict, agreeing, level_of, share_of
from homing.errors import ShapeError
from homing.units import unit_of

_FOLDS = 5
_LARGE = 0.6  # an accuracy that makes a posterior wrong, and
_SMALL = 0.51  # one too small to matter: of a shift by a twentieth of its width
_LEAST = 2 * _FOLDS
_MOST = 10_000  # rows of each sample that are used
_HOW = {
    "conservative": "wide",
    "overconfident": "narrow",
    "shifted": "far off",
}


def check_c2st(draws: Any, reference: Any, *, seed: int = 0) -> Verdict:
    """Whether draws of a posterior can be told from draws of a reference.

    Args:
        draws: Of the posterior, shape (n, d), independent.
        reference: Of what is right, shape (m, d), independent. Of the longer sample a random part is used.
        seed: Decides that part, the folds, the cosines and the permutations.

    Returns:
        The verdict. Its statistic is the accuracy on rows left out, 0.5 if nothing can be told. Curves: `null` (B,),
        the accuracies under permuted labels.

    Raises:
        ShapeError, ArgumentError: If the samples do not fit each other, are too small or not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draws, reference = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
        >>> check_c2st(draws, reference).level, check_c2st(0.5 * draws, reference).reads
        ('pass', 'overconfident')
    """
    draws, reference = as_floats(draws, "draws"), as_floats(reference, "reference")
    fit = draws.ndim == reference.ndim == 2 and draws.shape[1] == reference.shape[1] > 0
    if not fit or min(len(draws), len(reference)) < _LEAST:
        raise ShapeError(
            f"draws must have shape (n, d) and reference (m, d), with at least {_LEAST} rows each, found "
            f"{draws.shape} and {reference.shape}."
        )
    unit = unit_of(draws, reference)
    draws, reference = draws / unit, reference / unit
    rng = np.random.default_rng(seed)
    num = min(len(draws), len(reference), _MOST)
    draws, reference = rng.permutation(draws)[:num], rng.permutation(reference)[:num]
    pooled = np.concatenate([reference, draws])
    folds = np.tile(np.arange(num) % _FOLDS, 2)
    labels = np.repeat([1.0, -1.0], num)[:, None] * np.ones(PERMUTATIONS + 1)
    for fold in range(_FOLDS):  # within each part, so that each stays balanced
        rows = np.flatnonzero(folds == fold)
        labels[rows, 1:] = rng.permuted(labels[rows, 1:], axis=0)
    scores = Classifiers(features_for(pooled, rng)(pooled), labels, folds).left_out
    accuracies = (scores * labels > 0).mean(0)
    statistic, null = float(accuracies[0]), accuracies[1:]
    p = permutation_p_value(statistic, null)
    found, j = comparison(draws, reference)
    level = level_of(p, found, statistic, _SMALL, _LARGE)
    reads: Reads = "" if level == "pass" else found
    sentence = f"Draws of the posterior cannot be told from the reference, {num} of each."
    sentence = agreeing(sentence, p, f"{statistic - 0.5:.1%} of the cases")
    if reads:
        sentence = (
            "Draws of the posterior are told from the reference in "
            f"{share_of(statistic * 2 * num, 2 * num)} of cases, that of theta[{j}] is too {_HOW[reads]}."
        )
    return Verdict("C2ST", level, statistic, p, num, permutation_resolution(null), sentence, reads, {"null": null})

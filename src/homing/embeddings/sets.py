r"""Sets: independent trials under the same theta, in no order and of unequal number.

\(\mathrm{embed}(\{x_1, \dots, x_n\}) = \rho(\mathrm{pool}_i\, \phi(x_i),\, \log(1 + n))\), with one network
\(\phi\) for each trial and one, \(\rho\), for what they have in common: every function of a set can be written so. The
count is among what \(\rho\) sees because a posterior narrows with it.

All x of a run have one shape, so a set is filled up to the largest number of trials, and a last column says which rows
are trials: `pad_trials`. Rows that are none count for nothing, whatever is in them. (NaN, which some libraries fill up
with, here marks a simulation that failed.)

Source: Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov, Smola, *Deep Sets*, 2017, https://arxiv.org/abs/1703.06114.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homing.embeddings.plain import MLPEmbedding
from homing.errors import ArgumentError, ShapeError
from homing.estimators.embedding import Body, Embedding, EmbeddingNet, library_of_arrays, powers
from homing.estimators.standardize import Standardize, ZScore

Pool = Literal["mean", "sum", "max"]

_POOLS = ("mean", "sum", "max")
_LEAST_VARIANCE = 1e-4  # of standardised data
_MOST_BENT = 32  # entries of a trial up to which powers of its means and variances are statistics


class Trials(Body):
    """Pooled features of the trials, with their simple statistics: the count, means and variances."""

    trial: EmbeddingNet
    pool: Pool = eqx.field(static=True)
    masked: bool = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        trials, present = self._split(x)
        h = jax.vmap(self.trial)(trials)
        count = present.sum()
        if self.pool == "max":
            pooled = jnp.where(count > 0, jnp.where(present[:, None], h, -jnp.inf).max(0), 0.0)
        else:
            pooled = jnp.where(present[:, None], h, 0.0).sum(0)
            pooled = pooled / jnp.maximum(count, 1) if self.pool == "mean" else pooled
        return jnp.concatenate([pooled, self.summary(x)])

    def summary(self, x: Any) -> Any:
        library = library_of_arrays(x)
        trials, present = self._split(x)
        count = present.sum(-1)[..., None]

        def mean(values: Any) -> Any:
            return library.where(present[..., None], values, 0.0).sum(-2) / library.maximum(count, 1)

        means = mean(trials)
        variances = mean((trials - means[..., None, :]) ** 2) + _LEAST_VARIANCE
        both = library.concatenate([means, library.log(variances)], axis=-1)
        known = powers(both) if trials.shape[-1] <= _MOST_BENT else both
        return library.concatenate([library.log1p(count.astype(np.float32)), known], axis=-1)

    def _split(self, x: Any) -> tuple[Any, Any]:
        """Trials (..., most, p), and which of them there are, (..., most)."""
        if self.masked:
            return x[..., :-1], x[..., -1] > 0.5
        return x, library_of_arrays(x).ones(x.shape[:-1], bool)


@dataclass(frozen=True)
class SetEmbedding(Embedding):
    """A permutation-invariant network for sets of independent trials, x of shape (most, p + 1) as `pad_trials` makes.

    All trials are scaled alike, each column by itself.

    Args:
        out_features: Length of the embedding.
        hidden_features: Width of the hidden layer that leads to it.
        trial: The network for one trial, which sees its p entries.
        pool: How the trials' features are put together: `"mean"`, `"sum"` or `"max"`.
        masked: Whether the last column says which rows are trials. False for sets of one size, x of shape (n, p).

    Raises:
        ArgumentError: If a size is not a positive whole number, or a name is unknown.

    Example:
        >>> from homing.embeddings import pad_trials
        >>> rng = np.random.default_rng(0)
        >>> x = np.stack([pad_trials(rng.normal(size=(n, 2)), most=50) for n in (10, 20, 50)])
        >>> net = SetEmbedding(out_features=8).build(x, rng)
        >>> jax.eval_shape(net, x[0]).shape
        (8,)
    """

    trial: Embedding = field(default_factory=lambda: MLPEmbedding(out_features=30, num_layers=1))
    pool: Pool = "mean"
    masked: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool not in _POOLS:
            raise ArgumentError(f"pool must be one of {', '.join(map(repr, _POOLS))}, found {self.pool!r}.")
        if not isinstance(self.trial, Embedding):
            raise ArgumentError(
                f"trial must be an embedding from homing.embeddings, such as MLPEmbedding(), found {self.trial!r}."
            )

    def check(self, x: np.ndarray) -> None:
        if x.ndim != 3 or x.shape[2] <= self.masked:
            expected = "(most, p + 1), as pad_trials makes it" if self.masked else "(n, p)"
            raise ShapeError(f"SetEmbedding takes x of shape {expected}; found x of shape {x.shape[1:]}.")
        if self.masked and not np.isin(x[..., -1], (0, 1)).all():
            raise ShapeError(
                "SetEmbedding takes sets whose last column is 1 in rows that are trials and 0 in others, as pad_trials "
                "makes them; found other numbers there. For sets without such a column: SetEmbedding(masked=False)."
            )

    def standardize(self, x: np.ndarray, z_score: ZScore, z: np.ndarray | None = None) -> Standardize:
        self.check(x)
        of_trials = self.trial.standardize(self._trials(x), z_score)
        if not self.masked:
            return of_trials
        size = x.shape[2] - 1
        loc, scale = (np.broadcast_to(a, size) for a in (of_trials.loc, of_trials.scale))
        return Standardize(np.append(loc, 0.0), np.append(scale, 1.0), of_trials.soft)

    def body(self, x: np.ndarray, rng: np.random.Generator) -> Trials:
        return Trials(self.trial.build(self._trials(x), rng), self.pool, self.masked)

    def _trials(self, x: np.ndarray) -> np.ndarray:
        """All trials of all sets, shape (N, p)."""
        trials = x[x[..., -1] > 0.5][:, :-1] if self.masked else x.reshape(-1, x.shape[2])
        if not len(trials):
            raise ShapeError("SetEmbedding needs trials to learn from; found none in any of the sets.")
        return trials

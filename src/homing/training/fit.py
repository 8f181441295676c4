"""One compiled fit for every estimator: epochs, batches, early stopping and the best weights inside one program.

The members of an ensemble share the program and run side by side, one to a processor: measured here, that is twice as
fast as one program vmapped over them, which also could not stop early for one and go on for another. Data are padded to
a few sizes and the loops run over the rows that are there, so growing rounds share a program and padding costs nothing.
Every row is used: an epoch's batches are as equal as they can be instead of leaving a remainder out, and the whole
validation set is scored each epoch. The program advances by some epochs and returns to Python, so that a bar can move
and a keyboard interrupt is heard; the result does not depend on how often.

Source of the optimizer: Kingma, Ba, *Adam: A Method for Stochastic Optimization*, 2015,
https://arxiv.org/abs/1412.6980.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from paramax import NonTrainable, unwrap

from homing.estimators import Gaussians
from homing.forks import check_fork
from homing.programs import Program
from homing.training.losses import Loss, Rows

_MAX_STRETCH = 64  # epochs between two returns to Python at most,
_STRETCH_ENTRIES = 2**20  # and entries of their rows' orders, which are drawn in Python
_STRETCH_SECONDS = 0.2
_LATER = 3  # phases after the first wait for a better loss this many times less: they find it early, or not at all
_OTHER_THREADS = max(1, (os.cpu_count() or 1) - 1)  # beside this one

Model = TypeVar("Model", bound=eqx.Module)


@dataclass(frozen=True)
class FitOptions:
    """How to train.

    Attributes:
        batch_size: Rows in a mini-batch at most.
        learning_rate: Adam's step size.
        rates: What the step size is multiplied by, one phase after another; each starts from the best weights so far.
        stop_after_epochs: The first phase ends when the validation loss has not improved for so many epochs, and
        stop_after_steps: for so many gradient steps: a small round's epoch is only a handful of them. Later phases
            wait for a third of that.
        max_num_epochs: Train at most so many epochs.
        clip_max_norm: Gradients are scaled down to this norm; infinity for not at all.
    """

    batch_size: int = 100
    learning_rate: float = 2e-3
    rates: tuple[float, ...] = (1.0, 0.2)
    stop_after_epochs: int = 20
    stop_after_steps: int = 300
    max_num_epochs: int = 2**31 - 1
    clip_max_norm: float = 5.0


@dataclass(frozen=True)
class FitInfo:
    """What a fit did, one entry a member.

    Attributes:
        epochs: (M,) int, epochs trained.
        converged: (M,) bool, stopped by the validation loss and not by `max_num_epochs`.
        validation_loss: (M,), the best; its weights are the ones returned.
        history: (M, epochs), the validation loss after each epoch, NaN after a member's last.
        seconds: Wall time, compilation included.
    """

    epochs: np.ndarray
    converged: np.ndarray
    validation_loss: np.ndarray
    history: np.ndarray
    seconds: float

    @property
    def losses(self) -> list[list[float]]:
        """`history` as JSON, in five digits: each member's as far as it was trained."""
        return [[float(f"{loss:.5g}") for loss in row[:epochs]] for row, epochs in zip(self.history, self.epochs)]

    @staticmethod
    def none() -> FitInfo:
        """Of no member."""
        return FitInfo(np.zeros(0, int), np.zeros(0, bool), np.zeros(0), np.zeros((0, 0)), 0.0)

    def with_others(self, other: FitInfo) -> FitInfo:
        """This one's members and another's, fitted one after another."""
        length = max(self.history.shape[1], other.history.shape[1])
        return FitInfo(
            np.concatenate([self.epochs, other.epochs]),
            np.concatenate([self.converged, other.converged]),
            np.concatenate([self.validation_loss, other.validation_loss]),
            np.concatenate([_pad_columns(info.history, length) for info in (self, other)]),
            self.seconds + other.seconds,
        )


def _pad_columns(history: np.ndarray, length: int) -> np.ndarray:
    """NaN after the last epoch."""
    return np.pad(history, [(0, 0), (0, length - history.shape[1])], constant_values=np.nan)


class _Split(NamedTuple):
    """A member's rows, as indices padded at the end, and how many there are."""

    train: Any
    validation: Any
    num_train: Any
    num_validation: Any


class _State(NamedTuple):
    """What training one member carries from epoch to epoch. Weights are one vector: fewer, larger operations."""

    params: Any
    optimizer: Any
    best: Any
    best_loss: Any
    best_epoch: Any
    epoch: Any


class _Settings(NamedTuple):
    """The options that do not change the program, as arrays."""

    learning_rate: Any
    clip_max_norm: Any
    patience: Any
    last_epoch: Any  # of this stretch
    num_batches: Any  # of an epoch's training
    num_chunks: Any  # of a validation pass
    seed: Any  # of the rows' random keys


def _partition(model: Any) -> tuple[Any, Any]:
    """The trainable arrays, and the rest."""
    return eqx.partition(model, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))


def _vector(params: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)]).astype(np.float32)


def _from_vector(vector: Any, like: Any) -> Any:
    """Arrays of the shapes of those in `like`, cut from a vector."""
    leaves, treedef = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = [vector[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends)]
    return jax.tree.unflatten(treedef, parts)


def _optimizer(settings: _Settings) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(settings.clip_max_norm), optax.adam(settings.learning_rate))


def _first_state(model: Any, settings: _Settings) -> _State:
    params = _vector(_partition(model)[0])
    # Clipping and Adam start from zeros; taking their shapes alone saves compiling a program for it.
    shapes = jax.eval_shape(_optimizer(settings).init, params)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return _State(params, zeros, params, np.float32(np.inf), np.int32(0), np.int32(0))


@Program
def _advance(
    state: _State,
    model: Any,
    split: _Split,
    orders: Any,
    rows: Rows,
    proposals: Gaussians | None,
    settings: _Settings,
    loss: Loss,
    batch_size: int,
) -> tuple[_State, Array]:
    """Train until the patience or the stretch ends, taking the rows in an epoch's order; also each epoch's loss."""
    shapes, rest = _partition(model)
    optimizer = _optimizer(settings)
    slots, root = jnp.arange(batch_size), jax.random.key(settings.seed)

    def batch_loss(params: Array, order: Array, start: Array, count: Array, num: Array, key: Array) -> Array:
        """Summed loss of `count` rows of `order` from `start` on; further rows in the other slots serve as atoms."""
        which = order[(start + slots) % num]
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, which)
        batch = jax.tree.map(lambda leaf: leaf[which], rows)._replace(key=keys)
        density = unwrap(eqx.combine(_from_vector(params, shapes), rest))
        values = loss(density, batch, jnp.minimum(num, batch_size), proposals)
        return jnp.where(slots < count, values, 0.0).sum()

    def train_batch(b: Array, carry: tuple[Array, Any, Array, Array]) -> tuple[Array, Any, Array, Array]:
        params, opt_state, order, key = carry
        start = b * split.num_train // settings.num_batches
        count = (b + 1) * split.num_train // settings.num_batches - start
        grads = jax.grad(lambda p: batch_loss(p, order, start, count, split.num_train, key) / count)(params)
        updates, new_state = optimizer.update(grads, opt_state, params)
        new, old = (optax.apply_updates(params, updates), new_state), (params, opt_state)
        finite = jnp.isfinite(grads).all()  # a step that is not finite is left out
        return *jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old), order, key

    def validate(params: Array) -> Array:
        key = jax.random.fold_in(root, 0)

        def add(b: Array, total: Array) -> Array:
            start = b * batch_size
            count = jnp.clip(split.num_validation - start, 0, batch_size)
            return total + batch_loss(params, split.validation, start, count, split.num_validation, key)

        return jax.lax.fori_loop(0, settings.num_chunks, add, jnp.zeros(())) / split.num_validation

    def epoch(carry: tuple[_State, Array, Array]) -> tuple[_State, Array, Array]:
        s, history, slot = carry
        start = s.params, s.optimizer, orders[slot], jax.random.fold_in(root, s.epoch + 1)
        params, opt_state, *_ = jax.lax.fori_loop(0, settings.num_batches, train_batch, start)
        value, now = validate(params), s.epoch + 1
        better = value < s.best_loss
        best, best_loss, best_epoch = (
            jnp.where(better, new, old) for new, old in ((params, s.best), (value, s.best_loss), (now, s.best_epoch))
        )
        return _State(params, opt_state, best, best_loss, best_epoch, now), history.at[slot].set(value), slot + 1

    def unfinished(carry: tuple[_State, Array, Array]) -> Array:
        s = carry[0]
        return (s.epoch < settings.last_epoch) & (s.epoch - s.best_epoch < settings.patience)

    begin = state, jnp.full(orders.shape[0], jnp.nan), jnp.zeros((), jnp.int32)
    state, history, _ = jax.lax.while_loop(unfinished, epoch, begin)
    return state, history


def bucket(num_rows: int) -> int:
    """The padded size for so many rows: 1024 times a power of four, so that growing rounds share programs."""
    size = 1024
    while size < num_rows:
        size *= 4
    return size


def _pad(array: np.ndarray, size: int, axis: int = 0) -> np.ndarray:
    return np.pad(array, [(0, size - array.shape[axis] if a == axis else 0) for a in range(array.ndim)])


def _split(is_validation: np.ndarray, size: int, rng: np.random.Generator) -> _Split:
    """A member's indices; validation rows in a fixed random order, since neighbours are one another's atoms."""
    train, validation = np.flatnonzero(~is_validation), rng.permutation(np.flatnonzero(is_validation))
    indices = [_pad(part.astype(np.int32), size) for part in (train, validation)]
    return _Split(indices[0], indices[1], np.int32(len(train)), np.int32(len(validation)))


class _Outcome(NamedTuple):
    """One member's fit."""

    model: Any
    epochs: int
    converged: bool
    loss: float
    history: np.ndarray


def fit(
    members: Sequence[Model],
    rows: Rows,
    is_validation: np.ndarray,
    loss: Loss,
    options: FitOptions,
    seed: int,
    proposals: Gaussians | None = None,
    on_epochs: Callable[[int], object] | None = None,
) -> tuple[list[Model], FitInfo]:
    """Train the members of an ensemble, each on its own split of the same rows.

    Args:
        members: Estimators of one structure, M of them: densities, ratios, or what else the loss knows.
        rows: NumPy arrays with n rows.
        is_validation: Shape (M, n), bool: each member's held-out rows; at least one of each role.
        loss: The loss of one mini-batch.
        options: Step size, patience and the like.
        seed: Below 2**32; decides the order of the rows, and the noise of losses that draw any.
        proposals: For the non-atomic loss, the mixture of each source.
        on_epochs: Called with the number of epochs that the first member has been trained for, whenever its program
            returns.

    Returns:
        The members with their best weights, and what happened.
    """
    began = time.perf_counter()
    check_fork()
    padded = jax.device_put(jax.tree.map(lambda leaf: _pad(np.asarray(leaf), bucket(len(rows.z))), rows))
    seeds = np.random.SeedSequence(seed).generate_state(len(members))

    def train(m: int) -> _Outcome:
        return _fit_member(
            members[m],
            padded,
            is_validation[m],
            loss,
            options,
            seeds[m],
            proposals,
            on_epochs if m == 0 else None,
            halt,
        )

    halt = threading.Event()
    with ThreadPoolExecutor(_OTHER_THREADS) as pool:
        try:
            others = [pool.submit(train, m) for m in range(1, len(members))]
            outcomes = [train(0), *(other.result() for other in others)]  # the first here, where an interrupt is heard
        except BaseException:
            halt.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    length = max(len(outcome.history) for outcome in outcomes)
    info = FitInfo(
        epochs=np.array([outcome.epochs for outcome in outcomes]),
        converged=np.array([outcome.converged for outcome in outcomes]),
        validation_loss=np.array([outcome.loss for outcome in outcomes]),
        history=np.concatenate([_pad_columns(outcome.history[None], length) for outcome in outcomes]),
        seconds=time.perf_counter() - began,
    )
    return [outcome.model for outcome in outcomes], info


def _fit_member(
    model: Any,
    rows: Rows,
    is_validation: np.ndarray,
    loss: Loss,
    options: FitOptions,
    seed: np.uint32,
    proposals: Gaussians | None,
    on_epochs: Callable[[int], object] | None,
    halt: threading.Event,
) -> _Outcome:
    split = _split(is_validation, len(rows.z), np.random.default_rng(seed))
    batch = options.batch_size
    num_batches = -(-int(split.num_train) // batch)
    first = min(max(options.stop_after_epochs, -(-options.stop_after_steps // num_batches)), 2**31 - 1)
    patience = [first, *[-(-first // _LATER)] * (len(options.rates) - 1)]
    settings = _Settings(
        learning_rate=np.float32(options.learning_rate),
        clip_max_norm=np.float32(options.clip_max_norm),
        patience=np.int32(first),
        last_epoch=np.int32(0),
        num_batches=np.int32(num_batches),
        num_chunks=np.int32(-(-int(split.num_validation) // batch)),
        seed=np.uint32(seed),
    )
    state, rng = _first_state(model, settings), np.random.default_rng([1, int(seed)])
    shuffled = (rng.permutation(split.train[: split.num_train]) for _ in itertools.count())
    most = int(np.clip(_STRETCH_ENTRIES // len(rows.z), 1, _MAX_STRETCH))
    history, stretch, done, phase = [], 1, 0, 0
    while phase < len(options.rates) and done < options.max_num_epochs and not halt.is_set():
        last = min(done + stretch, options.max_num_epochs)
        tick = time.perf_counter()
        orders = np.zeros((most, len(rows.z)), np.int32)
        taken = list(itertools.islice(shuffled, last - done))
        orders[: last - done, : split.num_train] = taken
        rate = np.float32(options.learning_rate * options.rates[phase])
        now = settings._replace(last_epoch=np.int32(last), learning_rate=rate, patience=np.int32(patience[phase]))
        state, losses = _advance(state, model, split, orders, rows, proposals, now, loss, batch)
        epoch = int(state.epoch)
        if epoch - int(state.best_epoch) >= patience[phase]:
            shuffled = itertools.chain(taken[epoch - done :], shuffled)  # what is left of the stretch's
            phase += 1
            state = state._replace(params=state.best, best_epoch=np.int32(epoch))
        history.append(np.asarray(losses)[: epoch - done])
        if time.perf_counter() - tick < _STRETCH_SECONDS:
            stretch = min(2 * stretch, most)
        done = epoch
        if on_epochs is not None:
            on_epochs(epoch)
    params, rest = _partition(model)
    best = eqx.combine(jax.tree.map(jax.device_put, _from_vector(np.asarray(state.best), params)), rest)
    return _Outcome(best, done, phase == len(options.rates), float(state.best_loss), np.concatenate(history))

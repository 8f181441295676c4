"""C2ST: how often a classifier tells draws of one posterior from draws of another. 0.5 is perfect, 1 is useless.

`c2st` is the number to report. `c2st_fast` is for iterating: the same classifier and stopping rule, compiled, on two of
the five folds; README.md beside this file says how far it is from the exact one.

Source: Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests, https://arxiv.org/abs/1610.06545.
Settings: Lueckmann et al. (2021), Benchmarking simulation-based inference, https://arxiv.org/abs/2101.04653.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

Layers = list[tuple[jax.Array, jax.Array]]

# scikit-learn's defaults for MLPClassifier, except that it learns at 1e-3. In ten dimensions it stops after some 500
# epochs, having learnt much by heart and so reading low; at three times the rate 120 epochs read about the same.
BATCH, WEIGHT_DECAY, TOLERANCE, PATIENCE = 200, 1e-4, 1e-4, 10
LEARNING_RATE = 3e-3


def c2st(reference: np.ndarray, samples: np.ndarray) -> float:
    """sbibm's metric: scikit-learn's perceptron with two layers of 10 d units, five shuffled folds, seed 1.

    Args:
        reference: Draws of the reference posterior, shape (n, d); both are standardised by these.
        samples: Draws to judge, shape (m, d); sbibm takes 10,000 of each.

    Returns:
        Mean accuracy on the held-out folds.
    """
    data, target, folds = _prepare(reference, samples)
    width = 10 * data.shape[1]
    classifier = MLPClassifier((width, width), activation="relu", solver="adam", max_iter=10_000, random_state=1)
    with threadpool_limits(1):  # products so small are slower on several threads
        return float(cross_val_score(classifier, data, target, cv=folds, scoring="accuracy").mean())


def c2st_fast(
    reference: np.ndarray, samples: np.ndarray, folds: int = 2, max_epochs: int | None = None, seed: int = 1
) -> float:
    """The same on the first `folds` of the five, training at most `max_epochs` (by default 1200 / d) epochs."""
    data, target, splits = _prepare(reference, samples)
    max_epochs = max_epochs or 1200 // data.shape[1]
    accuracies = []
    for fold, (train, test) in zip(range(folds), splits.split(data)):
        key = jax.random.fold_in(jax.random.key(seed), fold)
        layers = _train(key, data[train], target[train], max_epochs)
        accuracies.append(np.mean((_logit(layers, data[test]) > 0) == (target[test] > 0)))
    return float(np.mean(accuracies))


def _prepare(reference: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, KFold]:
    reference, samples = np.asarray(reference, np.float64), np.asarray(samples, np.float64)
    if reference.ndim != 2 or samples.ndim != 2 or reference.shape[1] != samples.shape[1]:
        raise ValueError(f"Expected draws of shapes (n, d) and (m, d), found {reference.shape} and {samples.shape}.")
    if not np.isfinite(samples).all():
        bad = np.sum(~np.isfinite(samples).all(1))
        raise ValueError(f"Samples must be finite; {bad} of {len(samples)} rows are not.")
    data = (np.concatenate([reference, samples]) - reference.mean(0)) / reference.std(0, ddof=1)
    # sbibm's draws are float32, and scikit-learn computes in the type it is given.
    target = np.repeat(np.array([0, 1], np.float32), [len(reference), len(samples)])
    return data.astype(np.float32), target, KFold(5, shuffle=True, random_state=1)


def _initial(key: jax.Array, dim: int) -> Layers:
    layers, sizes = [], [dim, 10 * dim, 10 * dim, 1]
    for inputs, outputs in pairwise(sizes):
        key, weights, bias = jax.random.split(key, 3)
        bound = (6 / (inputs + outputs)) ** 0.5
        draw = partial(jax.random.uniform, minval=-bound, maxval=bound)
        layers.append((draw(weights, (inputs, outputs)), draw(bias, (outputs,))))
    return layers


def _logit(layers: Layers, x: jax.Array | np.ndarray) -> jax.Array:
    for weights, bias in layers[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = layers[-1]
    return (x @ weights + bias)[:, 0]


@jax.jit
def _train(key: jax.Array, x: jax.Array, y: jax.Array, max_epochs: int) -> Layers:
    """Adam until the training loss has not fallen by TOLERANCE for more than PATIENCE epochs."""
    steps = len(x) // BATCH
    start, shuffles = jax.random.split(key)
    optimizer = optax.adam(LEARNING_RATE)

    def loss(layers: Layers, x: jax.Array, y: jax.Array) -> jax.Array:
        penalty = sum(jnp.sum(weights**2) for weights, _ in layers)
        cross_entropy = optax.sigmoid_binary_cross_entropy(_logit(layers, x), y)
        return jnp.mean(cross_entropy) + WEIGHT_DECAY / 2 * penalty / BATCH

    def step(carry, batch):
        layers, state = carry
        value, gradient = jax.value_and_grad(loss)(layers, *batch)
        update, state = optimizer.update(gradient, state)
        return (optax.apply_updates(layers, update), state), value

    def epoch(carry):
        fitted, best, stale, count = carry
        rows = jax.random.permutation(jax.random.fold_in(shuffles, count), len(x))[: steps * BATCH]
        batches = x[rows].reshape(steps, BATCH, -1), y[rows].reshape(steps, BATCH)
        fitted, values = jax.lax.scan(step, fitted, batches)
        value = jnp.mean(values)
        stale = jnp.where(value > best - TOLERANCE, stale + 1, 0)
        return fitted, jnp.minimum(value, best), stale, count + 1

    layers = _initial(start, x.shape[1])
    carry = (layers, optimizer.init(layers)), jnp.inf, 0, 0
    (layers, _), *_ = jax.lax.while_loop(lambda c: (c[2] <= PATIENCE) & (c[3] < max_epochs), epoch, carry)
    return layers

"""Models of images, series and sets whose posteriors are known on a grid, for the tests of embeddings."""

from dataclasses import dataclass

import numpy as np

from homing import pad_trials
from homing.priors import BoxUniform

PIXELS, STEPS, MOST = 64, 1000, 200


def on_grid(prior, log_likelihood, size=400):
    """Mean and standard deviation of the posterior, each of shape (2,), under a uniform prior: first over the whole of
    it, then over where the posterior is."""
    low, high = prior.low, prior.high
    for _ in range(4):
        axes = [a + (b - a) * (np.arange(size) + 0.5) / size for a, b in zip(low, high)]
        log_weight = log_likelihood(*np.meshgrid(*axes, indexing="ij"))
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        marginals = [weight.sum(1), weight.sum(0)]
        mean = np.array([m @ axis for m, axis in zip(marginals, axes)])
        std = np.array([np.sqrt(m @ (axis - c) ** 2) for m, axis, c in zip(marginals, axes, mean)])
        step = (high - low) / size
        low, high = np.maximum(prior.low, mean - 8 * std - step), np.minimum(prior.high, mean + 8 * std + step)
    return mean, std


@dataclass(frozen=True)
class Blob:
    """An image, 64 x 64, of a blob at theta, as bright as its pixels' noise is wide."""

    noise: float = 1.0
    width: float = 0.2
    prior = BoxUniform([-1.0, -1.0], [1.0, 1.0])
    truth = np.array([0.31, -0.22])

    def __call__(self, theta, rng):
        return self.image(theta) + self.noise * rng.standard_normal((len(theta), PIXELS, PIXELS))

    def _profiles(self, centre):
        """Along one axis, shape (..., 64)."""
        axis = (np.arange(PIXELS) + 0.5) / PIXELS * 2 - 1
        return np.exp(-0.5 * ((axis - centre[..., None]) / self.width) ** 2)

    def image(self, theta):
        return self._profiles(theta[:, 0])[:, :, None] * self._profiles(theta[:, 1])[:, None, :]

    def posterior(self, x_o):
        def log_likelihood(a, b):
            rows, columns = self._profiles(a[:, 0]), self._profiles(b[0])
            brightness = (rows**2).sum(1)[:, None] * (columns**2).sum(1)
            return (rows @ x_o @ columns.T - 0.5 * brightness) / self.noise**2

        return on_grid(self.prior, log_likelihood)


@dataclass(frozen=True)
class AutoRegressive:
    """A series of 1,000 steps, x_t = a x_{t-1} + exp(b) e_t, from its stationary distribution."""

    prior = BoxUniform([-0.9, -2.0], [0.9, 1.0])
    truth = np.array([0.6, -0.5])

    def __call__(self, theta, rng):
        noise = np.exp(theta[:, 1:]) * rng.standard_normal((len(theta), STEPS))
        x = np.empty_like(noise)
        x[:, 0] = noise[:, 0] / np.sqrt(1 - theta[:, 0] ** 2)
        for t in range(1, STEPS):
            x[:, t] = theta[:, 0] * x[:, t - 1] + noise[:, t]
        return x

    def posterior(self, x_o):
        squares, inner, product = (x_o**2).sum(), (x_o[1:-1] ** 2).sum(), (x_o[1:] * x_o[:-1]).sum()

        def log_likelihood(a, b):  # by the precision matrix, which has three diagonals
            form = squares + a**2 * inner - 2 * a * product
            return -0.5 * form * np.exp(-2 * b) - STEPS * b + 0.5 * np.log(1 - a**2)

        return on_grid(self.prior, log_likelihood)


@dataclass(frozen=True)
class NormalTrials:
    """10 to 200 trials, normal with mean a and standard deviation exp(b); their number says nothing of theta."""

    num_observed: int = 40
    prior = BoxUniform([-3.0, -1.5], [3.0, 1.5])
    truth = np.array([0.8, 0.3])

    def __call__(self, theta, rng):
        counts = rng.integers(10, MOST + 1, len(theta))
        return np.stack([self._one(row, n, rng) for row, n in zip(theta, counts)])

    def _one(self, theta, n, rng):
        return pad_trials(theta[0] + np.exp(theta[1]) * rng.standard_normal(n), MOST)

    def observed(self, rng):
        return self._one(self.truth, self.num_observed, rng)

    def posterior(self, x_o):
        trials = x_o[x_o[:, 1] > 0, 0]

        def log_likelihood(a, b):
            squares = ((trials - trials.mean()) ** 2).sum() + len(trials) * (trials.mean() - a) ** 2
            return -0.5 * squares * np.exp(-2 * b) - len(trials) * b

        return on_grid(self.prior, log_likelihood)

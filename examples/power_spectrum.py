"""The power spectrum behind a map: a Gaussian random field, as cosmologists see one.

A map of 64 by 64 cells is a draw of a Gaussian field whose waves of wavenumber k have the power P(k) = A (k/k_0)^n
exp(-(k s)²): amplitude, slope, and a smoothing length. The instrument adds white noise of known strength. What is
inferred: log10 A, n, s. What is seen: the logarithm of the map's mean power in twelve bands of k.

Made data, with log10 A = 0, n = -1.5, s = 1 cell. The likelihood of a Gaussian map can be written down; that of one
with a mask, or after gravity has been at work, cannot, and only `maps` would change.
"""

import argparse
from pathlib import Path

import numpy as np

from homing import SNPE, BoxUniform, pairplot

CELLS, BANDS, NOISE = 64, 12, 0.1
PIVOT = 0.3  # radians per cell
TRUTH = np.array([0.0, -1.5, 1.0])
LABELS = ["log₁₀ A", "slope n", "smoothing s [cells]"]

prior = BoxUniform(low=[-1.0, -3.0, 0.0], high=[1.0, 0.5, 3.0])

_frequencies = 2 * np.pi * np.fft.fftfreq(CELLS)
WAVENUMBER = np.hypot(_frequencies[:, None], _frequencies[: CELLS // 2 + 1])
EDGES = np.geomspace(2 * np.pi / CELLS, np.pi, BANDS + 1)
BAND = np.digitize(WAVENUMBER, EDGES[:-1] * (1 - 1e-9)) * (np.pi > WAVENUMBER)  # 0: no band


def power(theta):
    """P(k) of each wave, shape (n, 64, 33), for theta of shape (n, 3)."""
    amplitude, slope, smoothing = theta.T[:, :, None, None]
    k = np.maximum(WAVENUMBER, EDGES[0])
    return 10**amplitude * (k / PIVOT) ** slope * np.exp(-((k * smoothing) ** 2))


def maps(theta, rng):
    """Noisy maps, shape (n, 64, 64)."""
    white, noise = rng.normal(size=(2, len(theta), CELLS, CELLS))
    field = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power(theta)), s=(CELLS, CELLS))
    return field + NOISE * noise


def simulator(theta, rng):
    """The logarithm of each map's mean power in each band, shape (n, 12)."""
    waves = np.abs(np.fft.rfft2(maps(theta, rng))) ** 2 / CELLS**2
    return np.log([[part[band == BAND].mean() for band in range(1, BANDS + 1)] for part in waves])


def draw(samples, picture):
    """The posterior, the observed map, and the spectra that explain it."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(15, 5))
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.2, 1, 1])
    pairplot(samples, points=TRUTH, labels=LABELS, upper="contour", points_labels="true", fig=left)
    middle.subplots().imshow(maps(TRUTH[None], np.random.default_rng(1))[0], cmap="RdBu")
    axes = right.subplots()
    middles = np.sqrt(EDGES[:-1] * EDGES[1:])
    predicted = np.exp(simulator(samples[:500], np.random.default_rng(2)))
    for mass, shade in ((0.95, 0.2), (0.5, 0.4)):
        low, high = np.quantile(predicted, [0.5 - mass / 2, 0.5 + mass / 2], axis=0)
        axes.fill_between(middles, low, high, color="#0072B2", alpha=shade, label=f"{mass:.0%} predicted")
    axes.plot(middles, np.exp(x_o), "o", color="#D55E00", label="observed")
    axes.set(xlabel="wavenumber [radians per cell]", ylabel="power", xscale="log", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {Path(picture).resolve()}")


x_o = simulator(TRUTH[None], np.random.default_rng(1))[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--simulations", type=int, default=2000)
    given = arguments.parse_args()

    inference = SNPE(simulator, prior, batched=True, seed=1)
    posterior = inference.run(x_o, num_simulations=given.simulations)
    samples = posterior.sample((10_000,))
    print(f"\n{inference.rounds}\n")
    for name, mean, width, true in zip(LABELS, samples.mean(axis=0), samples.std(axis=0), TRUTH):
        print(f"{name}: {mean:.3f} ± {width:.3f}, true {true:g}")
    draw(samples, "power_spectrum.png")
    print(f"\n{inference.check(num_simulations=200)}\n")
    print(f"The report is in {inference.report('power_spectrum.html', labels=LABELS, points=TRUTH)}")


if __name__ == "__main__":
    main()

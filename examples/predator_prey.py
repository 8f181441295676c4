"""Hares and lynxes: the Hudson's Bay Company's pelts from 1900 to 1920, and the equations of Lotka and Volterra.

Hares u multiply and are eaten, lynxes v eat and die: du/dt = (α - β v) u, dv/dt = (δ u - γ) v. Pelts are u and v, in
thousands, with log-normal noise. What is inferred: the four rates, the numbers of both in 1900, and the two noises.

Known: the likelihood of this model can be written down; Carpenter's case study uses it, with another wide prior, for
Hamiltonian Monte Carlo (*Predator-Prey Population Dynamics: the Lotka-Volterra model in Stan*, 2018): α = 0.55 ± 0.06,
β = 0.028 ± 0.004, γ = 0.80 ± 0.09, δ = 0.024 ± 0.004, u = 34 ± 3, v = 5.9 ± 0.5, and 0.25 ± 0.04 for both noises.

Source of the counts: see data/lynx_hare.csv.
"""

import argparse
from pathlib import Path

import numpy as np
import scipy.stats as st

from homing import SNPE, pairplot

YEARS, *PELTS = np.loadtxt(Path(__file__).parent / "data" / "lynx_hare.csv", delimiter=",").T
x_o = np.log(PELTS).ravel()
STEPS = 50  # a year
LABELS = [
    "births α [1/yr]",
    "eaten β [1/yr]",
    "deaths γ [1/yr]",
    "fed δ [1/yr]",
    "hares in 1900 [1000]",
    "lynxes in 1900 [1000]",
    "noise of hares",
    "noise of lynxes",
]
KNOWN = np.array([0.55, 0.028, 0.80, 0.024, 34.0, 5.9, 0.25, 0.25])


rates = [st.lognorm(0.5, scale=0.7), st.lognorm(0.7, scale=0.03)]
prior = [*rates, *rates, *[st.lognorm(1, scale=15)] * 2, *[st.lognorm(0.5, scale=0.3)] * 2]


def solve(theta):
    """log u and log v in each year, shape (2, years, n), for theta of shape (n, 8).

    Half a step for the hares, one for the lynxes, half a step for the hares: symplectic in the logarithms, so that
    cycles stay closed.
    """
    births, predation, deaths, feeding, hares, lynxes = theta.T[:6]
    u, v = np.log(hares), np.log(lynxes)
    years = [(u, v)]
    with np.errstate(over="ignore"):
        for _ in range(len(YEARS) - 1):
            for _ in range(STEPS):
                u = u + (births - predation * np.exp(v)) / (2 * STEPS)
                v = v + (feeding * np.exp(u) - deaths) / STEPS
                u = u + (births - predation * np.exp(v)) / (2 * STEPS)
            years.append((u, v))
    return np.clip(np.moveaxis(np.array(years), 0, 1), -30, 30)  # nobody counts fewer, or more


def simulator(theta, rng):
    """Logarithms of the pelts, hares' and then lynxes', shape (n, 42)."""
    noise = theta.T[6:, None] * rng.normal(size=(2, len(YEARS), len(theta)))
    return (solve(theta) + noise).reshape(-1, len(theta)).T


def draw(samples, picture):
    """The rates, and what is predicted beside what was counted."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6.5))
    left, right = figure.subfigures(1, 2)
    pairplot(samples, points=KNOWN, labels=LABELS, subset=range(4), upper="contour", points_labels="known", fig=left)
    predicted = np.exp(simulator(samples[:1000], np.random.default_rng(2))).reshape(1000, 2, -1)
    for k, (axes, name) in enumerate(zip(right.subplots(2, sharex=True), ("hares", "lynxes"))):
        for mass, shade in ((0.95, 0.2), (0.5, 0.4)):
            low, high = np.quantile(predicted[:, k], [0.5 - mass / 2, 0.5 + mass / 2], axis=0)
            axes.fill_between(YEARS, low, high, color="#0072B2", alpha=shade, label=f"{mass:.0%} predicted")
        axes.plot(YEARS, PELTS[k], "o", color="#D55E00", label="counted")
        axes.set(ylabel=f"{name} [thousands of pelts]")
    axes.set(xlabel="year", xticks=range(1900, 1921, 5))
    axes.legend(frameon=False, loc="upper center")
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {Path(picture).resolve()}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--simulations", type=int, default=3000)
    given = arguments.parse_args()

    inference = SNPE(simulator, prior, batched=True, seed=1)
    posterior = inference.run(x_o, num_simulations=given.simulations)
    samples = posterior.sample((10_000,))
    print(f"\n{inference.rounds}\n")
    for name, mean, width, known in zip(LABELS, samples.mean(axis=0), samples.std(axis=0), KNOWN):
        print(f"{name}: {mean:.3g} ± {width:.2g}, known {known:g}")
    draw(samples, "predator_prey.png")
    print(f"\n{inference.check(num_simulations=200)}\n")
    print(f"The report is in {inference.report('predator_prey.html', labels=LABELS)}")


if __name__ == "__main__":
    main()

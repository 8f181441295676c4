"""A queue seen from outside: how fast are customers served, and how fast do they come?

The M/G/1 queue. One server takes between a and a + b minutes for each customer, evenly distributed; customers arrive at
random, c of them a minute. Only the departures are seen: quantiles of the times between those of fifty customers. The
likelihood of the departures needs an integral over all arrivals, and that of their quantiles cannot be written down.

Made data, with a = 1, b = 4, c = 0.2. The model and this truth are those of Blum and François, *Non-linear regression
models for Approximate Bayesian Computation*, 2010, https://doi.org/10.1007/s11222-009-9116-0.
"""

import argparse
from pathlib import Path

import numpy as np

from homing import SNPE, BoxUniform, pairplot

CUSTOMERS = 50
QUANTILES = np.linspace(0, 1, 11)
TRUTH = np.array([1.0, 4.0, 0.2])
LABELS = ["shortest a [min]", "range b [min]", "arrivals c [1/min]"]

prior = BoxUniform(low=[0.0, 0.0, 0.01], high=[10.0, 10.0, 1 / 3])


def simulator(theta, rng):
    """Quantiles of the times between departures, shape (n, 11), for theta of shape (n, 3)."""
    shortest, range_, rate = theta.T
    shape = (CUSTOMERS, len(theta))
    service = shortest + range_ * rng.random(shape)
    arrival = np.cumsum(rng.exponential(1 / rate, shape), axis=0)
    departure = np.zeros(shape)
    departed = np.zeros(len(theta))
    for k in range(CUSTOMERS):
        departed = np.maximum(departed, arrival[k]) + service[k]
        departure[k] = departed
    between = np.diff(departure, axis=0, prepend=0)
    return np.quantile(between, QUANTILES, axis=0).T


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

    figure, _ = pairplot(samples, points=TRUTH, points_labels="true", labels=LABELS, upper="contour", fig_size=(7, 7))
    picture = Path("waiting_line.png").resolve()
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {picture}")
    print(f"\n{inference.check(num_simulations=200)}\n")
    print(f"The report is in {inference.report('waiting_line.html', labels=LABELS, points=TRUTH)}")


if __name__ == "__main__":
    main()

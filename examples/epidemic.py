"""How contagious was it? Influenza in a boarding school, January 1978.

Of 763 boys, so many were in bed on each of fourteen days. The model is the stochastic SIR: in a short time dt each
susceptible boy falls ill with probability 1 - exp(-R0 I dt / (N D)), and each ill one recovers with 1 - exp(-dt / D).
Who is in bed is counted with some error, a negative binomial one. What is inferred: R0, how many others one ill boy
infects at first; D, how many days he stays ill; how many were ill when counting began; and the counts' relative error.

Known: Keeling and Rohani fit R0 = 3.65, D = 2.2 days by least squares of the model without chance (*Modeling Infectious
Diseases in Humans and Animals*, 2008).

Source of the counts: *Influenza in a boarding school*, British Medical Journal, 4 March 1978, page 587, read off its
figure.
"""

import argparse
from pathlib import Path

import numpy as np
import scipy.stats as st

from homing import SNPE, pairplot

BOYS = 763
IN_BED = np.array([3, 8, 28, 75, 221, 291, 255, 235, 190, 125, 70, 28, 12, 5])
STEPS = 10  # a day
LABELS = ["R₀", "D [days]", "ill on day 0", "error of counts"]

prior = [st.lognorm(0.5, scale=scale) for scale in (3.0, 2.0, 3.0, 0.2)]


def simulator(theta, rng):
    """Boys in bed on each day, shape (n, 14), for theta of shape (n, 4)."""
    reproduction, days, first, error = theta.T
    ill = np.floor(first + rng.random(len(theta))).astype(int)
    susceptible = BOYS - ill
    in_bed = [ill]
    for _ in range(len(IN_BED) - 1):
        for _ in range(STEPS):
            pressure = reproduction * ill / (BOYS * days * STEPS)
            infected = rng.binomial(susceptible, -np.expm1(-pressure))
            recovered = rng.binomial(ill, -np.expm1(-1 / (days * STEPS)))
            susceptible, ill = susceptible - infected, ill + infected - recovered
        in_bed.append(ill)
    mean, error = np.stack(in_bed, axis=1), error[:, None]
    return rng.poisson(mean * rng.gamma(error**-2, error**2, size=mean.shape))


def draw(samples, picture):
    """The posterior, and what it predicts beside what was seen."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(12, 6))
    left, right = figure.subfigures(1, 2)
    pairplot(samples, labels=LABELS, upper="contour", fig=left)
    predicted = simulator(samples[:1000], np.random.default_rng(2))
    axes = right.subplots()
    for mass, shade in ((0.95, 0.2), (0.5, 0.4)):
        low, high = np.quantile(predicted, [0.5 - mass / 2, 0.5 + mass / 2], axis=0)
        axes.fill_between(range(len(IN_BED)), low, high, color="#0072B2", alpha=shade, label=f"{mass:.0%} predicted")
    axes.plot(IN_BED, "o", color="#D55E00", label="counted")
    axes.set(xlabel="day", ylabel="boys in bed")
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {Path(picture).resolve()}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--simulations", type=int, default=2000)
    given = arguments.parse_args()

    inference = SNPE(simulator, prior, batched=True, seed=1)
    posterior = inference.run(IN_BED, num_simulations=given.simulations)
    samples = posterior.sample((10_000,))
    print(f"\n{inference.rounds}\n")
    for name, mean, width in zip(LABELS, samples.mean(axis=0), samples.std(axis=0)):
        print(f"{name}: {mean:.2f} ± {width:.2f}")
    draw(samples, "epidemic.png")
    print(f"\n{inference.check(num_simulations=200)}\n")
    print(f"The report is in {inference.report('epidemic.html', labels=LABELS)}")


if __name__ == "__main__":
    main()

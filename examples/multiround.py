"""The posterior of a linear-Gaussian simulator's three parameters, given one observation, over two rounds.

What should come out is known: the data are theta + 1 with noise of standard deviation 0.1, so at x_o = 0 the posterior
is normal with mean -1 and standard deviation 0.1 in each parameter.
"""

from pathlib import Path

import numpy as np

from homing import SNPE, BoxUniform, pairplot


def linear_gaussian(theta, rng):
    return theta + 1.0 + 0.1 * rng.normal(size=theta.shape)


def main():
    prior = BoxUniform(low=-2 * np.ones(3), high=2 * np.ones(3))
    x_o = np.zeros(3)

    inference = SNPE(linear_gaussian, prior, seed=1)
    posteriors = []
    proposal = None  # round 1 simulates from the prior, round 2 from what round 1 learned at x_o
    for _ in range(2):
        posterior = inference(num_simulations=500, proposal=proposal)
        proposal = posterior.set_default_x(x_o)
        posteriors.append(posterior)

    draws = [posterior.sample((10_000,)) for posterior in posteriors]
    print(f"\n{posteriors[-1]}\n\n{inference.rounds}\n")
    print(f"mean {draws[-1].mean(axis=0).round(3)}, expected -1")
    print(f"standard deviation {draws[-1].std(axis=0).round(3)}, expected 0.1")

    figure, _ = pairplot(
        draws,
        points=-np.ones(3),
        limits=[-1.6, -0.4],
        upper="contour",
        fig_size=(7, 7),
        samples_labels=["after round 1", "after round 2"],
        points_labels="expected mean",
    )
    picture = Path("multiround.png").resolve()
    figure.savefig(picture, dpi=150)
    print(f"The pair plot is in {picture}")


if __name__ == "__main__":
    main()

"""Makes the picture of the first page, pictures/homing-in.png: what each of three rounds simulates, and what it learns.

Lines and letters are of a grey that can be read on white and on black, and the ground is transparent.
"""

import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot

import homing

PICTURE = Path(__file__).parent / "pictures" / "homing-in.png"
GREY, BLUE, ORANGE = "#7d8590", "#3a8fd0", "#e06c1f"


def sounding(theta, rng):
    """How far off something is, and in about which direction."""
    distance = np.hypot(*theta.T)
    bearing = np.arctan2(*theta.T[::-1])
    return np.stack([distance, bearing], axis=1) + [0.04, 0.3] * rng.normal(size=theta.shape)


def main():
    prior = homing.BoxUniform(low=[-2.0, -2.0], high=[2.0, 2.0])
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "run.homing")
        inference = homing.SNPE(sounding, prior, batched=True, seed=1, store=store)
        rounds = inference.iterate([1.2, 0.6], num_simulations=500)
        draws = [posterior.sample((4000,)) for _, posterior in rounds]
        simulated = [homing.open(store).simulations(k + 1)["theta"] for k in range(len(draws))]
        inference.close()

    figure, row = pyplot.subplots(1, len(draws), figsize=(9, 3.3), sharex=True, sharey=True, layout="constrained")
    for k, axes in enumerate(row):
        axes.scatter(*draws[k].T, s=3, color=ORANGE, alpha=0.35, linewidths=0, label="posterior")
        axes.scatter(*simulated[k].T, s=7, color=BLUE, linewidths=0, label="simulated")
        axes.set_title(f"round {k + 1}: {len(simulated[k])} simulations", color=GREY, fontsize=11)
        axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", facecolor="none", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        axes.tick_params(colors=GREY)
        for spine in axes.spines.values():
            spine.set_color(GREY)
    legend = row[-1].legend(loc="lower left", fontsize=9, markerscale=2.5, labelcolor=GREY, frameon=False)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    figure.savefig(PICTURE, dpi=110, transparent=True)
    print(f"The picture is in {PICTURE}")


if __name__ == "__main__":
    main()

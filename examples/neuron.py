"""Which channels does a neuron have? Conductances of a Hodgkin-Huxley neuron, from statistics of its voltage.

The membrane's voltage V and the gates m, h, n of its sodium and potassium channels follow Hodgkin and Huxley's four
equations; a current of 10 µA/cm² with some noise is switched on for 50 ms. What is inferred: the conductances of
sodium, potassium and leak, in mS/cm². What is seen: not the trace, but eight numbers that tell about its spikes.

Made data, with the squid axon's own values: 120, 36 and 0.3. Source of the equations: Hodgkin and Huxley, *A
quantitative description of membrane current and its application to conduction and excitation in nerve*, 1952,
https://doi.org/10.1113/jphysiol.1952.sp004764, with V moved so that the neuron rests at -65 mV.
"""

import argparse
from pathlib import Path

import numpy as np

from homing import SNPE, BoxUniform, pairplot

STEP, BEGIN, END, LENGTH = 0.02, 10.0, 60.0, 70.0  # ms
CURRENT, NOISE = 10.0, 1.0  # µA/cm², and µA/cm² √ms
SODIUM, POTASSIUM, LEAK = 50.0, -77.0, -54.4  # mV, where each current vanishes
TRUTH = np.array([120.0, 36.0, 0.3])
LABELS = ["sodium [mS/cm²]", "potassium [mS/cm²]", "leak [mS/cm²]"]

prior = BoxUniform(low=[60.0, 10.0, 0.05], high=[200.0, 70.0, 0.8])


def rates(v):
    """Of opening and closing, 1/ms, for the gates m, h and n; shape (3, n) each."""
    with np.errstate(invalid="ignore"):
        steps = [np.where(abs(u) < 1e-6, 1.0, u / -np.expm1(-u)) for u in ((v + 40) / 10, (v + 55) / 10)]
    opening = np.array([steps[0], 0.07 * np.exp(-(v + 65) / 20), 0.1 * steps[1]])
    closing = np.array([4 * np.exp(-(v + 65) / 18), 1 / (1 + np.exp(-(v + 35) / 10)), 0.125 * np.exp(-(v + 65) / 80)])
    return opening, closing


def traces(theta, rng):
    """The voltage at each step, shape (steps, n), in mV, for theta of shape (n, 3).

    Within a step the rates are held, so that gates and voltage relax exponentially to where these would bring them:
    stable at any step.
    """
    sodium, potassium, leak = theta.T
    v = np.full(len(theta), -65.0)
    opening, closing = rates(v)
    gates = opening / (opening + closing)
    trace = np.empty((round(LENGTH / STEP), len(theta)))
    for k in range(len(trace)):
        opening, closing = rates(v)
        rest, speed = opening / (opening + closing), opening + closing
        gates = rest + (gates - rest) * np.exp(-STEP * speed)
        m, h, n = gates
        conductances = sodium * m**3 * h, potassium * n**4, leak
        total = sum(conductances)
        current = CURRENT * (BEGIN <= k * STEP < END) + NOISE / np.sqrt(STEP) * rng.normal(size=len(theta))
        drawn = sum(g * e for g, e in zip(conductances, (SODIUM, POTASSIUM, LEAK)))
        goal = (drawn + current) / total
        v = goal + (v - goal) * np.exp(-STEP * total)
        trace[k] = v
    return trace


def simulator(theta, rng):
    """Eight statistics of the trace, shape (n, 8)."""
    trace = traces(theta, rng)
    times = STEP * np.arange(len(trace))
    before, during = trace[times < BEGIN], trace[(times >= BEGIN) & (times < END)]
    upward = (during[:-1] < -20) & (during[1:] >= -20)
    spikes = upward.sum(axis=0)
    first = np.where(spikes, upward.argmax(axis=0) * STEP, END - BEGIN)
    last = np.where(spikes, (len(upward) - upward[::-1].argmax(axis=0)) * STEP, END - BEGIN)
    interval = (last - first) / np.maximum(spikes - 1, 1)
    moments = [during.mean(axis=0), during.std(axis=0), during.max(axis=0), during.min(axis=0)]
    return np.stack([spikes, first, interval, before.mean(axis=0), *moments], axis=1)


def draw(samples, picture):
    """The posterior, and traces of some of its draws beside the observed one."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6))
    left, right = figure.subfigures(1, 2)
    pairplot(samples, points=TRUTH, labels=LABELS, upper="contour", points_labels="true", fig=left)
    seen = traces(TRUTH[None], np.random.default_rng(1))
    drawn = traces(samples[:3], np.random.default_rng(2))
    rows = right.subplots(4, sharex=True, sharey=True, gridspec_kw={"hspace": 0.4})
    for axes, trace in zip(rows, [seen, *drawn.T]):
        axes.plot(STEP * np.arange(len(trace)), trace, color="#D55E00" if trace is seen else "#0072B2", linewidth=1)
        axes.set_title("observed" if trace is seen else "a draw of the posterior", fontsize="small", loc="left")
        axes.set(ylabel="V [mV]")
    axes.set(xlabel="time [ms]")
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
        print(f"{name}: {mean:.3g} ± {width:.2g}, true {true:g}")
    draw(samples, "neuron.png")
    print(f"\n{inference.check(num_simulations=200)}\n")
    print(f"The report is in {inference.report('neuron.html', labels=LABELS, points=TRUTH)}")


if __name__ == "__main__":
    main()

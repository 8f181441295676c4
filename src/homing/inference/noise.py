"""What is said of a simulator's noise: the same in all simulations, or decided by no seed.

Its code is looked at before it is run, at no cost.
"""

from __future__ import annotations

from homing.errors import warn
from homing.simulation import Simulator
from homing.simulation.source import fresh_noise, same_noise

_REMEDY = "Let it draw from a parameter named rng, which homing gives a generator of each simulation's own."


def say_noise_of_code(simulator: Simulator) -> None:
    """Warn of generators that the simulator's code makes or seeds in each call."""
    if simulator.randomness is not None:
        return
    same, fresh = same_noise(simulator.function), fresh_noise(simulator.function)
    if same:
        warn(
            f"The simulator {simulator.name} begins each call with the same random numbers, by {same}: noise that "
            f"comes from them is one and the same in all simulations, and the posterior takes it for certain. {_REMEDY}"
        )
    if fresh:
        warn(
            f"The simulator {simulator.name} draws from a generator that no seed decides, by {fresh}: the run cannot "
            f"be repeated, and the same seed gives other numbers. {_REMEDY}"
        )

"""The problem file that `homing init` writes: it runs as it stands, and shows where one's own goes."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from homing.cli import options as o
from homing.cli.failures import FileError
from homing.text import printable

TEMPLATE = '''\
"""What homing has to know: the simulator, the prior, and what was observed.

    {run}    simulates and learns, and goes on where it stopped
    {check}    says whether to believe the posterior
    {plot}    draws the posterior into {stem}.png

The example: a pulse of some amplitude that decays at some rate, measured ten times with noise.
"""

import numpy as np

import homing

labels = ["amplitude", "decay"]  # the parameters' names; may be left out

TIMES = np.linspace(0.0, 4.5, 10)


def simulator(theta, rng):
    """One theta of shape (2,) in, its data of shape (10,) out, all randomness from rng."""
    amplitude, decay = theta
    return amplitude * np.exp(-decay * TIMES) + 0.1 * rng.normal(size=TIMES.size)


# A program in another language, in its place:
# simulator = homing.command("./sim {{theta_file}} {{out_file}} --seed {{seed}}")


# What is thought of the parameters before: here, that they lie in a box and nothing else. Distributions of
# scipy.stats, torch or numpyro do too, and a list of independent ones, one for each parameter.
prior = homing.BoxUniform(low=[0.0, 0.0], high=[3.0, 2.0])

# What was observed, in the shape in which the simulator gives it. From a file: x_o = np.loadtxt("observed.csv").
x_o = [1.97, 1.62, 1.13, 0.96, 0.81, 0.55, 0.48, 0.29, 0.27, 0.22]
'''


def problem_text(name: str) -> str:
    """The text of a problem file of this name."""
    stem = name.removesuffix(".py")
    commands = {"run": f"homing run {name}", "check": f"homing check {name}", "plot": f"homing plot {stem}.homing"}
    width = max(map(len, commands.values()))
    return TEMPLATE.format(**{verb: command.ljust(width) for verb, command in commands.items()}, stem=stem)


def init(
    problem: Annotated[Path, typer.Argument(metavar="PROBLEM.PY", help="The file to write.")] = Path("problem.py"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
    json: o.Json = False,
) -> None:
    """Write a problem file that runs as it stands.

    Example: homing init problem.py
    """
    if problem.suffix != ".py":
        raise FileError(f"A problem file is a Python file, *.py, found {problem}.")
    if problem.exists() and not force:
        raise FileError(f"{problem} is there already. Choose another name, or replace it with --force.")
    from homing.simulation.writing import replacing

    with replacing(problem) as new:
        new.write_text(problem_text(problem.name), encoding="utf-8")
    print(
        jsonlib.dumps({"file": str(problem)})
        if json
        else printable(f"{problem} is written. Next: homing run {problem}")
    )

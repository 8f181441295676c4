"""The lines that make a run again, from what its run file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from homing.priors import Prior
from homing.priors.box import Uniform
from homing.report.story import Story

_LONG = 12  # numbers of an observation that are written out
_PROPOSALS = {"prior": "None", "posterior": "posterior"}


def recipe(story: Story) -> str:
    """The code that makes the run again. What it cannot know, the simulator and perhaps the prior, is left open."""
    facts = story.facts
    settings = facts.get("settings", {})
    method = settings.get("method", "SNPE")
    simulator = facts.get("simulator", "your simulator").rpartition(".")[2]
    arguments = [simulator, "prior", f"seed={facts.get('seed')}"]
    if "simulation_batch_size" in facts and facts["simulation_batch_size"] != 1000:
        arguments.append(f"simulation_batch_size={facts['simulation_batch_size']}")
    arguments.append('store="again.homing"')
    lines = [
        "import numpy as np",
        "import homing",
        f"from homing.inference import {method}",
        "",
        f"{simulator} = ...  # {facts['simulator']}" if "simulator" in facts else "",
        _prior(facts, None if story.learned is None else story.learned.posterior.prior),
        f"inference = {method}({', '.join(arguments)})",
    ]
    lines += _driven(story) or _by_hand(story)
    return "\n".join(lines)


def _prior(facts: Mapping[str, Any], prior: Prior | None) -> str:
    if isinstance(prior, Uniform):
        return f"prior = homing.BoxUniform({prior.low.tolist()}, {prior.high.tolist()})"
    return f"prior = ...  # {facts.get('prior', {}).get('description', 'not known')}"


def _driven(story: Story) -> list[str]:
    """The lines of `run`, for each time that it was called."""
    shape = None if story.learned is None else story.learned.x_o.shape
    lines = []
    for name, how in story.facts.items():
        if name.startswith("run from round "):
            x_o = np.asarray(how["x_o"], float)
            lines.append(f"x_o = {_observation(x_o if shape is None else x_o.reshape(shape))}")
            proposal = "" if how["proposal"] == "truncated" else f", proposal={how['proposal']!r}"
            lines.append(
                f"posterior = inference.run(x_o, {sum(how['sizes'])}, num_rounds={len(how['sizes'])}{proposal})"
            )
    return lines


def _by_hand(story: Story) -> list[str]:
    """The lines of rounds that were called one by one."""
    lines: list[str] = []
    last: dict[str, Any] = {}
    for number, known in sorted(story.rounds.items()):
        if number < 0:  # of a check
            continue
        name, at = known.proposal["name"], known.arrays.get("x")
        key = {} if known.result is None else known.result.estimator["key"]
        options = key.get("options", last)
        if options != last:
            lines.append(f"training = {options!r}")
            last = options
        if at is not None:
            lines.append(f"posterior.set_default_x({_observation(np.asarray(at))})")
        proposal = f", proposal={_PROPOSALS.get(name, '...')}"
        lines.append(
            f"posterior = inference({len(known.ids)}{proposal}{', **training' * bool(last)})  # round {number}"
        )
    return lines


def _observation(x_o: np.ndarray) -> str:
    if x_o.size <= _LONG:
        return f"np.array({x_o.tolist()})"
    return f"...  # {x_o.size} numbers that begin with {', '.join(f'{value:.6g}' for value in x_o.ravel()[:4])}"

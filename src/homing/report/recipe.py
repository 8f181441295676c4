"""The lines that make a run again, from what its run file says: every setting, and a gap where only the user has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from homing.report.story import Story
from homing.simulation import Round

_LONG = 32  # numbers of an observation that are written out
_KNOWN = {"prior": "None", "posterior": "posterior", "gaussian": "posterior"}  # proposals that the lines have
_SILENT: Mapping[str, Any] = {"arguments": {}, "imports": [], "own": {}}  # a call of which the file says nothing


class _Line(NamedTuple):
    """A line, the modules that it needs, and whether it reads the run."""

    text: str
    imports: Sequence[str] = ()
    reads: bool = False


def recipe(story: Story) -> str:
    """The code that makes the run again. What no file holds, such as the simulator, is left open, in a comment."""
    facts = story.facts
    method = facts.get("settings", {}).get("method", "SNPE")
    simulator = facts.get("simulator", "None").rpartition(".")[2]
    simulator = simulator if simulator.isidentifier() else "simulator"
    call = facts.get("call", _SILENT)
    arguments, own = dict(call["arguments"]), dict(call["own"])
    prior = arguments.pop("prior", "prior")
    if own.pop("prior", None) or prior == "prior":
        prior = f"...  # {facts.get('prior', {}).get('description', 'not known')}"
    named = [f"{name}={code}" for name, code in arguments.items()]
    given = [simulator, "prior", f"seed={facts.get('seed')}", *named, 'store="again.homing"']
    lines = list(_rounds(story))
    imports = {"homing", "numpy as np", *call["imports"], *(name for line in lines for name in line.imports)}
    return "\n".join(
        [
            *(f"import {name}" for name in sorted(imports)),
            f"from homing.inference import {method}",
            "",
            *([story.source] if any(line.reads for line in lines) else []),
            *([f"{simulator} = ...  # {facts['simulator']}"] if "simulator" in facts else []),
            f"prior = {prior}",
            *_open(own),
            f"inference = {method}({', '.join(given)})",
            *(line.text for line in lines),
        ]
    )


def _open(own: Mapping[str, str]) -> list[str]:
    """Lines for what the user must bring."""
    return [f"{name} = ...  # {what}" for name, what in own.items()]


def _rounds(story: Story) -> Iterator[_Line]:
    """The lines of the rounds, in their order: calls of `run`, and rounds that were called one by one."""
    driven = {int(name.rpartition(" ")[2]): name for name in story.facts if name.startswith("run from round ")}
    through = 0  # the round up to which a `run` that is written down already may have gone
    for number in sorted({*(number for number in story.rounds if number > 0), *driven}):
        key = _key(story.rounds.get(number))
        if number in driven:
            yield from _driven(story, number, driven[number])
            through = number + len(story.facts[f"plan of {driven[number]}"]) - 1
        elif number > through or "options" in key:
            through = 0
            yield from _by_hand(story, number)


def _key(known: Round | None) -> Mapping[str, Any]:
    """How a round was learned."""
    return {} if known is None or known.result is None else known.result.estimator["key"]


def _driven(story: Story, number: int, name: str) -> Iterator[_Line]:
    """The lines of one call of `run`."""
    how, call = story.facts[name], story.facts.get(f"call of {name}", _SILENT)
    x_o = np.asarray(how["x_o"], float)
    if story.learned is not None and x_o.size == story.learned.x_o.size:
        x_o = x_o.reshape(story.learned.x_o.shape)
    yield _observation("x_o = {}", x_o, f"run.facts[{name!r}]['x_o']")
    yield from map(_Line, _open(call["own"]))
    named = [f"{name}={code}" for name, code in call["arguments"].items()]
    rounds = [] if how["num_rounds"] is None else [f"num_rounds={how['num_rounds']}"]
    given = ["x_o", str(how["num_simulations"]), *rounds, *named]
    yield _Line(f"posterior = inference.run({', '.join(given)})  # from round {number}", call["imports"])


def _by_hand(story: Story, number: int) -> Iterator[_Line]:
    """The lines of a round that was called, or of one whose simulations were brought."""
    known, call = story.rounds[number], story.facts.get(f"call of round {number}", _SILENT)
    training = [f"{name}={code}" for name, code in call["arguments"].items()]
    name, at, kept = known.proposal["name"], call.get("x"), f"run.facts['call of round {number}']['x']"
    if at is None:
        at, kept = known.arrays.get("x"), f'run.rounds[{number}].arrays["x"]'
    if at is not None:
        yield _observation("posterior.set_default_x({})", np.asarray(at), kept)
    proposal = _KNOWN.get(name, "proposal")
    if name not in _KNOWN:
        yield _Line(f"proposal = ...  # the {name} that round {number} was drawn from")
    if known.outcomes.seconds.any() or len(known.pending):
        given = [str(len(known.ids)), f"proposal={proposal}", *training]
        yield _Line(f"posterior = inference({', '.join(given)})  # round {number}")
        return
    yield _Line(f"rows = run.simulations()  # round {number} was simulated elsewhere", reads=True)
    columns = (f'rows["{column}"][rows["round"] == {number}]' for column in ("theta", "x"))
    yield _Line(f"inference.append_simulations({', '.join(columns)}, {proposal})")
    if _key(known):
        yield _Line(f"learned = inference.train({', '.join(training)})")
        yield _Line("posterior = inference.build_posterior(learned)")


def _observation(line: str, x: np.ndarray, kept: str) -> _Line:
    """A line with an observation in it: written out, or where the run has it."""
    if x.size <= _LONG:
        return _Line(line.format(f"np.array({x.tolist()})"))
    return _Line(line.format(f"np.reshape({kept}, {x.shape})"), reads=True)

"""The user's problem file: a Python file with a simulator, a prior and an observation.

It is run as a module whose folder can be imported from, as if it were started as a script, but under a name of its own
and behind Python's own modules: a problem file, or one beside it, may be called random.py or cmd.py. What it defines
travels to worker processes by value, since they could not import it; what it imports, by its name.
"""

from __future__ import annotations

import importlib.util
import inspect
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from homing.cli.failures import ProblemError, place
from homing.errors import ArgumentError, HomingError

if TYPE_CHECKING:
    from homing.inference.inference import Inference
    from homing.simulation import Round, RunView

_PREFIX = "homing_problem_"  # of the module that a problem file becomes
_NEEDED = {"simulator": "a function from theta to data", "prior": "a distribution over theta", "x_o": "what was seen"}


@dataclass(frozen=True)
class Problem:
    """What a problem file defines.

    Attributes:
        path: The file.
        simulator: A function from theta to data; None if it runs elsewhere.
        name: Its module and name, as if the file were imported by its own name; None if it runs elsewhere.
        prior: Anything that `SNPE` takes as a prior.
        x_o: The observation.
        dim: The number of parameters.
        labels: The parameters' names, or None.
        batched: Whether the simulator takes a batch; None finds out.
        density_estimator: A name or a builder, or None.
        options: A `SideOptions`, or None.
    """

    path: Path
    simulator: Any
    name: str | None
    prior: Any
    x_o: Any
    dim: int
    labels: list[str] | None = None
    batched: bool | None = None
    density_estimator: Any = None
    options: Any = None

    @property
    def store(self) -> Path:
        """The run file where none is named: in the current folder, by the problem's name."""
        return Path(self.path.stem + ".homing")

    def command(self, verb: str, path: Path) -> str:
        """The command line that does something to this problem in a run file."""
        store = [] if path == self.store else ["--store", str(path)]
        return shlex.join(["homing", verb, str(self.path), *store])

    def inference(self, path: Path, method: str | None, estimator: str | None, **running: Any) -> Inference:
        """The inference object of a method, without bars; its run file is told the names of parameters and simulator.

        Args:
            path: The run file.
            method: The method's name; None takes the run file's, or SNPE.
            estimator: What the method learns, by name; None takes the problem's, or the method's own.
            **running: How simulations are run; None takes what the run file has, or what the method does.

        Raises:
            ArgumentError: If the method is unknown, or an option cannot work.
            StoreError: If the run file cannot be used.
        """
        known = Known.of(path)
        kind = method_of(method or known.method)
        options = {"batched": self.batched, "simulation_batch_size": known.batch_size, "store": path}
        options |= {name: value for name, value in running.items() if value is not None}
        learned = estimator or self.density_estimator
        if learned is not None:
            of_ratios = "classifier" in inspect.signature(kind).parameters
            options["classifier" if of_ratios else "density_estimator"] = learned
        inference = kind(self.simulator, self.prior, show_progress_bars=False, **options)
        if self.name is not None:
            inference.remember(simulator=self.name)
        return inference.remember(labels=self.labels)


@dataclass(frozen=True)
class Known:
    """What a run file says of its run.

    Attributes:
        facts: Its facts by name.
        done: How many simulations have an outcome.
        valid: How many have one to learn from.
        learned: The newest round that was learned from; 0 if none was.
        newest: The newest round, if one was planned.
    """

    facts: dict[str, Any]
    done: int = 0
    valid: int = 0
    learned: int = 0
    newest: Round | None = None

    @classmethod
    def of(cls, path: Path) -> Known:
        """What is in a file; nothing if it is not there."""
        from homing.simulation import RunView

        if not path.exists():
            return cls({})
        with RunView(path) as view:
            facts, rounds = view.facts, rounds_of(view)
        done = sum(len(known.ids) - len(known.pending) for known in rounds.values())
        learned = max((number for number, known in rounds.items() if known.result is not None), default=0)
        valid = sum(int(known.outcomes.ok.sum()) for known in rounds.values())
        return cls(facts, done, valid, learned, rounds[max(rounds)] if rounds else None)

    @property
    def driven(self) -> dict[str, Any]:
        """How `run` planned it; empty if its rounds were asked for one by one."""
        return self.facts.get("run from round 1", {})

    @property
    def sizes(self) -> list[int]:
        """Simulations in each round as `run` planned them; empty if its rounds were asked for one by one."""
        return self.facts.get("plan of run from round 1", []) if self.driven else []

    @property
    def method(self) -> str:
        """The method's name."""
        return self.facts.get("settings", {}).get("method", "SNPE")

    @property
    def batch_size(self) -> int:
        """Rows in a call of a batched simulator."""
        return self.facts.get("simulation_batch_size", 1000)


def rounds_of(view: RunView) -> dict[int, Round]:
    """The rounds of a run, without the simulations that it was checked with."""
    return {number: known for number, known in view.rounds.items() if number > 0}


def method_of(name: str) -> Any:
    """A method's class by its name.

    Raises:
        ArgumentError: If there is none.
    """
    import homing.inference as room
    from homing.inference.inference import Inference

    methods = {key: value for key in room.__all__ if is_method(value := getattr(room, key), Inference)}
    if name not in methods:
        raise ArgumentError(f"--method must be one of {', '.join(methods)}, found {name!r}.")
    return methods[name]


def is_method(value: Any, base: type) -> bool:
    """Whether it is the class of a method."""
    return isinstance(value, type) and issubclass(value, base) and value is not base


def load_problem(path: Path, elsewhere: bool = False) -> Problem:
    """Run a problem file, and check what it defines.

    Args:
        path: The file.
        elsewhere: Whether simulations run elsewhere, so that a simulator is neither needed nor used.

    Raises:
        ProblemError: If it is not there, raises, or lacks something, or its prior or x_o cannot be used.
    """
    if path.suffix != ".py":
        hint = " That is a run file: name the problem file, and the run file by --store." if _is_run(path) else ""
        raise ProblemError(f"A problem file is a Python file, *.py, found {path}.{hint}")
    if not path.is_file():
        raise ProblemError(f"{path} is not there. To write one to start from: homing init {path}")
    module = _run(path)
    needed = [name for name in _NEEDED if not (elsewhere and name == "simulator")]
    missing = [f"{name} ({_NEEDED[name]})" for name in needed if not hasattr(module, name)]
    if missing:
        raise ProblemError(
            f"{path} defines no {', no '.join(missing)}. It must define {', '.join(needed)}; homing init "
            "writes an example."
        )
    simulator: Any = None if elsewhere else module.simulator
    if not elsewhere and not callable(simulator):
        raise ProblemError(
            f"simulator in {path} must be a function that takes theta and returns data, found "
            f"{type(simulator).__name__}. A program is made a function by homing.command(...)."
        )
    from homing.inference.simulating import unprepared_prior, unprepared_simulator
    from homing.posteriors import check_observation

    try:
        prior = unprepared_prior(module.prior)
        name = None if elsewhere else unprepared_simulator(simulator, prior.kind, None).name.removeprefix(_PREFIX)
        check_observation(module.x_o, None)
    except HomingError as error:
        raise ProblemError(f"{path}: {error}") from error
    return Problem(
        path=path,
        simulator=simulator,
        name=name,
        prior=module.prior,
        x_o=module.x_o,
        dim=prior.dim,
        labels=_labels(module, path, prior.dim),
        batched=getattr(module, "batched", None),
        density_estimator=getattr(module, "density_estimator", None),
        options=getattr(module, "options", None),
    )


def _run(path: Path) -> ModuleType:
    import cloudpickle

    full = path.resolve()
    name = _PREFIX + full.stem
    spec = importlib.util.spec_from_file_location(name, full)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(full.parent) not in sys.path:
        sys.path.insert(_before_packages(), str(full.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        text = error.msg if isinstance(error, SyntaxError) else error
        what = f"{type(error).__name__}: {text}".rstrip(": .")
        raise ProblemError(f"{path} cannot be run: {what} ({place(error, full)}).") from error
    cloudpickle.register_pickle_by_value(module)
    return module


def _before_packages() -> int:
    """Where on Python's path what it has of its own ends, and what was installed begins."""
    installed = ("site-packages", "dist-packages")
    return next((k for k, folder in enumerate(sys.path) if Path(folder).name in installed), len(sys.path))


def _labels(module: ModuleType, path: Path, dim: int) -> list[str] | None:
    labels: Any = getattr(module, "labels", None)
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) != dim:
        raise ProblemError(
            f"labels in {path} must be a list of {dim} names, one for each parameter of the prior, found {labels!r}."
        )
    names = [str(label) for label in labels]
    if len(set(names)) < dim:
        raise ProblemError(f"labels in {path} must differ from each other, found {names}.")
    return names


def _is_run(path: Path) -> bool:
    return path.is_file() and path.open("rb").read(15) == b"SQLite format 3"

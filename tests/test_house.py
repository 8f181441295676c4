"""The house: one way down between its rooms, files for one sitting, and a face that costs nothing to look at."""

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import homing

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
# A room imports only rooms of lower floors; rooms of one floor do not know each other. The face, homing/__init__.py, is
# the roof; the command line stands on it, as any user does. Diagnostics and pictures need nothing but arrays, so they
# stand low, where posteriors may call them; a report needs what a run has done, and not how, so it stands where
# inference may call it.
FLOORS = [
    {"text"},
    {"errors", "names"},
    {"forks", "lapack"},
    {"programs", "arrays", "units"},
    {"random"},
    {"priors", "simulation", "estimators"},
    {"training", "embeddings"},
    {"diagnostics"},
    {"plots"},
    {"posteriors"},
    {"proposals"},
    {"runs"},
    {"report"},
    {"inference"},
    {"utils"},
    {"face"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES, MOST_FUNCTION_LINES = 400, 70
HEAVY = {"jax", "torch", "matplotlib", "scipy", "scipy.stats", "numpy", "numpyro", "flowjax", "pandas", "loky", "tqdm"}


def module_name(path):
    """`homing.plots.pairplot` for src/homing/plots/pairplot.py."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def room(module):
    return module.split(".")[1] if "." in module else "face"


def imported(tree):
    """The modules of this package that a file imports anywhere in it, also inside functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "homing")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports name their room in full"
            if node.module and node.module.partition(".")[0] == "homing":
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    yield submodule if submodule in FILES else node.module


def at_module_level(tree):
    """Names of all that importing a file imports: not what is inside functions, nor what is for type checkers only."""
    pending = [*tree.body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += ast.iter_child_nodes(node)


def run(code):
    """What a fresh interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_every_room_has_a_floor():
    assert {room(module) for module in FILES} <= FLOOR.keys()


def test_a_room_imports_only_rooms_below():
    upward = [
        f"{module} (floor {FLOOR[room(module)]}) imports {other} (floor {FLOOR[room(other)]})"
        for module, tree in TREES.items()
        for other in imported(tree)
        if room(module) != room(other) and FLOOR[room(module)] <= FLOOR[room(other)]
    ]
    assert not upward, "\n".join(upward)


def test_no_module_imports_in_a_circle():
    TopologicalSorter({module: set(imported(tree)) - {module} for module, tree in TREES.items()}).prepare()


def test_files_and_functions_are_short():
    long = [f"{module}: {lines} lines" for module, path in FILES.items() if (lines := count(path)) > MOST_LINES]
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and code_lines(node) > MOST_FUNCTION_LINES:
                long.append(f"{module}.{node.name}: {code_lines(node)} lines without its docstring")
    assert not long, "\n".join(long)


def count(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(function):
    text = function.body[0] if ast.get_docstring(function) else None
    return lines(function) - (lines(text) if text else 0)


def lines(node):
    return node.end_lineno - node.lineno + 1


def test_every_file_says_what_it_is():
    assert not [module for module, tree in TREES.items() if not ast.get_docstring(tree)]


def test_only_plots_know_matplotlib_and_torch_comes_from_users_only():
    found = {(module, name.partition(".")[0]) for module, tree in TREES.items() for name in at_module_level(tree)}
    assert not {module for module, name in found if name == "torch"}
    assert {room(module) for module, name in found if name == "matplotlib"} <= {"plots"}


def test_all_python_files_are_packaged():
    assert not {path.parent for path in FILES.values() if not (path.parent / "__init__.py").exists()}
    assert (SOURCE / "homing" / "py.typed").exists()
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "py.typed" in setuptools["package-data"]["homing"]


def test_the_face_has_what_it_lists():
    declared = {
        alias.name: room(node.module)
        for node in ast.walk(TREES["homing"])
        if isinstance(node, ast.ImportFrom) and node.module.startswith("homing.")
        for alias in node.names
    }
    doors = {
        alias.name
        for node in ast.walk(TREES["homing"])
        if isinstance(node, ast.ImportFrom) and node.module == "homing"
        for alias in node.names
    }
    assert doors == set(homing._DOORS) == {name for name in doors if getattr(homing, name).__name__ == f"homing.{name}"}
    assert {name for name in dir(homing) if not name.startswith("__")} == {*homing.__all__, *doors}
    assert declared == homing._ROOMS  # what type checkers see is what is loaded
    assert sorted(homing.__all__) == sorted(declared)
    assert {*homing.__all__, "__version__"} <= set(dir(homing))
    for name, home in declared.items():
        room_of = importlib.import_module(f"homing.{home}")
        assert getattr(homing, name) is (room_of if name == home else getattr(room_of, name))
        assert getattr(homing, name).__doc__, f"homing.{name} has no docstring"


def test_a_name_the_face_does_not_have():
    with pytest.raises(
        AttributeError, match=r"module 'homing' has no attribute 'SNPF'; it has .*SNPE, SNRE, BoxUniform"
    ):
        homing.SNPF  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'SNPF'"):
        from homing import SNPF  # noqa: F401


def test_importing_the_face_loads_nothing():
    loaded = run("import homing, json, sys; dir(homing); homing.__version__; print(json.dumps(list(sys.modules)))")
    assert not HEAVY & set(loaded)
    assert [name for name in loaded if name.startswith("homing")] == ["homing"]


def test_simulating_alone_loads_no_machine_learning():
    loaded = run("import homing, json, sys; homing.command; print(json.dumps(list(sys.modules)))")
    assert not (HEAVY - {"numpy"}) & set(loaded)


def test_importing_everything_changes_nothing():
    """No torch, scipy.stats or matplotlib; nobody's settings, random numbers, warnings or files."""
    code = """
import json, logging, os, random, sys, warnings
import jax, numpy, scipy.special  # these have filters for warnings of their own
def state():
    return [
        jax.config.values.copy(), dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers),
        random.getstate(), numpy.random.get_state()[1].tolist(), numpy.geterr(), numpy.get_printoptions(), os.listdir(),
    ]
before = state()
import homing
[getattr(homing, name) for name in homing.__all__]
import homing.utils
same = [one == two for one, two in zip(before, state())]
print(json.dumps([same, list(sys.modules)]))
"""
    same, loaded = run(code)
    assert all(same), same
    assert not {"torch", "scipy.stats", "matplotlib"} & set(loaded)

"""What a message or a docstring names to be called exists on what its reader has, and takes those arguments."""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import homing
from homing import embeddings, estimators, inference, posteriors, utils
from homing.inference.infer import METHODS
from homing.posteriors import Posterior
from homing.runs.opened import OpenedRun

SOURCE = Path(homing.__file__).parent
CALL = re.compile(r"(?<![\w.])((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(\((?:[^()]|\([^()]*\))*\))")
FOREIGN = {"float", "dict", "norm", "simulator", "print", "sample", "var", "p"}  # not homing's, or the user's own


def kinds(cls):
    return {cls, *(kind for sub in cls.__subclasses__() for kind in kinds(sub))}


OWNERS = {  # what a message calls it, and all that the reader may have by that name
    "posterior": [kind for kind in kinds(Posterior) if not inspect.isabstract(kind)],
    "inference": list(dict.fromkeys(METHODS.values())),
    "run": [OpenedRun],
    "homing": [homing],
}
SPACES = (homing, utils, embeddings, estimators, inference, posteriors)


def text_of(node):
    """A string's text, with {} for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def is_said(node):
    """Whether it is where a user is told something: an error or a warning."""
    return isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "warn")


@cache
def calls(said):
    """Names, their arguments and files: of all strings, or of those in errors and warnings."""
    found = set()
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        for top in [node for node in ast.walk(tree) if is_said(node)] if said else [tree]:
            texts = filter(None, map(text_of, ast.walk(top)))
            found |= {
                (*match.groups(), file.relative_to(SOURCE).as_posix()) for t in texts for match in CALL.finditer(t)
            }
    return sorted(found)


def takes(function, written):
    """Whether a function takes these arguments; a positional ..., and what is put in, stand for any."""
    plain = re.sub(r"[{][^}]*[}]", "...", re.sub(r"(?<![(,= *])[{][^}]*[}]", "", written))  # after an argument: others
    call = ast.parse(f"f{plain}", mode="eval").body
    assert isinstance(call, ast.Call)
    positional = [arg for arg in call.args if not (isinstance(arg, ast.Constant) and arg.value is ...)]
    try:
        inspect.signature(function).bind_partial(*positional, **{word.arg: word for word in call.keywords if word.arg})
    except TypeError:
        return False
    return True


def method(owner, name):
    """A function of an owner, without its self."""
    found = getattr(owner, name, None)
    if found is None or not inspect.isclass(owner) or isinstance(inspect.getattr_static(owner, name), property):
        return found
    return found.__get__(object()) if inspect.isfunction(found) else found


def test_what_is_called_on_a_posterior_an_inference_a_run_or_homing_is_there():
    named = [(name.split(".", 1), written, file) for name, written, file in calls(said=False) if name.count(".") == 1]
    seen = [(owner, name, written, file) for (owner, name), written, file in named if owner in OWNERS]
    assert len(seen) > 30
    missing = [
        (f"{owner}.{name}{written}", kind.__name__, file)
        for owner, name, written, file in seen
        for kind in OWNERS[owner]
        if method(kind, name) is None or not takes(method(kind, name), written)
    ]
    assert missing == []


def test_what_errors_and_warnings_call_by_its_name_alone_is_there():
    seen = [(name, written, file) for name, written, file in calls(said=True) if "." not in name]
    seen = [entry for entry in seen if entry[0] not in FOREIGN]
    assert len(seen) > 15
    methods = [*OWNERS["inference"], *OWNERS["posterior"]]
    missing = []
    for name, written, file in seen:
        found = [f for f in (getattr(space, name, None) for space in SPACES) if f is not None]
        found = found or [f for f in (method(owner, name) for owner in methods) if f is not None]
        if not any(takes(f, written) for f in found):
            missing.append((name + written, file))
    assert missing == []

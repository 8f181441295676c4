"""What newcomers see first: the examples, and the README's code."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from homing.priors import as_prior

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
RUN += "; assert 'torch' not in sys.modules"


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for its_language, block in found if its_language == language]


def table(text):
    """The words of the round table's heading, and of its first four columns."""
    heading, *rows = re.findall(r"^ *(?:round|\d+) .*$", text, re.MULTILINE)
    return heading.split(), [row.split()[:4] for row in rows]


def said(text):
    """The names and levels of a check's table, and its sentence."""
    rows, _, sentence = text.strip().partition("\n\n")
    return [re.split(" {2,}", row)[:2] for row in rows.splitlines()], sentence


@pytest.mark.printed
def test_the_example_runs_without_torch_and_prints_what_the_readme_shows(tmp_path):
    from matplotlib.image import imread

    command = [sys.executable, "-c", RUN, str(ROOT / "examples" / "multiround.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert " UserWarning: " not in done.stderr
    shown = next(block for block in blocks("") if "Posterior" in block)
    for text in (
        "Running 500 simulations.: 100%",
        "Neural network successfully converged after ",
        "Using SNPE-C with atomic loss",
        "Drawing 500 posterior samples: 100%",
        "Posterior conditional density p(θ|x) (multi-round). Evaluates and samples by default at x=[[0.0, 0.0, 0.0]].",
        shown.partition("round ")[0],
        f"The pair plot is in {tmp_path.resolve() / 'multiround.png'}",
    ):
        assert text in done.stdout + done.stderr
    assert table(shown) == table(done.stdout)
    assert imread(tmp_path / "multiround.png")[..., :3].std() > 0.01  # not a blank page


@pytest.mark.printed
def test_the_code_in_the_readme_runs(tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
        if "posterior" in block:  # N(-1, 0.1²), after each of three ways
            assert np.abs(names["posterior"].sample((1000,)).mean(0) + 1).max() < 0.1
        if "best" in block:
            assert names["samples"].shape == (10_000, 3)
            assert np.isfinite(names["log_prob"]).all()
            assert np.abs(names["best"] + 1).max() < 0.1
    pyplot.close("all")
    shown = next(block for block in blocks("") if block.startswith("check "))
    assert said(shown) == said(str(names["check"]))
    assert np.abs(names["samples"].mean(0) - [-0.5, -1.0, -1.5]).max() < 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"posterior.npz", "report.html", "run.homing"}


# Example: its observation's shape, and what is known of its parameters, each with the tolerance of what was published
# or, where the data are made, none beside the posterior's own width.
SCIENCE = {
    "epidemic": ((14,), {"R₀": (3.65, 0.5), "D": (2.2, 0.35)}),
    "predator_prey": (
        (42,),
        {"births": (0.55, 0.06), "eaten": (0.028, 0.004), "deaths": (0.8, 0.09), "fed": (0.024, 0.004)},
    ),
    "neuron": ((8,), {"sodium": (120, 0), "potassium": (36, 0), "leak": (0.3, 0)}),
    "power_spectrum": ((12,), {"log₁₀ A": (0, 0), "slope": (-1.5, 0), "smoothing": (1, 0)}),
    "waiting_line": ((11,), {"shortest": (1, 0), "range": (4, 0), "arrivals": (0.2, 0)}),
}


@pytest.mark.parametrize("name", SCIENCE)
def test_an_examples_simulator_is_one(name):
    example = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
    prior, x_o = as_prior(example["prior"]), np.asarray(example.get("x_o", example.get("IN_BED")))
    assert x_o.shape == SCIENCE[name][0]
    assert np.isfinite(x_o).all()
    theta = prior.sample(np.random.default_rng(1), 20)
    x = example["simulator"](theta, np.random.default_rng(2))
    np.testing.assert_array_equal(x, example["simulator"](theta, np.random.default_rng(2)))
    assert x.shape == (20, *x_o.shape)
    assert np.isfinite(x).all()
    assert (x.std(axis=0) > 0).all()


def processor_seconds():
    """What all processes took that were started here and have ended, by all processors; a busy machine adds little."""
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.slow
@pytest.mark.parametrize("name", SCIENCE)
def test_an_example_finds_what_is_known(name, tmp_path):
    """With a verdict that lets it be believed, in two minutes of two processors."""
    from matplotlib.image import imread

    command = [sys.executable, "-c", RUN, str(ROOT / "examples" / f"{name}.py")]
    before = processor_seconds()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert processor_seconds() - before < 2 * 120
    assert len(table(done.stdout)[1]) >= 3
    for label, (known, tolerance) in SCIENCE[name][1].items():
        line = next(line for line in done.stdout.splitlines() if line.startswith(label))
        mean, width = (float(number) for number in re.search(r": (\S+) ± ([\d.e-]+)", line).groups())
        assert abs(mean - known) < 3 * width + tolerance, line
    assert re.search(r"^Believe( with care)?: ", done.stdout, re.MULTILINE), done.stdout
    assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.01
    assert "</html>" in (tmp_path / f"{name}.html").read_text(encoding="utf-8")

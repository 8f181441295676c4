"""What newcomers see first: the example, and the README's code."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); assert 'torch' not in sys.modules"


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for its_language, block in found if its_language == language]


def table(text):
    """The words of the round table's heading, and of its first four columns."""
    heading, *rows = re.findall(r"^ *(?:round|\d+) .*$", text, re.MULTILINE)
    return heading.split(), [row.split()[:4] for row in rows]


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
    assert np.abs(names["samples"].mean(0) - [-0.5, -1.0, -1.5]).max() < 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"posterior.npz", "run.homing"}

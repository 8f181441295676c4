"""What newcomers run first: the example, and the README's code."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from homing.inference import Rounds

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); assert 'torch' not in sys.modules"


def test_the_example_runs_without_torch_and_says_where_its_picture_is(tmp_path):
    from matplotlib.image import imread

    command = [sys.executable, "-W", "error::UserWarning", "-c", RUN, str(ROOT / "examples" / "multiround.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    for text in (
        "Running 500 simulations.: 100%",
        "Neural network successfully converged after ",
        "Using SNPE-C with atomic loss",
        "Drawing 500 posterior samples: 100%",
        "Posterior conditional density p(θ|x) (multi-round). Evaluates and samples by default at x=[[0.0, 0.0, 0.0]].",
        f"The pair plot is in {tmp_path.resolve() / 'multiround.png'}",
    ):
        assert text in done.stdout + done.stderr
    assert re.search(
        r"^ +1 +prior +500 +500 +maximum likelihood .*\n +2 +posterior +500 +500 +atomic ", done.stdout, re.M
    )
    assert imread(tmp_path / "multiround.png")[..., :3].std() > 0.01  # not a blank page


def test_the_code_in_the_readme_runs(tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    for block in blocks[:2]:
        exec(compile(block, "README.md", "exec"), names)
        samples, log_prob, best = names["samples"], names["log_prob"], names["best"]
        assert samples.shape == (10_000, 3)
        assert np.isfinite(log_prob).all()
        assert np.abs(best + 1).max() < 0.15  # the posterior is N(-1, 0.1²)
        assert np.abs(names["posterior"].sample((1000,)).mean(0) + 1).max() < 0.1
    for block in blocks[2:]:
        exec(compile(block, "README.md", "exec"), names)
    pyplot.close("all")
    assert names["samples"].shape == (1000, 3)
    assert np.abs(names["samples"].mean(0) - [-0.5, -1.0, -1.5]).max() < 0.1
    assert not list(tmp_path.iterdir())


def test_the_table_in_the_readme_is_the_one_that_is_printed():
    assert re.search(r"^round .*$", README, re.M).group().split() == str(Rounds([])).split()

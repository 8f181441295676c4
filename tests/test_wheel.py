"""What is published: a wheel that holds the package, installs into a clean environment, and works there."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import homing

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
NEEDS_TYPER = "homing: the command line needs typer, which is not installed: pip install 'homing[cli]'.\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("*.tar.gz"))) == 1  # the wheel is built from it
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (path for path in (ROOT / "src" / "homing").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {path.relative_to(ROOT / "src").as_posix() for path in files} <= names
    assert {name.partition("/")[0] for name in names} == {"homing", f"homing-{homing.__version__}.dist-info"}


def test_the_wheel_works_in_a_clean_environment(wheel, tmp_path):
    """Without PyTorch and everything else that is optional: a doctest, and a run over two rounds; then the commands."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    quiet = ["--quiet", "--disable-pip-version-check"]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run([python, "-m", "pip", "install", *quiet, str(wheel)], env=clean, check=True)
    code = """
import doctest, sys
import homing
assert "site-packages" in homing.__file__, homing.__file__
assert doctest.testmod(homing).attempted
assert not doctest.testmod(homing).failed
prior = homing.BoxUniform([-1.0], [1.0])
inference = homing.SNPE(lambda theta, rng: theta + 0.1 * rng.normal(size=1), prior, seed=1, show_progress_bars=False)
posterior = inference.run([0.5], num_simulations=300)
assert len(inference.rounds) == 2
assert abs(posterior.sample((1000,)).mean() - 0.5) < 0.1
assert not {"torch", "numpyro", "pandas"} & set(sys.modules)
print("works")
"""
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.stdout == "works\n", done.stderr

    command = Path(python).with_name("homing")
    refused = subprocess.run([command, "--version"], env=clean, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (6, NEEDS_TYPER)
    subprocess.run([python, "-m", "pip", "install", *quiet, f"{wheel}[cli]"], env=clean, check=True)
    for arguments in (["init"], ["run", "problem.py", "-n", "150", "--seed", "1"], ["report", "problem.homing"]):
        done = subprocess.run(
            [command, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "</html>" in (tmp_path / "problem.html").read_text(encoding="utf-8")

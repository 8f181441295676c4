"""What make and CI run, in which order, and that CI does not pass where the browser's tests cannot run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKS = ["test", "test-printed", "lint", "demo"]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="CI's script is one of bash")


def test_every_target_of_make_says_what_it_does():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    told = dict(re.findall(r"^([a-z-]+):.* ## (.+)$", text, re.MULTILINE))
    assert set(told) == targets >= set(CHECKS)
    if shutil.which("make"):
        shown = subprocess.run(
            ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert [line.split(maxsplit=2)[1:] for line in shown.splitlines()] == [[*pair] for pair in told.items()]


def test_contributing_names_the_extras_that_are_tested_with_the_oldest():
    (command,) = re.findall(r"oldest\.py ([\w ]+) >", (ROOT / "Makefile").read_text(encoding="utf-8"))
    (row,) = re.findall(
        r"^\| the oldest, (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert re.findall(r"`(\w+)`", row) == command.split()


def test_what_lint_checks_is_checked_before_each_commit():
    lint = re.findall(r"-m (\w+)", (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0])
    hooks = re.findall(r"entry: (\S+) -m (\w+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert set(lint) == {"ruff", "pyright"}
    assert {name for _, name in hooks} >= set(lint)
    assert {python for python, _ in hooks} == {".venv/bin/python"}


@pytest.fixture
def ci(tmp_path):
    """Run CI's script on a machine that has nothing but these programs: exit code, standard output, standard error."""

    def run(user="1000", installs=None, programs=(), **environment):
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
        path = tmp_path / "bin"
        path.mkdir()
        stubs = {"make": 'echo "$1 ${HOMING_NEEDS_BROWSER:-0}"', "id": f"echo {user}", "dirname": 'echo "${1%/*}"'}
        stubs |= dict.fromkeys(programs, "true")
        if installs is not None:
            stubs["apt-get"] = installs
        for name, script in stubs.items():
            (path / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
            (path / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "HOMING_NEEDS_BROWSER")}
        done = subprocess.run(
            [shutil.which("bash"), str(tmp_path / ".ci" / "run")],
            env={**kept, "PATH": str(path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


@pytest.mark.parametrize("browser", ["chromium", "chromium-browser", "google-chrome"])
def test_with_a_browser_its_tests_must_run(ci, browser):
    assert ci(programs=[browser], CI="true") == (0, [f"{check} 1" for check in CHECKS], "")


@pytest.mark.parametrize(("user", "installs"), [("1000", None), ("1000", "exit 0"), ("0", None), ("0", "exit 100")])
def test_in_ci_it_fails_without_a_browser(ci, user, installs):
    code, out, err = ci(user, installs, CI="true")
    assert (code, out) == (1, [])
    assert err.splitlines()[-1] == (
        "No Chromium was found, and the tests need it to look at the report. Install chromium or google-chrome first."
    )


def test_elsewhere_it_says_what_is_skipped(ci):
    message = "No Chromium was found: the tests that look at the report in it are skipped.\n"
    assert ci() == (0, [f"{check} 0" for check in CHECKS], message)


def test_a_browser_is_installed_where_that_is_possible(ci):
    made = "${0%/*}/chromium"
    install = f'[ "$1" != install ] || {{ echo "#!$BASH" > "{made}"; {shutil.which("chmod")} +x "{made}"; }}'
    code, out, _ = ci("0", install, CI="true")
    assert (code, out) == (0, [f"{check} 1" for check in CHECKS])

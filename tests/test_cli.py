"""The command line: what each command does, what it says, how it ends, and that a run goes on after any end."""

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import homing
from homing.cli import main
from homing.cli.driving import Plan, Shown
from homing.cli.failures import exit_code, in_one_line, sentence
from homing.cli.problem import load_problem
from homing.cli.screen import Clock, LiveScreen, Screen
from homing.cli.words import span
from homing.diagnostics import Check, Verdict
from homing.errors import ArgumentError, MissingError, SimulationError
from homing.inference import SNPE, Progress
from homing.simulation import StoreError

posix = pytest.mark.skipif(os.name != "posix", reason="terminals and signals of POSIX")

# A problem that learns little, and quickly.
PROBLEM = """
import time
import numpy as np
from homing import BoxUniform, posterior_nn
from homing.inference import SideOptions
from homing.training import FitOptions

labels = ["mass", "spin"]
prior = BoxUniform([-2.0, -2.0], [2.0, 2.0])
x_o = [0.5, -0.5]
batched = False
options = SideOptions(
    builders=(posterior_nn("mdn", hidden_features=8, num_components=2),),
    members=2,
    likelihood=None,
    fit=FitOptions(stop_after_steps=10, max_num_epochs=2),
)


def simulator(theta):
    time.sleep(SECONDS)
    return theta + 0.3 * np.sin(20 * theta)
"""
COMMANDS = ["init", "run", "check", "status", "sample", "plot", "export", "report", "watch", "ask", "tell"]
TINY = ["-n", "60", "--rounds", "2", "--seed", "3"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a problem file that is quick, and one whose simulations take a while."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.py").write_text(PROBLEM.replace("SECONDS", "0"))
    (tmp_path / "slow.py").write_text(PROBLEM.replace("SECONDS", "0.02"))
    return tmp_path


@pytest.fixture
def cli(capsys):
    """Run a command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def draws(path):
    with homing.open(path) as run:
        return run.posterior().sample((50,), show_progress_bars=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run file of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "quick.py").write_text(PROBLEM.replace("SECONDS", "0"))
    assert main(["run", str(folder / "quick.py"), *TINY, "--store", str(folder / "run.homing"), "--quiet"]) == 0
    return folder / "run.homing"


@pytest.fixture(scope="module")
def expected(whole):
    """Its draws."""
    return draws(whole)


@pytest.fixture
def finished(folder, whole):
    """Its run file, where the problem's is expected."""
    shutil.copy(whole, folder / "quick.homing")


def start(*arguments, **options):
    command = [sys.executable, "-m", "homing.cli", *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "COLUMNS": "100"}, **options)


# A session ----------------------------------------------------------------------------------------------------------


@pytest.mark.printed
def test_what_init_writes_runs_as_it_stands(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    assert cli("init") == (0, "problem.py is written. Next: homing run problem.py\n", "")
    code, out, err = cli("init")
    assert (code, out) == (2, "")
    assert err == "homing: problem.py is there already. Choose another name, or replace it with --force.\n"
    assert cli("init", "--force", "--json")[:2] == (0, '{"file": "problem.py"}\n')

    code, out, err = cli("run", "problem.py", "-n", 150, "--seed", 1)
    assert code == 0
    assert err.startswith("problem.py: 150 simulations in one round, seed 1, in problem.homing\n")
    assert "round 1 of 1: simulating, 0 of 150\nround 1 of 1: learning\n" in err
    assert "\x1b" not in err + out
    assert "\r" not in err + out
    assert re.search(r"^round 1 of 1: 150 simulations from the prior.*, learned in \d", err, re.MULTILINE)
    assert err.endswith("\nWhether to believe it: homing check problem.py\n")
    assert out.startswith("The posterior after one round and 150 simulations, in problem.homing:\n")
    for name, value in (("amplitude", 2.0), ("decay", 0.5)):  # what made x_o
        mean, sd, low, high = (float(v) for v in re.search(rf"^  {name}(.*)%$", out, re.MULTILINE)[1].split()[:4])
        assert abs(mean - value) < 3 * sd
        assert low < mean < high
        assert sd < 0.3

    code, again, err = cli("run", "problem.py")
    assert (code, again) == (0, out)
    assert "which has 150 of them\nround 1 of 1: 150 simulations from the prior; from the run file\n" in err

    code, out, _ = cli("status", "problem.homing")
    assert code == 0
    assert out.startswith("problem.homing: SNPE, simulator problem.simulator, seed 1\n")
    assert "All that was planned is finished." in out
    assert again.partition("\n")[2] in out
    told = json.loads(cli("status", "problem.homing", "--json")[1])
    assert [row["ok"] for row in told["rounds"]] == [150]
    assert [row["name"] for row in told["posterior"]] == ["amplitude", "decay"]


def test_what_init_hints_at_loads_in_place_of_the_example(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    np.savetxt("observed.csv", np.arange(10.0))
    assert cli("init")[0] == 0
    text = Path("problem.py").read_text()
    (program,) = re.findall(r"^# (simulator = .*)$", text, re.MULTILINE)
    (observed,) = re.findall(r"^# .*From a file: (x_o = .*)\.$", text, re.MULTILINE)
    Path("problem.py").write_text(f"{text}\n{program}\n{observed}\n")
    problem = load_problem(Path("problem.py"))
    assert problem.simulator == homing.command("./sim {theta_file} {out_file} --seed {seed}")
    assert problem.x_o.shape == (10,)


def test_a_run_as_json_and_what_is_taken_from_it(finished, cli):
    code, out, err = cli("run", "quick.py", *TINY, "--json", "--quiet")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert [record["asked"] for record in told["rounds"]] == [30, 30]
    assert [row["name"] for row in told["posterior"]] == ["mass", "spin"]

    expected = draws("quick.homing")
    code, out, err = cli("sample", "quick.homing", "-n", 50)
    heading, *rows = out.splitlines()
    assert (code, heading, err) == (0, "mass,spin", "")
    np.testing.assert_array_equal([[float(v) for v in row.split(",")] for row in rows], expected)  # to the last digit
    assert cli("sample", "quick.homing", "-n", 50, "--seed", 1)[1] != out
    assert cli("sample", "quick.homing", "-n", 50, "-o", "s.csv")[1] == "50 draws of mass, spin are in s.csv\n"
    assert Path("s.csv").read_text() == out
    assert json.loads(cli("sample", "quick.homing", "-n", 50, "-o", "s.npy", "--json")[1])["samples"] == 50
    np.testing.assert_array_equal(np.load("s.npy"), expected)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    assert cli("sample", "quick.homing", "-n", 50, "-o", "s.parquet")[0] == 0
    np.testing.assert_array_equal(pandas.read_parquet("s.parquet")[["mass", "spin"]], expected)

    np.save("x.npy", [0.0, 1.0])
    elsewhere = cli("sample", "quick.homing", "-n", 50, "--x", "x.npy", "--round", 1)[1]
    with homing.open("quick.homing") as run:
        at_x = run.posterior(1).sample((50,), x=[0.0, 1.0], show_progress_bars=False)
    np.testing.assert_array_equal(np.loadtxt(elsewhere.splitlines()[1:], delimiter=","), at_x)

    from matplotlib.image import imread

    assert cli("plot", "quick.homing", "--round", 1, "--round", 2)[1] == "The pair plot is in quick.png\n"
    assert imread("quick.png")[..., :3].std() > 0.01  # not a blank page
    assert told_by(cli, "plot", "quick.homing", "-o", "pairs.svg") == {"run": "quick.homing", "file": "pairs.svg"}
    assert "<!-- prior -->" in Path("pairs.svg").read_text()  # its legend
    assert cli("plot", "quick.homing", "-o", "pairs.pdf")[0] == 0
    assert Path("pairs.pdf").read_bytes().startswith(b"%PDF-")


def told_by(cli, *arguments):
    """What a command prints as JSON, and nothing beside it on standard output."""
    code, out, err = cli(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_table_without_its_package_says_what_to_install(finished, cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, out, err = cli("sample", "quick.homing", "-n", 5, "-o", "s.parquet")
    assert (code, out) == (6, "")
    needs = "a .parquet file needs pandas with pyarrow, which is not installed: pip install 'homing[parquet]'."
    assert err == f"homing: {needs}\n"


def test_export(finished, cli):
    arviz = pytest.importorskip("arviz")
    assert cli("export", "quick.homing")[:2] == (0, "The posterior is in quick.nc\n")
    assert told_by(cli, "export", "quick.homing", "-o", "q.nc") == {"run": "quick.homing", "file": "q.nc"}
    assert Path("q.nc").read_bytes()[1:4] == b"HDF"
    posterior = arviz.from_netcdf("quick.nc").posterior
    assert posterior["parameter"].values.tolist() == ["mass", "spin"]
    assert posterior["theta"].shape[-1] == 2


# Options ------------------------------------------------------------------------------------------------------------

BARE = PROBLEM.partition("options =")[0]  # that of SNPE alone, and no simulator
SLOW_AT_ONE_END = PROBLEM.replace("SECONDS", "30 if theta[0] > 1.5 else 0")
SLOW_IF_LARGE = PROBLEM.replace("SECONDS", "0 if len(theta) <= 7 else 30").replace("batched = False", "batched = True")
OWN = """
class Triangles:
    low, high = [-2.0, -2.0], [2.0, 2.0]

    def sample(self, shape, rng):
        return rng.triangular(-2.0, 0.0, 2.0, size=(*shape, 2))

    def log_prob(self, theta):
        return np.log(np.maximum(2 - np.abs(theta), 1e-300) / 4).sum(axis=1)


prior = Triangles()
options = SideOptions(options.builders, members=2, likelihood=None, fit=options.fit)
"""


@pytest.mark.parametrize(
    ("line", "text", "fact", "value"),
    [
        ("ask p.py --method SNRE_B -o in.csv", BARE, "method", "SNRE_B"),
        ("ask p.py --method SNLE --estimator nsf -o in.csv", BARE, "density_estimator", "nsf"),
        ("ask p.py --method BNRE --estimator mlp -o in.csv", BARE, "classifier", "mlp"),
        ("ask p.py --estimator mdn -o in.csv", BARE, "density_estimator", "mdn"),
        ("run p.py --timeout 0.2 --rounds 1", SLOW_AT_ONE_END, "timeout", "0.2"),
        ("run p.py --batch-size 7 --rounds 1", SLOW_IF_LARGE, "simulation_batch_size", "7"),
    ],
)
def test_an_option_is_in_the_run_file(folder, cli, line, text, fact, value):
    Path("p.py").write_text(text)
    code, _, err = cli(*line.split(), "-n", 40, "--seed", 3, "--quiet")
    assert code == 0, err
    with homing.open("p.homing") as run:
        settings, call = run.facts["settings"], run.facts["call"]["arguments"]
        statuses = run.simulations()["status"].tolist()
    told = settings[fact]["model"] if fact in ("density_estimator", "classifier") else {**settings, **call}[fact]
    assert told == value
    if line.startswith("run"):
        late = statuses.count("timed_out")
        assert statuses.count("ok") == 40 - late
        assert (late > 0) == (fact == "timeout")


def test_a_prior_of_ones_own_is_read_from_the_problem_file(folder, cli):
    Path("p.py").write_text(PROBLEM.replace("SECONDS", "0") + OWN)
    assert cli("run", "p.py", "-n", 40, "--rounds", 1, "--seed", 3, "--quiet")[0] == 0
    code, _, err = cli("sample", "p.homing", "-n", 3)
    assert code == 3
    assert "prior" in err
    assert cli("status", "p.homing", "--problem", "p.py")[0] == 0
    code, out, _ = cli("sample", "p.homing", "-n", 3, "--problem", "p.py")
    heading, *rows = out.splitlines()
    assert (code, heading, len(rows)) == (0, "mass,spin", 3)


# Ends, and going on -------------------------------------------------------------------------------------------------


@posix
def test_after_ctrl_c_the_same_command_goes_on(folder, cli, expected):
    log = folder / "log"
    with log.open("w") as file:
        child = start("run", "slow.py", *TINY, stdout=file, stderr=file)
        _wait_for(log, "simulating")
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
    text = log.read_text()
    assert "Finishing what runs. Press Ctrl-C again to stop at once" in text
    done, _ = re.search(r"Interrupted\. (\d+) simulations are in slow\.homing\. To go on: (.*)\n$", text).groups()
    assert 0 < int(done) < 30
    assert text.endswith(f"To go on: homing run slow.py {' '.join(TINY)}\n")
    told = json.loads(cli("status", "slow.homing", "--json")[1])
    assert told["next"] == f"Round 1 waits for {30 - int(done)} of 30 simulations."
    code, _, err = cli("run", "slow.py")  # which has the plan and the seed from the run file
    assert code == 0
    assert f"in slow.homing, which has {done} of them" in err
    assert (
        len(re.findall(r"^ *mass +-?[\d.]", err, re.MULTILINE)) == 1
    )  # a log has round 1's posterior, stdout the last
    np.testing.assert_array_equal(draws("slow.homing"), expected)


@posix
def test_after_kill_9_the_same_command_goes_on(folder, cli, expected):
    log = folder / "log"
    with log.open("w") as file:
        child = start("run", "slow.py", *TINY, "--workers", 2, stdout=file, stderr=file)
        _wait_for(log, "simulating")
        _wait_for(log, "simulating", lambda: json.loads(cli("status", "slow.homing", "--json")[1])["rounds"][0]["ok"])
        child.kill()
        child.wait(30)
    assert cli("run", "slow.py", *TINY)[0] == 0
    np.testing.assert_array_equal(draws("slow.homing"), expected)


def _wait_for(log, text, also=lambda: True):
    end = time.perf_counter() + 60
    while not (text in log.read_text() and also()):
        assert time.perf_counter() < end, log.read_text()
        time.sleep(0.05)


@posix
def test_a_terminal_shows_a_line_that_lives(folder, expected):
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "homing.cli", "run", "slow.py", *TINY, "--workers", "2"],
        stdout=follower,
        stderr=follower,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert child.wait(60) == 0
    text = shown.decode()
    assert "\x1b[2K" in text  # the line is written anew
    assert "\x1b[?25h" in text  # and the cursor shown again
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"round 1 of 2  simulating  ━+  \d+/30  [\d.]+/", plain)
    assert "round 2 of 2  learning" in plain
    assert "  mass " in plain
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80
    np.testing.assert_array_equal(draws(folder / "slow.homing"), expected)


@pytest.mark.parametrize(("columns", "has_bar"), [(40, False), (60, False), (80, True), (120, True)])
def test_the_living_line_is_as_long_as_the_terminal_is_wide(monkeypatch, columns, has_bar):
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = LiveScreen([100_000, 50_000])
    monkeypatch.setattr(screen.clock, "_learned", [5000.0])
    for done in (10_000, 20_000):
        screen.told(Progress(1, "simulate", done, 100_000))
    (line,) = screen._console.render_lines(screen.__rich__(), pad=False)
    text = "".join(segment.text for segment in line)
    assert len(text) <= columns
    assert "20,000/100,00" in text
    assert ("━" in text) == has_bar
    assert columns < 120 or text.endswith(" min left")


def test_worker_processes_know_what_a_problem_file_defines_and_imports(folder, cli, monkeypatch, expected):
    place = folder / "elsewhere"
    place.mkdir()
    (place / "waves.py").write_text("import numpy as np\n\n\ndef wave(theta):\n    return 0.3 * np.sin(20 * theta)\n")
    text = PROBLEM.replace("    time.sleep(SECONDS)\n", "").replace("0.3 * np.sin(20 * theta)", "wave(theta)")
    (place / "quick.py").write_text("from waves import wave\n" + text)
    assert cli("run", "elsewhere/quick.py", *TINY, "--workers", 2, "--quiet")[0] == 0
    np.testing.assert_array_equal(draws("quick.homing"), expected)


@pytest.mark.slow
def test_a_problem_file_and_its_neighbours_hide_no_module_of_python(folder):
    place = folder / "elsewhere"
    place.mkdir()
    for name in ("cmd", "queue"):  # which what is imported later needs, and what worker processes do
        (place / f"{name}.py").write_text(PROBLEM.replace("SECONDS", "0"))
    process = start("run", "elsewhere/cmd.py", *TINY, "--quiet", "--workers", 2, stderr=subprocess.PIPE)
    assert process.communicate()[1] == b""
    assert process.returncode == 0
    assert Path("cmd.homing").exists()


# Ask and tell -------------------------------------------------------------------------------------------------------


def test_ask_and_tell_end_where_run_does(folder, cli, expected):
    """Round 1 by CSV, in parts, and again; round 2 by .npz out and JSON in."""

    def simulate(theta):
        return theta + 0.3 * np.sin(20 * theta)

    Path("asked.py").write_text(PROBLEM.partition("def simulator")[0])  # nothing here can simulate
    code, out, err = cli("ask", "asked.py", *TINY, "-o", "in.csv")
    assert (code, out) == (0, "30 simulations of round 1 are in in.csv.\n")
    heading, *rows = Path("in.csv").read_text().splitlines()
    assert heading == "id,mass,spin"
    table = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    x = simulate(table[:, 1:])
    lines = [f"{row},{x[k, 0]},{x[k, 1]}" for k, row in enumerate(rows)]
    Path("a.csv").write_text("\n".join(["id,mass,spin,x0,x1", *lines[20:]]))
    np.save("b.npy", np.column_stack([table[:, 0], x])[:30][::-1])
    code, out, _ = cli("tell", "asked.homing", "a.csv")
    assert (code, out) == (0, "10 new results are in asked.homing. Of those handed out, 20 are still missing.\n")
    code, out, _ = cli("ask", "asked.py")  # what is missing, on standard output
    assert out.splitlines() == [heading, *rows[:20]]
    told = json.loads(cli("tell", "asked.homing", "a.csv", "b.npy", "--json")[1])
    assert told == {"run": "asked.homing", "told": 40, "new": 20, "waiting": []}

    code, out, err = cli("ask", "asked.py", "-o", "in.npz", "--json")
    assert (code, json.loads(out)["ids"]) == (0, list(range(30, 60)))
    assert "round 1 of 2: 30 simulations from the prior, learned in" in err
    with np.load("in.npz") as batch:
        results = [{"id": int(i), "x": simulate(theta).tolist()} for i, theta in zip(batch["ids"], batch["theta"])]
    Path("out.json").write_text(json.dumps(results))
    assert cli("tell", "asked.homing", "out.json")[0] == 0
    code, out, _ = cli("ask", "asked.py")
    assert code == 1  # nothing is left to simulate
    assert out.startswith("The posterior after 2 rounds and 60 simulations, in asked.homing:\n")
    np.testing.assert_array_equal(draws("asked.homing"), expected)
    code, out, _ = cli("check", "asked.py", "-n", 0, "--json")  # without a simulator
    told = json.loads(out)
    assert (code, told["num_simulations"]) == ({"pass": 0, "care": 0, "fail": 1}[told["level"]], 0)
    assert "truncation" in {verdict["name"] for verdict in told["verdicts"]}


def test_failures_can_be_told_and_given_up(folder, cli):
    cli("ask", "quick.py", *TINY, "-o", "in.json")
    batch = json.loads(Path("in.json").read_text())
    Path("a.csv").write_text("id,x0,x1,error\n0,1.0,2.0,\n1,,,out of memory\n2,nan,1.0,\n")
    Path("b.json").write_text(json.dumps([{"id": 3, "error": "lost"}, {"id": 4, "x": batch[4]["theta"]}]))
    np.savez("c.npz", ids=[5, 6], x=np.ones((2, 2)), errors=["", "no"])
    assert json.loads(cli("tell", "quick.homing", "a.csv", "b.json", "c.npz", "--json")[1])["new"] == 7
    code, out, _ = cli("tell", "quick.homing", "--give-up")
    assert (code, out) == (0, "0 new results are in quick.homing. Of those handed out, 23 are given up.\n")
    (row,) = json.loads(cli("status", "quick.homing", "--json")[1])["rounds"]
    assert [row[name] for name in ("ok", "invalid", "failed", "waiting")] == [3, 1, 26, 0]
    with homing.open("quick.homing") as run:
        assert run.simulations()["error"][[1, 3, 6, 7]].tolist() == ["out of memory", "lost", "no", "given up"]
    code, _, err = cli("ask", "quick.py", "-o", "second.json")
    assert code == 0
    assert "After round 1, 3 simulations were valid so far" in err
    assert len(json.loads(Path("second.json").read_text())) == 30
    cli("tell", "quick.homing", "--give-up")
    code, _, err = cli("ask", "quick.py")
    assert code == 5
    assert "homing: Too few valid simulations to learn from: 0 of the 30 of round 2, 3 in all" in err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "1,2,3\n", r"a.csv needs a first line that names its columns, one of them id; found '1,2,3'"),
        (
            "a.csv",
            "id,mass,spin,error\n0,1,2,\n1,1,2,lost\n",
            r"a.csv has no data: .* number of x, found 'id,mass,spin,error'",
        ),
        ("a.csv", "id,x\n0\n", r"a.csv, line 2: expected 2 cells, found 1"),
        ("a.csv", "id,x,y\n0,one,2\n", r"a.csv cannot be read as results: could not convert string to float: 'one'"),
        ("a.csv", "id,x,y\n99,1,2\n", r"ids must be some that ask gave; 99 was never given, the run has 30"),
        ("a.json", '[{"id": 0}]', r"a.json: the simulation 0 has neither x nor error"),
        ("a.json", "{", r"a.json cannot be read as results: Expecting property name"),
        ("a.txt", "", r"a.txt must end in one of .csv, .npz, .npy, .json, which says how it is written"),
        ("no.csv", None, r"no.csv cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_told(folder, cli, name, text, message):
    cli("ask", "quick.py", *TINY, "-o", "in.csv")
    if text is not None:
        Path(name).write_text(text)
    code, out, err = cli("tell", "quick.homing", name)
    assert (code, out) == (2, "")
    assert re.match(f"homing: {message}", err)


def test_data_of_another_shape_cannot_be_told(folder, cli):
    cli("ask", "quick.py", *TINY, "-o", "in.csv")
    for row in ("0,1.0,2.0", "1,1.0,2.0,3.0"):
        names = ",".join(f"x{k}" for k in range(row.count(",")))
        Path("a.csv").write_text(f"id,{names}\n{row}\n")
        code, _, err = cli("tell", "quick.homing", "a.csv")
    message = "homing: a.csv has data of shape (3,) for each simulation, those of the run have (2,).\n"
    assert (code, err) == (2, message)


# The commands of other rooms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "options", "code"), [("pass", [], 0), ("care", [], 0), ("care", ["--strict"], 1), ("fail", [], 1)]
)
def test_check_answers_by_its_exit_code(finished, cli, monkeypatch, level, options, code):
    asked = []
    found = Check((Verdict("coverage", level, 0.1, 0.03, 200, 0.05, "Intervals of theta[1] are too wide."),), 70)
    monkeypatch.setattr(SNPE, "check", lambda self, num_simulations: asked.append(num_simulations) or found)
    assert cli("check", "quick.py", "-n", 70, *options)[:2] == (code, f"{found}\n".replace("theta[1]", "spin"))
    told = json.loads(cli("check", "quick.py", "--json")[1])
    assert (told["level"], told["verdicts"][0]["name"]) == (level, "coverage")
    assert told["verdicts"][0]["sentence"] == "Intervals of spin are too wide."
    assert asked == [70, 200]


def test_a_check_is_in_the_run_file(finished, cli):
    code, out, err = cli("check", "quick.py", "-n", 60, "--json")
    told = json.loads(out)
    assert code == {"pass": 0, "care": 0, "fail": 1}[told["level"]]
    assert re.fullmatch(r"(check: simulating, 0 of 30\b.*\n){2}", err), err
    assert cli("check", "quick.py", "-n", 60, "--quiet")[2] == ""
    assert told["verdicts"]
    free = json.loads(cli("check", "quick.py", "-n", 0, "--json")[1])
    assert free["num_simulations"] == 0
    assert {verdict["name"] for verdict in free["verdicts"]} < {verdict["name"] for verdict in told["verdicts"]}
    assert told["sentence"] in cli("status", "quick.homing", "--no-posterior")[1]
    state = json.loads(cli("status", "quick.homing", "--json")[1])
    assert [row["round"] for row in state["rounds"]] == [1, 2]  # a check is no round
    assert json.loads(cli("tell", "quick.homing", "--json")[1])["waiting"] == []


def test_check_wants_a_finished_run(folder, cli):
    code, _, err = cli("check", "quick.py")
    assert (code, err) == (4, "homing: quick.homing is not there. A run file is made by homing run or homing ask.\n")
    for store, named in (("quick.homing", ""), ("other.homing", " --store other.homing")):
        cli("ask", "quick.py", *TINY, "--store", store)
        code, _, err = cli("check", "quick.py", "--store", store)
        message = f"The run in {store} has finished 0 of 2 rounds. To finish it: homing run quick.py{named}"
        assert (code, err) == (4, f"homing: {message}\n")


def test_report(finished, cli):
    assert cli("report", "quick.homing")[:2] == (0, "The report is in quick.html\n")
    page = Path("quick.html").read_text()
    assert "mass" in page
    assert "# quick.simulator" in page
    assert told_by(cli, "report", "quick.homing", "-o", "r.html") == {"run": "quick.homing", "file": "r.html"}
    assert "mass" in Path("r.html").read_text()


@posix
def test_watch_serves_until_ctrl_c(folder, cli):
    cli("ask", "quick.py", *TINY)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = start("watch", "quick.homing", "--no-browser", "--json", **pipes)
    url = re.match(r"quick.homing is at (http://127.0.0.1:\d+\S*); Ctrl-C ends it.\n", child.stderr.readline())[1]
    with urllib.request.urlopen(url) as page:
        assert b"mass" in page.read()
    assert json.loads(child.stdout.readline()) == {"run": "quick.homing", "url": url}
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0


@posix
def test_watch_shows_what_another_process_simulates_and_learns_meanwhile(folder):
    running = start("run", "slow.py", "-n", 200, "--rounds", 2, "--seed", 3, "--quiet")
    while not Path("slow.homing").exists():
        time.sleep(0.05)
    with open("errors", "w") as errors:
        watching = start("watch", "slow.homing", "--no-browser", "--json", stdout=subprocess.PIPE, stderr=errors)
    try:
        url, seen = json.loads(watching.stdout.readline())["url"], []
        while not seen or "The posterior after round 2" not in seen[-1]:
            with urllib.request.urlopen(url) as page:
                seen.append(page.read().decode())
            time.sleep(0.5)  # to write a page takes what the run needs
        assert running.wait(60) == 0
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0, Path("errors").read_text()
    counts = [re.search(r"rounds?, ([\d,]+) simulations", text)[1] for text in seen]
    told = [int(count.replace(",", "")) for count in counts]
    assert told == sorted(told)
    assert told[-1] == 200
    assert len({*told}) > 1  # it was there while it went on
    assert "Traceback" not in Path("errors").read_text()


# What goes wrong ----------------------------------------------------------------------------------------------------

BEGINNING = PROBLEM.partition("def simulator")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BEGINNING, r"bad.py defines no simulator \(a function from theta to data\). It must define simulator, prior"),
        ("x = oops\n", r"bad.py cannot be run: NameError: name 'oops' is not defined \(bad.py, line 1\)"),
        ("import sys\n\nsys.exit(3)\n", r"bad.py cannot be run: SystemExit: 3 \(bad.py, line 3\)"),
        ("import not_there\n", r"bad.py cannot be run: ModuleNotFoundError: No module named 'not_there' \(bad.py, l"),
        ("def f(:\n", r"bad.py cannot be run: SyntaxError: invalid syntax \(bad.py, line 1\)"),
        (
            BEGINNING + "simulator = 3\n",
            r"simulator in bad.py must be a function that takes theta .*, found int. A pro",
        ),
        (PROBLEM + "prior = 3\n", r"bad.py: A prior must be a BoxUniform, .* found int"),
        (PROBLEM + "x_o = [1.0, float('nan')]\n", r"bad.py: x contains 1 NaN"),
        (PROBLEM + "labels = ['a']\n", r"labels in bad.py must be a list of 2 names, one for each parameter .*\['a'\]"),
        (PROBLEM + "labels = ['a', 'a']\n", r"labels in bad.py must differ from each other, found \['a', 'a'\]"),
    ],
)
def test_a_problem_file_that_cannot_be_used(folder, cli, text, message):
    Path("bad.py").write_text(text.replace("SECONDS", "0"))
    code, out, err = cli("run", "bad.py", *TINY)
    assert (code, out) == (3, "")
    assert re.match(f"homing: {message}", err), err
    assert err.count("\n") == 1
    assert not Path("bad.homing").exists()


def test_an_observation_unlike_the_data_ends_the_run_with_the_first_simulation(folder, cli):
    Path("bad.py").write_text(PROBLEM.replace("SECONDS", "0.01") + "x_o = [1.0, 2.0, 3.0]\n")
    code, out, err = cli("run", "bad.py", *TINY, "--quiet")
    assert (code, out) == (3, "")
    assert "x_o in bad.py does not fit the simulator: x must have the shape of one simulation's data, (2,)" in err
    assert "bad.homing is of the old ones, so delete it, or name another by --store." in err
    assert json.loads(cli("status", "bad.homing", "--json")[1])["rounds"][0]["waiting"] > 24


def test_an_unknown_proposal_leaves_no_run_file(folder, cli):
    code, _, err = cli("run", "quick.py", *TINY, "--proposal", "nowhere")
    assert code == 2
    assert err.startswith("homing: proposal must be 'truncated', 'posterior', 'mixture'")
    assert not Path("quick.homing").exists()


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("run", 2, "Missing argument 'PROBLEM.PY'. Try: homing run --help"),
        ("fly", 2, "No such command 'fly'. Try: homing --help"),
        ("run quick.py --fly", 2, "No such option"),
        ("run quick.py -n 0", 2, "Invalid value for '--simulations'"),
        ("run quick.py -n 3 --rounds 4", 2, "num_rounds must be a whole number between 1 and num_simulations, found 4"),
        ("run quick.py --method ABC", 2, "--method must be one of "),
        ("run none.py", 3, "none.py is not there. To write one to start from: homing init none.py"),
        ("run run.homing", 3, "A problem file is a Python file, *.py, found run.homing. That is a run file: name the"),
        ("run quick.py --store run.homing -n 70", 4, "run.homing has a run of 60 simulations in 2 rounds (30 + 30)"),
        ("run quick.py --store run.homing --seed 4", 4, "This store holds another run: seed: it has 3, this run 4."),
        ("status none.homing", 4, "none.homing is not there. A run file is made by homing run or homing ask."),
        ("status quick.py", 4, "quick.py is no run file"),
        ("sample run.homing", 4, "run.homing has no posterior: no round was learned from yet. Go on with it."),
        ("sample run.homing -o s.doc", 2, "s.doc must end in one of .csv, .npy, .parquet, which says how it is writt"),
        ("sample run.homing --json", 2, "--json tells about a file: name one with --output"),
        ("tell none.homing", 4, "none.homing is not there"),
        ("ask quick.py -o no/in.csv --store run.homing", 2, "no/in.csv cannot be written: No such file or directory."),
        ("init problem.txt", 2, "A problem file is a Python file, *.py, found problem.txt."),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(folder, cli, line, code, message):
    if "run.homing" in line:
        cli("ask", "quick.py", "--store", "run.homing", *TINY)
    found, out, err = cli(*line.split())
    assert (found, out) == (code, "")
    assert err.splitlines()[-1].startswith(f"homing: {message}"), err
    assert "Traceback" not in err


def test_a_failing_simulator_ends_the_run(folder, cli):
    text = PROBLEM.replace("    time.sleep(SECONDS)\n", '    raise ValueError("the mass is negative")\n')
    Path("bad.py").write_text(text)
    code, out, err = cli("run", "bad.py", "-n", 300, "--max-failures", 20)
    assert (code, out) == (5, "")
    last = err.splitlines()[-1]
    line = text.splitlines().index('    raise ValueError("the mass is negative")') + 1
    assert last.startswith("homing: 20 simulations in a row failed. The first of them was row 0, theta = [")
    assert f"ValueError: the mass is negative (bad.py, line {line})." in last
    assert last.endswith("bad.homing has nothing but failures: delete it.")
    code, _, err = cli("--debug", "run", "none.py")
    assert code == 3
    assert "Traceback (most recent call last):" in err
    assert cli("run", "none.py", "--debug")[2] == err  # wherever it stands


def test_what_a_program_of_ones_own_warns_of_is_one_line(folder, cli):
    Path("few.py").write_text(
        PROBLEM.replace("    time.sleep(SECONDS)\n", "    if theta[0] > 1: return theta * np.nan\n")
    )
    _, _, err = cli("run", "few.py", *TINY)
    notes = re.findall(r"^Note: .*$", err, re.MULTILINE)
    assert sum("simulations of round 1 gave no finite data" in note for note in notes) == 1


def test_kinds_of_errors():
    cases = [
        (StoreError("a"), 4, "a"),
        (SimulationError("a"), 5, "a"),
        (ArgumentError("a\n  b\n  c\nD"), 2, "a; b; c. D"),
        (FileNotFoundError(2, "No such file", "x.csv"), 2, "x.csv cannot be used: No such file."),
        (MissingError.of("a", "b", "c"), 6, "a needs b, which is not installed: pip install 'homing[c]'."),
        (ModuleNotFoundError("No module named 'a'", name="a"), 6, "No module named 'a'. Install it to use this: pip"),
        (ZeroDivisionError("by 0"), 70, "something went wrong that should not: ZeroDivisionError: by 0. The same"),
    ]
    for error, code, text in cases:
        assert exit_code(error) == code
        assert sentence(error).startswith(text)
    assert in_one_line("") == ""


# Asking for help ----------------------------------------------------------------------------------------------------


def test_help_says_all_and_loads_little(cli):
    code, out, _ = cli()
    assert code == 0
    assert re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE) == COMMANDS
    assert "..." not in out.partition("Commands:")[2]  # no sentence is cut
    for name in COMMANDS:
        assert "Example: " in cli(name, "--help")[1]
    assert cli("--version")[1] == f"homing {homing.__version__}\n"
    code = "import sys; from homing.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "homing.cli.app" in loaded
    assert not {"jax", "numpy", "torch", "matplotlib", "pandas", "homing.inference"} & loaded


def example(cli, name):
    """The command line that the help of a command ends in."""
    return " ".join(cli(name, "--help")[1].partition("Example: ")[2].partition("\n\n")[0].split())


@pytest.mark.printed
def test_the_examples_in_the_help_run(folder, cli, monkeypatch):
    served = []
    monkeypatch.setattr("homing.report.watch", lambda path, **options: served.append((path, options["port"])))
    (folder / "quick.py").rename(folder / "problem.py")
    assert cli("run", "problem.py", "-n", 1000, "--seed", 1, "--quiet", "--store", "run.homing")[0] == 0
    lines = {name: shlex.split(example(cli, name)) for name in COMMANDS}
    assert all(line[:2] == ["homing", name] for name, line in lines.items() if name != "ask")
    for name in ("run", "status", "sample", "plot", "export", "report", "watch"):
        assert cli(*lines[name][1:])[0] == 0, name
    np.testing.assert_array_equal(draws("problem.homing"), draws("run.homing"))  # with two workers, too
    assert served == [(Path("run.homing"), 8000)]
    assert cli(*lines["check"][1:])[0] in (0, 1)
    made = ("problem.homing", "samples.csv", "pairplot.png", "posterior.nc", "report.html")
    assert all(Path(name).stat().st_size > 1000 for name in made)
    Path("problem.py").unlink()
    assert cli(*lines["init"][1:])[0] == 0


JOBS = """#!{python}
import sys
import numpy as np

with open(sys.argv[1]) as given, open(sys.argv[2], "w") as out:
    next(given)
    out.write("id,x0,x1\\n")
    for line in given:
        number, *theta = line.split(",")
        theta = np.array([float(value) for value in theta])
        out.write(f"{{number}},{{','.join(map(str, theta + 0.3 * np.sin(20 * theta)))}}\\n")
"""


@posix
@pytest.mark.printed
def test_the_loop_of_ask_and_tell_runs_as_it_is_printed(folder, cli):
    """That of the help, which is the documentation's."""
    page = Path(__file__).parents[1] / "docs" / "command-line.md"
    loop = re.search(r"^while homing ask .*?^done$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
    assert re.findall(r"[^\s;]+", loop) == re.findall(r"[^\s;]+", example(cli, "ask"))
    for name, text in (
        ("homing", f'#!/bin/sh\nexec "{sys.executable}" -m homing.cli "$@"\n'),
        ("jobs", JOBS.format(python=sys.executable)),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    Path("problem.py").write_text(PROBLEM.partition("def simulator")[0])
    here = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", loop], env=here, capture_output=True, text=True, check=False, timeout=600)
    assert "simulations of round 1 are in in.csv" in done.stdout, done.stderr
    assert re.search(
        r"^The posterior after \d rounds and 1,000 simulations, in problem.homing:$", done.stdout, re.MULTILINE
    )
    assert json.loads(cli("status", "problem.homing", "--json")[1])["next"] == "All that was planned is finished."


def test_without_typer_it_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from homing.cli import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr == "homing: the command line needs typer, which is not installed: pip install 'homing[cli]'.\n"


@posix
def test_a_closed_pipe_is_no_error(folder):
    child = start("ask", "quick.py", "-n", 20_000, "--quiet", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(60) == 141


# The clock ----------------------------------------------------------------------------------------------------------


def test_the_clock_tells_rates_and_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("homing.cli.screen.time.perf_counter", lambda: now[0])
    clock = Clock([100, 50])

    def told(seconds, *progress):
        now[0] = seconds
        clock.told(Progress(*progress))
        return clock.sentence()

    assert told(0, 1, "propose", 0, 100) == "round 1 of 2: choosing where to simulate"
    assert told(1, 1, "simulate", 20, 100) == "round 1 of 2: simulating, 20 of 100"  # 20 were there before
    text = told(11, 1, "simulate", 60, 100)
    assert text == "round 1 of 2: simulating, 60 of 100, 4.0/s, 22 s of simulating left"
    told(21, 1, "simulate", 100, 100)
    told(21, 1, "learn", 100, 100)
    now[0] = 26.0
    assert clock.left == "12 s of simulating left"
    assert told(41, 2, "simulate", 0, 50) == "round 2 of 2: simulating, 0 of 50, 4.0/s, 32 s left"  # 12.5 and 20
    assert told(51, 2, "simulate", 10, 50) == "round 2 of 2: simulating, 10 of 50, 1.0/s, 1 min left"
    told(91, 2, "simulate", 50, 50)
    told(91, 2, "learn", 50, 50)
    now[0] = 96.0
    assert clock.left == "15 s left"


def test_a_run_whose_rest_is_one_round_says_so_once(capsys):
    sizes = [1000, 500, 500, 500]
    screen = Screen(sizes)
    shown = Shown(screen, Plan(sizes, None, None), None)
    shown.told(Progress(2, "simulate", 0, 500))
    assert capsys.readouterr().err == "round 2 of 4: simulating, 0 of 500\n"
    for part, done in (("propose", 0), ("simulate", 0), ("simulate", 1000)):
        shown.told(Progress(3, part, done, 1000))
    said = "The region has settled: the 1,000 simulations left are one round.\n"
    assert capsys.readouterr().err == said + "round 3 of 3: simulating, 0 of 1,000\n"
    assert screen.clock.sizes == [1000, 500, 1000]


def test_nothing_left_to_simulate_is_not_worth_a_word():
    clock = Clock([100])
    for part, done in (("simulate", 0), ("simulate", 100), ("learn", 100)):
        clock.told(Progress(1, part, done, 100))
    assert clock.left == ""


def test_a_check_compares_what_it_has_simulated(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    screen = LiveScreen([])
    screen.told(Progress(-1, "simulate", 0, 100))
    assert screen.clock.sentence() == "check: simulating, 0 of 100"
    screen.told(Progress(-1, "simulate", 100, 100))
    assert screen.clock.sentence() == "check: comparing"
    assert screen.__rich__().plain.startswith("check  comparing  0 s")


def test_a_log_gets_a_line_every_ten_seconds_and_fewer_later(monkeypatch, capsys):
    """The first comes after ten seconds; from a hundred on, one each time that a tenth of the time was added."""
    now = [0.0]
    monkeypatch.setattr("homing.cli.screen.time.perf_counter", lambda: now[0])
    screen = Screen([4000])
    screen.told(Progress(1, "simulate", 0, 4000))
    assert capsys.readouterr().err == "round 1 of 1: simulating, 0 of 4,000\n"
    at = []
    for half_seconds in range(1, 800):
        now[0] = half_seconds / 2
        screen.told(Progress(1, "simulate", 5 * half_seconds, 4000))
        if lines := capsys.readouterr().err.splitlines():
            (line,) = lines
            left = span((4000 - 5 * half_seconds) / 10, tenths=False)
            expected = f"round 1 of 1: simulating, {5 * half_seconds:,} of 4,000, 10/s, {left} of simulating left"
            assert line == expected
            at.append(now[0])
    waits = np.diff([0.0, *at])
    assert len(waits) > 20
    np.testing.assert_array_less(waits, np.maximum(10, 0.1 * np.array([0.0, *at[:-1]])) + 1.001)
    np.testing.assert_array_less(np.maximum(10, 0.1 * np.array([0.0, *at[:-1]])), waits)
    now[0] = 400.0
    screen.told(Progress(1, "learn", 4000, 4000))
    assert capsys.readouterr().err == "round 1 of 1: learning\n"
    Screen([4000], quiet=True).say("nothing")
    assert capsys.readouterr().err == ""

"""Programs as simulators: what goes in, what comes out, and what is said when they fail."""

import json
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from homing.errors import ArgumentError, ShapeError, SimulationError
from homing.simulation import Simulator, Status, command, simulate

THETA = np.array([0.1, -2.0, 1e-300])
PYTHON = sys.executable


@pytest.fixture
def program(tmp_path):
    """Write a Python program and give the beginning of the line that runs it."""

    def write(source):
        path = tmp_path / "a program.py"
        path.write_text(source)
        return f"{PYTHON} '{path}'"

    return write


READ = {
    ".csv": "theta = [float(v) for v in open(sys.argv[1]).read().split(',')]",
    ".json": "theta = json.load(open(sys.argv[1]))",
    ".npy": "import numpy; theta = numpy.load(sys.argv[1]).tolist()",
}
WRITE = {
    ".csv": "open(sys.argv[2], 'w').write('\\n'.join(f'{v!r}, {2 * v!r}' for v in theta))",
    ".json": "json.dump([[v, 2 * v] for v in theta], open(sys.argv[2], 'w'))",
    ".npy": "import numpy; numpy.save(sys.argv[2], numpy.array([[v, 2 * v] for v in theta]))",
}


@pytest.mark.parametrize("suffix", list(READ))
def test_files_carry_numbers_exactly(program, suffix):
    line = program(f"import json, sys\n{READ[suffix]}\n{WRITE[suffix]}")
    run = command(line + " {theta_file} {out_file}", theta_file="theta" + suffix, out_file="out" + suffix)
    np.testing.assert_array_equal(run(THETA, seed=1), np.stack([THETA, 2 * THETA], axis=1))


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_standard_streams_carry_numbers_exactly(program, suffix):
    text = "print(json.dumps(theta))" if suffix == ".json" else "print(*theta)"
    line = program("import json, sys\ntheta = json.loads(sys.stdin.read())\n" + text)
    run = command(line, theta_file="theta.json", out_file="out" + suffix)
    np.testing.assert_array_equal(run(THETA, seed=1), THETA)


def test_parameters_and_seed_in_the_line(program):
    line = program("import sys; print(','.join(sys.argv[1:]))")
    run = command(line + " {theta[2]} {theta[0]} {seed}")
    assert run(THETA, seed=7).tolist() == [1e-300, 0.1, 7]


def test_no_shell_sees_the_line(program, tmp_path):
    line = program("import json, sys; json.dump([len(a) for a in sys.argv[1:]], open(sys.argv[-1], 'w'))")
    run = command(line + " '$HOME *' ; {{}} | {out_file}", out_file="x.json")
    assert run(THETA, seed=1).tolist()[:4] == [len("$HOME *"), 1, 2, 1]


@pytest.mark.parametrize(
    ("text", "shape"), [("3", (1,)), ("1 2 3", (3,)), ("1\n2\n", (2,)), ("1,2\n3,4\n5,6", (3, 2)), ("nan", (1,))]
)
def test_shapes_of_csv(program, text, shape):
    assert command(program(f"print({text!r})"))(THETA, seed=1).shape == shape


def test_a_command_runs_as_any_simulator(program):
    line = program("import sys, random\nrandom.seed(int(sys.argv[1])); print(float(input()) + random.random())")
    simulator = Simulator(command(line + " {seed}"))
    assert simulator.randomness == "seed"
    theta = np.arange(6.0).reshape(6, 1)
    a, b = (simulate(simulator, theta, np.arange(6), num_workers=n).collect() for n in (1, 2))
    assert a.ok.all()
    assert len(set((a.x - theta).ravel())) == 6
    np.testing.assert_array_equal(a.x, b.x)


def test_a_failing_programs_words_are_recorded(program):
    line = program("import sys; sys.stderr.write('no ice'); sys.exit(3)")
    (error,) = simulate(Simulator(command(line)), THETA[None], np.arange(1)).collect().error
    assert "exited with code 3. Standard error:\nno ice" in error


def test_failures_say_what_the_program_said(program):
    cases = {
        "import sys; sys.stderr.write('no ice'); sys.exit(3)": r"exited with code 3. Standard error:\nno ice",
        "import os; os.kill(os.getpid(), 9)": r"was killed by signal 9 \(Killed\). It printed nothing",
        "print('hello')": r"gave no data in .csv format on standard output: .*hello.*It begins 'hello",
        "print('1 2\\n3')": "gave no data in .csv format",
    }
    for source, message in cases.items():
        with pytest.raises(SimulationError, match=message):
            command(program(source))(THETA, seed=1)
    with pytest.raises(SimulationError, match=r"ended well but wrote no x\.npy"):
        command(program("pass") + " {out_file}", out_file="x.npy")(THETA, seed=1)
    with pytest.raises(SimulationError, match=r"no-such-program cannot be started from .*Is it there, and executable"):
        command("./no-such-program")(THETA, seed=1)


def test_data_are_never_unpickled(program, tmp_path):
    line = program("import sys, numpy; numpy.save(sys.argv[1], numpy.array([{}]), allow_pickle=True)")
    with pytest.raises(SimulationError, match="allow_pickle=False"):
        command(line + " {out_file}", out_file="x.npy")(THETA, seed=1)


def goes_on(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_program_out_of_time_ends_with_all_it_started(program, tmp_path):
    pid = tmp_path / "pid"
    line = program(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "child.wait()"
    )
    theta, seeds = THETA[None], np.arange(1)
    for run, options in ((command(line, timeout=0.7), {}), (command(line), {"timeout": 0.7})):
        began = time.perf_counter()
        outcomes = simulate(Simulator(run, batched=False), theta, seeds, **options).collect()
        assert outcomes.status[0] == Status.TIMED_OUT
        assert time.perf_counter() - began < 8
        end = time.perf_counter() + 5
        while goes_on(int(pid.read_text())) and time.perf_counter() < end:
            time.sleep(0.05)
        assert not goes_on(int(pid.read_text()))


def test_messages_about_the_line():
    with pytest.raises(ArgumentError, match="the line is empty"):
        command(" ")
    with pytest.raises(ArgumentError, match="cannot be divided into arguments: No closing quotation"):
        command("./sim 'a")
    with pytest.raises(ArgumentError, match=r"unknown placeholder \{thetas\}.*Write \{\{ and \}\} for braces"):
        command("./sim {thetas}")
    with pytest.raises(ArgumentError, match=r"unknown placeholder \{theta\}.*expected \{theta_file\}, \{theta\[0\]\}"):
        command("./sim {theta}")
    with pytest.raises(ArgumentError, match=r"out_file must be a file name ending in .csv, .json, .npy, found 'x.mat'"):
        command("./sim {out_file}", out_file="x.mat")
    with pytest.raises(ArgumentError, match=r"theta_file must be a file name.*found '/tmp/theta.csv'"):
        command("./sim {theta_file}", theta_file="/tmp/theta.csv")
    with pytest.raises(ArgumentError, match="timeout must be positive, found -1"):
        command("./sim", timeout=-1)
    with pytest.raises(
        ArgumentError, match="names a parameter that theta, with 3 of them numbered from 0, does not have"
    ):
        command("./sim {theta[3]}")(THETA, seed=1)
    with pytest.raises(ShapeError, match=r"one theta of shape \(d,\) at a time, found shape \(2, 3\)"):
        command("./sim")(np.zeros((2, 3)), seed=1)


def test_a_command_travels_and_describes_itself():
    run = command("./sim {theta_file} --seed {seed}")
    assert pickle.loads(pickle.dumps(run)) == run
    assert json.dumps(run.arguments) == '["./sim", "{theta_file}", "--seed", "{seed}"]'

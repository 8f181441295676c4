"""Compiled programs: traced once for each shape, kept on disk, and never trusted where others may write."""

import functools
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homing import programs
from homing.posteriors.ensemble import _density
from homing.programs import Program, cache_directory
from learning import made, x_shape

ONES = np.ones(3, np.float32)


def double(a):
    return 2 * a


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOMING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch):
    """A list that grows by one whenever JAX compiles."""
    calls = []
    compile = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: calls.append(1) or compile(self))
    return calls


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_one_program_for_each_combination_of_shapes_types_and_static_arguments():
    @Program
    def power(tree, exponent):
        return {"out": tree["a"] ** exponent}

    for array in (ONES, 5 * ONES, jnp.ones(3)):  # NumPy or JAX, values: the same program
        np.testing.assert_allclose(power({"a": array}, 2)["out"], np.asarray(array) ** 2)
    assert power.num_traces == 1
    np.testing.assert_allclose(power({"a": 2 * ONES}, 3)["out"], 8)
    assert power.num_traces == 2
    power({"a": np.ones(4, np.float32)}, 3)
    power({"a": np.ones(3, np.int32)}, 3)
    assert power.num_traces == 4
    assert power.__name__ == "power"


def test_static_arguments_must_be_hashable():
    with pytest.raises(TypeError, match="unhashable"):
        Program(lambda a, rest: a)(ONES, {1, 2})


def test_threads_share_a_program():
    program = Program(lambda a: jnp.tanh(a @ a))
    matrices = np.random.default_rng(0).random((64, 3, 3)).astype(np.float32)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(program, matrices))
    np.testing.assert_allclose(np.stack(results), np.tanh(matrices @ matrices), rtol=1e-5)
    assert program.num_traces == 1


def test_programs_are_float32_also_under_64_bits():
    with jax.enable_x64(True):
        out = Program(lambda a: a + jnp.zeros(()) + jax.random.normal(jax.random.key(0), a.shape))(ONES)
        assert jnp.ones(1).dtype == np.float64
    assert out.dtype == np.float32


def test_what_was_compiled_once_is_loaded(folder, compiled):
    for factor in (1.0, 3.0):
        np.testing.assert_array_equal(Program(double)(factor * ONES), 2 * factor * ONES)
    assert len(compiled) == 1
    assert len(entries(folder)) == 1
    Program(lambda a: 3 * a)(ONES)
    assert len(entries(folder)) == 2


def test_what_a_function_closes_over_is_part_of_it(folder):
    def scaled_by(constants):
        return Program(lambda a: (constants * a).sum())

    for _ in range(2):
        for seed in range(3):
            constants = np.random.default_rng(seed).random(300).astype(np.float32)
            for held in (constants, jnp.asarray(constants)):
                assert scaled_by(held)(np.ones(300, np.float32)) == pytest.approx(constants.sum(), rel=1e-5)


def test_arguments_that_a_function_does_not_use_are_part_of_it(folder):
    for size in (2, 3, 2):
        np.testing.assert_array_equal(Program(lambda a, unused: 2 * a)(ONES, np.ones(size, np.float32)), 2 * ONES)


def density_at_zero(name):
    """A new program of this package's own, called."""
    ensemble = made(name)
    x = ensemble.standardize(np.zeros((1, *x_shape(name))))[0]
    return np.asarray(Program(_density.function)(ensemble.members[0], x, np.zeros((4096, 2), np.float32)))


def test_this_packages_own_programs_are_loaded_without_tracing(folder, monkeypatch):
    value = density_at_zero("maf")
    monkeypatch.setattr(jax, "jit", None)
    np.testing.assert_array_equal(density_at_zero("maf"), value)


def test_where_the_sources_change_but_not_the_program_it_is_traced_and_not_compiled(folder, compiled, monkeypatch):
    value = density_at_zero("maf")
    monkeypatch.setattr(programs, "_sources", lambda: "another version")
    np.testing.assert_array_equal(density_at_zero("maf"), value)
    assert len(compiled) == 1
    assert len({entry.stat().st_ino for entry in entries(folder)}) == 1  # two names of one file
    monkeypatch.setattr(jax, "jit", None)  # and the next time not even traced
    np.testing.assert_array_equal(density_at_zero("maf"), value)


def test_without_links_it_is_traced(folder, compiled, monkeypatch):
    def refuse(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    value = density_at_zero("maf")
    np.testing.assert_array_equal(density_at_zero("maf"), value)
    assert len(compiled) == 1


def test_what_is_loaded_was_compiled_under_the_same_settings_of_jax(folder, compiled):
    density_at_zero("maf")
    default = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", "highest")
        density_at_zero("maf")
    finally:
        jax.config.update("jax_default_matmul_precision", default)
    assert len(compiled) == 2
    density_at_zero("maf")
    assert len(compiled) == 2


def test_a_function_made_of_a_known_one_is_another(folder):
    ensemble = made("maf")
    x = ensemble.standardize(np.zeros((1, 2)))[0]
    given = ensemble.members[0], x, np.ones((4, 2), np.float32)
    total = functools.wraps(_density.function)(lambda *args: 2 * _density.function(*args))  # as `jax.grad` does
    for _ in range(2):
        value = np.asarray(Program(_density.function)(*given))
        np.testing.assert_allclose(Program(total)(*given), 2 * value, rtol=1e-5)


def test_those_that_call_a_users_code_are_traced(folder, compiled, monkeypatch):
    """Code may change under its name."""
    name = "maf with an embedding"
    value = density_at_zero(name)
    assert len(compiled) == 1
    np.testing.assert_array_equal(density_at_zero(name), value)
    assert len(compiled) == 1
    monkeypatch.setattr(jax, "jit", None)
    with pytest.raises(TypeError):
        density_at_zero(name)


def test_a_fresh_process_can_use_what_another_stored(folder):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_programs import density_at_zero
print(density_at_zero("maf")[0])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


def cut_short(entry):
    entry.write_bytes(entry.read_bytes()[:-100])


def flip_a_byte(entry):
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)


def empty(entry):
    entry.write_bytes(b"")


def replace_by_a_folder(entry):
    entry.unlink()
    entry.mkdir()


def whole_but_no_program(entry):
    entry.write_bytes(programs.hashlib.sha256(b"nonsense").digest() + b"nonsense")


@pytest.mark.parametrize("damage", [cut_short, flip_a_byte, empty, replace_by_a_folder, whole_but_no_program])
def test_a_damaged_entry_is_ignored(folder, compiled, damage):
    Program(double)(ONES)
    (entry,) = entries(folder)
    damage(entry)
    np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)
    assert len(compiled) == 2
    if entry.is_file():  # and replaced by a good one
        np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)
        assert len(compiled) == 2


@pytest.mark.parametrize("word", ["off", "OFF", "0", "false", "no"])
def test_switched_off(folder, monkeypatch, word, tmp_path):
    monkeypatch.setenv("HOMING_CACHE", word)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() is None
    np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)
    assert not entries(tmp_path)


def test_it_lies_in_the_users_cache_for_the_user_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("HOMING_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    previous = os.umask(0o002)
    try:
        directory = cache_directory()
        Program(double)(ONES)
    finally:
        os.umask(previous)
    assert directory is not None
    assert directory.parent == tmp_path / "xdg" / "homing"
    assert mode(directory) == mode(directory.parent) == 0o700
    assert [mode(entry) for entry in entries(directory)] == [0o600]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    directory = cache_directory()
    assert directory is not None
    assert directory.parent == tmp_path / "home" / ".cache" / "homing"


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("which", ["root", "directory"])
def test_a_directory_that_others_may_write_to_is_not_used(folder, compiled, bits, which):
    directory = cache_directory()
    assert directory is not None
    Program(double)(ONES)
    (folder if which == "root" else directory).chmod(bits)
    assert cache_directory() is None
    np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)
    assert len(compiled) == 2


def test_a_directory_of_another_user_is_not_used(folder, monkeypatch):
    assert cache_directory() is not None
    monkeypatch.setattr(os, "getuid", lambda: os.stat(folder).st_uid + 1)
    assert cache_directory() is None


def test_no_place_to_write_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HOMING_CACHE", str(tmp_path / "file" / "cache"))
    assert cache_directory() is None
    np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)


def test_a_program_that_cannot_be_stored_still_runs(folder, monkeypatch):
    def full(compiled):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs.serialize_executable, "serialize", full)
    np.testing.assert_array_equal(Program(double)(ONES), 2 * ONES)
    assert not entries(folder)


def test_those_least_used_make_room(folder, monkeypatch, compiled):
    Program(double)(ONES)
    (entry,) = entries(folder)
    monkeypatch.setattr(programs, "_MAX_BYTES", 2.5 * entry.stat().st_size)
    entry.unlink()
    for age, factor in ((300, 2), (200, 3), (100, 4)):
        before = set(entries(folder))
        Program(lambda a, factor=factor: factor * a)(ONES)
        (new,) = set(entries(folder)) - before
        os.utime(new, (new.stat().st_mtime - age,) * 2)
    assert len(entries(folder)) == 2
    Program(lambda a: 4 * a)(ONES)
    assert len(compiled) == 4
    Program(lambda a: 2 * a)(ONES)
    assert len(compiled) == 5


def test_every_processor_has_a_directory_of_its_own(folder, monkeypatch):
    here = cache_directory()
    programs._fingerprint.cache_clear()
    monkeypatch.setattr(programs, "_processor_features", lambda: "flags: another")
    try:
        there = cache_directory()
    finally:
        programs._fingerprint.cache_clear()
    assert here is not None
    assert there is not None
    assert here.parent == there.parent
    assert here != there
    assert here.name.startswith(f"jaxlib-{jax.lib.__version__}-")


ON_TWO_DEVICES = """
import jax, numpy as np
from homing.programs import Program, cache_directory
compiled, compile = [], jax.stages.Lowered.compile
jax.stages.Lowered.compile = lambda self: compiled.append(1) or compile(self)
doubles, directories = Program(lambda a: 2 * a), set()
for device in (*jax.devices(), "cpu"):
    with jax.default_device(device):
        directories.add(cache_directory())
        for program in (doubles, Program(lambda a: 2 * a)):
            (where,) = program(np.ones(3, np.float32)).devices()
            assert where == (jax.devices()[0] if device == "cpu" else device), (where, device)
assert len(directories) == 2
print(len(compiled))
"""


def test_every_device_has_programs_of_its_own(folder):
    """Also those that are loaded, on a machine of two devices, whichever is JAX's default at the time."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", ON_TWO_DEVICES]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment) for _ in range(2)]
    assert [run.stdout.strip() for run in runs] == ["2", "0"]


def test_importing_prints_nothing_and_writes_nothing(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("HOMING_CACHE", None)
    code = "import homing, homing.utils; [getattr(homing, name) for name in homing.__all__]"
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout == done.stderr == ""
    assert not list(Path(tmp_path).iterdir())


def test_threads_that_want_the_same_program_compile_it_once():
    traces = []

    def slowly(x):
        traces.append(1)
        time.sleep(0.2)
        return 2 * x

    program = Program(slowly)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda k: float(program(np.float32(k))), range(4)))
    assert results == [0, 2, 4, 6]
    assert len(traces) == program.num_traces == 1

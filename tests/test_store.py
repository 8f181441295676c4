"""What a store keeps, in memory and in a run file by the same laws."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from homing.errors import ArgumentError, MissingError, ShapeError
from homing.simulation import Outcomes, RunView, Status, Store, StoreError, open_store

RNG = np.random.default_rng(0)
THETA = RNG.normal(size=(12, 2))
SEEDS = np.arange(12, dtype=np.uint64) + 2**62
X = RNG.normal(size=(12, 3))


def outcomes(rows, x=X, errors=None):
    return Outcomes.given(THETA[rows], x[rows], errors, worker="node:7")


class Place:
    """A store and how to open it again, which for one in memory is not to."""

    def __init__(self, path):
        self.path, self.store = path, open_store(path)

    def again(self) -> Store:
        if self.path is not None:
            self.store.close()
            self.store = open_store(self.path)
        return self.store


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    place = Place(tmp_path / "run.homing" if request.param == "file" else None)
    yield place
    place.store.close()


def same(a: Outcomes, b: Outcomes):
    for name in ("theta", "x", "status", "error", "seconds", "worker"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_plan_record_read(place):
    ids = place.store.plan(1, THETA, SEEDS, proposal={"kind": "prior"}, arrays={"low": np.zeros(2)})
    assert ids.tolist() == list(range(12))
    store = place.again()
    known = store.rounds[1]
    np.testing.assert_array_equal(known.theta, THETA)
    np.testing.assert_array_equal(known.seeds, SEEDS)
    assert known.proposal == {"kind": "prior"}
    assert known.arrays["low"].tolist() == [0, 0]
    assert known.pending.tolist() == list(range(12))

    assert store.record(ids[[5, 2]], outcomes([5, 2])) == 2
    assert store.record(ids[6:9], outcomes(slice(6, 9), errors={1: "lost"})) == 3
    store = place.again()
    assert store.x_shape == (3,)
    assert store.rounds[1].pending.tolist() == [0, 1, 3, 4, 9, 10, 11]
    found = store.outcomes(1)
    done = [2, 5, 6, 8]
    np.testing.assert_array_equal(found.x[done], X[done])
    assert np.isnan(np.delete(found.x, done, axis=0)).all()
    assert found.status.tolist() == [0, 0, 1, 0, 0, 1, 1, 3, 1, 0, 0, 0]
    assert found.error[7] == "lost"
    assert found.worker[2] == "node:7"


def test_the_first_outcome_stands(place):
    ids = place.store.plan(1, THETA, SEEDS)
    assert place.store.record(ids[:4], outcomes(slice(0, 4))) == 4
    assert place.store.record(ids[2:6], outcomes(slice(2, 6), x=X + 1)) == 2
    assert place.store.record(ids[2:6], outcomes(slice(2, 6), errors={0: "no"})) == 0
    twice = np.array([6, 6, 7])
    assert place.store.record(ids[twice], outcomes(twice)) == 2
    found = place.again().outcomes(1)
    np.testing.assert_array_equal(found.x[[0, 1, 2, 3, 6, 7]], X[[0, 1, 2, 3, 6, 7]])
    np.testing.assert_array_equal(found.x[4:6], X[4:6] + 1)


def test_rounds_follow_each_other_and_the_newest_may_grow(place):
    first = place.store.plan(1, THETA[:4], SEEDS[:4])
    more = place.store.plan(1, THETA[4:7], SEEDS[4:7])
    second = place.again().plan(2, THETA[7:], SEEDS[7:], proposal="posterior")
    assert np.concatenate([first, more, second]).tolist() == list(range(12))
    place.store.record(second, outcomes(slice(7, 12)))
    mixed = np.concatenate([more, second])
    assert place.store.record(mixed, outcomes(slice(4, 12))) == 3
    store = place.again()
    assert store.rounds[1].pending.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(store.outcomes(1).x[4:], X[4:7])
    np.testing.assert_array_equal(store.outcomes(2).x, X[7:])
    assert [len(known.ids) for known in store.rounds.values()] == [7, 5]


def test_checks_are_numbered_apart_from_rounds(place):
    """Between two rounds, with ids like all others; rounds count as if there were none."""
    store = place.store
    parts = {1: slice(0, 4), -1: slice(4, 6), -2: slice(6, 7), 2: slice(7, 11)}
    ids = [store.plan(number, THETA[rows], SEEDS[rows]) for number, rows in parts.items()]
    assert np.concatenate(ids).tolist() == list(range(11))
    with pytest.raises(ArgumentError, match="plan: others were planned after round -2; plan round -3 instead"):
        store.plan(-2, THETA[11:], SEEDS[11:])
    with pytest.raises(ArgumentError, match="plan: expected round -3 or more of round -2, found round -4"):
        store.plan(-4, THETA[11:], SEEDS[11:])
    store.record(np.array([10, 4, 6, 0]), outcomes([10, 4, 6, 0]))
    store = place.again()
    assert list(store.rounds) == [1, -1, -2, 2]
    assert [known.ids.tolist() for known in store.rounds.values()] == [[0, 1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
    np.testing.assert_array_equal(store.rounds[-1].theta, THETA[4:6])
    np.testing.assert_array_equal(store.outcomes(-1).x[0], X[4])
    np.testing.assert_array_equal(store.outcomes(-2).x, X[6:7])
    np.testing.assert_array_equal(store.outcomes(2).x[-1], X[10])
    store.finish(-2, {"says": "believe"})
    with pytest.raises(ArgumentError, match="plan: round -2 is finished; plan round -3 instead"):
        store.plan(-2, THETA[11:], SEEDS[11:])
    assert store.plan(3, THETA[11:], SEEDS[11:]).tolist() == [11]
    assert place.again().rounds[-2].result.record == {"says": "believe"}


def test_results_are_kept_and_replaced(place):
    place.store.plan(1, THETA, SEEDS)
    arrays = {"layers/0": RNG.normal(size=(3, 2)).astype(np.float32), "names": np.array(["a", "ö"])}
    place.store.finish(1, {"epochs": 3}, {"model": "maf"}, {})
    place.store.finish(1, {"epochs": np.int64(4)}, {"model": "nsf", "low": np.zeros(1)}, arrays)
    result = place.again().rounds[1].result
    assert result is not None
    assert result.record == {"epochs": 4}
    assert result.estimator == {"model": "nsf", "low": [0.0]}
    assert result.arrays["layers/0"].dtype == np.float32
    for name, array in arrays.items():
        np.testing.assert_array_equal(result.arrays[name], array)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 4)])
def test_data_of_any_shape_and_precision(place, dtype, shape):
    ids = place.store.plan(1, THETA, SEEDS)
    x = RNG.normal(size=(12, *shape)).astype(dtype)
    place.store.record(ids, outcomes(slice(None), x=x))
    found = place.again().outcomes(1)
    np.testing.assert_array_equal(found.x, x)
    assert found.x.dtype == np.dtype(dtype).newbyteorder("=")


def test_a_row_of_a_million_numbers_and_many_rows(place):
    ids = place.store.plan(1, THETA, SEEDS)
    x = RNG.normal(size=(12, 10**6)).astype(np.float32)
    place.store.record(ids, outcomes(slice(None), x=x))
    np.testing.assert_array_equal(place.again().outcomes(1).x[:, ::1000], x[:, ::1000])
    theta = RNG.normal(size=(150_000, 2))
    ids = place.store.plan(2, theta, np.arange(150_000))
    failed = Outcomes.planned(theta)
    failed.status[::2] = Status.FAILED
    assert place.store.record(ids, failed) == 75_000
    assert len(place.again().rounds[2].pending) == 75_000


def test_odd_numbers_and_texts(place):
    """Scalar data, NumPy's integers as numbers, and an error text that is no Unicode."""
    ids = place.store.plan(np.int64(1), THETA, SEEDS)
    place.store.record(ids[:2], outcomes(slice(0, 2), x=X[:, 0]))
    place.store.record(ids[2:3], outcomes(slice(2, 3), errors={0: "caf\udce9"}))
    failed = Outcomes.planned(THETA[3:4])
    failed.status[:] = Status.FAILED
    place.store.record(ids[3:4], failed)
    assert place.store.x_shape == ()
    place.store.finish(np.int64(1), {"name": "caf\udce9"})
    store = place.again()
    assert store.x_shape == ()
    assert store.outcomes(1).x.shape == (12,)
    assert store.outcomes(1).error[2] == "caf?"
    assert store.rounds[1].result is not None


def test_a_run_in_which_everything_failed(place):
    ids = place.store.plan(1, THETA, SEEDS)
    failed = Outcomes.planned(THETA)
    failed.status[:], failed.error[:] = Status.TIMED_OUT, "too slow\0 ü \x1b[31m"
    place.store.record(ids, failed)
    store = place.again()
    failed.error[:] = "too slow\\x00 ü \\x1b[31m"  # nothing that a terminal would obey
    same(store.outcomes(1), failed)
    assert store.x_shape is None


# Facts ---------------------------------------------------------------------------------------------------------------


def test_facts_are_settled_once(place):
    settings = {"num_atoms": 10, "net": {"layers": [50, 50]}, "rate": 5e-4}
    place.store.require(seed=1, settings=settings, x_o=np.array([0.1, np.nan]))
    store = place.again()
    store.require(seed=1, settings=dict(reversed(settings.items())), x_o=np.array([0.1, np.nan]))
    with pytest.raises(StoreError) as caught:
        store.require(seed=2, settings=settings | {"num_atoms": 5, "net": {"layers": [50], "bins": 8}})
    message = str(caught.value)
    assert "seed: it has 1, this run 2" in message
    assert "settings.num_atoms: it has 10, this run 5" in message
    assert "settings.net.layers: it has [50, 50], this run [50]" in message
    assert "settings.net.bins: it has nothing, this run 8" in message
    assert "choose a new file" in message
    with pytest.raises(StoreError, match=r"x_o: it has \[0.1, NaN\], this run \[0.2, NaN\]"):
        store.require(x_o=[0.2, np.nan], new="not kept")
    assert store.recall("new") is None


def test_facts_are_remembered_and_replaced(place):
    place.store.remember("batched", True)
    place.store.remember("batched", False)
    store = place.again()
    assert store.recall("batched") is False
    assert store.recall("missing", 7) == 7
    store.require(x_o=[1.0])
    store.remember("x_o", None)
    store = place.again()
    assert store.recall("x_o", 7) == 7
    assert set(RunView(store.source).facts) == {"batched"}
    store.require(x_o=[2.0])  # which is settled anew
    with pytest.raises(StoreError, match=r"x_o: it has \[2.0\], this run \[1.0\]"):
        place.again().require(x_o=[1.0])


def test_long_differences_are_shortened(place):
    place.store.require(x_o=np.arange(1000))
    with pytest.raises(StoreError) as caught:
        place.store.require(x_o=np.arange(1, 1001))
    assert len(str(caught.value)) < 400


# Messages ------------------------------------------------------------------------------------------------------------


def test_messages_about_plans_and_records(place):
    store = place.store
    with pytest.raises(ArgumentError, match=r"expected at least one simulation, found none"):
        store.plan(1, THETA[:0], SEEDS[:0])
    with pytest.raises(ArgumentError, match=r"expected round 1 or more of round 0, found round 2"):
        store.plan(2, THETA, SEEDS)
    with pytest.raises(ShapeError, match=r"expected theta \(n, 2\) and seeds \(n,\), found \(12, 2\) and \(3,\)"):
        store.plan(1, THETA, SEEDS[:3])
    ids = store.plan(1, THETA, SEEDS)
    with pytest.raises(ShapeError, match=r"expected theta \(n, 2\).*found \(12, 1\)"):
        store.plan(2, THETA[:, :1], SEEDS)
    with pytest.raises(ShapeError, match=r"one id for each of 3 outcomes, found shape \(2,\)"):
        store.record(ids[:2], outcomes(slice(0, 3)))
    with pytest.raises(ArgumentError, match=r"the ids 11 to 12 were not all planned; known are 0 to 11"):
        store.record(np.array([11, 12]), outcomes([10, 11]))
    with pytest.raises(ArgumentError, match=r"theta is not what was planned under its id; are the ids in order"):
        store.record(ids[[1, 0]], outcomes([0, 1]))
    store.record(ids[:2], outcomes(slice(0, 2)))
    with pytest.raises(ShapeError, match=r"this run's data have shape \(3,\), found \(1,\)"):
        store.record(ids[2:4], outcomes(slice(2, 4), x=X[:, :1]))
    with pytest.raises(ArgumentError, match=r"Round 5 was never planned; planned are \[1\]"):
        store.finish(5, {})
    with pytest.raises(ArgumentError, match=r"Round 5 was never planned"):
        store.outcomes(5)
    with pytest.raises(ArgumentError, match=r"record must consist of numbers.*function is not JSON"):
        store.finish(1, {"loss": lambda: 0})
    store.finish(1, {})
    with pytest.raises(ArgumentError, match=r"round 1 is finished; plan round 2 instead"):
        store.plan(1, THETA, SEEDS)
    assert place.again().rounds[1].pending.tolist() == list(range(2, 12))


def test_objects_are_not_stored(tmp_path):
    with open_store(tmp_path / "run") as store:
        store.plan(1, THETA, SEEDS)
        with pytest.raises(ArgumentError, match="The array 'net' holds objects; only numbers and texts can be stored"):
            store.finish(1, {}, {}, {"net": np.array([{}])})
        assert store.rounds[1].result is None


def test_each_write_is_on_the_disk_when_it_is_acknowledged(tmp_path):
    with open_store(tmp_path / "run") as store:
        db = store._keeper._db
        settings = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # 2 is FULL


def test_a_closed_store_says_so(tmp_path):
    store = open_store(tmp_path / "run")
    store.close()
    with pytest.raises(StoreError, match="was closed; open it again"):
        store.plan(1, THETA, SEEDS)


# Looking in ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    with open_store(tmp_path / "run.homing") as store:
        store.require(seed=1)
        store.plan(1, THETA[:8], SEEDS[:8])
        store.record(np.arange(6), outcomes(slice(0, 6), errors={2: "lost"}))
        store.finish(1, {"epochs": 3})
        store.plan(2, THETA[8:], SEEDS[8:])
    return tmp_path / "run.homing"


def test_a_view_reads_what_a_store_wrote(written):
    with RunView(written) as view:
        assert str(view) == ("round 1: 8 simulations planned, 5 ok, 1 failed\nround 2: 4 simulations planned")
        assert view.facts == {"seed": 1}
        assert view.rounds[1].result.record == {"epochs": 3}
        found = view.simulations()
        assert found["round"].tolist() == [1] * 8 + [2] * 4
        assert found["status"].tolist() == ["ok", "ok", "failed", "ok", "ok", "ok"] + ["planned"] * 6
        np.testing.assert_array_equal(found["theta"], THETA)
        np.testing.assert_array_equal(found["seed"], SEEDS)
        done = [0, 1, 3, 4, 5]
        np.testing.assert_array_equal(found["x"][done], X[done])
        assert np.isnan(np.delete(found["x"], done, axis=0)).all()
        assert len(view.simulations(2)["id"]) == 4


def test_a_view_gives_tables(written):
    pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    with RunView(written) as view:
        frame = view.to_pandas()
        assert frame["x[1]"][0] == X[0, 1]
        assert frame.query("status == 'failed'")["error"].tolist() == ["lost"]
        dataset = view.to_xarray(1)
        assert dataset["x"].dims == ("id", "x_0")
        assert dict(dataset.sizes) == {"id": 8, "parameter": 2, "x_0": 3}
        assert float(dataset["theta"].sel(id=3)[1]) == THETA[3, 1]


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("to_xarray", "xarray")])
def test_without_the_tables_package_a_view_says_what_to_install(written, monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"{method} needs {package}, which is not installed: pip install 'homing\[tables\]'\."
    with RunView(written) as view, pytest.raises(MissingError, match=message):
        getattr(view, method)()


def test_a_view_follows_a_run_that_goes_on(tmp_path):
    with open_store(tmp_path / "run") as store:
        store.require(seed=1)
        with RunView(tmp_path / "run") as view:
            assert str(view) == "no round was planned yet"
            with pytest.raises(ArgumentError, match="has no simulations: no round was planned yet"):
                view.simulations()
            ids = store.plan(1, THETA, SEEDS)
            for row in range(12):
                store.record(ids[row : row + 1], outcomes([row]))
                assert (view.simulations()["status"] == "ok").sum() == row + 1


def test_a_view_changes_nothing(written):
    before = written.read_bytes()
    with RunView(written) as view:
        view.simulations()
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["run.homing"]


def test_a_file_of_format_1_is_read():
    """Kept from the first release: files of every format that was ever published are read."""
    with RunView(Path(__file__).with_name("test_store_format_1.homing")) as view:
        assert view.facts == {"seed": 1, "x_o": [0.5, 1.5]}
        assert str(view) == "round 1: 3 simulations planned, 1 ok, 1 invalid, 1 failed\nround 2: 2 simulations planned"
        found = view.simulations()
        np.testing.assert_array_equal(found["x"], [[[1, 2]], [[3, np.inf]], [[np.nan] * 2]] + [[[np.nan] * 2]] * 2)
        np.testing.assert_array_equal(found["theta"], np.arange(10.0).reshape(5, 2) / 3)
        assert found["error"].tolist() == ["", "", "out of range", "", ""]
        known = view.rounds[1]
        assert (
            json.dumps([known.proposal, known.result.record, known.result.estimator])
            == '["prior", {"epochs": 2}, "maf"]'
        )
        assert known.result.arrays["w"].tolist() == [[0, 1]]
        assert known.arrays["low"].tolist() == [-1]

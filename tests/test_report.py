"""The page of a run: what it tells is so, the code under its figures runs, and a text in it stays text."""

import html
import re
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from matplotlib import pyplot

import homing
from homing.diagnostics import Check, Verdict
from homing.errors import ArgumentError, ObservationError
from homing.estimators import classifier_nn, likelihood_nn, posterior_nn
from homing.inference import SNLE, SNPE, SNPE_A, SNRE_C, RoundRecord, Rounds, SideOptions, Stop, Truncated
from homing.posteriors import MCMC
from homing.report.figures import posterior_figure
from homing.report.html import Html, tag
from homing.report.page import page
from homing.report.simulations import _gist
from homing.report.story import Learned, Story, tell
from homing.simulation import Outcomes, StoreError, open_store
from homing.training import FitOptions
from learning import made, posterior_of
from runs import EVIL, LABELS, OPTIONS, X_O, by_hand, driven, simulator

GRID = np.arange(1, 20) / 20
PRIOR = homing.BoxUniform([-2.0, -2.0], [2.0, 2.0])
HALF = 0.1 * np.ones(19)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run's file."""
    path = tmp_path_factory.mktemp("run") / "small.homing"
    driven(path).close()
    return path


@pytest.fixture(scope="module")
def written(run):
    """Its page, with a check and labels."""
    return read(homing.report(run, run.with_suffix(".html"), check=some_check(), labels=LABELS, points=X_O))


def some_check():
    rng = np.random.default_rng(0)
    ranks = {"ranks": rng.integers(0, 100, (200, 2)), "num_draws": np.array(99), "grid": GRID}
    coverage = {"levels": GRID, "coverage": GRID**1.2}
    local = {"probabilities": rng.uniform(0.4, 0.6, 300), "theta": rng.normal(size=(300, 2)), "null": rng.random(50)}
    predictive = {"observed": X_O, "replicated": rng.normal(size=(100, 2))}
    words = f"It is too narrow {EVIL}."
    return Check(
        (
            Verdict("ranks", "pass", 0.01, 0.5, 200, 0.05, "Ranks are uniform.", "", {**ranks, **band(0)}),
            Verdict("coverage", "fail", -0.2, 1e-4, 200, 0.05, words, "overconfident", {**coverage, **band(GRID)}),
            Verdict("L-C2ST", "pass", 0.01, 0.5, 300, None, "Nothing can be told.", "", local),
            Verdict("predictive", "pass", 0.1, 0.5, 100, None, "x_o is like what is predicted.", "", predictive),
            Verdict("no picture", "care", 0.1, None, 100, None, "Who knows.", "", {"other": GRID}),
        ),
        num_simulations=200,
    )


def band(middle):
    return {"band_low": middle - HALF, "band_high": middle + HALF}


class Page(HTMLParser):
    """What is on a page: its tags with their attributes, and its text outside of style and script."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self._inside = [], "", []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self._inside):
            self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def read(path):
    parsed = Page()
    parsed.source = Path(path).read_text(encoding="utf-8")
    parsed.feed(parsed.source)
    return parsed


def blocks(source):
    """The code blocks of a page, as a reader would copy them."""
    return [html.unescape(block) for block in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", source, re.S)]


PICTURED = ["coverage", "ranks", "TARP", "L-C2ST", "predictive", "posterior SBC"]
FIGURES = ["figure-posterior", "figure-rounds", "figure-losses", *(f"figure-check-{k}" for k in range(4))]


def test_what_is_on_the_page(written):
    figures = [figure["id"] for figure in written.all("figure")]
    assert figures == [*FIGURES, "figure-failures"]
    assert [section["id"] for section in written.all("section")] == [
        *("posterior", "rounds", "verdict", "simulations", "made")
    ]
    assert len(written.all("h1")) == 1
    assert "2 rounds, 300 simulations" in written.text
    assert "Do not believe" in written.text
    assert "after round 2, at x_o = [0.5, -0.5]" in written.text
    assert all(label in written.text for label in LABELS)
    for word in ("truncated", "tests.runs", "uniform on low=[-2, -2]", f"homing{homing.__version__}"):
        assert word.replace("tests.", "") in written.text, word


def test_the_page_needs_nothing_else(written):
    """No address but links within the page and the names of XML; every picture has a text."""
    for name, attributes in written.tags:
        for key in ("src", "href", "xlink:href", "action", "srcset", "data"):
            target = attributes.get(key)
            assert target is None or target.startswith(("#", "data:")), (name, target)
    assert "@import" not in written.source
    assert not re.search(r"url\((?!#)", written.source)
    assert written.all("script") == []
    policy = next(meta["content"] for meta in written.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert all(svg["aria-label"] for svg in written.all("svg") if "role" in svg)
    names = [attributes["id"] for _, attributes in written.tags if "id" in attributes]
    assert len(names) == len(set(names))
    within = {"#" + name for name in names}
    assert {attributes["href"] for attributes in written.all("a")} <= within
    assert {use["xlink:href"] for use in written.all("use")} <= within


def test_figures_are_well_formed(written):
    drawings = re.findall(r"<svg role.*?</svg>", written.source, re.S)
    assert len(drawings) == len(FIGURES) + 1
    for drawing in drawings:
        ElementTree.fromstring(drawing.replace("xlink:href", "href"))


def test_texts_of_others_stay_texts(written):
    """An error and a verdict with a script in them; it is shown as what it is."""
    assert EVIL in written.text
    assert "document.title" not in " ".join(str(attributes) for name, attributes in written.tags if name == "img")
    assert {name for name, _ in written.tags} & {"script", "img", "iframe", "object"} == set()


def test_texts_of_others_stay_texts_wherever_they_are(tmp_path):
    """Names of parameters, files, facts and whatever else a run file says."""
    path = tmp_path / "a<b>&'\".homing"
    with open_store(path) as store:
        store.remember("labels", [EVIL, '"><script>'])
        store.remember("simulator", EVIL)
        store.remember("versions", [{EVIL: EVIL, "homing": EVIL}])
        store.remember(EVIL, {EVIL: "\x00\ud800"})
        ids = store.plan(1, np.zeros((2, 2)), np.arange(2), {"name": EVIL})
        store.record(ids, Outcomes.given(np.zeros((2, 2)), [[0.0], [np.nan]], {0: EVIL + "\x1b[31m"}))
    found = read(homing.report(path, tmp_path / "page.html"))
    assert {name for name, _ in found.tags} & {"script", "img", "b"} == set()
    assert found.text.count(EVIL) >= 5
    assert found.all("title")
    assert path.name in found.text
    assert not re.search("[\x00-\x08\x0b-\x1f]", found.source)


def test_numbers_are_those_of_the_posterior(run, written):
    with homing.open(run) as opened:
        draws = opened.posterior().sample((20_000,), show_progress_bars=False)
    row = re.search(r'<th scope="row">rate \(1/day\)</th>(.*?)</tr>', written.source, re.S)[1]
    true, mean, deviation, *quantiles, _ = [
        float(cell.replace("−", "-")) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)
    ]
    assert true == X_O[0]
    spread = draws[:, 0].std()
    assert deviation == pytest.approx(spread, rel=0.05)
    assert mean == pytest.approx(draws[:, 0].mean(), abs=5 * spread / np.sqrt(5000))
    np.testing.assert_allclose(quantiles, np.quantile(draws[:, 0], [0.025, 0.16, 0.5, 0.84, 0.975]), atol=0.15 * spread)


def test_failures_are_counted_grouped_and_placed(run, written):
    with homing.open(run) as opened:
        status = opened.simulations()["status"]
    failed, invalid = (status == "failed").sum(), (status == "invalid").sum()
    assert f"{failed + invalid} of 300 simulations gave no valid data" in written.text
    assert f"{failed} × ValueError: {EVIL.replace('(1)', '(…)')} diverged at t = …" in written.text
    assert f"{invalid} × NaN or infinite data" in written.text
    assert f"100% fail where {LABELS[0]} >" in written.text  # as its figure calls it
    assert "first at theta = [1." in written.text


@pytest.mark.parametrize(
    ("error", "gist"),
    [
        ("Traceback\n\n  line 3\nKeyError: 'b7'\n\n", "KeyError: 'b7'"),
        ("", "no reason was given"),
        ("killed after 1e-3 s, -5", "killed after … s, …"),
        ("x" * 300, "x" * 160 + " ..."),
    ],
)
def test_errors_that_differ_in_numbers_only_are_one(error, gist):
    assert _gist(error) == gist


def draw_by_printed_code(page, **known):
    """Run the code under every figure, as it stands on the page, where these names are known; how many there were."""
    printed = [block for block in blocks(page.source) if "import plots" in block]
    with pyplot.rc_context({"figure.max_open_warning": 0}):
        for block in printed:
            before = len(pyplot.get_fignums())
            exec(block, dict(known))
            assert len(pyplot.get_fignums()) == before + 1, block
        pyplot.close("all")
    return len(printed)


def test_code_under_the_figures_makes_them(written):
    """Of a check that the caller brought, with the caller's name for it."""
    assert draw_by_printed_code(written, check=some_check()) == len(FIGURES) + 1


class Sum(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return self.weight * x


def likelihood(store):
    network, sampler = likelihood_nn("maf", hidden_features=20, num_transforms=2), MCMC("slice", num_chains=20)
    started = SNLE(simulator, PRIOR, density_estimator=network, sample_with=sampler, seed=3, store=store)
    started(80, max_num_epochs=1, learning_rate=1e-3)
    return started


def ratio(store):
    network, options = classifier_nn("mlp", hidden_features=20), {"num_classes": 3, "gamma": 2.0}
    started = SNRE_C(simulator, PRIOR, classifier=network, loss_options=options, sample_with="vi", seed=3, store=store)
    started(80, max_num_epochs=1)
    return started


def divided(store):
    prior = [scipy.stats.norm(0.0, 1.0), scipy.stats.uniform(loc=-2.0, scale=4.0)]
    started = SNPE_A(simulator, prior, num_components=2, num_workers=1, timeout=30.0, seed=3, store=store)
    posterior = started(60, max_num_epochs=1)
    started(60, proposal=posterior.set_default_x(X_O), max_num_epochs=1)
    return started


def long(theta):
    return np.repeat(theta, 10)


def with_networks_of_their_own(store):
    """What no file holds is left open, in a line of its own; x is long, and so read from the file."""
    network = posterior_nn("maf", hidden_features=20, num_transforms=2, embedding_net=OWN["embedding_net"])
    options = SideOptions(builders=(network,), members=1, likelihood=None, fit=FitOptions(max_num_epochs=1))
    started = SNPE(long, PRIOR, density_estimator=network, executor=OWN["executor"], batched=False, seed=3, store=store)
    started.run(np.zeros(20), 60, 1, proposal=Truncated(epsilon=1e-2), stop=Stop(gain=0.1), options=options)
    return started


def settled(store):
    """Four rounds were planned, the rest after two was one."""
    started = SNPE(simulator, PRIOR, density_estimator="mdn", batched=False, seed=3, store=store)
    started.run(X_O, 600, options=OPTIONS)
    assert [record.asked for record in started.rounds] == [150, 150, 300]
    return started


def elsewhere(store):
    """A round that was appended, one that was driven, and one by hand."""
    started = SNPE(simulator, PRIOR, density_estimator="mdn", batched=False, seed=3, store=store)
    theta = np.random.default_rng(0).uniform(-2, 1, (60, 2))
    started.append_simulations(theta, theta + 0.1).train(max_num_epochs=1)
    posterior = started.run(X_O, 60, options=OPTIONS)
    started(60, proposal=posterior, max_num_epochs=2)
    return started


OWN = {"embedding_net": Sum(jnp.ones(20)), "executor": ThreadPoolExecutor(1)}


@pytest.mark.parametrize(
    "start",
    [
        driven,
        *(
            pytest.param(start, marks=pytest.mark.slow)
            for start in (by_hand, likelihood, ratio, divided, with_networks_of_their_own, elsewhere, settled)
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_recipe_makes_the_run_again(start, tmp_path, monkeypatch):
    """The lines on the page, run as they are but for what they say is the user's, make the same run."""
    monkeypatch.chdir(tmp_path)
    first = start("first.homing")
    page = read(first.report("page.html"))
    first.close()
    recipe = next(block for block in blocks(page.source) if "again.homing" in block)
    brought = {"simulator": simulator, "long": long} | OWN
    left_open = re.findall(r"^(\w+) = \.\.\.  # .+$", recipe, re.MULTILINE)
    assert set(left_open) == ({*OWN, "long"} if start is with_networks_of_their_own else {"simulator"})
    scope = {name: brought[name] for name in left_open}
    exec(re.sub(r"^\w+ = \.\.\.  # .+$", "", recipe, flags=re.MULTILINE), scope)
    scope["inference"].close()
    with homing.open("first.homing") as one, homing.open("again.homing") as other:
        for name in ("theta", "x", "round"):
            np.testing.assert_array_equal(one.simulations()[name], other.simulations()[name])
        assert [record.losses for record in one.records] == [record.losses for record in other.records]
        facts = [{key: fact for key, fact in run.facts.items() if key != "versions"} for run in (one, other)]
        assert facts[0] == facts[1]


def test_a_run_that_goes_on(tmp_path):
    """Before anything is planned, before anything is learned, and without an observation."""
    path = tmp_path / "run.homing"
    with open_store(path) as store:
        store.remember("seed", 3)
        found = read(homing.report(path, tmp_path / "page.html"))
        assert "No round was planned yet." in found.text
        assert "No round is finished yet." in found.text
        assert "Not checked" in found.text
        ids = store.plan(1, np.zeros((3, 2)), np.arange(3), {"name": "prior"})
        store.record(ids[:2], Outcomes.given(np.zeros((2, 2)), [[1.0], [2.0]]))
        found = read(homing.report(path, tmp_path / "page.html"))
    assert "1 round, 2 simulations." in found.text
    assert "has no posterior" in found.text
    assert found.all("figure") == []


def test_from_a_live_object_and_from_what_open_returned(run, tmp_path):
    started = by_hand()
    found = read(started.report(tmp_path / "live.html", labels=LABELS))
    assert "run = inference.view" in found.source
    assert [figure["id"] for figure in found.all("figure")] == ["figure-posterior", *FIGURES[1:3], "figure-failures"]
    assert len(started.rounds) == 2
    with homing.open(run) as opened:
        text = read(homing.report(opened, tmp_path / "opened.html")).text
        assert "small.homing" in text
        assert "100% fail where θ₁ >" in text  # as its figure calls it
        assert "where theta[0]" not in text
        assert len(opened.records) == 2  # it is still open
    assert str(started.view).startswith("round 1: 100 simulations planned")
    started.close()


@pytest.mark.slow
def test_the_runs_own_check_is_told_until_more_is_learned(tmp_path):
    started = by_hand()
    check = started.check(60)
    found = read(started.report(tmp_path / "checked.html"))
    assert check.sentence.replace("theta[0]", "θ₁").replace("theta[1]", "θ₂") in found.text
    assert "Not checked" not in found.text
    pictured = [figure["id"] for figure in found.all("figure") if figure["id"].startswith("figure-check")]
    assert [list(check)[int(name.rpartition("-")[2])].name for name in pictured] == PICTURED
    assert draw_by_printed_code(found, inference=started) == len(found.all("figure"))
    again = read(started.report(tmp_path / "given.html", check=started.view.checks[0]))
    assert "check = run.checks[0]" in again.source
    started(60, max_num_epochs=2)
    assert "Not checked" in read(started.report(tmp_path / "learned.html")).text
    started.close()


def test_a_round_that_ends_while_the_page_is_written_is_told_next_time(run, tmp_path, monkeypatch):
    with homing.open(run) as opened:
        both = opened.records
        monkeypatch.setattr(type(opened), "records", property(lambda _: Rounds(both[:0])))
        assert tell(opened).missing == "The first round was learned from while this was written."
        monkeypatch.setattr(type(opened), "records", property(lambda _: Rounds(both[:1])))
        learned = tell(opened).learned
        assert learned.round == 1
        np.testing.assert_array_equal(learned.posterior.sample((3,)), opened.posterior(1).sample((3,)))


def test_a_posterior_of_the_callers(run, tmp_path):
    posterior = posterior_of(made("mdn"), PRIOR)
    found = read(homing.report(run, tmp_path / "page.html", posterior=posterior, x=X_O))
    assert "The posterior, at x_o" in found.text
    assert posterior.default_x is None
    assert draw_by_printed_code(found, posterior=posterior.set_default_x(X_O)) == len(found.all("figure"))


def test_many_parameters_are_shown_one_by_one():
    draws = np.random.default_rng(0).normal(size=(500, 12))
    learned = Learned(None, posterior_of(made("mdn"), PRIOR), X_O, draws, 3 * draws, {}, np.array([[-5, 5]] * 12))
    story = Story("run", "run = ...", {}, {}, Rounds([]), learned, "", None, "", None, None)
    found = str(posterior_figure(story, learned))
    assert "each of 12 parameters" in found
    assert "plots.marginal_plot(samples" in found


def test_sections_are_written_again_only_when_they_tell_something_else(run):
    with homing.open(run) as opened:
        memory = {}
        first = page(tell(opened, memory=memory), "now", "1", memory)
        draws = [value for key, value in memory.items() if isinstance(key, tuple)]
        assert len(draws) == 2  # of each round
        again = tell(opened, memory=memory)
        assert again.learned.draws is next(value for value in draws if len(value) == 5000)
        assert page(again, "now", "1", memory) == first
        assert page(tell(opened, memory=memory, labels=LABELS), "now", "1", memory) != first


def test_html_is_escaped_unless_it_is_html():
    assert tag("p", "<b>", Html("<i></i>"), None, ["&", 1]) == "<p>&lt;b&gt;<i></i>&amp;1</p>"
    assert tag("a", "x", href='"><script>', id=None, hidden=True) == '<a href="&quot;&gt;&lt;script&gt;" hidden>x</a>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_old_records_have_no_losses():
    """A run file of before, whose records know nothing of them."""
    record = RoundRecord(1, "prior", asked=5, valid=5)
    old = {name: value for name, value in record.as_dict().items() if name != "losses"}
    assert RoundRecord(**old) == record
    assert Rounds([record]).table() == [["round", "proposal", "simulations", "valid"], ["1", "prior", "5", "5"]]


def test_errors_teach(run, tmp_path):
    with pytest.raises(StoreError, match="absent"):
        homing.report(tmp_path / "absent.homing", tmp_path / "page.html")
    with pytest.raises(ArgumentError, match=r"run must be a run file, what homing\.open returned.*found int"):
        homing.report(3, tmp_path / "page.html")
    with pytest.raises(ArgumentError, match="labels must have one text for each of the 2 parameters, found 1"):
        homing.report(run, tmp_path / "page.html", labels=["a"])
    with pytest.raises(ArgumentError, match=r"points must be the true parameters, shape \(2,\)"):
        homing.report(run, tmp_path / "page.html", points=[[0, 0], [1, 1]])
    with pytest.raises(ObservationError, match="x must have the shape"):
        homing.report(run, tmp_path / "page.html", x=[1.0])
    with pytest.raises(OSError, match=r"nowhere.* cannot be written: No such file"):
        homing.report(run, tmp_path / "nowhere" / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_room_is_called_as_people_say():
    assert homing.report.report is not homing.report
    assert homing.report.watch.__name__ == "watch"
    assert homing.report is sys.modules["homing.report"]

"""The page in a real browser: every figure there, no error, no request, on a phone and in the dark.

Needs Chromium and playwright's Python package; without them the tests are skipped, unless HOMING_NEEDS_BROWSER is set.
"""

import io
import os
import shutil
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from matplotlib import image

import homing
from homing.report.server import Server
from homing.simulation import Outcomes, open_store
from runs import EVIL, LABELS, X_O, by_hand, driven
from test_report import FIGURES, PICTURED, some_check

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1200, "height": 900}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium as the system has it; never one that playwright downloads."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        unavailable("playwright's Python package is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        unavailable("no Chromium is installed")
    with sync_playwright() as playwright:
        try:
            folder = tmp_path_factory.mktemp("profile")
            opened = playwright.chromium.launch_persistent_context(folder, executable_path=found, args=[*FLAGS])
        except Error as error:
            unavailable(f"Chromium does not start: {error}")
        yield opened
        opened.close()


def unavailable(reason):
    if os.environ.get("HOMING_NEEDS_BROWSER"):
        pytest.fail(f"HOMING_NEEDS_BROWSER is set, and {reason}")
    pytest.skip(f"{reason}: the page is not looked at")


@dataclass
class Look:
    """A page that is being looked at, and what went on meanwhile."""

    page: object
    said: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def picture(self):
        return pixels(self.page.screenshot(full_page=True))


def pixels(png):
    """A picture as RGB, shape (height, width, 3), from 0 to 1."""
    return image.imread(io.BytesIO(png))[..., :3]


@pytest.fixture
def look(browser):
    pages = []

    def open_it(address, size=DESK, scheme="light"):
        seen = Look(browser.new_page())
        pages.append(seen.page)
        seen.page.on("console", lambda message: seen.said.append(message.text))
        seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
        seen.page.on("dialog", lambda dialog: (seen.said.append(dialog.message), dialog.dismiss()))
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.set_viewport_size(size)
        seen.page.emulate_media(color_scheme=scheme)
        seen.page.goto(address)
        return seen

    yield open_it
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "small.homing"
    driven(path).close()
    return path


@pytest.fixture(scope="module")
def address(run):
    written = homing.report(run, run.with_suffix(".html"), check=some_check(), labels=LABELS, points=X_O)
    return written.as_uri()


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_every_figure_is_there_and_nothing_goes_wrong(look, address, size, scheme):
    seen = look(address, size, scheme)
    assert figures_with_ink(seen) == [*FIGURES, "figure-failures"]
    assert seen.said == []
    assert [request for request in seen.asked if not request.startswith(("data:", address))] == []
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture = seen.picture()
    assert picture.shape[0] > 2000
    assert picture.std() > 0.05
    assert (np.median(picture) < 0.2) == (scheme == "dark")


def figures_with_ink(seen):
    """The names of the page's figures, none of them a blank: some ink on some paper, and colour."""
    boxes = seen.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll("figure")].map((figure) => {
      const { width, height } = figure.querySelector("svg").getBoundingClientRect();
      return [figure.id, [width, height]];
    }))""")
    assert all(width > 150 and height > 80 for width, height in boxes.values()), boxes
    for name in boxes:
        part = pixels(seen.page.locator(f"#{name} svg").screenshot())
        assert part.std() > 0.02, name
        assert (part.max(2) - part.min(2)).max() > 0.3, name
    return list(boxes)


@pytest.mark.slow
def test_every_picture_of_a_real_check_is_there(look, tmp_path):
    started = by_hand()
    check = started.check(60)
    seen = look(started.report(tmp_path / "checked.html").as_uri(), PHONE)
    pictured = [k for k, verdict in enumerate(check) if verdict.curves and verdict.name in PICTURED]
    assert [list(check)[k].name for k in pictured] == PICTURED
    assert figures_with_ink(seen) == [*FIGURES[:3], *(f"figure-check-{k}" for k in pictured), "figure-failures"]
    for k in pictured:  # each says of which check it is
        caption = seen.page.locator(f"#figure-check-{k} figcaption").text_content()
        assert caption.lower().startswith(f"{list(check)[k].name.lower()}. ")
    assert seen.said == []
    started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_paper(look, address, scheme):
    """The contrast of all text with its background is at least what the WCAG 2 asks for, 4.5 to 1."""
    seen = look(address, DESK, scheme)
    contrasts = seen.page.evaluate("""() => {
      const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
      const light = (color) => numbers(color).slice(0, 3).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
      const paper = (part) => {
        const color = getComputedStyle(part).backgroundColor;
        return numbers(color)[3] === 0 && part.parentElement ? paper(part.parentElement) : color;
      };
      const parts = [...document.querySelectorAll("body *")].filter((part) => !part.closest("svg"))
        .filter((part) => [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
      return parts.map((part) => {
        const [a, b] = [light(getComputedStyle(part).color), light(paper(part))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), part.tagName, part.textContent.slice(0, 30)];
      });
    }""")
    assert len(contrasts) > 50
    assert min(contrasts)[0] >= 4.5, min(contrasts)


def test_wide_tables_scroll_within_themselves_and_can_be_selected(look, address):
    seen = look(address, PHONE)
    wide = seen.page.locator("#rounds .wide").first
    assert wide.evaluate("part => part.scrollWidth > part.clientWidth")
    wide.evaluate("part => part.scrollTo(1000, 0)")
    assert wide.evaluate("part => part.scrollLeft") > 0
    table = seen.page.locator("#posterior table")
    table.evaluate("part => getSelection().selectAllChildren(part)")
    assert LABELS[0] in seen.page.evaluate("getSelection().toString()")
    code = seen.page.locator("#figure-posterior details")
    assert not code.locator("pre").is_visible()
    code.locator("summary").click()
    assert "posterior.pairplot" in code.locator("pre").inner_text()


def test_a_text_with_a_script_in_it_runs_nothing(look, address):
    seen = look(address)
    assert seen.page.title() == "small.homing - homing"
    assert seen.page.locator("img, main script").count() == 0
    assert EVIL in seen.page.locator("#simulations").text_content()
    assert seen.said == []


# --- the live page ---


@pytest.fixture
def served():
    """Starts a server, and ends it."""
    started = []

    def serve(path):
        server = Server(path, 0, {})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        started.append((server, thread))
        return server

    yield serve
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_live_page_follows_the_run_and_stays_where_it_was(look, served, tmp_path):
    path = tmp_path / "run.homing"
    server = served(path)
    seen = look(server.url, PHONE)
    assert "no such run file yet" in seen.page.text_content("main")
    theta = np.random.default_rng(0).normal(size=(200, 2))
    with open_store(path) as store:
        ids = store.plan(1, theta, np.arange(200), {"name": "prior"})
        store.record(ids[:50], Outcomes.given(theta[:50], theta[:50], dict.fromkeys(range(9), EVIL)))
        seen.page.locator("body", has_text="1 round, 50 simulations").wait_for(timeout=20_000)
        seen.page.locator("#error-0 summary").click()
        seen.page.evaluate("scrollTo(0, 400)")
        before = seen.page.evaluate("scrollY")
        assert before > 100
        store.record(ids[50:], Outcomes.given(theta[50:], theta[50:]))
        seen.page.locator("body", has_text="1 round, 200 simulations").wait_for(timeout=20_000)
        assert seen.page.evaluate("scrollY") == before
        assert seen.page.locator("#error-0").evaluate("part => part.open")
    assert all(request.startswith((server.url, "data:")) for request in seen.asked)
    assert seen.said == []


@pytest.mark.slow
def test_the_live_page_says_when_its_server_is_gone(look, served, run):
    server = served(run)
    seen = look(server.url)
    assert seen.page.locator("figure").count() == len(FIGURES) - 4 + 1  # without the check's
    answers = len(seen.asked)
    deadline = time.monotonic() + 15
    while len(seen.asked) < answers + 2 and time.monotonic() < deadline:
        seen.page.wait_for_timeout(200)
    assert len(seen.asked) >= answers + 2  # it asks again and again
    assert seen.said == []
    server.shutdown()
    server.server_close()
    seen.page.wait_for_selector("body.lost", timeout=15_000)

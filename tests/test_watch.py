"""The live page's server: for this machine only, for looking only, and as new as the run file."""

import http.client
import re
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from homing.report import server as room
from homing.report import watch
from homing.report.server import Server
from homing.simulation import Outcomes, open_store


@contextmanager
def serving(path, **options):
    server = Server(path, 0, options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(server, method="GET", path="/", host=None, **headers):
    """Status, headers and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for value in [f"127.0.0.1:{server.port}"] if host is None else [host] if isinstance(host, str) else host:
        connection.putheader("Host", value)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def plan(path, num=20):
    with open_store(path) as store:
        store.plan(1, np.zeros((num, 2)), np.arange(num), {"name": "prior"})


def test_the_page_is_as_new_as_the_file(tmp_path):
    path = tmp_path / "run.homing"
    with serving(path) as server:
        assert "no such run file yet" in ask(server)[2]
        plan(path)
        status, headers, text = ask(server)
        assert status == 200
        assert "1 round, 0 simulations" in text
        assert ask(server, If_None_Match=headers["ETag"])[::2] == (304, "")
        with open_store(path) as store:  # while another process writes
            store.record(np.arange(5), Outcomes.given(np.zeros((5, 2)), np.zeros((5, 1))))
            status, newer, text = ask(server, If_None_Match=headers["ETag"])
            assert status == 200
            assert "1 round, 5 simulations" in text
            assert newer["ETag"] != headers["ETag"]


def test_it_is_built_once_for_all_who_ask(tmp_path, monkeypatch):
    plan(tmp_path / "run.homing")
    built = []
    monkeypatch.setattr(room, "page", lambda *args: built.append(time.sleep(0.1)) or "page")
    with serving(tmp_path / "run.homing") as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(5)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert len(built) == 1


def test_a_connection_that_says_nothing_holds_up_nobody(tmp_path):
    plan(tmp_path / "run.homing")
    with serving(tmp_path / "run.homing") as server, socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server)[0] == 200


def test_only_this_machine_is_listened_to(tmp_path):
    with serving(tmp_path / "run.homing") as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.port}/"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("127.0.0.1:1", 403),
        ("127.0.0.1", 403),
        ("", 403),
        ([], 403),
        (["127.0.0.1:{port}", "evil.example"], 403),
    ],
)
def test_only_names_of_this_machine_are_answered(tmp_path, host, status):
    plan(tmp_path / "secret.homing")
    with serving(tmp_path / "secret.homing") as server:
        host = host.format(port=server.port) if isinstance(host, str) else [h.format(port=server.port) for h in host]
        found, _, text = ask(server, host=host)
        assert found == status
        assert ("secret.homing" in text) == (status == 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_it_can_only_be_looked_at(tmp_path, method):
    path = tmp_path / "run.homing"
    plan(path)
    before = path.read_bytes()
    with serving(path) as server:
        status, headers, _ = ask(server, method)
        assert status == 405
        assert headers["Allow"] == "GET"
        assert ask(server)[0] == 200
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["/run.homing", "/../run.homing", "/..%2frun.homing", "//etc/passwd", "/?x", "*"])
def test_nothing_is_read_from_the_address(tmp_path, path):
    plan(tmp_path / "run.homing")
    with serving(tmp_path / "run.homing") as server:
        status, _, text = ask(server, path=path)
        assert status == 404
        assert text == "There is one page here: /"


def test_what_browsers_are_told(tmp_path):
    plan(tmp_path / "run.homing")
    with serving(tmp_path / "run.homing") as server:
        _, headers, text = ask(server, Origin="http://evil.example")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
    assert len(re.findall("<script>", text)) == 1


def test_a_damaged_file_is_told_and_ends_nothing(tmp_path):
    path = tmp_path / "run.homing"
    path.write_text("no run")
    with serving(path) as server:
        status, _, text = ask(server)
        assert status == 200
        assert "is no run file" in text
        path.unlink()
        plan(path)
        assert "1 round, 0 simulations" in ask(server)[2]


def test_watch_until_interrupted(tmp_path, monkeypatch):
    """It says where it is, opens the browser if asked, ends without a word, and leaves the port free."""
    plan(tmp_path / "run.homing")
    told, opened = [], []
    monkeypatch.setattr(room.webbrowser, "open", opened.append)

    def ready(url):
        told.append(url)
        monkeypatch.setattr(Server, "serve_forever", lambda self, **_: (_ for _ in ()).throw(KeyboardInterrupt))

    watch(tmp_path / "run.homing", open_browser=True, on_ready=ready)
    assert opened == told
    port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", told[0])[1])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError):
        watch(tmp_path / "run.homing", port=port)

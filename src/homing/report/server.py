"""The page of a run that goes on, for the browsers of this machine and of no other.

It is served on 127.0.0.1 alone, read-only: GET of one page, of which nothing is read from the address, so there is
nothing to break out of. A page of another site cannot read it, neither directly, as browsers keep it from reading
answers of other origins, nor by a name of its own that it lets point here (DNS rebinding), as only requests that name
this machine are answered.
"""

from __future__ import annotations

import hashlib
import threading
import time
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from homing.errors import HomingError
from homing.report.page import notice, page, policy
from homing.report.story import tell
from homing.runs import open as open_run
from homing.simulation.typed import understood

_LOCAL = "127.0.0.1"
_IDLE = 30.0  # seconds after which a connection that says nothing is closed


def watch(
    path: str | Path,
    *,
    port: int = 0,
    open_browser: bool = False,
    on_ready: Callable[[str], object] | None = None,
    **options: Any,
) -> None:
    """Serve the page of a run file until interrupted, rebuilt whenever the file has changed.

    Args:
        path: The run file; it may be made later.
        port: On which port of 127.0.0.1; 0 takes a free one.
        open_browser: Whether to show it in the user's browser.
        on_ready: Told the page's address once it is served.
        **options: As for `homing.report`.

    Raises:
        OSError: If the port is taken.
    """
    with Server(Path(path), port, options) as server:
        if on_ready is not None:
            on_ready(server.url)
        if open_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            return


class Server(ThreadingTCPServer):
    """Serves one page. Each connection has a thread, since browsers keep idle ones open; one page is made at a time.

    Args:
        path: The run file.
        port: The port; 0 for a free one.
        options: As for `homing.report`.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, path: Path, port: int, options: dict[str, Any]):
        self._path, self._lock, self._memory = path, threading.Lock(), {}
        self._opening = {name: options.pop(name) for name in ("prior", "density_estimator") if name in options}
        self._options = options
        self._made: tuple[Any, str, str] | None = None
        super().__init__((_LOCAL, port), _Handler)
        self.port = int(self.server_address[1])
        self.url = f"http://{_LOCAL}:{self.port}/"
        self.hosts = {f"{_LOCAL}:{self.port}", f"localhost:{self.port}"}

    def page(self) -> tuple[str, str]:
        """The page as the run file is now, and the version that names it."""
        with self._lock:
            state = self._state()
            if self._made is None or self._made[0] != state:
                version = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
                self._made = state, self._build(version), version
            return self._made[1:]

    def _state(self) -> list[Any]:
        """What changes when the file, or the log beside it, does."""
        return [_stamp(self._path), _stamp(self._path.with_name(self._path.name + "-wal"))]

    def _build(self, version: str) -> str:
        if not self._path.exists():
            return notice(self._path.name, "There is no such run file yet. It is shown here once it is there.", version)
        try:
            with open_run(self._path, **self._opening) as run, understood(self._path):
                story = tell(run, memory=self._memory, **self._options)
                return page(story, time.strftime("%H:%M:%S"), version, self._memory)
        except HomingError as error:
            return notice(self._path.name, str(error), version)


def _stamp(path: Path) -> tuple[int, int] | None:
    """When a file changed and how large it is; None of one that is not there, or goes at this moment."""
    try:
        known = path.stat()
    except FileNotFoundError:
        return None
    return known.st_mtime_ns, known.st_size


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version, sys_version = "homing", ""
    timeout = _IDLE

    def do_GET(self) -> None:
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            self._answer(403, "This page is for this machine only: ask for it by its address there.")
        elif self.path != "/":
            self._answer(404, "There is one page here: /")
        else:
            text, version = self.server.page()
            if self.headers.get("If-None-Match") == version:
                self._answer(304)
            else:
                self._answer(200, text, ETag=version)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # all other methods
            return lambda: self._answer(405, "This page can only be looked at.", Allow="GET")
        raise AttributeError(name)

    def _answer(self, status: int, text: str = "", **headers: str) -> None:
        content = text.encode()
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Type", f"text/{'html' if status == 200 else 'plain'}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", f"{policy(live=True)}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is the run's."""

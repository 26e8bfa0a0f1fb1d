"""A site to operate: web servers on 127.0.1.x that stand for datacenters, the configuration that watches them, its daemon.

Knows how servers live, hang and die, and how a running daemon is asked. Knows nothing of what should follow.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from tests.test_daemon import FRANCE, PATIENCE, Daemon, Site, free_port

from geodns.client import Client

INTERVAL, FALL = 0.4, 2  # seconds between two probes, failures to go down
PLACES = {"ams": [52.37, 4.90], "nyc": [40.71, -74.01], "sin": [1.35, 103.82]}
ADDRESSES = {"ams": "127.0.1.1", "nyc": "127.0.1.2", "sin": "127.0.1.3"}
CONFIG = """
server: {{listen: {listen}, http: {http}, control: {folder}/control.sock, state: {folder}/state{server}}}
geoip: {{database: world.mmdb}}
health: {{{health}}}
datacenters: {datacenters}
checks:
  web: {{type: http, port: {web}, path: /healthz, interval: {interval}s, timeout: {timeout}s, rise: 2, fall: {fall}}}
services:
  www: {{check: web, ttl: 5, pools: {{{pools}}}}}
zones:
  example.com:
    ns: [ns1]
    records: {{www: {{service: www}}, static: {{A: {static}}}, ns1: {{A: 192.0.2.53}}}}
"""


class Web:
    """The web server of one datacenter; `hang` and `status` say how it replies, `requests` counts."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.status, self.requests = 200, 0
        self._free = threading.Event()
        self._free.set()
        self._server: ThreadingHTTPServer | None = None
        self._fillers: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def hang(self) -> None:
        """Take requests, and reply to none until `free`."""
        self._free.clear()

    def free(self) -> None:
        self._free.set()

    def start(self) -> None:
        server = ThreadingHTTPServer((self.address, self.port), self._handler())
        self.port = server.server_port
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        self._thread.start()

    def mute(self) -> None:
        """Let SYNs go unanswered, as behind a broken link: the queue of those who wait to be accepted is full."""
        assert self._server is not None and self._thread is not None
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._thread = None
        while self._fill():
            pass

    def _fill(self) -> bool:
        filler = socket.socket()
        self._fillers.append(filler)
        filler.settimeout(0.2)
        try:
            filler.connect((self.address, self.port))
        except TimeoutError:
            return False
        return True

    def unmute(self) -> None:
        """Accept again."""
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        assert self._server is not None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def kill(self) -> None:
        """Nobody listens any more: who connects is refused."""
        self.free()
        if self._fillers:
            self.unmute()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join(PATIENCE)
            self._server.server_close()
            self._server = None

    close = kill

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests += 1
                web._free.wait(PATIENCE)
                try:
                    self.send_response(web.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    return  # the probe's time was over

            def log_message(self, *words: object) -> None:
                """Nobody reads it."""

        return Handler


class Operated(Site):
    """A folder with a configuration whose members are watched."""

    def __init__(self, folder: Path, webs: Mapping[str, Web]) -> None:
        self.webs = dict(webs)
        self.http: int | None = None
        self.server = self.health = self.more = ""
        self.interval, self.fall = INTERVAL, FALL
        self.names = {name: name for name in self.webs}  # what a datacenter is called in the configuration
        super().__init__(folder)

    def write(self, *, static: str = "192.0.2.9", more: str = "", broken: bool = False) -> None:
        (port,) = {web.port for web in self.webs.values()}
        text = CONFIG.format(
            listen=self.listen,
            http="off" if self.http is None else f"127.0.0.1:{self.http}",
            folder=self.folder,
            server=self.server,
            health=self.health,
            datacenters="".join(f"\n  {new}: {{coordinates: {PLACES[old]}}}" for old, new in self.names.items()),
            web=port,
            interval=self.interval,
            timeout=0.75 * self.interval,
            fall=self.fall,
            pools=", ".join(f"{new}: [{self.webs[old].address}]" for old, new in self.names.items()),
            static=static,
        )
        text += self.more + more
        self.config.write_text(text.replace("{service: www}", "{service: wwww}") if broken else text)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def client(self) -> Client:
        """The daemon, by its control socket."""
        return Client.open(self.folder / "control.sock")

    def www(self) -> list[str]:
        """Where the world's client is sent."""
        return self.ask("www.example.com")

    def status(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.client.get("status"))

    def verdicts(self) -> dict[str, str]:
        """What counts for each member, by address."""
        pools = self.client.get("pools")
        return {member["member"]: member["verdict"] for pool in pools for member in pool["members"]}

    def override(self, path: str, target: str, **more: object) -> dict[str, Any]:
        body = {"target": target, "reason": "test", "owner": "rob", **more}
        return cast(
            dict[str, Any], self.client.post(path, {name: value for name, value in body.items() if value is not None})
        )

    def fetch(self, path: str) -> tuple[int, str]:
        """Status and text over HTTP."""
        assert self.http is not None
        with closing(http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    def metrics(self) -> dict[str, float]:
        """Samples with their labels as they are written."""
        status, text = self.fetch("/metrics")
        assert status == 200, text
        lines = text.splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def geodns(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line, to its end."""
        environ = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONWARNINGS": "error"}
        return subprocess.run(
            [sys.executable, "-m", "geodns", *words, "-c", str(self.config)],
            capture_output=True, text=True, env=environ, timeout=3 * PATIENCE, check=False,
        )  # fmt: skip


@contextmanager
def operated(folder: Path) -> Iterator[Operated]:
    """A site whose three web servers run."""
    with ExitStack() as stack:
        webs: dict[str, Web] = {}
        port = 0
        for name, address in ADDRESSES.items():
            port = port or free_web_port()
            web = webs[name] = Web(address, port)
            web.start()
            stack.callback(web.close)
        yield Operated(folder, webs)


def free_web_port() -> int:
    """A port that was free for all datacenters a moment ago."""
    while True:
        port = free_port()
        try:
            for address in ADDRESSES.values():
                web = Web(address, port)
                web.start()
                web.close()
        except OSError:
            continue
        return port


def until(found: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Look until it is so; the seconds that took. Fails after *patience* seconds."""
    began = time.monotonic()
    while not found():
        assert time.monotonic() < began + patience, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def prober_of(daemon: Daemon) -> int:
    """The process that probes for *daemon*."""
    found: list[int] = []

    def find() -> bool:
        found[:] = [pid for pid in children(daemon.process.pid) if b"geodns.health.prober" in command_line(pid)]
        return bool(found)

    until(find)
    return found[0]


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


__all__ = ["FRANCE", "PATIENCE", "Daemon", "Operated", "Web", "free_port", "operated", "prober_of", "until"]

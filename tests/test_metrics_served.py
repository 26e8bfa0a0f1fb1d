"""What a running daemon tells Prometheus: the story of its queries, its health and its reloads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import dns.message
import dns.query
import dns.rcode
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.test_daemon import FRANCE, PATIENCE, Daemon, free_port
from tests.world import write_world

from geodns import __version__, engine

CONFIG = """
server: {{listen: ["127.0.0.1:{dns}"], http: "127.0.0.1:{http}", control: off, state: {folder}/state}}
geoip: {{database: world.mmdb}}
datacenters:
  ams: {{coordinates: [52.37, 4.90]}}
  nyc: {{coordinates: [40.71, -74.01]}}
checks:
  web: {{type: tcp, port: {target}, interval: 200ms, timeout: 100ms}}
services:
  www: {{check: web, pools: {{ams: [127.0.0.1], nyc: [127.0.0.2]}}}}
zones:
  example.com: {{ns: [ns.example.net.], records: {{www: {{service: {service}}}}}}}
{more}
"""


class Place:
    """A folder, a target for the probes, and a daemon's addresses."""

    def __init__(self, folder: Path, target: int) -> None:
        self.folder, self.config = folder, folder / "geodns.yaml"
        self.dns, self.http, self.target = free_port(), free_port(), target
        (folder / "state").mkdir()
        (folder / "world.mmdb").write_bytes(write_world(FRANCE, build_epoch=int(time.time())))
        self.write()

    def write(self, *, service: str = "www", more: str = "") -> None:
        values = {"dns": self.dns, "http": self.http, "target": self.target, "folder": self.folder}
        self.config.write_text(CONFIG.format(service=service, more=more, **values))

    def ask(self, name: str, *, tcp: bool = False) -> int:
        """The rcode."""
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(dns.message.make_query(name, "A"), "127.0.0.1", port=self.dns, timeout=PATIENCE).rcode()

    def scrape(self) -> dict[tuple[str, frozenset[str]], float]:
        """Name and values of the labels to the number."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=PATIENCE) as reply:
            assert reply.headers["Content-Type"].startswith("text/plain; version=")
            families = text_string_to_metric_families(reply.read().decode())
        return {(s.name, frozenset(s.labels.values())): s.value for family in families for s in family.samples}

    def wait_for(self, name: str, *labels: str, until: Callable[[float], bool]) -> dict[tuple[str, frozenset[str]], float]:
        """The first scrape in which this number is as wanted; one serves everybody for a second."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.scrape()
            if until(found.get((name, frozenset(labels)), -1.0)):
                return found
            assert time.monotonic() < deadline, (name, labels, found.get((name, frozenset(labels))))
            time.sleep(0.1)


@contextmanager
def listening() -> Iterator[int]:
    """A port on 127.0.0.1 that takes connections, for probes; on 127.0.0.2 nobody does."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with listening() as port:
        yield Place(tmp_path, port)


def test_metrics_tell_of_queries_health_and_reloads(place: Place) -> None:
    with closing(Daemon(SimpleNamespace(folder=place.folder, config=place.config))) as daemon:  # type: ignore[arg-type]
        daemon.wait_for("answering on")
        assert [place.ask("www.example.com") for _ in range(3)] == [dns.rcode.NOERROR] * 3
        assert place.ask("no.example.com", tcp=True) == dns.rcode.NXDOMAIN
        assert place.ask("example.org") == dns.rcode.REFUSED
        replies = ("geodns_responses_total", "example.com.", "udp", "A", "NOERROR")
        found = place.wait_for(*replies, until=lambda count: count == 3)

        def number(name: str, *labels: str) -> float:
            return found[name, frozenset(labels)]

        assert number("geodns_responses_total", "example.com.", "tcp", "A", "NXDOMAIN") == 1
        assert number("geodns_responses_total", "(none)", "udp", "A", "REFUSED") == 1
        assert number("geodns_queries_total", "udp", "A", "none") == 4
        assert (number("geodns_answers_total", "www", "ams"), number("geodns_answers_total", "www", "nyc")) == (3, 0)
        assert number("geodns_response_seconds_count", "udp") == 4
        assert number("geodns_tcp_connections_total") == 1
        assert number("geodns_socket_drops_total", f"127.0.0.1:{place.dns}") == 0
        assert (number("geodns_pool_rank", "www", "ams"), number("geodns_pool_rank", "www", "nyc")) == (1, 4)
        assert number("geodns_member_up", "www", "nyc", "127.0.0.2") == 0
        assert number("geodns_probes_total", "web", "up") >= 1
        assert number("geodns_probes_total", "web", "down") >= 1
        assert (number("geodns_ready"), number("geodns_prober_running"), number("geodns_config_reload_success")) == (1, 1, 1)

        place.write(service="wwww")
        daemon.send(signal.SIGHUP)
        found = place.wait_for("geodns_config_reload_success", until=lambda ok: ok == 0)
        assert found[replies[0], frozenset(replies[1:])] == 3

        place.write(more="  new.test: {ns: [ns.example.net.]}")
        daemon.send(signal.SIGHUP)
        found = place.wait_for("geodns_config_reload_success", until=lambda ok: ok == 1)
        assert found[replies[0], frozenset(replies[1:])] == 3, "what was counted before the reload is not forgotten"
        assert number("geodns_answers_total", "www", "ams") == 3
        assert number("geodns_responses_total", "new.test.", "udp", "A", "NOERROR") == 0
        assert place.ask("www.example.com") == dns.rcode.NOERROR
        place.wait_for(*replies, until=lambda count: count == 4)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0


BUILT = "native" if engine.find().native else "pure"


@pytest.mark.parametrize(("pure", "name"), [("1", "pure"), ("", BUILT)])
def test_every_door_tells_the_engine_that_serves(place: Place, pure: str, name: str) -> None:
    """`--version` of the same environment, `status`, the API, and a label of a metric."""
    environ = {"GEODNS_PURE": pure}
    site = SimpleNamespace(folder=place.folder, config=place.config)
    with closing(Daemon(site, environ=environ)) as daemon:  # type: ignore[arg-type]
        daemon.wait_for("answering on")
        node = f"http://127.0.0.1:{place.http}"
        with urllib.request.urlopen(f"{node}/api/v1/status", timeout=PATIENCE) as reply:
            assert json.load(reply)["engine"] == name
        assert place.scrape()["geodns_build_info", frozenset({__version__, name})] == 1
        for options, line in (
            (["--version"], f"geodns {__version__} ({name})"),
            (["status", "--at", node], f" ({name}), pid "),
        ):
            command = [sys.executable, "-m", "geodns", *options]
            done = subprocess.run(
                command, env=os.environ | environ, capture_output=True, text=True, check=True, timeout=PATIENCE
            )
            assert line in done.stdout.partition("\n")[0]
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0

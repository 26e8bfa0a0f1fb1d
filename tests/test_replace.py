"""`geodns serve --replace`, and starts over broken files: what one daemon leaves to the next, as operators meet it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.server.load import Load, free_ports
from tests.world import write_world

PATIENCE = 30.0  # seconds until something that was waited for has failed
CONFIG = """
server:
  listen: [{listen}]
  http: 127.0.0.1:{http}
  control: {folder}/control.sock
  state: {folder}/state
  nsid: {nsid}
geoip: {{database: world.mmdb}}
datacenters: {{ams: {{coordinates: [52.37, 4.90]}}}}
services: {{www: {{check: off, pools: {{ams: [192.0.2.1]}}}}}}
zones:
  example.com:
    ns: [ns1]
    records: {{www: {{service: www}}, "*": {{service: www}}, ns1: {{A: 192.0.2.53}}}}
"""


class Queries(Load):
    """Each for a name of its own under a wildcard, asking who answers (NSID, RFC 5001)."""

    def write(self, number: int) -> bytes:
        return write_query(number)

    def read(self, reply: bytes) -> tuple[int, bytes]:
        assert reply[3] & 15 == 0, "NOERROR"
        assert reply[6:8] == b"\x00\x01", "one answer"
        number = int(reply[14 : 13 + reply[12]])
        return number, reply[reply.rindex(b"\x00\x03\x00") + 4 :]


def write_query(number: int) -> bytes:
    """The address of n`number`.example.com?"""
    label = b"n%d" % number
    head = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 1)
    question = bytes((len(label),)) + label + b"\x07example\x03com\x00\x00\x01\x00\x01"
    return head + question + b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x03\x00\x00"


class Site:
    """A folder with a configuration."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        (self.http,) = free_ports(1)
        self.config = folder / "geodns.yaml"
        world = write_world({"0.0.0.0/1": {"country": "FR", "coordinates": [48.0, 2.0]}}, build_epoch=int(time.time()))
        (folder / "world.mmdb").write_bytes(world)
        (folder / "state").mkdir()

    def write(self, nsid: str, more: Sequence[int] = ()) -> None:
        listen = ", ".join(f'"127.0.0.1:{port}"' for port in (self.port, *more))
        self.config.write_text(CONFIG.format(listen=listen, http=self.http, folder=self.folder, nsid=nsid))

    def pid(self) -> int:
        """Of the daemon that answers HTTP."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/api/v1/status", timeout=PATIENCE) as reply:
            return int(json.load(reply)["pid"])


class Daemon:
    """`geodns serve` in a process of its own; its log lines as they come."""

    def __init__(self, site: Site, *options: str, **environ: str) -> None:
        self.lines: list[str] = []
        clean = {k: v for k, v in os.environ.items() if k not in {"STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM"}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "geodns", "serve", "-c", str(site.config), *options],
            stderr=subprocess.PIPE,
            text=True,
            env=clean | environ,
        )
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    def wait_for(self, text: str) -> str:
        """The first log line that holds *text*."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._news:
            assert self._news.wait_for(lambda: bool(found()), PATIENCE), (text, self.lines)
            return found()[0]

    def end(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()


def ask_tcp(client: socket.socket, query: bytes) -> bytes:
    client.sendall(len(query).to_bytes(2, "big") + query)
    octets = b""
    while len(octets) < 2 or len(octets) < 2 + int.from_bytes(octets[:2], "big"):
        more = client.recv(1000)
        assert more, "closed without a reply"
        octets += more
    return octets[2:]


def test_an_upgrade_under_load_loses_nothing(tmp_path: Path) -> None:
    """Twice; `server` changes on the way, an address is added, an open TCP connection is served to its end."""
    with ExitStack() as daemons, Queries() as load:
        site = Site(tmp_path, load.port)
        site.write("one")
        old = daemons.enter_context(closing(Daemon(site)))
        old.wait_for("answering on")
        load.start()
        (added,) = free_ports(1)
        for nsid, more in (("two", [added]), ("three", [])):
            with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as client:
                before = load.read(ask_tcp(client, load.write(7)))
                site.write(nsid, more)
                new = daemons.enter_context(closing(Daemon(site, "--replace")))
                new.wait_for("took over from process")
                assert load.read(ask_tcp(client, load.write(7))) == before, "the connection stays with whom it began"
            assert old.end() == 0
            assert site.pid() == new.process.pid
            assert (tmp_path / "state" / "lock").read_text() == f"{new.process.pid}\n"
            for port in (site.port, *more):
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                    assert load.read(ask_tcp(client, load.write(8))) == (8, nsid.encode())
            old = new
        load.check()
        assert set(load.answers) == {b"one", b"two", b"three"}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", added), PATIENCE)
        new.process.send_signal(signal.SIGTERM)
        assert new.end() == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: text.index("pools") + 8],  # a copy that is still under way
        lambda text: text.replace("{service: www}", "{service: wwww}"),
        lambda text: text.replace("world.mmdb", "none.mmdb"),
        lambda text: text.replace('"127.0.0.1:', '"127.0.0.1:1", "192.0.2.1:', 1),
    ],
    ids=["half", "mistake", "database", "address"],
)
def test_a_successor_that_cannot_serve_leaves_the_old_one(tmp_path: Path, spoil: Callable[[str], str]) -> None:
    with Queries() as load:
        site = Site(tmp_path, load.port)
        site.write("one")
        with closing(Daemon(site)) as old:
            old.wait_for("answering on")
            load.start()
            site.config.write_text(spoil(site.config.read_text()))
            with closing(Daemon(site, "--replace")) as new:
                assert new.end() == 1
            assert site.pid() == old.process.pid
            load.check()
            assert set(load.answers) == {b"one"}


def test_the_service_manager_follows_from_process_to_process(tmp_path: Path) -> None:
    """sd_notify(3): the new one is the main process before the old one ends, and the old one does not say that all stops."""
    site = Site(tmp_path, *free_ports(1))
    site.write("one")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify.sock"))
        manager.settimeout(PATIENCE)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify.sock")}
        with closing(Daemon(site, **environ)) as old:
            assert manager.recv(4096) == b"READY=1"
            with closing(Daemon(site, "--replace", **environ)) as new:
                assert manager.recv(4096).decode().split("\n") == [f"MAINPID={new.process.pid}", "READY=1"]
                assert old.end() == 0
                new.wait_for("took over from process")
                new.process.send_signal(signal.SIGTERM)
                assert new.end() == 0
        said = []
        manager.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(manager.recv(4096))
        assert said[-1] == b"STOPPING=1"
        assert said.count(b"STOPPING=1") == 1


def test_a_second_daemon_on_the_same_state_is_told_whose_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, *free_ports(1))
    site.write("one")
    with closing(Daemon(site)) as first:
        first.wait_for("answering on")
        with closing(Daemon(site)) as same:
            assert same.end() == 1
        assert "cannot listen on TCP" in same.lines[-2]
        assert f"process {first.process.pid} serves with this state" in same.lines[-1]
        site.port, site.http = free_ports(2)
        site.write("two")
        site.config.write_text(site.config.read_text().replace("control.sock", "second.sock"))
        with closing(Daemon(site)) as second:
            assert second.end() == 1
        assert second.lines[-1].endswith(
            f"error {tmp_path}/state: in use by process {first.process.pid}: one geodns for each state directory "
            "(`geodns serve --replace` takes over from it)"
        )


@pytest.mark.parametrize("server_too", [False, True], ids=["file", "server"])
def test_a_start_over_a_broken_file_serves_what_was_good(tmp_path: Path, server_too: bool) -> None:
    """As after a power cut in the middle of a deploy; mended, it reloads, and the last good one is what is served then."""
    site = Site(tmp_path, *free_ports(1))
    site.write("one")
    whole = site.config.read_text()
    with closing(Daemon(site)) as before:
        before.wait_for("answering on")
        before.process.kill()
    site.config.write_text(whole[: 20 if server_too else -30])
    with closing(Daemon(site, "--strict", STATE_DIRECTORY=str(tmp_path / "state"))) as strict:
        assert strict.end() == 1
    with closing(Daemon(site, STATE_DIRECTORY=str(tmp_path / "state"))) as daemon:
        assert f"error {site.config}:" in daemon.wait_for(f"{site.config}:")
        assert " warning " in daemon.wait_for(f"is served until {site.config} is mended and reloaded")
        daemon.wait_for("answering on")
        query = write_query(5)
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as client:
            assert ask_tcp(client, query)[-8:].endswith(b"one")
        site.config.write_text(whole.replace("192.0.2.1]", "192.0.2.7]"))
        daemon.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as client:
            while socket.inet_aton("192.0.2.7") not in ask_tcp(client, query):
                assert time.monotonic() < deadline
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == 0

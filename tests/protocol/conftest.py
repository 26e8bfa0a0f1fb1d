"""One daemon for all protocol tests, started as an operator starts it, with a zone made for the purpose.

It reads UDP by one socket: `Daemon.exchange` takes replies in the order of the questions, which several threads do not keep.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import pytest
from tests.protocol.packets import PROBE_ID, Daemon, header, parse, query, question
from tests.protocol.zone import write_config

START = 30.0  # seconds until the daemon must answer, on a machine that is busy with other things
PROCESS_END = 15.0


def find_port() -> int:
    """A port that is free for UDP and TCP alike."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`geodns serve`, answering; ended by SIGTERM, and it must end well."""
    folder = tmp_path_factory.mktemp("daemon")
    port = find_port()
    path = write_config(folder, port)
    log = (folder / "log").open("w")
    command = [sys.executable, "-m", "geodns", "serve", "-c", str(path)]
    process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | {"XDG_CACHE_HOME": str(folder)})
    probe = header(ident=PROBE_ID) + question("ns1.example.test")
    found = Daemon("127.0.0.1", port, probe)
    try:
        _wait(found, process, folder / "log")
        yield found
        assert process.poll() is None, f"the daemon died:\n{(folder / 'log').read_text()}"
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(PROCESS_END)
        log.close()
    text = (folder / "log").read_text()
    assert status == 0, text
    assert "Traceback" not in text, text


def _wait(daemon: Daemon, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the daemon did not start:\n{log.read_text()}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)  # bound before it is ready: then the question waits, and so do we
            asking.connect((daemon.address, daemon.port))
            try:
                asking.send(daemon.probe)
                asking.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.02)
            else:
                return
    raise AssertionError(f"no answer within {START} s:\n{log.read_text()}")


@pytest.fixture(params=["udp", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each test runs over both."""
    return str(request.param)


Send = Callable[[bytes], bytes | None]
Ask = Callable[..., dns.message.Message]


@pytest.fixture
def send(daemon: Daemon, transport: str) -> Send:
    """Octets to octets, or None for silence."""
    return lambda packet: daemon.exchange(packet, transport)


@pytest.fixture
def ask(send: Send) -> Ask:
    """`query()`'s arguments to a decoded reply, which must be there."""
    return lambda *args, **kwargs: parse(send(query(*args, **kwargs)))

"""A real pdns_server on loopback, in a folder of its own: started, waited for, asked, stopped.

Knows PowerDNS's programs and what they must be told to leave the machine alone. Knows nothing of geodns.

    with run_pdns(tmp_path, "launch=pipe\\npipe-command=...\\nzone-cache-refresh-interval=0\\n") as pdns:
        reply = pdns.ask(dns.message.make_query("www.example.com.", "A"))
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

PATIENCE = 15.0  # seconds until what does not happen is a failure; never slept through when all is well
SERVER, CONTROL, UTIL = "pdns_server", "pdns_control", "pdnsutil"
FOLDERS = "usr/lib/*/pdns", "usr/lib/pdns", "usr/lib64/pdns"
ATTEMPTS = 3
# What says nothing against a configuration: another process took the free port first; a machine that was so busy that a
# coprocess needed longer than pipe-timeout to begin.
BAD_LUCK = "Address already in use", "Timeout waiting for data from coprocess"
QUIET = {
    "local-address": "127.0.0.1",
    "daemon": "no",
    "guardian": "no",
    "disable-syslog": "yes",
    "write-pid": "no",
    "security-poll-suffix": "",  # else it asks the internet whether it is outdated
    "setuid": "",
    "setgid": "",
    "loglevel": "6",
}


def find_missing(*backends: str) -> str:
    """Which of pdns_server and *backends* (``pipe``, ``remote``, ``bind``, ``gsqlite3``) is not installed; "" for none."""
    if shutil.which(SERVER) is None:
        return f"{SERVER} is not installed (as root: make system-tools)"
    found = {path.name for folder in FOLDERS for path in Path("/").glob(f"{folder}/lib*backend.so")}
    wanting = [backend for backend in backends if f"lib{backend}backend.so" not in found]
    return f"PowerDNS's {', '.join(wanting)} backend is not installed (as root: make system-tools)" if wanting else ""


def needs_pdns(*backends: str) -> pytest.MarkDecorator:
    """Skip, saying why, where pdns_server or one of *backends* is not installed."""
    reason = find_missing(*backends)
    return pytest.mark.skipif(bool(reason), reason=reason or "installed")


def find_version() -> tuple[int, ...]:
    """The version of pdns_server, (4, 7, 3)."""
    said = subprocess.run([SERVER, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", said.stdout + said.stderr)
    assert match is not None, said
    return tuple(map(int, match.groups()))


class PdnsEndedError(AssertionError):
    """pdns_server ended by itself; the text is its log."""


@dataclass
class Pdns:
    """A pdns_server that answers on 127.0.0.1, *port*, UDP and TCP."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process; coprocesses are children of it."""
        return self.process.pid

    def log(self) -> str:
        """All that it has written so far, coprocesses' standard error included."""
        return (self.folder / "pdns.log").read_text(errors="replace")

    def ask(self, query: dns.message.Message, tcp: bool = False, source: str = "127.0.0.1") -> dns.message.Message:
        """The reply to *query*, sent from *source*."""
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", PATIENCE, self.port, source=source)

    def control(self, *words: str) -> str:
        """What ``pdns_control WORDS`` says."""
        return run_tool(CONTROL, f"--socket-dir={self.folder}", *words)

    def is_alive(self) -> bool:
        """Does the process run?"""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it, gently first; returns when it is gone."""
        if self.is_alive():
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)


@contextmanager
def run_pdns(folder: Path, config: str, settings: Mapping[str, str] | None = None) -> Iterator[Pdns]:
    """Run pdns_server over the text *config*, *settings* above it, until the block ends.

    *folder* gets its configuration, its control socket and its log. Raises PdnsEndedError where it does not come up.
    """
    pdns = start_pdns(folder, config, settings)
    try:
        yield pdns
    finally:
        pdns.stop()


def start_pdns(folder: Path, config: str, settings: Mapping[str, str] | None = None) -> Pdns:
    """As `run_pdns`, for whoever stops it."""
    (folder / "pdns.conf").write_text(config)
    for _ in range(ATTEMPTS):
        port = find_port()
        given = {**QUIET, "local-port": str(port), "socket-dir": str(folder), **(settings or {})}
        words = [f"--{key}={value}" for key, value in given.items()]
        with (folder / "pdns.log").open("wb") as log:
            process = subprocess.Popen(
                [SERVER, f"--config-dir={folder}", *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        pdns = Pdns(folder, port, process)
        try:
            wait_until_it_answers(pdns)
        except PdnsEndedError as ended:
            if not any(text in str(ended) for text in BAD_LUCK):
                raise
        except BaseException:
            pdns.stop()
            raise
        else:
            return pdns
    raise PdnsEndedError(pdns.log())


def wait_until_it_answers(pdns: Pdns) -> None:
    """Ask what it answers of itself (CH, so that no backend is asked), over UDP and TCP, until it does."""
    query = dns.message.make_query("version.bind.", "TXT", "CH")
    deadline = time.monotonic() + PATIENCE
    while True:
        if not pdns.is_alive():
            raise PdnsEndedError(pdns.log())
        try:
            dns.query.udp(query, "127.0.0.1", 0.1, pdns.port)
            dns.query.tcp(query, "127.0.0.1", PATIENCE, pdns.port)
        except (OSError, dns.exception.DNSException) as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{SERVER} does not answer: {error!r}\n{pdns.log()}") from error
        else:
            return


def run_tool(program: str, *words: str) -> str:
    """What a tool of PowerDNS prints, both streams; an AssertionError with it where it fails."""
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, f"{program} {' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def find_port() -> int:
    """A port that UDP and TCP are free at, at this moment, and that is none of those that the kernel gives to clients."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(given, 11_000))
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

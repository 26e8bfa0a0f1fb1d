"""What clients of a real PowerDNS see while something goes wrong behind it: SERVFAIL at worst, and not for long.

A name that lives is never refused and never denied. The daemon is `geodns serve`, with PowerDNS's caches off (every question
needs us) and tuned (a wrong moment would be remembered for everybody).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.powerdns.behind import (
    HOSTS,
    PATIENCE,
    Behind,
    Clients,
    Front,
    Question,
    behind,
    choose_question,
    connect,
    is_running,
    list_children,
    list_sockets,
    put,
    wait_until,
)
from tests.powerdns.pdns import UTIL, needs_pdns, run_tool
from tests.powerdns.transports import WAYS, Way

from geodns import __version__

pytestmark = needs_pdns("pipe", "remote")
RECOVERED = 1.0  # seconds from the daemon's first answer to PowerDNS's
ENOUGH = 60  # questions that tell that all is well
PIPE, REMOTE = ("pipe, ABI 5", "pipe, ABI 5, tuned"), ("remote", "remote, tuned")
REMEMBERED = 2.5  # seconds: a nothing that PowerDNS remembers for one, in the second in which it ends
CONNECTIONS, QUESTIONS = 8, 50
HELLO, GREETING = b"HELO\t5", f"OK\tgeodns {__version__} ready\n".encode()
HARMLESS = {"right", "SERVFAIL"}


@pytest.fixture(scope="module")
def running() -> Iterator[Behind]:
    with behind() as site:
        yield site


@pytest.fixture
def site(running: Behind) -> Behind:
    """One whose daemon runs, whatever the test before has left."""
    if not running.is_alive():
        running.start()
    return running


def prove_well(fronts: dict[str, Front], since: float) -> None:
    """Whatever is asked from *since* on is answered, and right."""
    for name, (pdns, clients) in fronts.items():
        clients.wait_for("right", ENOUGH, since)
        assert {reply.what for reply in clients.replies if reply.asked >= since} == {"right"}, (name, clients.tell())
        assert pdns.is_alive(), name


def prove_harmless(fronts: dict[str, Front], harmless: set[str] = HARMLESS) -> None:
    for name, front in fronts.items():
        assert set(front.clients.tell()) <= harmless, (name, front.clients.tell())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["ends", "is killed"])
def test_the_daemon_restarts_under_load(how: signal.Signals, site: Behind) -> None:
    with site.fronts(*PIPE, *REMOTE) as fronts:
        prove_well(fronts, 0.0)
        site.end(how)
        for front in fronts.values():
            front.clients.wait_for("SERVFAIL", 10)
        began = site.start()
        for front in fronts.values():
            assert front.clients.wait_for("right", since=began).answered - began < RECOVERED
        prove_well(fronts, began + RECOVERED)
        prove_harmless(fronts)


def test_the_daemon_is_replaced_under_load(site: Behind) -> None:
    """The successor goes on with the connections of shims and of PowerDNS itself, and nobody notices."""
    with site.fronts(*PIPE, *REMOTE) as fronts:
        prove_well(fronts, 0.0)
        before = {name: list_sockets(front.pdns.pid) for name, front in fronts.items() if not WAYS[name].lists_zones}
        assert all(before.values())
        prove_well(fronts, site.replace())
        prove_harmless(fronts, {"right"})
        assert {name: list_sockets(fronts[name].pdns.pid) for name in before} == before


def test_the_daemon_hangs(site: Behind) -> None:
    """Shims are sooner out of patience than PowerDNS, which does not kill them: they are the same ones afterwards."""
    with site.fronts(*PIPE, *REMOTE, patience=2) as fronts:
        prove_well(fronts, 0.0)
        shims = [list_children(front.pdns.pid) for front in fronts.values()]
        site.send(signal.SIGSTOP)
        try:
            for front in fronts.values():
                front.clients.wait_for("SERVFAIL")
        finally:
            site.send(signal.SIGCONT)
        began = time.monotonic()
        prove_well(fronts, began + RECOVERED)
        prove_harmless(fronts, HARMLESS | {"lost"})
        assert [list_children(front.pdns.pid) for front in fronts.values()] == shims


@pytest.mark.parametrize("way", PIPE)
def test_a_shim_is_killed(way: str, site: Behind) -> None:
    """PowerDNS takes the lookup that finds it dead for an empty one: wrong once, and as long as it remembers that."""
    with (
        site.pdns(WAYS[way], {"negquery-cache-ttl": "1" if WAYS[way].tuned else "0"}) as pdns,
        Clients(pdns.port) as clients,
    ):
        clients.wait_for("right", ENOUGH)
        shims = list_children(pdns.pid)
        for shim in shims:
            os.kill(shim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: [pid for pid in list_children(pdns.pid) if pid not in shims], "another shim")
        prove_well({way: Front(pdns, clients)}, killed + REMEMBERED)
        wrong = [reply for reply in clients.replies if reply.what != "right"]
        assert WAYS[way].tuned or len(wrong) <= 1, wrong


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["is killed", "ends"])
def test_powerdns_dies_and_its_shims_vanish(number: signal.Signals, site: Behind) -> None:
    with site.fronts(REMOTE[0]) as others, site.pdns(WAYS[PIPE[0]], {"distributor-threads": "3"}) as pdns:
        for question in map(choose_question, range(20)):
            assert put(question, pdns.port).what == "right"
        shims = list_children(pdns.pid)
        assert len(shims) == 4  # one for each thread, one for TCP
        os.kill(pdns.pid, number)
        wait_until(lambda: not any(map(is_running, shims)), "shims outlive their PowerDNS")
        prove_well(others, 0.0)


def test_powerdns_starts_before_the_daemon(site: Behind) -> None:
    """The shim greets it all the same; names are not refused, and the first answer comes with the daemon."""
    site.end(signal.SIGTERM)
    with site.fronts(*PIPE, REMOTE[0]) as fronts:
        for front in fronts.values():
            front.clients.wait_for("SERVFAIL", 10)
        began = site.start()
        prove_well(fronts, began + RECOVERED)
        prove_harmless(fronts)


def test_commands_of_its_tools_are_answered_also_while_the_daemon_is_away(site: Behind) -> None:
    """In words: a bare FAIL they would take for a part of the text, and wait for the rest of it until they give up."""
    with site.pdns(WAYS[PIPE[0]]) as pdns:
        command = f"--config-dir={pdns.folder}", "backend-cmd", "pipe", "status"
        assert f"version: {__version__}, process " in run_tool(UTIL, *command)
        site.end(signal.SIGTERM)
        try:
            assert "the geodns daemon does not answer\n" in run_tool(UTIL, *command)
        finally:
            site.start()


@pytest.mark.parametrize("abi", [1, 2, 6])
def test_other_abis(abi: int, site: Behind) -> None:
    """1 and 2 know no client subnets: the resolver decides, who is nowhere here. 6 is nobody's, and fails at once."""
    asked = [Question("h7.example.com.", "20.0.0.0", "192.0.2.107"), Question("www.example.com.", "200.0.2.0", "192.0.2.1")]
    with site.pdns(Way(abi, False)) as pdns:
        for question in asked * 3:
            reply = put(question, pdns.port)
            assert reply.what == ("right" if abi < 3 else "SERVFAIL"), pdns.log()
            assert reply.answered - reply.asked < RECOVERED
        assert len(list_children(pdns.pid)) == 2


def test_two_powerdns_on_one_socket(site: Behind) -> None:
    with site.fronts(*[f"{way}/{number}" for way in (PIPE[0], REMOTE[0]) for number in (1, 2)]) as fronts:
        prove_well(fronts, 0.0)
        prove_harmless(fronts, {"right"})


def test_strangers_on_the_socket_disturb_nobody(site: Behind) -> None:
    """Garbage, endless lines, unknown ABIs, half a line and the end: each line gets one reply, and PowerDNS its answers."""
    seed = time.time_ns() & 0xFFFF
    print(f"seed {seed}")
    chance = random.Random(seed)
    with site.fronts(PIPE[0], REMOTE[0]) as fronts:
        for _ in range(20):
            lines = [chance.randbytes(chance.randrange(200)).replace(b"\n", b"") for _ in range(40)]
            lines[0] = b"Q" + lines[0]
            assert talk(site.backend, lines) == b"FAIL\n" * 40
            objects = [b'{"method": ' + line for line in lines]
            assert talk(site.backend, objects) == b'{"result": null}\n' * 40
        assert talk(
            site.backend, [HELLO, b"Q" * (1 << 16), b"Q" * (1 << 20), question_line("h3"), b"HELO\t6", question_line("h3")]
        ) == (GREETING + b"FAIL\n" * 2 + block("h3", 103) + b"FAIL\n" * 2)
        assert talk(site.backend, [HELLO, question_line("h4")], rest=question_line("h5")) == GREETING + block("h4", 104)
        prove_well(fronts, 0.0)
        prove_harmless(fronts, {"right"})


def test_interleaved_questions_are_answered_each_to_its_own(site: Behind) -> None:
    """Many connections, on each many questions at once, written in pieces that end anywhere, in turn."""
    seed = time.time_ns() & 0xFFFF
    print(f"seed {seed}")
    chance = random.Random(seed)
    with site.fronts(PIPE[0], REMOTE[0]) as fronts, ExitStack() as stack:
        hosts = [[chance.randrange(HOSTS) for _ in range(QUESTIONS)] for _ in range(CONNECTIONS)]
        pending = [b"\n".join([HELLO, *[question_line(f"h{host}") for host in own], b""]) for own in hosts]
        opened = [stack.enter_context(closing(connect(site.backend))) for _ in hosts]
        while any(pending):
            number = chance.choice([number for number, octets in enumerate(pending) if octets])
            cut = chance.randrange(1, 400)
            opened[number].sendall(pending[number][:cut])
            pending[number] = pending[number][cut:]
        for connection, own in zip(opened, hosts, strict=True):
            expected = GREETING + b"".join(block(f"h{host}", 100 + host) for host in own)
            assert read_exactly(connection, len(expected)) == expected
        prove_well(fronts, 0.0)
        prove_harmless(fronts, {"right"})


def question_line(label: str) -> bytes:
    return f"Q\t{label}.eXample.com\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t20.0.0.0/24".encode()


def block(label: str, last: int) -> bytes:
    return f"DATA\t0\t1\t{label}.eXample.com\tIN\tA\t60\t1\t192.0.2.{last}\nEND\n".encode()


def talk(path: Path, lines: Sequence[bytes], rest: bytes = b"") -> bytes:
    """All that comes back for *lines*, until the end that follows ours; *rest* comes after them, without a line feed."""
    with closing(connect(path)) as opened:
        sending = threading.Thread(target=send_all, args=(opened, b"\n".join([*lines, rest])))
        sending.start()
        found = b""
        while octets := opened.recv(1 << 16):
            found += octets
        sending.join(PATIENCE)
        return found


def send_all(opened: socket.socket, octets: bytes) -> None:
    """Send, and say that there is no more."""
    opened.sendall(octets)
    opened.shutdown(socket.SHUT_WR)


def read_exactly(opened: socket.socket, size: int) -> bytes:
    """That many octets, or fewer and the end."""
    found = b""
    while len(found) < size and (octets := opened.recv(1 << 16)):
        found += octets
    return found

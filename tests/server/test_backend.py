"""PowerDNS's socket: real clients on a real unix socket, in the loop that serves them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.server.powered import power_snapshot
from tests.snapshots import Small

from geodns import __version__, metrics, publish
from geodns.answer import Settings
from geodns.metrics import BACKEND, LOOKUP_FAILED, LOOKUP_MISREAD, LOOKUP_NOTHING, LOOKUP_RECORDS
from geodns.server import backend, backend_heirloom, pdns_answer, pdns_lookup
from geodns.server.backend import BackendLimits, BackendServer
from geodns.server.backend_connection import PORTION, UNSENT_LIMIT
from geodns.server.listen import bind_backend
from geodns.server.pdns_remote import ZONES_AT_ONCE
from geodns.snapshot import Snapshot
from geodns.wire.constants import TXT
from geodns.wire.lines import LONGEST_LINE

PATIENCE = 5.0  # seconds until a test that waits has failed
HELO = b"HELO\t5\n"
QUESTION = b"Q\tmail.example.test\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t127.0.0.1/32\n"
BLOCK = b"DATA\t0\t1\tmail.example.test\tIN\tA\t3600\t1\t192.0.2.53\nEND\n"
LOOKUP = (
    b'{"method": "lookup", "parameters": {"local": "127.0.0.1", "qname": "mail.example.test.", "qtype": "ANY", '
    b'"real-remote": "127.0.0.1/32", "remote": "127.0.0.1", "zone-id": 1}}\n'
)


class Client:
    """One connection to the socket, as PowerDNS's thread or a shim has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def line(self) -> bytes:
        """The next line, or what came before the end."""
        return await asyncio.wait_for(self.reader.readline(), PATIENCE)

    async def block(self) -> bytes:
        """All lines up to END or FAIL."""
        block = b""
        while True:
            line = await self.line()
            block += line
            if not line or line in {b"END\n", b"FAIL\n"}:
                return block

    async def rest(self) -> bytes:
        """All up to the end of the connection, be it a reset."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        except ConnectionError:
            return b""

    async def greet(self) -> None:
        self.send(HELO)
        assert await self.line() == f"OK\tgeodns {__version__} ready\n".encode()


class Served:
    """A server on *path*, and whoever connects to it."""

    def __init__(self, server: BackendServer, path: Path) -> None:
        self.server, self.path = server, path
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_unix_connection(str(self.path))))
        return self.clients[-1]

    async def pipe(self) -> Client:
        """A client that speaks the pipe protocol."""
        client = await self.connect()
        await client.greet()
        return client


@asynccontextmanager
async def serving(
    path: Path, limits: BackendLimits | None = None, settings: Settings | None = None
) -> AsyncIterator[Served]:
    served = Served(BackendServer(settings or Settings(), lambda: 1_800_000_000.5, limits), path)
    await served.server.start(bind_backend(path, None, 0o600))
    try:
        yield served
    finally:
        await served.server.stop()
        assert served.server.clients == 0
        for client in served.clients:
            client.writer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left over"


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop work until *condition* holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backend.sock"


@pytest.fixture(autouse=True)
def _power_world(monkeypatch: pytest.MonkeyPatch) -> None:
    show(power_snapshot(), monkeypatch)


def show(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve *snapshot* until the test ends."""
    counters = metrics.Counters(snapshot.zones.zones, snapshot.zones.pools)
    monkeypatch.setattr(publish, "current", publish.Current(snapshot, counters))


def counted(slot: int) -> int:
    assert publish.current is not None
    return publish.current.counters.tally[slot]


def run(test: Coroutine[object, object, None]) -> None:
    asyncio.run(test)


def test_both_protocols_on_one_socket(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            pipe, remote = await served.pipe(), await served.connect()
            for _ in range(3):
                pipe.send(QUESTION)
                remote.send(LOOKUP)
                assert await pipe.block() == BLOCK
                (record,) = json.loads(await remote.line())["result"]
                assert (record["qtype"], record["content"]) == ("A", "192.0.2.53")
            assert served.server.clients == 2
            for name, known in ((b"example.test.", True), (b"mail.example.test.", False), (b"nowhere.", False)):
                remote.send(b'{"method": "getDomainInfo", "parameters": {"name": "%s"}}\n' % name)
                assert bool(json.loads(await remote.line())["result"]) is known
            assert [counted(BACKEND + i) for i in range(8)] == [3, 0, 0, 0, 3, 0, 0, 0]
            assert counted(metrics.BACKEND_CONNECTIONS) == 2

    run(test())


def test_questions_are_answered_in_their_order_however_they_arrive(path: Path) -> None:
    """Many at once, and cut anywhere: each gets its block, and many more than one portion of them."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    names = [chance.choice(("mail", "www", "nope", "texts", "child", "b.c")) for _ in range(5 * PORTION)]

    async def test() -> None:
        async with serving(path) as served:
            client = await served.pipe()
            stream = b"".join(QUESTION.replace(b"mail", name.encode()) for name in names)
            at = 0
            while at < len(stream):
                size = chance.choice((1, 7, 100, 5000, 20_000))
                client.send(stream[at : at + size])
                at += size
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
            for name in names:
                block = await client.block()
                assert block.endswith(b"END\n")
                assert all(line.split(b"\t")[3] == f"{name}.example.test".encode() for line in block.splitlines()[:-1])
                assert (block == b"END\n") == (name == "nope")

    run(test())


def test_one_portion_at_a_time_so_that_nobody_waits_for_many_questions_of_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    find = pdns_answer.find_records

    def noting(snapshot: Snapshot, name: bytes, *rest: object) -> object:
        turns.append("one" if name.startswith(b"\x03www") else "many")
        return find(snapshot, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pdns_lookup, "find_records", noting)

    async def test() -> None:
        async with serving(path) as served:
            many, one = await served.pipe(), await served.pipe()
            with socket.socket(socket.AF_UNIX) as direct:  # both wait in the kernel before the server looks
                direct.connect(str(path))
                direct.sendall(HELO + QUESTION * (4 * PORTION))
                many.send(QUESTION * (4 * PORTION))
                one.send(QUESTION.replace(b"mail", b"www"))
                assert (await one.block()).endswith(b"END\n")
            assert 0 < turns.index("one") <= 2 * PORTION

    run(test())


def test_half_a_line_at_the_end_is_no_question(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            client = await served.pipe()
            client.send(QUESTION + QUESTION[:-1])
            client.writer.write_eof()
            assert await client.rest() == BLOCK, "what was whole is answered, and then it is over"
            await until(lambda: served.server.clients == 0)

    run(test())


@pytest.mark.parametrize("size", [LONGEST_LINE + 1, 3 * LONGEST_LINE])
def test_a_line_too_long_gets_one_fail_and_the_next_is_in_step(path: Path, size: int) -> None:
    async def test() -> None:
        async with serving(path) as served:
            pipe, remote = await served.pipe(), await served.connect()
            pipe.send(b"Q\t" + b"x" * size + b"\n" + QUESTION)
            assert await pipe.block() == b"FAIL\n"
            assert await pipe.block() == BLOCK
            remote.send(LOOKUP)
            await remote.line()
            remote.send(b"{" + b"x" * size + b"\n" + LOOKUP)
            assert await remote.line() == b'{"result": null}\n'
            assert json.loads(await remote.line())["result"]

    run(test())


def test_garbage_never_ends_the_connection_and_is_counted(path: Path) -> None:
    lines = [os.urandom(40).replace(b"\n", b"") for _ in range(200)] + [b"", b"\r", b"\0" * 9, b"\xff" * 100, b"[" * 1000]

    async def test() -> None:
        async with serving(path) as served:
            client = await served.pipe()
            client.send(b"".join(b"x" + line + b"\n" for line in lines))
            for _ in lines:
                assert await client.block() == b"FAIL\n"
            client.send(QUESTION)
            assert await client.block() == BLOCK
            assert counted(BACKEND + LOOKUP_MISREAD) == len(lines)

    run(test())


def test_the_first_octet_says_which_protocol_it_is(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            pipe, remote, other = await served.connect(), await served.connect(), await served.connect()
            pipe.send(b"H")
            remote.send(b"{")
            other.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await other.line(), await other.line()) == (b"FAIL\n", b"FAIL\n")
            pipe.send(b"ELO\t5\n")
            remote.send(LOOKUP[1:])
            assert (await pipe.line()).startswith(b"OK\t")
            assert json.loads(await remote.line())["result"]
            pipe.send(b"CMD\tstatus\n")
            zones = len(power_snapshot().zones.names)
            assert (
                await pipe.block()
                == (
                    f"version: {__version__}, process {os.getpid()}\n"
                    f"serving: since 2027-01-15T08:00:00Z; zones: 2; names: {zones}\n"
                    "connections: 3 (2 pipe, 1 remote)\nEND\n"
                ).encode()
            )

    run(test())


def test_lookups_are_counted_by_outcome(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            client = await served.pipe()
            for name in (b"mail", b"nope", b"www", b"nope", b"a..b"):
                client.send(QUESTION.replace(b"mail", name))
                await client.block()
            found = {outcome: counted(BACKEND + outcome) for outcome in range(4)}
            assert found == {LOOKUP_RECORDS: 2, LOOKUP_NOTHING: 2, LOOKUP_FAILED: 0, LOOKUP_MISREAD: 1}

    run(test())


def test_before_anything_is_served_lookups_fail_and_the_list_of_zones_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "current", None)

    async def test() -> None:
        async with serving(path) as served:
            pipe, remote, gone = await served.pipe(), await served.connect(), await served.connect()
            pipe.send(QUESTION)
            assert await pipe.block() == b"FAIL\n"
            pipe.send(b"CMD\tstatus\n")
            assert b"serving: nothing yet\n" in await pipe.block()
            remote.send(LOOKUP)
            assert await remote.line() == b'{"result": null}\n'
            gone.send(b'{"method": "getAllDomains", "parameters": {}}\n')
            remote.send(b'{"method": "getAllDomains", "parameters": {}}\n' + LOOKUP)
            await until(lambda: served.server.clients == 3)
            gone.writer.close()
            await until(lambda: served.server.clients == 2)
            show(power_snapshot(), monkeypatch)
            assert len(json.loads(await remote.line())["result"]) == 2
            assert len(json.loads(await remote.line())["result"]) == 1, "what was asked meanwhile comes after it"

    run(test())


def test_a_failure_of_ours_is_a_fail_and_a_line_in_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find = pdns_answer.find_records

    def failing(snapshot: Snapshot, name: bytes, *rest: object) -> object:
        if name.startswith(b"\x03bad"):
            raise ZeroDivisionError
        return find(snapshot, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pdns_lookup, "find_records", failing)

    async def test() -> None:
        async with serving(path) as served:
            pipe, remote = await served.pipe(), await served.connect()
            for _ in range(5):
                pipe.send(QUESTION.replace(b"mail", b"bad") + QUESTION)
                remote.send(LOOKUP.replace(b"mail", b"bad") + LOOKUP)
                assert (await pipe.block(), await pipe.block()) == (b"FAIL\n", BLOCK)
                assert await remote.line() == b'{"result": null}\n'
                assert json.loads(await remote.line())["result"]

    with caplog.at_level(logging.ERROR):
        run(test())
    assert len(caplog.records) == 1, "told at a bounded rate"
    assert counted(metrics.INTERNAL_ERRORS) == 10


def long_snapshot() -> Snapshot:
    """A name whose block is some 50,000 octets."""
    small = Small()
    small.zone("example.test.", {"mail.example.test.": {TXT: [bytes((200, i)) + b"x" * 199 for i in range(200)]}})
    return small.snapshot()


def test_who_does_not_read_is_not_read_and_in_the_end_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replies take bounded memory, and the others go on."""
    show(long_snapshot(), monkeypatch)

    async def test() -> None:
        async with serving(path, BackendLimits(unread=0.5)) as served:
            other = await served.pipe()
            with socket.socket(socket.AF_UNIX) as slow:
                slow.setblocking(False)
                slow.connect(str(path))
                slow.send(HELO)
                sent = await fill(slow)
                await until(lambda: served.server.clients == 2)
                other.send(QUESTION)
                assert len(await other.block()) > 40_000
                answered = counted(BACKEND + LOOKUP_RECORDS)
                assert answered < sent // len(QUESTION), "much of it waits in the kernel"
                assert answered * 40_000 < 20 * UNSENT_LIMIT
                await until(lambda: served.server.clients == 1)
            assert counted(metrics.BACKEND_CLOSED) == 1
            other.send(QUESTION)
            assert len(await other.block()) > 40_000

    run(test())


async def fill(slow: socket.socket) -> int:
    """Ask until the kernel takes no more; returns the octets sent."""
    sent, full = 0, 0
    while full < 20:
        try:
            sent += slow.send(QUESTION * 100)
            full = 0
        except BlockingIOError:
            full += 1
            await asyncio.sleep(0.005)
    return sent


def test_who_reads_slowly_gets_it_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than replies may wait, but for each time that something is taken."""
    show(long_snapshot(), monkeypatch)

    async def test() -> None:
        async with serving(path, BackendLimits(unread=0.5)) as served:
            client = await served.pipe()
            client.reader._limit = 1000  # type: ignore[attr-defined]  # asyncio's client stops reading at twice that
            client.send(QUESTION * 50)
            blocks = 0
            while blocks < 50:
                if blocks < 40:
                    await asyncio.sleep(0.015)  # a pause is what this is about
                lines = (await asyncio.wait_for(client.reader.read(20_000), PATIENCE)).splitlines(keepends=True)
                blocks += lines.count(b"END\n")
            assert counted(metrics.BACKEND_CLOSED) == 0
            assert counted(BACKEND + LOOKUP_RECORDS) == 50

    run(test())


def test_thousands_of_zones_hold_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list comes in pieces, and others are answered between them."""
    small = Small()
    for number in range(20 * ZONES_AT_ONCE):
        small.zone(f"z{number}.test.", {})
    show(small.snapshot(), monkeypatch)

    async def test() -> None:
        async with serving(path) as served:
            remote, pipe = await served.connect(), await served.pipe()
            remote.reader._limit = 1 << 22  # type: ignore[attr-defined]
            remote.send(b'{"method": "getAllDomains", "parameters": {}}\n')
            listing = asyncio.ensure_future(remote.line())
            between = 0
            while not listing.done():
                pipe.send(b"Q\tz1.test\tIN\tSOA\t-1\t0.0.0.0\t0.0.0.0\t0.0.0.0/0\n")
                assert (await pipe.block()).startswith(b"DATA\t0\t1\tz1.test\t")
                between += 1
            assert len(json.loads(listing.result())["result"]) == 20 * ZONES_AT_ONCE
            remote.send(b'{"method": "initialize", "parameters": {}}\n')
            assert await remote.line() == b'{"result": true}\n'
            assert between > 3

    run(test())


def test_at_the_limit_silent_connections_make_room_first(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with serving(path, BackendLimits(clients=4)) as served:
            busy = [await served.pipe() for _ in range(3)]
            silent = [await served.connect() for _ in range(20)]
            await until(lambda: counted(metrics.BACKEND_CLOSED) == 19)
            assert served.server.clients == 4
            for client in busy:
                client.send(QUESTION)
                assert await client.block() == BLOCK
            assert [await client.rest() for client in silent[:19]] == [b""] * 19

    run(test())
    assert len([record for record in caplog.records if record.name == "geodns.server.backend"]) == 1


def test_at_the_limit_the_idlest_makes_room(path: Path) -> None:
    async def test() -> None:
        async with serving(path, BackendLimits(clients=2)) as served:
            first, second = await served.pipe(), await served.pipe()
            for client in (second, first, second):
                client.send(QUESTION)
                assert await client.block() == BLOCK
            third = await served.pipe()
            assert await first.rest() == b""
            for client in (second, third):
                client.send(QUESTION)
                assert await client.block() == BLOCK

    run(test())


def test_a_pause_leaves_who_is_connected_alone_and_who_comes_waits(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            early = await served.pipe()
            served.server.pause()
            late = await served.connect()
            late.send(HELO + QUESTION)
            early.send(QUESTION)
            assert await early.block() == BLOCK
            assert served.server.clients == 1
            served.server.resume()
            assert (await late.line()).startswith(b"OK\t")
            assert await late.block() == BLOCK

    run(test())


def test_what_has_arrived_is_answered_at_the_end(path: Path) -> None:
    async def test() -> None:
        async with serving(path) as served:
            with socket.socket(socket.AF_UNIX) as direct:
                direct.connect(str(path))
                direct.settimeout(PATIENCE)
                direct.sendall(HELO)
                await until(lambda: served.server.clients == 1)
                await until(lambda: counted(metrics.BACKEND_CONNECTIONS) == 1)
                direct.sendall(QUESTION * 3)
                await served.server.stop()
                received = b""
                while octets := direct.recv(1 << 16):
                    received += octets
                assert received.endswith(BLOCK * 3)

    run(test())


def test_client_subnets_of_strangers_do_not_count(path: Path) -> None:
    """`server.client_subnet`, as for queries that come to us directly."""

    async def told(settings: Settings) -> bytes:
        async with serving(path, settings=settings) as served:
            client = await served.pipe()
            client.send(b"Q\twww.example.test\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t198.51.100.0/24\n")
            return await client.block()

    def ask(client_subnet: object) -> bytes:
        block = asyncio.run(told(Settings(client_subnet=client_subnet)))  # type: ignore[arg-type]
        path.unlink()
        return block

    assert b"203.0.113.10" in ask(True)
    assert b"203.0.113.20" in ask(False)
    assert b"203.0.113.10" in ask((ip_network("2001:db8::/32"), ip_network("127.0.0.0/8")))
    assert b"203.0.113.20" in ask((ip_network("192.0.2.0/24"), ip_network("::/0")))


def test_each_question_has_a_draw_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[int] = []
    find = pdns_answer.find_records

    def noting(snapshot: Snapshot, name: bytes, qtype: int, client: object, draw: int) -> object:
        draws.append(draw)
        return find(snapshot, name, qtype, client, draw)  # type: ignore[arg-type]

    monkeypatch.setattr(pdns_lookup, "find_records", noting)

    async def test() -> None:
        async with serving(path) as served:
            client = await served.pipe()
            client.send(QUESTION * 40)
            for _ in range(40):
                await client.block()

    run(test())
    assert len(set(draws)) == 40
    assert max(draws) >> 56 and all(draw < 1 << 64 for draw in draws)


@asynccontextmanager
async def two_daemons(path: Path, limits: BackendLimits | None = None) -> AsyncIterator[tuple[Served, BackendServer]]:
    """Who serves the socket at *path*, and a successor with a descriptor of the same socket that does not read yet."""
    old, new = (BackendServer(Settings(), lambda: 0.0, limits) for _ in range(2))
    served, bound = Served(old, path), bind_backend(path, None, 0o600)
    heirs = bound.dup()
    await old.start(bound)
    try:
        yield served, new
        assert old.clients == 0
    finally:
        await old.stop()
        await new.stop()
        heirs.close()
        for client in served.clients:
            client.writer.close()


async def succeed(served: Served, new: BackendServer, path: Path) -> None:
    """The order of a hand-over: the old one accepts no more, the new one does, the old one leaves."""
    served.server.pause()
    descriptor = socket.socket(fileno=os.dup(find_listener(path)))
    descriptor.setblocking(False)
    await new.start(descriptor)
    await served.server.leave()


def find_listener(path: Path) -> int:
    """The descriptor of this process that listens at *path*."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            one = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        with one:
            if (
                one.family == socket.AF_UNIX
                and one.getsockname() == str(path)
                and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            ):
                return int(entry.name)
    raise AssertionError(path)


def test_connections_pass_to_a_successor_and_nobody_notices(path: Path) -> None:
    """Asked before, meanwhile and after, on the same connections: a closed one would be a SERVFAIL to PowerDNS's client."""

    async def test() -> None:
        async with two_daemons(path) as (served, new):
            pipes, remotes, silent = (
                [await served.pipe() for _ in range(5)],
                [await served.connect() for _ in range(5)],
                await served.connect(),
            )
            for remote in remotes:
                remote.send(LOOKUP)
                assert json.loads(await remote.line())["result"]
            pipes[0].send(QUESTION * (3 * PORTION))
            await succeed(served, new, path)
            await until(lambda: (served.server.clients, new.clients) == (0, 11))
            for _ in range(3 * PORTION):
                assert await pipes[0].block() == BLOCK
            for pipe, remote in zip(pipes, remotes, strict=True):
                pipe.send(QUESTION)
                remote.send(LOOKUP)
                assert await pipe.block() == BLOCK
                assert json.loads(await remote.line())["result"]
            await silent.greet()
            silent.send(b"CMD\tstatus\n")
            assert b"connections: 11 (6 pipe, 5 remote)\n" in await silent.block()

    run(test())


def test_at_the_limit_of_a_successor_silent_connections_make_room_first(path: Path) -> None:
    """What a predecessor handed over has asked before."""

    async def test() -> None:
        async with two_daemons(path, BackendLimits(clients=5)) as (served, new):
            pipes = [await served.pipe() for _ in range(3)]
            await succeed(served, new, path)
            await until(lambda: new.clients == 3)
            silent = [await served.connect() for _ in range(6)]
            await until(lambda: counted(metrics.BACKEND_CLOSED) >= 4)
            for pipe in pipes:
                pipe.send(QUESTION)
                assert await pipe.block() == BLOCK
            assert [await client.rest() for client in silent[1:5]] == [b""] * 4

    run(test())


def test_who_is_in_the_middle_of_a_line_is_waited_for_and_then_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "TRIES", 3)

    async def test() -> None:
        async with two_daemons(path) as (served, new):
            half, whole = await served.pipe(), await served.pipe()
            half.send(QUESTION[:20])
            await until(lambda: any(connection._lines.begun for connection in served.server._open))
            await succeed(served, new, path)
            assert await half.rest() == b""
            whole.send(QUESTION)
            assert await whole.block() == BLOCK
            assert new.clients == 1

    run(test())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("first", [HELO, b"\0GEODNS-CONNECTION remote"])
def test_descriptors_of_strangers_are_closed(path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(backend_heirloom, "_is_ours", lambda connection: False)

    async def test() -> None:
        async with serving(path) as served:
            before = open_descriptors()
            ours, theirs = socket.socketpair(socket.AF_UNIX)
            with ours, theirs, socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(path))
                socket.send_fds(stranger, [first], [theirs.fileno(), ours.fileno()])
                await until(lambda: counted(metrics.BACKEND_CONNECTIONS) == 1)
                await until(lambda: served.server.clients == (first == HELO))
                assert open_descriptors() == before + 3 + (first == HELO)

    run(test())


def test_what_is_no_connection_is_closed(path: Path) -> None:
    """Descriptors of ourselves that are files, or sockets of another kind."""

    async def test() -> None:
        async with serving(path) as served:
            before = open_descriptors()
            with socket.socket() as tcp, Path(os.devnull).open() as file, socket.socket(socket.AF_UNIX) as other:
                other.connect(str(path))
                socket.send_fds(other, [b"\0GEODNS-CONNECTION new"], [tcp.fileno(), file.fileno()])
                await until(lambda: counted(metrics.BACKEND_CONNECTIONS) == 1)
                await until(lambda: served.server.clients == 0)
                assert open_descriptors() == before + 3

    run(test())

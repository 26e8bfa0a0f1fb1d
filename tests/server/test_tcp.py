"""The TCP server over loopback, with a made-up `answer`; tests carry the ids of the checklist that they hold."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.adapters import PATIENCE, SETTINGS, SNAPSHOT, needs_ipv6, published

from geodns import metrics
from geodns.answer import TCP, Turn
from geodns.server.listen import bind_all
from geodns.server.tcp import PORTION, UNSENT_LIMIT, TcpLimits, TcpServer
from geodns.server.udp import Answer

EASY = TcpLimits(clients=50, per_address=50, idle=60.0)


@pytest.fixture(autouse=True)
def _something_is_published() -> Iterator[None]:
    with published():
        yield


def same(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
    """The query itself; silence for one that begins with "hush"."""
    return None if query.startswith(b"hush") else query


class Served:
    """A server on free ports of this loop, and connections to it."""

    def __init__(self, server: TcpServer, ports: list[int]) -> None:
        self.server, self.ports = server, ports
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(
        self, peer: str = "127.0.0.1", address: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(address, self.ports[0], local_addr=(peer, 0))
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            try:
                await writer.wait_closed()
            except OSError:
                continue  # cut off by the server: what some tests are about


@asynccontextmanager
async def serving(
    answer: Answer = same, limits: TcpLimits = EASY, addresses: tuple[str, ...] = ("127.0.0.1",)
) -> AsyncIterator[Served]:
    bound = bind_all([(address, 0) for address in addresses])
    server = TcpServer(answer, SETTINGS, limits)
    await server.start(bound)
    served = Served(server, [one.port for one in bound])
    try:
        yield served
    finally:
        await served.close()
        await server.stop()
        for one in bound:
            one.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run *test*, and fail when it hangs."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE):
            await test

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until *condition* holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        await asyncio.sleep(0.002)


def message(text: bytes) -> bytes:
    """*text*, made long enough for a header, with its length before it."""
    text = text.ljust(12)
    return struct.pack("!H", len(text)) + text


async def receive(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    return (await reader.readexactly(length)).rstrip()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Has the server closed, be it politely or not?"""
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


def test_T1_turn_and_peer_are_those_of_tcp() -> None:
    seen: list[tuple[Turn, bytes]] = []

    def watching(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        seen.append((turn, peer))
        return query

    async def test() -> None:
        async with serving(watching) as served:
            reader, writer = await served.connect("127.0.0.7")
            writer.write(message(b"hello"))
            assert await receive(reader) == b"hello"

    run(test())
    ((turn, peer),) = seen
    assert (turn.transport, turn.snapshot, turn.settings, peer) == (TCP, SNAPSHOT, SETTINGS, bytes((127, 0, 0, 7)))


@needs_ipv6
def test_T1_ipv6_peers_have_16_octets() -> None:
    peers = []

    def watching(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        peers.append(peer)
        return query

    async def test() -> None:
        async with serving(watching, addresses=("::1",)) as served:
            reader, writer = await served.connect("::1", "::1")
            writer.write(message(b"six"))
            assert await receive(reader) == b"six"

    run(test())
    assert peers == [bytes(15) + b"\x01"]


def test_T2_query_may_come_octet_by_octet() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            for octet in message(b"slowly") + message(b"twice"):
                writer.write(bytes((octet,)))
                await writer.drain()
                await asyncio.sleep(0)  # the server reads it alone
            assert await receive(reader) == b"slowly"
            assert await receive(reader) == b"twice"

    run(test())


def test_T3_length_and_message_leave_in_one_write() -> None:
    """Seen from a socket: what the first reading gives is the whole reply, never its length alone."""

    async def test() -> None:
        async with serving() as served:
            for number in range(50):
                reader, writer = await served.connect()
                whole = message(b"%d" % number)
                writer.write(whole)
                assert await reader.read(65536) == whole

    run(test())


def test_T4_queries_without_waiting_are_all_answered() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            count = 10 * PORTION + 3
            writer.write(b"".join(message(b"%d" % number) for number in range(count)))
            assert [await receive(reader) for _ in range(count)] == [b"%d" % number for number in range(count)]

    run(test())


def test_T4_a_long_pipeline_does_not_hold_up_others() -> None:
    """Between two portions of the greedy client's queries the other one is answered."""
    order: list[bytes] = []

    def watching(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        order.append(query[:6])
        return query

    async def test() -> None:
        async with serving(watching) as served:
            greedy_reader, greedy = await served.connect()
            reader, writer = await served.connect()
            await until(lambda: served.server.clients == 2)
            count = 20 * PORTION
            greedy.write(message(b"greedy") * count)
            writer.write(message(b"modest"))
            for _ in range(count):
                await receive(greedy_reader)
            assert await receive(reader) == b"modest"

    run(test())
    assert order.index(b"modest") <= 4 * PORTION


def test_T5_each_connection_gets_its_own_answers() -> None:
    async def test() -> None:
        async with serving() as served:
            pairs = [await served.connect() for _ in range(20)]
            for number, (_, writer) in enumerate(pairs):
                writer.write(message(b"first %d" % number) + message(b"second %d" % number))
            for number, (reader, _) in enumerate(pairs):
                assert await receive(reader) == b"first %d" % number
                assert await receive(reader) == b"second %d" % number

    run(test())


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0", message(b"half")[:-1], message(b"hush")],
    ids=["nothing", "half a length", "half a query", "no query"],
)
def test_T6_idle_connection_is_closed(sent: bytes) -> None:
    """Neither half a query nor what draws silence counts as activity."""

    async def test() -> None:
        async with serving(limits=TcpLimits(50, 50, idle=0.1)) as served:
            reader, writer = await served.connect()
            began = time.monotonic()
            writer.write(sent)
            assert await ended(reader)
            assert time.monotonic() - began >= 0.09
            assert served.server.tally[metrics.TCP_CLOSED] == 1

    run(test())


def test_T6_connection_in_use_stays() -> None:
    async def test() -> None:
        async with serving(limits=TcpLimits(50, 50, idle=0.2)) as served:
            reader, writer = await served.connect()
            until_then = time.monotonic() + 0.5
            while time.monotonic() < until_then:
                writer.write(message(b"busy"))
                assert await receive(reader) == b"busy"
                await asyncio.sleep(0.02)

    run(test())


def test_T6_idle_time_is_shorter_when_many_are_open() -> None:
    async def test() -> None:
        async with serving(limits=TcpLimits(10, 10, idle=10.0)) as served:
            limits = [served.server.idle_limit()]
            for count in range(1, 11):
                await served.connect()
                await until(lambda count=count: served.server.clients == count)  # type: ignore[misc]
                limits.append(served.server.idle_limit())
            assert limits[:6] == [10.0] * 6
            assert limits[6:] == pytest.approx([8.0, 6.0, 4.0, 2.0, 1.0])

    run(test())


def test_T7_one_address_has_its_own_limit() -> None:
    async def test() -> None:
        async with serving(limits=TcpLimits(10, 3, 60.0)) as served:
            other_reader, other = await served.connect("127.0.0.9")
            crowd = [await served.connect("127.0.0.8") for _ in range(5)]
            await until(lambda: served.server.tally[metrics.TCP_CLOSED] == 2)
            assert served.server.clients == 4
            for reader, _ in crowd[:2]:
                assert await ended(reader)
            for reader, writer in [*crowd[2:], (other_reader, other)]:
                writer.write(message(b"still here"))
                assert await receive(reader) == b"still here"

    run(test())


@needs_ipv6
def test_T7_one_ipv6_network_counts_as_one_address() -> None:
    """Only ::1 can be had on every machine, so the grouping itself is looked at."""

    async def test() -> None:
        async with serving(addresses=("::1",)) as served:
            await served.connect("::1", "::1")
            await until(lambda: served.server.clients == 1)
            (connection,) = served.server._open
            assert connection.client == bytes(8), "the upper 64 bits of ::1"

    run(test())


def test_T8_at_the_limit_the_one_that_idled_longest_makes_room() -> None:
    async def test() -> None:
        async with serving(limits=TcpLimits(3, 3, 60.0)) as served:
            first, second, third = [await served.connect(f"127.0.0.{n}") for n in (1, 2, 3)]
            await until(lambda: served.server.clients == 3)
            first[1].write(message(b"I am busy"))
            assert await receive(first[0]) == b"I am busy"
            fourth = await served.connect("127.0.0.4")
            assert await ended(second[0])
            for reader, writer in (first, third, fourth):
                writer.write(message(b"still here"))
                assert await receive(reader) == b"still here"

    run(test())


def test_T8_silent_crowd_keeps_nobody_out() -> None:
    """Hundreds of silent connections from one address: whoever comes is let in and answered."""

    async def test() -> None:
        async with serving(limits=TcpLimits(200, 100, 60.0)) as served:
            for _ in range(300):
                await served.connect("127.0.0.66")
            for number in range(20):
                reader, writer = await served.connect(f"127.0.1.{number}")
                writer.write(message(b"let me in"))
                assert await receive(reader) == b"let me in"
            assert served.server.clients <= 200

    run(test())


def test_T9_client_that_never_reads_is_cut_off_with_bounded_memory() -> None:
    answered = 0

    def long(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        nonlocal answered
        answered += 1
        return bytes(60000)

    async def test() -> None:
        async with serving(long, TcpLimits(50, 50, idle=0.3)) as served:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", served.ports[0]))
                deaf.setblocking(False)
                try:
                    for _ in range(10000):
                        deaf.send(message(b"more") * 100)
                except BlockingIOError:
                    pass  # the server reads no more: that is the point
                await until(lambda: served.server.clients == 1)
                (connection,) = served.server._open
                most = 0
                while served.server.clients:
                    most = max(most, connection._transport.get_write_buffer_size())
                    await asyncio.sleep(0.01)
                assert most <= 2 * UNSENT_LIMIT + 60000
                assert answered < 500, "it went on answering somebody who does not read"

    run(test())


def test_T9_slow_reader_gets_everything() -> None:
    async def test() -> None:
        async with serving(lambda turn, query, peer, draw: query + bytes(30000)) as served:
            reader, writer = await served.connect()
            writer.write(b"".join(message(b"%012d" % number) for number in range(500)))
            for number in range(500):
                assert (await receive(reader))[:12] == b"%012d" % number

    run(test())


GARBAGE = {
    "length 0": b"\0\0",
    "shorter than a header": b"\0\x0bhello world",
    "a good one, then garbage": message(b"good") + b"\0\x01x",
}
STALLING = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "TLS": bytes.fromhex("160301020001fc0303") + bytes(range(200)),
    "random octets": bytes(range(77, 255)),
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
def test_T10_garbage_is_closed_at_once(octets: bytes) -> None:
    async def test() -> None:
        async with serving() as served:
            bystander_reader, bystander = await served.connect()
            reader, writer = await served.connect()
            writer.write(octets)
            if octets.startswith(message(b"good")):
                assert await receive(reader) == b"good"
            assert await ended(reader)
            bystander.write(message(b"hello"))
            assert await receive(bystander_reader) == b"hello"

    run(test())


@pytest.mark.parametrize("octets", STALLING.values(), ids=STALLING)
def test_T10_other_protocols_end_by_the_idle_time(octets: bytes) -> None:
    """Their first octets read as a length that never comes."""

    async def test() -> None:
        async with serving(limits=TcpLimits(50, 50, idle=0.1)) as served:
            reader, writer = await served.connect()
            writer.write(octets)
            assert await reader.read() == b""

    run(test())


def test_T11_half_closed_connection_is_still_answered() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            count = 3 * PORTION
            writer.write(b"".join(message(b"%d" % number) for number in range(count)) + b"\0\x20half a query")
            writer.write_eof()
            assert [await receive(reader) for _ in range(count)] == [b"%d" % number for number in range(count)]
            assert await reader.read() == b""

    run(test())


def test_T11_half_closed_connection_with_much_to_read() -> None:
    async def test() -> None:
        async with serving(lambda turn, query, peer, draw: bytes(60000)) as served:
            reader, writer = await served.connect()
            writer.write(message(b"much") * 100)
            writer.write_eof()
            await until(lambda: served.server.clients == 1)
            assert len(await reader.read()) == 100 * 60002

    run(test())


def test_exception_is_counted_and_answered_servfail(caplog: pytest.LogCaptureFixture) -> None:
    def failing(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        if query.startswith(b"fine"):
            return query
        raise ZeroDivisionError

    async def test() -> None:
        async with serving(failing) as served:
            reader, writer = await served.connect()
            writer.write(message(b"\xbe\xef\x01\0\0\1\0\0\0\0\0\0") * 3 + message(b"fine"))
            for _ in range(3):
                assert await reader.readexactly(14) == b"\0\x0c\xbe\xef\x81\x02" + bytes(8)
            assert await receive(reader) == b"fine"
            assert served.server.tally[metrics.INTERNAL_ERRORS] == 3

    with caplog.at_level(logging.ERROR):
        run(test())
    assert len(caplog.records) == 1


def test_stop_answers_what_has_arrived_and_closes() -> None:
    """Also what nobody has accepted yet. Afterwards nobody listens."""

    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            writer.write(message(b"known"))
            assert await receive(reader) == b"known"
            writer.write(message(b"last words"))
            with socket.create_connection(("127.0.0.1", served.ports[0])) as stranger:
                stranger.sendall(message(b"hello?"))
                await served.server.stop()
                stranger.settimeout(PATIENCE)
                assert stranger.recv(100) == message(b"hello?")
                assert stranger.recv(100) == b""
            assert await receive(reader) == b"last words"
            assert await ended(reader)
            assert served.server.clients == 0
            with pytest.raises(ConnectionRefusedError):
                await served.connect()

    run(test())


def test_stop_does_not_wait_for_those_who_do_not_read() -> None:
    async def test() -> None:
        async with serving(lambda turn, query, peer, draw: bytes(60000)) as served:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", served.ports[0]))
                deaf.sendall(message(b"more") * 200)
                await until(lambda: served.server.clients == 1)
                (connection,) = served.server._open
                await until(lambda: connection._transport.get_write_buffer_size() > 0)
                began = time.monotonic()
                await served.server.stop()
                assert time.monotonic() - began < PATIENCE / 2
                assert served.server.clients == 0

    run(test())


def test_counters_count_connections() -> None:
    async def test() -> None:
        async with serving() as served:
            for _ in range(3):
                reader, writer = await served.connect()
                writer.write(message(b"x"))
                await receive(reader)
                writer.close()
            await until(lambda: served.server.clients == 0)
            assert served.server.tally[metrics.TCP_CONNECTIONS] == 3
            first = metrics.LATENCY + TCP * metrics.LATENCY_STEP
            assert sum(served.server.tally[first : first + metrics.LATENCY_BUCKETS]) == 3
            assert served.server.tally[first + metrics.LATENCY_SUM] > 0
            assert served.server.tally[metrics.TCP_CLOSED] == 0
            assert served.server._by_client == {}

    run(test())

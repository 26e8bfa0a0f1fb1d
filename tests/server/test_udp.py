"""The UDP reader over loopback, with a made-up `answer`; most tests call `serve_batch` themselves, so nothing waits."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import pytest
from tests.server.adapters import PATIENCE, SETTINGS, SNAPSHOT, bound_to, client, counted, echo, needs_ipv6, published

from geodns import metrics, publish
from geodns.answer import UDP, Turn
from geodns.server.listen import Bound
from geodns.server.udp import BATCH, QUERY_SIZE, Answer, UdpReader
from geodns.snapshot import Snapshot

QUERY = bytes.fromhex("beef 0100 0001 0000 0000 0000") + b"\x03www\x07example\x03com\x00\x00\x01\x00\x01"


@pytest.fixture(autouse=True)
def _something_is_published() -> Iterator[None]:
    with published():
        yield


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"], ids=["specific", "wildcard"])
def bound(request: pytest.FixtureRequest) -> Iterator[Bound]:
    with bound_to(request.param) as one:
        yield one


@pytest.fixture
def asking(bound: Bound) -> Iterator[socket.socket]:
    """A client whose every packet goes to the server, and who fails rather than wait for ever."""
    with client(socket.AF_INET) as sender:
        sender.connect(("127.0.0.1", bound.port))
        yield sender


def reading(bound: Bound, answer: Answer) -> UdpReader:
    return UdpReader(bound, answer, SETTINGS)


def look(asking: socket.socket) -> bytes:
    """What has arrived already. BlockingIOError: nothing; ConnectionRefusedError: the server said that it is gone."""
    asking.setblocking(False)
    try:
        return asking.recv(100)
    finally:
        asking.settimeout(PATIENCE)


def test_answers_what_waits(bound: Bound, asking: socket.socket) -> None:
    reader = reading(bound, echo)
    asking.send(b"one")
    asking.send(b"two")
    assert reader.serve_batch() == 2
    assert [asking.recv(100) for _ in "ab"] == [b"from \x7f\x00\x00\x01 one", b"from \x7f\x00\x00\x01 two"]
    assert reader.serve_batch() == 0, "an empty socket is no error"


def test_batch_is_received_then_answered_then_sent(bound: Bound, asking: socket.socket) -> None:
    """While answers are worked out, nothing has been sent yet; and a batch leaves what exceeds it for the next."""
    sent_too_early = []

    def watching(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        with suppress(BlockingIOError):
            sent_too_early.append(look(asking))
        return query

    reader = reading(bound, watching)
    for number in range(BATCH + 5):
        asking.send(b"%d" % number)
    assert reader.serve_batch() == BATCH
    assert sent_too_early == []
    assert [asking.recv(100) for _ in range(BATCH)] == [b"%d" % number for number in range(BATCH)]
    assert reader.serve_batch() == 5
    assert [asking.recv(100) for _ in range(5)] == [b"%d" % number for number in range(BATCH, BATCH + 5)]


def test_one_snapshot_for_a_batch(bound: Bound, asking: socket.socket) -> None:
    newer = publish.Current(cast(Snapshot, object()), metrics.Counters())
    seen = []

    def publishing(turn: Turn, query: bytes, peer: bytes, draw: int) -> None:
        seen.append(turn)
        publish.current = newer  # the fixture puts back what was there

    reader = reading(bound, publishing)
    asking.send(b"1")
    asking.send(b"2")
    reader.serve_batch()
    asking.send(b"3")
    reader.serve_batch()
    assert [turn.snapshot for turn in seen] == [SNAPSHOT, SNAPSHOT, newer.snapshot]
    assert seen[2].tally is newer.counters.tally
    assert seen[0] is seen[1]
    assert all(turn.transport == UDP and turn.settings is SETTINGS for turn in seen)


def test_draws_are_64_bits_each_its_own(bound: Bound, asking: socket.socket) -> None:
    draws: list[int] = []

    def drawing(turn: Turn, query: bytes, peer: bytes, draw: int) -> None:
        draws.append(draw)

    readers = reading(bound, drawing), reading(bound, drawing)  # two generators, neither the other's twin
    for reader in readers:
        for _ in range(BATCH):
            asking.send(b"?")
        reader.serve_batch()
    assert len(set(draws)) == 2 * BATCH
    every = 0
    none = (1 << 64) - 1
    for draw in draws:
        every |= draw
        none &= draw
    assert (every, none) == ((1 << 64) - 1, 0), "some bit never changed in 128 draws"


@needs_ipv6
@pytest.mark.parametrize("address", ["::1", "::"])
def test_ipv6_peers_have_16_octets(address: str) -> None:
    with bound_to(address) as bound, client(socket.AF_INET6) as asking:
        asking.connect(("::1", bound.port))
        asking.send(b"six")
        reading(bound, echo).serve_batch()
        assert asking.recv(100) == b"from " + bytes(15) + b"\x01 six"


def test_A9_reply_leaves_from_the_address_that_was_asked() -> None:
    with bound_to("0.0.0.0") as bound, client(socket.AF_INET) as asking:
        reader = reading(bound, echo)
        for address in ("127.0.0.2", "127.0.0.1", "127.9.8.7"):
            asking.sendto(b"hello", (address, bound.port))
            reader.serve_batch()
            assert asking.recvfrom(100)[1] == (address, bound.port)


def test_reply_that_cannot_be_sent_holds_up_nobody(bound: Bound, asking: socket.socket) -> None:
    def long(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        return bytes(70000) if query == b"long" else query  # no datagram is so long

    reader = reading(bound, long)
    for query in (b"before", b"long", b"after"):
        asking.send(query)
    assert reader.serve_batch() == 3
    assert [asking.recv(100) for _ in "ab"] == [b"before", b"after"]
    assert counted(metrics.SEND_FAILURES) == 1


def test_every_query_of_a_batch_counts_with_the_time_of_the_batch(bound: Bound, asking: socket.socket) -> None:
    reader = reading(bound, echo)
    reader.serve_batch()
    assert timed() == (0, 0), "a look at an empty socket is no batch"
    for _ in range(3):
        asking.send(b"?")
    began = time.perf_counter_ns()
    reader.serve_batch()
    spent = time.perf_counter_ns() - began
    queries, nanoseconds = timed()
    assert queries == 3
    assert 0 < nanoseconds <= 3 * spent


def timed() -> tuple[int, int]:
    """Queries in the histogram of UDP, and its sum."""
    slots = [counted(metrics.LATENCY + UDP * metrics.LATENCY_STEP + i) for i in range(metrics.LATENCY_STEP)]
    return sum(slots[: metrics.LATENCY_SUM]), slots[metrics.LATENCY_SUM]


def test_queries_that_the_kernel_threw_away_are_known(bound: Bound, asking: socket.socket) -> None:
    bound.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader = reading(bound, echo)
    assert reader.dropped == 0
    for _ in range(200):
        asking.send(bytes(500))
    served = 0
    while batch := reader.serve_batch():
        served += batch
    assert 0 < served < 200
    assert reader.dropped == 200 - served
    bound.udp.close()
    assert reader.dropped is None


def test_queries_that_wait_are_known(bound: Bound, asking: socket.socket) -> None:
    reader = reading(bound, echo)
    assert reader.waiting == 0
    for _ in range(100):
        asking.send(QUERY)
    assert 100 * 200 < reader.waiting < 100 * 2000
    while reader.serve_batch():
        pass
    assert reader.waiting == 0
    bound.udp.close()
    assert reader.waiting == 0


def failing(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
    if query == b"fine":
        return query
    raise ZeroDivisionError("a bug of ours")


def test_exception_is_counted_and_answered_servfail(
    bound: Bound, asking: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    reader = reading(bound, failing)
    for query in (QUERY, b"fine", QUERY, QUERY):
        asking.send(query)
    with caplog.at_level(logging.ERROR):
        assert reader.serve_batch() == 4
    servfail = bytes.fromhex("beef 8102 0000 0000 0000 0000")  # the id, QR, RD as asked, SERVFAIL
    assert [asking.recv(100) for _ in range(4)] == [servfail, b"fine", servfail, servfail]
    assert counted(metrics.INTERNAL_ERRORS) == 3
    assert len(caplog.records) == 1, "a traceback for each packet would fill the disk"
    assert "ZeroDivisionError: a bug of ours" in caplog.text
    assert QUERY.hex() in caplog.text


def test_exception_over_a_response_draws_silence(bound: Bound, asking: socket.socket) -> None:
    reader = reading(bound, failing)
    asking.send(QUERY[:2] + b"\x80" + QUERY[3:])  # a SERVFAIL for this would begin a loop
    asking.send(b"short")
    asking.send(b"fine")
    assert reader.serve_batch() == 3
    assert asking.recv(100) == b"fine"


def test_silence_and_empty_datagrams(bound: Bound, asking: socket.socket) -> None:
    queries: list[bytes] = []

    def quiet(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
        queries.append(query)
        return query or None

    reader = reading(bound, quiet)
    asking.send(b"")
    asking.send(b"something")
    assert reader.serve_batch() == 2
    assert asking.recv(100) == b"something"
    assert queries == [b"", b"something"]


def test_overlong_query_is_cut(bound: Bound, asking: socket.socket) -> None:
    asking.send(bytes(QUERY_SIZE + 1000))
    reading(bound, echo).serve_batch()
    assert len(asking.recv(65535)) == QUERY_SIZE + len(b"from \x7f\0\0\1 ")


def test_loop_reads_and_stop_answers_who_is_in(bound: Bound, asking: socket.socket) -> None:
    """All that was sent before stop() is answered, however much; what comes after is told at once that nobody is there."""

    async def run() -> None:
        reader = reading(bound, echo)
        asking.send(b"early")  # waits for the first snapshot
        reader.start(asyncio.get_running_loop())
        assert (await asyncio.to_thread(asking.recv, 100)).endswith(b"early")
        for number in range(2 * BATCH + 7):
            asking.send(b"%d" % number)
        reader.stop()

    asyncio.run(run())
    for number in range(2 * BATCH + 7):
        assert asking.recv(100).endswith(b" %d" % number)
    asking.send(b"late")
    with pytest.raises(ConnectionRefusedError):
        asking.recv(100)


def test_nothing_slips_in_between_the_last_look_and_the_end(bound: Bound, asking: socket.socket) -> None:
    """A query that arrives while stop() works is either answered or refused, never swallowed."""
    outcomes: list[str] = []

    def late(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes:
        if query == b"first":  # the door is shut by now
            try:
                asking.send(b"late")
                look(asking)
            except ConnectionRefusedError:
                outcomes.append("refused")
            except BlockingIOError:
                outcomes.append("taken in")
        return query

    async def run() -> None:
        reader = reading(bound, late)
        reader.start(asyncio.get_running_loop())
        asking.send(b"first")
        reader.stop()

    asyncio.run(run())
    assert outcomes == ["refused"]
    assert asking.recv(100) == b"first"


def test_stop_before_start_only_closes(bound: Bound) -> None:
    reader = reading(bound, echo)
    reader.stop()
    assert bound.udp.fileno() == -1

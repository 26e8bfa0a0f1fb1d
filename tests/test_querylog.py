"""The query log end to end: real queries over UDP and TCP, what is dropped, and what it may cost the main thread."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import dns.message
import pytest
from tests.scenes import build_scene, with_health
from tests.server.adapters import PATIENCE, bound_to
from tests.snapshots import opt_of, peer_of, query_of, subnet_of

from geodns import publish, querylog
from geodns.answer import TCP, UDP, Settings, Turn, answer
from geodns.config.model_server import QueryLog as Wanted
from geodns.errors import StartError
from geodns.health.state import Condition, Verdict
from geodns.locate import Scene
from geodns.metrics import new_tally
from geodns.querylog import EVERY, LONGEST, PACE, RING, QueryLog
from geodns.querylog_line import Sampled
from geodns.server.tcp import TcpLimits, TcpServer
from geodns.server.udp import UdpReader
from geodns.snapshot import Snapshot
from geodns.wire.constants import AAAA, A
from geodns.wire.stream import frame


@cache
def scene() -> Scene:
    with TemporaryDirectory() as folder:
        return build_scene(Path(folder))


def turn_on(snapshot: Snapshot, transport: int = UDP) -> Turn:
    return Turn(snapshot, transport, Settings(), 1_795_000_000.25, new_tally(1000))


def log_at(path: Path, sample: float = 1.0, **rest: Any) -> QueryLog:
    return QueryLog(Wanted(path=path, sample=sample), **rest)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE))


@asynccontextmanager
async def started(log: QueryLog) -> AsyncIterator[QueryLog]:
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture(autouse=True)
def _the_scene_is_published() -> Iterator[None]:
    before, publish.current = publish.current, None
    publish.publish(scene().snapshot)
    yield
    publish.current = before
    for _ in publish.sweep():
        pass


QUESTIONS = [
    (f"{label}.example.com.", qtype, client)
    for label in ("www", "several", "cdn", "mail", "no")
    for qtype in (A, AAAA)
    for client in (None, "80.7.0.0/24", "129.0.0.0/16")
]


def asked() -> list[bytes]:
    """Queries whose id is their number."""
    return [
        query_of(name, qtype, ident=number, opt=opt_of(b"" if client is None else subnet_of(client)))
        for number, (name, qtype, client) in enumerate(QUESTIONS)
    ]


def compare(lines: list[dict[str, Any]], replies: dict[int, bytes], transport: str) -> None:
    """Every question has one line, in order, which says what the client was told."""
    assert len(lines) == len(QUESTIONS)
    for number, (line, (name, _, client)) in enumerate(zip(lines, QUESTIONS, strict=True)):
        reply = dns.message.from_wire(replies[number])
        records = [rdata.to_text() for rrset in reply.answer for rdata in rrset]
        assert (line["name"], line["client"]) == (name, client or "127.0.0.0/24")
        assert set(line["members"]) <= set(records)
        assert bool(line["members"]) == (not reply.authority and not name.startswith("mail"))
        assert line["transport"] == transport


# End to end


def test_over_udp_each_query_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def test() -> None:
        with bound_to("127.0.0.1") as bound, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", bound.port))
            loop = asyncio.get_running_loop()
            log = log_at(path)
            reader = UdpReader(bound, log.around(answer), Settings())
            reader.start(loop)
            replies = {}
            async with started(log):
                for query in asked():
                    await loop.sock_sendall(client, query)
                    reply = await loop.sock_recv(client, 4096)
                    replies[int.from_bytes(reply[:2], "big")] = reply
                await until(lambda: log.written == len(QUESTIONS))
                compare(read(path), replies, "udp")
                client.send(b"no query")
                client.send(query_of("www.example.com.", flags=0x8000))
                await loop.sock_sendall(client, query_of("www.example.com."))
                await loop.sock_recv(client, 4096)
                reader.stop()
            assert (log.written, log.dropped) == (len(QUESTIONS) + 1, 0), "what draws no reply is no query"
            assert len(read(path)) == log.written

    run(test())


def test_over_tcp_each_query_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def test() -> None:
        log = log_at(path)
        with bound_to("127.0.0.1") as bound:
            server = TcpServer(log.around(answer), Settings(), TcpLimits(10, 10, 60.0))
            async with started(log):
                await server.start([bound])
                stream, writer = await asyncio.open_connection("127.0.0.1", bound.port)
                writer.writelines(map(frame, asked()))
                replies = {}
                for _ in QUESTIONS:
                    reply = await stream.readexactly(int.from_bytes(await stream.readexactly(2), "big"))
                    replies[int.from_bytes(reply[:2], "big")] = reply
                writer.close()
                await writer.wait_closed()
                await server.stop()
        compare(read(path), replies, "tcp")

    run(test())


def test_a_query_is_decided_on_the_snapshot_that_answered_it(tmp_path: Path) -> None:
    path, log = tmp_path / "log", log_at(tmp_path / "log")
    sick = with_health(scene(), {("www", "sin", "203.0.113.10"): Condition(Verdict.DOWN)}).snapshot
    query = query_of("www.example.com.", opt=opt_of(subnet_of("80.7.0.0/24")))

    async def test() -> None:
        async with started(log):
            sampling = log.around(answer)
            sampling(turn_on(scene().snapshot), query, peer_of("192.0.2.1"), 0)
            publish.publish(sick)
            sampling(turn_on(sick), query, peer_of("192.0.2.1"), 0)

    run(test())
    before, after = read(path)
    assert (before["datacenter"], after["datacenter"]) == ("sin", "ams")


def test_rotates_when_told_to(tmp_path: Path) -> None:
    path, log = tmp_path / "log", log_at(tmp_path / "log")

    async def test() -> None:
        async with started(log):
            sampling = log.around(answer)
            sampling(turn_on(scene().snapshot), query_of("one.example.com."), peer_of("192.0.2.1"), 0)
            await until(lambda: log.written == 1)
            path.rename(tmp_path / "old")
            log.reopen()
            await until(path.exists)
            sampling(turn_on(scene().snapshot), query_of("two.example.com."), peer_of("192.0.2.1"), 0)

    run(test())
    assert [line["name"] for line in read(tmp_path / "old")] == ["one.example.com."]
    assert [line["name"] for line in read(path)] == ["two.example.com."]


def test_a_file_that_cannot_be_had_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "log"
    with pytest.raises(StartError) as told:
        run(log_at(path).start())
    assert str(told.value) == f"server.query_log.path: {path}: cannot be opened: No such file or directory"


# Sampling


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.003])
def test_a_share_of_queries_is_kept_whatever_their_order(tmp_path: Path, share: float) -> None:
    """A and AAAA in turns: of both the same share, to four standard deviations (seed 7)."""
    log = log_at(tmp_path / "log", share, chance=random.Random(7).random)
    sampling = log.around(lambda turn, query, peer, draw: query)
    turn, counts = turn_on(scene().snapshot), {A: 0, AAAA: 0}
    kinds = {query_of("www.example.com.", qtype): qtype for qtype in counts}
    for _ in range(20_000):
        for query in kinds:
            sampling(turn, query, b"", 0)
        while log._ring:
            counts[kinds[log._ring.popleft().query]] += 1
    for count in counts.values():
        assert abs(count - 20_000 * share) <= 4 * (20_000 * share * (1 - share)) ** 0.5
    assert log.dropped == 0


def test_answers_are_the_same_with_and_without(tmp_path: Path) -> None:
    turn, sampling = turn_on(scene().snapshot), log_at(tmp_path / "log", 0.3).around(answer)
    for number, query in enumerate(asked() * 5):
        assert sampling(turn, query, peer_of("80.1.1.1"), number << 32) == answer(
            turn, query, peer_of("80.1.1.1"), number << 32
        )


def test_a_failure_of_the_answer_passes_through(tmp_path: Path) -> None:
    def failing(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
        raise ZeroDivisionError

    log = log_at(tmp_path / "log")
    with pytest.raises(ZeroDivisionError):
        log.around(failing)(turn_on(scene().snapshot), b"", b"", 0)
    assert not log._ring


# What is dropped


def test_the_ring_is_bounded_and_what_finds_it_full_is_counted(tmp_path: Path) -> None:
    log = log_at(tmp_path / "log")
    sampling, turn, query = log.around(answer), turn_on(scene().snapshot), query_of("www.example.com.")
    for _ in range(RING + 100):
        sampling(turn, query, peer_of("192.0.2.1"), 0)
    assert (len(log._ring), log.dropped) == (RING, 100)


def test_a_query_that_is_too_long_is_not_kept(tmp_path: Path) -> None:
    log = log_at(tmp_path / "log")
    sampling, turn = log.around(answer), turn_on(scene().snapshot, TCP)
    for padding in (LONGEST, LONGEST - 100):
        query = query_of("www.example.com.", opt=opt_of(b"\x00\x0c" + padding.to_bytes(2, "big") + bytes(padding)))
        sampling(turn, query, peer_of("192.0.2.1"), 0)
    assert (len(log._ring), log.dropped) == (1, 1)


def test_drops_are_told_once_a_minute_with_their_number_and_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    log = log_at(tmp_path / "log", clock=lambda: now[0])

    def drop(count: int) -> list[str]:
        log._crowded += count
        if now[0] >= log._next_told:
            log._tell_drops()
        told = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return told

    with caplog.at_level(logging.WARNING):
        assert drop(3) == ["query log: 3 queries are not in it: more came than could be written; raise `sample`"]
        assert drop(5) == drop(0) == []
        now[0] += PACE
        log._writer.trouble = "No space left on device"
        assert drop(1) == [f"query log: 6 queries are not in it: {tmp_path / 'log'}: No space left on device"]
        now[0] += PACE
        assert drop(0) == []


def test_a_full_disk_costs_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    log = log_at(Path("/dev/full"))

    async def test() -> None:
        async with started(log):
            sampling = log.around(answer)
            for query in asked():
                assert sampling(turn_on(scene().snapshot), query, peer_of("192.0.2.1"), 0) is not None
            await until(lambda: log.dropped == len(QUESTIONS))

    with caplog.at_level(logging.WARNING):
        run(test())
    assert "No space left on device" in caplog.text
    assert log.written == 0


def test_a_query_that_cannot_be_decided_again_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(sampled: Sampled, prefixes: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(querylog, "write_line", failing)
    log, query = log_at(tmp_path / "log"), query_of("www.example.com.")

    async def test() -> None:
        async with started(log):
            log.around(answer)(turn_on(scene().snapshot), query, peer_of("192.0.2.1"), 0)

    run(test())
    assert (log.written, log.dropped) == (0, 1)
    (record, *_) = caplog.records
    assert query.hex() in record.getMessage()
    assert cast(Any, record).seldom, "strangers choose queries"


# What it costs the main thread


def test_deciding_again_gives_the_thread_back_after_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a fifth of a millisecond later: a slice of 1 ms decides four or five, however many wait."""
    now = [0.0]

    def tick() -> float:
        now[0] += 0.0002
        return now[0]

    log = log_at(tmp_path / "log")
    log._ring.extend(
        [Sampled(turn_on(scene().snapshot), query_of("www.example.com."), peer_of("192.0.2.1"), 0, 0x8400)] * 100
    )
    monkeypatch.setattr(querylog, "time", SimpleNamespace(monotonic=tick))
    log._decide_some()
    assert 94 <= len(log._ring) <= 97


def test_queries_are_answered_while_a_full_ring_is_worked_off(tmp_path: Path) -> None:
    """The loop is looked at between slices: no gap between two turns of it is longer than a few slices."""
    log, gaps = log_at(tmp_path / "log"), []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with started(log):
            sampling, turn = log.around(answer), turn_on(scene().snapshot)
            for number in range(1000):
                sampling(turn, asked()[number % len(QUESTIONS)], peer_of("192.0.2.1"), number << 32)
            while log.written < 1000:
                before = loop.time()
                await asyncio.sleep(0)
                gaps.append(loop.time() - before)

    run(test())
    gaps.sort()
    assert gaps[len(gaps) * 99 // 100] < 0.02, "1 ms, and what other processes take"
    assert len(gaps) > 10


class Counted:
    """Stands for a node; counts how many are alive."""

    alive = 0

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


def made_up(names: int) -> Snapshot:
    zones = SimpleNamespace(names={b"%d" % i: Counted() for i in range(names)}, pools=(), zones=())
    return cast(Snapshot, SimpleNamespace(maps=object(), zones=zones, choices=SimpleNamespace(pools=())))


def test_a_snapshot_that_only_the_ring_still_holds_goes_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querylog, "write_line", lambda sampled, prefixes: b"line\n")
    log, Counted.alive, steps = log_at(tmp_path / "log"), 0, []

    async def test() -> None:
        publish.publish(made_up(5000))
        assert publish.current is not None
        async with started(log):
            log.around(lambda *_: bytes(12))(turn_on(publish.current.snapshot), b"", b"", 0)
            publish.publish(made_up(10))
            for _ in publish.sweep():
                pass
            assert Counted.alive == 5010, "the ring holds it"
            while Counted.alive > 10:
                before = Counted.alive
                await asyncio.sleep(0)
                steps.append(before - Counted.alive)

    run(test())
    assert max(steps) <= 2 * publish.SLICE
    assert sum(steps) == 5000


def test_an_idle_log_holds_no_snapshot(tmp_path: Path) -> None:
    log = log_at(tmp_path / "log")

    async def test() -> None:
        async with started(log):
            log.around(answer)(turn_on(scene().snapshot), query_of("www.example.com."), peer_of("192.0.2.1"), 0)
            await until(lambda: log.written == 1)
            await asyncio.sleep(EVERY)
            await until(lambda: log._held is None)

    run(test())


def test_prefixes_are_those_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = QueryLog(replace_prefixes(Wanted(path=path), 8, 16))

    async def test() -> None:
        async with started(log):
            sampling = log.around(answer)
            for peer in ("198.51.100.7", "2001:db8:1:2::3"):
                sampling(turn_on(scene().snapshot), query_of("www.example.com."), peer_of(peer), 0)

    run(test())
    assert [line["client"] for line in read(path)] == ["198.0.0.0/8", "2001::/16"]


def replace_prefixes(wanted: Wanted, v4: int, v6: int) -> Wanted:
    return wanted.model_copy(update={"v4_prefix": v4, "v6_prefix": v6})

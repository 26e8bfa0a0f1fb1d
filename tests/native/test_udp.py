"""Threads that answer by UDP: real sockets on loopback, replies compared with the reference's under the same draw."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("geodns.native.udp", reason="the native engine is not built")

from tests.native.threads import Scene, Site, build_scene, draw_packets, published, rebind, with_loop
from tests.server.adapters import PATIENCE, needs_ipv6
from tests.snapshots import opt_of, query_of, subnet_of

from geodns import metrics, publish
from geodns.answer import UDP, Turn, answer
from geodns.health.state import Condition, Health, Verdict
from geodns.metrics import LATENCY, LATENCY_STEP, LATENCY_SUM, Counters, Sums, new_tally
from geodns.native.answer import Rules
from geodns.native.udp import RING, Tally, Workers
from geodns.server.native_udp import KEPT, NativeReader
from geodns.server.udp import BATCH, QUERY_SIZE, UdpReader

PACKETS = 3000
QUERY = query_of("mail.example.com")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def current(scene: Scene) -> Iterator[Scene]:
    with published(scene):
        yield scene


class Kept:
    """Who wants samples, and keeps them all."""

    def __init__(self, share: float = 1.0) -> None:
        self.share, self.missed = share, 0
        self.kept: list[tuple[Turn, bytes, bytes, int, int]] = []

    def keep(self, turn: Turn, query: bytes, peer: bytes, draw: int, flags: int) -> None:
        self.kept.append((turn, query, peer, draw, flags))

    def miss(self, count: int) -> None:
        self.missed += count


def wait_until(what: Any, text: str) -> None:
    """Until *what* is true, `PATIENCE` at most."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, text
        time.sleep(0.001)


def counters() -> Counters:
    assert publish.current is not None
    return publish.current.counters


def counted(slot: int) -> int:
    """What all threads and Python have counted in *slot*."""
    return sum(tally[slot] for tally in counters().tallies)


def timeless(sums: Sums) -> tuple[object, ...]:
    """All counts but those of durations, and of who answered."""
    fixed = sums.fixed[:LATENCY]
    fixed[metrics.DECLINED] = 0
    zones = {apex: block for apex, block in sums.zones.items() if any(block)}
    return fixed, sums.no_zone, sums.other_zones, zones, sums.pools


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", pytest.param("::1", marks=needs_ipv6)])
@pytest.mark.parametrize("native", [True, False], ids=["native", "declined"])
def test_always_the_reference_under_the_draw_that_it_had(current: Scene, address: str, native: bool) -> None:
    """Random packets, a third of them damaged. Octets, silence and counters are those of the reference, on either way."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    samples = Kept()
    left: list[tuple[bytes, bytes, int]] = []
    replies: dict[bytes, bytes] = {}

    def answering(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
        left.append((query, peer, draw))
        return answer(turn, query, peer, draw)

    packets = list(draw_packets(seed, PACKETS))
    silent = [packet for packet in packets if current.reference(packet, bytes(4), 0, new_tally(100)) is None]

    def ask() -> None:
        client = site.client()
        for first in range(0, PACKETS, BATCH // 2):
            part = packets[first : first + BATCH // 2]
            for packet in part:
                client.send(packet)
            for _ in range(len(part) - sum(packet in silent for packet in part)):
                reply = client.recv(65535)
                replies[reply[:2]] = reply
            wait_until(lambda: len(samples.kept) + len(left) >= len(replies), "a sample is missing")

    with Site(address, 2, current.settings, samples, answering) as site, published(current, native=native):
        with_loop(site, ask)
        by_id = {packet[:2]: packet for packet in packets}
        assert replies.keys() == by_id.keys() - {packet[:2] for packet in silent}
        expected = Counters(current.snapshot.zones.zones, current.snapshot.zones.pools)
        decided = [*left, *((query, peer, draw) for _, query, peer, draw, _ in samples.kept)]
        assert samples.missed == 0
        for query, peer, draw in decided:
            assert peer == socket.inet_pton(site.bound.udp.family, "::1" if address == "::1" else "127.0.0.1")
            reply = current.reference(query, peer, draw, expected.tally)
            assert reply == replies.get(query[:2]), f"seed {seed}, query {query.hex()}, draw {draw}"
        for query in silent if native else ():
            current.reference(query, bytes(4), 0, expected.tally)
        assert timeless(counters().read()) == timeless(expected.read())
        assert counted(metrics.DECLINED) == len(left)
        assert len({draw for _, _, draw in decided}) == len(decided), "each draw is its own"
        assert not native or len(left) < PACKETS / 100, "most are answered without Python"


def test_flags_and_turn_of_a_sample_are_those_of_its_reply(current: Scene) -> None:
    samples = Kept()

    def ask() -> None:
        client = site.client()
        for qname in ("mail.example.com", "nobody.example.com", "www.example.org"):
            client.send(query_of(qname))
            client.recv(1000)
        wait_until(lambda: len(samples.kept) == 3, "no samples")

    with Site(settings=current.settings, samples=samples) as site:
        with_loop(site, ask)
    assert [flags for *_, flags in samples.kept] == [0x8500, 0x8503, 0x8105]
    for turn, *_ in samples.kept:
        assert turn.snapshot is current.snapshot
        assert (turn.transport, turn.settings) == (UDP, current.settings)


def test_a_share_is_sampled_by_chance(current: Scene) -> None:
    """One in ten of 2,000: 200, of a standard deviation of 13. A and AAAA that come in turns are both among them."""
    samples = Kept(0.1)

    def ask() -> None:
        client = site.client()
        for number in range(2000):
            client.send(query_of("mail.example.com", (1, 28)[number & 1]))
            client.recv(1000)

    with Site(settings=current.settings, samples=samples) as site:
        with_loop(site, ask)
    assert 120 < len(samples.kept) < 280
    kinds = [query[-3] for _, query, *_ in samples.kept]
    assert 0.25 < kinds.count(28) / len(kinds) < 0.75


def test_samples_of_a_snapshot_that_is_long_gone_are_missed_not_mistaken(current: Scene) -> None:
    """And after the rings are empty, no old snapshot is held on to."""
    samples = Kept()
    with Site(settings=current.settings, samples=samples) as site:
        site.reader.start(QUIET)
        client = site.client()
        client.send(QUERY)
        client.recv(1000)
        for _ in range(KEPT - 1):
            publish.publish(current.snapshot, native=current.root)
        assert site.reader.serve_left() == 1
        client.send(QUERY)
        client.recv(1000)
        for _ in range(KEPT):
            publish.publish(current.snapshot, native=current.root)
        assert site.reader.serve_left() == 1
        assert (len(samples.kept), samples.missed) == (1, 1)
        wait_until(lambda: site.reader.sweep() and len(site.reader._published) == 1, "old ones are kept")


class NoLoop:
    """A loop that never looks: `serve_left` is called by the test."""

    def add_reader(self, file: int, callback: object) -> None: ...
    def remove_reader(self, file: int) -> None: ...


QUIET = cast(AbstractEventLoop, NoLoop())


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [("0.0.0.0", ("127.0.0.1", "127.0.0.2", "127.9.9.9")), pytest.param("::", ("::1",), marks=needs_ipv6)],
)
@pytest.mark.parametrize("native", [True, False], ids=["native", "declined"])
def test_a_reply_leaves_from_the_address_that_was_asked(
    scene: Scene, listen: str, addresses: tuple[str, ...], native: bool
) -> None:
    """RFC 1035 4.2.1. A client that is connected takes no reply from elsewhere."""

    def ask() -> None:
        for address in addresses:
            client = site.client(address)
            client.send(QUERY)
            assert client.recv(1000)[:2] == QUERY[:2]

    with published(scene, native=native), Site(listen, settings=scene.settings) as site:
        with_loop(site, ask)


def test_ecs_and_place_of_the_peer_decide(current: Scene) -> None:
    """The draw aside, a reply is for who asked: the subnet, and 10.0.0.0/8 stands where ams stands."""

    def ask() -> None:
        client = site.client()
        client.send(query_of("shy.example.com", opt=opt_of(subnet_of("10.9.8.0/24"))))
        assert socket.inet_aton("192.0.2.60") in client.recv(1000)

    with Site(settings=current.settings) as site:
        with_loop(site, ask)
    (pool,) = [n for n, pool in enumerate(current.snapshot.zones.pools) if pool.service == "shy"]
    assert counted(metrics.POOLS + pool) == 1


def test_more_than_the_ring_holds_is_dropped_and_counted(scene: Scene) -> None:
    """Nobody waits for Python: what is left to it while it has no time is bounded."""
    with published(scene, native=False), Site(settings=scene.settings) as site:
        client = site.client()
        site.reader.start(QUIET)
        for _ in range(2 * RING):
            client.send(QUERY)
        wait_until(lambda: counted(metrics.DROPPED_DECLINED) == RING, "not dropped")
        assert counted(metrics.DECLINED) == RING
        turns = [site.reader.serve_left() for _ in range(RING // BATCH + 1)]
        assert turns == [BATCH] * (RING // BATCH) + [0], "a bounded number at a time"
        for _ in range(RING):
            assert client.recv(1000)[:2] == QUERY[:2]
        assert timed()[0] == RING, "each query is in the histogram once"


def timed() -> tuple[int, int]:
    """Queries in the histogram of UDP, and its sum in nanoseconds."""
    slots = [counted(LATENCY + UDP * LATENCY_STEP + i) for i in range(LATENCY_STEP)]
    return sum(slots[:LATENCY_SUM]), slots[LATENCY_SUM]


def test_the_eventfd_tells_of_whatever_is_in_a_ring(scene: Scene) -> None:
    """Also after it was read with packets left over, and however packets and looks fall together."""
    with published(scene, native=False), Site(threads=2, settings=scene.settings) as site:
        workers = site.reader._workers
        client = site.client()
        site.reader.start(QUIET)
        for count in (1, 1, 100, 1, 64, 65):
            for _ in range(count):
                client.send(QUERY)
            taken = 0
            while taken < count:
                ready, _, _ = select.select([workers.told], [], [], PATIENCE)
                assert ready, f"nobody told of {count - taken} of {count}"
                taken += len(workers.take(BATCH))
            assert workers.take(BATCH) == []


def test_every_query_of_a_batch_counts_with_the_time_of_the_batch(current: Scene) -> None:
    with Site(settings=current.settings) as site:
        client = site.client()
        for _ in range(3):
            client.send(QUERY)
        began = time.perf_counter_ns()
        site.reader.start(QUIET)
        for _ in range(3):
            client.recv(1000)
        wait_until(lambda: timed()[0] == 3, "not counted")
        assert 0 < timed()[1] <= 3 * (time.perf_counter_ns() - began)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can forge a source")
def test_a_reply_that_cannot_be_sent_holds_up_nobody(current: Scene) -> None:
    """A forged query from port 0 in the middle of a batch, and one more at its end."""
    with Site(settings=current.settings) as site:
        client = site.client()
        for number in range(10):
            if number in {4, 9}:
                send_forged(site.bound.port, QUERY)
            client.send(query_of("mail.example.com", ident=number))
        site.reader.start(QUIET)
        assert [client.recv(1000)[1] for _ in range(10)] == list(range(10))
        wait_until(lambda: counted(metrics.SEND_FAILURES) == 2, "not counted")


def send_forged(port: int, query: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.sendto(struct.pack("!4H", 0, port, 8 + len(query), 0) + query, ("127.0.0.1", 0))


def test_silence_and_empty_and_overlong_datagrams(current: Scene) -> None:
    def ask() -> None:
        client = site.client()
        for packet in (b"", b"x", bytes(11), QUERY[:2] + b"\x80" + QUERY[3:], QUERY + bytes(60000), QUERY):
            client.send(packet)
        replies = [client.recv(1000) for _ in range(2)]
        assert [reply[3] & 15 for reply in replies] == [1, 0], "FORMERR for the one that was cut, then an answer"
        assert replies[0] == current.reference((QUERY + bytes(60000))[:QUERY_SIZE], bytes(4), 0, new_tally(100))

    with Site(settings=current.settings) as site:
        with_loop(site, ask)
    assert counted(metrics.DROPPED_SHORT) == 3
    assert counted(metrics.DROPPED_RESPONSE) == 1


def test_a_failure_of_python_is_counted_and_answered_servfail(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def failing(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
        raise ZeroDivisionError("a bug of ours")

    def ask() -> None:
        client = site.client()
        client.send(QUERY)
        assert client.recv(1000) == QUERY[:2] + bytes.fromhex("8102 0000 0000 0000 0000")

    with published(scene, native=False), Site(settings=scene.settings, answering=failing) as site:
        with_loop(site, ask)
        assert counted(metrics.INTERNAL_ERRORS) == 1
    assert "a bug of ours" in caplog.text


def test_one_client_has_all_threads(current: Scene) -> None:
    """400 queries of one flow over four threads: each has 100, of a standard deviation of 9."""

    def ask() -> None:
        client = site.client()
        for _ in range(400):
            client.send(QUERY)
            client.recv(1000)

    with Site(threads=4, settings=current.settings) as site:
        with_loop(site, ask)
        shares = [sum(tally[LATENCY:][:LATENCY_SUM]) for tally in counters().tallies[1:]]
    assert len(shares) == 4
    assert sum(shares) == 400
    assert all(50 < share < 150 for share in shares)


def test_threads_take_no_signals_and_have_a_name(current: Scene) -> None:
    """A signal to the process must wake the loop, wherever the kernel would deliver it."""
    with Site(threads=3, settings=current.settings) as site:
        site.reader.start(QUIET)
        found = find_threads()
        assert len(found) == 3
        for task in found:
            (blocked,) = [line.split()[1] for line in (task / "status").read_text().splitlines() if "SigBlk" in line]
            every = (1 << 64) - 1 - (1 << 8) - (1 << 18) - (3 << 31)  # all but KILL, STOP, and two of the C library's own
            assert int(blocked, 16) & every == every
        site.reader.stop()
        assert find_threads() == []


def find_threads() -> list[Path]:
    tasks = Path("/proc/self/task").iterdir()
    return [task for task in tasks if (task / "comm").read_text().strip() == "geodns-udp"]


def test_pause_leaves_what_waits_in_the_kernel(current: Scene) -> None:
    """For a successor, or for ourselves; what had been declined is answered before."""
    with Site(threads=2, settings=current.settings) as site:
        client = site.client()
        for _ in range(3):
            site.reader.start(QUIET)
            client.send(QUERY)
            client.recv(1000)
            site.reader.pause()
            site.reader.pause()
            for _ in range(10):
                client.send(QUERY)
            successor = rebind(site.bound)
            assert sum(count_waiting(one) for one in successor.group) == 10
            successor.close()


def count_waiting(one: socket.socket) -> int:
    count = 0
    try:
        while one.recv(4096):
            count += 1
    except BlockingIOError:
        return count
    return count


def test_pause_answers_what_was_declined(scene: Scene) -> None:
    with published(scene, native=False), Site(settings=scene.settings) as site:
        client = site.client()
        site.reader.start(QUIET)
        for _ in range(BATCH + 9):
            client.send(QUERY)
        wait_until(lambda: counted(metrics.DECLINED) == BATCH + 9, "not read")
        site.reader.pause()
        for _ in range(BATCH + 9):
            client.recv(1000)


def test_a_successor_reads_on_and_the_old_one_leaves_its_door_open(current: Scene) -> None:
    """Either engine after the other, on the same sockets."""
    with Site(threads=2, settings=current.settings) as site:
        client = site.client()
        site.reader.start(QUIET)
        client.send(QUERY)
        client.recv(1000)
        site.reader.pause()
        client.send(QUERY)
        successor = rebind(site.bound)
        site.reader.leave()
        for reader in (UdpReader(successor, answer, current.settings, n) for n in range(2)):
            reader.serve_batch()
        client.recv(1000)
        native = NativeReader(successor, answer, current.settings)
        client.send(QUERY)
        native.start(QUIET)
        client.recv(1000)
        native.stop()
        successor.tcp.close()


def test_a_socket_that_a_late_successor_wants_without_waits_is_read_on(current: Scene) -> None:
    """O_NONBLOCK belongs to the open file, which a successor that came too late shares: no thread may turn in circles."""
    with Site(settings=current.settings) as site:
        client = site.client()
        site.reader.start(QUIET)
        (task,) = find_threads()
        site.bound.udp.setblocking(False)
        for _ in range(20):
            client.send(QUERY)
            client.recv(1000)
        before = int((task / "schedstat").read_text().split()[0])
        assert select.select([], [], [], 0.1) == ([], [], [])
        spent = int((task / "schedstat").read_text().split()[0]) - before
        assert spent < 20e6, "of 100 ms without a query"
        client.send(QUERY)
        client.recv(1000)


def test_stop_answers_who_is_in_and_tells_who_comes_later(current: Scene) -> None:
    with Site(threads=2, settings=current.settings) as site:
        client = site.client()
        for number in range(4 * BATCH + 7):
            client.send(query_of("mail.example.com", ident=number))
        site.reader.start(QUIET)
        site.reader.stop()
        assert sorted(int.from_bytes(client.recv(1000)[:2], "big") for _ in range(4 * BATCH + 7)) == list(
            range(4 * BATCH + 7)
        )
        client.send(QUERY)
        with pytest.raises(ConnectionRefusedError):
            client.recv(1000)
        assert all(one.fileno() == -1 for one in site.bound.group)


def test_stop_before_start_only_closes(current: Scene) -> None:
    with Site(threads=2, settings=current.settings) as site:
        site.reader.stop()
        assert all(one.fileno() == -1 for one in site.bound.group)


def test_queries_that_the_kernel_threw_away_are_known(current: Scene) -> None:
    with Site(threads=2, settings=current.settings) as site:
        for one in site.bound.group:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = site.client()
        for _ in range(200):
            client.send(bytes(500))
        waiting = sum(count_waiting(one) for one in site.bound.group)
        assert site.reader.dropped == 200 - waiting
        site.reader.stop()
        assert site.reader.dropped is None


def test_a_thousand_publishes_under_load_lose_nothing_and_keep_nothing(scene: Scene) -> None:
    """Flips, and every tenth time other zones: each reply is of one snapshot or another, never of a mixture."""
    down: Health = {("even", "nyc", "198.51.100.40"): Condition(Verdict.DOWN)}
    query = query_of("even.example.com")
    allowed = {each.reference(query, bytes((127, 0, 0, 1)), 0, new_tally(100)) for each in (scene, scene.under(down))}
    assert len(allowed) == 2
    seen: set[bytes] = set()
    stopped = threading.Event()
    asked: list[int] = []

    def ask() -> None:
        while not stopped.is_set():
            for _ in range(8):
                client.send(query)
            for _ in range(8):
                seen.add(client.recv(1000))
            asked.append(8)

    with published(scene), Site(threads=2, settings=scene.settings) as site:
        client = site.client()
        site.reader.start(QUIET)
        asking = threading.Thread(target=ask)
        asking.start()
        served = scene
        for number in range(1000):
            if number % 10 == 0:
                served = scene.anew()
            now = served.under(down if number % 2 else {})
            publish.publish(now.snapshot, native=now.root)
            for _ in publish.sweep():
                pass
            assert site.reader._workers.kept <= 3, "one for each thread, and the one that was replaced last"
        stopped.set()
        asking.join(PATIENCE)
        assert not asking.is_alive(), "a query was lost"
        wait_until(lambda: site.reader.sweep() and site.reader._workers.kept == 0, "old ones are kept")
        assert seen == allowed
        total = counters().read()
        assert sum(map(sum, total.zones.values())) == sum(asked), "no count is lost on the way"


def test_tallies_that_are_too_short_are_refused(scene: Scene) -> None:
    """A thread would count beyond their end."""
    with Site(settings=scene.settings) as site:
        workers = Workers([site.bound.udp.fileno()], False, Rules(scene.settings, UDP))
        with pytest.raises(ValueError, match="a tally has fewer"):
            workers.publish(scene.root, [Tally(metrics.POOLS + scene.root.pools - 1)], 1)
        with pytest.raises(ValueError, match="1 workers count in 0 tallies"):
            workers.publish(scene.root, [], 1)
        with pytest.raises(RuntimeError, match="after the first publish"):
            workers.start()
        workers.publish(scene.root, [Tally(metrics.POOLS + scene.root.pools)], 1)
        with pytest.raises(ValueError, match="no worker 1"):
            workers.send(1, b"", b"", b"")
    with pytest.raises(ValueError, match="rules for UDP"):
        Workers([0], False, Rules(scene.settings, 1))
    with pytest.raises(ValueError, match=r"1\.\.1024 sockets, got 0"):
        Workers([], False, Rules(scene.settings, UDP))

#!/usr/bin/env python3
"""The slowest answers while Prometheus scrapes: the price of making a long page in a thread of the process that answers.

    scrape_stall.py [--zones 200] [--pools 1000] [--rate 2000] [--scrapes 10] [--rests 3]

A server with one UDP reader answers --rate queries a second, each sent without waiting for the one before, while a page of
so many zones, pools and members is made --scrapes times. --rests 0 shows what the pauses between portions are good for.
Told are the slowest answers with and without a scrape under way, and how long a scrape took.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.server.reports import check, member, pool, status
from tests.snapshots import Small, make_pool, make_table

from geodns import publish
from geodns.answer import Settings, answer
from geodns.metrics import Counters
from geodns.server import exposition
from geodns.server.families import Sources
from geodns.server.listen import bind_all
from geodns.server.udp import UdpReader
from geodns.threads import in_thread

NAME = b"\3www\7example\3com\0\0\1\0\1"  # the question's end: www.example.com A


class Client(threading.Thread):
    """Sends at a steady rate from a process's own point of view, and keeps (when, how long) of each answer."""

    def __init__(self, port: int, rate: int) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._rate, self.stopping = rate, False
        self.took: list[tuple[float, float]] = []
        self.unanswered: dict[int, float] = {}

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._socket, selectors.EVENT_READ)
        due, number = time.monotonic(), 0
        while not self.stopping:
            now = time.monotonic()
            if now >= due:
                number, due = (number + 1) & 0xFFFF, due + 1 / self._rate
                self.unanswered[number] = now
                self._socket.send(number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + NAME)
            if selector.select(max(0.0, due - time.monotonic())):
                self._receive()
        if selector.select(1.0):
            self._receive()

    def _receive(self) -> None:
        while True:
            try:
                reply = self._socket.recv(512)
            except BlockingIOError:
                return
            now, sent = time.monotonic(), self.unanswered.pop(int.from_bytes(reply[:2], "big"), None)
            if sent is not None:
                self.took.append((sent, now - sent))


def describe(took: list[float]) -> str:
    took = sorted(took)
    if not took:
        return "none"
    middle, rare, most = (1e3 * value for value in (took[len(took) // 2], took[int(len(took) * 0.999)], took[-1]))
    return f"{len(took)} answers: median {middle:.2f}, 99.9 % {rare:.1f}, slowest {most:.1f} ms"


def make_sources(zones: int, pools: int) -> Sources:
    """A snapshot with the name that the client asks for is made current; the page tells of it and of made-up health."""
    small = Small(datacenters=2)
    table, _ = make_table({"default": [0, 1]}, {}, {})
    services = [
        small.service(f"s{i}", table, {0: make_pool("192.0.2.1"), 1: make_pool("192.0.2.2")}) for i in range(pools // 2)
    ]
    small.zone("example.com.", {"www.example.com.": services[0]})
    for i in range(zones - 1):
        small.zone(f"z{i}.test.", {})
    snapshot = small.snapshot()
    publish.publish(snapshot, Counters(snapshot.zones.zones, snapshot.zones.pools))
    assert publish.current is not None
    shown = tuple(pool(f"s{i}", f"dc{j}", "up", member("192.0.2.1")) for i in range(pools // 2) for j in (0, 1))
    checks = tuple(check(f"c{i}", verdict, 1) for i in range(100) for verdict in ("up", "down", "unknown"))
    return Sources(status(shown), publish.current.counters, checks)


async def serve(options: argparse.Namespace) -> None:
    """Answer, and scrape at each line on stdin; tell on stdout the port, then when each scrape began and ended."""
    exposition.RESTS = options.rests
    sources = make_sources(options.zones, options.pools)
    (bound,) = bind_all([("127.0.0.1", 0)])
    reader = UdpReader(bound, answer, Settings())
    loop = asyncio.get_running_loop()
    reader.start(loop)
    print(bound.port, flush=True)
    lines: asyncio.Queue[str] = asyncio.Queue()
    threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(lines.put_nowait, line) for line in sys.stdin], daemon=True
    ).start()
    for _ in range(options.scrapes):
        await lines.get()
        began = time.monotonic()
        _, octets = await in_thread(exposition.scrape, sources)
        print(began, time.monotonic(), octets.count(b"\n"), flush=True)
    await lines.get()
    reader.stop()


def measure(options: argparse.Namespace) -> None:
    """Scrape a server of its own again and again, and tell what its client saw."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    client = Client(int(server.stdout.readline()), options.rate)
    client.start()
    time.sleep(1)
    scrapes: list[tuple[float, float]] = []
    for _ in range(options.scrapes):
        server.stdin.write("scrape\n")
        server.stdin.flush()
        began, ended, lines = server.stdout.readline().split()
        scrapes.append((float(began), float(ended)))
        time.sleep(0.3)
    client.stopping = True
    client.join()
    server.communicate("end\n")
    under = [took for sent, took in client.took if any(began <= sent <= ended for began, ended in scrapes)]
    rest = [took for sent, took in client.took if not any(began <= sent <= ended for began, ended in scrapes)]
    took = sorted(ended - began for began, ended in scrapes)
    print(f"{lines} lines, {1e3 * took[len(took) // 2]:.0f} ms a scrape")
    print("scraping: ", describe(under))
    print("at rest:  ", describe(rest))
    print("no answer:", len(client.unanswered))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", type=int, default=200)
    parser.add_argument("--pools", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--scrapes", type=int, default=10)
    parser.add_argument("--rests", type=float, default=exposition.RESTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options))
    else:
        measure(options)


if __name__ == "__main__":
    main()

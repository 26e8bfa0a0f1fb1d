"""What a lookup of PowerDNS costs in the daemon: the parts in process, and whole questions over the real unix socket.

    python bench/micro/backend.py [--seconds 0.2] [--rounds 7] [--ranges 450000] [--questions 20000]

The first part prints the least of the rounds, in microseconds a call. The second runs the server in a process of its own and
asks it one question after the other, as PowerDNS does. It prints the CPU time that a question took (user and system; median,
least and most of its rounds), which must not pass 40 us, and how long the asker waited.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.micro.data_plane import make_world, measure

from geodns import metrics, publish
from geodns.answer import Settings
from geodns.server.backend import BackendServer
from geodns.server.listen import bind_backend
from geodns.server.pdns_answer import find_records, parse_client, parse_qname
from geodns.server.pdns_lookup import CurrentLookup
from geodns.server.pdns_pipe import PipeSession
from geodns.server.pdns_remote import RemoteSession
from geodns.wire.constants import ANY

CLIENTS = 1 << 12
ROUNDS = 5  # of the questions over the socket
REMOTE = (
    '{"method": "lookup", "parameters": {"local": "127.0.0.1", "qname": "%s.example.com.", "qtype": "ANY", '
    '"real-remote": "%s/24", "remote": "%s", "zone-id": 1}}'
)


def make_lines(name: str) -> dict[str, list[bytes]]:
    """Questions for *name* by protocol, each from another client."""
    chance = random.Random(2)
    clients = [
        f"{chance.randrange(1, 223)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"
        for _ in range(CLIENTS)
    ]
    pipe = [f"Q\t{name}.example.com\tIN\tANY\t1\t{a}\t127.0.0.1\t{a.rpartition('.')[0]}.0/24".encode() for a in clients]
    return {"pipe": pipe, "remote": [(REMOTE % (name, a.rpartition(".")[0] + ".0", a)).encode() for a in clients]}


def answer_one(session: PipeSession | RemoteSession, lines: list[bytes], i: int) -> object:
    return session.answer(lines[i & CLIENTS - 1])


def measure_parts(seconds: float, rounds: int) -> None:
    current = publish.current
    assert current is not None
    snapshot, name = current.snapshot, parse_qname("www.example.com")
    assert name is not None
    client = parse_client("192.0.2.1", "198.51.100.0/24")
    lookup = CurrentLookup(0, Settings(), list)
    pipe, remote = PipeSession(lookup), RemoteSession(lookup)
    pipe.answer(b"HELO\t5")
    calls: dict[str, Callable[[int], object]] = {
        "parse_qname": lambda i: parse_qname("www.example.com"),
        "parse_client": lambda i: parse_client("192.0.2.1", "198.51.100.0/24"),
        "find_records": lambda i: find_records(snapshot, name, ANY, client, i),
    }
    for text in ("www", "two", "static", "nobody"):
        lines = make_lines(text)
        calls[f"a line, pipe: {text}"] = partial(answer_one, pipe, lines["pipe"])
        calls[f"a line, remote: {text}"] = partial(answer_one, remote, lines["remote"])
    for label, call in calls.items():
        print(f"{label:28} {measure(call, seconds, rounds) / 1000:8.1f} us")


def serve(path: Path, told: int) -> None:
    """Serve until the asker closes; then write the CPU seconds that it took."""

    async def run() -> float:
        server = BackendServer(Settings(), lambda: 0.0)
        await server.start(bind_backend(path, None, 0o600))
        os.write(told, b"r")
        while not server.clients:
            await asyncio.sleep(0.01)
        before = process_time()
        while server.clients:
            await asyncio.sleep(0.2)
        return process_time() - before

    os.write(told, f"{asyncio.run(run())}".encode())


def ask(path: Path, lines: list[bytes], questions: int, greeting: bytes, end: bytes) -> float:
    """Ask *questions*, one after the other; returns the seconds that it took."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        if greeting:
            asking.sendall(greeting)
            asking.recv(1 << 16)
        began = perf_counter()
        for i in range(questions):
            asking.sendall(lines[i & CLIENTS - 1] + b"\n")
            while not asking.recv(1 << 16).endswith(end):
                pass
        return perf_counter() - began


def measure_socket(questions: int) -> None:
    for text in ("www", "static"):
        for label, (greeting, end) in {"pipe": (b"HELO\t5\n", b"END\n"), "remote": (b"", b"}\n")}.items():
            costs, waits = [], []
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder, "backend.sock")
                    reading, told = os.pipe()
                    if not (child := os.fork()):
                        serve(path, told)
                        os._exit(0)
                    os.close(told)
                    os.read(reading, 1)
                    waits.append(ask(path, make_lines(text)[label], questions, greeting, end) / questions * 1e6)
                    costs.append(float(os.read(reading, 100)) / questions * 1e6)
                    os.close(reading)
                    os.waitpid(child, 0)
            costs.sort(), waits.sort()
            middle = ROUNDS // 2
            print(
                f"over the socket, {label}: {text:8} {costs[middle]:6.1f} us of CPU ({costs[0]:.1f}..{costs[-1]:.1f}), "
                f"{waits[middle]:.0f} us later"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each round of the parts")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ranges", type=int, default=450_000)
    parser.add_argument("--questions", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {options.ranges} ranges")
    snapshot = make_world(options.ranges)
    publish.current = publish.Current(snapshot, metrics.Counters(snapshot.zones.zones, snapshot.zones.pools))
    measure_parts(options.seconds, options.rounds)
    measure_socket(options.questions)


if __name__ == "__main__":
    main()

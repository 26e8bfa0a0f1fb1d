#!/usr/bin/env python3
"""publish() a thousand times a second under load: is an answer ever wrong, does memory grow, is a query lost?

    native_publish.py [--minutes 10] [--publishes 1000] [--rate N] [--names 100000]

A process pinned to CPU 0 serves twelve datacenters on the full GeoLite2 City with --names names by the native engine, and
publishes new choices all the time, in turn with ten and with seven members of each pool up. `load/loadgen` on CPU 1 offers
--rate queries a second in open loop: without it half of what the process was measured to answer, at most 50,000. Beside it a
client asks for all members: they must be the ten or the seven of the datacenter that the reference names for its subnet,
and of one TTL. Resident size is read every second; the medians of the second and the last quarter of the time are compared.
The exit code is 1 where an answer was wrong, a query was lost or dropped, publishes were too few, or memory grew by more
than a megabyte.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dns.edns
import dns.message
import dns.rdatatype
from bench.load import compare
from bench.reload_stall import MOST, SITES, end_load, write_members, write_zone

SUBNETS = 500  # that the checking client draws from
DOWN = 3  # members of each pool, the last ones, every other time
GROWTH = 1.0  # megabytes
BURST = 20  # publishes in one turn of the loop, when it is behind
GEO = ["--name", "www.example.com", "--ecs", "--patience", "1000", "--grace", "2"]


def write_config(folder: Path, names: int) -> Path:
    datacenters = "\n".join(f"  {name}: {{coordinates: [{lat}, {lon}]}}" for name, (lat, lon) in SITES.items())
    pools = ", ".join(f"{name}: [{', '.join(write_members(number))}]" for number, name in enumerate(SITES, 1))
    write_zone(folder, names)
    path = folder / "geodns.yaml"
    path.write_text(f"""
geoip: {{database: {compare.database(None)}}}
datacenters:
{datacenters}
services:
  www: {{check: off, pools: {{{pools}}}}}
  every: {{check: off, answers: all, pools: {{{pools}}}}}
zones:
  example.com: {{file: example.com.zone, records: {{www: {{service: www}}, every: {{service: every}}}}}}
""")
    return path


def make_query(subnet: str, number: int) -> bytes:
    option = dns.edns.ECSOption(subnet, 24)
    return dns.message.make_query("every.example.com", "A", use_edns=0, options=[option], id=number).to_wire()


def read_addresses(reply: bytes) -> tuple[int, frozenset[str]]:
    """TTL and addresses of a reply."""
    (rrset,) = dns.message.from_wire(reply).answer
    return rrset.ttl, frozenset(record.address for record in rrset)


def read_resident() -> float:
    """Megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def serve(pipe: Connection, config: Path, publishes: int) -> None:
    """Serve, and publish from "go" to "stop"; every second tell how things are."""
    from tests.native.threads import Scene

    from geodns import publish
    from geodns.answer import answer
    from geodns.compiler.build import assemble, build
    from geodns.health.state import Condition, Health, Verdict
    from geodns.image_choices import write_choices
    from geodns.metrics import new_tally
    from geodns.native.tables import Root
    from geodns.server.listen import bind_all
    from geodns.server.native_udp import NativeReader
    from geodns.settings import make_settings

    built = build(config, None)
    snapshot = assemble(built)
    root = Root(built.maps, built.zones, write_choices(snapshot.choices, snapshot.zones))
    scene = Scene(built, snapshot, root, make_settings(built.loaded.config.server))
    down = Condition(Verdict.DOWN)
    worse: Health = {
        (service, name, member): down
        for service in ("www", "every")
        for number, name in enumerate(SITES, 1)
        for member in write_members(number)[-DOWN:]
    }
    states: tuple[Health, Health] = {}, worse
    chance, expected = random.Random(1), {}
    turns = [scene.under(state) for state in states]
    for _ in range(SUBNETS):
        subnet = f"{chance.randrange(1, 223)}.{chance.randrange(256)}.{chance.randrange(256)}.0"
        replies = [turn.reference(make_query(subnet, 1), b"\x7f\0\0\1", 0, new_tally(100)) for turn in turns]
        expected[subnet] = [read_addresses(reply) for reply in replies if reply]
    blocks = [(turn.snapshot.choices, write_choices(turn.snapshot.choices, snapshot.zones)) for turn in turns]
    publish.publish(snapshot, native=root)
    (bound,) = bind_all([("127.0.0.1", 0)], 1)
    reader = NativeReader(bound, answer, scene.settings)
    gc.collect()
    gc.freeze()

    async def run() -> None:
        reader.start(asyncio.get_running_loop())
        pipe.send({"port": bound.port, "pid": os.getpid(), "expected": expected})
        while not pipe.poll():
            await asyncio.sleep(0.01)
        began, done, kept = time.monotonic(), 0, 0
        resident: list[float] = []  # each second; told at the end, since nobody reads the pipe before
        pipe.recv()
        while not pipe.poll():
            due = int((time.monotonic() - began) * publishes)
            for number in range(done, min(due, done + BURST)):
                choices, block = blocks[number % 2]
                publish.publish(replace(snapshot, choices=choices), native=root.with_choices(bytes(bytearray(block))))
                for _ in publish.sweep():
                    pass
                done = number + 1
            kept = max(kept, reader._workers.kept)
            if time.monotonic() - began > len(resident) + 1:
                resident.append(read_resident())
            await asyncio.sleep(0.0005)
        pipe.recv()
        took = time.monotonic() - began
        pipe.send({"publishes": done, "seconds": took, "kept": kept, "dropped": reader.dropped, "resident": resident})
        pipe.recv()
        reader.stop()

    asyncio.run(run())
    bound.close()


def check(pipe: Connection, port: int, expected: dict[str, list[tuple[int, frozenset[str]]]]) -> None:
    """Ask for all members again and again, until told to stop; then tell how often and what was wrong."""
    chance, asked, wrong, seen = random.Random(2), 0, [], [0, 0]
    subnets = list(expected)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", port))
        while not pipe.poll(0.002):
            subnet = chance.choice(subnets)
            asked += 1
            client.send(make_query(subnet, asked & 0xFFFF))
            try:
                reply = client.recv(4096)
            except TimeoutError:
                wrong.append(f"{subnet}: no answer")
                continue
            found = read_addresses(reply)
            if found in expected[subnet]:
                seen[expected[subnet].index(found)] += 1
            else:
                wrong.append(f"{subnet}: {reply.hex()}")
    pipe.send({"asked": asked, "wrong": wrong, "seen": seen})


def start_load(port: int, pid: int, *more: str) -> subprocess.Popen[str]:
    command = ["taskset", "-c", "1", compare.build("loadgen"), "--port", str(port), "--pid", str(pid), *GEO, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(pipe: Connection, options: argparse.Namespace) -> list[str]:
    """What is not as it should be."""
    served = pipe.recv()
    port, pid = served["port"], served["pid"]
    capacity = end_load(start_load(port, pid, "--seconds", "2"))["per_second"]
    rate = options.rate or int(min(capacity / 2, MOST))
    print(f"answers {capacity} a second at most; offered from now on: {rate}")
    ours, theirs = get_context("spawn").Pipe()
    checker = get_context("spawn").Process(target=check, args=(theirs, port, served["expected"]))
    checker.start()
    os.sched_setaffinity(checker.pid or 0, {0})
    pipe.send("go")
    load = start_load(port, pid, "--rate", str(rate), "--seconds", str(60 * options.minutes))
    figures = end_load(load)
    ours.send("stop")
    pipe.send("stop")
    said = pipe.recv()
    checked = ours.recv()
    pipe.send("end")
    checker.join()
    return judge(figures, checked, said, options.publishes)


def judge(figures: dict[str, Any], checked: dict[str, Any], served: dict[str, Any], publishes: int) -> list[str]:
    resident = served["resident"]
    quarter = max(1, len(resident) // 4)
    before, after = statistics.median(resident[quarter : 2 * quarter] or resident), statistics.median(resident[-quarter:])
    faults = {name: figures[name] for name in ("wrong", "bad", "unexpected", "lost")}
    print(
        f"{served['publishes']} publishes in {served['seconds']:.0f} s, at most {served['kept']} kept beside the current one"
    )
    print(f"{figures['sent']} queries: {faults}, dropped by the kernel: {served['dropped']}")
    slowest, behind = figures["latency_us"]["max"] / 1e3, figures["behind_us"] / 1e3
    print(f"slowest answer {slowest:.1f} ms, generator behind by at most {behind:.1f} ms")
    print(f"{checked['asked']} checked in full, {checked['seen']} under each health, {len(checked['wrong'])} wrong")
    span = f"{min(resident):.1f} to {max(resident):.1f}"
    print(f"resident {before:.1f} MB in the second quarter, {after:.1f} in the last, {span} in all")
    found = [f"{count} {name}" for name, count in faults.items() if count]
    found += checked["wrong"][:5]
    if served["dropped"]:
        found.append(f"{served['dropped']} dropped")
    if served["publishes"] < 0.99 * publishes * served["seconds"]:
        found.append(f"{publishes} publishes a second were asked for")
    if min(checked["seen"]) == 0:
        found.append("one of the two states was never seen")
    if after - before > GROWTH:
        found.append(f"memory grew by {after - before:.1f} MB")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--publishes", type=int, default=1000, help="a second")
    parser.add_argument("--rate", type=int)
    parser.add_argument("--names", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options.names)
        ours, theirs = get_context("spawn").Pipe()
        server = get_context("spawn").Process(target=serve, args=(theirs, config, options.publishes))
        server.start()
        os.sched_setaffinity(server.pid or 0, {0})
        theirs.close()
        try:
            found = measure(ours, options)
        finally:
            server.join(10)
            server.terminate()
    for line in found:
        print(f"fault: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""What each step of a query costs: parse, find_range, pick, find, and answer by workload, on a snapshot made by hand.

    python bench/micro/data_plane.py [--seconds 0.2] [--rounds 7] [--ranges 450000]

Prints the least of the rounds, in nanoseconds a call, the loop's own price taken off: other work on the machine only ever
adds. The table has as many ranges as GeoLite2 City gives for a few datacenters, and clients are drawn over all of it.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.snapshots import Small, make_pool, opt_of, peer_of, query_of, subnet_of

from geodns.answer import UDP, Settings, Turn, answer
from geodns.lookup import decide, find, find_order
from geodns.metrics import new_tally
from geodns.pick import pick_members, rank_sticky
from geodns.ranges import V4_SHIFT, V6_SHIFT, build_index, find_range
from geodns.snapshot import FIRST_ROW, Ranges, Snapshot, Table
from geodns.wire.constants import AAAA, A
from geodns.wire.message import parse_plain, parse_query

CLIENTS = 1 << 12


def random_ranges(count: int, bits: int, orders: int, chance: random.Random) -> Ranges:
    """*count* ranges with one of *orders* plain orders each."""
    top, shift = (1 << 32, V4_SHIFT) if bits == 32 else (1 << 64, V6_SHIFT)
    starts = array("I" if bits == 32 else "Q", sorted({0, *(chance.randrange(top) for _ in range(count - 1))}))
    numbers = array("I", (FIRST_ROW + chance.randrange(orders) for _ in starts))
    return Ranges(memoryview(starts), memoryview(numbers), memoryview(array("I", build_index(starts, shift))))


def make_world(ranges: int) -> Snapshot:
    """Four datacenters, 24 orders, one service, a static name."""
    chance = random.Random(1)
    rows, steps = array("I", [0, 4, 4, 4]), array("H", [0, 1, 2, 3])
    for _ in range(24):
        steps.extend(chance.sample(range(4), 4))
        rows.append(len(steps))
    table = Table(
        "world", random_ranges(ranges, 32, 24, chance), random_ranges(ranges, 128, 24, chance),
        memoryview(rows), memoryview(steps), memoryview(array("I", [1, 1, 1, 1])), FIRST_ROW, False,
    )  # fmt: skip
    small = Small(datacenters=4)
    www = small.service("www", table, {i: make_pool(f"192.0.2.{i + 1}") for i in range(4)})
    two = small.service("two", table, {i: make_pool(f"192.0.2.{i + 1}", f"192.0.2.{i + 11}") for i in range(4)})
    small.zone(
        "example.com.",
        {"www.example.com.": www, "two.example.com.": two, "static.example.com.": {A: [bytes((192, 0, 2, 9))]}},
    )
    return small.snapshot()


def measure(call: Callable[[int], object], seconds: float, rounds: int) -> float:
    """Nanoseconds a call, the least of *rounds*; *call* is given a number that changes."""
    count = 1000
    while True:
        start = perf_counter_ns()
        for i in range(count):
            call(i)
        if perf_counter_ns() - start > seconds * 1e9 / 4:
            break
        count *= 2
    best = float("inf")
    for _ in range(rounds):
        start = perf_counter_ns()
        for i in range(count):
            call(i)
        best = min(best, (perf_counter_ns() - start) / count)
    return best


def workloads(snapshot: Snapshot) -> dict[str, Callable[[int], object]]:
    """What is measured, by name."""
    chance = random.Random(2)
    draws = [chance.getrandbits(64) for _ in range(CLIENTS)]
    v4 = [chance.randrange(1 << 24, 223 << 24) for _ in range(CLIENTS)]
    v6 = [chance.getrandbits(128) for _ in range(CLIENTS)]
    peers = [address.to_bytes(4, "big") for address in v4]
    subnets = [opt_of(subnet_of(f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.0/24")) for a in v4]
    ecs = [query_of("www.example.com.", opt=opt) for opt in subnets]
    absent = [query_of(f"{draw & 0xFFFFFFFF:08x}.example.com.") for draw in draws]
    turn = Turn(snapshot, UDP, Settings(), 0.0, new_tally(len(snapshot.zones.pools)))
    www, two, static = (query_of(f"{label}.example.com.") for label in ("www", "two", "static"))
    bare, six, foreign = query_of("www.example.com.", opt=opt_of()), query_of("www.example.com.", AAAA), query_of("a.test.")
    table, clients = snapshot.maps.tables[0], [(0, 0, 0, 32, address) for address in v4]
    service, owner, peer = snapshot.zones.services[0], b"\x03www\x07example\x03com\x00", peer_of("192.0.2.1")
    choice = snapshot.choices.pools[4].slots[A]
    mask = CLIENTS - 1
    return {
        "(the loop)": lambda i: i & mask,
        "parse_plain": lambda i: parse_plain(www),
        "parse_plain, ECS": lambda i: parse_plain(ecs[i & mask]),
        "parse_query, ECS": lambda i: parse_query(ecs[i & mask]),
        "find_range, IPv4": lambda i: find_range(table.v4, v4[i & mask], 16, 32),
        "find_range, IPv6": lambda i: find_range(table.v6, v6[i & mask] >> 64, 48, 64),
        "find_order": lambda i: find_order(table, clients[i & mask], 0, 0),
        "decide": lambda i: decide(snapshot, service, clients[i & mask], draws[i & mask]),
        "pick_members, 1 of 2": lambda i: pick_members(choice, 1, draws[i & mask]),
        "pick_members, 2 of 2": lambda i: pick_members(choice, 2, draws[i & mask]),
        "rank_sticky, 2": lambda i: rank_sticky(choice.keys, (1, 1), v4[i & mask]),
        "find": lambda i: find(snapshot, owner, A, clients[i & mask], draws[i & mask]),
        "answer: geo, no ECS": lambda i: answer(turn, www, peers[i & mask], draws[i & mask]),
        "answer: geo, EDNS": lambda i: answer(turn, bare, peers[i & mask], draws[i & mask]),
        "answer: geo, random ECS": lambda i: answer(turn, ecs[i & mask], peer, draws[i & mask]),
        "answer: geo, 1 of 2": lambda i: answer(turn, two, peers[i & mask], draws[i & mask]),
        "answer: static": lambda i: answer(turn, static, peers[i & mask], draws[i & mask]),
        "answer: random NXDOMAIN": lambda i: answer(turn, absent[i & mask], peers[i & mask], draws[i & mask]),
        "answer: NODATA of a service": lambda i: answer(turn, six, peers[i & mask], draws[i & mask]),
        "answer: REFUSED": lambda i: answer(turn, foreign, peers[i & mask], draws[i & mask]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ranges", type=int, default=450_000)
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {options.ranges} ranges")
    loop = 0.0
    for label, call in workloads(make_world(options.ranges)).items():
        cost = measure(call, options.seconds, options.rounds)
        if not loop:
            loop = cost
        print(f"{label:32} {cost - loop if call is not None and loop != cost else cost:8.0f} ns")


if __name__ == "__main__":
    main()

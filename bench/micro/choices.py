"""What a health event costs: one pool rebuilt, with one of its members down.

    python bench/micro/choices.py [--rounds 200]

Prints the least of the rounds in milliseconds: other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
from time import perf_counter

from geodns.compiler.choices import build_pool
from geodns.health.state import Condition, Verdict
from geodns.snapshot import Member, PoolPlan
from geodns.wire.constants import AAAA, A


def make_plan(members: int, types: int) -> PoolPlan:
    """A pool of addresses, half of them IPv6 where there are two *types*."""
    found = []
    for i in range(members):
        v6 = types > 1 and i % 2
        rdata = i.to_bytes(16 if v6 else 4, "big")
        found.append(Member(AAAA if v6 else A, rdata, 1 + i % 3, i, False, f"member {i}"))
    return PoolPlan("www", "ams", tuple(found), 500_000, 5, 60)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    for members in (2, 10, 100, 10_000):
        for types in (1, 2):
            plan = make_plan(members, types)
            health = {("www", "ams", member.text): Condition(until_flip=10.0) for member in plan.members}
            health["www", "ams", "member 1"] = Condition(Verdict.DOWN)
            least = float("inf")
            for _ in range(rounds):
                began = perf_counter()
                build_pool(plan, health)
                least = min(least, perf_counter() - began)
            print(f"{members:6} members of {types} types  {least * 1e3:8.3f} ms")


if __name__ == "__main__":
    main()

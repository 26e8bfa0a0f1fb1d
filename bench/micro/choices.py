"""What a health event costs: one pool rebuilt, with one of its members down.

    python bench/micro/choices.py [--rounds 200]

Prints the least of the rounds in milliseconds (other work on the machine only ever adds): with all others plainly up, and
with a streak and a weight of their own for all others, which is the most that health can say.
"""

from __future__ import annotations

import argparse
from time import perf_counter

from geodns.compiler.choices import build_pool
from geodns.health.state import Condition, Health, Verdict
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
            calm = {("www", "ams", "member 1"): Condition(Verdict.DOWN)}
            storm = {("www", "ams", member.text): Condition(until_flip=10.0, weight=2) for member in plan.members} | calm
            least = [min(measure(plan, health) for _ in range(rounds)) for health in (calm, storm)]
            print(f"{members:6} members of {types} types  {least[0] * 1e3:8.3f} ms  {least[1] * 1e3:8.3f} ms")


def measure(plan: PoolPlan, health: Health) -> float:
    """Seconds for one rebuild."""
    began = perf_counter()
    build_pool(plan, health)
    return perf_counter() - began


if __name__ == "__main__":
    main()

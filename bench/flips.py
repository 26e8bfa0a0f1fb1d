#!/usr/bin/env python3
"""From a verdict to the answers: a lone flip when the daemon is idle, and what is left for queries in a storm of flips.

    flips.py [--members 10000] [--rounds 200] [--storm 3] [--engine pure|native]

Ten thousand members in a thousand pools of fifty datacenters, all in one event loop with what reads UDP in the daemon: the
loop itself for the reference, threads for the native engine; both are measured one after the other, unless one is named. A
lone flip is heard as the prober's outcome and timed until its snapshot is published (and with it the form that the native
engine reads); then 1,000 flips a second of members drawn by chance, while a client asks every 2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.test_flips import Running, asking, in_loop, running
from tests.world import write_world

from geodns import engine
from geodns.compiler.build import assemble, build
from geodns.flips import PACE
from geodns.health.state import Verdict
from geodns.health.targets import build_targets

POOLS = 1000
ENGINES = (engine.PURE, engine.NATIVE)


def write_config(folder: Path, members: int) -> Path:
    (folder / "world.mmdb").write_bytes(write_world({"0.0.0.0/1": {"country": "US", "coordinates": [40.0, -75.0]}}))
    datacenters = "\n".join(f"  dc{number}: {{coordinates: [{number - 25}, {3 * number}]}}" for number in range(50))
    lines = []
    for service in range(POOLS // 50):
        pools = ", ".join(f"dc{dc}: [{', '.join(write_members(service, dc, members // POOLS))}]" for dc in range(50))
        lines.append(f"  w{service}: {{check: web, pools: {{{pools}}}}}")
    services, records = "\n".join(lines), ", ".join(f"w{number}: {{service: w{number}}}" for number in range(POOLS // 50))
    path = folder / "geodns.yaml"
    path.write_text(f"""
geoip: {{database: world.mmdb}}
datacenters:
{datacenters}
checks: {{web: {{type: tcp, port: 80, rise: 1, fall: 1}}}}
services:
{services}
zones: {{example.com: {{ns: [ns1.example.net.], records: {{{records}}}}}}}
""")
    return path


def write_members(service: int, datacenter: int, count: int) -> list[str]:
    return [f"10.{service}.{datacenter}.{number + 1}" for number in range(count)]


def describe(seconds: list[float]) -> str:
    took = sorted(1e3 * one for one in seconds)
    return f"median {took[len(took) // 2]:.2f}, 99 % {took[int(len(took) * 0.99)]:.2f}, slowest {took[-1]:.2f} ms"


async def flip_alone(run: Running, rounds: int) -> None:
    heard, published = [], []
    for number in range(rounds):
        await asyncio.sleep(1.5 * PACE)
        target = run.targets[number % len(run.targets)]
        run.published.clear()
        began = time.monotonic()
        run.say([target], Verdict.UP if number >= len(run.targets) else Verdict.DOWN)
        heard.append(time.monotonic() - began)
        while not run.published:
            await asyncio.sleep(0)
        published.append(run.published[0][0] - began)
    print(f"lone flips, {rounds} of {len(run.targets)} members in {POOLS} pools")
    print("  heard:               ", describe(heard))
    print("  heard and published: ", describe(published))


async def storm(run: Running, seconds: float, seed: int) -> None:
    rng, down = random.Random(seed), set[str]()
    run.published.clear()
    flipped, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        while flipped < (now - began) * 1000:
            target = rng.choice(run.targets)
            run.say([target], Verdict.UP if target.key in down else Verdict.DOWN)
            down ^= {target.key}
            flipped += 1
        await asyncio.sleep(0.001)
    rate = len(run.published) / seconds
    print(f"storm: {flipped} flips in {seconds:g} s, {rate:.1f} publishes a second, seed {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--storm", type=float, default=3.0)
    parser.add_argument("--engine", choices=ENGINES)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()])
    with tempfile.TemporaryDirectory() as name:
        built = build(write_config(Path(name), options.members), None)
    scene = built, assemble(built), build_targets(built.loaded.config)

    for name in (options.engine,) if options.engine else ENGINES:
        native = None if name == engine.PURE else engine.load()
        if native is None and name == engine.NATIVE:
            sys.exit("the native engine is not built (make test builds it)")

        async def work(native: engine.Native | None = native) -> None:
            async with running(scene, native=native) as run:
                gc.freeze()  # as after each load
                await flip_alone(run, options.rounds)
                async with asking(built, native) as asked:
                    await storm(run, options.storm, random.randrange(1 << 32))
                print(f"  {asked.answered} of {asked.sent} queries answered, slowest after {1e3 * asked.slowest:.1f} ms")

        print(f"== {name}")
        in_loop(work)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

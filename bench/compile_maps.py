"""CPU and peak memory of compiling a map, each in a child of its own.

    python bench/compile_maps.py DATABASE... [--sites 12] [--asn FILE] [--rules] [--repeat 3] [--profile] [--same]

Prints one line a run: user + system seconds of the child, its imports included, and of `build_maps` alone; its peak resident
size; ranges and orders of the table. With --same each run is one natively and one by the reference (GEODNS_PURE=1), and the
exit status is 1 unless the blocks of all are the same octets. `builtin` is the packaged file.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geodns import engine

# Public positions of cities that cloud providers name regions after; the first 3, 6 and 12 are the usual sets.
CITIES = {
    "iad": (38.95, -77.45),
    "fra": (50.11, 8.68),
    "sin": (1.35, 103.82),
    "sjc": (37.34, -121.89),
    "gru": (-23.55, -46.63),
    "syd": (-33.87, 151.21),
    "dfw": (32.78, -96.80),
    "lhr": (51.51, -0.13),
    "nrt": (35.68, 139.69),
    "bom": (19.08, 72.88),
    "jnb": (-26.20, 28.05),
    "hkg": (22.32, 114.17),
}
RULES = [
    {"network": ["192.0.2.0/24", "2001:db8::/32"], "order": [[["fra", 1]]]},
    {"asn": [3320, 7922, 4134, 15169, 13335], "order": [[["fra", 1]], [["iad", 1]]]},
    {"country": ["NO", "SE", "FI"], "order": [[["lhr", 1]]]},
    {"subdivision": ["US-CA", "CA-BC"], "order": [[["sjc", 70], ["dfw", 30]], [["iad", 1]]]},
    {"continent": ["SA"], "order": [[["gru", 1]]], "only": True},
]


def compile_once(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compile in this process; what it took and what came out."""
    from geodns.compiler.maps import build_maps
    from geodns.compiler.naming import name_parts
    from geodns.config.model import Config, Datacenter, Geoip, Map, Rule, Server
    from geodns.geo.builtin import database_path
    from geodns.geo.place import Sources
    from geodns.image_maps import read_maps

    sites = dict(list(CITIES.items())[: arguments.sites])
    rules = tuple(Rule.model_validate(rule) for rule in RULES) if arguments.rules else ()
    datacenters = {name: Datacenter.model_construct(coordinates=where, bias=0, drain=False) for name, where in sites.items()}
    config = Config.model_construct(
        server=Server.model_construct(),
        geoip=Geoip.model_construct(database=(), asn=None, networks={}, networks_file=None),
        datacenters=datacenters,
        maps={"world": Map.model_construct(rules=rules, nearest=True, depth=len(sites), default=())},
        services={},
        zones={},
    )
    asn = Path(arguments.asn) if arguments.asn else None
    sources = Sources(tuple(database_path() if name == "builtin" else Path(name) for name in arguments.databases), asn)
    build: Callable[[], bytes] = lambda: build_maps(config, name_parts(config), sources)  # noqa: E731
    before = time.process_time()
    if arguments.profile:
        with cProfile.Profile() as profile:
            block = build()
        profile.print_stats("tottime")
    else:
        block = build()
    spent, usage = time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF)
    table = read_maps(block, "bench").tables[0]
    return {
        "build": spent,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss // 1024,
        "block": len(block),
        "digest": hashlib.blake2b(block, digest_size=8).hexdigest(),
        "v4": len(table.v4.starts),
        "v6": len(table.v6.starts),
        "orders": len(table.rows) - 1,
    }


def run(name: str) -> dict[str, Any]:
    """One run of the engine called *name*, in a child; printed."""
    environ = os.environ | {"GEODNS_PURE": "1" if name == engine.PURE else ""}
    command = [sys.executable, __file__, "--child", *sys.argv[1:]]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ)
    found: dict[str, Any] = json.loads(done.stdout)
    print("{}: cpu {cpu:.2f} s (build {build:.2f} s), peak {peak} MB, block {block} octets".format(name, **found), end="; ")
    print("digest {digest}; {v4} + {v6} ranges, {orders} orders".format(**found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs="+")
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--asn")
    parser.add_argument("--rules", action="store_true", help="network, AS number, country, subdivision, continent")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--same", action="store_true", help="natively and by the reference: is it the same?")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child or arguments.profile:
        print(json.dumps(compile_once(arguments)))
        return
    engines = ("native", "pure") if arguments.same else (engine.name(),)
    runs = [run(name) for _ in range(arguments.repeat) for name in engines]
    if arguments.same:
        sys.exit(len({run["digest"] for run in runs}) > 1)
    cpu = sorted(run["cpu"] for run in runs)
    peak = max(run["peak"] for run in runs)
    print(f"median {statistics.median(cpu):.2f} s of CPU ({cpu[0]:.2f} .. {cpu[-1]:.2f}), peak {peak} MB")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What a start costs: from exec to the first answer, CPU time of the daemon and its children, and their memory.

    python bench/second_start.py [--cold] [--database FILE] [--sites 4] [--rounds 9] [--most SECONDS] [--memory MB]

One service over the first of the sites that compile_maps.py names, HTTP and control socket as by default; state and images
lie in a folder of its own. The first start compiles the maps and keeps the image, all others find it; with --cold each start
has another folder and compiles. A client asks from the moment of exec; the daemon is told to end when the first answer has
come. CPU is what the kernel charges to the process and to the children that it waited for, imports included, so also the
little that the end costs. Memory is the peak of the largest process, as the kernel has it, and of all at once, looked at
every 5 ms, where pages that they share count for each. Exit status 1 if the median CPU is above --most (1.5; cold: 2.5), or
the peak of all at once in any round above --memory (250).
"""

from __future__ import annotations

import argparse
import os
import platform
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.compile_maps import CITIES

from geodns import __version__, engine

QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"
LOOK = 0.005  # seconds between two looks at the processes
MOST_SECONDS = 60
PAGE = os.sysconf("SC_PAGE_SIZE")


class Start(NamedTuple):
    """What one start took: seconds, CPU seconds, megabytes."""

    wall: float
    cpu: float
    one: float
    all: float


def write_config(folder: Path, dns: int, http: int, options: argparse.Namespace) -> Path:
    """The configuration of a start, whose state lies in *folder*, on these ports."""
    sites = list(CITIES.items())[: options.sites]
    lines = [
        f'server: {{listen: ["127.0.0.1:{dns}"], state: {folder}/state, http: 127.0.0.1:{http}}}',
        f"geoip: {{database: {options.database}}}",
        "datacenters:",
        *(f"  {name}: {{coordinates: [{latitude}, {longitude}]}}" for name, (latitude, longitude) in sites),
        "services:",
        "  www:",
        "    check: off",
        "    pools:",
        *(f"      {name}: [192.0.2.{number}]" for number, (name, _) in enumerate(sites, 1)),
        "zones:",
        "  example.com: {ns: [ns1], records: {www: {service: www}, ns1: {A: 192.0.2.53}}}",
    ]
    path = folder / "geodns.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def find_ports() -> tuple[int, int]:
    """Two that are free."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def start(folder: Path, options: argparse.Namespace) -> Start:
    """One start, up to the first answer, with what *folder* holds from starts before."""
    dns, http = find_ports()
    command = [sys.executable, "-m", "geodns", "serve", "-c", str(write_config(folder, dns, http, options))]
    log = folder / "log"
    with log.open("w") as lines:
        began = time.monotonic()
        daemon = subprocess.Popen(command, stderr=lines)
    most = ask(daemon, dns, began + MOST_SECONDS)
    seconds = time.monotonic() - began
    daemon.terminate()
    _, status, used = os.wait4(daemon.pid, 0)
    daemon.returncode = os.waitstatus_to_exitcode(status)
    if most is None:
        sys.exit(f"no answer:\n{log.read_text()}")
    return Start(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, most)


def ask(daemon: subprocess.Popen[bytes], port: int, until: float) -> float | None:
    """Ask until there is an answer: the most megabytes that all processes had at once meanwhile. None: there was none."""
    most, asked = 0.0, False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        while time.monotonic() < until:
            most = max(most, sum(map(resident, family(daemon.pid))))
            try:
                if not asked:
                    asking.send(QUERY)
                    asked = True  # it waits in the socket until it is read
                if select.select([asking], [], [], LOOK)[0]:
                    reply = asking.recv(512)
                    return most if struct.unpack_from("!H", reply, 6)[0] else None
            except ConnectionRefusedError:  # not bound yet
                asked = False
                time.sleep(LOOK)
    return None


def family(pid: int) -> list[int]:
    """*pid* and all that it started."""
    try:
        children = [
            int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(child))]


def resident(pid: int) -> float:
    """Megabytes of *pid* that are in memory; 0 once it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / (1 << 20)
    except OSError:
        return 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--database", default="builtin")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, help="CPU seconds that a start may take")
    parser.add_argument("--memory", type=float, default=250, help="MB that all processes may have at once")
    options = parser.parse_args()
    bar = options.most or (2.5 if options.cold else 1.5)
    if options.database != "builtin":
        options.database = Path(options.database).resolve()
    print(f"geodns {__version__} ({engine.name()}), CPython {platform.python_version()}, Linux {platform.release()}")
    print(f"{options.database}, {options.sites} sites")
    with tempfile.TemporaryDirectory() as kept:
        if not options.cold:
            tell("first start", [start(Path(kept), options)])
        rounds = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as fresh:
                rounds.append(start(Path(fresh if options.cold else kept), options))
    tell("cold starts" if options.cold else "second starts", rounds)
    return int(statistics.median(one.cpu for one in rounds) > bar or max(one.all for one in rounds) > options.memory)


def tell(name: str, rounds: list[Start]) -> None:
    """A line: medians, least and most."""
    units = ("{:.2f} s", "CPU {:.2f} s", "one process {:.0f} MB", "all at once {:.0f} MB")
    parts = [
        f"{unit.format(statistics.median(values))} ({min(values):.{digits}f}-{max(values):.{digits}f})"
        for unit, digits, values in zip(units, (2, 2, 0, 0), zip(*rounds, strict=True), strict=True)
    ]
    print(f"{name}: {', '.join(parts)}")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The slowest answers while a large configuration is reloaded: 100,000 names and a full GeoIP database, health checks on.

    reload_stall.py [--database GeoLite2-City.mmdb] [--names 100000] [--reloads 4] [--rate N] [--engine pure|native]

Twelve datacenters with ten members each, which are probed every second (one of them comes and goes), one zone from a master
file. `load/loadgen` asks in open loop, --rate queries a second: without it half of what the daemon was measured to answer,
at most 50,000. Meanwhile the daemon reloads, every second time with other coordinates, so that another map must be read too
(both images are kept: a load that compiles a map is told apart, as the first two). Told are the latencies with and without a
reload under way, how many queries got no answer, what the kernel dropped for the daemon's sockets, and by how much the
generator itself was late at worst: that much of a latency may be its own. The daemon and its children have CPU 0 for
themselves, generator and members CPU 1: a generator that never sleeps is no neighbour that a daemon would have. Without
--engine it is the one that `geodns serve` would take.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load.compare import build, database

SITES = {
    "iad": (38.9, -77.4), "fra": (50.1, 8.7), "sin": (1.35, 103.8), "sjc": (37.4, -121.9), "gru": (-23.5, -46.6),
    "syd": (-33.9, 151.2), "dfw": (32.9, -97.0), "lhr": (51.5, -0.45), "nrt": (35.8, 140.4), "bom": (19.1, 72.9),
    "jnb": (-26.1, 28.2), "hkg": (22.3, 113.9),
}  # fmt: skip
MEMBERS = 10
MOST = 50_000  # queries a second
REST = 5  # seconds measured without a reload
CPUS = os.sched_getaffinity(0)
FIGURES = ("sent", "lost", "wrong", "bad", "per_second", "cpu_us_per_query", "behind_us", "latency_us")


def write_config(folder: Path, options: argparse.Namespace, shift: float) -> None:
    datacenters = "\n".join(f"  {name}: {{coordinates: [{lat + shift}, {lon}]}}" for name, (lat, lon) in SITES.items())
    pools = "\n".join(f"      {name}: [{', '.join(write_members(number))}]" for number, name in enumerate(SITES, 1))
    (folder / "geodns.yaml").write_text(f"""
server: {{listen: ["127.0.0.1:{options.port}"], http: "127.0.0.1:{options.port + 1}", state: {folder / "state"}}}
geoip: {{database: {options.database.resolve()}}}
datacenters:
{datacenters}
checks: {{web: {{type: tcp, port: {options.port + 2}, interval: 1s, timeout: 500ms, rise: 1, fall: 1}}}}
services:
  www:
    check: web
    pools:
{pools}
zones:
  example.com:
    file: example.com.zone
    records: {{www: {{service: www}}}}
""")


def write_members(datacenter: int) -> list[str]:
    return [f"127.0.{datacenter}.{number}" for number in range(1, MEMBERS + 1)]


def write_zone(folder: Path, names: int) -> None:
    lines = ["$TTL 300", "@ SOA ns1 hostmaster 1 3600 900 1209600 60", "@ NS ns1", "ns1 A 192.0.2.53"]
    lines += [f"host{number} A 192.0.2.{number % 250}" for number in range(names)]
    (folder / "example.com.zone").write_text("\n".join(lines) + "\n")


class Members(threading.Thread):
    """Listens where the members are, and takes the first one away for every other second."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self.stopping = port, threading.Event()
        addresses = [address for number in range(1, len(SITES) + 1) for address in write_members(number)]
        self._first, *rest = addresses
        self._open = [self._listen(address) for address in rest]

    def _listen(self, address: str) -> socket.socket:
        listening = socket.create_server((address, self._port), backlog=64)
        listening.setblocking(False)
        return listening

    def run(self) -> None:
        while not self.stopping.wait(0.05):
            alive = int(time.monotonic()) % 4 < 2
            if alive and len(self._open) < len(SITES) * MEMBERS:
                self._open.append(self._listen(self._first))
            elif not alive and len(self._open) == len(SITES) * MEMBERS:
                self._open.pop().close()
            for listening in self._open:
                self._take(listening)
        for listening in self._open:
            listening.close()

    @staticmethod
    def _take(listening: socket.socket) -> None:
        while True:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return


class Daemon:
    """The daemon, its log as it comes, and its metrics."""

    def __init__(self, folder: Path, port: int) -> None:
        command = [*pin(0), sys.executable, "-m", "geodns", "serve", "-c", str(folder / "geodns.yaml")]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._port, self.pid, self.flips = port, self._process.pid, 0

    def wait_for(self, text: str) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.flips += "published: health" in line
            if " error " in line:
                sys.exit(line)
            if text in line:
                return line.strip()
        sys.exit("the daemon ended")

    def reload(self) -> str:
        os.kill(self.pid, signal.SIGHUP)
        return self.wait_for("published: 1 zone")

    def metrics(self, name: str) -> list[str]:
        """The lines of one metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port + 1}/metrics", timeout=30) as reply:
            lines: list[str] = reply.read().decode().splitlines()
        return [line for line in lines if line.startswith(f"{name}{{")]

    def drops(self) -> float:
        """What the kernel threw away for the sockets."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.metrics("geodns_socket_drops_total"))

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


def pin(cpu: int) -> list[str]:
    """What goes before a command that is to run on *cpu* alone; nothing where there are too few to tell apart."""
    return ["taskset", "-c", str(cpu)] if {0, 1} <= CPUS else []


def start_load(daemon: Daemon, options: argparse.Namespace, seconds: float, *more: str) -> subprocess.Popen[str]:
    command = [*pin(1), build("loadgen"), "--port", str(options.port), "--pid", str(daemon.pid), "--name", "www.example.com"]
    command += ["--ecs", "--seconds", str(seconds), "--patience", "1000", "--grace", "2", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def end_load(load: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = load.communicate()
    if load.returncode:
        sys.exit("loadgen failed")
    figures: dict[str, Any] = json.loads(said)
    return figures


def describe(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {figures[name]}" for name in FIGURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=lambda given: Path(database(given)), default=None)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=4)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--port", type=int, default=5310)
    parser.add_argument("--engine", choices=("pure", "native"))
    options = parser.parse_args()
    if options.engine:
        os.environ["GEODNS_PURE"] = str(int(options.engine == "pure"))
    options.database = options.database or Path(database(None))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_zone(folder, options.names)
        write_config(folder, options, 0.0)
        os.sched_setaffinity(0, CPUS & {1} or CPUS)
        members = Members(options.port + 2)
        members.start()
        daemon = Daemon(folder, options.port)
        try:
            print(daemon.wait_for("published: 1 zone"))
            daemon.wait_for("answering on")
            write_config(folder, options, 1.0)
            print(daemon.reload())  # so that both images are there
            measure(daemon, folder, options)
        finally:
            daemon.close()
            members.stopping.set()
            members.join()


def measure(daemon: Daemon, folder: Path, options: argparse.Namespace) -> None:
    (build_info,) = daemon.metrics("geodns_build_info")
    print(build_info)
    if options.engine and f'engine="{options.engine}"' not in build_info:
        sys.exit(f"that is not the {options.engine} engine")
    capacity = end_load(start_load(daemon, options, 3, "--window", "64"))["per_second"]
    rate = options.rate or int(min(capacity / 2, MOST))
    print(f"answers {capacity} a second at most; offered from now on: {rate}")
    print("at rest:  ", describe(end_load(start_load(daemon, options, REST, "--rate", str(rate)))))
    before, flips, took = daemon.drops(), daemon.flips, reload_once(daemon, folder, options, 0)
    slowest, lost, sent = 0.0, 0, 0
    for number in range(1, options.reloads + 1):
        load = start_load(daemon, options, 1.5 * took + 1, "--rate", str(rate))
        time.sleep(0.5)
        took = reload_once(daemon, folder, options, number)
        covered = load.poll() is None
        figures = end_load(load)
        print("reloading:", describe(figures), "" if covered else "(the load ended before the reload)")
        slowest, lost, sent = max(slowest, figures["latency_us"]["max"]), lost + figures["lost"], sent + figures["sent"]
    print(f"{sent} queries during {options.reloads} reloads, {lost} lost, slowest answer {slowest / 1e3:.1f} ms")
    print(f"dropped by the kernel: {daemon.drops() - before:.0f}; health published {daemon.flips - flips} times")
    print(f"load average {os.getloadavg()[0]:.1f}")


def reload_once(daemon: Daemon, folder: Path, options: argparse.Namespace, number: int) -> float:
    """Reload, every second time with another map; the seconds that took."""
    write_config(folder, options, float(number // 2 % 2))
    began = time.monotonic()
    print(daemon.reload())
    return time.monotonic() - began


if __name__ == "__main__":
    main()

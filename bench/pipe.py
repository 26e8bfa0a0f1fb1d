#!/usr/bin/env python3
"""What the shim costs: its banner, its memory, its share of a lookup, and PowerDNS's rate through it and without it.

    python bench/pipe.py [--rounds 15] [--seconds 0.5] [--threads 1 3] [--only banner memory lookup rate]

Bars (exit status 1 when one is missed): the banner within 100 ms as the median of 20 starts of the console script; 5 shims
with at most 15 MB each of proportional set size; at most 60 us more for a lookup than over the daemon's socket directly; a
rate of at least 0.6 of that with `bench/coprocess.py` behind the same pdns_server, settings and questions (beside it the
same coprocess behind a relay that does nothing else, which is what any process between costs); and by the remote backend,
straight on the daemon's socket, a rate of at least the shim's. Rates are measured in short rounds, one backend
after the other, since the machines are noisy: the median of the ratios of each round counts. CPU is told beside them,
because it depends less on who else is at work. The generator is this process: a window of queries over one UDP socket, for
names whose answers PowerDNS must not keep.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.powerdns.pdns import find_missing, run_pdns
from tests.shims import Shim, wait_until
from tests.world import write_world

from geodns.backend_only import find_spot

SCRIPT = Path(sys.executable).with_name("geodns")
COPROCESS = Path(__file__).with_name("coprocess.py")
NAMES = 200
WINDOW = 16  # queries in flight
LOOKUPS = 3000  # in each round
BANNER, MEMORY, MORE = 0.1, 15.0, 60.0  # the bars: seconds, MB, microseconds
SHARE, REMOTE_SHARE = 0.6, 1.0  # of the trivial coprocess's rate by the shim; of the shim's by the remote backend
CONFIG = """
server: {control: off, state: {folder}/state}
geoip: {database: world.mmdb}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
services:
  www: {check: off, pools: {ams: [192.0.2.1], nyc: [192.0.2.2]}}
zones:
  example.com:
    ns: [ns1]
    records:
      ns1: {A: 192.0.2.53}
"""
# The settings of the guide, without what has nothing to do with rates.
PIPE = "launch=pipe\npipe-abi-version=5\nzone-cache-refresh-interval=0\npipe-command="
REMOTE = "launch=remote\nzone-cache-refresh-interval=60\nremote-connection-string=unix:path="
PDNS = """
edns-subnet-processing=yes
cache-ttl=0
query-cache-ttl=20
negquery-cache-ttl=60
consistent-backends=no
disable-axfr=yes
"""


def write_site(folder: Path) -> Path:
    """A configuration with `NAMES` geographic names."""
    world = {"0.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]}}
    (folder / "world.mmdb").write_bytes(write_world(world, build_epoch=int(time.time())))
    names = "".join(f"      n{number}: {{service: www}}\n" for number in range(NAMES))
    config = folder / "geodns.yaml"
    config.write_text(CONFIG.replace("{folder}", str(folder)) + names)
    return config


@contextmanager
def run_daemon(config: Path) -> Iterator[Path]:
    """`serve --backend-only` for *config*; the path of its socket."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "geodns", "serve", "--backend-only", "-c", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        path = Path(find_spot(str(config)).socket)
        wait_until(path.exists, 30)
        with closing(Asker(path)) as asker:
            wait_until(lambda: asker.ask(make_question(0)).startswith(b"DATA"), 30)
        yield path
    finally:
        daemon.terminate()
        daemon.wait()


def make_question(number: int) -> bytes:
    return b"Q\tn%d.example.com\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t20.1.2.0/24\n" % (number % NAMES)


class Asker:
    """The daemon's socket, directly."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.ask(b"HELO\t5\n")

    def ask(self, line: bytes) -> bytes:
        self.socket.send(line)
        return self.socket.recv(1 << 16)

    def close(self) -> None:
        self.socket.close()


def measure_banner(starts: int) -> float:
    """Seconds from exec to the banner, the median."""
    seconds = []
    for _ in range(starts):
        began = time.perf_counter()
        shim = subprocess.Popen(
            [SCRIPT, "pipe", "--socket", "/nonexistent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert shim.stdin is not None
        assert shim.stdout is not None
        shim.stdin.write(b"HELO\t5\n")
        line = os.read(shim.stdout.fileno(), 100)
        seconds.append(time.perf_counter() - began)
        assert line.startswith(b"OK\t"), line
        shim.communicate()
    return statistics.median(seconds)


def measure_memory(path: Path, count: int) -> list[float]:
    """MB of proportional set size of *count* shims at once, after a lookup each."""
    with ExitStack() as stack:
        shims = [stack.enter_context(closing(Shim("--socket", str(path)))) for _ in range(count)]
        for shim in shims:
            shim.greet()
            assert shim.ask(make_question(0)[:-1]).startswith(b"DATA")
        return [read_pss(shim.process.pid) for shim in shims]


def read_pss(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure_lookups(path: Path, rounds: int) -> list[tuple[float, float, float]]:
    """Microseconds of a lookup directly and through a shim, medians of a round, and CPU of the shim for one."""
    found = []
    with closing(Asker(path)) as asker, closing(Shim("--socket", str(path))) as shim:
        shim.greet()
        descriptors = shim.stdin.fileno(), shim.stdout.fileno()

        def ask_shim(line: bytes) -> bytes:
            os.write(descriptors[0], line)
            return os.read(descriptors[1], 1 << 16)

        clock = ~shim.process.pid << 3 | 2  # clock_getcpuclockid(3)
        for _ in range(rounds):
            direct = time_lookups(asker.ask)
            before = time.clock_gettime(clock)
            through = time_lookups(ask_shim)
            found.append((direct, through, (time.clock_gettime(clock) - before) / LOOKUPS * 1e6))
    return found


def time_lookups(ask: Callable[[bytes], bytes]) -> float:
    """The median, in microseconds."""
    seconds = []
    for number in range(LOOKUPS):
        line = make_question(number)
        began = time.perf_counter()
        block = ask(line)
        seconds.append(time.perf_counter() - began)
        assert block.endswith(b"END\n"), block
    return statistics.median(seconds) * 1e6


def measure_rate(port: int, seconds: float) -> float:
    """Queries a second that pdns_server answers on *port*."""
    queries = [make_query(number) for number in range(NAMES)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        asking.settimeout(1)
        sent = good = lost = 0
        began = time.perf_counter()
        for _ in range(WINDOW):
            asking.send(queries[sent % NAMES])
            sent += 1
        while time.perf_counter() - began < seconds:
            try:
                reply = asking.recv(1024)
            except TimeoutError:
                lost += 1
            else:
                assert reply[3] & 15 == 0, f"RCODE {reply[3] & 15}"
                assert reply[7], "no answer"
                good += 1
            asking.send(queries[sent % NAMES])
            sent += 1
        took = time.perf_counter() - began
    assert lost < 3, f"{lost} queries lost"
    return good / took


def make_query(number: int) -> bytes:
    label = b"n%d" % number
    return b"\0\1\0\0\0\1\0\0\0\0\0\0" + bytes([len(label)]) + label + b"\7example\3com\0\0\1\0\1"


class Stack(NamedTuple):
    """A pdns_server with what stands behind it."""

    port: int
    processes: tuple[int, ...]

    def read_cpu(self) -> float:
        """Seconds of CPU that its processes have used."""
        return sum(time.clock_gettime(~process << 3 | 2) for process in self.processes)  # clock_getcpuclockid(3)


class Rate(NamedTuple):
    """What one round saw of one stack."""

    rate: float  # queries a second
    cpu: float  # microseconds a query, of all processes but the generator


class Round(NamedTuple):
    """What one round saw of each stack."""

    trivial: Rate
    relay: Rate
    shim: Rate
    remote: Rate


def measure_rates(path: Path, folder: Path, threads: int, rounds: int, seconds: float) -> list[Round]:
    """The trivial coprocess, the same behind a bare relay, the shim, and the remote backend, round by round."""
    served = folder / f"trivial-{threads}.sock"
    launches = {
        "trivial": f"{PIPE}{sys.executable} {COPROCESS}",
        "relay": f"{PIPE}{sys.executable} {COPROCESS} relay {served}",
        "shim": f"{PIPE}{SCRIPT} pipe --socket {path}",
        "remote": f"{REMOTE}{path}",
    }
    daemon = find_peer(path)
    with ExitStack() as opened:
        trivial = opened.enter_context(subprocess.Popen([sys.executable, COPROCESS, "serve", served]))
        opened.callback(trivial.terminate)
        wait_until(served.exists, 10)
        stacks = []
        for name, launch in launches.items():
            (folder / name).mkdir(exist_ok=True)
            settings = {"distributor-threads": str(threads)}
            pdns = opened.enter_context(run_pdns(folder / name, f"{launch}\n{PDNS}", settings))
            measure_rate(pdns.port, 0.5)  # until all coprocesses run, and the negative cache is filled
            behind = find_children(pdns.pid)
            behind += {"trivial": [], "relay": find_children(trivial.pid)}.get(name, [daemon])
            stacks.append(Stack(pdns.port, (pdns.pid, *behind)))
        return [Round(*[measure_stack(stack, seconds) for stack in stacks]) for _ in range(rounds)]


def measure_stack(stack: Stack, seconds: float) -> Rate:
    before = stack.read_cpu()
    rate = measure_rate(stack.port, seconds)
    return Rate(rate, (stack.read_cpu() - before) / (rate * seconds) * 1e6)


def find_children(parent: int) -> list[int]:
    """Processes that *parent* started."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def find_peer(path: Path) -> int:
    """The process that listens at *path*."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        return int(struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def tell(what: str, value: float, bar: float, unit: str, *, most: bool = True) -> bool:
    """A line; is the bar met?"""
    met = value <= bar if most else value >= bar
    print(f"{what}: {value:.3g} {unit} (at {'most' if most else 'least'} {bar:g}){'' if met else '  MISSED'}", flush=True)
    return met


def tell_rates(threads: int, rounds: list[Round]) -> bool:
    """All rounds, and their medians; are the bars met?"""
    for found in rounds:
        each = ", ".join(f"{name} {rate.rate:.0f}/s {rate.cpu:.0f} us CPU" for name, rate in found._asdict().items())
        print(f"{threads} threads: {each}")
    compare_rates(rounds, "relay", "trivial", 0.0)
    met = [compare_rates(rounds, "shim", "trivial", SHARE), compare_rates(rounds, "remote", "shim", REMOTE_SHARE)]
    return all(met)


def compare_rates(rounds: list[Round], one: str, other: str, bar: float) -> bool:
    """A line; is the median of the rounds' ratios at least *bar*?"""
    pairs = [(getattr(found, one), getattr(found, other)) for found in rounds]
    ratios = sorted(this.rate / that.rate for this, that in pairs)
    cpu = statistics.median(that.cpu / this.cpu for this, that in pairs)
    what = f"{one}'s rate by {other}'s ({ratios[0]:.2f}..{ratios[-1]:.2f}; {cpu:.2f} by CPU)"
    return tell(what, statistics.median(ratios), bar, "x", most=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 3], help="distributor-threads of pdns_server")
    parser.add_argument("--only", nargs="+", default=["banner", "memory", "lookup", "rate"])
    given = parser.parse_args()
    met = []
    with tempfile.TemporaryDirectory(prefix="geodns-bench-") as name:
        folder = Path(name)
        os.environ["RUNTIME_DIRECTORY"] = name
        if "banner" in given.only:
            met.append(tell("banner, median of 20 starts", measure_banner(20), BANNER, "s"))
        with run_daemon(write_site(folder)) as path:
            if "memory" in given.only:
                sizes = measure_memory(path, 5)
                print(f"5 shims: {', '.join(f'{size:.1f}' for size in sizes)} MB")
                met.append(tell("largest of 5 shims", max(sizes), MEMORY, "MB"))
            if "lookup" in given.only:
                found = measure_lookups(path, given.rounds)
                for direct, through, cpu in found:
                    print(f"lookup: {direct:.1f} us directly, {through:.1f} us through the shim, whose CPU is {cpu:.1f} us")
                more = sorted(through - direct for direct, through, _ in found)
                met.append(tell(f"more for a lookup ({more[0]:.1f}..{more[-1]:.1f})", statistics.median(more), MORE, "us"))
            if "rate" in given.only:
                if missing := find_missing("pipe", "remote"):
                    sys.exit(missing)
                for threads in given.threads:
                    rates = measure_rates(path, folder, threads, given.rounds, given.seconds)
                    met.append(tell_rates(threads, rates))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

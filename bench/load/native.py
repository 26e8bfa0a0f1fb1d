#!/usr/bin/env python3
"""The figures of the native engine, one section each, kept in bench/results/native.json for native_chart.py.

    native.py peers      CPU a query beside all peers, four workloads, with the bars      27 rounds: 11 min
    native.py features   what weights, sticky, the query log ... add to a plain hit       27 rounds: 5 min
    native.py growth     10 / 1,000 / 100,000 names, 4 / 20 / 64 datacenters, 1 / 2 threads   9 rounds: 2 min
    native.py latency    p50, p99, p99.9 at half of its own capacity, beside all peers    9 rounds: 2 min

Every server is pinned to CPU 0 and the load to CPU 1, as in compare.py, which measures. In a round each case is measured
once, beginning with another one each time, and ratios are taken within a round. What anything else disturbed is repeated at
once, then the round is given up; --foreign 9 lets all of it count, for a try on a busy machine. The exit code is 1
where a bar is missed. Knows configurations and cases. Knows nothing of sockets.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from bench.load import compare  # noqa: E402
from bench.load.compare import FAULTS, SITES, WORKLOADS, Server  # noqa: E402

RESULTS = HERE.parent / "results" / "native.json"
FEATURE_BAR = 1.1  # times the plain hit: weighted answers, k of n, sticky
BARRED = ("weighted", "2 of 4", "sticky")
PLAIN = "plain hit"
TRIES = 3  # of a measurement that is disturbed
GEO = WORKLOADS["geo, random ECS"]


class Case(NamedTuple):
    """One thing to be measured; its ratio is taken to the case named *beside*, in the same round."""

    name: str
    server: Server
    arguments: Sequence[str]
    beside: str


class Site(NamedTuple):
    """What a daemon of ours is to serve."""

    listen: str = "127.0.0.1"
    server: str = ""  # further keys of `server`
    names: int = 0
    datacenters: int = len(SITES)


def write_members(number: int, count: int, weights: bool = False) -> str:
    members = [f"10.{number // 250}.{number % 250}.{k + 1}" for k in range(count)]
    return (
        ", ".join(f"{{address: {one}, weight: {k + 1}}}" for k, one in enumerate(members)) if weights else ", ".join(members)
    )


def write_pools(names: Sequence[str], count: int, weights: bool = False) -> str:
    return ", ".join(f"{name}: [{write_members(number, count, weights)}]" for number, name in enumerate(names))


def place_datacenters(count: int) -> dict[str, tuple[float, float]]:
    """The four of compare.py, and beyond them as many as are wanted, spread over the lands by the golden angle."""
    places = {name: (latitude, longitude) for name, (latitude, longitude, _) in SITES.items()}
    for n in range(len(places), count):
        places[f"d{n}"] = (round(-40 + 100 * (n + 0.5) / count, 2), round((n * 137.5) % 360 - 180, 2))
    return places


def write_config(folder: Path, port: int, site: Site) -> Path:
    places = place_datacenters(site.datacenters)
    datacenters = "\n".join(f"  {name}: {{coordinates: [{a}, {b}]}}" for name, (a, b) in places.items())
    sites = list(places)
    names = "".join(f"h{n} 60 A 192.0.2.{n % 250}\n" for n in range(site.names))
    (folder / "state").mkdir(parents=True)
    (folder / "zone").write_text(
        "$TTL 300\n@ SOA ns1 hostmaster 1 7200 1800 259200 60\n@ NS ns1\nns1 A 192.0.2.53\n" + names
    )
    (folder / "names").write_text("".join(f"h{n}.example.com\n" for n in range(site.names)) or "static.example.com\n")
    path = folder / "geodns.yaml"
    path.write_text(f"""
server:
  listen: ["{site.listen}:{port}"]
  http: off
  state: {folder}/state
{site.server}
geoip: {{database: {compare.database(None)}}}
datacenters:
{datacenters}
services:
  www: {{check: off, ttl: 60, pools: {{{write_pools(sites, 1)}}}}}
  weighted: {{check: off, ttl: 60, pools: {{{write_pools(sites, 4, weights=True)}}}}}
  several: {{check: off, ttl: 60, answers: 2, pools: {{{write_pools(sites, 4)}}}}}
  sticky: {{check: off, ttl: 60, pick: sticky, pools: {{{write_pools(sites, 4)}}}}}
zones:
  example.com:
    file: zone
    records:
      www: {{service: www}}
      weighted: {{service: weighted}}
      several: {{service: several}}
      sticky: {{service: sticky}}
      "*.wild": {{service: www}}
      static: {{A: {{ttl: 60, values: [192.0.2.9]}}}}
""")
    return path


@contextmanager
def serving(sites: dict[str, Site]) -> Iterator[dict[str, tuple[Server, Path]]]:
    """A daemon for each of *sites*, pinned to CPU 0 and answering, and the folder of its files."""
    children: list[subprocess.Popen[bytes]] = []
    found = {}
    with tempfile.TemporaryDirectory() as name:
        try:
            for number, (key, site) in enumerate(sites.items()):
                folder = Path(name) / str(number)
                config = write_config(folder, 5300 + number, site)
                command = ["taskset", "-c", "0", sys.executable, "-m", "geodns", "serve", "-c", str(config)]
                with (folder / "log").open("wb") as log:
                    children.append(subprocess.Popen(command, stderr=log))
                found[key] = Server(key, 5300 + number, str(children[-1].pid)), folder
                if not compare.ready(found[key][0]):  # one after the other: each has the core for its own maps
                    sys.exit((folder / "log").read_text())
            yield found
        finally:
            compare.stop(children)


def find_features() -> Iterator[list[Case]]:
    logs = {f"query log, 1 in {n}": n for n in (1000, 100, 10)}
    sites = {
        PLAIN: Site(),
        **{name: Site(server=f"  query_log: {{path: /dev/null, sample: {n}, max_size: off}}") for name, n in logs.items()},
        "every address (pktinfo)": Site(listen="0.0.0.0"),
        "ECS of ten prefixes": Site(server=f"  client_subnet: [{', '.join(f'127.{n}.0.0/16' for n in range(10))}]"),
    }
    with serving(sites) as servers:
        plain = servers[PLAIN][0]
        cases = [Case(name, server, GEO, PLAIN) for name, (server, _) in servers.items()]
        for name, label in (
            ("weighted", "weighted"),
            ("2 of 4", "several"),
            ("sticky", "sticky"),
            ("wildcard name", "a.wild"),
        ):
            cases.append(Case(name, plain, ["--name", f"{label}.example.com", "--ecs"], PLAIN))
        yield cases


def find_growth() -> Iterator[list[Case]]:
    sites = {f"{n:,} names": Site(names=n) for n in (10, 1_000, 100_000)}
    sites |= {f"{n} datacenters": Site(datacenters=n) for n in (4, 20, 64)}
    sites |= {f"{n} thread{'s' * (n > 1)}": Site(server=f"  workers: {n}") for n in (1, 2)}
    with serving(sites) as servers:
        cases = []
        for name, (server, folder) in servers.items():
            first = next(one for one in sites if one.split()[1][:5] == name.split()[1][:5])
            arguments = ["--names", str(folder / "names")] if sites[name].names else GEO
            cases.append(Case(name, server, arguments, first))
        yield cases


def measure_round(cases: Sequence[Case], options: argparse.Namespace, seed: int) -> dict[str, dict[str, Any]] | None:
    """What the generator says of each case; None when something else disturbed one of them again and again."""
    figures = {}
    for case in cases:
        for _ in range(TRIES):
            figure = compare.measure(case.server, case.arguments, options.seconds, seed)
            faults = ", ".join(f"{figure[f]} {f}" for f in FAULTS if figure[f])
            disturbed = " DROPPED" if figure["foreign"] > options.foreign else ""
            print(f"{case.name:24} {figure['cpu_us_per_query']:7.3f} us{disturbed} {faults}", file=sys.stderr)
            if not disturbed:
                figures[case.name] = figure
                break
        else:
            return None
    return figures


def measure_cases(cases: list[Case], options: argparse.Namespace) -> list[dict[str, dict[str, Any]]]:
    """The rounds that count."""
    done: list[dict[str, dict[str, Any]]] = []
    tries = 0
    while len(done) < options.rounds and tries < 2 * options.rounds:
        first = tries % len(cases)
        figures = measure_round(cases[first:] + cases[:first], options, 1 + tries)
        tries += 1
        if figures is not None:
            done.append(figures)
    return done


def sum_up(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "least": round(min(values), 4), "most": round(max(values), 4)}


def count_faults(figures: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {f: total for f in FAULTS if (total := sum(figure[f] for figure in figures))}


def measure_ratios(find: Iterator[list[Case]], options: argparse.Namespace) -> dict[str, Any]:
    cases = next(find)
    rounds = measure_cases(cases, options)
    found: dict[str, Any] = {"rounds": len(rounds), "cases": {}}
    if not rounds:
        sys.exit("every round was disturbed")
    for case in cases:
        figures = [one[case.name] for one in rounds]
        cpu = [figure["cpu_us_per_query"] for figure in figures]
        beside = [one[case.beside]["cpu_us_per_query"] for one in rounds]
        ratio = sum_up([a / b for a, b in zip(cpu, beside, strict=True)])
        found["cases"][case.name] = {"us": sum_up(cpu), "beside": case.beside, "ratio": ratio, **count_faults(figures)}
        span = f"{ratio['median']:.3f} [{ratio['least']:.2f} - {ratio['most']:.2f}]"
        print(f"{case.name:24} {statistics.median(cpu):7.2f} us  {span} x {case.beside}")
    for _ in find:
        pass  # so that the daemons end
    found["about"] = compare.machine([case.server for case in cases])
    return found


def measure_features(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    found = measure_ratios(find_features(), options)
    missed = [
        f"{name}: {found['cases'][name]['ratio']['median']:.3f} x {PLAIN}, more than {FEATURE_BAR}"
        for name in BARRED
        if found["cases"][name]["ratio"]["median"] > FEATURE_BAR
    ]
    return found, missed


def measure_growth(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    return measure_ratios(find_growth(), options), []


def measure_peers(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """run.py with the bars, and what it says of each round; the figures are kept without what only a generator wants."""
    command = [sys.executable, str(HERE / "run.py"), "--bar", "native", "--json", "--rounds", str(options.rounds)]
    command += ["--seconds", str(options.seconds), "--foreign", str(options.foreign)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        sys.exit("run.py has measured nothing")
    said = json.loads(done.stdout)
    rounds = [compare.Round(**one) for one in said.pop("rounds")]
    found: dict[str, Any] = {"rounds": options.rounds, "dropped": said.pop("dropped"), "about": said, "workloads": {}}
    for workload in WORKLOADS:
        of = [one for one in rounds if one.workload == workload]
        found["workloads"][workload] = {
            name: {
                "us": sum_up(compare.absolutes(of, workload, name)),
                "of floor": sum_up(compare.ratios(of, workload, name, compare.FLOOR)),
                "of gdnsd": sum_up(compare.ratios(of, workload, name, compare.GDNSD)),
                **count_faults([one.figures[name] for one in of]),
            }
            for name in (of[0].figures if of else ())
        }
    return found, ["a bar of run.py"] if done.returncode else []


def measure_latency(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Each server is offered half of the most that it answers, evenly; "behind" is how late the generator was."""
    with serving({compare.OURS: Site()}) as ours:
        started = compare.start_peers(compare.database(None))
        try:
            servers = [one for one in (ours[compare.OURS][0], *started) if compare.ready(one)]
            most = {one: compare.load(one, *GEO, "--seconds", str(options.seconds))["per_second"] for one in servers}
            rounds = measure_cases(
                [Case(one.name, one, [*GEO, "--rate", str(int(most[one] / 2))], one.name) for one in servers], options
            )
        finally:
            compare.stop(started.values())
    if not rounds:
        sys.exit("every round was disturbed")
    found: dict[str, Any] = {"rounds": len(rounds), "about": compare.machine(servers), "cases": {}}
    for one in servers:
        figures = [figure[one.name] for figure in rounds]
        quantiles = {q: sum_up([figure["latency_us"][q] for figure in figures]) for q in ("p50", "p99", "p99.9", "max")}
        behind = sum_up([figure["behind_us"] for figure in figures])
        found["cases"][one.name] = {"offered": int(most[one] / 2), "behind": behind, **quantiles, **count_faults(figures)}
        print(
            f"{one.name:16} {int(most[one] / 2):7} q/s ",
            *(f"{q} {value['median']:8.1f} us" for q, value in quantiles.items()),
        )
    return found, []


SECTIONS = {
    "peers": (measure_peers, 27),
    "features": (measure_features, 27),
    "growth": (measure_growth, 9),
    "latency": (measure_latency, 9),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--foreign", type=float, default=compare.FOREIGN)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    measure, rounds = SECTIONS[options.section]
    options.rounds = options.rounds or rounds
    found, missed = measure(options)
    found |= {"seconds": options.seconds, "foreign": options.foreign}
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**kept, options.section: found}, indent=1) + "\n")
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Write the tables of bench/RESULTS.md from what native.py has kept, between the two marks that stand there.

    native_tables.py [--results bench/results/native.json] [--into bench/RESULTS.md]

Knows Markdown. Knows nothing of how it was measured. The same figures give the same octets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- written by bench/load/native_tables.py -->", "<!-- to here -->"
ORDER = ("floor", "gdnsd", "Knot mod-geoip", "PowerDNS geoip", "geodns")


def write_span(found: dict[str, float]) -> str:
    return f"{found['median']:.3f} [{found['least']:.2f} - {found['most']:.2f}]"


def write_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write_head(*cells: str) -> Iterator[str]:
    yield write_row(*cells)
    yield "|" + "---|" * len(cells)


def describe(section: dict[str, Any]) -> str:
    """When, on what, how often, and whether others used the machine."""
    about = section["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    others = "" if section["foreign"] < 1 else ", on a machine that was in use"
    told = f"{about['date']}, Linux {about['kernel']}, {about['cpu']}{', ' + versions if versions else ''}"
    return f"{told}; {section['rounds']} rounds of {section['seconds']:g} s{others}."


def write_peers(section: dict[str, Any]) -> Iterator[str]:
    workloads = section["workloads"]
    yield f"Beside the peers, `native.py peers`: {describe(section)}"
    yield ""
    yield from write_head("us a query", *workloads)
    names = [name for name in ORDER if any(name in servers for servers in workloads.values())]
    for name in names:
        yield write_row(name, *(f"{servers[name]['us']['median']:.2f}" for servers in workloads.values()))
    for peer in ("floor", "gdnsd"):
        cells = (write_span(servers["geodns"][f"of {peer}"]) for servers in workloads.values())
        yield write_row(f"geodns / {peer}", *cells)


def write_ratios(title: str, section: dict[str, Any]) -> Iterator[str]:
    yield f"{title}: {describe(section)}"
    yield ""
    yield from write_head("", "us a query", "ratio in the same round", "to")
    for name, case in section["cases"].items():
        yield write_row(name, f"{case['us']['median']:.2f}", write_span(case["ratio"]), case["beside"])


def write_latency(section: dict[str, Any]) -> Iterator[str]:
    yield f"Latency at half of each server's own capacity, random client subnets, `native.py latency`: {describe(section)}"
    yield ""
    yield from write_head("", "offered a second", "p50", "p99", "p99.9", "slowest", "generator late by at most")
    for name, case in section["cases"].items():
        quantiles = (f"{case[q]['median']:.0f} us" for q in ("p50", "p99", "p99.9", "max"))
        yield write_row(name, f"{case['offered']:,}", *quantiles, f"{case['behind']['median']:.0f} us")


def write_tables(results: dict[str, Any]) -> Iterator[str]:
    if "peers" in results:
        yield from (*write_peers(results["peers"]), "")
    if "features" in results:
        yield from (*write_ratios("What a feature adds to a plain hit, `native.py features`", results["features"]), "")
    if "growth" in results:
        yield from (*write_ratios("How cost grows, `native.py growth`", results["growth"]), "")
    if "latency" in results:
        yield from (*write_latency(results["latency"]), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/native.json")
    parser.add_argument("--into", type=Path, default=ROOT / "bench/RESULTS.md")
    options = parser.parse_args()
    text = options.into.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = "\n".join(write_tables(json.loads(options.results.read_text())))
    options.into.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}")


if __name__ == "__main__":
    main()

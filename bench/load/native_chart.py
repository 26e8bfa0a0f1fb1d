#!/usr/bin/env python3
"""Draw docs/pictures/cpu-per-query.svg from what native.py has kept: CPU a query of each server, workload by workload.

    native_chart.py [--results bench/results/native.json] [--out docs/pictures/cpu-per-query.svg]

Knows shapes and colours, in light and dark. Knows nothing of how it was measured. The same figures give the same octets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
WIDTH, MARGIN, LABEL = 880, 20, 130  # pixels; LABEL: of the names of servers
ROW, BAR, GAP, TOP = 20, 14, 34, 62  # between bars, of a bar, of a heading, of the title
NAMES = {"floor": "kernel's floor", "Knot mod-geoip": "Knot geoip"}
ORDER = ("geodns", "gdnsd", "Knot mod-geoip", "PowerDNS geoip", "floor")
STYLE = """
    .back { fill: #ffffff; }
    .title { fill: #1f2328; font-size: 16px; font-weight: 600; }
    .main { fill: #1f2328; }
    .small { fill: #57606a; font-size: 12px; }
    .ours { fill: #0a58ca; }
    .peer { fill: #aab4be; }
    .floor { fill: none; stroke: #57606a; stroke-dasharray: 3 3; }
    .range { stroke: #1f2328; stroke-width: 1.2; }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117; }
      .title, .main { fill: #e6edf3; }
      .small { fill: #9aa4af; }
      .ours { fill: #58a6ff; }
      .peer { fill: #545d68; }
      .floor { stroke: #9aa4af; }
      .range { stroke: #e6edf3; }
    }
  """


def draw_bar(y: int, name: str, us: dict[str, float], scale: float) -> Iterator[str]:
    """One server: the median as a bar, least and most as a line, the median in figures."""
    kind = {"geodns": "ours", "floor": "floor"}.get(name, "peer")
    length, least, most = (us[key] * scale for key in ("median", "least", "most"))
    middle = y + BAR / 2
    yield f'<text class="small" x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{escape(NAMES.get(name, name))}</text>'
    yield f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
    yield f'<path class="range" d="M{LABEL + least:.1f} {middle} H{LABEL + most:.1f}"/>'
    yield f'<text class="small" x="{LABEL + max(most, length) + 6:.1f}" y="{y + 11}">{us["median"]:.2f} µs</text>'


def draw_panels(workloads: dict[str, Any]) -> Iterator[str]:
    """A group of bars for each workload, all on one scale."""
    most = max(server["us"]["most"] for servers in workloads.values() for server in servers.values())
    scale = (WIDTH - LABEL - MARGIN - 70) / most
    y = TOP
    for workload, servers in workloads.items():
        yield f'<text class="main" x="{LABEL}" y="{y + 16}">{escape(workload)}</text>'
        y += GAP - 10
        for name in (one for one in ORDER if one in servers):
            yield from draw_bar(y, name, servers[name]["us"], scale)
            y += ROW
        y += GAP - ROW


def draw(peers: dict[str, Any]) -> str:
    """The whole picture from the section "peers" of the results."""
    workloads, about = peers["workloads"], peers["about"]
    bars = sum(len(servers) for servers in workloads.values())
    height = TOP + bars * ROW + len(workloads) * (2 * GAP - 10 - ROW)
    versions = ", ".join(f"{NAMES.get(name, name)} {version}" for name, version in about["versions"].items())
    told = f"{about['date']}, {about['cpu']}, full GeoLite2 City, {versions}; {peers['rounds']} rounds: median, least, most"
    title = "CPU time of the server per answered query (shorter is better)"
    spoken = "; ".join(
        f"{workload}: " + ", ".join(f"{name} {server['us']['median']:.2f}" for name, server in servers.items())
        for workload, servers in workloads.items()
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title text"'
        ' font-family="system-ui, sans-serif" font-size="14">'
    )
    return "\n".join(
        (
            head,
            f'<title id="title">{title}</title>',
            f'<desc id="text">Microseconds. {escape(spoken)}.</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="title" x="{MARGIN}" y="28">{title}</text>',
            f'<text class="small" x="{MARGIN}" y="48">{escape(told)}</text>',
            *draw_panels(workloads),
            "</svg>\n",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/native.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/pictures/cpu-per-query.svg")
    options = parser.parse_args()
    options.out.write_text(draw(json.loads(options.results.read_text())["peers"]))


if __name__ == "__main__":
    main()

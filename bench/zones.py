"""What a zone of many names costs: compile time, block, and how long each slice keeps the event loop.

    python bench/zones.py [--names 100000]

Prints one line per step: seconds of CPU, or milliseconds of the longest slice; and memory of the names once read.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Generator
from pathlib import Path
from time import process_time, thread_time

from geodns.compiler.naming import name_parts
from geodns.compiler.zones import build_zones
from geodns.config.load import read_config
from geodns.image_zones import read_zones
from geodns.snapshot import Zones

CONFIG = """
server: {{listen: ["127.0.0.1:5300"]}}
datacenters:
  ams: {{coordinates: [52.37, 4.90]}}
services:
  www: {{check: off, pools: {{ams: [192.0.2.10]}}}}
zones:
  example.com: {{ns: [ns1.example.net.], file: {file}}}
"""


def resident() -> float:
    """Resident size of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def read(block: bytes) -> tuple[Zones, float, float, int]:
    """The zones, CPU seconds, the longest slice in milliseconds and the number of slices."""
    found: list[Zones] = []

    def keep() -> Generator[None, None, None]:
        found.append((yield from read_zones(block, "bench")))

    longest, slices, start, steps = 0.0, 0, process_time(), keep()
    while not found:
        began = thread_time()
        next(steps, None)
        longest = max(longest, thread_time() - began)
        slices += 1
    return found[0], process_time() - start, longest * 1e3, slices


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=100_000)
    names = parser.parse_args().names
    with tempfile.TemporaryDirectory() as folder:
        zone = Path(folder, "zone")
        zone.write_text("$TTL 300\n" + "".join(f"h{i} A 10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(names)))
        config = Path(folder, "geodns.yaml")
        config.write_text(CONFIG.format(file=zone))
        loaded = read_config(config)
        start = process_time()
        block, complaints = build_zones(loaded, name_parts(loaded.config))
    print(f"build   {process_time() - start:6.2f} s, {len(block) / 1e6:.1f} MB, {len(complaints)} complaints")
    del loaded
    gc.collect()
    for collector in ("on", "off"):
        if collector == "off":
            gc.disable()
        before = resident()
        zones, seconds, longest, slices = read(block)
        print(f"read    {seconds:6.2f} s, {slices} slices, longest {longest:.2f} ms, collector {collector}")
        print(f"memory  {resident() - before:6.1f} MB for {len(zones.names)} names")
        del zones
        gc.collect()


if __name__ == "__main__":
    main()

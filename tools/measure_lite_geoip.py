"""Measures the packaged GeoIP file against the full DB-IP City that it was made from, and prints the table of its README.

    python tools/measure_lite_geoip.py DATABASE SOURCE_V4 SOURCE_V6

Exact, not sampled: every network of the source is overlaid with every range of the database. About a minute of CPU, 1 GB.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `python tools/...` begins with tools/ alone

from tools.lite_geoip.measure import measure, read_reduced, write_table  # noqa: E402
from tools.lite_geoip.source import read_source  # noqa: E402


def main(arguments: list[str]) -> None:
    """Print the table for the three files named."""
    if len(arguments) != 3:
        raise SystemExit(__doc__)
    reduced = read_reduced(Path(arguments[0]))
    v4, v6 = (measure(read_source(Path(path)), reduced) for path in arguments[1:])
    print(write_table(v4, v6))


if __name__ == "__main__":
    main(sys.argv[1:])

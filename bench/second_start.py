#!/usr/bin/env python3
"""What a start costs: from exec to the first answer, CPU time of the daemon and its children.

    second_start.py [--config config/quickstart.yaml] [--rounds 9] [--most 1.5]

The first start compiles the maps and keeps the image, in a folder of its own; all others find it. A client asks from the
moment of exec; the daemon is told to end when the first answer has come. CPU is what the kernel charges to the process and
to the children that it waited for, so it includes the little that the end costs. Exit status 1 if the median of the second
starts is above --most.
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
from pathlib import Path

from geodns.config.load import load_server

ROOT = Path(__file__).parents[1]
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"


def start(config: Path, port: int, cache: str) -> tuple[float, float, float]:
    """Seconds until the first answer, CPU seconds, peak resident MB of one start."""
    began = time.monotonic()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "geodns", "serve", "-c", str(config)],
        env=os.environ | {"XDG_CACHE_HOME": cache},
        stderr=subprocess.DEVNULL,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        asking.settimeout(60)
        while True:
            try:
                asking.send(QUERY)
                reply = asking.recv(512)
                break
            except ConnectionRefusedError:  # not bound yet
                time.sleep(0.002)
    seconds = time.monotonic() - began
    if struct.unpack_from("!H", reply, 6)[0] == 0:
        sys.exit(f"no answer in the reply: {reply.hex()}")
    daemon.terminate()
    _, status, used = os.wait4(daemon.pid, 0)
    daemon.returncode = os.waitstatus_to_exitcode(status)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "quickstart.yaml")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.5, help="CPU seconds that a second start may take")
    options = parser.parse_args()
    port = load_server(options.config).listen[0].port
    with tempfile.TemporaryDirectory() as cache:
        first = start(options.config, port, cache)
        rounds = [start(options.config, port, cache) for _ in range(options.rounds)]
    print(f"first start:   {first[0]:.2f} s, CPU {first[1]:.2f} s, {first[2]:.0f} MB")
    for name, values in zip(("seconds", "CPU s", "MB"), zip(*rounds, strict=True), strict=True):
        print(f"second, {name:>7}: median {statistics.median(values):.2f}, {min(values):.2f}-{max(values):.2f}")
    return int(statistics.median(cpu for _, cpu, _ in rounds) > options.most)


if __name__ == "__main__":
    sys.exit(main())

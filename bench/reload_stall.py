#!/usr/bin/env python3
"""The slowest answers while a large configuration is reloaded: 100,000 names and a full GeoIP database.

    reload_stall.py --database GeoLite2-City.mmdb [--names 100000] [--reloads 4] [--rate 2000]

Twelve datacenters, one service, one zone from a master file. A client sends --rate queries a second, each without waiting
for the one before, and notes how long each answer took; meanwhile the daemon reloads, every second time with other
coordinates, so that another map must be read too (both images are kept, so that nothing competes for the CPU but our own
child). Told are the slowest answers with and without a reload under way, and how many queries got none.
"""

from __future__ import annotations

import argparse
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SITES = {
    "iad": (38.9, -77.4), "fra": (50.1, 8.7), "sin": (1.35, 103.8), "sjc": (37.4, -121.9), "gru": (-23.5, -46.6),
    "syd": (-33.9, 151.2), "dfw": (32.9, -97.0), "lhr": (51.5, -0.45), "nrt": (35.8, 140.4), "bom": (19.1, 72.9),
    "jnb": (-26.1, 28.2), "hkg": (22.3, 113.9),
}  # fmt: skip
NAME = b"\3www\7example\3com\0\0\1\0\1"
PATIENCE = 1200.0


def write_config(folder: Path, port: int, database: Path, shift: float) -> None:
    datacenters = "\n".join(f"  {name}: {{coordinates: [{lat + shift}, {lon}]}}" for name, (lat, lon) in SITES.items())
    pools = ", ".join(f"{name}: [192.0.2.{number}]" for number, name in enumerate(SITES, 1))
    (folder / "geodns.yaml").write_text(f"""
server: {{listen: ["127.0.0.1:{port}"], state: {folder / "state"}}}
geoip: {{database: {database}}}
datacenters:
{datacenters}
services:
  www: {{check: off, pools: {{{pools}}}}}
zones:
  example.com:
    file: example.com.zone
    records: {{www: {{service: www}}}}
""")


def write_zone(folder: Path, names: int) -> None:
    lines = ["$TTL 300", "@ SOA ns1 hostmaster 1 3600 900 1209600 60", "@ NS ns1", "ns1 A 192.0.2.53"]
    lines += [f"host{number} A 192.0.2.{number % 250}" for number in range(names)]
    (folder / "example.com.zone").write_text("\n".join(lines) + "\n")


class Client(threading.Thread):
    """Sends at a steady rate from a process's own point of view, and keeps (when, how long) of each answer."""

    def __init__(self, port: int, rate: int) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._rate, self.stopping = rate, False
        self.took: list[tuple[float, float]] = []
        self.unanswered: dict[int, float] = {}

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._socket, selectors.EVENT_READ)
        due, number = time.monotonic(), 0
        while not self.stopping:
            now = time.monotonic()
            if now >= due:
                number, due = (number + 1) & 0xFFFF, due + 1 / self._rate
                self.unanswered[number] = now
                self._socket.send(number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + NAME)
            if selector.select(max(0.0, due - time.monotonic())):
                self._receive()
        if selector.select(1.0):
            self._receive()

    def _receive(self) -> None:
        while True:
            try:
                reply = self._socket.recv(512)
            except BlockingIOError:
                return
            now, sent = time.monotonic(), self.unanswered.pop(int.from_bytes(reply[:2], "big"), None)
            if sent is not None:
                self.took.append((sent, now - sent))


def wait_for_line(daemon: subprocess.Popen[str], text: str) -> str:
    assert daemon.stderr is not None
    for line in daemon.stderr:
        if " error " in line or text in line:
            if text not in line:
                sys.exit(line)
            return line
    sys.exit("the daemon ended")


def describe(took: list[float]) -> str:
    took = sorted(took)
    if not took:
        return "none"
    middle, rare, most = (1e3 * value for value in (took[len(took) // 2], took[int(len(took) * 0.999)], took[-1]))
    return f"{len(took)} answers: median {middle:.2f}, 99.9 % {rare:.1f}, slowest {most:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=4)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--port", type=int, default=5310)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_zone(folder, options.names)
        write_config(folder, options.port, options.database.resolve(), 0.0)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "geodns", "serve", "-c", str(folder / "geodns.yaml")], stderr=subprocess.PIPE, text=True
        )
        try:
            print(wait_for_line(daemon, "published").strip())
            for shift in (1.0, 0.0):  # so that both images are there
                write_config(folder, options.port, options.database.resolve(), shift)
                daemon.send_signal(signal.SIGHUP)
                wait_for_line(daemon, "published")
            measure(daemon, folder, options)
        finally:
            daemon.terminate()
            daemon.communicate()


def measure(daemon: subprocess.Popen[str], folder: Path, options: argparse.Namespace) -> None:
    client = Client(options.port, options.rate)
    client.start()
    time.sleep(3)
    began = time.monotonic()
    for number in range(options.reloads):
        write_config(folder, options.port, options.database.resolve(), float(number // 2 % 2 == 0))
        daemon.send_signal(signal.SIGHUP)
        print(wait_for_line(daemon, "published").strip())
    ended = time.monotonic()
    time.sleep(3)
    client.stopping = True
    client.join()
    under = [took for sent, took in client.took if began <= sent <= ended]
    print("reloading:", describe(under))
    print("at rest:  ", describe([took for sent, took in client.took if not began <= sent <= ended]))
    print("no answer:", len(client.unanswered))


if __name__ == "__main__":
    main()

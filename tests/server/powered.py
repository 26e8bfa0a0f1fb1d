"""A world for the tests of PowerDNS's protocols: every kind of owner that it may ask for, compiled from a configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.world import write_world

from geodns.compiler.build import assemble, build
from geodns.lookup import FAILED, Client
from geodns.server.pdns_answer import Power, find_records
from geodns.snapshot import Snapshot, Zone

CONFIG = r"""
server: {listen: ["127.0.0.1:53"]}
geoip:
  database: world.mmdb
  networks:
    198.51.100.0/24: {datacenter: ams}
    127.0.0.0/24: {datacenter: nyc}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
maps:
  strict: {rules: [{network: [127.0.0.0/24], order: [nyc], only: true}]}
services:
  www: {check: off, ttl: 30, pools: {ams: [203.0.113.10], nyc: [203.0.113.20]}}
  mixed: {check: off, pools: {ams: [203.0.113.10, "2001:db8::10"], nyc: [203.0.113.20]}}
  cdn: {check: off, ttl: 30, pools: {ams: [edge-a.example.net.], nyc: [203.0.113.20]}}
  gone: {check: off, map: strict, pools: {ams: [203.0.113.30]}}  # nothing for clients of this machine
zones:
  sub.example.test:
    ns: [ns1.example.net.]
    records:
      host: {A: 192.0.2.9}
  example.test:
    ns: [ns1]
    ttl: 3600
    soa: {rname: hostmaster.example.test., serial: 2024010101, refresh: 3600, retry: 600, expire: 604800, negative_ttl: 60}
    records:
      "@": {MX: ["10 mail"]}
      ns1: {A: 192.0.2.53}
      mail: {A: 192.0.2.53}
      www: {service: www}
      mixed: {service: mixed, TXT: [beside]}
      cdn: {service: cdn}
      gone: {service: gone}
      "*.wild": {A: 192.0.2.7}
      alias: {CNAME: [edge.cdn.invalid.]}
      a.b.c: {A: 192.0.2.8}
      child: {NS: [ns.child]}
      ns.child: {A: 192.0.2.54, AAAA: "2001:db8::54"}
      'dot\.ted.odd': {TXT: ['"tab\009 \"quoted\""']}
      texts: {TXT: ['"a" "b"', 'c;d'], SRV: ["10 20 5060 mail"], CAA: ['0 issue "ca.example.net"']}
      rare:
        LOC: ["52 22 23 N 4 53 32 E 0m"]
        HIP: ["2 200100107B1A74DF365639CC39F1D578 AwEAAbdx"]
        TYPE65300: ['\# 2 0102']
"""


@cache
def power_snapshot() -> Snapshot:
    """The world, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        place = {"country": "US", "continent": "NA", "coordinates": [40, -75]}
        Path(folder, "world.mmdb").write_bytes(write_world({"0.0.0.0/1": place, "2a00::/16": place}))
        path = Path(folder, "geodns.yaml")
        path.write_text(CONFIG)
        return assemble(build(path, None))


class FixedLookup:
    """One snapshot, one draw; None: nothing is served yet."""

    def __init__(self, snapshot: Snapshot | None, draw: int = 0) -> None:
        self.snapshot, self.draw = snapshot, draw
        self.misreads = 0
        self.asked: list[tuple[bytes, int, Client]] = []

    def find(self, name: bytes, qtype: int, client: Client) -> Power:
        self.asked.append((name, qtype, client))
        return (FAILED, -1, []) if self.snapshot is None else find_records(self.snapshot, name, qtype, client, self.draw)

    def zones(self) -> Sequence[Zone] | None:
        return None if self.snapshot is None else self.snapshot.zones.zones

    def zone(self, apex: bytes) -> Zone | None:
        node = None if self.snapshot is None else self.snapshot.zones.names.get(apex)
        return node.zone if node is not None and node.zone.apex == apex else None

    def describe(self) -> list[str]:
        return ["version: 1", "serving: nothing yet"]

    def misread(self) -> None:
        self.misreads += 1

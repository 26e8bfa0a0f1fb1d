"""The configuration that all protocol tests ask: a zone made for the purpose, over a world of two halves.

Knows what is configured. Knows nothing of who serves it.
"""

from __future__ import annotations

from pathlib import Path

from tests.world import Record, write_world

WORLD: dict[str, Record] = {
    "0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40, -75]},
    "128.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
    "20.1.2.0/24": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
    "2a02::/16": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
}
CONFIG = """
server:
  listen: ["127.0.0.1:{port}"]
  workers: 1
  http: off
  state: {folder}
  nsid: test-node
  limits: {{tcp_clients: 60, tcp_clients_per_address: 30, tcp_idle: 2s}}
geoip: {{database: world.mmdb}}
datacenters:
  nyc: {{coordinates: [40, -74]}}
  ams: {{coordinates: [52, 5]}}
  sin: {{coordinates: [1, 104]}}
maps: {{world: {{default: [sin]}}}}
services:
  www:
    check: off
    ttl: 30
    pools:
      nyc: [192.0.2.1, "2001:db8:1::1"]
      ams: [192.0.2.2, "2001:db8:2::1"]
      sin: [192.0.2.3, "2001:db8:3::1"]
  pair: {{check: off, pools: {{nyc: [192.0.2.11, 192.0.2.12, 192.0.2.13]}}}}
  same: {{check: off, pools: {{nyc: [192.0.2.21]}}}}
zones:
  example.test:
    ns: [ns1.example.test., ns2.example.test.]
    soa: {{rname: hostmaster@example.test, serial: 5, negative_ttl: 60, ttl: 900}}
    ttl: 300
    records:
      ns1: {{A: 192.0.2.53}}
      ns2: {{A: 198.51.100.53, AAAA: "2001:db8::53"}}
      www: {{service: www}}
      pair: {{service: pair}}
      same: {{service: same}}
      set: {{A: [192.0.2.30, 192.0.2.31, 192.0.2.32], TXT: single}}
      mail: {{MX: ["10 set", "20 www"]}}
      alias: {{CNAME: www}}
      static: {{CNAME: set}}
      second: {{CNAME: static}}
      out: {{CNAME: www.example.net.}}
      dead: {{CNAME: absent.example.test.}}
      round: {{CNAME: about}}
      about: {{CNAME: round}}
      a.b.c: {{A: 192.0.2.40}}
      "*.wild": {{A: 192.0.2.41, MX: "10 set"}}
      here.wild: {{A: 192.0.2.42}}
      low.empty.wild: {{A: 192.0.2.43}}
      sub: {{NS: [ns.sub, ns.example.net.], DS: "12345 13 2 {zeros}"}}
      ns.sub: {{A: 192.0.2.44, AAAA: "2001:db8::44"}}
      broad: {{NS: [{broad}]}}
{glue}
      private: {{TYPE65280: '\\# 4 01020304', CAA: '0 issue "ca.example.net"', TLSA: '3 1 1 {zeros}'}}
      svc: {{HTTPS: "0 svc.example.net."}}
      large: {{TXT: [{large}]}}
      huge: {{TXT: [{huge}]}}
  inner.example.test:
    ns: [ns.inner.example.test.]
    records: {{ns: {{A: 192.0.2.60}}, "@": {{A: 192.0.2.61}}}}
"""


def write_config(folder: Path, port: int) -> Path:
    """The configuration under test, with its database beside it."""
    servers = [f"ns{i:02}.broad" for i in range(40)]
    glue = "\n".join(f"      {name}: {{A: 192.0.2.{100 + i}}}" for i, name in enumerate(servers))
    texts = {
        "port": port,
        "folder": folder / "state",
        "zeros": "0" * 64,
        "broad": ", ".join(servers),
        "glue": glue,
        "large": ", ".join(f'"{i:03}{"x" * 90}"' for i in range(16)),
        "huge": ", ".join(f'"{i:03}{"y" * 240}"' for i in range(100)),
    }
    (folder / "state").mkdir()
    (folder / "world.mmdb").write_bytes(write_world(WORLD))
    path = folder / "geodns.yaml"
    path.write_text(CONFIG.format(**texts))
    return path

"""Scenes for `explain`, `locate` and the command line: a configuration over a small made-up world, compiled.

Knows one configuration that has a bit of everything. Knows nothing of what is asked of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geodns.compiler.build import assemble, build
from geodns.compiler.choices import build_choices
from geodns.geo.place import find_sources
from geodns.health.state import Health
from geodns.locate import Scene
from geodns.settings import make_settings

from .world import Record, write_world

WORLD: dict[str, Record] = {
    "8.0.0.0/6": {"country": "US", "continent": "NA", "coordinates": [38.9, -77.0]},
    "64.0.0.0/3": {
        "country": "GB",
        "continent": "EU",
        "subdivision": "GB-ENG",
        "city": "London",
        "coordinates": [51.5, -0.1],
    },
    "80.0.0.0/8": {"country": "DE", "continent": "EU", "coordinates": [50.1, 8.7]},
    "81.0.0.0/8": {"country": "JP", "continent": "AS"},
    "129.0.0.0/16": {"country": "BR", "continent": "SA", "coordinates": [-23.5, -46.6]},
    "2a00::/12": {"country": "DE", "continent": "EU", "coordinates": [50.1, 8.7]},
    "2400::/12": {"country": "JP", "continent": "AS"},
}
CONFIG = """
server: {listen: ["127.0.0.1:5300"], client_subnet: [192.0.2.0/24, "2001:db8::/32", 64.0.0.0/3]}
geoip:
  database: world.mmdb
  networks:
    10.0.0.0/8: {datacenter: ams}
    64.1.0.0/16: {country: FR, coordinates: [48.9, 2.4]}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01], bias: 20}
  sin: {coordinates: [1.35, 103.82], bias: -10}
maps:
  world:
    rules:
      - {network: [80.7.0.0/16, "2a00:7::/32"], order: [sin]}
      - {country: [DE], order: [{nyc: 2, sin: 1}, ams]}
      - {continent: [SA], order: [nyc], only: true}
    depth: 2
    default: [sin]
  calm: {nearest: false, default: [nyc, ams]}
services:
  www:
    check: off
    ttl: {min: 5, max: 60}
    pools:
      ams: [{address: 192.0.2.10, weight: 3}, {address: 192.0.2.11, weight: 2}, "2001:db8:a::10"]
      nyc: [198.51.100.10, 198.51.100.11]
      sin: [203.0.113.10, "2001:db8:c::10"]
  several:
    check: off
    answers: 2
    pools: {ams: [{address: 192.0.2.20, weight: 3}, 192.0.2.21, {address: 192.0.2.22, weight: 2}]}
  same: {check: off, pick: sticky, answers: 2, pools: {ams: [192.0.2.30, 192.0.2.31, 192.0.2.32], nyc: [198.51.100.30]}}
  cdn: {check: off, pools: {ams: [edge.cdn.example.net.], nyc: [www.example.com.]}}
  even: {check: off, map: calm, pools: {ams: [192.0.2.40], nyc: [198.51.100.40]}, all_down: {addresses: [192.0.2.99]}}
  odd: {check: off, pools: {ams: [192.0.2.50], sin: [203.0.113.50]}, all_down: {service: even}}
  shy: {check: off, pools: {ams: [192.0.2.60]}, all_down: none}
  loud: {check: off, pools: {ams: [192.0.2.70]}, all_down: servfail}
zones:
  example.com:
    ns: [ns1.example.com., ns2.example.com.]
    soa: {serial: 7}
    records:
      "@": {service: www, MX: ["10 mail"]}
      www: {service: www}
      several: {service: several}
      same: {service: same}
      cdn: {service: cdn}
      even: {service: even}
      odd: {service: odd}
      shy: {service: shy}
      loud: {service: loud}
      alias: {CNAME: www}
      away: {CNAME: www.example.org.}
      round: {CNAME: about}
      about: {CNAME: round}
      mail: {A: [192.0.2.25, 192.0.2.26], ttl: 3600}
      ns1: {A: 192.0.2.53}
      ns2: {A: 198.51.100.53}
      "*.apps": {service: www}
      a.b: {TXT: ["hi"]}
      sub: {NS: [ns.sub]}
      ns.sub: {A: 192.0.2.54}
  sub2.example.com: {ns: [ns1.example.com.], soa: {serial: 3}, records: {x: {A: 192.0.2.80}}}
"""


def write_scene(folder: Path, config: str = CONFIG) -> Path:
    """*config* and the world in *folder*; returns the configuration's path."""
    (folder / "world.mmdb").write_bytes(write_world(WORLD))
    (folder / "geodns.yaml").write_text(config)
    return folder / "geodns.yaml"


def build_scene(folder: Path, config: str = CONFIG) -> Scene:
    """The scene of *config*, every member up."""
    built = build(write_scene(folder, config), None)
    found = built.loaded.config
    return Scene(found, assemble(built), find_sources(found.geoip), make_settings(found.server), {})


def with_health(scene: Scene, health: Health) -> Scene:
    """*scene* under *health*."""
    choices = build_choices(scene.snapshot.zones, health)
    return replace(scene, snapshot=replace(scene.snapshot, choices=choices), health=health)

"""Small worlds from a seed: a configuration, its databases, and the snapshot that the whole pipeline makes of both.

Knows how to draw networks that nest, touch and meet special blocks. Knows nothing of what is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.properties.plain import World
from tests.world import write_world

from geodns.compiler.build import assemble, build
from geodns.snapshot import Service, Snapshot, Table

NAMES = ("ams", "nyc", "sin", "gru", "jnb", "syd")
COUNTRIES = {"US": "NA", "CA": "NA", "FR": "EU", "NO": "EU", "JP": "AS", "BR": "SA", "ZA": "AF", "AU": "OC"}
ASNS = (64500, 64501, 64502)
V4_TOPS = (0, 10, 20, 20, 20, 100, 128, 172, 192, 198, 203, 223, 255)
V4_SECONDS = (0, 1, 2, 16, 64, 88, 128, 168, 255)
V6_TOPS = (0x0000, 0x0064, 0x0100, 0x2001, 0x2002, 0x2A02, 0x2A02, 0x2A03, 0x3FFF, 0xFD00, 0xFE80, 0xFFFF)
V6_SECONDS = (0, 1, 0x0DB8, 0x1400, 0x8000, 0xFF9B, 0xFFFF)


@dataclass(frozen=True)
class Made:
    """A world, and what the pipeline made of it."""

    world: World
    snapshot: Snapshot

    def service(self, name: str) -> tuple[Service, Table, str, frozenset[str]]:
        """A service, its table, its map, and the datacenters that it is in."""
        service = next(service for service in self.snapshot.zones.services if service.name == name)
        spec = self.world.spec["services"][name]
        return service, self.snapshot.maps.tables[service.table], spec["map"], frozenset(spec["pools"])


def make_world(seed: int, folder: Path) -> Made:
    """The world of *seed*, compiled in *folder*."""
    return compile_world(*draw_world(random.Random(seed)), folder)


def compile_world(world: World, options: Mapping[str, Any], folder: Path) -> Made:
    """*world* through the whole pipeline; *options* are those of its database."""
    (folder / "world.mmdb").write_bytes(write_world(world.records, **options))
    (folder / "asn.mmdb").write_bytes(write_world(world.asns, database_type="Test-ASN"))
    (folder / "geodns.yaml").write_text(json.dumps(world.spec))  # JSON is YAML
    return Made(world, assemble(build(folder / "geodns.yaml", None)))


def draw_world(chance: random.Random) -> tuple[World, dict[str, Any]]:
    """A world without datacenters that are nearly equally far from some place: their order would be a matter of rounding."""
    while True:
        ip_version = chance.choice((4, 6, 6, 6))
        records = {network: draw_record(chance) for network in draw_networks(chance, ip_version, 14)} | {
            "20.0.0.0/8": draw_record(chance)
        }
        asns = {network: {"asn": chance.choice(ASNS)} for network in draw_networks(chance, 6, 5)} | {
            "20.2.0.0/16": {"asn": 64500}
        }
        world = World(draw_spec(chance), records, asns)
        if is_clear(world):
            options = {
                "ip_version": ip_version,
                "record_size": chance.choice((24, 28, 32)),
                "shared": chance.random() < 0.5,
                "schema": chance.choice(("nested", "nested", "flat")),
            }
            return world, options


def is_clear(world: World) -> bool:
    """Are the distances to any two datacenters a metre apart, for every place of this world?"""
    places = [record for record in world.records.values() if record]
    points = [p["coordinates"] for p in (*places, *world.corrections.values()) if p.get("coordinates")]
    points += [datacenter["coordinates"] for datacenter in world.spec["datacenters"].values()]
    for point in points:
        far = sorted(world.distance(point, name) for name in world.spec["datacenters"])
        if any(b - a < 0.001 for a, b in pairwise(far)):
            return False
    return True


def draw_networks(chance: random.Random, ip_version: int, most: int) -> list[str]:
    """Networks that share their first bits often enough to nest and to touch."""
    found = []
    for _ in range(chance.randint(2, most)):
        if ip_version == 4 or chance.random() < 0.6:
            octets = (
                chance.choice(V4_TOPS),
                chance.choice(V4_SECONDS),
                chance.choice((0, 2, 99, 113, 128)),
                chance.choice((0, 7, 255)),
            )
            length = chance.choice((1, 2, 4, 6, 7, 8, 8, 9, 10, 12, 15, 16, 17, 20, 24, 24, 25, 30, 32))
            found.append(str(ip_network((bytes(octets), length), strict=False)))
        else:
            words = (
                chance.choice(V6_TOPS),
                chance.choice(V6_SECONDS),
                chance.choice((0, 1, 0x0200)),
                chance.choice((0, 0x8000)),
            )
            number = sum(word << 112 - 16 * i for i, word in enumerate(words))
            length = chance.choice((1, 3, 7, 12, 16, 17, 20, 23, 24, 29, 32, 33, 40, 48, 56, 63, 64))
            found.append(str(ip_network((number.to_bytes(16, "big"), length), strict=False)))
    return list(dict.fromkeys(found))


def draw_record(chance: random.Random) -> dict[str, Any] | None:
    """A place, sometimes only a country, sometimes a hole."""
    if chance.random() < 0.1:
        return None
    country = chance.choice(list(COUNTRIES))
    record: dict[str, Any] = {"country": country, "continent": COUNTRIES[country]}
    if chance.random() < 0.8:
        record["coordinates"] = draw_point(chance)
    return record


def draw_point(chance: random.Random) -> list[int]:
    return [chance.randint(-60, 70), chance.randint(1, 179) * chance.choice((-1, 1))]


def draw_spec(chance: random.Random) -> dict[str, Any]:
    """A configuration with two maps, and a service for each way of choosing among its datacenters."""
    names = list(NAMES[: chance.randint(2, len(NAMES))])
    chance.shuffle(names)
    datacenters = {name: {"coordinates": draw_point(chance), "bias": chance.choice((0, 0, 0, 30, -40))} for name in names}
    some = sorted(chance.sample(names, chance.randint(1, len(names))))
    services = {
        "all": draw_service("world", names),
        "some": draw_service("world", some),
        "ruled": draw_service("ruled", names),
        "few": draw_service("ruled", some),
        "sticky": draw_service("ruled", some) | {"pick": "sticky"},
    }
    return {
        "geoip": {"database": "world.mmdb", "asn": "asn.mmdb", "networks": draw_corrections(chance, names)},
        "datacenters": datacenters,
        "maps": {"world": draw_map(chance, names, 0), "ruled": draw_map(chance, names, 5)},
        "services": services,
        "zones": {
            "example.com": {
                "ns": ["ns1.example.com."],
                "records": {"ns1": {"A": "192.0.2.53"}} | {name: {"service": name} for name in services},
            }
        },
    }


def draw_service(map_name: str, names: list[str]) -> dict[str, Any]:
    """A service with two members in each of *names*; 192.0.2.10 and 11 are in the first of NAMES, 20 and 21 in the next."""
    pools = {name: [f"192.0.2.{10 * (NAMES.index(name) + 1) + i}" for i in range(2)] for name in names}
    return {"map": map_name, "check": None, "pools": pools}


def draw_map(chance: random.Random, names: list[str], rules: int) -> dict[str, Any]:
    """A map with up to *rules* rules."""
    return {
        "nearest": rules == 0 or chance.random() < 0.7,
        "depth": chance.randint(1, 3),
        "default": chance.sample(names, chance.randint(1, len(names))),
        "rules": [draw_rule(chance, names) for _ in range(chance.randint(0, rules))],
    }


def draw_rule(chance: random.Random, names: list[str]) -> dict[str, Any]:
    """A rule with one condition, sometimes two, and an order with tiers."""
    conditions: dict[str, Any] = {
        "network": draw_networks(chance, 6, 3),
        "asn": chance.sample(ASNS, 1),
        "country": chance.sample(list(COUNTRIES), 2),
        "continent": chance.sample(sorted(set(COUNTRIES.values())), 1),
    }
    order: list[Any] = list(chance.sample(names, chance.randint(1, len(names))))
    if len(order) > 1 and chance.random() < 0.4:
        order[:2] = [{order[0]: chance.randint(1, 9), order[1]: chance.randint(1, 9)}]
    rule = {key: conditions[key] for key in chance.sample(list(conditions), chance.choice((1, 1, 1, 2)))}
    return rule | {"order": order} | ({"only": True} if chance.random() < 0.2 else {})


def draw_corrections(chance: random.Random, names: list[str]) -> dict[str, Any]:
    """Corrections of all kinds; not narrower than /64."""
    kinds = (
        lambda: {"country": chance.choice(list(COUNTRIES))},
        lambda: {"coordinates": draw_point(chance)},
        lambda: {"datacenter": chance.choice(names)},
        lambda: {"asn": chance.choice(ASNS)},
        lambda: {"country": chance.choice(list(COUNTRIES)), "coordinates": draw_point(chance)},
    )
    return {network: chance.choice(kinds)() for network in draw_networks(chance, 6, 6)}

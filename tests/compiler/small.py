"""Small configurations, and a naive model of what an address should get: one address at a time, nothing merged.

Knows the design's sentences, maxminddb and plain arithmetic. Shares no code with the compiler but the model of the
configuration and the table of special blocks, so that it can contradict it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import maxminddb
from tests.world import Record, write_world

from geodns.compiler.maps import build_maps
from geodns.compiler.naming import name_parts
from geodns.config.model import Config
from geodns.geo.place import Sources
from geodns.geo.special import BLOCKS
from geodns.image_maps import read_maps
from geodns.snapshot import JOINED, PEER, UNWRAP, Maps, Ranges, Table

Tiers = tuple[tuple[tuple[str, int], ...], ...]
MARKS = {PEER: "peer", UNWRAP: "unwrap"}
V4_BITS, V6_BITS = 32, 64


def make_config(
    datacenters: Mapping[str, Any],
    *,
    maps: Mapping[str, Any] | None = None,
    networks: Mapping[str, Any] | None = None,
    services: Mapping[str, Any] | None = None,
) -> Config:
    """A whole configuration; a service is a list of its datacenters, or (map, list), or written out."""
    written = {}
    for name, service in (services or {"www": list(datacenters)}).items():
        map_name, pools = service if isinstance(service, tuple) else ("world", service)
        if isinstance(pools, dict):
            written[name] = {"map": map_name, "pools": pools}
        else:
            written[name] = {"map": map_name, "pools": {dc: [f"192.0.2.{i + 1}"] for i, dc in enumerate(pools)}}
    sites = {name: dc if isinstance(dc, dict) else {"coordinates": list(dc)} for name, dc in datacenters.items()}
    return Config.model_validate(
        {
            "server": {"listen": ["127.0.0.1:53"]},
            "geoip": {"networks": dict(networks or {})},
            "datacenters": sites,
            "maps": {"world": {}, **(maps or {})},
            "services": written,
        }
    )


@dataclass(frozen=True)
class World:
    """A configuration and its databases, compiled; and the same asked naively."""

    config: Config
    sources: Sources
    maps: Maps = field(init=False)
    block: bytes = field(init=False)
    readers: list[Any] = field(init=False)
    asn_reader: Any = field(init=False)

    def __post_init__(self) -> None:
        block = build_maps(self.config, name_parts(self.config), self.sources)
        found = {
            "block": block,
            "maps": read_maps(block, "test"),
            "readers": [maxminddb.open_database(path, maxminddb.MODE_MEMORY) for path in self.sources.places],
            "asn_reader": self.sources.asn and maxminddb.open_database(self.sources.asn, maxminddb.MODE_MEMORY),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def table(self, service: str) -> Table:
        """The table of a service."""
        settings = self.config.services[service]
        return self.maps.tables[name_parts(self.config).table_of(settings.map, settings.pools)]

    def compiled(self, service: str, address: int, bits: int) -> Tiers | str:
        """What the table gives: tiers by name, or the name of a mark. IPv6 by its upper half."""
        table = self.table(service)
        ranges = table.v4 if bits == V4_BITS else table.v6
        order = ranges.orders[bisect_right(ranges.starts, address) - 1]
        return MARKS.get(order) or read_row(self.maps, table, order)

    def naive(self, service: str, address: int, bits: int) -> Tiers | str:
        """What the design says."""
        whole = IPv4Address(address) if bits == V4_BITS else IPv6Address(address << 64)
        settings = self.config.services[service]
        block = max((b for b in BLOCKS if whole in b.network), key=lambda b: b.network.prefixlen, default=None)
        corrections = [(n.prefixlen, c) for n, c in self.config.geoip.networks.items() if whole in n]
        correction = max(corrections, key=lambda pair: pair[0])[1] if corrections else None
        place = {} if block else self._look_up(whole)
        asn = None if block else self._look_up_asn(whole)
        if correction is not None:
            place, asn = self._correct(place, asn, correction)
        for rule in self.config.maps[settings.map].rules:
            if block and correction is None and not rule.network:
                continue
            conditions = (
                (rule.network, any(whole in network for network in rule.network)),
                (rule.asn, asn in rule.asn),
                (rule.country, place.get("country") in rule.country),
                (rule.subdivision, place.get("subdivision") in rule.subdivision),
                (rule.continent, place.get("continent") in rule.continent),
            )
            if all(holds for condition, holds in conditions if condition):
                return self._order(settings, place, rule.order, rule.only)
        if block and correction is None:
            return "unwrap" if block.embeds else "peer"
        return self._order(settings, place, (), False)

    def _look_up(self, address: IPv4Address | IPv6Address) -> dict[str, Any]:
        for reader in self.readers:
            if address.version == 6 and reader.metadata().ip_version == 4:
                continue
            record = reader.get(address)
            if record:
                country = record.get("country", {}).get("iso_code")
                parts = record.get("subdivisions", [])
                where = record.get("location", {})
                found = {
                    "continent": record.get("continent", {}).get("code"),
                    "country": country,
                    "subdivision": f"{country}-{parts[0]['iso_code']}" if parts and country else None,
                    "coordinates": (where["latitude"], where["longitude"]) if len(where) == 2 else None,
                }
                if any(found.values()):
                    return found
        return {}

    def _look_up_asn(self, address: IPv4Address | IPv6Address) -> int | None:
        record = self.asn_reader and self.asn_reader.get(address)
        return record["autonomous_system_number"] if record else None

    def _correct(self, place: dict[str, Any], asn: int | None, correction: Any) -> tuple[dict[str, Any], int | None]:
        place = dict(place)
        levels = ("continent", "country", "subdivision", "city", "coordinates")
        for i, level in enumerate(levels):
            if getattr(correction, level) is not None:
                for finer in levels[i:]:
                    place.pop(finer, None)
                place[level] = getattr(correction, level)
        if correction.subdivision:
            place["country"] = correction.subdivision[:2]
        if correction.datacenter:
            place["coordinates"] = self.config.datacenters[correction.datacenter].coordinates
        return place, asn if correction.asn is None else correction.asn

    def _order(self, settings: Any, place: dict[str, Any], listed: Iterable[Any], only: bool) -> Tiers:
        mine, chosen = self.config.maps[settings.map], list[tuple[tuple[str, int], ...]]()
        taken = set[str]()

        def add(tier: Iterable[tuple[str, int]]) -> None:
            left = tuple((name, weight) for name, weight in tier if name in settings.pools and name not in taken)
            taken.update(name for name, _ in left)
            if left:
                chosen.append(left if len(left) > 1 else ((left[0][0], 1),))

        for tier in listed:
            add(tier)
        if not only:
            here = place.get("coordinates")
            if mine.nearest and here:
                near = sorted(settings.pools, key=lambda name: (self._distance(here, name), name))
                for name in near[: mine.depth]:
                    add([(name, 1)])
            for name in [*mine.default, *self.config.datacenters]:
                add([(name, 1)])
        return tuple(chosen)

    def _distance(self, here: tuple[float, float], name: str) -> float:
        datacenter = self.config.datacenters[name]
        (a, b), (c, d) = (map(math.radians, point) for point in (here, datacenter.coordinates))
        half = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        km = 2 * 6371.0088 * math.asin(min(1, math.sqrt(half)))
        bias = datacenter.bias
        return round(km * (1 - bias / 100) if bias >= 0 else km / (1 + bias / 100), 6)

    def corners(self, bits: int, networks: Iterable[str] = ()) -> list[int]:
        """The first address of every piece of the space in which nothing can change, in order."""
        written = [*self.config.geoip.networks, *(ip_network(text) for text in networks)]
        written += [network for settings in self.config.maps.values() for rule in settings.rules for network in rule.network]
        written += [block.network for block in BLOCKS]
        kind = IPv4Network if bits == V4_BITS else IPv6Network
        edges = {0}
        for network in written:
            if isinstance(network, kind):
                edges |= set(span(network))
        return sorted(edges - {1 << bits})


def span(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """First and one after the last, IPv6 by upper halves (at least one)."""
    shift = 0 if network.version == 4 else 64
    first = int(network.network_address) >> shift
    return first, (int(network.broadcast_address) >> shift) + 1


def read_row(maps: Maps, table: Table, order: int) -> Tiers:
    """The tiers of an order, by name."""
    tiers: list[list[tuple[str, int]]] = []
    for i in range(table.rows[order], table.rows[order + 1]):
        weight = table.weights[i] if order < table.first_plain else 1
        if not weight & JOINED:
            tiers.append([])
        tiers[-1].append((maps.datacenters[table.steps[i]], weight & ~JOINED))
    return tuple(map(tuple, tiers))


def families(table: Table) -> Iterator[tuple[Ranges, int, int]]:
    """(ranges, bits, shift of the index) of both families."""
    yield table.v4, V4_BITS, 16
    yield table.v6, V6_BITS, 48


def write_database(folder: Path, records: Mapping[str, Record], name: str = "world.mmdb", **options: Any) -> Path:
    """A database file made of *records*."""
    path = folder / name
    path.write_bytes(write_world(records, **options))
    return path

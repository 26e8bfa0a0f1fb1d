"""A plain model of the order and the scope of a client: slow, obvious, and written from the rules, not from the code.

Knows a configuration as a dictionary, and the records of a small world. Shares nothing with the compiler but frozen tables:
special blocks, centres of countries. An order is a tuple of tiers, a tier a tuple of (datacenter, weight).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import pairwise
from typing import Any

from geodns.geo import iso
from geodns.geo.special import BLOCKS

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Tier = tuple[tuple[str, int], ...]
Order = tuple[Tier, ...]
Spec = Mapping[str, Any]
Interval = tuple[int, int, "Order | str"]  # first, one after the last, order or mark
PEER, UNWRAP = "PEER", "UNWRAP"
BITS = {4: 32, 6: 64}  # of IPv6 the upper half counts


@dataclass(frozen=True)
class World:
    """A configuration (`geoip.networks`, `datacenters`, `maps`, `services`) and what its databases hold."""

    spec: Spec
    records: Mapping[str, Any]
    asns: Mapping[str, Any]

    @cached_property
    def corrections(self) -> dict[Network, Any]:
        """`geoip.networks` by network."""
        return {ip_network(text): found for text, found in self.spec["geoip"]["networks"].items()}

    @cached_property
    def databases(self) -> tuple[dict[Network, Any], dict[Network, Any]]:
        """Records by network: places, AS numbers."""
        return (
            {ip_network(text): record for text, record in self.records.items()},
            {ip_network(text): record for text, record in self.asns.items()},
        )

    def place_of(self, address: Address) -> dict[str, Any]:
        """What is known of *address*: continent, country, subdivision, coordinates, asn, each perhaps missing."""
        place: dict[str, Any] = {}
        if find_block(address) is None:
            places, asns = self.databases
            place = dict(look_up(places, address) or {})
            if asn := look_up(asns, address):
                place["asn"] = asn["asn"]
        correction = longest(self.corrections, address) or {}
        coordinates = correction.get("coordinates")
        if "datacenter" in correction:
            coordinates = self.spec["datacenters"][correction["datacenter"]]["coordinates"]
        if "country" in correction:
            place = {"country": correction["country"], "continent": iso.continent_of(correction["country"])} | {
                key: value for key, value in place.items() if key == "asn"
            }
        if coordinates:
            place["coordinates"] = coordinates
        if "asn" in correction:
            place["asn"] = correction["asn"]
        if place.get("country") and not place.get("coordinates"):
            place["coordinates"] = iso.centre(place["country"], place.get("subdivision"))
        if place.get("country") and not place.get("continent"):
            place["continent"] = iso.continent_of(place["country"])
        return place

    def order_of(self, address: Address, map_name: str, members: frozenset[str]) -> Order | str:
        """The order of *address* under a map for a service in the datacenters *members*; or the mark of its block."""
        settings, place = self.spec["maps"][map_name], self.place_of(address)
        rule = next((rule for rule in settings["rules"] if matches(rule, address, place)), None)
        block = find_block(address)
        spoken_for = longest(self.corrections, address) is not None or any(
            "network" in rule and matches(rule, address, place) for rule in settings["rules"]
        )
        if block is not None and not spoken_for:
            return UNWRAP if block.embeds else PEER
        tiers: list[Tier] = []
        seen: set[str] = set()
        for tier in rule["order"] if rule else ():
            weights = tier if isinstance(tier, dict) else {tier: 1}
            left = tuple((name, weight) for name, weight in weights.items() if name in members and name not in seen)
            seen.update(weights)
            if left:
                tiers.append(left if len(left) > 1 else ((left[0][0], 1),))
        if rule and rule.get("only"):
            return tuple(tiers)
        near = self.rank(place.get("coordinates"), members)[: settings["depth"]] if settings["nearest"] else []
        rest = [*near, *settings["default"], *self.spec["datacenters"]]
        return (*tiers, *(((name, 1),) for name in dict.fromkeys(rest) if name in members and name not in seen))

    def order_for(self, address: Address, map_name: str, members: frozenset[str], peer: Address) -> Order | str:
        """`order_of`, with PEER resolved: the order of *peer*, or the default where that says nothing either."""
        order = self.order_of(address, map_name, members)
        if order == PEER:
            order = self.order_of(peer, map_name, members)
            return self.default_of(map_name, members) if order == PEER else order
        return order

    def default_of(self, map_name: str, members: frozenset[str]) -> Order:
        """The order of clients nobody can place."""
        names = [*self.spec["maps"][map_name]["default"], *self.spec["datacenters"]]
        return tuple(((name, 1),) for name in dict.fromkeys(names) if name in members)

    def rank(self, coordinates: Any, members: frozenset[str]) -> list[str]:
        """*members* by distance, bias counted; nobody for a place without coordinates."""
        if not coordinates:
            return []
        return sorted(members, key=lambda name: (round(self.distance(coordinates, name), 6), name))

    def distance(self, coordinates: Any, name: str) -> float:
        """Kilometres from *coordinates* to a datacenter, after its bias."""
        datacenter = self.spec["datacenters"][name]
        bias: int = datacenter["bias"]
        factor = 1 - bias / 100 if bias >= 0 else 1 / (1 + bias / 100)
        return arc(coordinates, datacenter["coordinates"]) * 6371.0088 * factor

    def edges(self, version: int) -> list[int]:
        """Every unit at which anything in the whole world begins or ends."""
        networks = [*self.corrections, *self.databases[0], *self.databases[1], *(block.network for block in BLOCKS)]
        for settings in self.spec["maps"].values():
            networks += [ip_network(text) for rule in settings["rules"] for text in rule.get("network", ())]
        found = {0, 1 << BITS[version]}
        for network in networks:
            if network.version == version:
                found.update(units_of(network))
        return sorted(found)

    def intervals(self, version: int, map_name: str, members: frozenset[str]) -> list[Interval]:
        """The whole family, cut only where the order changes, and at both edges of every special block."""
        edges = self.edges(version)
        forced = {edge for block in BLOCKS if block.network.version == version for edge in units_of(block.network)}
        found: list[Interval] = []
        for first, end in pairwise(edges):
            order = self.order_of(address_at(version, first), map_name, members)
            if found and found[-1][2] == order and first not in forced:
                found[-1] = (found[-1][0], end, order)
            else:
                found.append((first, end, order))
        return found


def matches(rule: Mapping[str, Any], address: Address, place: Mapping[str, Any]) -> bool:
    """All conditions hold; values of one are alternatives."""
    return (
        ("network" not in rule or is_in(rule["network"], address))
        and ("asn" not in rule or place.get("asn") in rule["asn"])
        and ("country" not in rule or place.get("country") in rule["country"])
        and ("continent" not in rule or place.get("continent") in rule["continent"])
    )


def is_in(networks: list[str], address: Address) -> bool:
    """Does one of *networks* hold *address*?"""
    return any(address in ip_network(text) for text in networks if ip_network(text).version == address.version)


def look_up(networks: Mapping[Network, Any], address: Address) -> Any:
    """The record of *address* in a database of both families, where the IPv4 tree stands at ::/96."""
    if address.version == 4 and not any(network.version == 4 and address in network for network in networks):
        return longest(networks, IPv6Address(int(address)))
    return longest(networks, address)


def longest(networks: Mapping[Network, Any], address: Address) -> Any:
    """What belongs to the longest of *networks* that holds *address*; None without one."""
    holding = [network for network in networks if network.version == address.version and address in network]
    return networks[max(holding, key=lambda network: network.prefixlen)] if holding else None


def find_block(address: Address) -> Any:
    """The narrowest special block round *address*."""
    holding = [block for block in BLOCKS if block.network.version == address.version and address in block.network]
    return max(holding, key=lambda block: block.network.prefixlen, default=None)


def units_of(network: Network) -> tuple[int, int]:
    """First unit, and the one after the last."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return (first, last + 1) if network.version == 4 else (first >> 64, (last >> 64) + 1)


def address_at(version: int, unit: int) -> Address:
    """The address of a unit; of an IPv6 /64 its first."""
    return IPv4Address(unit) if version == 4 else IPv6Address(unit << 64)


def arc(a: Any, b: Any) -> float:
    """Radians between two (latitude, longitude), by Vincenty's formula for a sphere; well conditioned everywhere."""
    phi, psi, d = math.radians(a[0]), math.radians(b[0]), math.radians(b[1] - a[1])
    y = math.hypot(math.cos(psi) * math.sin(d), math.cos(phi) * math.sin(psi) - math.sin(phi) * math.cos(psi) * math.cos(d))
    return math.atan2(y, math.sin(phi) * math.sin(psi) + math.cos(phi) * math.cos(psi) * math.cos(d))


def widest(first: int, end: int, unit: int, bits: int) -> int:
    """The length of the widest prefix round *unit* that stays between *first* and *end*: by trying all."""
    for length in range(bits + 1):
        size = 1 << bits - length
        begin = unit // size * size
        if first <= begin and begin + size <= end:
            return length
    raise AssertionError(f"{unit} is not between {first} and {end}")

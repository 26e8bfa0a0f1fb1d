"""Where an address is, who says so, and what every map in use makes of it.

Knows databases, corrections, rules and distances one address at a time; the order and the scope are read from the
compiled tables by `lookup.find_order`, as serving reads them. Knows nothing of names, pools or terminals.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from .answer import Settings
from .compiler.build import assemble, build
from .compiler.diff import Side
from .compiler.images import find_images
from .compiler.naming import name_parts
from .compiler.orders import collect_rules
from .config.load import find_config
from .config.model import Address, Config, Map, Rule
from .explanation import Distance, Located, Location, View
from .geo.distance import build_sites, measure_sites
from .geo.networks import Corrections
from .geo.place import Place, Sources, find_sources, locate_place
from .geo.special import find_embedded, find_special
from .health.state import Health
from .image_maps import read_countries, read_maps
from .lookup import Client, find_order, read_tiers, unwrap
from .ranges import V4_SHIFT, V6_BITS, V6_SHIFT, find_range
from .settings import make_settings
from .snapshot import DEFAULT, PEER, UNWRAP, Snapshot, Table


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a question about a decision can need: what serves, and what it was made from."""

    config: Config
    snapshot: Snapshot
    sources: Sources
    settings: Settings
    health: Health

    @property
    def coordinates(self) -> dict[str, tuple[float, float]]:
        """Latitude and longitude of each datacenter."""
        return {name: datacenter.coordinates for name, datacenter in self.config.datacenters.items()}


def open_scene(path: Path | None) -> Scene:
    """The scene of a configuration file (None: the usual places), compiled or from its image; every member up.

    Raises ConfigError and DatabaseError, as the daemon would complain at start.
    """
    built = build(find_config(path), find_images(None, os.environ))
    config = built.loaded.config
    return Scene(
        config,
        assemble(built),
        find_sources(config.geoip),
        make_settings(config.server),
        {},
    )


def open_side(path: Path) -> Side:
    """One side of a comparison: the configuration at *path*, compiled. Raises ConfigError and DatabaseError."""
    built = build(path, find_images(None, os.environ))
    maps, countries = read_maps(built.maps, "maps"), read_countries(built.maps, "maps")
    return Side(built.loaded.config, name_parts(built.loaded.config), maps, countries)


def locate(scene: Scene, address: Address) -> Location:
    """Where *address* is, how far the datacenters are, and what each table makes of a client subnet of just this address."""
    bits = address.max_prefixlen
    client: Client = (bits, int(address), bits, bits, int(address))
    located = describe(scene, address)
    return Location(
        located, measure(scene, located), tuple(_view(scene, i, client) for i in range(len(scene.snapshot.maps.tables)))
    )


def _view(scene: Scene, number: int, client: Client) -> View:
    table = scene.snapshot.maps.tables[number]
    order, scope, bits, address = find_order(table, client, 0, 0)
    used = address_of(bits, address)
    first, last, _ = range_round(table, bits, address)
    services = tuple(service.name for service in scene.snapshot.zones.services if service.table == number)
    rule = tell_rule(scene, table.map_name, order, used, describe(scene, used))
    why = tell_scope(table, client, (0, 0), scope)
    return View(
        table.map_name, services, rule, tell_order(scene.snapshot, read_tiers(table, order)), first, last, scope, why
    )


def describe(scene: Scene, address: Address) -> Located:
    """The place of *address*; of one that carries an IPv4 address, the place of that one. Raises DatabaseError."""
    inside = find_embedded(address) if isinstance(address, IPv6Address) else None
    if inside is not None:
        form, carried = inside
        return replace(describe(scene, carried), address=str(address), special=f"carries {carried}: {form.name}, {form.rfc}")
    corrections = Corrections(scene.config.geoip.networks)
    found = locate_place(address, scene.sources, corrections, scene.coordinates)
    block, place, corrected = find_special(address), found.place, corrections.find(address)
    return Located(
        str(address),
        str(found.network) if found.source else None,
        found.source or "nobody knows this address",
        place.continent,
        place.country,
        place.subdivision,
        place.city,
        (place.latitude, place.longitude) if place.latitude is not None and place.longitude is not None else None,
        _coordinates_from(place, corrected is not None and (corrected[1].coordinates or corrected[1].datacenter)),
        place.asn,
        place.accuracy_radius,
        place.registered_country,
        f"{block.network}: {block.name}, {block.rfc}; databases are not asked" if block else None,
    )


def _coordinates_from(place: Place, corrected: str | tuple[float, float] | bool | None) -> str:
    """Who gave the coordinates: the record, a correction, or the centre of what the record names."""
    if place.latitude is None:
        return "none"
    if place.centred:
        return f"the centre of {place.subdivision or place.country}"
    if isinstance(corrected, str):
        return f"corrected: stands where {corrected} stands"
    return "corrected" if corrected else "record"


def address_of(bits: int, number: int) -> Address:
    """An address from its number; *bits* is 32 or 128."""
    return IPv4Address(number) if bits == 32 else IPv6Address(number)


def range_round(table: Table, bits: int, number: int) -> tuple[str, str, int]:
    """First and last address of the range that holds an address, and the widest prefix round it that stays inside."""
    if bits == 32:
        ranges, shift, width, below = table.v4, V4_SHIFT, 32, 0
    else:
        ranges, shift, width, below = table.v6, V6_SHIFT, V6_BITS, 128 - V6_BITS
    i, scope = find_range(ranges, number >> below, shift, width)
    end = ranges.starts[i + 1] if i + 1 < len(ranges.starts) else 1 << width
    return str(address_of(bits, ranges.starts[i] << below)), str(address_of(bits, (end << below) - 1)), scope


def measure(scene: Scene, place: Located) -> tuple[Distance, ...]:
    """Every datacenter by distance after its bias, nearest first, ties by name; empty where nobody knows the coordinates."""
    if place.coordinates is None:
        return ()
    sites = build_sites(scene.config.datacenters)
    measured = zip(sites, measure_sites(*place.coordinates, sites), strict=True)
    told = [Distance(site.name, km, scene.config.datacenters[site.name].bias, ranked) for site, (km, ranked) in measured]
    return tuple(sorted(told, key=lambda distance: (distance.ranked_km, distance.datacenter)))


def tell_order(snapshot: Snapshot, tiers: Iterable[Sequence[tuple[int, int]]]) -> tuple[str, ...]:
    """Each tier in words: the datacenter, or each with its weight."""
    names = snapshot.maps.datacenters
    return tuple(
        " | ".join(f"{names[number]} {weight}" if len(tier) > 1 else names[number] for number, weight in tier)
        for tier in tiers
    )


def find_rule(config: Config, map_name: str, address: Address, place: Located) -> int | None:
    """Index of the map's first rule whose conditions all hold for *address* at *place*; None where no rule does.

    Conditions are the compiler's; of an IPv6 address the upper 64 bits count, as in the tables.
    """
    if address.version == 6:
        address = IPv6Address(int(address) >> 64 << 64)
    rules = collect_rules(config, (map_name,))
    held = sum({rule for network, rule in rules.networks() if address in network}) | ~rules.with_network
    held &= rules.by_place(place.continent, place.country, place.subdivision) & rules.by_asn(place.asn)
    return (held & -held).bit_length() - 1 if held else None


def tell_rule(scene: Scene, map_name: str, order: int, address: Address, place: Located) -> str:
    """What made the order: a rule with its conditions, the distance, or the default; and what follows."""
    rules = scene.config.maps[map_name]
    found = find_rule(scene.config, map_name, address, place)
    if found is not None:
        rule = rules.rules[found]
        return f"rule {found + 1} ({_conditions(rule)}), " + (
            "and nothing else" if rule.only else f"then {_rest(rules, place)}"
        )
    if order == DEFAULT and not place.coordinates:
        return "no rule matches, and nobody knows where the client is, so the default"
    return f"no rule matches, so {_rest(rules, place)}"


def _rest(rules: Map, place: Located) -> str:
    if not rules.nearest or not place.coordinates:
        return "the default"
    return f"the nearest {rules.depth}, then the default"


def _conditions(rule: Rule) -> str:
    kinds = {
        "network": rule.network,
        "AS": rule.asn,
        "country": rule.country,
        "subdivision": rule.subdivision,
        "continent": rule.continent,
    }
    return "; ".join(f"{kind} {' '.join(map(str, codes))}" for kind, codes in kinds.items() if codes) or "everybody"


def tell_scope(table: Table, client: Client, least: tuple[int, int], scope: int) -> str:
    """Why `lookup.find_order` gave *scope*; *least* are the shortest scopes that are true for a sticky service."""
    bits, address, source, peer_bits, peer_address = client
    if not bits:
        bits, address, source = peer_bits, peer_address, peer_bits
    if scope == 0:
        return "the order is the same for all clients of both families"
    first, last, own = range_round(table, bits, address)
    embedded, offset = unwrap(address) if bits == 128 else (0, -1)
    mark = mark_of(table, bits, address)
    if mark == UNWRAP and offset >= 0 and source < offset + 8:
        return f"{source} bits do not reach the IPv4 address that begins at bit {offset}: the peer decides for {offset} + 8"
    if mark == UNWRAP and offset < 0:
        return f"no IPv4 address of a known form in {first}-{last}: the peer decides, for this address alone"
    if mark == UNWRAP:
        own = range_round(table, 32, embedded)[2]
        shortest = least[0]
    else:
        offset, shortest = 0, least[bits == 128]
    if own < shortest:
        return f"sticky choice knows clients by /{shortest}, which is longer than the range's /{own}" + _plus(offset)
    if own + offset < scope:
        return "one order for the whole family, but not for the other one: 1 is the least"
    if mark == PEER:
        return f"the subnet's own range, {first}-{last}, where the peer decides"
    return "the widest prefix round the client inside the range" + _plus(offset)


def _plus(offset: int) -> str:
    return f", plus {offset} bits before the IPv4 address" if offset > 0 else ""


def mark_of(table: Table, bits: int, number: int) -> int:
    """The order number of the range that holds an address, be it a mark or an order."""
    if bits == 32:
        return table.v4.orders[find_range(table.v4, number, V4_SHIFT, 32)[0]]
    return table.v6.orders[find_range(table.v6, number >> V6_BITS, V6_SHIFT, V6_BITS)[0]]

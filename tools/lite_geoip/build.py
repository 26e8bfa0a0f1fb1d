"""From two source files to one reduced database and what stands beside it.

Knows the order of the steps and what the file says of itself. The steps are `source`, `places`, `prune`, `write`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from geodns.geo import iso
from geodns.geo.special import BLOCKS

from .globe import Vector, find_middle, to_degrees, to_vector
from .places import FIRST_PLACE, GAIN, Losses, Place, Weights, find_group, group_entries, measure_weights
from .prune import Cut
from .source import FIRST_ENTRY, FORCED, GRAFT, UNKNOWN, Source, Tree, measure_depths, put_leaf
from .write import UINT16, UINT64, Shared, Value, write_file

PRICE = 0.4  # loss x weight that a node must save to stay
DATABASE_TYPE = "geodns-reduced-DBIP-City-Lite"  # readers look for "City"
ATTRIBUTION = "IP Geolocation by DB-IP"
LINK = "https://db-ip.com"
LICENCE = "CC BY 4.0"
LICENCE_LINK = "https://creativecommons.org/licenses/by/4.0/"
CHANGES = (
    "Changed by the geodns project: reduced to country, subdivision and the centres of a few thousand places; "
    "neighbouring networks merged where that costs little; ISO codes and continents added; special-purpose blocks left out."
)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """The database, its notice, and the centres of countries and subdivisions (latitude, longitude)."""

    database: bytes
    notice: dict[str, str]
    centres: dict[str, tuple[float, float]]


def build(sources: tuple[Source, Source], package: str, report: Report, price: float = PRICE, gain: float = GAIN) -> Built:
    """Reduce an IPv4 and an IPv6 source, whose trees are changed, to one file. *report* is told what each step found."""
    surveys = []
    for source in sources:
        clear_special(source.tree)
        depths = measure_depths(source.tree)
        surveys.append((depths, measure_weights(source.tree, depths, FIRST_ENTRY + len(source.entries))))
    entries = [(source.entries, weights.by_leaf) for source, (_, weights) in zip(sources, surveys, strict=True)]
    grouping = group_entries(entries, gain)
    report(f"{sum(len(source.entries) for source in sources)} records, {len(grouping.places)} places")
    report_missing(sources[0], surveys[0][1], report)
    shared = Shared(FIRST_PLACE + len(grouping.places))
    losses = Losses(grouping.places)
    root = UNKNOWN
    for source, (depths, weights), labels in zip(sources, surveys, grouping.labels, strict=True):
        cut = Cut(source.tree, depths, labels, weights.by_length).run(losses, price)
        root = shared.add_tree(source.tree, cut, labels, root)
        report(f"{source.tree.bits} bits: {len(shared.pairs)} different nodes so far")
    built = max(source.built for source in sources)
    records = {label: make_record(place) for label, place in enumerate(grouping.places, FIRST_PLACE)}
    database = write_file(shared, root, records, make_metadata(built))
    centres = find_centres(sources, [surveys[0][1].sizes, surveys[1][1].by_leaf])  # IPv4: by address
    return Built(database, make_notice(built, package), centres)


def report_missing(source: Source, weights: Weights, report: Report) -> None:
    """Tell which names of subdivisions have no code, those with most addresses first: new spellings want an alias."""
    total = sum(weights.sizes[FIRST_ENTRY:]) or 1.0
    missing: dict[tuple[str, str], float] = {}
    for entry, addresses in zip(source.entries, weights.sizes[FIRST_ENTRY:], strict=True):
        if not find_group(entry.country, entry.subdivision)[1]:
            name = entry.country, entry.subdivision
            missing[name] = missing.get(name, 0.0) + addresses
    worst = sorted(missing, key=lambda name: (-missing[name], name))[:20]
    shown = ", ".join(f"{country} {name or '(none)'} {missing[country, name] / total:.2%}" for country, name in worst)
    report(f"without subdivision code: {sum(missing.values()) / total:.2%} of IPv4 addresses; most: {shown}")


def clear_special(tree: Tree) -> None:
    """Cut special-purpose blocks out of *tree*, those that embed an IPv4 address too, and leave a place for the IPv4 tree.

    The source says "US" for all of 6to4 and Teredo; and if ::/64 had a record of its own, every address written as ::1 or
    ::ffff:a.b.c.d would inherit the first one of IPv4.
    """
    version = 4 if tree.bits == 32 else 6
    done: list[object] = []
    for block in sorted((b.network for b in BLOCKS if b.network.version == version), key=lambda network: network.prefixlen):
        if not any(block.subnet_of(wider) for wider in done):  # type: ignore[arg-type]
            put_leaf(tree, int(block.network_address), block.prefixlen, FORCED)
            done.append(block)
    if version == 6:
        put_leaf(tree, 0, 96, GRAFT)


def find_centres(sources: Sequence[Source], weights: Sequence[Sequence[float]]) -> dict[str, tuple[float, float]]:
    """The weighted middle of every country and subdivision; by the first source that has any weight there."""
    centres: dict[str, tuple[float, float]] = {}
    for source, by_leaf in zip(sources, weights, strict=True):
        points: dict[str, list[tuple[float, Vector]]] = {}
        for entry, weight in zip(source.entries, by_leaf[FIRST_ENTRY:], strict=True):
            country, subdivision, _ = find_group(entry.country, entry.subdivision)
            for code in filter(None, (country, subdivision)):
                if weight:
                    points.setdefault(code, []).append((weight, to_vector(entry.latitude, entry.longitude)))
        centres = {code: to_degrees(find_middle(found)) for code, found in points.items()} | centres
    return dict(sorted(centres.items()))


def make_record(place: Place) -> Value:
    """The record of *place*, in the nested shape that MaxMind's city files have."""
    latitude, longitude = to_degrees(place.centre)
    record: dict[str, Value] = {}
    continent = iso.continent_of(place.country)
    if continent:
        record["continent"] = {"code": continent}
    record["country"] = {"iso_code": place.country, "names": {"en": iso.countries().get(place.country, place.country)}}
    subdivision: dict[str, Value] = {}
    if place.subdivision:
        subdivision["iso_code"] = place.subdivision.partition("-")[2]
    if place.name:
        subdivision["names"] = {"en": place.name}
    if subdivision:
        record["subdivisions"] = [subdivision]
    record["location"] = {"accuracy_radius": (UINT16, place.radius), "latitude": latitude, "longitude": longitude}
    return record


def make_metadata(built: int) -> dict[str, Value]:
    """What the file says of itself; *built* is when the source was, so that two builds are the same octets."""
    edition = datetime.fromtimestamp(built, UTC).strftime("%Y-%m")
    text = (
        f"Reduced from DB-IP City Lite, edition {edition}. {ATTRIBUTION}, {LINK}, {LICENCE}, {LICENCE_LINK}. {CHANGES} "
        "accuracy_radius is the mean distance of a place's networks to its centre, in kilometres, not the vendor's claim."
    )
    return {
        "binary_format_major_version": (UINT16, 2),
        "binary_format_minor_version": (UINT16, 0),
        "build_epoch": (UINT64, built),
        "database_type": DATABASE_TYPE,
        "description": {"en": text},
        "ip_version": (UINT16, 6),
        "languages": ["en"],
    }


def make_notice(built: int, package: str) -> dict[str, str]:
    """The notice of a database whose source was built at *built* and came in *package*."""
    return {
        "attribution": ATTRIBUTION,
        "link": LINK,
        "licence": LICENCE,
        "licence_link": LICENCE_LINK,
        "changes": CHANGES,
        "edition": datetime.fromtimestamp(built, UTC).strftime("%Y-%m"),
        "source": package,
    }

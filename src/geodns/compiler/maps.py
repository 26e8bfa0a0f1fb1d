"""Databases, networks and rules to the maps block: which order each address gets, per map and set of datacenters.

Knows how states of clients become order numbers and how neighbours merge. Knows nothing of trees (`rangebuild`) or of
how the block is laid out (`image_maps`). The same input gives the same octets.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from .. import __version__
from ..config.model import Config
from ..errors import DatabaseError
from ..geo.distance import build_sites
from ..geo.mmdb import open_database
from ..geo.networks import Corrections
from ..geo.place import ASN_WANTED, FACTS_WANTED, NOWHERE, Facts, Sources, read_asn, read_facts
from ..image import LAYOUT
from ..image_maps import Countries, FlatTable, write_maps
from ..snapshot import DEFAULT, FIRST_ROW
from .layers import Layer, fill_gaps, find_distinct, merge, renumber
from .leaves import mark_nodes, read_leaves, read_numbers
from .naming import Naming
from .orders import Ordering, Row, Rules, build_ordering, collect_rules, is_tiered
from .rangebuild import build_layer, lay_numbers, resolve, walk
from .segments import V4, V6, Family, Segment, build_segments, forced_boundaries
from .states import NAMELESS, UNPLACED, State, States

FAMILIES = (V4, V6)
METHOD = 1  # raised whenever the same input gives other octets than before
TABLES_OF_OURS = ("iso.json", "centres.json")  # what missing fields are filled in from


def build_maps(config: Config, naming: Naming, sources: Sources) -> bytes:
    """The maps block for all tables of *naming*. Raises DatabaseError for a file that cannot be used."""
    tables, countries, digests = _build_tables(config, naming, sources)
    return write_maps(naming.datacenters, tables, naming.shape, _digest(config, naming, digests), countries)


def _build_tables(config: Config, naming: Naming, sources: Sources) -> tuple[list[FlatTable], Countries, list[bytes]]:
    """All tables, the countries beside them, and the digests of the files that went in."""
    map_names = {name for name, _ in naming.tables}
    rules = collect_rules(config, map_names)
    near = any(config.maps[name].nearest for name in map_names)
    coordinates = {name: datacenter.coordinates for name, datacenter in config.datacenters.items()}
    states = States(rules, build_sites(config.datacenters) if near else (), coordinates)
    corrections = Corrections(config.geoip.networks)
    segments = [build_segments(family, corrections, rules) for family in FAMILIES]
    layers, digests = _read_places(sources, segments, states)
    if _uses_asn(rules, sources):
        layers, digest = _lay_asns(sources, layers, states)
        digests.append(digest)
    unknown = states.with_asn(states.in_segment(0, _open_segment(rules)), None)
    final = [states.with_asn(n, None) for n in range(len(states.found))]
    layers = [Layer(layer.starts, renumber(layer.values, final)) for layer in layers]
    forced = [_forced_indexes(layer, family) for layer, family in zip(layers, FAMILIES, strict=True)]
    tables = [
        _build_table(name, build_ordering(config, name, members), layers, forced, states, states.found[unknown])
        for name, members in naming.tables
    ]
    return tables, _build_countries(layers[0], states), digests


def maps_digest(config: Config, naming: Naming, sources: Sources) -> bytes:
    """The digest that `build_maps` would write into its block, without compiling: 32 octets.

    Covers the contents of the files, all of the configuration that decides an order, and what turns one into the other.
    Raises DatabaseError for a file that cannot be read.
    """
    paths = list(sources.places)
    if sources.asn and _uses_asn(collect_rules(config, {name for name, _ in naming.tables}), sources):
        paths.append(sources.asn)
    return _digest(config, naming, [_digest_file(path) for path in paths])


def _uses_asn(rules: Rules, sources: Sources) -> bool:
    return bool(rules.with_asn) and sources.asn is not None


def _digest_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=32)).digest()
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror or error}") from error


def _digest(config: Config, naming: Naming, digests: Sequence[bytes]) -> bytes:
    names = sorted({name for name, _ in naming.tables})
    networks = {str(network): value.model_dump(mode="json") for network, value in config.geoip.networks.items()}
    about: dict[str, Any] = {
        "program": [__version__, LAYOUT, METHOD],
        "tables": naming.tables,
        "datacenters": [[name, dc.coordinates, dc.bias] for name, dc in config.datacenters.items()],
        "maps": {name: config.maps[name].model_dump(mode="json") for name in names},
        "networks": networks,
        "files": [digest.hex() for digest in digests],
    }
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True, separators=(",", ":")).encode(), digest_size=32)
    for name in TABLES_OF_OURS:
        digest.update(files("geodns").joinpath("builtin", name).read_bytes())
    return digest.digest()


def _open_segment(rules: Rules) -> Segment:
    """Ordinary addresses of which no network condition holds."""
    return Segment(0, 0, 0, None, (1 << len(rules.rules)) - 1 & ~rules.with_network)


def _read_places(sources: Sources, segments: Sequence[Sequence[Segment]], states: States) -> tuple[list[Layer], list[bytes]]:
    """Per family, the states that databases and networks give; and the digests of the files. One file at a time."""
    facts: dict[Facts, int] = {NOWHERE: 0}
    layers = [_empty_layer(family, part) for family, part in zip(FAMILIES, segments, strict=True)]
    digests = []
    for path in sources.places:
        found, digest = _read_file(path, segments, states, facts)
        layers = [fill_gaps(above, below) for above, below in zip(layers, found, strict=True)]
        digests.append(digest)
    known = list(facts)
    return [resolve(layer, part, states, known) for layer, part in zip(layers, segments, strict=True)], digests


def _read_file(
    path: Path, segments: Sequence[Sequence[Segment]], states: States, facts: dict[Facts, int]
) -> tuple[list[Layer], bytes]:
    """Per family, what one database says; and the digest of the file. Nothing else of it stays in memory."""
    database = open_database(path, read_facts, FACTS_WANTED)
    leaves = read_leaves(database, states, facts)
    layers = [build_layer(leaves, family, part) for family, part in zip(FAMILIES, segments, strict=True)]
    return layers, database.digest


def _empty_layer(family: Family, segments: Sequence[Segment]) -> Layer:
    return Layer(array(family.typecode, [segment.first for segment in segments]), array("I", bytes(4 * len(segments))))


def _lay_asns(sources: Sources, layers: Sequence[Layer], states: States) -> tuple[list[Layer], bytes]:
    """*layers* with the AS numbers that rules name applied; and the digest of the file."""
    assert sources.asn is not None
    asns = states.rules.asns()
    database = open_database(sources.asn, read_asn, ASN_WANTED)
    leaves = read_numbers(database, asns)
    marks = mark_nodes(database, leaves)
    done = []
    for layer, family in zip(layers, FAMILIES, strict=True):
        numbers = Layer(array(family.typecode), array("I"))
        if family is V6 and database.metadata.ip_version == 4:
            done.append(layer)
            continue
        walk(database, family, (0, family.units), marks, leaves, numbers)
        done.append(lay_numbers(layer, numbers, asns, states))
    return done, database.digest


def _forced_indexes(layer: Layer, family: Family) -> list[int]:
    """Which ranges of *layer* begin at a forced boundary; every such boundary begins one."""
    return [bisect_left(layer.starts, edge) for edge in forced_boundaries(family)]


def _build_table(
    map_name: str,
    ordering: Ordering,
    layers: Sequence[Layer],
    forced: Sequence[Sequence[int]],
    states: States,
    unknown: State,
) -> FlatTable:
    """The table of one map and set of datacenters: states to rows, equal neighbours merged, rows numbered."""
    default = _row_of(unknown, map_name, ordering, states.rules)
    assert not isinstance(default, int)
    rows = {default: DEFAULT}
    kinds = []  # by state: a mark, or FIRST_ROW + the place of its row among `rows`
    for state in states.found:
        row = _row_of(state, map_name, ordering, states.rules)
        kinds.append(row if isinstance(row, int) else _kind(rows.setdefault(row, len(rows))))
    parts = [merge(layer, kinds, edges) for layer, edges in zip(layers, forced, strict=True)]
    used = set(chain.from_iterable(find_distinct(part.values) for part in parts))
    numbering, flat = _number_rows(list(rows), used)
    (v4, v6) = [renumber(part.values, numbering) for part in parts]
    uniform = max(used) < FIRST_ROW
    return FlatTable(map_name, parts[0].starts, v4, parts[1].starts, v6, *flat, uniform)


def _kind(place: int) -> int:
    return place if place == DEFAULT else FIRST_ROW + place - 1


def _row_of(state: State, map_name: str, ordering: Ordering, rules: Rules) -> Row | int:
    """The order of a client, or its mark where no rule of the map overrules that."""
    rule = rules.first(state.rules, map_name)
    return state.mark if state.mark and rule is None else ordering.row(state.ranking, rule)


Flat: TypeAlias = "tuple[array[int], array[int], array[int], int]"  # rows, steps, weights, first plain order


def _number_rows(rows: Sequence[Row], used: set[int]) -> tuple[Mapping[int, int], Flat]:
    """Order numbers by kind, and the rows laid flat: those in use, weighted ones first, each kind sorted.

    So the numbers depend on the orders alone, not on the way in which somebody walked the database.
    """
    kept = [(kind, rows[kind - FIRST_ROW + 1]) for kind in used if kind >= FIRST_ROW]
    kept.sort(key=lambda pair: (not is_tiered(pair[1]), pair[1]))
    first_plain = FIRST_ROW + sum(is_tiered(row) for _, row in kept)
    numbering = {number: number for number in range(FIRST_ROW)}
    ends, steps, weights = array("I", [0]), array("H"), array("I")
    for number, row in enumerate([rows[DEFAULT], (), (), *(row for _, row in kept)]):
        steps.extend(datacenter for datacenter, _ in row)
        if number < first_plain:
            weights.extend(weight for _, weight in row)
        ends.append(len(steps))
    numbering.update({kind: FIRST_ROW + i for i, (kind, _) in enumerate(kept)})
    return numbering, (ends, steps, weights, first_plain)


def _build_countries(layer: Layer, states: States) -> Countries:
    """The country of each IPv4 range, as two letters in a number; neighbours merged."""
    merged = merge(layer, [_country_code(state.country) for state in states.found], ())
    return Countries(merged.starts, array("H", merged.values))


def _country_code(country: str) -> int:
    if country == UNPLACED:
        return 0
    letters = country if len(country) == 2 and country.isascii() else NAMELESS
    return int.from_bytes(letters.encode(), "big")

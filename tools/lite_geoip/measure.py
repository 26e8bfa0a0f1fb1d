"""How well the reduced database stands in for its source: the same nearest datacenter, country, subdivision; distance.

Knows both files and a few sets of datacenters. Knows nothing of how the reduced one was made.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import maxminddb
from maxminddb.decoder import Decoder

from .build import clear_special
from .globe import Vector, distance, to_vector
from .places import find_group
from .source import FIRST_ENTRY, LEAF, SEPARATOR, UNKNOWN, Entry, Source, Tree

THREE = {"IAD": (38.95, -77.45), "FRA": (50.03, 8.57), "SIN": (1.36, 103.99)}
SIX = THREE | {"SJC": (37.36, -121.93), "GRU": (-23.43, -46.47), "SYD": (-33.95, 151.18)}
TWELVE = SIX | {
    "DFW": (32.9, -97.04),
    "LHR": (51.47, -0.45),
    "NRT": (35.77, 140.39),
    "BOM": (19.09, 72.87),
    "JNB": (-26.13, 28.24),
    "HKG": (22.31, 113.92),
}
SETS: tuple[Mapping[str, tuple[float, float]], ...] = (THREE, SIX, TWELVE)
ROWS = (
    "same nearest of 3 (IAD FRA SIN)",
    "same nearest of 6 (and SJC GRU SYD)",
    "same nearest of 12 (and DFW LHR NRT BOM JNB HKG)",
    "same country",
    "same subdivision, where the source's has a code",
)


@dataclass(frozen=True, slots=True)
class Reduced:
    """The reduced database: its tree, the record of each leaf by LEAF + offset, and the node where IPv4 begins."""

    tree: Tree
    records: dict[int, dict[str, Any]]
    ipv4: int


@dataclass(frozen=True, slots=True)
class Spot:
    """What can be told of a client: country, subdivision code or "", where, and the nearest of each set of sites."""

    country: str
    subdivision: str
    at: Vector
    nearest: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Sums over networks of one way to count them."""

    total: float = 0.0
    right: list[float] = field(default_factory=lambda: [0.0] * len(ROWS))
    coded: float = 0.0
    far: dict[int, float] = field(default_factory=dict)  # kilometres to the true place, rounded

    def add(self, share: float, true: Spot, found: Spot | None) -> None:
        """Count *share* of a network at *true* for which the database says *found*."""
        self.total += share
        self.coded += share if true.subdivision else 0.0
        if found is None:
            return
        same = [one == two for one, two in zip(true.nearest, found.nearest, strict=True)]
        same += [true.country == found.country, true.subdivision == found.subdivision != ""]
        for row, hit in enumerate(same):
            self.right[row] += share if hit else 0.0
        kilometres = round(distance(true.at, found.at))
        self.far[kilometres] = self.far.get(kilometres, 0.0) + share

    def percent(self, row: int) -> float:
        """Share of what was counted that *row* has right."""
        return 100 * self.right[row] / ((self.coded if row == len(ROWS) - 1 else self.total) or 1.0)

    def find_distance(self, share: float) -> int:
        """Kilometres within which *share* of the placed networks are."""
        left = share * sum(self.far.values())
        for kilometres in sorted(self.far):
            left -= self.far[kilometres]
            if left <= 0:
                return kilometres
        return 0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Results for one family. `invented`: addresses the source does not know and the database names, as a share of all."""

    by_address: Tally
    by_network: Tally
    invented: float


def read_reduced(path: Path) -> Reduced:
    """Read a database of 24-bit records at *path*, IPv4 inside IPv6."""
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        meta = reader.metadata()
    if (meta.record_size, meta.ip_version) != (24, 6):
        raise SystemExit(f"{path}: {meta.record_size}-bit records, IPv{meta.ip_version}; expected 24-bit records, IPv6")
    raw, count = path.read_bytes(), meta.node_count
    halves = []
    for start in (0, 3):
        octets = bytearray(4 * count)
        for place in range(3):
            octets[place::4] = raw[start + 2 - place : 6 * count : 6]
        numbers = array("I")
        numbers.frombytes(octets)
        halves.append(array("I", (child if child < count else LEAF + child - count for child in numbers)))
    decoder = Decoder(raw, 6 * count + SEPARATOR)
    leaves = {child for half in halves for child in half if child > LEAF}
    records: dict[int, Any] = {leaf: decoder.decode(6 * count + leaf - LEAF)[0] for leaf in leaves}
    ipv4 = 0
    for _ in range(96):
        ipv4 = halves[0][ipv4]
    return Reduced(Tree(128, *halves), records, ipv4)


def find_nearest(at: Vector) -> tuple[str, ...]:
    """The nearest site of each set; ties by name."""
    return tuple(min(sorted(sites), key=lambda name: distance(at, to_vector(*sites[name]))) for sites in SETS)


def spot_of_entry(entry: Entry) -> Spot:
    """The truth: what the source says."""
    at = to_vector(entry.latitude, entry.longitude)
    return Spot(entry.country, find_group(entry.country, entry.subdivision)[1], at, find_nearest(at))


def spot_of_record(record: Mapping[str, Any]) -> Spot:
    """What the reduced database says."""
    at = to_vector(record["location"]["latitude"], record["location"]["longitude"])
    country = record["country"]["iso_code"]
    part = record.get("subdivisions", [{}])[0].get("iso_code")
    return Spot(country, f"{country}-{part}" if part else "", at, find_nearest(at))


def overlay(source: Tree, reduced: Tree, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Every piece on which both trees are constant: both leaves (LEAF + n), its prefix length, that of the source's network.

    *start* is the node of *reduced* that the root of *source* is laid on.
    """
    waiting = [(0, start, 0, 0)]
    while waiting:
        ours, theirs, length, network = waiting.pop()
        if ours < LEAF:
            one, two = source.left[ours], source.right[ours]
            network += 1
        elif theirs >= LEAF:
            yield ours - LEAF, theirs, length, network
            continue
        else:
            one = two = ours
        three, four = (reduced.left[theirs], reduced.right[theirs]) if theirs < LEAF else (theirs, theirs)
        waiting += ((two, four, length + 1, network), (one, three, length + 1, network))


def measure(source: Source, reduced: Reduced) -> Accuracy:
    """Overlay *source*, whose tree is changed, with *reduced*. Special-purpose blocks are not looked up, so not counted."""
    clear_special(source.tree)
    pairs: dict[tuple[int, int], list[float]] = {}
    invented = 0.0
    for leaf, found, length, network in overlay(source.tree, reduced.tree, reduced.ipv4 if source.tree.bits == 32 else 0):
        if leaf >= FIRST_ENTRY:
            sums = pairs.setdefault((leaf, found), [0.0, 0.0])
            sums[0] += 2.0**-length
            sums[1] += 2.0 ** (network - length)
        elif leaf == UNKNOWN and found != LEAF:
            invented += 2.0**-length
    spots = {leaf: spot_of_record(record) for leaf, record in reduced.records.items()}
    truths = [spot_of_entry(entry) for entry in source.entries]
    by_address, by_network = Tally(), Tally()
    for (leaf, found), (addresses, networks) in pairs.items():
        by_address.add(addresses, truths[leaf - FIRST_ENTRY], spots.get(found))
        by_network.add(networks, truths[leaf - FIRST_ENTRY], spots.get(found))
    return Accuracy(by_address, by_network, invented)


def write_table(v4: Accuracy, v6: Accuracy) -> str:
    """The accuracy as a table in Markdown. IPv6 addresses are not counted: most of them are a registry's seat, unused."""
    columns = (v4.by_address, v4.by_network, v6.by_network)
    lines = ["| | IPv4 by address | IPv4 by network | IPv6 by network |", "|---|---|---|---|"]
    lines += [
        f"| {name} | " + " | ".join(f"{tally.percent(row):.2f} %" for tally in columns) + " |"
        for row, name in enumerate(ROWS)
    ]
    for share in (0.5, 0.9):
        far = " | ".join(f"{tally.find_distance(share)} km" for tally in columns)
        lines.append(f"| distance to the source's place, {share:.0%} within | {far} |")
    lines.append(f"\nNamed here, unknown to the source: {v4.invented:.4%} of IPv4 space, {v6.invented:.6%} of IPv6 space.")
    return "\n".join(lines)

"""Places: the few thousand labels that stand for the source's half a million records.

Knows how records are grouped by country and subdivision, what a network counts, and what it costs to call one place by
another's name. Knows nothing of how the tree is cut.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from geodns.geo import iso

from .globe import EARTH, Point, Vector, cut_into_centres, find_middle, measure_spread, to_degrees, to_vector
from .names import find_subdivision
from .source import FIRST_ENTRY, FORCED, GRAFT, LEAF, UNKNOWN, UNREACHED, Entry, Tree

FIRST_PLACE = 3  # labels below are UNKNOWN, FORCED and GRAFT; label n is places[n - FIRST_PLACE]
CELL = 10  # grid cells per degree: the records of one cell are one point
GAIN = 20_000.0  # kilometres x weight that one more centre must save
REGISTRY_FILLING = 19  # IPv6 prefixes up to this long are mostly a registry's seat, painted over unused space
WIDEST = 20  # an IPv6 network wider than this counts like this

# What it costs, per weight, to call one place by another's name: d / (d + HALF) for d kilometres, and more for wrong words.
HALF = 1000.0
WRONG_COUNTRY = 0.25
WRONG_SUBDIVISION = 0.05
LOST = 1.0  # a known place called unknown
INVENTED = 1.5  # an unknown one called by a name
NEVER = 1e15  # what must not happen


@dataclass(frozen=True, slots=True)
class Place:
    """One label. `subdivision` is an ISO 3166-2 code, `name` its name; both may be empty. `radius` in kilometres."""

    country: str
    subdivision: str
    name: str
    centre: Vector
    radius: int


@dataclass(frozen=True, slots=True)
class Weights:
    """What networks count. A network of prefix length n counts by_length[n]: one, and its size, scaled to a mean of one."""

    by_length: list[float]
    by_leaf: list[float]  # of all networks with this leaf, registry filling left out
    sizes: list[float]  # summed over the networks of a leaf; IPv4: the number of addresses


@dataclass(frozen=True, slots=True)
class Grouping:
    """All places, and for each source the label of each of its leaves."""

    places: list[Place]
    labels: list[list[int]]


def measure_weights(tree: Tree, depths: bytearray, leaves: int) -> Weights:
    """Weights in a *tree* with *leaves* different leaves. Size: the number of addresses; IPv6: its square root, capped."""
    power, widest, filling = (1.0, 0, -1) if tree.bits == 32 else (0.5, WIDEST, REGISTRY_FILLING)
    size = [2.0 ** (power * (tree.bits - max(length, widest))) for length in range(tree.bits + 1)]
    networks, sizes = [0] * leaves, [0.0] * leaves
    for depth, *children in zip(depths, tree.left, tree.right, strict=True):
        if filling <= depth != UNREACHED:
            for child in children:
                if child >= LEAF:
                    networks[child - LEAF] += 1
                    sizes[child - LEAF] += size[depth + 1]
    mean = sum(sizes[FIRST_ENTRY:]) / max(1, sum(networks[FIRST_ENTRY:])) or size[0]  # where nothing but filling is
    by_leaf = [count + total / mean for count, total in zip(networks, sizes, strict=True)]
    return Weights([1 + one / mean for one in size], by_leaf, sizes)


@cache
def find_group(country: str, name: str) -> tuple[str, str, str]:
    """Country, subdivision code and subdivision name for what the source says; one spelling for what has a code."""
    code = find_subdivision(country, name) or ""
    return country, code, iso.subdivision_names()[code] if code else name


def collect_cells(
    sources: Sequence[tuple[Sequence[Entry], Sequence[float]]],
) -> dict[tuple[str, str, str], dict[tuple[int, int], list[tuple[float, Vector]]]]:
    """By group, then by cell of the grid: weights and places of the entries. No weight is 0, so that each has a middle."""
    groups: dict[tuple[str, str, str], dict[tuple[int, int], list[tuple[float, Vector]]]] = {}
    for entries, weights in sources:
        for entry, weight in zip(entries, weights[FIRST_ENTRY:], strict=True):
            cells = groups.setdefault(find_group(entry.country, entry.subdivision), {})
            at = to_vector(entry.latitude, entry.longitude)
            cells.setdefault(find_cell(entry), []).append((max(weight, 1e-6), at))
    return groups


def find_cell(entry: Entry) -> tuple[int, int]:
    """The cell of the grid where *entry* lies."""
    return math.floor(entry.latitude * CELL), math.floor(entry.longitude * CELL)


def group_entries(sources: Sequence[tuple[Sequence[Entry], Sequence[float]]], gain: float = GAIN) -> Grouping:
    """Places for the entries of several sources, each with the weights of its leaves."""
    places: list[Place] = []
    label_of: dict[tuple[tuple[str, str, str], tuple[int, int]], int] = {}
    for group, cells in sorted(collect_cells(sources).items()):
        points = [
            Point(sum(weight for weight, _ in found), find_middle(found), cell) for cell, found in sorted(cells.items())
        ]
        for centre, part in cut_into_centres(points, gain):
            label_of |= {(group, point.cell): len(places) + FIRST_PLACE for point in part}
            radius = measure_spread(part, centre) / sum(point.weight for point in part)
            places.append(Place(*group, to_vector(*to_degrees(centre)), max(1, math.ceil(radius))))
    labels = [
        [UNKNOWN, FORCED, GRAFT]
        + [label_of[find_group(entry.country, entry.subdivision), find_cell(entry)] for entry in entries]
        for entries, _ in sources
    ]
    return Grouping(places, labels)


class Losses:
    """What it costs to call the places of one row by its label. Rows are made when first asked for, and kept."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.rows: list[array[float] | None] = [None] * (FIRST_PLACE + len(places))

    def find_row(self, label: int) -> array[float]:
        """row[p]: the cost per weight of calling label p *label*."""
        row = self.rows[label]
        if row is None:
            row = self.rows[label] = array("d", self.measure(label))
        return row

    def measure(self, label: int) -> list[float]:
        """FORCED counts as unknown and may be called nothing else; GRAFT may be called only itself, and nothing else may."""
        if label == GRAFT:
            return [NEVER, NEVER, 0.0] + [NEVER] * len(self.places)
        if label in {UNKNOWN, FORCED}:
            return [0.0, 0.0, NEVER] + [LOST] * len(self.places)
        called = self.places[label - FIRST_PLACE]
        row = [INVENTED, NEVER, NEVER]
        for place in self.places:
            far = 2 * EARTH * math.asin(min(1.0, math.dist(place.centre, called.centre) / 2))
            wrong = 0.0
            if place.country != called.country:
                wrong = WRONG_COUNTRY
            elif (place.subdivision, place.name) != (called.subdivision, called.name):
                wrong = WRONG_SUBDIVISION
            row.append(far / (far + HALF) + wrong)
        return row

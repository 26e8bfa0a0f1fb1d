"""How much of the IPv4 address space each datacenter is the first for, and where it is in the world.

Knows orders and the countries beside them. Knows nothing of health, or of why an order is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from ..config.model import Config
from ..image_maps import Countries
from ..snapshot import JOINED, Maps, Table
from .naming import Naming
from .segments import V4


def nearest_shares(maps: Maps, countries: Countries, config: Config, naming: Naming) -> dict[str, dict[str, float]]:
    """Per service and datacenter, the share of placed IPv4 addresses whose first datacenter it is, everything being up.

    The shares of a service add up to 1 (less where an order is empty), or are none at all where nothing is placed.
    """
    shares: dict[int, dict[str, float]] = {}
    found = {}
    for name, service in config.services.items():
        number = naming.table_of(service.map, service.pools)
        if number not in shares:
            shares[number] = _table_shares(maps.tables[number], countries, maps.datacenters)
        found[name] = shares[number]
    return found


def _table_shares(table: Table, countries: Countries, datacenters: Sequence[str]) -> dict[str, float]:
    heads = [first_tier(table, order) for order in range(len(table.rows) - 1)]
    weights: dict[int, int] = {}
    for size, order, code in overlay(V4.units, (table.v4.starts, table.v4.orders), (countries.starts, countries.codes)):
        if code:
            weights[order] = weights.get(order, 0) + size
    placed = sum(weights.values())
    shares: dict[str, Fraction] = {}
    for order, size in weights.items():
        for datacenter, weight in heads[order].items():
            name = datacenters[datacenter]
            shares[name] = shares.get(name, Fraction()) + size * weight
    return {name: float(share / placed) for name, share in sorted(shares.items())}


def first_tier(table: Table, order: int) -> dict[int, Fraction]:
    """The datacenters in the first tier of an order, and the share of its clients that each gets; {} for an empty one."""
    first, end = table.rows[order], table.rows[order + 1]
    if first == end:
        return {}
    if order >= table.first_plain:
        return {table.steps[first]: Fraction(1)}
    last = first + 1
    while last < end and table.weights[last] & JOINED:
        last += 1
    weights = [table.weights[i] & ~JOINED for i in range(first, last)]
    return {table.steps[first + i]: Fraction(weight, sum(weights)) for i, weight in enumerate(weights)}


def overlay(units: int, *parts: tuple[Sequence[int], Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Pieces of a space of *units* addresses as (size, value in each part): *parts* are (starts, values) of ranges."""
    starts = sorted(set().union(*(part[0] for part in parts)))
    at = [0] * len(parts)
    for start, end in pairwise([*starts, units]):
        for n, (edges, _) in enumerate(parts):
            if at[n] + 1 < len(edges) and edges[at[n] + 1] <= start:
                at[n] += 1
        yield end - start, *[values[i] for i, (_, values) in zip(at, parts)]

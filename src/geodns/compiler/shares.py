"""How much of the IPv4 address space each datacenter is the first for, and where in the world that is.

Knows orders, the countries beside them, and what the configuration drains. Knows nothing of probes, or of why an order
is what it is. All counts are exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, compress, pairwise
from operator import ne

from ..config.model import Config, Member, Service
from ..image_maps import Countries
from ..snapshot import JOINED, Maps, Table
from .naming import Naming
from .segments import V4

Head = tuple[tuple[str | None, Fraction], ...]  # datacenters in the first tier, and the share of clients that each gets
NOBODY: Head = ((None, Fraction(1)),)  # of an empty order


def nearest_shares(maps: Maps, countries: Countries, config: Config, naming: Naming) -> dict[str, dict[str, float]]:
    """Per service and datacenter, the share of placed IPv4 addresses whose first datacenter it is, all members being up.

    The shares of a service add up to 1 (less where an order is empty); none at all where nothing is placed.
    """
    placed = Countries(*_merge(countries.starts, [int(code != 0) for code in countries.codes]))
    found: dict[tuple[int, frozenset[int]], dict[str, float]] = {}
    shares = {}
    for name, service in config.services.items():
        key = naming.table_of(service.map, service.pools), drained_pools(config, naming, service)
        if key not in found:
            found[key] = _table_shares(maps, *key, placed)
        shares[name] = found[key]
    return shares


def _table_shares(maps: Maps, number: int, drained: frozenset[int], placed: Countries) -> dict[str, float]:
    heads = first_tiers(maps, number, drained)
    sizes: dict[Head, int] = {}
    for size, head, here in overlay(coarsen(maps.tables[number], heads), (placed.starts, placed.codes)):
        if here:
            sizes[heads[head]] = sizes.get(heads[head], 0) + size
    total = sum(sizes.values())
    shares: dict[str, Fraction] = {}
    for head_found, size in sizes.items():
        for datacenter, part in head_found:
            if datacenter is not None:
                shares[datacenter] = shares.get(datacenter, Fraction()) + size * part / total
    return {name: float(share) for name, share in sorted(shares.items())}


def drained_pools(config: Config, naming: Naming, service: Service) -> frozenset[int]:
    """Datacenters whose pool of *service* cannot be up, because the configuration drains all members of some type."""

    def is_out(name: str, members: Sequence[Member]) -> bool:
        kinds = {_kind(member) for member in members}
        live = {_kind(member) for member in members if not member.drain}
        return config.datacenters[name].drain or live != kinds

    return frozenset(naming.datacenters.index(name) for name, members in service.pools.items() if is_out(name, members))


def _kind(member: Member) -> int:
    return member.address.version if member.address else 0


def first_tiers(maps: Maps, number: int, drained: frozenset[int]) -> list[Head]:
    """By order number of a table: who gets its clients when everything is up that is not drained."""
    table = maps.tables[number]
    return [
        tuple((maps.datacenters[dc], share) for dc, share in sorted(_first_tier(table, order, drained))) or NOBODY
        for order in range(len(table.rows) - 1)
    ]


def _first_tier(table: Table, order: int, drained: frozenset[int]) -> list[tuple[int, Fraction]]:
    """(datacenter, share) of the first tier that is not drained altogether; if all are, of the first."""
    tiers: list[list[tuple[int, int]]] = []
    for i in range(table.rows[order], table.rows[order + 1]):
        weight = table.weights[i] if order < table.first_plain else 1
        if not weight & JOINED:
            tiers.append([])
        tiers[-1].append((table.steps[i], weight & ~JOINED))
    open_tiers = [[(dc, weight) for dc, weight in tier if dc not in drained] for tier in tiers]
    tier = next(filter(None, [*open_tiers, *tiers[:1]]), [])
    total = sum(weight for _, weight in tier)
    return [(dc, Fraction(weight, total)) for dc, weight in tier]


def coarsen(table: Table, heads: Sequence[Hashable]) -> tuple[Sequence[int], Sequence[int]]:
    """The IPv4 ranges of *table* as (starts, order numbers), merged where *heads* of the orders are equal.

    The order number is the lowest of those with that head.
    """
    first: dict[Hashable, int] = {}
    numbers = [first.setdefault(head, order) for order, head in enumerate(heads)]
    return _merge(table.v4.starts, array("I", map(numbers.__getitem__, table.v4.orders)))


def _merge(starts: Sequence[int], values: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    begins = bytes(map(ne, values, chain((-1,), values)))
    return array("I", compress(starts, begins)), array("I", compress(values, begins))


def overlay(*parts: tuple[Sequence[int], Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Pieces of the IPv4 space as (size, value in each part): *parts* are (starts, values) of ranges."""
    starts = sorted(set().union(*(part[0] for part in parts)))
    at = [0] * len(parts)
    nexts = [[*edges[1:], V4.units] for edges, _ in parts]
    for start, end in pairwise([*starts, V4.units]):
        for i, edges in enumerate(nexts):
            if edges[at[i]] <= start:
                at[i] += 1
        yield end - start, *(parts[i][1][j] for i, j in enumerate(at))

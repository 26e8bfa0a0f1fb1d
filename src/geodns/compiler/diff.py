"""What would move: two configurations with their maps, compared over the placed IPv4 address space.

Knows services and the datacenter that their clients get first, everything being up that the configuration does not
drain. Knows nothing of how that is shown, or of what is up now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..config.model import Config
from ..image_maps import Countries
from ..snapshot import Maps
from .naming import Naming
from .shares import Head, coarsen, drained_pools, first_tiers, overlay


@dataclass(frozen=True, slots=True)
class Side:
    """One configuration, compiled."""

    config: Config
    naming: Naming
    maps: Maps
    countries: Countries


@dataclass(frozen=True, slots=True)
class Move:
    """So many addresses leave one datacenter for another; None is nobody: the service had, or has, nothing for them."""

    source: str | None
    target: str | None
    addresses: int


@dataclass(frozen=True, slots=True)
class ServiceMove:
    """What moves in one service. Weighted tiers count by weight, rounded to whole addresses in `moves`."""

    service: str
    placed: int  # IPv4 addresses that the new databases and networks can place
    moved: Fraction  # of them, those whose first datacenter is another one
    moves: tuple[Move, ...]  # the largest first
    countries: tuple[tuple[str, int], ...]  # moved addresses by country ("??": none known), the most first

    @property
    def share(self) -> float:
        """Moved of placed, 0..1; 0 where nothing is placed."""
        return float(self.moved / self.placed) if self.placed else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All services that both sides have, in the order of the new one; and the names of the others."""

    services: tuple[ServiceMove, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def worst(self) -> float:
        """The share of the service that moves most."""
        return max((service.share for service in self.services), default=0.0)


def compare_maps(old: Side, new: Side) -> Comparison:
    """What moves between *old* and *new*, by the countries of *new*. Datacenters are the same when their names are."""
    tallies: dict[object, dict[tuple[Head, Head, int], int]] = {}
    found = []
    for name in new.config.services:
        if name in old.config.services:
            keys = _table_key(old, name), _table_key(new, name)
            if keys not in tallies:
                tallies[keys] = _tally(old, new, *keys)
            found.append(_sum_up(name, tallies[keys]))
    added = tuple(name for name in new.config.services if name not in old.config.services)
    removed = tuple(name for name in old.config.services if name not in new.config.services)
    return Comparison(tuple(found), added, removed)


def _table_key(side: Side, name: str) -> tuple[int, frozenset[int]]:
    service = side.config.services[name]
    return side.naming.table_of(service.map, service.pools), drained_pools(side.config, side.naming, service)


def _tally(
    old: Side, new: Side, old_key: tuple[int, frozenset[int]], new_key: tuple[int, frozenset[int]]
) -> dict[tuple[Head, Head, int], int]:
    """Placed addresses by who gets them before and after, and by country."""
    before, after = first_tiers(old.maps, *old_key), first_tiers(new.maps, *new_key)
    parts = (
        coarsen(old.maps.tables[old_key[0]], before),
        coarsen(new.maps.tables[new_key[0]], after),
        (new.countries.starts, new.countries.codes),
    )
    sizes: dict[tuple[int, int, int], int] = {}
    for size, first, second, country in overlay(*parts):
        if country:
            key = first, second, country
            sizes[key] = sizes.get(key, 0) + size
    return {(before[first], after[second], country): size for (first, second, country), size in sizes.items()}


def _sum_up(name: str, tally: Mapping[tuple[Head, Head, int], int]) -> ServiceMove:
    moves: dict[tuple[str | None, str | None], Fraction] = {}
    countries: dict[str, Fraction] = {}
    for (before, after, code), size in tally.items():
        country = code.to_bytes(2, "big").decode()
        for pair, share in moved_shares(before, after).items():
            moves[pair] = moves.get(pair, Fraction()) + size * share
            countries[country] = countries.get(country, Fraction()) + size * share
    return ServiceMove(
        name,
        sum(tally.values()),
        sum(moves.values(), Fraction()),
        tuple(Move(*pair, round(size)) for pair, size in sorted(moves.items(), key=_most_first)),
        tuple((country, round(size)) for country, size in sorted(countries.items(), key=_most_first)),
    )


def _most_first(item: tuple[object, Fraction]) -> tuple[Fraction, str]:
    return -item[1], str(item[0])


def moved_shares(before: Head, after: Head) -> dict[tuple[str | None, str | None], Fraction]:
    """The least that must move between two distributions, from those who lose to those who gain, in proportion."""
    old, new = dict(before), dict(after)
    lost = {name: share - new.get(name, 0) for name, share in old.items() if share > new.get(name, 0)}
    won = {name: share - old.get(name, 0) for name, share in new.items() if share > old.get(name, 0)}
    total = sum(lost.values(), Fraction())
    return {(a, b): lose * win / total for a, lose in lost.items() for b, win in won.items()}

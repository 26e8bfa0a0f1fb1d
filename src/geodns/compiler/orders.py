"""Which order a client gets: the first rule that matches, then the nearest datacenters, then the default.

Knows rules, tiers, depth and default. Knows nothing of addresses beyond whether a network
condition holds, and nothing of databases or ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..config.model import Config, Network, Rule
from ..snapshot import JOINED

Row = tuple[tuple[int, int], ...]  # (datacenter number, weight, with JOINED where it shares the tier of the step before)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of all maps in use, numbered through; sets of rules are bits of an integer, the first rule lowest."""

    rules: tuple[Rule, ...]
    of_map: Mapping[str, int]  # the set of a map's rules
    with_network: int
    with_asn: int

    def by_place(self, continent: str | None, country: str | None, subdivision: str | None) -> int:
        """The rules whose conditions on the place hold; one without such a condition holds."""
        found = 0
        for i, rule in enumerate(self.rules):
            if (
                (not rule.continent or continent in rule.continent)
                and (not rule.country or country in rule.country)
                and (not rule.subdivision or subdivision in rule.subdivision)
            ):
                found |= 1 << i
        return found

    def by_asn(self, asn: int | None) -> int:
        """The rules whose condition on the AS number holds, or that have none."""
        return sum(1 << i for i, rule in enumerate(self.rules) if not rule.asn or asn in rule.asn)

    def networks(self) -> Iterable[tuple[Network, int]]:
        """Each network of a rule, and that rule as a set."""
        return ((network, 1 << i) for i, rule in enumerate(self.rules) for network in rule.network)

    def asns(self) -> tuple[int, ...]:
        """Every AS number that some rule names."""
        return tuple(sorted({asn for rule in self.rules for asn in rule.asn}))

    def first(self, matching: int, map_name: str) -> Rule | None:
        """The first of the *matching* rules that belongs to the map."""
        mine = matching & self.of_map[map_name]
        return self.rules[(mine & -mine).bit_length() - 1] if mine else None


def collect_rules(config: Config, map_names: Iterable[str]) -> Rules:
    """The rules of the maps named, each map's in its own order."""
    rules: list[Rule] = []
    of_map = {}
    for name in sorted(set(map_names)):
        own = config.maps[name].rules
        of_map[name] = (1 << len(own)) - 1 << len(rules)
        rules += own
    with_network = sum(1 << i for i, rule in enumerate(rules) if rule.network)
    with_asn = sum(1 << i for i, rule in enumerate(rules) if rule.asn)
    return Rules(tuple(rules), of_map, with_network, with_asn)


@dataclass(frozen=True, slots=True)
class Ordering:
    """How one map orders one set of datacenters (numbers, in the order of the configuration)."""

    allowed: frozenset[int]
    number: Mapping[str, int]
    nearest: bool
    depth: int
    default: tuple[int, ...]  # completed, and only what is allowed

    def row(self, ranking: tuple[int, ...], rule: Rule | None) -> Row:
        """The order of a client for whom *rule* is the first match and *ranking* sorts all datacenters by distance.

        All are ranked, the ranking is restricted to the set, then `depth` is applied. What was named before is not
        repeated, so it may also empty a tier.
        """
        row: list[tuple[int, int]] = []
        seen: set[int] = set()
        for tier in rule.order if rule else ():
            members = [(n, weight) for name, weight in tier if (n := self.number[name]) in self.allowed and n not in seen]
            seen.update(n for n, _ in members)
            if len(members) == 1:
                row.append((members[0][0], 1))
            else:
                row += [(n, weight | (JOINED if i else 0)) for i, (n, weight) in enumerate(members)]
        if rule and rule.only:
            return tuple(row)
        near = [n for n in ranking if n in self.allowed][: self.depth] if self.nearest else []
        return tuple(row) + tuple((n, 1) for n in dict.fromkeys([*near, *self.default]) if n not in seen)


@lru_cache(maxsize=256)
def _numbers(datacenters: tuple[str, ...]) -> Mapping[str, int]:
    return {name: i for i, name in enumerate(datacenters)}


def build_ordering(config: Config, map_name: str, members: Iterable[int]) -> Ordering:
    """The ordering of a map for the datacenters with the numbers *members*."""
    settings, allowed = config.maps[map_name], frozenset(members)
    number = _numbers(tuple(config.datacenters))
    whole = dict.fromkeys([*(number[name] for name in settings.default), *number.values()])
    default = tuple(n for n in whole if n in allowed)
    return Ordering(allowed, number, settings.nearest, settings.depth, default)


def is_tiered(row: Row) -> bool:
    """Does any tier of *row* have more than one datacenter?"""
    return any(weight & JOINED for _, weight in row)

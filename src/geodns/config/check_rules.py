"""What maps mean: codes of countries, datacenters of orders, rules that no client can reach.

Knows maps and the lists of ISO 3166. Knows nothing of addresses' places: what a database says of them is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import Complaint
from .model import Config, Correction, Map, Network, Rule
from .places import Places, Step, tell_undefined
from .scalars import did_you_mean

CONDITIONS = ("network", "asn", "country", "subdivision", "continent")
NARROWEST_V6 = 64  # range tables use the upper 64 bits


def check_maps(config: Config, places: Places) -> Iterator[Complaint]:
    """Every map with its rules."""
    for name, one in config.maps.items():
        path = ("maps", name)
        for number, datacenter in enumerate(one.default):
            if datacenter not in places.names("datacenters"):
                yield places.error((*path, "default", number), tell_undefined("datacenter", datacenter, places))
            elif datacenter in one.default[:number]:
                yield places.warning((*path, "default", number), f'"{datacenter}" is named twice; the first counts')
        for number, rule in enumerate(one.rules):
            yield from _check_rule(rule, (*path, "rules", number), places)
        yield from _check_only(name, one, config, places)
        yield from _check_reach(name, one, config, places)


def _check_rule(rule: Rule, path: tuple[Step, ...], places: Places) -> Iterator[Complaint]:
    for number, network in enumerate(rule.network):
        yield from check_width(network, (*path, "network", number), places)
    yield from check_codes(rule, path, places)
    seen: set[str] = set()
    for number, tier in enumerate(rule.order):
        for datacenter, _ in tier:
            where = (*path, "order", number, datacenter) if len(tier) > 1 else (*path, "order", number)
            if datacenter not in places.names("datacenters"):
                yield places.key_error(where, tell_undefined("datacenter", datacenter, places))
            elif datacenter in seen:
                yield places.warning(where, f'"{datacenter}" is named twice; the first counts')
            seen.add(datacenter)


def check_width(network: Network, path: tuple[Step, ...], places: Places) -> Iterator[Complaint]:
    """IPv6 prefixes longer than /64 cannot be kept."""
    if network.version == 6 and network.prefixlen > NARROWEST_V6:
        wider = network.supernet(new_prefix=NARROWEST_V6)
        yield places.error(path, f"{network} is narrower than /{NARROWEST_V6}, the narrowest for IPv6 (it lies in {wider})")


def check_codes(given: Rule | Correction, path: tuple[Step, ...], places: Places) -> Iterator[Complaint]:
    """Codes of countries, subdivisions and continents, against the ISO lists."""
    for kind in ("country", "subdivision", "continent"):
        value = getattr(given, kind)
        if isinstance(value, tuple):
            for number, code in enumerate(value):
                yield from _check_code(kind, code, (*path, kind, number), places)
        elif value is not None:
            yield from _check_code(kind, value, (*path, kind), places)


def _check_code(kind: str, code: str, path: tuple[Step, ...], places: Places) -> Iterator[Complaint]:
    from ..geo import iso  # noqa: PLC0415  (the lists are read only where a code was written)

    if kind == "country" and code not in iso.countries():
        near = iso.suggest_country(code)
        hint = f", did you mean {near}?" if near else " (two letters of ISO 3166-1, like NO)"
        yield places.error(path, f'"{code}" is not a country{hint}')
    elif kind == "subdivision" and code not in iso.subdivisions():
        country = code.partition("-")[0]
        near_country = None if country in iso.countries() else iso.suggest_country(country)
        swapped = f"{near_country}-{code.partition('-')[2]}"
        hint = f", did you mean {swapped}?" if swapped in iso.subdivisions() else " (ISO 3166-2, like US-CA)"
        yield places.error(path, f'"{code}" is not a subdivision{hint}')
    elif kind == "continent" and code not in iso.continents():
        known = sorted(iso.continents())
        yield places.error(path, f'"{code}" is not a continent (one of {", ".join(known)}){did_you_mean(code, known)}')


def _check_only(name: str, one: Map, config: Config, places: Places) -> Iterator[Complaint]:
    """A rule with `only` may leave a service of this map without any datacenter."""
    for number, rule in enumerate(one.rules):
        if not rule.only:
            continue
        named = {datacenter for tier in rule.order for datacenter, _ in tier}
        left = [service for service, its in config.services.items() if its.map == name and not named & its.pools.keys()]
        if left and named <= set(places.names("datacenters")):
            listed = ", ".join(left)
            text = f"only these datacenters, and none of them has a pool of {listed}: its clients get no records"
            yield places.warning(("maps", name, "rules", number), text)


def _check_reach(name: str, one: Map, config: Config, places: Places) -> Iterator[Complaint]:
    """Rules that no client can reach."""
    knows_asn = config.geoip.asn is not None or any(c.asn is not None for c in config.geoip.networks.values())
    for number, rule in enumerate(one.rules):
        path = ("maps", name, "rules", number)
        if rule.asn and not knows_asn:
            yield places.warning((*path, "asn"), "never matches: geoip.asn is off, and no correction gives an AS number")
        elif rule.country and rule.subdivision and not _overlaps(rule):
            yield places.warning(path, "never matches: none of its subdivisions is in one of its countries")
        else:
            covering = _find_cover(rule, one.rules[:number])
            if covering is not None:
                line = places.find_key(("maps", name, "rules", covering)).line
                yield places.warning(path, f"never matches: rules[{covering}] in line {line} takes all its clients before")


def _overlaps(rule: Rule) -> bool:
    return any(subdivision.partition("-")[0] in rule.country for subdivision in rule.subdivision)


def _find_cover(rule: Rule, earlier: Sequence[Rule]) -> int | None:
    """The last earlier rule without which *rule* could match, or None if it can.

    Along each condition alone: every one of its values, with all the other conditions, is taken by some earlier rule.
    """
    if not any(getattr(rule, condition) for condition in CONDITIONS):
        return next((i for i, other in enumerate(earlier) if _covers(other, rule)), None)
    for condition in CONDITIONS:
        values = getattr(rule, condition)
        takers = [_find_taker(rule.model_copy(update={condition: (value,)}), earlier) for value in values]
        if takers and None not in takers:
            return max(taker for taker in takers if taker is not None)
    return None


def _find_taker(part: Rule, earlier: Sequence[Rule]) -> int | None:
    return next((number for number, other in enumerate(earlier) if _covers(other, part)), None)


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether every client of *narrow* is one of *wide*, by what is written alone."""
    return all(_covers_values(condition, wide, narrow) for condition in CONDITIONS if getattr(wide, condition))


def _covers_values(condition: str, wide: Rule, narrow: Rule) -> bool:
    allowed, asked = getattr(wide, condition), getattr(narrow, condition)
    if condition == "network":
        return bool(asked) and all(any(_contains(outer, inner) for outer in allowed) for inner in asked)
    if asked:
        return set(asked) <= set(allowed)
    if condition == "country" and narrow.subdivision:  # a subdivision says its country
        return all(code.partition("-")[0] in allowed for code in narrow.subdivision)
    return False


def _contains(outer: Any, inner: Any) -> bool:
    return outer.version == inner.version and bool(inner.subnet_of(outer))

"""Shares and moves, exact, against counting addresses one region at a time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.compiler.small import make_config, write_database

from geodns.compiler.diff import Move, ServiceMove, Side, compare_maps, moved_shares
from geodns.compiler.maps import build_maps
from geodns.compiler.naming import name_parts
from geodns.compiler.shares import first_tiers, nearest_shares, overlay
from geodns.config.model import Config
from geodns.geo.place import Sources
from geodns.image_maps import read_countries, read_maps

SITES = {"ams": (52.37, 4.9), "nyc": (40.71, -74.01), "sin": (1.35, 103.82)}
# 2^24 addresses of France, two times that of the United States, one of Singapore; nothing else is placed.
WORLD: dict[str, Any] = {
    "1.0.0.0/8": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
    "2.0.0.0/7": {"country": "US", "continent": "NA", "coordinates": [40, -75]},
    "4.0.0.0/8": {"country": "SG", "continent": "AS", "coordinates": [1.3, 103.8]},
    "8.0.0.0/8": {"continent": "EU"},
}
EIGHT = 1 << 24


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources((write_database(tmp_path, WORLD),))


def side(config: Config, sources: Sources) -> Side:
    naming = name_parts(config)
    block = build_maps(config, naming, sources)
    return Side(config, naming, read_maps(block, "x"), read_countries(block, "x"))


def shares(found: Side) -> dict[str, dict[str, float]]:
    return nearest_shares(found.maps, found.countries, found.config, found.naming)


def test_nearest_shares_of_placed_addresses(sources: Sources) -> None:
    services = {"all": list(SITES), "two": ["ams", "sin"], "one": ["nyc"]}
    found = shares(side(make_config(SITES, services=services), sources))
    assert found["all"] == {"ams": 0.25, "nyc": 0.5, "sin": 0.25}
    assert found["two"] == {"ams": 0.75, "sin": 0.25}
    assert found["one"] == {"nyc": 1.0}


def test_shares_by_weight_and_without_those_who_get_nothing(sources: Sources) -> None:
    rules = [{"country": ["US"], "order": [{"ams": 3, "sin": 1}]}, {"country": ["FR"], "order": ["nyc"], "only": True}]
    services = {"all": list(SITES), "some": ["ams", "sin"]}
    found = shares(side(make_config(SITES, maps={"world": {"rules": rules}}, services=services), sources))
    assert found["all"] == {"ams": 0.375, "nyc": 0.25, "sin": 0.375}
    assert found["some"] == {"ams": 0.375, "sin": 0.375}  # France is answered with nothing


def test_no_shares_where_nothing_is_placed(tmp_path: Path) -> None:
    path = write_database(tmp_path, {"8.0.0.0/8": {"continent": "EU"}})
    assert shares(side(make_config(SITES), Sources((path,)))) == {"www": {}}


def test_nothing_moves_between_equal_sides(sources: Sources) -> None:
    same = compare_maps(side(make_config(SITES), sources), side(make_config(SITES), sources))
    assert same.services == (ServiceMove("www", 4 * EIGHT, Fraction(0), (), ()),)
    assert (same.worst, same.added, same.removed) == (0.0, (), ())


def test_a_new_datacenter_takes_its_clients(sources: Sources) -> None:
    old = make_config({"ams": SITES["ams"], "nyc": SITES["nyc"]})
    found = compare_maps(side(old, sources), side(make_config(SITES), sources))
    (www,) = found.services
    assert www == ServiceMove("www", 4 * EIGHT, Fraction(EIGHT), (Move("ams", "sin", EIGHT),), (("SG", EIGHT),))
    assert www.share == found.worst == 0.25


def test_datacenters_are_the_same_by_name_not_by_number(sources: Sources) -> None:
    turned = dict(reversed(SITES.items()))
    same = compare_maps(side(make_config(SITES), sources), side(make_config(turned), sources))
    assert same.worst == 0.0


def test_a_drain_in_the_configuration_moves_clients(sources: Sources) -> None:
    drained = {**SITES, "nyc": {"coordinates": list(SITES["nyc"]), "drain": True}}
    found = compare_maps(side(make_config(SITES), sources), side(make_config(drained), sources))
    assert found.services[0].moves == (Move("nyc", "ams", 2 * EIGHT),)
    pools: dict[str, list[Any]] = {
        "ams": ["192.0.2.1"],
        "nyc": [{"address": "192.0.2.2", "drain": True}, "192.0.2.3", "2001:db8::1"],
    }
    before = make_config(SITES, services={"www": {**pools, "nyc": ["192.0.2.2", "192.0.2.3", "2001:db8::1"]}})
    some = make_config(SITES, services={"www": pools})
    assert compare_maps(side(before, sources), side(some, sources)).worst == 0.0
    pools["nyc"][2] = {"address": "2001:db8::1", "drain": True}  # the last of its type takes the pool out
    assert compare_maps(side(before, sources), side(make_config(SITES, services={"www": pools}), sources)).worst == 0.5


def test_where_all_are_drained_the_first_is_still_the_first(sources: Sources) -> None:
    drained = {name: {"coordinates": list(at), "drain": True} for name, at in SITES.items()}
    assert compare_maps(side(make_config(SITES), sources), side(make_config(drained), sources)).worst == 0.0


def test_added_and_removed_services_are_named(sources: Sources) -> None:
    old = side(make_config(SITES, services={"a": ["ams"], "b": ["ams"]}), sources)
    new = side(make_config(SITES, services={"b": ["ams"], "c": ["ams"]}), sources)
    found = compare_maps(old, new)
    assert (found.added, found.removed, [s.service for s in found.services]) == (("c",), ("a",), ["b"])


def test_weights_move_the_difference(sources: Sources) -> None:
    def ruled(weights: dict[str, int]) -> Config:
        return make_config(SITES, maps={"world": {"rules": [{"country": ["US"], "order": [weights]}]}})

    found = compare_maps(side(ruled({"nyc": 3, "ams": 1}), sources), side(ruled({"nyc": 1, "ams": 1}), sources))
    (www,) = found.services
    assert www.moved == Fraction(2 * EIGHT, 4)
    assert www.moves == (Move("nyc", "ams", EIGHT // 2),)
    assert www.countries == (("US", EIGHT // 2),)


def test_from_nobody_to_somebody(sources: Sources) -> None:
    rules = [{"country": ["FR"], "order": ["nyc"], "only": True}]
    services = {"www": ["ams", "sin"]}
    old = make_config(SITES, maps={"world": {"rules": rules}}, services=services)
    found = compare_maps(side(old, sources), side(make_config(SITES, services=services), sources))
    assert found.services[0].moves == (Move(None, "ams", EIGHT),)


heads = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), min_size=1).map(
    lambda weights: tuple((name, Fraction(weight, sum(weights.values()))) for name, weight in weights.items())
)


@given(heads, heads)
def test_always_the_least_that_must_move(before: Any, after: Any) -> None:
    moved = moved_shares(before, after)
    old, new = dict(before), dict(after)
    assert sum(moved.values()) == 1 - sum(min(old.get(n, 0), new.get(n, 0)) for n in "abcd")
    for name in "abcd":
        gone = sum(share for (a, _), share in moved.items() if a == name)
        come = sum(share for (_, b), share in moved.items() if b == name)
        assert old.get(name, 0) - gone + come == new.get(name, 0)
        assert not (gone and come)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 3), min_size=8, max_size=8), min_size=1, max_size=3))
def test_overlay_is_every_address_once(columns: list[list[int]]) -> None:
    """Eight regions of 2^29 addresses, a value each; equal neighbours are merged in the parts."""
    parts = []
    for column in columns:
        kept = [i for i in range(8) if not i or column[i] != column[i - 1]]
        parts.append(([i << 29 for i in kept], [column[i] for i in kept]))
    counted: dict[tuple[int, ...], int] = {}
    for size, *values in overlay(*parts):
        counted[tuple(values)] = counted.get(tuple(values), 0) + size
    expected: dict[tuple[int, ...], int] = {}
    for row in zip(*columns, strict=True):
        expected[row] = expected.get(row, 0) + (1 << 29)
    assert counted == expected


def test_first_tiers_follow_the_rows(sources: Sources) -> None:
    found = side(make_config(SITES), sources)
    everything = first_tiers(found.maps, 0, frozenset())
    assert {name for head in everything for name, _ in head} == {"ams", "nyc", "sin", None}  # None: the marks
    assert {name for head in first_tiers(found.maps, 0, frozenset({0, 1})) for name, _ in head} == {"sin", None}

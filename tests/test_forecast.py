"""What a forecast says is what every client would see: by brute force over small worlds, then words by example."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.properties.plain import World, address_at
from tests.properties.worlds import Made, compile_world, draw_world

from geodns.compiler.build import build
from geodns.compiler.choices import build_choices
from geodns.compiler.diff import moved_shares
from geodns.compiler.shares import Head
from geodns.forecast import Counts, OrderCounts, Outlook, count_orders, foresee, name_some
from geodns.health.state import Condition, MemberKey, Verdict
from geodns.image_maps import Countries, read_countries
from geodns.lookup import decide, read_tiers
from geodns.snapshot import ALL, DEAD, FALLBACK, NONE, SERVFAIL, Service, Snapshot

from .scenes import build_scene, with_health

SEEDS = range(8)
ALL_DOWN: dict[str, object] = {
    "some": {"service": "all"},
    "ruled": "none",
    "few": {"addresses": ["192.0.2.250"]},
    "sticky": "servfail",
}
DOWN, DRAINED = Condition(Verdict.DOWN), Condition(drained=True)
Health = dict[MemberKey, Condition]


class Planet(NamedTuple):
    """A small world with the countries beside its maps."""

    made: Made
    countries: Countries


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Planet]:
    """The world of a seed, compiled once; its services differ in what they do when all is down."""

    @cache
    def find(seed: int) -> Planet:
        world, options = draw_world(random.Random(seed))
        spec = copy.deepcopy(dict(world.spec))
        for name, all_down in ALL_DOWN.items():
            spec["services"][name]["all_down"] = all_down
        folder = tmp_path_factory.mktemp("planet")
        made = compile_world(World(spec, world.records, world.asns), options, folder)
        return Planet(made, read_countries(build(folder / "geodns.yaml", None).maps, "maps"))

    return find


def end_of(slices: Iterator[None]) -> Counts:
    """What a generator returns in the end."""
    with pytest.raises(StopIteration) as end:
        while True:
            next(slices)
    counts: Counts = end.value.value
    return counts


def draw_health(chance: random.Random, snapshot: Snapshot) -> Health:
    """Some members down, some drained, sometimes all of them."""
    odds = chance.choice((0.1, 0.5, 0.9, 1.0))
    kinds = chance.choice(((DOWN,), (DRAINED,), (DOWN, DRAINED)))
    return {key: chance.choice(kinds) for key in members_of(snapshot) if chance.random() < odds}


def members_of(snapshot: Snapshot) -> list[MemberKey]:
    return [(plan.service, plan.datacenter, member.text) for plan in snapshot.zones.pools for member in plan.members]


def placed_pieces(planet: Planet) -> Iterator[tuple[int, int]]:
    """(first address, size) of every piece of the IPv4 space in which nothing changes, where it is placed."""
    for first, end in pairwise(planet.made.world.edges(4)):
        place = planet.made.world.place_of(address_at(4, first))
        if place.get("country") or place.get("coordinates"):
            yield first, end - first


def answered(snapshot: Snapshot, service: Service, address: int, memory: dict[tuple[int, int], Head]) -> Head:
    """Who answers the client *address*, over all draws; asked of `lookup.decide`, once for each order."""
    client = (0, 0, 0, 32, address)
    *_, order, _, _ = decide(snapshot, service, client, 0)
    key = service.number, order
    if key not in memory:
        table = snapshot.maps.tables[service.table]
        weights = [weight for tier in read_tiers(table, order) if len(tier) > 1 for _, weight in tier]
        cells = math.lcm(*weights, *(a + b for a, b in pairwise(weights)))
        heads: dict[str | None, Fraction] = {}
        for cell in range(cells):
            name = name_decision(snapshot, service, client, math.ceil((cell << 32) / cells) << 32)
            heads[name] = heads.get(name, Fraction()) + Fraction(1, cells)
        memory[key] = tuple(heads.items())
    return memory[key]


def name_decision(snapshot: Snapshot, service: Service, client: tuple[int, int, int, int, int], draw: int) -> str | None:
    rank, datacenter, *_ = decide(snapshot, service, client, draw)
    if datacenter < 0 or (rank == DEAD and service.all_down in {NONE, SERVFAIL}):
        return None
    if rank == DEAD and service.all_down != ALL:
        assert service.fallback is not None or service.all_down != FALLBACK
        return f"service {service.fallback.name}" if service.fallback else "all_down addresses"
    return snapshot.maps.datacenters[datacenter]


def foresee_all(planet: Planet, snapshot: Snapshot, after: Health, touched: list[MemberKey]) -> Outlook:
    counts = OrderCounts()
    return foresee(snapshot, after, touched, lambda number: counts.find(snapshot.maps, number))


@pytest.mark.parametrize("seed", SEEDS)
def test_moves_are_what_every_client_sees(seed: int, planet: Callable[[int], Planet]) -> None:
    """Every placed IPv4 client is asked before and after, with every draw of a weighted tier."""
    found, chance = planet(seed), random.Random(seed)
    bare = found.made.snapshot
    pieces = list(placed_pieces(found))
    placed = sum(size for _, size in pieces)
    for _ in range(6):
        health = draw_health(chance, bare)
        touched = chance.sample(members_of(bare), chance.randint(1, len(members_of(bare))))
        other = draw_health(chance, bare)
        after = {key: other.get(key) if key in touched else health.get(key) for key in members_of(bare)}
        changed = {key: condition for key, condition in after.items() if condition is not None}
        snapshot = replace(bare, choices=build_choices(bare.zones, health))
        later = replace(bare, choices=build_choices(bare.zones, changed))
        outlook = foresee_all(found, snapshot, changed, touched)
        told = {(m.service, m.source, m.target): m.share for m in outlook.moves if m.service != "sticky"}
        assert told == pytest.approx(count_moves(found, snapshot, later, pieces, placed), abs=1e-12)
        assert list(told.values()) == sorted(told.values(), reverse=True)
        assert {(c.service, c.datacenter) for c in outlook.pools} == {
            (plan.service, plan.datacenter)
            for plan, one, two in zip(bare.zones.pools, snapshot.choices.pools, later.choices.pools, strict=True)
            if one.rank != two.rank
        }


def count_moves(
    found: Planet, snapshot: Snapshot, later: Snapshot, pieces: list[tuple[int, int]], placed: int
) -> Mapping[tuple[str, str | None, str | None], float]:
    moves: dict[tuple[str, str | None, str | None], Fraction] = {}
    before: dict[tuple[int, int], Head] = {}
    after: dict[tuple[int, int], Head] = {}
    for service in (service for service in snapshot.zones.services if not service.sticky):
        for first, size in pieces:
            old, new = answered(snapshot, service, first, before), answered(later, service, first, after)
            for (source, target), share in moved_shares(old, new).items():
                key = service.name, source, target
                moves[key] = moves.get(key, Fraction()) + share * size
    return {key: float(size / placed) for key, size in moves.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_orders_are_counted_as_one_would_by_hand(seed: int, planet: Callable[[int], Planet]) -> None:
    found = planet(seed)
    for service in found.made.snapshot.zones.services:
        table = found.made.snapshot.maps.tables[service.table]
        slices, expected = count_orders(table, found.countries), [0] * (len(table.rows) - 1)
        for first, size in placed_pieces(found):
            *_, order, _, _ = decide(found.made.snapshot, service, (0, 0, 0, 32, first), 0)
            expected[order] += size
        assert end_of(slices) == expected


def test_a_table_is_counted_once_until_the_maps_change(
    planet: Callable[[int], Planet], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, counted = planet(0), list[object]()

    def count(table: object, countries: Countries) -> Iterator[None]:
        counted.append(table)
        yield
        return [len(counted)]  # type: ignore[return-value]  # what a generator returns

    monkeypatch.setattr("geodns.forecast.count_orders", count)
    counts, maps = OrderCounts(), found.made.snapshot.maps
    again: list[Counts] = [counts.find(maps, 0) for _ in range(3)]
    assert again == [[1], [1], [1]]
    assert counts.find(replace(maps, digest=b"other"), 0) == [2]


WWW_AMS = [("www", "ams", text) for text in ("192.0.2.10", "192.0.2.11", "2001:db8:a::10")]
WWW_NYC = [("www", "nyc", text) for text in ("198.51.100.10", "198.51.100.11")]
WWW_SIN = [("www", "sin", text) for text in ("203.0.113.10", "2001:db8:c::10")]


@pytest.fixture(scope="module")
def see(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Health, Health], Outlook]:
    """The outlook of `tests.scenes` from one health to another."""
    folder = tmp_path_factory.mktemp("scene")
    scene = build_scene(folder)

    def look(before: Health, after: Health) -> Outlook:
        counts, snapshot = OrderCounts(), with_health(scene, before).snapshot
        touched = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        return foresee(snapshot, after, touched, lambda number: counts.find(snapshot.maps, number))

    return look


See = Callable[[Health, Health], Outlook]


def test_the_last_live_member_is_told_before_it_goes(see: See) -> None:
    outlook = see({}, dict.fromkeys(WWW_AMS, DRAINED))
    assert outlook.warnings == ("takes the last live member of www/ams out",)
    assert [(c.service, c.datacenter, c.before, c.after) for c in outlook.pools] == [("www", "ams", "up", "drained")]
    assert outlook.horizon == 60
    assert {move.source for move in outlook.moves} == {"ams"}


def test_the_last_member_of_a_type_takes_the_pool_with_it(see: See) -> None:
    outlook = see({}, {WWW_AMS[2]: DRAINED})
    assert outlook.warnings[0] == "takes the last live AAAA member of www/ams out, so that the whole pool is no longer up"
    assert outlook.moves


def test_a_pool_below_its_threshold_is_told(see: See) -> None:
    outlook = see({}, {WWW_AMS[0]: DOWN})
    assert outlook.warnings[0].startswith("leaves too little of www/ams: ")


def test_a_member_of_several_moves_nobody(see: See) -> None:
    outlook = see({}, {WWW_NYC[0]: DRAINED})
    assert outlook == Outlook((), (), 60.0, ())


def test_everything_drained_names_the_pass(see: See) -> None:
    everybody = [*WWW_AMS, *WWW_NYC, *WWW_SIN]
    outlook = see({}, dict.fromkeys(everybody, DRAINED))
    assert "www: nothing is up for 100 % of the addresses, drained members answer (pass 3)" in outlook.warnings
    outlook = see({}, dict.fromkeys(everybody, DOWN))
    assert "www: nothing is up for 100 % of the addresses, members that are down answer (all_down)" in outlook.warnings


def test_the_last_of_a_pool_that_was_weak_already_is_told(see: See) -> None:
    outlook = see({WWW_NYC[0]: DOWN, WWW_AMS[0]: DOWN}, {**dict.fromkeys(WWW_AMS, DRAINED), WWW_NYC[0]: DOWN})
    assert outlook.warnings[0] == "takes the last live member of www/ams out"
    assert [(c.before, c.after) for c in outlook.pools] == [("live", "drained")]


def test_who_is_served_by_a_worse_pass_already_is_no_news(see: See) -> None:
    drained = dict.fromkeys([*WWW_AMS, *WWW_NYC, *WWW_SIN], DRAINED)
    outlook = see(drained, {**drained, **dict.fromkeys(WWW_SIN, DOWN)})
    assert [(c.datacenter, c.after) for c in outlook.pools] == [("sin", "dead")]
    assert outlook.warnings == ()


def test_services_that_differ_in_all_down_alone_are_told_apart(see: See) -> None:
    gone = {("several", "ams", f"192.0.2.{i}"): DOWN for i in (20, 21, 22)} | {("shy", "ams", "192.0.2.60"): DOWN}
    outlook = see({}, gone)
    assert {(move.service, move.source, move.target) for move in outlook.moves} == {("shy", "ams", None)}
    told = "several: nothing is up for 100 % of the addresses, members that are down answer (all_down)"
    assert told in outlook.warnings
    assert "shy: nothing is up for 100 % of the addresses, all_down decides" in outlook.warnings


def test_the_horizon_is_the_highest_ttl_of_all(see: See) -> None:
    assert see({}, {WWW_AMS[0]: DRAINED, ("shy", "ams", "192.0.2.60"): DRAINED}).horizon == 60
    assert see({}, {("shy", "ams", "192.0.2.60"): DRAINED}).horizon == 30


def test_going_back_warns_of_nothing(see: See) -> None:
    outlook = see(dict.fromkeys([*WWW_AMS, *WWW_NYC], DRAINED), {})
    assert outlook.warnings == ()
    assert {move.source for move in outlook.moves} == {"sin"}


def test_nobody_placed_is_said(tmp_path: Path) -> None:
    snapshot = build_scene(tmp_path).snapshot
    nowhere = Countries((0,), (0,))
    outlook = foresee(
        snapshot,
        dict.fromkeys(WWW_AMS, DOWN),
        WWW_AMS,
        lambda number: end_of(count_orders(snapshot.maps.tables[number], nowhere)),
    )
    assert outlook.moves == ()
    assert "the databases place no IPv4 address, so that nobody can say which share moves" in outlook.warnings


def test_many_names_are_cut_short() -> None:
    assert name_some(["a"]) == "a"
    assert name_some(["a", "b", "c"]) == "a, b and c"
    assert name_some([str(i) for i in range(10)]) == "0, 1, 2, 3, 4, 5 and 4 more"

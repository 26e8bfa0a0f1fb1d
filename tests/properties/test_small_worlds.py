"""What must hold in every world, tried on whole small ones: configuration text to replies, against a plain model.

Each test is named with the seed of its world; GEODNS_SEEDS=500 tries that many.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.properties.plain import BITS, PEER, UNWRAP, Address, Order, World, address_at, find_block, units_of, widest
from tests.properties.worlds import NAMES, Made, compile_world, draw_world, make_world
from tests.protocol.packets import opt, parse, query, subnet

from geodns import metrics
from geodns.answer import UDP, Settings, Turn, answer
from geodns.geo.special import BLOCKS
from geodns.lookup import find_order, least_scopes, read_tiers
from geodns.snapshot import DEFAULT, FIRST_ROW
from geodns.snapshot import PEER as PEER_MARK
from geodns.snapshot import UNWRAP as UNWRAP_MARK

SEEDS = range(int(os.environ.get("GEODNS_SEEDS", "10")))
SERVICES = ("all", "some", "ruled", "few")
LOOPBACK = IPv4Address("127.0.0.1")
Find = Callable[[int], Made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """The world of a seed, compiled once."""
    return cache(lambda seed: make_world(seed, tmp_path_factory.mktemp("world")))


def order_and_scope(made: Made, name: str, address: Address, source: int, peer: Address = LOOPBACK) -> tuple[Order, int]:
    """The order that the range tables give *address*, with the scope."""
    service, table, _, _ = made.service(name)
    client = (address.max_prefixlen, int(address), source, peer.max_prefixlen, int(peer))
    order, scope, _, _ = find_order(table, client, *least_scopes(made.snapshot, service))
    names = made.snapshot.maps.datacenters
    return tuple(tuple((names[number], weight) for number, weight in tier) for tier in read_tiers(table, order)), scope


def ask(made: Made, name: str, address: Address, source: int, draw: int = 0) -> tuple[frozenset[str], int]:
    """The addresses in the reply to a query for *address*/*source*, and its scope: octets to octets."""
    turn = Turn(made.snapshot, UDP, Settings(), 0.0, metrics.new_tally(len(made.snapshot.zones.pools)))
    network = ip_network((address, source), strict=False)
    octets = network.network_address.packed[: (source + 7) // 8]
    edns = opt(subnet(1 if address.version == 4 else 2, source, octets))
    reply = parse(answer(turn, query(f"{name}.example.com", edns=edns), LOOPBACK.packed, draw))
    (option,) = reply.options
    return frozenset(str(rdata) for rrset in reply.answer for rdata in rrset), (option.to_wire() or b"")[3]


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_order_and_the_widest_scope_of_the_plain_model(seed: int, made: Find) -> None:
    """The first, the last and a middle address of every interval of both families, for every service.

    The scope is the widest prefix in which all get one order and no special block ends: so every address within it gets the
    same, and one bit shorter would not hold.
    """
    found, chance = made(seed), random.Random(seed)
    for name in SERVICES:
        _, table, map_name, members = found.service(name)
        for version in (4, 6):
            for first, end, order in found.world.intervals(version, map_name, members):
                for unit in {first, end - 1, chance.randrange(first, end)}:
                    if order == UNWRAP:
                        continue
                    address = address_at(version, unit)
                    expected = widest(first, end, unit, BITS[version])
                    got = order_and_scope(found, name, address, address.max_prefixlen)
                    scope = 0 if table.uniform else max(1, expected)
                    wanted = found.world.order_for(address, map_name, members, LOOPBACK)
                    assert got == (wanted, scope), (seed, name, str(address))


@pytest.mark.parametrize("seed", SEEDS)
def test_always_an_embedded_address_counts_like_the_address_itself(seed: int, made: Find) -> None:
    """6to4 at 16 bits, the others at 96; the scope moves along."""
    found = made(seed)
    for name in SERVICES:
        _, table, map_name, members = found.service(name)
        for unit in found.world.edges(4)[:-1]:
            inner = IPv4Address(unit)
            order, scope = order_and_scope(found, name, inner, 32)
            for text, offset in (
                (f"2002:{unit >> 16:x}:{unit & 0xFFFF:x}::1", 16),
                (f"::ffff:{inner}", 96),
                (f"64:ff9b::{inner}", 96),
                (str(IPv6Address(0x2001_0000 << 96 | unit ^ 0xFFFF_FFFF)), 96),
            ):
                address = IPv6Address(text)
                if (
                    found.world.order_of(address, map_name, members) == UNWRAP
                    and int(address) >> 64 << 64 == int(address) & ~0xFFFFFFFF
                ):
                    expected = (order, 0 if table.uniform else scope + offset)
                    assert order_and_scope(found, name, address, 128) == expected, (seed, name, text)


def walk(made: Made, name: str, version: int) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Ask for the first address, then for the first after its scope, and so on: (unit, scope, addresses answered)."""
    unit, bits = 0, BITS[version]
    while unit < 1 << bits:
        address = address_at(version, unit)
        block = find_block(address)
        if block is not None and block.embeds:  # their scopes reach beyond the upper half
            unit = units_of(block.network)[1]
            continue
        answers, scope = ask(made, name, address, address.max_prefixlen)
        assert scope <= bits, address
        yield unit, scope, answers
        unit += 1 << bits - scope


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", [4, 6])
def test_always_scopes_tile_the_space(seed: int, version: int, made: Find) -> None:
    """Each scope begins exactly where the one before ended, to the end of the family: so none overlaps another."""
    found, bits = made(seed), BITS[version]
    for name in ("ruled", "some"):
        if found.service(name)[1].uniform:
            assert {scope for _, scope, _ in walk(found, name, version)} == {0}
            continue
        units = 0
        for unit, scope, _ in walk(found, name, version):
            assert unit % (1 << bits - scope) == 0, (seed, name, str(address_at(version, unit)), scope)
            units += 1 << bits - scope
        skipped = sum(end - first for first, end in map(units_of, (b.network for b in BLOCKS if b.embeds and version == 6)))
        assert units + skipped == 1 << bits


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", [4, 6])
def test_always_every_address_within_a_scope_gets_the_same(seed: int, version: int, made: Find) -> None:
    """Octets to octets: at both ends and between; and asked again with the scope as source length, it does not grow."""
    found, bits, chance = made(seed), BITS[version], random.Random(seed)
    width = 32 if version == 4 else 128
    for unit, scope, answers in walk(found, "ruled", version):
        last = (1 << bits) - 1 if scope == 0 else unit + (1 << bits - scope) - 1
        for other in {unit, last, chance.randint(unit, last)}:
            address = address_at(version, other)
            assert ask(found, "ruled", address, width) == (answers, scope), (seed, str(address))
        if scope:
            assert ask(found, "ruled", address_at(version, unit), scope) == (answers, scope)


@pytest.mark.parametrize("seed", SEEDS)
def test_always_a_sticky_scope_is_at_least_a_24_or_56(seed: int, made: Find) -> None:
    found = made(seed)
    _, _, map_name, members = found.service("sticky")
    for version, least in ((4, 24), (6, 56)):
        for first, end, order in found.world.intervals(version, map_name, members):
            if order == UNWRAP:
                continue
            got = ask(found, "sticky", address_at(version, first), 32 if version == 4 else 128)
            assert got[1] == max(least, widest(first, end, first, BITS[version])), (seed, str(address_at(version, first)))


@pytest.mark.parametrize("seed", SEEDS)
def test_always_a_service_in_some_datacenters_gets_the_nearest_of_its_own(seed: int, made: Find) -> None:
    """Whatever `depth` is, and whoever of the others is nearer. The map `world` has no rules."""
    found = made(seed)
    _, _, map_name, members = found.service("some")
    for version in (4, 6):
        for first, _, order in found.world.intervals(version, map_name, members):
            address = address_at(version, first)
            ranking = found.world.rank(found.world.place_of(address).get("coordinates"), members)
            if isinstance(order, str) or not ranking:
                continue
            nearest = 10 * (NAMES.index(ranking[0]) + 1)
            answers, _ = ask(found, "some", address, address.max_prefixlen)
            assert answers == {f"192.0.2.{nearest}"}, (seed, str(address))


@pytest.mark.parametrize("seed", SEEDS)
def test_never_does_ipv4_data_reach_ipv6(seed: int, tmp_path: Path) -> None:
    """The same world without its IPv6 networks: every IPv6 client outside of embedding blocks is unknown."""
    world, options = draw_world(random.Random(seed))
    spec = {**world.spec, "geoip": world.spec["geoip"] | {"networks": only_ipv4(world.spec["geoip"]["networks"])}}
    alone = World(spec, only_ipv4(world.records), only_ipv4(world.asns))
    found = compile_world(alone, options, tmp_path)
    _, table, _, _ = found.service("all")
    assert set(table.v6.orders) == {DEFAULT, PEER_MARK, UNWRAP_MARK}
    assert any(order >= FIRST_ROW for order in table.v4.orders) or table.uniform


def only_ipv4(networks: Mapping[str, Any]) -> dict[str, Any]:
    """*networks* without those of IPv6."""
    return {text: value for text, value in networks.items() if ":" not in text}


def test_the_model_knows_marks_of_both_kinds(made: Find) -> None:
    """The worlds drawn have special blocks that say nothing, and some that a correction or a rule speaks for."""
    kinds = set()
    for seed in SEEDS:
        found = made(seed)
        _, _, map_name, members = found.service("ruled")
        for version in (4, 6):
            for first, _, order in found.world.intervals(version, map_name, members):
                special = find_block(address_at(version, first)) is not None
                kinds.add((special, order if isinstance(order, str) else "order"))
    assert kinds == {(True, PEER), (True, UNWRAP), (True, "order"), (False, "order")}

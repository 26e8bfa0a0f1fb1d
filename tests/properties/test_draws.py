"""Chance, stickiness and health, seen from outside: octets to octets on one small configuration.

Shares of one record are exact in the scenarios; here is what takes many clients or many questions. Every seed is fixed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, ip_address

import pytest
from tests.protocol.packets import opt, parse, query, subnet
from tests.transports import OverUdp
from tests.world import write_world

from geodns import metrics
from geodns.answer import UDP, Settings, Turn, answer
from geodns.compiler.build import Built, assemble, build
from geodns.health.state import Condition, Verdict
from geodns.snapshot import Snapshot

CONFIG = """
geoip: {database: world.mmdb}
datacenters: {nyc: {coordinates: [40, -74]}, ams: {coordinates: [52, 5]}, sin: {coordinates: [1, 104]}}
maps:
  world: {default: [sin]}
  tiers: {rules: [{continent: [NA, EU], order: [{nyc: 3, ams: 1}]}]}
services:
  many:
    check: off
    answers: 2
    pools: {nyc: [{address: 192.0.2.1, weight: 5}, 192.0.2.2, 192.0.2.3, 192.0.2.4], ams: [192.0.2.9]}
  sticky:
    check: off
    pick: sticky
    pools:
      nyc:
        - {address: 192.0.2.1, weight: 2}
        - {address: 192.0.2.2, weight: 1}
        - {address: 192.0.2.3, weight: 1}
      ams: [192.0.2.11, 192.0.2.12]
      sin: [192.0.2.21]
  tiers:
    check: off
    pick: sticky
    map: tiers
    pools: {nyc: [192.0.2.1, "2001:db8::1"], ams: [192.0.2.2, "2001:db8::2"]}
  loose: {check: off, map: tiers, pools: {nyc: [192.0.2.1, "2001:db8::1"], ams: [192.0.2.2, "2001:db8::2"]}}
zones:
  example.com:
    ns: [ns1.example.com.]
    records:
      ns1: {A: 192.0.2.53}
      many: {service: many}
      sticky: {service: sticky}
      tiers: {service: tiers}
      loose: {service: loose}
"""
Health = Mapping[tuple[str, str, str], Condition]
DRAINED, DOWN = Condition(drained=True), Condition(Verdict.DOWN)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("draws")
    world = {"0.0.0.0/1": {"continent": "NA", "country": "US", "coordinates": [40, -75]}}
    (folder / "world.mmdb").write_bytes(write_world(world))
    (folder / "geodns.yaml").write_text(CONFIG)
    return build(folder / "geodns.yaml", None)


@pytest.fixture(scope="module")
def healthy(built: Built) -> Snapshot:
    """Everybody up."""
    return assemble(built)


def ask(snapshot: Snapshot, name: str, client: IPv4Address, rtype: str = "A", draw: int = 0) -> tuple[list[str], int]:
    """The addresses for *client*/32 in the order of the reply, and the scope."""
    edns = opt(subnet(1, 32, client.packed))
    turn = Turn(snapshot, UDP, Settings(), 0.0, metrics.new_tally(len(snapshot.zones.pools)))
    return read(answer(turn, query(f"{name}.example.com", rtype, edns=edns), b"\x7f\0\0\1", draw))


@lru_cache(maxsize=10_000)
def read(octets: bytes | None) -> tuple[list[str], int]:
    """The addresses in a reply, and its scope; most draws give a reply that was read before."""
    reply = parse(octets)
    return [str(rdata) for rrset in reply.answer for rdata in rrset], (reply.options[0].to_wire() or b"")[3]


def clients(count: int, seed: int) -> list[IPv4Address]:
    """Ordinary addresses of the half that is placed, each in a /24 of its own."""
    return [IPv4Address((16 << 24) + number * 256 + 7) for number in random.Random(seed).sample(range(1 << 19), count)]


@pytest.mark.parametrize(("gone", "how"), [("192.0.2.1", DRAINED), ("192.0.2.2", DOWN), ("192.0.2.3", DRAINED)])
def test_always_a_sticky_change_moves_only_its_own_clients(
    built: Built, healthy: Snapshot, gone: str, how: Condition
) -> None:
    before, after = healthy, assemble(built, {("sticky", "nyc", gone): how})
    moved = 0
    for client in clients(400, 1):
        (was,), (now,) = ask(before, "sticky", client)[0], ask(after, "sticky", client)[0]
        assert now == was if was != gone else now != gone, str(client)
        moved += was == gone
    assert moved > 40


def test_always_the_same_network_gets_the_same_member(healthy: Snapshot) -> None:
    """Whatever the draw is, and whichever address of the /24 asks."""
    snapshot, chance = healthy, random.Random(2)
    for client in clients(100, 2):
        expected = ask(snapshot, "sticky", client)
        for _ in range(3):
            other = IPv4Address(int(client) & ~0xFF | chance.randrange(256))
            assert ask(snapshot, "sticky", other, draw=chance.getrandbits(64)) == expected, str(other)


def test_sticky_shares_follow_the_weights(healthy: Snapshot) -> None:
    """2 : 1 : 1 over 4,000 networks; the bounds are five standard deviations."""
    found = Counter(ask(healthy, "sticky", client)[0][0] for client in clients(4000, 3))
    for member, share in (("192.0.2.1", 0.5), ("192.0.2.2", 0.25), ("192.0.2.3", 0.25)):
        assert abs(found[member] - 4000 * share) < 5 * (4000 * share * (1 - share)) ** 0.5


def test_sticky_keeps_a_and_aaaa_together_in_a_tier_and_weighted_does_not(healthy: Snapshot) -> None:
    snapshot, chance, apart = healthy, random.Random(4), 0
    for client in clients(300, 4):
        draws = chance.getrandbits(64), chance.getrandbits(64)
        (v4,), (v6,) = (
            ask(snapshot, "tiers", client, rtype, draw)[0] for rtype, draw in zip(("A", "AAAA"), draws, strict=True)
        )
        assert v4[-1] == v6[-1], str(client)
        (v4,), (v6,) = (
            ask(snapshot, "loose", client, rtype, draw)[0] for rtype, draw in zip(("A", "AAAA"), draws, strict=True)
        )
        apart += v4[-1] != v6[-1]
    assert 60 < apart < 180, "3/8 of 300, by luck of a fixed seed"


def test_k_of_n_are_different_and_every_pair_comes(healthy: Snapshot) -> None:
    """W5, two of four; the first by weight (5 : 1 : 1 : 1), the second among the rest."""
    snapshot, chance = healthy, random.Random(5)
    client, count = IPv4Address("20.0.0.1"), 8000
    pairs = Counter(tuple(ask(snapshot, "many", client, draw=chance.getrandbits(64))[0]) for _ in range(count))
    assert all(len(set(pair)) == 2 for pair in pairs)
    weights = {"192.0.2.1": 5, "192.0.2.2": 1, "192.0.2.3": 1, "192.0.2.4": 1}
    assert len(pairs) == 12
    for (first, second), found in pairs.items():
        share = weights[first] / 8 * weights[second] / (8 - weights[first])
        assert abs(found - count * share) < 5 * (count * share) ** 0.5, (first, second)


def test_never_does_an_answer_depend_on_how_often_it_is_asked(healthy: Snapshot) -> None:
    """The same octets for the same draw, in whatever order the questions come."""
    snapshot, chance = healthy, random.Random(6)
    asked = [(name, client, chance.getrandbits(64)) for name in ("many", "sticky", "loose") for client in clients(40, 6)]
    first = {one: ask(snapshot, one[0], one[1], draw=one[2]) for one in asked}
    chance.shuffle(asked)
    for one in asked * 2:
        assert ask(snapshot, one[0], one[1], draw=one[2]) == first[one]


def test_never_does_health_change_a_scope(built: Built, healthy: Snapshot) -> None:
    """Random health of all members: the scope of every name and client stays."""
    chance = random.Random(7)
    asked = [
        (name, client)
        for name in ("many", "sticky", "tiers", "loose")
        for client in [*clients(20, 7), IPv4Address("200.1.1.1")]
    ]
    scopes = {one: ask(healthy, *one)[1] for one in asked}
    states = (Condition(), DOWN, DRAINED, Condition(Verdict.UNKNOWN), Condition(Verdict.DOWN, drained=True))
    for _ in range(8):
        health = {
            (plan.service, plan.datacenter, member.text): chance.choice(states)
            for plan in healthy.zones.pools
            for member in plan.members
        }
        snapshot = assemble(built, health)
        for one in asked:
            assert ask(snapshot, *one)[1] == scopes[one], one


def test_many_questions_on_one_socket_get_every_member(built: Built, healthy: Snapshot) -> None:
    """W9: nothing caches the draw. A member of weight 1 of 8 is missed in 400 questions once in 10^23 runs."""
    way = OverUdp()
    way.publish(built, healthy)
    try:
        wire = query("many.example.com", edns=opt(subnet(1, 24, b"\x14\0\0")))
        replies = (parse(way.ask(wire, ip_address("127.0.0.1"), 0)) for _ in range(400))
        firsts = Counter(str(reply.answer[0][0]) for reply in replies)
    finally:
        way.close()
    assert set(firsts) == {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
    assert firsts["192.0.2.1"] > 400 / 8

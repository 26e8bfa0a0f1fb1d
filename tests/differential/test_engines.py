"""The native engine gives the octets of the reference and counts what it counts: random worlds, random packets.

Each test is named with the seed of its world; GEODNS_SEEDS=500 tries that many.
"""

from __future__ import annotations

import os
import random
from array import array
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.differential.configs import draw_health, make_snapshot
from tests.differential.draws import draw_pool, draw_snapshot
from tests.differential.engines import ROOM, SETTINGS, Engines
from tests.differential.packets import draw_packet, draw_peer
from tests.properties.worlds import Made, make_world
from tests.scenario import Scenario, build_scenario, find_health, read_scenarios

from geodns.answer import TCP, UDP
from geodns.compiler.choices import build_choices
from geodns.metrics import POOLS
from geodns.native import trial
from geodns.native.answer import Rules
from geodns.snapshot import Choices

SEEDS = range(int(os.environ.get("GEODNS_SEEDS", "12")))
SCENARIOS = [
    one for path in sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml")) for one in read_scenarios(path)
]
PACKETS = 400  # a world
KINDS = (
    "silence", "truncated", "1 records", "2 records", "many records",
    "negative, NOERROR", "negative, NXDOMAIN", "chain to negative, NOERROR", "chain to negative, NXDOMAIN",
    "referral, NOERROR", "chain to referral, NOERROR", "BADVERS", "FORMERR", "SERVFAIL", "NOTIMP", "REFUSED",
)  # fmt: skip


def draw_transport(chance: random.Random) -> int:
    return TCP if chance.random() < 0.2 else UDP


def compare_many(engines: Engines, chance: random.Random, count: int) -> None:
    """*count* packets of all kinds; then the tallies. None of them may be declined."""
    for _ in range(count):
        engines.compare(
            draw_packet(engines.owners, chance), draw_peer(chance), chance.getrandbits(64), draw_transport(chance)
        )
    assert engines.declined == 0
    engines.check_tallies()


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_same_octets_over_snapshots_of_any_kind(seed: int) -> None:
    """Also those that no compiler would write: weights of 0, orders without anybody, wildcards below wildcards."""
    chance = random.Random(seed)
    engines = Engines(draw_snapshot(seed), chance.choice(SETTINGS))
    compare_many(engines, chance, PACKETS)


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_same_octets_after_health_events(seed: int) -> None:
    """Only the choices are new, and the root of before goes on beside."""
    chance = random.Random(seed)
    engines = Engines(draw_snapshot(seed), chance.choice(SETTINGS))
    before = Engines(engines.snapshot)
    for _ in range(5):
        pools = list(engines.snapshot.choices.pools)
        if pools:
            pools[chance.randrange(len(pools))] = draw_pool(chance, targets=chance.random() < 0.2)
        engines.flip(Choices(tuple(pools), engines.snapshot.choices.shape))
        compare_many(engines, chance, 60)
        compare_many(before, chance, 20)


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_same_alone_and_among_others(seed: int) -> None:
    """Packets that came together are looked at side by side; none may notice."""
    chance = random.Random(seed)
    engines = Engines(draw_snapshot(seed), chance.choice(SETTINGS))
    rules = Rules(SETTINGS[seed % len(SETTINGS)], UDP)
    for count in (0, 1, 2, 15, 16, 17, 64, 100):
        packets = [draw_packet(engines.owners, chance) for _ in range(count)]
        peers = [draw_peer(chance) for _ in packets]
        draws = [chance.getrandbits(64) for _ in packets]
        alone, among = (array("Q", bytes(8 * (POOLS + len(engines.snapshot.zones.pools)))) for _ in range(2))
        expected = [trial.attempt(engines.root, rules, *one, ROOM, alone) for one in zip(packets, peers, draws, strict=True)]
        assert trial.attempt_together(engines.root, rules, packets, peers, draws, ROOM, among) == expected
        assert among == alone


def name_kind(reply: bytes | None) -> str:
    """What kind of reply that is; a library that is not ours reads it."""
    if reply is None:
        return "silence"
    if reply[3] & 15 == dns.rcode.NOTIMP:
        return "NOTIMP"  # that library reads the question of an UPDATE as something else
    message = dns.message.from_wire(reply)
    if message.rcode() == dns.rcode.NOERROR and message.flags & dns.flags.TC:
        return "truncated"
    end = "referral" if any(rrset.rdtype == dns.rdatatype.NS for rrset in message.authority) else "negative"
    if message.authority:
        end = f"{end}, {dns.rcode.to_text(message.rcode())}"
        return f"chain to {end}" if message.answer else end
    if message.rcode() != dns.rcode.NOERROR or not message.answer:
        return dns.rcode.to_text(message.rcode())
    count = sum(map(len, message.answer))
    return f"{count if count < 3 else 'many'} records"


def test_no_kind_of_reply_is_missing_among_those_compared() -> None:
    """Random worlds and packets prove nothing about what they never meet."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        chance = random.Random(seed)
        engines = Engines(draw_snapshot(seed))
        tally = array("Q", bytes(8 * (POOLS + len(engines.snapshot.zones.pools))))
        for _ in range(200):
            packet, peer = draw_packet(engines.owners, chance), draw_peer(chance)
            _, reply = trial.attempt(
                engines.root, Rules(SETTINGS[0], UDP), packet, peer, chance.getrandbits(64), ROOM, tally
            )
            seen[name_kind(reply)] += 1
    assert {kind for kind in KINDS if seen[kind] < 5} == set()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Made]:
    """The compiled world of a seed."""
    return cache(lambda seed: make_world(seed, tmp_path_factory.mktemp("world")))


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_same_octets_over_compiled_worlds(seed: int, made: Callable[[int], Made]) -> None:
    """The maps as the compiler cut them, with clients at both ends of every interval among the random ones."""
    chance = random.Random(seed)
    found = made(seed)
    engines = Engines(found.snapshot, chance.choice(SETTINGS))
    compare_many(engines, chance, PACKETS)
    for unit in found.world.edges(4)[:-1]:
        for number in {unit, max(0, unit - 1)}:
            engines.compare(draw_packet(engines.owners, chance), number.to_bytes(4, "big"), chance.getrandbits(64))
    for unit in found.world.edges(6)[:-1]:
        for number in {unit << 64, max(0, (unit << 64) - 1)}:
            engines.compare(draw_packet(engines.owners, chance), number.to_bytes(16, "big"), chance.getrandbits(64))
    engines.check_tallies()


@settings(deadline=None, max_examples=len(SEEDS))
@given(seed=st.integers(0, 2**32))
def test_always_the_same_octets_whatever_is_configured(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Every kind of service and of name, as the compiler lays them out, under one state of health after another."""
    chance = random.Random(seed)
    snapshot = make_snapshot(seed, tmp_path_factory.mktemp("configured"))
    engines = Engines(snapshot, chance.choice(SETTINGS))
    for _ in range(4):
        compare_many(engines, chance, 100)
        engines.flip(draw_health(snapshot.zones, chance))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_always_the_same_octets_in_every_scenario(scenario: Scenario, tmp_path: Path) -> None:
    """Its configuration under each of its states of health."""
    chance = random.Random(1)
    _, healthy = build_scenario(scenario, tmp_path)
    engines = Engines(healthy, SETTINGS[1])
    states = [scenario.body.get("health", {}), *(step["health"] for step in scenario.body["steps"] if "health" in step)]
    for wanted in states:
        engines.flip(build_choices(healthy.zones, find_health(scenario, healthy.zones, wanted)))
        compare_many(engines, chance, 120)


@pytest.fixture(scope="module")
def engines() -> Engines:
    """One rich snapshot for all octets that hypothesis thinks of."""
    return Engines(draw_snapshot(3), SETTINGS[1])


@settings(deadline=None, max_examples=300)
@given(octets=st.binary(max_size=600), draw=st.integers(0, 2**64 - 1))
def test_always_the_same_octets_for_any_octets(engines: Engines, octets: bytes, draw: int) -> None:
    engines.compare(octets, b"\x7f\0\0\1", draw)
    engines.compare(b"\0\0\1\0\0\1\0\0\0\0" + octets, b"\x7f\0\0\1", draw)


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_always_the_same_octets_whatever_the_draw(engines: Engines, seed: int, data: st.DataObject) -> None:
    """Draws at the edges, which random ones never meet; hypothesis likes them."""
    chance = random.Random(seed)
    packet, peer = draw_packet(engines.owners, chance), draw_peer(chance)
    for _ in range(3):
        engines.compare(packet, peer, data.draw(st.integers(0, 2**64 - 1) | st.sampled_from((0, 2**32 - 1, 2**64 - 1))))

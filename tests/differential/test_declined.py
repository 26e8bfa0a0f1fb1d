"""What the native engine may leave to Python, kind by kind: nothing that is plain, and of what it leaves it counts nothing.

Without these bounds an engine that declines everything would pass all other tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.differential.engines import SETTINGS, Engines
from tests.differential.packets import draw_peer, draw_subnet
from tests.snapshots import EMBEDDING, Small, Tier, address_tail, make_pool, make_table, name, opt_of, query_of

from geodns.answer import TCP, UDP
from geodns.snapshot import ADDRESSES, DEAD, DRAINED, FALLBACK, LIVE, NONE, SERVFAIL, Snapshot
from geodns.wire.constants import AAAA, ANY, CNAME, DS, TXT, A

ROUNDS = 50


def make_snapshot() -> Snapshot:
    """One name for each way in which a service answers."""
    orders: dict[str, list[Tier]] = {"default": [0, 1, 2], "east": [1, 0], "tiers": [{0: 3, 1: 1}, 2], "nobody": []}
    table, _ = make_table(
        orders,
        {"128.0.0.0/1": "east", "20.0.0.0/8": "tiers", "10.0.0.0/8": "peer", "30.0.0.0/8": "nobody"},
        {"2001:db8::/32": "east", "fc00::/7": "peer"} | dict.fromkeys(EMBEDDING, "unwrap"),
    )
    small = Small()
    two = {i: make_pool(f"192.0.2.{i}", (f"192.0.2.1{i}", 3), f"2001:db8::{i}") for i in range(3)}
    dead = {i: make_pool("192.0.2.9", rank=DEAD) for i in range(3)}
    many = {0: make_pool(*((f"192.0.{i >> 8}.{i & 255}", 1 + i % 3) for i in range(600)))}
    huge = {0: make_pool(*(f"10.{i >> 8}.{i & 255}.1" for i in range(4200)))}
    last = {A: (address_tail("198.51.100.1", 5),)}
    weighted = small.service("weighted", table, two)
    services = {
        "weighted": weighted,
        "sticky": small.service("sticky", table, two, sticky=True),
        "two": small.service("two", table, two, answers=2),
        "all": small.service("all", table, two, answers=0),
        "sticky-two": small.service("sticky-two", table, two, answers=2, sticky=True),
        "passes": small.service("passes", table, {0: dead[0], 1: make_pool("192.0.2.2", rank=DRAINED), 2: two[2]}),
        "live": small.service("live", table, {i: make_pool("192.0.2.3", rank=LIVE) for i in range(3)}),
        "dead": small.service("dead", table, dead),
        "none": small.service("none", table, dead, all_down=NONE),
        "servfail": small.service("servfail", table, dead, all_down=SERVFAIL),
        "fallback": small.service("fallback", table, dead, all_down=FALLBACK, fallback=weighted),
        "addresses": small.service("addresses", table, dead, all_down=ADDRESSES, last_resort=last),
        "cdn": small.service("cdn", table, {0: make_pool("weighted.z.test."), 1: make_pool("edge.other.")}),
        "many": small.service("many", table, many, answers=0),
        "ten": small.service("ten", table, many, answers=10),
        "huge": small.service("huge", table, huge, answers=0),
        "most": small.service("most", table, huge, answers=300),
    }
    owners = {f"{label}.z.test.": service for label, service in services.items()}
    chain = {f"c{i}.z.test.": {CNAME: [name(f"c{i + 1}.z.test.")]} for i in range(9)}
    static = {
        "static.z.test.": {A: [b"\xc0\0\2\1"], TXT: [b"\xff" + b"x" * 255] * 9},
        "c9.z.test.": {A: [b"\xc0\0\2\1"]},
        "loop.z.test.": {CNAME: [name("loop.z.test.")]},
        "out.z.test.": {CNAME: [name("a.other.")]},
    }
    cut = (["ns.sub.z.test.", "ns.other."], {"ns.sub.z.test.": ["192.0.2.5", "2001:db8::5"]})
    zone = small.zone("z.test.", owners | chain | static | {"*.w.z.test.": weighted}, {"sub.z.test.": cut})
    small.zone("n.z.test.", {}, parent=zone)
    return small.snapshot()


@dataclass(frozen=True)
class Kind:
    """A kind of packet, made again and again; *most* is the highest share of them that may be declined."""

    label: str
    make: Callable[[random.Random], bytes]
    transport: int = UDP
    most: float = 0.0


def asks(label: str, qtype: int = A) -> Callable[[random.Random], bytes]:
    """Queries for a name of the zone, a third of them without EDNS, a third with, a third with a client subnet."""

    def make(chance: random.Random) -> bytes:
        opt = chance.choice((None, opt_of(), opt_of(draw_subnet(chance)), opt_of(draw_subnet(chance), flags=0x8000)))
        return query_of(f"{label}.z.test." if label else "z.test.", qtype, opt=opt)

    return make


def with_options(options: bytes) -> Callable[[random.Random], bytes]:
    return lambda chance: query_of("weighted.z.test.", opt=opt_of(options + draw_subnet(chance)))


def absent(chance: random.Random) -> bytes:
    return query_of(f"{chance.getrandbits(32):08x}.z.test.")


SERVICES = ("weighted", "sticky", "two", "all", "sticky-two", "passes", "live", "dead", "none", "servfail", "fallback",
            "addresses", "cdn", "many", "ten", "huge")  # fmt: skip
KINDS = (
    *(Kind(f"service: {label}", asks(label)) for label in SERVICES),
    *(Kind(f"service: {label}, AAAA", asks(label, AAAA)) for label in SERVICES),
    Kind("service over TCP", asks("weighted"), TCP),
    Kind("600 of 600 over TCP", asks("many"), TCP),
    Kind("static", asks("static")),
    Kind("truncated", asks("static", TXT)),
    Kind("chain of nine", asks("c0")),
    Kind("chain that loops", asks("loop")),
    Kind("chain that leaves", asks("out")),
    Kind("wildcard", asks("anything.w")),
    Kind("NXDOMAIN", absent),
    Kind("NODATA", asks("static", AAAA)),
    Kind("empty non-terminal", asks("w")),
    Kind("referral", asks("a.b.sub")),
    Kind("apex, SOA", asks("", 6)),
    Kind("apex, DS", asks("n", DS)),
    Kind("ANY", asks("weighted", ANY)),
    Kind("NSID, padding and unknown options", with_options(b"\0\3\0\0\0\x0c\0\2ab\x12\x67\0\1x")),
    Kind("REFUSED", lambda chance: query_of(f"{chance.getrandbits(32):08x}.test.", opt=opt_of(draw_subnet(chance)))),
    Kind("REFUSED, AXFR", asks("static", 252)),
    Kind("REFUSED, class", lambda chance: query_of("static.z.test.", qclass=3)),
    Kind("FORMERR", lambda chance: query_of("static.z.test.") + b"x"),
    Kind(
        "FORMERR, two questions", lambda chance: query_of("static.z.test.")[:5] + b"\2" + query_of("a.")[6:] + b"\0\0\1\0\1"
    ),
    Kind("NOTIMP", lambda chance: query_of("static.z.test.", flags=0x2800)),
    Kind("BADVERS", lambda chance: query_of("static.z.test.", opt=opt_of(flags=0x10000))),
    Kind("silence", lambda chance: query_of("static.z.test.", flags=0x8000)),
    Kind("too short", lambda chance: b"short"),
    # Left to Python, because putting so many in order would hold up the packets behind.
    Kind("300 of 4,200 over TCP", asks("most"), TCP, 1.0),
)


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(make_snapshot(), SETTINGS[1])


@pytest.mark.parametrize("kind", KINDS, ids=[kind.label for kind in KINDS])
def test_never_is_more_declined_than_its_kind_allows(kind: Kind, engines: Engines) -> None:
    chance = random.Random(kind.label)
    declined = sum(
        engines.compare(kind.make(chance), draw_peer(chance), chance.getrandbits(64), kind.transport) for _ in range(ROUNDS)
    )
    assert declined <= kind.most * ROUNDS


def test_what_is_declined_leaves_no_trace() -> None:
    """Neither for want of room nor for the number of draws; Python answers and counts it then."""
    engines, chance = Engines(make_snapshot()), random.Random(5)
    for room in (0, 11, 511, 512, 600, 1231):
        for label, qtype in (("many", A), ("static", TXT), ("weighted", A)):
            opt = opt_of(draw_subnet(chance), size=4096)
            engines.compare(query_of(f"{label}.z.test.", qtype, opt=opt), draw_peer(chance), 7, TCP, room=room)
    assert 18 > engines.declined > 6
    engines.check_tallies()


def test_never_is_an_address_of_another_size_answered_natively(engines: Engines) -> None:
    before = engines.declined
    for size in (0, 1, 5, 15, 17):
        assert engines.compare(query_of("static.z.test."), bytes(size), 7)
    assert engines.declined == before + 5

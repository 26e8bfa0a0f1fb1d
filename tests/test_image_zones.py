"""The zones block: what is written reads back equal, in slices, and nothing unsound passes."""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.errors import ImageError
from geodns.image import HEADER
from geodns.image_zones import read_zones, write_zones
from geodns.slices import at_once
from geodns.snapshot import (
    ADDRESSES,
    ALL,
    FALLBACK,
    Cut,
    Member,
    Node,
    PoolPlan,
    Rrset,
    Service,
    Zone,
    Zones,
)
from geodns.wire.constants import AAAA, CNAME, DS, NS, SOA, TXT, A
from geodns.wire.name import count_labels, is_below, label_starts, parse_name_text
from geodns.wire.rdata import write_tail

MAPS_SHAPE, SHAPE = b"m" * 16, b"p" * 16
KEYS = (11, 22)  # of two datacenters
LABELS = ("a", "b", "*", "xn--p1ai", "_tcp")
RRSETS = (
    Rrset(A, (write_tail(A, 300, bytes((192, 0, 2, 1))),)),
    Rrset(A, (write_tail(A, 300, bytes((192, 0, 2, 1))), write_tail(A, 300, bytes((192, 0, 2, 2))))),
    Rrset(AAAA, (write_tail(AAAA, 60, bytes(16)),)),
    Rrset(TXT, (write_tail(TXT, 0, b"\x00"), write_tail(TXT, 0, b"\x05hello"))),
    Rrset(65280, (write_tail(65280, 2**31 - 1, b""),)),
)


def name(text: str) -> bytes:
    return parse_name_text(text)


def soa(ttl: int) -> bytes:
    return write_tail(SOA, ttl, name("ns.") + name("host.") + bytes(20))


def read(block: bytes) -> Zones:
    """The zones, all slices at once."""
    return at_once(read_zones(block, "test"))


NO_SERVICES: tuple[tuple[Service, ...], tuple[PoolPlan, ...]] = ((), ())


def make_services() -> tuple[tuple[Service, ...], tuple[PoolPlan, ...]]:
    v4 = Member(A, bytes((192, 0, 2, 9)), 65535, 2**64 - 1, False, "192.0.2.9")
    v6 = Member(AAAA, bytes(16), 0, 0, True, "::")
    target = Member(CNAME, name("edge.example.net."), 1, 5, False, "edge.example.net.")
    pools = (
        PoolPlan("cdn", "nyc", (target,), 1_000_000, 0, 0),
        PoolPlan("www", "ams", (v4, v6), 500_000, 5, 60),
        PoolPlan("www", "nyc", (v4,), 0, 5, 2**31 - 1),
    )
    cdn = Service("cdn", 0, 3, 0, False, 2**63, KEYS, (-1, 0), frozenset({CNAME}), False, ALL, None, {}, 0)
    last = {A: (write_tail(A, 5, bytes(4)),), AAAA: (write_tail(AAAA, 5, bytes(16)), write_tail(AAAA, 5, b"b" * 16))}
    www = Service("www", 1, 0, 2, True, 1, KEYS, (1, 2), frozenset({A, AAAA}), True, FALLBACK, cdn, {}, 5)
    lone = Service("lone", 2, 0, 1, True, 1, KEYS, (-1, -1), frozenset(), True, ADDRESSES, None, last, 5)
    return (cdn, www, lone), pools


def grow(
    zone: Zone, rrsets: Mapping[bytes, Mapping[int, Rrset]], cuts: Mapping[bytes, Cut], services: Mapping[bytes, Service]
) -> dict[bytes, Node]:
    """All nodes of a zone, the empty ones between too."""
    names = {owner[at:] for owner in rrsets for at in label_starts(owner) if is_below(owner[at:], zone.apex)}
    nodes: dict[bytes, Node] = {}
    for owner in sorted(names | {zone.apex}, key=len, reverse=True):
        cut = next((cut for cut in cuts.values() if is_below(owner, cut.name)), None)
        found = rrsets.get(owner, {})
        nodes[owner] = Node(owner, zone, found, services.get(owner), cut, nodes.get(b"\x01*" + owner))
    return nodes


@st.composite
def all_zones(draw: st.DrawFn) -> Zones:
    services, pools = draw(st.sampled_from((make_services(), NO_SERVICES)))
    parent = Zone(name("example."), soa(300), soa(60), None, None, 0)
    ds = Rrset(DS, (write_tail(DS, 300, b"digest"),))
    child = Zone(name("sub.example."), soa(0), soa(0), parent, draw(st.sampled_from((None, ds))), 1)
    names: dict[bytes, Node] = {}
    for zone in (parent, child):
        paths = draw(st.lists(st.lists(st.sampled_from(LABELS), max_size=4), max_size=8))
        owners = [b"".join(bytes((len(label),)) + label.encode() for label in path) + zone.apex for path in paths]
        rrsets = {
            owner: {r.rtype: r for r in sorted(draw(st.lists(st.sampled_from(RRSETS), max_size=3)), key=lambda r: r.rtype)}
            for owner in owners
        }
        serving = draw(st.lists(st.sampled_from(owners))) if services and owners else []
        used = {owner: draw(st.sampled_from(services)) for owner in serving}
        cuts: dict[bytes, Cut] = {}
        for owner in owners[:2]:
            if owner != zone.apex and not any(is_below(owner, cut) or is_below(cut, owner) for cut in cuts):
                glue = ((b"\x02ns" + owner, RRSETS[1].tails), (b"\x02ns" + owner, RRSETS[2].tails))
                cuts[owner] = Cut(owner, Rrset(NS, (write_tail(NS, 60, b"\x02ns" + owner),)), None, glue[: len(cuts) + 1])
        names.update(grow(zone, rrsets, cuts, used))
    deepest = max(map(count_labels, names))
    texts = draw(st.dictionaries(st.tuples(st.integers(0, 65535), st.binary(max_size=9)), st.text('a ."~', max_size=9)))
    return Zones(names, (parent, child), services, pools, deepest, MAPS_SHAPE, SHAPE, texts)


@settings(deadline=None)
@given(all_zones())
def test_always_reads_back_what_was_written(zones: Zones) -> None:
    found = read(write_zones(zones))
    assert found == zones
    assert all(node.zone is found.zones[node.zone.number] for node in found.names.values())
    assert write_zones(found) == write_zones(zones)


@pytest.mark.parametrize("text", ["a\nb", "a\r", "\t", "\x7f", "ä"])
def test_a_text_that_is_not_one_line_is_refused(text: str) -> None:
    """PowerDNS would take what follows for the answer to its next question."""
    with pytest.raises(ImageError, match="unsound"):
        read(write_zones(Zones({}, (), (), (), 0, MAPS_SHAPE, SHAPE, {(29, b"x"): text})))


def test_nothing_at_all() -> None:
    zones = Zones({}, (), (), (), 0, MAPS_SHAPE, SHAPE)
    assert read(write_zones(zones)) == zones


def test_the_root_zone() -> None:
    zone = Zone(b"\0", soa(300), soa(60), None, None, 0)
    names = grow(zone, {name("com."): {A: RRSETS[0]}, b"\0": {}}, {}, {})
    zones = Zones(names, (zone,), (), (), 1, MAPS_SHAPE, SHAPE)
    assert read(write_zones(zones)) == zones


def make_big(count: int) -> Zones:
    zone = Zone(name("example."), soa(300), soa(60), None, None, 0)
    rrsets = {name(f"h{i}.example."): {RRSETS[i % 2].rtype: RRSETS[i % 2]} for i in range(count)}
    return Zones(grow(zone, rrsets, {}, {}), (zone,), (), (), 2, MAPS_SHAPE, SHAPE)


def test_many_names_come_in_many_slices() -> None:
    assert sum(1 for _ in read_zones(write_zones(make_big(5000)), "test")) > 2 * 5000 / 256 / 2


def test_equal_records_are_stored_and_held_once() -> None:
    block = write_zones(make_big(1000))
    assert len(block) < 1000 * 48
    found = read(block)
    assert found.names[name("h1.example.")].rrsets is found.names[name("h3.example.")].rrsets
    assert len({id(node.rrsets) for node in found.names.values()}) == 3  # two sets of records, and none


def test_never_a_cycle() -> None:
    """The collector would walk all names for nothing."""
    services, pools = make_services()
    block = write_zones(Zones({}, (), services, pools, 0, MAPS_SHAPE, SHAPE))
    big = write_zones(make_big(500))
    gc.collect()
    gc.disable()
    try:
        del services, pools
        for octets in (block, big):
            found = read(octets)
            del found
        assert gc.collect() == 0
    finally:
        gc.enable()


def sign(octets: bytes) -> bytes:
    """*octets* with a digest that fits, so that only the checks of meaning stand in the way."""
    magic, kind, layout, sections, length, shape, _ = HEADER.unpack_from(octets)
    digest = hashlib.blake2b(octets[HEADER.size :], digest_size=32).digest()
    return HEADER.pack(magic, kind, layout, sections, length, shape, digest) + octets[HEADER.size :]


def sample() -> bytes:
    services, pools = make_services()
    zone = Zone(name("example."), soa(300), soa(60), None, None, 0)
    below = name("sub.example.")
    glue = ((name("ns.sub.example."), RRSETS[1].tails),)
    cut = Cut(below, Rrset(NS, (write_tail(NS, 60, name("ns.sub.example.")),)), None, glue)
    rrsets: dict[bytes, Mapping[int, Rrset]] = {
        zone.apex: {SOA: Rrset(SOA, (zone.soa,))},
        name("*.a.example."): {A: RRSETS[1], TXT: RRSETS[3]},
        name("www.example."): {},
        glue[0][0]: {A: RRSETS[1]},
    }
    names = grow(zone, rrsets, {below: cut}, {name("www.example."): services[1]})
    return write_zones(Zones(names, (zone,), services, pools, 3, MAPS_SHAPE, SHAPE))


def test_never_anything_but_an_image_error_for_damage_that_the_digest_misses() -> None:
    block, chance, refused = sample(), random.Random(1), 0
    for _ in range(3000):
        octets = bytearray(block)
        for _ in range(chance.choice((1, 1, 2, 8))):
            octets[chance.randrange(HEADER.size, len(octets))] = chance.choice((0, 1, 0x3F, 0xFF, chance.randrange(256)))
        try:
            found = read(sign(bytes(octets)))
        except ImageError:
            refused += 1
        else:
            assert all(is_below(owner, node.zone.apex) for owner, node in found.names.items())
    assert refused > 1000


@pytest.mark.parametrize("cut", [0, 1, HEADER.size, 500, -64, -1])
def test_a_torn_block_is_refused(cut: int) -> None:
    with pytest.raises(ImageError, match=r"^test: "):
        read(sample()[:cut])


def test_an_altered_block_is_refused() -> None:
    octets = bytearray(sample())
    octets[-1] ^= 1
    with pytest.raises(ImageError, match="altered"):
        read(bytes(octets))

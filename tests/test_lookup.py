"""Which records answer: names against a plain model of RFC 1034 and 4592, services against the design's sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.snapshots import EMBEDDING, Small, Tier, address_tail, make_pool, make_table, name

from geodns.lookup import (
    ALIAS,
    FAILED,
    NODATA,
    NXDOMAIN,
    RECORDS,
    REFERRAL,
    REFUSED,
    Client,
    decide,
    find,
    find_closest,
    find_order,
    find_service,
    read_tiers,
    records_at,
    unwrap,
)
from geodns.pick import mix
from geodns.snapshot import (
    ADDRESSES,
    ALL,
    DEAD,
    DRAINED,
    FALLBACK,
    LIVE,
    NONE,
    SERVFAIL,
    UP,
    Pool,
    Rrset,
    Service,
    Snapshot,
    Table,
)
from geodns.wire.constants import AAAA, ANY, CNAME, DS, EMPTY, HINFO, MX, NS, SOA, TXT, A
from geodns.wire.rdata import rdata_of, ttl_of, write_tail

NOBODY: Client = (0, 0, 0, 32, 0xC0000201)
ONE_ORDER: dict[str, Sequence[Tier]] = {"default": [0, 1, 2]}


def client_of(subnet: str | None = None, peer: str = "192.0.2.1") -> Client:
    """A client as `answer` makes it."""
    address = ip_address(peer)
    if subnet is None:
        return 0, 0, 0, address.max_prefixlen, int(address)
    network = ip_network(subnet, strict=False)
    return network.max_prefixlen, int(network.network_address), network.prefixlen, address.max_prefixlen, int(address)


# What follows is the model: names are tuples of labels, the zone's data a dict.
Labels = tuple[str, ...]


def text_of(labels: Labels) -> str:
    return ".".join(labels) + "."


class Model:
    """RFC 1034 4.3.2 and RFC 4592, said as plainly as possible."""

    def __init__(self, zones: dict[Labels, dict[Labels, set[int]]], cuts: set[Labels]) -> None:
        self.zones, self.cuts = zones, cuts

    def find(self, owner: Labels, qtype: int) -> tuple[int, Labels | None]:
        """Status, and the name that speaks (the cut for referrals, the source of synthesis for wildcards)."""
        apexes = [apex for apex in self.zones if owner[len(owner) - len(apex) :] == apex]
        if not apexes:
            return REFUSED, None
        apex = max(apexes, key=len)
        if qtype == DS and owner == apex and len(apexes) == 2:
            return NODATA, min(apexes, key=len)  # the parent's, which holds none here
        for start in range(len(owner) - len(apex) - 1, -1, -1):  # downwards from below the apex
            if owner[start:] in self.cuts:
                if qtype == DS and start == 0:
                    return NODATA, owner
                return REFERRAL, owner[start:]
        owners = {known for known in self.zones[apex] if not self.is_hidden(known, apex)} | self.cuts | set(self.zones)
        existing = {known[start:] for known in owners for start in range(len(known)) if len(known) - start >= len(apex)}
        if owner in existing:
            return self.at(self.zones[apex].get(owner), qtype), owner
        encloser = owner
        while encloser not in existing:
            encloser = encloser[1:]
        source = ("*", *encloser)
        if source in existing:
            return self.at(self.zones[apex].get(source), qtype), source
        return NXDOMAIN, None

    def is_hidden(self, owner: Labels, apex: Labels) -> bool:
        return any(owner[start:] in self.cuts for start in range(len(owner) - len(apex)))

    def at(self, types: set[int] | None, qtype: int) -> int:
        if not types:
            return NODATA
        if qtype in types or qtype == ANY:
            return RECORDS
        return ALIAS if CNAME in types else NODATA


APEX: Labels = ("z", "test")
NESTED: Labels = ("n", "z", "test")
RELATIVE = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(tuple)
TYPES = st.sampled_from([{A}, {TXT}, {A, TXT}, {CNAME}])
RDATA = {A: b"\x01\x02\x03\x04", TXT: b"\x01x", CNAME: name("elsewhere.test.")}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Snapshot, Model]:
    """One zone with cuts, and perhaps one nested in it."""
    owners = {(*rel, *APEX): types for rel, types in draw(st.dictionaries(RELATIVE, TYPES, max_size=6)).items()}
    nested = {(*rel, *NESTED): types for rel, types in draw(st.dictionaries(RELATIVE, TYPES, max_size=3)).items()}
    no_wild = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2).map(tuple)
    cuts = {(*rel, *APEX) for rel in draw(st.lists(no_wild, max_size=2))}
    cuts = {cut for cut in cuts if not any(cut[start:] in cuts for start in range(1, len(cut)))}
    zones = {APEX: owners} | ({NESTED: nested} if draw(st.booleans()) else {})
    model = Model(zones, cuts)
    small, parent = Small(), None
    for apex, data in zones.items():
        shown = {o: t for o, t in data.items() if o not in cuts and not model.is_hidden(o, apex)}
        parent = small.zone(
            text_of(apex),
            {text_of(o): {t: [RDATA[t]] for t in types} for o, types in shown.items()},
            {text_of(cut): (["ns." + text_of(cut)], {"ns." + text_of(cut): ["192.0.2.1"]}) for cut in cuts if apex == APEX},
            parent=parent,
        )
        zones[apex] = shown | {apex: {SOA, NS}}
    return small.snapshot(), model


@settings(max_examples=400, deadline=None)
@given(worlds(), st.lists(st.sampled_from(["a", "b", "*", "n", "c"]), max_size=5), st.sampled_from([A, TXT, CNAME, DS, MX]))
def test_find_always_agrees_with_the_model(world: tuple[Snapshot, Model], labels: list[str], qtype: int) -> None:
    snapshot, model = world
    owner = (*labels, *APEX)
    expected, speaker = model.find(owner, qtype)
    status, zone, found, scope, pool = find(snapshot, name(text_of(owner)), qtype, NOBODY, 0)
    assert (status, scope, pool) == (expected, 0, -1)
    if status == REFERRAL:
        assert speaker is not None
        assert found.name == name(text_of(speaker))
    elif status in {RECORDS, ALIAS}:
        assert [rdata_of(tail) for tail in found] == [RDATA[CNAME if status == ALIAS else qtype]]
    else:
        assert zone is not None
        assert found == zone.negative_soa
    if status == NODATA and qtype == DS and owner == NESTED:
        assert zone is not None
        assert zone.apex == name(text_of(APEX))


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(st.sampled_from(["a", "b", "n", "zz"]), max_size=30))
def test_the_closest_encloser_is_always_the_longest_ancestor_that_exists(
    world: tuple[Snapshot, Model], labels: list[str]
) -> None:
    snapshot, _ = world
    owner = (*labels, *APEX)
    ancestors = [name(text_of(owner[start:])) for start in range(1, len(owner))]
    expected = next((a for a in ancestors if a in snapshot.zones.names), None)
    closest = find_closest(snapshot.zones, name(text_of(owner)))
    assert (None if closest is None else closest.name) == expected


def test_Z14_other_names_are_refused() -> None:
    small = Small()
    small.zone("example.com.", {})
    snapshot = small.snapshot()
    for text in ("com.", ".", "example.org.", "notexample.com.", "www.example.com.test."):
        assert find(snapshot, name(text), A, NOBODY, 0) == (REFUSED, None, (), 0, -1)


def test_Z18_any_is_hinfo_where_something_stands_and_cname_where_that_does() -> None:
    table, _ = make_table(ONE_ORDER, {}, {})
    small = Small()
    www = small.service("www", table, {0: make_pool("192.0.2.1")})
    cdn = small.service("cdn", table, {0: make_pool("edge.test.")})
    mixed = small.service("mixed", table, {0: make_pool("192.0.2.1"), 1: make_pool("edge.test.")})
    small.zone(
        "z.test.",
        {
            "www.z.test.": www,
            "cdn.z.test.": cdn,
            "mixed.z.test.": mixed,
            "txt.z.test.": {TXT: [b"\x01x"]},
            "alias.z.test.": {CNAME: [name("txt.z.test.")]},
            "a.ent.z.test.": {A: [b"\x01\x02\x03\x04"]},
            "*.w.z.test.": {A: [b"\x01\x02\x03\x04"]},
        },
    )
    snapshot = small.snapshot()

    def any_at(text: str) -> tuple[int, list[int]]:
        status, _, found, _, _ = find(snapshot, name(text), ANY, NOBODY, 0)
        return status, [int.from_bytes(tail[:2], "big") for tail in found] if status == RECORDS else []

    for text in ("z.test.", "www.z.test.", "txt.z.test.", "mixed.z.test.", "x.y.w.z.test."):
        assert any_at(text) == (RECORDS, [HINFO])
    for text in ("cdn.z.test.", "alias.z.test."):
        assert any_at(text) == (RECORDS, [CNAME])
    assert any_at("ent.z.test.") == (NODATA, [])
    assert any_at("no.z.test.") == (NXDOMAIN, [])


def test_Z12_ds_at_a_cut_is_ours_and_below_it_is_not() -> None:
    small = Small()
    small.zone("z.test.", {}, {"sub.z.test.": (["ns.sub.z.test."], {"ns.sub.z.test.": ["192.0.2.1"]})})
    ds = Rrset(DS, (write_tail(DS, 300, b"\x00" * 36),))
    for owner, node in list(small.nodes.items()):
        if node.cut is not None:
            small.nodes[owner] = replace(node, cut=replace(node.cut, ds=ds))
    snapshot = small.snapshot()
    assert find(snapshot, name("sub.z.test."), DS, NOBODY, 0)[0:3:2] == (RECORDS, ds.tails)
    assert find(snapshot, name("sub.z.test."), NS, NOBODY, 0)[0] == REFERRAL
    assert find(snapshot, name("x.sub.z.test."), DS, NOBODY, 0)[0] == REFERRAL


def test_Z13_ds_at_a_nested_apex_is_the_parents() -> None:
    small = Small()
    parent = small.zone("z.test.", {})
    small.zone("n.z.test.", {}, parent=parent, ds=b"\x00" * 36)
    small.zone("m.z.test.", {}, parent=parent)
    snapshot = small.snapshot()
    status, zone, found, _, _ = find(snapshot, name("n.z.test."), DS, NOBODY, 0)
    assert (status, zone, [rdata_of(tail) for tail in found]) == (RECORDS, parent, [b"\x00" * 36])
    assert find(snapshot, name("m.z.test."), DS, NOBODY, 0)[:2] == (NODATA, parent)
    assert find(snapshot, name("z.test."), DS, NOBODY, 0)[:2] == (NODATA, parent)


def test_ds_of_an_apex_below_another_ones_cut_is_a_referral() -> None:
    small = Small()
    parent = small.zone("z.test.", {}, {"sub.z.test.": (["ns.other.test."], {})})
    small.zone("n.sub.z.test.", {}, parent=parent)
    assert find(small.snapshot(), name("n.sub.z.test."), DS, NOBODY, 0)[0] == REFERRAL


RANKS = st.sampled_from([UP, LIVE, DRAINED, DEAD])


def passes(tiers: list[dict[int, int]], ranks: dict[int, int], ttls: dict[int, int]) -> tuple[int, dict[int, int], int]:
    """(rank, weight of each datacenter that may be chosen, TTL of what was passed over)."""
    for rank in (UP, LIVE, DRAINED, DEAD):
        for i, tier in enumerate(tiers):
            eligible = {dc: weight for dc, weight in tier.items() if ranks[dc] == rank}
            if eligible:
                passed = [ttls[dc] for before in tiers[:i] for dc in before] + [ttls[dc] for dc in tier if ranks[dc] > rank]
                return rank, eligible, min(passed, default=2**31)
    raise AssertionError("a tier has a datacenter")


@st.composite
def decisions(draw: st.DrawFn) -> tuple[list[dict[int, int]], dict[int, int], dict[int, int]]:
    order = draw(st.permutations(range(5)))[: draw(st.integers(1, 5))]
    tiers: list[dict[int, int]] = []
    for datacenter in order:
        joined: bool = draw(st.booleans())
        if tiers and joined:
            tiers[-1][datacenter] = draw(st.integers(1, 9))
        else:
            tiers.append({datacenter: draw(st.integers(1, 9))})
    ranks = {dc: draw(RANKS) for dc in range(5)}
    return tiers, ranks, {dc: draw(st.integers(5, 60)) for dc in range(5)}


def world_of(
    tiers: list[dict[int, int]], ranks: dict[int, int], ttls: dict[int, int], **rules: Any
) -> tuple[Snapshot, Service]:
    table, _ = make_table({"default": [0], "it": tiers}, {"0.0.0.0/0": "it"}, {"::/0": "it"})
    small = Small(datacenters=5)
    pools = {dc: make_pool(f"192.0.2.{dc + 1}", rank=ranks[dc], ttl=ttls[dc]) for tier in tiers for dc in tier}
    service = small.service("s", table, pools, **rules)
    return small.snapshot(), service


@settings(max_examples=300, deadline=None)
@given(decisions(), st.integers(0, 2**64 - 1))
def test_decide_always_follows_the_four_passes(world: Any, draw: int) -> None:
    tiers, ranks, ttls = world
    snapshot, service = world_of(tiers, ranks, ttls)
    rank, eligible, passed = passes(tiers, ranks, ttls)
    got_rank, datacenter, pool, ttl, *_ = decide(snapshot, service, NOBODY, draw)
    assert got_rank == rank
    assert datacenter in eligible
    assert pool == service.pool_of[datacenter]
    assert ttl == min(passed, ttls[datacenter])


@settings(max_examples=60, deadline=None)
@given(decisions())
@example(([{0: 3, 1: 1, 2: 9}, {3: 1}], dict.fromkeys(range(5), UP), dict.fromkeys(range(5), 30)))
def test_a_tier_is_always_shared_exactly_by_weight(world: Any) -> None:
    """All 2^32 high halves, counted by bisection: within a tier the datacenters come in order."""
    tiers, ranks, ttls = world
    snapshot, service = world_of(tiers, ranks, ttls)
    _, eligible, _ = passes(tiers, ranks, ttls)
    order = list(eligible)

    def place(high: int) -> int:
        return order.index(decide(snapshot, service, NOBODY, high << 32 | 0x1234)[1])

    edges = [0]
    for i in range(1, len(order)):
        low, top = edges[-1], 1 << 32
        while low < top:
            middle = (low + top) // 2
            low, top = (low, middle) if place(middle) >= i else (middle + 1, top)
        edges.append(low)
    for i, edge in enumerate(edges):
        share = Fraction(eligible[order[i]] << 32, sum(eligible.values()))
        assert abs(([*edges, 1 << 32][i + 1] - edge) - share) < 1


def test_a_datacenter_that_the_service_has_not_is_passed_by() -> None:
    table, _ = make_table({"default": [0, 1, 2]}, {}, {})
    small = Small()
    service = small.service("s", table, {2: make_pool("192.0.2.3")})
    assert decide(small.snapshot(), service, NOBODY, 0)[1] == 2


def test_G12_an_empty_order_is_nodata_with_its_scope() -> None:
    table, _ = make_table({"default": [0], "none": []}, {"0.0.0.0/1": "none"}, {})
    small = Small()
    service = small.service("s", table, {0: make_pool("192.0.2.1")}, all_down=SERVFAIL)
    snapshot, client = small.snapshot(), client_of("20.0.0.0/8")
    assert decide(snapshot, service, client, 0)[:5] == (DEAD, -1, -1, 5, 1)
    assert find_service(snapshot, service, A, client, 0) == (NODATA, (), 1, -1, 5)


def test_tiers_are_read_as_written() -> None:
    table, numbers = make_table({"default": [2, 1], "t": [{0: 70, 1: 30}, 2]}, {}, {})
    assert list(read_tiers(table, 0)) == [[(2, 1)], [(1, 1)]]
    assert list(read_tiers(table, 1)) == []
    assert list(read_tiers(table, numbers["t"])) == [[(0, 70), (1, 30)], [(2, 1)]]


def dead(*members: str, ttl: int = 40) -> Pool:
    return make_pool(*members, rank=DEAD, ttl=ttl)


def tails_of(served: tuple[int, tuple[bytes, ...], int, int, int]) -> list[tuple[bytes, int]]:
    return [(rdata_of(tail), ttl_of(tail)) for tail in served[1]]


@pytest.fixture
def table() -> Table:
    made, _ = make_table({"default": [0, 1], "eu": [1, 0]}, {"128.0.0.0/1": "eu"}, {})
    return made


def test_all_down_all_takes_the_first_tier_as_if_up(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=ALL)
    served = find_service(small.snapshot(), service, A, client_of("200.0.0.0/8"), 0)
    assert served[0] == RECORDS
    assert tails_of(served) == [(b"\xc0\x00\x02\x02", 40)]
    assert served[2:] == (1, 1, 40)


def test_all_down_none_is_nodata_with_scope_and_ttl_min(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=NONE)
    snapshot, client = small.snapshot(), client_of("200.0.0.0/8")
    assert find_service(snapshot, service, A, client, 0) == (NODATA, (), 1, -1, 5)
    assert find_service(snapshot, service, TXT, client, 0) == (NODATA, (), 0, -1, 5)


def test_all_down_servfail(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=SERVFAIL)
    assert find_service(small.snapshot(), service, A, client_of("200.0.0.0/8"), 0)[0] == FAILED


def test_all_down_addresses_are_all_given_with_ttl_min(table: Table) -> None:
    small = Small()
    resort = {A: (address_tail("198.51.100.1", 5), address_tail("198.51.100.2", 5))}
    service = small.service("s", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=ADDRESSES, last_resort=resort)
    snapshot, client = small.snapshot(), client_of("200.0.0.0/8")
    assert find_service(snapshot, service, A, client, 0) == (RECORDS, resort[A], 1, -1, 5)
    assert find_service(snapshot, service, AAAA, client, 0) == (NODATA, (), 0, -1, 5)


def test_a_fallback_answers_with_the_smaller_ttl_and_the_longer_scope(table: Table) -> None:
    small = Small()
    far, _ = make_table({"default": [0, 1], "x": [1, 0]}, {"200.0.0.0/8": "x"}, {})
    other = small.service("other", far, {0: make_pool("192.0.2.8", ttl=90), 1: make_pool("192.0.2.9", ttl=30)})
    pools = {0: dead("192.0.2.1", ttl=35), 1: dead("192.0.2.2")}
    service = small.service("s", table, pools, all_down=FALLBACK, fallback=other)
    snapshot = small.snapshot()
    served = find_service(snapshot, service, A, client_of("200.0.0.0/8"), 0)
    assert tails_of(served) == [(b"\xc0\x00\x02\x09", 30)]
    assert served[2:] == (8, other.pool_of[1], 30)
    for near in ("20.0.0.0/8", "130.0.0.0/8"):  # all pools of ours are passed over, whichever comes first
        served = find_service(snapshot, service, A, client_of(near), 0)
        assert tails_of(served) == [(b"\xc0\x00\x02\x08", 35)]


def test_the_scope_never_depends_on_momentary_health(table: Table) -> None:
    far, _ = make_table({"default": [0, 1], "x": [1, 0]}, {"200.0.0.0/8": "x"}, {})
    for client in (client_of("200.0.0.0/8"), client_of("201.0.0.0/8"), client_of("20.0.0.0/8")):
        scopes = set()
        for rank in (UP, LIVE, DEAD):
            small = Small()
            other = small.service("other", far, {0: make_pool("192.0.2.8", "2001:db8::8")})
            pools = {0: make_pool("192.0.2.1", rank=rank), 1: make_pool("192.0.2.2", rank=rank)}
            service = small.service("s", table, pools, all_down=FALLBACK, fallback=other)
            for qtype in (A, AAAA):
                scopes.add(find_service(small.snapshot(), service, qtype, client, 0)[2])
        assert len(scopes) == 1


def test_G6_a_datacenter_without_the_type_answers_nodata_with_the_orders_scope(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: make_pool("192.0.2.1"), 1: make_pool("2001:db8::1", ttl=20)})
    small.zone("z.test.", {"www.z.test.": service})
    snapshot = small.snapshot()
    status, zone, found, scope, _ = find(snapshot, name("www.z.test."), A, client_of("200.0.0.0/8"), 0)
    assert (status, scope, ttl_of(found)) == (NODATA, 1, 20)  # the SOA's TTL is not above the service's
    assert zone is not None
    assert rdata_of(found) == rdata_of(zone.negative_soa)
    assert find(snapshot, name("www.z.test."), TXT, client_of("200.0.0.0/8"), 0)[3] == 0


def test_the_soa_keeps_its_ttl_below_the_services(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: make_pool("192.0.2.1", ttl=3600)})
    small.zone("z.test.", {"www.z.test.": service}, negative_ttl=60)
    assert ttl_of(find(small.snapshot(), name("www.z.test."), AAAA, NOBODY, 0)[2]) == 60


def test_a_pool_of_targets_has_every_type_and_gives_one(table: Table) -> None:
    small = Small()
    service = small.service("s", table, {0: make_pool("a.test.", "b.test."), 1: make_pool("192.0.2.2")}, answers=0)
    snapshot, near, far = small.snapshot(), client_of("20.0.0.0/8"), client_of("200.0.0.0/8")
    for qtype, expected in ((A, ALIAS), (TXT, ALIAS), (MX, ALIAS), (CNAME, RECORDS)):
        served = find_service(snapshot, service, qtype, near, mix(5))
        assert (served[0], len(served[1]), served[2]) == (expected, 1, 1)
    assert find_service(snapshot, service, TXT, far, 0) == (NODATA, (), 1, -1, 60)  # others get an alias


def test_a_pool_that_was_passed_over_lowers_all_ttls(table: Table) -> None:
    small = Small()
    pools = {0: make_pool("192.0.2.1", rank=LIVE, ttl=7), 1: make_pool("192.0.2.2", "192.0.2.3", ttl=60)}
    service = small.service("s", table, pools, answers=2)
    served = find_service(small.snapshot(), service, A, client_of("20.0.0.0/8"), 0)
    assert [ttl for _, ttl in tails_of(served)] == [7, 7]


MARKED = {"10.0.0.0/8": "peer", "127.0.0.0/8": "peer", "200.0.0.0/8": "eu", "198.51.100.0/24": "eu"}
MARKED6 = {"fc00::/7": "peer", "2001:db8::/32": "eu"} | dict.fromkeys(EMBEDDING, "unwrap")


@pytest.fixture
def marked() -> tuple[Table, dict[str, int]]:
    return make_table({"default": [0, 1], "eu": [1, 0]}, MARKED, MARKED6)


@pytest.mark.parametrize(
    ("subnet", "peer", "order", "scope", "used"),
    [
        ("200.1.0.0/16", "20.0.0.1", "eu", 8, "200.1.0.0"),
        ("10.1.0.0/16", "200.0.0.1", "eu", 8, "200.0.0.1"),  # private: the peer decides, the scope is the block's
        ("10.1.0.0/16", "127.0.0.1", "default", 8, "127.0.0.1"),  # marked both: nobody can place it
        ("10.1.0.0/16", "2001:db8::1", "eu", 8, "2001:db8::1"),
        ("10.1.0.0/16", "::ffff:200.0.0.1", "eu", 8, "200.0.0.1"),  # a peer may be wrapped too
        ("10.1.0.0/16", "::1:2:3:4", "default", 8, "::1:2:3:4"),
        (None, "200.0.0.1", "eu", 8, "200.0.0.1"),
        (None, "10.0.0.1", "default", 8, "10.0.0.1"),
        (None, "::ffff:200.0.0.1", "eu", 104, "200.0.0.1"),
        ("2001:db8::/56", "20.0.0.1", "eu", 32, "2001:db8::"),
        ("fd00::/56", "200.0.0.1", "eu", 7, "200.0.0.1"),
        ("::ffff:200.1.0.0/112", "20.0.0.1", "eu", 104, "200.1.0.0"),  # mapped: 96 + 8
        ("::ffff:200.0.0.0/104", "20.0.0.1", "eu", 104, "200.0.0.0"),  # 8 bits into it are enough
        ("::ffff:128.0.0.0/103", "200.0.0.1", "eu", 104, "200.0.0.1"),  # 7 are not: the peer
        ("::200.1.0.0/112", "20.0.0.1", "eu", 104, "200.1.0.0"),  # compatible
        ("::ffff:0:200.1.0.0/112", "20.0.0.1", "eu", 104, "200.1.0.0"),  # SIIT
        ("64:ff9b::200.1.0.0/112", "20.0.0.1", "eu", 104, "200.1.0.0"),  # NAT64
        ("2002:c801::/32", "20.0.0.1", "eu", 24, "200.1.0.0"),  # 6to4: 16 + 8
        ("2002:c800::/23", "200.0.0.1", "eu", 24, "200.0.0.1"),  # too short: the peer
        ("2001:0:1:2:3:4:37fe:ffff/128", "20.0.0.1", "eu", 104, "200.1.0.0"),  # Teredo, inverted
        ("2001::/32", "200.0.0.1", "eu", 104, "200.0.0.1"),
        ("::ffff:10.1.0.0/112", "200.0.0.1", "eu", 104, "200.0.0.1"),  # private inside: the peer again
        ("::1:2:3:4/128", "200.0.0.1", "eu", 128, "200.0.0.1"),  # no known form
        ("::/0", "200.0.0.1", "eu", 104, "200.0.0.1"),
    ],
)
def test_the_client_is_found(
    marked: tuple[Table, dict[str, int]], subnet: str | None, peer: str, order: str, scope: int, used: str
) -> None:
    table, numbers = marked
    address = ip_address(used)
    expected = numbers[order], scope, address.max_prefixlen, int(address)
    assert find_order(table, client_of(subnet, peer), 0, 0) == expected


def test_an_embedded_address_has_the_sticky_minimum_of_its_own_family(marked: tuple[Table, dict[str, int]]) -> None:
    table, _ = marked
    assert find_order(table, client_of("200.1.0.0/16"), 24, 56)[1] == 24
    assert find_order(table, client_of("2001:db8::/56"), 24, 56)[1] == 56
    assert find_order(table, client_of("::ffff:200.1.0.0/112"), 24, 56)[1] == 120
    assert find_order(table, client_of("2002:c801::/32"), 24, 56)[1] == 40


def test_one_order_for_both_families_is_scope_0_and_one_for_one_family_is_not() -> None:
    for uniform, scope in ((True, 0), (False, 1)):
        table, _ = make_table({"default": [0]}, {}, {}, uniform=uniform)
        assert find_order(table, client_of("20.0.0.0/8"), 0, 0)[1] == scope
        assert find_order(table, client_of("2a00::/16"), 0, 0)[1] == scope
        assert find_order(table, client_of("20.0.0.0/8"), 24, 56)[1] == 24


@given(st.integers(0, 2**128 - 1))
def test_an_order_is_always_a_row_whatever_the_addresses(address: int) -> None:
    table, _ = make_table({"default": [0, 1], "eu": [1, 0]}, MARKED, MARKED6)
    clients: list[Client] = [
        (128, address, 128, 128, mix(address)),
        (0, 0, 0, 128, address),
        (32, address >> 96, 32, 128, address),
    ]
    for client in clients:
        order, scope, bits, _ = find_order(table, client, 0, 0)
        assert order == 0 or order >= 3
        assert 1 <= scope <= client[0] or client[0] == 0
        assert bits in {32, 128}


@pytest.mark.parametrize(
    ("text", "inside", "offset"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4", 96),
        ("::1.2.3.4", "1.2.3.4", 96),
        ("::ffff:0:1.2.3.4", "1.2.3.4", 96),
        ("64:ff9b::1.2.3.4", "1.2.3.4", 96),
        ("2002:102:304:5::6", "1.2.3.4", 16),
        ("2001:0:9:9:9:9:fefd:fcfb", "1.2.3.4", 96),
        ("64:ff9b:1::1.2.3.4", "0.0.0.0", -1),
        ("2001:db8::1", "0.0.0.0", -1),
        ("::fffe:1.2.3.4", "0.0.0.0", -1),
    ],
)
def test_unwrap(text: str, inside: str, offset: int) -> None:
    assert unwrap(int(ip_address(text))) == (int(ip_address(inside)), offset)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.tuples(st.integers(0, 255), st.integers(1, 8)), st.sampled_from(["eu", "us", "peer"]), max_size=8),
    st.booleans(),
)
def test_scopes_always_tile_and_hold_one_answer_each(prefixes: dict[tuple[int, int], str], sticky: bool) -> None:
    """All /8 of a small world: who shares ADDRESS/scope shares the order, and one bit shorter would not hold."""
    painted = {f"{n >> 8 - length << 8 - length}.0.0.0/{length}": order for (n, length), order in prefixes.items()}
    table, _ = make_table({"default": [0, 1], "eu": [1, 0], "us": [0]}, painted, {})
    least = (24, 56) if sticky else (0, 0)
    found = [find_order(table, client_of(f"{top}.0.0.0/8", "7.7.7.7"), *least)[:2] for top in range(256)]
    marks = [table.v4.orders[max(i for i, start in enumerate(table.v4.starts) if start <= top << 24)] for top in range(256)]
    blocks = {}
    for top, (order, scope) in enumerate(found):
        if sticky:
            assert scope == 24
            continue
        assert 1 <= scope <= 8
        first, size = top >> 8 - scope << 8 - scope, 1 << 8 - scope
        blocks[first] = size
        assert {found[other] for other in range(first, first + size)} == {(order, scope)}
        wider = top >> 9 - scope << 9 - scope
        if scope > 1:
            assert len(set(marks[wider : wider + 2 * size])) > 1
    if not sticky:
        assert sum(blocks.values()) == 256


def test_sticky_gives_a_network_one_member_whatever_the_draw() -> None:
    table, _ = make_table({"default": [{0: 1, 1: 1}], "it": [{0: 3, 1: 1}]}, {"0.0.0.0/0": "it"}, {"::/0": "it"})
    small = Small()
    pools = {
        i: make_pool(*(f"192.0.2.{10 * i + k}" for k in range(4)), *(f"2001:db8::{i}:{k}" for k in range(4))) for i in (0, 1)
    }
    service = small.service("s", table, pools, sticky=True)
    snapshot, seen = small.snapshot(), Counter[int]()
    for n in range(400):
        client = client_of(f"20.{n >> 8}.{n & 255}.0/24")
        first = find_service(snapshot, service, A, client, mix(n))
        assert first[2] == 24
        for draw in (0, 2**64 - 1, mix(n + 1)):
            assert find_service(snapshot, service, A, client, draw) == first
        assert find_service(snapshot, service, AAAA, client, mix(n))[3] == first[3]  # A and AAAA stay together
        seen[first[3]] += 1
    assert abs(seen[service.pool_of[0]] / 400 - 0.75) < 0.08


def test_sticky_with_one_member_each_needs_no_longer_scope() -> None:
    table, _ = make_table({"default": [0, 1], "eu": [1, 0]}, {"128.0.0.0/1": "eu"}, {})
    small = Small()
    service = small.service("s", table, {0: make_pool("192.0.2.1"), 1: make_pool("192.0.2.2")}, sticky=True)
    assert find_service(small.snapshot(), service, A, client_of("200.0.0.0/8"), 0)[2] == 1


def test_sticky_inside_a_weighted_tier_needs_it_even_with_one_member_each() -> None:
    table, _ = make_table({"default": [0], "it": [{0: 1, 1: 1}]}, {"0.0.0.0/0": "it"}, {})
    small = Small()
    service = small.service("s", table, {0: make_pool("192.0.2.1"), 1: make_pool("192.0.2.2")}, sticky=True)
    assert find_service(small.snapshot(), service, A, client_of("20.0.0.0/8"), 0)[2] == 24


def test_sticky_k_of_n_are_the_best_k_in_order() -> None:
    table, _ = make_table({"default": [0]}, {}, {})
    for answers, count in ((1, 1), (3, 3), (0, 5), (9, 5)):
        small = Small()
        service = small.service(
            "s", table, {0: make_pool(*(f"192.0.2.{k}" for k in range(5)))}, sticky=True, answers=answers
        )
        served = find_service(small.snapshot(), service, A, client_of("20.1.2.0/24"), 0)
        assert len(served[1]) == count
        small.services[0] = replace(service, answers=0)
        everything = find_service(small.snapshot(), small.services[0], A, client_of("20.1.2.0/24"), 0)
        assert served[1] == everything[1][:count]


def power_world() -> tuple[Snapshot, Small]:
    table, _ = make_table({"default": [0, 1], "eu": [1, 0]}, {"128.0.0.0/1": "eu"}, {})
    one, _ = make_table({"default": [0]}, {}, {}, uniform=True)
    small = Small()
    www = small.service("www", table, {0: make_pool("192.0.2.1", "2001:db8::1"), 1: make_pool("192.0.2.2")})
    flat = small.service("flat", one, {0: make_pool("192.0.2.1")})
    none = small.service("none", table, {0: dead("192.0.2.1"), 1: make_pool("192.0.2.2")}, all_down=NONE)
    gone = small.service("gone", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=NONE)
    fail = small.service("fail", table, {0: dead("192.0.2.1"), 1: dead("192.0.2.2")}, all_down=SERVFAIL)
    cdn = small.service("cdn", table, {0: make_pool("a.test."), 1: make_pool("192.0.2.2")})
    small.zone(
        "z.test.",
        {
            "www.z.test.": www,
            "flat.z.test.": flat,
            "none.z.test.": none,
            "gone.z.test.": gone,
            "fail.z.test.": fail,
            "cdn.z.test.": cdn,
            "*.w.z.test.": {A: [b"\x01\x02\x03\x04"]},
            "alias.z.test.": {CNAME: [name("www.z.test.")]},
        },
        {"sub.z.test.": (["ns.sub.z.test."], {"ns.sub.z.test.": ["192.0.2.54", "2001:db8::54"]})},
    )
    small.nodes[name("gone.z.test.")] = replace(
        small.nodes[name("gone.z.test.")], rrsets={TXT: Rrset(TXT, (write_tail(TXT, 60, b"\x01x"),))}
    )
    return small.snapshot(), small


def told(text: str, subnet: str = "20.0.0.0/8") -> tuple[int, list[tuple[int, int, int, bool]]]:
    """Status, and (type, number of tails, scope, authoritative) of each rrset."""
    status, _, records = records_at(power_world()[0], name(text), client_of(subnet), mix(3))
    return status, [(rtype, len(tails), scope, mine) for rtype, tails, scope, mine in records]


def test_records_at_gives_every_type_of_one_owner_literally() -> None:
    assert told("z.test.") == (RECORDS, [(SOA, 1, 0, True), (NS, 1, 0, True)])
    assert told("www.z.test.") == (RECORDS, [(A, 1, 1, True), (AAAA, 1, 1, True)])
    assert told("www.z.test.", "200.0.0.0/8") == (RECORDS, [(A, 1, 1, True)])
    assert told("alias.z.test.") == (RECORDS, [(CNAME, 1, 0, True)])  # not followed
    assert told("cdn.z.test.") == (RECORDS, [(CNAME, 1, 1, True)])
    assert told("cdn.z.test.", "200.0.0.0/8") == (RECORDS, [(A, 1, 1, True)])


def test_records_at_expands_no_wildcard() -> None:
    assert told("x.w.z.test.") == (NXDOMAIN, [])
    assert told("*.w.z.test.") == (RECORDS, [(A, 1, 0, True)])
    assert told("other.test.") == (NXDOMAIN, [])


def test_what_health_can_change_is_never_scope_0_for_powerdns() -> None:
    assert told("flat.z.test.") == (RECORDS, [(A, 1, 1, True)])


def test_an_owner_that_exists_is_never_empty() -> None:
    assert told("w.z.test.") == (RECORDS, [(EMPTY, 1, 0, True)])
    # a static rrset alone would be cached for clients to whom the service has something to say
    assert told("gone.z.test.") == (RECORDS, [(TXT, 1, 0, True), (EMPTY, 1, 1, True)])


def test_servfail_is_failed() -> None:
    assert told("fail.z.test.") == (FAILED, [])


def test_a_cut_is_not_ours_and_its_glue_neither() -> None:
    assert told("sub.z.test.") == (RECORDS, [(NS, 1, 0, False)])
    assert told("ns.sub.z.test.") == (RECORDS, [(A, 1, 0, False), (AAAA, 1, 0, False)])


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_records_at_is_never_empty_for_a_name_that_exists(world: tuple[Snapshot, Model]) -> None:
    snapshot, _ = world
    for owner in snapshot.zones.names:
        status, zone, records = records_at(snapshot, owner, NOBODY, 0)
        assert status == RECORDS
        assert zone is not None
        assert all(tails for _, tails, _, _ in records)
        assert records

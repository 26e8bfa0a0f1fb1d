"""What PowerDNS is told of a name, and how its names and addresses are read."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

import dns.name
import dns.rdata
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.powered import power_snapshot
from tests.snapshots import Small, make_pool, make_table

from geodns.errors import WireError
from geodns.lookup import FAILED, NXDOMAIN, RECORDS, Client, records_at
from geodns.server import pdns_answer
from geodns.server.pdns_answer import find_records, parse_client, parse_qname
from geodns.snapshot import DEAD, SERVFAIL, Snapshot
from geodns.wire.constants import AAAA, ANY, CNAME, DS, EMPTY, MX, NAME_SIZE, NS, SOA, SRV, TXT, A
from geodns.wire.name import name_text, parse_name_text
from geodns.wire.rdata import rdata_of, ttl_of

NOBODY: Client = (0, 0, 0, 32, 0)
AMS = parse_client("127.0.0.1", "198.51.100.0/24")


def told(name: str, qtype: int = ANY, client: Client = NOBODY) -> tuple[int, list[tuple[int, str, int, bool]]]:
    status, _, records = find_records(power_snapshot(), parse_name_text(name), qtype, client, 0)
    return status, [(rtype, text, scope, mine) for rtype, _, text, scope, mine in records]


def test_any_is_every_type_of_the_owner() -> None:
    assert told("mixed.example.test", client=AMS) == (
        RECORDS,
        [(TXT, '"beside"', 0, True), (A, "203.0.113.10", 24, True), (AAAA, "2001:db8::10", 24, True)],
    )
    assert told("child.example.test") == (RECORDS, [(NS, "ns.child.example.test.", 0, False)])
    assert told("ns.child.example.test") == (RECORDS, [(A, "192.0.2.54", 0, False), (AAAA, "2001:db8::54", 0, False)])
    assert told("b.c.example.test") == (RECORDS, [(EMPTY, "\\# 0", 0, True)])
    assert told("x.wild.example.test") == (NXDOMAIN, [])
    assert told("*.wild.example.test") == (RECORDS, [(A, "192.0.2.7", 0, True)])
    assert told("cdn.example.test", client=AMS) == (RECORDS, [(CNAME, "edge-a.example.net.", 24, True)])


def test_each_record_of_a_type_is_a_line_of_its_own() -> None:
    assert told("texts.example.test", TXT) == (RECORDS, [(TXT, '"a" "b"', 0, True), (TXT, '"c;d"', 0, True)])
    assert told("texts.example.test", SRV) == (RECORDS, [(SRV, "10 20 5060 mail.example.test.", 0, True)])


def test_what_has_no_form_here_comes_from_the_texts_or_as_octets() -> None:
    assert told("rare.example.test") == (
        RECORDS,
        [
            (29, "52 22 23.000 N 4 53 32.000 E 0.00m", 0, True),
            (55, "\\# 26 10020006200100107b1a74df365639cc39f1d57803010001b771", 0, True),
            (65300, "\\# 2 0102", 0, True),
        ],
    )


@pytest.mark.parametrize(
    ("name", "qtype", "types"),
    [
        ("example.test", SOA, [SOA]),
        ("www.example.test", SOA, []),
        ("nope.example.test", SOA, []),
        ("child.example.test", SOA, []),
        ("sub.example.test", SOA, [SOA]),
        ("test", SOA, []),
        (".", SOA, []),
        # asked at each name between the one wanted and the apex: what is no cut must be empty, so that it can be remembered
        ("example.test", NS, [NS]),
        ("www.example.test", NS, []),
        ("child.example.test", NS, [NS]),
        ("ns.child.example.test", NS, []),
        ("alias.example.test", NS, []),
        ("c.example.test", NS, []),
        # PowerDNS adds to its answer whatever comes for a DS
        ("child.example.test", DS, []),
        ("mixed.example.test", A, [A]),
        ("mixed.example.test", MX, []),
        ("www.example.test", 0, []),
    ],
)
def test_a_type_is_that_type_alone(name: str, qtype: int, types: list[int]) -> None:
    assert [rtype for rtype, _, _, _ in told(name, qtype, AMS)[1]] == types


def failing() -> Snapshot:
    table, _ = make_table({"default": [0, 1], "eu": [1, 0]}, {"128.0.0.0/1": "eu"}, {})
    small = Small()
    fail = small.service("fail", table, {0: make_pool("192.0.2.1", rank=DEAD)}, all_down=SERVFAIL)
    small.zone("z.test.", {"fail.z.test.": fail, "a.fail.z.test.": {A: [b"\1\2\3\4"]}})
    return small.snapshot()


def test_a_service_that_fails_fails_for_what_it_could_answer_alone() -> None:
    """PowerDNS asks it for NS on the way to names below, which do not fail."""
    snapshot = failing()
    for qtype, status in ((ANY, FAILED), (A, FAILED), (NS, RECORDS), (SOA, RECORDS), (TXT, RECORDS)):
        assert find_records(snapshot, parse_name_text("fail.z.test."), qtype, NOBODY, 0)[::2] == (status, [])
    assert find_records(snapshot, parse_name_text("a.fail.z.test."), ANY, NOBODY, 0)[0] == RECORDS


def test_ids_of_zones_are_above_0_and_differ() -> None:
    snapshot = power_snapshot()
    ids = {zone.apex: find_records(snapshot, zone.apex, SOA, NOBODY, 0)[1] for zone in snapshot.zones.zones}
    assert sorted(ids.values()) == [1, 2]
    assert (
        find_records(snapshot, parse_name_text("www.example.test"), ANY, NOBODY, 0)[1]
        == ids[parse_name_text("example.test")]
    )
    assert find_records(snapshot, parse_name_text("nobody.invalid"), ANY, NOBODY, 0)[1] == -1


@settings(deadline=None)
@given(st.data())
def test_always_the_records_of_records_at(data: st.DataObject) -> None:
    snapshot = power_snapshot()
    name = data.draw(st.sampled_from(sorted(snapshot.zones.names)))
    client = (32, data.draw(st.integers(0, 2**32 - 1)), 32, 32, data.draw(st.integers(0, 2**32 - 1)))
    draw = data.draw(st.integers(0, 2**64 - 1))
    status, _, records = find_records(snapshot, name, ANY, client, draw)
    wanted, zone, found = records_at(snapshot, name, client, draw)
    assert status == wanted
    flat = [(rtype, ttl_of(tail), scope, mine) for rtype, tails, scope, mine in found for tail in tails]
    assert [(rtype, ttl, scope, mine) for rtype, ttl, _, scope, mine in records] == flat
    assert zone is not None


Address = IPv4Address | IPv6Address
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=8)


def powerdns_text(labels: list[bytes]) -> str:
    """As PowerDNS writes names, without a final dot (its manual, and what a coprocess was seen to get)."""
    return ".".join("".join(_octet(octet) for octet in label) for label in labels) or "."


def _octet(octet: int) -> str:
    if octet in b".\\":
        return "\\" + chr(octet)
    return chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"


@settings(deadline=None)
@given(LABELS)
def test_always_reads_names_as_powerdns_writes_them(labels: list[bytes]) -> None:
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    text = powerdns_text(labels)
    expected = wire.lower() if len(wire) <= NAME_SIZE else None
    assert parse_qname(text) == expected
    assert parse_qname(text if text == "." else text + ".") == expected


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('aB1.\\032*_-/@:\t \x00é²$"();'), max_size=30))
def test_always_a_name_or_none_and_never_another_name_than_dnspython_reads(text: str) -> None:
    wire = parse_qname(text)
    if wire is not None:
        if text not in {"@", "@."}:  # dnspython's word for the origin
            assert (dns.name.from_text(text).to_wire() or b"").lower() == wire
        assert parse_qname(name_text(wire)) == wire


@pytest.mark.parametrize(
    "text",
    ["", "a..b", ".a", "..", "a b", "a\tb", "é", "a" * 64, "a\\", "a\\25", "a\\256.b", ".".join(["a" * 63] * 4) + ".b"],
)
def test_what_is_no_name(text: str) -> None:
    assert parse_qname(text) is None


def test_long_names() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253 and len(parse_qname(longest) or b"") == 255
    hundred = ".".join("x" * 100)
    assert (parse_qname(hundred) or b"").count(b"\1x") == 100


@settings(deadline=None)
@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_always_the_network_and_the_resolver(resolver: Address, inner: Address, source: int) -> None:
    source = min(source, inner.max_prefixlen)
    client = parse_client(str(resolver), f"{inner}/{source}")
    mapped = getattr(resolver, "ipv4_mapped", None) or resolver
    assert client[3:] == (mapped.max_prefixlen, int(mapped))
    network = ip_network((inner, source), strict=False)
    if source == 0 or inner == resolver:
        assert client[:3] == (0, 0, 0)
    else:
        assert client[:3] == (inner.max_prefixlen, int(network.network_address), source)


@pytest.mark.parametrize(
    ("remote", "subnet", "client"),
    [
        ("0.0.0.0", "0.0.0.0/0", (0, 0, 0, 32, 0)),
        ("::", "::/0", (0, 0, 0, 128, 0)),
        ("192.0.2.1", None, (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "192.0.2.1/32", (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "198.51.100.7/24", (32, 0xC6336400, 24, 32, 0xC0000201)),  # host bits do not count
        ("192.0.2.1", "2001:db8:abcd::/56", (128, 0x20010DB8_ABCD << 80, 56, 32, 0xC0000201)),
        ("2001:db8::1", "198.51.100.0/24", (32, 0xC6336400, 24, 128, (0x20010DB8 << 96) + 1)),
        ("fe80::1%eth0", None, (0, 0, 0, 128, (0xFE80 << 112) + 1)),
        ("::ffff:192.0.2.1", None, (0, 0, 0, 32, 0xC0000201)),
        # left as it is: the scope must be told in IPv6's bits, which the range tables see to
        ("192.0.2.1", "::ffff:10.1.2.0/120", (128, 0xFFFF_0A01_0200, 120, 32, 0xC0000201)),
        ("192.0.2.1", "garbage", (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "10.0.0.0/33", (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "10.0.0.0/-1", (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "10.0.0.0/²", (0, 0, 0, 32, 0xC0000201)),
        ("192.0.2.1", "", (0, 0, 0, 32, 0xC0000201)),
    ],
)
def test_clients(remote: str, subnet: str | None, client: Client) -> None:
    assert parse_client(remote, subnet) == client


@pytest.mark.parametrize("remote", ["", "x", "1.2.3", "1.2.3.4.5", "1.2.3.4/32", ":", "1::2::3", "1.2.3.4\0", "%eth0"])
def test_what_is_no_resolver(remote: str) -> None:
    with pytest.raises(WireError, match="no address"):
        parse_client(remote, "10.0.0.0/8")


def test_a_mapped_subnet_gets_the_place_and_the_scope_of_the_address_inside() -> None:
    plain = find_records(power_snapshot(), parse_name_text("www.example.test"), ANY, AMS, 0)[2]
    mapped = parse_client("127.0.0.1", "::ffff:198.51.100.0/120")
    found = find_records(power_snapshot(), parse_name_text("www.example.test"), ANY, mapped, 0)[2]
    assert [(text, scope) for _, _, text, scope, _ in plain] == [("203.0.113.10", 24)]
    assert [(text, scope) for _, _, text, scope, _ in found] == [("203.0.113.10", 120)]


def test_long_records_are_told_in_full_and_not_kept() -> None:
    """Thousands of them would take more memory than the zones do."""
    kept = pdns_answer._read_kept.cache_info().currsize
    small, chance = Small(), random.Random(1)
    value = b"".join(b"\xff" + chance.randbytes(255) for _ in range(5))
    small.zone("z.test.", {"long.z.test.": {TXT: [value]}})
    _, _, ((_, _, text, _, _),) = find_records(small.snapshot(), parse_name_text("long.z.test."), ANY, NOBODY, 0)
    assert dns.rdata.from_text("IN", "TXT", text).to_wire() == value
    assert pdns_answer._read_kept.cache_info().currsize == kept
    assert rdata_of(small.nodes[parse_name_text("long.z.test.")].rrsets[TXT].tails[0]) == value

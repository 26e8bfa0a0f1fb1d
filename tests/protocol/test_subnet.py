"""Client subnet: RFC 7871 by the ids of our checklist, over UDP and TCP."""

from __future__ import annotations

import ipaddress
import itertools

import dns.edns
import dns.message
import dns.rcode
import pytest
from tests.protocol.conftest import Ask, Send
from tests.protocol.packets import ECS, find_options, opt, option, parse, query, subnet


def ecs(text: str) -> bytes:
    """The option for a network in text."""
    network = ipaddress.ip_network(text)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return subnet(1 if network.version == 4 else 2, network.prefixlen, octets)


def read_ecs(message: dns.message.Message) -> dns.edns.ECSOption:
    """The one client subnet of a reply."""
    (found,) = find_options(message, ECS)
    assert isinstance(found, dns.edns.ECSOption)
    return found


def answers(message: dns.message.Message) -> frozenset[str]:
    """The set of answer records, without TTL."""
    return frozenset(f"{rrset.name} {rrset.rdtype} {rdata}" for rrset in message.answer for rdata in rrset)


@pytest.mark.parametrize("name", ["www.example.test", "set.example.test", "absent.example.test", "www.example.net"])
def test_S1_no_subnet_without_one(ask: Ask, name: str) -> None:
    assert not find_options(ask(name, edns=opt()), ECS)
    assert ask(name).edns == -1


@pytest.mark.parametrize(
    "name",
    [
        "www.example.test",
        "set.example.test",
        "mail.example.test",
        "absent.example.test",
        "sub.example.test",
        "www.example.net",
    ],
)
@pytest.mark.parametrize("client", ["20.1.2.0/24", "200.0.0.0/7", "20.1.2.3/32", "2a02::/48", "2a02::1/128", "10.1.0.0/16"])
def test_S2_the_subnet_comes_back_unchanged(send: Send, name: str, client: str) -> None:
    """RFC 7871 7.2.1: "FAMILY, SOURCE PREFIX-LENGTH, and ADDRESS ... MUST match those in the query"."""
    sent = ecs(client)
    found = read_ecs(parse(send(query(name, edns=opt(sent)))))
    network = ipaddress.ip_network(client)
    octets = found.to_wire() or b""
    assert octets[:3] == sent[4:7]
    assert octets[4:] == sent[8:]
    assert 0 <= found.scopelen <= network.max_prefixlen


@pytest.mark.parametrize("family", [0, 3, 42, 65535])
@pytest.mark.parametrize("name", ["www.example.test", "set.example.test"])
def test_S3_an_unknown_family_is_formerr(ask: Ask, family: int, name: str) -> None:
    reply = ask(name, edns=opt(subnet(family, 24, b"\x14\1\2")))
    assert_bare_formerr(reply)


def assert_bare_formerr(reply: dns.message.Message) -> None:
    """FORMERR, AA=0, a bare OPT and nothing else."""
    assert reply.rcode() == dns.rcode.FORMERR
    assert not reply.flags & dns.flags.AA
    assert reply.edns == 0
    assert not reply.options
    assert not reply.answer
    assert not reply.authority
    assert not reply.additional


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(subnet(1, 33, b"\x14\1\2\3\4"), id="IPv4 length 33"),
        pytest.param(subnet(1, 40, b"\x14\1\2\3\4"), id="IPv4 length 40"),
        pytest.param(subnet(2, 129, bytes(17)), id="IPv6 length 129"),
        pytest.param(subnet(1, 24, b"\x14\1"), id="one octet short"),
        pytest.param(subnet(1, 24, b""), id="no octets"),
        pytest.param(subnet(1, 24, b"\x14\1\2\0"), id="one octet too many"),
        pytest.param(subnet(1, 0, b"\0"), id="an octet for length 0"),
        pytest.param(subnet(1, 25, b"\x14\1\2\1"), id="a bit after the prefix"),
        pytest.param(subnet(1, 23, b"\x14\1\3"), id="a bit in the last octet"),
        pytest.param(subnet(2, 47, b"\x2a\2\0\0\0\1"), id="an IPv6 bit after the prefix"),
        pytest.param(subnet(1, 24, b"\x14\1\2", scope=24), id="a scope in a query"),
        pytest.param(option(ECS, b"\0"), id="one octet in all"),
        pytest.param(option(ECS, b""), id="empty"),
        pytest.param(option(ECS, b"\0\1\x18"), id="three octets in all"),
    ],
)
def test_S4_a_malformed_subnet_is_formerr(ask: Ask, broken: bytes) -> None:
    """RFC 7871 6: such an option "MUST be rejected", 7.2.1: "FORMERR"."""
    assert_bare_formerr(ask("www.example.test", edns=opt(broken)))


@pytest.mark.parametrize("client", ["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize("name", ["www.example.test", "set.example.test", "absent.example.test"])
def test_S5_source_0_is_answered_with_scope_0(ask: Ask, client: str, name: str) -> None:
    """RFC 7871 7.1.2 and 7.5: somebody asks for privacy; the resolver's address may be used."""
    reply = ask(name, edns=opt(ecs(client)))
    assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
    assert read_ecs(reply).scopelen == 0
    assert answers(reply) == answers(ask(name))


CLIENTS = ["20.1.2.0/24", "20.1.3.0/24", "20.1.2.77/32", "20.0.0.0/24", "10.1.1.0/24", "200.0.0.0/24", "100.64.0.0/24",
           "203.0.113.0/24", "2a02::/32", "2a03::/32", "2002:1401:0200::/48"]  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_S6_every_address_within_the_scope_gets_the_same(ask: Ask, client: str) -> None:
    """Its first, its last, and some between: the whole space of small worlds is walked in tests/properties."""
    first = ask("www.example.test", edns=opt(ecs(client)))
    network = ipaddress.ip_network(client)
    scope = read_ecs(first).scopelen
    block = ipaddress.ip_network((network.network_address, scope), strict=False)
    for part in (0, 1, 5, 9, 10):
        number = int(block.network_address) + (block.num_addresses - 1) * part // 10
        address = type(network.network_address)(number)
        again = ask("www.example.test", edns=opt(ecs(f"{address}/{network.max_prefixlen}")))
        assert answers(again) == answers(first), (client, scope, address)
        assert read_ecs(again).scopelen == scope


def test_S7_no_scope_lies_inside_another(ask: Ask) -> None:
    """The /24 inside the half of the world, its neighbours, and both sides of every border."""
    found: dict[ipaddress.IPv4Network, frozenset[str]] = {}
    borders = [
        "0.0.0.0",
        "10.0.0.0",
        "11.0.0.0",
        "20.1.2.0",
        "20.1.3.0",
        "100.64.0.0",
        "100.128.0.0",
        "128.0.0.0",
        "192.168.0.0",
    ]
    numbers = [int(ipaddress.IPv4Address(border)) + by for border in borders for by in (-1, 0)]
    for number in numbers:
        if number < 0:
            continue
        reply = ask("www.example.test", edns=opt(ecs(f"{ipaddress.IPv4Address(number)}/32")))
        found[ipaddress.IPv4Network((number, read_ecs(reply).scopelen), strict=False)] = answers(reply)
    assert len(found) > len(borders)
    for one, other in itertools.combinations(found, 2):
        assert not one.overlaps(other), (one, other)


@pytest.mark.parametrize("client", ["20.1.0.0/16", "20.0.0.0/8", "20.1.2.0/23"])
def test_S8_a_short_source_gets_a_longer_scope_and_settles(ask: Ask, client: str) -> None:
    """RFC 7871 7.2.1: "The SCOPE PREFIX-LENGTH ... longer than SOURCE" tells what it takes; asked so, it stays."""
    reply = ask("www.example.test", edns=opt(ecs(client)))
    scope = read_ecs(reply).scopelen
    assert scope > ipaddress.ip_network(client).prefixlen
    longer = ipaddress.ip_network((ipaddress.ip_network(client).network_address, scope), strict=False)
    again = ask("www.example.test", edns=opt(ecs(str(longer))))
    assert read_ecs(again).scopelen == scope
    assert answers(again) == answers(reply)


@pytest.mark.parametrize(
    ("name", "rtype"),
    [
        ("absent.example.test", "A"),
        ("set.example.test", "MX"),
        ("a.sub.example.test", "A"),
        ("www.example.test", "MX"),
        ("example.test", "A"),
    ],
)
def test_S9_negative_answers_and_referrals_have_scope_0(ask: Ask, name: str, rtype: str) -> None:
    """RFC 7871 7.4; where other datacenters have the type, its absence depends on the client: docs/design/0003."""
    assert read_ecs(ask(name, rtype, edns=opt(ecs("20.1.2.0/24")))).scopelen == 0


@pytest.mark.parametrize(
    "name", ["set.example.test", "x.wild.example.test", "static.example.test", "same.example.test", "pair.example.test"]
)
def test_S10_what_is_the_same_for_all_has_scope_0(ask: Ask, name: str) -> None:
    for client in ("20.1.2.0/24", "200.0.0.0/24", "2a02::/48"):
        assert read_ecs(ask(name, edns=opt(ecs(client)))).scopelen == 0


@pytest.mark.parametrize(
    ("client", "scope"),
    [
        ("10.1.2.0/24", 8),
        ("192.168.1.0/24", 16),
        ("172.16.1.0/24", 12),
        ("100.64.1.0/24", 10),
        ("169.254.1.0/24", 16),
        ("fd00::/48", 7),
    ],
)
def test_S11_private_space_is_answered_by_the_peer(ask: Ask, client: str, scope: int) -> None:
    reply = ask("www.example.test", edns=opt(ecs(client)))
    assert read_ecs(reply).scopelen == scope
    assert answers(reply) == answers(ask("www.example.test"))


def test_S12_scopes_are_as_short_as_the_data_allow(ask: Ask) -> None:
    """Half of the world in one network: only the blocks that are special anyhow cut it."""
    for client, scope in (("40.0.0.1/32", 3), ("200.0.0.1/32", 7), ("20.1.2.9/32", 24), ("2a02:1::/128", 16)):
        assert read_ecs(ask("www.example.test", edns=opt(ecs(client)))).scopelen == scope


def test_S_two_subnets_are_formerr_or_the_first_counts(ask: Ask) -> None:
    """RFC 7871 says nothing of two; whatever is done, no reply has two."""
    reply = ask("www.example.test", edns=opt(ecs("20.1.2.0/24") + ecs("200.0.0.0/24")))
    assert len(find_options(reply, ECS)) <= 1
    assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.FORMERR)

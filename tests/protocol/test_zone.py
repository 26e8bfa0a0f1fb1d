"""Zone semantics: RFC 1034 4.3.2, 2181, 2308, 4592, 6604, 8020, 8482, 9471 by the ids of our checklist, over UDP and TCP."""

from __future__ import annotations

import itertools

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from tests.protocol.conftest import Ask
from tests.protocol.packets import RD, Daemon, opt, parse, query, subnet


def records(section: list[dns.rrset.RRset]) -> list[str]:
    """``owner TYPE rdata`` of each record."""
    return [f"{r.name} {dns.rdatatype.to_text(r.rdtype)} {rdata}" for r in section for rdata in r]


def assert_negative(reply: dns.message.Message, rcode: dns.rcode.Rcode, apex: str = "example.test.") -> None:
    """No answer, and the SOA of the zone with the TTL of RFC 2308 5: the smaller of its own (900) and MINIMUM (60)."""
    assert reply.rcode() == rcode
    assert not reply.answer
    assert [(r.name.to_text(), r.rdtype, r.ttl) for r in reply.authority] == [(apex, dns.rdatatype.SOA, 60)]
    assert reply.flags & dns.flags.AA


@pytest.mark.parametrize(
    "name", ["absent.example.test", "x.y.absent.example.test", "x.set.example.test", "xwww.example.test"]
)
@pytest.mark.parametrize("rtype", ["A", "AAAA", "SOA", "DS", 1234])
def test_Z1_no_such_name(ask: Ask, name: str, rtype: str) -> None:
    assert_negative(ask(name, rtype), dns.rcode.NXDOMAIN)


@pytest.mark.parametrize(
    ("name", "rtype"),
    [("set.example.test", "MX"), ("example.test", "A"), ("mail.example.test", "A"), ("set.example.test", "SOA")],
)
def test_Z2_no_such_type(ask: Ask, name: str, rtype: str) -> None:
    assert_negative(ask(name, rtype), dns.rcode.NOERROR)


@pytest.mark.parametrize("name", ["b.c.example.test", "c.example.test", "wild.example.test", "empty.wild.example.test"])
@pytest.mark.parametrize("rtype", ["A", "NS", "ANY", "DS"])
def test_Z3_a_name_with_names_below_it_exists(ask: Ask, name: str, rtype: str) -> None:
    """RFC 8020 2, RFC 4592 2.2.2: an empty non-terminal is no missing name, for no type."""
    assert_negative(ask(name, rtype), dns.rcode.NOERROR)


@pytest.mark.parametrize(
    "name", ["x.wild.example.test", "a.b.c.d.wild.example.test", "\\000.wild.example.test", "x.*.wild.example.test"]
)
def test_Z4_a_wildcard_answers_with_the_owner_that_was_asked(ask: Ask, name: str) -> None:
    reply = ask(name)
    if "*" in name:  # RFC 4592 2.1.1: below an asterisk label that exists, nothing is synthesized
        assert_negative(reply, dns.rcode.NXDOMAIN)
        return
    assert records(reply.answer) == [f"{name}. A 192.0.2.41"]
    assert_negative(ask(name, "AAAA"), dns.rcode.NOERROR)


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("wild.example.test", dns.rcode.NOERROR),
        ("here.wild.example.test", dns.rcode.NOERROR),
        ("empty.wild.example.test", dns.rcode.NOERROR),
        ("x.here.wild.example.test", dns.rcode.NXDOMAIN),
        ("x.empty.wild.example.test", dns.rcode.NXDOMAIN),
        ("x.low.empty.wild.example.test", dns.rcode.NXDOMAIN),
    ],
)
def test_Z5_a_wildcard_covers_nothing_that_exists(ask: Ask, name: str, rcode: dns.rcode.Rcode) -> None:
    assert_negative(ask(name, "MX"), rcode)


def test_Z6_an_asterisk_can_be_asked_for(ask: Ask) -> None:
    assert records(ask("*.wild.example.test").answer) == ["*.wild.example.test. A 192.0.2.41"]


@pytest.mark.parametrize("rtype", ["A", "AAAA", "TXT", "MX", 1234])
def test_Z7_an_alias_stands_for_every_type(ask: Ask, rtype: str) -> None:
    reply = ask("second.example.test", rtype)
    found = records(reply.answer)
    assert found[:2] == ["second.example.test. CNAME static.example.test.", "static.example.test. CNAME set.example.test."]
    if rtype == "A":
        assert sorted(found[2:]) == [f"set.example.test. A 192.0.2.{i}" for i in (30, 31, 32)]
    elif rtype == "TXT":
        assert found[2:] == ['set.example.test. TXT "single"']
    else:
        assert len(found) == 2
        assert records(reply.authority)[0].startswith("example.test. SOA")


def test_Z7_the_alias_itself_can_be_asked_for(ask: Ask) -> None:
    assert records(ask("alias.example.test", "CNAME").answer) == ["alias.example.test. CNAME www.example.test."]


def test_Z8_with_ecs_the_whole_chain_is_given(ask: Ask) -> None:
    """RFC 7871 7.2.1 would stop at the first alias; we follow and give the longest scope (docs/design/0003)."""
    reply = ask("alias.example.test", edns=opt(subnet(1, 24, b"\x14\1\2")))
    assert records(reply.answer) == ["alias.example.test. CNAME www.example.test.", "www.example.test. A 192.0.2.2"]
    assert reply.options[0].to_wire() == b"\0\1\x18\x18\x14\1\2"


@pytest.mark.parametrize(
    ("name", "rtype", "rcode"),
    [
        ("dead.example.test", "A", dns.rcode.NXDOMAIN),
        ("static.example.test", "MX", dns.rcode.NOERROR),
        ("out.example.test", "A", dns.rcode.NOERROR),
        ("second.example.test", "A", dns.rcode.NOERROR),
    ],
)
def test_Z9_the_rcode_is_that_of_the_end_of_the_chain(ask: Ask, name: str, rtype: str, rcode: dns.rcode.Rcode) -> None:
    """RFC 6604 3; what lies outside of our zones is not ours to judge."""
    reply = ask(name, rtype)
    assert reply.rcode() == rcode
    assert reply.flags & dns.flags.AA
    if name == "out.example.test":
        assert not reply.authority


@pytest.mark.parametrize("name", ["round.example.test", "about.example.test"])
def test_Z10_a_loop_of_aliases_ends(ask: Ask, name: str) -> None:
    reply = ask(name)
    found = records(reply.answer)
    assert len(found) == len(set(found)) == 2
    assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.SERVFAIL)


@pytest.mark.parametrize("name", ["sub.example.test", "x.sub.example.test", "a.b.c.sub.example.test", "ns.sub.example.test"])
@pytest.mark.parametrize("rtype", ["A", "NS", "SOA", "ANY", "TXT"])
def test_Z11_below_a_cut_there_is_a_referral(ask: Ask, name: str, rtype: str) -> None:
    reply = ask(name, rtype)
    assert reply.rcode() == dns.rcode.NOERROR
    assert not reply.flags & dns.flags.AA
    assert not reply.answer
    assert sorted(records(reply.authority)) == [
        "sub.example.test. NS ns.example.net.",
        "sub.example.test. NS ns.sub.example.test.",
    ]
    assert sorted(records(reply.additional)) == [
        "ns.sub.example.test. A 192.0.2.44",
        "ns.sub.example.test. AAAA 2001:db8::44",
    ]


def test_Z11_glue_that_does_not_fit_sets_tc(daemon: Daemon) -> None:
    """RFC 9471 3.1: "... all glue ... TC=1"."""
    for edns in (None, opt(size=512), opt()):
        assert parse(daemon.exchange(query("x.broad.example.test", edns=edns), "udp")).flags & dns.flags.TC
    whole = parse(daemon.exchange(query("x.broad.example.test"), "tcp"))
    assert len(records(whole.authority)) == len(records(whole.additional)) == 40
    assert not whole.flags & dns.flags.TC


def test_Z12_ds_at_a_cut_is_ours(ask: Ask) -> None:
    reply = ask("sub.example.test", "DS")
    assert records(reply.answer)[0].startswith("sub.example.test. DS 12345 13 2 ")
    assert reply.flags & dns.flags.AA
    assert_negative(ask("broad.example.test", "DS"), dns.rcode.NOERROR)
    assert not ask("x.sub.example.test", "DS").flags & dns.flags.AA


def test_Z13_ds_of_our_own_apex_is_no_data(ask: Ask) -> None:
    assert_negative(ask("example.test", "DS"), dns.rcode.NOERROR)
    assert_negative(ask("inner.example.test", "DS"), dns.rcode.NOERROR)  # both are ours: the parent answers


@pytest.mark.parametrize("name", ["www.example.net", "test", ".", "example.test.example.net", "xexample.test", "ample.test"])
@pytest.mark.parametrize("rtype", ["A", "NS", "ANY"])
@pytest.mark.parametrize("edns", [None, opt()])
def test_Z14_foreign_names_are_refused(ask: Ask, name: str, rtype: str, edns: bytes | None) -> None:
    reply = ask(name, rtype, edns=edns)
    assert reply.rcode() == dns.rcode.REFUSED
    assert not reply.answer
    assert not reply.authority
    assert not reply.additional
    assert not reply.flags & dns.flags.AA


def test_Z15_an_rrset_is_whole_once_and_with_one_ttl(ask: Ask) -> None:
    for _ in range(10):
        reply = ask("set.example.test")
        found = records(reply.answer)
        assert sorted(found) == [f"set.example.test. A 192.0.2.{i}" for i in (30, 31, 32)]
        assert {rrset.ttl for rrset in reply.answer} == {300}


def test_Z16_names_compare_without_case_and_only_ascii(ask: Ask) -> None:
    lower = records(ask("set.example.test").answer)
    for spelled in itertools.product("sS", "eE", "tT"):
        name = "".join(spelled)
        assert [r.split(" ", 1)[1] for r in records(ask(f"{name}.EXAMPLE.test").answer)] == [
            r.split(" ", 1)[1] for r in lower
        ]
    # 0x5b..0x60 and 0x7b..0x7f are no letters, nor is anything above 127: they differ by 0x20 and are two names
    for one in ("\\091", "\\064", "\\196"):
        assert ask(f"{one}et.example.test").rcode() == dns.rcode.NXDOMAIN


def test_Z17_ttls_fit_31_bits(ask: Ask) -> None:
    for name, rtype in (
        ("set.example.test", "A"),
        ("example.test", "SOA"),
        ("example.test", "NS"),
        ("mail.example.test", "MX"),
    ):
        assert all(0 <= rrset.ttl < 1 << 31 for rrset in ask(name, rtype).answer)


@pytest.mark.parametrize(
    "name", ["example.test", "set.example.test", "www.example.test", "huge.example.test", "x.wild.example.test"]
)
def test_Z18_any_is_small_and_no_error(ask: Ask, name: str) -> None:
    """RFC 8482 4.2: HINFO "RFC8482"."""
    reply = ask(name, "ANY")
    assert reply.rcode() == dns.rcode.NOERROR
    assert records(reply.answer) == [f'{name}. HINFO "RFC8482" ""']
    assert ask("absent.example.test", "ANY").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "rtype", "rdata"),
    [
        ("private.example.test", 65280, "\\# 4 01020304"),
        ("private.example.test", "CAA", '0 issue "ca.example.net"'),
        ("private.example.test", "TLSA", "3 1 1 " + "0" * 64),
        ("svc.example.test", "HTTPS", "0 svc.example.net."),
    ],
)
def test_Z19_other_types_are_answered_like_any(ask: Ask, name: str, rtype: str, rdata: str) -> None:
    reply = ask(name, rtype)
    assert [record.split(" ", 2)[2] for record in records(reply.answer)] == [rdata]
    assert not reply.additional


def test_Z20_recursion_desired_opens_nothing(ask: Ask) -> None:
    """RFC 5358: no open resolver."""
    reply = ask("www.example.net", flags=RD)
    assert reply.rcode() == dns.rcode.REFUSED
    assert reply.flags & dns.flags.RD
    assert not reply.answer

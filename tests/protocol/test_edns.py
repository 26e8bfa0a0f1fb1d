"""EDNS: RFC 6891, 3225, 8906, 9715 by the ids of our checklist, over UDP and TCP."""

from __future__ import annotations

import struct

import dns.flags
import dns.rcode
import pytest
from tests.protocol.conftest import Ask, Send
from tests.protocol.packets import (
    ECS,
    KEEPALIVE,
    NSID,
    PADDING,
    Daemon,
    find_options,
    header,
    opt,
    option,
    parse,
    query,
    question,
    receive_message,
    send_messages,
    subnet,
)

BADVERS = 16
NAMES = ["set.example.test", "absent.example.test", "sub.example.test", "www.example.net", "mail.example.test"]


def count_opt(reply: bytes | None) -> int:
    """How many OPT records stand in the additional section."""
    message = parse(reply)
    assert reply is not None
    return (message.edns >= 0) + sum(rrset.rdtype == 41 for rrset in message.additional)


@pytest.mark.parametrize("name", NAMES)
def test_E1_opt_comes_back_once(send: Send, name: str) -> None:
    reply = send(query(name, edns=opt()))
    assert count_opt(reply) == 1
    assert parse(reply).edns == 0


def test_E1_opt_comes_back_with_errors(daemon: Daemon, send: Send) -> None:
    """FORMERR for an option, BADVERS, REFUSED; truncated too."""
    for packet in (
        query("set.example.test", edns=opt(subnet(9, 24, b"\xcb\0\x71"))),
        query("set.example.test", edns=opt(version=1)),
        query("www.example.net", edns=opt()),
    ):
        assert count_opt(send(packet)) == 1
    truncated = daemon.exchange(query("huge.example.test", "TXT", edns=opt(size=512)), "udp")
    assert parse(truncated).flags & dns.flags.TC
    assert count_opt(truncated) == 1


@pytest.mark.parametrize("name", NAMES)
def test_E2_no_opt_without_one(send: Send, name: str) -> None:
    assert count_opt(send(query(name))) == 0


@pytest.mark.parametrize("version", [1, 5, 255])
@pytest.mark.parametrize("options", [b"", option(100, b"x"), option(ECS, b"\0"), b"\0\3\0\x64\xff"])
def test_E3_badvers_before_options_are_looked_at(send: Send, version: int, options: bytes) -> None:
    """RFC 6891 6.1.3: "If a responder does not implement the VERSION level ... RCODE=BADVERS"."""
    reply = parse(send(query("set.example.test", edns=opt(options, version=version))))
    assert reply.rcode() == BADVERS
    assert reply.edns == 0
    assert not reply.answer
    assert not reply.authority


@pytest.mark.parametrize("code", [0, 4, 100, 4711, 26946, 65001, 65535])
@pytest.mark.parametrize("octets", [b"", b"\xc0\xff\xee", bytes(300)])
def test_E4_unknown_options_are_ignored(ask: Ask, code: int, octets: bytes) -> None:
    reply = ask("set.example.test", edns=opt(option(code, octets)))
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert not reply.options


@pytest.mark.parametrize("flags", [0x0001, 0x1234, 0x3FFF])
def test_E5_unknown_flags_are_zero(ask: Ask, flags: int) -> None:
    assert ask("set.example.test", edns=opt(flags=flags)).ednsflags & 0xFFFF == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flags", [0, 0x8000, 0xB234])
def test_E6_do_is_copied(ask: Ask, name: str, flags: int) -> None:
    """RFC 3225 3: "The DO bit of the query MUST be copied in the response."."""
    assert ask(name, edns=opt(flags=flags)).ednsflags & 0x8000 == flags & 0x8000


@pytest.mark.parametrize("second", [opt(), opt(version=1), opt(option(3))])
def test_E7_two_opt_are_formerr(send: Send, second: bytes) -> None:
    packet = header(0, (1, 0, 0, 2)) + question("set.example.test") + opt() + second
    assert parse(send(packet)).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    "options", [b"\0\3\0\x10\xaa", b"\0", b"\0\3", b"\0\3\0", option(3) + b"\0\x0a\0\1", b"\xff\xff\xff\xff"]
)
def test_E8_an_option_past_the_rdata_is_formerr_with_opt(send: Send, options: bytes) -> None:
    """RFC 6891 7: "... the OPT ... FORMERR ... MUST contain an OPT record"."""
    reply = send(query("set.example.test", edns=opt(options)))
    assert parse(reply).rcode() == dns.rcode.FORMERR
    assert count_opt(reply) == 1
    assert not parse(reply).answer


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("after", [0, 2])
def test_E9_opt_may_stand_anywhere(send: Send, before: int, after: int) -> None:
    other = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 0, 2) + b"\1x"
    body = other * before + opt(option(NSID)) + other * after
    reply = parse(send(header(0, (1, 0, 0, before + after + 1)) + question("set.example.test") + body))
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert find_options(reply, NSID)


@pytest.mark.parametrize("size", [0, 1, 100, 511])
def test_E10_sizes_below_512_count_as_512(daemon: Daemon, size: int) -> None:
    """RFC 6891 6.2.3: "Values lower than 512 MUST be treated as equal to 512."."""
    small, least = (daemon.exchange(query("pair.example.test", "TXT", edns=opt(size=s)), "udp") for s in (size, 512))
    assert small == least
    assert small is not None
    set_small, set_least = (daemon.exchange(query("broad.example.test", "A", edns=opt(size=s)), "udp") for s in (size, 512))
    assert set_small == set_least
    assert parse(set_small).flags & dns.flags.TC


@pytest.mark.parametrize("size", [None, 0, 512, 600, 1200, 1232, 4096, 65535])
@pytest.mark.parametrize("name", ["large.example.test", "huge.example.test"])
def test_E11_no_datagram_is_longer_than_both_sides_allow(daemon: Daemon, name: str, size: int | None) -> None:
    edns = None if size is None else opt(size=size)
    reply = daemon.exchange(query(name, "TXT", edns=edns), "udp")
    assert reply is not None
    assert len(reply) <= (512 if size is None else min(max(size, 512), 1232))
    assert parse(reply).flags & dns.flags.TC


@pytest.mark.parametrize("name", NAMES)
def test_E12_our_size_is_1232(ask: Ask, name: str) -> None:
    """RFC 9715 3.1 R5: 1232 octets, so that nothing is fragmented."""
    assert ask(name, edns=opt(size=4096)).payload == 1232


@pytest.mark.parametrize(("name", "rtype", "count"), [("large.example.test", "TXT", 16), ("huge.example.test", "TXT", 100)])
@pytest.mark.parametrize("edns", [None, opt(), opt(size=512)])
def test_E13_what_does_not_fit_says_so_and_is_whole_over_tcp(
    daemon: Daemon, name: str, rtype: str, count: int, edns: bytes | None
) -> None:
    short = daemon.exchange(query(name, rtype, edns=edns), "udp")
    assert parse(short).flags & dns.flags.TC
    assert count_opt(short) == (edns is not None)
    whole = parse(daemon.exchange(query(name, rtype, edns=edns), "tcp"))
    assert not whole.flags & dns.flags.TC
    assert sum(len(rrset) for rrset in whole.answer) == count


@pytest.mark.parametrize("name", ["large.example.test", "huge.example.test"])
def test_E14_a_truncated_reply_has_no_half_rrset(daemon: Daemon, name: str) -> None:
    reply = parse(daemon.exchange(query(name, "TXT", edns=opt(size=1232)), "udp"))
    assert reply.flags & dns.flags.TC
    assert not reply.answer
    assert not reply.authority


@pytest.mark.parametrize("size", [0, 512, 1232])
def test_E15_over_tcp_the_size_limits_nothing(daemon: Daemon, size: int) -> None:
    reply = daemon.exchange(query("huge.example.test", "TXT", edns=opt(size=size)), "tcp")
    assert reply is not None
    assert len(reply) > 20_000
    assert not parse(reply).flags & dns.flags.TC


def test_E16_nsid_only_when_asked(ask: Ask) -> None:
    assert not find_options(ask("set.example.test", edns=opt()), NSID)
    for octets in (b"", b"ignored"):
        found = find_options(ask("set.example.test", edns=opt(option(NSID, octets))), NSID)
        assert [one.to_wire() for one in found] == [b"test-node"]
    twice = ask("set.example.test", edns=opt(option(NSID) * 2))
    assert len(find_options(twice, NSID)) == 1


def test_E17_no_padding_in_the_clear(ask: Ask) -> None:
    assert not find_options(ask("set.example.test", edns=opt(option(PADDING, bytes(100)))), PADDING)


def test_E18_an_extended_error_is_two_octets_and_text(ask: Ask) -> None:
    """Optional: if it is there, it is well formed; asking about it (an option of the client) changes nothing."""
    for found in find_options(ask("www.example.net", edns=opt(option(15, b"\0\0"))), 15):
        octets = found.to_wire() or b""
        assert len(octets) >= 2
        assert octets[2:].decode()


@pytest.mark.parametrize("code", [9, 18, 19])
def test_E19_expire_report_channel_and_zoneversion_are_ignored(ask: Ask, code: int) -> None:
    reply = ask("example.test", "SOA", edns=opt(option(code)))
    assert reply.answer
    assert not find_options(reply, code)


def test_E_many_options_at_once(daemon: Daemon, send: Send) -> None:
    """Client subnet, NSID, keepalive, unknown ones: each is answered once, or ignored."""
    options = option(4711, b"x") + subnet(1, 24, b"\x14\1\2") + option(NSID) + option(PADDING, bytes(8))
    reply = parse(send(query("www.example.test", edns=opt(options))))
    assert sorted(found.otype for found in reply.options) == [NSID, ECS]
    assert reply.answer


def test_E_keepalive_with_all_others_over_tcp(daemon: Daemon) -> None:
    """G18 of the geographic cases, but for cookies, which are not built yet."""
    options = subnet(1, 24, b"\x14\1\2") + option(NSID) + option(KEEPALIVE)
    with daemon.connect() as asking:
        send_messages(asking, [query("www.example.test", edns=opt(options))])
        reply = parse(receive_message(asking))
    codes = sorted(found.otype for found in reply.options)
    assert codes in ([NSID, ECS], [NSID, ECS, KEEPALIVE])

"""Broken packets: FORMERR or silence, at once, and nobody else notices. Ids of our checklist, over UDP and TCP."""

from __future__ import annotations

import random
import struct

import dns.rcode
import pytest
from tests.protocol.conftest import Ask, Send
from tests.protocol.packets import Daemon, header, opt, option, parse, query, question, wire_name

POINTER_TO_QNAME = b"\xc0\x0c"


def assert_refused_as_malformed(packet: bytes, reply: bytes | None) -> None:
    """FORMERR with an empty answer, or silence; and no more than about twice what came."""
    if reply is None:
        return
    assert reply[:2] == packet[:2]
    assert reply[3] & 15 == dns.rcode.FORMERR
    assert reply[6:10] == bytes(4), "neither answer nor authority"
    assert len(reply) <= 2 * len(packet) + 12


def record(owner: bytes, rtype: int, rdata: bytes, length: int | None = None) -> bytes:
    """A record whose length field may lie."""
    return owner + struct.pack("!HHIH", rtype, 1, 60, len(rdata) if length is None else length) + rdata


@pytest.mark.parametrize("length", range(12, len(query("www.example.test"))))
def test_B1_a_question_that_ends_early(send: Send, length: int) -> None:
    packet = query("www.example.test")[:length]
    assert_refused_as_malformed(packet, send(packet))


@pytest.mark.parametrize("section", [1, 2, 3])
@pytest.mark.parametrize("written", [0, 1])
def test_B2_one_record_less_than_counted(send: Send, section: int, written: int) -> None:
    counts = [1, 0, 0, 0]
    counts[section] = written + 1
    body = record(POINTER_TO_QNAME, 16, b"\1x") * written
    packet = header(0, (counts[0], counts[1], counts[2], counts[3])) + question("www.example.test") + body
    assert_refused_as_malformed(packet, send(packet))


@pytest.mark.parametrize("octet", [0x40, 0x41, 0x7F, 0x80, 0x8C, 0xBF])
def test_B3_label_types_01_and_10(send: Send, octet: int) -> None:
    packet = header() + question(bytes([octet]) + b"abc" + wire_name("example.test"))
    assert_refused_as_malformed(packet, send(packet))


@pytest.mark.parametrize("pointer", [b"\xc0\x0c", b"\xc0\x0d", b"\xc0\x40", b"\xff\xff", b"\xc0\x00", b"\xc0"])
@pytest.mark.parametrize("before", [b"", b"\3www"])
def test_B4_pointers_in_the_question(send: Send, before: bytes, pointer: bytes) -> None:
    """To itself, forwards, past the end, into the header, half: nothing stands before the first name to point at."""
    packet = header() + before + pointer + (b"" if len(pointer) == 1 else b"\0\1\0\1")
    assert_refused_as_malformed(packet, send(packet))


@pytest.mark.parametrize("section", [1, 2, 3])
def test_B5_pointers_that_point_at_each_other(send: Send, section: int) -> None:
    asked = question("www.example.test")
    first = 12 + len(asked)
    second = first + 2 + 10
    to = [struct.pack("!H", 0xC000 | at) for at in (first, second)]
    counts = [1, 0, 0, 0]
    counts[section] = 2
    body = record(to[1], 1, b"") + record(to[0], 1, b"")
    packet = header(0, (counts[0], counts[1], counts[2], counts[3])) + asked + body
    reply = send(packet)
    if section == 3:
        assert_refused_as_malformed(packet, reply)
    else:  # records in a query's other sections are skipped over, and their owners are not our business
        assert reply is None or reply[3] & 15 in (dns.rcode.FORMERR, dns.rcode.NOERROR)


def test_B6_a_name_above_255_octets(send: Send) -> None:
    name = b"\x28" + b"a" * 40
    packet = header() + question(name * 6 + wire_name("example.test"))
    assert len(name * 6 + wire_name("example.test")) > 255
    assert_refused_as_malformed(packet, send(packet))
    longest = name * 5 + b"\x26" + b"b" * 38 + wire_name("example.test")
    assert len(longest) > 255 - 2
    one_more = header() + question(
        name * 5 + bytes([255 - len(name * 5) - 14]) + b"c" * (255 - len(name * 5) - 14) + wire_name("example.test")
    )
    assert_refused_as_malformed(one_more, send(one_more))


def test_B7_the_longest_names_that_exist(send: Send) -> None:
    zone = wire_name("example.test")
    room = 255 - len(zone)
    labels = b"\1x" * (room // 2) if room % 2 == 0 else b"\2xy" + b"\1x" * ((room - 3) // 2)
    many, long = labels + zone, bytes([63]) + b"l" * 63 + bytes([63]) + b"l" * 63 + bytes([63]) + b"l" * 63
    for name in (many, long + bytes([room - 192 - 1]) + b"m" * (room - 192 - 1) + zone):
        assert len(name) == 255
        reply = send(header() + question(name))
        assert parse(reply).rcode() == dns.rcode.NXDOMAIN
        assert reply is not None
        assert reply[12 : 12 + 255] == name


@pytest.mark.parametrize(
    "octets", [b"\0", b".", b"\\", b" ", b"\t", b"\n", b"\x80", b"\xff", b"a\0b", "ü".encode(), b'"', b";", b"%s"]
)
def test_B8_any_octet_may_stand_in_a_label(send: Send, octets: bytes) -> None:
    """RFC 2181 11: "any binary string whatever can be used as the label"."""
    name = bytes([len(octets)]) + octets + wire_name("example.test")
    reply = send(header() + question(name))
    assert parse(reply).rcode() == dns.rcode.NXDOMAIN
    assert reply is not None
    assert reply[12 : 12 + len(name)] == name


def test_B9_a_dot_inside_a_label_separates_nothing(send: Send) -> None:
    assert parse(send(query("www.example.test"))).rcode() == dns.rcode.NOERROR
    assert parse(send(header() + question(b"\x0bwww.example" + wire_name("test")))).rcode() == dns.rcode.REFUSED
    assert parse(send(header() + question(b"\x0bset.example" + wire_name("example.test")))).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("extra", [b"\0", b"garbage", b"\0" * 200])
@pytest.mark.parametrize("edns", [None, opt()])
def test_B10_octets_after_the_last_record(send: Send, extra: bytes, edns: bytes | None) -> None:
    reply = parse(send(query("set.example.test", edns=edns) + extra))
    assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.FORMERR)
    assert bool(reply.answer) == (reply.rcode() == dns.rcode.NOERROR)


@pytest.mark.parametrize("length", [1, 2, 100, 65535])
def test_B11_lengths_beyond_the_packet(send: Send, length: int) -> None:
    beyond_opt = query("set.example.test", edns=opt()[:-2] + struct.pack("!H", length))
    beyond = header(0, (1, 0, 0, 1)) + question("set.example.test") + record(b"\0", 250, b"", length)
    for packet in (beyond_opt, beyond):
        assert_refused_as_malformed(packet, send(packet))


@pytest.mark.parametrize("rtype", [250, 24])
def test_B12_signatures_nobody_can_check_are_not_looked_at(send: Send, rtype: int) -> None:
    """RFC 8945 5.2 speaks to servers that implement TSIG; we do not, and answer unsigned."""
    rdata = wire_name("hmac-sha256") + bytes(6) + struct.pack("!HH", 300, 0) + bytes(2 + 2 + 2)
    signature = wire_name("key.example.test") + struct.pack("!HHIH", rtype, 255, 0, len(rdata)) + rdata
    reply = parse(send(header(0, (1, 0, 0, 1)) + question("set.example.test") + signature))
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert not reply.additional


def test_B13_an_empty_datagram_is_dropped(daemon: Daemon) -> None:
    assert daemon.exchange(b"", "udp") is None


def test_B_always_at_most_a_formerr_whatever_is_flipped(send: Send) -> None:
    """A few hundred damaged packets: silence or a whole reply with the same id; the probe behind each is answered."""
    chance = random.Random(20260101)
    whole = query("www.example.test", edns=opt(option(8, b"\0\1\x18\0\xcb\0\x71") + option(3)))
    for _ in range(150):
        packet = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            packet[chance.randrange(2, len(packet))] = chance.randrange(256)
        damaged = bytes(packet[: chance.choice((len(packet), chance.randrange(12, len(packet))))])
        reply = send(damaged)
        if reply is not None:
            assert reply[:2] == damaged[:2], damaged.hex()
            assert parse(reply) is not None, damaged.hex()


def test_B_the_same_after_many_of_them(ask: Ask, send: Send) -> None:
    packet = header() + b"\xc0\x0c\0\1\0\1"
    replies = {send(packet) for _ in range(100)}
    assert len(replies) == 1
    assert ask("set.example.test").answer

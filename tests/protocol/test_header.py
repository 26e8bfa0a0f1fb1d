"""Header and question: what RFC 1035, 6895, 8906 and 9619 promise, by the ids of our checklist, over UDP and TCP."""

from __future__ import annotations

import random

import dns.flags
import dns.opcode
import dns.rcode
import pytest
from tests.protocol.conftest import Ask, Send
from tests.protocol.packets import AA, AD, CD, ID, QR, RA, RD, TC, Daemon, Z, header, opt, option, parse, query, question


@pytest.mark.parametrize("ident", [0, 1, ID, 0xFFFF])
@pytest.mark.parametrize("rd", [0, RD])
def test_H1_id_opcode_and_rd_come_back(send: Send, ident: int, rd: int) -> None:
    """RFC 1035 4.1.1: "This identifier is copied"; RD "is copied into the response"."""
    reply = parse(send(header(rd, ident=ident) + question("www.example.test")))
    assert reply.id == ident
    assert reply.opcode() == dns.opcode.QUERY
    assert bool(reply.flags & dns.flags.RD) == bool(rd)


@pytest.mark.parametrize("name", ["www.example.test", "absent.example.test", "www.example.net", "sub.example.test"])
def test_H2_every_response_has_qr(ask: Ask, name: str) -> None:
    assert ask(name).flags & dns.flags.QR


@pytest.mark.parametrize("flags", [QR, QR | AA, QR | RD | RA, QR | 3, QR | TC, QR | 0x7800])
def test_H2_a_response_draws_no_response(send: Send, flags: int) -> None:
    assert send(header(flags) + question("www.example.test")) is None


@pytest.mark.parametrize("name", ["www.example.test", "absent.example.test", "www.example.net"])
@pytest.mark.parametrize("flags", [0, RD, Z, RD | Z])
def test_H3_ra_and_z_are_zero(ask: Ask, name: str, flags: int) -> None:
    reply = ask(name, flags=flags)
    assert not reply.flags & (RA | Z)


@pytest.mark.parametrize(
    ("name", "rtype", "authoritative"),
    [
        ("www.example.test", "A", True),
        ("set.example.test", "A", True),
        ("alias.example.test", "A", True),
        ("set.example.test", "MX", True),
        ("absent.example.test", "A", True),
        ("sub.example.test", "A", False),
        ("x.sub.example.test", "A", False),
        ("www.example.net", "A", False),
        ("test", "SOA", False),
    ],
)
def test_H4_aa_for_our_data_alone(ask: Ask, name: str, rtype: str, authoritative: bool) -> None:
    """RFC 1035 4.1.1: AA "specifies that the responding name server is an authority for the domain name in question"."""
    assert bool(ask(name, rtype).flags & dns.flags.AA) == authoritative


@pytest.mark.parametrize("flags", [AA, TC, RA, Z, AD, CD, AA | TC | RA | Z | AD | CD])
@pytest.mark.parametrize("edns", [None, opt()])
def test_H5_odd_flags_change_nothing(send: Send, flags: int, edns: bytes | None) -> None:
    plain, odd = send(query("set.example.test", edns=edns)), send(query("set.example.test", flags=flags, edns=edns))
    assert plain is not None
    assert odd == plain


@pytest.mark.parametrize("name", ["set.example.test", "absent.example.test", "sub.example.test", "www.example.net"])
def test_H6_ad_and_cd_are_zero(ask: Ask, name: str) -> None:
    """RFC 4035 3.1.6: an authoritative server "MUST NOT set the AD bit" and "SHOULD clear" CD."""
    assert not ask(name, flags=AD | CD).flags & (AD | CD)


@pytest.mark.parametrize("count", [2, 3, 65535])
@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_H7_more_than_one_question_is_formerr(send: Send, count: int, written: int) -> None:
    """RFC 9619 4: "... QDCOUNT MUST NOT be greater than 1 ... FORMERR"."""
    packet = header(counts=(count, 0, 0, 0)) + question("set.example.test") * written
    assert parse(send(packet)).rcode() == dns.rcode.FORMERR


def test_H7_more_than_one_question_is_formerr_whatever_follows(send: Send) -> None:
    packet = header(counts=(2, 0, 0, 1)) + question("set.example.test") + question("set.example.test", "TXT") + opt()
    reply = parse(send(packet))
    assert reply.rcode() == dns.rcode.FORMERR
    assert not reply.answer


@pytest.mark.parametrize("edns", [b"", opt(), opt(option(3))])
def test_H8_no_question_is_formerr(send: Send, edns: bytes) -> None:
    reply = parse(send(header(counts=(0, 0, 0, 1 if edns else 0)) + edns))
    assert reply.rcode() == dns.rcode.FORMERR
    assert not reply.question


@pytest.mark.parametrize("opcode", [3, 6, 7, 8, 9, 10, 12, 15])
@pytest.mark.parametrize("body", ["question", "nothing", "garbage"])
def test_H9_unknown_opcodes_are_notimp(send: Send, opcode: int, body: str) -> None:
    """RFC 8906 3.1.4: an unknown opcode gives NOTIMP, also when the packet is a header alone."""
    follows = {"question": question("set.example.test"), "nothing": b"", "garbage": random.Random(opcode).randbytes(20)}[
        body
    ]
    reply = send(header(opcode << 11, (1 if body == "question" else 0, 0, 0, 0)) + follows)
    assert reply is not None
    assert reply[:2] == ID.to_bytes(2, "big")
    assert reply[2] >> 3 & 15 == opcode
    assert reply[2] & 0x80
    assert reply[3] & 15 == dns.rcode.NOTIMP


@pytest.mark.parametrize("opcode", [dns.opcode.NOTIFY, dns.opcode.UPDATE])
def test_H10_notify_and_update_change_nothing(send: Send, ask: Ask, opcode: dns.opcode.Opcode) -> None:
    before = ask("example.test", "SOA").answer
    record = question("new.example.test", "A") + (60).to_bytes(4, "big") + b"\0\4\xc0\0\2\x63"
    body = question("example.test", "SOA") + record
    reply = send(header(opcode << 11, (1, 0, 1, 0)) + body)
    assert reply is not None
    assert reply[2] >> 3 & 15 == opcode
    assert reply[3] & 15 in (dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.NOTIMP)
    assert ask("example.test", "SOA").answer == before
    assert ask("new.example.test").rcode() == dns.rcode.NXDOMAIN


def test_H11_iquery_is_notimp(send: Send) -> None:
    """RFC 3425 3: name servers "SHOULD return a "Not Implemented" error"."""
    reply = send(header(1 << 11) + question("set.example.test", "PTR"))
    assert reply is not None
    assert reply[3] & 15 == dns.rcode.NOTIMP


@pytest.mark.parametrize("name", ["WwW.eXaMpLe.TeSt", "ABSENT.example.test", "www.EXAMPLE.net", "Sub.Example.Test"])
@pytest.mark.parametrize("edns", [None, opt()])
def test_H12_the_question_comes_back_octet_for_octet(send: Send, name: str, edns: bytes | None) -> None:
    """RFC 5452 9.2 lets resolvers compare the case of the question."""
    reply = send(query(name, edns=edns))
    assert reply is not None
    asked = question(name)
    assert reply[4:6] == b"\0\1"
    assert reply[12 : 12 + len(asked)] == asked


def test_H12_the_owner_is_spelled_as_asked(ask: Ask) -> None:
    reply = ask("SeT.ExAmPlE.tEsT")
    assert reply.answer[0].name.to_text() == "SeT.ExAmPlE.tEsT."


@pytest.mark.parametrize("rclass", [2, 4, 254, 255, 12345])
def test_H13_foreign_classes_are_refused(ask: Ask, rclass: int) -> None:
    """Class ANY (255) too: RFC 8482 speaks of types, and data of class IN may not answer for others."""
    reply = ask("set.example.test", rclass=rclass)
    assert reply.rcode() in (dns.rcode.REFUSED, dns.rcode.NOTIMP)
    assert not reply.answer


@pytest.mark.parametrize("name", ["version.bind", "id.server", "hostname.bind", "authors.bind"])
def test_H14_chaos_tells_no_version(ask: Ask, name: str) -> None:
    reply = ask(name, "TXT", rclass=3)
    assert reply.rcode() == dns.rcode.REFUSED
    assert not reply.answer


@pytest.mark.parametrize("rtype", [1234, 65281, 64, 0, 65535, 10, 250])
def test_H15_an_unknown_type_is_an_ordinary_type(ask: Ask, rtype: int) -> None:
    """RFC 8906 3.1.2; types 128 to 255 but ANY are meta types of which we implement none: those may be refused."""
    reply = ask("set.example.test", rtype)
    if 128 <= rtype <= 255:
        assert reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NOTIMP, dns.rcode.REFUSED, dns.rcode.FORMERR)
    else:
        assert reply.rcode() == dns.rcode.NOERROR
        assert [rrset.rdtype for rrset in reply.authority] == [6]
    assert not reply.answer


@pytest.mark.parametrize("length", range(1, 12))
def test_H16_fragments_of_a_header_are_dropped(daemon: Daemon, length: int) -> None:
    assert daemon.exchange(query("set.example.test")[:length], "udp") is None


@pytest.mark.parametrize("length", range(1, 12))
def test_H16_fragments_of_a_header_close_a_connection_at_most(daemon: Daemon, length: int) -> None:
    assert daemon.exchange(query("set.example.test")[:length], "tcp") is None

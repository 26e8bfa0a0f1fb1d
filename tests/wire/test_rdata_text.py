"""Rdata as text: dnspython reads back the same octets, and the forms that PowerDNS alone wants are as it wants them."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.shapes import SHAPES, parameter

from geodns.wire.rdata_text import TEXTS_WANTED, TYPE_NAMES, parse_type, type_text, write_generic, write_text

# Types that PowerDNS parses and dnspython knows by number only: it reads their text in no form but RFC 3597's.
ONLY_POWERDNS = {7, 8, 9, 14, 57}
A, CERT, DS, IPSECKEY, MX, SRV, SVCB, HTTPS, TXT, CAA = 1, 37, 43, 45, 15, 33, 64, 65, 16, 257


def read_back(rtype: int, text: str) -> bytes:
    """What dnspython makes of *text*."""
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), text).to_wire() or b""


def test_the_shapes_are_all_that_can_be_read_back() -> None:
    assert SHAPES.keys() == TYPE_NAMES.keys() - TEXTS_WANTED - ONLY_POWERDNS


@pytest.mark.parametrize("rtype", sorted(SHAPES), ids=lambda rtype: TYPE_NAMES[rtype])
def test_always_reads_back_as_the_same_octets(rtype: int) -> None:
    @settings(deadline=None, max_examples=60)
    @given(SHAPES[rtype])
    def check(rdata: bytes) -> None:
        text = write_text(rtype, rdata)
        assert text is not None
        assert text.isascii() and text.isprintable()
        assert text == text.strip(), "PowerDNS strips what we send"
        assert read_back(rtype, text) == rdata, text

    check()


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(TYPE_NAMES)), st.binary(max_size=60))
def test_whatever_the_octets_are_the_text_is_one_line_or_none(rtype: int, rdata: bytes) -> None:
    text = write_text(rtype, rdata)
    assert text is None or (text.isascii() and text.isprintable() and text == text.strip() and text)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_unknown_types_have_the_form_of_rfc_3597(rdata: bytes) -> None:
    assert write_text(65280, rdata) is None
    assert read_back(65280, write_generic(rdata)) == rdata


@pytest.mark.parametrize(
    ("rtype", "rdata", "text"),
    [
        (A, bytes((192, 0, 2, 1)), "192.0.2.1"),
        (MX, b"\0\x0a\4mail\7example\4test\0", "10 mail.example.test."),
        (SRV, b"\0\x0a\0\x14\x13\xc4\4host\7example\4test\0", "10 20 5060 host.example.test."),
        (TXT, b'\x0ca b"c\\\t\xc3\xa9;$@', r'"a b\"c\\\009\195\169;$@"'),
        (TXT, b"\0", '""'),
        (CAA, b"\0\5issueca.example.net", '0 issue "ca.example.net"'),
        (CERT, b"\0\3\0\0\0\1", "3 0 0 AQ=="),
        (DS, b"\x30\x39\x0d\x02\xab", "12345 13 2 ab"),
        (7, b"\1a\0", "a."),
        (14, b"\1a\0\1b\0", "a. b."),
        (57, b"\0\1\1\1\1", "1 1 1 AQ=="),
        # none of these needs quotes, and PowerDNS takes no quotes there; dohpath it does not know by name
        (HTTPS, b"\0\1\0" + parameter(1, b"\2h2\2h3") + parameter(3, b"\x20\xfb"), "1 . alpn=h2,h3 port=8443"),
        (HTTPS, b"\0\1\0" + parameter(4, bytes((192, 0, 2, 1, 192, 0, 2, 2))), "1 . ipv4hint=192.0.2.1,192.0.2.2"),
        (HTTPS, b"\0\1\0" + parameter(7, b"/q{?dns}"), r'1 . key7="/q\123\063dns\125"'),
        (HTTPS, b"\0\1\0" + parameter(1, b"\3a,b"), r'1 . key1="\003a\044b"'),
        (HTTPS, b"\0\1\0" + parameter(700, b"a;(b)"), r'1 . key700="a\059\040b\041"'),
        (HTTPS, b"\0\1\0" + parameter(5, b"\1\2\3"), "1 . ech=AQID"),
        (SVCB, b"\0\0\3svc\0", "0 svc."),
        # without a gateway PowerDNS wants no word for it, and dnspython one
        (IPSECKEY, b"\x0a\0\2\1\3\x51\x53", "10 0 2 AQNRUw=="),
        (IPSECKEY, b"\x0a\1\0\xc0\0\2\1", "10 1 0 192.0.2.1"),
    ],
)  # fmt: skip
def test_forms(rtype: int, rdata: bytes, text: str) -> None:
    assert write_text(rtype, rdata) == text


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        (A, b"\1\2\3"),
        (A, b"\1\2\3\4\5"),
        (MX, b"\0\x0a\4mail"),
        (2, b"\x40" + bytes(64) + b"\0"),
        (TXT, b""),
        (TXT, b"\5abc"),
        (DS, b"\x30\x39\x0d\x02"),  # an empty digest would be an empty field
        (CAA, b"\0\3a b"),
        (IPSECKEY, b"\x0a\4\2abc"),
        (HTTPS, b"\0\1\0\0\1\0\5ab"),
    ],
)
def test_what_is_not_of_the_type_has_no_text(rtype: int, rdata: bytes) -> None:
    assert write_text(rtype, rdata) is None


def test_types_as_powerdns_calls_them() -> None:
    for number, label in TYPE_NAMES.items():
        assert (type_text(number), parse_type(label), parse_type(f"TYPE{number}")) == (label, number, number)
    assert (type_text(65280), parse_type("TYPE65280"), parse_type("ANY")) == ("TYPE65280", 65280, 255)
    assert {parse_type(text) for text in ("ALIAS", "ENT", "ADDR", "TYPE", "TYPEx", "TYPE123456", "TYPE1x")} == {0}
    for text in ("", "A B", "A\tB", "Ä", "A-B", "TYPE²"):
        with pytest.raises(ValueError, match="no word"):
            parse_type(text)

"""Rdata as text: dnspython reads back the same octets, and the forms that PowerDNS alone wants are as it wants them."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.wire.rdata_text import TEXTS_WANTED, TYPE_NAMES, parse_type, type_text, write_generic, write_text

A, CERT, DS, IPSECKEY, MX, SRV, SVCB, HTTPS, TXT, CAA = 1, 37, 43, 45, 15, 33, 64, 65, 16, 257
# Types that PowerDNS parses and dnspython knows by number only: it reads their text in no form but RFC 3597's.
ONLY_POWERDNS = {7, 8, 9, 14, 57}


def numbers(octets: int, most: int = -1) -> st.SearchStrategy[bytes]:
    return st.integers(0, 256**octets - 1 if most < 0 else most).map(lambda i: i.to_bytes(octets, "big"))


U8, U16, U32 = numbers(1), numbers(2), numbers(4)
HAS_KEY = numbers(2, 0xBFFF)  # KEY: both upper bits say that there is none, RFC 2535 3.1.2
LABELS = st.lists(st.binary(min_size=1, max_size=12), max_size=4)
NAMES = LABELS.map(lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0")
STRINGS = st.one_of(st.binary(max_size=20), st.sampled_from((bytes(255), b"\xff" * 255))).map(
    lambda octets: bytes((len(octets),)) + octets
)
MANY = st.lists(STRINGS, min_size=1, max_size=4).map(b"".join)
REST = st.binary(min_size=1, max_size=40)
EIGHT = st.binary(min_size=8, max_size=8)
FOUR, SIXTEEN = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
TAGS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=15).map(lambda t: bytes((len(t),)) + t.encode())
HASHES = {1: 20, 2: 32, 4: 48}  # a digest's length by its type, RFC 4034, 4509, 6605
DIGESTS = st.sampled_from(sorted(HASHES)).flatmap(
    lambda kind: st.binary(min_size=HASHES[kind], max_size=HASHES[kind]).map(lambda digest: bytes((kind,)) + digest)
)
PRINTS = st.sampled_from((b"\x01\x01" + bytes(20), b"\x04\x02" + b"\xab" * 32))
TLSAS = st.sampled_from((b"\x03\x01\x00\x01\x02", b"\x03\x01\x01" + b"\xcd" * 32, b"\x00\x00\x02" + b"\xef" * 64))
ALPNS = st.lists(
    st.one_of(st.sampled_from((b"h2", b"h3", b"http/1.1")), st.binary(min_size=1, max_size=9)), min_size=1, max_size=3
).map(lambda ids: b"".join(bytes((len(i),)) + i for i in ids))


def parameter(key: int, value: bytes) -> bytes:
    return key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


@st.composite
def services(draw: st.DrawFn) -> bytes:
    """SVCB and HTTPS with parameters in rising order, as RFC 9460 2.2 wants them."""
    found: dict[int, bytes] = {
        1: draw(ALPNS),
        3: draw(U16),
        4: b"".join(draw(st.lists(FOUR, min_size=1, max_size=3))),
        6: b"".join(draw(st.lists(SIXTEEN, min_size=1, max_size=3))),
        7: b"/dns-query{?dns}",
        draw(st.integers(1000, 65000)): draw(st.binary(max_size=20)),
    }
    keys = draw(st.sets(st.sampled_from(sorted(found))))
    kept = {key: found[key] for key in sorted(keys)}
    no_default, mandatory = draw(st.tuples(st.booleans(), st.booleans()))
    if 1 in kept and no_default:
        kept[2] = b""
    if kept and mandatory:
        kept[0] = b"".join(key.to_bytes(2, "big") for key in sorted(kept))
    return b"\0\1" + draw(NAMES) + b"".join(parameter(key, kept[key]) for key in sorted(kept))


def each(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


GATEWAYS = st.one_of(
    each(U8, st.just(b"\1"), U8, FOUR, REST),
    each(U8, st.just(b"\2"), U8, SIXTEEN, REST),
    each(U8, st.just(b"\3"), U8, NAMES, REST),
)
SHAPES: dict[int, st.SearchStrategy[bytes]] = {
    1: FOUR, 28: SIXTEEN, 2: NAMES, 5: NAMES, 12: NAMES, 39: NAMES, 17: each(NAMES, NAMES),
    6: each(NAMES, NAMES, U32, U32, U32, U32, U32), 13: each(STRINGS, STRINGS), 16: MANY, 99: MANY,
    15: each(U16, NAMES), 18: each(U16, NAMES), 36: each(U16, NAMES), 107: each(U16, NAMES), 33: each(U16, U16, U16, NAMES),
    35: each(U16, U16, STRINGS, STRINGS, STRINGS, NAMES), 25: each(HAS_KEY, U8, U8, REST), 48: each(U16, U8, U8, REST),
    60: each(U16, U8, U8, REST), 43: each(U16, U8, DIGESTS), 59: each(U16, U8, DIGESTS), 32769: each(U16, U8, DIGESTS),
    37: each(U16, U16, U8, REST), 44: PRINTS, 45: GATEWAYS, 49: REST, 52: TLSAS, 53: TLSAS, 61: REST,
    63: each(U32, st.just(b"\1\1" + b"\xab" * 48)), 64: services(), 65: services(),
    104: each(U16, EIGHT), 105: each(U16, FOUR), 106: each(U16, EIGHT),
    108: st.binary(min_size=6, max_size=6), 109: EIGHT, 256: each(U16, U16, REST),
    257: each(U8, TAGS, st.binary(max_size=40)),
}  # fmt: skip


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
        (HTTPS, b"\0\1\0" + parameter(7, b"/q{?dns}"), '1 . key7="/q{?dns}"'),
        (HTTPS, b"\0\1\0" + parameter(1, b"\3a,b"), r'1 . key1="\003a,b"'),
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

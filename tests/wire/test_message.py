"""Reading a query: the plain way gives what the full one gives, and both give what dnspython sees."""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.snapshots import opt_of, query_of, subnet_of

from geodns.wire.constants import CLASS_IN, HEADER_SIZE, RD, A
from geodns.wire.message import BrokenQuery, Query, parse_plain, parse_query
from geodns.wire.name import is_name

NAMES = st.lists(st.binary(min_size=1, max_size=20), min_size=0, max_size=5).map(
    lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"
)
OPTIONS = st.sampled_from(
    [b"", subnet_of("20.1.2.0/24"), subnet_of("2001:db8::/56"), b"\x00\x03\x00\x00", b"\x12\x67\x00\x01x"]
)
OPTS = st.none() | st.builds(
    lambda options, size, flags: opt_of(options, size=size, flags=flags),
    OPTIONS,
    st.integers(0, 65535),
    st.sampled_from([0, 0x8000, 0x1234, 0x10000]),
)


def parse(query: bytes) -> Query | None:
    try:
        return parse_query(query)
    except BrokenQuery:
        return None


@st.composite
def queries(draw: Any) -> bytes:
    """Queries, most of them well formed, some with octets changed, cut off or added."""
    query = bytearray(
        query_of(
            draw(NAMES),
            draw(st.sampled_from([1, 28, 255, 65, 252, 1234])),
            flags=draw(st.sampled_from([0, RD, 0x0130, 0x0030, 0x8000, 0x2800, 0x0040])),
            opt=draw(OPTS),
            qclass=draw(st.sampled_from([1, 1, 1, 3, 255])),
        )
    )
    for _ in range(draw(st.integers(0, 2))):
        query[draw(st.integers(0, len(query) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.sampled_from([None, None, -1, -3, -11]))
    rest: bytes = draw(st.sampled_from([b"", b"", b"\x00", b"junk"]))
    return bytes(query[:cut]) + rest


@settings(max_examples=500, deadline=None)
@given(queries())
def test_the_plain_way_always_gives_what_the_full_one_gives(query: bytes) -> None:
    plain = parse_plain(query)
    if plain is not None and is_name(plain[1]):
        assert len(query) >= HEADER_SIZE
        assert parse_query(query) == plain


@settings(max_examples=300, deadline=None)
@given(queries())
def test_never_raises_anything_but_broken_query(query: bytes) -> None:
    if len(query) >= HEADER_SIZE:
        try:
            flags, owner, end, _, _, _ = parse_query(query)
        except BrokenQuery as error:
            assert error.end <= len(query)
            return
        assert is_name(owner)
        assert end == HEADER_SIZE + len(owner) + 4
        assert flags == int.from_bytes(query[2:4], "big")


@settings(max_examples=200, deadline=None)
@given(NAMES, OPTS)
def test_always_sees_what_dnspython_sees(name: bytes, opt: bytes | None) -> None:
    query = query_of(name, opt=opt)
    theirs = dns.message.from_wire(query)
    _, owner, _, qtype, qclass, edns = parse_query(query)
    question = theirs.question[0]
    assert owner == question.name.canonicalize().to_wire()
    assert (qtype, qclass) == (question.rdtype, question.rdclass)
    assert (edns is None) == (theirs.edns < 0)
    if edns is not None:
        size, version, dnssec_ok, subnet, _ = edns
        assert (size, version, dnssec_ok) == (theirs.payload, theirs.edns, bool(theirs.ednsflags & 0x8000))
        options = [o for o in theirs.options if isinstance(o, dns.edns.ECSOption)] if version == 0 else []
        assert (subnet is not None) == bool(options)
        if subnet is not None:
            assert subnet[3] == options[0].srclen


def test_ordinary_queries_are_read_the_plain_way() -> None:
    """Or it would be a shortcut that nobody takes."""
    for opt in (None, opt_of(), opt_of(flags=0x8000), opt_of(subnet_of("20.1.2.0/24")), opt_of(subnet_of("2001:db8::/56"))):
        for flags in (0, RD, RD | 0x20, RD | 0x10):
            query = query_of("www.example.com.", flags=flags, opt=opt)
            assert parse_plain(query) == parse_query(query)


def test_a_zero_inside_a_label_is_left_to_the_full_way() -> None:
    query = query_of(b"\x04a\x00\x00\x01\x07example\x03com\x00")
    plain = parse_plain(query)
    assert plain is None or not is_name(plain[1])
    assert parse_query(query)[1] == b"\x04a\x00\x00\x01\x07example\x03com\x00"


RECORD = b"\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00"  # an empty TXT at the root
HEAD = b"\x2b\x67\x01\x00"
QUESTION = b"\x03www\x00\x00\x01\x00\x01"


def message(counts: tuple[int, int, int, int], *parts: bytes) -> bytes:
    return HEAD + b"".join(n.to_bytes(2, "big") for n in counts) + b"".join(parts)


@pytest.mark.parametrize(
    ("query", "said", "end", "opt"),
    [
        (message((2, 0, 0, 0), QUESTION, QUESTION), "2 questions", 0, False),
        (message((0, 0, 0, 1), opt_of()), "0 questions", 0, True),
        (message((1, 7, 0, 0), QUESTION), "past the end", 21, False),
        (message((1, 0, 0, 2), QUESTION, opt_of()), "past the end", 21, True),
        (message((1, 0, 0, 2), QUESTION, opt_of(), opt_of()), "two OPT", 21, True),
        (message((1, 1, 0, 0), QUESTION, opt_of()), "outside of the additional", 21, False),
        (message((1, 0, 1, 0), QUESTION, opt_of()), "outside of the additional", 21, False),
        (message((1, 0, 0, 0), QUESTION, b"x"), "1 octets after the last", 21, False),
        (message((1, 0, 0, 1), QUESTION, opt_of(b"\x00\x03\x00\x10\xaa")), "option 3 has 16 octets", 21, True),
        (message((1, 0, 0, 1), QUESTION, opt_of(b"\x00\x03")), "are left in OPT", 21, True),
        (message((1, 0, 0, 1), QUESTION, b"\x01a" + opt_of()), "belong to the root", 21, True),
        (message((1, 0, 0, 1), QUESTION, opt_of()[:-1] + b"\x09"), "9 octets past", 21, False),
        (message((1, 0, 0, 1), QUESTION, opt_of(2 * subnet_of("20.0.0.0/8"))), "two client subnets", 21, True),
        (message((1, 0, 0, 0), QUESTION[:-1]), "no type and class", 0, False),
    ],
)
def test_what_is_broken_is_said_with_what_could_be_read(query: bytes, said: str, end: int, opt: bool) -> None:
    with pytest.raises(BrokenQuery, match=said) as caught:
        parse_query(query)
    assert (caught.value.end, caught.value.opt) == (end, opt)


def test_an_opt_may_stand_anywhere_in_the_additional_section() -> None:
    for parts in ((opt_of(), RECORD), (RECORD, opt_of())):
        assert parse_query(message((1, 0, 0, 2), QUESTION, *parts))[5] == (1232, 0, False, None, False)


def test_records_that_queries_may_carry_are_passed_over() -> None:
    """IXFR has an SOA in authority, NOTIFY one in answer, TSIG comes last."""
    parsed = parse_query(message((1, 1, 1, 2), QUESTION, RECORD, RECORD, RECORD, opt_of()))
    assert parsed == (RD, b"\x03www\x00", 21, A, CLASS_IN, (1232, 0, False, None, False))


def test_dnssec_ok_survives_a_broken_option() -> None:
    with pytest.raises(BrokenQuery) as caught:
        parse_query(query_of("www.", opt=opt_of(b"\x00", flags=0x8000)))
    assert caught.value.dnssec_ok


def test_options_of_a_later_version_are_not_looked_at() -> None:
    """RFC 6891 6.1.3: BADVERS comes first, whatever those options would mean."""
    assert parse_query(query_of("www.", opt=opt_of(b"\x00\x64\xff", flags=0x10000)))[5] == (1232, 1, False, None, False)

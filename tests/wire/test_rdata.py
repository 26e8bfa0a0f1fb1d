"""Tails: TTL and rdata stand where they are said to stand."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from geodns.wire.rdata import ANY_TAIL, EMPTY_TAIL, RDATA_AT, lower_ttl, lower_ttls, rdata_of, ttl_of, write_tail

TTLS = st.integers(0, 2**31 - 1)


@given(st.integers(0, 65535), TTLS, st.binary(max_size=40), TTLS)
def test_a_ttl_only_ever_sinks_and_nothing_else_moves(rtype: int, ttl: int, rdata: bytes, least: int) -> None:
    tail = write_tail(rtype, ttl, rdata)
    lowered = lower_ttl(tail, least)
    assert ttl_of(tail) == ttl
    assert ttl_of(lowered) == min(ttl, least)
    assert rdata_of(lowered) == rdata
    assert (lowered[:4], lowered[8:]) == (tail[:4], tail[8:])
    assert lower_ttls((tail, tail), least) == (lowered, lowered)


def test_any_is_answered_with_the_hinfo_of_rfc_8482() -> None:
    rdata = rdata_of(ANY_TAIL)
    assert (
        dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.HINFO, ANY_TAIL, RDATA_AT, len(rdata)).to_text()
        == '"RFC8482" ""'
    )


def test_the_substitute_for_an_empty_name_has_no_rdata() -> None:
    assert rdata_of(EMPTY_TAIL) == b""
    assert int.from_bytes(EMPTY_TAIL[:2], "big") == 65280

"""Spans and corrections, by brute force over a space of 64 addresses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from operator import or_

from hypothesis import given
from hypothesis import strategies as st

from geodns.config.model import Correction
from geodns.geo.networks import V6_UNITS, Corrections, flatten, span_of

SIZE = 64


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Aligned blocks (so nested or apart), each once, with a bit of its own."""
    found = draw(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 6)), max_size=8))
    spans = {(address >> size << size, (address >> size << size) + (1 << size)) for address, size in found}
    return [(first, end, 1 << i) for i, (first, end) in enumerate(sorted(spans))]


@given(blocks())
def test_always_the_narrowest_wins(spans: list[tuple[int, int, int]]) -> None:
    flat = flatten(spans)
    assert flat == sorted(flat)
    for address in range(SIZE):
        around = [(end - first, value) for first, end, value in spans if first <= address < end]
        expected = [min(around)[1]] if around else []
        assert [value for first, end, value in flat if first <= address < end] == expected


@given(blocks())
def test_joined_values_of_all_that_hold_an_address(spans: list[tuple[int, int, int]]) -> None:
    flat = flatten(spans, or_)
    for address in range(SIZE):
        expected = sum(value for first, end, value in spans if first <= address < end)
        assert sum(value for first, end, value in flat if first <= address < end) == expected


def test_spans_in_table_units() -> None:
    assert span_of(ip_network("10.0.0.0/8")) == (10 << 24, 11 << 24)
    assert span_of(ip_network("0.0.0.0/0")) == (0, 1 << 32)
    assert span_of(ip_network("::/0")) == (0, V6_UNITS)
    assert span_of(ip_network("2001:db8::/32")) == (0x20010DB8 << 32, 0x20010DB9 << 32)
    assert span_of(ip_network("2001:db8::8:0/112")) == (0x20010DB8 << 32, (0x20010DB8 << 32) + 1)


def test_longest_correction_counts() -> None:
    texts = ("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48")
    networks = {ip_network(text): Correction(city=text) for text in texts}
    corrections = Corrections(networks)
    for address, expected in (
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.2.2.3", "10.0.0.0/8"),
        ("11.0.0.1", "0.0.0.0/0"),
        ("2001:db8:1::1", "2001:db8:1::/48"),
        ("2001:db8:2::1", "2001:db8::/32"),
        ("2001:db9::1", None),
    ):
        found = corrections.find(ip_address(address))
        assert (found and found[1].city) == expected
        assert found is None or str(found[0]) == expected

"""The search and the scope, against the plainest reading of both on small and odd tables."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.ranges import V4_SHIFT, V6_SHIFT, build_index, find_range
from geodns.snapshot import Ranges


def ranges_of(starts: list[int], bits: int) -> Ranges:
    shift = V4_SHIFT if bits == 32 else V6_SHIFT
    numbers = array("I" if bits == 32 else "Q", starts)
    orders = array("I", range(len(starts)))
    return Ranges(memoryview(numbers), memoryview(orders), memoryview(array("I", build_index(starts, shift))))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], int, list[int]]:
    """Starts, bits and addresses that lie near them, where mistakes live."""
    bits = draw(st.sampled_from([32, 64]))
    top = (1 << bits) - 1
    edge = st.one_of(
        st.integers(1, top),
        st.integers(0, bits - 1).map(lambda k: 1 << k),
        st.integers(1, 65535).map(lambda t: t << (V4_SHIFT if bits == 32 else V6_SHIFT)),
    )
    starts = sorted({0, *draw(st.lists(edge, max_size=12))})
    near = st.sampled_from(starts).flatmap(lambda s: st.sampled_from([s, max(s - 1, 0), min(s + 1, top)]))
    return starts, bits, draw(st.lists(st.one_of(near, st.integers(0, top), st.just(top)), min_size=1, max_size=8))


def naive(starts: list[int], address: int, bits: int) -> tuple[int, int]:
    """The last start not above the address; the shortest prefix that no other range touches."""
    i = max(i for i, start in enumerate(starts) if start <= address)
    last = starts[i + 1] - 1 if i + 1 < len(starts) else (1 << bits) - 1
    for scope in range(bits + 1):
        first = address >> bits - scope << bits - scope
        if starts[i] <= first and first + (1 << bits - scope) - 1 <= last:
            return i, scope
    raise AssertionError("an address lies in its own range")


@settings(max_examples=300, deadline=None)
@given(tables())
def test_always_finds_the_range_and_the_widest_prefix_inside_it(table: tuple[list[int], int, list[int]]) -> None:
    starts, bits, addresses = table
    ranges = ranges_of(starts, bits)
    for address in addresses:
        assert find_range(ranges, address, V4_SHIFT if bits == 32 else V6_SHIFT, bits) == naive(starts, address, bits)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 255), max_size=12))
def test_scopes_always_tile_the_address_space(tops: set[int]) -> None:
    """Every address of a small world, spread over the first octet: prefixes touch without overlapping."""
    starts = sorted({0, *(top << 24 for top in tops)})
    ranges = ranges_of(starts, 32)
    blocks = set()
    for top in range(256):
        _, scope = find_range(ranges, top << 24, V4_SHIFT, 32)
        assert scope <= 8
        blocks.add((top << 24 >> 32 - scope << 32 - scope, scope))
    edges = sorted((first, first + (1 << 32 - scope)) for first, scope in blocks)
    assert edges[0][0] == 0
    assert edges[-1][1] == 1 << 32
    assert all(before[1] == after[0] for before, after in pairwise(edges))


def test_one_range_has_scope_0() -> None:
    assert find_range(ranges_of([0], 32), 0xC0000201, V4_SHIFT, 32) == (0, 0)


def test_the_index_counts_starts_not_above_each_edge() -> None:
    index = build_index([0, 5, 1 << 16, (1 << 16) + 1], V4_SHIFT)
    assert (index[0], index[1], index[2], index[65536], len(index)) == (1, 3, 4, 4, 65537)

"""Reading a source, and cutting leaves into its tree."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools.small import FRESNO, OSLO, TOKYO, read_world
from tests.world import write_world
from tools.lite_geoip.source import (
    FIRST_ENTRY,
    FORCED,
    LEAF,
    UNKNOWN,
    Source,
    measure_depths,
    put_leaf,
    read_children,
    read_source,
)

WORLD = {"16.0.0.0/8": OSLO, "17.0.0.0/9": TOKYO, "17.200.1.0/24": FRESNO}


def walk(source: Source, address: int) -> int:
    """The leaf of *address*, bit by bit."""
    node = 0
    for bit in range(source.tree.bits - 1, -1, -1):
        node = (source.tree.right if address >> bit & 1 else source.tree.left)[node]
        if node >= LEAF:
            return node - LEAF
    raise AssertionError("the tree is deeper than an address")


def test_records_of_28_bits_are_both_halves_of_seven_octets() -> None:
    raw = bytes.fromhex("0123456789abcdffffff0f000001")
    left, right = read_children(memoryview(raw), 2)
    assert list(left) == [0x6012345, 0x0FFFFFF]
    assert list(right) == [0x789ABCD, 0xF000001]


def test_entries_stand_where_the_source_says() -> None:
    source = read_world(WORLD)
    found = {
        name: walk(source, address << 8) for name, address in (("oslo", 0x100101), ("tokyo", 0x110101), ("fresno", 0x11C801))
    }
    names = {name: source.entries[leaf - FIRST_ENTRY].subdivision for name, leaf in found.items()}
    assert names == {"oslo": "Oslo", "tokyo": "Tokyo", "fresno": "California"}
    assert walk(source, 0x7F000001) == UNKNOWN
    assert source.entries[found["fresno"] - FIRST_ENTRY].latitude == 36.7
    assert (source.tree.bits, source.built) == (32, 1_780_666_996)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_always_a_leaf_put_in_covers_its_prefix_and_nothing_else(prefix: int, length: int, other: int) -> None:
    before, after = read_world(WORLD), read_world(WORLD)
    mask = (1 << 32) - (1 << (32 - length))
    put_leaf(after.tree, prefix & mask, length, FORCED)
    for address in (prefix, prefix & mask, prefix | ~mask & 0xFFFF_FFFF, other, prefix & mask ^ (1 << (32 - length))):
        inside = address & mask == prefix & mask
        assert walk(after, address) == (FORCED if inside else walk(before, address))
    measure_depths(after.tree)  # parents still come first


def test_a_child_before_its_parent_is_refused() -> None:
    source = read_world(WORLD)
    source.tree.left[3] = 1
    with pytest.raises(SystemExit, match="node 3: its child 1 stands before it; expected parents first"):
        measure_depths(source.tree)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.mmdb"
    path.write_bytes(write_world(WORLD, ip_version=4, schema="flat"))
    with pytest.raises(SystemExit, match=r"other\.mmdb: 24-bit records, IPv4; expected 28-bit"):
        read_source(path)
    path.write_bytes(write_world(WORLD, ip_version=4, record_size=28))
    with pytest.raises(
        SystemExit, match=r"other\.mmdb: found record .*country_code.*; expected a map with country_code, state1"
    ):
        read_source(path)

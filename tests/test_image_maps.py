"""The maps block: round trip, and that whatever passes `read_maps` can be trusted by the data plane."""

from __future__ import annotations

import hashlib
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns import image_maps
from geodns.errors import ImageError
from geodns.image import HEADER, LAYOUT, MAGIC, Kind
from geodns.image_maps import Countries, FlatTable, read_countries, read_maps, write_maps
from geodns.ranges import V4_SHIFT, V6_SHIFT, find_range
from geodns.snapshot import JOINED, Maps

SHAPE, DIGEST = bytes(range(16)), bytes(range(32))
TIERED = FlatTable(
    "world", (0, 1 << 24, 1 << 31), (0, 1, 4), (0, 1 << 61), (2, 3), (0, 2, 2, 2, 5, 7), (0, 1, 1, 2, 0, 2, 1),
    (1, 1, 70, 30 | JOINED, 1), 4, False,
)  # fmt: skip
PLAIN = FlatTable("other", (0,), (0,), (0,), (0,), (0, 1, 1, 1), (2,), (1,), 3, True)
BLOCK = write_maps(("ams", "nyc", "sin"), (TIERED, PLAIN), SHAPE, DIGEST, Countries((0, 1 << 24), (0, 0x4E4F)))


def test_round_trip() -> None:
    maps = read_maps(BLOCK, "test")
    assert (maps.datacenters, maps.shape, maps.digest) == (("ams", "nyc", "sin"), SHAPE, DIGEST)
    assert [table.map_name for table in maps.tables] == ["world", "other"]
    for read, written in zip(maps.tables, (TIERED, PLAIN), strict=True):
        for ranges, starts, orders in (
            (read.v4, written.v4_starts, written.v4_orders),
            (read.v6, written.v6_starts, written.v6_orders),
        ):
            assert (tuple(ranges.starts), tuple(ranges.orders)) == (starts, orders)
        assert tuple(read.rows) == written.rows
        assert tuple(read.steps) == written.steps
        assert tuple(read.weights) == written.weights
        assert (read.first_plain, read.uniform) == (written.first_plain, written.uniform)
    countries = read_countries(BLOCK, "test")
    assert (tuple(countries.starts), tuple(countries.codes)) == ((0, 1 << 24), (0, 0x4E4F))


def test_checks_hold_over_the_seams_of_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault between the last number of one slice and the first of the next is a fault like any other."""
    monkeypatch.setattr(image_maps, "CHECK_SLICE", 2)
    starts = tuple(range(0, 10 << 16, 1 << 16))
    orders = tuple(i % 3 for i in range(10))

    def block(starts: tuple[int, ...], orders: tuple[int, ...]) -> bytes:
        return write_maps(
            ("ams",), (FlatTable("world", starts, orders, (0,), (0,), (0, 1, 1, 1), (0,), (1,), 3, False),), SHAPE, DIGEST
        )

    assert tuple(read_maps(block(starts, orders), "test").tables[0].v4.starts) == starts
    for at in range(1, 10):
        twice = starts[:at] + starts[at - 1 : at] + starts[at + 1 :]
        with pytest.raises(ImageError, match="ranges do not follow each other"):
            read_maps(block(twice, orders), "test")
    for at in range(10):
        with pytest.raises(ImageError, match="a range has order 3 of 3"):
            read_maps(block(starts, (*orders[:at], 3, *orders[at + 1 :])), "test")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"v4_starts": (1, 1 << 24, 1 << 31)}, "ranges do not follow"),
        ({"v6_starts": (0, 0)}, "ranges do not follow"),
        ({"v6_orders": (2, 5)}, "a range has order 5 of 5"),
        ({"rows": (0, 2, 1, 2, 5, 7)}, "rows of orders do not follow"),
        ({"rows": (0, 2, 2, 2, 5, 6)}, "rows of orders do not follow"),
        ({"steps": (0, 1, 1, 2, 0, 2, 3)}, "a step or weight is out of bounds"),
        ({"weights": (1, 1)}, "a step or weight is out of bounds"),
        ({"first_plain": 2}, "the first plain one is 2"),
        ({"first_plain": 6}, "the first plain one is 6"),
    ],
)
def test_unsound_tables_are_named(changed: dict[str, object], words: str) -> None:
    fields = {name: getattr(TIERED, name) for name in FlatTable.__slots__} | changed
    octets = write_maps(("ams", "nyc", "sin"), (PLAIN, FlatTable(**fields)), SHAPE, DIGEST)
    with pytest.raises(ImageError, match=f"^a.img: table 1: .*{words}"):
        read_maps(octets, "a.img")


@given(st.integers(0, len(BLOCK) - 1))
def test_never_reads_a_cut_or_altered_block(at: int) -> None:
    with pytest.raises(ImageError):
        read_maps(BLOCK[:at], "a.img")
    altered = bytearray(BLOCK)
    altered[at] ^= 1
    if not HEADER.size - 48 <= at < HEADER.size - 32:  # the shape: `Snapshot` compares it
        with pytest.raises(ImageError):
            read_maps(bytes(altered), "a.img")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(HEADER.size, len(BLOCK) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_always_either_sound_or_refused(changes: list[tuple[int, int]]) -> None:
    """With a right digest over wrong numbers, as a compiler with a bug would write them."""
    rest = bytearray(BLOCK[HEADER.size :])
    for at, octet in changes:
        rest[at - HEADER.size] = octet
    digest = hashlib.blake2b(rest, digest_size=32).digest()
    sections = HEADER.unpack_from(BLOCK)[3]
    head = HEADER.pack(MAGIC, Kind.MAPS, LAYOUT, sections, HEADER.size + len(rest), SHAPE, digest)
    try:
        maps = read_maps(head + bytes(rest), "a.img")
    except ImageError as error:
        assert str(error).startswith("a.img: ")
    else:
        walk(maps)


def walk(maps: Maps) -> None:
    """Do with every range what the data plane does."""
    for table in maps.tables:
        for ranges, shift, bits in ((table.v4, V4_SHIFT, 32), (table.v6, V6_SHIFT, 64)):
            for address in (*ranges.starts, (1 << bits) - 1):
                found, scope = find_range(ranges, address, shift, bits)
                assert found == bisect_right(list(ranges.starts), address) - 1
                assert 0 <= scope <= bits
                order = ranges.orders[found]
                for step in range(table.rows[order], table.rows[order + 1]):
                    assert maps.datacenters[table.steps[step]]
                    assert order >= table.first_plain or table.weights[step] >= 0

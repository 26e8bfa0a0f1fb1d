"""The choices block: every pool can be read from it again, and a flip lays out one pool."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from tests.differential.draws import draw_pool, draw_snapshot
from tests.snapshots import make_pool

from geodns import image_choices
from geodns.errors import ImageError
from geodns.image import ALIGNMENT, HEADER, Kind, open_unsealed
from geodns.image_choices import POOL_NOW, SLOT, ChoicesWriter, write_choices
from geodns.snapshot import DEAD, UP, Choice, Choices, Pool, Snapshot


def read_pool(piece: memoryview) -> Pool:
    """A pool from its piece, by the description of the format alone."""
    rank, ttl, count, _ = POOL_NOW.unpack_from(piece)
    slots = {}
    for i in range(count):
        rtype, size, members, totals, tails, offsets, keys = SLOT.unpack_from(piece, POOL_NOW.size + SLOT.size * i)
        places = (
            [tails + i * size for i in range(members)] if size else piece[offsets : offsets + 4 * members].cast("I").tolist()
        )
        ends = [at + 10 + int.from_bytes(piece[at + 8 : at + 10], "big") for at in places]
        slots[rtype] = Choice(
            tuple(bytes(piece[at:end]) for at, end in zip(places, ends, strict=True)),
            tuple(piece[totals : totals + 4 * members].cast("I")),
            tuple(piece[keys : keys + 8 * members].cast("Q")),
        )
    return Pool(rank, ttl, slots)


def read_pools(block: bytes) -> tuple[Pool, ...]:
    sections = open_unsealed(block, Kind.CHOICES, "block").sections
    starts, pieces = sections["starts"], sections["pieces"]
    assert all(start % 8 == 0 for start in starts)
    return tuple(read_pool(pieces[starts[i] : starts[i + 1]]) for i in range(len(starts) - 1))


@pytest.mark.parametrize("seed", range(20))
def test_always_every_pool_is_in_the_block(seed: int) -> None:
    snapshot = draw_snapshot(seed)
    block = write_choices(snapshot.choices, snapshot.zones)
    assert read_pools(block) == snapshot.choices.pools
    assert len(block) % ALIGNMENT == 0
    assert HEADER.unpack_from(block)[5] == snapshot.zones.shape


def find_pools(least: int) -> Snapshot:
    """The first snapshot that has so many pools."""
    return next(found for found in map(draw_snapshot, range(99)) if len(found.choices.pools) >= least)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    """Pools that are laid out, as it happens."""
    seen: list[Pool] = []
    write = image_choices.write_piece

    def watched(pool: Pool) -> bytes:
        seen.append(pool)
        return write(pool)

    monkeypatch.setattr(image_choices, "write_piece", watched)
    return seen


def test_always_a_flip_lays_out_only_what_changed(written: list[Pool]) -> None:
    """And the block is what a writer without memory gives."""
    chance, writer = random.Random(1), ChoicesWriter()
    snapshot = find_pools(6)
    pools = list(snapshot.choices.pools)
    writer.write(snapshot.choices, snapshot.zones)
    for _ in range(20):
        number = chance.randrange(len(pools))
        pools[number] = draw_pool(chance, targets=False)
        choices = Choices(tuple(pools), snapshot.choices.shape)
        written.clear()
        block = writer.write(choices, snapshot.zones)
        assert [pool is pools[number] for pool in written] == [True]
        assert block == write_choices(choices, snapshot.zones)


def resize(snapshot: Snapshot, count: int) -> tuple[Choices, Any]:
    """So many pools, and zones of as many."""
    pools, plans = (snapshot.choices.pools * count)[:count], (snapshot.zones.pools * count)[:count]
    return Choices(pools, snapshot.choices.shape), replace(snapshot.zones, pools=plans)


def test_a_reload_may_bring_more_pools_or_fewer() -> None:
    snapshot, writer = find_pools(1), ChoicesWriter()
    for count in (3, 500, 0, 1, 250):
        choices, zones = resize(snapshot, count)
        assert read_pools(writer.write(choices, zones)) == choices.pools


def test_new_pools_are_written_in_slices() -> None:
    choices, zones = resize(find_pools(1), 1000)
    assert sum(1 for _ in ChoicesWriter().write_in_slices(choices, zones)) == 10


def test_what_was_begun_and_given_up_is_forgotten() -> None:
    writer, snapshot = ChoicesWriter(), find_pools(1)
    choices, zones = resize(snapshot, 300)
    next(writer.write_in_slices(choices, zones))
    assert writer.write(choices, zones) == write_choices(choices, zones)


def test_choices_of_other_zones_are_refused() -> None:
    snapshot = find_pools(1)
    with pytest.raises(ImageError, match="different pools"):
        write_choices(replace(snapshot.choices, shape=b"x" * 16), snapshot.zones)
    with pytest.raises(ImageError, match="different pools"):
        write_choices(replace(snapshot.choices, pools=()), snapshot.zones)


def test_a_single_address_fits_into_one_line_of_the_cache() -> None:
    """Rank, slot, weight and record: what a plain hit reads."""
    piece = image_choices.write_piece(make_pool("192.0.2.1", rank=UP))
    _, size, _, _, tails, _, _ = SLOT.unpack_from(piece, POOL_NOW.size)
    assert tails + size <= 64


def test_a_pool_without_slots_is_a_piece_too() -> None:
    assert read_pool(memoryview(image_choices.write_piece(Pool(DEAD, 7, {})))) == Pool(DEAD, 7, {})

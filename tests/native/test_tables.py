"""A root refuses what is unsound: whatever it accepts can be answered from without a look outside of the blocks.

The digests of blocks are looked at elsewhere, so here nothing but these checks stands between a wrong octet and a packet.
Built with sanitizers, a check that is missing is a report.
"""

from __future__ import annotations

import gc
import random
import struct
import sys
from array import array
from collections.abc import Callable

import pytest
from tests.differential.draws import draw_snapshot
from tests.differential.engines import ROOM, SETTINGS, Engines, write_blocks
from tests.differential.packets import draw_packet, draw_peer
from tests.snapshots import query_of

from geodns.answer import UDP
from geodns.errors import ImageError
from geodns.image import ENTRY, HEADER, SECTIONS, Kind
from geodns.image_choices import POOL_NOW, SLOT
from geodns.image_maps import TABLE
from geodns.image_zones_read import CUT, GLUE, NODE, NONE, POOL, RRSET, SERVICE, ZONE
from geodns.metrics import POOLS
from geodns.native import tables, trial
from geodns.native.answer import Rules
from geodns.snapshot import Snapshot

Blocks = tuple[bytes, bytes, bytes]
KINDS = (Kind.MAPS, Kind.ZONES, Kind.CHOICES)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """One with cuts, glue, several zones, several tables, tiers and fallbacks."""

    def is_rich(found: Snapshot) -> bool:
        cuts = [node.cut for node in found.zones.names.values() if node.cut is not None]
        return (
            any(cut.glue and cut.ds for cut in cuts)
            and len(found.maps.tables[0].v4.starts) > 2 < len(found.maps.tables[0].v6.starts)
            and any(zone.parent for zone in found.zones.zones)
            and any(service.fallback for service in found.zones.services)
            and any(table.first_plain > 3 and table.rows[1] > 2 for table in found.maps.tables)
        )

    return next(filter(is_rich, map(draw_snapshot, range(10_000))))


@pytest.fixture(scope="module")
def blocks(snapshot: Snapshot) -> Blocks:
    return write_blocks(snapshot)


def sections_of(block: bytes, kind: Kind) -> dict[str, tuple[int, int, int]]:
    """Offset, item size and count of each section."""
    found = {}
    for i in range(HEADER.unpack_from(block)[3]):
        number, size, offset, count = ENTRY.unpack_from(block, HEADER.size + ENTRY.size * i)
        found[SECTIONS[kind][number][0]] = (offset, size, count)
    return found


def use(blocks: Blocks, owners: list[bytes], chance: random.Random, count: int) -> None:
    """Open *blocks*, and if they are accepted answer from them; what the replies say does not matter."""
    root = tables.Root(*blocks)
    rules, tally = Rules(SETTINGS[1], UDP), array("Q", bytes(8 * (POOLS + root.pools)))
    for _ in range(count):
        packet, peer = draw_packet(owners, chance), draw_peer(chance)
        trial.attempt(root, rules, packet, peer, chance.getrandbits(64), ROOM, tally)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_never_does_a_changed_block_lead_outside(kind: Kind, blocks: Blocks, snapshot: Snapshot) -> None:
    """Octets and numbers anywhere changed, most of them to the edges; refused or answered from, and never a crash."""
    chance, owners, refused = random.Random(kind), sorted(snapshot.zones.names), 0
    rounds = 150 if kind is Kind.MAPS else 400
    spans = [(at, at + size * count) for at, size, count in sections_of(blocks[kind - 1], kind).values() if count]
    for _ in range(rounds):
        block = bytearray(blocks[kind - 1])
        for _ in range(chance.choice((1, 1, 2, 5))):
            first, end = chance.choice(spans)
            at = chance.randrange(first, end)
            if chance.random() < 0.5:
                block[at] = chance.choice((0, 1, 255, chance.getrandbits(8)))
            else:
                number = chance.choice((0, 1, NONE, NONE - 1, chance.getrandbits(32), end - first, at - first))
                at -= (at - first) % 4
                block[at : at + 4] = number.to_bytes(4, sys.byteorder)[: min(4, len(block) - at)]
        changed = list(blocks)
        changed[kind - 1] = bytes(block)
        try:
            use((changed[0], changed[1], changed[2]), owners, chance, 30)
        except ImageError:
            refused += 1
        except (ValueError, KeyError):  # the JSON of `about`, which digests protect
            refused += 1
    assert 0 < refused < rounds


def test_never_is_a_cut_block_opened(blocks: Blocks) -> None:
    for number, block in enumerate(blocks):
        for length in (0, 8, HEADER.size - 1, HEADER.size, len(block) // 2, len(block) - 1):
            cut = [*blocks]
            cut[number] = block[:length]
            with pytest.raises(ImageError):
                tables.Root(*cut)


def put(kind: Kind, section: str, form: struct.Struct, index: int, field: int, value: int) -> Callable[[Blocks], Blocks]:
    """One field of one item of a section becomes *value*."""

    def change(blocks: Blocks) -> Blocks:
        block = bytearray(blocks[kind - 1])
        offset, size, count = sections_of(bytes(block), kind)[section]
        at = offset + size * (index % count)
        fields = list(form.unpack_from(block, at))
        fields[field] = value
        form.pack_into(block, at, *fields)
        return tuple(bytes(block) if i == kind - 1 else blocks[i] for i in range(3))  # type: ignore[return-value]

    return change


_U16, _U32, _U64 = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=Q")
M, Z, C = KINDS
UNSOUND = {
    "IPv4 ranges that fall": (put(M, "v4_starts", _U32, 1, 0, 0), "do not follow"),
    "IPv4 ranges from 1 on": (put(M, "v4_starts", _U32, 0, 0, 1), "begin with 0"),
    "IPv6 ranges that fall": (put(M, "v6_starts", _U64, 1, 0, 0), "do not follow"),
    "IPv6 ranges from 1 on": (put(M, "v6_starts", _U64, 0, 0, 1), "begin with 0"),
    "an IPv4 order": (put(M, "v4_orders", _U32, 0, 0, 99), "order that is not there"),
    "an IPv6 order": (put(M, "v6_orders", _U32, -1, 0, NONE), "order that is not there"),
    "the IPv4 index": (put(M, "v4_index", _U32, 7, 0, 99), "index"),
    "the end of the IPv4 index": (put(M, "v4_index", _U32, 65536, 0, NONE), "index"),
    "the IPv6 index": (put(M, "v6_index", _U32, 7, 0, 99), "index"),
    "rows": (put(M, "rows", _U32, 1, 0, NONE), "rows"),
    "steps": (put(M, "steps", _U16, 0, 0, 99), "datacenter"),
    "table: ranges": (put(M, "tables", TABLE, 0, 1, NONE), "outside"),
    "table: rows": (put(M, "tables", TABLE, 0, 5, 0), "outside"),
    "table: steps": (put(M, "tables", TABLE, 0, 7, 1 << 20), "outside"),
    "table: weights": (put(M, "tables", TABLE, 0, 9, 1 << 20), "outside"),
    "table: first plain": (put(M, "tables", TABLE, 0, 10, 99), "orders"),
    "table: no ranges": (put(M, "tables", TABLE, 0, 1, 0), "begin with 0"),
    "rrset: place": (put(Z, "rrsets", RRSET, 0, 2, NONE), "rrset"),
    "rrset: length": (put(Z, "rrsets", RRSET, 0, 3, 3), "rrset"),
    "rrset: count": (put(Z, "rrsets", RRSET, 0, 1, 9), "rrset"),
    "rrset: none": (put(Z, "rrsets", RRSET, 0, 1, 0), "rrset"),
    "rrset: type": (put(Z, "rrsets", RRSET, 0, 0, 9), "rrset"),
    "zone: apex": (put(Z, "zones", ZONE, 0, 0, NONE), "apex"),
    "zone: SOA": (put(Z, "zones", ZONE, 0, 4, 0), "SOA"),
    "zone: its own parent": (put(Z, "zones", ZONE, 0, 6, 0), "parent"),
    "zone: DS": (put(Z, "zones", ZONE, -1, 7, 0), "DS"),
    "cut: name": (put(Z, "cuts", CUT, 0, 0, NONE), "cut"),
    "cut: no name servers": (put(Z, "cuts", CUT, 0, 2, NONE), "name servers"),
    "cut: DS": (put(Z, "cuts", CUT, 0, 3, 1 << 20), "DS or glue"),
    "cut: glue": (put(Z, "cuts", CUT, 0, 5, 99), "DS or glue"),
    "glue: owner": (put(Z, "glue", GLUE, 0, 1, 3), "glue"),
    "glue: addresses": (put(Z, "glue", GLUE, 0, 3, 0), "glue"),
    "service: table": (put(Z, "services", SERVICE, 0, 2, 99), "table"),
    "service: rule": (put(Z, "services", SERVICE, 0, 5, 5), "rule"),
    "service: falls back on itself": (put(Z, "services", SERVICE, 0, 6, 0), "falls back"),
    "service: addresses": (put(Z, "services", SERVICE, 0, 8, 1 << 20), "addresses"),
    "service: pool": (put(Z, "pool_of", _U16, 0, 0, 0xFFFE), "pool"),
    "name: place": (put(Z, "nodes", NODE, 0, 0, NONE), "name"),
    "name: length": (put(Z, "nodes", NODE, 0, 1, 2), "name"),
    "name: labels": (put(Z, "nodes", NODE, 0, 2, 99), "zone"),
    "name: service": (put(Z, "nodes", NODE, 0, 3, 0xFFFE), "service"),
    "name: zone": (put(Z, "nodes", NODE, 0, 4, 99), "zone"),
    "name: wildcard": (put(Z, "nodes", NODE, 0, 5, 1 << 20), "wildcard"),
    "name: cut": (put(Z, "nodes", NODE, 0, 6, 99), "cut"),
    "name: records": (put(Z, "nodes", NODE, 0, 8, 1 << 20), "records"),
    "pieces": (put(C, "starts", _U32, 1, 0, NONE), "pieces"),
    "pieces out of step": (put(C, "starts", _U32, 1, 0, 4), "piece"),
    "pool: rank": (put(C, "pieces", _U32, 0, 0, 5), "rank"),
    "pool: slots": (put(C, "pieces", POOL_NOW, 0, 2, NONE), "piece"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_unsound_is_refused_by_name(what: str, blocks: Blocks) -> None:
    change, words = UNSOUND[what]
    with pytest.raises(ImageError, match=words):
        tables.Root(*change(blocks))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [(0, 9, "record"), (1, 9, "record"), (2, 0, "empty"), (2, 1 << 20, "outside|record"), (3, 2, "aligned"),
     (3, 1 << 20, "outside"), (4, 1 << 20, "record"), (5, 2, "aligned"), (6, 4, "aligned"), (6, 1 << 20, "outside")],
)  # fmt: skip
def test_an_unsound_slot_is_refused(field: int, value: int, words: str, blocks: Blocks) -> None:
    """The first slot of the first pool: type, size, count, then where totals, tails, offsets and keys are."""
    block = bytearray(blocks[2])
    at = sections_of(blocks[2], Kind.CHOICES)["pieces"][0] + POOL_NOW.size
    fields = list(SLOT.unpack_from(block, at))
    fields[field] = value
    SLOT.pack_into(block, at, *fields)
    with pytest.raises(ImageError, match=words):
        tables.Root(blocks[0], blocks[1], bytes(block))


def test_blocks_of_different_namings_do_not_make_a_root() -> None:
    one = write_blocks(draw_snapshot(1))
    others = (write_blocks(found) for found in map(draw_snapshot, range(99)) if found.zones.pools)
    pools = sections_of(one[2], Kind.CHOICES)["starts"]
    other = next(found for found in others if sections_of(found[2], Kind.CHOICES)["starts"] != pools)
    with pytest.raises(ImageError, match="different pools"):
        tables.Root(one[0], one[1], other[2])
    for number, words in ((0, "different datacenters"), (2, "different pools")):
        renamed = [bytearray(block) for block in one]
        struct.pack_into("16s", renamed[number], HEADER.size - 48, b"another")
        with pytest.raises(ImageError, match=words):
            tables.Root(*map(bytes, renamed))


def test_weights_that_overflow_together_are_refused(blocks: Blocks) -> None:
    """A draw is scaled by their sum, which must be a number of 32 bits."""
    offset, size, count = sections_of(blocks[0], Kind.MAPS)["weights"]
    block = bytearray(blocks[0])
    block[offset : offset + size * count] = b"\xff" * (size * count)
    with pytest.raises(ImageError, match="too large together"):
        tables.Root(bytes(block), blocks[1], blocks[2])


def test_a_name_that_stands_twice_is_refused(blocks: Blocks) -> None:
    offset, size, count = sections_of(blocks[1], Kind.ZONES)["nodes"]
    block = bytearray(blocks[1])
    nodes = [NODE.unpack_from(block, offset + size * i) for i in range(count)]
    first, second = [i for i, node in enumerate(nodes) if node[5] == NONE and i not in {node[5] for node in nodes}][:2]
    NODE.pack_into(block, offset + size * second, *nodes[first])
    with pytest.raises(ImageError, match="twice"):
        tables.Root(blocks[0], bytes(block), blocks[2])


def test_always_every_name_is_found_whatever_the_key_of_the_hash() -> None:
    """Each root draws its own key, so that nobody can prepare names that collide."""
    snapshot = draw_snapshot(4)
    for engines in (Engines(snapshot) for _ in range(20)):
        for owner in engines.owners:
            assert not engines.compare(query_of(owner), b"\x7f\0\0\1", 1)


def count_references(blocks: Blocks) -> list[int]:
    gc.collect()
    return list(map(sys.getrefcount, blocks))


def test_a_root_keeps_its_blocks_and_lets_them_go() -> None:
    """Its successor shares maps and zones, and lives on without it."""
    blocks = write_blocks(draw_snapshot(4))
    before = count_references(blocks)
    root = tables.Root(*blocks)
    held = count_references(blocks)
    assert all(now > then for now, then in zip(held, before, strict=True))
    successor = root.with_choices(bytes(bytearray(blocks[2])))
    del root
    after = count_references(blocks)
    assert [after[0] > before[0], after[1] > before[1], after[2] > before[2]] == [True, True, False]
    tally = array("Q", bytes(8 * (POOLS + successor.pools)))
    result, reply = trial.attempt(successor, Rules(SETTINGS[0], UDP), query_of("z.test.", 6), b"\x7f\0\0\1", 1, ROOM, tally)
    assert result > 0
    assert reply is not None
    del successor
    assert count_references(blocks) == before


def test_roots_do_not_leak() -> None:
    """After a thousand flips nobody but the last root holds the blocks."""
    blocks = write_blocks(draw_snapshot(4))
    root = tables.Root(*blocks)
    held = count_references(blocks)
    for _ in range(1000):
        root = root.with_choices(blocks[2])
    assert count_references(blocks) == held


def test_the_structs_are_those_of_the_blocks() -> None:
    """Said at import already; here so that it cannot be taken out."""
    tables.compare_structs()
    assert POOL.size == 36, "only its size is used, to count pools"

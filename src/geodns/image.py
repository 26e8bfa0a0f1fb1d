"""The block: one flat form for the compiler, for files and for native workers.

Knows header, section table, alignment and digest, and the one table that names every section and its item format.
Knows nothing of what the sections mean: `image_maps` and `image_zones` do.

A block is: header, section table, sections; native byte order, each section on 64 octets.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from .errors import ImageError
from .slices import at_once

MAGIC = b"geodns\x01\n"
LAYOUT = 1  # raised whenever a section changes its meaning
ALIGNMENT = 64
HASH_SLICE = 1 << 20  # octets hashed at a time where the event loop waits: about a millisecond
HEADER = struct.Struct("=8sHHIQ16s32s")  # magic, kind, layout, sections, length, shape, digest of all that follows
ENTRY = struct.Struct("=IIQQ")  # section id, item size, offset, count


class Kind(IntEnum):
    """Which part of a snapshot a block holds."""

    MAPS = 1
    ZONES = 2
    CHOICES = 3


@dataclass(frozen=True, slots=True)
class Block:
    """An opened, verified block: its sections by name, each a view in its item format."""

    kind: Kind
    shape: bytes
    digest: bytes
    octets: bytes
    sections: Mapping[str, memoryview]


# Section id -> (name, item format of `struct`/`memoryview`). Formats longer than one letter are cast to "B" and read
# by the module that owns the kind. Native code compares its structs with this table at import.
MAPS_SECTIONS: dict[int, tuple[str, str]] = {}
ZONES_SECTIONS: dict[int, tuple[str, str]] = {}
CHOICES_SECTIONS: dict[int, tuple[str, str]] = {}
SECTIONS: dict[Kind, dict[int, tuple[str, str]]] = {
    Kind.MAPS: MAPS_SECTIONS,
    Kind.ZONES: ZONES_SECTIONS,
    Kind.CHOICES: CHOICES_SECTIONS,
}


def write_block(kind: Kind, shape: bytes, sections: list[tuple[int, int, bytes | bytearray | memoryview]]) -> bytes:
    """A block from *sections*, each (id, item size, octets), in that order."""
    offset = -(-(HEADER.size + ENTRY.size * len(sections)) // ALIGNMENT) * ALIGNMENT
    table, body = bytearray(), []
    for number, size, octets in sections:
        length = len(octets)
        table += ENTRY.pack(number, size, offset, length // size)
        padded = -(-length // ALIGNMENT) * ALIGNMENT
        body.append(octets)
        body.append(bytes(padded - length))
        offset += padded
    head_padding = bytes(-(HEADER.size + len(table)) % ALIGNMENT)
    digest = hashlib.blake2b(digest_size=32)
    for part in (rest := (table, head_padding, *body)):
        digest.update(part)
    # Joined once: a second copy of the maps would be the compiler's peak.
    return b"".join((HEADER.pack(MAGIC, kind, LAYOUT, len(sections), offset, shape, digest.digest()), *rest))


def open_block(octets: bytes, kind: Kind, name: str) -> Block:
    """The block in *octets*, digest and section bounds verified; *name* stands in the errors.

    Raises ImageError for anything that is not a whole, unaltered block of this kind and layout.
    """
    return at_once(open_in_slices(octets, kind, name))


def open_in_slices(octets: bytes, kind: Kind, name: str) -> Generator[None, None, Block]:
    """Like `open_block`, for the main thread: it yields after each HASH_SLICE octets of the digest."""
    head = _open_head(octets, kind, name)
    view, found = memoryview(octets), hashlib.blake2b(digest_size=32)
    for at in range(HEADER.size, len(octets), HASH_SLICE):
        found.update(view[at : at + HASH_SLICE])
        yield
    if found.digest() != head[1]:
        raise ImageError(f"{name}: altered: the digest does not match")
    return _open_rest(octets, kind, name, head)


def open_unsealed(octets: bytes, kind: Kind, name: str) -> Block:
    """The block in *octets*, which were verified before or never left memory: the digest is not looked at."""
    return _open_rest(octets, kind, name, _open_head(octets, kind, name))


def _open_head(octets: bytes, kind: Kind, name: str) -> tuple[bytes, bytes, int]:
    """Shape, digest and the number of sections."""
    if len(octets) < HEADER.size:
        raise ImageError(f"{name}: {len(octets)} octets are too short for an image")
    magic, found_kind, layout, count, length, shape, digest = HEADER.unpack_from(octets)
    if magic != MAGIC or found_kind != kind:
        raise ImageError(f"{name}: not an image of {kind.name.lower()} written by geodns on such a machine")
    if layout != LAYOUT:
        raise ImageError(f"{name}: layout {layout}, this version reads {LAYOUT}")
    if length != len(octets):
        raise ImageError(f"{name}: {len(octets)} octets, expected {length}: truncated or still being written")
    return shape, digest, count


def _open_rest(octets: bytes, kind: Kind, name: str, head: tuple[bytes, bytes, int]) -> Block:
    shape, digest, count = head
    return Block(kind, shape, digest, octets, _sections(memoryview(octets), kind, count, name))


def _sections(view: memoryview, kind: Kind, count: int, name: str) -> dict[str, memoryview]:
    known, found = SECTIONS[kind], {}
    if HEADER.size + ENTRY.size * count > len(view):
        raise ImageError(f"{name}: {count} sections do not fit into {len(view)} octets")
    for i in range(count):
        number, size, offset, items = ENTRY.unpack_from(view, HEADER.size + ENTRY.size * i)
        if number not in known:
            continue  # a section that only native code reads
        label, form = known[number]
        if size != struct.calcsize("=" + form):
            raise ImageError(f"{name}: section {label} has items of {size} octets, expected {struct.calcsize('=' + form)}")
        if offset % ALIGNMENT or offset + size * items > len(view):
            raise ImageError(f"{name}: section {label} lies outside of the file")
        part = view[offset : offset + size * items]
        found[label] = _cast(part, form)
    if missing := {label for label, _ in known.values()} - found.keys():
        raise ImageError(f"{name}: no section {', '.join(sorted(missing))}")
    return found


def _cast(part: memoryview, form: str) -> memoryview:
    """*part* in one of the item formats that Python can index; the others stay octets."""
    if form == "H":
        return part.cast("H")
    if form == "I":
        return part.cast("I")
    return part.cast("Q") if form == "Q" else part

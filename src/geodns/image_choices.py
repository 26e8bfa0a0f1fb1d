"""The choices block: what each pool offers right now, flat, for native workers. In memory only, never a file.

Knows its sections, and that a flip of health changes few pools: the pieces of all others are kept as they are. Knows nothing
of health, nor of what the numbers mean.

A piece is one pool: its rank and TTL, then a slot for each record type; sums of weights, tails and sticky keys follow, each
found from the beginning of the piece. Pieces are joined in the order of `Choices.pools`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Generator

from .errors import ImageError
from .image import ALIGNMENT, CHOICES_SECTIONS, ENTRY, HEADER, LAYOUT, MAGIC, Kind
from .slices import at_once
from .snapshot import Choice, Choices, Pool, Zones

POOL_NOW = struct.Struct("=IIII")  # rank, TTL, number of slots, 0
# type, octets of each tail (0: they differ), count, and where totals, tails, offsets of tails (if they differ), keys begin
SLOT = struct.Struct("=HHIIIII")
CHOICES_SECTIONS.update({1: ("starts", "I"), 2: ("pieces", "B")})  # starts: of each piece, and the end of the last
_WORD = 8  # pieces and keys begin on whole words
_SLICE = 100  # pieces written between two yields: below two milliseconds for pools of a few dozen members
_NO_DIGEST = bytes(32)  # what never was a file cannot have been altered


class ChoicesWriter:
    """Writes the block again and again; only pools that are not the same objects as last time are laid out anew."""

    def __init__(self) -> None:
        self._pools: tuple[Pool, ...] = ()
        self._pieces: list[bytes] = []

    def write(self, choices: Choices, zones: Zones) -> bytes:
        """The block of *choices*. Raises ImageError where they were built on other zones."""
        return at_once(self.write_in_slices(choices, zones))

    def write_in_slices(self, choices: Choices, zones: Zones) -> Generator[None, None, bytes]:
        """Like `write`, for the main thread where all pools are new."""
        if choices.shape != zones.shape or len(choices.pools) != len(zones.pools):
            raise ImageError("choices and zones were built on different pools")
        pools, before = choices.pools, self._pools
        pieces = self._pieces[: len(pools)] + [b""] * (len(pools) - len(before))
        changed = [i for i, pool in enumerate(pools) if i >= len(before) or pool is not before[i]]
        for done, i in enumerate(changed, 1):
            pieces[i] = write_piece(pools[i])
            if done % _SLICE == 0:
                yield
        self._pools, self._pieces = pools, pieces
        return _join(choices.shape, pieces)


def write_choices(choices: Choices, zones: Zones) -> bytes:
    """The block of *choices*, laid out from nothing. Raises ImageError where they were built on other *zones*."""
    return ChoicesWriter().write(choices, zones)


def write_piece(pool: Pool) -> bytes:
    """One pool, with slots by rising type; a whole number of words."""
    slots, parts = bytearray(), bytearray()
    first = POOL_NOW.size + SLOT.size * len(pool.slots)
    for rtype, choice in sorted(pool.slots.items()):
        slots += SLOT.pack(rtype, *_put_choice(parts, first, choice))
    piece = b"".join((POOL_NOW.pack(pool.rank, pool.ttl, len(pool.slots), 0), slots, parts))
    return piece + bytes(-len(piece) % _WORD)


def _put_choice(parts: bytearray, first: int, choice: Choice) -> tuple[int, int, int, int, int, int]:
    """Add *choice* to *parts*, which stand at octet *first* of their piece; what its slot says after the type."""
    sizes = {len(tail) for tail in choice.tails}
    size = sizes.pop() if len(sizes) == 1 else 0
    totals = first + len(parts)
    parts += array("I", choice.totals).tobytes()
    offsets = first + len(parts)
    tails = offsets if size else offsets + 4 * len(choice.tails)
    if not size:
        ends = array("I", [tails])
        for tail in choice.tails[:-1]:
            ends.append(ends[-1] + len(tail))
        parts += ends.tobytes()
    parts += b"".join(choice.tails)
    parts += bytes(-(first + len(parts)) % _WORD)
    keys = first + len(parts)
    parts += array("Q", choice.keys).tobytes()
    return size, len(choice.tails), totals, tails, offsets, keys


def _join(shape: bytes, pieces: list[bytes]) -> bytes:
    starts = array("I", [0])
    at = 0
    for piece in pieces:
        at += len(piece)
        starts.append(at)
    head_size = HEADER.size + 2 * ENTRY.size
    starts_at = -(-head_size // ALIGNMENT) * ALIGNMENT
    starts_length = 4 * len(starts)
    pieces_at = -(-(starts_at + starts_length) // ALIGNMENT) * ALIGNMENT
    length = pieces_at + -(-at // ALIGNMENT) * ALIGNMENT
    return b"".join(
        (
            HEADER.pack(MAGIC, Kind.CHOICES, LAYOUT, 2, length, shape, _NO_DIGEST),
            ENTRY.pack(1, 4, starts_at, len(starts)),
            ENTRY.pack(2, 1, pieces_at, at),
            bytes(starts_at - head_size),
            starts.tobytes(),
            bytes(pieces_at - starts_at - starts_length),
            *pieces,
            bytes(length - pieces_at - at),
        )
    )

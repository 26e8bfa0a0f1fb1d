"""Address ranges: the search, and the ECS scope of a hit.

Knows sorted starts. Knows nothing of orders, maps or wire.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .snapshot import Ranges

V4_SHIFT = 16  # a 32-bit address to its top 16 bits
V6_SHIFT = 48  # the upper 64 bits of an address to their top 16
V6_BITS = 64  # how much of an IPv6 address the tables look at


def build_index(starts: Sequence[int], shift: int) -> list[int]:
    """65,537 counts: index[t] is how many *starts* are <= t << *shift* (see `snapshot.Ranges`)."""
    index, count, total = [], 0, len(starts)
    for top in range(65537):
        edge = top << shift
        while count < total and starts[count] <= edge:
            count += 1
        index.append(count)
    return index


def find_range(ranges: Ranges, address: int, shift: int, bits: int) -> tuple[int, int]:
    """Index of the range holding *address*, and the widest prefix round it that stays inside the range.

    *bits* is 32 or 64, as many as *address* has. 0 means one range for the whole family; whether that may be announced
    as scope 0 is the caller's to know. Such prefixes tile the address space, so no scope can overlap another.
    """
    starts, index, top = ranges.starts, ranges.index, address >> shift
    i = bisect_right(starts, address, index[top] - 1, index[top + 1]) - 1
    scope = 0
    if i:  # the first bit that differs from the last address of the range before
        scope = bits + 1 - (address ^ (starts[i] - 1)).bit_length()
    if i + 1 < len(starts):  # and from the first address of the range after
        scope = max(scope, bits + 1 - (address ^ starts[i + 1]).bit_length())
    return i, scope

"""The data section of a MaxMind DB file, read in bulk: only the fields asked for, everything behind a pointer once.

Knows the encoding (MaxMind DB file format 2.0, "Output Data Section"). Knows nothing of trees, addresses or places.

What comes out looks like what maxminddb gives, with the fields that nobody asked for left out and of an array only
the first element, so that one function can read both.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..errors import DatabaseError

POINTER, STRING, DOUBLE, BYTES, UINT16, UINT32, MAP, INT32, UINT64, UINT128, ARRAY, CONTAINER, END, BOOL, FLOAT = range(
    1, 16
)
POINTER_BASE = (0, 2048, 526_336, 0)  # by size bits: what is added to the value
LONG_SIZE = (0, 29, 285, 65_821)  # by number of further octets: what is added to the size
READ_DOUBLE = struct.Struct(">d").unpack_from
READ_FLOAT = struct.Struct(">f").unpack_from
_numbers = count()


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What to read of a value: these keys of a map, the first element of an array; a scalar is read in any case."""

    fields: Mapping[bytes, tuple[str, Wanted]] = field(default_factory=dict)
    first: Wanted | None = None
    number: int = field(default_factory=lambda: next(_numbers))  # tells memoised values of one pointer apart


SCALAR = Wanted()


def want(**fields: Wanted) -> Wanted:
    """A map of which these keys are read."""
    return Wanted({name.encode(): (name, wanted) for name, wanted in fields.items()})


class Values:
    """Reads values out of one section, by offset; remembers what pointers led to.

    *name* is the file's, for errors. `read` raises DatabaseError for whatever does not follow the format, and after
    skipping much more than a sound file could hold.
    """

    def __init__(self, octets: bytes, name: str) -> None:
        self.octets = octets
        self.name = name
        self._seen: dict[tuple[int, int], Any] = {}
        self._keys: dict[int, bytes] = {}
        self.patience = 16 * len(octets) + 1_000_000  # values that may be skipped in all

    def read(self, offset: int, wanted: Wanted) -> Any:
        """The value at *offset*; maps come as dicts with the wanted keys that are there."""
        try:
            return self._value(offset, wanted)[0]
        except (IndexError, struct.error):
            raise self._broken(offset, "ends in the middle of a value") from None
        except UnicodeDecodeError:
            raise self._broken(offset, "a string is not UTF-8") from None

    def _broken(self, at: int, text: str) -> DatabaseError:
        return DatabaseError(f"{self.name}: corrupt data at offset {at}: {text}")

    def _pointer(self, at: int) -> tuple[int, int]:
        """Where the pointer at *at* leads, and what follows it."""
        control = self.octets[at]
        size = (control >> 3) & 3
        after = at + 2 + size
        if after > len(self.octets):
            raise IndexError
        target = int.from_bytes(self.octets[at + 1 : after], "big")
        if size != 3:
            target += (control & 7) << 8 * (size + 1)
        target += POINTER_BASE[size]
        if target >= len(self.octets):
            raise self._broken(at, f"a pointer leads to {target}, the section has {len(self.octets)} octets")
        if self.octets[target] >> 5 == POINTER:  # "a pointer ... must not point to another pointer"
            raise self._broken(at, "a pointer leads to a pointer")
        return target, after

    def _control(self, at: int) -> tuple[int, int, int]:
        """Type, size, and where the payload begins; not for pointers."""
        octets = self.octets
        control = octets[at]
        kind, size = control >> 5, control & 31
        at += 1
        if not kind:
            kind = octets[at] + 7
            at += 1
        if size > 28:
            more = size - 28
            if at + more > len(octets):
                raise IndexError
            size = LONG_SIZE[more] + int.from_bytes(octets[at : at + more], "big")
            at += more
        return kind, size, at

    def _value(self, at: int, wanted: Wanted) -> tuple[Any, int]:
        if self.octets[at] >> 5 == POINTER:
            target, after = self._pointer(at)
            seen = (target, wanted.number)
            if seen not in self._seen:
                self._seen[seen] = self._value(target, wanted)[0]
            return self._seen[seen], after
        kind, size, body = self._control(at)
        if kind == MAP:
            return self._map(body, size, wanted) if wanted.fields else (None, self._skip(body, 2 * size))
        if kind == ARRAY:
            if wanted.first is None or not size:
                return [], self._skip(body, size)
            first, after = self._value(body, wanted.first)
            return [first], self._skip(after, size - 1)
        return self._scalar(kind, size, body)

    def _map(self, at: int, size: int, wanted: Wanted) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        fields, octets = wanted.fields, self.octets
        for _ in range(size):
            control = octets[at]
            if 0x40 <= control < 0x5D:  # a short string, written out
                after = at + 1 + (control & 31)
                key = octets[at + 1 : after]
                at = after
            else:
                key, at = self._key(at)
            if key in fields:
                name, inner = fields[key]
                found[name], at = self._value(at, inner)
            else:
                at = self._skip(at, 1)
        return found, at

    def _key(self, at: int) -> tuple[bytes, int]:
        if self.octets[at] >> 5 == POINTER:
            target, after = self._pointer(at)
            if target not in self._keys:
                self._keys[target] = self._key(target)[0]
            return self._keys[target], after
        kind, size, body = self._control(at)
        if kind != STRING:
            raise self._broken(at, "the key of a map is no string")
        if body + size > len(self.octets):
            raise IndexError
        return self.octets[body : body + size], body + size

    def _scalar(self, kind: int, size: int, at: int) -> tuple[Any, int]:
        octets, after = self.octets, at + size
        if kind == BOOL:
            return bool(size), at
        if after > len(octets):
            raise IndexError
        if kind == STRING:
            return octets[at:after].decode(), after
        if kind == DOUBLE and size == 8:
            return READ_DOUBLE(octets, at)[0], after
        if kind == FLOAT and size == 4:
            return READ_FLOAT(octets, at)[0], after
        if kind in (UINT16, UINT32, UINT64, UINT128) and size <= 16:
            return int.from_bytes(octets[at:after], "big"), after
        if kind == INT32 and size <= 4:
            return int.from_bytes(octets[at:after].rjust(4, b"\0"), "big", signed=True), after
        if kind == BYTES:
            return octets[at:after], after
        raise self._broken(at, f"no value of type {kind} has {size} octets")

    def _skip(self, at: int, left: int) -> int:
        """What follows *left* values at *at*. Reads no more than their control octets, and does not recurse."""
        octets = self.octets
        self.patience -= left
        if self.patience < 0:
            raise self._broken(at, "more values than the file can hold")
        while left:
            left -= 1
            control = octets[at]
            kind, size = control >> 5, control & 31
            if kind == POINTER:
                at += 2 + (size >> 3)
                continue
            if size < 29 and kind:
                at += 1
            else:
                kind, size, at = self._control(at)
            if kind in (MAP, ARRAY):
                inner = 2 * size if kind == MAP else size
                left += inner
                self.patience -= inner
            elif kind > FLOAT:
                raise self._broken(at, f"there is no type {kind}")
            elif kind != BOOL:
                at += size
        if at > len(octets):
            raise IndexError
        return at

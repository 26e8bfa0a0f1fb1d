"""Tails: one record without its owner, as snapshots hold it: type, class, TTL, length, rdata.

Knows where the TTL and the rdata stand. Knows nothing of what rdata means: it is never compressed and never looked into,
but for the name in a CNAME or NS record, which is the whole of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from .constants import CLASS_IN, EMPTY, HINFO

_TAIL = struct.Struct(">HHIH")
RDATA_AT = _TAIL.size  # octets of a tail before its rdata

# RFC 8482 4.2: the CPU field "SHOULD be set to "RFC8482"", the OS field "to the null string".
ANY_TTL = 3600


def write_tail(rtype: int, ttl: int, rdata: bytes) -> bytes:
    """The tail of a record of class IN; *ttl* in seconds."""
    return _TAIL.pack(rtype, CLASS_IN, ttl, len(rdata)) + rdata


def ttl_of(tail: bytes) -> int:
    """The TTL of *tail*, in seconds."""
    return int.from_bytes(tail[4:8], "big")


def rdata_of(tail: bytes) -> bytes:
    """The rdata of *tail*."""
    return tail[RDATA_AT:]


def lower_ttl(tail: bytes, ttl: int) -> bytes:
    """*tail* with a TTL of at most *ttl* seconds."""
    if int.from_bytes(tail[4:8], "big") <= ttl:
        return tail
    return tail[:4] + ttl.to_bytes(4, "big") + tail[8:]


def lower_ttls(tails: Iterable[bytes], ttl: int) -> tuple[bytes, ...]:
    """All of *tails* with TTLs of at most *ttl* seconds."""
    return tuple(lower_ttl(tail, ttl) for tail in tails)


ANY_TAIL = write_tail(HINFO, ANY_TTL, b"\x07RFC8482\x00")
EMPTY_TAIL = write_tail(EMPTY, 60, b"")  # stands where PowerDNS must see that a name exists

"""Packets for two engines: queries around the names of a snapshot, the same with damage, and noise.

Knows what a query may hold. Knows nothing of what is right. Everything comes from a `random.Random`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.snapshots import opt_of, query_of

from geodns.wire.constants import AAAA, A

TYPES = (5, 5, 2, 2, 6, 6, 12, 13, 15, 15, 16, 16, 33, 41, 43, 43, 65, 250, 251, 252, 255, 255, 1234, 0, 65280, 65535)
LABELS = (b"www", b"a", b"b", b"x", b"*", b"sub", b"ns", b"\x00", b"a.b", b"\xff" * 63, b"y" * 60, b"Z", b"\xc0", b"@[`{")
FLAGS = (0x0100, 0, 0x0130, 0x07F0, 0x2800, 0x7900, 0x8100)
OPTIONS = (
    b"\x00\x03\x00\x00",
    b"\x00\x03\x00\x02ab",
    b"\x00\x0c\x00\x10" + bytes(16),
    b"\x00\x0a\x00\x08abcdefgh",
    b"\x12\x67\x00\x03abc",
    b"\x00\x08\x00\x04\x00\x01\x00\x00",
    b"\x00\x08\x00\x04\x00\x02\x00\x00",
)
# More IPv4 than chance would give, and every form that embeds it.
V6_TOPS = ("2001:db8:", "2002:", "2001:0:", "64:ff9b::", "::ffff:0:", "::ffff:", "::", "2a00:", "fc00:", "fe80:")
V4_TOPS = (10, 20, 30, 100, 127, 128, 192, 200, 203, 255)


def draw_v4(chance: random.Random) -> bytes:
    return bytes((chance.choice((*V4_TOPS, chance.randrange(256))), *chance.randbytes(3)))


def draw_v6(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(16)
    inner = draw_v4(chance)
    return chance.choice(
        (
            bytes(10) + b"\xff\xff" + inner, bytes(12) + inner, b"\x20\x02" + inner + chance.randbytes(10),
            b"\x20\x01\x00\x00" + chance.randbytes(8) + bytes(octet ^ 255 for octet in inner),
            b"\x00\x64\xff\x9b" + bytes(8) + inner, bytes(8) + b"\xff\xff\x00\x00" + inner,
            b"\x20\x01\x0d\xb8" + chance.randbytes(12), b"\xfc" + chance.randbytes(15), b"\x20\x02" + bytes(14),
        )
    )  # fmt: skip


def draw_peer(chance: random.Random) -> bytes:
    """The address of who asks."""
    return draw_v4(chance) if chance.random() < 0.7 else draw_v6(chance)


def draw_subnet(chance: random.Random) -> bytes:
    """A client subnet option, most often a good one."""
    packed, bits = (draw_v4(chance), 32) if chance.random() < 0.6 else (draw_v6(chance), 128)
    source = chance.choice((0, 1, 8, 12, 16, 20, 23, 24, 25, 31, 32, bits, bits, bits * 3 // 4, chance.randrange(bits + 1)))
    number = int.from_bytes(packed, "big") >> (bits - source) << (bits - source)
    octets = number.to_bytes(bits // 8, "big")[: (source + 7) // 8]
    body = (1 if bits == 32 else 2).to_bytes(2, "big") + bytes((source, 0)) + octets
    if chance.random() < 0.05:
        body = chance.randbytes(chance.randrange(24))
    return b"\x00\x08" + len(body).to_bytes(2, "big") + body


def draw_name(owners: Sequence[bytes], chance: random.Random) -> bytes:
    """A name of *owners*, one below, one above, or another, in any letter case; wire form."""
    owner = chance.choice(owners)
    how = chance.random()
    if how < 0.3:
        for _ in range(chance.choice((1, 1, 1, 1, 1, 1, 2, 2, 5, 60))):
            label = chance.choice(LABELS) if chance.random() < 0.7 else b"%08x" % chance.getrandbits(32)
            owner = bytes((len(label),)) + label + owner
    elif how < 0.4 and owner[0]:
        owner = owner[owner[0] + 1 :]
    elif how < 0.45:
        owner = b"\x04test\x00" if chance.random() < 0.5 else b"\x03com\x00"
    return owner.swapcase() if chance.random() < 0.3 else owner


def draw_opt(chance: random.Random) -> bytes:
    """An OPT record with up to three options."""
    options = b"".join(
        draw_subnet(chance) if chance.random() < 0.6 else chance.choice(OPTIONS)
        for _ in range(chance.choice((0, 0, 1, 1, 1, 1, 1, 1, 2, 3)))
    )
    size = chance.choice((0, 512, 513, 600, 1232, 1400, 4096, 65535, chance.randrange(500, 1300)))
    return opt_of(
        options,
        size=size,
        flags=chance.choice((0x1234, 0x10000, 0x01008000)) if chance.random() < 0.1 else chance.choice((0, 0, 0x8000)),
    )


def draw_query(owners: Sequence[bytes], chance: random.Random) -> bytes:
    """One well-formed query, more or less likely."""
    return query_of(
        draw_name(owners, chance),
        chance.choice((A, A, A, AAAA)) if chance.random() < 0.75 else chance.choice(TYPES),
        flags=chance.choice(FLAGS) if chance.random() < 0.15 else 0x0100,
        ident=chance.getrandbits(16),
        opt=draw_opt(chance) if chance.random() < 0.6 else None,
        qclass=chance.choice((3, 255)) if chance.random() < 0.02 else 1,
    )


def add_records(query: bytes, chance: random.Random) -> bytes:
    """The same with other records and counts around, so that the whole of it must be read."""
    packet = bytearray(query)
    for _ in range(chance.randrange(1, 4)):
        section = chance.choice((4, 6, 6, 8, 8, 10, 10))
        packet[section + 1] = packet[section + 1] + 1 & 255
        owner = chance.choice((b"\x00", b"\xc0\x0c", b"\x01x\x00", b"\xc0\x0d", b"\x01x\xc0\x0c"))
        if section == 4:
            packet += owner + b"\x00\x01\x00\x01"
        elif chance.random() < 0.3:
            packet += draw_opt(chance)
        else:
            rdata = chance.randbytes(chance.randrange(6))
            packet += owner + chance.choice((b"\x00\x01", b"\x00\x29", b"\x00\xfa")) + b"\x00\x01" + bytes(4)
            packet += len(rdata).to_bytes(2, "big") + rdata
    return bytes(packet)


def damage(query: bytes, chance: random.Random) -> bytes:
    """The same with a few octets changed, cut off, repeated or put in."""
    packet = bytearray(query)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(packet)) if packet else 0
        how = chance.randrange(7)
        if how == 0 and packet:
            packet[at] = chance.getrandbits(8)
        elif how == 1 and packet:
            packet[at] ^= 1 << chance.randrange(8)
        elif how == 2:
            del packet[at:]
        elif how == 3:
            packet[at:at] = packet[: chance.randrange(len(packet) + 1)]
        elif how == 4:
            packet[at:at] = bytes((0xC0 | chance.getrandbits(2), chance.getrandbits(6)))
        elif how == 5:
            packet += chance.randbytes(chance.randrange(1, 12))
        elif len(packet) > 11:
            packet[4 + chance.randrange(8)] = chance.choice((0, 1, 2, 255))
    return bytes(packet)


def draw_packet(owners: Sequence[bytes], chance: random.Random) -> bytes:
    """Most of them plain, the others damaged, crowded or noise."""
    how = chance.random()
    if how < 0.02:
        return chance.randbytes(chance.choice((0, 1, 11, 12, 13, 40, 600)))
    if how < 0.04:
        return (
            bytes(2)
            + b"\x01\x00"
            + bytes((0, chance.randrange(3), 0, 0, 0, 0, 0, chance.randrange(3)))
            + chance.randbytes(40)
        )
    query = draw_query(owners, chance)
    if how < 0.16:
        return damage(query, chance)
    return add_records(query, chance) if how < 0.24 else query

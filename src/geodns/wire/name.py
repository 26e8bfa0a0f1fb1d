"""Domain names in wire form: reading, checking, and the text that people see.

Knows labels, lengths, case and escapes. Knows nothing of zones. A name in wire form is lower-cased whole by
`bytes.lower()`: length octets are below 64, so none of them is a letter.
"""

from __future__ import annotations

from itertools import pairwise

from ..errors import WireError
from .constants import HEADER_SIZE, LABEL_SIZE, NAME_SIZE

ROOT = b"\x00"


def is_name(octets: bytes) -> bool:
    """Is *octets* one whole name in wire form, without compression, of at most 255 octets?"""
    at, last = 0, len(octets) - 1
    if last >= NAME_SIZE:
        return False
    while at < last:
        size = octets[at]
        if not 0 < size <= LABEL_SIZE:
            return False
        at += size + 1
    return at == last and octets[at] == 0


def skip_name(message: bytes, at: int) -> int:
    """Where the name that begins at *at* ends, be it compressed or not.

    A pointer is not followed: it must point backwards, past the header, and so cannot take part in a loop. Raises WireError.
    """
    start, length = at, len(message)
    while at < length:
        size = message[at]
        if size == 0:
            if at - start >= NAME_SIZE:  # RFC 1035 2.3.4: "255 octets or less"
                raise WireError(f"a name of {at - start + 1} octets at octet {start}, at most {NAME_SIZE} are allowed")
            return at + 1
        if size >= 0xC0:
            # RFC 1035 4.1.4: a pointer names "a prior occurance of the same name".
            target = (size & 0x3F) << 8 | message[at + 1] if at + 1 < length else length
            if not HEADER_SIZE <= target < start:
                raise WireError(f"a pointer at octet {at} to octet {target}, which does not come before")
            return at + 2
        if size > LABEL_SIZE:  # RFC 6891 5 withdrew 01 (extended labels); 10 was never assigned
            raise WireError(f"label type {size >> 6} at octet {at}")
        at += size + 1
    raise WireError(f"the name at octet {start} runs past the end")


def label_starts(name: bytes) -> list[int]:
    """Where each label of *name* begins, the root's last; *name* is whole and uncompressed."""
    starts, at = [0], 0
    while name[at]:
        at += name[at] + 1
        starts.append(at)
    return starts


def count_labels(name: bytes) -> int:
    """How many labels *name* has, the root not counted."""
    return len(label_starts(name)) - 1


def is_below(name: bytes, ancestor: bytes) -> bool:
    """Is *name* equal to *ancestor* or below it? Both in lower case; suffixes count at label boundaries only."""
    start = len(name) - len(ancestor)
    return start >= 0 and name.endswith(ancestor) and start in label_starts(name)


def name_text(name: bytes) -> str:
    """*name* as people write it, absolute, with a final dot; escapes as RFC 4343 2.1 has them."""
    if name == ROOT:
        return "."
    starts = label_starts(name)
    return "".join(_label_text(name[a + 1 : b]) + "." for a, b in pairwise(starts))


def _label_text(label: bytes) -> str:
    text = []
    for octet in label:
        if octet in b'."\\();@$':
            text.append("\\" + chr(octet))
        elif 0x21 <= octet <= 0x7E:
            text.append(chr(octet))
        else:
            text.append(f"\\{octet:03d}")
    return "".join(text)


def parse_name_text(text: str) -> bytes:
    """The wire form of an absolute name, its final dot optional, in the case it has. Raises WireError."""
    if text in {".", ""}:
        return ROOT
    labels, label, at = [], bytearray(), 0
    while at < len(text):
        octet, at = _parse_character(text, at)
        if octet is None:
            labels.append(bytes(label))
            label.clear()
        else:
            label.append(octet)
    if label or not text.endswith("."):
        labels.append(bytes(label))
    for part in labels:
        if not 1 <= len(part) <= LABEL_SIZE:
            raise WireError(f"{text}: a label of {len(part)} octets, 1 to {LABEL_SIZE} are allowed")
    name = b"".join(bytes((len(part),)) + part for part in labels) + ROOT
    if len(name) > NAME_SIZE:
        raise WireError(f"{text}: {len(name)} octets in wire form, at most {NAME_SIZE} are allowed")
    return name


def _parse_character(text: str, at: int) -> tuple[int | None, int]:
    """The octet that begins at *at* (None: a dot between labels), and where the next one begins."""
    character = text[at]
    if character == ".":
        return None, at + 1
    if character != "\\":
        if not character.isascii():
            raise WireError(f"{text}: {character!r} is not ASCII")
        return ord(character), at + 1
    digits = text[at + 1 : at + 4]
    if digits[:1].isdecimal():
        if len(digits) < 3 or not digits.isascii() or not digits.isdecimal() or int(digits) > 255:
            raise WireError(f"{text}: \\{digits} is not an escape: three digits up to 255 are")
        return int(digits), at + 4
    if not digits or not digits[0].isascii():
        raise WireError(f"{text}: a backslash must be followed by an ASCII character")
    return ord(digits[0]), at + 2

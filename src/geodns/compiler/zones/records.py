"""One record as it was written, and the names in it.

Knows owner names, absolute and relative, and where a record stands. Knows nothing of zones as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata

from ...errors import Complaint, Place, Severity, WireError
from ...wire.name import count_labels, is_below, label_starts, name_text, parse_name_text

A, NS, CNAME, SOA, MX, TXT, AAAA, SRV, DNAME, DS, SPF = 1, 2, 5, 6, 15, 16, 28, 33, 39, 43, 99
ADDRESS_TYPES = frozenset({A, AAAA})
REPLACED_BY_SERVICE = frozenset({A, AAAA, CNAME})  # a service answers these itself
WILDCARD = b"\x01*"
_BETWEEN_WORDS = re.compile(r'(?<!\\);.*|[()"]')  # comments, parentheses and quotes of a master file
_NO_TARGETS = frozenset({"rdclass", "rdtype", "rdcomment", "mname", "rname", "mbox"})
_FIELDS: dict[type[dns.rdata.Rdata], tuple[str, ...]] = {}  # of each class of rdata once: attributes that may be names


@dataclass(frozen=True, slots=True)
class Written:
    """Where something was written: file and line, and the key in YAML (empty in a master file)."""

    place: Place
    path: str = ""

    def error(self, text: str) -> Complaint:
        return Complaint(Severity.ERROR, self.place, self.path, text)

    def warning(self, text: str) -> Complaint:
        return Complaint(Severity.WARNING, self.place, self.path, text)


@dataclass(frozen=True, slots=True)
class Record:
    """One record, checked for itself. *owner* is in wire form, lower case; *text* is the source that it came from."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: dns.rdata.Rdata
    written: Written
    text: str

    @property
    def target(self) -> bytes:
        """The one name in the rdata of NS, CNAME, DNAME, MX and SRV: wire form, lower case."""
        field = {MX: "exchange"}.get(self.rtype, "target")
        return wire_of(getattr(self.rdata, field))


class RefusesUnicode(dns.name.IDNACodec):
    """Takes no label that is not ASCII: the error shows its A-label (RFC 5890 2.3.2.1)."""

    def __init__(self) -> None:
        """Nothing to set up; spelled out because dnspython's own has no types."""

    def encode(self, label: str) -> bytes:
        raise ValueError(f'"{label}" is not ASCII, write "{a_label(label)}"')


def a_label(text: str) -> str:
    """The ASCII form of a name or label; where IDNA has none, `?` for what cannot be written."""
    for codec in (dns.name.IDNA_2008_Practical, dns.name.IDNA_2003_Practical):
        try:
            return dns.name.from_text(text, None, codec).to_text()
        except (dns.exception.DNSException, UnicodeError, ValueError):
            continue
    return text.encode("ascii", "replace").decode()


def wire_of(name: dns.name.Name) -> bytes:
    """The wire form of an absolute name, lower case."""
    wire = name.to_wire()
    if wire is None:  # only where it is written to a file
        raise ValueError(f"{name} has no wire form")
    return wire.lower()


def parse_name(text: str, apex: bytes) -> bytes:
    """The wire form, lower case, of *text* as YAML has names: `@`, relative to *apex*, or absolute with a final dot.

    Raises ValueError with the words for the operator.
    """
    if text == "@":
        return apex
    if not text.isascii():
        raise ValueError(f'"{text}" is not ASCII, write "{a_label(text)}"')
    try:
        if ends_with_dot(text):
            return parse_name_text(text).lower()
        name = parse_name_text(text)[:-1].lower() + apex
    except WireError as error:
        raise ValueError(str(error)) from None
    if len(name) > 255:
        raise ValueError(f'"{text}" with the zone behind it has {len(name)} octets, at most 255 are allowed')
    return name


def parse_owner(text: str, apex: bytes) -> bytes:
    """The owner that *text* means in the zone *apex*. Raises ValueError for names outside it, or that repeat it."""
    if not text:
        raise ValueError('an empty owner: write "@" for the zone itself')
    owner = parse_name(text, apex)
    if not is_below(owner, apex):
        raise ValueError(f'"{text}" is outside of the zone {name_text(apex)}')
    if text != "@" and not ends_with_dot(text) and repeats_zone(owner, apex):
        raise ValueError(repeats_text(owner, apex))
    return owner


def repeats_zone(owner: bytes, apex: bytes) -> bool:
    """Does *owner* hold the zone's name twice in a row at its end?"""
    return len(apex) > 1 and is_below(owner, apex[:-1] + apex)


def repeats_text(owner: bytes, apex: bytes) -> str:
    """What to say of an owner that was written with the zone's name but without the final dot."""
    meant = owner[: -len(apex)] + b"\0"
    relative = meant[: -len(apex)] + b"\0"
    short = name_text(relative)[:-1] if len(relative) > 1 else "@"
    return f'means {name_text(owner)}: it repeats the zone, did you mean "{short}" or "{name_text(meant)}"?'


def ends_with_dot(text: str) -> bool:
    """Is *text* absolute: does it end in a dot that is not escaped?"""
    before = text[:-1]
    return text.endswith(".") and (len(before) - len(before.rstrip("\\"))) % 2 == 0


def rdata_names(rdata: dns.rdata.Rdata) -> Iterator[dns.name.Name]:
    """The names of hosts and of other owners in *rdata*; mailboxes are not meant."""
    for field in _fields(type(rdata)):
        value = getattr(rdata, field)
        for name in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(name, dns.name.Name):
                yield name


def _fields(cls: type[dns.rdata.Rdata]) -> tuple[str, ...]:
    found = _FIELDS.get(cls)
    if found is None:
        slots = dict.fromkeys(field for base in cls.__mro__ for field in getattr(base, "__slots__", ()))
        found = _FIELDS[cls] = tuple(field for field in slots if field not in _NO_TARGETS)
    return found


def written_absolute(text: str, name: bytes) -> bool:
    """Was *name* written with its final dot in the source *text*?

    In a `$GENERATE` line, where only a template stands, any word that ends in a dot counts.
    """
    words = [word for word in _BETWEEN_WORDS.sub(" ", text).split() if ends_with_dot(word)]
    return any("$" in word or _same_name(word, name) for word in words)


def _same_name(word: str, name: bytes) -> bool:
    try:
        return parse_name_text(word).lower() == name
    except WireError:
        return False


def suggest_absolute(text: str, name: bytes, apex: bytes) -> str:
    """ ", did you mean ...": for a relative name that looks like an absolute one."""
    relative = name[: -len(apex)] + b"\0"
    return f', did you mean "{name_text(relative)}"?' if count_labels(relative) > 1 else ""


def ancestors(name: bytes, apex: bytes) -> list[bytes]:
    """*name* and those above it up to *apex*, longest first."""
    return [name[at:] for at in label_starts(name) if len(name) - at >= len(apex)]

"""Rdata as PowerDNS reads it from a backend: presentation form (RFC 1035 5.1), names absolute with their final dot.

Knows the types that PowerDNS 4.7 parses by itself, and the form in which it takes each; where that is not the form of master
files, the line says so. Knows nothing of protocols, nor of zones. All other types have the form of RFC 3597: PowerDNS takes
that for types which it does not know, and for those alone.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable

from .name import name_text

# What PowerDNS calls the types whose rdata it parses. It takes TYPE1 for A as well, but A is what people read in its logs.
TYPE_NAMES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX",
    16: "TXT", 17: "RP", 18: "AFSDB", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT",
    39: "DNAME", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID",
    50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 57: "RKEY", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 104: "NID", 105: "L32", 106: "L64", 107: "LP",
    108: "EUI48", 109: "EUI64", 256: "URI", 257: "CAA", 32769: "DLV",
}  # fmt: skip
_TYPE_NUMBERS = {label: number for number, label in TYPE_NAMES.items()} | {"ANY": 255}

# A field: the octets, where it begins; its text, and where the next one begins.
Field = Callable[[bytes, int], tuple[str, int]]

_QUOTED = {octet: f"\\{octet:03d}" for octet in range(256) if not 0x20 <= octet < 0x7F} | {0x22: '\\"', 0x5C: "\\\\"}
_MANDATORY, _ALPN, _NO_ALPN, _PORT, _V4_HINT, _ECH, _V6_HINT = range(7)  # RFC 9460 14.3.2
_PARAMETERS = ("mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-./_")
# In SvcParams PowerDNS stops at a semicolon and at parentheses, be they quoted or not.
_ESCAPED = {octet: f"\\{octet:03d}" for octet in range(256) if octet not in _PLAIN}


def type_text(rtype: int) -> str:
    """What PowerDNS calls a type: its mnemonic, or ``TYPE65280``."""
    return TYPE_NAMES.get(rtype) or f"TYPE{rtype}"


def parse_type(text: str) -> int:
    """The number of a type that PowerDNS asks for; 0 for one of its own that is no type of the DNS. Raises ValueError."""
    number = _TYPE_NUMBERS.get(text)
    if number is not None:
        return number
    if not text.isascii() or not text.isalnum():
        raise ValueError("a type that is no word")
    digits = text[4:]
    return int(digits) if text.startswith("TYPE") and digits.isdecimal() and len(digits) <= 5 else 0


def write_text(rtype: int, rdata: bytes) -> str | None:
    """The text of *rdata*; None for a type that has no form here, and for octets that are none of that type."""
    fields = _FORMS.get(rtype)
    if fields is None:
        return None
    parts: list[str] = []
    at = 0
    try:
        for field in fields:
            text, at = field(rdata, at)
            parts.append(text)
    except (ValueError, IndexError, OSError):
        return None
    return " ".join(filter(None, parts)) if at == len(rdata) else None


def write_generic(rdata: bytes) -> str:
    r"""RFC 3597 5: "The special token \# ... An unsigned decimal integer specifying the RDATA length"."""
    return f"\\# {len(rdata)} {rdata.hex()}" if rdata else "\\# 0"


def _number(octets: int) -> Field:
    def read(rdata: bytes, at: int) -> tuple[str, int]:
        return str(int.from_bytes(_take(rdata, at, octets), "big")), at + octets

    return read


def _take(rdata: bytes, at: int, count: int) -> bytes:
    piece = rdata[at : at + count]
    if len(piece) != count:
        raise ValueError("too short")
    return piece


def _name(rdata: bytes, at: int) -> tuple[str, int]:
    end = at
    while rdata[end]:
        if rdata[end] > 63:
            raise ValueError("no name")
        end += rdata[end] + 1
    return name_text(rdata[at : end + 1]), end + 1


def _string(rdata: bytes, at: int) -> tuple[str, int]:
    """One character-string, RFC 1035 3.3."""
    end = at + 1 + rdata[at]
    return _quote(_take(rdata, at + 1, rdata[at])), end


def _quote(octets: bytes) -> str:
    return '"' + octets.decode("latin-1").translate(_QUOTED) + '"'


def _strings(rdata: bytes, at: int) -> tuple[str, int]:
    """One or more character-strings, to the end."""
    parts: list[str] = []
    while at < len(rdata) or not parts:
        text, at = _string(rdata, at)
        parts.append(text)
    return " ".join(parts), at


def _rest(rdata: bytes, at: int) -> tuple[str, int]:
    """What follows, as one string without a length of its own: CAA (RFC 8659 4.1), URI (RFC 7553 4.4)."""
    return _quote(rdata[at:]), len(rdata)


def _hex(rdata: bytes, at: int) -> tuple[str, int]:
    return _written(rdata[at:].hex()), len(rdata)


def _base64(rdata: bytes, at: int) -> tuple[str, int]:
    return _written(b64encode(rdata[at:]).decode()), len(rdata)


def _written(text: str) -> str:
    """*text*, unless it is empty: PowerDNS takes no record whose last field is missing."""
    if not text:
        raise ValueError("an empty field")
    return text


def _v4(rdata: bytes, at: int) -> tuple[str, int]:
    return socket.inet_ntop(socket.AF_INET, rdata[at : at + 4]), at + 4


def _v6(rdata: bytes, at: int) -> tuple[str, int]:
    return socket.inet_ntop(socket.AF_INET6, rdata[at : at + 16]), at + 16


def _groups(count: int, size: int, mark: str) -> Field:
    """*count* groups of *size* octets in hexadecimal: EUI48 and EUI64 (RFC 7043), NID and L64 (RFC 6742)."""

    def read(rdata: bytes, at: int) -> tuple[str, int]:
        return _take(rdata, at, count * size).hex(mark, size), at + count * size

    return read


def _tag(rdata: bytes, at: int) -> tuple[str, int]:
    """CAA's property tag; RFC 8659 4.1: "Tags MAY contain ASCII characters A through Z and 0 through 9"."""
    tag = _take(rdata, at + 1, rdata[at]).decode("ascii")
    if not tag.isalnum():
        raise ValueError("no tag")
    return tag, at + 1 + rdata[at]


def _gateway(rdata: bytes, at: int) -> tuple[str, int]:
    """IPSECKEY after the precedence (RFC 4025 2). PowerDNS wants nothing where no gateway is; master files have a dot."""
    kind, algorithm = rdata[at], rdata[at + 1]
    at += 2
    text = ""
    if kind:
        text, at = {1: _v4, 2: _v6, 3: _name}[kind](rdata, at) if kind <= 3 else ("", len(rdata) + 1)
    key = b64encode(rdata[at:]).decode()
    return " ".join(filter(None, (str(kind), str(algorithm), text, key))), max(at, len(rdata))


def _parameters(rdata: bytes, at: int) -> tuple[str, int]:
    """The SvcParams of RFC 9460 2.1; none is fine. PowerDNS takes ports and addresses without quotes only."""
    parts = []
    while at < len(rdata):
        key, length = int.from_bytes(_take(rdata, at, 2), "big"), int.from_bytes(_take(rdata, at + 2, 2), "big")
        parts.append(_parameter(key, _take(rdata, at + 4, length)))
        at += 4 + length
    return " ".join(parts), at


def _parameter(key: int, value: bytes) -> str:
    """One SvcParam, in words where it has some that need no escapes, else as ``key1="\\002h2"``: both mean the same."""
    words = ""
    if key == _NO_ALPN and not value:
        return _PARAMETERS[key]
    if key == _ALPN:
        words = _alpn(value)
    elif key == _PORT and len(value) == 2:
        words = str(int.from_bytes(value, "big"))
    elif key == _ECH:
        words = b64encode(value).decode()
    elif key in {_V4_HINT, _V6_HINT}:
        size, read = (4, _v4) if key == _V4_HINT else (16, _v6)
        words = ",".join(read(value, i)[0] for i in range(0, len(value), size))
    elif key == _MANDATORY and not len(value) % 2:
        numbers = [int.from_bytes(value[i : i + 2], "big") for i in range(0, len(value), 2)]
        words = ",".join(_PARAMETERS[number] if number < len(_PARAMETERS) else f"key{number}" for number in numbers)
    return f"{_PARAMETERS[key]}={words}" if words else f'key{key}="{value.decode("latin-1").translate(_ESCAPED)}"'


def _alpn(value: bytes) -> str:
    """The protocols in *value* between commas; empty where one of them would need escapes."""
    found, at = [], 0
    while at < len(value):
        protocol = _take(value, at + 1, value[at])
        if not protocol or not _PLAIN.issuperset(protocol):
            return ""
        found.append(protocol.decode())
        at += 1 + len(protocol)
    return ",".join(found)


_u8, _u16, _u32 = _number(1), _number(2), _number(4)
_KEY, _DIGEST = (_u16, _u8, _u8, _base64), (_u16, _u8, _u8, _hex)
_SERVICE = (_u16, _name, _parameters)
_FORMS: dict[int, tuple[Field, ...]] = {
    1: (_v4,), 28: (_v6,),
    2: (_name,), 5: (_name,), 7: (_name,), 8: (_name,), 9: (_name,), 12: (_name,), 39: (_name,),
    14: (_name, _name), 17: (_name, _name),
    6: (_name, _name, _u32, _u32, _u32, _u32, _u32),
    13: (_string, _string), 16: (_strings,), 99: (_strings,),
    15: (_u16, _name), 18: (_u16, _name), 36: (_u16, _name), 107: (_u16, _name),
    33: (_u16, _u16, _u16, _name),
    35: (_u16, _u16, _string, _string, _string, _name),
    25: _KEY, 48: _KEY, 57: _KEY, 60: _KEY,
    43: _DIGEST, 59: _DIGEST, 32769: _DIGEST,
    37: (_u16, _u16, _u8, _base64),  # numbers only: PowerDNS does not know the mnemonics of RFC 4398 2.1
    44: (_u8, _u8, _hex), 45: (_u8, _gateway), 49: (_base64,), 52: (_u8, _u8, _u8, _hex), 53: (_u8, _u8, _u8, _hex),
    61: (_base64,), 63: (_u32, _u8, _u8, _hex),
    64: _SERVICE, 65: _SERVICE,
    104: (_u16, _groups(4, 2, ":")), 105: (_u16, _v4), 106: (_u16, _groups(4, 2, ":")),
    108: (_groups(6, 1, "-"),), 109: (_groups(8, 1, "-"),),
    256: (_u16, _u16, _rest), 257: (_u8, _tag, _rest),
}  # fmt: skip
# PowerDNS parses these, and they have no form here: `Zones.texts` has their texts, which the compiler puts there.
TEXTS_WANTED = frozenset(TYPE_NAMES) - frozenset(_FORMS)

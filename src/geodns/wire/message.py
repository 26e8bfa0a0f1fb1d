"""Messages: reading a query, and the pieces that every reply is made of.

Knows header, question and where records begin and end. Knows nothing of what a name holds. A query that was read is a
plain tuple:

    Query = (flags, owner, end, qtype, qclass, edns or None)

*flags* is the second header word; *owner* the name asked, in wire form, lower case; *end* where the question ends.
`parse_query` is the law. `parse_plain` reads the most common queries with fewer steps, gives the same tuple or None,
and leaves one thing open: whether *owner* is a name at all.
"""

from __future__ import annotations

import struct

from ..errors import WireError
from .constants import (
    AAAA,
    CLASS_IN,
    DNSSEC_OK,
    HEADER_SIZE,
    HTTPS,
    MX,
    NS,
    OPT,
    PTR,
    RD,
    SOA,
    SRV,
    TXT,
    A,
)
from .edns import Edns, parse_edns, parse_subnet
from .name import skip_name

Query = tuple[int, bytes, int, int, int, Edns | None]

unpack_header = struct.Struct(">HHHHHH").unpack_from
pack_head = struct.Struct(">HHHHH").pack  # flags and the four counts of a reply, whose id is copied
_unpack_question = struct.Struct(">HH").unpack_from
_RECORD = struct.Struct(">HHIH")  # type, class, TTL, length
_unpack_bare_opt = struct.Struct(">BHHIH").unpack_from
_unpack_opt = struct.Struct(">BHHIHHH").unpack_from  # with code and length of its first option


class BrokenQuery(WireError):
    """A query that must be answered FORMERR.

    *end* is where its question ends, 0 where none could be read; *opt* whether it has an OPT, so that the reply has one
    too, with *dnssec_ok* as it was. RFC 6891 7: "the response MUST include an OPT RR".
    """

    def __init__(self, text: str, end: int, opt: bool, dnssec_ok: bool) -> None:
        super().__init__(text)
        self.end, self.opt, self.dnssec_ok = end, opt, dnssec_ok


def parse_query(query: bytes) -> Query:
    """Read a whole *query* of at least 12 octets. Raises BrokenQuery for whatever is not well formed."""
    _, flags, questions, answers, authorities, additionals = unpack_header(query)
    at, end, opt = HEADER_SIZE, 0, None
    owner, qtype, qclass = b"", 0, 0
    try:
        for _ in range(questions):
            start, at = at, skip_name(query, at)
            if at + 4 > len(query):
                raise WireError("the question has no type and class")
            if not end:
                owner, (qtype, qclass) = query[start:at].lower(), _unpack_question(query, at)
                end = at + 4
            at += 4
        for i in range(answers + authorities + additionals):
            found, after = _skip_record(query, at)
            if found:
                if i < answers + authorities:
                    raise WireError("an OPT outside of the additional section")
                if opt is not None:  # RFC 6891 6.1.1: "If a query message with more than one OPT RR is received, a FORMERR"
                    raise WireError("two OPT records")
                opt = at, after
            at = after
        if at != len(query):
            raise WireError(f"{len(query) - at} octets after the last record")
        if questions != 1:  # RFC 9619 4 for more than one; none asks nothing
            raise WireError(f"{questions} questions")
        edns = None if opt is None else _parse_opt(query, *opt)
    except WireError as error:
        dnssec_ok = opt is not None and _has_dnssec_ok(query, opt[0])
        raise BrokenQuery(str(error), end if questions == 1 else 0, opt is not None, dnssec_ok) from error
    return flags, owner, end, qtype, qclass, edns


def _skip_record(query: bytes, at: int) -> tuple[bool, int]:
    """Is the record at *at* an OPT, and where does it end? Raises WireError."""
    at = skip_name(query, at)
    if at + _RECORD.size > len(query):
        raise WireError(f"the record whose type is at octet {at} runs past the end")
    rtype, _, _, length = _RECORD.unpack_from(query, at)
    at += _RECORD.size + length
    if at > len(query):
        raise WireError(f"a record of type {rtype} runs {at - len(query)} octets past the end")
    return rtype == OPT, at


def _has_dnssec_ok(query: bytes, at: int) -> bool:
    """Is DO set in the OPT at *at*, even if nothing else in it can be read?"""
    return query[at] == 0 and _RECORD.unpack_from(query, at + 1)[2] & DNSSEC_OK != 0


def _parse_opt(query: bytes, at: int, end: int) -> Edns:
    if query[at]:  # RFC 6891 6.1.2: NAME "MUST be 0 (root domain)"
        raise WireError("an OPT that does not belong to the root")
    _, size, flags, _ = _RECORD.unpack_from(query, at + 1)
    return parse_edns(size, flags, query[at + 1 + _RECORD.size : end])


# Flags and counts of an ordinary query: opcode 0, one question, no record or one, which should be an OPT; RD, AD, CD vary.
_PLAIN = {
    struct.pack(">HHHHH", flags, 1, 0, 0, additionals): (flags, additionals)
    for flags in (0, RD, 0x20, RD | 0x20, 0x10, RD | 0x10, 0x30, RD | 0x30)
    for additionals in (0, 1)
}
_QTYPES = {struct.pack(">HH", qtype, CLASS_IN): qtype for qtype in (A, AAAA, HTTPS, NS, SOA, PTR, MX, TXT, SRV)}


def parse_plain(query: bytes) -> Query | None:
    """What `parse_query` gives, for ordinary queries whose *owner* turns out to be a name; None for all others.

    A first octet 0 inside a label ends *owner* too early; then it is not a name, and cannot be found.
    """
    end = query.find(0, HEADER_SIZE) + 1
    head = _PLAIN.get(query[2:HEADER_SIZE])
    qtype = _QTYPES.get(query[end : end + 4])
    if head is None or qtype is None:
        return None
    flags, additionals = head
    owner = query[HEADER_SIZE:end].lower()
    end += 4
    if not additionals:
        return None if len(query) != end else (flags, owner, end, qtype, CLASS_IN, None)
    edns = _parse_plain_opt(query, end)
    return None if edns is None else (flags, owner, end, qtype, CLASS_IN, edns)


def _parse_plain_opt(query: bytes, at: int) -> Edns | None:
    """The OPT at *at* when it is the last of *query*, of version 0, and has no option or a client subnet only."""
    rest = len(query) - at
    if rest == 11:
        zero, rtype, size, flags, length = _unpack_bare_opt(query, at)
        if zero or rtype != OPT or flags & 0xFF0000 or length:
            return None
        return size, 0, flags & DNSSEC_OK != 0, None, False
    if rest < 19:
        return None
    zero, rtype, size, flags, length, code, octets = _unpack_opt(query, at)
    if zero or rtype != OPT or flags & 0xFF0000 or length != rest - 11 or code != 8 or octets != length - 4:
        return None
    try:
        return size, 0, flags & DNSSEC_OK != 0, parse_subnet(query[at + 11 :]), False
    except WireError:
        return None  # `parse_query` finds the same and says it

"""The query that an explained question stands for, and its reply as `dig` would show it.

Knows the octets of an ordinary query with a client subnet, and how a reply's records read. Knows nothing of how a
reply comes about.
"""

from __future__ import annotations

import struct

from .compiler.zones.presentation import record_text
from .config.model import Network
from .explanation import Reply
from .wire import constants as dns
from .wire.edns import SCOPE_AT, write_opt, write_option
from .wire.name import ROOT, skip_name

UDP_SIZE = 1232  # octets that our query says it takes, as dig does
RCODES = {
    dns.NOERROR: "NOERROR",
    dns.FORMERR: "FORMERR",
    dns.SERVFAIL: "SERVFAIL",
    dns.NXDOMAIN: "NXDOMAIN",
    dns.NOTIMP: "NOTIMP",
    dns.REFUSED: "REFUSED",
}
FLAGS = {dns.QR: "qr", dns.AA: "aa", dns.TC: "tc", dns.RD: "rd"}

Records = list[tuple[bytes, bytes]]  # owner and tail


def write_query(owner: bytes, rtype: int, subnet: Network | None) -> bytes:
    """A query with id 0, an OPT, and *subnet* as its client subnet (RFC 7871 6) if there is one."""
    option = b""
    if subnet is not None:
        family = dns.FAMILY_IPV4 if subnet.version == 4 else dns.FAMILY_IPV6
        address = subnet.network_address.packed[: (subnet.prefixlen + 7) // 8]
        option = write_option(dns.OPTION_SUBNET, struct.pack(">HBB", family, subnet.prefixlen, 0) + address)
    question = owner + struct.pack(">HH", rtype, dns.CLASS_IN)
    return struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 1) + question + write_opt(UDP_SIZE, 0, False, option)


def read_reply(octets: bytes) -> Reply:
    """What a reply of ours to `write_query` says. Raises WireError where it cannot be read, which would be our mistake."""
    _, flags, questions, *counts = struct.unpack_from(">HHHHHH", octets)
    at = dns.HEADER_SIZE
    for _ in range(questions):
        at = skip_name(octets, at) + 4
    sections = []
    for count in counts:
        records, at = _read_records(octets, at, count)
        sections.append(records)
    opts = [tail for _, tail in sections[2] if _type_of(tail) == dns.OPT]
    answers, authorities, additionals = (
        tuple(record_text(*record) for record in records if _type_of(record[1]) != dns.OPT) for records in sections
    )
    shown = tuple(word for bit, word in FLAGS.items() if flags & bit)
    return Reply(RCODES[flags & 15], shown, answers, authorities, additionals, _scope(opts), len(octets))


def _read_records(octets: bytes, at: int, count: int) -> tuple[Records, int]:
    """*count* records from *at* on, and where they end. Rdata of ours is never compressed, so a tail stands alone."""
    records: Records = []
    for _ in range(count):
        owner, start = read_name(octets, at), skip_name(octets, at)
        at = start + 10 + int.from_bytes(octets[start + 8 : start + 10], "big")
        records.append((owner, octets[start:at]))
    return records, at


def read_name(octets: bytes, at: int) -> bytes:
    """The name at *at* in a reply of ours, pointers followed; each leads backwards, so none of them can loop."""
    end, labels = skip_name(octets, at), []
    while octets[at] and octets[at] < 0xC0:
        labels.append(octets[at : at + 1 + octets[at]])
        at += 1 + octets[at]
    if not octets[at]:
        return b"".join((*labels, ROOT))
    return b"".join(labels) + read_name(octets, int.from_bytes(octets[end - 2 : end], "big") & 0x3FFF)


def _type_of(tail: bytes) -> int:
    return int.from_bytes(tail[:2], "big")


def _scope(opts: list[bytes]) -> int | None:
    """The scope of the client subnet, the only option that the query asked for; None without one."""
    option = opts[0][10:] if opts else b""
    return option[SCOPE_AT] if option else None

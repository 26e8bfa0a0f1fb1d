"""What PowerDNS is told of one name: shared by the pipe and the remote backend's protocol.

Knows the names, types and addresses that PowerDNS writes, and which of our records it wants for a type. Knows nothing of the
form of a question or a reply (`pdns_pipe`, `pdns_remote`), nor of sockets. PowerDNS finds zones, expands wildcards and
follows CNAMEs by itself; here one owner is answered, literally.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from ..errors import WireError
from ..lookup import FAILED, RECORDS, Client, PowerRecord, offers, records_at
from ..snapshot import Snapshot, Zone, Zones
from ..wire.constants import ANY, LABEL_SIZE, NAME_SIZE
from ..wire.name import ROOT, parse_name_text
from ..wire.rdata import rdata_of, ttl_of
from ..wire.rdata_text import write_generic, write_text

# type, TTL in seconds, text of the rdata, scope, authoritative
PowerText = tuple[int, int, str, int, bool]
# what `records_at` said, the zone's id (-1: no zone of ours), records
Power = tuple[int, int, list[PowerText]]

KEPT_TEXTS = 8192  # records whose text is kept; PowerDNS asks for the same ones again and again
LONGEST_KEPT = 512  # octets of such a record
_LENGTHS = tuple(bytes((length,)) for length in range(LABEL_SIZE + 1))


class Lookup(Protocol):
    """What a session asks. Every call looks at the snapshot that is served at that moment."""

    def find(self, name: bytes, qtype: int, client: Client) -> Power:
        """What PowerDNS is told of *qtype* at *name*; FAILED while nothing is served yet."""

    def zones(self) -> Sequence[Zone] | None:
        """All zones; None while nothing is served yet."""

    def zone(self, apex: bytes) -> Zone | None:
        """The zone with this *apex*, in lower-case wire form."""

    def describe(self) -> list[str]:
        """Lines about this daemon, for people; none of them is ``END``."""

    def misread(self) -> None:
        """A line came that is no question of this protocol."""


def find_records(snapshot: Snapshot, name: bytes, qtype: int, client: Client, draw: int) -> Power:
    """What PowerDNS is told of *qtype* at *name* (wire form, lower case): status, zone's id, records.

    ANY is every type of the owner. For another type it takes whatever comes for that type, so it gets that one alone: SOA
    only at an apex, NS only at apexes and cuts. That such an answer is empty is as static as the configuration, so that
    PowerDNS may remember it for all clients: a service has neither, whoever asks.
    """
    status, zone, found = records_at(snapshot, name, client, draw)
    if qtype != ANY:
        if status == FAILED:
            status, found = _find_beside(snapshot, name, qtype)
        found = [record for record in found if record[0] == qtype]
    zones = snapshot.zones
    records = [(rtype, *_write(zones, tail), scope, mine) for rtype, tails, scope, mine in found for tail in tails]
    return status, -1 if zone is None else zone_id(zone), records


def _find_beside(snapshot: Snapshot, name: bytes, qtype: int) -> tuple[int, list[PowerRecord]]:
    """What stands beside a service that fails: it is FAILED only for types that it could answer.

    PowerDNS looks for delegations at every name between the one asked and the apex; a failing service above must not make
    the names below it fail.
    """
    node = snapshot.zones.names[name]
    if offers(node.service, qtype):
        return FAILED, []
    rrset = node.rrsets.get(qtype)
    return RECORDS, [] if rrset is None else [(qtype, rrset.tails, 0, True)]


def _write(zones: Zones, tail: bytes) -> tuple[int, str]:
    """TTL and text of a record."""
    ttl, text = _read_kept(tail) if len(tail) <= LONGEST_KEPT else _read(tail)
    if text is None:
        rdata = rdata_of(tail)
        text = zones.texts.get((int.from_bytes(tail[:2], "big"), rdata)) or write_generic(rdata)
    return ttl, text


def _read(tail: bytes) -> tuple[int, str | None]:
    return ttl_of(tail), write_text(int.from_bytes(tail[:2], "big"), rdata_of(tail))


_read_kept = lru_cache(maxsize=KEPT_TEXTS)(_read)  # a function of the octets alone, so no snapshot makes it stale


def zone_id(zone: Zone) -> int:
    """What PowerDNS calls a zone by: above 0, as it takes 0 and -1 for "none"."""
    return zone.number + 1


def parse_qname(text: str) -> bytes | None:
    r"""A name as PowerDNS writes it, in lower-case wire form, with or without its final dot; None for what is no name.

    Its escapes are ``\.``, ``\\`` and ``\DDD``; some other octets that master files escape come as they are.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        return None
    if "\\" in text:
        try:
            return parse_name_text(text).lower()
        except WireError:
            return None
    if text == ".":
        return ROOT
    labels = text.lower().encode().removesuffix(b".").split(b".")
    if b"" in labels:
        return None
    try:
        name = b"".join([_LENGTHS[len(label)] + label for label in labels]) + ROOT
    except IndexError:
        return None
    return name if len(name) <= NAME_SIZE else None


def parse_client(remote: str, subnet: str | None) -> Client:
    """The client: *remote* is the resolver's address, *subnet* the client subnet as ``ADDRESS/BITS``. Raises WireError.

    Without ECS the subnet is the resolver itself, whole. Source 0 says "use nothing of my address" (RFC 7871 7.1.2). Either
    way the resolver decides, and so it does where the subnet cannot be read. Its address may be 0.0.0.0 or ::, which no map
    places, and may be an IPv4 one in IPv6 form; a *subnet* of that form is left to the range tables, which know that the
    scope is to be told in IPv6's bits.
    """
    peer_bits, peer = _parse_address(remote.partition("%")[0])
    if peer_bits == 128 and peer >> 32 == 0xFFFF:
        peer_bits, peer = 32, peer & 0xFFFF_FFFF
    if subnet is None:
        return 0, 0, 0, peer_bits, peer
    text, _, length = subnet.partition("/")
    if text == remote or not (length.isascii() and length.isdecimal() and len(length) <= 3):
        return 0, 0, 0, peer_bits, peer
    source = int(length)
    try:
        bits, address = _parse_address(text)
    except WireError:
        return 0, 0, 0, peer_bits, peer
    if not 0 < source <= bits:
        return 0, 0, 0, peer_bits, peer
    shift = bits - source
    return bits, address >> shift << shift, source, peer_bits, peer


def _parse_address(text: str) -> tuple[int, int]:
    """Bits of the family, and the address as a number."""
    try:
        if ":" in text:
            return 128, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 32, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):  # ValueError: a zero octet
        raise WireError(f"{text!r} is no address") from None

"""One line of the query log: a sampled query, decided once more by the functions that served it.

Knows what is told of a query, and how little of its client. Knows nothing of sampling, files or time. No answer depends on
how often it is asked, so a query, its peer and its draw give the same decision again on the snapshot that was served.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from .answer import LONGEST_CHAIN, Settings, Turn
from .compiler.zones.presentation import type_text
from .explain_name import asked_of_service, trace_name
from .lookup import ALIAS, RECORDS, Client, find, unwrap
from .metrics import TRANSPORTS
from .pick import hop_word
from .snapshot import Snapshot
from .wire import constants as dns
from .wire.edns import Subnet
from .wire.message import BrokenQuery, Query, parse_query
from .wire.name import name_text
from .wire.rdata import ANY_TAIL, RDATA_AT, rdata_of

RCODES = {
    dns.NOERROR: "NOERROR",
    dns.FORMERR: "FORMERR",
    dns.SERVFAIL: "SERVFAIL",
    dns.NXDOMAIN: "NXDOMAIN",
    dns.NOTIMP: "NOTIMP",
    dns.REFUSED: "REFUSED",
}
NEVER_DECIDED = frozenset((dns.FORMERR, dns.NOTIMP))  # nobody looked for the name


class Sampled(NamedTuple):
    """What is kept of a query until it is written: enough to decide it once more."""

    turn: Turn
    query: bytes
    peer: bytes
    draw: int
    flags: int  # second header word of the reply


class Prefixes(NamedTuple):
    """So many bits of a client are told."""

    v4: int
    v6: int


@dataclass(slots=True)
class Decided:
    """What services had to say along the chain of a query. Of several services the last counts: its members are called."""

    service: str | None = None
    datacenter: str | None = None
    members: tuple[str, ...] = ()
    scope: int = 0


def write_line(sampled: Sampled, prefixes: Prefixes) -> bytes:
    """*sampled* as a line of JSON, in ASCII and without any control character."""
    return json.dumps(tell(sampled, prefixes), separators=(",", ":")).encode() + b"\n"


def tell(sampled: Sampled, prefixes: Prefixes) -> dict[str, object]:
    """All that is told of *sampled*; name and type are None where they could not be read."""
    turn, query, peer, draw, flags = sampled
    parsed = _parse(query)
    owner, qtype, edns = (None, None, None) if parsed is None else (parsed[1], parsed[3], parsed[5])
    subnet = None if edns is None else edns[3]
    rcode = RCODES[flags & 15]
    if rcode == "NOERROR" and edns is not None and edns[1]:
        rcode = "BADVERS"  # RFC 6891 6.1.3: its upper bits stand in the OPT
    client = find_client(turn.settings, peer, subnet)
    decided = Decided()
    if parsed is not None and _was_decided(parsed, flags, rcode):
        decided = decide_again(turn.snapshot, parsed[1], parsed[3], client, draw)
    return {
        "time": _time_text(turn.now),
        "client": client_text(client, prefixes),
        "ecs": client[0] != 0,
        "name": None if owner is None else name_text(owner),
        "type": None if qtype is None else type_text(qtype),
        "service": decided.service,
        "datacenter": decided.datacenter,
        "members": decided.members,
        "scope": None if subnet is None else decided.scope if client[0] else 0,
        "rcode": rcode,
        "truncated": flags & dns.TC != 0,
        "transport": TRANSPORTS[turn.transport],
    }


def _parse(query: bytes) -> Query | None:
    try:
        return parse_query(query)
    except BrokenQuery:
        return None


def _was_decided(parsed: Query, flags: int, rcode: str) -> bool:
    """Did `answer` look for the name at all?"""
    qtype, qclass = parsed[3], parsed[4]
    return not (flags & 15 in NEVER_DECIDED or rcode == "BADVERS" or qclass != dns.CLASS_IN or qtype in {dns.AXFR, dns.IXFR})


def find_client(settings: Settings, peer: bytes, subnet: Subnet | None) -> Client:
    """The client as `answer` saw it: *subnet* where there is one that counts, beside *peer*."""
    peer_bits, peer_address = 8 * len(peer), int.from_bytes(peer, "big")
    if subnet is not None:
        _, bits, address, source = subnet
        # RFC 7871 7.1.2: source 0 asks that the client's address be used for nothing
        if source and settings.believes(peer_bits, peer_address):
            return bits, address, source, peer_bits, peer_address
    return 0, 0, 0, peer_bits, peer_address


def decide_again(snapshot: Snapshot, owner: bytes, qtype: int, client: Client, draw: int) -> Decided:
    """What was decided for *owner* and along its CNAME chain; `answer` follows it in the same way."""
    decided, seen = Decided(), {owner}
    for hop in range(LONGEST_CHAIN + 1):
        status, _, found, scope, number = find(snapshot, owner, qtype, client, hop_word(draw, hop))
        decided.scope = max(decided.scope, scope)
        if hop == LONGEST_CHAIN and status == ALIAS:
            break  # its CNAME is not in the reply any more
        match, node = trace_name(snapshot.zones, owner)
        if node is not None and node.service is not None and asked_of_service(match, node, qtype) is not None:
            given = found if status in {RECORDS, ALIAS} and found[0] is not ANY_TAIL else ()
            decided.members = tuple(map(member_text, given))
            if number >= 0:
                plan = snapshot.zones.pools[number]
                decided.service, decided.datacenter = plan.service, plan.datacenter
            else:
                decided.service, decided.datacenter = node.service.name, None
        if status != ALIAS:
            break
        owner = found[0][RDATA_AT:].lower()
        if owner in seen:
            break
        seen.add(owner)
    return decided


def member_text(tail: bytes) -> str:
    """The address or target in *tail*, which a service gave."""
    rdata = rdata_of(tail)
    match int.from_bytes(tail[:2], "big"):
        case dns.A:
            return socket.inet_ntop(socket.AF_INET, rdata)
        case dns.AAAA:
            return socket.inet_ntop(socket.AF_INET6, rdata)
    return name_text(rdata)


def client_text(client: Client, prefixes: Prefixes) -> str:
    """The network of *client*, of its subnet if that counted, with no more bits than *prefixes* allow.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64 ...) is cut as one: 2002:c000:204::/48 would tell it whole.
    """
    bits, address, source, peer_bits, peer_address = client
    if not bits:
        bits, address, source = peer_bits, peer_address, peer_bits
    most = prefixes.v4 if bits == 32 else prefixes.v6
    if bits == 128:
        _, offset = unwrap(address)
        if offset >= 0:
            most = min(most, offset + prefixes.v4)
    length = min(source, most)
    address = address >> bits - length << bits - length
    return f"{ip_address(address.to_bytes(bits // 8, 'big'))}/{length}"


def _time_text(now: float) -> str:
    """UTC, as in the log: ``2026-11-23T09:12:00.123Z``."""
    seconds, thousandths = divmod(int(now * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{thousandths:03}Z"

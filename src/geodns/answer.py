"""A query's octets to a reply's octets.

Knows header bits, sections and their order, name pointers, CNAME chains, EDNS, client subnet and truncation: the octets of a
reply are a law, docs/design/0002-bytes-of-a-reply.md, which the native engine keeps too. Knows nothing of sockets, clocks or
random sources: all of that is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from .lookup import ALIAS, FAILED, NODATA, NXDOMAIN, RECORDS, REFERRAL, REFUSED, Client, Found, find
from .metrics import (
    BLOCK,
    DROPPED_RESPONSE,
    DROPPED_SHORT,
    FAMILY_STEP,
    NAMED_ZONES,
    NO_ZONE,
    POOLS,
    SUBNET_STEP,
    TRANSPORT_STEP,
    TRUNCATED,
    ZONES,
)
from .pick import hop_word
from .snapshot import Cut, Snapshot
from .wire import constants as dns
from .wire.edns import Edns, write_opt, write_option, write_subnet
from .wire.message import BrokenQuery, Query, pack_head, parse_plain, parse_query
from .wire.name import is_name
from .wire.rdata import RDATA_AT

UDP, TCP = 0, 1  # Turn.transport
LONGEST_CHAIN = 8  # CNAME records in one reply

_QUESTION_POINTER = b"\xc0\x0c"
_FAMILIES = {dns.A: 0, dns.AAAA: FAMILY_STEP}  # what a query of this type adds to its slot; all others are the third family
_NEGATIVE = {NODATA: dns.AA, NXDOMAIN: dns.AA | dns.NXDOMAIN}  # flags by status
_OTHER_FAMILY = 2 * FAMILY_STEP
_RCODE_SLOTS = {dns.BADVERS: 6}  # in `metrics.RCODES`; all others stand where their number says

Section = tuple[int, int, int, int, bytes, int]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `server` says about replies; made once.

    *udp_size*: the longest UDP reply, octets, also announced in OPT. *nsid*: RFC 5001, none if empty. *client_subnet*:
    whether ECS is believed, or the peers of whom it is.
    """

    udp_size: int = 1232
    nsid: bytes | None = None
    client_subnet: bool | tuple[IPv4Network | IPv6Network, ...] = True
    believed: tuple[tuple[int, int, int], ...] = field(
        init=False
    )  # (octets of an address, shift, prefix) of each peer's network
    bare_opts: tuple[bytes, bytes] = field(init=False)  # an OPT without options: DO clear, DO set

    def __post_init__(self) -> None:
        networks = () if isinstance(self.client_subnet, bool) else self.client_subnet
        believed = tuple(
            (n.max_prefixlen // 8, n.max_prefixlen - n.prefixlen, int(n.network_address) >> n.max_prefixlen - n.prefixlen)
            for n in networks
        )
        object.__setattr__(self, "believed", believed)
        object.__setattr__(self, "bare_opts", tuple(write_opt(self.udp_size, 0, do, b"") for do in (False, True)))

    def believes(self, bits: int, peer: int) -> bool:
        """Does a client subnet from *peer*, an address of so many *bits*, count?"""
        return self.client_subnet is True or any(
            bits == 8 * octets and peer >> shift == prefix for octets, shift, prefix in self.believed
        )


class Turn(NamedTuple):
    """What is read once a batch. *now* is wall-clock time in seconds."""

    snapshot: Snapshot
    transport: int
    settings: Settings
    now: float
    tally: list[int]  # of `metrics.Counters`, made for this snapshot's zones


def answer(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
    """Return the reply to *query* from *peer* (4 or 16 octets), or None when silence is the right reply.

    Never raises, whatever *query* holds. *draw* has 64 uniform bits.
    """
    parsed = parse_plain(query)
    if parsed is None:
        return _answer_rare(turn, query, peer, draw)
    owner, names = parsed[1], turn.snapshot.zones.names
    # A label before a name that exists makes a name, if both are short enough: the many names that nobody has need no walk.
    if owner in names or (owner[owner[0] + 1 :] in names and owner[0] <= dns.LABEL_SIZE and len(owner) <= dns.NAME_SIZE):
        return _reply(turn, query, parsed, peer, draw)
    return _reply(turn, query, parsed, peer, draw) if is_name(owner) else _answer_rare(turn, query, peer, draw)


def _answer_rare(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
    """All that is not an ordinary query: read in full, then refused, or answered as if it were ordinary."""
    tally = turn.tally
    if len(query) < dns.HEADER_SIZE:
        tally[DROPPED_SHORT] += 1
        return None
    flags = query[2] << 8 | query[3]
    if flags & dns.QR:  # RFC 1035 4.1.1; a reply to a reply would be a loop between two servers
        tally[DROPPED_RESPONSE] += 1
        return None
    try:
        parsed = parse_query(query)
    except BrokenQuery as error:
        rcode = dns.NOTIMP if flags & dns.OPCODE_MASK else dns.FORMERR
        return _write_error(turn, query, error.end, rcode, error.dnssec_ok if error.opt else None)
    _, _, end, qtype, qclass, edns = parsed
    dnssec_ok = None if edns is None else edns[2]
    if flags & dns.OPCODE_MASK:
        return _write_error(turn, query, end, dns.NOTIMP, dnssec_ok)
    if edns is not None and edns[1]:  # RFC 6891 6.1.3: "respond with RCODE=BADVERS"
        return _write_error(turn, query, end, dns.BADVERS, dnssec_ok)
    if qclass != dns.CLASS_IN or qtype in {dns.AXFR, dns.IXFR}:
        tally[NO_ZONE + turn.transport * TRANSPORT_STEP + _FAMILIES.get(qtype, _OTHER_FAMILY) + dns.REFUSED] += 1
        return _finish(turn, query, parsed, (dns.REFUSED, 0, 0, 0, b"", 0))
    return _reply(turn, query, parsed, peer, draw)


def _reply(turn: Turn, query: bytes, parsed: Query, peer: bytes, draw: int) -> bytes:
    """The reply to a well-formed query of class IN."""
    snapshot, transport, settings, _, tally = turn
    _, owner, end, qtype, _, edns = parsed
    slot = transport * TRANSPORT_STEP + _FAMILIES.get(qtype, _OTHER_FAMILY)
    client: Client = (0, 0, 0, 8 * len(peer), int.from_bytes(peer, "big"))
    if edns is not None and edns[3] is not None:
        _, bits, address, source = edns[3]
        # RFC 7871 7.1.2: source 0 asks that the client's address be used for nothing. The usual case without a call.
        if source and (settings.client_subnet is True or settings.believes(client[3], client[4])):
            client = (bits, address, source, client[3], client[4])
            slot += 2 * SUBNET_STEP
        else:
            slot += SUBNET_STEP
    found = find(snapshot, owner, qtype, client, draw)
    status, zone, what, scope, pool = found
    if zone is None:
        slot += NO_ZONE
    else:
        number = zone.number
        slot += ZONES + BLOCK * (number if number < NAMED_ZONES else NAMED_ZONES)
    if not client[0]:
        scope = 0
    if status == RECORDS:
        tally[slot] += 1
        if pool >= 0:
            tally[POOLS + pool] += 1
        body = _QUESTION_POINTER + what[0] if len(what) == 1 else _QUESTION_POINTER.join((b"", *what))
        return _finish(turn, query, parsed, (dns.AA, len(what), 0, 0, body, scope))
    if status in _NEGATIVE and zone is not None:
        flags = _NEGATIVE[status]
        tally[slot + (flags & 15)] += 1
        body = _write_suffix(dns.HEADER_SIZE, owner, zone.apex) + what
        return _finish(turn, query, parsed, (flags, 0, 1, 0, body, scope))
    sections = _write_sections(turn, query[:end], owner, qtype, client, draw, found)
    tally[slot + (sections[0] & 15)] += 1
    return _finish(turn, query, parsed, sections if client[0] else (*sections[:5], 0))


def _finish(turn: Turn, query: bytes, parsed: Query, sections: Section) -> bytes:
    """Header, question as asked, *sections*, OPT; or, where that is too long, header, question and OPT with TC set.

    *sections*: flags with the rcode, counts of answer, authority and additional records, their octets, the scope.
    """
    settings = turn.settings
    query_flags, _, end, _, _, edns = parsed
    flags, answers, authorities, additionals, body, scope = sections
    flags |= dns.QR | query_flags & dns.RD
    if edns is None:
        opt, head = b"", pack_head(flags, 1, answers, authorities, additionals)
    else:
        opt, head = _write_opt(settings, edns, scope), pack_head(flags, 1, answers, authorities, additionals + 1)
    reply = b"".join((query[:2], head, query[12:end], body, opt))
    if len(reply) <= dns.UDP_SIZE:
        return reply
    limit = _limit(turn, edns)
    if len(reply) <= limit:
        return reply
    # RFC 2181 9: TC is for what "could not be included in its entirety". We drop all records, not only those that do not
    # fit: nobody is served by half an rrset, and RFC 6891 7 wants the OPT to stay.
    turn.tally[TRUNCATED] += 1
    reply = b"".join((query[:2], pack_head(flags | dns.TC, 1, 0, 0, edns is not None), query[12:end], opt))
    if len(reply) > limit and edns is not None:  # the longest NSID with the longest name: it was optional
        opt = _write_opt(settings, (*edns[:4], False), scope)
        reply = b"".join((query[:2], pack_head(flags | dns.TC, 1, 0, 0, 1), query[12:end], opt))
    return reply


def _limit(turn: Turn, edns: Edns | None) -> int:
    """How many octets a reply may have."""
    if turn.transport == TCP:
        return dns.TCP_SIZE
    if edns is None:
        return dns.UDP_SIZE
    # RFC 6891 6.2.3: "Values lower than 512 MUST be treated as equal to 512."
    return min(max(edns[0], dns.UDP_SIZE), turn.settings.udp_size)


def _write_opt(settings: Settings, edns: Edns, scope: int) -> bytes:
    """Our OPT: client subnet as it came with *scope*, then NSID, each only if asked for."""
    _, _, dnssec_ok, subnet, nsid = edns
    bare = settings.bare_opts[dnssec_ok]
    if nsid and settings.nsid:
        options = b"" if subnet is None else write_subnet(subnet, scope)
        return write_opt(settings.udp_size, 0, dnssec_ok, options + write_option(dns.OPTION_NSID, settings.nsid))
    return bare if subnet is None else bare[:-1] + len(subnet[0]).to_bytes(1, "big") + write_subnet(subnet, scope)


def _write_error(turn: Turn, query: bytes, end: int, rcode: int, dnssec_ok: bool | None) -> bytes:
    """An error with the question, if it could be read (*end* not 0), and a bare OPT unless *dnssec_ok* is None."""
    # What was not read in full has no type that could be trusted: it is counted with the others.
    turn.tally[NO_ZONE + turn.transport * TRANSPORT_STEP + _OTHER_FAMILY + _RCODE_SLOTS.get(rcode, rcode)] += 1
    flags = dns.QR | (query[2] << 8 | query[3]) & (dns.OPCODE_MASK | dns.RD) | rcode & 15
    head = pack_head(flags, 1 if end else 0, 0, 0, dnssec_ok is not None)
    opt = b"" if dnssec_ok is None else write_opt(turn.settings.udp_size, rcode >> 4, dnssec_ok, b"")
    return b"".join((query[:2], head, query[12:end], opt))


def _write_sections(
    turn: Turn, question: bytes, owner: bytes, qtype: int, client: Client, draw: int, found: Found
) -> Section:
    """Whatever is not records at the first name: chains, negative answers, referrals, refusals. *found* is the first hop.

    *question* is the query up to the end of its question, so that offsets in it are those of the reply.
    """
    status, zone, what, scope, pool = found
    body, count, at, seen = bytearray(question), 0, dns.HEADER_SIZE, {owner}
    pools: list[int] = []  # who has a record in this reply
    while status == ALIAS and count < LONGEST_CHAIN:
        body += _write_pointer(at, owner)
        at = len(body) + RDATA_AT
        body += what[0]
        pools.append(pool)
        count += 1
        owner = what[0][RDATA_AT:].lower()
        if owner in seen:
            break  # RFC 1034 3.6.2: "CNAME loops signalled as an error"; we end them, as resolvers find out by themselves
        seen.add(owner)
        status, zone, what, longer, pool = find(turn.snapshot, owner, qtype, client, hop_word(draw, count))
        scope = max(scope, longer)
    flags = (
        dns.AA if count else 0
    )  # RFC 1035 4.1.1: AA "corresponds to the name which matches the query name, or the first owner"
    answers, authorities, additionals = count, 0, 0
    if status == RECORDS:
        pointer = _write_pointer(at, owner)
        body += pointer.join((b"", *what))
        answers += len(what)
        pools.append(pool)
    elif status in _NEGATIVE and zone is not None:
        flags = _NEGATIVE[status]  # RFC 6604 3: the rcode is that of the last name of the chain
        body += _write_suffix(at, owner, zone.apex) + what
        authorities = 1
    elif status == REFERRAL:
        authorities, additionals = _write_referral(body, at, owner, what)
    elif status == FAILED:
        return dns.SERVFAIL, 0, 0, 0, b"", scope
    elif status == REFUSED and not count:
        flags = dns.REFUSED
    for number in pools:
        if number >= 0:
            turn.tally[POOLS + number] += 1
    return flags, answers, authorities, additionals, bytes(body[len(question) :]), scope


def _write_referral(body: bytearray, at: int, owner: bytes, cut: Cut) -> tuple[int, int]:
    """Add the cut's NS and glue to *body*; how many of each. Glue owners point at the NS rdata that names them."""
    cut_owner = _write_suffix(at, owner, cut.name)
    places: dict[bytes, int] = {}
    for tail in cut.ns.tails:
        body += cut_owner
        places.setdefault(tail[RDATA_AT:].lower(), len(body) + RDATA_AT)
        body += tail
    count = 0
    for name, tails in cut.glue:
        pointer = _write_pointer(places.get(name, dns.POINTER_REACH), name)
        body += pointer.join((b"", *tails))
        count += len(tails)
    return len(cut.ns.tails), count


def _write_pointer(at: int, name: bytes) -> bytes:
    """A pointer to octet *at*, where *name* stands; beyond a pointer's reach the name itself, RFC 1035 4.1.4."""
    return (0xC000 | at).to_bytes(2, "big") if at < dns.POINTER_REACH else name


def _write_suffix(at: int, owner: bytes, name: bytes) -> bytes:
    """A pointer to the part of *owner*, which stands at octet *at*, that is *name*; the root takes one octet as it is."""
    if len(name) == 1 or not owner.endswith(name):
        return name
    return _write_pointer(at + len(owner) - len(name), name)

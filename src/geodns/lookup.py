"""Which records answer a name for a client.

Knows: zones, cuts, wildcards, services, client ranges. Knows nothing of header bits, EDNS, truncation or sockets. PowerDNS
enters at records_at(), because it does its own DNS thinking. Nothing here has side effects; chance is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from .pick import LOW, client_key, pick_members, pick_total, rank_sticky, weights_of
from .ranges import V4_SHIFT, V6_BITS, V6_SHIFT, find_range
from .snapshot import (
    ADDRESSES,
    ALL,
    DEAD,
    DEFAULT,
    FALLBACK,
    FIRST_ROW,
    JOINED,
    PEER,
    SERVFAIL,
    UNWRAP,
    UP,
    Choice,
    Node,
    Service,
    Snapshot,
    Table,
    Zone,
    Zones,
)
from .wire.constants import ANY, CNAME, DS, EMPTY
from .wire.name import label_starts
from .wire.rdata import ANY_TAIL, EMPTY_TAIL, lower_ttl, lower_ttls

# What find() and records_at() found.
RECORDS, ALIAS, NODATA, NXDOMAIN, REFERRAL, REFUSED, FAILED = range(7)

# bits (0: no usable subnet, else 32 or 128), address, source prefix length, bits and address of the peer
Client = tuple[int, int, int, int, int]
Decision = tuple[int, int, int, int, int, int, int, int]
# The third is what the status says: tails, one SOA tail, or a Cut.
Found = tuple[int, Zone | None, Any, int, int]
Served = tuple[int, tuple[bytes, ...], int, int, int]
PowerRecord = tuple[int, tuple[bytes, ...], int, bool]

STICKY_V4, STICKY_V6 = 24, 56  # sticky services know a client by so many bits
_APART = frozenset((DS, ANY))  # types that are looked for in their own way


def find(snapshot: Snapshot, owner: bytes, qtype: int, client: Client, draw: int) -> Found:
    """What answers *qtype* at *owner* (wire form, lower case): (status, zone, found, scope, pool).

    found is, for RECORDS and ALIAS (a CNAME answered instead of the type asked), a tuple of tails; for NODATA and NXDOMAIN
    the SOA's tail, its TTL already lowered; for REFERRAL the Cut; else (). zone is None for REFUSED alone. pool is the
    number of the pool that answered, or -1. *draw* is the word of this hop of the chain.
    """
    node = snapshot.zones.names.get(owner)
    if node is None:
        return _find_absent(snapshot, owner, qtype, client, draw)
    if node.cut is not None or qtype in _APART:
        return _find_apart(snapshot, node, qtype, client, draw)
    return _find_at(snapshot, node, qtype, client, draw)


def _find_at(snapshot: Snapshot, node: Node, qtype: int, client: Client, draw: int) -> Found:
    """What *node*, which no cut stands above, says of *qtype*; also for a name that a wildcard speaks for."""
    rrset = node.rrsets.get(qtype)
    if rrset is not None:
        return RECORDS, node.zone, rrset.tails, 0, -1
    if node.service is not None:
        status, tails, scope, pool, ttl = find_service(snapshot, node.service, qtype, client, draw)
        if status == NODATA:
            return NODATA, node.zone, lower_ttl(node.zone.negative_soa, ttl), scope, -1
        return status, node.zone, tails, scope, pool
    alias = node.rrsets.get(CNAME)
    if alias is not None:
        return ALIAS, node.zone, alias.tails, 0, -1
    return NODATA, node.zone, node.zone.negative_soa, 0, -1


def _find_absent(snapshot: Snapshot, owner: bytes, qtype: int, client: Client, draw: int) -> Found:
    """The answer for a name that does not exist, RFC 4592 2.2.1: the closest encloser's wildcard speaks, or nobody."""
    node = find_closest(snapshot.zones, owner)
    if node is None:
        return REFUSED, None, (), 0, -1
    speaker = node.wildcard if node.cut is None else node
    if speaker is None:
        return NXDOMAIN, node.zone, node.zone.negative_soa, 0, -1
    if speaker.cut is not None:
        return REFERRAL, speaker.zone, speaker.cut, 0, -1
    if qtype == ANY:
        return _find_any(snapshot, speaker, client, draw)
    return _find_at(snapshot, speaker, qtype, client, draw)


def find_closest(zones: Zones, owner: bytes) -> Node | None:
    """The closest name above *owner* that exists, whether or not *owner* does; None outside of all zones.

    No name has more than `deepest` labels, so a longer one is looked up from there: a miss has bounded cost.
    """
    names = zones.names
    node = names.get(owner[owner[0] + 1 :])
    if node is None:
        starts = label_starts(owner)
        for start in starts[max(2, len(starts) - 1 - zones.deepest) :]:
            node = names.get(owner[start:])
            if node is not None:
                break
    return node


def _find_apart(snapshot: Snapshot, node: Node, qtype: int, client: Client, draw: int) -> Found:
    """At and below cuts, and for DS and ANY."""
    cut, zone = node.cut, node.zone
    if cut is not None:
        if qtype != DS or node.name != cut.name:
            return REFERRAL, zone, cut, 0, -1
        # RFC 4035 3.1.4.1: DS is answered on the parent's side of a cut.
        return (NODATA, zone, zone.negative_soa, 0, -1) if cut.ds is None else (RECORDS, zone, cut.ds.tails, 0, -1)
    if qtype == ANY:
        return _find_any(snapshot, node, client, draw)
    if node.name == zone.apex:
        return _find_parents_ds(snapshot, zone)
    return _find_at(snapshot, node, qtype, client, draw)


def _find_parents_ds(snapshot: Snapshot, zone: Zone) -> Found:
    """DS at our own apex is the parent's. RFC 4035 3.1.4.1: where we are not authoritative for that, it is no data."""
    if zone.parent is None:
        return NODATA, zone, zone.negative_soa, 0, -1
    above = find_closest(snapshot.zones, zone.apex)
    if above is not None and above.cut is not None:
        return REFERRAL, above.zone, above.cut, 0, -1
    if zone.parent_ds is None:
        return NODATA, zone.parent, zone.parent.negative_soa, 0, -1
    return RECORDS, zone.parent, zone.parent_ds.tails, 0, -1


def _find_any(snapshot: Snapshot, node: Node, client: Client, draw: int) -> Found:
    """RFC 8482 4.2: "If there is no CNAME present at the owner name ... a single HINFO"; else the CNAME."""
    alias, scope = node.rrsets.get(CNAME), 0
    if alias is not None:
        return RECORDS, node.zone, alias.tails, 0, -1
    if node.service is not None and offers(node.service, CNAME):
        status, tails, scope, pool, _ = find_service(snapshot, node.service, CNAME, client, draw)
        if status != NODATA:
            return status, node.zone, tails, scope, pool
    if not node.rrsets and node.service is None:
        return NODATA, node.zone, node.zone.negative_soa, 0, -1
    return RECORDS, node.zone, (ANY_TAIL,), scope, -1


def find_service(snapshot: Snapshot, service: Service, qtype: int, client: Client, draw: int) -> Served:
    """What *service* says of *qtype* to *client*: (status, tails, scope, pool, ttl).

    status is RECORDS, ALIAS, NODATA or FAILED; ttl in seconds, also that of a negative answer. NODATA has the order's scope
    if the service could ever answer the type, else 0.
    """
    rank, _, number, ttl, scope, _, bits, address = decide(snapshot, service, client, draw)
    if service.all_down != ALL:
        scope = _widen(snapshot, service.fallback, client, scope)
        if rank == DEAD and number >= 0:
            return _find_last_resort(snapshot, service, qtype, client, draw, scope, ttl)
    if number >= 0:
        pool = snapshot.choices.pools[number]
        status, choice, answers = RECORDS, pool.slots.get(qtype), service.answers
        if choice is None or qtype == CNAME:
            # RFC 1034 3.6.2: a name has one canonical name, so a pool of targets answers with one.
            status, choice, answers = RECORDS if qtype == CNAME else ALIAS, pool.slots.get(CNAME), 1
        if choice is not None:
            tails = _pick_sticky(choice, answers, bits, address) if service.sticky else pick_members(choice, answers, draw)
            return status, tails if ttl == pool.ttl else lower_ttls(tails, ttl), scope, number, ttl
    return NODATA, (), scope if offers(service, qtype) else 0, -1, ttl


def _pick_sticky(choice: Choice, answers: int, bits: int, address: int) -> tuple[bytes, ...]:
    weights = weights_of(choice.totals)
    ranked = [i for i in rank_sticky(choice.keys, weights, client_key(bits, address)) if weights[i]]
    return tuple(choice.tails[i] for i in (ranked[:answers] if answers else ranked))


def _widen(snapshot: Snapshot, fallback: Service | None, client: Client, scope: int) -> int:
    """The longest of *scope* and those of all fallback services: who answers is momentary health, which never counts."""
    while fallback is not None:
        scope = max(scope, find_order(snapshot.maps.tables[fallback.table], client, *least_scopes(snapshot, fallback))[1])
        fallback = fallback.fallback
    return scope


def _find_last_resort(
    snapshot: Snapshot, service: Service, qtype: int, client: Client, draw: int, scope: int, ttl: int
) -> Served:
    """Everything is dead, and the service says what happens then."""
    if service.all_down == SERVFAIL:
        return FAILED, (), scope, -1, 0
    if service.all_down == FALLBACK and service.fallback is not None:
        status, tails, _, pool, other = find_service(snapshot, service.fallback, qtype, client, draw)
        if status == NODATA and not offers(service, qtype):
            scope = 0
        return status, lower_ttls(tails, ttl), scope, pool, min(ttl, other)
    tails = service.last_resort.get(qtype, ()) if service.all_down == ADDRESSES else ()
    if tails:
        return RECORDS, tails, scope, -1, service.ttl_min
    return NODATA, (), scope if offers(service, qtype) else 0, -1, service.ttl_min


def offers(service: Service | None, qtype: int) -> bool:
    """Could *service* ever answer *qtype*, for some client and some health, itself or by a fallback?"""
    while service is not None:
        if qtype in service.types or CNAME in service.types or qtype in service.last_resort:
            return True
        service = service.fallback
    return False


def least_scopes(snapshot: Snapshot, service: Service) -> tuple[int, int]:
    """The shortest scopes, IPv4 and IPv6, that are true for *service*: a sticky one knows networks if it has a choice."""
    if service.sticky and (service.choice or snapshot.maps.tables[service.table].first_plain > FIRST_ROW):
        return STICKY_V4, STICKY_V6
    return 0, 0


def decide(snapshot: Snapshot, service: Service, client: Client, draw: int) -> Decision:
    """Which datacenter answers: (rank, datacenter, pool, ttl, scope, order, bits, address).

    The four passes are the ranks of pools: the lowest rank wins, then the first tier that has it. datacenter and pool are -1
    where the order is empty. ttl is the lowest of the chosen pool and the preferred ones that were passed over. The last two
    are the client network as it was used. A rank of DEAD leaves it to the caller to look at `service.all_down`.
    """
    table = snapshot.maps.tables[service.table]
    least_v4, least_v6 = least_scopes(snapshot, service) if service.sticky else (0, 0)
    order, scope, bits, address = find_order(table, client, least_v4, least_v6)
    first, end = table.rows[order], table.rows[order + 1]
    # A first tier of one datacenter, whose pool is up: nothing else need be looked at. DEFAULT, which all clients from
    # special-purpose blocks have, stands below `first_plain` without having weights, most often.
    if first < end and (order >= table.first_plain or first + 1 == end or not table.weights[first + 1] & JOINED):
        datacenter = table.steps[first]
        number = service.pool_of[datacenter]
        if number >= 0:
            pool = snapshot.choices.pools[number]
            if pool.rank == UP:
                return UP, datacenter, number, pool.ttl, scope, order, bits, address
    rank, datacenter, number, ttl = _decide_by_rank(snapshot, service, order, draw, client_key(bits, address))
    return rank, datacenter, number, ttl, scope, order, bits, address


def _decide_by_rank(snapshot: Snapshot, service: Service, order: int, draw: int, client: int) -> tuple[int, int, int, int]:
    """(rank, datacenter, pool, ttl) by looking at every tier until one has a pool that is up."""
    pools, best, passed = snapshot.choices.pools, DEAD + 1, service.ttl_min
    eligible: list[tuple[int, int, int]] = []
    before: list[int] = []  # TTLs of the pools in better tiers
    for tier in read_tiers(snapshot.maps.tables[service.table], order):
        members = [(datacenter, weight, service.pool_of[datacenter]) for datacenter, weight in tier]
        members = [member for member in members if member[2] >= 0]
        rank = min((pools[number].rank for _, _, number in members), default=best)
        if rank < best:
            best, eligible = rank, [member for member in members if pools[member[2]].rank == rank]
            worse = [pools[number].ttl for _, _, number in members if pools[number].rank != rank]
            passed = min((*before, *worse), default=LOW)
            if rank == UP:
                break
        before += [pools[number].ttl for _, _, number in members]
    if not eligible:
        return DEAD, -1, -1, service.ttl_min
    datacenter, _, number = eligible[0] if len(eligible) == 1 else _pick_tier(service, eligible, draw, client)
    if best == DEAD and service.all_down == FALLBACK:
        passed = min(before)  # all of them are passed over
    return best, datacenter, number, min(passed, pools[number].ttl)


def _pick_tier(service: Service, eligible: list[tuple[int, int, int]], draw: int, client: int) -> tuple[int, int, int]:
    """One datacenter of a weighted tier, by the high half of the word or, if sticky, for this client network."""
    weights = [weight for _, weight, _ in eligible]
    if service.sticky:
        keys = [service.key ^ service.datacenter_keys[datacenter] for datacenter, _, _ in eligible]
        return eligible[rank_sticky(keys, weights, client)[0]]
    return eligible[pick_total(tuple(accumulate(weights)), draw >> 32)]


def read_tiers(table: Table, order: int) -> Iterator[list[tuple[int, int]]]:
    """The tiers of an order, best first, each a list of (datacenter, weight)."""
    rows, steps, weights = table.rows, table.steps, table.weights
    tier: list[tuple[int, int]] = []
    for at in range(rows[order], rows[order + 1]):
        weight = weights[at] if order < table.first_plain else 1
        if tier and not weight & JOINED:
            yield tier
            tier = []
        tier.append((steps[at], weight & ~JOINED))
    if tier:
        yield tier


def find_order(table: Table, client: Client, least_v4: int, least_v6: int) -> tuple[int, int, int, int]:
    """The order for *client*: (order number, scope, bits, address); the last two are the client network as it was used.

    The subnet decides, else the peer; a special block in the subnet leaves it to the peer, with the scope of the subnet's
    own range. The scope is that of the address looked up, at least *least_v4* or *least_v6*, and 0 only if all clients have
    one order. A scope for the peer's own address is a matter of PowerDNS; on the wire there is none.
    """
    bits, address, source, peer_bits, peer_address = client
    if not bits:
        bits, address, source = peer_bits, peer_address, peer_bits
    if bits == 32:
        ranges, least = table.v4, least_v4
        i, scope = find_range(ranges, address, V4_SHIFT, 32)
    else:
        ranges, least = table.v6, least_v6
        i, scope = find_range(ranges, address >> V6_BITS, V6_SHIFT, V6_BITS)
    order = ranges.orders[i]
    if order == UNWRAP:
        order, scope, bits, address, least = _find_embedded(table, address, source, least_v4, least_v6)
    if order == PEER:  # without a subnet it was the peer that was looked up
        order, bits, address = _find_peer(table, peer_bits, peer_address) if client[0] else (DEFAULT, bits, address)
    if scope < least:  # max() would cost as much as the rest  # noqa: PLR1730
        scope = least
    if table.uniform and not least:
        return order, 0, bits, address
    return order, scope or 1, bits, address


def _find_embedded(table: Table, address: int, source: int, least_v4: int, least_v6: int) -> tuple[int, int, int, int, int]:
    """(order or PEER, scope, bits, address, least scope) for an IPv6 address that may carry an IPv4 one."""
    embedded, offset = unwrap(address)
    if offset < 0:
        return PEER, 128, 128, address, least_v6
    if source < offset + 8:
        return PEER, offset + 8, 128, address, least_v6
    i, scope = find_range(table.v4, embedded, V4_SHIFT, 32)
    order = table.v4.orders[i]
    return PEER if order == UNWRAP else order, scope + offset, 32, embedded, least_v4 + offset if least_v4 else 0


def _find_peer(table: Table, bits: int, address: int) -> tuple[int, int, int]:
    """(order, bits, address) for the peer itself; DEFAULT where its address says nothing either."""
    if bits == 128:
        i, _ = find_range(table.v6, address >> V6_BITS, V6_SHIFT, V6_BITS)
        order = table.v6.orders[i]
        if order != UNWRAP:
            return DEFAULT if order == PEER else order, bits, address
        embedded, offset = unwrap(address)
        if offset < 0:
            return DEFAULT, bits, address
        bits, address = 32, embedded
    i, _ = find_range(table.v4, address, V4_SHIFT, 32)
    order = table.v4.orders[i]
    return DEFAULT if order in {PEER, UNWRAP} else order, bits, address


# The upper 96 bits of forms whose last 32 are an IPv4 address.
_EMBEDDING = frozenset(
    (
        0,  # ::a.b.c.d, IPv4-compatible, RFC 4291 2.5.5.1
        0xFFFF,  # ::ffff:a.b.c.d, IPv4-mapped, RFC 4291 2.5.5.2
        0xFFFF_0000,  # ::ffff:0:a.b.c.d, IPv4-translated (SIIT), RFC 2765 2.1
        0x0064_FF9B << 64,  # 64:ff9b::a.b.c.d, NAT64, RFC 6052 2.1
    )
)


def unwrap(address: int) -> tuple[int, int]:
    """The IPv4 address inside a 128-bit *address*, and the bit at which it begins; -1 if there is none of a known form."""
    if address >> 112 == 0x2002:  # 6to4, RFC 3056 2
        return address >> 80 & LOW, 16
    if address >> 32 in _EMBEDDING:
        return address & LOW, 96
    if address >> 96 == 0x2001_0000:  # Teredo, RFC 4380 4: "Each bit in the address ... is reversed"
        return ~address & LOW, 96
    return 0, -1


def records_at(snapshot: Snapshot, owner: bytes, client: Client, draw: int) -> tuple[int, Zone | None, list[PowerRecord]]:
    """All that stands at *owner* literally, of every type: (status, zone, [(rtype, tails, scope, authoritative)]).

    status is RECORDS, NXDOMAIN (no such owner: no wildcard is expanded, nothing is followed) or FAILED (`all_down:
    servfail`). A name that exists never has an empty list: PowerDNS would take it for missing, for all clients. Where
    nothing ever stands the substitute has scope 0; where a service has nothing for this client 1. What health, chance or
    place can change has a scope of at least 1, which keeps it out of caches that do not know clients.
    """
    node = snapshot.zones.names.get(owner)
    if node is None:
        return NXDOMAIN, None, []
    zone = node.zone
    if node.cut is not None:
        return RECORDS, zone, _records_at_cut(node)
    records: list[PowerRecord] = [(rtype, rrset.tails, 0, True) for rtype, rrset in node.rrsets.items()]
    if owner == zone.apex and zone.parent_ds is not None:
        records.append((DS, zone.parent_ds.tails, 0, True))
    if node.service is not None:
        for rtype in _types(node.service):
            status, tails, scope, _, _ = find_service(snapshot, node.service, rtype, client, draw)
            if status == FAILED:
                return FAILED, zone, []
            if status == RECORDS:
                records.append((rtype, tails, scope or 1, True))
        if not any(scope for _, _, scope, _ in records):
            records.append((EMPTY, (EMPTY_TAIL,), 1, True))
    return RECORDS, zone, records or [(EMPTY, (EMPTY_TAIL,), 0, True)]


def _types(service: Service | None) -> list[int]:
    """All types that *service* can answer with, itself or by a fallback."""
    types: set[int] = set()
    while service is not None:
        types |= service.types | service.last_resort.keys()
        service = service.fallback
    return sorted(types)


def _records_at_cut(node: Node) -> list[PowerRecord]:
    """NS and DS at a cut, glue below it; only the DS is ours (RFC 4035 3.1.4.1)."""
    cut = node.cut
    assert cut is not None
    records: list[PowerRecord] = []
    if node.name == cut.name:
        records.append((cut.ns.rtype, cut.ns.tails, 0, False))
        if cut.ds is not None:
            records.append((cut.ds.rtype, cut.ds.tails, 0, True))
    for owner, tails in cut.glue:
        if owner == node.name:
            for rtype in dict.fromkeys(int.from_bytes(tail[:2], "big") for tail in tails):
                same = tuple(tail for tail in tails if int.from_bytes(tail[:2], "big") == rtype)
                records.append((rtype, same, 0, False))
    return records or [(EMPTY, (EMPTY_TAIL,), 0, True)]

# Which records answer a name for a client: geodns.lookup and geodns.ranges, without the interpreter.
#
# Knows zones, cuts, wildcards, services, client ranges. Knows nothing of header bits, EDNS, truncation or sockets. Each
# function shadows the one of the same name; comments there are not said again. Whatever a block says was checked when its
# Root was made.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from .names cimport Name, find_suffix
from .pick cimport (
    MOST_DRAWN, MOST_WALKED, Drawn, bisect_totals, count_drawable, mix, pick_few, pick_many, pick_sticky, score,
)
from .tables cimport NO_POOL, NO_SERVICE, NONE, Cut, Node, PoolNow, Rrset, Service, Slot, Table, Tables, Zone

cdef extern from *:
    int __builtin_clz(unsigned int) nogil
    int __builtin_clzll(unsigned long long) nogil

cdef enum:                                     # lookup.RECORDS ... FAILED, and what is left to Python
    RECORDS = 0
    ALIAS = 1
    NODATA = 2
    NXDOMAIN = 3
    REFERRAL = 4
    REFUSED = 5
    FAILED = 6
    LEFT = 7                                   # not decided here: `Found.why`

cdef enum:                                     # snapshot.py
    DEFAULT_ORDER = 0
    PEER_ORDER = 1
    UNWRAP_ORDER = 2
    FIRST_ROW = 3
    UP = 1
    DEAD = 4
    ALL = 0
    SERVFAIL_WHEN_DOWN = 2
    FALLBACK = 3
    ADDRESSES = 4
    STICKY = 1                                 # Service.flags
    CHOICE = 2

cdef enum:
    CNAME = 5
    DS = 43
    ANY = 255
    MOST_EQUALS = 128                          # datacenters of one tier that are drawn from
    TAIL_HEAD = 10                             # type, class, TTL, length
    EMBEDS_NOTHING = 255

cdef enum:
    WHY_DRAWS = 2                              # answer.DRAWS, TIERS
    WHY_TIERS = 3

cdef extern from *:
    """
    #define GEODNS_JOINED 0x80000000u
    #define GEODNS_NO_CAP 0xFFFFFFFFu
    """
    const uint32_t JOINED "GEODNS_JOINED"
    const uint32_t NO_CAP "GEODNS_NO_CAP"      # no TTL is lowered

# Whom we answer for: lookup.Client. Addresses in two halves; an IPv4 address is `low`.
cdef struct Client:
    uint32_t bits, source, peer_bits
    uint64_t high, low, peer_high, peer_low

# What find_order gives.
cdef struct Place:
    uint32_t order, scope, bits
    uint64_t high, low

# What decide gives. `pool` is NO_POOL where the order is empty.
cdef struct Decision:
    uint32_t rank, datacenter, pool, ttl, why
    Place place

# What find gives: tails side by side, or members of a slot in the order drawn.
cdef struct Found:
    uint32_t status, zone, scope, cut, why
    int32_t pool
    const uint8_t* tails
    uint32_t length, count                     # octets and number of the tails
    uint32_t cap                               # no TTL above this
    const Slot* slot                           # not NULL: `drawn` members of it, unless they cannot fit (`unread`)
    const uint8_t* piece
    uint32_t unread

# What every step of one query reads.
cdef struct Search:
    const Tables* tables
    const Client* client
    uint32_t limit                             # octets of a reply: more records than that are not put in order
    Drawn drawn


cdef inline uint32_t find_v4(const Table* table, uint32_t address, uint32_t* scope) noexcept nogil:
    """Index of the range holding *address*, and the widest prefix round it: ranges.find_range."""
    cdef const uint32_t* starts = table.v4_starts
    cdef uint32_t top = address >> 16, low = table.v4_index[top], high = table.v4_index[top + 1], middle, other
    while low < high:
        middle = (low + high) >> 1
        if starts[middle] <= address:
            low = middle + 1
        else:
            high = middle
    low -= 1
    scope[0] = 0
    if low:
        scope[0] = 1 + __builtin_clz(address ^ (starts[low] - 1))
    if low + 1 < table.v4_count:
        other = 1 + __builtin_clz(address ^ starts[low + 1])
        if other > scope[0]:
            scope[0] = other
    return low


cdef inline uint32_t find_v6(const Table* table, uint64_t address, uint32_t* scope) noexcept nogil:
    """The same for the upper half of an IPv6 address."""
    cdef const uint64_t* starts = table.v6_starts
    cdef uint32_t top = <uint32_t>(address >> 48), low = table.v6_index[top], high = table.v6_index[top + 1], middle, other
    while low < high:
        middle = (low + high) >> 1
        if starts[middle] <= address:
            low = middle + 1
        else:
            high = middle
    low -= 1
    scope[0] = 0
    if low:
        scope[0] = 1 + __builtin_clzll(address ^ (starts[low] - 1))
    if low + 1 < table.v6_count:
        other = 1 + __builtin_clzll(address ^ starts[low + 1])
        if other > scope[0]:
            scope[0] = other
    return low


cdef inline uint32_t unwrap(uint64_t high, uint64_t low, uint32_t* address) noexcept nogil:
    """The bit at which the IPv4 *address* inside an IPv6 one begins; EMBEDS_NOTHING if there is none of a known form."""
    cdef uint32_t above = <uint32_t>(low >> 32)
    if high >> 48 == 0x2002:
        address[0] = <uint32_t>(high >> 16)
        return 16
    address[0] = <uint32_t>low
    if (high == 0 and (above == 0 or above == 0xFFFF or above == 0xFFFF0000u)) or (high == 0x0064FF9B00000000u and above == 0):
        return 96
    address[0] = ~<uint32_t>low
    return 96 if high >> 32 == 0x20010000u else EMBEDS_NOTHING


cdef inline void find_peer(const Table* table, const Client* client, Place* place) noexcept nogil:
    """lookup._find_peer: order, bits and address for the peer itself."""
    cdef uint32_t scope, address, offset
    place.bits, place.high, place.low = client.peer_bits, client.peer_high, client.peer_low
    if place.bits == 128:
        place.order = table.v6_orders[find_v6(table, place.high, &scope)]
        if place.order == PEER_ORDER:
            place.order = DEFAULT_ORDER
        if place.order != UNWRAP_ORDER:
            return
        offset = unwrap(place.high, place.low, &address)
        if offset == EMBEDS_NOTHING:
            place.order = DEFAULT_ORDER
            return
        place.bits, place.high, place.low = 32, 0, address
    place.order = table.v4_orders[find_v4(table, <uint32_t>place.low, &scope)]
    if place.order == PEER_ORDER or place.order == UNWRAP_ORDER:
        place.order = DEFAULT_ORDER


cdef inline void find_embedded(const Table* table, uint32_t source, uint32_t* least, uint32_t least_v4, Place* place) noexcept nogil:
    """lookup._find_embedded, for the IPv6 address in *place*."""
    cdef uint32_t address, scope, offset = unwrap(place.high, place.low, &address)
    if offset == EMBEDS_NOTHING:
        place.order, place.scope = PEER_ORDER, 128
    elif source < offset + 8:
        place.order, place.scope = PEER_ORDER, offset + 8
    else:
        place.order = table.v4_orders[find_v4(table, address, &scope)]
        if place.order == UNWRAP_ORDER:
            place.order = PEER_ORDER
        place.scope = scope + offset
        place.bits, place.high, place.low = 32, 0, address
        least[0] = least_v4 + offset if least_v4 else 0


cdef inline void find_order(const Tables* tables, const Service* service, const Client* client, Place* place) noexcept nogil:
    """The order for *client*, the scope, and the client network as it was used."""
    cdef const Table* table = tables.tables + service.table
    cdef uint32_t source, least_v4 = 0, least_v6 = 0, least
    if service.flags & STICKY and (service.flags & CHOICE or table.first_plain > FIRST_ROW):     # lookup.least_scopes
        least_v4, least_v6 = 24, 56
    if client.bits:
        place.bits, place.high, place.low, source = client.bits, client.high, client.low, client.source
    else:
        place.bits, place.high, place.low, source = client.peer_bits, client.peer_high, client.peer_low, client.peer_bits
    if place.bits == 32:
        least = least_v4
        place.order = table.v4_orders[find_v4(table, <uint32_t>place.low, &place.scope)]
    else:
        least = least_v6
        place.order = table.v6_orders[find_v6(table, place.high, &place.scope)]
    if place.order == UNWRAP_ORDER:
        find_embedded(table, source, &least, least_v4, place)
    if place.order == PEER_ORDER:
        if client.bits:
            find_peer(table, client, place)
        else:
            place.order = DEFAULT_ORDER
    if place.scope < least:
        place.scope = least
    if table.uniform and least == 0:
        place.scope = 0
    elif place.scope == 0:
        place.scope = 1


cdef inline const PoolNow* pool_now(const Tables* tables, uint32_t number) noexcept nogil:
    return <const PoolNow*>(tables.pieces + tables.piece_starts[number])


cdef inline uint64_t client_key(const Place* place) noexcept nogil:
    return place.low >> 8 if place.bits == 32 else <uint64_t>1 << 56 | place.high >> 8


cdef inline uint32_t pick_tier(
    const Tables* tables, const Service* service, const uint16_t* datacenters, const uint32_t* weights, uint32_t count,
    uint64_t draw, uint64_t client,
) noexcept nogil:
    """lookup._pick_tier: which of *count* datacenters; *count* itself where no weight is left to draw from."""
    cdef uint64_t best, mine
    cdef uint32_t i, chosen = 0, total = 0, r
    if service.flags & STICKY:
        best = ~<uint64_t>0
        for i in range(count):
            mine = score(tables.log2, mix(service.key ^ tables.datacenter_keys[datacenters[i]] ^ client), weights[i])
            if mine < best:
                best, chosen = mine, i
        return chosen
    for i in range(count):
        total += weights[i]
    r = <uint32_t>((draw >> 32) * total >> 32)
    for i in range(count):
        if weights[i] > r:
            return i
        r -= weights[i]
    return count


cdef inline void decide_by_rank(
    const Tables* tables, const Service* service, const uint16_t* pool_of, uint64_t draw, Decision* decision
) noexcept nogil:
    """lookup._decide_by_rank: every tier, until one has a pool that is up."""
    cdef const Table* table = tables.tables + service.table
    cdef uint32_t order = decision.place.order, at = table.rows[order], end = table.rows[order + 1], begin, i
    cdef bint tiered = order < table.first_plain, better
    cdef const PoolNow* pool
    cdef uint32_t best = DEAD + 1, rank, passed = service.ttl_min, number, worse, chosen = 0, eligible = 0
    cdef uint32_t before = NO_CAP              # the lowest TTL in better tiers
    cdef uint16_t datacenters[128]             # MOST_EQUALS
    cdef uint32_t weights[128]
    while at < end and best != UP:
        begin, rank = at, best
        while at < end and (at == begin or (tiered and table.weights[at] & JOINED)):
            number = pool_of[table.steps[at]]
            at += 1
            if number != NO_POOL and pool_now(tables, number).rank < rank:
                rank = pool_now(tables, number).rank
        worse, better = before, rank < best
        if better:
            best, eligible = rank, 0
        for i in range(begin, at):
            number = pool_of[table.steps[i]]
            if number == NO_POOL:
                continue
            pool = pool_now(tables, number)
            before = pool.ttl if pool.ttl < before else before
            if not better:
                continue
            if pool.rank != rank:
                worse = pool.ttl if pool.ttl < worse else worse
            elif eligible == MOST_EQUALS:
                decision.why = WHY_TIERS
                return
            else:
                datacenters[eligible] = table.steps[i]
                weights[eligible] = table.weights[i] & ~JOINED if tiered else 1
                eligible += 1
        if better:
            passed = worse
    decision.rank, decision.pool, decision.ttl = DEAD, NO_POOL, service.ttl_min
    if eligible == 0:
        return
    if eligible > 1:
        chosen = pick_tier(tables, service, datacenters, weights, eligible, draw, client_key(&decision.place))
        if chosen == eligible:
            decision.why = WHY_TIERS
            return
    if best == DEAD and service.all_down == FALLBACK:
        passed = before
    decision.datacenter = datacenters[chosen]
    decision.pool = pool_of[decision.datacenter]
    pool = pool_now(tables, decision.pool)
    decision.rank, decision.ttl = best, pool.ttl if pool.ttl < passed else passed


cdef inline void decide(
    const Tables* tables, const Service* service, const Client* client, uint64_t draw, Decision* decision
) noexcept nogil:
    """Which datacenter answers; `why` is not 0 where that is left to Python."""
    cdef const Table* table = tables.tables + service.table
    cdef const uint16_t* pool_of = tables.pool_of + <size_t>(service - tables.services) * tables.datacenters
    cdef const PoolNow* pool
    cdef uint32_t order, first, end
    decision.why = 0
    find_order(tables, service, client, &decision.place)
    order = decision.place.order
    first, end = table.rows[order], table.rows[order + 1]
    if first < end and (order >= table.first_plain or first + 1 == end or not table.weights[first + 1] & JOINED):
        decision.datacenter = table.steps[first]
        decision.pool = pool_of[decision.datacenter]
        if decision.pool != NO_POOL:
            pool = pool_now(tables, decision.pool)
            if pool.rank == UP:
                decision.rank, decision.ttl = UP, pool.ttl
                return
    decide_by_rank(tables, service, pool_of, draw, decision)


cdef inline uint32_t tail_length(const uint8_t* tail) noexcept nogil:
    return TAIL_HEAD + (<uint32_t>tail[8] << 8 | tail[9])


cdef inline const Slot* find_slot(const PoolNow* pool, uint32_t rtype) noexcept nogil:
    cdef const Slot* slot = <const Slot*>(<const uint8_t*>pool + sizeof(PoolNow))
    cdef uint32_t i
    for i in range(pool.slots):
        if slot[i].rtype == rtype:
            return slot + i
    return NULL


cdef inline const uint8_t* find_tail(const uint8_t* piece, const Slot* slot, uint32_t i) noexcept nogil:
    if slot.tail_size:
        return piece + slot.tails + <size_t>i * slot.tail_size
    return piece + (<const uint32_t*>(piece + slot.offsets))[i]


cdef inline void pick_members(
    Search* search, const Service* service, const Place* place, const uint8_t* piece, const Slot* slot, uint32_t answers,
    uint64_t draw, Found* found,
) noexcept nogil:
    """Which members of *slot* answer, *answers* of them or (0) all: one tail, or `drawn` ones."""
    cdef const uint32_t* totals = <const uint32_t*>(piece + slot.totals)
    cdef uint32_t wanted, i = 0
    cdef bint sticky = service.flags & STICKY
    if slot.count > 1 and answers == 1 and not sticky:
        i = bisect_totals(totals, slot.count, <uint32_t>(<uint64_t><uint32_t>draw * totals[slot.count - 1] >> 32))
    elif slot.count > 1:
        wanted = count_drawable(totals, slot.count)
        if answers and answers < wanted:
            wanted = answers
        if wanted > 1 and slot.tail_size and <uint64_t>wanted * slot.tail_size > search.limit:
            found.unread, found.slot, found.piece, found.count = 1, slot, piece, wanted
            return
        if sticky and wanted <= MOST_DRAWN:
            pick_sticky(
                search.tables.log2, <const uint64_t*>(piece + slot.keys), totals, slot.count, wanted, client_key(place),
                &search.drawn,
            )
        elif not sticky and wanted <= 16:
            pick_few(totals, slot.count, wanted, draw, &search.drawn)
        elif not sticky and slot.count <= MOST_WALKED:
            pick_many(totals, slot.count, wanted, draw, &search.drawn)
        elif not sticky and wanted <= MOST_DRAWN:
            pick_few(totals, slot.count, wanted, draw, &search.drawn)
        else:
            found.status, found.why = LEFT, WHY_DRAWS
            return
        if wanted > 1:
            found.slot, found.piece, found.count = slot, piece, wanted
            return
        i = search.drawn.index[0]
    found.tails = find_tail(piece, slot, i)
    found.length = tail_length(found.tails)
    found.count = 1


cdef inline const Rrset* find_rrset(const Tables* tables, uint32_t first, uint32_t count, uint32_t rtype) noexcept nogil:
    """The rrset of *rtype* in a run, which stands by rising type; NULL without one."""
    cdef uint32_t i
    for i in range(first, first + count):
        if tables.rrsets[i].rtype == rtype:
            return tables.rrsets + i
    return NULL


cdef inline bint offers(const Tables* tables, const Service* service, uint32_t qtype) noexcept nogil:
    """Could *service* ever answer *qtype*, itself or by a fallback?"""
    cdef uint32_t types = 4 | (1 if qtype == 1 else 2 if qtype == 28 else 0)    # image_zones_read.TYPE_BITS
    while True:
        if service.types & types or find_rrset(tables, service.last_resort, service.last_resorts, qtype) != NULL:
            return True
        if service.fallback == NONE:
            return False
        service = tables.services + service.fallback


cdef inline uint32_t widen(const Tables* tables, const Service* service, const Client* client, uint32_t scope) noexcept nogil:
    """lookup._widen: the longest of *scope* and those of all fallback services."""
    cdef Place place
    while service.fallback != NONE:
        service = tables.services + service.fallback
        find_order(tables, service, client, &place)
        if place.scope > scope:
            scope = place.scope
    return scope


cdef inline void take_rrset(const Tables* tables, const Rrset* rrset, Found* found) noexcept nogil:
    found.tails, found.length, found.count = tables.blob + rrset.at, rrset.length, rrset.count


cdef inline uint32_t find_service(
    Search* search, const Service* service, uint32_t qtype, uint64_t draw, Found* found
) noexcept nogil:
    """What *service* says of *qtype*: status, tails, scope and pool go to *found*; returns the TTL of a negative answer.

    A fallback's answer is that of the service that falls back, but for its scope and the TTLs that were passed over; so one
    loop walks the line of fallbacks, which ends, since each stands before those that fall back on it.
    """
    cdef const Tables* tables = search.tables
    cdef const Service* asked = service
    cdef const PoolNow* pool
    cdef const Slot* slot
    cdef const Rrset* rrset
    cdef Decision decision
    cdef uint32_t ttl = NO_CAP, answers
    while True:
        decide(tables, service, search.client, draw, &decision)
        if decision.why:
            found.status, found.why = LEFT, decision.why
            return 0
        if service == asked:
            found.scope = decision.place.scope
            if service.all_down != ALL and service.fallback != NONE:
                found.scope = widen(tables, service, search.client, found.scope)
        if decision.rank != DEAD or decision.pool == NO_POOL or service.all_down != FALLBACK:
            break
        ttl = decision.ttl if decision.ttl < ttl else ttl
        service = tables.services + service.fallback
    found.cap = ttl
    found.status = NODATA
    if decision.pool != NO_POOL and decision.rank == DEAD and service.all_down != ALL:
        if service.all_down == SERVFAIL_WHEN_DOWN:
            found.status = FAILED
            return 0
        ttl = service.ttl_min if service.ttl_min < ttl else ttl
        rrset = find_rrset(tables, service.last_resort, service.last_resorts, qtype)
        if rrset != NULL and service.all_down == ADDRESSES:
            take_rrset(tables, rrset, found)
            found.status = RECORDS
    else:
        ttl = decision.ttl if decision.ttl < ttl else ttl
        if decision.pool != NO_POOL:
            pool = pool_now(tables, decision.pool)
            slot, answers = find_slot(pool, qtype), service.answers
            if slot == NULL or qtype == CNAME:
                slot, answers = find_slot(pool, CNAME), 1
            if slot != NULL:
                found.status = ALIAS if slot.rtype == CNAME and qtype != CNAME else RECORDS
                found.pool = <int32_t>decision.pool
                if decision.ttl != pool.ttl and decision.ttl < found.cap:
                    found.cap = decision.ttl
                pick_members(search, service, &decision.place, <const uint8_t*>pool, slot, answers, draw, found)
    if found.status == NODATA and not offers(tables, asked, qtype):
        found.scope = 0
    return ttl


cdef inline void take_soa(const Tables* tables, uint32_t zone, uint32_t status, Found* found) noexcept nogil:
    """A negative answer, with the SOA of *zone*."""
    found.status, found.zone, found.count = status, zone, 1
    found.tails, found.length = tables.blob + tables.zones[zone].negative, tables.zones[zone].negative_length


cdef inline void find_at(Search* search, const Node* node, uint32_t qtype, uint64_t draw, Found* found) noexcept nogil:
    """lookup._find_at: what a node, which no cut stands above, says of *qtype*."""
    cdef const Tables* tables = search.tables
    cdef const Rrset* rrset = find_rrset(tables, node.rrset, node.rrsets, qtype)
    cdef uint32_t ttl
    found.zone = node.zone
    if rrset != NULL:
        found.status = RECORDS
        take_rrset(tables, rrset, found)
        return
    if node.service != NO_SERVICE:
        ttl = find_service(search, tables.services + node.service, qtype, draw, found)
        if found.status == NODATA:
            take_soa(tables, node.zone, NODATA, found)
            found.cap = ttl
        return
    rrset = find_rrset(tables, node.rrset, node.rrsets, CNAME)
    if rrset != NULL:
        found.status = ALIAS
        take_rrset(tables, rrset, found)
        return
    take_soa(tables, node.zone, NODATA, found)


cdef inline void find_any(Search* search, const Node* node, uint64_t draw, Found* found) noexcept nogil:
    """lookup._find_any: the CNAME, chosen or written, else a single HINFO (RFC 8482 4.2)."""
    cdef const Tables* tables = search.tables
    cdef const Rrset* rrset = find_rrset(tables, node.rrset, node.rrsets, CNAME)
    found.zone, found.status = node.zone, RECORDS
    if rrset != NULL:
        take_rrset(tables, rrset, found)
        return
    if node.service != NO_SERVICE and offers(tables, tables.services + node.service, CNAME):
        find_service(search, tables.services + node.service, CNAME, draw, found)
        if found.status != NODATA:
            return
        found.status, found.cap = RECORDS, NO_CAP
    elif node.rrsets == 0 and node.service == NO_SERVICE:
        take_soa(tables, node.zone, NODATA, found)
        return
    found.tails, found.length, found.count = tables.any_tail, tail_length(tables.any_tail), 1


cdef inline uint32_t find_closest(const Tables* tables, const Name* name, uint32_t labels) noexcept nogil:
    """The node of the longest suffix of fewer than *labels* labels that exists; NONE outside of all zones."""
    cdef uint32_t node
    if labels > name.hashed + 1:
        labels = name.hashed + 1
    while labels:
        labels -= 1
        node = find_suffix(tables, name, labels)
        if node != NONE:
            return node
    return NONE


cdef inline void find_parents_ds(Search* search, const Name* name, uint32_t number, Found* found) noexcept nogil:
    """lookup._find_parents_ds: DS at an apex of ours, which *name* is."""
    cdef const Tables* tables = search.tables
    cdef const Zone* zone = tables.zones + number
    cdef uint32_t above
    if zone.parent == NONE:
        take_soa(tables, number, NODATA, found)
        return
    above = find_closest(tables, name, name.labels)
    if above != NONE and tables.nodes[above].cut != NONE:
        found.status, found.zone, found.cut = REFERRAL, tables.nodes[above].zone, tables.nodes[above].cut
    elif zone.ds == NONE:
        take_soa(tables, zone.parent, NODATA, found)
    else:
        found.status, found.zone = RECORDS, zone.parent
        take_rrset(tables, tables.rrsets + zone.ds, found)


cdef inline void find_apart(Search* search, const Name* name, const Node* node, uint32_t qtype, uint64_t draw, Found* found) noexcept nogil:
    """lookup._find_apart: at and below cuts, and for DS and ANY."""
    cdef const Tables* tables = search.tables
    cdef const Cut* cut
    found.zone = node.zone
    if node.cut != NONE:
        cut = tables.cuts + node.cut
        if qtype != DS or node.length != cut.length:
            found.status, found.cut = REFERRAL, node.cut
        elif cut.ds == NONE:
            take_soa(tables, node.zone, NODATA, found)
        else:
            found.status = RECORDS
            take_rrset(tables, tables.rrsets + cut.ds, found)
    elif qtype == ANY:
        find_any(search, node, draw, found)
    elif node.length == tables.zones[node.zone].apex_length:
        find_parents_ds(search, name, node.zone, found)
    else:
        find_at(search, node, qtype, draw, found)


cdef inline void find_absent(Search* search, const Name* name, uint32_t qtype, uint64_t draw, Found* found) noexcept nogil:
    """lookup._find_absent: the closest encloser's wildcard speaks, or nobody."""
    cdef const Tables* tables = search.tables
    cdef uint32_t closest = find_closest(tables, name, name.labels)
    cdef const Node* node
    if closest == NONE:
        found.status = REFUSED
        return
    node = tables.nodes + closest
    if node.cut == NONE:
        if node.wildcard == NONE:
            take_soa(tables, node.zone, NXDOMAIN, found)
            return
        node = tables.nodes + node.wildcard
    if node.cut != NONE:
        found.status, found.zone, found.cut = REFERRAL, node.zone, node.cut
    elif qtype == ANY:
        find_any(search, node, draw, found)
    else:
        find_at(search, node, qtype, draw, found)


cdef inline void find(Search* search, const Name* name, uint32_t qtype, uint64_t draw, Found* found) noexcept nogil:
    """What answers *qtype* at *name*; *draw* is the word of this hop of the chain."""
    cdef const Tables* tables = search.tables
    cdef uint32_t node = find_suffix(tables, name, name.labels) if name.hashed == name.labels else NONE
    found.zone, found.scope, found.pool, found.cap, found.why = NONE, 0, -1, NO_CAP, 0
    found.tails, found.length, found.count, found.slot, found.unread = NULL, 0, 0, NULL, 0
    if node == NONE:
        find_absent(search, name, qtype, draw, found)
    elif tables.nodes[node].cut != NONE or qtype == DS or qtype == ANY:
        find_apart(search, name, tables.nodes + node, qtype, draw, found)
    else:
        find_at(search, tables.nodes + node, qtype, draw, found)

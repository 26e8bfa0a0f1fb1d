# What makes a block sound: every index and every length in it, looked at once, so that no answer looks again.
#
# Each function returns NULL, or the words for what is wrong. None needs the interpreter: two million ranges take some
# milliseconds, in which every other thread goes on.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from .lookup cimport CNAME, DS, FALLBACK, FIRST_ROW, JOINED, TAIL_HEAD, ADDRESSES, DEAD, UP, tail_length
from .names cimport Name, find_labels
from .tables cimport (
    NO_POOL, NO_SERVICE, NONE, Cut, Glue, Node, PoolNow, Rrset, Service, Slot, Table, Tables, Zone,
)

cdef enum:
    INDEX_ITEMS = 65537
    NS = 2
    SOA = 6


cdef inline bint is_span(uint64_t first, uint64_t count, uint64_t whole) noexcept nogil:
    """Do *count* items from *first* on lie within *whole* ones? None of them is above 2^32, or *whole* is a section's."""
    return first <= whole and count <= whole - first


cdef inline const char* check_v4(const Table* table) noexcept nogil:
    cdef uint32_t i, count = 0
    if table.v4_count == 0 or table.v4_starts[0]:
        return "IPv4 ranges do not begin with 0"
    for i in range(1, table.v4_count):
        if table.v4_starts[i] <= table.v4_starts[i - 1]:
            return "IPv4 ranges do not follow each other"
    for i in range(table.v4_count):
        if table.v4_orders[i] >= table.orders:
            return "an IPv4 range has an order that is not there"
    for i in range(INDEX_ITEMS):
        while count < table.v4_count and table.v4_starts[count] <= <uint64_t>i << 16:
            count += 1
        if table.v4_index[i] != count:
            return "the index does not fit the IPv4 ranges"
    return NULL


cdef inline const char* check_v6(const Table* table) noexcept nogil:
    cdef uint32_t i, count = 0
    if table.v6_count == 0 or table.v6_starts[0]:
        return "IPv6 ranges do not begin with 0"
    for i in range(1, table.v6_count):
        if table.v6_starts[i] <= table.v6_starts[i - 1]:
            return "IPv6 ranges do not follow each other"
    for i in range(table.v6_count):
        if table.v6_orders[i] >= table.orders:
            return "an IPv6 range has an order that is not there"
    for i in range(INDEX_ITEMS):
        while count < table.v6_count and (i == INDEX_ITEMS - 1 or table.v6_starts[count] <= <uint64_t>i << 48):
            count += 1
        if table.v6_index[i] != count:
            return "the index does not fit the IPv6 ranges"
    return NULL


cdef inline const char* check_orders(const Table* table, uint32_t weights, uint32_t datacenters) noexcept nogil:
    cdef uint32_t i, k
    cdef uint64_t total
    if table.orders < FIRST_ROW or table.first_plain < FIRST_ROW or table.first_plain > table.orders:
        return "orders are missing"
    if table.rows[0] or table.rows[table.orders] != table.steps_count or table.rows[table.first_plain] != weights:
        return "rows of orders do not fit their steps or weights"
    for i in range(table.orders):
        if table.rows[i + 1] < table.rows[i] or table.rows[i + 1] > table.steps_count:
            return "rows of orders do not follow each other"
    for i in range(table.first_plain):
        total = 0
        for k in range(table.rows[i], table.rows[i + 1]):
            total += table.weights[k] & ~JOINED
        if total > 0xFFFFFFFFu:
            return "the weights of an order are too large together"
    for i in range(table.steps_count):
        if table.steps[i] >= datacenters:
            return "an order names a datacenter that is not there"
    return NULL


cdef inline bint is_name(const uint8_t* octets, uint32_t length, bint lower) noexcept nogil:
    """Is *octets* exactly one whole name, in lower case if *lower*?"""
    cdef Name name
    if length == 0 or length > 255 or not find_labels(octets, length, &name) or name.length != length:
        return False
    return not lower or memcmp(name.octets, octets, length) == 0


cdef inline bint is_below(const uint8_t* octets, uint32_t length, const uint8_t* above, uint32_t above_length) noexcept nogil:
    """Is a sound name equal to another, or below it, at the boundary of a label?"""
    cdef uint32_t at = 0
    while length - at > above_length:
        at += octets[at] + 1
    return length - at == above_length and memcmp(octets + at, above, above_length) == 0


cdef inline bint is_text(const Tables* tables, uint32_t at, uint32_t length) noexcept nogil:
    """Does a name in lower case stand there in the blob?"""
    return is_span(at, length, tables.blob_length) and is_name(tables.blob + at, length, True)


cdef inline bint is_tail(const uint8_t* tail, uint64_t room, uint32_t rtype) noexcept nogil:
    """Is there one whole record of *rtype* (0: any) within *room* octets, and where a name belongs a name?"""
    cdef uint32_t found
    if room < TAIL_HEAD or tail_length(tail) > room:
        return False
    found = <uint32_t>tail[0] << 8 | tail[1]
    if rtype and found != rtype:
        return False
    return found != CNAME or is_name(tail + TAIL_HEAD, tail_length(tail) - TAIL_HEAD, False)


cdef inline bint is_run(const Tables* tables, uint32_t at, uint32_t length, uint32_t rtype, uint32_t count) noexcept nogil:
    """Do *count* records (0: at least one) of *rtype* (0: any) fill *length* octets of the blob?"""
    cdef uint32_t found = 0, done = 0
    if not is_span(at, length, tables.blob_length):
        return False
    while done < length:
        if not is_tail(tables.blob + at + done, length - done, rtype):
            return False
        done += tail_length(tables.blob + at + done)
        found += 1
    return found == count if count else found > 0


cdef inline bint is_rrset(const Tables* tables, uint32_t number, uint32_t rtype) noexcept nogil:
    """Is *number* NONE, or an rrset of *rtype*?"""
    return number == NONE or (number < tables.rrsets_count and tables.rrsets[number].rtype == rtype)


cdef inline const char* check_zones(const Tables* tables) noexcept nogil:
    """Rrsets, zones, cuts and glue."""
    cdef uint32_t i
    cdef const Zone* zone
    cdef const Cut* cut
    cdef const Glue* glue
    cdef const Rrset* rrset
    for i in range(tables.rrsets_count):
        rrset = tables.rrsets + i
        if rrset.count == 0 or not is_run(tables, rrset.at, rrset.length, rrset.rtype, rrset.count):
            return "an rrset is damaged"
    for i in range(tables.zones_count):
        zone = tables.zones + i
        if not is_text(tables, zone.apex, zone.apex_length) or not is_run(tables, zone.negative, zone.negative_length, SOA, 1):
            return "a zone has no apex or SOA"
        if not is_rrset(tables, zone.ds, DS) or (zone.parent != NONE and zone.parent >= i):
            return "a zone has no such parent, or DS of another type"
    for i in range(tables.glue_count):
        glue = tables.glue + i
        if not is_text(tables, glue.name, glue.length) or not is_run(tables, glue.at, glue.tails_length, 0, 0):
            return "glue is damaged"
    for i in range(tables.cuts_count):
        cut = tables.cuts + i
        if not is_text(tables, cut.name, cut.length) or cut.ns == NONE or not is_rrset(tables, cut.ns, NS):
            return "a cut has no name or no name servers"
        if not is_rrset(tables, cut.ds, DS) or not is_span(cut.glue, cut.glues, tables.glue_count):
            return "a cut has damaged DS or glue"
    return NULL


cdef inline const char* check_services(const Tables* tables) noexcept nogil:
    cdef uint64_t i
    cdef const Service* service
    for i in range(tables.services_count):
        service = tables.services + i
        if service.table >= tables.tables_count or service.all_down > ADDRESSES:
            return "a service has no such table or rule"
        if (service.fallback != NONE and service.fallback >= i) or (service.all_down == FALLBACK and service.fallback == NONE):
            return "a service falls back on none that stands before it"
        if not is_span(service.last_resort, service.last_resorts, tables.rrsets_count):
            return "a service has addresses that are not there"
    for i in range(<uint64_t>tables.services_count * tables.datacenters):
        if tables.pool_of[i] != NO_POOL and tables.pool_of[i] >= tables.pools_count:
            return "a service has a pool that is not there"
    return NULL


cdef inline const char* check_nodes(const Tables* tables) noexcept nogil:
    cdef uint32_t i
    cdef const Node* node
    cdef const Node* wildcard
    cdef const Zone* zone
    cdef const Cut* cut
    cdef const uint8_t* name
    cdef Name labels
    for i in range(tables.nodes_count):
        node = tables.nodes + i
        if not is_text(tables, node.name, node.length) or node.zone >= tables.zones_count:
            return "a name is damaged or in no zone"
        name = tables.blob + node.name
        find_labels(name, node.length, &labels)
        zone = tables.zones + node.zone
        if labels.labels != node.labels or not is_below(name, node.length, tables.blob + zone.apex, zone.apex_length):
            return "a name is not in its zone"
        if node.service != NO_SERVICE and node.service >= tables.services_count:
            return "a name has a service that is not there"
        if not is_span(node.rrset, node.rrsets, tables.rrsets_count):
            return "a name has records that are not there"
        if node.cut != NONE:
            if node.cut >= tables.cuts_count:
                return "a name has a cut that is not there"
            cut = tables.cuts + node.cut
            if not is_below(name, node.length, tables.blob + cut.name, cut.length):
                return "a name is not below its cut"
        if node.wildcard != NONE:
            if node.wildcard >= tables.nodes_count:
                return "a name has a wildcard that is not there"
            wildcard = tables.nodes + node.wildcard
            if wildcard.length != node.length + 2:
                return "a name has another's wildcard"
    return NULL


cdef inline const char* check_slot(const uint8_t* piece, uint64_t length, const Slot* slot) noexcept nogil:
    cdef uint32_t i
    cdef uint64_t at
    cdef const uint32_t* totals
    if slot.count == 0 or slot.totals % 4 or slot.keys % 8 or slot.offsets % 4:
        return "a slot is empty or not aligned"
    if not is_span(slot.totals, 4 * <uint64_t>slot.count, length) or not is_span(slot.keys, 8 * <uint64_t>slot.count, length):
        return "a slot has weights or keys outside of its piece"
    if slot.tail_size == 0 and not is_span(slot.offsets, 4 * <uint64_t>slot.count, length):
        return "a slot has offsets outside of its piece"
    totals = <const uint32_t*>(piece + slot.totals)
    for i in range(slot.count):
        if i and totals[i] < totals[i - 1]:
            return "sums of weights fall"
        if slot.tail_size:
            at = slot.tails + <uint64_t>i * slot.tail_size
        else:
            at = (<const uint32_t*>(piece + slot.offsets))[i]
        if at > length or not is_tail(piece + at, length - at, slot.rtype):
            return "a member's record is damaged"
        if slot.tail_size and tail_length(piece + at) != slot.tail_size:
            return "a member's record has another length"
    if totals[slot.count - 1] == 0:
        return "a slot without weight"
    return NULL


cdef inline const char* check_choices(const Tables* tables, uint64_t length) noexcept nogil:
    """Every piece, within *length* octets."""
    cdef uint32_t i, k
    cdef uint64_t size
    cdef const PoolNow* pool
    cdef const uint8_t* piece
    cdef const char* wrong
    for i in range(tables.pools_count):
        if tables.piece_starts[i + 1] < tables.piece_starts[i] or tables.piece_starts[i] % 8 or tables.piece_starts[i + 1] > length:
            return "pieces do not follow each other"
        size = tables.piece_starts[i + 1] - tables.piece_starts[i]
        piece = tables.pieces + tables.piece_starts[i]
        pool = <const PoolNow*>piece
        if size < sizeof(PoolNow) or not is_span(sizeof(PoolNow), <uint64_t>pool.slots * sizeof(Slot), size):
            return "a piece is too short"
        if pool.rank < UP or pool.rank > DEAD:
            return "a pool has no such rank"
        for k in range(pool.slots):
            wrong = check_slot(piece, size, <const Slot*>(piece + sizeof(PoolNow)) + k)
            if wrong != NULL:
                return wrong
    return NULL

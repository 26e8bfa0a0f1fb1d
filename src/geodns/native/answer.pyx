"""A query's octets to a reply's octets: geodns.answer without the interpreter, octet for octet, or not at all.

Knows what answer.py knows. Knows nothing of sockets and threads: `udp` calls `answer_packet` for each packet, tests and
whoever has Python objects at hand call `answer`. The comments of answer.py are not said again.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from .ahead cimport CLASS_IN, OPCODE_MASK, Reading, fetch_ends, fetch_node, fetch_parts, read_packet
from .lookup cimport (
    ALIAS, FAILED, LEFT, NO_CAP, NODATA, NXDOMAIN, RECORDS, REFERRAL, REFUSED, TAIL_HEAD, Client, Found, Search, find,
    find_tail, tail_length,
)
from .message cimport HEADER_SIZE, Query
from .names cimport Name, copy_lower, find_labels, hash_name
from .pick cimport hop_word
from .tables cimport NONE, Cut, Glue, Root, Rrset, Tables, Zone, u128

from .. import metrics
from ..answer import answer as answer_pure

cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()

cdef enum:
    LONGEST_CHAIN = 8
    MOST_COUNTED = 12                          # slots that one query can add to: its own, a truncation, pools of a chain
    OPT_SIZE = 11
    LEAST_ROOM = 512
    TCP_SIZE = 65535
    POINTER_REACH = 0x4000
    TYPE_A = 1
    TYPE_AAAA = 28
    IXFR = 251
    AXFR = 252
    QR = 0x8000
    AA = 0x0400
    TC = 0x0200
    RD = 0x0100
    FORMERR = 1
    SERVFAIL = 2
    NOTIMP = 4
    RCODE_REFUSED = 5
    BADVERS = 16

# Slots of a tally, as metrics.py has them.
cdef uint32_t TRUNCATED_SLOT = metrics.TRUNCATED
cdef uint32_t SHORT_SLOT = metrics.DROPPED_SHORT
cdef uint32_t RESPONSE_SLOT = metrics.DROPPED_RESPONSE
cdef uint32_t NO_ZONE_SLOT = metrics.NO_ZONE
cdef uint32_t ZONES_SLOT = metrics.ZONES
cdef uint32_t POOLS_SLOT = metrics.POOLS
cdef uint32_t BLOCK = metrics.BLOCK
cdef uint32_t NAMED_ZONES = metrics.NAMED_ZONES
cdef uint32_t FAMILY_STEP = metrics.FAMILY_STEP
cdef uint32_t SUBNET_STEP = metrics.SUBNET_STEP
cdef uint32_t TRANSPORT_STEP = metrics.TRANSPORT_STEP
cdef uint32_t BADVERS_SLOT = 6                 # in metrics.RCODES

# What one query adds to: known only once it is sure that it is answered here.
cdef struct Counted:
    uint32_t count
    uint32_t slots[12]                         # MOST_COUNTED

# A reply under construction. What lies beyond `room` is not written, but counts: so its length is known all the same.
cdef struct Reply:
    uint8_t* out
    size_t room, at

# What of a reply is not its octets so far: flags with the rcode, and how many records there are.
cdef struct Sections:
    uint32_t flags, answers, authorities, additionals


cdef inline void count(Counted* counted, uint32_t slot) noexcept nogil:
    counted.slots[counted.count] = slot
    counted.count += 1


cdef inline void put(Reply* reply, const uint8_t* octets, size_t length) noexcept nogil:
    if reply.at + length <= reply.room:
        memcpy(reply.out + reply.at, octets, length)
    reply.at += length


cdef inline void put16(Reply* reply, uint32_t number) noexcept nogil:
    if reply.at + 2 <= reply.room:
        reply.out[reply.at] = <uint8_t>(number >> 8)
        reply.out[reply.at + 1] = <uint8_t>number
    reply.at += 2


cdef inline void put_owner(Reply* reply, size_t at, const uint8_t* name, uint32_t length) noexcept nogil:
    """answer._write_pointer: two octets that point at *at*, where *name* stands; beyond their reach the name itself."""
    if at < POINTER_REACH:
        put16(reply, 0xC000 | <uint32_t>at)
    else:
        put(reply, name, length)


cdef inline void put_suffix(Reply* reply, size_t at, const Name* owner, const uint8_t* name, uint32_t length) noexcept nogil:
    """answer._write_suffix: the part of *owner*, which stands at *at*, that is *name*; the root takes one octet."""
    if length == 1 or length > owner.length or memcmp(owner.octets + owner.length - length, name, length):
        put(reply, name, length)
    else:
        put_owner(reply, at + owner.length - length, name, length)


cdef inline void put_tail(Reply* reply, const uint8_t* tail, uint32_t length, uint32_t cap) noexcept nogil:
    """One record from its type on, its TTL at most *cap*."""
    cdef uint32_t ttl = <uint32_t>tail[4] << 24 | <uint32_t>tail[5] << 16 | <uint32_t>tail[6] << 8 | tail[7]
    cdef size_t at = reply.at
    put(reply, tail, length)
    if ttl > cap and reply.at <= reply.room:
        reply.out[at + 4] = <uint8_t>(cap >> 24)
        reply.out[at + 5] = <uint8_t>(cap >> 16)
        reply.out[at + 6] = <uint8_t>(cap >> 8)
        reply.out[at + 7] = <uint8_t>cap


cdef inline void put_records(Reply* reply, size_t at, const Name* owner, const Search* search, const Found* found) noexcept nogil:
    """The records that were found, each after its owner, which stands at *at*."""
    cdef uint32_t i, length
    cdef const uint8_t* tail = found.tails
    if found.unread:                           # they would not fit in any order
        reply.at += <size_t>found.count * (found.slot.tail_size + 2)
        return
    for i in range(found.count):
        if found.slot != NULL:
            tail = find_tail(found.piece, found.slot, search.drawn.index[i])
        length = tail_length(tail)
        put_owner(reply, at, owner.octets, owner.length)
        put_tail(reply, tail, length, found.cap)
        tail += length


cdef inline bint is_same_name(const uint8_t* rdata, uint32_t length, const uint8_t* name, uint32_t name_length) noexcept nogil:
    """Is *rdata*, in lower case, *name*?"""
    cdef uint8_t lowered[272]
    if length != name_length:
        return False
    copy_lower(lowered, rdata, length)
    return memcmp(lowered, name, length) == 0


cdef void put_referral(
    Reply* reply, const Tables* tables, size_t at, const Name* owner, uint32_t number, Sections* sections
) noexcept nogil:
    """answer._write_referral: the cut's NS and glue; glue owners point at the first NS rdata that names them."""
    cdef const Cut* cut = tables.cuts + number
    cdef const Rrset* ns = tables.rrsets + cut.ns
    cdef const Glue* glue
    cdef const uint8_t* tail = tables.blob + ns.at
    cdef const uint8_t* glued
    cdef uint32_t i, k, length, done
    cdef size_t first = reply.at, owner_length, place, found
    for i in range(ns.count):
        length = tail_length(tail)
        put_suffix(reply, at, owner, tables.blob + cut.name, cut.length)
        put_tail(reply, tail, length, NO_CAP)
        tail += length
    owner_length = (reply.at - first - ns.length) // ns.count
    for i in range(cut.glues):
        glue = tables.glue + cut.glue + i
        tail, place, found = tables.blob + ns.at, first, POINTER_REACH
        for k in range(ns.count):
            length = tail_length(tail)
            if is_same_name(tail + TAIL_HEAD, length - TAIL_HEAD, tables.blob + glue.name, glue.length):
                found = place + owner_length + TAIL_HEAD
                break
            place += owner_length + length
            tail += length
        glued, done = tables.blob + glue.at, 0
        while done < glue.tails_length:
            length = tail_length(glued + done)
            put_owner(reply, found, tables.blob + glue.name, glue.length)
            put_tail(reply, glued + done, length, NO_CAP)
            done += length
            sections.additionals += 1
    sections.authorities = ns.count


cdef inline void put_head(Reply* reply, const uint8_t* query, uint32_t flags, const Sections* sections) noexcept nogil:
    """The twelve octets before the question; `room` has them."""
    cdef uint8_t* out = reply.out
    out[0], out[1] = query[0], query[1]
    out[2], out[3] = <uint8_t>(flags >> 8), <uint8_t>flags
    out[6], out[7] = <uint8_t>(sections.answers >> 8), <uint8_t>sections.answers
    out[8], out[9] = <uint8_t>(sections.authorities >> 8), <uint8_t>sections.authorities
    out[10], out[11] = <uint8_t>(sections.additionals >> 8), <uint8_t>sections.additionals
    out[4] = 0


cdef inline void put_opt(
    Reply* reply, const Settings* settings, const Query* query, uint32_t extended, uint32_t scope, bint bare, bint nsid
) noexcept nogil:
    """Our OPT: client subnet as it came with *scope*, then NSID; without options if *bare*."""
    cdef uint32_t length = 0
    cdef uint8_t head[5]
    if not bare:
        length = (query.subnet_length if query.subnet != NULL else 0) + (settings.nsid_length + 4 if nsid else 0)
    head[0], head[1], head[2] = 0, 0, 41
    head[3], head[4] = <uint8_t>(settings.udp_size >> 8), <uint8_t>settings.udp_size
    put(reply, head, 5)
    head[0], head[1], head[2], head[3] = <uint8_t>extended, 0, <uint8_t>(query.dnssec_ok << 7), 0
    put(reply, head, 4)
    put16(reply, length)
    if bare:
        return
    if query.subnet != NULL:
        put(reply, query.subnet, 7)
        head[0] = <uint8_t>scope
        put(reply, head, 1)
        put(reply, query.subnet + 8, query.subnet_length - 8)
    if nsid:
        put16(reply, 3)
        put16(reply, settings.nsid_length)
        put(reply, settings.nsid, settings.nsid_length)


cdef ssize_t put_error(
    Reply* reply, const Settings* settings, const uint8_t* query, const Query* parsed, uint32_t rcode, Counted* counted
) noexcept nogil:
    """answer._write_error: an error with the question, if it could be read, and a bare OPT."""
    cdef Sections sections
    cdef uint32_t slot = BADVERS_SLOT if rcode == BADVERS else rcode
    count(counted, NO_ZONE_SLOT + settings.transport * TRANSPORT_STEP + 2 * FAMILY_STEP + slot)
    sections.answers = sections.authorities = 0
    sections.additionals = parsed.has_opt
    put_head(reply, query, QR | (parsed.flags & (OPCODE_MASK | RD)) | (rcode & 15), &sections)
    reply.out[5] = parsed.end != 0
    reply.at = HEADER_SIZE
    if parsed.end:
        put(reply, query + HEADER_SIZE, parsed.end - HEADER_SIZE)
    if parsed.has_opt:
        put_opt(reply, settings, parsed, rcode >> 4, 0, True, False)
    return reply.at


cdef inline size_t find_limit(const Settings* settings, const Query* query) noexcept nogil:
    """How many octets a reply may have."""
    cdef uint32_t size
    if settings.transport:
        return TCP_SIZE
    if not query.has_opt:
        return 512
    size = query.size if query.size > 512 else 512
    return size if size < settings.udp_size else settings.udp_size


cdef inline ssize_t finish(
    Reply* reply, const Settings* settings, const uint8_t* query, const Query* parsed, Sections* sections, uint32_t scope,
    size_t limit, Counted* counted,
) noexcept nogil:
    """Header, question as asked, what was put so far, OPT; or header, question and OPT with TC set."""
    cdef bint nsid = parsed.nsid and settings.nsid_length
    cdef uint32_t flags = sections.flags | QR | (parsed.flags & RD)
    if parsed.has_opt:
        put_opt(reply, settings, parsed, 0, scope, False, nsid)
    if reply.at > limit and reply.at > 512:
        flags |= TC
        sections.answers = sections.authorities = sections.additionals = 0
        count(counted, TRUNCATED_SLOT)
        reply.at = parsed.end
        if parsed.has_opt:
            put_opt(reply, settings, parsed, 0, scope, False, nsid)
            if reply.at > limit:
                reply.at = parsed.end
                put_opt(reply, settings, parsed, 0, scope, False, False)
    if reply.at > reply.room:
        return DECLINED - ROOM
    sections.additionals += parsed.has_opt
    put_head(reply, query, flags, sections)
    reply.out[5] = 1
    memcpy(reply.out + HEADER_SIZE, query + HEADER_SIZE, parsed.end - HEADER_SIZE)
    return reply.at


cdef ssize_t put_chain(
    Reply* reply, Search* search, Name* owner, uint32_t qtype, uint64_t draw, Found* found, uint32_t question_end,
    uint32_t* scope, Sections* sections, Counted* counted,
) noexcept nogil:
    """answer._write_sections: chains, negative answers, referrals, refusals. *found* is the first hop; 0, or DECLINED."""
    cdef const Tables* tables = search.tables
    cdef const Zone* zone
    cdef uint8_t seen[2304]                    # names of this chain, 256 octets each: the one asked, and one for each link
    cdef uint32_t lengths[9]
    cdef int32_t pools[10]
    cdef uint32_t links = 0, pools_count = 0, i, length
    cdef size_t at = HEADER_SIZE
    cdef bint looped = False
    scope[0] = found.scope
    memcpy(seen, owner.octets, owner.length)
    lengths[0] = owner.length
    while found.status == ALIAS and links < LONGEST_CHAIN and not looped:
        length = tail_length(found.tails)
        put_owner(reply, at, owner.octets, owner.length)
        at = reply.at + TAIL_HEAD
        put_tail(reply, found.tails, length, found.cap)
        pools[pools_count] = found.pool
        pools_count += 1
        links += 1
        find_labels(found.tails + TAIL_HEAD, length - TAIL_HEAD, owner)      # true: checked with the block
        for i in range(links):
            if lengths[i] == owner.length and memcmp(seen + 256 * i, owner.octets, owner.length) == 0:
                looped = True
        if not looped:
            memcpy(seen + 256 * links, owner.octets, owner.length)
            lengths[links] = owner.length
            hash_name(tables, owner, tables.deepest)
            find(search, owner, qtype, hop_word(draw, links), found)
            if found.scope > scope[0]:
                scope[0] = found.scope
    sections.flags = AA if links else 0
    sections.answers = links
    if found.status == RECORDS:
        put_records(reply, at, owner, search, found)
        sections.answers += found.count
        pools[pools_count] = found.pool
        pools_count += 1
    elif found.status == NODATA or found.status == NXDOMAIN:
        sections.flags = AA | (3 if found.status == NXDOMAIN else 0)
        sections.authorities = 1
        zone = tables.zones + found.zone
        put_suffix(reply, at, owner, tables.blob + zone.apex, zone.apex_length)
        put_tail(reply, found.tails, found.length, found.cap)
    elif found.status == REFERRAL:
        put_referral(reply, tables, at, owner, found.cut, sections)
    elif found.status == FAILED:
        reply.at = question_end
        sections.flags, sections.answers = SERVFAIL, 0
        return 0
    elif found.status == LEFT:
        return DECLINED - <ssize_t>found.why
    elif found.status == REFUSED and links == 0:
        sections.flags = RCODE_REFUSED
    for i in range(pools_count):
        if pools[i] >= 0:
            count(counted, POOLS_SLOT + pools[i])
    return 0


cdef inline ssize_t answer_query(
    Reply* reply, const Tables* tables, const Settings* settings, const Packet* packet, Reading* reading, Counted* counted
) noexcept nogil:
    """answer._reply: a well-formed query of class IN."""
    cdef const Query* parsed = &reading.parsed
    cdef const Client* client = &reading.client
    cdef Name* owner = &reading.owner
    cdef Search search
    cdef Found found
    cdef Sections sections
    cdef const Zone* zone
    cdef uint32_t slot = settings.transport * TRANSPORT_STEP, number, scope
    cdef ssize_t left
    if parsed.qtype != TYPE_A:
        slot += FAMILY_STEP if parsed.qtype == TYPE_AAAA else 2 * FAMILY_STEP
    if parsed.subnet != NULL:
        slot += SUBNET_STEP * (2 if client.bits else 1)
    search.tables, search.client, search.limit = tables, client, <uint32_t>find_limit(settings, parsed)
    find(&search, owner, parsed.qtype, packet.draw, &found)
    number = found.zone
    slot += NO_ZONE_SLOT if number == NONE else ZONES_SLOT + BLOCK * (number if number < NAMED_ZONES else NAMED_ZONES)
    scope = found.scope
    sections.answers = sections.authorities = sections.additionals = 0
    if found.status == RECORDS:
        sections.flags, sections.answers = AA, found.count
        put_records(reply, HEADER_SIZE, owner, &search, &found)
        if found.pool >= 0:
            count(counted, POOLS_SLOT + found.pool)
    elif found.status == NODATA or found.status == NXDOMAIN:
        sections.flags = AA | (3 if found.status == NXDOMAIN else 0)
        sections.authorities = 1
        zone = tables.zones + number
        put_suffix(reply, HEADER_SIZE, owner, tables.blob + zone.apex, zone.apex_length)
        put_tail(reply, found.tails, found.length, found.cap)
    else:
        left = put_chain(reply, &search, owner, parsed.qtype, packet.draw, &found, parsed.end, &scope, &sections, counted)
        if left:
            return left
    count(counted, slot + (sections.flags & 15))
    return finish(
        reply, settings, packet.query, parsed, &sections, scope if client.bits else 0, search.limit, counted
    )


cdef inline ssize_t answer_counted(
    const Tables* tables, const Settings* settings, const Packet* packet, Reading* reading, size_t room, Counted* counted
) noexcept nogil:
    """`answer_packet`, for a packet that was read; says what it would count."""
    cdef const uint8_t* query = packet.query
    cdef const Query* parsed = &reading.parsed
    cdef Reply reply
    cdef Sections sections
    counted.count = 0
    if packet.length < HEADER_SIZE:
        count(counted, SHORT_SLOT)
        return SILENCE
    if query[2] & 0x80:
        count(counted, RESPONSE_SLOT)
        return SILENCE
    if room < LEAST_ROOM:
        return DECLINED - ROOM
    if packet.peer_size != 4 and packet.peer_size != 16:
        return DECLINED - PEERS
    reply.out, reply.room = packet.out, room
    if parsed.flags & OPCODE_MASK:
        return put_error(&reply, settings, query, parsed, NOTIMP, counted)
    if not reading.whole:
        return put_error(&reply, settings, query, parsed, FORMERR, counted)
    if parsed.has_opt and parsed.version:
        return put_error(&reply, settings, query, parsed, BADVERS, counted)
    reply.at = parsed.end
    if reading.asks and parsed.qtype != AXFR and parsed.qtype != IXFR:
        return answer_query(&reply, tables, settings, packet, reading, counted)
    sections.flags, sections.answers, sections.authorities, sections.additionals = RCODE_REFUSED, 0, 0, 0
    count(
        counted,
        NO_ZONE_SLOT + settings.transport * TRANSPORT_STEP + RCODE_REFUSED
        + (0 if parsed.qtype == TYPE_A else FAMILY_STEP if parsed.qtype == TYPE_AAAA else 2 * FAMILY_STEP),
    )
    return finish(&reply, settings, query, parsed, &sections, 0, find_limit(settings, parsed), counted)


cdef void answer_packets(
    const Tables* tables, const Settings* settings, Packet* packets, uint32_t count, size_t room, uint64_t* tally
) noexcept nogil:
    cdef Reading readings[16]                  # GROUP
    cdef Counted counted
    cdef uint32_t i, k, size
    while count:
        size = count if count < GROUP else GROUP
        for i in range(size):
            read_packet(tables, settings, &packets[i], &readings[i])
        for i in range(size):
            fetch_node(tables, &readings[i])
        for i in range(size):
            fetch_parts(tables, &readings[i])
        for i in range(size):
            fetch_ends(tables, &readings[i])
        for i in range(size):
            packets[i].result = answer_counted(tables, settings, &packets[i], &readings[i], room, &counted)
            if packets[i].result > DECLINED:
                for k in range(counted.count):
                    tally[counted.slots[k]] += 1
        packets += size
        count -= size


cdef ssize_t answer_packet(
    const Tables* tables, const Settings* settings, const uint8_t* query, size_t length, const uint8_t* peer,
    uint32_t peer_size, uint64_t draw, uint8_t* out, size_t room, uint64_t* tally,
) noexcept nogil:
    cdef Packet packet
    packet.query, packet.length, packet.peer, packet.peer_size = query, <uint32_t>length, peer, peer_size
    packet.draw, packet.out = draw, out
    answer_packets(tables, settings, &packet, 1, room, tally)
    return packet.result


cdef class Rules:
    """`answer.Settings` for one transport, as `answer_packet` reads them."""

    def __cinit__(self, settings, uint32_t transport):
        cdef uint32_t i
        networks = settings.believed
        self.nsid = settings.nsid or b""
        self.settings.transport, self.settings.udp_size = transport, settings.udp_size
        self.settings.nsid, self.settings.nsid_length = <const uint8_t*>PyBytes_AS_STRING(self.nsid), len(self.nsid)
        self.settings.believes = 1 if settings.client_subnet is True else 2 if networks else 0
        self.believed = <Believed*>calloc(len(networks) + 1, sizeof(Believed))
        if self.believed == NULL:
            raise MemoryError
        for i, (size, shift, prefix) in enumerate(networks):
            self.believed[i].size, self.believed[i].shift = size, shift
            self.believed[i].prefix = <u128><uint64_t>(prefix >> 64) << 64 | <uint64_t>(prefix & 0xFFFFFFFFFFFFFFFF)
        self.settings.believed, self.settings.believed_count = self.believed, len(networks)

    def __dealloc__(self):
        free(self.believed)


cdef class Shadow:
    """Answers from one root under one set of rules, for whoever has Python objects at hand."""

    def __cinit__(self, Root root not None, Rules rules not None):
        self.root, self.rules = root, rules

    def answer(self, turn, bytes query not None, bytes peer not None, draw):
        """What `answer.answer` gives for *turn*, whose snapshot the root was made from; it is asked where we decline."""
        cdef uint8_t out[65535]
        cdef Counted counted
        cdef uint32_t i
        cdef const Tables* tables = &self.root.tables
        cdef Reading reading
        cdef Packet packet
        cdef ssize_t result
        packet.query, packet.length = <const uint8_t*>PyBytes_AS_STRING(query), <uint32_t>PyBytes_GET_SIZE(query)
        packet.peer, packet.peer_size = <const uint8_t*>PyBytes_AS_STRING(peer), <uint32_t>PyBytes_GET_SIZE(peer)
        packet.draw, packet.out = draw, out
        read_packet(tables, &self.rules.settings, &packet, &reading)
        result = answer_counted(tables, &self.rules.settings, &packet, &reading, sizeof(out), &counted)
        if result <= DECLINED:
            return answer_pure(turn, query, peer, draw)
        tally = turn.tally
        for i in range(counted.count):
            tally[counted.slots[i]] += 1
        return PyBytes_FromStringAndSize(<const char*>out, result) if result else None

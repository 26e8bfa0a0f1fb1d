# Reading a query: geodns.wire.message and geodns.wire.edns, without the interpreter. Every length is tested before each read.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from .names cimport Name, find_labels

cdef enum:
    HEADER_SIZE = 12
    RECORD_SIZE = 10                           # type, class, TTL and length
    OPT = 41
    OPTION_NSID = 3
    OPTION_SUBNET = 8
    POINTER = 0xC0

# What `parse_query` gives, and, for a query that is not well formed, what `BrokenQuery` has.
cdef struct Query:
    uint32_t flags, end, qtype, qclass         # end: of the question; 0 where none could be read
    uint32_t size, version                     # of an OPT
    uint32_t has_opt, dnssec_ok, nsid
    const uint8_t* subnet                      # the option's octets with code and length; NULL without one
    uint32_t subnet_length, bits, source
    uint64_t high, low


cdef inline uint32_t load16(const uint8_t* at) noexcept nogil:
    return <uint32_t>at[0] << 8 | at[1]


cdef inline size_t skip_name(const uint8_t* query, size_t length, size_t at) noexcept nogil:
    """Where the name that begins at *at* ends, be it compressed or not; 0 where it is none."""
    cdef size_t start = at, target
    cdef uint32_t size
    while at < length:
        size = query[at]
        if size == 0:
            return at + 1 if at - start < 255 else 0
        if size >= POINTER:
            if at + 1 >= length:
                return 0
            target = (size & 0x3F) << 8 | query[at + 1]
            return at + 2 if HEADER_SIZE <= target < start else 0
        if size > 63:
            return 0
        at += size + 1
    return 0


cdef inline size_t skip_record(const uint8_t* query, size_t length, size_t at, uint32_t* rtype) noexcept nogil:
    """Where the record at *at* ends; 0 where it is not whole."""
    at = skip_name(query, length, at)
    if at == 0 or at + RECORD_SIZE > length:
        return 0
    rtype[0] = load16(query + at)
    at += RECORD_SIZE + load16(query + at + 8)
    return at if at <= length else 0


cdef inline bint parse_subnet(const uint8_t* option, uint32_t octets, Query* found) noexcept nogil:
    """The client subnet whose option has *octets* after code and length: is it as RFC 7871 6 wants it?"""
    cdef uint32_t family, source, i
    cdef uint8_t address[16]
    if octets < 4:
        return False
    family, source = load16(option + 4), option[6]
    found.bits = 32 if family == 1 else 128
    if family < 1 or family > 2 or source > found.bits or option[7] != 0 or octets - 4 != (source + 7) >> 3:
        return False
    for i in range(16):
        address[i] = option[8 + i] if i < octets - 4 else 0
    if source & 7 and address[source >> 3] & (0xFF >> (source & 7)):
        return False
    found.high = found.low = 0
    if family == 1:
        found.low = load16(address) << 16 | load16(address + 2)
    else:
        for i in range(8):
            found.high = found.high << 8 | address[i]
            found.low = found.low << 8 | address[8 + i]
    found.source, found.subnet, found.subnet_length = source, option, octets + 4
    return True


cdef inline bint parse_options(const uint8_t* query, size_t at, size_t end, Query* found) noexcept nogil:
    """The options of an OPT between *at* and *end*: are they whole, with at most one good client subnet?"""
    cdef uint32_t code, octets
    while at < end:
        if at + 4 > end:
            return False
        code, octets = load16(query + at), load16(query + at + 2)
        if at + 4 + octets > end:
            return False
        if code == OPTION_SUBNET:
            if found.subnet != NULL or not parse_subnet(query + at, octets, found):
                return False
        elif code == OPTION_NSID:
            found.nsid = 1
        at += 4 + octets
    return True


cdef inline bint parse_records(const uint8_t* query, size_t length, size_t at, Query* found) noexcept nogil:
    """All records after the questions: are they whole, with at most one OPT, in its place, and nothing after them?"""
    cdef uint32_t i, rtype = 0, before = load16(query + 6) + load16(query + 8), count = before + load16(query + 10)
    cdef size_t after, opt = 0, opt_end = 0
    for i in range(count):
        after = skip_record(query, length, at, &rtype)
        if after == 0:
            return False
        if rtype == OPT:
            if i < before or opt:
                return False
            opt, opt_end = at, after
            found.has_opt = 1
            if query[at] == 0:
                found.dnssec_ok = query[at + 7] >> 7
        at = after
    # The reference looks at the questions once more before it reads the OPT; all three faults have the same reply.
    if at != length or load16(query + 4) != 1:
        return False
    if opt == 0:
        return True
    if query[opt]:
        return False
    found.size, found.version = load16(query + opt + 3), query[opt + 6]
    return found.version != 0 or parse_options(query, opt + 1 + RECORD_SIZE, opt_end, found)


cdef inline bint parse_query(const uint8_t* query, size_t length, Query* found, Name* name) noexcept nogil:
    """Read a whole *query* of at least 12 octets; False for whatever is not well formed. *name* is the name asked."""
    cdef uint32_t i, questions = load16(query + 4)
    cdef size_t at = HEADER_SIZE
    found.flags = load16(query + 2)
    found.end = found.has_opt = found.dnssec_ok = found.nsid = found.version = 0
    found.subnet = NULL
    if questions == 1:
        if not find_labels(query + HEADER_SIZE, length - HEADER_SIZE, name):
            return False
        at += name.length
        if at + 4 > length:
            return False
        found.qtype, found.qclass, found.end = load16(query + at), load16(query + at + 2), <uint32_t>at + 4
        at += 4
    else:                                      # RFC 9619 4: FORMERR; but an OPT behind them is answered with one
        for i in range(questions):
            at = skip_name(query, length, at)
            if at == 0 or at + 4 > length:
                return False
            at += 4
    return parse_records(query, length, at, found)

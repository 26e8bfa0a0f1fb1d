# The first looks at packets that came together: what their answers are made from is fetched before anybody waits for it.
#
# Knows who asks, and where a name and a client's range are looked for. Knows nothing of what is found there: a core waits for
# memory once for a group, instead of several times for each packet, and no answer depends on any of it but for `Reading`.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .answer cimport Packet, Settings
from .lookup cimport Client
from .message cimport HEADER_SIZE, Query, parse_query
from .names cimport Name, find_bucket, hash_name
from .tables cimport NONE, NO_SERVICE, Bucket, Node, Rrset, Table, Tables, u128

cdef extern from *:
    void fetch "__builtin_prefetch"(const void* at) nogil     # a hint: read soon, from wherever it may be

cdef enum:
    CLASS_IN = 1
    OPCODE_MASK = 0x7800

# A packet that was read. Where it `asks`, its name has hashes and the client is known.
cdef struct Reading:
    bint whole, asks                           # well formed; and a query of class IN
    Query parsed
    Name owner
    Client client
    const Node* node                           # where the search for the name begins; NULL: not known
    const Table* table                         # of the service there; NULL: none


cdef inline bint believes(const Settings* settings, const uint8_t* peer, uint32_t peer_size) noexcept nogil:
    """Does a client subnet from *peer* count?"""
    cdef u128 address = 0
    cdef uint32_t i
    if settings.believes < 2:
        return settings.believes
    for i in range(peer_size):
        address = address << 8 | peer[i]
    for i in range(settings.believed_count):
        if settings.believed[i].size == peer_size:
            if settings.believed[i].shift == 128 or address >> settings.believed[i].shift == settings.believed[i].prefix:
                return True
    return False


cdef inline void load_client(Client* client, const Settings* settings, const Packet* packet, const Query* parsed) noexcept nogil:
    """Whom *packet* asks for: its peer, and the client subnet if that counts."""
    cdef uint32_t i
    cdef const uint8_t* peer = packet.peer
    client.bits, client.peer_bits, client.peer_high, client.peer_low = 0, 8 * packet.peer_size, 0, 0
    if packet.peer_size == 16:
        for i in range(8):
            client.peer_high = client.peer_high << 8 | peer[i]
        peer += 8
    for i in range(8 if packet.peer_size == 16 else 4):
        client.peer_low = client.peer_low << 8 | peer[i]
    if parsed.subnet != NULL and parsed.source and believes(settings, packet.peer, packet.peer_size):
        client.bits, client.source, client.high, client.low = parsed.bits, parsed.source, parsed.high, parsed.low


cdef inline void read_packet(const Tables* tables, const Settings* settings, const Packet* packet, Reading* reading) noexcept nogil:
    """The first look; the bucket of the name is fetched."""
    cdef const Query* parsed = &reading.parsed
    reading.whole = reading.asks = False
    reading.node = NULL
    reading.table = NULL
    if packet.length < HEADER_SIZE or packet.query[2] & 0x80 or (packet.peer_size != 4 and packet.peer_size != 16):
        return
    reading.whole = parse_query(packet.query, packet.length, &reading.parsed, &reading.owner)
    if reading.whole and parsed.qclass == CLASS_IN and not parsed.flags & OPCODE_MASK:
        reading.asks = True
        load_client(&reading.client, settings, packet, parsed)
        hash_name(tables, &reading.owner, tables.deepest)
        fetch(find_bucket(tables, &reading.owner, reading.owner.hashed))


cdef inline void fetch_node(const Tables* tables, Reading* reading) noexcept nogil:
    """The second look, into the bucket; its node is fetched, which most often is that of the name."""
    cdef const Bucket* bucket
    if reading.asks:
        bucket = find_bucket(tables, &reading.owner, reading.owner.hashed)
        if bucket.node != NONE:
            reading.node = tables.nodes + bucket.node
            fetch(reading.node)


cdef inline void fetch_parts(const Tables* tables, Reading* reading) noexcept nogil:
    """The third, into the node: its name is fetched, and its records or the client's place in the index of ranges."""
    cdef const Node* node = reading.node
    cdef const Client* client = &reading.client
    if node == NULL:
        return
    fetch(tables.blob + node.name)
    if node.service == NO_SERVICE:
        fetch(tables.rrsets + node.rrset)
        return
    reading.table = tables.tables + tables.services[node.service].table
    if (client.bits or client.peer_bits) == 32:
        fetch(reading.table.v4_index + (<uint32_t>(client.low if client.bits else client.peer_low) >> 16))
    else:
        fetch(reading.table.v6_index + ((client.high if client.bits else client.peer_high) >> 48))


cdef inline void fetch_ends(const Tables* tables, Reading* reading) noexcept nogil:
    """The last: the records of the name, or the ranges and orders where the client's search begins."""
    cdef const Table* table = reading.table
    cdef const Client* client = &reading.client
    cdef uint32_t top, middle
    if table == NULL:
        if reading.node != NULL and reading.node.rrsets:
            fetch(tables.blob + tables.rrsets[reading.node.rrset].at)
    elif (client.bits or client.peer_bits) == 32:
        top = <uint32_t>(client.low if client.bits else client.peer_low) >> 16
        middle = (table.v4_index[top] + table.v4_index[top + 1]) >> 1
        fetch(table.v4_starts + middle)
        fetch(table.v4_orders + middle)
    else:
        top = <uint32_t>((client.high if client.bits else client.peer_high) >> 48)
        middle = (table.v6_index[top] + table.v6_index[top + 1]) >> 1
        fetch(table.v6_starts + middle)
        fetch(table.v6_orders + middle)

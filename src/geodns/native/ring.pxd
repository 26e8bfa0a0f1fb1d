# What a worker leaves to Python: a bounded ring with one producer (its thread) and one consumer (the main thread).
#
# Knows order and bounds. Knows nothing of why a packet is left. Both ends only ever wait for memory, never for each other: a
# full ring refuses, an empty one gives nothing.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from *:
    """
    /* Sequentially consistent throughout: a batch pays for two or three of them, so nothing weaker is worth a thought. */
    #define geodns_load(at) __atomic_load_n((at), __ATOMIC_SEQ_CST)
    #define geodns_store(at, value) __atomic_store_n((at), (value), __ATOMIC_SEQ_CST)
    #define geodns_exchange(at, value) __atomic_exchange_n((at), (value), __ATOMIC_SEQ_CST)
    """
    uint32_t load_count "geodns_load"(uint32_t* at) nogil
    void store_count "geodns_store"(uint32_t* at, uint32_t value) nogil
    uint32_t exchange_count "geodns_exchange"(uint32_t* at, uint32_t value) nogil

cdef enum:
    QUERY_SIZE = 4096                          # octets of a query that are read; what is longer arrives cut off, and is FORMERR
    SOURCE_SIZE = 28                           # sockaddr_in6, the longer of the two
    CONTROL_SIZE = 64                          # of pktinfo; CMSG_SPACE of the longer is 40
    RING_SIZE = 256                            # a power of two

# One packet, with all that its reply needs.
cdef struct Item:
    uint64_t draw
    uint64_t generation                        # of the publish that its worker answered from
    uint32_t why
    uint16_t flags                             # of the reply that was sent, where one was
    uint16_t length
    uint32_t source_size, control_size
    uint8_t source[28]                         # SOURCE_SIZE
    uint8_t control[64]                        # CONTROL_SIZE; of the reply
    uint8_t query[4096]                        # QUERY_SIZE

# `tail` is written by the producer alone, `head` by the consumer alone, each on a cache line of its own.
cdef struct Ring:
    Item* items
    uint8_t apart_1[64]
    uint32_t tail
    uint8_t apart_2[64]
    uint32_t head
    uint8_t apart_3[64]


cdef inline bint open_ring(Ring* ring) noexcept nogil:
    """Memory for all items; pages that nothing was ever left in cost nothing. False: there is none."""
    ring.items = <Item*>calloc(RING_SIZE, sizeof(Item))
    ring.head = ring.tail = 0
    return ring.items != NULL


cdef inline void close_ring(Ring* ring) noexcept nogil:
    free(ring.items)
    ring.items = NULL


cdef inline bint is_empty(Ring* ring) noexcept nogil:
    return load_count(&ring.tail) == load_count(&ring.head)


cdef inline Item* find_room(Ring* ring) noexcept nogil:
    """The item to be filled in before `bring`; NULL where the ring is full. For the producer."""
    if ring.tail - load_count(&ring.head) >= RING_SIZE:
        return NULL
    return &ring.items[ring.tail & (RING_SIZE - 1)]


cdef inline void bring(Ring* ring) noexcept nogil:
    """The item of `find_room` is whole. For the producer."""
    store_count(&ring.tail, ring.tail + 1)


cdef inline Item* find_first(Ring* ring) noexcept nogil:
    """The oldest item, to be read before `pass_on`; NULL where there is none. For the consumer."""
    if load_count(&ring.tail) == ring.head:
        return NULL
    return &ring.items[ring.head & (RING_SIZE - 1)]


cdef inline void pass_on(Ring* ring) noexcept nogil:
    """The item of `find_first` was read. For the consumer."""
    store_count(&ring.head, ring.head + 1)

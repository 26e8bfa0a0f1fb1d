"""`answer_packet` for tests, fuzzers and benchmarks: packets in memory of exactly their size, some or many against the clock.

Knows nothing of what is right. A read or a write past the end of a packet, of its peer or of the room for the reply is what
sanitizers see; inside of a larger buffer they would not.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from .answer cimport DECLINED, Packet, Rules, answer_packet, answer_packets
from .tables cimport Root

cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()

cdef enum:
    TOGETHER = 64                              # packets of a batch, as threads take them


def attempt(
    Root root not None, Rules rules not None, bytes query not None, bytes peer not None, draw, size_t room,
    uint64_t[::1] tally not None,
):
    """(result of `answer_packet`, the reply or None); *tally* counts, and has a slot for whatever may be counted."""
    return attempt_together(root, rules, [query], [peer], [draw], room, tally)[0]


cdef Packet* lay_out(list queries, list peers, list draws, size_t room) except NULL:
    """Packets and peers in memory of exactly their size, and of *room* octets for each reply. Raises MemoryError."""
    cdef uint32_t i, count = len(queries)
    cdef Packet* packets = <Packet*>calloc(count + 1, sizeof(Packet))
    cdef uint8_t* query
    cdef uint8_t* address
    if packets == NULL:
        raise MemoryError
    for i in range(count):
        octets, peer = <bytes?>queries[i], <bytes?>peers[i]
        query, address = <uint8_t*>malloc(len(octets)), <uint8_t*>malloc(len(peer))
        packets[i].query, packets[i].peer, packets[i].out = query, address, <uint8_t*>malloc(room)
        if query == NULL or address == NULL or packets[i].out == NULL:
            give_back(packets, i + 1)
            raise MemoryError
        memcpy(query, PyBytes_AS_STRING(octets), len(octets))
        memcpy(address, PyBytes_AS_STRING(peer), len(peer))
        packets[i].length, packets[i].peer_size, packets[i].draw = len(octets), len(peer), draws[i]
    return packets


cdef void give_back(Packet* packets, uint32_t count) noexcept:
    """The memory of *count* packets, and theirs."""
    cdef uint32_t i
    for i in range(count):
        free(<void*>packets[i].query)
        free(<void*>packets[i].peer)
        free(packets[i].out)
    free(packets)


def attempt_together(
    Root root not None, Rules rules not None, list queries not None, list peers not None, list draws not None, size_t room,
    uint64_t[::1] tally not None,
):
    """What `attempt` gives for each of the packets, as if they had come together."""
    cdef uint32_t i, count = len(queries)
    cdef uint64_t* counts = &tally[0]
    cdef Packet* packets = lay_out(queries, peers, draws, room)
    with nogil:
        answer_packets(&root.tables, &rules.settings, packets, count, room, counts)
    found = []
    for i in range(count):
        reply = PyBytes_FromStringAndSize(<const char*>packets[i].out, packets[i].result) if packets[i].result > 0 else None
        found.append((packets[i].result, reply))
    give_back(packets, count)
    return found


def time_packets(Root root not None, Rules rules not None, list queries not None, list peers not None, uint64_t rounds):
    """(nanoseconds, declined): the time of all *queries* from *peers*, as many, TOGETHER at a time, *rounds* times in a row."""
    cdef uint32_t i, at, size, count = len(queries), declined = 0
    cdef uint64_t round_number, draw = 0x9E3779B97F4A7C15u
    cdef size_t room = max(512, rules.settings.udp_size)
    cdef uint64_t* tally = <uint64_t*>calloc(1 << 20, 8)
    cdef Packet* packets
    cdef timespec began, ended
    if tally == NULL:
        raise MemoryError
    try:
        packets = lay_out(queries, peers, [0] * count, room)
    except BaseException:
        free(tally)
        raise
    with nogil:
        clock_gettime(CLOCK_MONOTONIC, &began)
        for round_number in range(rounds):
            at = 0
            while at < count:
                size = count - at if count - at < TOGETHER else TOGETHER
                for i in range(at, at + size):
                    draw = draw * 0xD1342543DE82EF95u + 1
                    packets[i].draw = draw
                answer_packets(&root.tables, &rules.settings, packets + at, size, room, tally)
                for i in range(at, at + size):
                    declined += packets[i].result <= DECLINED
                at += size
        clock_gettime(CLOCK_MONOTONIC, &ended)
    give_back(packets, count)
    free(tally)
    return (ended.tv_sec - began.tv_sec) * 1_000_000_000 + ended.tv_nsec - began.tv_nsec, declined

"""`answer_packet` for tests, fuzzers and benchmarks: one packet in memory of exactly its size, or many against the clock.

Knows nothing of what is right. A read or a write past the end of the packet, of its peer or of the room for the reply is what
sanitizers see; inside of a larger buffer they would not.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from .answer cimport DECLINED, Rules, answer_packet
from .tables cimport Root

cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()


def attempt(
    Root root not None, Rules rules not None, bytes query not None, bytes peer not None, draw, size_t room,
    uint64_t[::1] tally not None,
):
    """(result of `answer_packet`, the reply or None); *tally* counts, and has a slot for whatever may be counted."""
    cdef size_t length = len(query)
    cdef uint8_t* packet = <uint8_t*>malloc(length)
    cdef uint8_t* out = <uint8_t*>malloc(room)
    cdef uint64_t word = draw
    cdef uint32_t peer_size = len(peer)
    cdef uint8_t* address = <uint8_t*>malloc(peer_size)
    cdef uint64_t* counts = &tally[0]
    cdef ssize_t result
    if packet == NULL or out == NULL or address == NULL:
        free(packet)
        free(out)
        free(address)
        raise MemoryError
    memcpy(packet, PyBytes_AS_STRING(query), length)
    memcpy(address, PyBytes_AS_STRING(peer), peer_size)
    with nogil:
        result = answer_packet(
            &root.tables, &rules.settings, packet, length, address, peer_size, word, out, room, counts
        )
    reply = PyBytes_FromStringAndSize(<const char*>out, result) if result > 0 else None
    free(packet)
    free(out)
    free(address)
    return result, reply


def time_packets(Root root not None, Rules rules not None, list queries not None, list peers not None, uint64_t rounds):
    """(nanoseconds, declined): the time of all *queries* from *peers*, as many, taken *rounds* times in a row."""
    cdef uint32_t i, count = len(queries), declined = 0
    cdef uint64_t round_number, draw = 0x9E3779B97F4A7C15u
    cdef uint8_t out[65535]
    cdef const uint8_t** starts = <const uint8_t**>calloc(2 * count, sizeof(uint8_t*))
    cdef size_t* lengths = <size_t*>calloc(2 * count, sizeof(size_t))
    cdef uint64_t* tally = <uint64_t*>calloc(1 << 20, 8)
    cdef timespec began, ended
    if starts == NULL or lengths == NULL or tally == NULL:
        free(starts)
        free(lengths)
        free(tally)
        raise MemoryError
    for i in range(2 * count):
        octets = queries[i] if i < count else peers[i - count]
        starts[i], lengths[i] = <const uint8_t*>PyBytes_AS_STRING(octets), len(octets)
    with nogil:
        clock_gettime(CLOCK_MONOTONIC, &began)
        for round_number in range(rounds):
            for i in range(count):
                draw = draw * 0xD1342543DE82EF95u + 1
                if answer_packet(
                    &root.tables, &rules.settings, starts[i], lengths[i], starts[count + i], <uint32_t>lengths[count + i], draw,
                    out, sizeof(out), tally,
                ) <= DECLINED:
                    declined += 1
        clock_gettime(CLOCK_MONOTONIC, &ended)
    free(starts)
    free(lengths)
    free(tally)
    return (ended.tv_sec - began.tv_sec) * 1_000_000_000 + ended.tv_nsec - began.tv_nsec, declined

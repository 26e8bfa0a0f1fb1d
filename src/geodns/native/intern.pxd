# Strings of octets to numbers, in the order of appearance. Knows nothing of what they are.
# Nobody can make it slow: who gives strings gives the steps that may be spent on them too.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy

cdef enum:
    NO_NUMBER = 0xFFFFFFFF


cdef struct Entry:
    uint64_t hash
    uint64_t at
    uint32_t length
    uint32_t number


cdef struct Interner:  # strings of octets, numbered in the order of appearance
    Entry* slots
    uint8_t* octets
    uint64_t room  # slots, a power of two
    uint64_t used, size  # octets
    uint64_t most  # octets allowed
    uint32_t count


cdef inline bint prepare(Interner* known, uint64_t most) noexcept nogil:
    known.room, known.size, known.most = 1024, 4096, most
    known.used, known.count = 0, 0
    known.slots = <Entry*>calloc(known.room, sizeof(Entry))
    known.octets = <uint8_t*>malloc(known.size)
    return known.slots is not NULL and known.octets is not NULL


cdef inline void release(Interner* known) noexcept nogil:
    free(known.slots)
    free(known.octets)


cdef inline uint64_t mix_word(uint64_t x) noexcept nogil:
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t hash_octets(const uint8_t* octets, uint32_t length) noexcept nogil:
    """Never 0, which is an empty slot."""
    cdef uint64_t found = length, word
    while length >= 8:
        memcpy(&word, octets, 8)
        found = mix_word(found ^ word) + <uint64_t>0x9E3779B97F4A7C15
        octets += 8
        length -= 8
    word = 0
    memcpy(&word, octets, length)
    return mix_word(found ^ word) | 1


cdef inline uint32_t intern(Interner* known, const void* octets, uint32_t length, int64_t* patience) noexcept nogil:
    """The number of these octets; NO_NUMBER where memory or *patience* is at an end."""
    cdef uint64_t hash = hash_octets(<const uint8_t*>octets, length), i = hash & (known.room - 1)
    cdef Entry* slot
    while known.slots[i].hash:
        slot = &known.slots[i]
        if slot.hash == hash and slot.length == length and not memcmp(known.octets + slot.at, octets, length):
            return slot.number
        i = (i + 1) & (known.room - 1)
        patience[0] -= 1  # a file may be made so that everything falls into one place
        if patience[0] < 0:
            return NO_NUMBER
    if known.used + length > known.most or known.count == NO_NUMBER - 1 or not make_room(known, length):
        return NO_NUMBER
    i = hash & (known.room - 1)
    while known.slots[i].hash:
        i = (i + 1) & (known.room - 1)
    slot = &known.slots[i]
    slot.hash, slot.at, slot.length, slot.number = hash, known.used, length, known.count
    memcpy(known.octets + known.used, octets, length)
    known.used += length
    known.count += 1
    return slot.number


cdef inline bint make_room(Interner* known, uint32_t length) noexcept nogil:
    """Room for one more, slots at most half full."""
    cdef uint64_t i, j, size = known.size
    cdef Entry* slots
    cdef uint8_t* octets
    while known.used + length > size:
        size *= 2
    if size != known.size:
        octets = <uint8_t*>realloc(known.octets, size)
        if octets is NULL:
            return False
        known.octets, known.size = octets, size
    if 2 * (<uint64_t>known.count + 1) <= known.room:
        return True
    slots = <Entry*>calloc(2 * known.room, sizeof(Entry))
    if slots is NULL:
        return False
    for i in range(known.room):
        if known.slots[i].hash:
            j = known.slots[i].hash & (2 * known.room - 1)
            while slots[j].hash:
                j = (j + 1) & (2 * known.room - 1)
            slots[j] = known.slots[i]
    free(known.slots)
    known.slots, known.room = slots, 2 * known.room
    return True

"""Records of a database put into groups that cannot differ in what decides a client's order.

Knows the encoding of the data section (MaxMind DB file format 2.0). Knows nothing of what fields mean, but that two of them
are coordinates: `geo.records` and `geo.place` read one record of each group, and decide.

Two records are in one group when all wanted fields are the same octets, coordinates excepted, and these are given once
each, as floating-point numbers, lie inside their bounds or not, and rank the sites alike. Whatever does not follow the format,
or would take more than its share of memory or time, gives None: then the reference reads every record, and says what is wrong.
"""

from array import array

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport NAN
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from .distance cimport Sites, rank_sites
from .intern cimport NO_NUMBER, Interner, intern, prepare, release


cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()

cdef enum:  # types of values
    POINTER = 1
    STRING = 2
    DOUBLE = 3
    BYTES = 4
    UINT16 = 5
    UINT32 = 6
    MAP = 7
    INT32 = 8
    UINT64 = 9
    UINT128 = 10
    ARRAY = 11
    BOOL = 14
    FLOAT = 15

cdef enum:  # what stands in a record's key before a value, so that different records have different keys
    AT_NOTHING = 0xF0  # a map of which nothing is wanted
    AT_ARRAY = 0xF1  # one of which nothing is wanted, or that has nothing
    AT_FIRST = 0xF2
    AT_MAP = 0xF3
    AT_SCALAR = 0xF4
    AT_LATITUDE = 0xF5
    AT_LONGITUDE = 0xF6
    AT_END = 0xFF

cdef enum:
    NOT_PLAIN = -1  # as a position: what begins here is not read natively
    NOTHING = -1  # as a number of a wish: only skipped
    PAUSE = 1 << 16  # records between two looks for a signal: some 50 ms
    KEY_ROOM = 1024  # octets that the wanted fields of one record may take


cdef struct Ranks:  # places that were ranked already
    Interner places
    Interner orders
    uint32_t* order_of  # number of the order by number of the place
    uint64_t room


cdef uint32_t _find_order(Ranks* known, Sites sites, const double* here, int64_t* patience) noexcept nogil:
    """The number of the order at *here*; NO_NUMBER where memory or *patience* is at an end."""
    cdef uint32_t place, count = known.places.count
    cdef uint32_t* more
    place = intern(&known.places, here, 2 * sizeof(double), patience)
    if place == NO_NUMBER or place < count:
        return place if place == NO_NUMBER else known.order_of[place]
    if place >= known.room:
        more = <uint32_t*>realloc(known.order_of, (2 * known.room + 1024) * sizeof(uint32_t))
        if more is NULL:
            return NO_NUMBER
        known.order_of, known.room = more, 2 * known.room + 1024
    rank_sites(sites, here[0], here[1])
    known.order_of[place] = intern(&known.orders, sites.order, sites.count * sizeof(uint16_t), patience)
    return known.order_of[place]


cdef struct Field:
    const uint8_t* key
    uint32_t length
    int32_t wish
    int axis  # 0 latitude, 1 longitude, -1 neither


cdef struct Wish:  # what to read of a value: `geo.records.Wanted`, laid flat
    int32_t first  # of an array; NOTHING for none
    int32_t begin, end  # its fields


cdef class Reading:
    """What `geo.records.Wanted` asks for, laid flat; and one record as it is read."""

    cdef list keys
    cdef Field fields[256]
    cdef Wish wishes[64]
    cdef int field_count, wish_count
    cdef const uint8_t* octets
    cdef int64_t length
    cdef int64_t patience
    cdef bint raw  # coordinates are octets like all others
    cdef uint8_t key[KEY_ROOM]
    cdef uint32_t used
    cdef double coordinates[2]
    cdef int seen[2]

    def __cinit__(self, wanted):
        self.keys = []
        self._lay(wanted)

    cdef int _lay(self, wanted) except -1:
        """The number of *wanted*, its fields beside each other."""
        cdef int here = self.wish_count, i
        cdef bytes held
        if here == 64 or self.field_count + len(wanted.fields) > 255:
            raise ValueError("more fields than a record can be grouped by")
        self.wish_count += 1
        self.wishes[here].begin, self.wishes[here].end = self.field_count, self.field_count + len(wanted.fields)
        self.field_count = self.wishes[here].end
        self.wishes[here].first = NOTHING if wanted.first is None else self._lay(wanted.first)
        for i, (key, (_, inner)) in enumerate(wanted.fields.items(), self.wishes[here].begin):
            held = bytes(key)
            self.keys.append(held)  # its octets are read as long as this is here
            self.fields[i].key, self.fields[i].length = <const uint8_t*><const char*>held, <uint32_t>len(held)
            self.fields[i].axis = 0 if key == b"latitude" else 1 if key == b"longitude" else -1
            self.fields[i].wish = self._lay(inner)
        return here


cdef inline int64_t _emit(Reading r, const void* octets, int64_t length, int64_t after) noexcept nogil:
    """Add to the record's key; *after*, or NOT_PLAIN where that has no room."""
    if r.used + length > KEY_ROOM:
        return NOT_PLAIN
    memcpy(r.key + r.used, octets, length)
    r.used += <uint32_t>length
    return after


cdef inline int64_t _emit_octet(Reading r, uint8_t octet, int64_t after) noexcept nogil:
    return _emit(r, &octet, 1, after)


cdef int64_t _pointer(Reading r, int64_t at, int64_t* target) noexcept nogil:
    """What follows the pointer at *at*, and where it leads."""
    cdef uint8_t control = r.octets[at]
    cdef int size = (control >> 3) & 3, i
    cdef int64_t after = at + 2 + size, found = control & 7 if size != 3 else 0
    if after > r.length:
        return NOT_PLAIN
    for i in range(size + 1):
        found = found << 8 | r.octets[at + 1 + i]
    if size == 1:
        found += 2048
    elif size == 2:
        found += 526336
    if found >= r.length or r.octets[found] >> 5 == POINTER:
        return NOT_PLAIN
    target[0] = found
    return after


cdef int64_t _control(Reading r, int64_t at, int* kind, int64_t* size) noexcept nogil:
    """Type and size of the value at *at*, which is no pointer; where its payload begins."""
    cdef uint8_t control = r.octets[at]
    cdef int more, i
    cdef int64_t long_size = 0
    kind[0], size[0] = control >> 5, control & 31
    at += 1
    if not kind[0]:
        if at >= r.length:
            return NOT_PLAIN
        kind[0] = r.octets[at] + 7
        at += 1
    if size[0] > 28:
        more = <int>size[0] - 28
        if at + more > r.length:
            return NOT_PLAIN
        for i in range(more):
            long_size = long_size << 8 | r.octets[at + i]
        size[0] = long_size + (29 if more == 1 else 285 if more == 2 else 65821)
        at += more
    return at


cdef int64_t _skip(Reading r, int64_t at, int64_t left) noexcept nogil:
    """What follows *left* values at *at*."""
    cdef int kind
    cdef int64_t size
    r.patience -= left
    while left:
        if at >= r.length or r.patience < 0:
            return NOT_PLAIN
        left -= 1
        if r.octets[at] >> 5 == POINTER:
            at += 2 + ((r.octets[at] >> 3) & 3)
            continue
        at = _control(r, at, &kind, &size)
        if at == NOT_PLAIN or kind > FLOAT:
            return NOT_PLAIN
        if kind == MAP or kind == ARRAY:
            size *= 2 if kind == MAP else 1
            left += size
            r.patience -= size
        elif kind != BOOL:
            at += size
    return at if at <= r.length and r.patience >= 0 else NOT_PLAIN


cdef int64_t _value(Reading r, int64_t at, int wish, int axis) noexcept nogil:
    """Add the value at *at* to the record's key; what follows it, or NOT_PLAIN."""
    cdef int64_t target = 0, after, size
    cdef int kind
    r.patience -= 1
    if at >= r.length or r.patience < 0:
        return NOT_PLAIN
    if r.octets[at] >> 5 == POINTER:
        after = _pointer(r, at, &target)
        if after == NOT_PLAIN or _value(r, target, wish, axis) == NOT_PLAIN:
            return NOT_PLAIN
        return after
    at = _control(r, at, &kind, &size)
    if at == NOT_PLAIN:
        return NOT_PLAIN
    if kind == MAP:
        if r.wishes[wish].begin == r.wishes[wish].end:
            return _emit_octet(r, AT_NOTHING, _skip(r, at, 2 * size))
        return _map(r, at, size, wish)
    if kind == ARRAY:
        if r.wishes[wish].first == NOTHING or not size:
            return _emit_octet(r, AT_ARRAY, _skip(r, at, size))
        if _emit_octet(r, AT_FIRST, 0) == NOT_PLAIN:
            return NOT_PLAIN
        after = _value(r, at, r.wishes[wish].first, NOTHING)
        return NOT_PLAIN if after == NOT_PLAIN else _skip(r, after, size - 1)
    return _scalar(r, at, kind, size, axis)


cdef int64_t _map(Reading r, int64_t at, int64_t size, int wish) noexcept nogil:
    """Add the wanted entries of a map to the record's key, in the order in which they stand."""
    cdef int64_t key = 0, key_length = 0
    cdef int i, found
    if _emit_octet(r, AT_MAP, 0) == NOT_PLAIN:
        return NOT_PLAIN
    while size:
        size -= 1
        r.patience -= 1
        at = _key(r, at, &key, &key_length)
        if at == NOT_PLAIN or r.patience < 0:
            return NOT_PLAIN
        found = NOTHING
        for i in range(r.wishes[wish].begin, r.wishes[wish].end):
            if r.fields[i].length == key_length and not memcmp(r.fields[i].key, r.octets + key, key_length):
                found = i
        if found == NOTHING:
            at = _skip(r, at, 1)
        else:
            at = _emit_octet(r, <uint8_t>(found - r.wishes[wish].begin), at)
            at = NOT_PLAIN if at == NOT_PLAIN else _value(r, at, r.fields[found].wish, r.fields[found].axis)
        if at == NOT_PLAIN:
            return NOT_PLAIN
    return _emit_octet(r, AT_END, at)


cdef int64_t _key(Reading r, int64_t at, int64_t* key, int64_t* length) noexcept nogil:
    """Where the key at *at* stands, and how long it is; what follows."""
    cdef int64_t target = 0, after
    cdef int kind
    if at >= r.length:
        return NOT_PLAIN
    if r.octets[at] >> 5 == POINTER:
        after = _pointer(r, at, &target)
        if after == NOT_PLAIN or _key(r, target, key, length) == NOT_PLAIN:
            return NOT_PLAIN
        return after
    at = _control(r, at, &kind, length)
    if at == NOT_PLAIN or kind != STRING or at + length[0] > r.length:
        return NOT_PLAIN
    key[0] = at
    return at + length[0]


cdef int64_t _scalar(Reading r, int64_t at, int kind, int64_t size, int axis) noexcept nogil:
    cdef int64_t after = at + size
    cdef uint8_t head[4]
    cdef bint right
    head[0], head[1], head[2], head[3] = AT_SCALAR, <uint8_t>kind, <uint8_t>(size & 255), <uint8_t>(size >> 8 & 255)
    if size > KEY_ROOM:
        return NOT_PLAIN
    if kind == BOOL:
        return _emit(r, head, 4, at)
    if after > r.length:
        return NOT_PLAIN
    right = kind == STRING or kind == BYTES or (kind == DOUBLE and size == 8) or (kind == FLOAT and size == 4)
    right = right or ((kind == UINT16 or kind == UINT32 or kind == UINT64 or kind == UINT128) and size <= 16)
    if not right and not (kind == INT32 and size <= 4):
        return NOT_PLAIN
    if axis >= 0 and not r.raw and (kind == DOUBLE or kind == FLOAT):
        r.coordinates[axis] = _read_float(r.octets + at, size)
        r.seen[axis] += 1
        return _emit_octet(r, <uint8_t>(AT_LATITUDE + axis), after)
    return _emit(r, r.octets + at, size, after) if _emit(r, head, 4, 0) != NOT_PLAIN else NOT_PLAIN


cdef double _read_float(const uint8_t* octets, int64_t size) noexcept nogil:
    """The number in 4 or 8 octets, the highest first."""
    cdef uint64_t bits = 0
    cdef uint32_t narrow
    cdef double found
    cdef float single
    cdef int64_t i
    for i in range(size):
        bits = bits << 8 | octets[i]
    if size == 4:
        narrow = <uint32_t>bits
        memcpy(&single, &narrow, 4)
        return single
    memcpy(&found, &bits, 8)
    return found


cdef bint _read_record(Reading r, int64_t at) noexcept nogil:
    """Leave key and coordinates of the record at *at* in *r*; False where it is not plain."""
    r.raw = False
    if not _try_record(r, at):
        return False
    if r.seen[0] != r.seen[1] or r.seen[0] > 1:  # one axis alone, or one twice: which counts is not for us to say
        r.raw = True
        return _try_record(r, at)
    return True


cdef bint _try_record(Reading r, int64_t at) noexcept nogil:
    r.used, r.seen[0], r.seen[1] = 0, 0, 0
    return _value(r, at, 0, NOTHING) != NOT_PLAIN


cdef inline bint _is_placed(const double* at) noexcept nogil:
    """Are these coordinates ones that `geo.place.read_coordinates` takes?"""
    return -90 <= at[0] <= 90 and -180 <= at[1] <= 180 and not (at[0] == 0 and at[1] == 0)


cdef class Groups:
    """The records of a database in groups, both numbered in the order of appearance.

    `members`: the group of each record. Of each group: `first`, where in the data section its first record stands; `keys`,
    equal for groups that differ only in coordinates; `latitudes` and `longitudes` of its first record, not a number where
    there are none.
    """

    cdef readonly object members, first, keys, latitudes, longitudes


cdef struct Work:
    Interner keys  # wanted fields
    Interner groups  # pairs of a key and an order
    Ranks ranks
    const uint32_t* offsets
    Py_ssize_t count
    uint32_t* members
    uint32_t* first


def group_records(const uint8_t[::1] octets not None, const uint32_t[::1] offsets not None, wanted, Sites sites, int64_t patience):
    """The records at *offsets* of the data section *octets* in `Groups`; or None.

    *wanted* is the `Wanted` that they are read by; without *sites* all coordinates that can be used are alike. *patience* is
    the number of values that may be looked at in all.
    """
    cdef Reading reading = Reading(wanted)
    cdef Work work
    cdef bint plain
    if not octets.shape[0] or not offsets.shape[0]:
        return None
    reading.octets, reading.length, reading.patience = &octets[0], octets.shape[0], patience
    all_members, all_first = array("I", bytes(4)) * offsets.shape[0], array("I", bytes(4)) * offsets.shape[0]
    cdef uint32_t[::1] members = all_members, first = all_first
    work.offsets, work.count, work.members, work.first = &offsets[0], offsets.shape[0], &members[0], &first[0]
    try:
        if not _begin(&work, octets.shape[0]):
            raise MemoryError
        with nogil:
            plain = _group(reading, sites, &work)
        return _describe(reading, &work, all_members, all_first) if plain else None
    finally:
        release(&work.keys)
        release(&work.groups)
        release(&work.ranks.places)
        release(&work.ranks.orders)
        free(work.ranks.order_of)


cdef bint _begin(Work* work, uint64_t length) noexcept nogil:
    """All of *work* has its memory, or none and may be released: `and` would leave some without a value."""
    cdef bint whole = prepare(&work.keys, length + (1 << 20))
    whole = prepare(&work.groups, <uint64_t>1 << 40) and whole
    whole = prepare(&work.ranks.places, <uint64_t>1 << 40) and whole
    whole = prepare(&work.ranks.orders, <uint64_t>1 << 32) and whole
    work.ranks.order_of, work.ranks.room = NULL, 0
    return whole


cdef bint _group(Reading r, Sites sites, Work* work) except -1 nogil:
    """Number all records; False where one is not plain, or memory or patience at an end."""
    cdef Py_ssize_t i
    cdef uint32_t pair[2]
    cdef uint32_t known
    cdef bint placed
    for i in range(work.count):
        if i % PAUSE == 0:
            _look_for_signals()
        if not _read_record(r, work.offsets[i]):
            return False
        placed = r.seen[0] == 1 and _is_placed(r.coordinates)
        if _emit_octet(r, 2 if r.raw else placed, 0) == NOT_PLAIN:
            return False
        pair[0], pair[1] = intern(&work.keys, r.key, r.used, &r.patience), 0
        if placed and sites is not None:
            pair[1] = _find_order(&work.ranks, sites, r.coordinates, &r.patience)
        known = work.groups.count
        if pair[0] == NO_NUMBER or pair[1] == NO_NUMBER:
            return False
        work.members[i] = intern(&work.groups, pair, sizeof(pair), &r.patience)
        if work.members[i] == NO_NUMBER:
            return False
        if work.members[i] == known:
            work.first[known] = work.offsets[i]
    return True


cdef int _look_for_signals() except -1 with gil:
    """Let handlers run; one that raises ends the work."""
    PyErr_CheckSignals()
    return 0


cdef object _describe(Reading r, Work* work, members, first):
    """`Groups` of what was numbered; or None."""
    cdef uint32_t group
    cdef uint32_t pair[2]
    found = Groups()
    found.members, found.first = members, first[:work.groups.count]
    found.keys, found.latitudes, found.longitudes = array("I"), array("d"), array("d")
    for group in range(work.groups.count):
        if not _read_record(r, work.first[group]):
            return None
        memcpy(pair, work.groups.octets + group * sizeof(pair), sizeof(pair))
        found.keys.append(pair[0])
        placed = r.seen[0] == 1
        found.latitudes.append(r.coordinates[0] if placed else NAN)
        found.longitudes.append(r.coordinates[1] if placed else NAN)
    return found

"""Trees of databases to ranges: the loops of `geo.mmdb`, `compiler.rangebuild` and `compiler.maps` that see every node.

Knows search trees as two flat arrays, which records of a tree lead to data, and how neighbours merge. Knows nothing of what
records or states mean. The reference is Python: each function gives what the one of its name gives there, or None, after
which the reference decides (and finds the words for what is wrong).

Whatever is in a file, every index is tested before it is used, and no loop is longer than the file or the steps allowed.
"""

from array import array

from cpython.exc cimport PyErr_CheckSignals
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy


cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"
    int __builtin_popcountll(unsigned long long) nogil


cdef extern from "Python.h":
    enum:
        PyBUF_READ

SOURCE_DIGEST = BUILT_FROM.decode()

cdef enum:
    SEPARATOR = 16  # zero octets between tree and data section
    MIXED = -1
    NO_RECORD = -2
    TOO_DEEP_VALUE = -3
    DEEPER = 64  # levels below an IPv6 /64
    DEEPEST = 64  # bits of an address in a table
    PAUSE = 1 << 22  # steps between two looks for a signal: some 20 ms

cdef enum:  # how a walk ended; the first three are also known by their names in Python
    END_FINISHED
    END_ENDLESS
    END_TOO_DEEP
    END_NO_MEMORY
    END_NO_TREE

FINISHED, ENDLESS, TOO_DEEP = END_FINISHED, END_ENDLESS, END_TOO_DEEP


def read_tree(const uint8_t[::1] octets not None, Py_ssize_t nodes, int size):
    """Left and right records of *nodes* nodes of 2 x *size* bits at the beginning of *octets*."""
    if size not in (24, 28, 32) or nodes < 1 or nodes > octets.shape[0] // (size // 4):
        raise ValueError(f"{nodes} nodes of twice {size} bits do not fit into {octets.shape[0]} octets")
    left, right = array("I", bytes(4)) * nodes, array("I", bytes(4)) * nodes
    cdef uint32_t[::1] lefts = left, rights = right
    with nogil:
        _read_tree(&octets[0], nodes, size, &lefts[0], &rights[0])
    return left, right


cdef void _read_tree(const uint8_t* at, Py_ssize_t nodes, int size, uint32_t* left, uint32_t* right) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nodes):
        if size == 24:
            left[i] = <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]
            right[i] = <uint32_t>at[3] << 16 | <uint32_t>at[4] << 8 | at[5]
            at += 6
        elif size == 28:  # the middle octet holds the upper four bits of both
            left[i] = <uint32_t>(at[3] & 0xF0) << 20 | <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]
            right[i] = <uint32_t>(at[3] & 0x0F) << 24 | <uint32_t>at[4] << 16 | <uint32_t>at[5] << 8 | at[6]
            at += 7
        else:
            left[i] = <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]
            right[i] = <uint32_t>at[4] << 24 | <uint32_t>at[5] << 16 | <uint32_t>at[6] << 8 | at[7]
            at += 8


def parents_first(const uint32_t[::1] left not None, const uint32_t[::1] right not None, uint32_t target):
    """Does every record lead to a higher number, but for ones that lead to *target*, the IPv4 tree, from outside of it?"""
    cdef Py_ssize_t nodes = _check_sides(left, right), i
    cdef bint back = False, found
    cdef uint8_t* inside
    for i in range(nodes):
        if left[i] <= i or right[i] <= i:
            back = True
            if (left[i] <= i and left[i] != target) or (right[i] <= i and right[i] != target):
                return False
    if not back or target >= nodes:
        return not back
    inside = <uint8_t*>calloc(nodes, 1)
    if inside is NULL:
        raise MemoryError
    inside[target] = 1
    with nogil:
        found = _leads_back(&left[0], &right[0], nodes, target, inside)
    free(inside)
    return not found


cdef bint _leads_back(
    const uint32_t* left, const uint32_t* right, Py_ssize_t nodes, uint32_t target, uint8_t* inside
) noexcept nogil:
    """Does any node below *target* lead to a number that is not higher? *inside* has an octet for each node."""
    cdef Py_ssize_t i
    for i in range(target, nodes):
        if inside[i]:
            if left[i] <= i or right[i] <= i:
                return True
            if left[i] < nodes:
                inside[left[i]] = 1
            if right[i] < nodes:
                inside[right[i]] = 1
    return False


cdef Py_ssize_t _check_sides(const uint32_t[::1] left, const uint32_t[::1] right) except -1:
    if left.shape[0] != right.shape[0] or not left.shape[0] or left.shape[0] > 0xFFFFFFFF:
        raise ValueError(f"a tree of {left.shape[0]} left and {right.shape[0]} right records")
    return left.shape[0]


cdef struct Word:  # 64 octets of the data section: at which of them a record begins, and how many do before
    uint64_t bits
    uint64_t before


cdef class Pointers:
    """The places in the data section that records of a tree lead to, numbered in their order from 1.

    One bit an octet, and running counts, so that the number of a record is found without a search.
    """

    cdef Word* words
    cdef uint64_t length  # of the data section
    cdef readonly uint32_t nodes
    cdef readonly uint32_t count

    def __dealloc__(self):
        free(self.words)

    def offsets(self):
        """Where in the data section they lie, ascending."""
        found = array("I", bytes(4)) * self.count
        if self.count:
            _list_offsets(self, found)
        return found


def find_pointers(const uint32_t[::1] left not None, const uint32_t[::1] right not None, uint64_t length):
    """Every place that the tree leads to in a data section of *length* octets; None if one lies outside of it."""
    cdef Py_ssize_t nodes = _check_sides(left, right)
    cdef Pointers found = Pointers()
    if length > 0xFFFFFFFF:
        return None
    found.words = <Word*>calloc(length // 64 + 1, sizeof(Word))
    if found.words is NULL:
        raise MemoryError
    found.length, found.nodes = length, <uint32_t>nodes
    cdef bint right_ones
    with nogil:
        right_ones = _mark_pointers(found, &left[0], nodes) and _mark_pointers(found, &right[0], nodes)
        if right_ones:
            _count_pointers(found)
    return found if right_ones else None


cdef bint _mark_pointers(Pointers found, const uint32_t* side, Py_ssize_t nodes) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint64_t offset
    for i in range(nodes):
        if side[i] > nodes:
            if side[i] < <uint64_t>nodes + SEPARATOR:
                return False
            offset = side[i] - <uint64_t>nodes - SEPARATOR
            if offset >= found.length:
                return False
            found.words[offset >> 6].bits |= <uint64_t>1 << (offset & 63)
    return True


cdef void _count_pointers(Pointers found) noexcept nogil:
    cdef uint64_t i, count = 0
    for i in range(found.length // 64 + 1):
        found.words[i].before = count
        count += __builtin_popcountll(found.words[i].bits)
    found.count = <uint32_t>count


cdef int _list_offsets(Pointers found, uint32_t[::1] offsets) except -1:
    cdef uint64_t i, bit, n = 0
    for i in range(found.length // 64 + 1):
        for bit in range(64):
            if found.words[i].bits >> bit & 1:
                offsets[n] = <uint32_t>(i << 6 | bit)
                n += 1
    return 0


cdef struct Reach:  # how to get from a record of a tree to its value
    const Word* words
    const int32_t* values
    uint64_t length
    uint32_t nodes


cdef class Leaves:
    """The value behind each record of a tree, as `compiler.leaves` has it in a dict.

    *members*[i] is the group of pointer i + 1, *numbers*[group] its value; not below 0.
    """

    cdef Pointers pointers
    cdef Reach reach
    cdef int32_t* values

    def __cinit__(self, Pointers pointers not None, const uint32_t[::1] members not None, const int32_t[::1] numbers not None):
        cdef Py_ssize_t i
        if members.shape[0] != pointers.count:
            raise ValueError(f"{members.shape[0]} values for {pointers.count} pointers")
        self.values = <int32_t*>calloc(pointers.count + 1, sizeof(int32_t))
        if self.values is NULL:
            raise MemoryError
        for i in range(members.shape[0]):
            if members[i] >= numbers.shape[0] or numbers[members[i]] < 0:
                raise ValueError(f"pointer {i + 1} has no value that is a number of a state")
            self.values[i] = numbers[members[i]]
        self.pointers = pointers
        self.reach.words, self.reach.values = pointers.words, self.values
        self.reach.length, self.reach.nodes = pointers.length, pointers.nodes

    def __dealloc__(self):
        free(self.values)

    def __getitem__(self, record):
        """The value of a record, as a dict would give it. Raises KeyError."""
        cdef int32_t value = NO_RECORD
        if 0 <= record <= 0xFFFFFFFF:
            value = _value(&self.reach, record)
        if value < 0:
            raise KeyError(record)
        return value


cdef inline int32_t _value(const Reach* reach, uint32_t record) noexcept nogil:
    """The value of a record that is no node, 0 where nothing is known; NO_RECORD for what does not stand in the tree."""
    cdef uint64_t offset
    cdef const Word* word
    if record == reach.nodes:
        return 0
    if record < <uint64_t>reach.nodes + SEPARATOR:
        return NO_RECORD
    offset = record - <uint64_t>reach.nodes - SEPARATOR
    if offset >= reach.length:
        return NO_RECORD
    word = &reach.words[offset >> 6]
    if not word.bits >> (offset & 63) & 1:
        return NO_RECORD
    return reach.values[word.before + __builtin_popcountll(word.bits & ((<uint64_t>1 << (offset & 63)) - 1))]


def mark_nodes(const uint32_t[::1] left not None, const uint32_t[::1] right not None, Leaves leaves not None):
    """By node: the one value of its whole subtree, or MIXED."""
    cdef Py_ssize_t nodes = _check_sides(left, right)
    if nodes != leaves.reach.nodes:
        raise ValueError(f"a tree of {nodes} nodes and leaves of one of {leaves.reach.nodes}")
    found = array("i", [MIXED]) * nodes
    cdef int32_t[::1] marks = found
    with nogil:
        _mark_nodes(&left[0], &right[0], nodes, &leaves.reach, &marks[0])
    return found


cdef void _mark_nodes(
    const uint32_t* left, const uint32_t* right, Py_ssize_t nodes, const Reach* reach, int32_t* marks
) noexcept nogil:
    """Children have higher numbers, so a loop from the end meets them first; of others MIXED is said, which is safe."""
    cdef Py_ssize_t i
    cdef int32_t a, b
    for i in range(nodes - 1, -1, -1):
        a = marks[left[i]] if left[i] < nodes else _value(reach, left[i])
        b = marks[right[i]] if right[i] < nodes else _value(reach, right[i])
        if a == b and a >= 0:
            marks[i] = a


cdef struct Growing:  # octets that grow
    uint8_t* octets
    size_t used
    size_t room


cdef inline bint _add(Growing* into, const void* item, size_t size) noexcept nogil:
    """Append *item*; False where there is no memory for it."""
    cdef uint8_t* more
    cdef size_t room
    if into.used + size > into.room:
        room = 2 * into.room + 65536
        more = <uint8_t*>realloc(into.octets, room)
        if more is NULL:
            return False
        into.octets, into.room = more, room
    memcpy(into.octets + into.used, item, size)
    into.used += size
    return True


cdef object _copy(const Growing* grown, str form):
    """What has grown, as an array."""
    found = array(form)
    if grown.used:
        found.frombytes(PyMemoryView_FromMemory(<char*>grown.octets, grown.used, PyBUF_READ))
    return found


cdef struct Frame:
    uint64_t at
    uint64_t half
    uint32_t node


cdef struct Way:  # a walk down one tree: what it reads, and how far it is
    const uint32_t* left
    const uint32_t* right
    const int32_t* marks
    Reach reach
    uint32_t nodes
    uint32_t root
    int bits
    int32_t last
    int64_t steps
    Growing starts
    Growing values


def walk(
    const uint32_t[::1] left not None,
    const uint32_t[::1] right not None,
    const int32_t[::1] marks not None,
    Leaves leaves not None,
    uint32_t root,
    int bits,
    pieces,
    int64_t most,
):
    """(how it ended, starts, values) of the ranges of *pieces*, neighbours merged.

    *pieces* are (first, size) of prefixes in order, in a space of *bits* (32 or 64) bits that begins at the record *root*;
    *most* is how many steps are allowed. There are no ranges unless it FINISHED.
    """
    cdef Way way
    cdef int end
    cdef uint32_t nodes = <uint32_t>_check_sides(left, right)
    if bits not in (32, 64) or nodes != leaves.reach.nodes or marks.shape[0] != nodes or most < 0:
        raise ValueError(f"{bits} bits, {nodes} nodes, {marks.shape[0]} marks, {most} steps")
    way.left, way.right, way.marks, way.reach = &left[0], &right[0], &marks[0], leaves.reach
    way.nodes, way.root, way.bits, way.last, way.steps = nodes, root, bits, MIXED, most
    way.starts.octets, way.starts.used, way.starts.room = NULL, 0, 0
    way.values = way.starts
    try:
        end = _walk_pieces(&way, pieces)
        if end != END_FINISHED:
            return end, array("I" if bits == 32 else "Q"), array("I")
        return FINISHED, _copy(&way.starts, "I" if bits == 32 else "Q"), _copy(&way.values, "I")
    finally:
        free(way.starts.octets)
        free(way.values.octets)


cdef int _walk_pieces(Way* way, pieces) except -1:
    cdef uint64_t start
    cdef int end = END_FINISHED, length
    for first, size in pieces:
        length = size.bit_length() - 1
        if not 0 <= length <= way.bits or size & (size - 1) or first & (size - 1) or first < 0 or first >> way.bits:
            raise ValueError(f"{first} and {size} are no prefix of {way.bits} bits")
        start = first
        with nogil:
            end = _walk(way, start, length)
        if end != END_FINISHED:
            break
    if end == END_NO_MEMORY:
        raise MemoryError
    if end == END_NO_TREE:
        raise ValueError("marks or leaves are not those of this tree")
    return end


cdef int _walk(Way* way, uint64_t first, int length) except -1 nogil:
    """Add the ranges of the prefix of 2^*length* addresses at *first*."""
    cdef Frame stack[DEEPEST + 2]
    cdef Frame here
    cdef int32_t value
    cdef int top = 1
    stack[0].node, stack[0].at = _descend(way, first, length), first
    stack[0].half = <uint64_t>1 << (length - 1) if length else 0
    while True:
        if not way.steps:
            return END_ENDLESS
        way.steps -= 1
        if not top:
            return END_FINISHED
        if way.steps % PAUSE == 0:
            _look_for_signals()
        top -= 1
        here = stack[top]
        value = way.marks[here.node] if here.node < way.nodes else _value(&way.reach, here.node)
        if value == MIXED and not here.half:
            value = _first_below(way, here.node)
        if value == MIXED:  # so it is a node; each level takes one of at most 64 bits and leaves one frame behind
            stack[top].node, stack[top].at, stack[top].half = way.right[here.node], here.at + here.half, here.half >> 1
            stack[top + 1].node, stack[top + 1].at, stack[top + 1].half = way.left[here.node], here.at, here.half >> 1
            top += 2
        elif value < 0:
            return END_TOO_DEEP if value == TOO_DEEP_VALUE else END_NO_TREE
        elif value != way.last:
            if not _add_range(way, here.at, <uint32_t>value):
                return END_NO_MEMORY
            way.last = value


cdef inline bint _add_range(Way* way, uint64_t start, uint32_t value) noexcept nogil:
    cdef uint32_t narrow = <uint32_t>start
    if way.bits == 32:
        return _add(&way.starts, &narrow, 4) and _add(&way.values, &value, 4)
    return _add(&way.starts, &start, 8) and _add(&way.values, &value, 4)


cdef uint32_t _descend(const Way* way, uint64_t first, int length) noexcept nogil:
    """The record for the prefix of 2^*length* addresses at *first*: a node, or what stands above it."""
    cdef uint32_t node = way.root
    cdef int bit = way.bits
    while bit > length and node < way.nodes:
        bit -= 1
        node = way.right[node] if first >> bit & 1 else way.left[node]
    return node


cdef int32_t _first_below(const Way* way, uint32_t node) noexcept nogil:
    """The value of the first address under a node at the last level that tables look at."""
    cdef int level
    if way.bits == 64:
        for level in range(DEEPER):
            if node >= way.nodes:
                break
            node = way.left[node]
    return TOO_DEEP_VALUE if node < way.nodes else _value(&way.reach, node)


cdef int _look_for_signals() except -1 with gil:
    """Let handlers run; one that raises ends the walk."""
    PyErr_CheckSignals()
    return 0

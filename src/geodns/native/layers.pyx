"""Ranges with a number each, renumbered and merged: the loops of `compiler.layers`.

Knows arrays. Knows nothing of what the numbers mean.
"""

from array import array

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()


def merge(starts, const uint32_t[::1] values not None, const uint32_t[::1] kinds not None, const uint32_t[::1] forced not None):
    """(starts, kinds) of ranges whose values are replaced by *kinds*[value]; neighbours that are equal become one.

    *forced* are indexes, ascending, of ranges that stay in any case.
    """
    cdef const uint8_t[::1] octets = memoryview(starts).cast("B")
    cdef Py_ssize_t width = starts.itemsize, count = values.shape[0], i, n = 0, at = 0
    cdef uint32_t[::1] new_values
    cdef uint8_t[::1] new_octets, begins
    if octets.shape[0] != count * width:
        raise ValueError(f"{octets.shape[0] // width} starts and {count} values")
    kept = bytearray(count)
    begins = kept
    for i in range(count):
        if values[i] >= kinds.shape[0]:
            raise IndexError(f"value {values[i]} of {kinds.shape[0]}")
        while at < forced.shape[0] and forced[at] < i:
            at += 1
        begins[i] = not i or kinds[values[i]] != kinds[values[i - 1]] or (at < forced.shape[0] and forced[at] == i)
        n += begins[i]
    found_starts, found_values = array(starts.typecode, bytes(width)) * n, array("I", bytes(4)) * n
    if n:
        new_octets, new_values = memoryview(found_starts).cast("B"), found_values
    n = 0
    for i in range(count):
        if begins[i]:
            memcpy(&new_octets[n * width], &octets[i * width], width)
            new_values[n] = kinds[values[i]]
            n += 1
    return found_starts, found_values


def translate(const uint32_t[::1] values not None, const uint32_t[::1] numbers not None):
    """*numbers*[value] for each of *values*."""
    cdef Py_ssize_t i
    found = array("I", bytes(4)) * values.shape[0]
    cdef uint32_t[::1] into = found
    for i in range(values.shape[0]):
        if values[i] >= numbers.shape[0]:
            raise IndexError(f"value {values[i]} of {numbers.shape[0]}")
        into[i] = numbers[values[i]]
    return found


def find_distinct(const uint32_t[::1] values not None):
    """Each of *values* once, in the order of appearance. They are numbers of something, so none is much above their count."""
    cdef Py_ssize_t i
    cdef uint32_t most = 0
    found = array("I")
    for i in range(values.shape[0]):
        most = max(most, values[i])
    seen = bytearray(<uint64_t>most + 1)
    cdef uint8_t[::1] marks = seen
    for i in range(values.shape[0]):
        if not marks[values[i]]:
            marks[values[i]] = 1
            found.append(values[i])
    return found

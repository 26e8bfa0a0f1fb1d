# The nearest first, as `geo.distance` ranks: for extensions that rank many places without the interpreter.

from libc.stdint cimport uint16_t


cdef class Sites:
    cdef int count
    cdef double* points  # x, y, z of each
    cdef double* factors
    cdef double* measured  # of the place looked at last
    cdef uint16_t* order  # the same
    cdef readonly tuple numbers


cdef void rank_sites(Sites sites, double latitude, double longitude) noexcept nogil

"""Which datacenter is nearest: `geo.distance` natively, the same operations in the same order on the same floats.

Knows great circles and bias. Knows nothing of databases, maps or rules.
"""

from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport calloc, free


cdef extern from *:
    """
    #include <math.h>
    /* Called by pointer, so that no compiler makes one call of a sine and a cosine: Python makes two. */
    static double (*volatile geodns_sin)(double) = sin;
    static double (*volatile geodns_cos)(double) = cos;
    static double (*volatile geodns_asin)(double) = asin;
    """
    double geodns_sin(double) noexcept nogil
    double geodns_cos(double) noexcept nogil
    double geodns_asin(double) noexcept nogil
    const char* BUILT_FROM "SOURCE_DIGEST"


cdef extern from "<math.h>":
    double sqrt(double) noexcept nogil

SOURCE_DIGEST = BUILT_FROM.decode()

cdef double DEGREE = 3.141592653589793 / 180.0  # as math.radians has it


cdef class Sites:
    """Datacenters as `geo.distance` sees them: *points* of the unit sphere, *factors* of their bias, *numbers*; by name."""

    def __cinit__(self, points, factors, numbers):
        cdef int i
        self.numbers, self.count = tuple(numbers), len(numbers)
        if not 0 < self.count < 0x10000 or len(points) != self.count or len(factors) != self.count:
            raise ValueError(f"{self.count} sites, {len(points)} points, {len(factors)} factors")
        if not all(0 < factor < 1e6 for factor in factors):  # what is measured fits into 64 bits
            raise ValueError(f"factors {factors}")
        self.points = <double*>calloc(5 * self.count, sizeof(double))
        self.order = <uint16_t*>calloc(self.count, sizeof(uint16_t))
        if self.points is NULL or self.order is NULL:
            raise MemoryError
        self.factors, self.measured = self.points + 3 * self.count, self.points + 4 * self.count
        for i in range(self.count):
            self.points[3 * i], self.points[3 * i + 1], self.points[3 * i + 2] = points[i]
            self.factors[i] = factors[i]

    def __dealloc__(self):
        free(self.points)
        free(self.order)

    def rank(self, double latitude, double longitude):
        """Numbers of all sites, the nearest after bias first; ties by name. Degrees, inside their bounds, or ValueError."""
        cdef int i
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            raise ValueError(f"({latitude}, {longitude}) is no place")
        rank_sites(self, latitude, longitude)
        return tuple([self.numbers[self.order[i]] for i in range(self.count)])


cdef void rank_sites(Sites sites, double latitude, double longitude) noexcept nogil:
    """Lay the order of *sites* out in `order`: the operations of `geo.distance`, in their order."""
    cdef double phi = latitude * DEGREE, theta = longitude * DEGREE
    cdef double a = geodns_cos(phi) * geodns_cos(theta), b = geodns_cos(phi) * geodns_sin(theta), c = geodns_sin(phi)
    cdef double x, y, z, half, km
    cdef int i, j
    for i in range(sites.count):
        x, y, z = a - sites.points[3 * i], b - sites.points[3 * i + 1], c - sites.points[3 * i + 2]
        half = sqrt(x * x + y * y + z * z) / 2
        km = 2 * 6371.0088 * geodns_asin(half if half < 1.0 else 1.0)
        sites.measured[i] = <double>(<int64_t>(km * sites.factors[i] * 1e6 + 0.5)) / 1e6
        j = i
        while j and sites.measured[sites.order[j - 1]] > sites.measured[i]:
            sites.order[j] = sites.order[j - 1]
            j -= 1
        sites.order[j] = <uint16_t>i

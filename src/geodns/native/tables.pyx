"""The blocks of a snapshot opened for the native engine: `Root` checks every index once, and hashes the names.

Knows the layout of blocks. Knows nothing of packets, or of who may hold a root for how long. Most of the work is done without
the interpreter, so a root belongs into a thread: two million ranges and a hundred thousand names take some dozen milliseconds.
"""

import json
import os

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from .checks cimport (
    check_choices, check_nodes, check_orders, check_services, check_v4, check_v6, check_zones, is_span,
)
from .names cimport Name, find_labels, find_suffix, hash_name

from ..errors import ImageError
from ..image import Kind, open_unsealed
from ..image_choices import POOL_NOW, SLOT
from ..image_maps import TABLE
from ..image_zones_read import CUT, GLUE, NODE, POOL, RRSET, SERVICE, ZONE
from ..pick import LOG2
from ..wire.rdata import ANY_TAIL

cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()

cdef uint64_t log2_table[257]
cdef bytes any_tail = ANY_TAIL
for _i, _value in enumerate(LOG2):
    log2_table[_i] = _value


cdef class Names:
    """Maps, zones and the hash of names, checked."""

    def __cinit__(self, bytes maps not None, bytes zones not None):
        self.maps, self.zones = maps, zones
        memset(&self.tables, 0, sizeof(Tables))
        self.tables.log2, self.tables.any_tail = log2_table, any_tail
        zones_block = open_unsealed(zones, Kind.ZONES, "zones block")
        maps_block = open_unsealed(maps, Kind.MAPS, "maps block")
        if json.loads(bytes(zones_block.sections["about"]))["maps_shape"] != maps_block.shape.hex():
            raise ImageError("zones and maps were built on different datacenters or tables")
        self.shape = zones_block.shape
        self._open_zones(zones_block)
        self._open_maps(maps_block)
        self._check_zones()
        self._hash()

    def __dealloc__(self):
        free(self.table_list)
        free(self.bucket_list)

    def _open_zones(self, block):
        cdef Tables* tables = &self.tables
        cdef dict sections = dict(block.sections)
        tables.blob, tables.blob_length = find(sections["blob"]), len(sections["blob"])
        tables.nodes, tables.nodes_count = <const Node*>find(sections["nodes"]), count(sections["nodes"], sizeof(Node))
        tables.rrsets, tables.rrsets_count = <const Rrset*>find(sections["rrsets"]), count(sections["rrsets"], sizeof(Rrset))
        tables.zones, tables.zones_count = <const Zone*>find(sections["zones"]), count(sections["zones"], sizeof(Zone))
        tables.cuts, tables.cuts_count = <const Cut*>find(sections["cuts"]), count(sections["cuts"], sizeof(Cut))
        tables.glue, tables.glue_count = <const Glue*>find(sections["glue"]), count(sections["glue"], sizeof(Glue))
        tables.services = <const Service*>find(sections["services"])
        tables.services_count = count(sections["services"], sizeof(Service))
        tables.pool_of = <const uint16_t*>find(sections["pool_of"])
        tables.datacenter_keys = <const uint64_t*>find(sections["datacenter_keys"])
        tables.datacenters = len(sections["datacenter_keys"])
        tables.pools_count = len(sections["pools"]) // POOL.size
        if len(sections["pool_of"]) != tables.services_count * <uint64_t>tables.datacenters:
            raise ImageError("zones block: services and datacenters have not one pool each")

    def _open_maps(self, block):
        """One `Table` for each item; tables that no service reads may name datacenters that no service has."""
        cdef dict sections = dict(block.sections)
        cdef const TableItem* items = <const TableItem*>find(sections["tables"])
        cdef const TableItem* item
        cdef Table* table
        cdef uint32_t i, datacenters = self.tables.datacenters if self.tables.services_count else NONE
        cdef const char* wrong
        cdef const uint32_t* parts[7]
        cdef const uint64_t* v6_starts = <const uint64_t*>find(sections["v6_starts"])
        cdef const uint16_t* steps = <const uint16_t*>find(sections["steps"])
        cdef uint64_t[8] lengths
        labels = ("v4_starts", "v4_orders", "v4_index", "v6_orders", "v6_index", "rows", "weights")
        for i, label in enumerate(labels):
            parts[i], lengths[i] = <const uint32_t*>find(sections[label]), len(sections[label])
        lengths[7] = len(sections["steps"])
        self.tables.tables_count = count(sections["tables"], sizeof(TableItem))
        self.table_list = <Table*>calloc(self.tables.tables_count + 1, sizeof(Table))
        if self.table_list == NULL:
            raise MemoryError
        self.tables.tables = self.table_list
        if min(lengths[2], lengths[4]) < self.tables.tables_count * <uint64_t>65537:
            raise ImageError("maps block: a table without index")
        for i in range(self.tables.tables_count):
            item, table = items + i, self.table_list + i
            if not (
                is_span(item.v4, item.v4_count, min(lengths[0], lengths[1]))
                and is_span(item.v6, item.v6_count, min(<uint64_t>len(sections["v6_starts"]), lengths[3]))
                and is_span(item.row, item.rows, lengths[5]) and item.rows
                and is_span(item.step, item.steps, lengths[7]) and is_span(item.weight, item.weights, lengths[6])
            ):
                raise ImageError(f"maps block: table {i} lies outside of its sections")
            table.v4_starts, table.v4_orders, table.v4_count = parts[0] + item.v4, parts[1] + item.v4, item.v4_count
            table.v6_starts, table.v6_orders, table.v6_count = v6_starts + item.v6, parts[3] + item.v6, item.v6_count
            table.v4_index, table.v6_index = parts[2] + <size_t>i * 65537, parts[4] + <size_t>i * 65537
            table.rows, table.orders = parts[5] + item.row, item.rows - 1
            table.steps, table.steps_count, table.weights = steps + item.step, item.steps, parts[6] + item.weight
            table.first_plain, table.uniform = item.first_plain, item.uniform
            with nogil:
                wrong = check_orders(table, item.weights, datacenters)
                if wrong == NULL:
                    wrong = check_v4(table)
                if wrong == NULL:
                    wrong = check_v6(table)
            if wrong != NULL:
                raise ImageError(f"maps block: table {i}: {wrong.decode()}")

    def _check_zones(self):
        cdef const char* wrong
        with nogil:
            wrong = check_zones(&self.tables)
            if wrong == NULL:
                wrong = check_services(&self.tables)
            if wrong == NULL:
                wrong = check_nodes(&self.tables)
        if wrong != NULL:
            raise ImageError(f"zones block: {wrong.decode()}")

    def _hash(self):
        """Names to nodes, keyed by what nobody outside can know; at most half full, so that a miss ends soon."""
        cdef Tables* tables = &self.tables
        cdef uint64_t size = 16
        cdef bint twice
        while size < 2 * <uint64_t>tables.nodes_count:
            size *= 2
        self.bucket_list = <Bucket*>calloc(size, sizeof(Bucket))
        if self.bucket_list == NULL:
            raise MemoryError
        tables.buckets, tables.mask = self.bucket_list, <uint32_t>(size - 1)
        tables.seeds[0], tables.seeds[1] = (int.from_bytes(os.urandom(8)) | 1 for _ in range(2))
        with nogil:
            twice = not fill_buckets(tables, self.bucket_list)
        if twice:
            raise ImageError("zones block: a name stands twice")


cdef class Root:
    """All that answers are made from, in native form. Raises ImageError for blocks that are unsound or do not fit together.

    Keeps the three blocks alive. It never changes: a reader may go on with it while the next one is made.
    """

    def __cinit__(self, maps, zones, bytes choices not None):
        self._open(maps if isinstance(maps, Names) else Names(maps, zones), choices)

    def with_choices(self, bytes choices not None):
        """Another root with the same maps and zones; cheap enough for the main thread."""
        return Root(self.names, None, choices)

    def _open(self, Names names, bytes choices):
        cdef Tables* tables = &self.tables
        cdef const char* wrong
        cdef uint64_t length
        self.names, self.choices = names, choices
        self.tables = names.tables
        block = open_unsealed(choices, Kind.CHOICES, "choices block")
        starts, pieces = block.sections["starts"], block.sections["pieces"]
        if block.shape != names.shape or len(starts) != tables.pools_count + 1:
            raise ImageError("choices and zones were built on different pools")
        tables.piece_starts, tables.pieces, length = <const uint32_t*>find(starts), find(pieces), len(pieces)
        with nogil:
            wrong = check_choices(tables, length)
        if wrong != NULL:
            raise ImageError(f"choices block: {wrong.decode()}")

    @property
    def pools(self):
        """How many pools there are: a tally has `metrics.POOLS` slots and one for each."""
        return self.tables.pools_count


cdef const uint8_t* find(section) except NULL:
    """Where the octets of *section* are; the block it is a view of must live on."""
    cdef const uint8_t[::1] octets = section.cast("B")
    if octets.shape[0] == 0:
        return <const uint8_t*>any_tail            # nothing is read there, but a pointer must point somewhere
    if <size_t>&octets[0] % 8:
        raise ImageError("a block that does not stand on a whole word of memory")
    return &octets[0]


cdef uint32_t count(section, size_t size):
    return len(section) // size


cdef bint fill_buckets(Tables* tables, Bucket* buckets) noexcept nogil:
    """Put every name into its bucket; False if one stands twice."""
    cdef uint32_t i, at
    cdef Name name
    cdef uint64_t h
    for i in range(tables.mask + 1):
        buckets[i].node = NONE
    for i in range(tables.nodes_count):
        if tables.nodes[i].labels > tables.deepest:
            tables.deepest = tables.nodes[i].labels
        find_labels(tables.blob + tables.nodes[i].name, tables.nodes[i].length, &name)
        hash_name(tables, &name, name.labels)
        if find_suffix(tables, &name, name.labels) != NONE:
            return False
        h = name.hashes[name.labels]
        at = <uint32_t>h & tables.mask
        while buckets[at].node != NONE:
            at = (at + 1) & tables.mask
        buckets[at].tag, buckets[at].node = <uint32_t>(h >> 32), i
    return True


def compare_structs():
    """Every struct of tables.pxd against the format that Python writes. Raises ImportError where they differ."""
    cdef uint8_t pattern[64]
    cdef uint32_t i
    for i in range(64):
        pattern[i] = i + 1
    pairs = (
        (TABLE, sizeof(TableItem), (<TableItem*>pattern)[0]), (NODE, sizeof(Node), (<Node*>pattern)[0]),
        (RRSET, sizeof(Rrset), (<Rrset*>pattern)[0]), (ZONE, sizeof(Zone), (<Zone*>pattern)[0]),
        (CUT, sizeof(Cut), (<Cut*>pattern)[0]), (GLUE, sizeof(Glue), (<Glue*>pattern)[0]),
        (SERVICE, sizeof(Service), (<Service*>pattern)[0]), (POOL_NOW, sizeof(PoolNow), (<PoolNow*>pattern)[0]),
        (SLOT, sizeof(Slot), (<Slot*>pattern)[0]),
    )  # fmt: skip
    for form, size, fields in pairs:
        if size != form.size or tuple(fields.values()) != form.unpack_from(bytes(range(1, 65))):
            raise ImportError(f"the native engine was built for other blocks: {form.format} has {size} octets: {fields}")


compare_structs()

# The tables that the native engine reads: the structs of the blocks, declared here alone, and `Tables`, which points at them.
#
# Knows what stands in a block and where; `tables.pyx` compares that with image*.py at import and opens blocks. Knows nothing
# of packets. Whatever `Tables` points at was checked when its `Root` was made: no index and no length in it leads outside.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #define GEODNS_NONE 0xFFFFFFFFu
    typedef unsigned __int128 geodns_u128;
    """
    const uint32_t NONE "GEODNS_NONE"          # no such index
    ctypedef unsigned long long u128 "geodns_u128"   # wider than Cython believes: only C does arithmetic with it

cdef enum:
    NO_POOL = 0xFFFF
    NO_SERVICE = 0xFFFF
    LABELS = 128                               # most labels of a name, the root counted: 255 octets, two each
    NAME_ROOM = 272                            # a name of 255 octets, and room to read and write whole words

# Items of the sections of a block, as image.py, image_maps.py, image_zones_read.py and image_choices.py write them.

cdef packed struct TableItem:
    uint32_t v4, v4_count, v6, v6_count, row, rows, step, steps, weight, weights, first_plain, uniform

cdef packed struct Node:
    uint32_t name
    uint8_t length, labels
    uint16_t service
    uint32_t zone, wildcard, cut, rrset, rrsets

cdef packed struct Rrset:
    uint16_t rtype, count
    uint32_t at, length

cdef packed struct Zone:
    uint32_t apex, apex_length, soa, soa_length, negative, negative_length, parent, ds

cdef packed struct Cut:
    uint32_t name, length, ns, ds, glue, glues

cdef packed struct Glue:
    uint32_t name, length, at, tails_length

cdef packed struct Service:
    uint32_t name, length, table, answers, flags, all_down, fallback, last_resort, last_resorts, types, ttl_min
    uint64_t key

cdef packed struct PoolNow:                    # a piece of the choices block begins with this, then its slots
    uint32_t rank, ttl, slots, zero

cdef packed struct Slot:                       # where things are is counted from the beginning of the piece
    uint16_t rtype, tail_size                  # octets of each tail; 0: they differ, and `offsets` says where each begins
    uint32_t count, totals, tails, offsets, keys

# One table of a map, all its parts at hand.
cdef struct Table:
    const uint32_t* v4_starts
    const uint32_t* v4_orders
    const uint32_t* v4_index
    const uint64_t* v6_starts
    const uint32_t* v6_orders
    const uint32_t* v6_index
    const uint32_t* rows
    const uint16_t* steps
    const uint32_t* weights
    uint32_t v4_count, v6_count, orders, steps_count, first_plain, uniform

# A bucket of the hash of names: empty where node is NONE.
cdef struct Bucket:
    uint32_t tag, node

# All that answers are made from. Never changes; lives as long as its Root.
cdef struct Tables:
    const Table* tables                        # maps
    uint32_t tables_count
    const uint8_t* blob                        # zones
    const Node* nodes
    const Rrset* rrsets
    const Zone* zones
    const Cut* cuts
    const Glue* glue
    const Service* services
    const uint16_t* pool_of
    const uint64_t* datacenter_keys
    uint32_t nodes_count, rrsets_count, zones_count, cuts_count, glue_count, services_count
    uint32_t datacenters, pools_count, deepest
    uint64_t blob_length
    const Bucket* buckets                      # names to nodes, at most half full
    uint32_t mask
    uint64_t seeds[2]                          # of the hash: random, so that nobody can aim at a bucket
    const uint64_t* log2                       # pick.LOG2
    const uint8_t* any_tail                    # rdata.ANY_TAIL
    const uint8_t* pieces                      # choices: the piece of pool i begins at piece_starts[i]
    const uint32_t* piece_starts

# Maps, zones and the hash of names: what a flip of health leaves as it was.
cdef class Names:
    cdef object maps, zones
    cdef readonly object shape
    cdef Tables tables
    cdef Table* table_list
    cdef Bucket* bucket_list

cdef class Root:
    cdef Tables tables                         # give `&root.tables` to `answer_packet`, and hold on to the Root meanwhile
    cdef object names, choices

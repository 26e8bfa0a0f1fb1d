# Names in wire form: lower case, hashes, and where labels begin. Knows nothing of what stands at a name.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from .tables cimport LABELS, NAME_ROOM, Bucket, Tables, u128

cdef enum:
    NAME_SIZE = 255

# A name in lower case with its labels and the hash of each of its suffixes that may exist.
cdef struct Name:
    uint32_t length                            # octets, the root's counted
    uint32_t labels                            # the root not counted
    uint32_t hashed                            # hashes[i] is there for suffixes of i <= hashed labels
    uint8_t octets[272]                        # NAME_ROOM; zeros behind the name
    uint8_t starts[128]                        # LABELS; of each label, the root's last
    uint64_t hashes[129]                       # by number of labels


cdef inline uint64_t load_word(const uint8_t* at) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, at, 8)
    return word


cdef inline uint64_t lower_word(uint64_t word) noexcept nogil:
    """Eight octets in lower case at once: bytes.lower(), so A to Z alone."""
    cdef uint64_t seven = word & 0x7F7F7F7F7F7F7F7Fu
    cdef uint64_t above_z = seven + 0x2525252525252525u     # the top bit of each octet: > "Z"
    cdef uint64_t from_a = seven + 0x3F3F3F3F3F3F3F3Fu      # >= "A"
    return word | ((from_a & ~above_z & ~word & 0x8080808080808080u) >> 2)


cdef inline void copy_lower(uint8_t* to, const uint8_t* octets, uint32_t length) noexcept nogil:
    """*octets* in lower case, not one read beyond *length*; *to* has room for whole words, zeros behind the end."""
    cdef uint32_t at = 0
    cdef uint64_t word
    while at + 8 <= length:
        word = lower_word(load_word(octets + at))
        memcpy(to + at, &word, 8)
        at += 8
    word = 0
    memcpy(&word, octets + at, length - at)
    word = lower_word(word)
    memcpy(to + at, &word, 8)
    memset(to + at + 8, 0, 8)


cdef inline uint64_t fold(uint64_t a, uint64_t b) noexcept nogil:
    """Both halves of the product of two words, joined."""
    cdef u128 product = <u128>a * b
    return <uint64_t>product ^ <uint64_t>(product >> 64)


cdef inline uint64_t hash_label(const Tables* tables, uint64_t above, const uint8_t* label) noexcept nogil:
    """The hash of a suffix from that of its parent and its first label, which begins with its length.

    Reads up to seven octets behind the label, which must be there. Keyed: who does not know the seeds cannot aim.
    """
    cdef uint32_t left = label[0] + 1
    cdef uint64_t h = above
    while left > 8:
        h = fold(h ^ load_word(label), tables.seeds[0])
        label += 8
        left -= 8
    return fold(h ^ (load_word(label) & (~<uint64_t>0 >> 8 * (8 - left))), tables.seeds[1])


cdef inline bint find_labels(const uint8_t* octets, size_t length, Name* name) noexcept nogil:
    """Read a whole uncompressed name from *octets* of *length*: is it one, of at most 255 octets? Fills in all but hashes."""
    cdef size_t at = 0
    cdef uint32_t labels = 0
    while True:
        if at >= length or at >= NAME_SIZE:
            return False
        name.starts[labels] = <uint8_t>at
        if octets[at] == 0:
            break
        if octets[at] > 63:
            return False
        at += octets[at] + 1
        labels += 1
    name.length = <uint32_t>at + 1
    name.labels = labels
    copy_lower(name.octets, octets, name.length)
    return True


cdef inline void hash_name(const Tables* tables, Name* name, uint32_t most) noexcept nogil:
    """The hashes of all suffixes of at most *most* labels: no longer one exists, so a miss has bounded cost."""
    cdef uint32_t i
    name.hashed = name.labels if name.labels < most else most
    name.hashes[0] = tables.seeds[0]
    for i in range(1, name.hashed + 1):
        name.hashes[i] = hash_label(tables, name.hashes[i - 1], name.octets + name.starts[name.labels - i])


cdef inline const Bucket* find_bucket(const Tables* tables, const Name* name, uint32_t labels) noexcept nogil:
    """Where the search for the suffix of *labels* labels begins."""
    return tables.buckets + (<uint32_t>name.hashes[labels] & tables.mask)


cdef inline uint32_t find_suffix(const Tables* tables, const Name* name, uint32_t labels) noexcept nogil:
    """The node whose name is the suffix of *labels* labels, at most `hashed`; NONE if none is."""
    cdef uint64_t h = name.hashes[labels]
    cdef uint32_t start = name.starts[name.labels - labels], at = <uint32_t>h & tables.mask, tag = <uint32_t>(h >> 32)
    cdef uint32_t length = name.length - start, node
    while True:
        node = tables.buckets[at].node
        if node == 0xFFFFFFFFu:
            return node
        if tables.buckets[at].tag == tag and tables.nodes[node].length == length:
            if memcmp(tables.blob + tables.nodes[node].name, name.octets + start, length) == 0:
                return node
        at = (at + 1) & tables.mask

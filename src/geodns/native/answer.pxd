# A query's octets to a reply's octets, without the interpreter: what `udp` calls for each packet.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from .tables cimport Root, Tables, u128

cdef enum:
    SILENCE = 0                                # no reply is right (and that was counted)
    DECLINED = -1                              # Python answers, with the same draw: nothing was counted
    # Why, as the octet `why` of a declined packet: the result is DECLINED - reason.
    ROOM = 1                                   # the reply fits the client, but not into `room`
    DRAWS = 2                                  # so many members out of so many are drawn by Python
    TIERS = 3                                  # an order with more datacenters in one tier than MOST_EQUALS
    PEERS = 4                                  # a peer's address of neither 4 nor 16 octets
    GROUP = 16                                 # packets whose memory is fetched side by side: about what a core can wait for

# `answer.Settings`, for one transport. Filled by `Rules`, which owns what it points at.
cdef struct Believed:
    uint32_t size, shift                       # octets of an address; how far to the right its prefix begins
    u128 prefix

cdef struct Settings:
    uint32_t transport                         # answer.UDP or answer.TCP
    uint32_t udp_size
    uint32_t believes                          # 0 nobody, 1 everybody, 2 those in `believed`
    uint32_t believed_count
    const Believed* believed
    const uint8_t* nsid
    uint32_t nsid_length

# One packet for `answer_packets`, which sets `result` to that of `answer_packet`.
cdef struct Packet:
    const uint8_t* query
    const uint8_t* peer
    uint8_t* out
    uint64_t draw
    ssize_t result
    uint32_t length, peer_size

cdef class Rules:
    cdef Settings settings                     # give `&rules.settings` to `answer_packet`
    cdef Believed* believed
    cdef bytes nsid

cdef class Shadow:
    cdef Root root
    cdef Rules rules

# Write the reply to *query* from *peer* into *out*, which has *room* octets and lies apart from the query.
#
# Returns its length, SILENCE, or at most DECLINED. *peer_size* is 4 or 16. *tally* has `metrics.POOLS` + `pools_count` slots;
# nothing in it was changed where the result is DECLINED or below. Reads no octet beyond *length*, allocates nothing, needs no
# interpreter, and takes any octets. A UDP reply has at most max(512, udp_size) octets, one over TCP 65,535.
cdef ssize_t answer_packet(
    const Tables* tables, const Settings* settings, const uint8_t* query, size_t length,
    const uint8_t* peer, uint32_t peer_size, uint64_t draw, uint8_t* out, size_t room, uint64_t* tally,
) noexcept nogil

# The same for *count* packets that came together, each with *room* octets of its own to answer into. What the answers of a
# group are made from is on its way from memory before the first of them is written.
cdef void answer_packets(
    const Tables* tables, const Settings* settings, Packet* packets, uint32_t count, size_t room, uint64_t* tally
) noexcept nogil

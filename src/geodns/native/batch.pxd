# What a thread does: receive a batch, answer it, send the replies.
#
# Knows sockets, batches, draws, and what is left to Python. Knows nothing of what a packet says. A thread never holds the
# GIL and allocates nothing. It waits in two places alone: for packets, and for packets or a word from us.

from libc.math cimport log
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .answer cimport DECLINED, Packet, answer_packets
from .pick cimport mix
from .ring cimport CONTROL_SIZE, SOURCE_SIZE, Item, bring, exchange_count, find_room, load_count
from .udp cimport *

cdef enum:
    SAMPLE = 255                               # why a packet is in a ring: it was answered, and the query log wants it
    LAST_BATCHES = 1000                        # at the end, what waits in the kernel is answered; its buffer holds less
    MANY_ERRORS = 16                           # of the kernel in a row; then there is a pause after each
    PAUSE = 10                                 # milliseconds


cdef inline uint64_t read_clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000u + now.tv_nsec


cdef inline uint64_t next_word(Worker* worker) noexcept nogil:
    """splitmix64."""
    worker.state += 0x9E3779B97F4A7C15u
    return mix(worker.state)


cdef inline uint64_t skip(Worker* worker) noexcept nogil:
    """How many queries are passed over until the next that is sampled: as if each were drawn by itself."""
    cdef double misses = worker.group.misses
    if misses > 0:
        return ~<uint64_t>0
    if misses == 0:
        return 0
    return <uint64_t>(log(1 - (next_word(worker) >> 11) * (1.0 / 9007199254740992.0)) / misses)


cdef inline const Published* take(Worker* worker) noexcept nogil:
    """What to answer from. It stays until `hazard` is set to something else."""
    cdef const Published* published
    while True:
        published = load_published(&worker.group.current)
        store_published(&worker.hazard, published)
        if load_published(&worker.group.current) == published:
            return published


cdef inline void count_error(Worker* worker) noexcept nogil:
    """The kernel could not give us a packet. Should it go on like that, we must not turn in circles."""
    cdef const Published* published = take(worker)
    published.tallies[worker.number][worker.group.slots.receive_failures] += 1
    store_published(&worker.hazard, NULL)
    worker.errors += 1
    if worker.errors > MANY_ERRORS:
        poll(NULL, 0, PAUSE)


cdef inline void wait_for_packets(Worker* worker) noexcept nogil:
    """Wait without end, for a packet or for another order."""
    cdef pollfd files[2]
    files[0].fd = worker.socket
    files[0].events = POLLIN
    files[1].fd = worker.group.wake
    files[1].events = POLLIN
    files[0].revents = files[1].revents = 0
    poll(files, 2, -1)


cdef inline int receive(Worker* worker) noexcept nogil:
    """Wait for packets; returns how many came, or 0 when it is time to end."""
    cdef uint32_t i, order
    cdef int count
    for i in range(worker.used):               # the kernel has written how much it filled in
        worker.incoming[i].msg_hdr.msg_namelen = SOURCE_SIZE
        worker.incoming[i].msg_hdr.msg_controllen = CONTROL_SIZE if worker.group.wildcard else 0
    worker.used = 0
    while True:
        order = load_count(&worker.group.order)
        if order == HOLD:
            return 0
        count = recvmmsg(
            worker.socket, worker.incoming, BATCH, MSG_DONTWAIT if order == FINISH else MSG_WAITFORONE, NULL
        )
        if count > 0:
            worker.used = count
            worker.errors = 0
            return count
        if count == 0 or errno == EAGAIN:      # a wait of SO_RCVTIMEO has ended; or whoever shares the socket wants no waits
            if order == FINISH:
                return 0
            wait_for_packets(worker)
        elif errno != EINTR:
            count_error(worker)


cdef inline void turn(msghdr* message) noexcept nogil:
    """The pktinfo of a query as that of its reply: the same local address, by whatever interface the route takes.

    RFC 1035 4.2.1, RFC 2181 4.1. Link-local addresses alone need theirs, since each interface has one.
    """
    cdef cmsghdr* one = CMSG_FIRSTHDR(message)
    cdef in6_pktinfo* info
    while one != NULL:
        if one.cmsg_level == IPPROTO_IP and one.cmsg_type == IP_PKTINFO:
            (<in_pktinfo*>CMSG_DATA(one)).ipi_ifindex = 0
        elif one.cmsg_level == IPPROTO_IPV6 and one.cmsg_type == IPV6_PKTINFO:
            info = <in6_pktinfo*>CMSG_DATA(one)
            if info.ipi6_addr.s6_addr[0] != 0xFE or info.ipi6_addr.s6_addr[1] & 0xC0 != 0x80:
                info.ipi6_ifindex = 0
        one = CMSG_NXTHDR(message, one)


cdef inline void answer_batch(Worker* worker, const Published* published, int count) noexcept nogil:
    """Draw for each of *count* packets that came together, and answer them as far as that can be done here."""
    cdef Packet* packet
    cdef const uint8_t* source
    cdef bint v4
    cdef int i
    for i in range(count):
        packet = &worker.packets[i]
        source = worker.sources[i]
        v4 = (<const uint16_t*>source)[0] == AF_INET
        packet.peer = source + (4 if v4 else 8)      # sockaddr_in: family, port, address; in6: family, port, flow, address
        packet.peer_size = 4 if v4 else 16
        packet.length = worker.incoming[i].msg_len
        packet.draw = next_word(worker)
        packet.result = DECLINED
    if published.tables != NULL:
        answer_packets(
            published.tables, worker.group.settings, worker.packets, count, worker.group.room, published.tallies[worker.number]
        )


cdef inline void write_outgoing(Worker* worker, uint32_t at, int i, uint8_t* reply, ssize_t size) noexcept nogil:
    """Reply number *at* of the batch goes to whoever sent packet *i*, from the address that was asked."""
    cdef msghdr* message = &worker.outgoing[at].msg_hdr
    cdef msghdr* query = &worker.incoming[i].msg_hdr
    worker.outgoing_parts[at].iov_base = reply
    worker.outgoing_parts[at].iov_len = size
    message.msg_name = query.msg_name
    message.msg_namelen = query.msg_namelen
    if worker.group.wildcard:
        turn(query)
        message.msg_control = query.msg_control
        message.msg_controllen = query.msg_controllen


cdef inline void leave(
    Worker* worker, const Published* published, int i, uint64_t draw, uint32_t why, const uint8_t* reply
) noexcept nogil:
    """Put packet *i* into the ring; *reply*: what was sent. Where the ring is full, it is dropped and counted."""
    cdef Item* item = find_room(&worker.ring)
    cdef msghdr* query = &worker.incoming[i].msg_hdr
    if item == NULL:
        if why == SAMPLE:
            worker.missed += 1
        else:
            published.tallies[worker.number][worker.group.slots.dropped] += 1
        return
    item.draw = draw
    item.generation = published.generation
    item.why = why
    item.flags = 0 if reply == NULL else reply[2] << 8 | reply[3]
    item.length = <uint16_t>worker.incoming[i].msg_len
    item.source_size = query.msg_namelen
    item.control_size = <uint32_t>query.msg_controllen
    if worker.group.wildcard and why != SAMPLE:
        turn(query)
    memcpy(item.source, query.msg_name, SOURCE_SIZE)
    memcpy(item.control, worker.controls[i], CONTROL_SIZE)
    memcpy(item.query, worker.queries + i * QUERY_STRIDE, item.length)
    bring(&worker.ring)
    worker.brought += 1
    if why != SAMPLE:
        published.tallies[worker.number][worker.group.slots.declined] += 1


cdef inline void send(Worker* worker, uint32_t count, uint64_t* tally) noexcept nogil:
    """Send the first *count* outgoing messages. What the kernel does not take is skipped alone: nobody behind it must wait."""
    cdef uint32_t at = 0
    cdef int sent
    while at < count:
        sent = sendmmsg(worker.socket, worker.outgoing + at, count - at, MSG_DONTWAIT)
        if sent > 0:
            at += sent
        elif errno != EINTR:                   # full buffer, port 0, unreachable: the client asks again
            tally[worker.group.slots.send_failures] += 1
            at += 1


cdef inline void count_batch(const Slots* slots, uint64_t* tally, uint64_t queries, uint64_t nanoseconds) noexcept nogil:
    """`metrics.count_batch`."""
    cdef uint64_t rest = nanoseconds >> slots.latency_shift
    cdef uint32_t bucket = 0
    while rest and bucket < slots.latency_buckets - 1:
        rest >>= 1
        bucket += 1
    tally[slots.latency + bucket] += queries
    tally[slots.latency + slots.latency_sum] += queries * nanoseconds


cdef inline void serve(Worker* worker, int count) noexcept nogil:
    """Answer *count* packets that came together, then send all replies."""
    cdef Group* group = worker.group
    cdef uint64_t began = read_clock()
    cdef const Published* published = take(worker)
    cdef uint64_t* tally = published.tallies[worker.number]
    cdef Packet* packet
    cdef uint32_t replies = 0, declined = 0
    cdef int i
    worker.brought = 0
    answer_batch(worker, published, count)
    for i in range(count):
        packet = &worker.packets[i]
        if packet.result > 0:
            write_outgoing(worker, replies, i, packet.out, packet.result)
            replies += 1
        elif packet.result < 0:
            leave(worker, published, i, packet.draw, <uint32_t>(DECLINED - packet.result), NULL)
            declined += 1
        if worker.left:                        # the one comparison that the query log costs where it is off
            worker.left -= 1
        elif packet.result > 0:
            worker.left = skip(worker)
            leave(worker, published, i, packet.draw, SAMPLE, packet.out)
    send(worker, replies, tally)
    count_batch(&group.slots, tally, count - declined, read_clock() - began)
    store_published(&worker.hazard, NULL)
    if worker.brought and exchange_count(&group.asleep, 0):
        eventfd_write(group.told, 1)


cdef inline void* run(void* argument) noexcept nogil:
    """What a thread does: batch after batch, until it is told to hold or has finished."""
    cdef Worker* worker = <Worker*>argument
    cdef uint32_t batches = 0
    cdef int count
    while batches < LAST_BATCHES:
        count = receive(worker)
        if count == 0:
            break
        serve(worker, count)
        if load_count(&worker.group.order) == FINISH:
            batches += 1
    return NULL

# What the threads that answer by UDP share, and what each has for itself.
#
# Knows the shapes, and the words of the kernel for sockets and threads. `udp.pyx` is their only user.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from .answer cimport Packet, Settings
from .ring cimport Ring
from .tables cimport Tables

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        uint32_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        int cmsg_level
        int cmsg_type
    int AF_INET, MSG_DONTWAIT, MSG_WAITFORONE
    int recvmmsg(int socket, mmsghdr* messages, unsigned int count, int flags, void* timeout)
    int sendmmsg(int socket, mmsghdr* messages, unsigned int count, int flags)
    ssize_t sendmsg(int socket, const msghdr* message, int flags)
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* before)
    uint8_t* CMSG_DATA(cmsghdr* one)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IPPROTO_IPV6, IP_PKTINFO, IPV6_PKTINFO
    struct in_pktinfo:
        int ipi_ifindex
    struct in6_addr:
        uint8_t s6_addr[16]
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t* thread, void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)
    int pthread_setname_np(pthread_t thread, const char* name)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t* signals)
    int pthread_sigmask(int how, const sigset_t* signals, sigset_t* before)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    short POLLIN
    int poll(pollfd* files, unsigned long count, int milliseconds)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)
    int eventfd_read(int file, uint64_t* value)
    int eventfd_write(int file, uint64_t value)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* octets, size_t count, unsigned int flags)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* now)

cdef extern from "<errno.h>" nogil:
    int errno, EINTR, EAGAIN

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** memory, size_t alignment, size_t size)

cdef extern from *:
    const Published* load_published "geodns_load"(const Published** at) nogil
    void store_published "geodns_store"(const Published** at, const Published* value) nogil

cdef enum:
    BATCH = 64
    QUERY_STRIDE = 4288                        # no multiple of 4,096: the same octets of all queries would share a cache set
    # What a group is told (`Group.order`).
    ANSWER = 0
    FINISH = 1                                 # answer what waits in the kernel, then end
    HOLD = 2                                   # end with the batch at hand; what waits in the kernel is for somebody else

# What one publish gave: what to answer from, and where each worker counts under its naming.
cdef struct Published:
    const Tables* tables                       # NULL: every packet is left to Python
    uint64_t** tallies                         # by worker
    uint64_t generation

# Where a worker counts what it knows itself: numbers of `metrics`.
cdef struct Slots:
    uint32_t dropped, declined, send_failures, receive_failures, latency, latency_shift, latency_buckets, latency_sum

# What the workers of one listen address share.
cdef struct Group:
    const Published* current
    uint8_t apart[64]                          # the line above is written at each publish, the rest hardly ever
    uint32_t order
    uint32_t asleep                            # Python has seen every ring empty, and waits for `told`
    int told                                   # eventfd: a ring has something
    int wake                                   # eventfd: readable while `order` is not ANSWER
    bint wildcard                              # queries come with pktinfo
    Slots slots
    const Settings* settings
    size_t room, stride                        # octets of a reply, and between two of them
    double misses                              # log1p(-share) of the queries that are sampled; 0: all, above 0: none

# What one thread has. `hazard` is all that another one looks at, but for the ring.
cdef struct Worker:
    const Published* hazard                    # what it answers from at the moment; NULL: nothing
    uint8_t apart[64]
    Group* group
    int socket
    uint32_t number
    pthread_t thread
    uint64_t state                             # of the draws: splitmix64
    uint64_t left                              # queries that are passed over until one is sampled
    uint32_t missed                            # samples that found the ring full
    uint32_t brought                           # packets that were put into the ring in this batch
    uint32_t used                              # of the incoming messages, by the last batch
    uint32_t errors                            # of the kernel, in a row
    uint8_t* queries
    uint8_t* replies
    Packet packets[64]                         # BATCH
    mmsghdr incoming[64]                       # BATCH
    mmsghdr outgoing[64]
    iovec incoming_parts[64]
    iovec outgoing_parts[64]
    uint8_t sources[64][32]                    # SOURCE_SIZE and a little, for alignment
    uint8_t controls[64][64]                   # CONTROL_SIZE
    Ring ring

"""Worker threads: UDP answered without the interpreter.

Knows threads, when a root may go, and how packets that Python must see come out of the rings. Knows nothing of what a packet
says (`answer`), of what a thread does with a batch (`batch.pxd`), nor of who listens where (`server.native_udp`).

Publishing is by hazard pointers. A worker says in `hazard` what it is about to answer from, then looks whether that is
still current; so who exchanges `current` first and reads all hazards then has seen every reader, and never waits for one.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport log1p
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from .answer cimport Rules
from .batch cimport SAMPLE, run, skip
from .ring cimport (
    QUERY_SIZE, RING_SIZE, Item, close_ring, exchange_count, find_first, is_empty, load_count, open_ring, pass_on, store_count,
)
from .tables cimport Root
from .udp cimport *

import os

from .. import metrics

cdef extern from *:
    const char* BUILT_FROM "SOURCE_DIGEST"

SOURCE_DIGEST = BUILT_FROM.decode()
SAMPLED = SAMPLE  # why a packet is in a ring: it was answered, and the query log wants it
Left = tuple  # what `take` gives, item by item in udp.pyi
RING = RING_SIZE  # packets that may wait for Python, of each thread

cdef Py_ssize_t POOLS = metrics.POOLS

cdef enum:
    MOST_WORKERS = 1024


cdef Slots find_slots():
    """Where `metrics` wants what a worker counts by itself; `answer_packet` counts the rest."""
    cdef Slots slots
    slots.dropped, slots.send_failures = metrics.DROPPED_DECLINED, metrics.SEND_FAILURES
    slots.receive_failures, slots.declined = metrics.RECEIVE_FAILURES, metrics.DECLINED
    slots.latency, slots.latency_shift = metrics.LATENCY, metrics.LATENCY_SHIFT    # of transport 0, which is UDP
    slots.latency_buckets, slots.latency_sum = metrics.LATENCY_BUCKETS, metrics.LATENCY_SUM
    return slots


cdef class Tally:
    """One worker's counters under one naming: a buffer of so many `u64`, on cache lines of its own."""

    cdef uint64_t* slots
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t count):
        cdef void* memory
        self.size = count * sizeof(uint64_t)
        if posix_memalign(&memory, 64, (self.size + 127) & ~63) != 0:
            raise MemoryError
        memset(memory, 0, self.size)
        self.slots = <uint64_t*>memory

    def __dealloc__(self):
        free(self.slots)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.slots, self.size, 1, flags)


cdef class Edition:
    """One publish: keeps alive whatever `published` points at."""

    cdef Published published
    cdef object root, tallies

    def __cinit__(self, Root root, list tallies, uint64_t generation):
        cdef Py_ssize_t i
        self.root, self.tallies = root, tallies
        self.published.tables = NULL if root is None else &root.tables
        slots = POOLS + (0 if root is None else root.tables.pools_count)
        if min([(<Tally?>tally).size for tally in tallies]) < slots * <Py_ssize_t>sizeof(uint64_t):
            raise ValueError(f"{slots} slots are counted in, a tally has fewer")
        self.published.generation = generation
        self.published.tallies = <uint64_t**>malloc(len(tallies) * sizeof(uint64_t*))
        if self.published.tallies == NULL:
            raise MemoryError
        for i in range(len(tallies)):
            self.published.tallies[i] = (<Tally?>tallies[i]).slots

    def __dealloc__(self):
        free(self.published.tallies)


cdef class Workers:
    """The threads of one listen address, one for each of its sockets. For the main thread alone.

    `sockets` are descriptors that wait (they are not closed here), all of one address; `wildcard`: pktinfo is switched on for
    them. `share` of the queries is sampled, 0..1. `told` is an eventfd, readable when `take` has something to give.
    """

    cdef Group group
    cdef Worker* workers
    cdef readonly int count
    cdef readonly bint running
    cdef Edition current
    cdef list retired
    cdef Rules rules
    cdef int turn

    def __cinit__(self, sockets, bint wildcard, Rules rules not None, double share=0.0):
        cdef void* memory
        cdef int i
        self.group.told = self.group.wake = -1
        if not 0 < len(sockets) <= MOST_WORKERS:
            raise ValueError(f"1..{MOST_WORKERS} sockets, got {len(sockets)}")
        if rules.settings.transport != 0:
            raise ValueError("rules for UDP are wanted")
        self.retired, self.rules = [], rules
        self.group.wildcard, self.group.settings, self.group.order = wildcard, &rules.settings, HOLD
        self.group.room = max(512, rules.settings.udp_size)
        self.group.stride = ((self.group.room + 63) & ~<size_t>63) + 64
        if self.group.stride % 4096 == 0:
            self.group.stride += 64
        self.group.misses = 1 if share <= 0 else 0 if share >= 1 else log1p(-share)
        self.group.asleep = 1
        self.group.slots = find_slots()
        self.group.told = open_eventfd()
        self.group.wake = open_eventfd()
        if posix_memalign(&memory, 64, len(sockets) * sizeof(Worker)) != 0:
            raise MemoryError
        memset(memory, 0, len(sockets) * sizeof(Worker))
        self.workers = <Worker*>memory
        for i in range(len(sockets)):
            self.count += 1
            open_worker(&self.workers[i], &self.group, i, sockets[i])

    def __dealloc__(self):
        cdef int i
        if self.running:
            self._end(HOLD)
        for i in range(self.count):
            close_ring(&self.workers[i].ring)
            free(self.workers[i].queries)
            free(self.workers[i].replies)
        free(self.workers)
        for i in (self.group.told, self.group.wake):
            if i >= 0:
                os.close(i)

    @property
    def told(self):
        """The eventfd to look at; `take` resets it."""
        return self.group.told

    @property
    def missed(self):
        """Samples that found a ring full, since the start."""
        cdef int i
        return sum([load_count(&self.workers[i].missed) for i in range(self.count)])

    @property
    def kept(self):
        """How many publishes are kept alive beside the current one; known up to the last `sweep`."""
        return len(self.retired)

    @property
    def oldest(self):
        """The lowest generation that a packet out of `take` may still have; known up to the last `sweep`."""
        cdef int i
        for i in range(self.count):
            if not is_empty(&self.workers[i].ring):
                return 0
        return min([(<Edition>edition).published.generation for edition in (*self.retired, self.current)])

    def publish(self, Root root, list tallies not None, uint64_t generation):
        """Answer from *root* from the next batch on; None: leave every packet to Python. *tallies*: a Tally for each worker.

        What was current before is kept until `sweep` finds that nobody reads it.
        """
        if len(tallies) != self.count:
            raise ValueError(f"{self.count} workers count in {len(tallies)} tallies")
        before, self.current = self.current, Edition(root, tallies, generation)
        store_published(&self.group.current, &self.current.published)
        if before is not None:
            self.retired.append(before)

    def sweep(self):
        """Let go of what nobody reads any more. Is all that is left counted in the current tallies?"""
        self.retired = [edition for edition in self.retired if self._is_read(edition)]
        return all([(<Edition>edition).tallies is self.current.tallies for edition in self.retired])

    cdef bint _is_read(self, Edition edition):
        cdef int i
        for i in range(self.count):
            if load_published(&self.workers[i].hazard) == &edition.published:
                return True
        return False

    def start(self):
        """Read the sockets, from now on; something must have been published. OSError where there can be no thread."""
        cdef uint64_t value
        cdef int i, failure
        if self.current is None:
            raise RuntimeError("start() comes after the first publish")
        if self.running:
            return
        eventfd_read(self.group.wake, &value)
        store_count(&self.group.order, ANSWER)
        self.running = True
        for i in range(self.count):
            failure = start_thread(&self.workers[i])
            if failure:
                self._end(HOLD, i)
                raise OSError(failure, os.strerror(failure))

    def hold(self):
        """End the threads. Whatever waits in the kernel stays there, for `start` or a successor; what is in the rings too."""
        self._end(HOLD)

    def finish(self):
        """Answer what waits in the kernel, then end the threads."""
        self._end(FINISH)

    def _end(self, uint32_t order, int count=-1):
        cdef int i, threads = self.count if count < 0 else count
        if not self.running:
            return
        store_count(&self.group.order, order)
        eventfd_write(self.group.wake, 1)
        with nogil:
            for i in range(threads):
                pthread_join(self.workers[i].thread, NULL)
        self.running = False

    def take(self, int most):
        """Up to *most* packets out of the rings, each (why, query, peer, draw, worker, source, control, flags, generation).

        *why* is SAMPLED or a reason to decline; *source* and *control* are for `send`; *flags* those of the reply that was
        sent. If more is left, or comes later, `told` is readable.
        """
        cdef uint64_t value
        cdef Item* item
        cdef int n
        taken = []
        eventfd_read(self.group.told, &value)
        for n in range(self.count):
            i = (self.turn + n) % self.count
            while len(taken) < most:
                item = find_first(&self.workers[i].ring)
                if item == NULL:
                    break
                taken.append(read_item(item, i))
                pass_on(&self.workers[i].ring)
        self.turn = (self.turn + 1) % self.count
        store_count(&self.group.asleep, 1)     # who brings something after this line tells us
        for n in range(self.count):
            if not is_empty(&self.workers[n].ring) and exchange_count(&self.group.asleep, 0):
                eventfd_write(self.group.told, 1)
        return taken

    def send(self, int worker, bytes source not None, bytes control not None, bytes reply not None):
        """Send *reply* by the socket of that *worker*, never waiting. Did the kernel take it?"""
        cdef msghdr message
        cdef iovec part
        if not 0 <= worker < self.count:
            raise ValueError(f"no worker {worker}")
        memset(&message, 0, sizeof(message))
        part.iov_base, part.iov_len = <char*>reply, len(reply)
        message.msg_name, message.msg_namelen = <char*>source, len(source)
        message.msg_iov, message.msg_iovlen = &part, 1
        if control:
            message.msg_control, message.msg_controllen = <char*>control, len(control)
        return sendmsg(self.workers[worker].socket, &message, MSG_DONTWAIT) >= 0


cdef int open_eventfd() except -1:
    cdef int file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if file < 0:
        raise OSError(errno, os.strerror(errno))
    return file


cdef int open_worker(Worker* worker, Group* group, uint32_t number, int socket) except -1:
    """Memory and messages of a worker that is all zeros. Raises MemoryError, OSError."""
    cdef int i
    worker.group, worker.number, worker.socket = group, number, socket
    worker.queries = <uint8_t*>malloc(BATCH * QUERY_STRIDE)
    worker.replies = <uint8_t*>malloc(BATCH * group.stride)
    if not open_ring(&worker.ring) or worker.queries == NULL or worker.replies == NULL:
        raise MemoryError
    if getrandom(&worker.state, sizeof(worker.state), 0) != sizeof(worker.state):
        raise OSError(errno, os.strerror(errno))
    worker.left = skip(worker)
    worker.used = BATCH                        # so that the first look resets them all
    for i in range(BATCH):
        worker.incoming_parts[i].iov_base = worker.queries + i * QUERY_STRIDE
        worker.incoming_parts[i].iov_len = QUERY_SIZE
        worker.packets[i].query = worker.queries + i * QUERY_STRIDE
        worker.packets[i].out = worker.replies + i * group.stride
        worker.incoming[i].msg_hdr.msg_name = worker.sources[i]
        worker.incoming[i].msg_hdr.msg_iov = &worker.incoming_parts[i]
        worker.incoming[i].msg_hdr.msg_iovlen = 1
        worker.incoming[i].msg_hdr.msg_control = worker.controls[i] if group.wildcard else NULL
        worker.outgoing[i].msg_hdr.msg_iov = &worker.outgoing_parts[i]
        worker.outgoing[i].msg_hdr.msg_iovlen = 1
    return 0


cdef int start_thread(Worker* worker):
    """A thread that no signal is ever given to: those are the main thread's. Returns an error number, or 0."""
    cdef sigset_t every, before
    cdef int failure
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    failure = pthread_create(&worker.thread, NULL, run, worker)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    if failure == 0:
        pthread_setname_np(worker.thread, b"geodns-udp")
    return failure


cdef tuple read_item(const Item* item, int worker):
    """An item of a ring as `take` gives it."""
    cdef bint v4 = (<const uint16_t*>item.source)[0] == AF_INET
    return (
        item.why,
        PyBytes_FromStringAndSize(<const char*>item.query, item.length),
        PyBytes_FromStringAndSize(<const char*>item.source + (4 if v4 else 8), 4 if v4 else 16),
        item.draw,
        worker,
        PyBytes_FromStringAndSize(<const char*>item.source, item.source_size),
        PyBytes_FromStringAndSize(<const char*>item.control, item.control_size),
        item.flags,
        item.generation,
    )

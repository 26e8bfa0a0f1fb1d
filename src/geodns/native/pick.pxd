# Weighted choice, given the word that decides: geodns.pick, bit for bit. Holds no state, allocates nothing.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    MOST_DRAWN = 256                           # members of one reply that `pick_few` and `pick_sticky` put in order
    MOST_WALKED = 4096                         # members that `pick_many` can hold

# Members in the order drawn.
cdef struct Drawn:
    uint32_t count
    uint32_t index[4096]                       # MOST_WALKED


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u
    x = (x ^ x >> 27) * 0x94D049BB133111EBu
    return x ^ x >> 31


cdef inline uint64_t hop_word(uint64_t draw, uint32_t hop) noexcept nogil:
    return mix(draw + hop * <uint64_t>0xD1B54A32D192ED03u) if hop else draw


cdef inline uint32_t member_word(uint64_t word, uint32_t n) noexcept nogil:
    return <uint32_t>(mix(word + n * <uint64_t>0x9E3779B97F4A7C15u) if n else word)


cdef inline uint32_t bisect_totals(const uint32_t* totals, uint32_t count, uint32_t r) noexcept nogil:
    """The first index whose running sum is above *r*; *count* where none is."""
    cdef uint32_t low = 0, half
    while count:
        half = count >> 1
        if totals[low + half] <= r:
            low += half + 1
            count -= half + 1
        else:
            count = half
    return low


cdef inline uint32_t weight_at(const uint32_t* totals, uint32_t i) noexcept nogil:
    return totals[i] - totals[i - 1] if i else totals[0]


cdef inline uint32_t count_drawable(const uint32_t* totals, uint32_t count) noexcept nogil:
    """How many members have a weight."""
    cdef uint32_t i, found = 0
    for i in range(count):
        found += weight_at(totals, i) != 0
    return found


cdef inline void pick_few(const uint32_t* totals, uint32_t count, uint32_t wanted, uint64_t word, Drawn* drawn) noexcept nogil:
    """*wanted* members, at most MOST_DRAWN and at most as many as have a weight, out of any number of them.

    The n-th word falls on the weight that is left: what was drawn before is counted in again, in the order of indexes.
    """
    cdef uint32_t gone[256]                    # drawn so far, by index
    cdef uint32_t n, k, place, left = totals[count - 1], r, i
    for n in range(wanted):
        r = <uint32_t>(<uint64_t>member_word(word, n) * left >> 32)
        place = 0
        while place < n and totals[gone[place]] - weight_at(totals, gone[place]) <= r:
            r += weight_at(totals, gone[place])
            place += 1
        i = bisect_totals(totals, count, r)
        k = n
        while k > place:
            gone[k] = gone[k - 1]
            k -= 1
        gone[place] = i
        left -= weight_at(totals, i)
        drawn.index[n] = i
    drawn.count = wanted


cdef inline void pick_many(const uint32_t* totals, uint32_t count, uint32_t wanted, uint64_t word, Drawn* drawn) noexcept nogil:
    """The same out of at most MOST_WALKED members, in steps that grow with the logarithm: a tree of sums (Fenwick)."""
    cdef uint32_t tree[4097]
    cdef uint32_t i, n, above, left = totals[count - 1], top = 1, r, at, step, weight
    tree[0] = 0
    for i in range(count):
        tree[i + 1] = weight_at(totals, i)
    for i in range(1, count + 1):
        above = i + (i & (~i + 1))
        if above <= count:
            tree[above] += tree[i]
    while top * 2 <= count:
        top *= 2
    for n in range(wanted):
        r = <uint32_t>(<uint64_t>member_word(word, n) * left >> 32)
        at = 0
        step = top
        while step:
            if at + step <= count and tree[at + step] <= r:
                at += step
                r -= tree[at]
            step >>= 1
        drawn.index[n] = at
        weight = weight_at(totals, at)
        left -= weight
        at += 1
        while at <= count:
            tree[at] -= weight
            at += at & (~at + 1)
    drawn.count = wanted


cdef inline uint64_t score(const uint64_t* log2, uint64_t u, uint32_t weight) noexcept nogil:
    """-log2((u + 1) / 2^64) / weight, rounded down, in units of 2^-56; weight 0 comes after all others."""
    cdef uint64_t x = u + 1, mantissa, low, logarithm
    cdef uint32_t exponent = 0, half = 32
    if weight == 0:
        return <uint64_t>1 << 63
    if x == 0:                                 # 2^64: the logarithm is 64, and nothing is left of it
        return 0
    while half:                                # the place of the leading one
        if x >> (exponent + half):
            exponent += half
        half >>= 1
    mantissa = x << (63 - exponent) << 1       # the bits after it
    low = log2[mantissa >> 56]
    logarithm = (<uint64_t>exponent << 32) + low
    logarithm += (log2[(mantissa >> 56) + 1] - low) * (mantissa >> 24 & 0xFFFFFFFFu) >> 32
    return ((<uint64_t>64 << 32) - logarithm << 24) / weight


cdef inline void pick_sticky(
    const uint64_t* log2, const uint64_t* keys, const uint32_t* totals, uint32_t count, uint32_t wanted, uint64_t client,
    Drawn* drawn,
) noexcept nogil:
    """The best *wanted* members for *client*, at most MOST_DRAWN, without those of weight 0; ties by index."""
    cdef uint64_t scores[256]
    cdef uint64_t mine
    cdef uint32_t i, k, weight
    drawn.count = 0
    for i in range(count):
        weight = weight_at(totals, i)
        if weight == 0:
            continue
        mine = score(log2, mix(keys[i] ^ client), weight)
        k = drawn.count
        if k == wanted:
            if scores[k - 1] <= mine:
                continue
            k -= 1
        else:
            drawn.count += 1
        while k and scores[k - 1] > mine:
            scores[k] = scores[k - 1]
            drawn.index[k] = drawn.index[k - 1]
            k -= 1
        scores[k] = mine
        drawn.index[k] = i

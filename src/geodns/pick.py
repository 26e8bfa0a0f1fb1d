"""Weighted choice, given the word that decides.

Knows weights, words and scores. Knows nothing of health, names or clients, and holds no state: the same word gives the same
choice, so nothing depends on how often we are asked. Integers only, since two machines and two engines must agree.

A *word* is 64 uniform bits. Its high half chooses in a weighted tier, its low half the first member; the n-th member
has a word of its own, mixed from it. One word for both would tie the member to the datacenter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .snapshot import Choice

LOW = 0xFFFF_FFFF
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_MEMBER_STEP = 0x9E37_79B9_7F4A_7C15
_HOP_STEP = 0xD1B5_4A32_D192_ED03
_FEW = 16  # members; up to here walking the weights beats a tree of sums


def mix(x: int) -> int:
    """64 bits to 64 bits, each depending on all: the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x &= _WORD
    x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _WORD
    x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _WORD
    return x ^ x >> 31


def hop_word(draw: int, hop: int) -> int:
    """The word of the *hop*-th name of a CNAME chain; the name that was asked is 0 and takes *draw* itself."""
    return mix(draw + hop * _HOP_STEP) if hop else draw


def member_word(word: int, n: int) -> int:
    """The 32 bits that decide the *n*-th member."""
    return (mix(word + n * _MEMBER_STEP) if n else word) & LOW


def pick_total(totals: Sequence[int], word: int) -> int:
    """The index that 32 bits of *word* fall on; *totals* are running sums of weights, the last below 2^32.

    Index i gets its weight's share of all words exactly, but for one word: floor or ceiling of 2^32 * weight / total.
    """
    return bisect_right(totals, word * totals[-1] >> 32)


def pick_members(choice: Choice, answers: int, word: int) -> tuple[bytes, ...]:
    """*answers* tails of *choice* (0: all) in the order drawn, without replacement, each draw by the weight that is left."""
    tails = choice.tails
    if len(tails) == 1:
        return tails
    if answers == 1:
        totals = choice.totals
        return (tails[bisect_right(totals, (word & LOW) * totals[-1] >> 32)],)
    return tuple([tails[i] for i in pick_indexes(choice.totals, answers, word)])


def pick_indexes(totals: Sequence[int], answers: int, word: int) -> list[int]:
    """*answers* indexes (0: all) in the order drawn; members without weight are never drawn."""
    weights = weights_of(totals)
    wanted = len(weights) - weights.count(0)
    wanted = min(answers, wanted) if answers else wanted
    return (_walk if len(weights) <= _FEW else _descend)(weights, wanted, word)


def _walk(weights: list[int], wanted: int, word: int) -> list[int]:
    """The law in plain words: the n-th word falls on the weight that is left, counted from the first member on."""
    left, drawn = sum(weights), []
    for n in range(wanted):
        r = member_word(word, n) * left >> 32
        i = 0
        while r >= weights[i]:
            r -= weights[i]
            i += 1
        drawn.append(i)
        left -= weights[i]
        weights[i] = 0
    return drawn


def _descend(weights: list[int], wanted: int, word: int) -> list[int]:
    """What `_walk` gives, in steps that grow with the logarithm: a pool may have thousands of members.

    tree[i] is the weight left in the lowest-bit-of-i members up to the i-th, counted from 1 (a Fenwick tree).
    """
    size = len(weights)
    tree = [0, *weights]
    for i in range(1, size + 1):
        above = i + (i & -i)
        if above <= size:
            tree[above] += tree[i]
    left, top, drawn = sum(weights), 1 << size.bit_length() - 1, []
    for n in range(wanted):
        r, at, step = member_word(word, n) * left >> 32, 0, top
        while step:
            if at + step <= size and tree[at + step] <= r:
                at += step
                r -= tree[at]
            step >>= 1
        drawn.append(at)
        weight, weights[at] = weights[at], 0
        left -= weight
        at += 1
        while at <= size:
            tree[at] -= weight
            at += at & -at
    return drawn


def weights_of(totals: Sequence[int]) -> list[int]:
    """The weights whose running sums are *totals*."""
    return [after - before for before, after in zip((0, *totals), totals, strict=False)]


def client_key(bits: int, address: int) -> int:
    """What sticky choice knows of a client: its /24 or /56, the families told apart by a bit above both."""
    return address >> 8 if bits == 32 else 1 << 56 | address >> 72


def rank_sticky(keys: Sequence[int], weights: Sequence[int], client: int) -> list[int]:
    """Indexes of *keys*, best first for *client* (from `client_key`): weighted rendezvous.

    Each key has a score of its own, an exponential variable whose rate is the weight; so the first place goes to each by its
    weight, and a key that comes, goes or changes weight moves only the clients that it wins or loses. Ties: by index.
    """
    scores = [(score(mix(key ^ client), weight), i) for i, (key, weight) in enumerate(zip(keys, weights, strict=True))]
    return [i for _, i in sorted(scores)]


def score(u: int, weight: int) -> int:
    """-log2((u + 1) / 2^64) / weight, rounded down, in units of 2^-56; at most 2^62. Weight 0 comes after all others.

    The logarithm is a table of 256 steps with straight lines between them, in units of 2^-32: at most 0.2 % off.
    """
    if not weight:
        return 1 << 63
    x = u + 1
    exponent = x.bit_length() - 1
    mantissa = (x << 64 - exponent) & _WORD  # the bits after the leading one
    step, rest = mantissa >> 56, mantissa >> 24 & LOW
    low = LOG2[step]
    log2 = (exponent << 32) + low + ((LOG2[step + 1] - low) * rest >> 32)
    return ((64 << 32) - log2 << 24) // weight


def _log2_table() -> tuple[int, ...]:
    """log2(1 + i / 256) in units of 2^-32, i from 0 to 256, one bit at a time: squaring doubles a logarithm."""
    table = []
    for i in range(256):
        x, log2 = (256 + i) << 56, 0  # x has 64 bits after the point
        for _ in range(32):
            x = x * x >> 64
            log2 <<= 1
            if x >> 65:
                x >>= 1
                log2 |= 1
        table.append(log2)
    return (*table, 1 << 32)


LOG2 = _log2_table()

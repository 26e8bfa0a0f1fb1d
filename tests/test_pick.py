"""The draw: exact shares by counting words, not by luck; and the law of sticky choice."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import accumulate, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns import pick
from geodns.odds import reply_odds
from geodns.pick import (
    LOW,
    client_key,
    hop_word,
    member_word,
    mix,
    pick_indexes,
    pick_members,
    pick_total,
    rank_sticky,
    score,
    weights_of,
)
from geodns.snapshot import Choice

WEIGHTS = st.lists(st.integers(1, 65535), min_size=1, max_size=12)
WORDS = st.integers(0, 2**64 - 1)


def choice_of(weights: list[int]) -> Choice:
    return Choice(
        tuple(b"%d" % i for i in range(len(weights))), tuple(accumulate(weights)), tuple(mix(i) for i in range(len(weights)))
    )


def first_word(index: int, totals: list[int]) -> int:
    """The least 32-bit word that falls on *index* or beyond, by bisection: the picks rise with the word."""
    low, high = 0, 1 << 32
    while low < high:
        middle = (low + high) // 2
        if pick_total(totals, middle) >= index:
            high = middle
        else:
            low = middle + 1
    return low


@settings(max_examples=60, deadline=None)
@given(WEIGHTS)
def test_every_member_always_gets_its_share_of_all_words_to_within_one(weights: list[int]) -> None:
    """All 2^32 words, counted by where the picks change."""
    totals = list(accumulate(weights))
    edges = [first_word(i, totals) for i in range(len(weights))] + [1 << 32]
    for i, weight in enumerate(weights):
        share = Fraction(weight << 32, totals[-1])
        assert abs(edges[i + 1] - edges[i] - share) < 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10).filter(any), st.integers(0, LOW))
def test_weight_0_is_never_picked(weights: list[int], word: int) -> None:
    assert weights[pick_total(list(accumulate(weights)), word)] > 0


def test_pick_total_takes_the_first_running_sum_above_r() -> None:
    """The law as the design has it: r = (x * total) >> 32, the first running sum above r."""
    totals = [70, 90, 100]
    for word in (0, 1 << 31, LOW, (70 << 32) // 100, ((70 << 32) // 100) + 1):
        r = word * 100 >> 32
        assert pick_total(totals, word) == next(i for i, total in enumerate(totals) if total > r)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any), st.integers(0, 45), WORDS)
def test_k_of_n_always_follows_the_law_in_plain_words(weights: list[int], answers: int, word: int) -> None:
    """Both ways of doing it against the design: each draw on the weight that is left, walking members in order."""
    drawn = []
    for n in range(answers or len(weights)):
        left = {i: w for i, w in enumerate(weights) if i not in drawn and w}
        if not left:
            break
        x = (mix(word + n * 0x9E3779B97F4A7C15) if n else word) & LOW
        r, running = x * sum(left.values()) >> 32, 0
        for i, weight in left.items():
            running += weight
            if running > r:
                drawn.append(i)
                break
    assert pick_indexes(tuple(accumulate(weights)), answers, word) == drawn
    wanted = len(drawn)
    assert pick._walk(list(weights), wanted, word) == drawn
    assert pick._descend(list(weights), wanted, word) == drawn


@given(WEIGHTS, st.integers(0, 14), WORDS)
def test_pick_members_always_gives_distinct_tails_as_many_as_asked(weights: list[int], answers: int, word: int) -> None:
    choice = choice_of(weights)
    tails = pick_members(choice, answers, word)
    assert len(tails) == len(set(tails)) == min(answers or len(weights), len(weights))
    assert set(tails) <= set(choice.tails)
    assert tails == tuple(choice.tails[i] for i in pick_indexes(choice.totals, answers, word))


def test_two_of_three_come_with_exact_odds() -> None:
    """Over an even grid of first words; the second word is mixed, and uniform as far as 40,000 of them can tell."""
    weights, grid = [5, 3, 2], 40_000
    seen: Counter[int] = Counter()
    for k in range(grid):
        word = (k << 32) // grid | mix(k) >> 32 << 32
        seen.update(pick_indexes(tuple(accumulate(weights)), 2, word))
    expected = reply_odds(weights, 2)
    assert expected is not None
    for i, odds in enumerate(expected):
        assert abs(seen[i] / grid - float(odds)) < 0.01


def test_all_of_them_come_in_the_order_drawn() -> None:
    """Each order of three equal members has a sixth of the words."""
    seen = Counter(tuple(pick_indexes((1, 2, 3), 0, mix(k))) for k in range(12_000))
    assert set(seen) == set(permutations(range(3)))
    assert all(abs(count / 12_000 - 1 / 6) < 0.02 for count in seen.values())


def test_mix_is_the_finaliser_of_splitmix64() -> None:
    """The generator's first outputs from seed 0, as its authors publish them."""
    gamma = 0x9E3779B97F4A7C15
    assert [mix(gamma * (n + 1)) for n in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_words_of_hops_and_members_are_those_of_the_design() -> None:
    draw = 0x0123456789ABCDEF
    assert hop_word(draw, 0) == draw
    assert hop_word(draw, 2) == mix(draw + 2 * 0xD1B54A32D192ED03)
    assert member_word(draw, 0) == 0x89ABCDEF
    assert member_word(draw, 3) == mix(draw + 3 * 0x9E3779B97F4A7C15) & LOW


@given(st.integers(0, 2**64 - 1), st.integers(1, 65535))
def test_a_score_is_the_logarithm_it_stands_for_to_0_2_percent(u: int, weight: int) -> None:
    exact = -(math.log2(u + 1) - 64) if u < 2**63 else -math.log1p((u + 1 - 2**64) / 2**64) / math.log(2)
    ours = score(u, weight) * weight / 2**56
    assert abs(ours - exact) <= exact * 0.002 + weight / 2**56 + 2**-30
    assert 0 <= score(u, weight) <= 2**62


@given(st.integers(0, 2**64 - 2), st.integers(1, 65535))
def test_scores_never_rise_with_u(u: int, weight: int) -> None:
    assert score(u, weight) >= score(u + 1, weight)


def test_scores_are_these_for_ever() -> None:
    """Other versions, machines and engines must agree: a change here moves clients."""
    assert [score(u, w) for u, w in ((0, 1), (2**64 - 1, 1), (2**63 - 1, 1), (2**62 - 1, 4))] == [
        64 << 56,
        0,
        1 << 56,
        1 << 55,
    ]
    assert score(0x9E3779B97F4A7C15, 3) == 16_675_176_480_156_330
    assert score(5, 0) == 1 << 63


KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8, unique=True)


@given(KEYS, st.data())
def test_a_member_that_goes_moves_only_its_own_clients(keys: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(keys), max_size=len(keys)))
    client, gone = data.draw(WORDS), data.draw(st.integers(0, len(keys) - 1))
    before = rank_sticky(keys, weights, client)
    left = [i for i in range(len(keys)) if i != gone]
    after = rank_sticky([keys[i] for i in left], [weights[i] for i in left], client)
    assert [left[i] for i in after] == [i for i in before if i != gone]


@given(KEYS, st.data())
def test_a_weight_that_grows_only_wins_clients(keys: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(keys), max_size=len(keys)))
    client, grown = data.draw(WORDS), data.draw(st.integers(0, len(keys) - 1))
    before = rank_sticky(keys, weights, client)
    weights[grown] += data.draw(st.integers(1, 9))
    after = rank_sticky(keys, weights, client)
    assert after.index(grown) <= before.index(grown)
    assert [i for i in after if i != grown] == [i for i in before if i != grown]


def test_shares_of_sticky_clients_follow_the_weights() -> None:
    weights, clients = [1, 2, 5], 8_000
    first = Counter(rank_sticky([mix(1), mix(2), mix(3)], weights, client << 8)[0] for client in range(clients))
    for i, weight in enumerate(weights):
        assert abs(first[i] / clients - weight / 8) < 0.02


def test_equal_scores_go_by_index() -> None:
    assert rank_sticky([7, 7, 7], [1, 1, 1], 0) == [0, 1, 2]


def test_weight_0_comes_last() -> None:
    assert rank_sticky([mix(1), mix(2)], [0, 1], 99) == [1, 0]


@pytest.mark.parametrize(
    ("bits", "one", "other"), [(32, 0xC6336401, 0xC63364FF), (128, 0x20010DB8 << 96 | 1, 0x20010DB8 << 96 | 0xFF << 64)]
)
def test_a_sticky_client_is_its_24_or_56(bits: int, one: int, other: int) -> None:
    assert client_key(bits, one) == client_key(bits, other)
    assert client_key(bits, one) != client_key(bits, one ^ 1 << (8 if bits == 32 else 72))


def test_families_of_sticky_clients_do_not_meet() -> None:
    assert client_key(32, 0) != client_key(128, 0)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=9))
def test_weights_come_back_from_their_sums(weights: list[int]) -> None:
    assert weights_of(tuple(accumulate(weights))) == weights

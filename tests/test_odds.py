"""Exact probabilities, against drawing every possible sequence by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from geodns.odds import first_odds, reply_odds

WEIGHTS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def drawn_by_hand(weights: list[int], answers: int) -> list[Fraction]:
    """Walk every ordered sequence of *answers* members, multiplying its odds."""
    inside = [Fraction(0)] * len(weights)
    for sequence in permutations(range(len(weights)), answers):
        odds, left = Fraction(1), sum(weights)
        for i in sequence:
            odds *= Fraction(weights[i], left)
            left -= weights[i]
        for i in sequence:
            inside[i] += odds
    return inside


@given(WEIGHTS, st.data())
def test_always_the_same_as_every_sequence_by_hand(weights: list[int], data: st.DataObject) -> None:
    answers = data.draw(st.integers(1, len(weights)))
    assert reply_odds(weights, answers) == drawn_by_hand(weights, answers)


@given(WEIGHTS)
def test_always_one_record_in_all_stands_first(weights: list[int]) -> None:
    assert sum(first_odds(weights)) == 1


def test_all_are_in_a_reply_that_holds_all() -> None:
    assert reply_odds([1, 5], 0) == reply_odds([1, 5], 7) == [Fraction(1), Fraction(1)]


def test_first_odds_of_nothing_are_nothing() -> None:
    assert first_odds([0, 0]) == [0, 0]


def test_a_large_pool_of_alike_members_is_still_told() -> None:
    assert reply_odds([3] * 500, 4) == [Fraction(4, 500)] * 500


def test_too_many_different_weights_are_not_told() -> None:
    assert reply_odds(list(range(1, 21)), 10) is None

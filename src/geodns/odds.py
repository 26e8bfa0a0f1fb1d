"""Exact probabilities of a draw, for those who explain it; serving draws and never asks.

Knows weights and how `pick` draws: without replacement, each time in proportion to the weight that is left. Knows
nothing of members or words. Exact for an ideal draw; the real one has 32 bits a step, which differs by less than 2**-31.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

MOST_STATES = 5000  # beyond that many states a terminal would wait; a pool of 12 equal members has 13


def first_odds(weights: Sequence[int]) -> list[Fraction]:
    """Probability of each of *weights* to be drawn first; all 0 where the total is 0."""
    total = sum(weights)
    return [Fraction(weight, total) if total else Fraction(0) for weight in weights]


def reply_odds(weights: Sequence[int], answers: int) -> list[Fraction] | None:
    """Probability of each of *weights* to be among *answers* drawn (0: all); None where that takes too long to say.

    Members of equal weight are alike, so a state is how many of each weight are drawn, not which.
    """
    count = len(weights)
    if not answers or answers >= count:
        return [Fraction(1)] * count
    if answers == 1:
        return first_odds(weights)
    sizes = Counter(weights)
    states = 1
    for size in sizes.values():
        states *= min(size, answers) + 1
    if states > MOST_STATES:
        return None
    expected = _expected_by_weight(dict(sizes), answers)
    return [expected[weight] / sizes[weight] for weight in weights]


def _expected_by_weight(sizes: dict[int, int], answers: int) -> dict[int, Fraction]:
    """How many members of each weight are drawn in *answers* draws, on average."""
    kinds = tuple(sizes)
    states: dict[tuple[int, ...], Fraction] = {(0,) * len(kinds): Fraction(1)}
    for _ in range(answers):
        after: dict[tuple[int, ...], Fraction] = {}
        for drawn, odds in states.items():
            left = [(sizes[weight] - drawn[i]) * weight for i, weight in enumerate(kinds)]
            total = sum(left)
            for i, share in enumerate(left):
                if share:
                    state = (*drawn[:i], drawn[i] + 1, *drawn[i + 1 :])
                    after[state] = after.get(state, Fraction(0)) + odds * Fraction(share, total)
        states = after
    return {weight: sum((odds * drawn[i] for drawn, odds in states.items()), Fraction(0)) for i, weight in enumerate(kinds)}

"""Verdicts against a plain model that looks at the whole history, and what `combine` makes of several checks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from geodns.health.state import Outcome, State, Verdict, combine, note, observe, take_back

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
said = st.sampled_from(Verdict)
outcomes = st.builds(
    Outcome, st.just("key"), said, st.booleans(), st.sampled_from(("a", "b")), st.floats(0, 5), st.none() | st.integers(0, 9)
)


def decide(history: list[Verdict], rise: int, fall: int) -> Verdict:
    """The verdict that *history* leads to, read from its beginning each time: who is unknown takes what comes; else the last
    results must be so many in a row and all say the same."""
    verdict, since = UNKNOWN, 0
    for end in range(1, len(history) + 1):
        newest = history[end - 1]
        needed = rise if newest is UP else fall
        if UNKNOWN in (verdict, newest):
            needed = 1
        last = history[max(since, end - needed) : end]
        if newest is not verdict and len(last) == needed and all(one is newest for one in last):
            verdict, since = newest, end
    return verdict


@given(st.lists(said, max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_always_the_verdict_of_the_plain_model(history: list[Verdict], rise: int, fall: int) -> None:
    state = State()
    for number, verdict in enumerate(history, 1):
        state = observe(state, Outcome("key", verdict, True, "", 0.1), rise, fall, float(number))
        assert state.verdict is decide(history[:number], rise, fall)


@given(st.lists(outcomes, max_size=20), st.integers(1, 4), st.integers(1, 4))
def test_always_counts_and_facts_of_all_that_came(some: list[Outcome], rise: int, fall: int) -> None:
    state = State(restored=True)
    for number, outcome in enumerate(some, 1):
        before = state
        state = observe(state, outcome, rise, fall, float(number))
        assert (state.probed, state.text, state.seconds, state.weight) == (
            number,
            outcome.text,
            outcome.seconds,
            outcome.weight,
        )
        assert not state.restored
        assert state.since == (number if state.verdict is not before.verdict else before.since)
        assert state.streak < max(rise, fall)
        assert not state.streak or outcome.verdict is not state.verdict
    failures = [outcome.text for outcome in some if outcome.verdict is DOWN]
    assert state.successes == sum(outcome.verdict is UP for outcome in some)
    assert (state.failures, state.failure) == (len(failures), failures[-1] if failures else "")


def test_a_success_between_failures_begins_the_count_anew() -> None:
    state = State(UP)
    for verdict in (DOWN, DOWN, UP, DOWN, DOWN):
        state = observe(state, Outcome("key", verdict, True, "", 0.1), 2, 3, 1.0)
        assert state.verdict is UP
    assert observe(state, Outcome("key", DOWN, True, "", 0.1), 2, 3, 2.0) == State(
        DOWN, 0, 2.0, 2.0, "", "", 0.1, 1, 5, None, False
    )


def test_what_does_not_count_is_noted_all_the_same() -> None:
    state = note(State(UP, streak=1, since=5.0), Outcome("key", DOWN, False, "time-out", 2.0), 9.0, UP, 1, 5.0)
    assert (state.verdict, state.streak, state.since) == (UP, 1, 5.0)
    assert (state.probed, state.failure, state.failures) == (9.0, "time-out", 1)


def test_the_end_of_a_certificate_stays_known_while_none_is_shown() -> None:
    """It is not shown where the handshake fails because it has ended: that is when an operator wants to know it."""
    state = note(State(UP), Outcome("key", UP, True, "", 0.1, None, 5e8), 9.0, UP, 0, 5.0)
    state = note(state, Outcome("key", DOWN, True, "certificate has expired", 0.1), 9.0, UP, 1, 5.0)
    assert state.expires == 5e8
    assert note(state, Outcome("key", UP, True, "", 0.1, None, 6e8), 9.0, UP, 0, 5.0).expires == 6e8


def test_all_checks_must_pass() -> None:
    assert combine([]) is UP
    assert combine([UP, UP]) is UP
    assert combine([UP, UNKNOWN, UP]) is UNKNOWN
    assert combine([UNKNOWN, UP, DOWN, UNKNOWN]) is DOWN


@given(outcomes, outcomes, outcomes)
def test_taken_back_the_verdict_is_as_before_and_the_facts_stay(one: Outcome, two: Outcome, three: Outcome) -> None:
    before = observe(State(), one, 1, 1, 1.0)
    after = observe(observe(before, two, 1, 1, 2.0), three, 1, 1, 3.0)
    back = take_back(after, before)
    assert (back.verdict, back.streak, back.since) == (before.verdict, before.streak, before.since)
    assert replace(back, verdict=after.verdict, streak=after.streak, since=after.since) == after

"""What is known of a member's health, without any I/O.

Knows verdicts, thresholds, what one result changes and what several checks say together. Knows nothing of probes, clocks,
files or operators; time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What the checks say. Unknown is answered, and shown as unknown."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A member as the compiler of choices sees it: observation and overrides already combined.

    `until_flip` is interval x results left to flip, in seconds, while a streak lasts; None while there is none. `weight`
    is what a `file` check says instead of the configuration's; None where none does.
    """

    verdict: Verdict = Verdict.UP
    drained: bool = False
    until_flip: float | None = None
    weight: int | None = None


MemberKey = tuple[str, str, str]  # service, datacenter, member (its text)
Health = Mapping[MemberKey, Condition]  # who is missing is up: no check watches it


class Outcome(NamedTuple):
    """What one probe found out. Crosses from the prober to the daemon."""

    key: str  # of the target
    verdict: Verdict  # unknown: the probe cannot say (a file that is too old), which is no failure
    seen: bool  # something replied, be it a refusal; false for time-outs, no route, a name that cannot be resolved
    text: str  # for people: "status 200", "connection refused"; one line, at most 200 characters
    seconds: float  # how long it took
    weight: int | None = None  # what a `file` check said
    expires: float | None = None  # when the certificate ends that was shown, seconds since 1970


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one target. Times are seconds since 1970."""

    # `note` fills these in their order.
    verdict: Verdict = Verdict.UNKNOWN
    streak: int = 0  # results in a row that contradict the verdict
    since: float = 0.0  # when the verdict began
    probed: float | None = None  # when the last result came
    text: str = ""  # what it said
    failure: str = ""  # what the last failure said
    seconds: float = 0.0  # how long the last probe took
    successes: int = 0
    failures: int = 0
    weight: int | None = None
    restored: bool = False  # from the run before; nothing was seen since
    expires: float | None = None  # when the certificate ends that was shown last; no file keeps it, the next probe sees it


class Saved(NamedTuple):
    """A state as it is kept over a restart."""

    key: str  # of the target
    subject: str  # of the target: found by it when only the schedule has changed
    state: State


def observe(state: State, outcome: Outcome, rise: int, fall: int, now: float) -> State:
    """*state* after *outcome*, which came at *now* (seconds since 1970).

    Consecutive counts: *rise* successes bring a target up, *fall* failures take it down; whoever is unknown takes its first
    result at once, and a result that cannot say anything makes it unknown.
    """
    said = outcome.verdict
    if said is state.verdict:
        return note(state, outcome, now, state.verdict, 0, state.since)
    streak = state.streak + 1
    needed = rise if said is Verdict.UP else fall
    if said is not Verdict.UNKNOWN and state.verdict is not Verdict.UNKNOWN and streak < needed:
        return note(state, outcome, now, state.verdict, streak, state.since)
    return note(state, outcome, now, said, 0, now)


def note(state: State, outcome: Outcome, now: float, verdict: Verdict, streak: int, since: float) -> State:
    """*state* with the facts of *outcome*, and a verdict that the caller decided on: `observe`, or who does not count it.

    Written out, because `dataclasses.replace` costs four times as much and this runs for every probe.
    """
    failed = outcome.verdict is Verdict.DOWN
    return State(
        verdict,
        streak,
        since,
        now,
        outcome.text,
        outcome.text if failed else state.failure,
        outcome.seconds,
        state.successes + (outcome.verdict is Verdict.UP),
        state.failures + failed,
        outcome.weight,
        False,
        state.expires if outcome.expires is None else outcome.expires,
    )


def take_back(state: State, before: State) -> State:
    """The facts of *state* with the verdict of *before*. Written out, as `note`: thousands may have to go back at once."""
    return State(
        before.verdict,
        before.streak,
        before.since,
        state.probed,
        state.text,
        state.failure,
        state.seconds,
        state.successes,
        state.failures,
        state.weight,
        state.restored,
        state.expires,
    )


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """What the checks of one member say together: all must pass. Without any check it is up."""
    worst = Verdict.UP
    for verdict in verdicts:
        if verdict is Verdict.DOWN:
            return verdict
        if verdict is Verdict.UNKNOWN:
            worst = verdict
    return worst

"""How durations, times and reasons are put into words; the lines themselves stand in the tests of the roster."""

from __future__ import annotations

import pytest

from geodns.config.model_checks import TcpCheck
from geodns.health.events import give_reason, tell_begun, tell_members, tell_seconds, tell_time, tell_weight
from geodns.health.overrides import Override
from geodns.health.state import State, Verdict
from geodns.health.targets import Target

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.25, "0.2 s"), (3.0, "3 s"), (9.96, "10.0 s"), (35.4, "35 s"), (60.0, "1 min"), (90.0, "90 s"),
        (119.0, "119 s"), (120.0, "2 min"), (3600.0, "1 h"), (5400.0, "90 min"), (7200.0, "2 h"), (86400.0, "24 h"),
        (100_000.0, "28 h"), (172_800.0, "2 days"), (604_800.0, "7 days"),
    ],
)  # fmt: skip
def test_about_how_long(seconds: float, text: str) -> None:
    assert tell_seconds(seconds) == text


def test_times_that_no_calendar_has_are_told_all_the_same() -> None:
    assert tell_time(0.0) == "1970-01-01T00:00:00Z"
    assert tell_time(1e18) == "1000000000000000000 s after 1970"


@pytest.mark.parametrize(
    ("before", "after", "rise", "reason"),
    [
        (UP, DOWN, 1, "3 failures in a row, text"),
        (DOWN, UP, 2, "2 successes in a row, text"),
        (DOWN, UP, 1, "1 success, text"),
        (UNKNOWN, UP, 2, "first result, text"),
        (UP, UNKNOWN, 2, "no verdict, text"),
    ],
)
def test_reasons(before: Verdict, after: Verdict, rise: int, reason: str) -> None:
    check = TcpCheck(type="tcp", port=1, rise=rise)
    target = Target("k", "s", check, "c", "192.0.2.1", 1, "192.0.2.1", ("ams",))
    assert give_reason(State(before), State(after, text="text"), target) == reason


def test_a_weight_that_is_taken_back_is_the_configured_one() -> None:
    target = Target("k", "s", TcpCheck(type="tcp", port=1), "c", "192.0.2.1", 1, "192.0.2.1", ("ams",))
    assert tell_weight(("www", "ams", "192.0.2.1"), 5, None, target).text.startswith(
        "www/ams/192.0.2.1: weight 5 to the configured one"
    )


def test_without_a_reason_there_is_none() -> None:
    event = tell_begun(Override("ams", "up", "alice", "", 0.0, None), (), 2)
    assert event.text == "force up ams begun by alice, until it is ended: 2 members"
    assert tell_members(1) == "1 member"

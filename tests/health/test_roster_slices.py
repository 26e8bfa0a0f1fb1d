"""Overrides over many members: put and ended a few members at a time, while everything else goes on."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.health.test_roster import DOWN, PLANS, SETTINGS, UP, Model, at, ended, forced, make_plan, put, say, served, spoken

from geodns.config.model import Health as Settings
from geodns.health import conditions
from geodns.health import roster as roster_module
from geodns.health.events import Event
from geodns.health.overrides import parse_target
from geodns.health.roster import Roster
from geodns.health.state import MemberKey
from geodns.slices import at_once

MANY = make_plan(
    {f"w{s}": ("web", {f"dc{d}": [f"10.{s}.{d}.{n}" for n in range(1, 11)] for d in range(20)}) for s in range(5)}
)
TARGETS = (
    "*/*", "dc1", "DC1", "dc?", "w1/*", "w?/dc1", "10.1.2.3", "10.1.*", "10.*.3", "w1/dc2/10.1.2.3", "w*/dc2/10.?.2.*",
    "w1/dc3/10.1.2.3", "[0-9]*", "nobody", "192.0.2.1", "2001:db8::1", "a.b", "dc1.x",
)  # fmt: skip


def whom(target: str, members: list[MemberKey]) -> list[MemberKey]:
    """Those whom *target* names, each asked by itself."""
    pattern = parse_target(target)
    return [member for member in members if pattern.level(member)]


@pytest.mark.parametrize("target", TARGETS)
def test_always_those_are_found_who_would_say_so_themselves(target: str) -> None:
    roster, wanted = served(MANY), whom(target, list(MANY.watched))
    found = roster.matched(target)
    assert sorted(found) == sorted(wanted) and len(set(found)) == len(found)


@pytest.mark.parametrize(
    "target", ["www.", "www", "CDN.example.net", "cdn.example.net.", "cdn.*", "*.net", "192.0.2.1", "ams"]
)
def test_names_are_found_with_and_without_their_dot_in_any_case(target: str) -> None:
    plan = make_plan({"www": ("web", {"ams": ["CDN.example.net."], "www": ["192.0.2.1", "2001:db8::1"]})})
    assert sorted(served(plan).matched(target)) == sorted(whom(target, list(plan.watched)))


@pytest.mark.parametrize("target", ["*/*", "10.*", "dc1", "10.1.2.3"])
def test_never_many_members_without_a_pause(target: str) -> None:
    """What a pause costs is bounded by who is worked out anew before it: a drain of 10,000 takes tens of milliseconds."""
    roster = served(MANY)
    with patch.object(conditions, "_SLICE", 20), patch.object(conditions, "_POOLS", 10):
        work, before = roster.put_in_slices(put(target, "drain")), 0
        for _ in work:
            assert len(roster.health()) - before <= 20
            before = len(roster.health())
    assert len(roster.health()) == len(whom(target, list(MANY.watched)))


turns = st.lists(
    st.one_of(spoken, forced, ended, st.just(("tick", 0, None, None)), st.just(("go on", 0, None, None))), max_size=30
)


@settings(deadline=None, max_examples=200)
@given(turns, st.integers(0, len(PLANS) - 1), st.randoms(use_true_random=False))
def test_always_the_same_in_the_end_in_whatever_order_slices_come(
    script: list[tuple[str, Any, Any, Any]], number: int, chance: Any
) -> None:
    plan, roster, model = PLANS[number], Roster((), (), at(0)), Model()
    roster.adopt(plan, SETTINGS, at(0))
    under_way: list[Generator[None, None, list[Event]]] = []
    with patch.object(conditions, "_SLICE", 1), patch.object(conditions, "_POOLS", 1):
        for second, (what, which, how, extra) in zip(count(1), script, strict=False):
            now = at(second)
            if what == "say":
                outcome = say(which, how, weight=extra)
                roster.observe([outcome], now)
                if which in plan.targets:
                    model.observe(outcome, now.wall)
            elif what == "put":
                override = put(which, how, now.wall, None if extra is None else now.wall + extra)
                under_way.append(begin(roster.put_in_slices(override)))
                model.put(override)
            elif what == "end":
                under_way.append(begin(roster.end_in_slices(which, how, now)))
                model.overrides = [one for one in model.overrides if one.target != which]
            elif what == "tick":
                under_way.append(begin(roster.tick_in_slices(now)))
                model.overrides = [one for one in model.overrides if one.until is None or one.until > now.wall]
            elif under_way:
                next(chance.choice(under_way), None)
        for work in chance.sample(under_way, len(under_way)):
            at_once(work)
    assert roster.health() == model.conditions(plan)
    assert roster.overrides == tuple(model.overrides)


def begin(work: Generator[None, None, list[Event]]) -> Generator[None, None, list[Event]]:
    """*work* after its first slice, as one who has it done leaves it to others."""
    next(work, None)
    return work


def test_who_is_taken_in_while_an_override_begins_has_it_too() -> None:
    """A load fills its plan while a drain goes through it: nobody may be missed between the two."""
    roster = served(PLANS[0])
    with patch.object(conditions, "_SLICE", 1), patch.object(conditions, "_POOLS", 1):
        load = roster.expect_in_slices(MANY, SETTINGS, at(1))
        drain = roster.put_in_slices(put("*/*", "drain"))
        for _ in range(30):
            next(load)
        for _ in range(5):
            next(load)
            next(drain)
        at_once(load)
        at_once(drain)
    assert set(roster.expected_health()) == set(MANY.watched)
    roster.observe([say(key, DOWN) for key in MANY.targets], at(2))
    roster.adopt(MANY, SETTINGS, at(3))
    assert all(condition.drained for condition in roster.health().values())


def test_which_overrides_match_nobody_is_known_before_a_plan_is_adopted() -> None:
    """Adopting happens in one go: a thousand overrides over ten thousand members took seconds there."""
    roster = served(PLANS[0], overrides=[put(target, "drain") for target in TARGETS])
    roster.expect(MANY, SETTINGS, at(1))
    with patch.object(conditions.Conditions, "portions", side_effect=AssertionError("looked while it was adopted")):
        events = roster.adopt(MANY, SETTINGS, at(2))
    idle = [target for target in TARGETS if not whom(target, list(MANY.watched))]
    assert len(idle) > 3
    told = [event.text for event in events]
    assert set(told) <= {f"drain {target} of alice matches nothing; it is kept" for target in idle}


def test_who_is_heard_while_others_grow_old_does_not() -> None:
    with patch.object(roster_module, "_PORTION", 1):
        roster = served(MANY)
        late = SETTINGS.stale_limit + 60
        work = roster.tick_in_slices(at(late))
        for _ in range(500):
            next(work)
        heard = list(MANY.targets)[::100]
        roster.observe([say(key, UP) for key in heard], at(late))
        at_once(work)
        assert not any(roster.health().get(member) for member, keys in MANY.watched.items() if set(keys) & set(heard))


def test_a_limit_that_comes_while_others_grow_old_counts() -> None:
    with patch.object(roster_module, "_PORTION", 1):
        roster = served(MANY)
        work = begin(roster.tick_in_slices(at(1)))
        roster.adopt(MANY, Settings(stale_limit=60), at(1))
        at_once(work)
        roster.tick(at(100))
    assert len(roster.health()) == 1, "one of them, as many as a portion has"

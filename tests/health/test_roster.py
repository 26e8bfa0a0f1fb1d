"""The roster against a plain model that works everything out anew each time, and the cases that operators ask about."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from time import perf_counter, process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.model import Config
from geodns.config.model import Health as Settings
from geodns.health.events import Event, Moment
from geodns.health.overrides import KINDS, Kind, Override, Standing
from geodns.health.roster import Roster
from geodns.health.state import Condition, MemberKey, Outcome, Saved, State, Verdict, combine, observe
from geodns.health.targets import Plan, Target, build_targets

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
MONO, WALL = 500.0, 1_790_000_000.0
SETTINGS = Settings()
TCP = {"type": "tcp", "port": 1, "interval": "5s", "rise": 2, "fall": 3}


def make_plan(services: Mapping[str, Any], **checks: Any) -> Plan:
    """`services`: name to (checks, pools)."""
    written = {name: {"check": check, "pools": pools} for name, (check, pools) in services.items()}
    datacenters = {name: {"coordinates": [1, 2]} for _, pools in services.values() for name in pools}
    found = {"web": TCP, "file": {"type": "file", "path": "/weights.json"}, **checks}
    return build_targets(Config.model_validate({"datacenters": datacenters, "checks": found, "services": written}))


TWO = make_plan({"www": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})})
AMS, NYC = ("www", "ams", "192.0.2.1"), ("www", "nyc", "192.0.2.2")


def at(seconds: float) -> Moment:
    return Moment(MONO + seconds, WALL + seconds)


def say(key: str, verdict: Verdict, *, seen: bool = True, weight: int | None = None) -> Outcome:
    text = {UP: "status 200", DOWN: "refused" if seen else "no reply within 2 s", UNKNOWN: "too old"}[verdict]
    return Outcome(key, verdict, seen, text, 0.02, weight)


def key_of(plan: Plan, member: MemberKey, check: int = 0) -> str:
    return plan.watched[member][check]


def served(plan: Plan = TWO, verdict: Verdict = UP, settings: Settings = SETTINGS, **given: Any) -> Roster:
    """A roster that serves *plan*, of which all targets said *verdict* at second 0."""
    roster = Roster(given.pop("saved", ()), given.pop("overrides", ()), at(0))
    roster.expect(plan, settings, at(0))
    roster.observe([say(key, verdict) for key in plan.targets], at(0))
    roster.adopt(plan, settings, at(0))
    roster.take_touched()
    return roster


def hear(
    roster: Roster, plan: Plan, member: MemberKey, *verdicts: Verdict, second: float = 1.0, seen: bool = True
) -> list[Event]:
    """What is told when the first check of *member* says *verdicts*, one after the other."""
    key = key_of(plan, member)
    return [event for verdict in verdicts for event in roster.observe([say(key, verdict, seen=seen)], at(second))]


def put(target: str, kind: Kind, since: float = WALL, until: float | None = None) -> Override:
    return Override(target, kind, "alice", "works", since, until)


def texts(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events]


# Plans that a reload may bring: members that come and go, several checks, checks that are shared, names that change.
PLANS = [
    TWO,
    make_plan({"www": (["web", "file"], {"ams": ["192.0.2.1", "192.0.2.3"], "nyc": ["192.0.2.2"]})}),
    make_plan(
        {"shop": ("web", {"eu": ["192.0.2.1"], "us": ["192.0.2.2", "2001:db8::1"]}), "www": (None, {"ams": ["192.0.2.1"]})}
    ),
    make_plan({"www": ("file", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]}), "api": ("web", {"ams": ["192.0.2.1"]})}),
]
TARGETS = {key: target for plan in PLANS for key, target in plan.targets.items()}


class Model:
    """What the roster must say, worked out from the states anew each time."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.overrides: list[Override] = []

    def conditions(self, plan: Plan) -> dict[MemberKey, Condition]:
        """Of all who are not plainly up."""
        standing = Standing(self.overrides)
        found = {}
        for member, keys in plan.watched.items():
            states = [(plan.targets[key].check, self.states.get(key, State())) for key in keys]
            drain, force = standing.forced(member)
            verdict = Verdict(force.kind) if force else combine(state.verdict for _, state in states)
            left = [
                check.interval * ((check.fall if state.verdict is UP else check.rise) - state.streak)
                for check, state in states
                if state.streak
            ]
            weights = [state.weight for _, state in states if state.weight is not None]
            until = min(left) if left and not force else None
            condition = Condition(verdict, drain is not None, until, weights[0] if weights else None)
            if condition != Condition():
                found[member] = condition
        return found

    def observe(self, outcome: Outcome, wall: float) -> None:
        check = TARGETS[outcome.key].check
        self.states[outcome.key] = observe(self.states.get(outcome.key, State()), outcome, check.rise, check.fall, wall)

    def forget(self, kept: Iterable[str]) -> None:
        """What is unknown says nothing, and is not kept for those who come back."""
        needed = set(kept)
        gone = [key for key, state in self.states.items() if key not in needed and state.verdict is UNKNOWN]
        for key in gone:
            del self.states[key]
        for key in self.states.keys() - needed:
            self.states[key] = replace(self.states[key], restored=True)

    def put(self, override: Override) -> None:
        self.overrides = [one for one in self.overrides if (one.target, one.axis) != (override.target, override.axis)]
        self.overrides.append(override)


def pools_between(before: Mapping[MemberKey, Condition], after: Mapping[MemberKey, Condition]) -> set[tuple[str, str]]:
    plain = Condition()
    return {key[:2] for key in before.keys() | after.keys() if before.get(key, plain) != after.get(key, plain)}


spoken = st.tuples(
    st.just("say"),
    st.sampled_from(sorted(TARGETS)),
    st.sampled_from((UP, UP, DOWN, DOWN, DOWN, UNKNOWN)),
    st.none() | st.sampled_from((0, 5)),
)
forced = st.tuples(
    st.just("put"),
    st.sampled_from(("ams", "www/*", "www/ams", "192.0.2.1", "*", "lon")),
    st.sampled_from(KINDS),
    st.none() | st.just(4.0),
)
ended = st.tuples(st.just("end"), st.sampled_from(("ams", "www/*", "192.0.2.1")), st.just(KINDS), st.none())
loaded = st.tuples(st.sampled_from(("expect", "adopt", "drop")), st.integers(0, len(PLANS) - 1), st.none(), st.none())
steps = st.lists(st.one_of(spoken, spoken, spoken, forced, ended, loaded, st.just(("tick", 0, None, None))), max_size=40)


@settings(deadline=None, max_examples=150)
@given(steps)
def test_always_what_the_plain_model_says(script: list[tuple[str, Any, Any, Any]]) -> None:
    roster, model = Roster((), (), at(0)), Model()
    current, coming = PLANS[0], None
    roster.adopt(current, SETTINGS, at(0))
    for second, (what, which, how, extra) in enumerate(script, 1):
        now, before = at(second), dict(roster.health())
        roster.take_touched()
        if what == "say":
            outcome = say(which, how, weight=extra)
            roster.observe([outcome], now)
            if which in current.targets or (coming is not None and which in coming.targets):
                model.observe(outcome, now.wall)
        elif what == "put":
            override = put(which, how, now.wall, None if extra is None else now.wall + extra)
            forecast = roster.health_with(override)
            roster.put(override, now)
            model.put(override)
            assert roster.health() == forecast
        elif what == "end":
            forecast = roster.health_with(None, roster.held(which, how))
            roster.end(which, how, now)
            model.overrides = [one for one in model.overrides if one.target != which]
            assert roster.health() == forecast
        elif what == "tick":
            roster.tick(now)
            model.overrides = [one for one in model.overrides if one.until is None or one.until > now.wall]
            model.forget([*current.targets, *(coming.targets if coming else ())])
        elif what == "expect":
            coming = PLANS[which]
            targets, missing = roster.expect(coming, SETTINGS, now)
            assert {target.key for target in targets} == current.targets.keys() | coming.targets.keys()
            assert missing == {key for key in coming.targets if model.states.get(key, State()).probed is None}
        elif what == "drop":
            coming = None
            roster.drop_expected()
        else:
            before = dict(roster.expected_health()) if coming is not None else before
            current, fresh, coming = coming or PLANS[which], coming is None, None
            roster.adopt(current, SETTINGS, now)
            assert fresh or roster.health() == before
        assert roster.health() == model.conditions(current)
        assert roster.expected_health() == model.conditions(coming or current)
        assert {target.key for target in roster.targets()} == current.targets.keys() | (
            coming.targets.keys() if coming else set()
        )
        if what not in ("adopt", "expect", "drop"):
            assert roster.take_touched() == pools_between(before, roster.health())
        assert roster.overrides == tuple(model.overrides)
        for member in current.watched:
            facts = roster.member_facts(member)
            assert facts.verdict == roster.health().get(member, Condition()).verdict
            assert len(facts.probes) == len(current.watched[member])


def test_a_flip_says_who_from_what_to_what_and_why() -> None:
    roster = served()
    assert hear(roster, TWO, AMS, DOWN, DOWN, seen=False) == []
    assert roster.health()[AMS] == Condition(UP, until_flip=5.0), "one failure is left, 5 s away"
    (event,) = hear(roster, TWO, AMS, DOWN, seen=False)
    assert event.level == logging.WARNING
    assert event.text == "www/ams/192.0.2.1: up to down: 3 failures in a row, no reply within 2 s (tcp 192.0.2.1:1)"
    assert dict(event.fields) == {
        "member": "www/ams/192.0.2.1",
        "from": "up",
        "to": "down",
        "reason": "3 failures in a row, no reply within 2 s",
        "check": "web",
    }
    (event,) = hear(roster, TWO, AMS, UP, UP)
    assert event.text == "www/ams/192.0.2.1: down to up: 2 successes in a row, status 200 (tcp 192.0.2.1:1)"
    assert event.level == logging.INFO


def test_first_results_are_told_only_where_they_are_bad() -> None:
    roster = Roster((), (), at(0))
    roster.expect(TWO, SETTINGS, at(0))
    events = hear(roster, TWO, AMS, UP) + hear(roster, TWO, NYC, DOWN)
    assert [event.level for event in events] == [logging.DEBUG, logging.WARNING]
    assert events[1].text == "www/nyc/192.0.2.2: unknown to down: first result, refused (tcp 192.0.2.2:1)"


def test_a_flip_that_an_override_hides_says_so() -> None:
    roster = served(overrides=[put("www/ams", "up"), put("ams", "drain")])
    (event,) = hear(roster, TWO, AMS, DOWN, DOWN, DOWN)
    assert event.text.endswith("(tcp 192.0.2.1:1); force up www/ams is in force, drain ams is in force")
    assert roster.health()[AMS] == Condition(UP, drained=True), "forced verdicts do not flip, and keep no streak"
    assert roster.take_touched() == set()
    facts = roster.member_facts(AMS)
    assert (facts.observed, facts.verdict, facts.drain, facts.forced) == ("down", "up", "ams", "www/ams")


def test_who_stays_up_of_several_checks_is_told_once_all_agree() -> None:
    plan = make_plan({"www": (["web", "alive"], {"ams": ["192.0.2.1"]})}, alive={"type": "icmp", "fall": 1})
    roster = served(plan)
    web, alive = plan.watched[AMS]
    assert texts(roster.observe([say(alive, DOWN)], at(1))) == [
        "www/ams/192.0.2.1: up to down: 1 failure, refused (icmp 192.0.2.1)"
    ]
    assert roster.observe([say(web, DOWN), say(web, DOWN), say(web, DOWN)], at(2)) == [], "it was down already"
    assert roster.observe([say(alive, UP), say(alive, UP)], at(3)) == [], "the other one still fails"
    assert len(roster.observe([say(web, UP), say(web, UP)], at(4))) == 1
    assert roster.health() == {}


def test_a_shared_probe_flips_all_its_members() -> None:
    plan = make_plan({"www": ("web", {"ams": ["192.0.2.1"]}), "api": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.1"]})})
    roster = served(plan)
    events = hear(roster, plan, AMS, DOWN, DOWN, DOWN)
    assert sorted(str(event.fields["member"]) for event in events) == [
        "api/ams/192.0.2.1", "api/nyc/192.0.2.1", "www/ams/192.0.2.1",
    ]  # fmt: skip
    assert roster.take_touched() == {("www", "ams"), ("api", "ams"), ("api", "nyc")}


def test_a_weight_from_a_file_counts_and_touches() -> None:
    plan = make_plan({"www": ("file", {"ams": ["192.0.2.1"]})})
    roster = served(plan)
    (event,) = roster.observe([say(key_of(plan, AMS), UP, weight=7)], at(1))
    assert roster.health() == {AMS: Condition(weight=7)}
    assert roster.take_touched() == {("www", "ams")}
    assert event == Event(
        logging.DEBUG,
        "www/ams/192.0.2.1: weight the configured one to 7 (file 192.0.2.1)",
        {"member": "www/ams/192.0.2.1", "before": None, "weight": 7},
    )


def test_outcomes_of_strangers_are_passed_over() -> None:
    roster = served()
    assert roster.observe([say("nobody", DOWN)], at(1)) == []
    assert roster.health() == {}


def test_overrides_begin_end_and_expire_with_a_line_each() -> None:
    roster = served()
    (begun,) = roster.put(put("ams", "drain", WALL, WALL + 1800), at(0))
    assert begun.text == "drain ams begun by alice, until 2026-09-21T14:43:20Z: 1 member; reason: works"
    assert begun.fields == {"target": "ams", "kind": "drain", "owner": "alice", "until": WALL + 1800, "members": 1}
    assert roster.take_touched() == {("www", "ams")}
    (again,) = roster.put(replace(put("AMS", "drain", WALL + 60), owner="bob"), at(60))
    assert (
        again.text
        == "drain AMS begun by bob, until it is ended: 1 member; reason: works; it takes the place of drain ams by alice"
    )
    assert [one.target for one in roster.overrides] == ["AMS"]
    (ended,) = roster.end("ams", {"drain"}, at(360))
    assert ended.text == "drain AMS of bob: ended after 5 min"
    assert roster.end("ams", {"drain"}, at(361)) == []
    roster.put(put("www/nyc", "down", WALL + 400, WALL + 500), at(400))
    assert roster.health() == {NYC: Condition(DOWN)}
    assert roster.tick(at(499.9)) == []
    (over,) = roster.tick(at(500))
    assert over.text == "force down www/nyc of alice: its time is over after 100 s"
    assert roster.health() == {}


def test_what_ended_while_nobody_was_here_is_in_no_answer_and_is_told_once() -> None:
    roster = Roster((), [put("ams", "drain", WALL - 7200, WALL - 3600), put("nyc", "drain")], at(0))
    assert [one.target for one in roster.overrides] == ["nyc"]
    roster.expect(TWO, SETTINGS, at(0))
    roster.observe([say(key, UP) for key in TWO.targets], at(0))
    assert roster.expected_health() == {NYC: Condition(drained=True)}
    assert texts(roster.adopt(TWO, SETTINGS, at(0))) == ["drain ams of alice: its time is over after 2 h"]
    assert roster.adopt(TWO, SETTINGS, at(1)) == []


def test_an_override_that_matches_nothing_any_more_is_kept_and_says_so_once() -> None:
    other = make_plan({"www": ("web", {"lon": ["192.0.2.1"]})})
    roster = served(overrides=[put("ams", "drain")])
    (event,) = roster.adopt(other, SETTINGS, at(1))
    assert event.text == "drain ams of alice matches nothing; it is kept"
    assert roster.adopt(other, SETTINGS, at(2)) == []
    assert [one.target for one in roster.overrides] == ["ams"]
    assert roster.matched("ams") == []
    assert roster.adopt(TWO, SETTINGS, at(3)) == []
    assert roster.health()[AMS].drained, "and counts again when its members are back"
    assert len(roster.adopt(other, SETTINGS, at(4))) == 1


def test_the_end_of_a_certificate_is_told_of_whoever_showed_it() -> None:
    roster = served()
    roster.observe([say(key_of(TWO, AMS), UP)._replace(expires=2e9)], at(1))
    roster.observe([say(key_of(TWO, AMS), DOWN)], at(2))
    assert [probe.expires for probe in roster.member_facts(AMS).probes] == [2e9]
    assert [probe.expires for probe in roster.member_facts(NYC).probes] == [None]


def test_what_matches_is_what_is_served() -> None:
    roster = served()
    assert roster.matched("www/*") == [AMS, NYC]
    assert roster.matched("192.0.2.9") == []
    with pytest.raises(ValueError, match="is no target"):
        roster.matched("a b")


def test_renaming_everything_keeps_all_health() -> None:
    roster = served()
    hear(roster, TWO, AMS, DOWN, DOWN, DOWN)
    renamed = make_plan({"shop": ("http", {"eu": ["192.0.2.1"], "us": ["192.0.2.2"]})}, http=TCP)
    targets, missing = roster.expect(renamed, SETTINGS, at(2))
    assert missing == frozenset()
    assert {target.key for target in targets} == set(TWO.targets)
    assert roster.expected_health() == {("shop", "eu", "192.0.2.1"): Condition(DOWN)}
    roster.adopt(renamed, SETTINGS, at(2))
    assert roster.health() == {("shop", "eu", "192.0.2.1"): Condition(DOWN)}


def test_another_schedule_keeps_the_verdict() -> None:
    roster = served()
    hear(roster, TWO, AMS, DOWN, DOWN, DOWN)
    faster = make_plan({"www": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})}, web={**TCP, "interval": "3s"})
    assert roster.expect(faster, SETTINGS, at(2))[1] == frozenset()
    assert roster.expected_health() == {AMS: Condition(DOWN)}


def test_a_member_with_another_check_has_two_healths_until_it_is_served() -> None:
    roster = served()
    other = make_plan({"www": ("alive", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})}, alive={"type": "icmp", "fall": 1})
    _, missing = roster.expect(other, SETTINGS, at(1))
    assert missing == set(other.targets)
    roster.observe([say(key_of(other, AMS), DOWN), say(key_of(other, NYC), UP)], at(2))
    assert roster.missing() == frozenset()
    assert roster.health() == {}, "what is served goes by its own check"
    assert roster.take_touched() == set()
    built = dict(roster.expected_health())
    assert built == {AMS: Condition(DOWN)}
    roster.observe([say(key_of(other, NYC), DOWN)], at(3))
    roster.adopt(other, SETTINGS, at(3))
    assert roster.take_touched() == {("www", "nyc")}, "what changed while the pools were built"
    assert roster.health() == {AMS: Condition(DOWN), NYC: Condition(DOWN)}


def test_a_load_that_failed_leaves_what_is_served() -> None:
    roster = served()
    bigger = make_plan({"www": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"], "sin": ["192.0.2.3"]})})
    roster.expect(bigger, SETTINGS, at(1))
    roster.drop_expected()
    assert {target.key for target in roster.targets()} == set(TWO.targets)
    assert roster.missing() == frozenset()
    assert roster.observe([say(key_of(bigger, ("www", "sin", "192.0.2.3")), DOWN)], at(2)) == []
    assert roster.health() == {}


def test_a_load_that_failed_leaves_the_names_of_checks_too() -> None:
    roster = served()
    renamed = make_plan({"www": ("http", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})}, http=TCP)
    roster.expect(renamed, SETTINGS, at(1))
    assert {target.name for target in roster.targets()} == {"http"}
    roster.drop_expected()
    assert {target.name for target in roster.targets()} == {"web"}


def test_an_override_that_begins_while_members_are_taken_in_counts_for_all() -> None:
    plan = make_plan({"www": ("web", {"ams": [f"10.0.{n >> 8}.{n & 255}" for n in range(500)]})})
    roster = Roster((), (), at(0))
    work = roster.expect_in_slices(plan, SETTINGS, at(0))
    for _ in range(len(plan.targets) // 200 + 2):
        next(work)
    assert 0 < len(roster.expected_health()) < 500, "in the middle"
    roster.put(put("ams", "drain"), at(0))
    while next(work, work) is not work:
        pass
    assert list(roster.expected_health().values()) == [Condition(UNKNOWN, drained=True)] * 500


def test_the_first_to_flip_of_several_checks_decides() -> None:
    plan = make_plan({"www": (["web", "slow"], {"ams": ["192.0.2.1"]})}, slow={"type": "icmp", "interval": "60s"})
    for first, second in ((0, 1), (1, 0)):
        roster = served(plan)
        for check in (first, second):
            roster.observe([say(key_of(plan, AMS, check), DOWN)], at(1))
        assert roster.health() == {AMS: Condition(until_flip=10.0)}


def test_a_streak_longer_than_a_new_threshold_is_one_result_away() -> None:
    roster = served()
    hear(roster, TWO, AMS, DOWN, DOWN)
    hasty = make_plan({"www": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})}, web={**TCP, "fall": 1})
    roster.adopt(hasty, SETTINGS, at(2))
    assert roster.health() == {AMS: Condition(until_flip=5.0)}
    assert len(hear(roster, hasty, AMS, DOWN, second=3)) == 1


def test_what_a_reload_took_away_is_known_when_it_comes_back() -> None:
    roster = served()
    hear(roster, TWO, NYC, DOWN, DOWN, DOWN)
    smaller = make_plan({"www": ("web", {"ams": ["192.0.2.1"]})})
    roster.adopt(smaller, SETTINGS, at(2))
    roster.tick(at(3))
    assert len(tuple(roster.saved_states())) == 2, "and is saved meanwhile"
    assert roster.expect(TWO, SETTINGS, at(1000))[1] == frozenset()
    assert roster.expected_health() == {NYC: Condition(DOWN)}
    assert roster.expect(TWO, Settings(stale_limit=900), at(1000))[1] == frozenset(), "once taken up it stays"
    roster = served()
    roster.adopt(smaller, SETTINGS, at(2))
    roster.tick(at(3))
    _, missing = roster.expect(TWO, Settings(stale_limit=900), at(1000))
    assert missing == {key_of(TWO, NYC)}, "too old"


def test_restored_states_go_on_under_rise_and_fall() -> None:
    saved = [Saved(key, target.subject, _state(target)) for key, target in TWO.targets.items()]
    roster = Roster(saved, (), at(0))
    assert roster.expect(TWO, SETTINGS, at(0))[1] == frozenset()
    roster.adopt(TWO, SETTINGS, at(0))
    assert roster.health() == {AMS: Condition(DOWN, until_flip=5.0)}
    (report,) = roster.probe_reports(AMS)
    assert (report.restored, report.verdict, report.streak, report.needed, report.probed) == (True, "down", 1, 2, WALL - 600)
    assert len(hear(roster, TWO, AMS, UP)) == 1
    assert not roster.probe_reports(AMS)[0].restored


def _state(target: Target) -> State:
    down = target.host == "192.0.2.1"
    return State(DOWN if down else UP, int(down), WALL - 900, WALL - 600, "text", "failure", 0.1, 5, 6, None, False)


@pytest.mark.parametrize(("age", "kept"), [(3600, True), (3601, False)])
def test_states_older_than_the_limit_are_not_believed(age: float, kept: bool) -> None:
    saved = [Saved(key, target.subject, State(DOWN, 0, 0.0, WALL - age)) for key, target in TWO.targets.items()]
    roster = Roster(saved, (), at(0))
    assert bool(roster.expect(TWO, SETTINGS, at(0))[1]) is not kept
    assert {condition.verdict for condition in roster.expected_health().values()} == {DOWN if kept else UNKNOWN}


def test_states_of_another_configuration_are_said_and_kept() -> None:
    strange = Saved("another key", "another subject", State(DOWN, 0, WALL, WALL))
    roster = Roster([strange], (), at(0))
    assert len(roster.expect(TWO, SETTINGS, at(0))[1]) == 2
    (event,) = roster.adopt(TWO, SETTINGS, at(0))
    assert event.text.startswith(
        "none of 1 saved states is of this configuration: every member is probed before it is answered"
    )
    assert strange in tuple(roster.saved_states())
    roster.tick(at(3700))
    assert strange not in tuple(roster.saved_states()), "too old to be of use to anybody"
    assert roster.adopt(TWO, SETTINGS, at(3701)) == []


def test_saved_and_restored_it_says_the_same() -> None:
    roster = served(overrides=[put("nyc", "drain")])
    hear(roster, TWO, AMS, DOWN, DOWN, DOWN, UP)
    again = Roster(tuple(roster.saved_states()), roster.overrides, at(60))
    again.expect(TWO, SETTINGS, at(60))
    again.adopt(TWO, SETTINGS, at(60))
    assert again.health() == roster.health() == {AMS: Condition(DOWN, until_flip=5.0), NYC: Condition(drained=True)}


def test_a_stopped_prober_freezes_verdicts_until_they_are_too_old() -> None:
    roster = served(settings=Settings(stale_limit=600))
    hear(roster, TWO, AMS, DOWN, DOWN, DOWN, second=1)
    (stopped,) = roster.stopped(at(10))
    assert stopped.level == logging.ERROR
    assert stopped.text == "probes have stopped: verdicts of 2 targets stay as they are, for at most 10 min"
    assert roster.stopped(at(11)) == []
    assert roster.tick(at(599)) == []
    assert roster.health() == {AMS: Condition(DOWN)}
    roster.take_touched()
    (first,) = roster.tick(at(600.5))
    assert first.text == "no result of 1 target for 10 min: unknown from now on, and answered"
    roster.tick(at(602))
    assert roster.health() == {AMS: Condition(UNKNOWN), NYC: Condition(UNKNOWN)}
    assert roster.take_touched() == {("www", "ams"), ("www", "nyc")}
    (started,) = roster.started(at(900))
    assert started.text == "probes run again after 15 min"
    hear(roster, TWO, AMS, UP, second=901)
    assert roster.health() == {NYC: Condition(UNKNOWN)}, "unknown takes its first result at once"


def test_restored_verdicts_grow_old_from_their_last_result_on() -> None:
    saved = [Saved(key, target.subject, State(DOWN, 0, 0.0, WALL - 3000)) for key, target in TWO.targets.items()]
    roster = Roster(saved, (), at(0))
    roster.adopt(TWO, SETTINGS, at(0))
    assert roster.tick(at(599)) == []
    assert len(roster.tick(at(600))) == 1
    assert roster.health() == {AMS: Condition(UNKNOWN), NYC: Condition(UNKNOWN)}


def test_a_shorter_stale_limit_counts_from_the_reload_on() -> None:
    roster = served()
    assert roster.tick(at(100)) == []
    roster.adopt(TWO, Settings(stale_limit=60), at(101))
    assert len(roster.tick(at(102))) == 1


def test_after_a_pause_the_first_results_do_not_speak_for_all() -> None:
    plan = make_plan({"www": ("web", {f"dc{n}": [f"192.0.2.{n}"] for n in range(9)})})
    roster = served(plan)
    roster.stopped(at(1))
    roster.started(at(300))
    for n in range(3):
        hear(roster, plan, ("www", f"dc{n}", f"192.0.2.{n}"), DOWN, seen=False, second=301)
    assert roster.frozen() == (), "the others are not due yet"


def test_a_freeze_goes_with_those_who_fell_silent() -> None:
    roster = served()
    for member in (AMS, NYC):
        hear(roster, TWO, member, DOWN, seen=False)
    roster.adopt(make_plan({"www": ("web", {"lon": ["192.0.2.9"]})}), SETTINGS, at(2))
    roster.tick(at(3))
    roster.tick(at(4))
    assert roster.frozen() == ()


def test_a_short_stale_limit_does_not_outrun_the_rhythm() -> None:
    roster = served(settings=Settings(stale_limit=0))
    assert roster.tick(at(14)) == []
    assert roster.health() == {}
    assert len(roster.tick(at(15))) == 1, "three intervals without a result"


def test_many_that_are_too_old_go_some_at_each_tick() -> None:
    plan = make_plan({"www": ("web", {"ams": [f"10.0.{n >> 8}.{n & 255}" for n in range(1200)]})})
    roster = served(plan)
    sizes = [[event.fields["targets"] for event in roster.tick(at(3600 + second))] for second in range(4)]
    assert sizes == [[500], [500], [200], []]


def test_blind_eyes_freeze_a_family_and_take_back_what_they_did() -> None:
    plan = make_plan({"www": ("web", {"ams": ["192.0.2.1"], "nyc": ["192.0.2.2"]})}, web={**TCP, "fall": 1})
    roster = served(plan)
    assert len(hear(roster, plan, AMS, DOWN, seen=False)) == 1
    assert roster.health() == {AMS: Condition(DOWN)}
    flip, freeze, back, other = hear(roster, plan, NYC, DOWN, seen=False)
    assert (flip.fields["to"], back.fields["to"], other.fields["to"]) == ("down", "up", "up")
    assert freeze.level == logging.ERROR
    assert freeze.text == (
        "IPv4: 2 of 2 targets that were up gave no reply within one interval, in ams, nyc: this host itself seems cut off. "
        "Verdicts are held, for at most 2 min"
    )
    assert back.text == "www/ams/192.0.2.1: down to up: taken back, this host cannot see (tcp 192.0.2.1:1)"
    assert roster.frozen() == (("IPv4", WALL + 1),)
    assert roster.health() == {}
    hear(roster, plan, AMS, DOWN, DOWN, seen=False, second=10)
    assert roster.health() == {}
    (report,) = roster.probe_reports(AMS)
    assert (report.verdict, report.failures, report.text) == ("up", 3, "no reply within 2 s"), "seen, but it does not count"
    (thaw,) = hear(roster, plan, NYC, UP, second=36)
    assert thaw.text == "IPv4: probes get replies again after 35 s: verdicts follow them"
    assert roster.frozen() == ()


def test_thousands_that_fall_silent_turn_back_some_at_each_turn() -> None:
    plan = make_plan({"www": ("web", {f"dc{d}": [f"10.{d}.{n >> 8}.{n & 255}" for n in range(1000)] for d in range(3)})})
    roster = served(plan)
    keys = list(plan.targets)
    roster.observe([say(keys[-2], DOWN)], at(1))  # a refusal, which counts
    roster.observe([say(key, DOWN, seen=False) for key in keys[:-1]], at(2))
    assert roster.frozen() != ()
    assert len(roster.health()) == 2999 - 500
    roster.observe([say(keys[0], UP), say(keys[-2], UP)], at(3))
    for second in range(4, 10):
        roster.tick(at(second))
    assert roster.health() == {}


def test_a_freeze_ends_at_its_limit() -> None:
    roster = served(settings=Settings(freeze_limit=60))
    for member in (AMS, NYC):
        hear(roster, TWO, member, DOWN, seen=False)
    assert roster.frozen() != ()
    (event,) = roster.tick(at(61))
    assert event.text == "IPv4: still no replies after 1 min: verdicts follow the probes again"
    for member in (AMS, NYC):
        hear(roster, TWO, member, DOWN, DOWN, DOWN, seen=False, second=62)
    assert roster.health() == {AMS: Condition(DOWN), NYC: Condition(DOWN)}


def test_a_clock_that_jumps_is_said() -> None:
    roster = served()
    assert roster.tick(at(1)) == []
    (event,) = roster.tick(Moment(MONO + 2, WALL + 3602))
    assert event.text == "the clock was set forward by 1 h: overrides end by the clock, verdicts do not follow it"
    (event,) = roster.tick(Moment(MONO + 3, WALL + 3))
    assert "set back by 1 h" in event.text
    assert roster.health() == {}, "ages within a run are monotonic"


def test_counts_of_each_check() -> None:
    roster = served()
    hear(roster, TWO, AMS, DOWN, DOWN, DOWN, UP)
    counts = {(one.check, one.verdict): one for one in roster.check_counts()}
    assert set(counts) == {("web", "up"), ("web", "down"), ("web", "unknown")}
    assert (counts["web", "up"].probes, counts["web", "down"].probes, counts["web", "unknown"].probes) == (3, 3, 0)
    assert (counts["web", "up"].transitions, counts["web", "down"].transitions) == (2, 1)
    assert counts["web", "down"].seconds == pytest.approx(0.06)
    assert counts["web", "down"].type == "tcp"


def test_nobody_is_known_of_a_member_without_a_check() -> None:
    plan = make_plan({"www": (None, {"ams": ["192.0.2.1"]})})
    roster = served(plan)
    facts = roster.member_facts(AMS)
    assert (facts.observed, facts.verdict, facts.probes) == ("none", "up", ())
    roster.put(put("192.0.2.1", "down"), at(1))
    assert roster.health() == {AMS: Condition(DOWN)}
    assert roster.member_facts(AMS).verdict == "down"


def test_a_thousand_outcomes_a_second_are_little_work() -> None:
    """Ten thousand members: an outcome that changes nothing costs microseconds, taking them in never holds anybody up."""
    pools = {f"dc{n}": [f"10.{n}.{i >> 8}.{i & 255}" for i in range(1000)] for n in range(10)}
    plan = make_plan({"www": ("web", pools)})
    roster, slices = Roster((), (), at(0)), []
    work = roster.expect_in_slices(plan, SETTINGS, at(0))
    while True:
        began = perf_counter()
        if next(work, None) is None and not _goes_on(work):
            break
        slices.append(perf_counter() - began)
    roster.adopt(plan, SETTINGS, at(0))
    outcomes = [say(key, UP) for key in plan.targets]
    roster.observe(outcomes, at(1))
    least = min(_time_observing(roster, outcomes, second) for second in (2, 3, 4))
    assert least / 10_000 < 20e-6, "2 us on an idle machine"
    assert sorted(slices)[len(slices) // 2] < 0.005
    assert len(slices) >= 90


def _goes_on(work: Any) -> bool:
    return work.gi_frame is not None


def _time_observing(roster: Roster, outcomes: list[Outcome], second: float) -> float:
    """Of the processor, since somebody else's load says nothing about us."""
    began = process_time()
    assert roster.observe(outcomes, at(second)) == []
    return process_time() - began

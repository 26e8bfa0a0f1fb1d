"""The blind-checker guard: when it freezes, what it lets through, when it thaws; alone, with states held by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.model_checks import ExecCheck, TcpCheck
from geodns.health.guard import FAMILIES, Freeze, Guard, Thaw, find_families
from geodns.health.state import Outcome, State, Verdict, note, observe
from geodns.health.targets import Target

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
LIMIT = 120.0


def target(host: str, datacenter: str, interval: float = 5.0) -> Target:
    check = TcpCheck(type="tcp", port=1, interval=interval, timeout=min(2.0, interval))
    return Target(f"{host} {datacenter}", host, check, "c", host, 1, host, (datacenter,))


class World:
    """Targets with their states, as the roster has them; outcomes in, changes out."""

    def __init__(self, targets: Iterable[Target], limit: float = LIMIT, verdict: Verdict = UP) -> None:
        self.guard, self.now = Guard(limit), 1000.0
        self.targets = {one.key: one for one in targets}
        self.states = {key: State(verdict) for key in self.targets}
        for key, one in self.targets.items():
            self.guard.add(key, one, self.now)

    def say(self, *said: tuple[int, str], thoroughly: bool = False) -> list[Freeze | Thaw]:
        """The n-th target said "up", "silent", "refused" or "unable" (to look); its state follows as in the roster."""
        keys = list(self.targets)
        for number, word in said:
            key = keys[number]
            verdict = {"up": UP, "unable": UNKNOWN}.get(word, DOWN)
            outcome = Outcome(key, verdict, word not in ("silent", "unable"), word, 0.1)
            state, check = self.states[key], self.targets[key].check
            if self.guard.hear(state, outcome, self.now):
                self.states[key] = observe(state, outcome, check.rise, check.fall, self.now)
            else:
                self.states[key] = note(state, outcome, self.now, state.verdict, state.streak, state.since)
        found = self.guard.judge(self.states, self.now, thoroughly=thoroughly)
        for change in found:
            if isinstance(change, Freeze):
                self.states.update(change.before)
        return found

    def later(self, seconds: float) -> list[Freeze | Thaw]:
        self.now += seconds
        return self.say(thoroughly=True)

    def verdicts(self) -> list[str]:
        return [str(state.verdict) for state in self.states.values()]


def kinds(changes: Iterable[Freeze | Thaw]) -> list[str]:
    return [f"{type(one).__name__} {one.family}" for one in changes]


def sites(*hosts: str) -> list[Target]:
    """One target a datacenter."""
    return [target(host, f"dc{number}") for number, host in enumerate(hosts)]


V4, V6 = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"), ("2001:db8::1", "2001:db8::2", "2001:db8::3")


def test_two_targets_in_two_datacenters_that_both_fall_silent_are_enough() -> None:
    world = World(sites(*V4[:2]))
    assert world.say((0, "silent")) == []
    (freeze,) = world.say((1, "silent"))
    assert isinstance(freeze, Freeze)
    assert (freeze.family, freeze.silent, freeze.up, freeze.datacenters) == ("IPv4", 2, 2, ("dc0", "dc1"))
    assert freeze.before == dict.fromkeys(world.targets, State(UP))
    for _ in range(10):
        assert world.say((0, "silent"), (1, "silent")) == []
    assert world.verdicts() == ["up", "up"]


def test_one_datacenter_alone_is_never_frozen() -> None:
    world = World([target(host, "ams") for host in V4])
    for _ in range(5):
        assert world.say(*[(n, "silent") for n in range(4)], thoroughly=True) == []
        assert world.later(5.0) == []
    assert world.verdicts() == ["down"] * 4


def test_one_target_for_two_datacenters_is_one_target() -> None:
    world = World([Target("k", "k", target("192.0.2.1", "a").check, "c", "192.0.2.1", 1, "192.0.2.1", ("ams", "nyc"))])
    assert world.say((0, "silent"), thoroughly=True) == []


def test_half_is_not_more_than_half() -> None:
    world = World(sites(*V4))
    assert world.say((0, "silent"), (1, "silent"), thoroughly=True) == []
    assert kinds(world.say((2, "silent"))) == ["Freeze IPv4"]


@pytest.mark.parametrize("fall", [1, 3])
def test_what_went_down_in_this_episode_comes_back(fall: int) -> None:
    world = World([replace(one, check=TcpCheck(type="tcp", port=1, fall=fall)) for one in sites(*V4[:3])])
    world.say((0, "silent"))
    assert world.verdicts()[0] == ("down" if fall == 1 else "up")
    assert kinds(world.say((1, "silent"))) == ["Freeze IPv4"]
    assert world.verdicts() == ["up"] * 3
    assert all(state.streak == 0 for state in world.states.values())


def test_a_refusal_shows_that_we_can_see() -> None:
    world = World(sites(*V4[:3]))
    for _ in range(5):
        assert world.say((0, "refused"), (1, "refused"), (2, "refused"), thoroughly=True) == []
    assert world.verdicts() == ["down"] * 3


def test_nobody_who_was_down_or_unknown_counts() -> None:
    for verdict in (DOWN, UNKNOWN):
        world = World(sites(*V4), verdict=verdict)
        assert world.say(*[(n, "silent") for n in range(4)], thoroughly=True) == []
    world = World(sites(*V4[:3]))
    world.states["192.0.2.3 dc2"] = State(DOWN)
    world.say((2, "silent"))
    (freeze,) = world.say((0, "silent"), (1, "silent"))
    assert isinstance(freeze, Freeze)
    assert freeze.up == 2


def test_who_is_unable_to_look_did_not_fall_silent() -> None:
    """`icmp` without permission, a `ca` file that cannot be read: that is no blindness, and the member is unknown."""
    world = World(sites(*V4[:3]))
    assert world.say((0, "unable"), (1, "unable"), (2, "unable"), thoroughly=True) == []
    assert world.verdicts() == ["unknown"] * 3
    world = World(sites(*V4))
    world.say((0, "silent"), (1, "silent"))
    assert world.say((1, "unable")) == []
    assert kinds(world.say((2, "silent"))) == ["Freeze IPv4"], "two of three that are up"
    assert world.verdicts() == ["up", "unknown", "up", "up"], "who became unknown meanwhile is not taken back"
    assert world.say((0, "unable"), (2, "unable"), thoroughly=True) == [], "it is no reply either"


def test_falling_silent_one_interval_after_another_is_no_blindness() -> None:
    """Three sites that die one after the other, each more than an interval after the one before."""
    world = World(sites(*V4))
    for number in range(4):
        for _ in range(4):
            said = [(n, "silent" if n <= number else "up") for n in range(4)]
            assert world.say(*said, thoroughly=True) == []
            world.now += 5.0
    assert world.verdicts() == ["down"] * 4


def test_families_are_judged_apart() -> None:
    world = World(sites(*V4[:3], *V6))
    assert kinds(world.say((3, "silent"), (4, "silent"))) == ["Freeze IPv6"]
    for _ in range(3):
        world.say((0, "silent"), (1, "up"), (2, "up"), (5, "refused"))
    assert world.verdicts() == ["down", *["up"] * 5], "IPv4 goes on; a refusal does not count while its family is frozen"


def test_a_name_counts_for_both_families_and_freezes_with_either() -> None:
    world = World(sites(*V4[:2], *V6, "origin.example.net"))
    assert kinds(world.say((0, "silent"), (5, "silent"))) == ["Freeze IPv4"]
    for _ in range(3):
        world.say((5, "silent"), (4, "silent"))
    assert world.verdicts() == ["up", "up", "up", "up", "down", "up"]


def test_programs_and_files_never_count() -> None:
    check = ExecCheck(type="exec", command=("false",))
    world = World([Target(f"k{n}", "s", check, "c", host, 0, host, (f"dc{n}",)) for n, host in enumerate(V4)])
    for _ in range(3):
        assert world.say(*[(n, "silent") for n in range(4)], thoroughly=True) == []
    assert world.verdicts() == ["down"] * 4


def test_it_thaws_when_half_of_the_silent_give_a_reply() -> None:
    world = World(sites(*V4))
    assert kinds(world.say(*[(n, "silent") for n in range(4)])) == ["Freeze IPv4"]
    world.now += 30
    assert world.say((0, "up")) == []
    assert world.say((0, "silent"), (1, "up")) == [], "the first is silent again"
    (thaw,) = world.say((2, "refused"))
    assert thaw == Thaw("IPv4", True, 30.0)
    for _ in range(3):
        assert world.say((3, "silent"), thoroughly=True) == []
    assert world.verdicts() == ["up", "up", "up", "down"], "who stays silent is down for real"


def test_it_ends_at_the_limit_and_a_real_outage_is_believed() -> None:
    world = World(sites(*V4))
    everybody = [(n, "silent") for n in range(4)]
    assert kinds(world.say(*everybody)) == ["Freeze IPv4"]
    assert world.later(LIMIT - 1) == []
    assert world.later(1) == [Thaw("IPv4", False, LIMIT)]
    for _ in range(4):
        assert world.say(*everybody, thoroughly=True) == []
        world.now += 5
    assert world.verdicts() == ["down"] * 4


def test_after_the_limit_it_freezes_again_only_when_there_were_replies() -> None:
    world = World(sites(*V4))
    everybody = [(n, "silent") for n in range(4)]
    world.say(*everybody)
    world.later(LIMIT)
    for _ in range(2):
        world.say((0, "up"), (1, "up"), (2, "up"), (3, "up"))
    assert kinds(world.say(*everybody)) == ["Freeze IPv4"]


def test_who_stayed_silent_over_a_thaw_counts_when_the_others_fall_again() -> None:
    world = World(sites(*V4))
    world.say(*[(n, "silent") for n in range(4)])
    assert kinds(world.say((0, "up"), (1, "up"))) == ["Thaw IPv4"]
    world.now += 5
    assert world.say((2, "silent"), (3, "silent")) == []
    assert kinds(world.say((0, "silent"), (1, "silent"))) == ["Freeze IPv4"]


def patient(*hosts: str) -> World:
    """Targets of which each may fail a hundred times before it is down."""
    return World([replace(one, check=TcpCheck(type="tcp", port=1, fall=100)) for one in sites(*hosts)])


def test_who_is_silent_for_long_does_not_fall_silent_again() -> None:
    world = patient(*V4[:2])
    for _ in range(20):
        assert world.say((0, "silent"), (1, "up"), thoroughly=True) == []
        world.now += 5
    assert world.say((1, "silent"), thoroughly=True) == []


def test_who_is_down_for_long_is_nobody_who_was_up() -> None:
    world = World(sites(*V4, "192.0.2.5"))
    for _ in range(20):
        assert world.say((0, "silent"), (1, "silent"), (2, "up"), (3, "up"), (4, "up"), thoroughly=True) == []
        world.now += 5
    assert world.verdicts()[:2] == ["down", "down"]
    (freeze,) = world.say((2, "silent"), (3, "silent"), thoroughly=True)
    assert isinstance(freeze, Freeze)
    assert (freeze.silent, freeze.up) == (2, 3)


def test_a_limit_of_nothing_switches_it_off() -> None:
    world = World(sites(*V4), limit=0.0)
    for _ in range(3):
        assert world.say(*[(n, "silent") for n in range(4)], thoroughly=True) == []
    assert world.verdicts() == ["down"] * 4


def test_each_target_has_its_own_interval() -> None:
    """Those who are looked at every second are not believed alone: the slow ones that were heard of meanwhile count too."""
    fast, slow = (
        [target(host, f"dc{n}", 1.0) for n, host in enumerate(V4)],
        [target(f"10.0.0.{n}", "far", 60.0) for n in range(60)],
    )
    seeing = World([*fast, *slow])
    for second in range(120):  # all reported once: one slow target each second
        seeing.now += 1
        assert seeing.say(*[(n, "up") for n in range(4)], (4 + second % 60, "up")) == []
    seeing.now += 1
    assert kinds(seeing.say((0, "silent"), (1, "silent"), (2, "up"), (3, "up"), (5, "up"), thoroughly=True)) == []
    assert kinds(seeing.say((2, "silent"), (3, "silent"), thoroughly=True)) == ["Freeze IPv4"]


def test_after_a_pause_of_the_prober_the_first_few_do_not_speak_for_all() -> None:
    world = World(sites(*[f"192.0.2.{n}" for n in range(10)]))
    world.now += 1000.0
    world.guard.resume(world.now)
    assert world.say((0, "silent"), (1, "silent"), (2, "silent"), thoroughly=True) == []
    assert kinds(world.say((3, "silent"), (4, "silent"), (5, "silent"))) == ["Freeze IPv4"]


def test_targets_that_go_take_the_freeze_with_them() -> None:
    world = World(sites(*V4[:2]))
    world.say((0, "silent"), (1, "silent"))
    for key in list(world.targets):
        world.guard.remove(key)
    assert kinds(world.later(1)) == ["Thaw IPv4"]


@pytest.mark.parametrize(
    ("host", "families"),
    [("192.0.2.1", ("IPv4",)), ("2001:db8::1", ("IPv6",)), ("web1.example.net", FAMILIES), ("1.example.net", FAMILIES)],
)
def test_the_family_of_a_host(host: str, families: tuple[str, ...]) -> None:
    assert find_families(target(host, "ams")) == families


def test_ten_thousand_that_fall_silent_are_judged_a_few_times_only() -> None:
    world = World([target(f"10.0.{n >> 8}.{n & 255}", f"dc{n % 7}") for n in range(3000)])
    looks = 0
    judge = world.guard._judge_silence

    def counted(*given: object) -> object:
        nonlocal looks
        looks += 1
        return judge(*given)  # type: ignore[arg-type]

    world.guard._judge_silence = counted  # type: ignore[assignment, method-assign]
    changes = [change for n in range(3000) for change in world.say((n, "silent"))]
    assert kinds(changes) == ["Freeze IPv4"]
    assert looks <= 60
    assert world.verdicts() == ["up"] * 3000


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from(("up", "silent", "silent", "refused", "unable"))), max_size=5),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 3),
)
def test_never_a_verdict_lost_while_frozen(turns: list[list[tuple[int, str]]], datacenters: int) -> None:
    """From freeze to thaw nobody who was up goes down; with one datacenter there is none; a freeze ends at the limit."""
    world = World([target(f"192.0.2.{n}", f"dc{n % datacenters}") for n in range(5)], limit=20.0)
    frozen_since: float | None = None
    held: set[str] = set()
    for turn in turns:
        for change in world.say(*turn, thoroughly=True):
            frozen_since = world.now if isinstance(change, Freeze) else None
            if isinstance(change, Freeze):
                assert datacenters > 1
                assert 2 * change.silent > change.up
                held = {key for key, state in world.states.items() if state.verdict is UP}
                assert held >= set(change.before)
        if frozen_since is not None:
            assert world.now - frozen_since < 20.0
            assert all(world.states[key].verdict is not DOWN for key in held)
        world.now += 3.0

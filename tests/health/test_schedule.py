"""The schedule against a simulated day: rates, never two at once, the cap, lateness, spread."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.model_checks import TcpCheck
from geodns.health.schedule import AT_ONCE, CLASSES, JITTER, NOT_BEFORE, Due, Lateness, Schedule, find_phase
from geodns.health.targets import Target

EXACT = 1e-6  # seconds: what floats lose


def make_target(key: str, interval: float) -> Target:
    check = TcpCheck(type="tcp", port=80, interval=interval, timeout=interval)
    return Target(key, key, check, "web", "192.0.2.1", 80, "192.0.2.1", ("ams",))


def make_targets(count: int, interval: float, prefix: str = "t") -> list[Target]:
    return [make_target(f"{prefix}{number}", interval) for number in range(count)]


class World:
    """A clock and probes that take as long as they are told; keeps every start."""

    def __init__(self, schedule: Schedule, now: float, lasts: Callable[[str], float], most: int = 16) -> None:
        self.schedule, self.now, self.lasts, self.most = schedule, now, lasts, most
        self.starts: dict[str, list[float]] = defaultdict(list)
        self.ends: dict[str, list[float]] = defaultdict(list)
        self.taken: list[tuple[float, Due]] = []
        self.highest = 0
        self.running: list[tuple[float, str]] = []

    def run(self, until: float) -> None:
        while True:
            at = self.schedule.next_due()
            end = self.running[0][0] if self.running else None
            moments = [max(at, self.now)] if at is not None else []
            moments += [end] if end is not None else []
            if not moments or min(moments) > until:
                self.now = until
                return
            self.now = min(moments)
            while self.running and self.running[0][0] <= self.now:
                key = heapq.heappop(self.running)[1]
                self.ends[key].append(self.now)
                self.schedule.done(key, self.now)
            self.take()

    def take(self) -> None:
        for due in self.schedule.take(self.now, self.most):
            key = due.target.key
            assert key not in {other for _, other in self.running}, f"{key} is under way twice"
            assert due.at <= self.now + EXACT
            self.taken.append((self.now, due))
            self.starts[key].append(self.now)
            heapq.heappush(self.running, (self.now + self.lasts(key), key))
        self.highest = max(self.highest, len(self.running))
        assert self.schedule.under_way == len(self.running)


def lateness(world: World) -> Iterator[float]:
    return (now - due.at for now, due in world.taken if not due.urgent)


INTERVALS = st.sampled_from([0.1, 1.0, 5.0, 7.3, 60.0])
seeds = st.integers(0, 2**32)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, intervals=st.lists(INTERVALS, min_size=1, max_size=20), start=st.floats(0, 1e7), share=st.floats(0, 1))
def test_always_one_probe_an_interval(seed: int, intervals: list[float], start: float, share: float) -> None:
    """Whatever the jitter, and however long a probe takes within its interval: the mean never drifts, nobody is late."""
    targets = [make_target(f"{seed}-{number}", interval) for number, interval in enumerate(intervals)]
    schedule = Schedule(AT_ONCE, random.Random(seed).random)
    length = {target.key: target.check.interval * share * 0.85 for target in targets}
    world = World(schedule, start, length.__getitem__)
    schedule.watch(targets, (), start)
    rounds = 40
    world.run(start + rounds * min(intervals))
    for target in targets:
        interval, starts = target.check.interval, world.starts[target.key]
        expected = rounds * min(intervals) / interval
        assert abs(len(starts) - expected) <= 1 + 2 * JITTER
        for before, after in pairwise(starts):
            assert (1 - 2 * JITTER) * interval - EXACT <= after - before <= (1 + 2 * JITTER) * interval + EXACT
        for number, at in enumerate(starts):  # every one near its own tick: jitter does not add up
            tick = (at / interval - find_phase(target.key)) % 1
            assert min(tick, 1 - tick) <= JITTER + 1e-3 or number == 0
    assert max(lateness(world), default=0) <= EXACT


@settings(deadline=None, max_examples=40)
@given(seed=seeds, count=st.integers(1, 60), limit=st.integers(1, 10), most=st.integers(1, 8))
def test_never_more_than_the_cap_nor_two_of_one(seed: int, count: int, limit: int, most: int) -> None:
    """With too much to do, nobody starves, nothing bursts, and what waited is told as late."""
    chance = random.Random(seed)
    schedule = Schedule(limit, chance.random)
    targets = make_targets(count, 5.0)
    world = World(schedule, 100.0, lambda key: chance.choice([0.01, 2.0, 5.0, 12.0]), most)
    schedule.watch(targets, {target.key for target in targets if chance.random() < 0.3}, 100.0)
    slowest = 12.0 * count / limit + 12.0 + 5.0  # everybody before us took the longest there is
    world.run(110.0 + 2 * slowest)
    assert world.highest <= limit
    for target in targets:
        starts = world.starts[target.key]
        assert starts
        assert starts[0] <= 100.0 + 5.0 * (1 + JITTER) + slowest
        assert all(after - before >= NOT_BEFORE * 5.0 - 5.0 * JITTER - EXACT for before, after in pairwise(starts))
        assert all(after - before <= 5.0 * (1 + 2 * JITTER) + slowest for before, after in pairwise(starts))
    assert min(lateness(world), default=0) >= -EXACT


def test_a_full_schedule_tells_how_late_it_is() -> None:
    """Two places, ten targets of 5 s whose probes take 2 s: each has its turn every 10 s, and is late by that."""
    schedule = Schedule(2, random.Random(1).random)
    schedule.watch(make_targets(10, 5.0), (), 0.0)
    world = World(schedule, 0.0, lambda key: 2.0)
    world.run(200.0)
    assert {len(starts) for starts in world.starts.values()} <= {19, 20, 21}
    assert max(lateness(world)) > 3.0
    assert schedule.next_due() is None
    assert schedule.count_waiting(200.0) > 0


def test_a_probe_that_takes_its_whole_interval_is_followed_at_once() -> None:
    """A hanging target with a time-out as long as its interval goes down after `fall` intervals, not twice as many."""
    schedule = Schedule(AT_ONCE, random.Random(2).random)
    schedule.watch(make_targets(1, 2.0), (), 0.0)
    world = World(schedule, 0.0, lambda key: 2.001)
    world.run(100.0)
    (starts,) = world.starts.values()
    assert len(starts) >= 48
    assert all(after - before < 2.0 * (1 + 2 * JITTER) + EXACT for before, after in pairwise(starts))


@pytest.mark.parametrize("count", [200, 5000])
def test_targets_are_spread_over_the_interval(count: int) -> None:
    """In every twentieth of the first interval and of a later one about as many begin; the same again after a restart."""
    phases = []
    for seed in (1, 2):
        schedule = Schedule(count, random.Random(seed).random)
        schedule.watch(make_targets(count, 5.0), (), 1000.0)
        world = World(schedule, 1000.0, lambda key: 0.01)
        world.run(1015.0)
        for start in (1000.0, 1010.0):
            parts = [0] * 20
            for starts in world.starts.values():
                for at in starts:
                    if start <= at < start + 5:
                        parts[int((at - start) * 4)] += 1
            assert all(abs(part - count / 20) < 5 * (count / 20) ** 0.5 for part in parts), parts
        phases.append({key: starts[1] % 5 for key, starts in world.starts.items()})
    for key, phase in phases[0].items():
        assert min(abs(phase - phases[1][key]), 5 - abs(phase - phases[1][key])) <= 2 * JITTER * 5 + EXACT


def test_who_stays_keeps_its_rhythm_when_the_list_is_replaced() -> None:
    """Replaced every second for a minute: the same starts as if nothing had happened."""
    targets = make_targets(50, 5.0)
    starts: list[dict[str, list[float]]] = []
    for replaced in (False, True):
        schedule = Schedule(AT_ONCE, lambda: 0.5)  # no jitter, so that both runs can be compared
        world = World(schedule, 0.0, lambda key: 1.3)
        schedule.watch(targets, (), 0.0)
        for second in range(1, 60):
            world.run(float(second))
            if replaced:
                for key, at in world.starts.items():
                    assert key.startswith(("t", f"other{second - 1}-")) or at[-1] <= second - 1  # who went is probed no more
                others = make_targets(second % 7, 5.0, prefix=f"other{second}-")
                schedule.watch([*others, *targets], (), float(second))
                assert len(schedule) == 50 + second % 7
        starts.append({target.key: world.starts[target.key] for target in targets})
    assert starts[0] == starts[1]


def test_who_goes_is_not_probed_and_who_returns_while_under_way_is_no_second_probe() -> None:
    schedule = Schedule(AT_ONCE, random.random)
    (target,) = make_targets(1, 5.0)
    schedule.watch([target], [target.key], 0.0)
    assert [due.target for due in schedule.take(0.0, 9)] == [target]
    schedule.watch([], (), 0.1)
    assert schedule.next_due() is None
    assert schedule.under_way == 1
    schedule.watch([target], [target.key], 0.2)
    assert schedule.take(99.0, 9) == []  # it is still under way: its result is as fresh as one can be
    schedule.done(target.key, 0.3)
    assert [due.target for due in schedule.take(99.0, 9)] == [target]
    schedule.watch([], (), 99.1)
    schedule.done(target.key, 99.2)
    assert (schedule.next_due(), schedule.under_way, len(schedule)) == (None, 0, 0)


def test_the_urgent_come_first_and_keep_their_rhythm() -> None:
    schedule = Schedule(AT_ONCE, lambda: 0.5)
    targets = make_targets(100, 5.0)
    schedule.watch(targets, (), 0.0)
    hurried = [target.key for target in targets[90:]]
    schedule.watch(targets, hurried, 4.9)
    taken: Sequence[Due] = schedule.take(4.9, 20)
    assert [due.target.key for due in taken[:10]] == hurried
    assert all(due.urgent for due in taken[:10])
    assert not any(due.urgent for due in taken[10:])
    assert [due.at for due in taken[10:]] == sorted(due.at for due in taken[10:])
    for due in taken:
        schedule.done(due.target.key, 5.0)
    world = World(schedule, 5.0, lambda key: 0.01)
    world.run(30.0)
    for key in hurried:
        assert 4.9 + NOT_BEFORE * 5 - EXACT <= world.starts[key][0] <= 4.9 + (1 + NOT_BEFORE) * 5 + EXACT
        tick = (world.starts[key][0] / 5 - find_phase(key)) % 1
        assert min(tick, 1 - tick) < EXACT


def test_a_probe_that_told_nothing_is_repeated_at_once() -> None:
    schedule = Schedule(AT_ONCE, random.random)
    (target,) = make_targets(1, 5.0)
    schedule.watch([target], [target.key], 0.0)
    schedule.take(0.0, 1)
    schedule.done(target.key, 2.0, again=True)
    assert schedule.take(2.0, 1) == [Due(target, 2.0, urgent=True)]
    schedule.done(target.key, 2.1)
    assert schedule.take(2.2, 1) == []


def test_after_a_standstill_nobody_is_probed_twice_and_the_rhythm_returns() -> None:
    """The process was stopped for a minute: one probe each, then as before."""
    schedule = Schedule(AT_ONCE, lambda: 0.5)
    targets = make_targets(40, 5.0)
    schedule.watch(targets, (), 0.0)
    world = World(schedule, 0.0, lambda key: 0.01)
    world.run(20.0)
    world.now = 80.0
    world.run(100.0)
    for target in targets:
        after = [at for at in world.starts[target.key] if at > 20]
        assert after[0] <= 80.0 + 5.0
        assert len(after) <= 6
        assert all(later - at >= NOT_BEFORE * 5 - EXACT for at, later in pairwise(after))
        tick = (after[-1] / 5 - find_phase(target.key)) % 1
        assert min(tick, 1 - tick) < EXACT


@settings(deadline=None, max_examples=100)
@given(numbers=st.lists(st.floats(0.0001, 3600), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.99, 1.0]))
def test_always_a_percentile_within_a_tenth(numbers: list[float], share: float) -> None:
    counted = Lateness()
    for number in numbers:
        counted.add(number)
    exact = sorted(numbers)[max(0, -int(-share * len(numbers) // 1) - 1)]
    found = counted.percentile(share)
    assert found is not None
    assert exact * 0.999 <= found <= exact * 1.101


def test_lateness_is_of_the_last_minute() -> None:
    counted = Lateness(slots=3)
    assert counted.percentile(0.99) is None
    counted.add(50.0)
    for _ in range(2):
        counted.turn()
        counted.add(0.01)
    assert counted.percentile(1.0) == pytest.approx(50, rel=0.1)
    counted.turn()
    assert counted.percentile(1.0) == pytest.approx(0.01, rel=0.1)
    counted.add(1e9)
    counted.add(-1.0)
    assert counted.percentile(1.0) == CLASSES[-1]

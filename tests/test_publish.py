"""Publishing: one assignment, and old snapshots that go in slices."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from geodns import publish
from geodns.metrics import Counters
from geodns.snapshot import Snapshot


class Counted:
    """Stands for a node or pool; counts how many of its kind are alive."""

    alive = 0
    service, datacenter = "www", "ams"

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


def made_up(names: int, pools: int = 0) -> Snapshot:
    """Not a real snapshot: publishing must not care what it holds."""
    zones = SimpleNamespace(
        names={b"%d" % i: Counted() for i in range(names)}, pools=tuple(Counted() for _ in range(pools)), zones=()
    )
    return cast(Snapshot, SimpleNamespace(maps=object(), zones=zones, choices=SimpleNamespace(pools=())))


@pytest.fixture(autouse=True)
def unpublished() -> Iterator[None]:
    before = publish.current
    publish.current = None
    for _ in publish.sweep():
        pass
    Counted.alive = 0
    yield
    publish.current = before
    for _ in publish.sweep():
        pass


def test_published_is_current() -> None:
    first, second = made_up(1), made_up(1)
    publish.publish(first)
    assert served() is first
    publish.publish(second)
    assert served() is second


def served() -> Snapshot:
    assert publish.current is not None
    return publish.current.snapshot


def counters() -> Counters:
    assert publish.current is not None
    return publish.current.counters


def test_counters_go_on_with_the_same_zones_and_begin_anew_with_others() -> None:
    first = made_up(1, pools=3)
    publish.publish(first)
    before = counters()
    assert len(before.pools) == 3
    publish.publish(with_pools(first))
    assert counters() is before, "a health event changes no naming"
    publish.publish(made_up(1, pools=4))
    assert counters() is not before
    assert len(counters().pools) == 4
    assert counters().past.waiting == (before,)
    for _ in publish.sweep():
        pass
    assert counters().past.waiting == (), "what was counted before is kept by name, and holds no old pools"


def test_counters_that_are_given_are_taken() -> None:
    wanted = Counters()
    publish.publish(made_up(1), wanted)
    assert counters() is wanted


def with_pools(snapshot: Snapshot, *pools: object) -> Snapshot:
    """*snapshot* after a health event."""
    zones = cast(Any, snapshot).zones
    return cast(Snapshot, SimpleNamespace(maps=object(), zones=zones, choices=SimpleNamespace(pools=pools)))


def test_old_snapshot_goes_in_slices_and_whole() -> None:
    publish.publish(made_up(10 * publish.SLICE + 3, pools=7))
    publish.publish(made_up(2))
    alive = Counted.alive
    for _ in publish.sweep():
        assert alive - Counted.alive <= publish.SLICE, "one step let too many objects go"
        alive = Counted.alive
    assert Counted.alive == 2


def test_what_somebody_held_on_to_goes_in_slices_once_it_is_handed_in() -> None:
    first = made_up(10 * publish.SLICE)
    publish.publish(first)
    publish.publish(made_up(2))
    for _ in publish.sweep():
        pass
    assert Counted.alive == 10 * publish.SLICE + 2
    publish.retire(first)
    del first
    alive = Counted.alive
    for _ in publish.sweep():
        assert alive - Counted.alive <= publish.SLICE
        alive = Counted.alive
    assert Counted.alive == 2


def test_never_sweeps_what_is_current() -> None:
    publish.publish(made_up(5))
    assert list(publish.sweep()) == []
    assert Counted.alive == 5


def test_zones_shared_with_the_current_snapshot_stay() -> None:
    first = made_up(1000)
    shared = cast(Any, first).zones
    second = with_pools(first, Counted())
    publish.publish(first)
    del first
    publish.publish(second)
    del second
    assert list(publish.sweep()) == [], "a health event keeps the zones: there is nothing to walk"
    assert Counted.alive == 1001
    assert len(shared.names) == 1000


class Threads:
    """A reader that is told, and says itself whether it is through with what was before."""

    def __init__(self) -> None:
        self.told: list[publish.Current] = []
        self.seen: list[object] = []  # what was current when it was told
        self.sweeps, self.through = 0, True

    def exchange(self, now: publish.Current) -> None:
        self.told.append(now)
        self.seen.append(publish.current)

    def sweep(self) -> bool:
        self.sweeps += 1
        return self.through


@pytest.fixture
def threads() -> Iterator[Threads]:
    publish.publish(made_up(1))
    reader = Threads()
    publish.attach(reader)
    yield reader
    publish.detach(reader)


def test_threads_are_told_first(threads: Threads) -> None:
    """What they leave to Python meets the same snapshot or a newer one."""
    assert threads.told == [publish.current], "what is current, at once"
    before, snapshot = publish.current, made_up(1)
    publish.publish(snapshot, native=(root := cast(Any, object())))
    assert threads.seen[-1] is before
    assert threads.told[-1] is publish.current
    assert (threads.told[-1].snapshot, threads.told[-1].native) == (snapshot, root)


def test_threads_that_ended_are_told_nothing(threads: Threads) -> None:
    publish.detach(threads)
    publish.publish(made_up(1))
    for _ in publish.sweep():
        pass
    assert len(threads.told) == 1
    assert threads.sweeps == 0


def test_counts_are_settled_when_no_thread_counts_by_the_old_names(threads: Threads) -> None:
    """A count that comes late would be lost: the list that it is in was added up already."""
    late = Threads()
    publish.attach(late)
    try:
        old = counters()
        publish.publish(made_up(1, pools=2))
        threads.through = False
        for _ in publish.sweep():
            pass
        assert counters().past.waiting == (old,)
        assert late.sweeps == threads.sweeps == 1, "each is swept, also behind one that is not through"
        old.tally[0] += 5
        assert counters().read().fixed[0] == 5, "it is in no gap meanwhile"
        threads.through = True
        for _ in publish.sweep():
            pass
        assert counters().past.waiting == ()
        assert counters().read().fixed[0] == 5
    finally:
        publish.detach(late)

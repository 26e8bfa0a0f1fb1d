"""States that wait to be wanted again."""

from __future__ import annotations

from geodns.config.model_checks import TcpCheck
from geodns.health.shelf import Shelf
from geodns.health.state import Saved, State, Verdict
from geodns.health.targets import Target

CHECK = TcpCheck(type="tcp", port=1)


def target(key: str, subject: str) -> Target:
    return Target(key, subject, CHECK, "c", "192.0.2.1", 1, "192.0.2.1", ("ams",))


def saved(key: str, subject: str, probed: float | None, verdict: Verdict = Verdict.DOWN) -> Saved:
    return Saved(key, subject, State(verdict, probed=probed))


def test_what_is_taken_by_its_key_is_gone() -> None:
    shelf = Shelf([saved("k", "s", 10.0)])
    assert shelf.take(target("k", "s"), 20.0, 10.0) == State(Verdict.DOWN, probed=10.0)
    assert len(shelf) == 0
    assert shelf.take(target("k", "s"), 20.0, 10.0) is None


def test_a_target_that_differs_in_its_schedule_gets_the_youngest_of_its_subject() -> None:
    for order in (1, -1):
        shelf = Shelf([saved("k1", "s", 10.0), saved("k2", "s", 11.0)][::order])
        assert shelf.take(target("k3", "s"), 20.0, 100.0) == State(Verdict.DOWN, probed=11.0)
        assert len(shelf) == 2, "another target may want it too"
    assert shelf.take(target("k3", "other"), 20.0, 100.0) is None


def test_what_says_nothing_is_not_kept() -> None:
    assert len(Shelf([saved("k1", "s", None), saved("k2", "s", 1.0, Verdict.UNKNOWN)])) == 0


def test_the_old_go() -> None:
    shelf = Shelf([saved("k1", "s", 10.0), saved("k2", "s", 30.0), saved("k3", "t", 5.0)])
    assert shelf.take(target("k1", "x"), 21.0, 10.0) is None
    shelf.drop_old(21.0, 10.0)
    assert [one.key for one in shelf.all()] == ["k2"]
    assert shelf.take(target("k9", "s"), 40.0, 10.0) is not None

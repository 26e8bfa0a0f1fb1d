"""Operations of a daemon: what they tell is what is served, and what an operator got wrong is told in words."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import pytest

from geodns.compiler.diff import Comparison, Move, ServiceMove, compare_maps
from geodns.control import LONGEST_REASON, find_held
from geodns.errors import ControlError
from geodns.locate import open_side
from geodns.report import Forecast
from geodns.served import open_served

from .desks import CHECKED, STARTED, FakeDesk

T = TypeVar("T")


@pytest.fixture
def desk(tmp_path: Path) -> FakeDesk:
    made = FakeDesk(tmp_path)
    made.probe()
    return made


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def drain(
    desk: FakeDesk, target: str, kind: str = "drain", duration: float | None = 60.0, dry_run: bool = False
) -> Forecast:
    return run(desk.control.override(target, kind, duration, "a reason", "rob", dry_run))


def refused(work: Coroutine[Any, Any, object]) -> tuple[int, str]:
    with pytest.raises(ControlError) as error:
        asyncio.run(work)
    return error.value.status, str(error.value)


def ranks(desk: FakeDesk) -> dict[tuple[str, str], str]:
    return {(pool.service, pool.datacenter): pool.rank for pool in run(desk.control.status()).pools}


def test_the_status_has_every_pool_as_it_is_published(desk: FakeDesk) -> None:
    desk.probe("192.0.2.10")
    status = run(desk.control.status())
    assert next(pool.since for pool in status.pools if pool.service == "www") == pytest.approx(time.time(), abs=60)
    assert [(pool.service, pool.datacenter) for pool in status.pools] == [
        (plan.service, plan.datacenter) for plan in desk.snapshot.zones.pools
    ]
    www = next(pool for pool in status.pools if (pool.service, pool.datacenter) == ("www", "ams"))
    assert (www.rank, www.live_weight, www.weight) == ("live", 3, 6)
    first = www.members[0]
    assert (first.member, first.verdict, first.observed, first.drained, first.forced) == (
        "192.0.2.10",
        "down",
        "down",
        "",
        "",
    )
    (probe,) = first.probes
    assert (probe.check, probe.where, probe.verdict, probe.text) == ("web", "tcp 192.0.2.10:80", "down", "it said")
    assert (probe.successes, probe.failures) == (1, 1)
    unwatched = next(pool for pool in status.pools if pool.service == "shy").members[0]
    assert (unwatched.observed, unwatched.probes) == ("none", ())
    assert [database.kind for database in status.databases] == ["Test-City"]
    assert (status.ready, status.publishes, status.started) == (True, desk.publishes, STARTED)


def test_an_override_is_in_the_answers_and_told_by_everybody(desk: FakeDesk) -> None:
    forecast = drain(desk, "ams")
    assert forecast.applied
    assert ranks(desk)["www", "ams"] == "drained"
    assert ("www", "ams", "up", "drained") in {(c.service, c.datacenter, c.before, c.after) for c in forecast.pools}
    assert {name for name in forecast.matched if name.startswith("www")} == {
        "www/ams/192.0.2.10", "www/ams/192.0.2.11", "www/ams/2001:db8:a::10"
    }  # fmt: skip
    (told,) = run(desk.control.overrides())
    assert (told.target, told.kind, told.owner, told.reason) == ("ams", "drain", "rob", "a reason")
    assert told.members == len(forecast.matched)
    assert told.until == pytest.approx(told.since + 60)
    assert run(desk.control.status()).overrides == (told,)
    back = run(desk.control.end("ams", ("drain",), "rob"))
    assert back.ended == (told,)
    assert ranks(desk)["www", "ams"] == "up"
    assert {(m.service, m.target, m.source): m.share for m in back.moves} == {
        (m.service, m.source, m.target): m.share for m in forecast.moves if m.service in {b.service for b in back.moves}
    }
    assert run(desk.control.overrides()) == ()


def test_a_dry_run_tells_the_same_and_does_nothing(desk: FakeDesk) -> None:
    before = desk.publishes
    dry = drain(desk, "ams", dry_run=True)
    assert (desk.publishes, desk.roster.overrides) == (before, ())
    wet = drain(desk, "ams")
    assert not dry.applied
    assert dry.moves
    assert replace(dry, applied=True, now=0, override=None) == replace(wet, now=0, override=None)


@pytest.mark.parametrize("seed", range(6))
def test_always_the_forecast_is_what_the_pools_become(desk: FakeDesk, seed: int) -> None:
    """Whatever begins and ends in whatever order: the ranks told are the ranks published."""
    chance = random.Random(seed)
    targets = ["ams", "nyc", "www/*", "www/ams", "192.0.2.10", "*/sin", "www/nyc/198.51.100.1?", "203.0.113.10", "odd/*"]
    for _ in range(25):
        before = ranks(desk)
        held = desk.roster.overrides
        if held and chance.random() < 0.4:
            one = chance.choice(held)
            forecast = run(desk.control.end(one.target, (one.kind,), "rob"))
        elif chance.random() < 0.3:
            desk.probe(*(f"192.0.2.{number}" for number in (10, 11) if chance.random() < 0.5))
            continue
        else:
            forecast = drain(desk, chance.choice(targets), chance.choice(["drain", "up", "down"]))
        after = ranks(desk)
        told = {(c.service, c.datacenter): (c.before, c.after) for c in forecast.pools}
        assert told == {key: (before[key], after[key]) for key in after if before[key] != after[key]}


def test_without_duration_it_says_how_it_ends(desk: FakeDesk) -> None:
    assert "no --for: lasts until `geodns undrain www/ams`" in drain(desk, "www/ams", duration=None).warnings
    assert "no --for: lasts until `geodns force clear nyc`" in drain(desk, "nyc", "down", None).warnings
    assert not any("--for" in warning for warning in drain(desk, "sin", duration=60.0).warnings)


def test_what_an_override_takes_the_place_of_is_told(desk: FakeDesk) -> None:
    drain(desk, "ams", "down")
    forecast = drain(desk, "AMS", "up")
    assert [(one.target, one.kind) for one in forecast.ended] == [("ams", "down")]
    assert [one.kind for one in desk.roster.overrides] == ["up"]


def test_what_changes_nothing_says_why(desk: FakeDesk) -> None:
    drain(desk, "ams")
    forecast = drain(desk, "www/ams")
    assert "changes nothing now: all of it is drained already" in forecast.warnings
    assert (forecast.moves, forecast.pools, forecast.horizon) == ((), (), 0.0)
    assert "changes nothing now: all of it is up already" in drain(desk, "nyc", "up").warnings
    drain(desk, "sin", "down")
    assert "changes nothing now: a stronger override holds them: sin" in drain(desk, "www/sin", "up").warnings


def test_forcing_up_what_is_down_is_told(desk: FakeDesk) -> None:
    desk.probe("192.0.2.10")
    forecast = drain(desk, "192.0.2.10", "up")
    assert "www/ams/192.0.2.10: down until now, and answered from now on" in forecast.warnings
    back = run(desk.control.end("192.0.2.10", ("up", "down"), "rob"))
    assert "www/ams/192.0.2.10: down from now on, by checks or another override" in back.warnings


def test_a_drain_of_the_configuration_ends_there(tmp_path: Path) -> None:
    config = CHECKED.replace("{address: 192.0.2.11, weight: 2}", "{address: 192.0.2.11, weight: 2, drain: true}")
    assert config != CHECKED
    desk = FakeDesk(tmp_path, config)
    desk.probe()
    assert "1 member of them drained by the configuration already" in drain(desk, "www/ams").warnings
    drain(desk, "www/*")
    back = run(desk.control.end("www/ams", ("drain",), "rob"))
    assert "1 member stays drained by the configuration: that ends there" in back.warnings
    assert any(warning.endswith("drained by another override too") for warning in back.warnings)
    pools = run(desk.control.pools("www/ams/192.0.2.11"))
    assert [member.drained for member in pools[0].members] == ["www/*", "www/*", "www/*"]
    run(desk.control.end("www/*", ("drain",), "rob"))
    pools = run(desk.control.pools("192.0.2.11"))
    assert [member.drained for member in pools[0].members] == ["", "configuration", ""]
    assert (pools[0].live_weight, pools[0].weight) == (4, 4)  # 3 and 1; the 2 of the drained one do not count


def test_several_overrides_end_by_a_glob(desk: FakeDesk) -> None:
    for target in ("www/ams", "www/nyc", "sin"):
        drain(desk, target)
    drain(desk, "www/ams", "down")
    back = run(desk.control.end("www/*", ("drain",), "rob"))
    assert {one.target for one in back.ended} == {"www/ams", "www/nyc"}
    assert {(one.target, one.kind) for one in desk.roster.overrides} == {("sin", "drain"), ("www/ams", "down")}
    assert find_held(desk.roster.overrides, "sin", ("drain",)) == ()  # no glob: `held` has found it


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("amx", 'no member matches "amx", did you mean "ams"?'),
        ("fra", 'no member matches "fra" (datacenters: ams, nyc and sin)'),
        ("www", 'no member matches "www": it is a service, did you mean "www/*"?'),
        ("wwww/ams", 'no member matches "wwww/ams", did you mean "www/ams"?'),
        ("192.0.2.100", 'no member matches "192.0.2.100", did you mean "192.0.2.10"?'),
        ("www/ams/192.0.2.1", 'no member matches "www/ams/192.0.2.1", did you mean "www/ams/192.0.2.1'),
    ],
)
def test_a_target_that_matches_nothing_names_the_nearest(desk: FakeDesk, target: str, said: str) -> None:
    status, text = refused(desk.control.override(target, "drain", None, "", "rob", False))
    assert status == 404
    assert text.startswith(said)
    assert desk.roster.overrides == ()


def test_what_cannot_be_kept_is_refused(desk: FakeDesk) -> None:
    control = desk.control
    assert refused(control.override("a//b/c", "drain", None, "", "rob", False))[0] == 400
    assert refused(control.override("ams", "drain", None, "x" * (LONGEST_REASON + 1), "rob", False))[0] == 400
    assert refused(control.override("ams", "drain", None, "\x1b[2J", "rob", False)) == (
        400, "reason: must be printable characters on one line"
    )  # fmt: skip
    assert refused(control.override("ams", "drain", None, "", "rob\n", False))[0] == 400
    assert refused(control.override("ams", "drain", 0.0, "", "rob", False))[0] == 400
    assert refused(control.override("ams", "drain", 1e9, "", "rob", False))[0] == 400
    assert refused(control.end("ams", ("drain",), "x" * 201))[0] == 400
    assert desk.roster.overrides == ()


def test_too_many_overrides_are_refused(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geodns.health.overrides.MOST", 1)
    drain(desk, "ams")
    status, text = refused(desk.control.override("nyc", "drain", None, "", "rob", False))
    assert (status, [one.target for one in desk.roster.overrides]) == (400, ["ams"])
    assert "end some" in text


def test_ending_what_is_not_there_says_what_is(desk: FakeDesk) -> None:
    end = desk.control.end
    assert refused(end("ams", ("drain",), "rob")) == (404, '"ams" is not drained by an override: nothing is')
    drain(desk, "ams")
    assert refused(end("www/ams", ("drain",), "rob")) == (
        404, '"www/ams" is not drained by an override of its own, did you mean "ams"? (drained: ams)'
    )  # fmt: skip
    assert refused(end("ams", ("up", "down"), "rob"))[1] == '"ams" is not forced by an override: nothing is'
    assert refused(end("*", ("up",), "rob"))[0] == 404


def test_pools_are_found_by_target_or_service(desk: FakeDesk) -> None:
    def names(pattern: str | None) -> set[str]:
        return {f"{pool.service}/{pool.datacenter}" for pool in run(desk.control.pools(pattern))}

    assert names("www") == names("www/*") == {"www/ams", "www/nyc", "www/sin"}
    assert names("sin") == {"www/sin", "odd/sin"}
    assert names("192.0.2.10") == {"www/ams"}
    assert names("s*/nyc") == {"same/nyc"}
    assert names(None) == {f"{plan.service}/{plan.datacenter}" for plan in desk.snapshot.zones.pools}
    assert refused(desk.control.pools("wwx")) == (404, 'no pool matches "wwx", did you mean "www"?')
    assert refused(desk.control.pools("///"))[0] == 400


def test_explain_knows_health_and_settings_of_the_moment(desk: FakeDesk) -> None:
    def states() -> set[str]:
        told = run(desk.control.explain("www.example.com", "A", "64.9.9.0/24", "192.0.2.1", 5))
        assert told.hops[0].decision is not None
        return {step.pool for step in told.hops[0].decision.steps if step.datacenter == "ams"}

    assert states() == {"up"}
    drain(desk, "ams")
    assert states() == {"drained"}
    assert refused(desk.control.explain("a..b", "A", "1.2.3.4", None, None))[0] == 400
    assert refused(desk.control.explain("www.example.com", "A", None, None, None))[0] == 400
    assert refused(desk.control.locate("here"))[0] == 400
    assert run(desk.control.locate("80.7.1.2")).located.country == "DE"
    (desk.path.parent / "world.mmdb").unlink()
    assert refused(desk.control.locate("80.7.1.3"))[0] == 503


def test_before_anything_is_published_operations_say_so(desk: FakeDesk) -> None:
    desk.snapshot, desk.is_ready = None, False  # type: ignore[assignment]  # as it is at the start
    for work in (desk.control.pools(None), desk.control.explain("a", "A", "1.2.3.4", None, 1), desk.control.diff()):
        assert refused(work)[0] == 503
    status = run(desk.control.status())
    assert (status.ready, status.pools, status.databases) == (False, (), ())
    assert not desk.control.ready()


def test_reload_and_scrape_are_the_desks(desk: FakeDesk) -> None:
    assert run(desk.control.reload(True, 0.1)) is desk.load_report
    assert desk.loads == [(True, 0.1)]
    assert run(desk.control.scrape()) == ("text/plain", f"geodns_publishes {desk.publishes}\n".encode())


def test_a_dry_run_refuses_what_moves_too_much(desk: FakeDesk) -> None:
    move = ServiceMove("www", 100, Fraction(12), (Move("ams", "nyc", 12),), (("NL", 12),))
    desk.load_report = replace(desk.load_report, comparison=Comparison((move,), (), ()))
    for dry_run, most, ok in ((True, 0.12, True), (True, 0.11, False), (True, None, True), (False, 0.11, True)):
        assert run(desk.control.reload(dry_run, most)).ok is ok
    report = run(desk.control.reload(True, 0.1))
    assert report.summary == "would be refused: 12 % move in one service, at most 10 % may"
    assert report.comparison is not None


def test_what_is_served_compares_as_its_file_does(desk: FakeDesk, tmp_path: Path) -> None:
    """The stand-in for the running configuration gives the same comparison as the configuration itself."""
    other = tmp_path / "other.yaml"
    text = CHECKED.replace("{country: [DE], order: [{nyc: 2, sin: 1}, ams]}", "{country: [DE], order: [ams]}")
    other.write_text(text.replace("nyc: {coordinates: [40.71, -74.01], bias: 20}", "nyc: {coordinates: [40.71, -74.01]}"))
    served = run(desk.control.diff())
    assert compare_maps(open_served(served), open_side(other)) == compare_maps(open_side(desk.path), open_side(other))

"""What an operator sees of a running daemon: to the letter where it matters, and never wider than a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.compiler.diff import Comparison, Move, ServiceMove
from geodns.loading import LoadReport
from geodns.present_status import (
    WIDTH,
    printable,
    show_age,
    show_forecast,
    show_load,
    show_overrides,
    show_pools,
    show_status,
    sum_up,
)
from geodns.report import (
    BackendReport,
    ConfigReport,
    DatabaseReport,
    Forecast,
    MemberReport,
    OverrideReport,
    PoolChange,
    PoolReport,
    ProbeReport,
    ProberReport,
    Status,
)
from geodns.report import Move as HealthMove

NOW = 1795403400.0  # 2026-11-23T03:10:00Z
HOUR, DAY = 3600.0, 86400.0
HTTPS = "https 198.51.100.10:443"
PROBE = ProbeReport(
    "web", HTTPS, "up", 0, 3, NOW - 3 * DAY, NOW - 2, "status 200", "no reply within 2 s", 0.0121, 55012, 2, False
)
FAILING = replace(PROBE, where="https 198.51.100.11:443", verdict="down", streak=1, needed=2, since=NOW - 190)
FAILING = replace(FAILING, failure="status 503, expected 200-399")
GOOD = MemberReport("198.51.100.10", "A", 3, "up", "up", "", "", (PROBE,))
BAD = MemberReport("198.51.100.11", "A", 1, "down", "down", "", "", (FAILING,))
NYC = PoolReport("www", "nyc", "live", 5, 3, 4, NOW - 190, (GOOD, BAD))
AMS = PoolReport("www", "ams", "drained", 60, 0, 0, NOW - 724, (replace(GOOD, drained="ams"),) * 3)
DRAIN = OverrideReport("ams", "drain", "rob", "switch maintenance", NOW - 724, NOW + 1076, 3)
CONFIG = ConfigReport(
    "/etc/geodns/geodns.yaml", "9f2c41d07a3b" * 3, NOW - 4.2 * HOUR, "1 zone, 1 service, 2 datacenters; maps from the image",
    False, True, NOW - 4.2 * HOUR, (), (),
)  # fmt: skip
STATUS = Status(
    version="0.3.0", engine="pure", pid=4711, now=NOW, started=NOW - 3 * DAY - 4 * HOUR, ready=True,
    listen=("192.0.2.53:53", "[2001:db8::53]:53"), backend=None, publishes=12, config=CONFIG,
    databases=(DatabaseReport("/var/lib/GeoIP/GeoLite2-City.mmdb", "GeoLite2-City", NOW - 3 * DAY),),
    prober=ProberReport(True, NOW - 3 * DAY, 0, 5, 0.012, ()), pools=(AMS, NYC), overrides=(DRAIN,),
)  # fmt: skip
FORECAST = Forecast(
    override=replace(DRAIN, since=NOW, until=NOW + 1800),
    ended=(),
    matched=("www/ams/192.0.2.10", "www/ams/192.0.2.11", "www/ams/2001:db8:a::10"),
    pools=(PoolChange("www", "ams", "up", "drained"),),
    moves=(HealthMove("www", "ams", "nyc", 0.61),),
    horizon=60.0,
    warnings=("takes the last live member of www/ams out",),
    now=NOW,
    applied=True,
)


def seen(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def test_a_calm_status() -> None:
    assert seen(show_status(STATUS)) == (
        """\
geodns 0.3.0 (pure), pid 4711, up 3d 4h, ready
listen    192.0.2.53:53, [2001:db8::53]:53
config    /etc/geodns/geodns.yaml (9f2c41d07a3b), loaded 4h 12m ago
          1 zone, 1 service, 2 datacenters; maps from the image
database  /var/lib/GeoIP/GeoLite2-City.mmdb: GeoLite2-City, 3 days old
prober    running for 3d, 5 targets, 99 % at most 12 ms late

SERVICE/DATACENTER  STATE    LIVE    TTL   SINCE   OVERRIDDEN
www/ams             drained  0 of 3  60 s  12m 4s  ams
www/nyc             live     1 of 2  5 s   3m 10s

drain ams: 3 members, ends in 17m 56s, at 2026-11-23T03:27:56Z
    12m 4s ago by rob: switch maintenance"""
    )


def test_what_is_wrong_stands_out() -> None:
    said = 'geodns.yaml:9:30: zones.example.com.records.www.service: service "wwww" is not defined, did you mean "www"?'
    config = replace(CONFIG, last_good=True, reload_ok=False, reload_at=NOW - 60, waiting=("server.nsid",))
    config = replace(config, reload_lines=(said,))
    prober = ProberReport(False, NOW - 30, 2, 5, None, (("IPv4", NOW - 20),))
    text = seen(show_status(replace(STATUS, ready=False, config=config, prober=prober, databases=(), pools=())))
    assert "not ready: waiting for the first\n          results of the checks" in text
    assert "FAILED 1m ago, so what is served is older than the file:" in text
    assert "the file was broken at the start: what was kept of its last good state" in text
    assert "waits     server.nsid: changed, but needs a restart" in text
    assert "prober    STOPPED 30s ago: verdicts are held as they were" in text
    assert "restarted 2 times" in text
    assert "FROZEN    IPv4 for 20s: " in text
    assert "no service has a pool" in text


def test_who_is_connected_by_powerdns() -> None:
    def tell(backend: BackendReport) -> str:
        return next(line for line in show_status(replace(STATUS, backend=backend)) if line.startswith("powerdns"))

    assert tell(BackendReport("/run/geodns/b", 4, 1, 2)) == (
        "powerdns  /run/geodns/b: 7 connections (4 pipe, 1 remote, 2 silent)"
    )
    assert tell(BackendReport("/run/geodns/b", 0, 1, 0)) == "powerdns  /run/geodns/b: 1 connection (1 remote)"
    assert tell(BackendReport("/run/geodns/b", 0, 0, 0)) == "powerdns  /run/geodns/b: nobody is connected"


def test_a_daemon_that_serves_powerdns_alone_and_checks_nothing() -> None:
    """Nothing of that is a fault, and must not look like one."""
    text = seen(show_status(replace(STATUS, listen=(), prober=replace(STATUS.prober, running=False, targets=0))))
    assert "listen    nowhere: PowerDNS answers" in text
    assert "prober    not started: nothing is checked" in text
    assert "STOPPED" not in text


def test_of_many_pools_only_those_that_are_not_up_are_listed() -> None:
    up = [PoolReport(f"s{i}", "ams", "up", 60, 1, 1, NOW, (GOOD,)) for i in range(1000)]
    lines = list(show_status(replace(STATUS, pools=(*up, NYC), overrides=())))
    assert [line for line in lines if line.startswith("www/nyc")]
    assert lines[-1] == "1,000 pools up (`geodns pools` lists all)"
    assert len(lines) < 12
    lines = list(show_status(replace(STATUS, pools=tuple(up), overrides=())))
    assert lines[-1] == "1,000 pools up (`geodns pools` lists all)"
    assert "SERVICE/DATACENTER" not in seen(lines)


def test_pools_tell_what_was_seen() -> None:
    assert seen(show_pools((NYC,), NOW)) == (
        """\
www/nyc: live for 3m 10s, 1 of 2 members live, ttl 5
  198.51.100.10  up, weight 3
    web: https 198.51.100.10:443 up for 3d; 2s ago in 12 ms: status 200
      55012 passed, 2 failed; last failure: no reply within 2 s
  198.51.100.11  down, weight 1
    web: https 198.51.100.11:443 down for 3m 10s, 1 of 2 results against it; 2s
      ago in 12 ms: status 200
      55012 passed, 2 failed; last failure: status 503, expected 200-399"""
    )


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (replace(GOOD, verdict="unknown", observed="unknown"), "unknown, which is answered, weight 3"),
        (replace(GOOD, observed="none"), "up, not checked, weight 3"),
        (replace(BAD, verdict="up", forced="www/*"), "up, observed down, forced by www/*, weight 1"),
        (replace(GOOD, drained="configuration"), "up, drained by the configuration, weight 3"),
        (replace(GOOD, drained="ams"), "up, drained by ams, weight 3"),
    ],
)
def test_a_member_says_what_counts_and_why(member: MemberReport, words: str) -> None:
    line = list(show_pools((replace(NYC, members=(replace(member, probes=()),)),), NOW))[1]
    assert line == f"  {member.member}  {words}"


def test_a_probe_without_result_and_one_from_the_run_before() -> None:
    fresh = replace(PROBE, verdict="unknown", probed=None, seconds=None)
    text = seen(show_pools((replace(NYC, members=(replace(GOOD, probes=(fresh, replace(PROBE, restored=True))),)),), NOW))
    assert "web: https 198.51.100.10:443 unknown, no result yet" in text
    assert "as the run before left it" in text


def test_overrides_that_last_and_that_name_nobody() -> None:
    lasting = replace(DRAIN, target="www/nyc", kind="down", until=None, reason="", members=0)
    assert seen(show_overrides((lasting,), NOW)) == (
        "force down www/nyc: matches nothing, and is kept, until it is ended\n    12m 4s ago by rob"
    )
    assert list(show_overrides((), NOW)) == ["no overrides"]


def test_a_forecast_tells_who_moves_and_until_when_old_answers_live() -> None:
    assert seen(show_forecast(FORECAST)) == (
        """\
drain ams: 3 members of 1 pool, ends in 30m, at 2026-11-23T03:40:00Z, by rob:
          switch maintenance
pools     www/ams  up -> drained
moves     www  ams -> nyc  61 %
          of the IPv4 addresses that can be placed
until     2026-11-23T03:11:00Z resolvers may give out the old answers (60 s)
WARNING   takes the last live member of www/ams out"""
    )


def test_a_dry_run_and_an_end_say_so() -> None:
    assert "dry run: nothing was changed" in list(show_forecast(replace(FORECAST, applied=False)))
    back = replace(FORECAST, override=None, ended=(DRAIN,), moves=(), pools=(), warnings=(), horizon=0.0)
    lines = list(show_forecast(back))
    assert lines[0] == "drain ams ended: 3 members of 1 pool"
    assert lines[1:] == ["moves     nobody gets another datacenter"]
    replaced = replace(FORECAST, ended=(replace(DRAIN, kind="down"),))
    assert "replaces  force down ams by rob: switch maintenance" in list(show_forecast(replaced))


def test_a_large_forecast_is_cut_short() -> None:
    changes = tuple(PoolChange(f"s{i}", "ams", "up", "drained") for i in range(500))
    moves = tuple(HealthMove(f"s{i}", "ams", None, 0.5) for i in range(500))
    lines = list(show_forecast(replace(FORECAST, pools=changes, moves=moves)))
    assert len(lines) < 60
    assert lines.count("          and 480 more (--json has all)") == 2


def test_a_load_ends_with_how_it_went() -> None:
    move = ServiceMove("www", 10, Fraction(5), (Move("ams", "nyc", 5),), (("NL", 5),))
    report = LoadReport(True, ("a: warning: b",), "1 zone", Comparison((move,), (), ()), ("server.nsid",))
    assert list(show_load(report)) == [
        "a: warning: b",
        "www  50 % of the IPv4 addresses that can be placed would move",
        "     50 %  ams -> nyc",
        "     countries: NL 50 %",
        "server.nsid: changed, but needs a restart",
        "1 zone",
    ]


AGES = [
    *((-5, "0s"), (0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3661, "1h 1m")),
    *((90061, "1d 1h"), (86400 + 59, "1d"), (1e9, "11574d 1h")),
]


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_ages_have_two_units(seconds: float, text: str) -> None:
    assert show_age(seconds) == text


names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)
free = st.text(max_size=150)
verdicts, counts = st.sampled_from(["up", "down", "unknown"]), st.integers(0, 10**9)
kinds, ranks = st.sampled_from(["drain", "up", "down"]), st.sampled_from(["up", "live", "drained", "dead"])
ago, later = st.just(NOW - 5), st.none() | st.just(NOW + 50)
overrides = st.builds(OverrideReport, names, kinds, free, free, ago, later, counts)
probes = st.builds(
    ProbeReport, names, names, verdicts, counts, counts, ago, st.none() | ago, free, free, st.none() | st.floats(0, 10),
    counts, counts, st.booleans(),
)  # fmt: skip
members = st.builds(
    MemberReport, names, st.just("A"), counts, verdicts, verdicts | st.just("none"), names, names,
    st.lists(probes, max_size=2).map(tuple),
)  # fmt: skip
pools = st.builds(PoolReport, names, names, ranks, counts, counts, counts, ago, st.lists(members, max_size=3).map(tuple))


@settings(deadline=None, max_examples=50)
@given(st.lists(pools, max_size=2), st.lists(overrides, max_size=2), st.lists(free, max_size=2), names)
def test_never_wider_than_a_terminal_nor_in_command_of_it(
    found: list[PoolReport], forced: list[OverrideReport], words: list[str], digest: str
) -> None:
    """Whatever servers and operators say; names of an ordinary length."""
    config = replace(CONFIG, digest=digest, reload_ok=False, reload_lines=tuple(words), summary="".join(words))
    status = replace(STATUS, pools=(), overrides=tuple(forced), config=config)
    forecast = replace(FORECAST, override=forced[0] if forced else None, ended=tuple(forced), warnings=tuple(words))
    for line in (
        *show_status(status), *show_pools(found, NOW), *show_overrides(forced, NOW), *show_forecast(forecast),
    ):  # fmt: skip
        assert line.isprintable()
        assert len(line) <= WIDTH or " " not in line.strip()[:-1] or len(max(line.split(), key=len)) > WIDTH - 25
    assert sum_up(forecast).count("\n") == 0


def test_what_a_stranger_says_commands_no_terminal() -> None:
    evil = "status 200\x1b[2J\x07\n\u202e"
    assert printable(evil) == "status 200?[2J???"
    probe = replace(PROBE, text=evil, failure=evil)
    assert seen(show_pools((replace(NYC, members=(replace(GOOD, probes=(probe,)),)),), NOW)).count("\x1b") == 0


def test_the_documents_show_what_is_shown() -> None:
    root = Path(__file__).parent.parent / "docs"
    reference, guide = (root / "reference/command-line.md").read_text(), (root / "guide/operation.md").read_text()
    for lines in (show_status(STATUS), show_pools((NYC,), NOW), show_forecast(FORECAST)):
        assert f"```\n{seen(lines)}\n```" in reference
    assert f"{seen(show_forecast(FORECAST))}\n```" in guide

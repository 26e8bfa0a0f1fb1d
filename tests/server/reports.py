"""Facts of a daemon, made up: what tests of metrics and tables show."""

from __future__ import annotations

from dataclasses import dataclass

from geodns.metrics import Counters
from geodns.report import (
    PROBE_BOUNDS,
    CheckCount,
    ConfigReport,
    DatabaseReport,
    MemberReport,
    OverrideReport,
    PoolReport,
    ProbeReport,
    ProberReport,
    Status,
)
from geodns.server.families import Sources

NOW = 1_800_000_000.0
DAY = 86400.0
APEX = b"\x07example\x03com\x00"


@dataclass(frozen=True)
class Zone:
    """What counters need of a zone."""

    apex: bytes


@dataclass(frozen=True)
class Pool:
    """What counters need of a pool."""

    service: str
    datacenter: str


def probe(verdict: str, since: float, days: float | None = None) -> ProbeReport:
    """*days* until its certificate ends."""
    expires = None if days is None else NOW + days * DAY
    return ProbeReport(
        "web", "https 192.0.2.10:443", verdict, 0, 3, since, NOW - 1, "status 200", "", 0.02, 5, 0, False, expires
    )


def member(
    text: str, verdict: str = "up", *, drained: str = "", forced: str = "", probes: tuple[ProbeReport, ...] = ()
) -> MemberReport:
    observed = verdict if probes else "none"
    return MemberReport(text, "A", 1, verdict, observed, drained, forced, probes)


def pool(service: str, datacenter: str, rank: str = "up", *members: MemberReport, since: float = NOW - 60) -> PoolReport:
    live = sum(one.verdict != "down" and not one.drained for one in members)
    return PoolReport(service, datacenter, rank, 30, live, sum(not one.drained for one in members), since, members)


def override(
    kind: str = "drain", *, since: float = NOW - 100, until: float | None = None, members: int = 1
) -> OverrideReport:
    return OverrideReport("ams", kind, "root", "work on the power", since, until, members)


def check(name: str, verdict: str = "up", probes: int = 0) -> CheckCount:
    return CheckCount(name, "http", verdict, probes, probes * 0.02, (probes, *[0] * len(PROBE_BOUNDS)), probes // 2)


def status(
    pools: tuple[PoolReport, ...] = (),
    overrides: tuple[OverrideReport, ...] = (),
    *,
    frozen: tuple[tuple[str, float], ...] = (),
    lateness: float | None = None,
) -> Status:
    return Status(
        version="1.2.3",
        engine="pure",
        pid=1,
        now=NOW,
        started=NOW - 3600,
        ready=True,
        listen=("127.0.0.1:53",),
        backend=None,
        publishes=7,
        config=ConfigReport("geodns.yaml", "abcd", NOW - 600, "1 zone", False, False, NOW - 60, (), ("server.listen",)),
        databases=(DatabaseReport("city.mmdb", "GeoLite2-City", NOW - 86400),),
        prober=ProberReport(True, NOW - 3600, 2, 11, lateness, frozen),
        pools=pools,
        overrides=overrides,
    )


def counting(zones: int = 1, pools: int = 2) -> Counters:
    """Counters of so many zones, example.com the first, and of so many pools of one service."""
    apexes = [APEX, *(b"\x05z%04d\x00" % i for i in range(1, zones))]
    return Counters([Zone(apex) for apex in apexes], [Pool("www", f"d{i}") for i in range(pools)])


MEMBERS = (
    member("192.0.2.1", "up", probes=(probe("up", NOW - 50), probe("up", NOW - 20, 5))),
    member("192.0.2.2", "down", probes=(probe("up", NOW - 5), probe("down", NOW - 30, 9), probe("down", NOW - 10, 5))),
    member("192.0.2.3", "unknown", probes=(probe("unknown", NOW - 40, 5),)),
    member("192.0.2.4", "up", drained="ams", probes=(probe("up", NOW - 60, 9),)),
    member("192.0.2.5", "down", forced="192.0.2.5"),
)
POOLS_SHOWN = (
    pool("www", "ams", "live", *MEMBERS, since=NOW - 30),
    pool("www", "nyc", "dead", member("198.51.100.1", "down"), since=NOW - 10),
    pool("api", "nyc", "drained", member("198.51.100.1", drained="nyc"), since=NOW - 90),
    pool("api", "ams", "up", since=NOW - 100),
)


def one_of_each() -> Sources:
    """Something of everything, so that every metric has a line."""
    checks = (check("web", "up", 10), check("web", "down", 3))
    shown = status(POOLS_SHOWN, (override(),), frozen=(("IPv4", NOW),), lateness=0.1)
    return Sources(shown, counting(), checks, (("127.0.0.1:53", 9),), 5, (100, 4))

"""What a running daemon tells of itself: plain facts, made once, shown as tables, JSON and metrics.

Knows the shapes. Knows nothing of where facts come from (`control`), nor of how they are put into words (`present`,
`server.exposition`). Times are seconds since 1970; ages are left to whoever shows them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """One check of one member."""

    check: str  # its name in the configuration
    where: str  # "https 192.0.2.10:443"
    verdict: str  # up, down, unknown
    streak: int  # results in a row that contradict the verdict
    needed: int  # so many of them flip it
    since: float  # when the verdict began
    probed: float | None  # the last result; None before the first
    text: str  # what it said
    failure: str  # what the last failure said; empty where there was none
    seconds: float | None  # how long the last probe took
    successes: int
    failures: int
    restored: bool  # the verdict comes from the run before, nothing was seen since
    expires: float | None = None  # when the certificate ends that was shown last; None where there was none


@dataclass(frozen=True, slots=True)
class OverrideReport:
    """What an operator forced."""

    target: str  # as it was written
    kind: str  # drain, up, down
    owner: str
    reason: str
    since: float
    until: float | None
    members: int  # it applies to so many now; 0: it matches nothing, and is kept


@dataclass(frozen=True, slots=True)
class MemberReport:
    """One member: what was seen, what was forced, what counts."""

    member: str
    rtype: str  # A, AAAA, CNAME
    weight: int  # as it counts now
    verdict: str  # up, down, unknown: what counts, overrides included
    observed: str  # what the checks say together; "none" where no check watches it
    drained: str  # why it is drained: "configuration", the override's target, or empty
    forced: str  # the target of the override that forces it, or empty
    probes: tuple[ProbeReport, ...]


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A service's members in one datacenter."""

    service: str
    datacenter: str
    rank: str  # up, live, drained, dead: which of the four passes takes it
    ttl: int
    live_weight: int
    weight: int  # of the members that are not drained
    since: float  # when the rank began; the daemon's start at the earliest
    members: tuple[MemberReport, ...]


@dataclass(frozen=True, slots=True)
class ProberReport:
    """The process that probes."""

    running: bool
    since: float  # when it started, or stopped
    restarts: int
    targets: int
    lateness: float | None  # seconds, 99th percentile of the last minute; None before there is one
    frozen: tuple[tuple[str, float], ...]  # ("IPv4", since): families whose verdicts the blind-checker guard holds


PROBE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


@dataclass(frozen=True, slots=True)
class CheckCount:
    """One check and one verdict: what was counted since the daemon's start, over all targets of the check."""

    check: str  # its name in the configuration
    type: str  # http, tcp, ...
    verdict: str  # up, down, unknown
    probes: int  # so many said this
    seconds: float  # how long those took together
    buckets: tuple[int, ...]  # those up to each of PROBE_BOUNDS and above the one before; then the longer ones
    transitions: int  # so many times a target's verdict became this


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What is served, and how the last reload went."""

    path: str
    digest: str  # of all its files, hexadecimal
    loaded: float  # when what is served was published
    summary: str
    last_good: bool  # the file was broken at start: what was kept of it is served
    reload_ok: bool  # of the last attempt
    reload_at: float
    reload_lines: tuple[str, ...]  # what it said
    waiting: tuple[str, ...]  # keys that differ, but wait for a restart


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """A GeoIP database in use."""

    path: str
    kind: str  # as its metadata say
    built: float


@dataclass(frozen=True, slots=True)
class BackendReport:
    """The socket that PowerDNS attaches to, and who is connected there."""

    path: str
    pipe: int  # connections that speak the pipe's protocol: shims
    remote: int  # those that speak the remote backend's
    silent: int  # those that have not said anything yet


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon at one moment."""

    version: str
    engine: str  # pure, native
    pid: int
    now: float
    started: float
    ready: bool
    listen: tuple[str, ...]
    backend: BackendReport | None  # None: PowerDNS cannot attach
    publishes: int  # snapshots published since the start
    config: ConfigReport
    databases: tuple[DatabaseReport, ...]
    prober: ProberReport
    pools: tuple[PoolReport, ...]
    overrides: tuple[OverrideReport, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """What a change of health moves in one service; shares are of the placed IPv4 addresses, 0..1."""

    service: str
    source: str | None  # a datacenter; "service NAME" or "all_down addresses" where those answer; None: nobody
    target: str | None
    share: float


@dataclass(frozen=True, slots=True)
class PoolChange:
    """A pool that changes its rank, in the words of `PoolReport.rank`."""

    service: str
    datacenter: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an override, or the end of one, would do or has done."""

    override: OverrideReport | None  # what begins; None where something ends
    ended: tuple[OverrideReport, ...]  # what ends, be it that `override` replaces it
    matched: tuple[str, ...]  # "service/datacenter/member"
    pools: tuple[PoolChange, ...]
    moves: tuple[Move, ...]  # the largest first
    horizon: float  # seconds after which resolvers have forgotten the old answers: the highest TTL that was given out
    warnings: tuple[str, ...]  # "takes the last live member of www/ams out", "no --for: lasts until ..."
    now: float  # when that was worked out
    applied: bool


@dataclass(frozen=True, slots=True)
class ServedService:
    """Where a service stands, as it is served: what `geodns diff` needs of the running configuration."""

    name: str
    map: str
    pools: tuple[str, ...]  # datacenters
    drained: tuple[str, ...]  # of them, those whose pool the configuration takes out


@dataclass(frozen=True, slots=True)
class Served:
    """The running configuration as `geodns diff NEW` compares with it."""

    path: str
    image: str | None  # the file that holds the maps; None where there is no folder for images
    digest: str  # of what the maps were made from, hexadecimal
    datacenters: tuple[str, ...]
    services: tuple[ServedService, ...]

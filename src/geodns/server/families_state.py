"""The metrics of state: health of members, pools, services and datacenters, checks, overrides, configuration, databases.

Knows which facts of a `Status` are shown, under which names, and how many lines there may be. Knows nothing of how they came
about. Times are shown as seconds since 1970, as Prometheus wants them: `time() - x` is an age.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ..report import PROBE_BOUNDS, CheckCount, MemberReport, OverrideReport, PoolReport, Status
from .families import NAMED_POOLS, OTHERS, Family, Reading, Row, histogram, one

NAMED_MEMBERS = 1000
NAMED_CHECKS = 100
RANKS = ("up", "live", "drained", "dead")  # of a pool, numbered from 1: which of the four passes takes it
VERDICTS = {"up": 1.0, "unknown": 0.5, "down": 0.0}
STATES = ("up", "unknown", "down", "drained")  # of a member, as it counts
KINDS = ("drain", "up", "down")  # of an override
IP_FAMILIES = ("IPv4", "IPv6")
_BOUNDS = [repr(bound) for bound in PROBE_BOUNDS]

Read = Callable[[Reading], Iterator[Row]]


def _number_rank(pool: PoolReport) -> int:
    return RANKS.index(pool.rank) + 1


def _find_since(member: MemberReport) -> float | None:
    """When what the checks say of *member* together began; None where no check watches it.

    A member is down since the first of its checks that are down, and up or unknown since the last that became so.
    """
    if member.observed == "down":
        return min((probe.since for probe in member.probes if probe.verdict == "down"), default=None)
    return max((probe.since for probe in member.probes if probe.verdict == member.observed), default=None)


def _find_expiry(member: MemberReport) -> float | None:
    """When the first certificate ends that the checks of *member* saw; None where they saw none."""
    return min((probe.expires for probe in member.probes if probe.expires is not None), default=None)


def _of(read: Callable[[Status], float | None]) -> Read:
    """A reader of one number of the status; None: no line."""

    def rows(reading: Reading) -> Iterator[Row]:
        number = read(reading.sources.status)
        if number is not None:
            yield from one(number)

    return rows


def _each_pool(read: Callable[[PoolReport], float | None]) -> Read:
    """A reader of one number for each of the first `NAMED_POOLS` pools; None: no line."""

    def rows(reading: Reading) -> Iterator[Row]:
        for pool in reading.sources.status.pools[:NAMED_POOLS]:
            number = read(pool)
            if number is not None:
                yield "", (pool.service, pool.datacenter), number

    return rows


def _each_member(read: Callable[[MemberReport], float | None]) -> Read:
    """A reader of one number for each of the first `NAMED_MEMBERS` members; None: no line."""

    def rows(reading: Reading) -> Iterator[Row]:
        named = ((pool, member) for pool in reading.sources.status.pools for member in pool.members)
        for pool, member in islice(named, NAMED_MEMBERS):
            number = read(member)
            if number is not None:
                yield "", (pool.service, pool.datacenter, member.member), number

    return rows


def _each(read: Callable[[Status], Iterable[tuple[tuple[str, ...], float]]]) -> Read:
    """A reader of several lines of the status: values of the labels, and the number."""

    def rows(reading: Reading) -> Iterator[Row]:
        for labels, number in read(reading.sources.status):
            yield "", labels, number

    return rows


def _read_members(reading: Reading) -> Iterator[Row]:
    for pool in reading.sources.status.pools[:NAMED_POOLS]:
        counts = Counter("drained" if member.drained else member.verdict for member in pool.members)
        for state in STATES:
            yield "", (pool.service, pool.datacenter, state), counts[state]


def _read_services(reading: Reading) -> Iterator[Row]:
    best: dict[str, int] = {}
    for pool in reading.sources.status.pools:
        best[pool.service] = min(_number_rank(pool), best.get(pool.service, len(RANKS)))
    for service, rank in islice(best.items(), NAMED_POOLS):
        yield "", (service,), rank


def _read_datacenters(reading: Reading) -> Iterator[Row]:
    counts = Counter((pool.datacenter, pool.rank) for pool in reading.sources.status.pools)
    for datacenter in dict.fromkeys(pool.datacenter for pool in reading.sources.status.pools):
        for rank in RANKS:
            yield "", (datacenter, rank), counts[datacenter, rank]


def _read_datacenters_since(reading: Reading) -> Iterator[Row]:
    since: dict[str, float] = {}
    for pool in reading.sources.status.pools:
        since[pool.datacenter] = max(pool.since, since.get(pool.datacenter, 0.0))
    for datacenter, moment in since.items():
        yield "", (datacenter,), moment


def _name_checks(checks: tuple[CheckCount, ...]) -> list[CheckCount]:
    """The rows of the first `NAMED_CHECKS` checks, and sums of all others, by verdict."""
    names = list(dict.fromkeys(count.check for count in checks))
    named = set(names[:NAMED_CHECKS])
    shown = [count for count in checks if count.check in named]
    for verdict in VERDICTS:
        rest = [count for count in checks if count.check not in named and count.verdict == verdict]
        if rest:
            buckets = tuple(map(sum, zip(*(count.buckets for count in rest), strict=True)))
            probes, seconds = sum(count.probes for count in rest), sum(count.seconds for count in rest)
            transitions = sum(count.transitions for count in rest)
            shown.append(CheckCount(OTHERS, OTHERS, verdict, probes, seconds, buckets, transitions))
    return shown


def _read_probes(reading: Reading) -> Iterator[Row]:
    for count in _name_checks(reading.sources.checks):
        yield "", (count.check, count.verdict), count.probes


def _read_probe_seconds(reading: Reading) -> Iterator[Row]:
    """Only verdicts that came: an empty histogram is sixteen lines."""
    for count in _name_checks(reading.sources.checks):
        if count.probes:
            yield from histogram((count.check, count.verdict), _BOUNDS, list(count.buckets), count.seconds)


def _read_transitions(reading: Reading) -> Iterator[Row]:
    for count in _name_checks(reading.sources.checks):
        yield "", (count.check, count.verdict), count.transitions


def _find_oldest(status: Status) -> float | None:
    return min((override.since for override in status.overrides if override.until is None), default=None)


def _count_overrides(overrides: Iterable[OverrideReport]) -> Iterator[tuple[tuple[str, ...], float]]:
    counts = Counter(override.kind for override in overrides)
    for kind in KINDS:
        yield (kind,), counts[kind]


def _tell_frozen(status: Status) -> Iterator[tuple[tuple[str, ...], float]]:
    frozen = {family for family, _ in status.prober.frozen}
    for family in IP_FAMILIES:
        yield (family,), family in frozen


def _tell_databases(status: Status) -> Iterator[tuple[tuple[str, ...], float]]:
    """A file may be in use twice (for addresses and for AS numbers); it is one line."""
    return iter({(database.path, database.kind): database.built for database in status.databases}.items())


def _live_share(pool: PoolReport) -> float | None:
    return pool.live_weight / pool.weight if pool.weight else None


POOL = ("service", "datacenter")
MEMBER = (*POOL, "member")

HEALTH = (
    Family("geodns_member_up", "gauge", "A member as it counts, overrides included: 1 up, 0.5 unknown, 0 down.",
           MEMBER, _each_member(lambda member: VERDICTS[member.verdict])),
    Family("geodns_member_drained", "gauge", "1 where a member is drained, by an override or by the configuration.",
           MEMBER, _each_member(lambda member: bool(member.drained))),
    Family("geodns_member_forced", "gauge", "1 where an override says whether a member is up or down.",
           MEMBER, _each_member(lambda member: bool(member.forced))),
    Family("geodns_member_since_timestamp_seconds", "gauge", "When what the checks say of a member began.",
           MEMBER, _each_member(_find_since)),
    Family("geodns_member_certificate_expiry_timestamp_seconds", "gauge",
           "When the certificate ends that a member showed to its tls or https checks.", MEMBER, _each_member(_find_expiry)),
    Family("geodns_members", "gauge", "Members of a pool by what they count as.", (*POOL, "state"), _read_members),
    Family("geodns_pool_rank", "gauge", "Which pass takes a pool: 1 up, 2 some members live, 3 drained, 4 dead.",
           POOL, _each_pool(_number_rank)),
    Family("geodns_pool_since_timestamp_seconds", "gauge", "When a pool's rank began; the daemon's start at the earliest.",
           POOL, _each_pool(lambda pool: pool.since)),
    Family("geodns_pool_live_ratio", "gauge", "Weight of the live members by the weight of those that are not drained.",
           POOL, _each_pool(_live_share)),
    Family("geodns_pool_ttl_seconds", "gauge", "TTL of a pool's records now.", POOL, _each_pool(lambda pool: pool.ttl)),
    Family("geodns_service_rank", "gauge", "The best rank of a service's pools; 4: all are dead, and `all_down` decides.",
           ("service",), _read_services),
    Family("geodns_datacenter_pools", "gauge", "Pools in a datacenter by rank.", ("datacenter", "rank"), _read_datacenters),
    Family("geodns_datacenter_since_timestamp_seconds", "gauge", "When a pool in the datacenter last changed its rank.",
           ("datacenter",), _read_datacenters_since),
    Family("geodns_probes_total", "counter", "Probes of a check by what they said.", ("check", "verdict"), _read_probes),
    Family("geodns_probe_seconds", "histogram", "How long probes took.", ("check", "verdict"), _read_probe_seconds),
    Family("geodns_transitions_total", "counter", "How often what is probed by a check changed to a verdict.",
           ("check", "verdict"), _read_transitions),
    Family("geodns_prober_running", "gauge", "1 while the process that probes runs.", (),
           _of(lambda status: status.prober.running)),
    Family("geodns_prober_since_timestamp_seconds", "gauge", "When the process that probes started, or stopped.", (),
           _of(lambda status: status.prober.since)),
    Family("geodns_prober_restarts_total", "counter", "How often the process that probes had to be started again.", (),
           _of(lambda status: status.prober.restarts)),
    Family("geodns_prober_targets", "gauge", "What is probed: identical probes of several members count once.", (),
           _of(lambda status: status.prober.targets)),
    Family("geodns_prober_lateness_seconds", "gauge", "How late probes began: 99th percentile of the last minute.", (),
           _of(lambda status: status.prober.lateness)),
    Family("geodns_prober_frozen", "gauge", "1 while verdicts are held because we seem to be blind, by address family.",
           ("family",), _each(_tell_frozen)),
    Family("geodns_overrides", "gauge", "Overrides in force by what they do.", ("kind",),
           _each(lambda status: _count_overrides(status.overrides))),
    Family("geodns_overrides_unmatched", "gauge", "Overrides that match no member of the configuration.", (),
           _of(lambda status: sum(not override.members for override in status.overrides))),
    Family("geodns_override_lasting_since_timestamp_seconds", "gauge",
           "When the oldest override without an end began; missing while there is none.", (), _of(_find_oldest)),
)  # fmt: skip

PROGRAM = (
    Family("geodns_build_info", "gauge", "Always 1; version and engine stand in the labels.", ("version", "engine"),
           _each(lambda status: [((status.version, status.engine), 1)])),
    Family("geodns_start_time_seconds", "gauge", "When the daemon started.", (), _of(lambda status: status.started)),
    Family("geodns_ready", "gauge", "1 once the first round of checks is over and queries are answered.", (),
           _of(lambda status: status.ready)),
    Family("geodns_publishes_total", "counter", "Snapshots published: at reloads, and when health changes answers.", (),
           _of(lambda status: status.publishes)),
    Family("geodns_config_info", "gauge", "Always 1; the digest of all files of the configuration stands in the label.",
           ("digest",), _each(lambda status: [((status.config.digest,), 1)])),
    Family("geodns_config_loaded_timestamp_seconds", "gauge", "When the configuration that is served was published.", (),
           _of(lambda status: status.config.loaded)),
    Family("geodns_config_reload_success", "gauge", "1 where the last load or reload succeeded.", (),
           _of(lambda status: status.config.reload_ok)),
    Family("geodns_config_reload_timestamp_seconds", "gauge", "When the last load or reload was tried.", (),
           _of(lambda status: status.config.reload_at)),
    Family("geodns_config_last_good", "gauge", "1 while the kept configuration is served, since the files were broken.", (),
           _of(lambda status: status.config.last_good)),
    Family("geodns_config_waiting", "gauge", "Keys that differ in the files, but wait for a restart.", (),
           _of(lambda status: len(status.config.waiting))),
    Family("geodns_database_built_timestamp_seconds", "gauge", "When a GeoIP database in use was built.", ("path", "kind"),
           _each(_tell_databases)),
)  # fmt: skip

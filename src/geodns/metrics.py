"""Counters of the data plane: the list that it counts in, what each slot means, and how lists are added up.

Knows names, types and help texts, and which slot is which. Knows nothing of how they are shown (`server.exposition`), nor
of what is counted or measured elsewhere. A tally is a list of numbers, one for each thread that answers; what is computed
for one query is a slot number, so that counting costs one addition, and one more where a pool answered.

A tally holds single counters, two histograms, a block of `BLOCK` counters for what belongs to no zone, one for each of the
first `NAMED_ZONES` zones, one for all others together, and a counter for each pool. Numbers of zones and pools hold for one
naming, so each naming has `Counters` of its own; what earlier ones counted is kept by name.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import add
from typing import NamedTuple, Protocol

TRANSPORTS = ("udp", "tcp")
FAMILIES = ("A", "AAAA", "other")  # what was asked for
SUBNETS = ("none", "unused", "used")  # no client subnet; one that was not believed or asks for privacy; one that was used
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS")
BACKEND_PROTOCOLS = ("pipe", "remote")  # how PowerDNS asks
# What it was told: records, that nothing stands there, that the lookup failed; or nobody could read its line.
BACKEND_OUTCOMES = ("records", "nothing", "failed", "misread")
NAMED_ZONES = 200  # zones that are counted each by itself; with 10,000 a scrape would be 180,000 lines
KEPT_NAMES = 10_000  # names of which counts are kept although nothing has them now: a reload may bring them back


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter that has one slot for each value of its label, or one."""

    name: str
    text: str
    label: str = ""
    values: tuple[str, ...] = ("",)


METRICS = (
    Metric("geodns_truncated_total", "Replies that did not fit and sent the client to TCP."),
    Metric("geodns_dropped_total", "Packets that got no reply: too short, replies themselves, or one too many for Python.",
           "reason", ("short", "response", "declined")),
    Metric("geodns_internal_errors_total", "Queries on which geodns itself failed: answered SERVFAIL, counted here only."),
    Metric("geodns_send_failures_total", "Replies that the kernel did not take."),
    Metric("geodns_receive_failures_total", "Errors from the kernel while queries were received."),
    Metric("geodns_tcp_connections_total", "TCP connections that were accepted."),
    Metric("geodns_tcp_closed_total", "TCP connections that geodns closed: idle, over a limit, or not speaking DNS."),
    Metric("geodns_backend_connections_total", "Connections of PowerDNS that were accepted."),
    Metric("geodns_backend_closed_total", "Connections of PowerDNS that geodns closed: over the limit, or not reading."),
    Metric("geodns_declined_total", "Queries by UDP that the native engine left to Python; few kinds of packets are."),
)  # fmt: skip

(
    TRUNCATED, DROPPED_SHORT, DROPPED_RESPONSE, DROPPED_DECLINED, INTERNAL_ERRORS, SEND_FAILURES, RECEIVE_FAILURES,
    TCP_CONNECTIONS, TCP_CLOSED, BACKEND_CONNECTIONS, BACKEND_CLOSED, DECLINED,
) = range(12)  # in the order of METRICS and of their values  # fmt: skip

# Two histograms, by transport: LATENCY + LATENCY_STEP * transport + bucket, then the sum of nanoseconds. Bucket b has what
# took less than 2**(b + LATENCY_SHIFT) ns, that is 8.2 us in bucket 0 and 1.07 s in the last but one; the last has the rest.
LATENCY = 12
LATENCY_SHIFT = 13
LATENCY_BUCKETS = 19
LATENCY_SUM = LATENCY_BUCKETS
LATENCY_STEP = LATENCY_BUCKETS + 1

# Lookups of PowerDNS: BACKEND + len(BACKEND_OUTCOMES) * protocol + outcome.
BACKEND = LATENCY + len(TRANSPORTS) * LATENCY_STEP
PIPE, REMOTE = range(len(BACKEND_PROTOCOLS))
LOOKUP_RECORDS, LOOKUP_NOTHING, LOOKUP_FAILED, LOOKUP_MISREAD = range(len(BACKEND_OUTCOMES))

# Blocks: NO_ZONE, ZONES + BLOCK * number or OTHER_ZONES, plus TRANSPORT_STEP * transport + FAMILY_STEP * family +
# SUBNET_STEP * subnet + rcode, the numbers as in the tuples above.
SUBNET_STEP = len(RCODES)
FAMILY_STEP = len(SUBNETS) * SUBNET_STEP
TRANSPORT_STEP = len(FAMILIES) * FAMILY_STEP
BLOCK = len(TRANSPORTS) * TRANSPORT_STEP
NO_ZONE = BACKEND + len(BACKEND_PROTOCOLS) * len(BACKEND_OUTCOMES)  # refused, or not understood
ZONES = NO_ZONE + BLOCK
OTHER_ZONES = ZONES + NAMED_ZONES * BLOCK
POOLS = OTHER_ZONES + BLOCK  # POOLS + number
SLICE = 1000  # pools that are added up between two yields

LABELS = tuple(product(TRANSPORTS, FAMILIES, SUBNETS, RCODES))  # of each slot of a block


def new_tally(pools: int) -> list[int]:
    """A tally with every counter at 0, for a snapshot with so many *pools*."""
    return [0] * (POOLS + pools)


def count_batch(tally: list[int], transport: int, queries: int, nanoseconds: int) -> None:
    """So many *queries* were received, answered and sent together in so many *nanoseconds*."""
    first = LATENCY + LATENCY_STEP * transport
    bucket = (nanoseconds >> LATENCY_SHIFT).bit_length()
    tally[first + (bucket if bucket < LATENCY_BUCKETS else LATENCY_BUCKETS - 1)] += queries
    tally[first + LATENCY_SUM] += queries * nanoseconds


class ZoneName(Protocol):
    """What counters need of a zone."""

    @property
    def apex(self) -> bytes: ...


class PoolName(Protocol):
    """What counters need of a pool: a `PoolPlan`."""

    @property
    def service(self) -> str: ...
    @property
    def datacenter(self) -> str: ...


PoolKey = tuple[str, str]  # service, datacenter


@dataclass(slots=True)
class Sums:
    """Counts by name, over threads and namings. Zones by apex in wire form; who was never counted may be missing."""

    fixed: list[int] = field(default_factory=lambda: [0] * NO_ZONE)
    no_zone: list[int] = field(default_factory=lambda: [0] * BLOCK)
    other_zones: list[int] = field(default_factory=lambda: [0] * BLOCK)
    zones: dict[bytes, list[int]] = field(default_factory=dict)
    pools: dict[PoolKey, int] = field(default_factory=dict)

    def copy(self) -> Sums:
        """Another with the same counts; what `add` changes is not shared."""
        return Sums(self.fixed[:], self.no_zone[:], self.other_zones[:], self.zones.copy(), self.pools.copy())


class Past(NamedTuple):
    """What earlier namings counted: added up already, and not yet."""

    sums: Sums
    waiting: tuple[Counters, ...]


class Counters:
    """What is counted under one naming of *zones* and *pools*; *before*: of the naming that this one replaces."""

    def __init__(
        self, zones: Sequence[ZoneName] = (), pools: Sequence[PoolName] = (), before: Counters | None = None
    ) -> None:
        self.named = tuple(zone.apex for zone in zones[:NAMED_ZONES])
        self.others = len(zones) > NAMED_ZONES  # some zones are counted together
        self.pools = pools
        self.tally = new_tally(len(pools))  # the main thread's
        self.tallies: list[Sequence[int]] = [self.tally]  # one for each thread that answers; an engine adds its own
        # Replaced in one assignment, since a scrape reads it from another thread.
        self.past: Past = Past(Sums(), ()) if before is None else Past(before.past.sums, (*before.past.waiting, before))

    def read(self) -> Sums:
        """All that was counted since the start, under this naming and the earlier ones. May run in any thread."""
        past = self.past
        sums = past.sums.copy()
        for counters in (*past.waiting, self):
            for _ in counters._add_to(sums):
                pass
        return sums

    def settle(self) -> Generator[None, None, None]:
        """Add up, in slices, what earlier namings counted, and let them go; when nobody counts in them any more."""
        past = self.past
        if not past.waiting:
            return
        sums = past.sums.copy()
        for counters in past.waiting:
            yield from counters._add_to(sums)
        yield from self._forget(sums)
        self.past = Past(sums, ())

    def _add_to(self, sums: Sums) -> Generator[None, None, None]:
        for tally in self.tallies:
            _add(sums.fixed, tally[:NO_ZONE])
            _add(sums.no_zone, tally[NO_ZONE:ZONES])
            _add(sums.other_zones, tally[OTHER_ZONES:POOLS])
            for number, apex in enumerate(self.named):
                block = tally[ZONES + number * BLOCK : ZONES + (number + 1) * BLOCK]
                if any(block):
                    sums.zones[apex] = list(map(add, sums.zones[apex], block)) if apex in sums.zones else list(block)
            yield
            for first in range(0, len(self.pools), SLICE):
                counts = tally[POOLS + first : POOLS + first + SLICE]
                for pool, count in zip(self.pools[first : first + SLICE], counts, strict=True):
                    if count:
                        key = pool.service, pool.datacenter
                        sums.pools[key] = sums.pools.get(key, 0) + count
                yield  # between slices: the main thread answers

    def _forget(self, sums: Sums) -> Generator[None, None, None]:
        """An operator may rename for ever: beyond `KEPT_NAMES` only names that are in use keep their counts."""
        if len(sums.zones) > KEPT_NAMES:
            sums.zones = {apex: sums.zones[apex] for apex in self.named if apex in sums.zones}
        if len(sums.pools) > KEPT_NAMES + len(self.pools):
            kept: dict[PoolKey, int] = {}
            for first in range(0, len(self.pools), SLICE):
                keys = [(pool.service, pool.datacenter) for pool in self.pools[first : first + SLICE]]
                kept.update((key, sums.pools[key]) for key in keys if key in sums.pools)
                yield
            sums.pools = kept


def _add(sums: list[int], counts: Sequence[int]) -> None:
    sums[:] = map(add, sums, counts)

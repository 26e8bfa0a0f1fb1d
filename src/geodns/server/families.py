"""What a metric is here, what it is read from, and the metrics of the traffic: queries, replies, answers, connections.

Knows names, labels and help texts of what the data plane counts, and how many lines there may be. Knows nothing of how
metrics are written (`exposition`). Labels hold names of the configuration only, never those of clients or queries; behind
the first so many zones, pools, members and checks the others are added up, so that a scrape stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from operator import add

from ..metrics import (
    BACKEND,
    BACKEND_OUTCOMES,
    BACKEND_PROTOCOLS,
    BLOCK,
    FAMILIES,
    FAMILY_STEP,
    LATENCY,
    LATENCY_BUCKETS,
    LATENCY_SHIFT,
    LATENCY_STEP,
    LATENCY_SUM,
    METRICS,
    RCODES,
    SUBNET_STEP,
    SUBNETS,
    TRANSPORT_STEP,
    TRANSPORTS,
    Counters,
    Sums,
)
from ..report import CheckCount, Status
from ..wire.name import name_text

NONE, OTHERS = "(none)", "(other)"  # labels for what belongs to no zone, and for all that is not shown by name
NAMED_POOLS = 1000
IN_ZONE = ("NOERROR", "SERVFAIL", "NXDOMAIN")  # rcodes of replies that a zone gives
UNREAD = ("FORMERR", "NOTIMP", "BADVERS")  # rcodes of what was not read in full: the type is "other"


@dataclass(frozen=True, slots=True)
class Sources:
    """What one scrape is made from: plain values, read in the main thread, shown in another."""

    status: Status
    counters: Counters  # of the snapshot that is served
    checks: tuple[CheckCount, ...] = ()
    drops: tuple[tuple[str, int], ...] = ()  # a listen address, and how many queries the kernel threw away there
    tcp_clients: int = 0
    log: tuple[int, int] | None = None  # lines of the query log that were written, and dropped; None: there is none
    backend_clients: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The sources, and all counters added up, once for all metrics of a scrape."""

    sources: Sources
    sums: Sums


# What follows the name (histograms: _bucket, _count, _sum), the labels' values (buckets have `le` behind them), the number.
Row = tuple[str, tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: everything that Prometheus and a reader must know, and where its numbers come from."""

    name: str
    kind: str  # counter, gauge, histogram
    text: str
    labels: tuple[str, ...]
    read: Callable[[Reading], Iterator[Row]]


def one(number: float) -> Iterator[Row]:
    """The only line of a metric without labels."""
    yield "", (), number


def histogram(labels: tuple[str, ...], bounds: list[str], counts: list[int], total: float) -> Iterator[Row]:
    """The lines of one histogram; *counts* has one more than *bounds*, each counting what is above the bound before."""
    for bound, count in zip((*bounds, "+Inf"), accumulate(counts), strict=True):
        yield "_bucket", (*labels, bound), count
    yield "_count", labels, sum(counts)
    yield "_sum", labels, total


def _slots(transport: str, family: str, rcode: str) -> list[int]:
    """Where a block counts these, one for each state of the client subnet."""
    first = TRANSPORTS.index(transport) * TRANSPORT_STEP + FAMILIES.index(family) * FAMILY_STEP + RCODES.index(rcode)
    return [first + subnet * SUBNET_STEP for subnet in range(len(SUBNETS))]


_ZONE_SLOTS = [(labels, _slots(*labels)) for labels in product(TRANSPORTS, FAMILIES, IN_ZONE)]
_NONE_SLOTS = [(labels, _slots(*labels)) for labels in product(TRANSPORTS, FAMILIES, ("REFUSED",))]
_NONE_SLOTS += [(labels, _slots(*labels)) for labels in product(TRANSPORTS, FAMILIES[-1:], UNREAD)]
_NOTHING = [0] * BLOCK


def _read_queries(reading: Reading) -> Iterator[Row]:
    sums = reading.sums
    total = list(map(add, sums.no_zone, sums.other_zones))
    for block in sums.zones.values():
        total = list(map(add, total, block))
    for i, labels in enumerate(product(TRANSPORTS, FAMILIES, SUBNETS)):
        yield "", labels, sum(total[i * SUBNET_STEP : (i + 1) * SUBNET_STEP])


def _read_responses(reading: Reading) -> Iterator[Row]:
    sums, counters = reading.sums, reading.sources.counters
    for labels, slots in _NONE_SLOTS:
        yield "", (NONE, *labels), sum(sums.no_zone[slot] for slot in slots)
    for apex in counters.named:
        zone, block = name_text(apex), sums.zones.get(apex, _NOTHING)
        for labels, slots in _ZONE_SLOTS:
            yield "", (zone, *labels), sum(block[slot] for slot in slots)
    if counters.others:
        for labels, slots in _ZONE_SLOTS:
            yield "", (OTHERS, *labels), sum(sums.other_zones[slot] for slot in slots)


def _read_answers(reading: Reading) -> Iterator[Row]:
    """The first `NAMED_POOLS` pools by name; of the others the sum in each datacenter."""
    pools, counts = reading.sources.counters.pools, reading.sums.pools
    for pool in pools[:NAMED_POOLS]:
        key = pool.service, pool.datacenter
        yield "", key, counts.get(key, 0)
    others: dict[str, int] = {}
    for pool in pools[NAMED_POOLS:]:
        others[pool.datacenter] = others.get(pool.datacenter, 0) + counts.get((pool.service, pool.datacenter), 0)
    for datacenter, count in others.items():
        yield "", (OTHERS, datacenter), count


_LATENCY_BOUNDS = [repr((1 << (bucket + LATENCY_SHIFT)) / 1e9) for bucket in range(LATENCY_BUCKETS - 1)]


def _read_latency(reading: Reading) -> Iterator[Row]:
    for transport, label in enumerate(TRANSPORTS):
        first = LATENCY + transport * LATENCY_STEP
        counts = reading.sums.fixed[first : first + LATENCY_BUCKETS]
        yield from histogram((label,), _LATENCY_BOUNDS, counts, reading.sums.fixed[first + LATENCY_SUM] / 1e9)


def _read_fixed(first: int, values: tuple[str, ...]) -> Callable[[Reading], Iterator[Row]]:
    """The reader of a metric of the table `metrics.METRICS`, whose slots begin at *first*."""

    def read(reading: Reading) -> Iterator[Row]:
        for i, value in enumerate(values):
            yield "", (value,) if value else (), reading.sums.fixed[first + i]

    return read


def _fixed_families() -> Iterator[Family]:
    first = 0
    for metric in METRICS:
        labels = (metric.label,) if metric.label else ()
        yield Family(metric.name, "counter", metric.text, labels, _read_fixed(first, metric.values))
        first += len(metric.values)


def read_lookups(reading: Reading) -> Iterator[Row]:
    """Of PowerDNS, by protocol and outcome."""
    for i, labels in enumerate(product(BACKEND_PROTOCOLS, BACKEND_OUTCOMES)):
        yield "", labels, reading.sums.fixed[BACKEND + i]


def _read_log(index: int) -> Callable[[Reading], Iterator[Row]]:
    def read(reading: Reading) -> Iterator[Row]:
        if reading.sources.log is not None:
            yield from one(reading.sources.log[index])

    return read


TRAFFIC = (
    Family("geodns_queries_total", "counter", "Queries that were answered, be it with an error, by client subnet (ECS).",
           ("transport", "type", "subnet"), _read_queries),
    Family("geodns_responses_total", "counter", "Replies by the zone of the name asked, what was asked for, and the rcode.",
           ("zone", "transport", "type", "rcode"), _read_responses),
    Family("geodns_answers_total", "counter", "Replies that hold records of this service from this datacenter.",
           ("service", "datacenter"), _read_answers),
    Family("geodns_response_seconds", "histogram", "From reading a batch of queries to its last reply, for each of them.",
           ("transport",), _read_latency),
    *_fixed_families(),
    Family("geodns_socket_drops_total", "counter", "Queries that the kernel threw away: they were not read fast enough.",
           ("listen",), lambda reading: (("", (listen,), count) for listen, count in reading.sources.drops)),
    Family("geodns_tcp_clients", "gauge", "TCP connections that are open.", (),
           lambda reading: one(reading.sources.tcp_clients)),
    Family("geodns_backend_lookups_total", "counter", "Lookups of PowerDNS; one query of a client takes one or more.",
           ("protocol", "outcome"), read_lookups),
    Family("geodns_backend_clients", "gauge", "Connections of PowerDNS that are open.", (),
           lambda reading: one(reading.sources.backend_clients)),
    Family("geodns_query_log_lines_total", "counter", "Queries written to the query log; only where there is one.", (),
           _read_log(0)),
    Family("geodns_query_log_dropped_total", "counter", "Sampled queries that are missing in the query log.", (),
           _read_log(1)),
)  # fmt: skip

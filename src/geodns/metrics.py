"""Counters: their names, types and help texts, in one table; and the flat array that the data plane counts in.

Knows which slot means what. Knows nothing of how they are shown, nor of what is counted elsewhere. A tally is a
list of numbers; each thread has one of its own, and a scrape adds them up. What is computed for one
query is a slot number, so that counting costs one or two additions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter as Prometheus shows it. `labels` name what its slots differ in."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


TRANSPORTS = ("udp", "tcp")
FAMILIES = ("A", "AAAA", "other")
SUBNETS = ("none", "unused", "used")  # no client subnet; one that was not believed or asks for privacy; one that was used
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS")

METRICS = (
    Metric("geodns_queries_total", "Well-formed queries, by what they came over, type and client subnet.",
           ("transport", "type", "subnet")),
    Metric("geodns_responses_total", "Replies, by their rcode.", ("rcode",)),
    Metric("geodns_truncated_total", "Replies that did not fit and sent the client to TCP."),
    Metric("geodns_dropped_total", "Packets that get no reply: too short for a header, or replies themselves.", ("reason",)),
    Metric("geodns_internal_errors_total", "Queries on which geodns itself failed; they were answered SERVFAIL."),
    Metric("geodns_send_failures_total", "Replies that the kernel did not take."),
    Metric("geodns_receive_failures_total", "Errors from the kernel while queries were received."),
    Metric("geodns_tcp_connections_total", "TCP connections that were accepted."),
    Metric("geodns_tcp_closed_total", "TCP connections that geodns closed: idle, over a limit, or not speaking DNS."),
)  # fmt: skip

# Every slot: its metric and the values of its labels.
SLOTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(("geodns_queries_total", (a, b, c)) for a in TRANSPORTS for b in FAMILIES for c in SUBNETS),
    *(("geodns_responses_total", (rcode,)) for rcode in RCODES),
    ("geodns_truncated_total", ()),
    ("geodns_dropped_total", ("short",)),
    ("geodns_dropped_total", ("response",)),
    ("geodns_internal_errors_total", ()),
    ("geodns_send_failures_total", ()),
    ("geodns_receive_failures_total", ()),
    ("geodns_tcp_connections_total", ()),
    ("geodns_tcp_closed_total", ()),
)

# queries: QUERIES + TRANSPORT_STEP * transport + FAMILY_STEP * family + subnet, the numbers as in the tuples above
QUERIES = 0
FAMILY_STEP = len(SUBNETS)
TRANSPORT_STEP = len(FAMILIES) * FAMILY_STEP
# responses: RESPONSES + rcode, as in RCODES, where BADVERS comes last
RESPONSES = QUERIES + len(TRANSPORTS) * TRANSPORT_STEP
TRUNCATED = RESPONSES + len(RCODES)
DROPPED_SHORT = TRUNCATED + 1
DROPPED_RESPONSE = TRUNCATED + 2
INTERNAL_ERRORS = TRUNCATED + 3
SEND_FAILURES = TRUNCATED + 4
RECEIVE_FAILURES = TRUNCATED + 5
TCP_CONNECTIONS = TRUNCATED + 6
TCP_CLOSED = TRUNCATED + 7


class Counters:
    """What is counted under one naming of zones and pools: one tally for each thread that answers."""

    def __init__(self, pools: int = 0) -> None:
        self.pools = pools
        self.tally = new_tally(pools)  # the main thread's
        self.tallies = [self.tally]


def new_tally(pools: int) -> list[int]:
    """A tally with every counter at 0, for a snapshot with so many *pools*."""
    return [0] * (len(SLOTS) + pools)

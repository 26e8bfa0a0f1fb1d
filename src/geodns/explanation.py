"""What explaining yields: frozen facts, ready for JSON, that `present` turns into lines.

Knows the steps of a decision by name. Knows nothing of how they were found out or how they look on a terminal. Numbers
are plain: kilometres, seconds, probabilities between 0 and 1; addresses, names and records are in presentation form.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Match(StrEnum):
    """How the name asked was found among the names that exist."""

    EXACT = "exact"
    WILDCARD = "wildcard"
    DELEGATED = "delegated"  # at or below a zone cut
    EMPTY = "empty non-terminal"  # exists only because others stand below it
    MISSING = "missing"
    OUTSIDE = "outside"  # in no zone of ours


@dataclass(frozen=True, slots=True)
class Located:
    """Where an address stands, and who says so."""

    address: str
    network: str | None  # the prefix that the source speaks of
    source: str  # file name of a database, "geoip.networks", or "nobody"
    continent: str | None
    country: str | None
    subdivision: str | None
    city: str | None
    coordinates: tuple[float, float] | None  # latitude, longitude
    coordinates_from: str  # "record", "centre of DE-BY", "correction", "none"
    asn: int | None
    accuracy_km: int | None  # shown, not used
    registered_country: str | None  # shown, not used
    special: str | None  # why a database is not asked: "10.0.0.0/8, private use", "carries IPv4 192.0.2.1 (NAT64)"


@dataclass(frozen=True, slots=True)
class Distance:
    """One datacenter seen from a place."""

    datacenter: str
    km: float  # great circle
    bias: int
    ranked_km: float  # after the bias: what the ranking goes by


@dataclass(frozen=True, slots=True)
class Step:
    """One datacenter of a client's order, and what its pool offers right now."""

    datacenter: str
    tier: int  # from 1; equal for the members of a weighted set
    weight: int  # in its tier
    km: float | None  # None: nobody knows where the client is
    ranked_km: float | None
    pool: str  # "up", "live", "drained", "dead": which pass takes it
    live: int  # members that are up or unknown, and not drained
    members: int
    ttl: int
    share: float  # probability that it is chosen


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that may answer, as drawn inside its datacenter."""

    datacenter: str
    member: str
    rtype: str
    weight: int
    state: str  # "up", "unknown", "down", with "drained" where it is
    first: float  # probability that its record stands first in the reply
    in_reply: float | None  # that it stands in the reply at all; None: not computed, too many different weights


@dataclass(frozen=True, slots=True)
class Decision:
    """What a service says to one client."""

    service: str
    map: str
    client: str  # the network that was looked up
    client_why: str
    located: Located
    rule: str  # what made the order: "rule 2 (country NO)", "distance", "default"
    order: tuple[str, ...]  # tiers: "ams", or "nyc 70 | sin 30"
    first_address: str  # of the range whose clients have this order
    last_address: str
    scope: int
    scope_why: str
    steps: tuple[Step, ...]
    taken: str  # "pass 1", ..., "all_down"
    taken_why: str
    ttl: int
    ttl_why: str
    pick: str  # "weighted", "sticky"
    answers: int  # 0: all
    candidates: tuple[Candidate, ...]  # of the type asked; empty where `all_down` answers
    fallback: Decision | None

    @property
    def certain(self) -> bool:
        """Is there nothing to draw?"""
        if self.fallback is not None:
            return self.fallback.certain
        return self.pick == "sticky" or (len(self.candidates) <= 1 and all(step.share in (0, 1) for step in self.steps))


@dataclass(frozen=True, slots=True)
class Hop:
    """One name of a chain: the name asked, then each target of a CNAME inside our zones."""

    name: str
    zone: str | None
    match: Match
    match_why: str
    decision: Decision | None
    outcome: str  # "records", "alias", "nodata", "nxdomain", "referral", "refused", "servfail"
    outcome_why: str
    records: tuple[str, ...]  # as in a master file; what this hop adds to the answer, for this draw
    scope: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply itself, as the server would send it for this draw."""

    rcode: str
    flags: tuple[str, ...]
    answer: tuple[str, ...]
    authority: tuple[str, ...]
    additional: tuple[str, ...]
    scope: int | None  # None: no client subnet in the reply
    size: int  # octets


@dataclass(frozen=True, slots=True)
class Explanation:
    """One question, told from the name to the reply."""

    name: str
    rtype: str
    subnet: str | None  # the client subnet in the query
    peer: str  # who sends the query
    draw: int
    certain: bool  # the same reply whatever the draw
    hops: tuple[Hop, ...]
    reply: Reply | None  # None: silence


@dataclass(frozen=True, slots=True)
class View:
    """How one map looks on a client: for `geodns locate`."""

    map: str
    services: tuple[str, ...]  # those that use it with this set of datacenters
    rule: str
    order: tuple[str, ...]
    first_address: str
    last_address: str
    scope: int
    scope_why: str


@dataclass(frozen=True, slots=True)
class Location:
    """Where an address is, and what every map in use makes of it."""

    located: Located
    distances: tuple[Distance, ...]  # nearest first, after the bias
    views: tuple[View, ...]

"""The tables that the data plane reads: frozen types, no logic.

Knows the shapes that `image` reads, `compiler.choices` makes, and `lookup` and `answer` use. Knows nothing of how
they are built. Nothing here is ever edited in place, and no object refers back to one that holds it (a cycle would
make the collector walk all names).

Names are in wire form, lower case. A *tail* is one record without its owner: type, class, TTL, length, rdata.
Numbers: a datacenter is its index in `Maps.datacenters`, a table its index in `Maps.tables`, a pool its index in
`Zones.pools` and `Choices.pools`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ImageError

# Order numbers below `Table.first_tiered` are no rows of datacenters but marks, except DEFAULT, which is both.
DEFAULT = 0  # nobody can place this client: row 0 holds the map's default order
PEER = 1  # this address says nothing: the peer's address decides (if it is marked too: DEFAULT)
UNWRAP = 2  # an IPv4 address may hide in the lower bits
FIRST_ROW = 3

JOINED = 0x8000_0000  # in `Table.weights`: this step stands in the same tier as the one before it


@dataclass(frozen=True, slots=True)
class Ranges:
    """The address space of one family cut into ranges; range i is starts[i] .. starts[i + 1] - 1.

    `starts` begins with 0 and rises strictly; IPv4: 32-bit numbers, IPv6: the upper 64 bits of the address.
    `orders[i]` is the order number of range i; neighbours differ, except at forced boundaries.
    `index[t]` (65,537 of them) counts the starts <= t << shift, so that the search stays inside
    starts[index[t] - 1 : index[t + 1]] for an address whose top 16 bits are t.
    """

    starts: memoryview  # "I" (IPv4) or "Q" (IPv6)
    orders: memoryview  # "I"
    index: memoryview  # "I"


@dataclass(frozen=True, slots=True)
class Table:
    """Ranges to orders for one map and one set of datacenters (those that a service uses).

    Order o is steps[rows[o] : rows[o + 1]], datacenter numbers, best first. Orders below `first_plain` need a look:
    DEFAULT, PEER, UNWRAP (rows PEER and UNWRAP are empty), then orders with weighted tiers, whose weights stand at
    the same index in `weights` (JOINED: same tier as the step before). `weights` covers steps[: rows[first_plain]].
    """

    map_name: str
    v4: Ranges
    v6: Ranges
    rows: memoryview  # "I", number of orders + 1
    steps: memoryview  # "H"
    weights: memoryview  # "I"
    first_plain: int
    uniform: bool  # one and the same order for all clients of both families: scope 0 is true


@dataclass(frozen=True, slots=True)
class Maps:
    """Where clients are: made from databases, networks, maps and datacenters; weekly."""

    datacenters: tuple[str, ...]
    tables: tuple[Table, ...]
    shape: bytes  # digest of the naming: datacenters and tables; 16 octets
    digest: bytes  # of everything the block was made from; 32 octets
    block: bytes = field(default=b"", repr=False, compare=False)  # that the tables are views into


@dataclass(frozen=True, slots=True)
class Rrset:
    """One type at one owner: its tails in the order in which they are served."""

    rtype: int
    tails: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """What we are authoritative for. `soa` is the apex SOA's tail; `negative_soa` the same with min(TTL, MINIMUM)."""

    apex: bytes
    soa: bytes
    negative_soa: bytes
    parent: Zone | None  # the zone of ours above this one, which answers DS at our apex
    parent_ds: Rrset | None  # the DS that the parent holds for our apex
    number: int  # index in Zones.zones


@dataclass(frozen=True, slots=True)
class Cut:
    """A delegation: its NS, and the addresses that must travel with them.

    `glue` holds (owner name, tails): addresses of name servers at or below the cut, RFC 9471.
    """

    name: bytes
    ns: Rrset
    ds: Rrset | None
    glue: tuple[tuple[bytes, tuple[bytes, ...]], ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A balanced name's rules, without today's health."""

    name: str
    number: int  # index in Zones.services
    table: int
    answers: int  # records per reply; 0 is all
    sticky: bool
    key: int  # 64-bit hash of the name, for sticky tiers
    datacenter_keys: tuple[int, ...]  # 64-bit hash of each datacenter's name, by datacenter number
    pool_of: tuple[int, ...]  # by datacenter number: the pool's number, -1 where it has none
    types: frozenset[int]  # record types that some pool has; CNAME stands for a pool of targets
    choice: bool  # more than one member may answer some client: a sticky scope has a minimum
    all_down: int  # one of ALL, NONE, SERVFAIL, FALLBACK, ADDRESSES
    fallback: Service | None
    last_resort: Mapping[int, tuple[bytes, ...]]  # for ADDRESSES: tails by type, with ttl_min
    ttl_min: int


ALL, NONE, SERVFAIL, FALLBACK, ADDRESSES = range(5)  # Service.all_down


@dataclass(frozen=True, slots=True)
class Node:
    """One name that exists, if only because others stand below it (then without rrsets and service)."""

    name: bytes
    zone: Zone
    rrsets: Mapping[int, Rrset]
    service: Service | None
    cut: Cut | None  # the delegation at or above this name, below the apex
    wildcard: Node | None  # the child "*" of this name


@dataclass(frozen=True, slots=True)
class Member:
    """One address or target of a pool, as configured."""

    rtype: int  # A, AAAA or CNAME
    rdata: bytes
    weight: int
    key: int  # 64-bit hash of service name and canonical rdata, for sticky
    drained: bool  # by the configuration, on member or datacenter
    text: str  # "192.0.2.10", "edge.example.net."


@dataclass(frozen=True, slots=True, weakref_slot=True)  # `compiler.choices` keeps what it worked out while the plan lives
class PoolPlan:
    """A service's members in one datacenter, as configured; what `compiler.choices` needs beside health."""

    service: str
    datacenter: str
    members: tuple[Member, ...]
    up_threshold: int  # millionths
    ttl_min: int
    ttl_max: int


@dataclass(frozen=True, slots=True)
class Zones:
    """What names exist and what they hold; on deploy."""

    names: Mapping[bytes, Node]  # every name that exists, in all zones
    zones: tuple[Zone, ...]
    services: tuple[Service, ...]
    pools: tuple[PoolPlan, ...]
    deepest: int  # most labels of any name, the root not counted: bounds the probes of a miss
    maps_shape: bytes  # must equal Maps.shape
    shape: bytes  # digest of the naming of pools; must equal Choices.shape
    # Presentation form by type and rdata, for PowerDNS: of types that `wire.rdata_text` leaves to others. Most often empty.
    texts: Mapping[tuple[int, bytes], str] = field(default_factory=dict)


# Pool.rank: which of the four passes takes it; lower is better.
UP, LIVE, DRAINED, DEAD = range(1, 5)


@dataclass(frozen=True, slots=True)
class Choice:
    """What one pool offers for one record type, right now, under its rank.

    `totals` is the running sum of weights; equal weights are given where only weight 0 is left.
    """

    tails: tuple[bytes, ...]  # with the pool's TTL
    totals: tuple[int, ...]
    keys: tuple[int, ...]  # Member.key of each, for sticky


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool, right now. `slots` has every type that is configured in it, whatever the health."""

    rank: int  # UP, LIVE, DRAINED or DEAD
    ttl: int
    slots: Mapping[int, Choice]  # by type; {CNAME: ...} alone for a pool of targets


@dataclass(frozen=True, slots=True)
class Choices:
    """Which members may answer; any second."""

    pools: tuple[Pool, ...]
    shape: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a query needs; replaced whole, never edited."""

    maps: Maps
    zones: Zones
    choices: Choices

    def __post_init__(self) -> None:
        if self.zones.maps_shape != self.maps.shape:
            raise ImageError("zones and maps were built on different datacenters or tables")
        if self.choices.shape != self.zones.shape:
            raise ImageError("choices and zones were built on different pools")

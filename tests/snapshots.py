"""Small snapshots made by hand, without the compiler: what the data plane's tests and benchmarks decide on.

Knows the shapes of `geodns.snapshot`. Datacenters are numbers; an order is a list of tiers: a number or {number: weight}.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import accumulate

from geodns.image_maps import FlatTable
from geodns.ranges import V4_SHIFT, V6_SHIFT, build_index
from geodns.snapshot import (
    ALL,
    FIRST_ROW,
    JOINED,
    PEER,
    UNWRAP,
    UP,
    Choice,
    Choices,
    Cut,
    Maps,
    Node,
    Pool,
    PoolPlan,
    Ranges,
    Rrset,
    Service,
    Snapshot,
    Table,
    Zone,
    Zones,
)
from geodns.wire.constants import AAAA, CNAME, NS, SOA, A
from geodns.wire.name import is_below, label_starts, parse_name_text
from geodns.wire.rdata import write_tail

SHAPE = bytes(16)
Tier = int | Mapping[int, int]
EMBEDDING = ("::/64", "64:ff9b::/64", "2002::/16", "2001::/32")


def key_of(text: str) -> int:
    """64 bits that stand for *text*, as the compiler gives each member, service and datacenter some."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def name(text: str) -> bytes:
    """A name in lower-case wire form."""
    return parse_name_text(text).lower()


@lru_cache(maxsize=64)
def index_of(starts: tuple[int, ...], shift: int) -> memoryview:
    """The index of a range table, 65,537 items: worth keeping between the examples of a property."""
    return memoryview(array("I", build_index(starts, shift)))


def make_ranges(painted: Mapping[str, int], bits: int, forced: Iterable[str] = ()) -> Ranges:
    """Prefixes to order numbers, longer ones over shorter ones, 0 elsewhere; *forced* prefixes are boundaries too."""
    top, shift = (1 << 32, V4_SHIFT) if bits == 32 else (1 << 64, V6_SHIFT)

    def span(prefix: str) -> tuple[int, int]:
        network = ip_network(prefix)
        first = int(network.network_address) >> (0 if bits == 32 else 64)
        return first, first + (1 << (32 if bits == 32 else 64) - network.prefixlen)

    by_length = sorted(painted, key=lambda prefix: ip_network(prefix).prefixlen)
    edges = {0} | {edge for prefix in (*painted, *forced) for edge in span(prefix) if edge < top}
    kept = {edge for prefix in forced for edge in span(prefix)}
    starts, orders = array("I" if bits == 32 else "Q"), array("I")
    for edge in sorted(edges):
        order = 0
        for prefix in by_length:
            first, last = span(prefix)
            if first <= edge < last:
                order = painted[prefix]
        if not orders or orders[-1] != order or edge in kept:
            starts.append(edge)
            orders.append(order)
    return Ranges(memoryview(starts), memoryview(orders), index_of(tuple(starts), shift))


def make_table(
    orders: Mapping[str, Sequence[Tier]],
    v4: Mapping[str, str],
    v6: Mapping[str, str],
    *,
    uniform: bool = False,
    forced: Iterable[str] = (),
) -> tuple[Table, dict[str, int]]:
    """A table, and the order numbers by name. *orders* must have "default"; "peer" and "unwrap" are the marks."""
    others = [text for text in orders if text != "default"]
    tiered = [text for text in others if any(not isinstance(tier, int) for tier in orders[text])]
    plain = [text for text in others if text not in tiered]
    numbers = {"default": 0, "peer": PEER, "unwrap": UNWRAP}
    numbers |= {text: FIRST_ROW + i for i, text in enumerate((*tiered, *plain))}
    rows, steps, weights = array("I", [0]), array("H"), array("I")
    for text in ("default", "", "", *tiered, *plain):
        for tier in orders.get(text, ()) if text else ():
            for i, (datacenter, weight) in enumerate(({tier: 1} if isinstance(tier, int) else tier).items()):
                steps.append(datacenter)
                weights.append(weight | (JOINED if i else 0))
        rows.append(len(steps))
    first_plain = FIRST_ROW + len(tiered)
    del weights[rows[first_plain] :]
    forced = tuple(forced)
    table = Table(
        "world",
        make_ranges({p: numbers[o] for p, o in v4.items()}, 32, (p for p in forced if ":" not in p)),
        make_ranges({p: numbers[o] for p, o in v6.items()}, 128, (p for p in forced if ":" in p)),
        memoryview(rows),
        memoryview(steps),
        memoryview(weights),
        first_plain,
        uniform,
    )
    return table, numbers


def flatten(table: Table) -> FlatTable:
    """What the compiler would hand to `image_maps.write_maps` for *table*."""
    return FlatTable(
        table.map_name, table.v4.starts, table.v4.orders, table.v6.starts, table.v6.orders,
        table.rows, table.steps, table.weights, table.first_plain, table.uniform,
    )  # fmt: skip


def address_tail(text: str, ttl: int) -> bytes:
    """A tail of type A or AAAA."""
    address = ip_address(text)
    return write_tail(A if address.version == 4 else AAAA, ttl, address.packed)


def make_pool(*members: str | tuple[str, int], rank: int = UP, ttl: int = 60) -> Pool:
    """A pool of members, each an address, a target (with a final dot), or (either, weight)."""
    slots: dict[int, list[tuple[bytes, int, int]]] = {}
    for member in members:
        text, weight = (member, 1) if isinstance(member, str) else member
        tail = write_tail(CNAME, ttl, parse_name_text(text)) if text.endswith(".") else address_tail(text, ttl)
        slots.setdefault(int.from_bytes(tail[:2], "big"), []).append((tail, weight, key_of("member " + text)))
    return Pool(
        rank,
        ttl,
        {
            rtype: Choice(
                tuple(tail for tail, _, _ in found),
                tuple(accumulate(weight for _, weight, _ in found)),
                tuple(key for _, _, key in found),
            )
            for rtype, found in slots.items()
        },
    )


@dataclass
class Small:
    """Collects tables, services and zones, then gives a `Snapshot`."""

    datacenters: int = 3
    tables: list[Table] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    zones: list[Zone] = field(default_factory=list)
    nodes: dict[bytes, Node] = field(default_factory=dict)

    def service(
        self,
        text: str,
        table: Table,
        pools: Mapping[int, Pool],
        *,
        answers: int = 1,
        sticky: bool = False,
        all_down: int = ALL,
        fallback: Service | None = None,
        last_resort: Mapping[int, tuple[bytes, ...]] | None = None,
        ttl_min: int = 5,
    ) -> Service:
        """A service with *pools* by datacenter number."""
        pool_of = [-1] * self.datacenters
        for datacenter, pool in pools.items():
            pool_of[datacenter] = len(self.pools)
            self.pools.append(pool)
        if table not in self.tables:
            self.tables.append(table)
        service = Service(
            text, len(self.services), self.tables.index(table), answers, sticky, key_of(text),
            tuple(key_of(f"datacenter {i}") for i in range(self.datacenters)), tuple(pool_of),
            frozenset(rtype for pool in pools.values() for rtype in pool.slots),
            any(len(choice.tails) > 1 for pool in pools.values() for choice in pool.slots.values()),
            all_down, fallback, last_resort or {}, ttl_min,
        )  # fmt: skip
        self.services.append(service)
        return service

    def zone(
        self,
        apex_text: str,
        owners: Mapping[str, Service | Mapping[int, Sequence[bytes]]],
        cuts: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[str]]]] | None = None,
        *,
        ttl: int = 300,
        negative_ttl: int = 60,
        ds: bytes | None = None,
        parent: Zone | None = None,
    ) -> Zone:
        """A zone; *owners* are absolute names with a service or rdata by type, *cuts* name servers and glue addresses.

        The apex gets SOA and one NS by itself. *ds* is what the parent zone holds for this apex.
        """
        apex = name(apex_text)
        soa = name("ns." + apex_text.lstrip(".")) + name("host." + apex_text.lstrip("."))
        soa += b"".join(n.to_bytes(4, "big") for n in (1, 3600, 900, 1209600, negative_ttl))
        zone = Zone(
            apex, write_tail(SOA, ttl, soa), write_tail(SOA, min(ttl, negative_ttl), soa), parent,
            None if ds is None else Rrset(43, (write_tail(43, ttl, ds),)), len(self.zones),
        )  # fmt: skip
        self.zones.append(zone)
        rrsets: dict[bytes, dict[int, Rrset]] = {
            apex: {SOA: Rrset(SOA, (zone.soa,)), NS: Rrset(NS, (write_tail(NS, ttl, name("ns." + apex_text.lstrip("."))),))}
        }
        services: dict[bytes, Service] = {}
        for text, what in owners.items():
            owner = name(text)
            own = rrsets.setdefault(owner, {})
            if isinstance(what, Service):
                services[owner] = what
            else:
                own.update({t: Rrset(t, tuple(write_tail(t, ttl, rdata) for rdata in values)) for t, values in what.items()})
        made_cuts = {name(text): make_cut(text, *what, ttl=ttl) for text, what in (cuts or {}).items()}
        for cut in made_cuts.values():
            rrsets.setdefault(cut.name, {})
            for glue, _ in cut.glue:
                rrsets.setdefault(glue, {})
        self._grow(zone, rrsets, services, made_cuts)
        return zone

    def _grow(
        self,
        zone: Zone,
        rrsets: Mapping[bytes, Mapping[int, Rrset]],
        services: Mapping[bytes, Service],
        cuts: Mapping[bytes, Cut],
    ) -> None:
        """Nodes for all names of *zone* and the empty ones between, deepest first, so that each finds its wildcard."""
        names = {owner[start:] for owner in rrsets for start in label_starts(owner) if is_below(owner[start:], zone.apex)}
        for owner in sorted(names, key=len, reverse=True):
            cut = next((cut for cut in cuts.values() if is_below(owner, cut.name)), None)
            wildcard = self.nodes.get(b"\x01*" + owner)
            self.nodes[owner] = Node(owner, zone, rrsets.get(owner, {}), services.get(owner), cut, wildcard)

    def snapshot(self) -> Snapshot:
        """All of it."""
        deepest = max((len(label_starts(owner)) - 1 for owner in self.nodes), default=0)
        names = tuple(f"dc{i}" for i in range(self.datacenters))
        return Snapshot(
            Maps(names, tuple(self.tables), SHAPE, bytes(32)),
            Zones(dict(self.nodes), tuple(self.zones), tuple(self.services), self.plans(), deepest, SHAPE, SHAPE),
            Choices(tuple(self.pools), SHAPE),
        )

    def plans(self) -> tuple[PoolPlan, ...]:
        """Plans of the same number as pools; nothing in the data plane reads them."""
        return tuple(PoolPlan("service", f"dc{i}", (), 500_000, 5, 60) for i in range(len(self.pools)))


def make_cut(text: str, servers: Sequence[str], glue: Mapping[str, Sequence[str]], *, ttl: int = 300) -> Cut:
    """A delegation without DS."""
    ns = Rrset(NS, tuple(write_tail(NS, ttl, name(server)) for server in servers))
    return Cut(
        name(text),
        ns,
        None,
        tuple((name(g), tuple(address_tail(a, ttl) for a in addresses)) for g, addresses in glue.items()),
    )


def query_of(
    qname: bytes | str,
    qtype: int = A,
    *,
    flags: int = 0x0100,
    ident: int = 0x2B67,
    opt: bytes | None = None,
    qclass: int = 1,
) -> bytes:
    """A query's octets; *opt* the whole OPT record, if any."""
    wire = parse_name_text(qname) if isinstance(qname, str) else qname
    counts = (1, 0, 0, 0 if opt is None else 1)
    head = b"".join(n.to_bytes(2, "big") for n in (ident, flags, *counts))
    return head + wire + qtype.to_bytes(2, "big") + qclass.to_bytes(2, "big") + (opt or b"")


def opt_of(options: bytes = b"", *, size: int = 1232, flags: int = 0) -> bytes:
    """An OPT record."""
    return b"\x00\x00\x29" + size.to_bytes(2, "big") + flags.to_bytes(4, "big") + len(options).to_bytes(2, "big") + options


def subnet_of(text: str) -> bytes:
    """A client subnet option for a prefix."""
    network = ip_network(text, strict=False)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    body = (1 if network.version == 4 else 2).to_bytes(2, "big") + bytes((network.prefixlen, 0)) + octets
    return b"\x00\x08" + len(body).to_bytes(2, "big") + body


def peer_of(text: str) -> bytes:
    """An address as `answer` takes it."""
    return ip_address(text).packed

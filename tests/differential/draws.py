"""Random snapshots, made by hand: every kind of service, pool, order, record and delegation, in any mixture.

Knows the shapes of `geodns.snapshot`, also those that no compiler would write. Everything comes from a `random.Random`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.snapshots import EMBEDDING, Small, Tier, address_tail, make_pool, make_table, name

from geodns.snapshot import (
    ADDRESSES,
    ALL,
    DEAD,
    DRAINED,
    FALLBACK,
    LIVE,
    NONE,
    SERVFAIL,
    UP,
    Choice,
    Cut,
    Pool,
    Rrset,
    Service,
    Snapshot,
    Table,
    Zone,
)
from geodns.wire.constants import CNAME, DS, MX, NS, TXT, A
from geodns.wire.name import parse_name_text
from geodns.wire.rdata import write_tail

OWNERS = (
    "www",
    "a",
    "b",
    "c",
    "d",
    "a.b",
    "x.y.z",
    "*",
    "*.w",
    "*.a.b",
    "e",
    "f",
    "g",
    "h",
    "i",
    "x",
    "deep.er.and.deep.er",
)
TARGETS = ("a.z.test.", "b.z.test.", "C.Z.Test.", "www.z.test.", "no.z.test.", "q.w.z.test.", "edge.example.", "a.n.z.test.",
           "x.sub.z.test.", "d.z.test.", "e.z.test.", "f.z.test.", "g.z.test.", "h.z.test.", "i.z.test.")  # fmt: skip
V4 = ("128.0.0.0/1", "20.0.0.0/8", "20.1.0.0/16", "20.1.2.0/24", "200.0.0.0/8", "192.0.2.0/25", "30.0.0.1/32")
V6 = ("2001:db8::/32", "2001:db8:1::/48", "2a00::/12", "2001:db8::/64", "fc00::/8", "8000::/1")


def draw_tables(chance: random.Random, datacenters: int) -> list[Table]:
    """Up to three tables with plain and weighted orders, holes and marks."""
    return [draw_table(chance, datacenters) for _ in range(chance.randint(1, 3))]


def draw_table(chance: random.Random, datacenters: int) -> Table:
    everybody = list(range(datacenters))
    orders: dict[str, list[Tier]] = {"default": draw_order(chance, everybody, tiers=False)}
    for i in range(chance.randint(0, 5)):
        orders[f"o{i}"] = draw_order(chance, everybody, tiers=chance.random() < 0.5)
    kinds = [*orders, "peer"]
    v4 = {prefix: chance.choice(kinds) for prefix in chance.sample(V4, chance.randint(0, len(V4)))}
    v6 = {prefix: chance.choice(kinds) for prefix in chance.sample(V6, chance.randint(0, len(V6)))}
    v4 |= {"10.0.0.0/8": "peer", "127.0.0.0/8": "peer"} if chance.random() < 0.7 else {}
    v6 |= dict.fromkeys(EMBEDDING, "unwrap") if chance.random() < 0.8 else {}
    if chance.random() < 0.2:
        return make_table({"default": orders["default"]}, {}, {}, uniform=True)[0]
    return make_table(orders, v4, v6)[0]


def draw_order(chance: random.Random, datacenters: list[int], *, tiers: bool) -> list[Tier]:
    left = chance.sample(datacenters, chance.choice((len(datacenters), chance.randint(0, len(datacenters)))))
    order: list[Tier] = []
    while left:
        size = chance.randint(2, 4) if tiers and len(left) > 1 and chance.random() < 0.6 else 1
        tier, left = left[:size], left[size:]
        order.append(tier[0] if len(tier) == 1 else {one: chance.choice((1, 1, 2, 70, 65535)) for one in tier})
    return order


def draw_pool(chance: random.Random, *, targets: bool) -> Pool:
    """A pool of addresses or of targets, of any rank; a few of hundreds of members."""
    rank = chance.choice((UP, UP, UP, LIVE, DRAINED, DEAD, DEAD))
    ttl = chance.choice((0, 5, 30, 60, 3600))
    count = chance.choice((1, 1, 1, 2, 3, 4, 7, 16, 17, 20, 40, 300))
    weight = chance.choice((1, 3, 65535))
    if targets:
        members = [(chance.choice(TARGETS), chance.randint(1, weight)) for _ in range(min(count, 4))]
        return make_pool(*members, rank=rank, ttl=ttl)
    family = chance.choice(("192.0.2.", "192.0.2.", "2001:db8::", "", ""))
    texts = [(family or chance.choice(("192.0.2.", "2001:db8::"))) + str(i % 200) for i in range(count)]
    pool = make_pool(*((text, chance.randint(1, weight)) for text in texts), rank=rank, ttl=ttl)
    return spoil_weights(chance, pool) if chance.random() < 0.2 else pool


def spoil_weights(chance: random.Random, pool: Pool) -> Pool:
    """Members of weight 0 among the others: the compiler leaves them out, the data plane need not rely on it."""
    slots = {}
    for rtype, choice in pool.slots.items():
        totals, at = [], 0
        for _ in choice.tails:
            at += chance.choice((0, 1, 5))
            totals.append(at)
        slots[rtype] = Choice(choice.tails, (*totals[:-1], at + 1), choice.keys)
    return Pool(pool.rank, pool.ttl, slots)


def draw_services(chance: random.Random, small: Small, tables: Sequence[Table]) -> list[Service]:
    """Services of every kind; those that fall back do so on one before them."""
    services: list[Service] = []
    for i in range(chance.randint(1, 8)):
        pools = {
            number: draw_pool(chance, targets=chance.random() < 0.15)
            for number in range(small.datacenters)
            if chance.random() < 0.7
        }
        if chance.random() < 0.3:
            pools = {number: Pool(DEAD, pool.ttl, pool.slots) for number, pool in pools.items()}
        all_down = chance.choice((ALL, ALL, NONE, SERVFAIL, ADDRESSES, FALLBACK if services else ALL))
        last = (address_tail("198.51.100.1", 7), address_tail("198.51.100.2", 7))
        services.append(
            small.service(
                f"s{i}",
                chance.choice(tables),
                pools,
                answers=chance.choice((1, 1, 1, 0, 2, 3, 10)),
                sticky=chance.random() < 0.3,
                all_down=all_down,
                fallback=chance.choice(services) if all_down == FALLBACK else None,
                last_resort={A: last[: chance.randint(1, 2)]} if all_down == ADDRESSES else None,
                ttl_min=chance.choice((0, 5, 40)),
            )
        )
    return services


Owner = Service | Mapping[int, Sequence[bytes]]


def draw_owners(chance: random.Random, apex: str, services: Sequence[Service]) -> dict[str, Owner]:
    """Services, aliases, ordinary records and empty names."""
    owners: dict[str, Owner] = {}
    for label in chance.sample(OWNERS, chance.randint(1, len(OWNERS))):
        kind = chance.random()
        if kind < 0.45:
            owners[f"{label}.{apex}"] = chance.choice(services)
        elif kind < 0.7:
            owners[f"{label}.{apex}"] = {CNAME: [parse_name_text(chance.choice(TARGETS))]}
        else:
            records: dict[int, list[bytes]] = {
                A: [bytes((198, 51, 100, i)) for i in range(chance.choice((1, 2, 90)))],
                TXT: [b"\xff" + b"x" * 255] * chance.choice((1, 2, 6)),
                MX: [b"\0\x0a" + name("www.z.test.")],
            }
            owners[f"{label}.{apex}"] = {
                rtype: records[rtype] for rtype in chance.sample(list(records), chance.randint(1, 3))
            }
    return owners


def draw_snapshot(seed: int) -> Snapshot:
    """The snapshot of *seed*: one to three zones, one inside of another, with delegations."""
    chance = random.Random(seed)
    small = Small(chance.randint(1, 6))
    services = draw_services(chance, small, draw_tables(chance, small.datacenters))
    parent: Zone | None = None
    if chance.random() < 0.1:
        parent = small.zone(".", {"www.": chance.choice(services)})
    zone = small.zone(
        "z.test.",
        draw_owners(chance, "z.test.", services),
        {"sub.z.test.": draw_cut(chance), "*.del.z.test.": (["ns.other."], {})} if chance.random() < 0.8 else {},
        negative_ttl=chance.choice((5, 60, 900)),
        parent=parent,
    )
    if chance.random() < 0.6:
        apex, ds = ("n.z.test.", b"\x30\x39\x0d\x02" + bytes(32)) if chance.random() < 0.8 else ("n.sub.z.test.", None)
        small.zone(apex, draw_owners(chance, apex, services), parent=zone, ds=ds if chance.random() < 0.5 else None)
    if chance.random() < 0.3:
        small.zone("*.z.test." if chance.random() < 0.3 else "other.", draw_owners(chance, "other.", services))
    spoil_cuts(chance, small)
    return small.snapshot()


def draw_cut(chance: random.Random) -> tuple[list[str], dict[str, list[str]]]:
    """Name servers and glue, some of it for names that are none of the name servers."""
    servers = ["ns.sub.z.test.", "ns2.sub.z.test.", "ns.test.", "n" * 60 + ".example."][: chance.randint(1, 4)]
    glue = {"ns.sub.z.test.": ["192.0.2.54", "2001:db8::54"], "other.sub.z.test.": ["192.0.2.55"]}
    return servers, {owner: addresses for owner, addresses in glue.items() if chance.random() < 0.8}


def spoil_cuts(chance: random.Random, small: Small) -> None:
    """Name servers in capital letters, and DS."""
    cuts: dict[bytes, Cut] = {}
    for owner, node in small.nodes.items():
        if node.cut is None:
            continue
        if node.cut.name not in cuts:
            ns = node.cut.ns
            if chance.random() < 0.5:
                ns = Rrset(NS, tuple(tail[:10] + tail[10:].upper() for tail in ns.tails))
            ds = Rrset(DS, (write_tail(DS, 60, b"\x30\x39\x0d\x02" + bytes(32)),)) if chance.random() < 0.5 else None
            cuts[node.cut.name] = replace(node.cut, ns=ns, ds=ds)
        small.nodes[owner] = replace(node, cut=cuts[node.cut.name])
    for owner, node in small.nodes.items():
        if node.wildcard is not None:
            small.nodes[owner] = replace(node, wildcard=small.nodes[node.wildcard.name])

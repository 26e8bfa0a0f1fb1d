"""The tables: names, zones, cuts and services as the data plane reads them.

Knows what is served of a draft and what is not. Expects drafts without errors. Knows nothing of complaints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from ...snapshot import Cut, Node, PoolPlan, Rrset, Service, Zone, Zones
from ...wire.name import count_labels
from ...wire.rdata import rdata_of
from ...wire.rdata_text import TEXTS_WANTED
from .drafts import Draft
from .records import ADDRESS_TYPES, CNAME, DNAME, DS, NS, SOA, WILDCARD, Record
from .view import View, find_cut, find_glue, find_parent, find_records, find_zone, kept_at_cut, served

_LOWERED = frozenset({NS, CNAME, DNAME})  # the data plane compares these names, and compares in lower case
_IN = b"\x00\x01"


def build_graph(view: View, services: tuple[Service, ...], pools: tuple[PoolPlan, ...], maps_shape: bytes) -> Zones:
    """The `Zones` of all drafts."""
    by_name = {service.name: service for service in services}
    zones = _build_apexes(view)
    names: dict[bytes, Node] = {}
    for zone in zones.values():
        draft = view.drafts[zone.apex]
        names.update(_build_nodes(view, draft, zone, by_name))
    deepest = max((count_labels(name) for name in names), default=0)
    texts = write_texts(rrset for node in names.values() for rrset in node.rrsets.values())
    return Zones(names, tuple(zones.values()), services, pools, deepest, maps_shape, shape_pools(pools), texts)


def write_texts(rrsets: Iterable[Rrset]) -> dict[tuple[int, bytes], str]:
    """Presentation form, by type and rdata, of what stands in *rrsets* and the data plane cannot write for PowerDNS."""
    texts = {}
    for rrset in rrsets:
        if rrset.rtype in TEXTS_WANTED:
            rtype = dns.rdatatype.RdataType.make(rrset.rtype)
            for rdata in map(rdata_of, rrset.tails):
                texts[rrset.rtype, rdata] = dns.rdata.from_wire(dns.rdataclass.IN, rtype, rdata, 0, len(rdata)).to_text()
    return texts


def shape_pools(pools: Iterable[PoolPlan]) -> bytes:
    """The digest of pools and their members by number, so that choices built on others are refused."""
    digest = hashlib.blake2b(digest_size=16)
    for plan in pools:
        digest.update(f"{plan.service}/{plan.datacenter}:{len(plan.members)}\n".encode())
        for member in plan.members:
            digest.update(b"%d %d %d:" % (member.rtype, member.weight, len(member.rdata)) + member.rdata)
    return digest.digest()


def write_tail(record: Record) -> bytes:
    """The record from type to rdata. Rdata is never compressed."""
    rdata = record.rdata.to_wire() or b""
    if record.rtype in _LOWERED:
        rdata = rdata.lower()
    head = record.rtype.to_bytes(2, "big") + _IN + record.ttl.to_bytes(4, "big")
    return head + len(rdata).to_bytes(2, "big") + rdata


def build_rrset(rtype: int, records: Iterable[Record]) -> Rrset:
    """The records of one type at one owner, in their order."""
    return Rrset(rtype, tuple(map(write_tail, records)))


def _build_apexes(view: View) -> dict[bytes, Zone]:
    zones: dict[bytes, Zone] = {}
    for apex, draft in view.drafts.items():
        (record,) = draft.rrsets[apex][SOA]
        soa = write_tail(record)
        # RFC 2308 5: the TTL of a negative answer is the lower of the SOA's own and its MINIMUM, the last field.
        lowest = min(soa[4:8], soa[-4:])
        above = find_parent(view.drafts, draft)
        # Below a delegation of that zone it has no say in our DS.
        ds = _one(above, apex, DS) if above is not None and find_cut(view, above, apex) in (None, apex) else None
        parent = None if above is None else zones[above.apex]
        zones[apex] = Zone(apex, soa, soa[:4] + lowest + soa[8:], parent, ds, len(zones))
    return zones


def _one(draft: Draft, owner: bytes, rtype: int) -> Rrset | None:
    records = find_records(draft, owner).get(rtype)
    return build_rrset(rtype, records) if records else None


def _build_nodes(view: View, draft: Draft, zone: Zone, services: Mapping[str, Service]) -> dict[bytes, Node]:
    rrsets: dict[bytes, dict[int, Rrset]] = {name: {} for name in view.existing[draft.apex]}
    for owner, found in served(view, draft):
        rrsets[owner] = {rtype: build_rrset(rtype, records) for rtype, records in found.items() if records}
    cuts = _build_cuts(view, draft)
    rrsets.update(_delegated(view, draft))
    return _link(draft, zone, rrsets, cuts, services)


def _delegated(view: View, draft: Draft) -> dict[bytes, dict[int, Rrset]]:
    """Names at and below cuts that exist, with what is kept there: the delegation and glue."""
    glue = find_glue(view, draft)
    kept: dict[bytes, dict[int, Rrset]] = {}
    for owner in (*draft.rrsets, *draft.services, *view.inner[draft.apex]):
        cut = find_cut(view, draft, owner)
        if cut is None:
            continue
        name = owner
        if find_zone(view.drafts, owner) is draft:
            types = kept_at_cut(owner, cut, glue)
            found = find_records(draft, owner).items()
            kept[owner] = {rtype: build_rrset(rtype, records) for rtype, records in found if rtype in types and records}
        while name != cut:
            name = name[1 + name[0] :]
            kept.setdefault(name, {})
    return {name: rrsets for name, rrsets in kept.items() if find_zone(view.drafts, name) is draft}


def _build_cuts(view: View, draft: Draft) -> dict[bytes, Cut]:
    cuts = {}
    glue = find_glue(view, draft)
    for name in view.cuts[draft.apex]:
        ns = _one(draft, name, NS)
        assert ns is not None  # a cut is where NS stand
        targets = dict.fromkeys(record.target for record in draft.rrsets[name][NS])
        addresses = [
            (target, rrset.tails)
            for target in targets
            if target in glue
            for rtype in sorted(ADDRESS_TYPES)
            if (rrset := _one(draft, target, rtype))
        ]
        cuts[name] = Cut(name, ns, _one(draft, name, DS), tuple(addresses))
    return cuts


def _link(
    draft: Draft,
    zone: Zone,
    rrsets: Mapping[bytes, dict[int, Rrset]],
    cuts: Mapping[bytes, Cut],
    services: Mapping[str, Service],
) -> dict[bytes, Node]:
    """Nodes, deepest first, since a node holds its wildcard child."""
    nodes: dict[bytes, Node] = {}
    empty: dict[int, Rrset] = {}
    for name in sorted(rrsets, key=len, reverse=True):
        cut, at = None, 0
        while cuts and cut is None and name[at:] != zone.apex:
            cut = cuts.get(name[at:])
            at += name[at] + 1
        use = draft.services.get(name) if cut is None else None
        wildcard = nodes.get(WILDCARD + name) if cut is None else None
        service = None if use is None else services[use.service]
        nodes[name] = Node(name, zone, rrsets[name] or empty, service, cut, wildcard)
    return nodes

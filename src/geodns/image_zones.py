"""The zones block: `Zones` written flat and read back, in slices that the event loop does not notice.

Knows its sections and what makes them sound. Knows nothing of configuration, master files or how names were found. What
passed `read_zones` is trusted by the data plane without further tests, so every index and name is checked here.

Nodes stand deepest first, so that a node's wildcard child is before it; zones stand parents first, services fallbacks
first. Equal records are stored once, and so are equal sets of records. NONE is "no such index".
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterable, Sequence

from .image import ZONES_SECTIONS, Kind, write_block
from .image_zones_read import (
    CUT,
    GLUE,
    MEMBER,
    NO_POOL,
    NODE,
    NONE,
    POOL,
    RRSET,
    SERVICE,
    SERVICE_NONE,
    TEXT,
    TYPE_BITS,
    ZONE,
    read_zones,
)
from .snapshot import Node, Rrset, Zones

__all__ = ["read_zones", "write_zones"]


class _Blob:
    """Octets under construction; equal pieces are stored once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: dict[bytes, int] = {}
        self.length = 0

    def put(self, octets: bytes) -> tuple[int, int]:
        """Where *octets* begin, and their length."""
        at = self.places.get(octets)
        if at is None:
            at = self.places[octets] = self.length
            self.parts.append(octets)
            self.length += len(octets)
        return at, len(octets)

    def put_text(self, text: str) -> tuple[int, int]:
        return self.put(text.encode())


class _Rrsets:
    """The section of rrsets; equal runs are stored once."""

    def __init__(self, blob: _Blob) -> None:
        self.blob = blob
        self.octets = bytearray()
        self.runs: dict[tuple[tuple[int, int], ...], int] = {}

    def put(self, rrsets: Iterable[tuple[int, Sequence[bytes]]]) -> tuple[int, int]:
        """Index of the first rrset of the run, by rising type, and their count."""
        entries = []
        for rtype, tails in sorted(rrsets):
            at, length = self.blob.put(b"".join(tails))
            entries.append((rtype, len(tails), at, length))
        key = tuple((rtype, at) for rtype, _, at, _ in entries)
        first = self.runs.get(key)
        if first is None:
            first = self.runs[key] = len(self.octets) // RRSET.size
            for entry in entries:
                self.octets += RRSET.pack(*entry)
        return first, len(entries)

    def put_one(self, rrset: Rrset | None) -> int:
        return NONE if rrset is None else self.put([(rrset.rtype, rrset.tails)])[0]


def write_zones(zones: Zones) -> bytes:
    """The block that `read_zones` turns into an equal value.

    Expects zones with parents before children and services with fallbacks before those who fall back on them.
    """
    blob = _Blob()
    rrsets = _Rrsets(blob)
    about = json.dumps({"maps_shape": zones.maps_shape.hex()}).encode()
    nodes, cuts, glue = _write_nodes(zones, blob, rrsets)
    services, pool_of, datacenter_keys = _write_services(zones, blob, rrsets)
    pools, members = _write_pools(zones, blob)
    texts = _write_texts(zones, blob)
    parts: dict[str, bytes | bytearray | memoryview] = {
        "about": about,
        "nodes": nodes,
        "zones": _write_apexes(zones, blob, rrsets),
        "cuts": cuts,
        "glue": glue,
        "services": services,
        "pool_of": memoryview(pool_of).cast("B"),
        "datacenter_keys": memoryview(datacenter_keys).cast("B"),
        "pools": pools,
        "members": members,
        "rrsets": rrsets.octets,
        "blob": b"".join(blob.parts),
        "texts": texts,
    }
    sections = [(i, struct.calcsize("=" + form), parts[label]) for i, (label, form) in ZONES_SECTIONS.items()]
    return write_block(Kind.ZONES, zones.shape, sections)


def _depth(node: Node) -> tuple[int, bytes]:
    """Sorts deepest first, then by name."""
    name, at, labels = node.name, 0, 0
    while name[at]:
        at += name[at] + 1
        labels += 1
    return -labels, name


def _write_nodes(zones: Zones, blob: _Blob, rrsets: _Rrsets) -> tuple[bytearray, bytearray, bytearray]:
    nodes, cuts, glue = bytearray(), bytearray(), bytearray()
    keyed = sorted((*_depth(node), node) for node in zones.names.values()) if zones.names else []
    number = {name: i for i, (_, name, _) in enumerate(keyed)}
    cut_number: dict[bytes, int] = {}
    for labels, name, node in keyed:
        cut = node.cut
        if cut is not None and cut.name not in cut_number:
            cut_number[cut.name] = len(cut_number)
            first = len(glue) // GLUE.size
            for owner, tails in cut.glue:
                glue += GLUE.pack(*blob.put(owner), *blob.put(b"".join(tails)))
            cuts += CUT.pack(*blob.put(cut.name), rrsets.put_one(cut.ns), rrsets.put_one(cut.ds), first, len(cut.glue))
        nodes += NODE.pack(
            *blob.put(name),
            -labels,
            SERVICE_NONE if node.service is None else node.service.number,
            node.zone.number,
            NONE if node.wildcard is None else number[node.wildcard.name],
            NONE if cut is None else cut_number[cut.name],
            *rrsets.put((rrset.rtype, rrset.tails) for rrset in node.rrsets.values()),
        )
    return nodes, cuts, glue


def _write_apexes(zones: Zones, blob: _Blob, rrsets: _Rrsets) -> bytearray:
    octets = bytearray()
    for zone in zones.zones:
        octets += ZONE.pack(
            *blob.put(zone.apex),
            *blob.put(zone.soa),
            *blob.put(zone.negative_soa),
            NONE if zone.parent is None else zone.parent.number,
            rrsets.put_one(zone.parent_ds),
        )
    return octets


def _write_services(zones: Zones, blob: _Blob, rrsets: _Rrsets) -> tuple[bytearray, array[int], array[int]]:
    octets, pool_of, datacenter_keys = bytearray(), array("H"), array("Q")
    for service in zones.services:
        octets += SERVICE.pack(
            *blob.put_text(service.name),
            service.table,
            service.answers,
            service.sticky | service.choice << 1,
            service.all_down,
            NONE if service.fallback is None else service.fallback.number,
            *rrsets.put(service.last_resort.items()),
            sum(TYPE_BITS[rtype] for rtype in service.types),
            service.ttl_min,
            service.key,
        )
        pool_of.extend(NO_POOL if pool < 0 else pool for pool in service.pool_of)
        datacenter_keys = datacenter_keys or array("Q", service.datacenter_keys)
    return octets, pool_of, datacenter_keys


def _write_pools(zones: Zones, blob: _Blob) -> tuple[bytearray, bytearray]:
    pools, members = bytearray(), bytearray()
    for plan in zones.pools:
        first = len(members) // MEMBER.size
        for member in plan.members:
            rdata, length = blob.put(member.rdata)
            text, text_length = blob.put_text(member.text)
            members += MEMBER.pack(
                rdata, text, member.rtype, length, text_length, member.weight, member.drained, 0, member.key
            )
        names = (*blob.put_text(plan.service), *blob.put_text(plan.datacenter))
        pools += POOL.pack(*names, first, len(plan.members), plan.up_threshold, plan.ttl_min, plan.ttl_max)
    return pools, members


def _write_texts(zones: Zones, blob: _Blob) -> bytearray:
    octets = bytearray()
    for (rtype, rdata), text in sorted(zones.texts.items()):
        octets += TEXT.pack(rtype, *blob.put(rdata), *blob.put_text(text))
    return octets

"""Reading the zones block (see `image_zones`): every index and name checked, in slices of under two milliseconds.

Knows the layout of each section. Knows nothing of how the block was written or what is answered from it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from .errors import ImageError
from .image import ZONES_SECTIONS, Block, Kind, open_in_slices
from .snapshot import (
    ADDRESSES,
    FALLBACK,
    Cut,
    Member,
    Node,
    PoolPlan,
    Rrset,
    Service,
    Zone,
    Zones,
)

NONE = 0xFFFF_FFFF
NO_POOL = SERVICE_NONE = 0xFFFF
TYPE_BITS = {1: 1, 28: 2, 5: 4}  # A, AAAA, CNAME in `Service.types`

NODE = struct.Struct("=IBBHIIIII")  # name, its length, labels, service, zone, wildcard, cut, first rrset, count
RRSET = struct.Struct("=HHII")  # type, count, tails, their length
ZONE = struct.Struct("=IIIIIIII")  # apex, SOA, negative SOA (each with length), parent, DS that the parent holds
CUT = struct.Struct("=IIIIII")  # name, length, NS, DS, first glue, count
GLUE = struct.Struct("=IIII")  # owner, length, tails, length
# name, length, table, answers, flags (1 sticky, 2 choice), all_down, fallback, last resort (first, count), types, ttl, key
SERVICE = struct.Struct("=IIIIIIIIIIIQ")
POOL = struct.Struct("=IIIIIIIII")  # service, length, datacenter, length, first member, count, threshold, TTL min, max
MEMBER = struct.Struct("=IIHHHHIIQ")  # rdata, text, type, their lengths, weight, drained, 0, sticky key
TEXT = struct.Struct("=IIIII")  # type, rdata, its length, text, its length
ZONES_SECTIONS.update(
    {
        1: ("about", "B"),  # JSON: the shape of the maps
        2: ("nodes", NODE.format.lstrip("=")),
        3: ("rrsets", RRSET.format.lstrip("=")),
        4: ("zones", ZONE.format.lstrip("=")),
        5: ("cuts", CUT.format.lstrip("=")),
        6: ("glue", GLUE.format.lstrip("=")),
        7: ("services", SERVICE.format.lstrip("=")),
        8: ("pool_of", "H"),  # services x datacenters
        9: ("datacenter_keys", "Q"),
        10: ("pools", POOL.format.lstrip("=")),
        11: ("members", MEMBER.format.lstrip("=")),
        12: ("blob", "B"),  # names, tails, texts
        13: ("texts", TEXT.format.lstrip("=")),
    }
)
_T = TypeVar("_T")
_SLICE = 256  # items between two yields: under a millisecond
_TAIL = struct.Struct("!HHIH")  # type, class, TTL, length of rdata
_MAX_TTL = (1 << 31) - 1  # RFC 2181 8
_NO_RRSETS: Mapping[int, Rrset] = {}
_UNSOUND = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, struct.error)


class _Parts(NamedTuple):
    """What nodes refer to."""

    blob: bytes
    rrsets: Sequence[Rrset]
    zones: Sequence[Zone]
    cuts: Sequence[Cut]
    services: Sequence[Service]


def read_zones(octets: bytes, name: str) -> Generator[None, None, Zones]:
    """The `Zones` in *octets*, as the generator's return value; *name* stands in the errors.

    It yields at least every two milliseconds of work. The caller should hold the garbage collector off until it is
    through (and `gc.freeze()` then): one full collection among 100,000 names takes far longer than a slice.
    Raises ImageError for whatever is unsound.
    """
    block = yield from open_in_slices(octets, Kind.ZONES, name)
    try:
        return (yield from _read(block))
    except _UNSOUND as error:
        raise ImageError(f"{name}: unsound: {error!r}") from error


def _read(block: Block) -> Generator[None, None, Zones]:
    sections, blob = block.sections, bytes(block.sections["blob"])
    maps_shape = bytes.fromhex(json.loads(bytes(sections["about"]))["maps_shape"])
    if len(maps_shape) != len(block.shape):
        raise ValueError("the shape of the maps is no digest")
    rrsets = yield from _read_rrsets(sections["rrsets"], blob)
    zones = yield from _read_apexes(sections["zones"], blob, rrsets)
    cuts = yield from _read_cuts(sections, blob, rrsets)
    pools = yield from _read_pools(sections, blob)
    services = yield from _read_services(sections, blob, rrsets, pools)
    parts = _Parts(blob, rrsets, zones, cuts, services)
    names, deepest = yield from _read_nodes(sections["nodes"], parts)
    yield from _check_names(names, zones)
    texts = yield from _read_texts(sections["texts"], blob)
    return Zones(names, tuple(zones), tuple(services), tuple(pools), deepest, maps_shape, block.shape, texts)


def _piece(blob: bytes, at: int, length: int) -> bytes:
    piece = blob[at : at + length]
    if len(piece) != length:
        raise ValueError(f"{length} octets at {at} reach past the end")
    return piece


def _some(items: Sequence[_T], first: int, count: int) -> Sequence[_T]:
    found = items[first : first + count]
    if len(found) != count:
        raise ValueError(f"{count} items from {first}, there are {len(items)}")
    return found


def _split_tails(octets: bytes, rtype: int) -> tuple[bytes, ...]:
    """The records in *octets*, each from type to rdata; all of *rtype* and class IN."""
    tails, at = [], 0
    while at < len(octets):
        found, rclass, ttl, length = _TAIL.unpack_from(octets, at)
        end = at + _TAIL.size + length
        if found != rtype or rclass != 1 or ttl > _MAX_TTL or end > len(octets):
            raise ValueError(f"a damaged record of type {rtype}")
        tails.append(octets[at:end])
        at = end
    if not tails:
        raise ValueError(f"no record of type {rtype}")
    return tuple(tails)


def _check_name(name: bytes, suffix: bytes) -> int:
    """How many labels a name in lower-case wire form has; it must be at or below *suffix*."""
    at = labels = 0
    boundary, below = len(name) - len(suffix), False
    while length := name[at]:
        below |= at == boundary
        if length > 63:
            raise ValueError(f"label of {length} octets in {name!r}")
        at += length + 1
        labels += 1
    below |= at == boundary
    if at + 1 != len(name) or at > 254 or not below or not name.endswith(suffix) or name != name.lower():
        raise ValueError(f"{name!r} is no name below {suffix!r}")
    return labels


def _read_rrsets(section: memoryview, blob: bytes) -> Generator[None, None, list[Rrset]]:
    rrsets: list[Rrset] = []
    for at in range(0, len(section), _SLICE * RRSET.size):
        for rtype, count, where, length in RRSET.iter_unpack(section[at : at + _SLICE * RRSET.size]):
            rrset = Rrset(rtype, _split_tails(_piece(blob, where, length), rtype))
            if len(rrset.tails) != count:
                raise ValueError(f"{len(rrset.tails)} records of type {rtype}, expected {count}")
            rrsets.append(rrset)
        yield
    return rrsets


def _read_apexes(section: memoryview, blob: bytes, rrsets: Sequence[Rrset]) -> Generator[None, None, list[Zone]]:
    zones: list[Zone] = []
    for apex, apex_length, soa, soa_length, negative, negative_length, parent, ds in ZONE.iter_unpack(section):
        name = _piece(blob, apex, apex_length)
        above = None if parent == NONE else zones[parent]
        _check_name(name, b"\0" if above is None else above.apex)
        (soa_tail,) = _split_tails(_piece(blob, soa, soa_length), 6)
        (negative_tail,) = _split_tails(_piece(blob, negative, negative_length), 6)
        zones.append(Zone(name, soa_tail, negative_tail, above, _one(rrsets, ds, 43), len(zones)))
        if len(zones) % _SLICE == 0:
            yield
    return zones


def _one(rrsets: Sequence[Rrset], index: int, rtype: int) -> Rrset | None:
    if index == NONE:
        return None
    if rrsets[index].rtype != rtype:
        raise ValueError(f"type {rrsets[index].rtype} where {rtype} belongs")
    return rrsets[index]


def _read_cuts(sections: Mapping[str, memoryview], blob: bytes, rrsets: Sequence[Rrset]) -> Generator[None, None, list[Cut]]:
    glue = []
    for i, (owner, length, tails, tails_length) in enumerate(GLUE.iter_unpack(sections["glue"])):
        name, octets = _piece(blob, owner, length), _piece(blob, tails, tails_length)
        _check_name(name, b"\0")
        glue.append((name, _split_tails(octets, _TAIL.unpack_from(octets)[0])))
        if i % _SLICE == 0:
            yield
    cuts = []
    for i, (name_at, length, ns, ds, first, count) in enumerate(CUT.iter_unpack(sections["cuts"])):
        name, servers = _piece(blob, name_at, length), _one(rrsets, ns, 2)
        _check_name(name, b"\0")
        if servers is None:
            raise ValueError("a cut without name servers")
        cuts.append(Cut(name, servers, _one(rrsets, ds, 43), tuple(_some(glue, first, count))))
        if i % _SLICE == 0:
            yield
    return cuts


def _read_pools(sections: Mapping[str, memoryview], blob: bytes) -> Generator[None, None, list[PoolPlan]]:
    members = []
    for i, entry in enumerate(MEMBER.iter_unpack(sections["members"])):
        rdata, text, rtype, length, text_length, weight, drained, _, key = entry
        octets = _piece(blob, rdata, length)
        if rtype == 5:
            _check_name(octets, b"\0")
        elif {1: 4, 28: 16}.get(rtype) != length:
            raise ValueError(f"a member of type {rtype} and {length} octets")
        members.append(Member(rtype, octets, weight, key, bool(drained), _piece(blob, text, text_length).decode()))
        if i % _SLICE == 0:
            yield
    pools = []
    for service, length, datacenter, datacenter_length, first, count, *rest in POOL.iter_unpack(sections["pools"]):
        who, where = _piece(blob, service, length).decode(), _piece(blob, datacenter, datacenter_length).decode()
        plan = PoolPlan(who, where, tuple(_some(members, first, count)), *rest)
        types = {member.rtype for member in plan.members}
        if not types or (5 in types and len(types) > 1) or not plan.ttl_min <= plan.ttl_max <= _MAX_TTL:
            raise ValueError(f"pool {who}/{where} mixes types, is empty or has no TTL")
        pools.append(plan)
        if len(pools) % _SLICE == 0:
            yield
    return pools


def _read_services(
    sections: Mapping[str, memoryview], blob: bytes, rrsets: Sequence[Rrset], pools: Sequence[PoolPlan]
) -> Generator[None, None, list[Service]]:
    services: list[Service] = []
    keys, all_pool_of = tuple(sections["datacenter_keys"]), sections["pool_of"]
    for entry in SERVICE.iter_unpack(sections["services"]):
        at, length, table, answers, flags, all_down, fallback, first, count, types, ttl_min, key = entry
        name, number = _piece(blob, at, length).decode(), len(services)
        pool_of = tuple([-1 if p == NO_POOL else p for p in _some(all_pool_of, number * len(keys), len(keys))])
        plans = [pools[pool] for pool in pool_of if pool >= 0]
        found = frozenset(member.rtype for plan in plans for member in plan.members)
        if any(plan.service != name for plan in plans) or sum(TYPE_BITS[rtype] for rtype in found) != types:
            raise ValueError(f"service {name} has pools of another or other types than its pools")
        if all_down > ADDRESSES or (all_down == FALLBACK) != (fallback != NONE) or ttl_min > _MAX_TTL or flags > 3:
            raise ValueError(f"service {name} is damaged")
        other = None if fallback == NONE else services[fallback]
        last = {rrset.rtype: rrset.tails for rrset in _some(rrsets, first, count)}
        sticky, choice = bool(flags & 1), bool(flags & 2)
        services.append(
            Service(name, number, table, answers, sticky, key, keys, pool_of, found, choice, all_down, other, last, ttl_min)
        )
        yield
    return services


def _read_nodes(section: memoryview, parts: _Parts) -> Generator[None, None, tuple[dict[bytes, Node], int]]:
    blob, rrsets, zones, cuts, services = parts
    names: dict[bytes, Node] = {}
    nodes: list[Node] = []
    # Nodes with equal records share them, by the index of the first. A dict here would take milliseconds to be dropped.
    runs: list[Mapping[int, Rrset]] = [_NO_RRSETS] * (len(rrsets) + 1)
    deepest = 0
    for at in range(0, len(section), _SLICE * NODE.size):
        for name_at, length, labels, service, zone, wildcard, cut, first, count in NODE.iter_unpack(
            section[at : at + _SLICE * NODE.size]
        ):
            name, within = _piece(blob, name_at, length), zones[zone]
            if _check_name(name, within.apex) != labels:
                raise ValueError(f"{name!r} has not {labels} labels")
            run = runs[first] if count else _NO_RRSETS
            if len(run) != count:
                run = runs[first] = {rrset.rtype: rrset for rrset in _some(rrsets, first, count)}
                if len(run) != count:
                    raise ValueError(f"{name!r} has two rrsets of one type")
            node = Node(
                name,
                within,
                run,
                None if service == SERVICE_NONE else services[service],
                None if cut == NONE else cuts[cut],
                None if wildcard == NONE else nodes[wildcard],
            )
            if node.cut is not None or node.wildcard is not None:
                _check_links(node)
            nodes.append(node)
            names[name] = node
            deepest = max(deepest, labels)
        yield
    if len(names) != len(nodes):
        raise ValueError("a name stands twice")
    return names, deepest


def _read_texts(section: memoryview, blob: bytes) -> Generator[None, None, dict[tuple[int, bytes], str]]:
    texts: dict[tuple[int, bytes], str] = {}
    for i, (rtype, at, length, text_at, text_length) in enumerate(TEXT.iter_unpack(section)):
        text = _piece(blob, text_at, text_length).decode("ascii")
        if not text.isprintable():  # PowerDNS reads lines: one octet more could be an answer to the next question
            raise ValueError(f"a text of type {rtype} that is not one line")
        texts[rtype, _piece(blob, at, length)] = text
        if i % _SLICE == 0:
            yield
    return texts


def _check_links(node: Node) -> None:
    if node.cut is not None:
        _check_name(node.name, node.cut.name)
        _check_name(node.cut.name, node.zone.apex)
    if node.wildcard is not None and node.wildcard.name != b"\x01*" + node.name:
        raise ValueError(f"{node.wildcard.name!r} is no wildcard of {node.name!r}")


def _check_names(names: Mapping[bytes, Node], zones: Sequence[Zone]) -> Generator[None, None, None]:
    """Every name up to the apex of its zone exists, so that the closest encloser is the first ancestor found."""
    for i, (name, node) in enumerate(names.items()):
        if name != node.zone.apex and name[1 + name[0] :] not in names:
            raise ValueError(f"{name!r} has no parent")
        if i % (_SLICE * 8) == 0:
            yield
    for zone in zones:
        if zone.apex not in names or names[zone.apex].zone is not zone:
            raise ValueError(f"the zone {zone.apex!r} has no apex")
        if zone.number % (_SLICE * 8) == 0:
            yield

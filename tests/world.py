"""Small GeoIP databases for tests: a MaxMind DB file from {network: record}.

Knows the file format (https://maxmind.github.io/MaxMind-DB/, version 2.0), the two schemas and a short form of
records. Knows nothing of geodns, so that it can contradict it.

A record is written in MaxMind's nested schema as it is, or in the short form

    {country: US, continent: NA, subdivision: US-CA, city: Fresno, coordinates: [36.7, -119.8], asn: 64500}

of which every field may be missing; a coordinate may be null. The record None cuts a hole into a larger network.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any, Literal

Record = Mapping[str, Any] | None
Schema = Literal["nested", "flat"]
Node = tuple["Node", "Node"] | int | None  # a fork, where a record stands in the data section, or nothing

SHORT_FIELDS = frozenset({"country", "continent", "subdivision", "city", "coordinates", "asn"})
MARKER = b"\xab\xcd\xefMaxMind.com"
SEPARATOR = bytes(16)  # between search tree and data section
BUILT = 1_767_225_600  # 2026-01-01T00:00:00Z
# Where MaxMind's writer lays the IPv4 tree a second time: IPv4-mapped, Teredo, 6to4.
ALIASES = ("::ffff:0:0/96", "2001::/32", "2002::/16")


class Uint16(int):
    """A number that is written as uint16; other integers become uint32, or uint64 above 2^32."""


class Uint64(int):
    """A number that is written as uint64 whatever its size."""


def write_world(
    records: Mapping[str, Record],
    *,
    ip_version: Literal[4, 6] = 6,
    record_size: Literal[24, 28, 32] = 24,
    schema: Schema = "nested",
    aliases: bool = False,
    shared: bool = False,
    database_type: str = "Test-City",
    build_epoch: int = BUILT,
) -> bytes:
    """The octets of a database that holds *records* by network text; the longest prefix wins.

    With *ip_version* 6, IPv4 networks stand at ::/96; *aliases* lets MaxMind's three other places of the IPv4 tree point
    there. *shared* writes equal subtrees once, so that the tree becomes a graph. Raises ValueError for a network with
    host bits, or of IPv6 in an IPv4 file, and for a tree that does not fit into *record_size*.
    """
    bits = 32 if ip_version == 4 else 128
    data, offsets = bytearray(), dict[bytes, int]()  # equal records are written once
    entries = []
    for text, record in records.items():
        octets = b"" if record is None else encode(_expand(record, schema))
        if octets and octets not in offsets:
            offsets[octets] = len(data)
            data += octets
        entries.append((*_locate(text, bits), offsets[octets] if octets else None))
    tree = _build_tree(entries, bits)
    if aliases:
        tree = _lay_aliases(tree)
    nodes, order = _number_nodes(tree, shared)
    octets = _write_tree(nodes, order, record_size)
    about = {
        "node_count": len(order),
        "record_size": Uint16(record_size),
        "ip_version": Uint16(ip_version),
        "database_type": database_type,
        "languages": ["en"],
        "binary_format_major_version": Uint16(2),
        "binary_format_minor_version": Uint16(0),
        "build_epoch": Uint64(build_epoch),
        "description": {"en": "made up for a test"},
    }
    return octets + SEPARATOR + bytes(data) + MARKER + encode(about)


def encode(value: object) -> bytes:
    """*value* in the data section's encoding: str, bytes, bool, float, int, list, dict and the classes above."""
    if isinstance(value, bool):
        return _control(14, int(value))
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        kind = 5 if isinstance(value, Uint16) else 9 if isinstance(value, Uint64) or value >= 1 << 32 else 6
        octets = int(value).to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(kind, len(octets)) + octets
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return _control(4, len(value)) + value
    if isinstance(value, list | tuple):
        return _control(11, len(value)) + b"".join(map(encode, value))
    if isinstance(value, Mapping):
        return _control(7, len(value)) + b"".join(encode(str(k)) + encode(v) for k, v in value.items())
    raise TypeError(f"a database cannot hold {value!r}")


def _control(kind: int, size: int) -> bytes:
    """The control octets: three bits of type, five of size, and what does not fit into either."""
    if size < 29:
        low, more = size, b""
    elif size < 285:
        low, more = 29, bytes([size - 29])
    elif size < 65821:
        low, more = 30, (size - 285).to_bytes(2, "big")
    else:
        low, more = 31, (size - 65821).to_bytes(3, "big")
    return bytes([kind << 5 | low]) + more if kind < 8 else bytes([low, kind - 7]) + more


def _expand(record: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
    """The short form in full; a record that is not in the short form as it is."""
    if not SHORT_FIELDS.issuperset(record) or any(isinstance(value, Mapping) for value in record.values()):
        return record
    latitude, longitude = record.get("coordinates") or (None, None)
    where = {k: float(v) for k, v in (("latitude", latitude), ("longitude", longitude)) if v is not None}
    country, continent, subdivision = record.get("country"), record.get("continent"), record.get("subdivision")
    city, asn = record.get("city"), record.get("asn")
    full: dict[str, Any] = {} if asn is None else {"autonomous_system_number": asn}
    if schema == "flat":
        names = {"city": city, "country_code": country, "state1": subdivision}
        return full | {k: v for k, v in names.items() if v is not None} | where
    if city is not None:
        full["city"] = {"names": {"en": city}}
    if continent is not None:
        full["continent"] = {"code": continent}
    if country is not None:
        full["country"] = {"iso_code": country}
    if subdivision is not None:
        full["subdivisions"] = [{"iso_code": subdivision.rpartition("-")[2]}]
    if where:
        full["location"] = where
    return full


def _locate(text: str, bits: int) -> tuple[int, int]:
    """(first address, prefix length) of a network in a tree of *bits* bits."""
    network = ip_network(text)
    if isinstance(network, IPv4Network):
        return int(network.network_address), network.prefixlen + bits - 32
    if bits == 32:
        raise ValueError(f"{text}: an IPv6 network does not fit into an IPv4 database")
    return int(network.network_address), network.prefixlen


def _build_tree(entries: list[tuple[int, int, int | None]], bits: int) -> tuple[Node, Node]:
    """The tree of (address, prefix length, record) entries; the root is always a fork."""

    def lay(part: list[tuple[int, int, int | None]], depth: int, inherited: int | None) -> Node:
        here = inherited
        for _, length, record in part:
            if length == depth:
                here = record
        longer = [entry for entry in part if entry[1] > depth]
        if not longer and depth:
            return here
        shift = bits - depth - 1
        left = [entry for entry in longer if not entry[0] >> shift & 1]
        right = [entry for entry in longer if entry[0] >> shift & 1]
        return lay(left, depth + 1, here), lay(right, depth + 1, here)

    tree = lay(entries, 0, None)
    assert isinstance(tree, tuple)
    return tree


def _lay_aliases(tree: tuple[Node, Node]) -> tuple[Node, Node]:
    """*tree* with the IPv4 part standing, as the same object, at ALIASES too. It may not hold anything there itself."""
    inner: Node = tree
    for _ in range(96):
        inner = inner[0] if isinstance(inner, tuple) else inner

    def replace(node: Node, address: int, length: int, depth: int) -> Node:
        if depth == length:
            return inner
        left, right = node if isinstance(node, tuple) else (node, node)
        if address >> (127 - depth) & 1:
            return left, replace(right, address, length, depth + 1)
        return replace(left, address, length, depth + 1), right

    for text in ALIASES:
        tree = replace(tree, *_locate(text, 128), 0)  # type: ignore[assignment]  # a fork stays one above depth 16
    return tree


def _number_nodes(tree: tuple[Node, Node], shared: bool) -> tuple[dict[object, int], list[tuple[Node, Node]]]:
    """Numbers by identity (by value with *shared*) of all forks, and the forks in that order, root first."""
    numbers: dict[object, int] = {}
    order: list[tuple[Node, Node]] = []
    waiting: list[Node] = [tree]
    for node in waiting:
        if isinstance(node, tuple) and _key(node, shared) not in numbers:
            numbers[_key(node, shared)] = len(order)
            order.append(node)
            waiting += node
    return numbers, order


def _key(node: tuple[Node, Node], shared: bool) -> object:
    return node if shared else id(node)


def _write_tree(numbers: dict[object, int], order: list[tuple[Node, Node]], size: int) -> bytes:
    """The search tree section: two records of *size* bits a fork."""
    count, octets, shared = len(order), bytearray(), isinstance(next(iter(numbers)), tuple)

    def value(node: Node) -> int:
        if node is None:
            return count
        number = numbers[_key(node, shared)] if isinstance(node, tuple) else count + len(SEPARATOR) + node
        if number >> size:
            raise ValueError(f"{number} does not fit into {size} bits")
        return number

    for node in order:
        left, right = value(node[0]), value(node[1])
        if size == 28:  # the middle octet holds the upper four bits of both
            octets += (left & 0xFFFFFF).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24])
            octets += (right & 0xFFFFFF).to_bytes(3, "big")
        else:
            octets += left.to_bytes(size // 8, "big") + right.to_bytes(size // 8, "big")
    return bytes(octets)

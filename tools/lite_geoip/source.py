"""The source database: a flat city file of one family, its search tree as arrays and its records decoded.

Knows the MaxMind DB format 2.0 as far as reading a tree of 28-bit records in bulk goes; records are decoded by maxminddb.
Knows nothing of what is done with them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maxminddb
from maxminddb.decoder import Decoder

SEPARATOR = 16  # zero bytes between the tree and the data section
LEAF = 0x8000_0000  # children from here on are leaves: LEAF + a number
UNKNOWN = 0  # the leaf of a gap
FORCED = 1  # a gap of ours: stays unknown, whatever its neighbours are
GRAFT = 2  # the leaf of the IPv6 tree where the IPv4 tree hangs
FIRST_ENTRY = 3
UNREACHED = 255  # depth of a node that was cut off
LOW_NIBBLE = bytes(i & 15 for i in range(256))
HIGH_NIBBLE = bytes(i >> 4 for i in range(256))


@dataclass(frozen=True, slots=True)
class Tree:
    """Children of every node: the number of a node below, or LEAF + the number of a leaf. Parents come before children."""

    bits: int  # 32 or 128: how deep the tree may be
    left: array[int]
    right: array[int]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the source says of a network, as far as we use it."""

    country: str
    subdivision: str  # a name; may be empty
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its tree, its records, when it was built (seconds since 1970). Leaf n is entries[n - FIRST_ENTRY]."""

    tree: Tree
    entries: list[Entry]
    built: int


def read_children(raw: memoryview, count: int) -> tuple[array[int], array[int]]:
    """Both halves of *count* nodes of 28-bit records, 7 octets each.

    MaxMind DB format 2.0, "Node Layout": 28 bits: "the middle byte's most significant nibble is the most significant
    nibble of the left record", its least significant one that of the right record.
    """
    middle = bytes(raw[3 : 7 * count : 7])
    halves = []
    for nibble, at in ((HIGH_NIBBLE, (2, 1, 0)), (LOW_NIBBLE, (6, 5, 4))):
        octets = bytearray(4 * count)
        for place, start in enumerate(at):
            octets[place::4] = raw[start : 7 * count : 7]
        octets[3::4] = middle.translate(nibble)
        numbers = array("I")
        numbers.frombytes(octets)
        halves.append(numbers)
    return halves[0], halves[1]


def read_source(path: Path) -> Source:
    """Read the flat city file at *path*.

    Raises `SystemExit` for a file of another shape, naming it, what was found and what was expected.
    """
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        meta = reader.metadata()
    if meta.record_size != 28 or meta.ip_version not in {4, 6}:
        raise SystemExit(
            f"{path}: {meta.record_size}-bit records, IPv{meta.ip_version}; expected 28-bit records, IPv4 or IPv6"
        )
    raw = path.read_bytes()
    left, right = read_children(memoryview(raw), meta.node_count)
    pointers = sorted({child for half in (left, right) for child in set(half) if child > meta.node_count})
    number = {meta.node_count: LEAF + UNKNOWN} | {pointer: LEAF + i for i, pointer in enumerate(pointers, FIRST_ENTRY)}
    left, right = (array("I", (number.get(child, child) for child in half)) for half in (left, right))
    tree = Tree(32 if meta.ip_version == 4 else 128, left, right)
    return Source(tree, read_entries(path, raw, meta.node_count, pointers), meta.build_epoch)


def read_entries(path: Path, raw: bytes, count: int, pointers: list[int]) -> list[Entry]:
    """The records at *pointers* of a tree of *count* nodes. Names repeat without end, so each is kept once."""
    base = 7 * count + SEPARATOR
    decoder = Decoder(raw, base)
    names: dict[str, str] = {}
    entries = []
    for pointer in pointers:
        record: Any = decoder.decode(7 * count + pointer - count)[0]
        try:
            country, state = str(record["country_code"]), str(record["state1"])
            latitude, longitude = float(record["latitude"]), float(record["longitude"])
        except (KeyError, TypeError) as error:
            expected = "a map with country_code, state1, latitude, longitude"
            raise SystemExit(f"{path}: found record {record!r}: {error!r}; expected {expected}") from error
        entries.append(Entry(names.setdefault(country, country), names.setdefault(state, state), latitude, longitude))
    return entries


def measure_depths(tree: Tree) -> bytearray:
    """Prefix length at every node, 0 at the root; UNREACHED where no way leads from there.

    Raises `SystemExit` where a child stands before its parent, since every loop of ours relies on that order.
    """
    depths = bytearray([UNREACHED]) * len(tree.left)
    depths[0] = 0
    for node, (depth, *children) in enumerate(zip(depths, tree.left, tree.right, strict=True)):
        if depth == UNREACHED:
            continue
        for child in children:
            if child < LEAF:
                if child <= node:
                    raise SystemExit(f"node {node}: its child {child} stands before it; expected parents first")
                depths[child] = depth + 1
    return depths


def put_leaf(tree: Tree, prefix: int, length: int, leaf: int) -> None:
    """Make *leaf* the leaf of *prefix*/*length*; *prefix* is a whole address. What was below is cut off.

    A leaf on the way is taken apart into nodes, which are appended, so parents still come first.
    """
    node = 0
    for depth in range(length):
        half = tree.right if prefix >> (tree.bits - 1 - depth) & 1 else tree.left
        child = half[node]
        if depth == length - 1:
            half[node] = LEAF + leaf
        elif child < LEAF:
            node = child
        else:
            half[node] = len(tree.left)
            node = half[node]
            tree.left.append(child)
            tree.right.append(child)

"""MaxMind DB files read whole: metadata, and the search tree as two flat arrays.

Knows the file format (MaxMind DB file format 2.0), IPv4 trees inside IPv6 ones, shared subtrees, and how to look up one
address. Knows nothing of what records mean (`place`) or of ranges.

Whatever the octets, nothing but DatabaseError is raised, its text one line that begins with the file's name.
"""

from __future__ import annotations

import hashlib
import io
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import compress, count
from operator import gt, le
from pathlib import Path
from typing import Any

import maxminddb

from .. import loops
from ..errors import DatabaseError
from .records import SCALAR, Values, Wanted, want

MARKER = b"\xab\xcd\xefMaxMind.com"
METADATA_SPAN = 128 * 1024  # the marker stands within that many last octets
SEPARATOR = 16  # zero octets between tree and data section
MAJOR_VERSION = 2
HIGH_NIBBLE = bytes(i >> 4 for i in range(256))
LOW_NIBBLE = bytes(i & 15 for i in range(256))
SAMPLES = 96  # addresses per family that are also looked up by maxminddb
GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2^128 / golden ratio: multiples spread evenly
METADATA = want(
    node_count=SCALAR,
    record_size=SCALAR,
    ip_version=SCALAR,
    binary_format_major_version=SCALAR,
    build_epoch=SCALAR,
    database_type=SCALAR,
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says of itself. `built` is seconds since 1970."""

    node_count: int
    record_size: int
    ip_version: int
    database_type: str
    built: int


@dataclass(frozen=True, slots=True)
class Database:
    """An opened file. Record `left[i]` or `right[i]` of node i is a node if below `node_count`, nothing if equal, else a
    pointer for `record()`. Children have higher numbers than their parents, so a loop from the end meets them first;
    only further parents of the IPv4 tree (MaxMind's writer lays it at ::ffff:0:0/96, 2001::/32 and 2002::/16 too) may
    have higher numbers than that. There are no cycles.

    `v4_root` is the record (a node, a pointer or nothing) where IPv4 begins.
    """

    name: str
    metadata: Metadata
    left: array[int]
    right: array[int]
    v4_root: int
    values: Values
    digest: bytes  # of the whole file; 32 octets

    @property
    def node_count(self) -> int:
        """Nodes that a path reaches; `metadata.node_count` also counts others."""
        return len(self.left)

    def record(self, pointer: int, wanted: Wanted) -> Any:
        """What *pointer*, a record of the tree, leads to."""
        return self.values.read(self.offset(pointer), wanted)

    def offset(self, pointer: int) -> int:
        """Where in the data section *pointer* leads."""
        offset = pointer - self.node_count - SEPARATOR
        if not 0 <= offset < len(self.values.octets):
            raise DatabaseError(f"{self.name}: corrupt search tree: a record points outside of the data section")
        return offset

    def pointers(self) -> set[int]:
        """Every record of the tree that leads to data."""
        found = set(filter(self.node_count.__lt__, self.left))
        found.update(filter(self.node_count.__lt__, self.right))
        return found

    def find(self, address: int, bits: int) -> int:
        """The pointer for *address* (of 32 or 128 *bits*), or `node_count` where nothing is known."""
        if bits == 128 and self.metadata.ip_version == 4:
            return self.node_count
        node, left, right, nodes = self.v4_root if bits == 32 else 0, self.left, self.right, self.node_count
        for shift in range(bits - 1, -1, -1):
            if node >= nodes:
                return node
            node = (right if address >> shift & 1 else left)[node]
        if node < nodes:
            raise DatabaseError(f"{self.name}: corrupt search tree: deeper than {bits} bits")
        return node


def read_octets(path: Path) -> bytes:
    """The whole file. Raises DatabaseError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror or error}") from error


def open_database(path: Path, judge: Callable[[Any], Any], wanted: Wanted) -> Database:
    """The database in *path*, read whole and not mapped, so that a file which is overwritten cannot hurt.

    Before it is accepted, a fixed sample of addresses is looked up here and by maxminddb; *judge*, applied to both
    records (ours has the *wanted* fields), must give the same. Raises DatabaseError for whatever is not sound.
    """
    octets, name = read_octets(path), str(path)
    metadata = _read_metadata(octets, name)
    left, right = _read_tree(octets, metadata)
    if not _parents_first(left, right):
        left, right = _sort_tree(left, right, name)
    data = octets[_tree_size(metadata) + SEPARATOR : octets.rfind(MARKER)]
    v4_root = _find_v4(left) if metadata.ip_version == 6 else 0
    digest = hashlib.blake2b(octets, digest_size=32).digest()
    database = Database(name, metadata, left, right, v4_root, Values(data, name), digest)
    _check_sample(database, octets, judge, wanted)
    return database


def _read_metadata(octets: bytes, name: str) -> Metadata:
    start = octets.rfind(MARKER, max(0, len(octets) - METADATA_SPAN))
    if start < 0:
        raise DatabaseError(f"{name}: not a MaxMind DB file: {len(octets)} octets without its marker (truncated?)")
    found = Values(octets[start + len(MARKER) :], f"{name}: metadata").read(0, METADATA)
    if not isinstance(found, dict):
        raise DatabaseError(f"{name}: the metadata is no map")
    keys = ("node_count", "record_size", "ip_version", "binary_format_major_version")
    numbers = [number for key in keys if isinstance(number := found.get(key), int)]
    if len(numbers) != len(keys):
        raise DatabaseError(f"{name}: the metadata lacks node_count, record_size, ip_version or the format's version")
    nodes, size, version, major = numbers
    if major != MAJOR_VERSION or size not in (24, 28, 32) or version not in (4, 6):
        raise DatabaseError(f"{name}: format {major}, records of {size} bits, IP version {version}: cannot be read")
    metadata = Metadata(nodes, size, version, str(found.get("database_type", "")), _built(found.get("build_epoch")))
    if not nodes or _tree_size(metadata) + SEPARATOR > start:
        raise DatabaseError(f"{name}: {nodes} nodes do not fit into {len(octets)} octets (truncated?)")
    return metadata


def _built(epoch: object) -> int:
    return epoch if type(epoch) is int else 0


def _tree_size(metadata: Metadata) -> int:
    return metadata.node_count * metadata.record_size // 4


def _read_tree(octets: bytes, metadata: Metadata) -> tuple[array[int], array[int]]:
    """Left and right records of all nodes, by strided copies: no Python object per node."""
    if loops.are_native():
        return loops.walk.read_tree(octets, metadata.node_count, metadata.record_size)
    size, tree = metadata.record_size, octets[: _tree_size(metadata)]
    width = size // 4  # octets of a node
    if size == 32:
        both = _native(array("I", tree))
        return both[::2], both[1::2]
    sides = []
    for side in (0, 1):
        spread = bytearray(4 * metadata.node_count)
        first = side * (width - 3)  # 28 bits: both low parts have three octets, the middle one is shared
        for i in range(3):
            spread[i + 1 :: 4] = tree[first + i :: width]
        if size == 28:
            spread[0::4] = tree[3::width].translate(LOW_NIBBLE if side else HIGH_NIBBLE)
        sides.append(_native(array("I", bytes(spread))))
    return sides[0], sides[1]


def _native(numbers: array[int]) -> array[int]:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _find_v4(left: array[int]) -> int:
    """The record at ::/96."""
    node = 0
    for _ in range(96):
        node = left[node] if node < len(left) else node
    return node


def _parents_first(left: array[int], right: array[int]) -> bool:
    """Does every record lead to a higher number, but for ones that lead to the IPv4 tree from outside of it?

    Then there are no cycles, and a loop from the end meets children before parents wherever it matters.
    """
    if loops.are_native():
        return loops.walk.parents_first(left, right, _find_v4(left))
    if all(map(gt, left, count())) and all(map(gt, right, count())):
        return True
    back = {i for side in (left, right) for i in compress(count(), map(le, side, count()))}
    target = _find_v4(left)
    if any(side[i] <= i and side[i] != target for side in (left, right) for i in back):
        return False
    nodes, inside = len(left), bytearray(len(left))
    inside[target] = 1
    for i in range(target, nodes):
        if inside[i]:
            if i in back:
                return False
            for record in (left[i], right[i]):
                if record < nodes:
                    inside[record] = 1
    return True


def _sort_tree(left: array[int], right: array[int], name: str) -> tuple[array[int], array[int]]:
    """The same tree with parents before children, without nodes that no path reaches. Raises DatabaseError for a cycle."""
    nodes = len(left)
    done, ordered = bytearray(nodes), array("I")  # 0 unseen, 1 on the path, 2 finished
    stack = [0]
    while stack:
        node = stack[-1]
        if done[node] == 2:
            stack.pop()
        elif done[node]:
            done[node] = 2
            ordered.append(node)
            stack.pop()
        else:
            done[node] = 1
            for child in (right[node], left[node]):
                if child < nodes and done[child] == 1:
                    raise DatabaseError(f"{name}: corrupt search tree: node {child} stands below itself")
                if child < nodes and not done[child]:
                    stack.append(child)
    ordered.reverse()
    number, lost = array("I", bytes(4 * nodes)), nodes - len(ordered)
    for i, node in enumerate(ordered):
        number[node] = i

    def rewrite(side: array[int]) -> array[int]:
        """Pointers count from the number of nodes, so they move when nodes are dropped."""
        return array("I", (number[record] if (record := side[node]) < nodes else record - lost for node in ordered))

    return rewrite(left), rewrite(right)


def _sample(database: Database, bits: int) -> Iterator[int]:
    """Addresses to try: evenly spread ones, and as many that walk the tree towards data wherever they can."""
    left, right, nodes = database.left, database.right, database.node_count
    for i in range(1, SAMPLES + 1):
        wish = i * GOLDEN >> (128 - bits) & (1 << bits) - 1
        yield wish
        node, address = database.v4_root if bits == 32 else 0, 0
        for shift in range(bits - 1, -1, -1):
            turn = wish >> shift & 1
            if node < nodes:
                if (right if turn else left)[node] == nodes:
                    turn ^= 1
                node = (right if turn else left)[node]
            address |= turn << shift
        yield address


def _check_sample(database: Database, octets: bytes, judge: Callable[[Any], Any], wanted: Wanted) -> None:
    """Compare with maxminddb over the same octets. It raises more than its own exception for corrupt files."""
    try:
        reader = maxminddb.open_database(io.BytesIO(octets), maxminddb.MODE_FD)
        for bits in (32, 128) if database.metadata.ip_version == 6 else (32,):
            for address in _sample(database, bits):
                pointer = database.find(address, bits)
                ours = None if pointer == database.node_count else database.record(pointer, wanted)
                theirs = reader.get(_address(address, bits))
                if judge(ours) != judge(theirs):
                    raise DatabaseError(f"{database.name}: two readers disagree about {_address(address, bits)}: corrupt")
    except DatabaseError:
        raise
    except Exception as error:
        raise DatabaseError(f"{database.name}: corrupt: {error}") from error


def _address(number: int, bits: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if bits == 32 else IPv6Address(number)

"""The file: equal subtrees stored once, numbered so that children come after parents, in the MaxMind DB format.

Knows the format (version 2.0) as far as writing one file with 24-bit records goes. Knows nothing of where labels come from.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence

from .prune import KEPT
from .source import FORCED, GRAFT, LEAF, UNKNOWN, Tree

RECORD_BITS = 24
SEPARATOR = bytes(16)  # between the tree and the data section
MARKER = b"\xab\xcd\xefMaxMind.com"  # before the metadata

# A value of the data section: maps have text keys; ints are unsigned and say how wide they are.
Value = str | float | tuple[int, int] | list["Value"] | dict[str, "Value"]

POINTER, TEXT, DOUBLE, UINT16, UINT32, MAP, UINT64, ARRAY = 1, 2, 3, 5, 6, 7, 9, 11
WIDTHS = {UINT16: 2, UINT32: 4, UINT64: 8}


class Shared:
    """Nodes by their pair of children. A child is a label (below `labels`), or `labels` plus the number of a node here."""

    def __init__(self, labels: int) -> None:
        self.labels = labels
        self.pairs: list[tuple[int, int]] = []
        self.numbers: dict[tuple[int, int], int] = {}

    def find_node(self, left: int, right: int) -> int:
        """The node with these children; it is made when there is none yet. Two equal labels are that label."""
        if left == right < self.labels:
            return left
        number = self.numbers.get((left, right))
        if number is None:
            number = self.numbers[left, right] = self.labels + len(self.pairs)
            self.pairs.append((left, right))
        return number

    def add_tree(self, tree: Tree, cut: array[int], labels: Sequence[int], graft: int) -> int:
        """The root of what the cut leaves of *tree*. *graft* stands in for the leaf GRAFT; FORCED becomes UNKNOWN."""
        kept = find_kept(tree, cut)
        known = {UNKNOWN: UNKNOWN, FORCED: UNKNOWN, GRAFT: graft}
        made: dict[int, int] = {}
        for node in reversed(kept):
            halves = []
            for child in (tree.left[node], tree.right[node]):
                label = labels[child - LEAF] if child >= LEAF else cut[child]
                halves.append(made[child] if label == KEPT else known.get(label, label))
            made[node] = self.find_node(*halves)
        return made[0] if kept else known.get(cut[0], cut[0])


def find_kept(tree: Tree, cut: array[int]) -> list[int]:
    """Nodes of *tree* that the cut leaves, in their order."""
    reached = bytearray(len(cut))
    reached[0] = 1
    kept = []
    node = 0
    while node >= 0:
        if cut[node] == KEPT:
            kept.append(node)
            for child in (tree.left[node], tree.right[node]):
                if child < LEAF:
                    reached[child] = 1
        node = reached.find(1, node + 1)
    return kept


def write_head(kind: int, size: int) -> bytes:
    """The control octets of a value ("Data Field Format"): type in the upper three bits, size in the lower five, both with
    escapes for what does not fit."""
    extended = b"" if kind < 8 else bytes([kind - 7])
    first = (kind if kind < 8 else 0) << 5
    if size < 29:
        return bytes([first | size]) + extended
    if size < 29 + 256:
        return bytes([first | 29]) + extended + bytes([size - 29])
    if size < 285 + 65536:
        return bytes([first | 30]) + extended + (size - 285).to_bytes(2, "big")
    return bytes([first | 31]) + extended + (size - 65821).to_bytes(3, "big")


def write_pointer(at: int) -> bytes:
    """A pointer to offset *at* of the data section: the size bits say how many octets follow and what to add."""
    for size, (bias, octets) in enumerate(((0, 1), (2048, 2), (526336, 3))):
        if at - bias < 1 << (8 * octets + 3):
            value = at - bias
            return bytes([POINTER << 5 | size << 3 | value >> 8 * octets]) + (value & (1 << 8 * octets) - 1).to_bytes(
                octets, "big"
            )
    return bytes([POINTER << 5 | 3 << 3]) + at.to_bytes(4, "big")


class Data:
    """The data section. A text or map that was written before is a pointer to where it stands."""

    def __init__(self, pointers: bool = True) -> None:
        self.octets = bytearray()
        self.pointers = pointers
        self.places: dict[str, int] = {}

    def add(self, value: Value) -> int:
        """Write *value* at the end; its offset."""
        at = len(self.octets)
        match value:
            case str():
                text = value.encode()
                self.octets += write_head(TEXT, len(text)) + text
            case float():
                self.octets += write_head(DOUBLE, 8) + struct.pack(">d", value)
            case tuple():
                kind, number = value
                octets = number.to_bytes(WIDTHS[kind], "big").lstrip(b"\0")
                self.octets += write_head(kind, len(octets)) + octets
            case list():
                self.octets += write_head(ARRAY, len(value))
                for item in value:
                    self.put(item)
            case dict():
                self.octets += write_head(MAP, len(value))
                for key, item in value.items():
                    self.put(key)
                    self.put(item)
        return at

    def put(self, value: Value) -> None:
        """Write *value* at the end, or a pointer to its like."""
        if not self.pointers or isinstance(value, float | tuple) or (isinstance(value, str) and len(value) < 2):
            self.add(value)
            return
        like = repr(value)
        if like in self.places:
            self.octets += write_pointer(self.places[like])
        else:
            self.places[like] = self.add(value)


def write_tree(shared: Shared, root: int, offsets: Mapping[int, int]) -> bytes:
    """The search tree: children come after parents, since a node is numbered in the reverse order of its making.

    A record is the number of a node, their count for "unknown", or the count plus 16 plus an offset of the data section.
    Raises `ValueError` where a number needs more than 24 bits, or *root* is not the node made last.
    """
    count = len(shared.pairs)
    if root != shared.labels + count - 1:
        raise ValueError(f"the root is node {root - shared.labels} of {count}; it must be made last")
    highest = count + len(SEPARATOR) + max(offsets.values(), default=0)
    if highest >= 1 << RECORD_BITS:
        raise ValueError(
            f"{count} nodes and their data need {highest.bit_length()} bits a record, the file has {RECORD_BITS}"
        )
    record = {UNKNOWN: count} | {label: count + len(SEPARATOR) + offset for label, offset in offsets.items()}
    last = shared.labels + count - 1
    octets = bytearray()
    for left, right in reversed(shared.pairs):
        for child in (left, right):
            octets += (record[child] if child < shared.labels else last - child).to_bytes(3, "big")
    return bytes(octets)


def write_file(shared: Shared, root: int, records: Mapping[int, Value], metadata: Mapping[str, Value]) -> bytes:
    """The whole file. *records* by label; only those in use are written, in the order of their labels."""
    if root < shared.labels:  # one label for everything; a tree has at least one node
        shared.pairs.append((root, root))
        root = shared.labels + len(shared.pairs) - 1
    used = {child for pair in shared.pairs for child in pair if child < shared.labels} - {UNKNOWN}
    data = Data()
    offsets = {label: data.add(records[label]) for label in sorted(used)}
    tree = write_tree(shared, root, offsets)
    meta = Data(pointers=False)
    meta.add({**metadata, "node_count": (UINT32, len(shared.pairs)), "record_size": (UINT16, RECORD_BITS)})
    return tree + SEPARATOR + bytes(data.octets) + MARKER + bytes(meta.octets)

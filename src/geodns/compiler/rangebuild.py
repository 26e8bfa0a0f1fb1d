"""Database trees to ranges of alike clients, segment by segment.

Knows trees, and how files, AS numbers and corrections lie over each other. Knows nothing of orders: a client is the number
of its `State`; `maps` turns states into orders.

The cost is in two loops over flat arrays: one from the last node to the first finds the nodes whose whole subtree is
one state, the other walks down from the root, into mixed nodes only. A node that several paths share is marked once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import repeat

from .. import loops
from ..errors import DatabaseError
from ..geo.mmdb import Database
from ..geo.place import Facts
from .layers import Layer, renumber, split
from .leaves import MIXED, Leaves, Values
from .segments import V4, Family, Segment, cover
from .states import Memo, States

MAX_STEPS = 1 << 26  # of one walk; full databases take less than a tenth
DEEPER = 64  # levels below an IPv6 /64


class AllMixed(Sequence[int]):
    """Marks that let a walk go down to every record."""

    def __getitem__(self, _: object) -> int:  # type: ignore[override]
        return MIXED

    def __len__(self) -> int:
        return 0


def build_layer(leaves: Leaves, family: Family, segments: Sequence[Segment]) -> Layer:
    """What one database says of *family*: states, or numbers of facts in segments that have a correction."""
    layer = Layer(array(family.typecode), array("I"))
    absent = family is not V4 and leaves.database.metadata.ip_version == 4
    for segment in segments:
        if absent or segment.mark:
            layer.starts.append(segment.first)
            layer.values.append(0)
        elif segment.correction is None:
            walk(leaves.database, family, (segment.first, segment.end), leaves.marks, leaves.values, layer)
        else:
            walk(leaves.database, family, (segment.first, segment.end), AllMixed(), leaves.exact, layer)
    return layer


def walk(
    database: Database,
    family: Family,
    span: tuple[int, int],
    marks: Sequence[int],
    leaves: Values,
    layer: Layer,
) -> None:
    """Append the ranges of *span* to *layer*, neighbours merged. Raises DatabaseError for a tree without end."""
    if not isinstance(leaves, dict):
        _walk_natively(database, family, span, marks, leaves, layer)
        return
    left, right, nodes = database.left, database.right, database.node_count
    root = database.v4_root if family is V4 else 0
    add_start, add_value = layer.starts.append, layer.values.append
    last, steps = MIXED, repeat(None, MAX_STEPS)
    for first, size in cover(*span):
        stack = [(_descend(database, root, first, size, family.units), first, size >> 1)]
        for _ in steps:
            if not stack:
                break
            node, at, half = stack.pop()
            value = marks[node] if node < nodes else leaves[node]
            if value == MIXED and not half:
                value = _first_below(database, node, leaves, family)
            if value == MIXED:
                stack.append((right[node], at + half, half >> 1))
                stack.append((left[node], at, half >> 1))
            elif value != last:
                add_start(at)
                add_value(value)
                last = value
        else:
            raise _endless(database)


def _walk_natively(
    database: Database,
    family: Family,
    span: tuple[int, int],
    marks: Sequence[int],
    leaves: loops.walk.Leaves,
    layer: Layer,
) -> None:
    assert isinstance(marks, array)
    root, bits = (database.v4_root, 32) if family is V4 else (0, 64)
    end, starts, values = loops.walk.walk(
        database.left, database.right, marks, leaves, root, bits, list(cover(*span)), MAX_STEPS
    )
    if end == loops.walk.TOO_DEEP:
        raise _too_deep(database, family)
    if end == loops.walk.ENDLESS:
        raise _endless(database)
    layer.starts.extend(starts)
    layer.values.extend(values)


def _endless(database: Database) -> DatabaseError:
    return DatabaseError(f"{database.name}: corrupt search tree: it unfolds into too many networks")


def _too_deep(database: Database, family: Family) -> DatabaseError:
    return DatabaseError(f"{database.name}: corrupt search tree: deeper than {family.bits} bits")


def _descend(database: Database, root: int, first: int, size: int, units: int) -> int:
    """The record for the block of *size* addresses at *first*: a node, or what stands above it."""
    node, width, nodes = root, units, database.node_count
    while width > size and node < nodes:
        width >>= 1
        node = (database.right if first & width else database.left)[node]
    return node


def _first_below(database: Database, node: int, leaves: dict[int, int], family: Family) -> int:
    """The value of the first address under a node at the last level that tables look at."""
    nodes, left = database.node_count, database.left
    for _ in range(0 if family is V4 else DEEPER):
        if node >= nodes:
            break
        node = left[node]
    if node < nodes:
        raise _too_deep(database, family)
    return leaves[node]


def resolve(layer: Layer, segments: Sequence[Segment], states: States, facts: Sequence[Facts]) -> Layer:
    """States of clients from what the databases say (`build_layer`) and what the configuration says of segments."""
    values = array("I")
    plain: dict[int, Memo] = {}
    for segment, (i, j) in zip(segments, _parts(layer, segments), strict=True):
        found = layer.values[i:j]
        if segment.correction is not None:
            values.extend(renumber(found, Memo(lambda n, s=segment: states.corrected(facts[n], s))))  # type: ignore[misc]
        elif segment.mark:
            values.append(states.of_mark(segment))
        else:
            memo = plain.setdefault(segment.rules, Memo(lambda n, s=segment: states.in_segment(n, s)))  # type: ignore[misc]
            values.extend(renumber(found, memo))
    return Layer(layer.starts, values)


def _parts(layer: Layer, segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Which ranges of *layer* belong to each segment; every segment begins a range."""
    i = 0
    for segment in segments:
        j = bisect_left(layer.starts, segment.end, i)
        yield i, j
        i = j


def lay_numbers(base: Layer, numbers: Layer, asns: Sequence[int], states: States) -> Layer:
    """*base*, states, with the AS numbers of *numbers* (as `read_numbers` numbers them) applied."""
    ends = [*numbers.starts[1:], None]
    spans = [(numbers.starts[i], ends[i], value) for i, value in enumerate(numbers.values) if value]
    edges = {edge for first, end, _ in spans for edge in (first, end) if edge is not None}
    starts, values = split(base, sorted(edges))
    memos = [Memo(lambda n, asn=asn: states.with_asn(n, asn)) for asn in asns]  # type: ignore[misc]
    i = 0
    for first, end, value in spans:
        i = bisect_left(starts, first, i)
        j = len(starts) if end is None else bisect_left(starts, end, i)
        values[i:j] = array("I", map(memos[value - 1].__getitem__, values[i:j]))
        i = j
    return Layer(starts, values)

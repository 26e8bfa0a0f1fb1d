"""Trees natively against `geo.mmdb` and `compiler.rangebuild`: the same arrays, ranges and refusals."""

from __future__ import annotations

import random
import signal
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.native.both import same

from geodns.compiler import rangebuild
from geodns.compiler.layers import Layer
from geodns.compiler.leaves import Leaves, mark_nodes, read_leaves
from geodns.compiler.orders import Rules
from geodns.compiler.rangebuild import build_layer
from geodns.compiler.segments import V4, V6, Family, Segment
from geodns.compiler.states import States
from geodns.geo import mmdb
from geodns.geo.mmdb import Database, Metadata
from geodns.geo.place import NOWHERE
from geodns.geo.records import Values
from geodns.native import walk

LAB = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
PLACES = (b"NO", b"SE", b"SE", b"DK")  # of two that are alike, states are one


def write_places() -> tuple[bytes, list[int]]:
    """A data section, and where its records begin."""
    octets, offsets = b"", []
    for code in PLACES:
        offsets.append(len(octets))
        octets += b"\xe1\x4ccountry_code\x42" + code
    return octets, offsets


def make_database(left: list[int], right: list[int], ip_version: int = 6) -> Database:
    """A tree as it stands; records are nodes, nothing (len(left)), or beyond: one of PLACES by number."""
    octets, offsets = write_places()
    nodes = len(left)
    lefts, rights = (
        array("I", [r if r <= nodes else nodes + mmdb.SEPARATOR + offsets[(r - nodes - 1) % len(PLACES)] for r in side])
        for side in (left, right)
    )
    metadata = Metadata(nodes, 24, ip_version, "Test-City", 1)
    v4_root = mmdb._find_v4(lefts) if ip_version == 6 else 0
    return Database("x.mmdb", metadata, lefts, rights, v4_root, Values(octets, "x.mmdb"), b"")


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Records that lead to a higher number, nothing or a place; subtrees are shared, and some paths are deep."""
    nodes = draw(st.integers(1, 90))
    chance = random.Random(draw(st.integers(0, 2**32)))
    near = draw(st.sampled_from([1, 2, 10, 100]))

    def record(i: int) -> int:
        if chance.random() < 0.6 and i + 1 < nodes:
            return chance.randint(i + 1, min(nodes - 1, i + near))
        return nodes + chance.randint(0, len(PLACES))

    return [record(i) for i in range(nodes)], [record(i) for i in range(nodes)]


def lay(database: Database, cuts: list[tuple[Family, list[int]]], most: int) -> list[tuple[list[int], list[int]]]:
    """The ranges of each family, its space cut into segments, within *most* steps a walk."""
    leaves = read_leaves(database, States(Rules((), {}, 0, 0), (), {}), {NOWHERE: 0})
    found = []
    for family, edges in cuts:
        points = sorted({0, *(edge % family.units for edge in edges), family.units})
        segments = [Segment(a, b, 0, None, 0) for a, b in pairwise(points)]
        with allowed(most):
            layer = build_layer(leaves, family, segments)
        found.append((layer.starts.tolist(), layer.values.tolist()))
    return found


@contextmanager
def allowed(steps: int) -> Iterator[None]:
    before, rangebuild.MAX_STEPS = rangebuild.MAX_STEPS, steps
    try:
        yield
    finally:
        rangebuild.MAX_STEPS = before


@LAB
@given(trees(), st.sampled_from([4, 6]), st.lists(st.integers(0, 2**64), max_size=3), st.sampled_from([3, 50, 5000]))
def test_always_the_ranges_of_the_reference(
    tree: tuple[list[int], list[int]], ip_version: int, edges: list[int], most: int
) -> None:
    """Too deep trees, walks of too many steps and trees without any place included."""
    database = make_database(*tree, ip_version)
    same(lambda: lay(database, [(V4, edges), (V6, edges)], most))


@LAB
@given(trees())
def test_always_the_marks_of_the_reference(tree: tuple[list[int], list[int]]) -> None:
    database = make_database(*tree)

    def mark() -> array[int]:
        values = read_leaves(database, States(Rules((), {}, 0, 0), (), {}), {NOWHERE: 0}).values
        return mark_nodes(database, values)

    same(mark)


@LAB
@given(st.sampled_from([24, 28, 32]), st.binary(min_size=8, max_size=200))
def test_always_the_tree_of_the_reference(size: int, octets: bytes) -> None:
    metadata = Metadata(len(octets) * 4 // size, size, 6, "", 0)
    same(lambda: mmdb._read_tree(octets, metadata))


@LAB
@given(trees(), st.lists(st.tuples(st.booleans(), st.integers(0, 89), st.integers(0, 89)), max_size=4), st.booleans())
def test_always_sorted_or_not_as_the_reference_says(
    tree: tuple[list[int], list[int]], changes: list[tuple[bool, int, int]], aliased: bool
) -> None:
    """Records that lead back, to anywhere or to the IPv4 tree."""
    sides = tuple(array("I", side) for side in tree)
    nodes = len(sides[0])
    target = mmdb._find_v4(sides[0])
    for side, i, record in changes:
        sides[side][i % nodes] = target if aliased else record % nodes
    same(lambda: mmdb._parents_first(sides[0], sides[1]))


def test_a_record_outside_of_the_data_section_is_left_to_the_reference() -> None:
    nodes = 1
    for record in (nodes + 1, nodes + 15, nodes + 16 + 40, 0xFFFFFFFF):
        assert walk.find_pointers(array("I", [record]), array("I", [nodes]), 40) is None
    found = walk.find_pointers(array("I", [nodes + 16 + 39]), array("I", [nodes + 16]), 40)
    assert found is not None
    assert found.offsets().tolist() == [0, 39]
    assert found.count == 2


def test_leaves_are_those_of_one_tree() -> None:
    left, right = array("I", [1, 2 + 16]), array("I", [2, 2 + 16 + 9])
    pointers = walk.find_pointers(left, right, 10)
    assert pointers is not None
    leaves = walk.Leaves(pointers, array("I", [1, 0]), array("i", [7, 8]))
    assert [leaves[record] for record in (2, 18, 27)] == [0, 8, 7]
    for record in (-1, 0, 1, 3, 17, 19, 28, 1 << 40):
        with pytest.raises(KeyError):
            leaves[record]
    others = array("I", [1, 2 + 17]), right
    with pytest.raises(ValueError, match="not those of this tree"):
        walk.walk(*others, array("i", [-1, -1]), leaves, 0, 32, [(0, 1 << 32)], 100)
    for wrong in ([1], [1, 2], [1, 0, 0]):
        with pytest.raises(ValueError, match="value"):
            walk.Leaves(pointers, array("I", wrong), array("i", [7, 8]))
    with pytest.raises(ValueError, match="value"):
        walk.Leaves(pointers, array("I", [0, 0]), array("i", [-1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits": 33}, "33 bits"),
        ({"marks": array("i", [-1])}, "1 marks"),
        ({"right": array("I", [1])}, "2 left and 1 right"),
        ({"most": -1}, "-1 steps"),
        ({"pieces": [(1, 2)]}, "no prefix"),
        ({"pieces": [(0, 3)]}, "no prefix"),
        ({"pieces": [(0, 0)]}, "no prefix"),
        ({"pieces": [(0, 1 << 33)]}, "no prefix"),
        ({"pieces": [(1 << 32, 1)]}, "no prefix"),
        ({"pieces": [(-4, 4)]}, "no prefix"),
    ],
)
def test_a_walk_takes_nothing_that_does_not_fit(change: dict[str, Any], words: str) -> None:
    left, right = array("I", [1, 2]), array("I", [2, 18])
    pointers = walk.find_pointers(left, right, 10)
    assert pointers is not None
    plain: dict[str, Any] = {
        "left": left,
        "right": right,
        "marks": array("i", [-1, -1]),
        "leaves": walk.Leaves(pointers, array("I", [0]), array("i", [5])),
        "root": 0,
        "bits": 32,
        "pieces": [(0, 1 << 32)],
        "most": 100,
    }
    assert walk.walk(**plain) == (walk.FINISHED, array("I", [0, 1 << 30, 1 << 31]), array("I", [0, 5, 0]))
    with pytest.raises(ValueError, match=words):
        walk.walk(**plain | change)


def test_a_tree_that_does_not_fit_is_no_tree() -> None:
    for nodes, size in ((2, 24), (1, 25), (0, 24), (-1, 24), (1 << 62, 32)):
        with pytest.raises(ValueError, match="do not fit"):
            walk.read_tree(bytes(11), nodes, size)


class Interrupted(Exception):
    """What the handler raises."""


def test_a_signal_ends_a_long_walk() -> None:
    """Thirty nodes that share their children make 2^30 networks: without an end in sight for some seconds."""
    nodes = 30
    left = array("I", [*range(1, nodes), nodes + 16])
    right = array("I", [*range(1, nodes), nodes + 17])
    pointers = walk.find_pointers(left, right, 10)
    assert pointers is not None
    leaves = walk.Leaves(pointers, array("I", [0, 1]), array("i", [1, 2]))

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    began = time.process_time()
    try:
        with pytest.raises(Interrupted):
            walk.walk(left, right, array("i", [-1]) * nodes, leaves, 0, 32, [(0, 1 << 32)], 1 << 40)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - began < 2


def test_a_walk_stops_at_its_steps() -> None:
    nodes = 30
    database = make_database([*range(1, nodes), nodes + 1], [*range(1, nodes), nodes + 2], 4)
    assert same(lambda: lay(database, [(V4, [])], 100_000)) == (
        "x.mmdb: corrupt search tree: it unfolds into too many networks"
    )


def test_a_layer_of_a_family_that_a_file_lacks_is_empty() -> None:
    database = make_database([1], [2], 4)
    leaves = Leaves(database, {}, {})
    assert build_layer(leaves, V6, [Segment(0, V6.units, 0, None, 0)]) == Layer(array("Q", [0]), array("I", [0]))

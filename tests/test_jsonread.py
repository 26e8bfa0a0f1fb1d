"""JSON to facts and back: whatever is told is read as it was told, and what does not fit is one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.compiler.diff import Comparison, Move, ServiceMove
from geodns.errors import GeodnsError
from geodns.explain import explain, parse_question
from geodns.explanation import Explanation, Location
from geodns.jsonform import to_json
from geodns.jsonread import read_facts
from geodns.loading import LoadReport
from geodns.locate import locate
from geodns.report import Forecast, OverrideReport, PoolReport, Served, ServedService, Status

from .scenes import build_scene
from .server.operations import OVERRIDE, POOL, STATUS


def through(kind: type[Any], facts: Any) -> Any:
    return read_facts(kind, json.loads(to_json(facts)))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Leaf:
    number: int
    share: float
    flag: bool
    text: str
    colour: Colour
    part: Fraction


@dataclass(frozen=True, slots=True)
class Tree:
    leaves: tuple[Leaf, ...]
    pair: tuple[str, int]
    maybe: Leaf | None
    below: Tree | None

    @property
    def count(self) -> int:
        return len(self.leaves)


floats = st.floats(allow_nan=False, allow_infinity=False)


def _part(number: int) -> Fraction:
    return Fraction(number, 64)  # which a float holds exactly


leaves = st.builds(
    Leaf,
    st.integers(),
    floats,
    st.booleans(),
    st.text(),
    st.sampled_from(Colour),
    st.integers(0, 50).map(lambda n: Fraction(n, 64)),
)
trees = st.recursive(
    st.builds(Tree, st.tuples(leaves), st.tuples(st.text(), st.integers()), st.none() | leaves, st.none()),
    lambda below: st.builds(Tree, st.lists(leaves).map(tuple), st.tuples(st.text(), st.integers()), st.none(), below),
    max_leaves=4,
)


@settings(deadline=None)
@given(trees)
def test_always_the_same_after_a_round(tree: Tree) -> None:
    assert through(Tree, tree) == tree


def test_what_operations_return_comes_back(tmp_path: Path) -> None:
    forecast = Forecast(None, (OVERRIDE,), ("www/ams/x",), (), (), 30.0, ("lasts",), 2.0, True)
    served = Served("geodns.yaml", None, "ab", ("ams",), (ServedService("www", "world", ("ams",), ()),))
    comparison = Comparison((ServiceMove("www", 10, Fraction(5, 4), (Move("ams", None, 2),), (("NL", 2),)),), ("new",), ())
    load = LoadReport(True, ("a warning",), "1 zone", comparison, ("server.listen",))
    for facts in (STATUS, POOL, replace(OVERRIDE, until=9.5), forecast, served, load, replace(load, comparison=None)):
        assert through(type(facts), facts) == facts
    assert read_facts(tuple[PoolReport, ...], json.loads(to_json((POOL, POOL)))) == (POOL, POOL)
    scene = build_scene(tmp_path)
    for name in ("www.example.com", "odd.example.com", "cdn.example.com", "round.example.com", "nope.example.com"):
        told = explain(scene, parse_question(name, "A", "80.1.2.3/24", None, 7))
        assert through(Explanation, told) == told
    place = locate(scene, parse_question("a.", "A", None, "80.7.1.2", 0).peer)
    assert through(Location, place) == place


def test_what_an_older_daemon_does_not_know_has_its_default() -> None:
    """An upgrade begins with the new program and the old daemon: it must be possible to ask and to drain that one."""
    told = json.loads(to_json(POOL))
    (member, *_), (wanted, *_) = told["members"], POOL.members
    for probe in member["probes"]:
        del probe["expires"]
    probes = tuple(replace(one, expires=None) for one in wanted.probes)
    assert read_facts(PoolReport, told).members[0] == replace(wanted, probes=probes)


def test_fields_of_a_newer_daemon_are_left_out() -> None:
    told = json.loads(to_json(OVERRIDE)) | {"mood": "fine"}
    assert read_facts(OverrideReport, told) == OVERRIDE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": None}, "None is no str"),
        ({"members": True}, "True is no int"),
        ({"members": "3"}, "'3' is no int"),
        ({"since": "x"}, "'x' is no float"),
    ],
)
def test_another_type_is_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(GeodnsError, match="does not read as OverrideReport; is it of another version") as error:
        read_facts(OverrideReport, json.loads(to_json(OVERRIDE)) | change)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Status, [], "[] is no object"),
        (Status, None, "None is no object"),
        (Served, {"path": "x"}, "Served without image, digest, datacenters, services"),
        (tuple[str, ...], "text", "'text' is no list"),
        (tuple[str, int], ["a"], "argument 2 is shorter"),
        (Colour, "green", "'green' is not a valid Colour"),
    ],
)
def test_another_shape_is_told(kind: Any, value: object, said: str) -> None:
    with pytest.raises(GeodnsError) as error:
        read_facts(kind, value)
    assert said in str(error.value)

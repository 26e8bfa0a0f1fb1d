"""Facts as JSON, at once and in pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from geodns import jsonform
from geodns.compiler.diff import Comparison, ServiceMove
from geodns.jsonform import plain, to_json, write_pieces
from geodns.report import MemberReport, PoolReport, ProbeReport


@dataclass(frozen=True)
class Facts:
    """Any facts."""

    name: str
    inside: Any

    @property
    def letters(self) -> int:
        return len(self.name)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.fractions()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20).map(tuple),
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4), inner, max_size=20),
        st.builds(Facts, st.text(max_size=3), inner),
    ),
    max_leaves=60,
)


@given(VALUES, st.integers(1, 30))
@settings(deadline=None)
def test_pieces_are_the_same_document(value: Any, piece: int) -> None:
    """Whatever the size of pieces."""
    with patch.object(jsonform, "PIECE", piece):
        assert json.loads("".join(write_pieces(value))) == json.loads(to_json(value))


def test_what_follows_from_facts_is_told_with_them() -> None:
    comparison = Comparison((ServiceMove("www", 200, Fraction(50), (), ()),), (), ())
    told = json.loads(to_json(comparison))
    assert told["worst"] == 0.25 and told["services"][0]["moved"] == 50.0 and told["services"][0]["share"] == 0.25
    assert plain(Path("/a")) == "/a"


def make_pool(members: int) -> PoolReport:
    probe = ProbeReport("web", "http 192.0.2.1:80", "up", 0, 3, 1.0, 2.0, "status 200", "", 0.01, 5, 0, False)
    made = tuple(MemberReport(f"192.0.2.{n}", "A", 1, "up", "up", "", "", (probe,)) for n in range(members))
    return PoolReport("www", "ams", "up", 30, members, members, 0.0, made)


def test_no_piece_of_a_large_document_is_large() -> None:
    """As octets, which is what the time goes by: a member with its probe has 400."""
    sizes = [len(piece) for piece in write_pieces({"pools": (make_pool(3000), *(make_pool(1) for _ in range(300)))})]
    assert sum(sizes) > 1_000_000 and max(sizes) < 20_000

"""Overrides: which members a target names, and who wins, against a model that reads the design's sentences one by one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.health.overrides import KINDS, MOST, Forced, Kind, Override, Standing, decide, matching, parse_target
from geodns.health.state import MemberKey

MEMBERS: list[MemberKey] = [
    (service, datacenter, member)
    for service, datacenter, member in product(
        ("www", "API"), ("ams", "Atl-1", "eu.west"), ("192.0.2.1", "192.0.2.10", "2001:db8::1", "edge-a.example.net.")
    )
]


def put(target: str, kind: Kind, since: float = 1.0, until: float | None = None) -> Override:
    return Override(target, kind, "alice", "", since, until)


def named(target: str) -> set[str]:
    return {"/".join(key) for key in matching(parse_target(target), MEMBERS)}


def every(service: str = "*", datacenter: str = "*", member: str = "*") -> set[str]:
    """All members whose parts match, the case ignored: the plain reading."""
    patterns = [pattern.lower() for pattern in (service, datacenter, member)]
    return {
        "/".join(key)
        for key in MEMBERS
        if all(fnmatchcase(part.lower().removesuffix("."), p) for part, p in zip(key, patterns, strict=True))
    }


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ams", every(datacenter="ams")),
        ("AMS", every(datacenter="ams")),
        ("a*", every(datacenter="a*")),
        ("[ax]tl-?", every(datacenter="atl-1")),
        ("*", every()),
        ("eu.west", every(datacenter="eu.west")),
        ("EU.w*", every(datacenter="eu.west")),
        ("www/ams", every("www", "ams")),
        ("www/*", every("www")),
        ("*/ams", every(datacenter="ams")),
        ("api/a*", every("api", "a*")),
        ("192.0.2.1", every(member="192.0.2.1")),
        ("192.0.2.*", every(member="192.0.2.*")),
        ("192.0.2.1?", every(member="192.0.2.10")),
        ("2001:DB8:0:0::1", every(member="2001:db8::1")),
        ("[2001:db8::1]", every(member="2001:db8::1")),
        ("2001:db8::*", every(member="2001:db8::1")),
        ("Edge-A.example.net", every(member="edge-a.example.net")),
        ("edge-a.example.net.", every(member="edge-a.example.net")),
        ("edge-*.example.net.", every(member="edge-a.example.net")),
        ("www/ams/192.0.2.1", every("www", "ams", "192.0.2.1")),
        ("*/*/192.0.2.*", every(member="192.0.2.*")),
        ("api/atl-1/EDGE-a.example.net", every("api", "atl-1", "edge-a.example.net")),
        ("www/ams/*", every("www", "ams")),
        ("lon", set()),
        ("e*", every(datacenter="e*")),
        ("www/lon", set()),
        ("192.0.2.2", set()),
    ],
)
def test_whom_a_target_names(target: str, expected: set[str]) -> None:
    assert named(target) == expected


@pytest.mark.parametrize(
    "target", ["", "/", "www/", "/ams", "a/b/c/d", "ams nyc", "ams\n", "a;b", "x" * 500, "www//192.0.2.1"]
)
def test_what_is_no_target_is_told_what_one_looks_like(target: str) -> None:
    with pytest.raises(ValueError, match="is no target: write DC, SERVICE/DC"):
        parse_target(target)


def test_likely_mistakes_have_words_of_their_own() -> None:
    with pytest.raises(ValueError, match=r"write a glob like 192\.0\.2\.\* instead of a network"):
        parse_target("192.0.2.0/24")
    with pytest.raises(ValueError, match=r"write 192\.0\.2\.1 alone, or SERVICE/DC/192\.0\.2\.1"):
        parse_target("ams/192.0.2.1")


@settings(deadline=None)
@given(st.text("ab*?[]!-./:1", max_size=12))
def test_always_a_pattern_or_words_for_the_operator(text: str) -> None:
    try:
        pattern = parse_target(text)
    except ValueError as error:
        assert "is no target" in str(error)
        return
    found = matching(pattern, MEMBERS)
    assert found == [key for key in MEMBERS if pattern.level(key)]
    assert all(pattern.near(key[0], key[1]) for key in found), "who is named is near"


TARGETS = (
    "*", "a*", "ams", "eu.west", "www/*", "*/ams", "www/ams", "192.0.2.*", "*.0.2.1", "192.0.2.1", "edge-a.example.net",
    "www/ams/192.*", "*/ams/192.0.2.1", "www/ams/192.0.2.1",
)  # fmt: skip


def level_of(target: str, key: MemberKey) -> tuple[int, bool] | None:
    """How specific *target* is where it names *key*: datacenter, service/datacenter, address, all three; a glob is less."""
    service, datacenter, member = key[0].lower(), key[1].lower(), key[2].removesuffix(".")
    parts = target.split("/")
    is_member = len(parts) == 1 and ("0.2" in target or "edge" in target)
    given = {1: (member,) if is_member else (datacenter,), 2: (service, datacenter), 3: (service, datacenter, member)}[
        len(parts)
    ]
    if not all(fnmatchcase(one, part) for one, part in zip(given, parts, strict=True)):
        return None
    return (3 if is_member else {1: 1, 2: 2, 3: 4}[len(parts)]), "*" not in target


def read_literally(overrides: list[Override], key: MemberKey) -> Forced:
    """ "A drain or a down above beats an up below, otherwise the most specific wins"; on one level the newest, and of those
    put at the same time the last."""
    newest: dict[tuple[str, tuple[int, bool]], Override] = {}
    for one in overrides:
        level = level_of(one.target, key)
        if level is not None and ((one.axis, level) not in newest or newest[one.axis, level].since <= one.since):
            newest[one.axis, level] = one
    drain: Override | None = None
    winner: Override | None = None
    for axis, level in sorted(newest):  # from above to below
        one = newest[axis, level]
        if axis == "drain":
            drain = one
        elif winner is None or not (winner.kind == "down" and one.kind == "up"):
            winner = one
    return Forced(drain, winner)


placed = st.lists(st.builds(put, st.sampled_from(TARGETS), st.sampled_from(KINDS), st.sampled_from((1.0, 2.0))), max_size=6)


@settings(deadline=None, max_examples=300)
@given(placed)
def test_always_what_the_design_says_of_precedence(overrides: list[Override]) -> None:
    standing = Standing()
    model: list[Override] = []
    for override in overrides:
        standing = standing.put(override)
        model = [one for one in model if (one.target, one.axis) != (override.target, override.axis)] + [override]
    assert list(standing.overrides) == model
    for _ in range(2):  # what is kept of a pool does not show
        for key in MEMBERS:
            assert standing.forced(key) == read_literally(model, key), key


SUBJECT: MemberKey = ("www", "ams", "192.0.2.1")


def test_a_down_above_beats_an_up_below_and_a_down_below_an_up_above() -> None:
    above = Standing([put("ams", "down"), put("www/ams/192.0.2.1", "up")])
    assert above.forced(SUBJECT) == Forced(None, put("ams", "down"))
    below = Standing([put("ams", "up"), put("www/ams/192.0.2.1", "down")])
    assert below.forced(SUBJECT) == Forced(None, put("www/ams/192.0.2.1", "down"))


def test_drain_and_force_are_two_axes() -> None:
    standing = Standing([put("ams", "drain"), put("ams", "up"), put("AMS", "down")])
    assert standing.overrides == (put("ams", "drain"), put("AMS", "down")), "one of each for one target, however it is spelt"
    assert standing.forced(SUBJECT) == Forced(put("ams", "drain"), put("AMS", "down"))


def test_what_ends_is_found_by_its_target_however_it_is_spelt() -> None:
    overrides = [put("2001:db8:0::1", "up"), put("2001:db8::1", "drain"), put("edge.example.net.", "down")]
    standing = Standing(overrides)
    assert standing.find("2001:DB8::1", ("up", "down")) == (overrides[0],)
    assert standing.find("2001:db8::1", KINDS) == tuple(overrides[:2])
    assert standing.find("Edge.example.net", ("down",)) == (overrides[2],)
    assert standing.find("*", KINDS) == ()
    assert standing.without(overrides[:2]).overrides == (overrides[2],)
    with pytest.raises(ValueError, match="is no target"):
        standing.find("a b", KINDS)


def test_whose_time_is_over() -> None:
    standing = Standing([put("ams", "drain", until=10.0), put("nyc", "drain", until=None)])
    assert standing.over(9.9) == ()
    assert [one.target for one in standing.over(10.0)] == ["ams"]


def test_there_is_an_end_to_how_many_are_kept() -> None:
    standing = Standing(put(f"dc{number}", "drain") for number in range(MOST))
    with pytest.raises(ValueError, match=f"{MOST} overrides already"):
        standing.put(put("one-more", "drain"))
    assert len(standing.put(put("dc5", "drain", since=2.0)).overrides) == MOST, "one that takes another's place"


def test_nobody_forced_is_nobody_forced() -> None:
    assert decide([]) == Forced(None, None)
    assert Standing([put("nyc", "drain")]).forced(SUBJECT) == Forced(None, None)

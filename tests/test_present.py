"""Facts as lines: what an operator sees, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.errors import Complaint, Place, Severity
from geodns.explanation import (
    Candidate,
    Decision,
    Distance,
    Explanation,
    Hop,
    Located,
    Location,
    Match,
    Reply,
    Step,
    View,
)
from geodns.present import align, count_complaints, show_explanation, show_location, show_share

LOCATED = Located(
    address="81.2.69.0",
    network="81.2.64.0/20",
    source="geoip.mmdb",
    continent="EU",
    country="GB",
    subdivision="GB-ENG",
    city=None,
    coordinates=(51.5142, -0.0931),
    coordinates_from="record",
    asn=64496,
    accuracy_km=None,
    registered_country=None,
    special=None,
)
DECISION = Decision(
    service="www",
    map="world",
    client="81.2.69.0/24",
    client_why="the client subnet",
    located=LOCATED,
    rule="by distance",
    order=("ams", "nyc 70 | sin 30"),
    first_address="81.2.64.0",
    last_address="81.2.79.255",
    scope=20,
    scope_why="the widest prefix round the client inside the range",
    steps=(
        Step("ams", 1, 1, 358.2, 358.2, "up", 2, 2, 30, 1.0),
        Step("nyc", 2, 70, 5570.4, 5013.4, "up", 1, 1, 30, 0.0),
        Step("sin", 2, 30, 10873.0, 10873.0, "dead", 0, 1, 30, 0.0),
    ),
    taken="pass 1",
    taken_why="the first whose pool is up",
    ttl=30,
    ttl_why="service www has one number",
    pick="weighted",
    answers=1,
    candidates=(
        Candidate("ams", "192.0.2.10", "A", 3, "up", 0.75, 0.75),
        Candidate("ams", "192.0.2.11", "A", 1, "unknown", 0.25, 0.25),
    ),
    fallback=None,
)
HOP = Hop(
    name="www.example.com.",
    zone="example.com.",
    match=Match.EXACT,
    match_why="in zone example.com.",
    decision=DECISION,
    outcome="records",
    outcome_why="A of ams",
    records=("www.example.com. 30 IN A 192.0.2.10",),
    scope=20,
)
REPLY = Reply("NOERROR", ("qr", "aa"), ("www.example.com. 30 IN A 192.0.2.10",), (), (), 20, 71)
TOLD = Explanation("www.example.com.", "A", "81.2.69.0/24", "192.0.2.200", 5, False, (HOP,), REPLY)


def test_an_explanation_reads_from_the_name_to_the_reply() -> None:
    assert list(show_explanation(TOLD)) == [
        "www.example.com. A, client subnet 81.2.69.0/24, asked by 192.0.2.200",
        "",
        "name      www.example.com. in zone example.com.",
        "service   www, map world",
        "client    81.2.69.0/24: the client subnet",
        "place     EU, GB-ENG, 51.51 -0.09, AS64496",
        "source    geoip.mmdb, network 81.2.64.0/20",
        "order     ams > nyc 70 | sin 30: by distance",
        "range     81.2.64.0-81.2.79.255",
        "scope     /20: the widest prefix round the client inside the range",
        "pools     ams  tier 1               358 km                   up    2 of 2 live  ttl 30  always",
        "          nyc  tier 2 weight 70   5,570 km  ranked 5,013 km  up    1 of 1 live  ttl 30  -",
        "          sin  tier 2 weight 30  10,873 km                   dead  0 of 1 live  ttl 30  -",
        "taken     pass 1: the first whose pool is up",
        "ttl       30: service www has one number",
        "members   ams  192.0.2.10  weight 3  up       75 %",
        "          ams  192.0.2.11  weight 1  unknown  25 %",
        "result    records: A of ams",
        "          www.example.com. 30 IN A 192.0.2.10",
        "",
        "reply     NOERROR, flags qr aa, scope /20, 71 octets",
        "          one of several possible: drawn by 0x0000000000000005 (--draw asks for another)",
        "answer    www.example.com. 30 IN A 192.0.2.10",
    ]


def test_several_answers_tell_who_stands_first_and_who_stands_there_at_all() -> None:
    candidates = tuple(replace(c, in_reply=1.0) for c in DECISION.candidates)
    told = replace(TOLD, hops=(replace(HOP, decision=replace(DECISION, answers=2, candidates=candidates)),))
    assert "members   ams  192.0.2.10  weight 3  up       first 75 %  in the reply always" in list(show_explanation(told))


def test_a_fallback_is_told_like_a_service_of_its_own() -> None:
    told = replace(TOLD, hops=(replace(HOP, decision=replace(DECISION, fallback=replace(DECISION, service="spare"))),))
    lines = list(show_explanation(told))
    assert lines.index("fallback  service spare answers instead") < lines.index("service   spare, map world")


def test_silence_is_told_as_silence() -> None:
    assert list(show_explanation(replace(TOLD, reply=None)))[-1] == "reply     none: silence"


def test_a_certain_reply_speaks_of_no_draw() -> None:
    assert not any("drawn" in line for line in show_explanation(replace(TOLD, certain=True)))


def test_a_query_without_subnet_says_so() -> None:
    assert next(show_explanation(replace(TOLD, subnet=None))) == "www.example.com. A, no client subnet, asked by 192.0.2.200"


def test_a_location_shows_distances_and_every_map() -> None:
    distances = (Distance("ams", 358.2, 0, 358.2), Distance("nyc", 5570.4, 10, 5013.4))
    view = View("world", ("www", "api"), "by distance", ("ams", "nyc"), "81.2.64.0", "81.2.79.255", 20, "as wide as is true")
    assert list(show_location(Location(LOCATED, distances, (view,)))) == [
        "place     EU, GB-ENG, 51.51 -0.09, AS64496",
        "source    geoip.mmdb, network 81.2.64.0/20",
        "distances ams    358 km",
        "          nyc  5,570 km  ranked 5,013 km  bias 10",
        "",
        "map       world, services www, api",
        "order     ams > nyc: by distance",
        "range     81.2.64.0-81.2.79.255",
        "scope     /20: as wide as is true",
    ]


def test_a_place_that_nobody_knows_is_unknown() -> None:
    nobody = replace(
        LOCATED, network=None, source="nobody", continent=None, country=None, subdivision=None, coordinates=None, asn=None
    )
    lines = list(show_location(Location(replace(nobody, special="10.0.0.0/8, private use"), (), ())))
    assert lines == ["special   10.0.0.0/8, private use", "place     unknown", "source    nobody"]


def test_what_is_shown_but_not_used_says_so() -> None:
    located = replace(LOCATED, accuracy_km=100, registered_country="FR", coordinates_from="centre of GB-ENG")
    lines = list(show_location(Location(located, (), ())))
    assert lines[2:] == ["          coordinates: centre of GB-ENG", "          not used: accuracy 100 km, registered in FR"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "-"),
        (1, "always"),
        (0.5, "50 %"),
        (5 / 7, "71.4 %"),
        (0.0001, "< 0.1 %"),
        (0.99999, "> 99.9 %"),
        (1 / 3, "33.3 %"),
        (0.999, "99.9 %"),
    ],
)
def test_shares_are_rounded_but_never_to_nothing_or_all(share: float, text: str) -> None:
    assert show_share(share) == text


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.text("ab1 ", max_size=6), min_size=n, max_size=n))))
def test_columns_are_always_as_wide_as_their_widest_cell(cells: list[list[str]]) -> None:
    lines = list(align(cells))
    assert len(lines) == len(cells)
    for row, line in zip(cells, lines, strict=True):
        assert line.split() == " ".join(row).split()


def test_complaints_are_counted_in_words() -> None:
    error = Complaint(Severity.ERROR, Place("a.yaml", 1, 2), "x", "bad")
    warning = Complaint(Severity.WARNING, Place("a.yaml", 1, 2), "x", "odd")
    assert count_complaints([]) == ""
    assert count_complaints([error]) == "1 problem"
    assert count_complaints([error, warning, error, warning]) == "2 problems, 2 warnings"

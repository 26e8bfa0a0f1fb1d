"""What routes take: every value is checked for type and bounds before an operation sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.operations import FakeOperations

from geodns.errors import ControlError
from geodns.server.api import ROUTES, YEAR, Route, read_body, read_query

ROUTE = {route.path.rpartition("/")[2]: route for route in ROUTES}
KEYS = sorted({parameter.name for route in ROUTES for parameter in route.parameters})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(ControlError) as caught:
        call(*arguments)
    assert caught.value.status == 400
    return str(caught.value)


def check_given(route: Route, given: dict[str, Any]) -> None:
    """What every operation may rely on."""
    assert list(given) == [parameter.name for parameter in route.parameters]
    for parameter in route.parameters:
        value = given[parameter.name]
        if value is None:
            assert not parameter.required
        elif parameter.kind is str:
            assert type(value) is str and 1 <= len(value) <= parameter.longest and value.isprintable()
            assert not parameter.choices or value in parameter.choices
        elif parameter.kind is bool:
            assert type(value) is bool
        else:
            assert (
                isinstance(value, (int, float))
                and type(value) is parameter.kind
                and parameter.least <= value <= parameter.most
            )


@given(st.sampled_from(ROUTES), st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), JSON, max_size=5))
@settings(deadline=None)
def test_always_checked_or_refused_as_json(route: Route, body: dict[str, Any]) -> None:
    try:
        given = read_body(route, json.dumps(body).encode())
    except ControlError as error:
        assert error.status == 400 and str(error).isprintable()
    else:
        check_given(route, given)


@given(st.sampled_from(ROUTES), st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=5), st.text(max_size=90))))
@settings(deadline=None)
def test_always_checked_or_refused_as_a_query(route: Route, items: list[tuple[str, str]]) -> None:
    try:
        given = read_query(route, items)
    except ControlError as error:
        assert error.status == 400 and str(error).isprintable()
    else:
        check_given(route, given)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_always_checked_or_refused_as_octets(octets: bytes) -> None:
    try:
        check_given(ROUTE["reload"], read_body(ROUTE["reload"], octets))
    except ControlError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b'{"target": "a", "target": "b"}', "each key once"),
        (b'{"target": NaN}', "each key once"),
        (b'{"target": "a", "duration": 1e999}', "each key once"),
        (b"[" * 100_000, "must be JSON"),
        (b"\xff", "must be JSON"),
        (b"[]", "must be a JSON object"),
        (b"", '"target" is missing'),
        (b'{"tarhet": "a"}', 'unknown parameter "tarhet"; /api/v1/drain takes target, duration, reason, owner, dry_run'),
        (b'{"target": ""}', "1..255 characters, got 0"),
        (b'{"target": 5}', "must be a text"),
        (b'{"target": "a\\u001b[2J"}', "printable"),
        (b'{"target": "\\ud800"}', "printable"),
        (b'{"target": "a", "duration": 0}', f"must be above 0..{YEAR}"),
        (b'{"target": "a", "duration": true}', "must be a number"),
        (b'{"target": "a", "duration": "30m"}', "must be a number"),
        (b'{"target": "a", "dry_run": 1}', "must be true or false"),
        (b'{"target": "a", "owner": "' + b"o" * 101 + b'"}', "1..100 characters, got 101"),
        (b'{"target": "a", "\\u001b[2J": 1}', r'unknown parameter "\x1b[2J"'),
    ],
)
def test_refusals_say_what_is_wrong(octets: bytes, problem: str) -> None:
    assert problem in refusal(read_body, ROUTE["drain"], octets)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([("name", "a"), ("name", "b")], 'parameter "name" is given twice'),
        ([], '"name" is missing'),
        ([("name", "a"), ("draw", "0x10000000000000000")], "must be 0..18446744073709551615"),
        ([("name", "a"), ("draw", "-1")], "must be 0..18446744073709551615"),
        ([("name", "a"), ("draw", "9" * 5000)], "must be a number"),
        ([("name", "a"), ("draw", "1.5")], "must be a number"),
        ([("name", "a"), ("type", "A" * 17)], "1..16 characters"),
    ],
)
def test_refusals_of_a_query(items: list[tuple[str, str]], problem: str) -> None:
    assert problem in refusal(read_query, ROUTE["explain"], items)


def test_what_is_left_out_has_its_default() -> None:
    operations = FakeOperations()

    async def call(name: str, given: dict[str, Any]) -> None:
        await ROUTE[name].call(operations, given)

    drain = read_body(ROUTE["drain"], b'{"target": "ams"}') | {"owner": "x"}
    force = read_body(ROUTE["force"], b'{"target": "ams", "kind": "clear"}') | {"owner": "x"}
    asyncio.run(call("drain", drain))
    asyncio.run(call("force", force))
    asyncio.run(call("force", force | {"kind": "down", "duration": 5.0, "dry_run": True, "reason": "r"}))
    asyncio.run(call("reload", read_body(ROUTE["reload"], b"")))
    assert operations.asked == [
        ("override", "ams", "drain", None, "", "x", False),
        ("end", "ams", ("up", "down"), "x"),
        ("override", "ams", "down", 5.0, "r", "x", True),
        ("reload", False, None),
    ]
    assert read_query(ROUTE["explain"], [("name", "a"), ("draw", "0x10")])["draw"] == 16


def test_clearing_takes_no_duration() -> None:
    given = read_body(ROUTE["force"], b'{"target": "ams", "kind": "clear", "duration": 5}') | {"owner": "x"}
    assert "goes with neither" in refusal(ROUTE["force"].call, FakeOperations(), given)

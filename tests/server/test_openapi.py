"""The OpenAPI document: it says what is served, and what is served is as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema  # type: ignore[import-untyped,unused-ignore]
import pytest
from tests.scenes import build_scene
from tests.server.operations import FakeOperations
from tests.server.served import Served, serving

from geodns.client import Client
from geodns.control import Control
from geodns.errors import ControlError
from geodns.server.api import API, ROUTES, Operations, Route
from geodns.server.http import HttpServer
from geodns.server.openapi import PROBES, Schemas, write_document

DOCUMENT = write_document(FakeOperations)
GIVEN: dict[str, list[dict[str, Any]]] = {
    "status": [{}],
    "pools": [{}, {"pattern": "www/*"}],
    "overrides": [{}],
    "explain": [
        {"name": "www.example.com", "type": "A", "client": "20.10.0.0/16", "draw": "0x10"},
        {"name": "nothing.example.com", "peer": "10.0.0.1"},
        {"name": "example.org", "type": "TXT", "peer": "::1"},
    ],
    "locate": [{"address": "20.10.0.1"}, {"address": "2001:db8::1"}, {"address": "10.0.0.1"}],
    "diff": [{}],
    "drain": [{"target": "ams"}, {"target": "ams", "duration": 60, "reason": "disk", "owner": "alice", "dry_run": True}],
    "undrain": [{"target": "ams", "owner": "alice"}],
    "force": [{"target": "ams", "kind": "down"}, {"target": "ams", "kind": "clear"}],
    "reload": [{}, {"dry_run": True, "max_move": 0.1}],
}
CALLS = [(route, given) for route in ROUTES for given in GIVEN[route.path.removeprefix(f"{API}/")]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    operations = FakeOperations(build_scene(tmp_path_factory.mktemp("scene")))
    with serving(tmp_path_factory.mktemp("served"), operations=operations) as one:
        yield one


def describe(route: Route) -> dict[str, Any]:
    return dict(DOCUMENT["paths"][route.path][route.method.lower()])


def is_valid(schema: dict[str, Any], value: Any) -> bool:
    """By another's validator; references are into the document."""
    return bool(jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value))


def reply_schema(route: Route) -> dict[str, Any]:
    return dict(describe(route)["responses"]["200"]["content"]["application/json"]["schema"])


def test_the_document_has_every_path_and_method_that_is_served_and_no_other(tmp_path: Path) -> None:
    told = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    paths = HttpServer(FakeOperations())._paths
    assert told == {(path, method) for path, methods in paths.items() for method in methods}
    names = [described["operationId"] for methods in DOCUMENT["paths"].values() for described in methods.values()]
    assert len(set(names)) == len(names) and set(PROBES) < set(DOCUMENT["paths"])


def test_the_document_is_served(served: Served) -> None:
    assert Client.open(served.path).get("openapi.json") == json.loads(json.dumps(DOCUMENT))


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found: Any = DOCUMENT
        for step in reference.split("/"):
            found = found[step]
        assert found
    used = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert used == DOCUMENT["components"]["schemas"].keys()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description", "x")


@pytest.mark.parametrize(("route", "given"), CALLS, ids=[f"{route.path} {given}" for route, given in CALLS])
def test_a_real_reply_is_as_the_document_says(served: Served, route: Route, given: dict[str, Any]) -> None:
    client, name = Client.open(served.path), route.path.removeprefix(f"{API}/")
    said = client.get(name, given) if route.method == "GET" else client.post(name, given)
    assert is_valid(reply_schema(route), said)
    assert not is_valid(reply_schema(route), {"another": "shape"})
    for facts in said if isinstance(said, list) else [said]:  # and the schema is not one that takes anything
        for key in facts:
            less = {other: value for other, value in facts.items() if other != key}
            assert not is_valid(reply_schema(route), [less] if isinstance(said, list) else less)


@pytest.mark.parametrize(("route", "given"), CALLS, ids=[f"{route.path} {given}" for route, given in CALLS])
def test_what_is_taken_is_what_the_document_takes(route: Route, given: dict[str, Any]) -> None:
    told = describe(route)
    if route.method == "POST":
        body = told["requestBody"]["content"]["application/json"]["schema"]
        assert is_valid(body, given) and not is_valid(body, given | {"unknown": 1})
        assert list(body["properties"]) == [parameter.name for parameter in route.parameters]
    else:
        schemas = {parameter["name"]: parameter["schema"] for parameter in told["parameters"]}
        assert list(schemas) == [parameter.name for parameter in route.parameters]
        assert all(is_valid(schemas[name], value) for name, value in given.items())


@pytest.mark.parametrize(
    ("body", "fine"),
    [
        ({"target": "ams", "duration": 0.5, "reason": None, "dry_run": True}, True),
        ({}, False),
        ({"target": ""}, False),
        ({"target": "a" * 256}, False),
        ({"target": "a", "duration": 0}, False),
        ({"target": "a", "duration": "5"}, False),
        ({"target": "a", "duration": 4e7}, False),
        ({"target": "a", "dry_run": 1}, False),
        ({"target": "a", "reason": "x" * 201}, False),
    ],
)
def test_document_and_server_refuse_the_same(served: Served, body: dict[str, Any], fine: bool) -> None:
    route = next(route for route in ROUTES if route.path == f"{API}/drain")
    assert is_valid(describe(route)["requestBody"]["content"]["application/json"]["schema"], body) is fine
    try:
        Client.open(served.path).post("drain", body)
    except ControlError as error:
        assert error.status == 400 and not fine
    else:
        assert fine


def test_errors_are_as_the_document_says(served: Served) -> None:
    for path, status in (("/nothing", 404), ("/api/v1/drain", 405), ("/api/v1/explain", 400)):
        found, _, octets = served.request("GET", path)
        assert found == status and is_valid(DOCUMENT["components"]["schemas"]["Error"], json.loads(octets))


def test_every_operation_of_the_seam_has_a_route() -> None:
    methods = {name for name in vars(Operations) if not name.startswith("_")} - {"ready", "scrape"}
    assert {route.operation for route in ROUTES} == methods
    for name in methods:
        assert "return" in get_type_hints(getattr(Operations, name))


def test_two_classes_of_one_name_have_two_schemas() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"Move", "DiffMove"} <= schemas.keys() and schemas["Move"] != schemas["DiffMove"]


def test_a_type_without_a_form_is_a_mistake_that_is_seen() -> None:
    @dataclass
    class Strange:
        """Holds what JSON cannot."""

        inside: bytes

    with pytest.raises(TypeError, match="no JSON Schema for"):
        Schemas().of(Strange)


def test_the_daemon_says_of_its_operations_what_is_told_here() -> None:
    """So that the replies of the stand-in, which are held against the document, are those of the daemon."""
    operations: type[Operations] = Control  # mypy holds the signatures
    assert write_document(operations) == DOCUMENT


def test_the_reference_page_names_every_path_parameter_and_status() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `((?:GET|POST) /[^`]+)` \|.*$", page, re.M)}
    assert rows.keys() == {f"{m.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for m in methods}
    for route in ROUTES:
        told = rows[f"{route.method} {route.path}"]
        told += rows[f"POST {API}/drain"] if "as `drain`" in told else ""
        assert [parameter.name for parameter in route.parameters if f"`{parameter.name}`" not in told] == []
    assert set(re.findall(r"^\| ([0-9]{3}) \|", page, re.M)) == DOCUMENT["components"]["responses"].keys()

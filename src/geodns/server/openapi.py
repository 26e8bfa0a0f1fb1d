"""The OpenAPI 3.1 document of the API, made from the route table and from what the operations say they return.

Knows how annotations of dataclasses become JSON Schema (OpenAPI 3.1 takes its dialect 2020-12). Knows no operation by name,
so that nothing here can go stale.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, Union, get_args, get_origin, get_type_hints

from .. import __version__
from .api import API, ROUTES, Parameter, Route

Schema = dict[str, Any]
DOCUMENT = f"{API}/openapi.json"
PLAIN: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number", Fraction: "number"}
TOKEN = "token"  # noqa: S105  (the name of the scheme)
ERRORS = {
    "400": "A parameter is missing, unknown, or out of its bounds.",
    "401": "This needs the token, or another one.",
    "403": "This is not served to you at all; the text says what to configure.",
    "404": "Nothing is there, or the target matches nothing.",
    "405": "Another method is needed; `Allow` names it.",
    "409": "It cannot be done now.",
    "413": "The body is too large.",
    "500": "A mistake of ours; the log of the daemon tells of it.",
    "503": "Not ready yet, or stopping.",
}
PROBES = {
    "/metrics": ("Counters and states for Prometheus.", {"200": "What is counted."}),
    "/healthz": ("Does the daemon run?", {"200": "It does."}),
    "/readyz": ("Does it answer queries?", {"200": "It does.", "503": "Not yet, or no more."}),
}


def write_document(operations: type) -> Schema:
    """The document for *operations*, whose methods' return annotations are the schemas of the replies."""
    schemas = Schemas()
    paths: dict[str, Any] = {path: {"get": _probe(path)} for path in PROBES}
    paths[DOCUMENT] = {"get": _describe_document()}
    for route in ROUTES:
        result = get_type_hints(getattr(operations, route.operation))["return"]
        paths.setdefault(route.path, {})[route.method.lower()] = _describe(route, schemas.of(result))
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "geodns",
            "version": __version__,
            "description": "Status and control of a running daemon. Over TCP whatever changes something needs the token, "
            "and beyond loopback everything does but /metrics, /healthz and /readyz; the control socket needs none.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": error, **dict(sorted(schemas.found.items()))},
            "responses": {
                status: {"description": text, "content": _json({"$ref": "#/components/schemas/Error"})}
                for status, text in ERRORS.items()
            },
            "securitySchemes": {TOKEN: {"type": "http", "scheme": "bearer"}},
        },
    }


class Schemas:
    """JSON Schemas of types, those of dataclasses by name; a second class of a name has its module before it."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}
        self._names: dict[type, str] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of what `jsonform` makes of a value annotated as *hint*. Raises TypeError for other types."""
        origin, inside = get_origin(hint), get_args(hint)
        if origin in {Union, types.UnionType}:
            return {"anyOf": [self.of(one) for one in inside]}
        if origin is tuple and inside[-1] is Ellipsis:
            return {"type": "array", "items": self.of(inside[0])}
        if origin is tuple:
            return {
                "type": "array",
                "prefixItems": [self.of(one) for one in inside],
                "items": False,
                "minItems": len(inside),
            }
        if hint is types.NoneType:
            return {"type": "null"}
        if isinstance(hint, type) and issubclass(hint, Enum):
            return {"type": "string", "enum": [str(one.value) for one in hint]}
        if is_dataclass(hint) and isinstance(hint, type):
            return {"$ref": f"#/components/schemas/{self._name(hint)}"}
        if hint in PLAIN:
            return {"type": PLAIN[hint]}
        raise TypeError(f"no JSON Schema for {hint!r}")

    def _name(self, kind: type) -> str:
        if kind in self._names:
            return self._names[kind]
        name = kind.__name__
        if name in self.found:
            name = f"{kind.__module__.rpartition('.')[2].capitalize()}{name}"
        self._names[kind], self.found[name] = name, {}  # before what is inside: a type may hold itself
        properties = {key: self.of(hint) for key, hint in _hints(kind)}
        self.found[name] = {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "required": list(properties),
            "properties": properties,
            "additionalProperties": False,
        }
        return name


def _hints(kind: Any) -> Iterator[tuple[str, Any]]:
    """The keys of a dataclass as `jsonform` writes them: its fields, then its properties; with their types."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        yield field.name, hints[field.name]
    for name, member in vars(kind).items():
        if isinstance(member, property):
            yield name, get_type_hints(member.fget)["return"]


def _describe(route: Route, reply: Schema) -> Schema:
    """One operation of a path."""
    told: Schema = {
        "operationId": route.path.removeprefix(API).strip("/"),
        "summary": route.summary,
        "responses": {
            "200": {"description": "Done, or told.", "content": _json(reply)},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in ERRORS},
        },
        "security": [{TOKEN: []}] if route.method == "POST" else [{}, {TOKEN: []}],
    }
    if route.method == "POST":
        body = {
            "type": "object",
            "required": [parameter.name for parameter in route.parameters if parameter.required],
            "properties": {parameter.name: _describe_value(parameter, text=False) for parameter in route.parameters},
            "additionalProperties": False,
        }
        told["requestBody"] = {"required": bool(body["required"]), "content": _json(body)}
    else:
        told["parameters"] = [
            {
                "name": parameter.name,
                "in": "query",
                "required": parameter.required,
                "description": parameter.meaning,
                "schema": _describe_value(parameter, text=True),
            }
            for parameter in route.parameters
        ]
    return told


def _describe_value(parameter: Parameter, *, text: bool) -> Schema:
    """The schema of a parameter: as a value of JSON, or as it stands in a query (*text*)."""
    described: Schema = {} if text else {"description": parameter.meaning}
    kind = PLAIN[parameter.kind]
    if parameter.kind is int and text:  # 64 bits, which many readers of JSON cannot hold; hexadecimal too
        return {**described, "type": "string", "pattern": "^(0x[0-9A-Fa-f]{1,16}|[0-9]{1,20})$"}
    described["type"] = kind if parameter.required or text else [kind, "null"]
    if parameter.choices:
        described["enum"] = list(parameter.choices)
    elif parameter.kind is str:
        described.update(minLength=1, maxLength=parameter.longest)
    elif parameter.kind is not bool:
        described["exclusiveMinimum" if parameter.above else "minimum"] = parameter.least
        described["maximum"] = parameter.most
    return described


def _probe(path: str) -> Schema:
    summary, replies = PROBES[path]
    content = {"text/plain": {"schema": {"type": "string"}}}
    told = {status: {"description": text, "content": content} for status, text in replies.items()}
    return {"operationId": path.strip("/"), "summary": summary, "responses": told, "security": [{}]}


def _describe_document() -> Schema:
    reply = {"description": "OpenAPI 3.1.", "content": _json({"type": "object"})}
    security: list[Schema] = [{}, {TOKEN: []}]
    return {"operationId": "openapi", "summary": "This document.", "responses": {"200": reply}, "security": security}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}

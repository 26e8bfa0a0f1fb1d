"""The JSON Schema of a configuration file as it is written, for editors.

Knows what `Config` says of itself and what only a file has: `include`, ``x-`` keys, checks inside services. It accepts
every form that the loader accepts and refuses unknown keys; what only a whole configuration can tell (references,
positions, sums) it leaves to `geodns check`.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from .fields import TEXT_SCHEMA
from .model import Config
from .model_checks import Check

_NAMED = frozenset({"properties", "patternProperties", "$defs"})
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a main file. An included file is one with fewer keys."""
    written: dict[str, Any] = Config.model_json_schema()
    checks = TypeAdapter[Any](Check).json_schema(ref_template="#/$defs/{model}")
    written["$defs"] |= checks.pop("$defs")
    written["$defs"]["check"] = checks
    in_place = [{"type": ["string", "number", "boolean", "null"]}, {"type": "array", "items": TEXT_SCHEMA}]
    written["$defs"]["Service"]["properties"]["check"] = {"anyOf": [*in_place, {"$ref": "#/$defs/check"}]}
    written["properties"]["include"] = {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA}, {"type": "null"}]}
    written["patternProperties"] = {"^x-": {}}
    _drop_defaults(written)
    return {"$schema": DIALECT, "$comment": "Made by: geodns config schema", **written, "title": "geodns configuration"}


def _drop_defaults(node: Any) -> None:
    """Defaults and titles are in Python's form, which no file has; the reference page tells them."""
    if isinstance(node, list):
        for inner in node:
            _drop_defaults(inner)
    elif isinstance(node, dict):
        for word in ("default", "title"):
            node.pop(word, None)
        for word, inner in node.items():
            # Under these words stand names of ours, and `default` is one of them.
            for one in inner.values() if word in _NAMED and isinstance(inner, dict) else [inner]:
                _drop_defaults(one)

"""A validator for the part of JSON Schema (2020-12) that our schema uses.

Knows the keywords in `KEYWORDS` and refuses others, so that a schema which says more than it checks is noticed.
"""

from __future__ import annotations

import re
from typing import Any

ANNOTATIONS = {"$schema", "$comment", "$defs", "title", "description"}
KEYWORDS = {
    *("type", "const", "enum", "pattern", "minimum", "maximum"),
    *("anyOf", "oneOf", "$ref", "items", "minItems", "maxItems"),
    *("properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"),
}
TYPES: dict[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> bool:
    """Whether *value* (of JSON's types) is valid under *schema*."""
    root = schema if root is None else root
    unknown = schema.keys() - KEYWORDS - ANNOTATIONS
    assert not unknown, f"keywords without meaning here: {unknown}"
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        if not accepts(target, value, root):
            return False
    if "anyOf" in schema and not any(accepts(one, value, root) for one in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(accepts(one, value, root) for one in schema["oneOf"]) != 1:
        return False
    return _accepts_scalar(schema, value) and _accepts_list(schema, value, root) and _accepts_mapping(schema, value, root)


def _accepts_scalar(schema: dict[str, Any], value: Any) -> bool:
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(TYPES[name](value) for name in types):
        return False
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    if TYPES["number"](value):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _accepts_list(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    if not isinstance(value, list):
        return True
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    return all(accepts(schema["items"], item, root) for item in value) if "items" in schema else True


def _accepts_mapping(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    if not set(schema.get("required", [])) <= value.keys():
        return False
    return all(_accepts_entry(schema, key, item, root) for key, item in value.items())


def _accepts_entry(schema: dict[str, Any], key: str, item: Any, root: dict[str, Any]) -> bool:
    rules = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    rules += [rule for pattern, rule in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
    if not rules:
        rest = schema.get("additionalProperties", True)
        return rest if isinstance(rest, bool) else accepts(rest, item, root)
    return all(accepts(rule, item, root) for rule in rules)

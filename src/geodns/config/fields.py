"""The kinds of fields: how each is read, and how an editor may write it.

Knows pydantic's annotations. Beside each parser of `scalars` stands the JSON Schema of what may be *written*: an editor
sees numbers and booleans where we see text. Knows nothing of keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue

from .scalars import (
    DURATION,
    FALSE_WORDS,
    MOST_TTL,
    TRUE_WORDS,
    listed,
    mapped,
    none_if_off,
    one_value,
    parse_address,
    parse_asn,
    parse_coordinates,
    parse_flag,
    parse_network,
    parse_path,
    parse_probe_at,
    parse_share,
    parse_target,
    parse_ttl,
    parse_upper,
    parse_word,
    parse_written,
    refuse_feature,
    whole,
)
from .tree import OFF_WORDS

Schema = dict[str, Any]


def whole_schema(least: int, most: int) -> Schema:
    """What `whole` accepts, as JSON Schema."""
    return {
        "anyOf": [{"type": "integer", "minimum": least, "maximum": most}, {"type": "string", "pattern": r"^[+-]?[0-9]+$"}]
    }


def any_case(words: tuple[str, ...]) -> str:
    """A JSON Schema pattern (which has no flags) for *words* in any case."""
    letters = ("".join(f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in word) for word in words)
    return f"^({'|'.join(letters)})$"


TEXT_SCHEMA: Schema = {"type": ["string", "number", "boolean"]}


OFF_SCHEMA: Schema = {
    "anyOf": [{"type": "null"}, {"const": False}, {"pattern": any_case(tuple(sorted(OFF_WORDS))), "type": "string"}]
}


DURATION_SCHEMA: Schema = {"type": "string", "pattern": f"^{DURATION.pattern}$"}


TTL_SCHEMA: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": MOST_TTL},
        {"type": "string", "pattern": f"^([0-9]+|{DURATION.pattern})$"},
    ]
}


_DEGREES: Schema = {"type": ["number", "string"]}


COORDINATES_SCHEMA: Schema = {"type": "array", "items": _DEGREES, "minItems": 2, "maxItems": 2}


@dataclass(frozen=True)
class Form(BeforeValidator):
    """A validator that admits one more written form, and adds this form to the JSON Schema of what it annotates."""

    widen: Callable[[JsonSchemaValue], JsonSchemaValue] = field(kw_only=True)

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.widen(handler(core))


OFF = Form(none_if_off, widen=lambda inner: {"anyOf": [inner, *OFF_SCHEMA["anyOf"]]})
LISTED = Form(listed, widen=lambda inner: {"anyOf": [inner["items"], inner, {"type": "null"}]})
MAPPED = Form(mapped, widen=lambda inner: {"anyOf": [inner, {"type": "null"}]})

_ADDRESS_SCHEMA: Schema = {"type": "string", "pattern": "^[0-9A-Fa-f.:]+$"}
_NETWORK_SCHEMA: Schema = {"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$"}
_ASN_SCHEMA: Schema = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 2**32 - 1}, {"type": "string", "pattern": "^([Aa][Ss])?[0-9]+$"}]
}

Text = Annotated[str, BeforeValidator(one_value), WithJsonSchema(TEXT_SCHEMA)]
RdataText = Annotated[str, BeforeValidator(parse_written), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]
Upper = Annotated[str, BeforeValidator(parse_upper), WithJsonSchema(TEXT_SCHEMA)]
Flag = Annotated[
    bool,
    BeforeValidator(parse_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": any_case(TRUE_WORDS + FALSE_WORDS)}]}),
]
Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(parse_address), WithJsonSchema(_ADDRESS_SCHEMA)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network), WithJsonSchema(_NETWORK_SCHEMA)]
Asn = Annotated[int, BeforeValidator(parse_asn), WithJsonSchema(_ASN_SCHEMA)]
Coordinates = Annotated[tuple[float, float], BeforeValidator(parse_coordinates), WithJsonSchema(COORDINATES_SCHEMA)]
FilePath = Annotated[Path, BeforeValidator(parse_path), WithJsonSchema(TEXT_SCHEMA)]
Seconds = Annotated[int, BeforeValidator(parse_ttl), WithJsonSchema(TTL_SCHEMA)]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]}),
]
Target = Annotated[str, BeforeValidator(parse_target), WithJsonSchema({"type": "string", "pattern": r"\.$"})]
ProbeAt = Annotated[str, BeforeValidator(parse_probe_at), WithJsonSchema({"type": "string"})]
NotYet = Annotated[None, BeforeValidator(refuse_feature), WithJsonSchema(OFF_SCHEMA)]
Port = Annotated[int, BeforeValidator(whole(1, 65535)), WithJsonSchema(whole_schema(1, 65535))]


def word_of(*choices: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """One of *choices*, in any case: a parser and its schema."""
    return BeforeValidator(parse_word(choices)), WithJsonSchema({"type": "string", "pattern": any_case(choices)})

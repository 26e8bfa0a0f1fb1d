"""The base of all configuration models.

Knows how every model behaves: frozen, no unknown keys, nothing written is an empty mapping. Knows no key.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from .tree import is_null


class Frozen(BaseModel):
    """Base of all: unknown keys are errors, values never change. `model_fields_set` tells what was written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def read_nothing(cls, given: Any) -> Any:
        """A key with nothing behind it is an empty mapping."""
        return {} if is_null(given) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        schema["type"] = ["object", "null"]
        return schema

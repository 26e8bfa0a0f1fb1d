"""The `zones` section: names, and their records as text.

Knows its keys. Knows nothing of rdata: the compiler of zones reads it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue

from .fields import LISTED, MAPPED, OFF, FilePath, RdataText, Seconds, Text, whole_schema
from .frozen import Frozen
from .scalars import whole


class Soa(Frozen):
    """What the zone's SOA says; a master file's keys are overridden one by one."""

    mname: Text | None = None
    rname: Text | None = None
    serial: Annotated[int, BeforeValidator(whole(0, 2**32 - 1)), WithJsonSchema(whole_schema(0, 2**32 - 1))] | None = None
    refresh: Seconds | None = None
    retry: Seconds | None = None
    expire: Seconds | None = None
    negative_ttl: Seconds | None = None
    ttl: Seconds | None = None


class RrsetText(Frozen):
    """One type at an owner, as written: rdata in presentation form."""

    values: Annotated[tuple[RdataText, ...], LISTED]
    ttl: Seconds | None = None

    @model_validator(mode="before")
    @classmethod
    def read_values(cls, given: Any) -> Any:
        """One value or a list of them."""
        return given if isinstance(given, (dict, RrsetText)) else {"values": given}

    @model_validator(mode="after")
    def check_values(self) -> RrsetText:
        """At least one record."""
        if not self.values:
            raise ValueError("must have at least one value")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [*schema["properties"]["values"]["anyOf"][:2], {**schema, "type": "object"}]}


class Owner(Frozen):
    """What one name holds: a service, rrsets, or both."""

    service: Text | None = None
    ttl: Seconds | None = None
    rrsets: dict[str, RrsetText] = {}  # by type mnemonic, upper case

    @model_validator(mode="before")
    @classmethod
    def read_types(cls, given: Any) -> Any:
        """Every key but service and ttl is a record type."""
        if not isinstance(given, dict) or "rrsets" in given:
            return given
        owner = {key: given[key] for key in ("service", "ttl") if key in given}
        rrsets: dict[str, Any] = {}
        for key, value in given.items():
            if key in owner:
                continue
            if key.upper() in rrsets:
                raise ValueError(f"the type {key.upper()} is written twice")
            rrsets[key.upper()] = value
        return {**owner, "rrsets": rrsets}

    @model_validator(mode="after")
    def check_content(self) -> Owner:
        """A name that is written holds something."""
        if self.service is None and not self.rrsets:
            raise ValueError("holds nothing: give a service, or record types")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        rrsets = schema["properties"].pop("rrsets")
        schema["patternProperties"] = {"^[A-Za-z][A-Za-z0-9-]*$": rrsets["additionalProperties"]}
        return schema


class Zone(Frozen):
    """What we are authoritative for."""

    ns: Annotated[tuple[Text, ...], LISTED] = ()
    soa: Soa = Soa()
    ttl: Seconds | None = None  # 300 where the master file says nothing either
    file: Annotated[FilePath | None, OFF] = None
    records: Annotated[dict[str, Owner], MAPPED] = {}  # by owner as written: relative, "@" or absolute

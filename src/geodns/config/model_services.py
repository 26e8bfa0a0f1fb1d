"""The `services` section: pools, members, and what is answered when nobody is left.

Knows its keys. Knows nothing of health or of the draw.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue

from .fields import LISTED, Address, Flag, ProbeAt, Schema, Seconds, Share, Target, Text, any_case, whole_schema, word_of
from .frozen import Frozen
from .scalars import one_value, parse_word, whole
from .tree import Entries, is_off

Weight = Annotated[int, BeforeValidator(whole(0, 65535)), WithJsonSchema(whole_schema(0, 65535))]


class Member(Frozen):
    """One address or target of a pool."""

    address: Address | None = None
    target: Target | None = None  # absolute, lower case, final dot
    weight: Weight = 1
    probe_at: ProbeAt | None = None
    drain: Flag = False

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """An address, or a name with its final dot."""
        if not isinstance(given, str):
            return given
        return {"address" if re.search(r"^[0-9.]+$|:", one_value(given)) else "target": given}

    @model_validator(mode="after")
    def check_kind(self) -> Member:
        """Exactly one of address and target."""
        if (self.address is None) == (self.target is None):
            raise ValueError("needs an address or a target" + (", not both" if self.target else ""))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core))]}


class Ttl(Frozen):
    """One number, or a range that follows health."""

    min: Seconds = 30
    max: Seconds = 30

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """One number is both ends; a range needs both."""
        if isinstance(given, (str, int)):
            return {"min": given, "max": given}
        if isinstance(given, Entries) and len(given.keys() & {"min", "max"}) < 2:
            raise ValueError("a range needs both min and max")
        return given

    @model_validator(mode="after")
    def check_range(self) -> Ttl:
        """From low to high."""
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": ["string", "integer"]}, handler.resolve_ref_schema(handler(core))]}


class AllDown(Frozen):
    """What is answered when no pool has anybody left."""

    kind: Literal["all", "none", "servfail", "service", "addresses"] = "all"
    service: Text | None = None
    addresses: Annotated[tuple[Address, ...], LISTED] = ()

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """A word, or a mapping of one key."""
        if isinstance(given, str):
            return {"kind": parse_word(("all", "none", "servfail"))(given)}
        if isinstance(given, Entries):
            if len(given.keys() & {"service", "addresses"}) != 1:
                raise ValueError("must be all, none, servfail, {service: NAME} or {addresses: [...]}")
            return {**given, "kind": "service" if "service" in given else "addresses"}
        return given

    @model_validator(mode="after")
    def check_addresses(self) -> AllDown:
        """Somebody to answer."""
        if self.kind == "addresses" and not self.addresses:
            raise ValueError("addresses must name at least one")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        schema["properties"].pop("kind", None)
        schema.update(minProperties=1, maxProperties=1, type="object")
        return {"anyOf": [{"type": "string", "pattern": any_case(("all", "none", "servfail"))}, schema]}


def parse_check_names(given: Any) -> Any:
    """Names of checks; off is none. (A check written in place has become a name before.)"""
    if is_off(given):
        return None
    return given if isinstance(given, (list, tuple)) else (given,)


def parse_answers(given: Any) -> Any:
    """A number of records, or ``all``, which is 0."""
    text = one_value(given)
    return 0 if text == 0 or (isinstance(text, str) and text.lower() == "all") else whole(1, 1000)(text)


_ANSWERS_SCHEMA: Schema = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"type": "string"}]}


_PICK, _PICK_SCHEMA = word_of("weighted", "sticky")


class Service(Frozen):
    """A balanced name's rules and members."""

    map: Text = "world"
    # Names in `Config.checks` (one written in place gets a name of its own).
    check: Annotated[tuple[Text, ...] | None, BeforeValidator(parse_check_names)] = None
    ttl: Ttl = Ttl()
    answers: Annotated[int, BeforeValidator(parse_answers), WithJsonSchema(_ANSWERS_SCHEMA)] = 1  # 0 is all
    pick: Annotated[Literal["weighted", "sticky"], _PICK, _PICK_SCHEMA] = "weighted"
    up_threshold: Share = 0.5
    all_down: AllDown = AllDown()
    pools: dict[str, Annotated[tuple[Member, ...], LISTED]]

    @model_validator(mode="after")
    def check_pools(self) -> Service:
        """At least one pool, none of them empty."""
        if not self.pools:
            raise ValueError("pools must name at least one datacenter")
        for name, members in self.pools.items():
            if not members:
                raise ValueError(f"the pool of {name} has no members")
        return self

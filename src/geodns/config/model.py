"""The configuration as typed values: what may be written, and what it means when nothing is.

Knows every key, its type, range and default: `model_server`, `model_checks`, `model_services` and `model_zones` have those
of their sections, the rest stands here. `scalars` knows how text becomes a value.
Knows nothing of files, YAML or what the values are for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from .fields import (
    DURATION_SCHEMA,
    LISTED,
    MAPPED,
    OFF,
    TEXT_SCHEMA,
    Address,
    Asn,
    Coordinates,
    FilePath,
    Flag,
    Form,
    Network,
    Schema,
    Text,
    Upper,
    whole_schema,
)
from .frozen import Frozen
from .model_checks import DAY, Check
from .model_server import Backend, Limits, Listen, Log, Server
from .model_services import AllDown, Member, Service, Ttl
from .model_zones import Owner, RrsetText, Soa, Zone
from .scalars import duration, one_value, parse_path, whole
from .tree import is_null

__all__ = [
    "Address",
    "AllDown",
    "Backend",
    "Check",
    "Config",
    "Correction",
    "Corrections",
    "Database",
    "Datacenter",
    "Geoip",
    "Health",
    "Limits",
    "Listen",
    "Log",
    "Map",
    "Member",
    "Network",
    "Owner",
    "RrsetText",
    "Rule",
    "Server",
    "Service",
    "Soa",
    "Tier",
    "Ttl",
    "Wait",
    "Zone",
]

Wait = Annotated[float, BeforeValidator(duration(0, 7 * DAY)), WithJsonSchema(DURATION_SCHEMA)]


class Correction(Frozen):
    """What `geoip.networks` says of one prefix."""

    datacenter: Text | None = None
    continent: Upper | None = None
    country: Upper | None = None
    subdivision: Upper | None = None  # "US-CA"
    city: Text | None = None
    coordinates: Coordinates | None = None
    asn: Asn | None = None

    @model_validator(mode="after")
    def check_content(self) -> Correction:
        """A correction corrects something, and one position is enough."""
        if not self.model_fields_set:
            raise ValueError("corrects nothing: give datacenter, country, coordinates ...")
        if self.datacenter is not None and self.coordinates is not None:
            raise ValueError("datacenter and coordinates both give a position; keep one")
        return self


def parse_database(given: Any) -> Any:
    """``builtin`` is a word, anything else a path."""
    return "builtin" if isinstance(given, str) and given == "builtin" else parse_path(given)


Database = Annotated[Literal["builtin"] | FilePath, BeforeValidator(parse_database), WithJsonSchema(TEXT_SCHEMA)]
Corrections = Annotated[dict[Network, Correction], MAPPED]


class Geoip(Frozen):
    """Where clients are."""

    database: Annotated[tuple[Database, ...], LISTED] = ("builtin",)
    asn: Annotated[FilePath | None, OFF] = None
    networks: Corrections = {}  # those of networks_file merged in
    networks_file: Annotated[FilePath | None, OFF] = None

    @model_validator(mode="after")
    def check_database(self) -> Geoip:
        """At least one database."""
        if not self.database:
            raise ValueError('database must name at least one file, or "builtin"')
        return self


class Datacenter(Frozen):
    """A place that serves."""

    coordinates: Coordinates  # latitude, longitude
    bias: Annotated[int, BeforeValidator(whole(-99, 99)), WithJsonSchema(whole_schema(-99, 99))] = 0
    drain: Flag = False


def parse_tier(given: Any) -> Any:
    """One datacenter, or a weighted set of them."""
    if isinstance(given, dict):
        if not given:
            raise ValueError("a weighted tier names at least one datacenter")
        return tuple((str(name), _tier_weight(str(name), weight)) for name, weight in given.items())
    return ((one_value(given), 1),) if isinstance(given, str) else given


def _tier_weight(name: str, given: Any) -> Any:
    try:
        return whole(1, 65535)(given)
    except ValueError as error:
        raise ValueError(f'weight of "{name}": {error}') from None


_TIER_SCHEMA: Schema = {
    "anyOf": [TEXT_SCHEMA, {"type": "object", "additionalProperties": whole_schema(1, 65535), "minProperties": 1}]
}

# One (datacenter, 1), or a weighted set.
Tier = Annotated[tuple[tuple[str, int], ...], BeforeValidator(parse_tier), WithJsonSchema(_TIER_SCHEMA)]


class Rule(Frozen):
    """A line of a map: all conditions must hold, values of one are alternatives."""

    network: Annotated[tuple[Network, ...], LISTED] = ()
    asn: Annotated[tuple[Asn, ...], LISTED] = ()
    country: Annotated[tuple[Upper, ...], LISTED] = ()
    subdivision: Annotated[tuple[Upper, ...], LISTED] = ()
    continent: Annotated[tuple[Upper, ...], LISTED] = ()
    order: Annotated[tuple[Tier, ...], LISTED]
    only: Flag = False

    @model_validator(mode="after")
    def check_conditions(self) -> Rule:
        """A condition that was written has a value: without one, nobody or everybody could be meant."""
        for name in ("network", "asn", "country", "subdivision", "continent"):
            if name in self.model_fields_set and not getattr(self, name):
                raise ValueError(f"{name} is empty; leave it out to mean everybody")
        return self


class Map(Frozen):
    """Client ranges to orders."""

    rules: Annotated[tuple[Rule, ...], LISTED] = ()
    nearest: Flag = True
    depth: Annotated[int, BeforeValidator(whole(0, 1000)), WithJsonSchema(whole_schema(0, 1000))] = 3
    default: Annotated[tuple[Text, ...], LISTED] = ()  # completed in the order of `datacenters`


class Health(Frozen):
    """How far health is trusted over time."""

    startup_wait: Wait = 10.0
    stale_limit: Wait = 3600.0
    freeze_limit: Wait = 120.0


def with_world(given: Any) -> Any:
    """The map that always exists: nearest, no rules."""
    if is_null(given):
        return {"world": {}}
    return {**given, "world": {}} if isinstance(given, dict) and "world" not in given else given


class Config(Frozen):
    """All of it, includes and networks_file merged."""

    server: Server = Server()
    geoip: Geoip = Geoip()
    datacenters: Annotated[dict[str, Datacenter], MAPPED] = {}
    maps: Annotated[dict[str, Map], Form(with_world, widen=lambda inner: {"anyOf": [inner, {"type": "null"}]})] = {
        "world": Map()
    }  # `world` always exists
    checks: Annotated[dict[str, Check], MAPPED] = {}
    services: Annotated[dict[str, Service], MAPPED] = {}
    zones: Annotated[dict[str, Zone], MAPPED] = {}  # by apex, absolute, lower case, final dot
    health: Health = Health()

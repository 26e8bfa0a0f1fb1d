"""The configuration as typed values: what may be written, and what it means when nothing is.

Knows every key, its type, range and default (`scalars` knows how text becomes a value, `checks` the keys of checks).
Knows nothing of files, YAML or what the values are for.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue

from .checks import DAY, Check
from .frozen import Frozen
from .scalars import (
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
    NotYet,
    Port,
    ProbeAt,
    RdataText,
    Schema,
    Seconds,
    Share,
    Target,
    Text,
    Upper,
    any_case,
    duration,
    one_value,
    parse_flag,
    parse_network,
    parse_path,
    parse_word,
    split_port,
    whole,
    whole_schema,
)
from .tree import Entries, describe, is_null, is_off

__all__ = ["Address", "Check", "Config", "Network"]

Wait = Annotated[float, BeforeValidator(duration(0, 7 * DAY)), WithJsonSchema(DURATION_SCHEMA)]
Weight = Annotated[int, BeforeValidator(whole(0, 65535)), WithJsonSchema(whole_schema(0, 65535))]
Count = Annotated[int, BeforeValidator(whole(1, 1_000_000)), WithJsonSchema(whole_schema(1, 1_000_000))]


class Listen(Frozen):
    """An address and a port."""

    address: Address
    port: Port

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """``192.0.2.53:53`` or ``[2001:db8::53]:53``."""
        if not isinstance(given, str):
            return given
        host, port = split_port(one_value(given))
        if port is None:
            wanted = f"[{host}]:53" if ":" in host else f"{host}:53"
            raise ValueError(f'must be ADDRESS:PORT, got {describe(given)}, did you mean "{wanted}"?')
        return {"address": host, "port": port}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f.:]+\\]):[0-9]+$"}


def parse_mode(given: Any) -> Any:
    """File permissions in octal."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
        raise ValueError(f'must be octal permissions like "0660", got {describe(text)}')
    return int(text.removeprefix("0o"), 8)


class Backend(Frozen):
    """The socket that PowerDNS attaches to."""

    path: FilePath
    group: Text | None = None
    mode: Annotated[int, BeforeValidator(parse_mode), WithJsonSchema(TEXT_SCHEMA)] = 0o660

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """A bare path."""
        return {"path": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core))]}


def _word(*choices: str) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(parse_word(choices)), WithJsonSchema({"type": "string", "pattern": any_case(choices)})


_LEVEL, _LEVEL_SCHEMA = _word("debug", "info", "warning", "error")
_FORMAT, _FORMAT_SCHEMA = _word("text", "json")
_PICK, _PICK_SCHEMA = _word("weighted", "sticky")


class Log(Frozen):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _LEVEL, _LEVEL_SCHEMA] = "info"
    format: Annotated[Literal["text", "json"], _FORMAT, _FORMAT_SCHEMA] = "text"


def parse_no_limit(given: Any) -> Any:
    """0: nothing else is built yet."""
    text = one_value(given)
    number = int(text) if isinstance(text, str) and re.fullmatch("0+", text) else text
    if number != 0:
        raise ValueError(f"this version does not limit responses; must be 0, got {describe(given)}")
    return 0


class Limits(Frozen):
    """How much is taken from whom."""

    udp_size: Annotated[int, BeforeValidator(whole(512, 65535)), WithJsonSchema(whole_schema(512, 65535))] = 1232
    tcp_clients: Count = 1000
    tcp_clients_per_address: Count = 100
    tcp_idle: Annotated[float, BeforeValidator(duration(0.1, DAY)), WithJsonSchema(DURATION_SCHEMA)] = 10.0  # seconds
    responses_per_second: Annotated[int, BeforeValidator(parse_no_limit), WithJsonSchema(whole_schema(0, 0))] = 0


class Cookies(Frozen):
    """RFC 7873 cookies."""

    secret_file: NotYet = None


def parse_workers(given: Any) -> Any:
    """``auto`` or a number of threads."""
    text = one_value(given)
    return None if isinstance(text, str) and text.lower() == "auto" else whole(1, 1024)(text)


def parse_nsid(given: Any) -> Any:
    """A name for this server, as octets. RFC 5001 2.3: "the semantics of an NSID are deliberately left outside"."""
    text = one_value(given)
    octets = text.encode() if isinstance(text, str) else text
    if isinstance(octets, bytes) and len(octets) > 128:
        raise ValueError(f"must be at most 128 octets, got {len(octets)}")
    return octets


def parse_client_subnet(given: Any) -> Any:
    """A boolean, or prefixes whose subnets are believed."""
    if isinstance(given, str) and not re.search("[/.:]", given):
        return parse_flag(given)
    if isinstance(given, bool):
        return given
    return tuple(parse_network(network) for network in (given if isinstance(given, (list, tuple)) else [given]))


def parse_watch(given: Any) -> Any:
    """Off: nothing else is built yet."""
    if parse_flag(given) is True:
        raise ValueError("this version has no such feature; must be false")
    return False


ClientSubnet = Annotated[
    bool | tuple[Network, ...],
    BeforeValidator(parse_client_subnet),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
_WORKERS_SCHEMA: Schema = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"type": "string"}]}


class Server(Frozen):
    """The process: sockets, files, limits. Changes only by a restart."""

    listen: Annotated[tuple[Listen, ...], LISTED] = (Listen.model_validate("127.0.0.1:5300"),)
    backend: Annotated[Backend | None, OFF] = None
    http: Annotated[Listen | None, OFF] = Listen.model_validate("127.0.0.1:5301")
    control: Annotated[FilePath | None, OFF] = None
    state: Annotated[FilePath | None, OFF] = None
    workers: Annotated[int | None, BeforeValidator(parse_workers), WithJsonSchema(_WORKERS_SCHEMA)] = None  # None is auto
    user: Annotated[Text | None, OFF] = None
    nsid: Annotated[Annotated[bytes, BeforeValidator(parse_nsid), WithJsonSchema(TEXT_SCHEMA)] | None, OFF] = None
    client_subnet: ClientSubnet = True
    watch: Annotated[bool, BeforeValidator(parse_watch), WithJsonSchema({"type": ["boolean", "string"]})] = False
    query_log: NotYet = None
    proxy_protocol: NotYet = None
    cookies: Annotated[Cookies | None, OFF] = None
    chaos: NotYet = None
    api_token_file: NotYet = None
    log: Log = Log()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def check_listen(self) -> Server:
        """Somewhere to listen, nowhere twice."""
        if not self.listen:
            raise ValueError("listen must name at least one ADDRESS:PORT")
        twice = {str(one.address) for one in self.listen if self.listen.count(one) > 1}
        if twice:
            raise ValueError(f"listen names {', '.join(sorted(twice))} twice with the same port")
        return self


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
            raise ValueError("needs either an address or a target")
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

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        names = {"type": "array", "items": TEXT_SCHEMA}
        schema["properties"]["check"] = {
            "anyOf": [{"type": ["string", "number", "boolean", "null"]}, names, {"$ref": "#/$defs/check"}]
        }
        return schema


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

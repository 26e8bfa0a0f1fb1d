"""The `server` section: sockets, files, limits.

Knows its keys. Knows nothing of sockets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue

from .fields import (
    DURATION_SCHEMA,
    LISTED,
    OFF,
    TEXT_SCHEMA,
    Address,
    FilePath,
    Flag,
    Network,
    NotYet,
    Port,
    Schema,
    Text,
    whole_schema,
    word_of,
)
from .frozen import Frozen
from .model_checks import DAY
from .scalars import TRUE_WORDS, duration, one_value, parse_flag, parse_network, parse_number, split_port, whole
from .tree import describe

RAREST = 1_000_000  # at least one query in so many is sampled
LEAST_SIZE, MOST_SIZE = 100_000, 10**12  # octets of the query log, before it is rotated
_SAMPLE_SCHEMA: Schema = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^([0-9]+|[+]?[0-9.]+([eE][+-]?[0-9]+)?%)$"}]
}
_SIZE_SCHEMA: Schema = {"type": "string", "pattern": r"^[0-9]+\s?[kKmMgG][iI]?[bB]$"}
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
            wanted = f"127.0.0.1:{host}" if host.isdigit() else f"[{host}]:53" if ":" in host else f"{host}:53"
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


_LEVEL, _LEVEL_SCHEMA = word_of("debug", "info", "warning", "error")
_FORMAT, _FORMAT_SCHEMA = word_of("text", "json")


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


def parse_sample(given: Any) -> Any:
    """A whole number, one in so many, or a percentage; a share, above 0 and up to 1."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    if text.endswith("%"):
        share = parse_number(text[:-1]) / 100
        if not 1 / RAREST <= share <= 1:
            raise ValueError(f"must be {100 / RAREST:f}%..100%, got {text}")
        return share
    if not re.fullmatch("[0-9]{1,20}", text):
        raise ValueError(f"must be N, for one query in N, or a percentage like 2.5%, got {describe(text)}")
    return 1 / whole(1, RAREST)(text)


def parse_size(given: Any) -> Any:
    """Octets, with a unit: kB MB GB (powers of 1000) or KiB MiB GiB (of 1024), in any case."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"([0-9]{1,12})\s?([kmg]i?b)", text.lower())
    if match is None:
        raise ValueError(f"must be a size like 100MB or 64MiB, got {describe(text)}")
    size = int(match[1]) * (1024 if match[2][1] == "i" else 1000) ** ("kmg".index(match[2][0]) + 1)
    if not LEAST_SIZE <= size <= MOST_SIZE:
        raise ValueError(f"must be 100kB..1000GB, got {text}")
    return size


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]


class QueryLog(Frozen):
    """Where sampled queries are written, how many, and how much of a client is told."""

    path: FilePath
    sample: Annotated[float, BeforeValidator(parse_sample), WithJsonSchema(_SAMPLE_SCHEMA)] = 1.0  # a share
    v4_prefix: Annotated[int, BeforeValidator(whole(0, 32)), WithJsonSchema(whole_schema(0, 32))] = 24
    v6_prefix: Annotated[int, BeforeValidator(whole(0, 128)), WithJsonSchema(whole_schema(0, 128))] = 48
    max_size: Annotated[Size | None, OFF] = 100_000_000  # octets
    keep: Annotated[int, BeforeValidator(whole(0, 1000)), WithJsonSchema(whole_schema(0, 1000))] = 5  # rotated files

    @model_validator(mode="before")
    @classmethod
    def read_text(cls, given: Any) -> Any:
        """A bare path; not ``on``, which would be a file of that name."""
        if isinstance(given, str) and given.lower() in TRUE_WORDS:
            raise ValueError(f"must be a path, or a mapping with one, got {describe(given)}")
        return {"path": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core))]}


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
    watch: Flag = False
    query_log: Annotated[QueryLog | None, OFF] = None
    proxy_protocol: NotYet = None
    cookies: Annotated[Cookies | None, OFF] = None
    chaos: NotYet = None
    api_token_file: Annotated[FilePath | None, OFF] = None
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


USUAL_STATE = Path("/var/lib/geodns")
USUAL_RUNTIME = Path("/run/geodns")
CONTROL = "control.sock"


def find_control(server: Server, environ: Mapping[str, str]) -> Path | None:
    """Where a daemon with this *server* puts its control socket; None where that is switched off.

    The order is: what was written down, `$RUNTIME_DIRECTORY` (systemd sets it), the state directory.
    """
    if "control" in server.model_fields_set:
        return server.control
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return (Path(runtime) if runtime else server.state or Path(state or USUAL_STATE)) / CONTROL


def find_controls(server: Server | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a client looks for the control socket, best first; *server* is that of its configuration, if it has one.

    The daemon may have been started by systemd, whose variables a shell does not have: so its usual folders count too.
    """
    if server is not None and "control" in server.model_fields_set:
        return (server.control,) if server.control is not None else ()
    found = [find_control(server, environ)] if server is not None else []
    found += [folder / CONTROL for folder in (USUAL_RUNTIME, USUAL_STATE)]
    return tuple(dict.fromkeys(path for path in found if path is not None))

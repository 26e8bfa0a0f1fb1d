"""The configuration as typed values: what may be written, and what it means when nothing is.

Knows every key, its type, range and default, and how a scalar's source text becomes a value. Knows nothing of files,
YAML or what the values are for.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Frozen(BaseModel):
    """Base of all: unknown keys are errors, values never change. `model_fields_set` tells what was written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(Frozen):
    """An address and a port."""

    address: Address
    port: int


class Backend(Frozen):
    path: Path
    group: str | None = None
    mode: int = 0o660


class Log(Frozen):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Limits(Frozen):
    udp_size: int = 1232
    tcp_clients: int = 1000
    tcp_clients_per_address: int = 100
    tcp_idle: float = 10.0  # seconds
    responses_per_second: int = 0


class Server(Frozen):
    listen: tuple[Listen, ...]
    backend: Backend | None = None
    http: Listen | None
    control: Path | None = None
    state: Path | None = None
    workers: int | None = None  # None is auto
    user: str | None = None
    nsid: bytes | None = None
    client_subnet: bool | tuple[Network, ...] = True
    watch: bool = False
    log: Log = Log()
    limits: Limits = Limits()


class Correction(Frozen):
    """What `geoip.networks` says of one prefix."""

    datacenter: str | None = None
    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None  # "US-CA"
    city: str | None = None
    coordinates: tuple[float, float] | None = None
    asn: int | None = None


class Geoip(Frozen):
    database: tuple[Path | Literal["builtin"], ...] = ("builtin",)
    asn: Path | None = None
    networks: dict[Network, Correction] = {}  # those of networks_file merged in
    networks_file: Path | None = None


class Datacenter(Frozen):
    coordinates: tuple[float, float]  # latitude, longitude
    bias: int = 0
    drain: bool = False


Tier = tuple[tuple[str, int], ...]  # one (datacenter, 1), or a weighted set


class Rule(Frozen):
    network: tuple[Network, ...] = ()
    asn: tuple[int, ...] = ()
    country: tuple[str, ...] = ()
    subdivision: tuple[str, ...] = ()
    continent: tuple[str, ...] = ()
    order: tuple[Tier, ...]
    only: bool = False


class Map(Frozen):
    rules: tuple[Rule, ...] = ()
    nearest: bool = True
    depth: int = 3
    default: tuple[str, ...] = ()  # completed in the order of `datacenters`


class Member(Frozen):
    address: Address | None = None
    target: str | None = None  # absolute, final dot
    weight: int = 1
    probe_at: str | None = None
    drain: bool = False


class Ttl(Frozen):
    min: int = 30
    max: int = 30


class AllDown(Frozen):
    kind: Literal["all", "none", "servfail", "service", "addresses"] = "all"
    service: str | None = None
    addresses: tuple[Address, ...] = ()


class Service(Frozen):
    map: str = "world"
    check: tuple[str, ...] | None = None  # names in `Config.checks` (one written in place gets a name of its own)
    ttl: Ttl = Ttl()
    answers: int = 1  # 0 is all
    pick: Literal["weighted", "sticky"] = "weighted"
    up_threshold: float = 0.5
    all_down: AllDown = AllDown()
    pools: dict[str, tuple[Member, ...]]


class Soa(Frozen):
    mname: str | None = None
    rname: str | None = None
    serial: int | None = None
    refresh: int | None = None
    retry: int | None = None
    expire: int | None = None
    negative_ttl: int | None = None
    ttl: int | None = None


class RrsetText(Frozen):
    """One type at an owner, as written: rdata in presentation form."""

    values: tuple[str, ...]
    ttl: int | None = None


class Owner(Frozen):
    service: str | None = None
    ttl: int | None = None
    rrsets: dict[str, RrsetText] = {}  # by type mnemonic, upper case


class Zone(Frozen):
    ns: tuple[str, ...] = ()
    soa: Soa = Soa()
    ttl: int | None = None  # 300 where the master file says nothing either
    file: Path | None = None
    records: dict[str, Owner] = {}  # by owner as written: relative, "@" or absolute


class Health(Frozen):
    startup_wait: float = 10.0
    stale_limit: float = 3600.0
    freeze_limit: float = 120.0


class Config(Frozen):
    """All of it, includes and networks_file merged."""

    server: Server
    geoip: Geoip = Geoip()
    datacenters: dict[str, Datacenter]
    maps: dict[str, Map]  # `world` always exists
    # checks: the checks helper of configuration defines one model per type
    services: dict[str, Service]
    zones: dict[str, Zone]  # by apex, absolute, lower case, final dot
    health: Health = Health()

"""Services and their pools as the data plane has them, and what a service can answer.

Knows members, hashes for `sticky`, fallbacks. Knows nothing of owners or health. References that name nothing are
`config.check`'s to complain of; here they are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from ...config.model import Config
from ...config.model import Member as ConfigMember
from ...config.model import Service as ConfigService
from ...errors import Complaint, WireError
from ...snapshot import ADDRESSES, ALL, FALLBACK, NONE, SERVFAIL, Member, PoolPlan, Service
from ...wire.name import parse_name_text
from ..naming import Naming
from .records import AAAA, CNAME, A, Written

MOST = 0xFFFE  # services, and pools: their numbers have 16 bits, and the highest means none
_ALL_DOWN = {"all": ALL, "none": NONE, "servfail": SERVFAIL, "service": FALLBACK, "addresses": ADDRESSES}
_HEAD = b"\x00\x01"  # class IN


def sticky_key(*parts: bytes) -> int:
    """64 bits that depend on *parts* alone: the same on all nodes, in all versions and processes.

    BLAKE2b (RFC 7693) of 8 octets over each part with its length (2 octets) before it; the digest is read big-endian.
    """
    text = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def member_key(service: str, rtype: int, rdata: bytes) -> int:
    """`Member.key`: the service's name in lower case, the type and the canonical rdata."""
    return sticky_key(service.lower().encode(), rtype.to_bytes(2, "big"), rdata)


def find_targets(config: Config, name: str) -> frozenset[bytes]:
    """The CNAME targets that a service can answer, also through fallbacks; empty for services of addresses alone."""
    found: set[bytes] = set()
    for service in _chain(config, name):
        for members in service.pools.values():
            found.update(wire for member in members if (wire := _target(member)))
    return frozenset(found)


def _target(member: ConfigMember) -> bytes | None:
    try:
        return None if member.target is None else parse_name_text(member.target).lower()
    except WireError:
        return None


def _chain(config: Config, name: str) -> list[ConfigService]:
    """A service and those that it falls back on, each once."""
    chain: dict[str, ConfigService] = {}
    following: str | None = name
    while following is not None and following in config.services and following not in chain:
        chain[following] = config.services[following]
        following = chain[following].all_down.service
    return list(chain.values())


def check_services(config: Config, where: Callable[..., Written]) -> list[Complaint]:
    """What only the wire form shows: targets that are no names, and too many to number."""
    complaints = []
    for name, service in config.services.items():
        for datacenter, members in service.pools.items():
            for number, member in enumerate(members):
                if member.target is not None and _target(member) is None:
                    written = where("services", name, "pools", datacenter, number)
                    complaints.append(written.error(f'"{member.target}" is not a name'))
    pools = sum(len(service.pools) for service in config.services.values())
    if max(pools, len(config.services)) > MOST:
        text = f"{len(config.services)} services with {pools} pools, at most {MOST} of each are possible"
        complaints.append(where("services").error(text))
    return complaints


def build_services(config: Config, naming: Naming) -> tuple[tuple[Service, ...], tuple[PoolPlan, ...]]:
    """Services, those that others fall back on first, and all pools. Expects a configuration without errors."""
    services: dict[str, Service] = {}
    pools: list[PoolPlan] = []
    keys = tuple(sticky_key(name.lower().encode()) for name in naming.datacenters)
    for name in config.services:
        for following in reversed(_names(config, name)):
            if following not in services:
                services[following] = _build_service(config, naming, following, services, pools, keys)
    return tuple(services.values()), tuple(pools)


def _names(config: Config, name: str) -> list[str]:
    names: list[str] = []
    following: str | None = name
    while following is not None and following not in names:
        names.append(following)
        following = config.services[following].all_down.service
    return names


def _build_service(
    config: Config,
    naming: Naming,
    name: str,
    services: Mapping[str, Service],
    pools: list[PoolPlan],
    keys: tuple[int, ...],
) -> Service:
    found = config.services[name]
    pool_of = [-1] * len(naming.datacenters)
    plans = []
    for datacenter in naming.datacenters:
        if datacenter in found.pools:
            pool_of[naming.datacenters.index(datacenter)] = len(pools)
            plans.append(_build_pool(config, name, datacenter))
            pools.append(plans[-1])
    fallback = found.all_down.service
    return Service(
        name,
        len(services),
        naming.table_of(found.map, found.pools),
        found.answers,
        found.pick == "sticky",
        sticky_key(name.lower().encode()),
        keys,
        tuple(pool_of),
        frozenset(member.rtype for plan in plans for member in plan.members),
        _has_choice(config, found, plans),
        _ALL_DOWN[found.all_down.kind],
        None if fallback is None else services[fallback],
        _last_resort(found),
        found.ttl.min,
    )


def _build_pool(config: Config, service: str, datacenter: str) -> PoolPlan:
    found = config.services[service]
    away = config.datacenters[datacenter].drain
    members = tuple(_build_member(service, member, away) for member in found.pools[datacenter])
    return PoolPlan(service, datacenter, members, round(found.up_threshold * 1_000_000), found.ttl.min, found.ttl.max)


def _build_member(service: str, member: ConfigMember, away: bool) -> Member:
    if member.address is not None:
        rtype, rdata, text = _address_type(member.address), member.address.packed, str(member.address)
    else:
        assert member.target is not None  # the model: one of the two
        rtype, rdata, text = CNAME, parse_name_text(member.target).lower(), member.target
    return Member(rtype, rdata, member.weight, member_key(service, rtype, rdata), member.drain or away, text)


def _address_type(address: IPv4Address | IPv6Address) -> int:
    return A if address.version == 4 else AAAA


def _has_choice(config: Config, service: ConfigService, plans: list[PoolPlan]) -> bool:
    """May the client's network decide between several members, or between several datacenters of one tier?"""
    for plan in plans:
        types = [member.rtype for member in plan.members]
        if len(types) > len(set(types)):
            return True
    rules = config.maps[service.map].rules if service.map in config.maps else ()
    return any(sum(name in service.pools for name, _ in tier) > 1 for rule in rules for tier in rule.order)


def _last_resort(service: ConfigService) -> dict[int, tuple[bytes, ...]]:
    tails: dict[int, tuple[bytes, ...]] = {}
    for address in dict.fromkeys(service.all_down.addresses):
        rtype, rdata = _address_type(address), address.packed
        tail = rtype.to_bytes(2, "big") + _HEAD + service.ttl.min.to_bytes(4, "big") + len(rdata).to_bytes(2, "big") + rdata
        tails[rtype] = (*tails.get(rtype, ()), tail)
    return tails

"""What is probed: the configuration's members and checks as a list of targets, each once.

Knows which members a target speaks for, and what makes two probes the same. Knows nothing of how a probe is made or of
what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from ipaddress import ip_address

from ..config.model import Check, Config, Member
from ..config.scalars import split_port
from .state import MemberKey


@dataclass(frozen=True, slots=True)
class Target:
    """An address, or a name, and how it is probed. Members and services that would probe the same share it."""

    key: str  # what, where, and how often: two targets are the same if this is
    subject: str  # what and where alone: a saved state is found again by it when only the schedule has changed
    check: Check
    name: str  # of the check; of several that are the same, the first
    host: str  # an address, or a name to be resolved before each probe
    port: int  # 0 where the type has none
    member: str  # its text; `exec` is told it, `file` looks it up
    datacenters: tuple[str, ...]  # where the members that it speaks for are; the blind-checker guard counts them

    @property
    def where(self) -> str:
        """``https 192.0.2.10:443``, for people."""
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return f"{self.check.type} {host}:{self.port}" if self.port else f"{self.check.type} {host}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All targets of a configuration, and who watches whom."""

    targets: Mapping[str, Target]  # by key
    # Every member to the keys of its targets, in the order of its checks; () where no check watches it.
    watched: Mapping[MemberKey, tuple[str, ...]]


EMPTY = Plan({}, {})
SCHEDULE = frozenset({"interval", "timeout", "rise", "fall"})  # keys of a check that do not say what is looked at
WITHOUT_PORT = frozenset({"icmp", "file"})
TOLD = frozenset({"exec", "file"})  # what they do depends on the member, wherever it is probed
NAMED_BY_HOST = frozenset({"http", "https", "tls"})  # without `host` they use the member's address as a name
_DIGEST = 12  # octets of a key: two of a million differ but for one chance in 10^17


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A check, and what its targets' keys are made from."""

    name: str
    check: Check
    whole: bytes  # digest of its content
    content: bytes  # the same without the schedule
    told: bool  # the member's text is part of the probe


def build_targets(config: Config) -> Plan:
    """What is probed for *config*, each probe once, and who watches which member.

    A key depends on the content of the check and on where it goes, never on names of checks, services or datacenters: so a
    state survives a renaming. Expects a configuration without errors.
    """
    recipes = {name: _read_check(name, check) for name, check in config.checks.items()}
    found: dict[str, Target] = {}
    spoken_for: dict[str, dict[str, None]] = {}  # key to datacenters, in their order
    watched: dict[MemberKey, tuple[str, ...]] = {}
    for service, datacenter, member in _members(config):
        text = str(member.address) if member.target is None else member.target
        keys = dict.fromkeys(watched.get((service, datacenter, text), ()))
        for name in config.services[service].check or ():
            target = _make_target(recipes[name], member, text)
            keys[target.key] = None
            found.setdefault(target.key, target)
            spoken_for.setdefault(target.key, {})[datacenter] = None
        watched[service, datacenter, text] = tuple(keys)
    targets = {key: replace(target, datacenters=tuple(spoken_for[key])) for key, target in found.items()}
    return Plan(targets, watched)


def _members(config: Config) -> Iterator[tuple[str, str, Member]]:
    for service, found in config.services.items():
        for datacenter, members in found.pools.items():
            for member in members:
                yield service, datacenter, member


def _read_check(name: str, check: Check) -> _Recipe:
    written = check.model_dump(mode="json")
    content = {key: value for key, value in written.items() if key not in SCHEDULE}
    told = check.type in TOLD or (check.type in NAMED_BY_HOST and getattr(check, "host", None) is None)
    return _Recipe(name, check, _digest(written), _digest(content), told)


def _digest(written: object) -> bytes:
    return blake2b(json.dumps(written, sort_keys=True).encode(), digest_size=_DIGEST).digest()


def _make_target(recipe: _Recipe, member: Member, text: str) -> Target:
    """The target of one member; its datacenters come later."""
    host, port = _find_place(recipe.check, member, text)
    place = f"\0{host}\0{port}\0{text if recipe.told else ''}".encode()
    key, subject = (blake2b(content + place, digest_size=_DIGEST).hexdigest() for content in (recipe.whole, recipe.content))
    return Target(key, subject, recipe.check, recipe.name, host, port, text, ())


def _find_place(check: Check, member: Member, text: str) -> tuple[str, int]:
    """Host and port that a probe goes to: `probe_at` over the member's address or name and the check's port.

    A `file` check asks a file, not the network: it is shown with the member itself. `exec` has the port of `probe_at`.
    """
    host, port = text.removesuffix("."), getattr(check, "port", 0)
    if member.probe_at is not None and check.type != "file":
        host, written = split_port(member.probe_at)
        port = port if written is None else int(written)
        try:
            host = str(ip_address(host))
        except ValueError:
            host = host.lower().removesuffix(".")
    return host, 0 if check.type in WITHOUT_PORT else port

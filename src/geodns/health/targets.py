"""What is probed: the configuration's members and checks as a list of targets, each once.

Knows which members a target speaks for, and what makes two probes the same. Knows nothing of how a probe is made or of
what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.model import Check
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
    watched: Mapping[MemberKey, tuple[str, ...]]  # member to the keys of its targets, in the order of its checks


EMPTY = Plan({}, {})

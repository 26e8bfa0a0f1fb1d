"""What operators force: drains, and verdicts over what was seen. Which members a target names, and who wins among several.

Knows targets, patterns and precedence. Knows nothing of what was seen, nor of clocks and files; times are seconds since
1970.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal, NamedTuple

from .state import MemberKey

Kind = Literal["drain", "up", "down"]
KINDS: tuple[Kind, ...] = ("drain", "up", "down")
MOST = 1000  # overrides at once: each is looked at for each pool
LONGEST = 400  # characters of a target
_WILD = re.compile(r"[*?\[]")
_PART = re.compile(r"[A-Za-z0-9._:*?\[\]!-]+")
# How much a target says: more is more specific. A glob says less than a name of the same level.
_DATACENTER, _POOL, _ADDRESS, _MEMBER = 2, 4, 6, 8


@dataclass(frozen=True, slots=True)
class Override:
    """One thing that an operator forced."""

    target: str  # as it was written
    kind: Kind
    owner: str
    reason: str
    since: float
    until: float | None  # None: until it is ended

    @property
    def axis(self) -> str:
        """Drain and force are two axes: a target has at most one override of each."""
        return "drain" if self.kind == "drain" else "force"


class Forced(NamedTuple):
    """What counts for one member."""

    drain: Override | None
    verdict: Override | None


NOTHING = Forced(None, None)


@dataclass(frozen=True, slots=True)
class Part:
    """A name or an address, or a shell-style glob of them; in lower case, an address in its shortest form."""

    text: str
    glob: re.Pattern[str] | None

    def matches(self, text: str) -> bool:
        """Is it *text*, the case ignored?"""
        text = text.lower()
        return text == self.text if self.glob is None else self.glob.match(text) is not None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A target, understood. Two that mean the same have the same `text`."""

    text: str
    service: Part | None = None
    datacenter: Part | None = None
    member: Part | None = None
    either: bool = False  # a word with a dot in it: `datacenter`, or else `member`

    @property
    def whole(self) -> bool:
        """Does it name all of a pool that it is near to, or nobody of it?"""
        return self.member is None

    def near(self, service: str, datacenter: str) -> bool:
        """Can it name anybody in this pool?"""
        if self.either:
            return True
        if self.service is not None and not self.service.matches(service):
            return False
        return self.datacenter is None or self.datacenter.matches(datacenter)

    def level(self, key: MemberKey) -> int:
        """How specifically it names the member *key*; 0: not at all. More is more specific."""
        service, datacenter, member = key
        if self.either and self.datacenter is not None and self.datacenter.matches(datacenter):
            return _DATACENTER + (self.datacenter.glob is None)
        if not self.near(service, datacenter):
            return 0
        if self.member is not None and not self.member.matches(member.removesuffix(".")):
            return 0
        parts = [part for part in (self.service, None if self.either else self.datacenter, self.member) if part is not None]
        exact = all(part.glob is None for part in parts)
        if self.member is not None:
            return (_ADDRESS if self.service is None else _MEMBER) + exact
        return (_DATACENTER if self.service is None else _POOL) + exact


@lru_cache(maxsize=2 * MOST)
def parse_target(text: str) -> Pattern:
    """The members that *text* names: ``DC``, ``SERVICE/DC``, ``SERVICE/*``, ``ADDRESS`` or ``SERVICE/DC/ADDRESS``.

    Each part may be a shell-style glob (``*``, ``?``, ``[ab]``); case is ignored; an address compares as an address, a glob
    with its shortest form; a target name may go without its final dot. A single word is a datacenter; an address, or a name
    that ends in a dot, is a member; another word with a dot in it may be either. Raises ValueError, for the operator.
    """
    parts = text.split("/")
    if len(text) > LONGEST or len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f'"{text[:LONGEST]}" is no target: write DC, SERVICE/DC, SERVICE/*, ADDRESS or SERVICE/DC/ADDRESS')
    if len(parts) == 3:
        service, datacenter, member = _read_part(parts[0]), _read_part(parts[1]), _read_member(parts[2])
        return Pattern(f"{service.text}/{datacenter.text}/{member.text}", service, datacenter, member)
    if len(parts) == 2:
        return _read_pool(text, parts)
    if is_member(text):
        member = _read_member(text)
        return Pattern(member.text, member=member)
    part = _read_part(text)
    return Pattern(text.lower(), None, part, part, True) if "." in text else Pattern(part.text, datacenter=part)


def _read_pool(text: str, parts: list[str]) -> Pattern:
    if _find_address(parts[0]):
        raise ValueError(f'"{text}" is no target: write a glob like 192.0.2.* instead of a network')
    if _find_address(parts[1]):
        raise ValueError(f'"{text}" is no target: write {parts[1]} alone, or SERVICE/DC/{parts[1]}')
    service, datacenter = map(_read_part, parts)
    return Pattern(f"{service.text}/{datacenter.text}", service, datacenter)


def is_member(word: str) -> bool:
    """Can *word* be nothing but an address or a name with its final dot?"""
    return ":" in word or word.endswith(".") or bool(_find_address(word))


def _find_address(text: str) -> str:
    """*text* as an address in its shortest form, also from brackets; nothing where it is none."""
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]") if ":" in text else text))
    except ValueError:
        return ""


def _read_part(text: str) -> Part:
    text = text.lower()
    return Part(text, re.compile(fnmatch.translate(text)) if _WILD.search(text) else None)


def _read_member(text: str) -> Part:
    address = _find_address(text)
    return Part(address, None) if address else _read_part(text.removesuffix("."))


def matching(pattern: Pattern, members: Iterable[MemberKey]) -> list[MemberKey]:
    """Those of *members* whom *pattern* names, in their order."""
    near: dict[tuple[str, str], bool] = {}
    found = []
    for key in members:
        pool = key[:2]
        if pool not in near:
            near[pool] = pattern.near(*pool)
        if near[pool] and pattern.level(key):
            found.append(key)
    return found


class Standing:
    """The overrides that are in force. It never changes: what begins or ends gives another one."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        """Of several for one target and axis the last counts. Raises ValueError for a target that is none."""
        held: dict[tuple[str, str], tuple[Override, Pattern]] = {}
        for override in overrides:
            pattern = parse_target(override.target)
            slot = pattern.text, override.axis
            held.pop(slot, None)
            held[slot] = override, pattern
        self._held = tuple(held.values())
        self._near: dict[tuple[str, str], tuple[tuple[Override, Pattern], ...]] = {}
        self._alike: dict[tuple[str, str], Forced] = {}  # pools whose members all have the same

    @property
    def overrides(self) -> tuple[Override, ...]:
        """All of them, in the order in which they were given."""
        return tuple(override for override, _ in self._held)

    @property
    def patterns(self) -> tuple[tuple[Override, Pattern], ...]:
        """The same, with what their targets mean."""
        return self._held

    def put(self, override: Override) -> Standing:
        """With *override*, in the place of what its target had on that axis. Raises ValueError where there are too many."""
        after = Standing((*self.overrides, override))
        if len(after._held) > max(MOST, len(self._held)):
            raise ValueError(f"there are {MOST} overrides already; end some")
        return after

    def without(self, ended: Collection[Override]) -> Standing:
        """Without those *ended*."""
        return Standing(override for override in self.overrides if override not in ended)

    def find(self, target: str, kinds: Collection[str]) -> tuple[Override, ...]:
        """Those of one of *kinds* that stand on *target* itself, however it was spelt. Raises ValueError for no target."""
        text = parse_target(target).text
        return tuple(override for override, pattern in self._held if pattern.text == text and override.kind in kinds)

    def over(self, wall: float) -> tuple[Override, ...]:
        """Those whose time is over at *wall*."""
        return tuple(override for override in self.overrides if override.until is not None and override.until <= wall)

    def forced(self, key: MemberKey) -> Forced:
        """What counts for the member *key*."""
        pool = key[:2]
        if (alike := self._alike.get(pool)) is not None:
            return alike
        near = self._near.get(pool)
        if near is None:
            near = self._near[pool] = tuple(one for one in self._held if one[1].near(*pool))
        found = [(level, override) for override, pattern in near if (level := pattern.level(key))]
        forced = decide(found) if found else NOTHING
        if all(pattern.whole for _, pattern in near):
            self._alike[pool] = forced
        return forced


def decide(found: Iterable[tuple[int, Override]]) -> Forced:
    """What counts among the overrides of one member, each with how specifically it names the member.

    A drain or a down above beats an up below, otherwise the most specific wins. So a down anywhere wins, but against an up
    that was put later on the same level; among equals the newest counts. A drain anywhere drains.
    """
    drains: dict[int, Override] = {}
    verdicts: dict[int, Override] = {}
    for level, override in found:
        axis = drains if override.kind == "drain" else verdicts
        if level not in axis or override.since >= axis[level].since:
            axis[level] = override
    downs = {level: override for level, override in verdicts.items() if override.kind == "down"}
    return Forced(_most_specific(drains), _most_specific(downs or verdicts))


def _most_specific(by_level: dict[int, Override]) -> Override | None:
    return by_level[max(by_level)] if by_level else None

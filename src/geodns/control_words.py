"""What an operator should know before or after an override, beside who moves; and what to say where a target names nobody.

Knows targets, precedence and drains of the configuration. Knows nothing of orders and clients (`forecast`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from .config.scalars import did_you_mean
from .forecast import name_some
from .health.overrides import Override, is_member
from .health.roster import Roster
from .health.state import Condition, Health, MemberKey
from .snapshot import Snapshot, Zones

MOST_NEAR = 20_000  # names among which a near one is looked for: a fifth of a second, in a thread
MOST_FACTS = 100  # members whose overrides are looked at
PLAIN = Condition()


def warn_of_override(
    override: Override, snapshot: Snapshot, matched: Sequence[MemberKey], roster: Roster, after: Health
) -> Iterator[str]:
    """Warnings about *override*, which is not yet in force; *after* is the health under it."""
    if override.until is None:
        yield f"no --for: lasts until `geodns {_end_command(override)}`"
    before = roster.health()
    if all(before.get(member, PLAIN) == after.get(member, PLAIN) for member in matched):
        yield f"changes nothing now: {_why_nothing(override, matched, roster)}"
    elif override.kind == "drain":
        drained = find_configured(snapshot.zones, matched)
        if drained:
            yield f"{_members(len(drained))} of them drained by the configuration already"
    if override.kind == "up":
        down = [member for member in matched if before.get(member, PLAIN).verdict == "down"]
        if down:
            yield f"{name_some(list(map('/'.join, down)))}: down until now, and answered from now on"


def _end_command(override: Override) -> str:
    return f"undrain {override.target}" if override.kind == "drain" else f"force clear {override.target}"


def _why_nothing(override: Override, matched: Sequence[MemberKey], roster: Roster) -> str:
    if override.kind == "drain":
        return "all of it is drained already"
    facts = [roster.member_facts(member) for member in matched[:MOST_FACTS]]
    stronger = {fact.forced for fact in facts if fact.forced and fact.verdict != override.kind}
    if stronger:
        return f"a stronger override holds them: {name_some(sorted(stronger))}"
    return f"all of it is {override.kind} already"


def warn_of_end(ended: Sequence[Override], snapshot: Snapshot, matched: Sequence[MemberKey], after: Health) -> Iterator[str]:
    """What stays as it was although the overrides *ended* end; *after* is the health without them."""
    if any(override.kind == "drain" for override in ended):
        configured = find_configured(snapshot.zones, matched)
        if configured:
            stay = "stays" if len(configured) == 1 else "stay"
            yield f"{_members(len(configured))} {stay} drained by the configuration: that ends there"
        held = [member for member in matched if after.get(member, PLAIN).drained]
        if held:
            yield f"{name_some(list(map('/'.join, held)))}: drained by another override too"
    if any(override.kind != "drain" for override in ended):
        down = [member for member in matched if after.get(member, PLAIN).verdict == "down"]
        if down:
            yield f"{name_some(list(map('/'.join, down)))}: down from now on, by checks or another override"


def find_configured(zones: Zones, members: Collection[MemberKey]) -> list[MemberKey]:
    """Those of *members* that the configuration drains."""
    wanted = set(members)
    return [
        key
        for plan in zones.pools
        for member in plan.members
        if member.drained and (key := (plan.service, plan.datacenter, member.text)) in wanted
    ]


def _members(count: int) -> str:
    return f"{count:,} member{'s'[: count != 1]}"


def tell_no_match(zones: Zones, target: str, nobody: str) -> str:
    """Why *target* names nobody, with the nearest name that there is. Looks through all names: for a thread."""
    pools = [(plan.service, plan.datacenter) for plan in zones.pools]
    text = f'{nobody} "{target}"'
    if "/" not in target and any(target.lower() == service.lower() for service, _ in pools):
        return f'{text}: it is a service, did you mean "{target}/*"?'
    names: Iterable[str]
    if target.count("/") == 2:
        names = ("/".join((plan.service, plan.datacenter, member.text)) for plan in zones.pools for member in plan.members)
    elif "/" in target:
        names = map("/".join, pools)
    elif is_member(target):
        names = (member.text for plan in zones.pools for member in plan.members)
    else:
        names = (name for pool in pools for name in pool)
    known = list(dict.fromkeys(names))[:MOST_NEAR]
    near = did_you_mean(target, known)
    if near or "/" in target or is_member(target):
        return text + near
    return f"{text} (datacenters: {name_some(sorted({datacenter for _, datacenter in pools}))})"


def tell_not_held(overrides: Sequence[Override], target: str, kinds: Collection[str]) -> str:
    """That no override of *kinds* stands on *target*, and on which targets some do."""
    there = [override.target for override in overrides if override.kind in kinds]
    what = "drained" if "drain" in kinds else "forced"
    if not there:
        return f'"{target}" is not {what} by an override: nothing is'
    return f'"{target}" is not {what} by an override of its own{did_you_mean(target, there)} ({what}: {name_some(there)})'

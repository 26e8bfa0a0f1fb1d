"""What operators are told of pools, members, overrides and databases, put together from what is published and what is known.

Knows plans, pools, and what the roster says of members. Knows nothing of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .config.model import Geoip
from .health.overrides import Override, Part, parse_target
from .health.roster import Roster
from .health.state import MemberKey
from .report import DatabaseReport, MemberReport, OverrideReport, PoolReport
from .snapshot import Member, Snapshot, Zones
from .words import RANK_WORDS, TYPE_WORDS

CONFIGURED = "configuration"  # why a member is drained that the configuration drains


def report_pools(
    snapshot: Snapshot, numbers: Iterable[int], roster: Roster, since: Callable[[int], float]
) -> Iterator[PoolReport]:
    """The pools with *numbers*, one at each step; *since* says when each took its rank."""
    for number in numbers:
        plan, pool = snapshot.zones.pools[number], snapshot.choices.pools[number]
        live = weight = 0
        members = []
        for member in plan.members:
            found = report_member((plan.service, plan.datacenter, member.text), member, roster)
            members.append(found)
            if not found.drained:
                weight += found.weight
                live += found.weight if found.verdict != "down" else 0
        yield PoolReport(
            service=plan.service,
            datacenter=plan.datacenter,
            rank=RANK_WORDS[pool.rank],
            ttl=pool.ttl,
            live_weight=live,
            weight=weight,
            since=since(number),
            members=tuple(members),
        )


def report_member(key: MemberKey, member: Member, roster: Roster) -> MemberReport:
    """One member; *member* is how the configuration has it."""
    facts = roster.member_facts(key)
    return MemberReport(
        member=member.text,
        rtype=TYPE_WORDS[member.rtype],
        weight=member.weight if facts.weight is None else facts.weight,
        verdict=facts.verdict,
        observed=facts.observed,
        drained=facts.drain or (CONFIGURED if member.drained else ""),
        forced=facts.forced,
        probes=facts.probes,
    )


def report_override(override: Override, members: int) -> OverrideReport:
    """*override*, which applies to so many *members* now."""
    return OverrideReport(
        override.target, override.kind, override.owner, override.reason, override.since, override.until, members
    )


def find_pools(zones: Zones, text: str) -> list[int]:
    """Numbers of the pools that *text* names: a target as overrides have it, or a word that may be a service too.

    Raises ValueError for what is neither.
    """
    pattern = parse_target(text)
    word = pattern.datacenter if pattern.service is None else None
    return [
        number
        for number, plan in enumerate(zones.pools)
        if _names(word, plan.service)
        or (
            pattern.near(plan.service, plan.datacenter)
            and any(pattern.level((plan.service, plan.datacenter, member.text)) for member in plan.members)
        )
    ]


def _names(word: Part | None, service: str) -> bool:
    return word is not None and word.matches(service)


def read_databases(geoip: Geoip) -> tuple[DatabaseReport, ...]:
    """The databases in use, by their metadata. Blocks: for a thread. Raises DatabaseError."""
    from .geo.place import find_sources  # noqa: PLC0415 - maxminddb and the like, which a daemon needs for reports alone
    from .geo.status import read_status  # noqa: PLC0415

    found, sources = [], find_sources(geoip)
    for path in (*sources.places, *([sources.asn] if sources.asn else [])):
        status = read_status(path)
        found.append(DatabaseReport(str(path), status.kind, float(status.built)))
    return tuple(found)

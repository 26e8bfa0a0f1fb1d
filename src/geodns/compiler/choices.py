"""Which members of each pool may answer right now, from health: the fast-changing part of a snapshot.

Knows the rules of "live", "a pool is up" and "the members" of the design: who stands in each pool's slots under which
rank, and the TTL that health leaves. Knows nothing of clients, maps, names or probes. Integers only: nodes must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, compress
from struct import Struct

from ..health.state import Condition, Health, Verdict
from ..snapshot import DEAD, DRAINED, LIVE, UP, Choice, Choices, Member, Pool, PoolPlan, Zones

# The state of a member: the sum of these. 0 is live: up or unknown, and not drained.
_DRAINED, _DOWN = 1, 2
# Which state may answer under which rank. Under DEAD everybody is down, and answers as if up, drained members left out.
_ELIGIBLE = {UP: 0, LIVE: 0, DRAINED: _DRAINED, DEAD: _DOWN}

_MILLION = 1_000_000  # `PoolPlan.up_threshold` counts millionths
_HEAD = Struct("!HHIH")  # type, class, TTL, length of rdata
_IN, CNAME = 1, 5

Group = tuple[Sequence[Member], Sequence[int]]  # the members of one type, and the state of each


def build_choices(zones: Zones, health: Health) -> Choices:
    """The choices of all pools; whoever is not in *health* is up."""
    return Choices(tuple(build_pool(plan, health) for plan in zones.pools), zones.shape)


def build_pool(plan: PoolPlan, health: Health) -> Pool:
    """What one pool offers under *health*; a health event rebuilds this pool and shares the others.

    A health key is (service, datacenter, text of the member).
    """
    find, service, datacenter, down = health.get, plan.service, plan.datacenter, Verdict.DOWN
    conditions = [find((service, datacenter, member.text)) for member in plan.members]
    states = [  # a call for each of ten thousand members would cost as much as all the rest
        (_DRAINED if m.drained else 0)
        if c is None
        else (_DRAINED if m.drained or c.drained else 0) + (_DOWN if c.verdict is down else 0)
        for m, c in zip(plan.members, conditions, strict=True)
    ]
    groups = _group(plan.members, states)
    rank = _rank(groups, states, plan.up_threshold)
    ttl = _ttl(plan, conditions)
    return Pool(rank, ttl, {rtype: _choice(rtype, group, _ELIGIBLE[rank], ttl) for rtype, group in groups.items()})


def _group(members: Sequence[Member], states: Sequence[int]) -> dict[int, Group]:
    types = [member.rtype for member in members]
    kinds = dict.fromkeys(types)
    if len(kinds) == 1:
        return dict.fromkeys(kinds, (members, states))
    wanted = {kind: [rtype == kind for rtype in types] for kind in kinds}
    return {kind: (list(compress(members, mine)), list(compress(states, mine))) for kind, mine in wanted.items()}


def _rank(groups: dict[int, Group], states: Sequence[int], up_threshold: int) -> int:
    """Which of the four passes takes this pool."""
    if all(_is_up(group, up_threshold) for group in groups.values()):
        return UP
    if 0 in states:
        return LIVE
    return DRAINED if _DRAINED in states else DEAD


def _is_up(group: Group, up_threshold: int) -> bool:
    """Is the weight of the live members at least the threshold's share of the weight of those not drained?

    A live member of weight 0 counts nothing: where only such are left, the pool is not up.
    """
    members, states = group
    live = sum([member.weight for member in _in_state(members, states, 0)])
    failing = sum([member.weight for member in _in_state(members, states, _DOWN)])
    return live > 0 and live * _MILLION >= up_threshold * (live + failing)


def _in_state(members: Sequence[Member], states: Sequence[int], state: int) -> Sequence[Member]:
    count = states.count(state)  # most often all or none: no need to look at each
    if count in (0, len(members)):
        return members if count else ()
    return [member for member, found in zip(members, states, strict=True) if found == state]


def _choice(rtype: int, group: Group, eligible: int, ttl: int) -> Choice:
    """The members of one type in *eligible* state; a type without any such member gives all of it."""
    members = _in_state(*group, eligible) or group[0]
    weights = [member.weight for member in members]
    if not any(weights):
        weights = [1] * len(members)  # only weight 0 is left: drawn alike
    elif 0 in weights:
        members = [member for member in members if member.weight]  # weight 0 is not drawn while others are there
        weights = [member.weight for member in members]
    if rtype == CNAME:
        tails = [_HEAD.pack(rtype, _IN, ttl, len(member.rdata)) + member.rdata for member in members]
    else:  # addresses of one family are of one length
        head = _HEAD.pack(rtype, _IN, ttl, len(members[0].rdata))
        tails = [head + member.rdata for member in members]
    return Choice(tuple(tails), tuple(accumulate(weights)), tuple([member.key for member in members]))


def _ttl(plan: PoolPlan, conditions: Sequence[Condition | None]) -> int:
    """The highest TTL while no member has a streak, else what the first to flip leaves, within the pool's bounds."""
    if plan.ttl_min == plan.ttl_max:
        return plan.ttl_min
    left = [c.until_flip for c in conditions if c is not None and c.until_flip is not None]
    return max(plan.ttl_min, min(plan.ttl_max, int(min(left)))) if left else plan.ttl_max

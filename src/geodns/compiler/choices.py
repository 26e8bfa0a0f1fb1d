"""Which members of each pool may answer right now, from health: the fast-changing part of a snapshot.

Knows the rules of "live", "a pool is up" and "the members" of the design: who stands in each pool's slots under which
rank, and the TTL that health leaves. Knows nothing of clients, maps, names or probes. Integers only: nodes must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, compress
from struct import Struct
from typing import NamedTuple

from ..health.state import Condition, Health, Verdict
from ..snapshot import DEAD, DRAINED, LIVE, UP, Choice, Choices, Member, Pool, PoolPlan, Zones
from ..wire.constants import CLASS_IN, CNAME

# The state of a member: the sum of these. 0 is live: up or unknown, and not drained.
_DRAINED, _DOWN = 1, 2
# Which state may answer under which rank. Under DEAD everybody is down, and answers as if up, drained members left out.
_ELIGIBLE = {UP: 0, LIVE: 0, DRAINED: _DRAINED, DEAD: _DOWN}

_MILLION = 1_000_000  # `PoolPlan.up_threshold` counts millionths
_HEAD = Struct("!HHIH")  # type, class, TTL, length of rdata
# Ten thousand members are walked in C: states and types are octets, and "which of them are n" is one translation.
_SELECT = [bytes(number == wanted for number in range(256)) for wanted in range(256)]


class Group(NamedTuple):
    """The members of one type, with the weight and the state of each."""

    members: Sequence[Member]
    weights: Sequence[int]
    states: bytes


def build_choices(zones: Zones, health: Health) -> Choices:
    """The choices of all pools; whoever is not in *health* is up."""
    return Choices(tuple(build_pool(plan, health) for plan in zones.pools), zones.shape)


def build_pool(plan: PoolPlan, health: Health) -> Pool:
    """What one pool offers under *health*; a health event rebuilds this pool and shares the others.

    A health key is (service, datacenter, text of the member).
    """
    find, service, datacenter, down = health.get, plan.service, plan.datacenter, Verdict.DOWN
    conditions = [find((service, datacenter, member.text)) for member in plan.members]
    states = bytes(
        [  # a call for each member would cost as much as all the rest
            (_DRAINED if m.drained else 0)
            if c is None
            else (_DRAINED if m.drained or c.drained else 0) + (_DOWN if c.verdict is down else 0)
            for m, c in zip(plan.members, conditions, strict=True)
        ]
    )
    groups = _group(plan.members, states)
    rank = _rank(groups, states, plan.up_threshold)
    ttl = _ttl(plan, conditions)
    return Pool(rank, ttl, {rtype: _choice(rtype, group, _ELIGIBLE[rank], ttl) for rtype, group in groups.items()})


def _group(members: Sequence[Member], states: bytes) -> dict[int, Group]:
    types = bytes([member.rtype for member in members])
    weights = [member.weight for member in members]
    if types.count(types[0]) == len(types):
        return {types[0]: Group(members, weights, states)}
    groups = {}
    for rtype in dict.fromkeys(types):
        mine = types.translate(_SELECT[rtype])
        picked = list(compress(members, mine)), list(compress(weights, mine)), bytes(compress(states, mine))
        groups[rtype] = Group(*picked)
    return groups


def _rank(groups: Mapping[int, Group], states: bytes, up_threshold: int) -> int:
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
    live = sum(compress(group.weights, group.states.translate(_SELECT[0])))
    failing = sum(compress(group.weights, group.states.translate(_SELECT[_DOWN])))
    return live > 0 and live * _MILLION >= up_threshold * (live + failing)


def _choice(rtype: int, group: Group, eligible: int, ttl: int) -> Choice:
    """The members of one type in *eligible* state; a type without any such member gives all of it."""
    members, weights, states = group
    count = states.count(eligible)
    if 0 < count < len(states):
        mine = states.translate(_SELECT[eligible])
        members, weights = list(compress(members, mine)), list(compress(weights, mine))
    if 0 in weights:
        # Weight 0 is not drawn while others are there; where only weight 0 is left, they are drawn alike.
        members = list(compress(members, weights)) or members
        weights = list(filter(None, weights)) or [1] * len(members)
    if rtype == CNAME:
        tails = [_HEAD.pack(rtype, CLASS_IN, ttl, len(member.rdata)) + member.rdata for member in members]
    else:  # addresses of one family are of one length
        head = _HEAD.pack(rtype, CLASS_IN, ttl, len(members[0].rdata))
        tails = [head + member.rdata for member in members]
    return Choice(tuple(tails), tuple(accumulate(weights)), tuple([member.key for member in members]))


def _ttl(plan: PoolPlan, conditions: Sequence[Condition | None]) -> int:
    """The highest TTL while no member has a streak, else what the first to flip leaves, within the pool's bounds."""
    if plan.ttl_min == plan.ttl_max:
        return plan.ttl_min
    left = [c.until_flip for c in conditions if c is not None and c.until_flip is not None]
    return max(plan.ttl_min, min(plan.ttl_max, int(min(left)))) if left else plan.ttl_max

"""Which members of each pool may answer right now, from health: the fast-changing part of a snapshot.

Knows the rules of "live", "a pool is up" and "the members" of the design: who stands in each pool's slots under which
rank, and the TTL that health leaves. Knows nothing of clients, maps, names or probes. Integers only: nodes must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, compress
from struct import Struct
from typing import NamedTuple
from weakref import ReferenceType, ref

from ..health.state import Condition, Health, MemberKey, Verdict
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


class Kind(NamedTuple):
    """The members of one type in a plan, one column a property: the same at every rebuild, so made once."""

    rtype: int
    mine: bytes  # one for each member of the plan: 1 if it is of this type; empty where all are
    members: tuple[Member, ...]
    weights: tuple[int, ...]  # as configured
    keys: tuple[int, ...]
    tails: dict[int, tuple[bytes, ...]]  # under the TTL that was wanted last, and under no other


class Columns(NamedTuple):
    """What a plan says of its members."""

    keys: tuple[MemberKey, ...]  # under which health has them
    drained: bytes  # the state of each by the configuration alone
    weights: tuple[int, ...]
    kinds: tuple[Kind, ...]


class Group(NamedTuple):
    """The members of one type, with the weight and the state of each."""

    kind: Kind
    weights: Sequence[int]
    states: bytes


_columns: dict[int, tuple[ReferenceType[PoolPlan], Columns]] = {}  # by identity of the plan, and no longer than it lives


def build_choices(zones: Zones, health: Health) -> Choices:
    """The choices of all pools; whoever is not in *health* is up."""
    return Choices(tuple(build_pool(plan, health) for plan in zones.pools), zones.shape)


def build_pool(plan: PoolPlan, health: Health) -> Pool:
    """What one pool offers under *health*; a health event rebuilds this pool and shares the others.

    A health key is (service, datacenter, text of the member). A weight in a condition counts instead of the configured one.
    """
    columns = _find_columns(plan)
    conditions = list(map(health.get, columns.keys))
    known = list(filter(None, conditions))  # a condition is never false
    states = _find_states(columns, conditions) if known else columns.drained
    weights = _find_weights(columns, conditions) if [None for c in known if c.weight is not None] else None
    groups = [_group(kind, weights, states) for kind in columns.kinds]
    rank = _rank(groups, states, plan.up_threshold)
    ttl = _ttl(plan, known)
    return Pool(rank, ttl, {group.kind.rtype: _choice(group, _ELIGIBLE[rank], ttl) for group in groups})


def _find_columns(plan: PoolPlan) -> Columns:
    number = id(plan)
    found = _columns.get(number)
    if found is not None and found[0]() is plan:
        return found[1]
    members = plan.members
    types = bytes([member.rtype for member in members])
    columns = Columns(
        tuple([(plan.service, plan.datacenter, member.text) for member in members]),
        bytes([_DRAINED if member.drained else 0 for member in members]),
        tuple([member.weight for member in members]),
        tuple([_make_kind(rtype, types, members) for rtype in dict.fromkeys(types)]),
    )
    _columns[number] = ref(plan, lambda _: _forget(number)), columns
    return columns


def _forget(number: int) -> None:
    _columns.pop(number, None)


def _make_kind(rtype: int, types: bytes, members: tuple[Member, ...]) -> Kind:
    mine = b"" if types.count(rtype) == len(types) else types.translate(_SELECT[rtype])
    own = tuple(compress(members, mine)) if mine else members
    return Kind(rtype, mine, own, tuple([member.weight for member in own]), tuple([member.key for member in own]), {})


def _find_states(columns: Columns, conditions: Sequence[Condition | None]) -> bytes:
    """The state of each member: what the configuration says, and its condition where it has one."""
    down = Verdict.DOWN
    return bytes(
        [  # a call for each member would cost as much as all the rest
            drained if c is None else (drained or c.drained) + (_DOWN if c.verdict is down else 0)
            for drained, c in zip(columns.drained, conditions, strict=True)
        ]
    )


def _find_weights(columns: Columns, conditions: Sequence[Condition | None]) -> list[int]:
    """The weight of each member: what a check says of it, else the configured one."""
    return [
        weight if c is None or c.weight is None else c.weight for weight, c in zip(columns.weights, conditions, strict=True)
    ]


def _group(kind: Kind, weights: Sequence[int] | None, states: bytes) -> Group:
    """The members of one type; *weights* of all members, where they are not as configured."""
    if not kind.mine:
        return Group(kind, weights or kind.weights, states)
    own = kind.weights if weights is None else tuple(compress(weights, kind.mine))
    return Group(kind, own, bytes(compress(states, kind.mine)))


def _rank(groups: Sequence[Group], states: bytes, up_threshold: int) -> int:
    """Which of the four passes takes this pool."""
    if all(_is_up(group, up_threshold) for group in groups):
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


def _choice(group: Group, eligible: int, ttl: int) -> Choice:
    """The members of one type in *eligible* state; a type without any such member gives all of it."""
    kind, weights, states = group
    tails, keys = _find_tails(kind, ttl), kind.keys
    count = states.count(eligible)
    if 0 < count < len(states):
        mine = states.translate(_SELECT[eligible])
        tails, keys, weights = tuple(compress(tails, mine)), tuple(compress(keys, mine)), tuple(compress(weights, mine))
    if 0 in weights:
        # Weight 0 is not drawn while others are there; where only weight 0 is left, they are drawn alike.
        if any(weights):
            tails, keys = tuple(compress(tails, weights)), tuple(compress(keys, weights))
        weights = list(filter(None, weights)) or [1] * len(tails)
    return Choice(tails, tuple(accumulate(weights)), keys)


def _find_tails(kind: Kind, ttl: int) -> tuple[bytes, ...]:
    """The tails of all members of one type; most flips leave the TTL as it was."""
    tails = kind.tails.get(ttl)
    if tails is not None:
        return tails
    if kind.rtype == CNAME:
        tails = tuple([_HEAD.pack(CNAME, CLASS_IN, ttl, len(member.rdata)) + member.rdata for member in kind.members])
    else:  # addresses of one family are of one length
        head = _HEAD.pack(kind.rtype, CLASS_IN, ttl, len(kind.members[0].rdata))
        tails = tuple([head + member.rdata for member in kind.members])
    kind.tails.clear()
    kind.tails[ttl] = tails
    return tails


def _ttl(plan: PoolPlan, known: Sequence[Condition]) -> int:
    """The highest TTL while no member has a streak, else what the first to flip leaves, within the pool's bounds."""
    if plan.ttl_min == plan.ttl_max:
        return plan.ttl_min
    left = [c.until_flip for c in known if c.until_flip is not None]
    return max(plan.ttl_min, min(plan.ttl_max, int(min(left)))) if left else plan.ttl_max

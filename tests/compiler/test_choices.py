"""`compiler.choices` against a plain re-reading of the design's sentences, and the cases that operators ask about."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from geodns.compiler import choices
from geodns.compiler.choices import build_choices, build_pool
from geodns.health.state import Condition, MemberKey, Verdict
from geodns.snapshot import DEAD, DRAINED, LIVE, UP, Choice, Member, Pool, PoolPlan, Zones

A, CNAME, AAAA = 1, 5, 28

conditions = st.builds(
    Condition,
    st.sampled_from(Verdict),
    st.booleans(),
    st.none() | st.floats(0, 300, allow_nan=False),
    st.none() | st.sampled_from((0, 1, 7, 65535)),
)


def member(number: int, weight: int = 1, rtype: int = A, drained: bool = False) -> Member:
    if rtype == CNAME:
        return Member(rtype, b"\x01" + bytes([97 + number]) + b"\x07example\x00", weight, number, drained, f"m{number}")
    rdata = bytes([192, 0, 2, number]) if rtype == A else bytes(15) + bytes([number])
    return Member(rtype, rdata, weight, number, drained, f"m{number}")


def plan(*members: Member, threshold: int = 500_000, ttl: tuple[int, int] = (5, 60)) -> PoolPlan:
    return PoolPlan("www", "ams", members, threshold, *ttl)


def health(**found: Condition) -> dict[MemberKey, Condition]:
    return {("www", "ams", text): condition for text, condition in found.items()}


@st.composite
def pools(draw: st.DrawFn) -> tuple[PoolPlan, Mapping[MemberKey, Condition]]:
    types = [CNAME] if draw(st.booleans()) else [A, AAAA]
    members: list[Member] = []
    for number in range(draw(st.integers(1, 6))):
        rtype = draw(st.sampled_from(types))
        members.append(member(number, draw(st.sampled_from((0, 1, 1, 2, 5))), rtype, draw(st.booleans())))
    low, high = sorted((draw(st.integers(0, 100)), draw(st.integers(0, 100))))
    known = {("www", "ams", m.text): draw(conditions) for m in members if draw(st.booleans())}
    return plan(*members, threshold=draw(st.integers(0, 1_000_000)), ttl=(low, high)), known


def read_literally(plan: PoolPlan, known: Mapping[MemberKey, Condition]) -> tuple[int, dict[int, list[tuple[Member, int]]]]:
    """The rank, and who stands in each slot with which weight, sentence by sentence and without any speed."""
    seen = {m: known.get(("www", "ams", m.text), Condition()) for m in plan.members}
    weights = {m: m.weight if (said := seen[m].weight) is None else said for m in plan.members}
    drained = {m for m in plan.members if m.drained or seen[m].drained}
    healthy = {m for m in plan.members if seen[m].verdict in (Verdict.UP, Verdict.UNKNOWN)}
    live = healthy - drained
    types = sorted({m.rtype for m in plan.members})

    def of(rtype: int, some: set[Member]) -> list[Member]:
        return [m for m in plan.members if m.rtype == rtype and m in some]

    def up(rtype: int) -> bool:
        weight = sum(weights[m] for m in of(rtype, live))
        whole = sum(weights[m] for m in of(rtype, set(plan.members) - drained))
        return weight > 0 and Fraction(weight) >= Fraction(plan.up_threshold, 1_000_000) * whole

    if all(up(rtype) for rtype in types):
        rank, eligible = UP, live
    elif live:
        rank, eligible = LIVE, live
    elif healthy:
        rank, eligible = DRAINED, healthy & drained
    else:
        rank, eligible = DEAD, set(plan.members) - drained
    slots: dict[int, list[tuple[Member, int]]] = {}
    for rtype in types:
        there = of(rtype, eligible) or of(rtype, set(plan.members))
        heavy = [(m, weights[m]) for m in there if weights[m]]
        slots[rtype] = heavy or [(m, 1) for m in there]
    return rank, slots


def tails_of(pool: Pool, rtype: int) -> list[bytes]:
    return list(pool.slots[rtype].tails)


def check_choice(choice: Choice, expected: list[tuple[Member, int]], rtype: int, ttl: int) -> None:
    total = 0
    assert len(choice.tails) == len(choice.totals) == len(choice.keys) == len(expected)
    for tail, running, key, (who, weight) in zip(choice.tails, choice.totals, choice.keys, expected, strict=True):
        total += weight
        assert tail == struct.pack("!HHIH", rtype, 1, ttl, len(who.rdata)) + who.rdata
        assert (running, key) == (total, who.key)


@given(pools())
def test_always_what_the_design_says(both: tuple[PoolPlan, Mapping[MemberKey, Condition]]) -> None:
    plan, known = both
    pool = build_pool(plan, known)
    rank, slots = read_literally(plan, known)
    assert pool.rank == rank
    assert set(pool.slots) == set(slots)
    for rtype, expected in slots.items():
        check_choice(pool.slots[rtype], expected, rtype, pool.ttl)


@given(pools(), st.data())
def test_always_the_same_whatever_was_built_before(
    both: tuple[PoolPlan, Mapping[MemberKey, Condition]], data: st.DataObject
) -> None:
    """What is kept of a plan between rebuilds never shows."""
    plan, known = both
    expected = build_pool(replace(plan), known)
    for _ in range(3):
        build_pool(plan, health(**{m.text: data.draw(conditions) for m in plan.members if data.draw(st.booleans())}))
        assert build_pool(plan, known) == expected


@given(pools())
def test_always_a_ttl_within_its_bounds_and_the_first_flip(both: tuple[PoolPlan, Mapping[MemberKey, Condition]]) -> None:
    plan, known = both
    ttl = build_pool(plan, known).ttl
    streaks = [c.until_flip for c in known.values() if c.until_flip is not None]
    assert plan.ttl_min <= ttl <= plan.ttl_max
    if not streaks:
        assert ttl == plan.ttl_max
    elif plan.ttl_min < ttl:
        assert ttl <= min(streaks)


@given(pools())
def test_never_an_empty_slot(both: tuple[PoolPlan, Mapping[MemberKey, Condition]]) -> None:
    """Health never makes a type disappear, and a draw always finds a member."""
    for choice in build_pool(*both).slots.values():
        assert choice.tails
        assert all(a < b for a, b in zip((0, *choice.totals), choice.totals, strict=False))


def test_nobody_probed_means_up() -> None:
    pool = build_pool(plan(member(1), member(2, weight=3)), {})
    assert (pool.rank, pool.ttl, pool.slots[A].totals) == (UP, 60, (1, 4))


def test_the_threshold_counts_weight_and_is_met_exactly() -> None:
    members = (member(1, weight=1), member(2, weight=3))
    down = health(m2=Condition(Verdict.DOWN))
    assert build_pool(plan(*members, threshold=250_000), down).rank == UP
    assert build_pool(plan(*members, threshold=250_001), down).rank == LIVE
    assert tails_of(build_pool(plan(*members, threshold=250_001), down), A)[0].endswith(members[0].rdata)


def test_a_drained_member_is_not_counted() -> None:
    members = (member(1), member(2), member(3, drained=True))
    pool = build_pool(plan(*members), health(m2=Condition(Verdict.DOWN)))
    assert pool.rank == UP
    assert pool.slots[A].keys == (1,)


def test_draining_the_last_member_of_a_type_takes_the_whole_pool_out() -> None:
    pool = build_pool(plan(member(1), member(2, rtype=AAAA)), health(m2=Condition(drained=True)))
    assert pool.rank == LIVE
    assert pool.slots[AAAA].keys == (2,), "a type without any live member gives all of it"


def test_one_type_down_takes_the_whole_pool_out() -> None:
    pool = build_pool(plan(member(1), member(2, rtype=AAAA)), health(m2=Condition(Verdict.DOWN)))
    assert pool.rank == LIVE


def test_weight_zero_waits_until_nobody_else_is_left() -> None:
    both = plan(member(1, weight=0), member(2))
    assert build_pool(both, {}).slots[A].keys == (2,)
    alone = build_pool(both, health(m2=Condition(Verdict.DOWN)))
    assert (alone.rank, alone.slots[A].keys, alone.slots[A].totals) == (LIVE, (1,), (1,))


def test_all_drained_is_the_third_pass_and_leaves_dead_ones_out() -> None:
    pool = build_pool(plan(member(1, drained=True), member(2, drained=True)), health(m2=Condition(Verdict.DOWN)))
    assert (pool.rank, pool.slots[A].keys) == (DRAINED, (1,))


def test_all_down_answers_as_if_up_without_the_drained() -> None:
    down = health(m1=Condition(Verdict.DOWN), m2=Condition(Verdict.DOWN), m3=Condition(Verdict.DOWN))
    pool = build_pool(plan(member(1), member(2, weight=3), member(3, drained=True)), down)
    assert (pool.rank, pool.slots[A].keys, pool.slots[A].totals) == (DEAD, (1, 2), (1, 4))
    drained = build_pool(plan(member(1, drained=True), member(2, drained=True)), down)
    assert (drained.rank, drained.slots[A].keys) == (DEAD, (1, 2))


def test_the_ttl_follows_the_first_to_flip() -> None:
    both = plan(member(1), member(2))
    assert build_pool(both, health(m1=Condition(until_flip=15.9), m2=Condition(until_flip=20.0))).ttl == 15
    assert build_pool(both, health(m1=Condition(until_flip=0.5))).ttl == 5
    assert build_pool(both, health(m1=Condition(Verdict.DOWN, until_flip=10.0))).ttl == 10


def test_a_weight_that_a_check_says_counts_instead_of_the_configured_one() -> None:
    both = plan(member(1, weight=1), member(2, weight=3))
    assert build_pool(both, health(m1=Condition(weight=5))).slots[A].totals == (5, 8)
    assert build_pool(both, health(m1=Condition(weight=0))).slots[A].keys == (2,)
    assert build_pool(both, {}).slots[A].totals == (1, 4)
    half = build_pool(both, health(m1=Condition(weight=2), m2=Condition(Verdict.DOWN)))
    assert half.rank == LIVE, "2 of 5"
    assert build_pool(both, health(m1=Condition(weight=3), m2=Condition(Verdict.DOWN))).rank == UP, "3 of 6"


def test_nothing_is_kept_of_a_plan_that_is_gone() -> None:
    gone = plan(member(1), member(2))
    number = id(gone)
    build_pool(gone, {})
    assert number in choices._columns
    del gone
    assert number not in choices._columns


def test_targets_of_different_lengths() -> None:
    short, long = Member(CNAME, b"\x01a\x00", 1, 1, False, "a."), Member(CNAME, b"\x03abc\x00", 1, 2, False, "abc.")
    tails = tails_of(build_pool(plan(short, long, ttl=(30, 30)), {}), CNAME)
    assert tails == [b"\0\5\0\1\0\0\0\x1e\0\3\x01a\0", b"\0\5\0\1\0\0\0\x1e\0\5\x03abc\0"]


def test_choices_carry_the_shape_of_their_zones() -> None:
    zones = Zones({}, (), (), (plan(member(1)), plan(member(2))), 0, b"maps", b"pools")
    built = build_choices(zones, {})
    assert built.shape == b"pools"
    assert [pool.slots[A].keys for pool in built.pools] == [(1,), (2,)]

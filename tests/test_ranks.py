"""Since when a pool has its rank, against a model that remembers every pool by name; over flips and reloads."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.ranks import Ranks
from geodns.snapshot import DEAD, UP, Choices, Pool, PoolPlan, Snapshot, Zones

POOLS = (("www", "ams"), ("www", "nyc"), ("cdn", "ams"), ("cdn", "sin"))


@dataclass(frozen=True, slots=True)
class Step:
    """What is published next: which pools there are, and the ranks of all; the same set is a flip, not a reload."""

    names: tuple[tuple[str, str], ...]
    ranks: tuple[int, ...]  # of POOLS
    reload: bool


ranks = st.tuples(*(st.integers(UP, DEAD) for _ in POOLS))
names = st.permutations(POOLS).flatmap(lambda found: st.sampled_from([tuple(found), tuple(found[:2])]))
steps = st.builds(Step, names, ranks, st.booleans())


def make_zones(names: tuple[tuple[str, str], ...]) -> Zones:
    plans = tuple(PoolPlan(service, datacenter, (), 0, 30, 30) for service, datacenter in names)
    return cast(Zones, SimpleNamespace(pools=plans))


def publish(zones: Zones, step: Step) -> Snapshot:
    found = dict(zip(POOLS, step.ranks, strict=True))
    pools = tuple(Pool(found[plan.service, plan.datacenter], 30, {}) for plan in zones.pools)
    return cast(Snapshot, SimpleNamespace(zones=zones, choices=Choices(pools, b"")))


@settings(deadline=None)
@given(st.lists(steps, min_size=1, max_size=8))
def test_always_since_the_last_change_of_rank(sequence: list[Step]) -> None:
    found, zones = Ranks(), None
    model: dict[tuple[str, str], tuple[int, float]] = {}
    for now, step in enumerate(sequence, 1):
        if zones is None or step.reload:
            zones = make_zones(step.names)
        snapshot: Any = publish(zones, step)
        found.see(snapshot, float(now))
        known, model = model, {}
        for number, plan in enumerate(zones.pools):
            name, rank = (plan.service, plan.datacenter), snapshot.choices.pools[number].rank
            before = known.get(name)
            model[name] = before if before is not None and before[0] == rank else (rank, float(now))
            assert found.since(zones, number, -1.0) == model[name][1]


def test_zones_that_were_not_seen_yet_have_the_other_time() -> None:
    found = Ranks()
    zones = make_zones(POOLS)
    assert found.since(zones, 0, 7.0) == 7.0
    found.see(publish(zones, Step(POOLS, (UP,) * 4, True)), 9.0)
    assert found.since(zones, 0, 7.0) == 9.0
    assert found.since(make_zones(POOLS), 0, 7.0) == 7.0

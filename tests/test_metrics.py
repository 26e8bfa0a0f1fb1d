"""Counters: every slot is where its name says, and what is counted under many namings adds up by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns import metrics
from geodns.metrics import BLOCK, LABELS, NAMED_ZONES, NO_ZONE, OTHER_ZONES, POOLS, ZONES, Counters, count_batch, new_tally


@dataclass(frozen=True)
class Zone:
    apex: bytes


@dataclass(frozen=True)
class Pool:
    service: str
    datacenter: str


def test_every_metric_says_what_it_counts() -> None:
    for metric in metrics.METRICS:
        assert metric.name.startswith("geodns_")
        assert metric.name.endswith("_total")
        assert metric.text.endswith(".")
        assert bool(metric.label) == (metric.values != ("",))


@pytest.mark.parametrize(
    ("slot", "name", "value"),
    [
        (metrics.TRUNCATED, "geodns_truncated_total", ""),
        (metrics.DROPPED_SHORT, "geodns_dropped_total", "short"),
        (metrics.DROPPED_RESPONSE, "geodns_dropped_total", "response"),
        (metrics.DROPPED_DECLINED, "geodns_dropped_total", "declined"),
        (metrics.INTERNAL_ERRORS, "geodns_internal_errors_total", ""),
        (metrics.SEND_FAILURES, "geodns_send_failures_total", ""),
        (metrics.RECEIVE_FAILURES, "geodns_receive_failures_total", ""),
        (metrics.TCP_CONNECTIONS, "geodns_tcp_connections_total", ""),
        (metrics.TCP_CLOSED, "geodns_tcp_closed_total", ""),
        (metrics.BACKEND_CONNECTIONS, "geodns_backend_connections_total", ""),
        (metrics.BACKEND_CLOSED, "geodns_backend_closed_total", ""),
        (metrics.DECLINED, "geodns_declined_total", ""),
    ],
)
def test_single_slots_stand_in_the_order_of_the_table(slot: int, name: str, value: str) -> None:
    assert [(metric.name, each) for metric in metrics.METRICS for each in metric.values][slot] == (name, value)


def test_the_parts_of_a_tally_follow_each_other() -> None:
    """No two counters share a slot, and none is left over."""
    assert sum(len(metric.values) for metric in metrics.METRICS) == metrics.LATENCY
    assert metrics.LATENCY + 2 * metrics.LATENCY_STEP == metrics.BACKEND
    assert metrics.BACKEND + 2 * 4 == NO_ZONE
    assert NO_ZONE + BLOCK == ZONES
    assert ZONES + NAMED_ZONES * BLOCK == OTHER_ZONES
    assert OTHER_ZONES + BLOCK == POOLS
    assert new_tally(3) == [0] * (POOLS + 3)
    assert Counters([Zone(b"\0")], [Pool("s", "d")] * 3).tally == new_tally(3)


def test_labels_of_a_block_are_where_the_steps_say() -> None:
    assert len(LABELS) == BLOCK
    for t, transport in enumerate(metrics.TRANSPORTS):
        for f, family in enumerate(metrics.FAMILIES):
            for s, subnet in enumerate(metrics.SUBNETS):
                for r, rcode in enumerate(metrics.RCODES):
                    slot = t * metrics.TRANSPORT_STEP + f * metrics.FAMILY_STEP + s * metrics.SUBNET_STEP + r
                    assert LABELS[slot] == (transport, family, subnet, rcode)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 64), st.integers(0, 1 << 36)), max_size=30))
def test_a_batch_counts_for_each_of_its_queries(batches: list[tuple[int, int, int]]) -> None:
    """Bucket b holds what took less than its bound and not less than the one below; the last one everything longer."""
    tally, bounds = new_tally(0), [1 << (bucket + metrics.LATENCY_SHIFT) for bucket in range(metrics.LATENCY_BUCKETS - 1)]
    for batch in batches:
        count_batch(tally, *batch)
    for transport in (0, 1):
        first = metrics.LATENCY + transport * metrics.LATENCY_STEP
        took = [(queries, spent) for t, queries, spent in batches if t == transport]
        for i in range(metrics.LATENCY_BUCKETS):
            low, high = ([0, *bounds][i], [*bounds, float("inf")][i])
            assert tally[first + i] == sum(queries for queries, spent in took if low <= spent < high)
        assert tally[first + metrics.LATENCY_SUM] == sum(queries * spent for queries, spent in took)
    assert bounds[0] < 10_000, "the finest is below 10 us"
    assert bounds[-1] > 1_000_000_000, "the coarsest above 1 s"


# A naming is a list of zones and a list of pools; what is done under it: (kind, index), each one count more.
letters = st.integers(0, 5)
namings = st.lists(
    st.tuples(
        st.lists(letters, max_size=5, unique=True),
        st.lists(st.tuples(letters, letters), max_size=5, unique=True),
        st.lists(st.tuples(st.sampled_from(["fixed", "none", "zone", "pool"]), st.integers(0, 1000)), max_size=12),
        st.booleans(),  # settled before the next naming comes
        st.integers(1, 3),  # threads
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=200)
@given(namings)
def test_counts_always_add_up_by_name_over_threads_and_namings(
    steps: list[tuple[list[int], list[tuple[int, int]], list[tuple[str, int]], bool, int]],
) -> None:
    counters: Counters | None = None
    wanted: Counter[object] = Counter()
    for zone_numbers, pool_numbers, counted, settled, threads in steps:
        zones = [Zone(b"\x01%d\x00" % number) for number in zone_numbers]
        pools = [Pool(f"s{s}", f"d{d}") for s, d in pool_numbers]
        counters = Counters(zones, pools, counters)
        tallies = [counters.tally, *(new_tally(len(pools)) for _ in range(threads - 1))]
        counters.tallies[1:] = tallies[1:]
        for kind, number in counted:
            tally, slot = tallies[number % threads], number % BLOCK
            if kind == "fixed":
                tally[number % NO_ZONE] += 1
                wanted["fixed", number % NO_ZONE] += 1
            elif kind == "none":
                tally[NO_ZONE + slot] += 1
                wanted["none", slot] += 1
            elif kind == "zone" and zones:
                tally[ZONES + number % len(zones) * BLOCK + slot] += 1
                wanted[zones[number % len(zones)].apex, slot] += 1
            elif kind == "pool" and pools:
                tally[POOLS + number % len(pools)] += 1
                wanted[pools[number % len(pools)]] += 1
        if settled:
            for _ in counters.settle():
                pass
            assert counters.past.waiting == ()
        sums = counters.read()
        found: Counter[object] = Counter({("fixed", i): n for i, n in enumerate(sums.fixed) if n})
        found.update({("none", i): n for i, n in enumerate(sums.no_zone) if n})
        found.update({(apex, i): n for apex, block in sums.zones.items() for i, n in enumerate(block) if n})
        found.update({Pool(*key): n for key, n in sums.pools.items()})
        assert found == wanted
        assert sums.other_zones == [0] * BLOCK


def test_reading_changes_nothing() -> None:
    old = Counters([Zone(b"\0")], [Pool("s", "d")])
    old.tally[ZONES] += 1
    counters = Counters([Zone(b"\0")], [Pool("s", "d")], old)
    counters.tally[ZONES] += 1
    counters.tally[POOLS] += 1
    assert counters.read() == counters.read()
    for _ in counters.settle():
        assert counters.past.waiting == (old,), "a scrape between two slices sees all or nothing"
    assert counters.read().zones[b"\0"][0] == 2


def test_zones_beyond_the_named_ones_are_summed_up() -> None:
    zones = [Zone(b"\x04%04d\x00" % i) for i in range(NAMED_ZONES + 2)]
    counters = Counters(zones)
    assert (counters.named, counters.others) == (tuple(zone.apex for zone in zones[:NAMED_ZONES]), True)
    assert not Counters(zones[:NAMED_ZONES]).others
    counters.tally[OTHER_ZONES + 5] += 2
    after = Counters(zones, (), counters)
    after.tally[OTHER_ZONES + 5] += 1
    assert after.read().other_zones[5] == 3
    assert after.read().zones == {}


def test_names_that_nobody_has_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bound an operator who renames at every reload would fill the memory."""
    monkeypatch.setattr(metrics, "KEPT_NAMES", 10)
    counters: Counters | None = None
    for i in range(50):
        zones = [Zone(b"\x04stay\0"), Zone(b"\x02%02d\0" % i)]
        counters = Counters(zones, [Pool("stay", "d"), Pool(f"s{i}", "d")], counters)
        for number in (0, 1):
            counters.tally[ZONES + number * BLOCK] += 1
            counters.tally[POOLS + number] += 1
        for _ in counters.settle():
            pass
    assert counters is not None
    sums = counters.read()
    assert sums.zones[b"\x04stay\0"][0] == sums.pools["stay", "d"] == 50
    assert len(sums.zones) <= 13
    assert len(sums.pools) <= 13


def test_settling_takes_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SLICE", 10)
    looked_at: list[int] = []

    class Watched:
        datacenter = "d"

        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def service(self) -> str:
            looked_at.append(self.number)
            return f"s{self.number}"

    old = Counters((), [Watched(i) for i in range(95)])
    old.tally[POOLS:] = [1] * 95
    counters = Counters((), (), old)
    before = 0
    for _ in counters.settle():
        assert len(looked_at) - before <= 10
        before = len(looked_at)
    assert len(looked_at) == 95
    assert sum(counters.read().pools.values()) == 95

"""The table of counters: every slot is where its name says, and counts what its labels say."""

from __future__ import annotations

import pytest

from geodns import metrics


def test_every_slot_belongs_to_a_metric_with_as_many_labels() -> None:
    labels = {metric.name: metric.labels for metric in metrics.METRICS}
    for name, values in metrics.SLOTS:
        assert len(values) == len(labels[name])
    assert {name for name, _ in metrics.SLOTS} == set(labels)
    assert len(set(metrics.SLOTS)) == len(metrics.SLOTS)


def test_every_metric_says_what_it_counts() -> None:
    for metric in metrics.METRICS:
        assert metric.name.startswith("geodns_")
        assert metric.name.endswith("_total")
        assert metric.text.endswith(".")


def test_numbers_point_at_the_slots_they_are_named_for() -> None:
    for i, transport in enumerate(metrics.TRANSPORTS):
        for j, family in enumerate(metrics.FAMILIES):
            for k, subnet in enumerate(metrics.SUBNETS):
                slot = metrics.QUERIES + i * metrics.TRANSPORT_STEP + j * metrics.FAMILY_STEP + k
                assert metrics.SLOTS[slot] == ("geodns_queries_total", (transport, family, subnet))
    for rcode, text in enumerate(metrics.RCODES):
        assert metrics.SLOTS[metrics.RESPONSES + rcode] == ("geodns_responses_total", (text,))


@pytest.mark.parametrize(
    ("slot", "name", "labels"),
    [
        (metrics.TRUNCATED, "geodns_truncated_total", ()),
        (metrics.DROPPED_SHORT, "geodns_dropped_total", ("short",)),
        (metrics.DROPPED_RESPONSE, "geodns_dropped_total", ("response",)),
        (metrics.INTERNAL_ERRORS, "geodns_internal_errors_total", ()),
        (metrics.SEND_FAILURES, "geodns_send_failures_total", ()),
        (metrics.RECEIVE_FAILURES, "geodns_receive_failures_total", ()),
        (metrics.TCP_CONNECTIONS, "geodns_tcp_connections_total", ()),
        (metrics.TCP_CLOSED, "geodns_tcp_closed_total", ()),
    ],
)
def test_single_slots(slot: int, name: str, labels: tuple[str, ...]) -> None:
    assert metrics.SLOTS[slot] == (name, labels)


def test_a_new_tally_has_a_zero_for_every_slot() -> None:
    assert metrics.new_tally(3) == [0] * (len(metrics.SLOTS) + 3)

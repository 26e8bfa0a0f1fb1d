"""Metrics as Prometheus reads them: every number where its name says, few enough lines, and time for queries between."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.server.reports import (
    APEX,
    DAY,
    NOW,
    POOLS_SHOWN,
    Pool,
    Zone,
    check,
    counting,
    member,
    one_of_each,
    override,
    pool,
    status,
)

from geodns import metrics
from geodns.metrics import BLOCK, LABELS, NO_ZONE, OTHER_ZONES, POOLS, ZONES, Counters, count_batch
from geodns.server import exposition
from geodns.server.exposition import FAMILIES, scrape
from geodns.server.families import NAMED_POOLS, NONE, OTHERS, Sources
from geodns.server.families_state import NAMED_CHECKS, NAMED_MEMBERS

Labels = tuple[tuple[str, str], ...]
Lines = Mapping[tuple[str, Labels], float]


def lines(sources: Sources) -> dict[tuple[str, Labels], float]:
    """What a scrape says: name and labels to the number. Two lines of the same name and labels fail."""
    kind, octets = scrape(sources)
    assert kind.startswith("text/plain; version=")
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(octets.decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def one(sources: Sources, name: str, **labels: str) -> float | None:
    return lines(sources).get((name, tuple(sorted(labels.items()))))


def those(shown: Sources | Lines, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The lines of one name: values of *labels* to the number."""
    found = lines(shown) if isinstance(shown, Sources) else shown
    return {tuple(dict(key)[each] for each in labels): n for (metric, key), n in found.items() if metric == name}


@pytest.fixture(autouse=True, scope="module")
def _nobody_waits_for_the_interpreter() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exposition, "RESTS", 0.0)
        yield


@settings(deadline=None, max_examples=15)
@given(st.dictionaries(st.tuples(st.sampled_from([NO_ZONE, ZONES, ZONES + BLOCK, OTHER_ZONES]), st.sampled_from(LABELS)),
                       st.integers(1, 1 << 60), max_size=12))  # fmt: skip
def test_queries_and_responses_always_add_up(counts: Mapping[tuple[int, tuple[str, str, str, str]], int]) -> None:
    """Both metrics show the same replies: one by client subnet, the other by zone and rcode."""
    counters = counting(metrics.NAMED_ZONES + 1)
    errors = {"FORMERR", "NOTIMP", "BADVERS"}
    wanted = {
        (block, labels): count
        for (block, labels), count in counts.items()
        if (labels[3] in {*errors, "REFUSED"} if block == NO_ZONE else labels[3] not in {*errors, "REFUSED"})
        and (labels[3] not in errors or labels[1] == "other")
    }
    for (block, labels), count in wanted.items():
        counters.tally[block + LABELS.index(labels)] += count
    found = lines(Sources(status(), counters))
    names = {NO_ZONE: NONE, ZONES: "example.com.", ZONES + BLOCK: "z0001.", OTHER_ZONES: OTHERS}
    for block, zone in names.items():
        for transport, family, _, rcode in LABELS:
            same = [n for (b, ls), n in wanted.items() if b == block and (ls[0], ls[1], ls[3]) == (transport, family, rcode)]
            key = (("rcode", rcode), ("transport", transport), ("type", family), ("zone", zone))
            assert found.get(("geodns_responses_total", key), 0) == float(sum(same))
    queries = those(found, "geodns_queries_total", "transport", "type", "subnet")
    assert len(queries) == 18
    for asked, number in queries.items():
        assert number == float(sum(n for (_, each), n in wanted.items() if tuple(each[:3]) == asked))


def test_counters_go_on_over_reloads() -> None:
    before = counting()
    before.tally[ZONES] += 3
    before.tally[POOLS + 1] += 2
    after = Counters([Zone(b"\x03new\x00"), Zone(APEX)], [Pool("www", "d1"), Pool("api", "d1")], before)
    after.tally[ZONES + BLOCK] += 1
    after.tally[POOLS] += 1
    sources = Sources(status(), after)
    assert one(sources, "geodns_responses_total", zone="example.com.", transport="udp", type="A", rcode="NOERROR") == 4
    assert one(sources, "geodns_responses_total", zone="new.", transport="udp", type="A", rcode="NOERROR") == 0
    assert those(sources, "geodns_answers_total", "service", "datacenter") == {("www", "d1"): 3, ("api", "d1"): 0}
    assert sum(those(sources, "geodns_queries_total", "transport", "type", "subnet").values()) == 4


def test_single_counters_and_what_is_open() -> None:
    counters = counting()
    for slot in range(metrics.LATENCY):
        counters.tally[slot] = slot + 1
    sources = Sources(status(), counters, (), (("127.0.0.1:53", 9),), 5, (100, 4), 7)
    names = [(metric.name, value, metric.label) for metric in metrics.METRICS for value in metric.values]
    for slot, (name, value, label) in enumerate(names):
        assert one(sources, name, **({label: value} if label else {})) == slot + 1
    assert one(sources, "geodns_socket_drops_total", listen="127.0.0.1:53") == 9
    assert one(sources, "geodns_tcp_clients") == 5
    assert one(sources, "geodns_backend_clients") == 7
    assert one(sources, "geodns_query_log_lines_total") == 100
    assert one(sources, "geodns_query_log_dropped_total") == 4
    assert one(Sources(status(), counters), "geodns_query_log_lines_total") is None, "there is no query log"


def test_lookups_of_powerdns_by_protocol_and_outcome() -> None:
    counters = counting()
    for i in range(8):
        counters.tally[metrics.BACKEND + i] = i + 1
    found = those(Sources(status(), counters), "geodns_backend_lookups_total", "protocol", "outcome")
    outcomes = ("records", "nothing", "failed", "misread")
    assert found == dict(zip([(p, o) for p in ("pipe", "remote") for o in outcomes], range(1, 9), strict=True))


def test_latency_is_a_histogram_in_seconds() -> None:
    counters = counting()
    count_batch(counters.tally, 0, 3, 20_000)
    count_batch(counters.tally, 0, 1, 3_000_000_000)
    count_batch(counters.tally, 1, 2, 1)
    sources = Sources(status(), counters)
    found = those(sources, "geodns_response_seconds_bucket", "transport", "le")
    udp = {float(le): count for (transport, le), count in found.items() if transport == "udp"}
    assert udp == {bound: 4 if bound == float("inf") else 3 if bound > 20e-6 else 0 for bound in udp}
    assert len(udp) == metrics.LATENCY_BUCKETS
    assert list(udp) == sorted(udp)
    assert one(sources, "geodns_response_seconds_count", transport="udp") == 4
    assert one(sources, "geodns_response_seconds_sum", transport="udp") == pytest.approx(3 * 20e-6 + 3)
    assert one(sources, "geodns_response_seconds_count", transport="tcp") == 2


def test_members_pools_services_and_datacenters() -> None:
    sources = Sources(status(POOLS_SHOWN), counting())
    by_member = ("service", "datacenter", "member")
    here = {text: ("www", "ams", f"192.0.2.{text}") for text in range(1, 6)}
    up = those(sources, "geodns_member_up", *by_member)
    assert [up[here[i]] for i in here] == [1, 0, 0.5, 1, 0]
    drained = those(sources, "geodns_member_drained", *by_member)
    assert [drained[here[i]] for i in here] == [0, 0, 0, 1, 0]
    forced = those(sources, "geodns_member_forced", *by_member)
    assert [forced[here[i]] for i in here] == [0, 0, 0, 0, 1]
    since = those(sources, "geodns_member_since_timestamp_seconds", *by_member)
    assert [since.get(here[i]) for i in here] == [NOW - 20, NOW - 30, NOW - 40, NOW - 60, None]
    expiry = those(sources, "geodns_member_certificate_expiry_timestamp_seconds", *by_member)
    assert [expiry.get(here[i]) for i in here] == [*[NOW + 5 * DAY] * 3, NOW + 9 * DAY, None], "the earliest, or none"
    states = those(sources, "geodns_members", "service", "datacenter", "state")
    assert {key[2]: n for key, n in states.items() if key[:2] == ("www", "ams")} == {
        "up": 1, "unknown": 1, "down": 2, "drained": 1,
    }  # fmt: skip
    ranks = those(sources, "geodns_pool_rank", "service", "datacenter")
    assert ranks == {("www", "ams"): 2, ("www", "nyc"): 4, ("api", "nyc"): 3, ("api", "ams"): 1}
    assert those(sources, "geodns_service_rank", "service") == {("www",): 2, ("api",): 1}
    shares = those(sources, "geodns_pool_live_ratio", "service", "datacenter")
    assert shares == {("www", "ams"): 0.5, ("www", "nyc"): 0}, "none where all members are drained"
    assert those(sources, "geodns_pool_ttl_seconds", "service", "datacenter")["www", "ams"] == 30
    assert those(sources, "geodns_pool_since_timestamp_seconds", "service", "datacenter")["www", "nyc"] == NOW - 10
    by_rank = those(sources, "geodns_datacenter_pools", "datacenter", "rank")
    assert {key: n for key, n in by_rank.items() if n} == {
        ("ams", "live"): 1, ("nyc", "dead"): 1, ("nyc", "drained"): 1, ("ams", "up"): 1,
    }  # fmt: skip
    assert len(by_rank) == 8
    assert those(sources, "geodns_datacenter_since_timestamp_seconds", "datacenter") == {
        ("ams",): NOW - 30,
        ("nyc",): NOW - 10,
    }


def test_checks_and_the_prober() -> None:
    checks = (check("web", "up", 10), check("web", "down", 3), check("web", "unknown"))
    sources = Sources(status(frozen=(("IPv6", NOW - 3),), lateness=0.25), counting(), checks)
    assert those(sources, "geodns_probes_total", "check", "verdict") == {
        ("web", "up"): 10, ("web", "down"): 3, ("web", "unknown"): 0,
    }  # fmt: skip
    assert those(sources, "geodns_transitions_total", "check", "verdict")["web", "up"] == 5
    assert those(sources, "geodns_probe_seconds_count", "check", "verdict") == {("web", "up"): 10, ("web", "down"): 3}
    assert one(sources, "geodns_probe_seconds_sum", check="web", verdict="up") == pytest.approx(0.2)
    assert one(sources, "geodns_probe_seconds_bucket", check="web", verdict="up", le="0.001") == 10
    assert those(sources, "geodns_prober_frozen", "family") == {("IPv4",): 0, ("IPv6",): 1}
    assert one(sources, "geodns_prober_lateness_seconds") == 0.25
    assert one(Sources(status(), counting()), "geodns_prober_lateness_seconds") is None
    assert (one(sources, "geodns_prober_running"), one(sources, "geodns_prober_restarts_total")) == (1, 2)
    assert one(sources, "geodns_prober_targets") == 11


def test_overrides() -> None:
    overrides = (override(), override("down", since=NOW - 500, until=NOW + 5), override("drain", since=NOW - 300, members=0))
    sources = Sources(status((), overrides), counting())
    assert those(sources, "geodns_overrides", "kind") == {("drain",): 2, ("down",): 1, ("up",): 0}
    assert one(sources, "geodns_overrides_unmatched") == 1
    assert one(sources, "geodns_override_lasting_since_timestamp_seconds") == NOW - 300
    ended = Sources(status((), overrides[1:2]), counting())
    assert one(ended, "geodns_override_lasting_since_timestamp_seconds") is None


def test_the_program_itself() -> None:
    sources = Sources(status(), counting())
    assert one(sources, "geodns_build_info", version="1.2.3", engine="pure") == 1
    assert one(sources, "geodns_config_info", digest="abcd") == 1
    assert one(sources, "geodns_config_reload_success") == 0
    assert one(sources, "geodns_config_reload_timestamp_seconds") == NOW - 60
    assert one(sources, "geodns_config_loaded_timestamp_seconds") == NOW - 600
    assert one(sources, "geodns_config_waiting") == 1
    assert one(sources, "geodns_config_last_good") == 0
    assert one(sources, "geodns_publishes_total") == 7
    assert one(sources, "geodns_ready") == 1
    assert one(sources, "geodns_start_time_seconds") == NOW - 3600
    assert one(sources, "geodns_database_built_timestamp_seconds", path="city.mmdb", kind="GeoLite2-City") == NOW - 86400
    assert one(sources, "process_resident_memory_bytes")


def test_every_family_is_shown_with_its_type_and_labels() -> None:
    _, octets = scrape(one_of_each())
    shown = {family.name: family for family in text_string_to_metric_families(octets.decode())}
    for family in FAMILIES:
        found = shown.pop(family.name.removesuffix("_total"))
        assert (found.type, found.documentation) == (family.kind, family.text)
        for sample in found.samples:
            assert set(sample.labels) == set(family.labels) | ({"le"} if sample.name.endswith("_bucket") else set())
        assert found.samples, family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.text.endswith(".")
    assert all(name.startswith("process_") for name in shown)


def test_a_huge_configuration_makes_no_huge_scrape() -> None:
    """10,000 zones, 20,000 pools, 40,000 members, 5,000 checks: what is beyond the named ones is added up."""
    zones = [Zone(b"\x05%05d\x00" % i) for i in range(10_000)]
    pools = [Pool(f"s{i // 20}", f"d{i % 20}") for i in range(20_000)]
    counters = Counters(zones, pools)
    counters.tally[POOLS:] = [1] * len(pools)
    counters.tally[OTHER_ZONES] = 5
    reports = tuple(
        pool(each.service, each.datacenter, "up", member("192.0.2.1", "down"), member("192.0.2.2")) for each in pools
    )
    checks = tuple(check(f"c{i}", verdict, 1) for i in range(5_000) for verdict in ("up", "down", "unknown"))
    sources = Sources(status(reports), counters, checks)
    found = lines(sources)
    assert len(found) < 25_000
    answers = {dict(key)["service"]: n for (name, key), n in found.items() if name == "geodns_answers_total"}
    assert sum(n for (name, _), n in found.items() if name == "geodns_answers_total") == 20_000
    assert answers[OTHERS] == (20_000 - NAMED_POOLS) / 20
    probes = {dict(key)["check"]: n for (name, key), n in found.items() if name == "geodns_probes_total"}
    assert len(probes) == NAMED_CHECKS + 1
    assert probes[OTHERS] == 5_000 - NAMED_CHECKS
    assert sum(name == "geodns_member_up" for name, _ in found) == NAMED_MEMBERS
    by_rank = [n for (name, _), n in found.items() if name == "geodns_datacenter_pools"]
    assert sum(by_rank) == 20_000, "datacenters count all their pools"
    zone_labels = {dict(key)["zone"] for name, key in found if name == "geodns_responses_total"}
    assert len(zone_labels) == metrics.NAMED_ZONES + 2
    key = (("rcode", "NOERROR"), ("transport", "udp"), ("type", "A"), ("zone", OTHERS))
    assert found["geodns_responses_total", key] == 5


def test_a_scrape_rests_between_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(exposition, "RESTS", 3.0)
    monkeypatch.setattr("geodns.server.exposition.time.sleep", rests.append)
    _, octets = scrape(Sources(status(POOLS_SHOWN), counting(100)))
    written = sum(not line.startswith((b"#", b"process_")) for line in octets.splitlines())
    assert written > 1000
    assert len(rests) == written // exposition.PORTION
    assert all(0 < rest <= exposition.LONGEST_REST for rest in rests)


def test_a_scrape_beside_counting_never_shows_less_than_before() -> None:
    """Prometheus takes a counter that falls for a restart. Namings come and go meanwhile, as reloads bring them."""
    current = [counting(5, 5)]
    done = threading.Event()

    def reload_and_count() -> None:
        for i in range(200):
            old = current[0]
            for _ in range(20):
                old.tally[ZONES] += 1
                old.tally[POOLS] += 1
                old.tally[metrics.TRUNCATED] += 1
            current[0] = Counters([Zone(APEX)], [Pool("www", "d0"), Pool("www", f"x{i % 7}")], old)
            if i % 3 == 0:
                for _ in current[0].settle():
                    pass
        done.set()

    worker = threading.Thread(target=reload_and_count)
    worker.start()
    seen = [(0, 0, 0)]
    while not done.is_set() or len(seen) < 3:
        sums = current[0].read()
        seen.append((sums.zones.get(APEX, [0])[0], sums.pools.get(("www", "d0"), 0), sums.fixed[metrics.TRUNCATED]))
        assert all(after >= before for before, after in zip(seen[-2], seen[-1], strict=True))
    worker.join()
    sums = current[0].read()
    assert (sums.zones[APEX][0], sums.pools["www", "d0"], sums.fixed[metrics.TRUNCATED]) == (4000, 4000, 4000)
